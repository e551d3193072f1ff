"""Nobody is called who could call back, and who does is refused.

First what the sources say: contracts call only contracts of their own set, whose addresses the deployment fixes,
and every function that calls one to change something holds a lock. Then what the locks do: each contract that moves
tokens is deployed beside a double of the others that calls back in the middle, as publisher or edge server itself.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from platoon.contracts.build import FOLDER
from platoon.ledger.contract_kinds import KINDS
from platoon.ledger.contracts import ContractSet, load_artefact
from platoon.ledger.evm import Machine
from platoon.records.encoding import compute_contract_address
from platoon.records.signing import simulated_account

DEPLOYED = [(kind, name) for kind in KINDS for name in kind.contracts]
SOURCES = {name: (FOLDER / f"{name}.vy").read_text(encoding="utf-8") for _, name in DEPLOYED}
MODULES = {
    path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.vy") if path.stem not in SOURCES
}
DEFINITION = re.compile(r"((?:@\w+\n)+)def (\w+)\(((?:.|\n)*?)(?=\n\n\n|\Z)")
CALL = re.compile(r"\b(extcall|staticcall) (\w+)\(([\w.]+)\)")


@pytest.mark.parametrize("name", [*SOURCES, *MODULES])
def test_contracts_have_no_other_way_to_call(name):
    source = SOURCES.get(name) or MODULES[name]
    assert not re.search(r"\b(raw_call|send|create_\w+|raw_create|selfdestruct|delegatecall)\(", source)


@pytest.mark.parametrize("name", MODULES)
def test_modules_change_nothing_elsewhere(name):
    assert "extcall" not in MODULES[name]


@pytest.mark.parametrize(("kind", "name"), DEPLOYED, ids=str)
def test_contracts_call_only_contracts_of_their_set(kind, name):
    for _, callee, target in CALL.findall(SOURCES[name]):
        if target.startswith("self."):
            assert callee in kind.bound[name, "bind"], (
                f"{name} calls {callee} at an address that somebody may choose"
            )
        else:
            assert target.upper() == callee.upper(), f"{name} calls {callee} at {target}"
            assert callee in kind.links[name], f"{name} calls {callee}, which its deployment does not fix"


@pytest.mark.parametrize("name", SOURCES)
def test_whoever_calls_to_change_something_holds_a_lock(name):
    functions = {match[2]: (match[1], match[3]) for match in DEFINITION.finditer(SOURCES[name])}
    calling = {function for function, (_, body) in functions.items() if "extcall " in body}
    reached = calling
    while reached:
        reached = {
            function
            for function, (_, body) in functions.items()
            if function not in calling and any(f"self.{inner}(" in body for inner in reached)
        }
        calling |= reached
    assert calling or "extcall" not in SOURCES[name]
    for function in calling:
        decorators = functions[function][0]
        assert "@external" not in decorators or "@nonreentrant" in decorators, f"{name}.{function}"


OPERATOR = simulated_account(1, "operator", 0)


@pytest.mark.parametrize(
    ("kind", "name", "position"),
    [(kind, name, i) for kind in KINDS for name, links in kind.links.items() for i in range(len(links))],
    ids=str,
)
def test_invalid_deployment_linked_to_a_foreign_contract(kind, name, position):
    contracts = ContractSet(OPERATOR.address, kind)
    links: list[Any] = [contracts.addresses[linked] for linked in kind.links[name]]
    links[position] = simulated_account(1, "stranger", 0).address
    artefact = load_artefact(name)
    plain = {"uint256": 1, "int256": 1, "address": OPERATOR.address, "bytes32": b"\x01" * 32}
    for codec in artefact.constructor.codecs[len(links) :]:
        signature = codec.signature
        parts = signature[1:-1].split(",") if signature.startswith("(") else None
        links.append(tuple(plain[part] for part in parts) if parts else plain[signature])
    number = kind.contracts.index(name)
    with pytest.raises(ValueError, match="not linked to the contracts of its own set"):
        contracts.decode_deployment(contracts.deployment(number, links), number)


# ---- the double -------------------------------------------------------------------------------------------------


def compile_source(source: str) -> bytes:
    """Creation code."""
    compiled = import_module("vyper").compile_code(source, output_formats=["bytecode"])
    return bytes.fromhex(compiled["bytecode"][2:])


@pytest.fixture(scope="module")
def hostile() -> bytes:
    """Creation code of the double."""
    return compile_source((Path(__file__).parent / "hostile.vy").read_text(encoding="utf-8"))


class Trap:
    """A contract whose partners, publisher and edge servers are all the double."""

    def __init__(self, code: bytes, name: str, bytecode: bytes | None = None) -> None:
        self.machine = Machine(7400)
        self.double = compute_contract_address(OPERATOR.address, 0)
        self.target = compute_contract_address(OPERATOR.address, 1)
        self.artefact = load_artefact(name)
        assert self.machine.execute(OPERATOR.address, None, code, 10**7).ok
        arguments = [
            self.double if codec.signature == "address" else 1_000_000
            for codec in self.artefact.constructor.codecs
        ]
        creation = (bytecode or self.artefact.bytecode) + self.artefact.constructor.encode(arguments)
        assert self.machine.execute(OPERATOR.address, None, creation, 10**7).ok

    def encode(self, name: str, *arguments: Any) -> bytes:
        """A call of the contract."""
        function = next(f for f in self.artefact.functions.values() if f.name == name)
        return function.selector + function.inputs.encode(arguments)

    def strike(self, data: bytes) -> tuple[int, int]:
        """Has the double make the call, and again from inside of it: how many it tried, how many went through."""
        codec = import_module("eth_abi").encode
        keccak = import_module("platoon.records.encoding").keccak
        aim = keccak(b"aim(address,bytes)")[:4] + codec(
            ["address", "bytes"], ["0x" + self.target.hex(), data]
        )
        assert self.machine.execute(OPERATOR.address, self.double, aim, 10**7).ok
        assert self.machine.execute(OPERATOR.address, self.double, keccak(b"strike()")[:4], 10**8).ok
        counts = (
            self.machine.read(self.double, keccak(what)[:4]) for what in (b"attempts()", b"successes()")
        )
        tried, went = (int.from_bytes(count, "big") for count in counts)
        return tried, went


@pytest.mark.parametrize(
    ("name", "prepare", "call"),
    [
        ("Escrow", ["bind"], ("fund", 5)),
        ("Escrow", ["bind"], ("pay", [OPERATOR.address], [5])),
        ("Escrow", ["bind"], ("withdraw",)),
        ("Sealing", [], ("fund", 5)),
        ("Sealing", [], ("withdraw",)),
        ("Stakes", [], ("deposit", 5)),
        ("Stakes", ["deposit"], ("withdraw",)),
        ("Stakes", ["deposit"], ("settle", 1, 1, 0, 0, 0, 0)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_invalid_call_back_into_a_contract_that_moves_tokens(hostile, name, prepare, call):
    trap = Trap(hostile, name)
    if "bind" in prepare:
        bind = trap.encode("bind", trap.double)
        assert trap.machine.execute(OPERATOR.address, trap.target, bind, 10**7).ok
    tried_before, went_before = trap.strike(trap.encode("deposit", 7)) if "deposit" in prepare else (0, 0)
    tried, went = trap.strike(trap.encode(*call))
    # the call itself goes through; the same call from inside of it does not
    assert (tried - tried_before, went - went_before) == (2, 1)
    if "deposit" in prepare:
        assert (tried_before, went_before) == (2, 1)


@pytest.mark.parametrize("call", [("fund", 5), ("withdraw",)], ids=lambda call: call[0])
def test_it_is_the_lock_that_refuses(hostile, call):
    unlocked = compile_source(SOURCES["Escrow"].replace("@nonreentrant\n", ""))
    trap = Trap(hostile, "Escrow", unlocked)
    bind = trap.encode("bind", trap.double)
    assert trap.machine.execute(OPERATOR.address, trap.target, bind, 10**7).ok
    assert trap.strike(trap.encode(*call)) == (2, 2)

"""The contract set of a task chain: artefacts, addresses, calls, events, gas limits.

A task chain is one set of contracts, deployed by the operator's first transactions in the order of
``CONTRACTS``, so that the operator's address gives every other. The set's hash stands in every block: contracts are
immutable, a new set means a new task chain, and records of an unknown set are refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from platoon.nouns import Address, Digest
from platoon.records.abi import Arguments, Decode, compile_codec, compute_selector, compute_topic
from platoon.records.encoding import WORD, compute_contract_address, keccak
from platoon.records.transactions import MAX_GAS, Call

CONTRACTS = (
    "Registry",
    "Token",
    "Escrow",
    "Training",
    "Checkpoint",
    "Sealing",
    "Stakes",
    "Admission",
    "Plausibility",
    "Agreements",
)
"""In the order of deployment."""

_LINKS = {
    "Escrow": ("Registry", "Token"),
    "Training": ("Registry", "Escrow", "Stakes", "Plausibility"),
    "Checkpoint": ("Registry", "Training"),
    "Sealing": ("Registry", "Token", "Checkpoint"),
    "Stakes": ("Registry", "Token", "Escrow", "Training"),
    "Admission": ("Registry", "Training"),
    "Plausibility": ("Registry", "Training"),
    "Agreements": ("Registry", "Token", "Escrow", "Sealing"),
}
"""The contracts that a constructor's first arguments must name."""
_DEPLOY_GAS = 6_000_000
_BASE_GAS = 400_000
_ELEMENT_GAS = {
    "record": (110_000, 0),
    "score": (200_000, 0),
    "register": (80_000, 0),
    "transfer_many": (60_000, 0),
    "rotate": (100_000, 0),
    "admit_attested": (90_000, 0),
    "report": (130_000, 0),
}
"""Gas per element of a call's longest array, and per square of their number (a score's words hold eight scores
each, and the first closes the recording): above the most costly case that was measured
(``tests/ledger/test_contracts.py``)."""
_WHOLE_GAS = {
    "judge": 25_000_000,
    "settle": 16_000_000,
    "admit_certified": 2_000_000,
    "review": 6_000_000,
    "publish": 2_000_000,
    "join": 2_000_000,
    "respond": 12_000_000,
    "pay_order": 2_000_000,
}
"""Calls whose cost depends on the state (the round's updates, the edge servers), not on their arguments."""
_MORE_GAS = {"admit_attested": 2_000_000, "report": 2_000_000}
"""On top of the base: what all edge servers have claimed is compared."""


class Function(NamedTuple):
    """A function of a contract."""

    contract: str
    name: str
    selector: bytes
    inputs: Arguments
    outputs: Arguments | None
    """None where an output's type is not supported (names of the token)."""
    is_view: bool
    parameters: tuple[str, ...]
    """Names of the inputs."""


class EventType(NamedTuple):
    """An event of a contract: which values are topics, which are data."""

    contract: str
    name: str
    topics: tuple[tuple[str, Decode], ...]
    data_names: tuple[str, ...]
    data: Arguments
    words: tuple[tuple[str, Decode, int], ...] | None
    """Name, decoder and place of each value where all are single words; None where one is an array."""


class Log(NamedTuple):
    """An event as the EVM gives it."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


class Event(NamedTuple):
    """A decoded event."""

    contract: str
    name: str
    values: dict[str, Any]
    """By parameter: ints, bool, 20-byte addresses, 32-byte digests, tuples of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A compiled contract."""

    name: str
    bytecode: bytes
    constructor: Arguments
    functions: dict[bytes, Function]
    """By selector."""
    events: dict[bytes, EventType]
    """By topic."""


def _parse_function(contract: str, entry: dict[str, Any]) -> Function:
    inputs = Arguments(entry["inputs"])
    try:
        outputs = Arguments(entry["outputs"])
    except ValueError:
        outputs = None
    name = str(entry["name"])
    is_view = entry["stateMutability"] in ("view", "pure")
    parameters = tuple(str(part["name"]) for part in entry["inputs"])
    return Function(contract, name, compute_selector(name, inputs), inputs, outputs, is_view, parameters)


def _parse_event(contract: str, entry: dict[str, Any]) -> tuple[bytes, EventType]:
    inputs = entry["inputs"]
    indexed = tuple((str(part["name"]), compile_codec(part).decode) for part in inputs if part["indexed"])
    plain = [part for part in inputs if not part["indexed"]]
    data = Arguments(plain)
    is_flat = all(codec.words == 1 and not codec.is_array for codec in data.codecs)
    event = EventType(
        contract=contract,
        name=str(entry["name"]),
        topics=indexed,
        data_names=tuple(str(part["name"]) for part in plain),
        data=data,
        words=tuple(
            (str(part["name"]), codec.decode, WORD * i)
            for i, (part, codec) in enumerate(zip(plain, data.codecs, strict=True))
        )
        if is_flat
        else None,
    )
    return compute_topic(event.name, Arguments(inputs)), event


@cache
def load_artefact(name: str) -> Artefact:
    """The committed artefact of a contract."""
    folder = resources.files("platoon.contracts").joinpath("artefacts")
    content = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    functions = [_parse_function(name, entry) for entry in content["abi"] if entry["type"] == "function"]
    constructors = [entry["inputs"] for entry in content["abi"] if entry["type"] == "constructor"]
    return Artefact(
        name=name,
        bytecode=bytes.fromhex(content["bytecode"][2:]),
        constructor=Arguments(constructors[0] if constructors else []),
        functions={function.selector: function for function in functions},
        events=dict(_parse_event(name, entry) for entry in content["abi"] if entry["type"] == "event"),
    )


@cache
def compute_set_digest() -> Digest:
    """The hash of the contract set: keccak over name and creation code of each, in the order of deployment."""
    return keccak(b"".join(keccak(name.encode() + load_artefact(name).bytecode) for name in CONTRACTS))


@dataclass(frozen=True)
class ContractSet:
    """The contracts of one operator: calls in, events out."""

    operator: Address
    addresses: dict[str, Address] = field(init=False)
    names: dict[Address, str] = field(init=False)
    _functions: dict[tuple[str, str], Function] = field(init=False, repr=False)
    _events: dict[tuple[Address, bytes], EventType] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        addresses = {name: compute_contract_address(self.operator, i) for i, name in enumerate(CONTRACTS)}
        functions = {
            (name, function.name): function
            for name in CONTRACTS
            for function in load_artefact(name).functions.values()
        }
        object.__setattr__(self, "addresses", addresses)
        object.__setattr__(self, "names", {address: name for name, address in addresses.items()})
        object.__setattr__(self, "_functions", functions)
        events = {
            (addresses[name], topic): event
            for name in CONTRACTS
            for topic, event in load_artefact(name).events.items()
        }
        object.__setattr__(self, "_events", events)

    def deployment(self, position: int, arguments: Sequence[Any] = ()) -> Call:
        """The call that deploys contract number ``position`` of the set."""
        artefact = load_artefact(CONTRACTS[position])
        data = artefact.bytecode + artefact.constructor.encode(arguments)
        return Call(to=None, data=data, gas=_DEPLOY_GAS)

    def call(self, contract: str, name: str, *arguments: Any) -> Call:
        """A call with its gas limit; raises ``ValueError`` for an argument out of its type's range."""
        function = self._functions[contract, name]
        data = function.selector + function.inputs.encode(arguments)
        longest = max((len(value) for value in arguments if isinstance(value, tuple | list)), default=0)
        gas = MAX_GAS if function.is_view else compute_gas_limit(name, longest)
        return Call(to=self.addresses[contract], data=data, gas=gas)

    def decode_call(self, call: Call) -> tuple[Function, tuple[Any, ...]]:
        """The function and arguments of a call, whatever its gas limit; raises ``ValueError`` as ``check_call``."""
        function = self.find_function(call)
        return function, function.inputs.decode(call.data[4:])

    def check_call(self, call: Call) -> Function:
        """The function of a call.

        Raises:
            ValueError: no contract of this set, no function of it, or not the canonical encoding and gas limit.
        """
        function = self.find_function(call)
        if call.gas != self.find_gas_limit(function, call):
            raise ValueError(f"gas limit {call.gas} is not that of {function.contract}.{function.name}")
        return function

    def find_gas_limit(self, function: Function, call: Call) -> int:
        """The gas limit that a call must carry; raises ``ValueError`` for arguments that are not canonical."""
        return compute_gas_limit(function.name, function.inputs.measure(call.data[4:]))

    def find_function(self, call: Call) -> Function:
        """The function that a call names; raises ``ValueError`` where a transaction may call no such one."""
        contract = self.names.get(call.to) if call.to is not None else None
        if contract is None:
            raise ValueError("not a contract of this task chain")
        function = load_artefact(contract).functions.get(call.data[:4])
        if function is None:
            raise ValueError(f"{contract} has no such function")
        if function.is_view:
            raise ValueError(f"{contract}.{function.name} is a view, not a transaction")
        return function

    def decode_deployment(self, call: Call, position: int) -> tuple[Any, ...]:
        """The constructor's arguments of a deployment of contract number ``position``; raises ``ValueError``."""
        artefact = load_artefact(CONTRACTS[position])
        if call.to is not None or call.gas != _DEPLOY_GAS or not call.data.startswith(artefact.bytecode):
            raise ValueError(f"not the deployment of {artefact.name} of the known contract set")
        arguments = artefact.constructor.decode(call.data[len(artefact.bytecode) :])
        links = _LINKS.get(artefact.name, ())
        if arguments[: len(links)] != tuple(self.addresses[name] for name in links):
            raise ValueError(f"{artefact.name} is not linked to the contracts of its own set")
        return arguments

    def decode_output(self, call: Call, output: bytes) -> tuple[Any, ...]:
        """The values that a call returned."""
        function = load_artefact(self.names[Address(call.to or b"")]).functions[call.data[:4]]
        if function.outputs is None:
            raise ValueError(f"{function.name}: its output's type is not supported")
        return function.outputs.decode(output)

    def decode_log(self, log: Log) -> Event:
        """The event in a log; raises ``ValueError`` for one that no contract of the set emits."""
        topics, data = log.topics, log.data
        event = self._events.get((log.address, topics[0])) if topics else None
        if event is None or len(topics) != 1 + len(event.topics):
            raise ValueError("a log of no event of the contract set")
        values = {
            name: decode(topic, 0) for (name, decode), topic in zip(event.topics, topics[1:], strict=True)
        }
        if event.words is None:
            values.update(zip(event.data_names, event.data.decode(data), strict=True))
        elif len(data) != WORD * len(event.words):
            raise ValueError("the data of an event are of another length")
        else:
            for name, decode, at in event.words:
                values[name] = decode(data, at)
        return Event(event.contract, event.name, values)


def compute_gas_limit(name: str, longest: int) -> int:
    """The gas limit that a call must carry: fixed by the call, so that nobody can make one fail by a low limit.

    Args:
        name: of the function.
        longest: length of the longest array among its arguments.

    Raises:
        ValueError: an array too long for the limit of a call.
    """
    if name in _WHOLE_GAS:
        return _WHOLE_GAS[name]
    per_element, per_square = _ELEMENT_GAS.get(name, (60_000, 0))
    limit = _BASE_GAS + _MORE_GAS.get(name, 0) + longest * (per_element + longest * per_square)
    if limit > MAX_GAS:
        raise ValueError(f"{name} of {longest} elements needs more than {MAX_GAS} gas: send it in parts")
    return limit

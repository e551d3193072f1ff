"""The contract set of a chain: artefacts, addresses, calls, events, gas limits.

A chain is one set of contracts (``contract_kinds``), deployed by the operator's first transactions in a fixed
order, so that the operator's address gives every other. The set's hash stands in every block: contracts are
immutable, a new set means a new chain, and records of an unknown set are refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from platoon.ledger.contract_kinds import DEPLOY_GAS, KINDS, TASK_CHAIN, ContractKind
from platoon.nouns import Address, Digest
from platoon.records.abi import Arguments, Decode, compile_codec, compute_selector, compute_topic
from platoon.records.encoding import WORD, compute_contract_address, keccak
from platoon.records.transactions import MAX_GAS, Call

CONTRACTS = TASK_CHAIN.contracts
"""Of a task chain, in the order of deployment."""


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
def compute_set_digest(kind: ContractKind = TASK_CHAIN) -> Digest:
    """The hash of the contract set: keccak over name and creation code of each, in the order of deployment."""
    return keccak(b"".join(keccak(name.encode() + load_artefact(name).bytecode) for name in kind.contracts))


def find_kind(digest: Digest) -> ContractKind:
    """The kind of chain whose set has this hash; raises ``ValueError`` where none is known."""
    for kind in KINDS:
        if compute_set_digest(kind) == digest:
            return kind
    raise ValueError(f"contract set {digest.hex()} is not known")


@dataclass(frozen=True)
class ContractSet:
    """The contracts of one operator: calls in, events out."""

    operator: Address
    kind: ContractKind = TASK_CHAIN
    addresses: dict[str, Address] = field(init=False)
    names: dict[Address, str] = field(init=False)
    _functions: dict[tuple[str, str], Function] = field(init=False, repr=False)
    _events: dict[tuple[Address, bytes], EventType] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        addresses = {
            name: compute_contract_address(self.operator, i) for i, name in enumerate(self.kind.contracts)
        }
        functions = {
            (name, function.name): function
            for name in self.kind.contracts
            for function in load_artefact(name).functions.values()
        }
        object.__setattr__(self, "addresses", addresses)
        object.__setattr__(self, "names", {address: name for name, address in addresses.items()})
        object.__setattr__(self, "_functions", functions)
        events = {
            (addresses[name], topic): event
            for name in self.kind.contracts
            for topic, event in load_artefact(name).events.items()
        }
        object.__setattr__(self, "_events", events)

    def deployment(self, position: int, arguments: Sequence[Any] = ()) -> Call:
        """The call that deploys contract number ``position`` of the set."""
        artefact = load_artefact(self.kind.contracts[position])
        data = artefact.bytecode + artefact.constructor.encode(arguments)
        return Call(to=None, data=data, gas=DEPLOY_GAS)

    def call(self, contract: str, name: str, *arguments: Any) -> Call:
        """A call with its gas limit; raises ``ValueError`` for an argument out of its type's range."""
        function = self._functions[contract, name]
        data = function.selector + function.inputs.encode(arguments)
        arrays = [
            value for codec, value in zip(function.inputs.codecs, arguments, strict=True) if codec.is_array
        ]
        longest = max(map(len, arrays), default=0)
        gas = MAX_GAS if function.is_view else self.kind.compute_gas_limit(name, longest)
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
        return self.kind.compute_gas_limit(function.name, function.inputs.measure(call.data[4:]))

    def find_function(self, call: Call) -> Function:
        """The function that a call names; raises ``ValueError`` where a transaction may call no such one."""
        contract = self.names.get(call.to) if call.to is not None else None
        if contract is None:
            raise ValueError(f"not a contract of this {self.kind.name}")
        function = load_artefact(contract).functions.get(call.data[:4])
        if function is None:
            raise ValueError(f"{contract} has no such function")
        if function.is_view:
            raise ValueError(f"{contract}.{function.name} is a view, not a transaction")
        return function

    def decode_deployment(self, call: Call, position: int) -> tuple[Any, ...]:
        """The constructor's arguments of a deployment of contract number ``position``; raises ``ValueError``."""
        artefact = load_artefact(self.kind.contracts[position])
        if call.to is not None or call.gas != DEPLOY_GAS or not call.data.startswith(artefact.bytecode):
            raise ValueError(f"not the deployment of {artefact.name} of the known contract set")
        arguments = artefact.constructor.decode(call.data[len(artefact.bytecode) :])
        links = self.kind.links.get(artefact.name, ())
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

"""Every decoder that reads what others sent or stored: arbitrary bytes are read or refused with ``ValueError``, and
nothing else happens. The list is held against the sources, so that a new decoder is in it or fails the suite."""

import ast
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platoon
from platoon.ledger.blocks import Header, Result, recover_sealers
from platoon.ledger.contract_kinds import KINDS
from platoon.ledger.contracts import ContractSet, Log, load_artefact
from platoon.nouns import Address, Digest, SignedUpdate
from platoon.protocol.wire import decode_seal_reply, decode_seal_request
from platoon.records.certificates import Certificate
from platoon.records.encoding import decode_number, decode_rlp, decode_strings, encode_rlp
from platoon.records.identity import Rotation
from platoon.records.lanes import unpack_lanes, unpack_scores
from platoon.records.listings import Description
from platoon.records.packed import unpack_settlement, unpack_taken, unpack_verdict
from platoon.records.sealed import TaskOrder
from platoon.records.signing import recover, recover_public_key, recover_update_signer
from platoon.records.transactions import MAX_GAS, Call, decode_transaction, recover_sender_key

SETS = [ContractSet(Address(b"\x11" * 20), kind) for kind in KINDS]
PAIRS = [(own, contract) for own in SETS for contract in own.kind.contracts]
ALL = sorted({contract for _, contract in PAIRS})
NOBODY = Address(bytes(20))


def read_all(reads: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]]) -> None:
    """Reads everything, whatever is refused; raises ``ValueError`` with all that was said."""
    said = []
    for read, arguments in reads:
        try:
            read(*arguments)
        except ValueError as error:
            said.append(str(error))
    if said:
        raise ValueError("; ".join(said))


def decode_any_call(data: bytes) -> None:
    """As data of a call of every contract."""
    read_all(
        (read, (Call(to=own.addresses[contract], data=data, gas=MAX_GAS),))
        for own, contract in PAIRS
        for read in (own.decode_call, own.check_call)
    )


def decode_any_log(data: bytes) -> None:
    """As a log of every contract: of each of its events in turn, and as topics before data."""
    topics = tuple(data[i : i + 32] for i in range(0, min(len(data), 96) // 32 * 32, 32))
    rest = data[len(topics) * 32 :]
    logs = [
        (own, Log(address=own.addresses[contract], topics=(event, *topics[: len(kind.topics)]), data=rest))
        for own, contract in PAIRS
        for event, kind in load_artefact(contract).events.items()
    ]
    logs += [(own, Log(address=own.addresses[contract], topics=topics, data=rest)) for own, contract in PAIRS]
    read_all((own.decode_log, (log,)) for own, log in logs)


def decode_any_deployment(data: bytes) -> None:
    """Behind the creation code of every contract."""
    read_all(
        (
            own.decode_deployment,
            (Call(to=None, data=load_artefact(name).bytecode + data, gas=6_000_000), place),
        )
        for own in SETS
        for place, name in enumerate(own.kind.contracts)
    )


def decode_any_output(data: bytes) -> None:
    """As what any function returns."""
    read_all(
        (own.decode_output, (Call(to=own.addresses[contract], data=selector, gas=MAX_GAS), data))
        for own, contract in PAIRS
        for selector in load_artefact(contract).functions
    )


def decode_any_arguments(data: bytes) -> None:
    """As arguments of every function, and as data of every event."""
    artefacts = [load_artefact(contract) for contract in ALL]
    inputs = [function.inputs for artefact in artefacts for function in artefact.functions.values()]
    events = [event.data for artefact in artefacts for event in artefact.events.values()]
    read_all((codecs.decode, (data,)) for codecs in [*inputs, *events])


def recover_any_update(data: bytes) -> None:
    """As the signature of an update."""
    digest = Digest(bytes(32))
    recover_update_signer(
        SignedUpdate(task=digest, round=1, vehicle=NOBODY, digest=digest, samples=1, signature=data)
    )


def as_words(data: bytes) -> list[int]:
    """Words of 256 bits."""
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "ledger/blocks.py: decode Header": Header.decode,
    "ledger/blocks.py: decode Result": Result.decode,
    "ledger/blocks.py: recover_sealers": lambda data: recover_sealers(Digest(bytes(32)), data),
    "ledger/contracts.py: decode_call ContractSet": decode_any_call,
    "ledger/contracts.py: decode_deployment ContractSet": decode_any_deployment,
    "ledger/contracts.py: decode_log ContractSet": decode_any_log,
    "ledger/contracts.py: decode_output ContractSet": decode_any_output,
    "protocol/wire.py: decode_seal_reply": decode_seal_reply,
    "protocol/wire.py: decode_seal_request": decode_seal_request,
    "records/abi.py: decode Arguments": decode_any_arguments,
    "records/certificates.py: decode Certificate": Certificate.decode,
    "records/encoding.py: decode_number": decode_number,
    "records/encoding.py: decode_rlp": decode_rlp,
    "records/encoding.py: decode_strings": decode_strings,
    "records/identity.py: decode Rotation": Rotation.decode,
    "records/lanes.py: unpack_lanes": lambda data: unpack_lanes(as_words(data)),
    "records/lanes.py: unpack_scores": lambda data: unpack_scores([0, *as_words(data)], 7),
    "records/packed.py: unpack_settlement": lambda data: [unpack_settlement(word) for word in as_words(data)],
    "records/packed.py: unpack_taken": lambda data: [unpack_taken(word) for word in as_words(data)],
    "records/packed.py: unpack_verdict": lambda data: [unpack_verdict(word) for word in as_words(data)],
    "records/sealed.py: decode TaskOrder": TaskOrder.decode,
    "records/listings.py: decode Description": lambda data: Description.decode(
        [data[i : i + 32] for i in range(0, len(data), 32)]
    ),
    "records/signing.py: recover": lambda data: recover(Digest(bytes(32)), data),
    "records/signing.py: recover_public_key": lambda data: recover_public_key(Digest(bytes(32)), data),
    "records/transactions.py: recover_sender_key": recover_sender_key,
    "records/signing.py: recover_update_signer": recover_any_update,
    "records/transactions.py: decode_transaction": decode_transaction,
}
"""By file and name, what takes bytes."""


PREFIXES = ("decode", "unpack_", "recover")


def find_decoders() -> set[str]:
    """Every public function of records, ledger and protocol whose name says that it decodes."""
    root, found = Path(platoon.__file__).parent, set()
    for folder in ("records", "ledger", "protocol"):
        for path in (root / folder).glob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                owner = f" {node.name}" if isinstance(node, ast.ClassDef) else ""
                for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
                    if isinstance(inner, ast.FunctionDef) and inner.name.startswith(
                        ("decode", "unpack_", "recover")
                    ):
                        found.add(f"{folder}/{path.name}: {inner.name}{owner}")
    return found


OTHERS = {
    "ledger/model_checkpoint.py: recover_signers",  # v, r, s of the model's calls: tests/ledger/test_every_call.py
    "protocol/checks.py: recover_seal",  # remembers what records.signing.recover says
}


def test_every_decoder_is_in_the_list():
    assert find_decoders() - OTHERS == set(DECODERS)


nested: st.SearchStrategy[Any] = st.recursive(
    st.binary(max_size=66), lambda inner: st.lists(inner, max_size=9), max_leaves=14
)
garbage = (
    st.binary(max_size=400)
    | st.sampled_from([0, 1, 31, 32, 33, 64, 65, 96, 128, 160, 320]).flatmap(
        lambda n: st.binary(min_size=n, max_size=n)
    )
    | nested.map(encode_rlp)
    | st.sampled_from(
        [selector for name in ALL for selector in load_artefact(name).functions],
    ).flatmap(lambda selector: st.binary(max_size=130).map(lambda rest: selector + rest))
)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=60, deadline=None)
@given(data=garbage)
def test_arbitrary_bytes_are_read_or_refused(name, data):
    with contextlib.suppress(ValueError):
        DECODERS[name](data)

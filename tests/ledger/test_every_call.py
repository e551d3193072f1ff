"""Every public function of every contract, as the artefacts list them: called by the wrong role, at the bounds of
every integer, with arbitrary arguments and with arbitrary bytes. A new function is in these tests from the moment
it is compiled, and fails them until somebody has said who may call it."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.test_contracts_equal_model import (
    EVERYBODY,
    OPERATOR,
    PUBLISHER,
    SERVERS,
    SET,
    STRANGER,
    VEHICLES,
    Pair,
    read_updates_digest,
    sign_update,
)

from platoon.ledger.contracts import CONTRACTS, Function, load_artefact
from platoon.ledger.evm import Execution, _read_slots
from platoon.nouns import Address
from platoon.records.abi import Codec
from platoon.records.lanes import pack_scores
from platoon.records.rules import Rules
from platoon.records.signing import split_signature

FUNCTIONS = {
    f"{f.contract}.{f.name}": f for name in CONTRACTS for f in load_artefact(name).functions.values()
}
CALLS = sorted(name for name, function in FUNCTIONS.items() if not function.is_view)
VIEWS = sorted(name for name, function in FUNCTIONS.items() if function.is_view)

OPERATOR_ONLY, PUBLISHER_ONLY = "only the operator", "only the publisher"
EDGE_SERVERS_ONLY = "not an edge server"
REFUSALS = {
    **dict.fromkeys(
        ("Registry.register", "Registry.revoke", "Registry.bind", "Token.mint", "Token.close_minting"),
        OPERATOR_ONLY,
    ),
    **dict.fromkeys(("Escrow.bind", "Admission.trust_issuers", "Admission.distrust"), OPERATOR_ONLY),
    **dict.fromkeys(
        ("Escrow.fund", "Escrow.withdraw", "Sealing.fund", "Sealing.withdraw", "Training.close"),
        PUBLISHER_ONLY,
    ),
    **dict.fromkeys(
        (f"Training.{step}" for step in ("record", "score", "judge", "vote", "settle")), EDGE_SERVERS_ONLY
    ),
    **dict.fromkeys(
        (f"Agreements.{step}" for step in ("publish", "join", "respond", "pay_order")), EDGE_SERVERS_ONLY
    ),
    **dict.fromkeys(("Training.commit_probe", "Registry.rotate", "Checkpoint.anchor"), EDGE_SERVERS_ONLY),
    **dict.fromkeys(("Sealing.release", "Stakes.deposit"), EDGE_SERVERS_ONLY),
    **dict.fromkeys(("Admission.admit_certified", "Admission.admit_attested"), EDGE_SERVERS_ONLY),
    **dict.fromkeys(("Plausibility.report", "Plausibility.review"), EDGE_SERVERS_ONLY),
    **dict.fromkeys(("Escrow.pay", "Stakes.settle"), "only the training"),
    "Registry.begin": "only the admission",
    "Training.correct": "only the plausibility",
    "Plausibility.appeal": "not a vehicle",
    "Checkpoint.report_fork": "not registered",
}
"""What a caller of the wrong role is told."""
ANYBODY = {"Token.transfer", "Token.transfer_many", "Token.approve", "Token.transferFrom", "Stakes.withdraw"}
"""Of one's own tokens, or of what one has at stake: nobody has a role here, having nothing is what refuses."""
ENTITLED = {
    OPERATOR_ONLY: [OPERATOR],
    PUBLISHER_ONLY: [PUBLISHER],
    EDGE_SERVERS_ONLY: SERVERS,
    "not a vehicle": VEHICLES,
    "not registered": [PUBLISHER, *SERVERS, *VEHICLES],
    "only the training": [],
    "only the admission": [],
    "only the plausibility": [],
}

BOUNDS = sorted({edge + off for edge in (2**31, 2**32, 2**63, 2**64, 10**6, 2**255) for off in (-1, 0, 1)})
integers = st.sampled_from([0, 1, 2, 127, 128, 129, *BOUNDS, 2**256 - 1]) | st.integers(0, 2**256 - 1)
signed = st.sampled_from([-(2**255), 1 - 2**255, -(2**63), -(10**6), -1, 0, 1, 10**6, 2**63, 2**255 - 1])
accounts = st.sampled_from(
    [*(account.address for account in EVERYBODY), *SET.addresses.values(), bytes(20), b"\xff" * 20]
)
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "uint256": integers,
    "int256": signed,
    "address": accounts,
    "bytes32": st.sampled_from([bytes(32), b"\x01" * 32, b"\xff" * 32]) | st.binary(min_size=32, max_size=32),
    "bool": st.booleans(),
}


def make_values(codec: Codec) -> st.SearchStrategy[Any]:
    """Any value of a parameter's type."""
    element = codec.signature.removesuffix("[]")
    parts = element[1:-1].split(",") if element.startswith("(") else None
    value = st.tuples(*(WORDS[part] for part in parts)) if parts else WORDS[element]
    return st.lists(value, max_size=4) if codec.is_array else value


def make_arguments(function: Function) -> st.SearchStrategy[tuple[Any, ...]]:
    """Any arguments of a function."""
    return st.tuples(*(make_values(codec) for codec in function.inputs.codecs))


class Stage:
    """The contracts in one phase of a round; whatever is tried on it is taken back."""

    def __init__(self, phase: str) -> None:
        self.pair = Pair(Rules(pool=100))
        self.machine = self.pair.machine
        entries = []
        for account in sorted(VEHICLES[:2], key=lambda account: account.address):
            task = self.pair.model.training.task
            update = sign_update(account, task, round=1, digest=bytes([5]) * 32, samples=300)
            entries.append(
                (update.vehicle, update.digest, update.samples, *split_signature(update.signature))
            )
        for i, server in enumerate(SERVERS[:3]):
            self.call(server, "record", 1, entries if i == 0 else [])
        if phase == "recording":
            return
        digest = read_updates_digest(self.pair.model.training)
        for server in SERVERS[:3]:
            self.call(server, "score", 1, digest, pack_scores([700_000, 800_000], 1_000_000))
        if phase == "judged":
            self.call(SERVERS[0], "judge", 1)
            self.call(SERVERS[0], "vote", 1, b"\x02" * 32)

    def call(self, account: Any, name: str, *arguments: Any) -> None:
        assert self.pair.both(account, "Training", name, *arguments)

    def storage(self) -> dict[tuple[str, int], int]:
        """Everything that is stored, to the bit."""
        return {(a, slot): value for a, slot, value in _read_slots(self.machine._evm.journal_str) if value}

    def attempt(self, sender: Address, to: Address, data: bytes, gas: int) -> Execution:
        """A call that is taken back; a refused one has changed nothing and said nothing."""
        evm, before = self.machine._evm, self.storage()
        start = evm.snapshot()
        try:
            execution = self.machine.execute(sender, to, data, gas)
            if execution.ok:
                for log in execution.logs:
                    SET.decode_log(log)
            else:
                assert execution.error
                assert not execution.logs
                assert self.storage() == before
            return execution
        finally:
            evm.revert(start)
            assert self.storage() == before


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    """The three phases of a round."""
    return {phase: Stage(phase) for phase in ("recording", "scoring", "judged")}


def find_plain(function: Function) -> Iterator[Any]:
    """Arguments of the right types that mean nothing."""
    words = {"uint256": 1, "int256": 1, "address": VEHICLES[0].address, "bytes32": b"\x01" * 32, "bool": True}
    for codec in function.inputs.codecs:
        element = codec.signature.removesuffix("[]")
        parts = element[1:-1].split(",") if element.startswith("(") else None
        value: Any = tuple(words[part] for part in parts) if parts else words[element]
        yield [value] if codec.is_array else value


def test_every_function_is_one_that_the_model_has_and_somebody_may_call():
    handled = {f"{contract}.{name}" for contract, name in Pair(Rules()).model._handlers}
    assert handled == set(CALLS), "a function without a plain-integer model, or the other way round"
    assert set(REFUSALS) | ANYBODY == set(CALLS), "say in REFUSALS or ANYBODY who may call it"


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_invalid_calls_by_the_wrong_role(stages, name):
    function, reason = FUNCTIONS[name], REFUSALS[name]
    call = SET.call(function.contract, function.name, *find_plain(function))
    for stage in stages.values():
        for account in EVERYBODY:
            execution = stage.attempt(account.address, SET.addresses[function.contract], call.data, call.gas)
            assert (execution.error == reason) == (account not in ENTITLED[reason]), account


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_arbitrary_calls_change_all_or_nothing(stages, name, data):
    function = FUNCTIONS[name]
    entitled = ENTITLED.get(REFUSALS.get(name, ""), []) or EVERYBODY
    sender = data.draw(st.sampled_from([*entitled, STRANGER])).address
    call = SET.call(function.contract, function.name, *data.draw(make_arguments(function)))
    stage = stages[data.draw(st.sampled_from(sorted(stages)))]
    stage.attempt(sender, SET.addresses[function.contract], call.data, call.gas)


@pytest.mark.parametrize("contract", CONTRACTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_arbitrary_bytes_change_all_or_nothing(stages, contract, data):
    selectors = [bytes(4), *load_artefact(contract).functions]
    calldata = data.draw(st.sampled_from(selectors)) + data.draw(st.binary(max_size=200))
    sender = data.draw(st.sampled_from(EVERYBODY)).address
    cut = data.draw(st.integers(0, len(calldata)))
    stages["recording"].attempt(sender, SET.addresses[contract], calldata[:cut], 10**6)


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_arbitrary_views_answer_or_refuse_and_change_nothing(stages, name, data):
    function, stage = FUNCTIONS[name], stages["scoring"]
    call = SET.call(function.contract, function.name, *data.draw(make_arguments(function)))
    before = stage.storage()
    try:
        output = stage.machine.read(SET.addresses[function.contract], call.data)
    except ValueError:
        output = None
    if output is not None and function.outputs is not None:
        SET.decode_output(call, output)
    assert stage.storage() == before

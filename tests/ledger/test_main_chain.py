"""The main chain's contracts and their reference in plain integers: equal over arbitrary calls, within every gas
limit, and a record in which nothing can be changed unseen."""

import re
import sqlite3
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.errors import VerificationError
from platoon.ledger.contract_kinds import MAIN_CHAIN
from platoon.ledger.contracts import ContractSet, load_artefact
from platoon.ledger.evm import Machine
from platoon.ledger.main_chain import MainChain, MainRules, list_founding_calls, verify_main_chain
from platoon.ledger.membership import Membership
from platoon.ledger.model_shards import MainModel
from platoon.ledger.shard_reports import StandingsReport
from platoon.nouns import MILLION, Digest
from platoon.records.identity import sign_rotation
from platoon.records.rules import MAX_EDGE_SERVERS
from platoon.records.shards import MAX_EVIDENCE, MAX_ROWS, MAX_SHARDS, Reputation, Row, compute_report_digest
from platoon.records.signing import simulated_account, split_signature

CHAIN_ID = 7400
OPERATOR = simulated_account(4, "operator", 0)
SERVERS = [simulated_account(4, "edge server", i) for i in range(3)]
VEHICLES = [simulated_account(4, "vehicle", i) for i in range(3)]
SPARES = [simulated_account(4, "spare", i) for i in range(2)]
STRANGER = simulated_account(4, "stranger", 0)
KEEPERS = sorted((simulated_account(4, "keeper", i) for i in range(4)), key=lambda account: account.address)
"""Edge servers of the task chains."""
EVERYBODY = [OPERATOR, *SERVERS, *VEHICLES, *SPARES, STRANGER, *KEEPERS]
FLEET = [account.address for account in (*VEHICLES, *SPARES)]
SHARDS = [Digest(bytes([0x0C + i]) * 32) for i in range(2)]
SET = ContractSet(OPERATOR.address, MAIN_CHAIN)
RULES = MainRules(start=600_000, most=3 * MILLION)
CODE_LIMIT = 24_576
"""Runtime bytes, EIP-170."""

ppm = st.integers(0, MILLION) | st.sampled_from([0, 1, MILLION])


class Pair:
    """The contracts in an EVM, and the reference."""

    def __init__(self) -> None:
        self.machine = Machine(CHAIN_ID)
        calls = list_founding_calls(
            OPERATOR.address, [s.address for s in SERVERS], [v.address for v in VEHICLES], RULES
        )
        self.model = MainModel(SET, CHAIN_ID, start=RULES.start, most=RULES.most)
        for call in calls:
            if call.to is None:
                assert self.machine.execute(OPERATOR.address, None, call.data, call.gas).ok
                continue
            function, arguments = SET.decode_call(call)
            assert self.both(OPERATOR, function.contract, function.name, *arguments)

    def both(self, account: Any, contract: str, name: str, *arguments: Any) -> bool:
        """One call to both; they must say the same, and a refusal must change nothing."""
        before = self.read()
        call = SET.call(contract, name, *arguments)
        execution = self.machine.execute(account.address, SET.addresses[contract], call.data, call.gas)
        outcome = self.model.apply(account.address, contract, name, arguments)
        assert (execution.ok, execution.error) == (outcome.ok, outcome.error), (contract, name, arguments)
        assert tuple(SET.decode_log(log) for log in execution.logs) == outcome.events
        after = self.read()
        assert execution.ok or after == before
        shards = self.model.shards
        assert after == (
            [tuple(shards.reputation(account)) for account in FLEET],
            [(n, *said) for task in SHARDS for n, said in (shards.reported(task, who) for who in FLEET)],
            [shards.members.get(task, ()) for task in SHARDS],
        )
        return execution.ok

    def read(self) -> Any:
        """What the contract says of its state."""
        return (
            [self.view("reputation", account) for account in FLEET],
            [self.view("reported", task, account) for task in SHARDS for account in FLEET],
            [self.view("shard", task)[0] for task in SHARDS],
        )

    def view(self, name: str, *arguments: Any) -> Any:
        call = SET.call("Shards", name, *arguments)
        return SET.decode_output(call, self.machine.read(SET.addresses["Shards"], call.data))


@st.composite
def shard_calls(draw: st.DrawFn) -> tuple[Any, str, str, tuple[Any, ...]]:
    """Shards that are listed, closed and listed again, and their reports: mostly whole and sealed by enough."""
    task = draw(st.sampled_from(SHARDS))
    if draw(st.integers(0, 3)) == 0:
        keepers = draw(st.sampled_from([KEEPERS, KEEPERS, KEEPERS[:2], [], KEEPERS[::-1]]))
        sender = draw(st.sampled_from([OPERATOR, OPERATOR, OPERATOR, SERVERS[0]]))
        return sender, "Shards", "list_shard", (task, [keeper.address for keeper in keepers])
    fleet = draw(st.lists(st.sampled_from([*FLEET, STRANGER.address]), unique=True, max_size=5))
    evidence = st.integers(0, 2 * RULES.most) | st.integers(0, MAX_EVIDENCE)
    spoilt = draw(st.sampled_from([None] * 8 + ["evidence", "reputation", "order"]))
    rows = [
        int.from_bytes(vehicle, "big") << 96 | draw(evidence) << 32 | draw(ppm) for vehicle in sorted(fleet)
    ]
    if rows and spoilt:
        rows[-1] |= {"evidence": (MAX_EVIDENCE + 1) << 32, "reputation": 2**31, "order": 0}[spoilt]
        rows = rows[::-1] if spoilt == "order" else rows
    number = draw(st.integers(0, 4) | st.sampled_from([1, 2, 2**63 - 1, 2**63]))
    keepers = draw(st.sampled_from([*[KEEPERS] * 6, KEEPERS[:3], KEEPERS[:2], KEEPERS[::-1], [STRANGER]]))
    signed = rows if number >= 2**64 or draw(st.integers(0, 7)) else []
    seals = [split_signature(keeper.sign(compute_report_digest(task, number, signed))) for keeper in keepers]
    sender = draw(st.sampled_from([*SERVERS, *SERVERS, OPERATOR]))
    return sender, "Shards", "report_standings", (task, number, rows, seals)


@st.composite
def membership_calls(draw: st.DrawFn) -> tuple[Any, str, str, tuple[Any, ...]]:
    """Pseudonyms that change, and parts that end."""
    if draw(st.integers(0, 3)) == 0:
        whom = draw(st.sampled_from(EVERYBODY)).address
        return draw(st.sampled_from([OPERATOR, STRANGER])), "Registry", "revoke", (whom,)
    old, new = draw(st.sampled_from([*VEHICLES, *SPARES])), draw(st.sampled_from([*SPARES, STRANGER]))
    registry = MainModel(SET, CHAIN_ID, start=0, most=1).registry.separator
    rotation = sign_rotation(registry, retired=old, renewed=new)
    call = Membership(contracts=SET).rotate([rotation])
    return draw(st.sampled_from(SERVERS)), "Registry", "rotate", SET.decode_call(call)[1]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_contract_and_model_agree_on_what_shards_say(data):
    pair = Pair()
    for task in SHARDS:
        assert pair.both(OPERATOR, "Shards", "list_shard", task, [keeper.address for keeper in KEEPERS])
    for _ in range(data.draw(st.integers(3, 12))):
        account, contract, name, arguments = data.draw(shard_calls() | shard_calls() | membership_calls())
        pair.both(account, contract, name, *arguments)


def test_contract_and_model_agree_on_the_last_shard_that_there_is_room_for():
    pair = Pair()
    keepers = [keeper.address for keeper in KEEPERS]
    for number in range(1, MAX_SHARDS + 1):
        assert pair.both(OPERATOR, "Shards", "list_shard", bytes([number]) * 32, keepers)
    assert not pair.both(OPERATOR, "Shards", "list_shard", bytes([MAX_SHARDS + 1]) * 32, keepers)
    assert pair.both(OPERATOR, "Shards", "list_shard", bytes([MAX_SHARDS]) * 32, [])


def test_contract_and_model_agree_on_evidence_that_no_cap_keeps_down():
    pair = Pair()
    row = int.from_bytes(VEHICLES[0].address, "big") << 96 | MAX_EVIDENCE << 32 | MILLION
    for task in SHARDS:
        assert pair.both(OPERATOR, "Shards", "list_shard", task, [KEEPERS[0].address])
        seal = split_signature(KEEPERS[0].sign(compute_report_digest(task, 2**63 - 1, [row])))
        assert pair.both(SERVERS[0], "Shards", "report_standings", task, 2**63 - 1, [row], [seal])
    assert pair.view("reputation", VEHICLES[0].address) == (MILLION, 2 * RULES.most)


FUNCTIONS = {
    f"{f.contract}.{f.name}": f
    for name in MAIN_CHAIN.contracts
    for f in load_artefact(name).functions.values()
}
integers = st.sampled_from([0, 1, 2**32, 2**63, 2**64, 2**96, 2**255, 2**256 - 1]) | st.integers(
    0, 2**256 - 1
)
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "uint256": integers,
    "address": st.sampled_from([*(a.address for a in EVERYBODY), bytes(20), b"\xff" * 20]),
    "bytes32": st.sampled_from([bytes(32), *SHARDS, b"\xff" * 32]),
}


@pytest.mark.parametrize("name", sorted(n for n, function in FUNCTIONS.items() if not function.is_view))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_contract_and_model_agree_on_arbitrary_calls(name, data):
    function, arguments = FUNCTIONS[name], []
    for codec in function.inputs.codecs:
        element = codec.signature.removesuffix("[]")
        parts = element[1:-1].split(",") if element.startswith("(") else None
        value = st.tuples(*(WORDS[part] for part in parts)) if parts else WORDS[element]
        arguments.append(data.draw(st.lists(value, max_size=3) if codec.is_array else value))
    sender = data.draw(st.sampled_from(EVERYBODY))
    Pair().both(sender, function.contract, function.name, *arguments)


def test_the_largest_report_stays_within_its_gas_limit():
    keepers = sorted(
        (simulated_account(5, "keeper", i) for i in range(MAX_EDGE_SERVERS)), key=lambda a: a.address
    )
    fleet = sorted(simulated_account(5, "vehicle", i).address for i in range(MAX_ROWS))
    machine = Machine(CHAIN_ID)
    for call in list_founding_calls(OPERATOR.address, [SERVERS[0].address], fleet, RULES):
        assert machine.execute(OPERATOR.address, call.to, call.data, call.gas).ok

    def run(account, name, *arguments):
        call = SET.call("Shards", name, *arguments)
        result = machine.execute(account.address, call.to, call.data, call.gas)
        assert result.ok, (name, result.error)
        assert result.gas < 0.9 * call.gas, (name, result.gas, call.gas)
        return [SET.decode_log(log) for log in result.logs]

    # every slot for the first time, in the place that is left last, under the longest list of seals
    for number in range(1, MAX_SHARDS):
        run(OPERATOR, "list_shard", bytes([number]) * 32, [KEEPERS[0].address])
    task = Digest(b"\xaa" * 32)
    run(OPERATOR, "list_shard", task, [keeper.address for keeper in keepers])
    rows = tuple(Row(vehicle, Reputation(MILLION, MAX_EVIDENCE)) for vehicle in fleet)
    report = StandingsReport(task=task, round=2**63 - 1, rows=rows)
    seals = [split_signature(report.sign(keeper)) for keeper in keepers]
    (said,) = run(SERVERS[0], "report_standings", task, report.round, report.words, seals)
    assert said.values["taken"] == MAX_ROWS


def test_the_contract_is_small_enough_to_deploy_anywhere():
    assert len(load_artefact("Shards").bytecode) < CODE_LIMIT


@pytest.fixture
def recorded(tmp_path):
    """The file of a main chain with a shard, a report, and a refused one."""
    path = tmp_path / "main.sqlite"
    chain = MainChain.create(
        path,
        chain_id=CHAIN_ID,
        operator=OPERATOR,
        edge_servers=SERVERS,
        vehicles=[vehicle.address for vehicle in VEHICLES],
    )
    assert chain.submit(OPERATOR, [chain.list_call(SHARDS[0], [KEEPERS[0].address])])[0].ok
    row = Row(VEHICLES[0].address, Reputation(700_000, MILLION))
    report = StandingsReport(task=SHARDS[0], round=1, rows=(row,))
    for keeper, ok in ((KEEPERS[0], True), (KEEPERS[1], False)):
        assert chain.submit(SERVERS[0], [chain.report_call(report, [report.sign(keeper)])])[0].ok == ok
    chain.close()
    return path


def test_a_record_is_verified_with_its_refusals(recorded):
    chain = verify_main_chain(recorded)
    assert chain.reputation(VEHICLES[0].address) == Reputation(700_000, MILLION)
    assert chain.ledger.height == 4
    chain.close()


@pytest.mark.parametrize("column", ["header", "transactions", "receipts", "seals"])
@pytest.mark.parametrize("height", range(4))
def test_no_changed_byte_goes_unseen(recorded, column, height):
    with sqlite3.connect(recorded) as database:
        (data,) = database.execute(f"SELECT {column} FROM blocks WHERE height = ?", (height,)).fetchone()
        middle = len(data) // 2
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        database.execute(f"UPDATE blocks SET {column} = ? WHERE height = ?", (changed, height))
    with pytest.raises(VerificationError):
        verify_main_chain(recorded).close()


def test_invalid_rule_in_the_contracts_is_found_by_the_model(recorded, monkeypatch):
    # a contract that counted otherwise than the rules: every receipt is recomputed beside it
    monkeypatch.setattr("platoon.ledger.model_shards.compute_quorum", lambda members: members + 1)
    words = "Shards.report_standings: the receipt says 'accepted', the rules say 'seals lack a quorum'"
    with pytest.raises(VerificationError, match=re.escape(words)):
        verify_main_chain(recorded).close()


def test_invalid_seals_of_strangers(recorded, monkeypatch):
    # the engine that writes is made to let a stranger seal; hashes and commits all match
    chain = MainChain.open(recorded, edge_servers=SERVERS)
    monkeypatch.setattr(chain.ledger, "_seal", STRANGER.sign)
    assert chain.submit(OPERATOR, [chain.list_call(SHARDS[1], [KEEPERS[0].address])])[0].ok
    chain.close()
    MainChain.open(recorded).close()
    with pytest.raises(VerificationError, match=f"block 4: sealed by 0x{STRANGER.address.hex()}"):
        verify_main_chain(recorded).close()

"""Edge servers that tamper with their local blocks, and committee members that refuse or sign two: who finds it,
what it costs, and that no update enters a model that its vehicle did not sign."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.conftest import TOY, Play, Played, play_scenario

from platoon.drivers.lossy import Faults, Network
from platoon.drivers.tampering import BLOCK_BEHAVIOURS, Faulty
from platoon.ledger.audit import AuditedRound, audit
from platoon.nouns import EdgeServerId, VehicleId, seconds
from platoon.records.rules import compute_quorum
from platoon.scenario import Scenario

FOUR = {"committee.full_share": 1.0, "committee.floor": 0.0, "round.participants": 9, "task.rounds": 2}
ONE = {**FOUR, "radio.rsus": 1, "trust.probation_slots": 0}
"""A committee of the edge server and six of nine vehicles."""
LIAR = EdgeServerId(2)
ALL = frozenset(range(9))


def rounds_of(played: Played) -> list[AuditedRound]:
    """The rounds of a played task, checked by the audit."""
    played.chain.ledger.close()
    assert played.path is not None
    return list(audit(played.path))[1:]


def faults_of(rounds: list[AuditedRound]) -> list[tuple[int, int, str, str]]:
    return [(f.round, f.edge_server, f.found_by, f.why) for each in rounds for f in each.block_faults]


def tamper(behaviour: str, members: frozenset[int] = frozenset(), server: int = LIAR) -> Faulty:
    return Faulty(
        servers=frozenset({server}), behaviour=behaviour, members=members, member_behaviour="equivocate"
    )


def test_honest_parties_leave_no_fault(play: Play) -> None:
    played = play(overrides=FOUR)
    assert faults_of(rounds_of(played)) == []
    assert played.fates == {1: {}, 2: {}}


def test_a_committee_seals_no_block_with_a_changed_update(play: Play) -> None:
    """Its edge server shows it one. Nobody signs; the honest block goes out unsealed: that is all to be seen."""
    honest, told = play(overrides=FOUR), play(overrides=FOUR, faulty=tamper("proposal"))
    rounds = rounds_of(told)
    assert told.fates == {1: {LIAR: "given up"}, 2: {LIAR: "given up"}}
    assert faults_of(rounds) == []
    for audited in rounds:
        blocks = {local.block.edge_server: local.block.sealed for local in audited.local_blocks}
        assert sorted(blocks.values()) == [False, True, True, True]
    assert told.agreed[0] == honest.agreed[0]


@pytest.mark.parametrize(
    ("behaviour", "refused"),
    [
        ("root", ["its local block was refused"]),
        ("update", ["its record was refused (bad signature)", "its local block was refused"]),
        ("second", ["its local block was refused (seals lack a quorum)"]),
    ],
)
def test_the_contract_refuses(play: Play, behaviour: str, refused: list[str]) -> None:
    """Another root under its committee's seals, an update that its vehicle did not sign, seals that it lacks."""
    played = play(overrides=FOUR, faulty=tamper(behaviour))
    rounds = rounds_of(played)
    assert played.fates == {1: {LIAR: "sent"}, 2: {LIAR: "sent"}}
    for audited in rounds:
        found = faults_of([audited])
        assert [row[:3] for row in found] == [(audited.round, LIAR, "contract")] * len(refused)
        assert all(row[3].startswith(words) for row, words in zip(found, refused, strict=True))
    assert played.chain.local_tips()[LIAR].height == 0


def test_a_changed_update_costs_all_updates_of_its_edge_server(play: Play) -> None:
    """Its record is refused whole, so it is absent; what the others recorded is merged."""
    honest, told = play(overrides=FOUR), play(overrides=FOUR, faulty=tamper("update"))
    for record, usual in zip(told.records, honest.records, strict=True):
        assert record.outcome == "merged"
        assert [row.missed for row in record.settled.conduct] == [(), (), ("record",), ()]
        there, before = (
            {u.vehicle for u in r.settled.merged.judged.updates if u.edge_server != LIAR}
            for r in (record, usual)
        )
        assert there == {u.vehicle for u in record.settled.merged.judged.updates}
        assert record.cohort.round > 1 or there == before


def test_the_audit_names_a_block_that_was_anchored_alone(play: Play) -> None:
    """The contract takes any root of an edge server that signs by itself; the model has what it recorded."""
    honest, told = play(overrides=FOUR), play(overrides=FOUR, faulty=tamper("alone"))
    why = "its local block is not what it recorded"
    assert faults_of(rounds_of(told)) == [(number, LIAR, "audit", why) for number in (1, 2)]
    assert told.agreed == honest.agreed[:2] + told.agreed[2:]
    assert told.chain.local_tips()[LIAR].unsealed == 2


def test_the_audit_names_a_second_block_that_a_quorum_signed(play: Play) -> None:
    """All members sign two: the contract cannot tell the second from the first."""
    played = play(overrides=FOUR, faulty=tamper("second", ALL))
    rounds = rounds_of(played)
    assert {row[1:3] for row in faults_of(rounds)} == {(LIAR, "audit")}
    blocks = [local for audited in rounds for local in audited.local_blocks if not local.is_recorded]
    assert [local.block.sealed for local in blocks] == [True, True]
    assert all(local.is_drawn for local in blocks)


def test_the_audit_names_a_committee_of_the_edge_servers_own_choice(play: Play) -> None:
    """One member of six is enough for a seal that the contract takes: it cannot draw. The audit draws."""
    six = rounds_of(play(overrides=ONE))[0].local_blocks[0].committee
    accounts = [update.address for update in rounds_of(play(overrides=ONE))[0].updates]
    friend = next(vehicle for vehicle, address in enumerate(accounts) if address in six)
    played = play(overrides=ONE, faulty=tamper("committee", frozenset({friend}), server=0))
    (first, *_) = rounds_of(played)
    (local,) = first.local_blocks
    assert (local.block.sealed, len(local.signers)) == (True, 2)
    assert [fault.why for fault in first.block_faults] == [
        "its local block is not what it recorded",
        "its committee is not the one that was drawn",
    ]


def test_what_an_edge_server_leaves_out_altogether_nobody_can_see(play: Play) -> None:
    """An update that it neither shows to its committee nor records might as well never have reached it: the others
    seal the block, the record fits it, and the vehicle's work is lost."""
    honest, told = play(overrides=FOUR), play(overrides=FOUR, faulty=tamper("omission"))
    rounds = rounds_of(told)
    assert faults_of(rounds) == []
    for audited, record in zip(rounds, told.records, strict=True):
        lost = set(record.arrivals.updates) - {update.vehicle for update in audited.updates}
        assert [vehicle % 4 for vehicle in lost] == [LIAR]
    (first,) = [local for local in rounds[0].local_blocks if local.block.edge_server == told_account(told)]
    assert (first.block.count, first.is_recorded, first.is_drawn) == (1, True, True)
    before, after = (len(played.records[0].settled.merged.weights) for played in (honest, told))
    assert before - after in (0, 1)


def told_account(played: Played) -> bytes:
    return played.chain.local_tips()[LIAR].edge_server


@pytest.mark.parametrize("refusing", range(10))
def test_members_that_refuse_are_replaced_as_far_as_it_goes(play: Play, refusing: int) -> None:
    """Six members, three reserves, a quorum of five with the edge server: five of nine may refuse, since three are
    replaced; with six there are too few, and the block is unsealed. It is merged all the same."""
    faulty = Faulty(members=frozenset(range(refusing)), member_behaviour="refuse")
    played = play(overrides={**ONE, "task.rounds": 1}, faulty=faulty)
    (audited,) = rounds_of(played)
    (local,) = audited.local_blocks
    assert local.block.sealed == (refusing <= 5)
    assert faults_of([audited]) == []
    assert played.records[0].outcome == "merged"


def test_members_that_sign_two_harm_nobody_where_the_edge_server_is_honest(play: Play) -> None:
    faulty = Faulty(members=ALL, member_behaviour="equivocate")
    told, honest = play(overrides=FOUR, faulty=faulty), play(overrides=FOUR)
    assert told.agreed == honest.agreed
    assert told.chain.head == honest.chain.head


@pytest.mark.parametrize("behaviour", BLOCK_BEHAVIOURS)
def test_lost_and_repeated_messages_change_nothing_of_it(play: Play, behaviour: str) -> None:
    """A request to record that comes twice is answered alike; late seals of a second block do not count."""
    bad = Network(seed=7, drop=0.2, repeat=0.3, delay=seconds(1.0))
    faulty = tamper(behaviour, frozenset(range(0, 9, 2)))
    perfect, lossy = (play(network=n, overrides=FOUR, faulty=faulty) for n in (Network(), bad))
    assert lossy.fates == perfect.fates
    assert {row[1] for row in faults_of(rounds_of(lossy))} <= {LIAR}
    assert [record.outcome for record in lossy.records] == ["merged"] * 2


def sealed_by_a_quorum(members: int, faulty: int) -> bool:
    """Whether so many, the edge server among them, are a quorum of a committee of so many vehicles and it."""
    return faulty >= compute_quorum(members + 1)


@settings(max_examples=25, deadline=None)
@given(
    behaviour=st.sampled_from([name for name in BLOCK_BEHAVIOURS if name not in ("update", "omission")]),
    members=st.frozensets(st.integers(0, 8), max_size=9),
    equivocate=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_no_tampered_update_enters_a_model(
    behaviour: str, members: frozenset[int], equivocate: bool, seed: int
) -> None:
    """Whoever is faulty (but for what loses updates, above): each update that is merged is one that its vehicle
    sent, the model is that of honest parties, every tampered block that was sent is found, and none has the seals
    of a drawn committee unless more than two thirds of it are faulty."""
    faulty = Faulty(
        servers=frozenset({0}),
        behaviour=behaviour,
        members=members,
        member_behaviour="equivocate" if equivocate else "refuse",
    )
    overrides = {**ONE, "task.rounds": 1, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        told, honest = (
            play_scenario(
                Scenario.from_table(TOY, overrides), Path(folder) / name, Network(), Faults(), 2.0, faulty=who
            )
            for name, who in (("told.sqlite", faulty), ("honest.sqlite", Faulty()))
        )
        (audited,) = rounds_of(told)
        honest.chain.close()
    (record,) = told.records
    sent = {vehicle: arrived.reply.signed.digest for vehicle, arrived in record.arrivals.updates.items()}
    merged = {update.vehicle: update.digest for update in audited.updates if update.weight}
    assert merged == {vehicle: sent[VehicleId(vehicle)] for vehicle in merged}
    assert told.final.model == honest.final.model
    is_sent = told.fates[1].get(EdgeServerId(0)) == "sent"
    assert is_sent == bool(audited.block_faults)
    for local in audited.local_blocks:
        if local.block.sealed and not local.is_recorded and local.is_drawn:
            assert equivocate
            assert sealed_by_a_quorum(6, 1 + len(members))

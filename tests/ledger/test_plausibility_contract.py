"""Flags on the chain: who is believed, what a flag costs, how it is appealed, and what each call is refused for."""

from pathlib import Path

import pytest

from platoon.ledger.audit import audit
from platoon.ledger.history import show_task, show_vehicle
from platoon.ledger.plausibility import Allegation, Kind, Status
from platoon.nouns import Digest

EVIDENCE = Digest(b"\x09" * 32)
GOOD = 900_000


def allege(town, *vehicles, kind=Kind.COLLUSION, apart=12_000, similarity=999_000):
    members = tuple(sorted(town.vehicles[vehicle].address for vehicle in vehicles))
    return Allegation(kind=kind, members=members, apart=apart, similarity=similarity, evidence=EVIDENCE)


def report(town, server, alleged, round=None):
    number = town.chain.round if round is None else round
    return town.send(town.servers[server], town.chain.plausibility.report(number, alleged))


def review(town, server, *, upheld, number=1):
    call = town.chain.plausibility.review(number, upheld=upheld, apart=1, similarity=2, evidence=EVIDENCE)
    return town.send(town.servers[server], call)


def appeal(town, vehicle, number=1):
    return town.send(town.vehicles[vehicle], town.chain.plausibility.appeal(number))


def flag(town, *vehicles, servers=(0, 1, 2)):
    return [report(town, server, allege(town, *vehicles)) for server in servers]


def test_a_strict_majority_flags_and_takes_from_every_member_at_once(town):
    first, second, third = flag(town, 1, 4)
    # two of four edge servers are no majority
    assert [event.name for event in (*first.events, *second.events)] == ["Reported", "Reported"]
    assert [event.name for event in third.events] == ["Reported", "Flagged"]
    assert town.chain.reputations().tolist() == [500_000, 200_000, 500_000, 500_000, 200_000, 500_000]
    (case,) = town.chain.open_cases()
    assert (case.kind, case.status, set(case.vehicles)) == (Kind.COLLUSION, Status.FLAGGED, {1, 4})
    # the fourth comes late: it is kept, and costs nothing more
    assert [event.name for event in report(town, 3, allege(town, 1, 4)).events] == ["Reported"]
    assert town.chain.reputations()[1] == 200_000


def test_edge_servers_that_allege_different_clusters_flag_nobody(town):
    for server, members in enumerate([(0, 1), (0, 1), (0, 2), (1, 2)]):
        assert report(town, server, allege(town, *members)).ok
    assert town.chain.open_cases() == ()
    assert set(town.chain.reputations().tolist()) == {500_000}


def test_the_measures_of_a_case_are_the_medians_of_those_who_alleged_it(town):
    for server, (apart, similarity) in enumerate([(9_000, 960_000), (1, 1_000_000), (8_000, 970_000)]):
        receipt = report(town, server, allege(town, 0, 1, apart=apart, similarity=similarity))
    flagged = receipt.events[-1].values
    assert (flagged["apart"], flagged["similarity"]) == (8_000, 970_000)


def test_a_flagged_update_is_not_merged_nor_paid_in_the_round_of_the_flag(town):
    town.record_all([0, 1, 2])
    assert all(town.score(server, dict.fromkeys((0, 1, 2), GOOD)).ok for server in range(4))
    flag(town, 0, 1)
    by_vehicle = {update.vehicle: update for update in town.chain.updates(1)}
    assert by_vehicle[0].probation
    assert by_vehicle[0].reputation_before == 200_000
    assert town.judge().ok
    assert [u.vehicle for u in town.chain.updates(1) if u.merged] == [2]
    assert all(town.vote(server).ok for server in range(4))
    assert town.settle().ok
    town.chain.commit("round 1")
    assert {u.vehicle: u.reward for u in town.chain.updates(1)} == {0: 0, 1: 0, 2: 10_000_000}
    (_, settled) = audit(town.path)
    assert {u.vehicle: (u.reputation_before, u.weight) for u in settled.updates} == {
        0: (200_000, 0),
        1: (200_000, 0),
        2: (500_000, 1 << 20),
    }


def test_a_flagged_vehicle_of_high_reputation_is_not_merged_either_and_its_score_does_not_raise_it(town):
    town.play(dict.fromkeys(range(6), GOOD))
    high = int(town.chain.reputations()[0])
    assert high - 300_000 >= 400_000 - 1  # it stays above rho_min
    town.record_all([0, 1, 2])
    flag(town, 0, 1)
    assert all(town.score(server, dict.fromkeys((0, 1, 2), GOOD)).ok for server in range(4))
    assert town.judge().ok
    assert [u.vehicle for u in town.chain.updates(2) if u.merged] == [2]
    assert all(town.vote(server).ok for server in range(4))
    assert town.settle().ok
    town.chain.commit("round 2")
    assert town.chain.reputations()[0] == high - 300_000
    # in the next round it is as any other
    assert {u.vehicle for u in town.play({0: GOOD, 2: GOOD}) if u.merged} == {0, 2}
    assert len(list(audit(town.path))) == 4


def test_an_appeal_that_a_majority_does_not_uphold_gives_back_what_was_taken(town):
    flag(town, 1, 4)
    assert appeal(town, 4).ok
    assert review(town, 0, upheld=True).ok
    assert review(town, 1, upheld=False).ok
    assert town.chain.reputations()[1] == 200_000
    # two of four will not uphold: no majority can come about any more
    decided = review(town, 3, upheld=False).events[-1]
    assert (decided.name, decided.values["upheld"]) == ("Decided", False)
    assert town.chain.reputations().tolist() == [500_000] * 6
    assert town.chain.open_cases() == ()


def test_an_appeal_that_is_upheld_costs_nothing_more_and_is_the_last(town):
    flag(town, 1, 4)
    assert appeal(town, 1).ok
    for server in range(3):
        last = review(town, server, upheld=True)
    assert last.events[-1].values == {"number": 1, "upheld": True, "before": (), "now": ()}
    assert town.chain.reputations()[1] == 200_000
    assert appeal(town, 4).error == "not open to appeal"


def test_what_was_taken_is_what_is_given_back_where_a_reputation_was_nearly_gone(make_town):
    town = make_town()
    flag(town, 0, 1)  # 500,000 -> 200,000
    town.play({2: GOOD})
    flag(town, 0, 1)  # 200,000 -> 0: only 200,000 were there to take
    assert town.chain.reputations()[0] == 0
    assert appeal(town, 0, number=2).ok
    assert all(review(town, server, upheld=False, number=2).ok for server in (0, 1))
    assert town.chain.reputations()[0] == 200_000


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda town: report(town, 0, allege(town, 1, 4), round=2), "another round is open"),
        (lambda town: report(town, 0, allege(town, 1)), "too few members"),
        (lambda town: report(town, 0, allege(town, 1, 1)), "members not ascending"),
        (lambda town: report(town, 0, allege(town, 1, 4, similarity=1_000_001)), "measure out of bounds"),
        (lambda town: report(town, 0, allege(town, 1, 4, apart=2**31)), "measure out of bounds"),
        (
            lambda town: town.send(town.stranger, town.chain.plausibility.report(1, allege(town, 1, 4))),
            "not an edge server",
        ),
        (lambda town: appeal(town, 1), "not open to appeal"),
        (lambda town: town.send(town.servers[0], town.chain.plausibility.appeal(1)), "not a vehicle"),
        (lambda town: review(town, 0, upheld=True), "not under appeal"),
        (
            lambda town: town.send(
                town.servers[0], town.chain.ledger.contracts.call("Training", "correct", 1, 0, 1)
            ),
            "only the plausibility",
        ),
    ],
)
def test_invalid_calls_are_refused_by_name(town, make, reason):
    assert make(town).error == reason


def test_invalid_after_a_flag(town):
    flag(town, 1, 4)
    assert report(town, 0, allege(town, 1, 4)).error == "reported before"
    assert appeal(town, 2).error == "not of this case"
    assert appeal(town, 1).ok
    assert appeal(town, 4).error == "not open to appeal"
    assert review(town, 0, upheld=True).ok
    assert review(town, 0, upheld=False).error == "reviewed before"


def test_nobody_is_flagged_between_the_verdicts_and_the_settlement(town):
    town.record_all([0])
    assert all(town.score(server, {0: GOOD}).ok for server in range(4))
    assert town.judge().ok
    assert report(town, 0, allege(town, 1, 4)).error == "the verdicts are given"


def test_a_reopened_chain_knows_its_cases_and_the_audit_agrees(town):
    town.play({0: GOOD, 1: GOOD})
    flag(town, 1, 4)
    assert appeal(town, 1).ok
    town.play({0: GOOD})
    before = town.chain.reputations().tolist()
    town.reopen()
    assert town.chain.reputations().tolist() == before
    (case,) = town.chain.open_cases()
    assert (case.round, case.status) == (2, Status.APPEALED)
    assert [row.round for row in audit(town.path)] == [0, 1, 2]


def test_ledger_show_says_who_was_flagged_and_what_became_of_it(town):
    town.play({0: GOOD, 1: GOOD})
    flag(town, 1, 4)
    assert appeal(town, 4).ok
    assert all(review(town, server, upheld=False).ok for server in (0, 2))
    town.play({0: GOOD})
    (case,) = show_task(Path(town.path))["cases"]
    assert (case["kind"], sorted(case["members"]), case["status"]) == ("collusion", [1, 4], "lifted")
    assert (case["taken"], case["appealed_by"], case["reviews"]) == (
        [300_000] * 2,
        4,
        {"0": False, "2": False},
    )
    shown = show_vehicle(Path(town.path), "1")
    assert shown["reputation"] == town.chain.reputations()[1]
    assert [event["event"] for event in shown["other_events"]] == ["Flagged"]

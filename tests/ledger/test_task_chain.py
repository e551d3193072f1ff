"""Stories of rounds, told through the facade that drivers and protocol use."""

import dataclasses

import pytest

from platoon.ledger.task_rules import compute_rules, describe_scenario
from platoon.nouns import Digest
from platoon.records.rules import Payment, Rule, Rules, WeightRule
from platoon.scenario import Scenario

FIRST_MODEL = Digest(b"\x01" * 32)
NEXT_MODEL = Digest(b"\x02" * 32)
FEDAVG = Rules(rule=Rule.NONE, weights=WeightRule.SAMPLES, pool=10_000_000)


def test_a_round_from_record_to_settlement(town):
    # two vehicles train well, one badly; all four edge servers see it alike
    number = town.chain.round
    updates = town.play({0: 900_000, 1: 700_000, 2: 100_000})
    assert [update.address for update in updates] == sorted(update.address for update in updates)
    by_vehicle = {update.vehicle: update for update in updates}
    # eq. 12 with beta 0.5 from 0.5: the good rise, the bad one loses the larger of penalty and EMA
    assert [by_vehicle[i].reputation_after for i in range(3)] == [700_000, 600_000, 300_000]
    assert [by_vehicle[i].merged for i in range(3)] == [True, True, False]
    # eq. 15 over the merged ones: equal reputations and samples share the pool
    assert [by_vehicle[i].reward for i in range(3)] == [5_000_000, 5_000_000, 0]
    assert town.chain.balances().tolist() == [5_000_000, 5_000_000, 0, 0, 0, 0]
    assert town.chain.escrow_left() == 90_000_000
    assert town.chain.reputations().tolist() == [700_000, 600_000, 300_000, 500_000, 500_000, 500_000]
    assert (town.chain.round, town.chain.model_digest(number)) == (number + 1, NEXT_MODEL)


def test_one_lying_edge_server_condemns_nobody(town):
    # three honest scores and one that says the opposite: the lower median is an honest one
    town.record_all([0, 1])
    assert town.score(0, {0: -1_000_000, 1: 1_000_000}, evidence=0).ok
    for server in (1, 2, 3):
        assert town.score(server, {0: 800_000, 1: 200_000}).ok
    assert town.judge().ok
    verdicts = {update.vehicle: update for update in town.chain.updates(1)}
    assert (verdicts[0].score, verdicts[1].score) == (800_000, 200_000)
    assert (verdicts[0].valid, verdicts[1].valid) == (True, False)


def test_a_silent_edge_server_stops_nothing(town):
    # server 3 is dead: three of four are a quorum at every step
    for server in range(3):
        assert town.record(server, *([town.update(0)] if server == 0 else [])).ok
    assert all(town.score(server, {0: 900_000}).ok for server in range(3))
    assert town.judge().ok
    assert all(town.vote(server).ok for server in range(3))
    assert town.settle().ok


def test_a_round_in_which_nothing_was_recorded_keeps_the_model(town):
    assert town.play({}) == ()
    assert town.chain.model_digest(1) == FIRST_MODEL
    assert (town.chain.round, town.chain.escrow_left()) == (2, 100_000_000)


def test_a_round_in_which_everything_is_invalid_keeps_the_model_and_pays_nobody(town):
    updates = town.play({0: 0, 1: -500_000})
    assert town.chain.model_digest(1) == FIRST_MODEL
    assert [update.reward for update in updates] == [0, 0]
    assert town.chain.escrow_left() == 100_000_000


def test_reputations_that_are_remembered_are_those_of_the_contract(town):
    for scores in ({0: 900_000, 1: 0}, {}, {1: 500_000, 5: 100_000}):
        town.chain.reputations()[:] = 0  # a reader's copy, not ours
        town.play(scores)
        view = town.chain.ledger.contracts.call("Training", "reputations", [v.address for v in town.vehicles])
        assert tuple(town.chain.reputations().tolist()) == town.chain.ledger.read(view)[0]


def test_probation_is_scored_not_merged_and_leads_back(town):
    # one invalid update of score 0 halves the reputation to 0.25, below rho_min
    town.play({0: 0})
    (update,) = town.play({0: 900_000})
    assert (update.probation, update.valid, update.merged, update.reward) == (True, True, False, 0)
    assert update.reputation_after == 575_000
    # back above rho_min: merged and paid again
    (update,) = town.play({0: 900_000})
    assert (update.probation, update.merged, update.reward) == (False, True, 10_000_000)


def test_evidence_scales_every_move(town):
    updates = {update.vehicle: update for update in town.play({0: 900_000, 1: 0}, evidence=0)}
    assert updates[0].reputation_after == updates[1].reputation_after == 500_000
    updates = {update.vehicle: update for update in town.play({0: 900_000, 1: 0}, evidence=500_000)}
    assert (updates[0].reputation_after, updates[1].reputation_after) == (600_000, 375_000)


def test_as_written_nobody_falls_below_the_floor(make_town):
    town = make_town(Rules(rule=Rule.AS_WRITTEN, pool=10_000_000))
    for _ in range(3):
        (update,) = town.play({0: -1_000_000})
    assert update.reputation_after == 400_000
    # and it is merged again as soon as its score passes, evidence or not
    (update,) = town.play({0: 300_000}, evidence=0)
    assert (update.probation, update.merged, update.reputation_after) == (False, True, 350_000)


def test_as_written_the_share_of_invalid_updates_stays_in_escrow(make_town):
    town = make_town(Rules(rule=Rule.AS_WRITTEN, pool=10_000_000))
    updates = {update.vehicle: update for update in town.play({0: 900_000, 1: 0})}
    assert (updates[0].reward, updates[1].reward) == (5_000_000, 0)
    assert town.chain.escrow_left() == 95_000_000


def test_without_scores_everybody_is_merged_and_no_reputation_moves(make_town):
    town = make_town(FEDAVG)
    town.record(0, town.update(0, samples=100), town.update(1, samples=300))
    for server in (1, 2, 3):
        town.record(server)
    assert town.judge().ok
    assert all(town.vote(server).ok for server in range(3))
    assert town.settle().ok
    updates = {update.vehicle: update for update in town.chain.updates(1)}
    assert [(updates[i].score, updates[i].merged, updates[i].reward) for i in (0, 1)] == [
        (None, True, 2_500_000),
        (None, True, 7_500_000),
    ]
    assert town.chain.reputations().tolist() == [500_000] * 6


def test_an_escrow_that_is_short_scales_everybody_down_and_ends_empty_handed(make_town):
    town = make_town(Rules(pool=10_000_000), escrow=15_000_001)
    town.play({0: 500_000, 1: 500_000, 2: 500_000})
    updates = town.play({0: 500_000, 1: 500_000, 2: 500_000})
    # 5,000,002 left for three equal shares of 3,333,333: floors leave 1
    assert [update.reward for update in updates] == [1_666_667] * 3
    assert town.chain.escrow_left() == 1
    updates = town.play({0: 500_000})
    assert [update.reward for update in updates] == [1]
    assert [update.reward for update in town.play({0: 500_000})] == [0]


def test_base_and_bonus_pays_both(make_town):
    rules = Rules(payment=Payment.BASE_BONUS, base=200_000, bonus=5_000_000)
    updates = make_town(rules).play({0: 900_000, 1: 900_000})
    assert [update.reward for update in updates] == [2_700_000, 2_700_000]


def test_scores_follow_the_address_whatever_the_order_of_records(town):
    # the last edge server's transaction arrives first
    for server, vehicle in ((3, 5), (2, 4), (1, 3), (0, 2)):
        assert town.record(server, town.update(vehicle)).ok
    scores = {2: 200_000, 3: 300_000, 4: 400_000, 5: 500_000}
    assert all(town.score(server, scores).ok for server in range(4))
    assert town.judge().ok
    assert {update.vehicle: update.score for update in town.chain.updates(1)} == scores


def test_a_vehicle_that_reached_two_edge_servers_counts_once_and_blocks_nobody(town):
    assert town.record(0, town.update(0)).ok
    receipt = town.record(1, town.update(0), town.update(1))
    assert sorted(event.name for event in receipt.events) == ["Recorded", "Refused"]
    assert [update.vehicle for update in town.chain.updates(1) if update.edge_server == 1] == [1]


def test_after_a_revocation_the_rest_are_counted_among_themselves(town):
    # four edge servers, two and two: no majority; one of them is revoked, and its votes count no more
    town.record_all([0])
    assert all(town.score(server, {0: 900_000}).ok for server in range(4))
    assert town.judge().ok
    for server in range(4):
        assert town.vote(server, NEXT_MODEL if server < 2 else Digest(bytes([40 + server]) * 32)).ok
    assert town.settle().error == "no model has a majority"
    assert town.send(town.operator, town.chain.calls.revoke(town.servers[3].address)).ok
    assert town.settle().ok
    assert town.chain.model_digest(1) == NEXT_MODEL


def test_the_publisher_takes_back_what_a_closed_task_left(town):
    town.play({0: 900_000})
    assert town.send(town.publisher, town.chain.calls.close()).ok
    assert town.send(town.publisher, town.chain.calls.withdraw()).ok
    token = town.chain.ledger.contracts.call("Token", "balances", [town.publisher.address])
    assert town.chain.ledger.read(token) == ((90_000_000,),)
    assert town.chain.escrow_left() == 0


def test_rules_of_a_scenario_are_integers(town):
    scenario = Scenario()
    rules = compute_rules(scenario, judged=True, weights=WeightRule.TRUST, threshold=0.3)
    assert rules == Rules(
        rule=Rule.EVIDENCE,
        weights=WeightRule.VERDICT,
        pool=10_000_000,
        base=200_000,
        bonus=5_000_000,
        most_samples=300,
        description=int.from_bytes(describe_scenario(scenario), "big"),
    )
    by_reputation = scenario.model_copy(
        update={"trust": scenario.trust.model_copy(update={"weights": "reputation"})}
    )
    as_written = compute_rules(by_reputation, judged=True, weights=WeightRule.TRUST, threshold=0.3)
    assert as_written.weights is WeightRule.TRUST
    more = scenario.model_copy(update={"workers": 7})
    assert describe_scenario(more) == describe_scenario(scenario)
    assert describe_scenario(scenario.model_copy(update={"seed": 2})) != describe_scenario(scenario)
    plain = compute_rules(scenario, judged=False, weights=WeightRule.SAMPLES, threshold=0.3)
    assert plain == dataclasses.replace(rules, rule=Rule.NONE, weights=WeightRule.SAMPLES)


def test_the_contract_has_the_rules_that_were_given(make_town):
    rules = Rules(rule=Rule.AS_WRITTEN, threshold=-250_000, beta=1, pool=3, base=4, bonus=5)
    town = make_town(rules)
    town.reopen()
    assert town.chain.rules == rules


def test_a_fleet_larger_than_one_view_is_read_whole(make_town):
    town = make_town(fleet=1100)
    town.play({0: 900_000, 1099: 100_000})
    assert town.chain.reputations()[[0, 1, 1098, 1099]].tolist() == [700_000, 500_000, 500_000, 300_000]
    assert town.chain.balances()[[0, 1099]].tolist() == [10_000_000, 0]
    assert town.chain.reputations().shape == (1100,)


@pytest.mark.parametrize("servers", [1, 2, 3, 10])
def test_any_number_of_edge_servers_can_play(make_town, servers):
    town = make_town(servers=servers)
    (update,) = town.play({0: 900_000})
    assert update.merged

"""Edge servers that judge falsely are named and lose stake; who is only absent is named and loses nothing."""

import pytest
from tests.ledger.conftest import NEXT_MODEL, STAKE

from platoon.ledger.audit import audit
from platoon.ledger.task_chain import Stake
from platoon.nouns import Digest, Tokens
from platoon.records.rules import Rules, compute_deviation, is_far

GARBAGE = Digest(b"\x0f" * 32)
FAIR = {0: 900_000, 1: 200_000}
TAKEN = STAKE.tokens * STAKE.share // 1_000_000


def play(town, scores, votes):
    """A round in which edge server i scores ``scores[i]`` and votes ``votes[i]``; None is silent."""
    number = town.chain.round
    town.record_all(sorted(FAIR))
    for server, values in enumerate(scores):
        assert values is None or town.score(server, values).ok
    assert town.judge().ok
    for server, vote in enumerate(votes):
        assert vote is None or town.vote(server, vote).ok
    assert town.settle().ok
    town.chain.commit(f"round {number}")
    return town.chain.conduct(number)


def holdings(town):
    """Everything there is: vehicles, escrow, stakes, edge servers and publisher."""
    contracts = town.chain.ledger.contracts
    accounts = [*town.servers, *town.vehicles, town.publisher]
    holders = [*(account.address for account in accounts), *contracts.addresses.values()]
    return sum(town.chain.ledger.read(contracts.call("Token", "balances", holders))[0])


def test_nobody_is_named_where_all_agree(town):
    rows = play(town, [FAIR] * 4, [NEXT_MODEL] * 4)
    assert [(row.named, row.missed, row.deviation) for row in rows] == [((), (), 0)] * 4
    assert [row.stake for row in rows] == [STAKE.tokens] * 4


def test_honest_probe_sets_differ_and_nobody_is_named(town):
    # the widest spread of a quickstart run: 0.11 on average, 0.48 on one update
    spread = [{0: 900_000, 1: 200_000}, {0: 840_000, 1: 220_000}, {0: 420_000, 1: 180_000}, FAIR]
    rows = play(town, spread, [NEXT_MODEL] * 4)
    assert [row.named for row in rows] == [()] * 4
    assert max(row.deviation for row in rows) == 220_000


def test_scores_far_off_the_medians_are_named_and_cost_stake(town):
    before, supply = town.chain.escrow_left(), holdings(town)
    lie = {0: 200_000, 1: 900_000}
    rows = play(town, [FAIR, FAIR, FAIR, lie], [NEXT_MODEL] * 4)
    assert [row.named for row in rows] == [(), (), (), ("scores",)]
    assert rows[3].deviation == 700_000
    assert (rows[3].taken, rows[3].stake) == (TAKEN, STAKE.tokens - TAKEN)
    # what was taken is the task's: paid 10 tokens, got the stake's share
    assert town.chain.escrow_left() == before - 10_000_000 + TAKEN
    assert holdings(town) == supply


def test_a_lie_about_one_update_is_named_though_its_mean_is_small(make_town):
    town = make_town(fleet=12)
    fair = dict.fromkeys(range(12), 800_000)
    town.record_all(range(12))
    for server in range(3):
        assert town.score(server, fair).ok
    assert town.score(3, fair | {5: -800_000}).ok
    assert town.judge().ok
    assert all(town.vote(server).ok for server in range(4))
    assert town.settle().ok
    rows = town.chain.conduct(1)
    assert [row.named for row in rows] == [(), (), (), ("scores",)]
    assert rows[3].deviation == 1_600_000 // 12 < town.chain.rules.mean_tolerance


def test_a_vote_for_another_model_is_named(town):
    rows = play(town, [FAIR] * 4, [GARBAGE, NEXT_MODEL, NEXT_MODEL, NEXT_MODEL])
    assert [row.named for row in rows] == [("vote",), (), (), ()]
    assert town.chain.model_digest(1) == NEXT_MODEL


def test_both_faults_of_a_round_cost_once(town):
    lie = {0: -1_000_000, 1: 1_000_000}
    rows = play(town, [FAIR, FAIR, FAIR, lie], [NEXT_MODEL, NEXT_MODEL, NEXT_MODEL, GARBAGE])
    assert (rows[3].named, rows[3].taken) == (("scores", "vote"), TAKEN)


def test_the_absent_are_named_and_lose_nothing(town):
    # server 3 records, then falls silent
    rows = play(town, [FAIR, FAIR, FAIR, None], [NEXT_MODEL, NEXT_MODEL, NEXT_MODEL, None])
    assert [row.missed for row in rows] == [(), (), (), ("score", "vote")]
    assert (rows[3].named, rows[3].taken, rows[3].stake) == ((), 0, STAKE.tokens)


def test_nothing_to_vote_is_no_absence(town):
    town.play({})
    assert [row.missed for row in town.chain.conduct(1)] == [()] * 4


def test_a_stake_ends_at_nothing(town):
    lie = {0: -1_000_000, 1: 1_000_000}
    left = [play(town, [FAIR, FAIR, FAIR, lie], [NEXT_MODEL] * 4)[3].stake for _ in range(5)]
    assert left == [700_000, 400_000, 100_000, 0, 0]


def test_of_two_edge_servers_neither_is_named_for_scores(make_town):
    town = make_town(servers=2)
    rows = play(town, [FAIR, {0: 300_000, 1: -1_000_000}], [NEXT_MODEL] * 2)
    assert [row.named for row in rows] == [(), ()]
    assert rows[0].deviation == 900_000  # the lower median of two is the lower score


def test_a_revoked_edge_server_is_not_named(town):
    town.record_all(sorted(FAIR))
    for server in range(3):
        assert town.score(server, FAIR).ok
    assert town.score(3, {0: -1_000_000, 1: 1_000_000}).ok
    assert town.judge().ok
    assert town.send(town.operator, town.chain.calls.revoke(town.servers[3].address)).ok
    assert all(town.vote(server).ok for server in range(3))
    assert town.settle().ok
    assert [row.edge_server for row in town.chain.conduct(1)] == [0, 1, 2]


def test_the_audit_and_a_reopened_chain_say_the_same(town):
    lie = {0: -1_000_000, 1: 1_000_000}
    play(town, [FAIR] * 4, [NEXT_MODEL, NEXT_MODEL, NEXT_MODEL, None])
    rows = play(town, [FAIR, lie, FAIR, None], [NEXT_MODEL, NEXT_MODEL, GARBAGE, NEXT_MODEL])
    town.reopen()
    assert town.chain.conduct(2) == rows
    town.chain.close()
    audited = list(audit(town.path))
    assert [round.edge_servers for round in audited[2:]] == [rows]
    assert audited[1].edge_servers[3].missed == ("vote",)


def test_what_is_left_goes_back_when_the_task_is_closed(town):
    play(town, [FAIR, FAIR, FAIR, {0: -1_000_000, 1: 1_000_000}], [NEXT_MODEL] * 4)
    town.send(town.publisher, town.chain.calls.close())
    for server in town.servers:
        assert town.send(server, town.chain.calls.withdraw_stake()).ok
    token = town.chain.ledger.contracts.call("Token", "balances", [a.address for a in town.servers])
    assert town.chain.ledger.read(token)[0] == (STAKE.tokens,) * 3 + (STAKE.tokens - TAKEN,)


@pytest.mark.parametrize(
    ("who", "name", "arguments", "reason"),
    [
        ("server", "withdraw", (), "the task is open"),
        ("server", "deposit", (0,), "nothing to deposit"),
        ("server", "deposit", (1,), "allowance too small"),
        ("vehicle", "deposit", (1,), "not an edge server"),
        ("server", "settle", (1, 1, 0, 0, 0, 0), "only the training"),
        ("operator", "settle", (1, 1, 0, 0, 0, 0), "only the training"),
    ],
)
def test_invalid_calls_of_stakes(town, who, name, arguments, reason):
    account = {"server": town.servers[0], "vehicle": town.vehicles[0], "operator": town.operator}[who]
    receipt = town.send(account, town.chain.ledger.contracts.call("Stakes", name, *arguments))
    assert (receipt.ok, receipt.error) == (False, reason)


def test_invalid_second_withdrawal(town):
    town.send(town.publisher, town.chain.calls.close())
    assert town.send(town.servers[0], town.chain.calls.withdraw_stake()).ok
    assert town.send(town.servers[0], town.chain.calls.withdraw_stake()).error == "no stake"


@pytest.mark.parametrize(
    "stake", [Stake(tokens=Tokens(2**63)), Stake(tokens=Tokens(-1)), Stake(share=1_000_001)]
)
def test_invalid_stakes(make_town, monkeypatch, stake):
    monkeypatch.setattr("tests.ledger.conftest.STAKE", stake)
    with pytest.raises(ValueError, match=r"stake"):
        make_town()


def test_deviations_round_down():
    assert compute_deviation([0, 0, -1], [0, 0, 0]) == (0, 1)
    rules = Rules(mean_tolerance=10, single_tolerance=20)
    assert [is_far(rules, *at) for at in ((10, 20), (11, 11), (0, 21))] == [False, True, True]

"""Selection: eq. 10 by hand, Algorithm 1, ties, resting, the baselines, probation, and the published laws."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.nouns import Forecasts, Instant, seconds
from platoon.rng import stream
from platoon.testing import check_selector, make_candidates
from platoon.twin import selectors
from platoon.twin.selectors import NEVER, SELECTORS, STUDY_SELECTORS, Candidates, find_selector, probationers


def forecasts(rate, cpu, **columns):
    n = len(rate)
    values = {
        "known": np.ones(n, dtype=bool),
        "attested": np.ones(n, dtype=bool),
        "edge_server": np.zeros(n, dtype=np.int64),
        "measured_rate": np.array(rate, dtype=float),
        "finish_probability": np.ones(n),
        "finish_seconds": np.ones(n),
        "position": np.zeros((n, 2)),
        "position_sigma": np.zeros(n),
    } | {name: np.asarray(value) for name, value in columns.items()}
    return Forecasts(
        at=Instant(0),
        horizon=seconds(20),
        rate=np.array(rate, dtype=float),
        cpu_hz=np.array(cpu, dtype=float),
        **values,
    )


def candidates(rate, cpu, reputation, *, count=2, rest_rounds=0, last_chosen=None, **columns):
    return Candidates(
        forecasts=forecasts(rate, cpu, **columns),
        reputation=np.array(reputation, dtype=float),
        rho_min=0.4,
        count=count,
        rng=stream(1, "dice"),
        round=10,
        last_chosen=np.full(len(rate), NEVER) if last_chosen is None else np.array(last_chosen),
        rest_rounds=rest_rounds,
    )


def test_eq_10_by_hand():
    # R_max = 20 Mbit/s, F_max = 2.5 GHz, alpha = 0.5
    fleet = candidates([20e6, 10e6, 15e6], [1.5e9, 2.5e9, 2.0e9], [0.5, 0.8, 0.4])
    # (0.5 * 1 + 0.5 * 0.6) 0.5, (0.5 * 0.5 + 0.5 * 1) 0.8, (0.5 * 0.75 + 0.5 * 0.8) 0.4
    assert selectors.compute_utility(fleet) == pytest.approx([0.40, 0.60, 0.31])
    assert selectors.utility(fleet).tolist() == [1, 0]


def test_balance_is_the_papers_alpha():
    fleet = candidates([20e6, 10e6], [1.0e9, 2.0e9], [1.0, 1.0])
    assert selectors.compute_utility(replace(fleet, balance=1.0)) == pytest.approx([1.0, 0.5])
    assert selectors.compute_utility(replace(fleet, balance=0.0)) == pytest.approx([0.5, 1.0])


def test_largest_values_are_taken_among_the_eligible():
    fleet = candidates([40e6, 20e6], [2.0e9, 2.0e9], [0.3, 0.6])
    assert selectors.compute_utility(fleet) == pytest.approx([0.0, 0.6])


@pytest.mark.parametrize(
    "missing",
    [{"known": [False, True, True]}, {"attested": [False, True, True]}, {"edge_server": [-1, 0, 0]}],
)
def test_algorithm_1_admits_only_the_able(missing):
    fleet = candidates([30e6, 10e6, 20e6], [2e9] * 3, [1.0, 0.5, 0.39], count=3, **missing)
    assert selectors.utility(fleet).tolist() == [1]
    assert selectors.finish_reputation(fleet).tolist() == [1]


def test_exactly_rho_min_is_enough():
    assert selectors.utility(candidates([1e6], [2e9], [0.4])).tolist() == [0]


def test_ties_go_to_the_smaller_id():
    fleet = candidates([10e6] * 5, [2e9] * 5, [0.5] * 5, count=3)
    assert selectors.utility(fleet).tolist() == [0, 1, 2]
    assert selectors.reactive(fleet).tolist() == [0, 1, 2]


def test_finish_reputation_prefers_who_will_arrive():
    fleet = candidates([20e6, 10e6, 5e6], [2e9] * 3, [0.5, 0.5, 0.9], finish_probability=[0.2, 0.9, 0.6])
    assert selectors.finish_reputation(fleet).tolist() == [2, 1]


def test_reactive_looks_at_the_present_channel_only():
    fleet = candidates(
        [1e6, 2e6, 3e6, 4e6], [2e9] * 4, [0.0, 1.0, 0.1, 1.0], measured_rate=[9e6, 1e6, 5e6, 0.0], count=3
    )
    assert selectors.reactive(fleet).tolist() == [0, 2, 1]


def test_random_ignores_reputation_and_random_reputable_does_not():
    fleet = candidates([1e6] * 8, [2e9] * 8, [0.1, 0.9] * 4, count=8)
    assert sorted(selectors.random(fleet).tolist()) == list(range(8))
    rested = replace(fleet, rng=stream(1, "dice"))
    assert sorted(selectors.random_reputable(rested).tolist()) == [1, 3, 5, 7]


def test_random_gives_everybody_the_same_chance():
    times = np.zeros(10)
    for trial in range(600):
        fleet = replace(candidates([1e6] * 10, [2e9] * 10, [1.0] * 10, count=3), rng=stream(trial, "dice"))
        times[selectors.random(fleet)] += 1
    assert np.abs(times / 600 - 0.3).max() < 0.08


def test_resting_lets_the_others_in():
    # As written the best two are chosen for ever; with one round of rest they take turns.
    fleet = candidates([40e6, 30e6, 20e6, 10e6], [2e9] * 4, [1.0] * 4, last_chosen=[9, 9, 8, NEVER])
    assert selectors.utility(fleet).tolist() == [0, 1]
    assert selectors.utility(replace(fleet, rest_rounds=1)).tolist() == [2, 3]
    # with two rounds of rest vehicle 2 rests as well, but less than the others, and K = 2 are wanted
    assert selectors.utility(replace(fleet, rest_rounds=2)).tolist() == [3, 2]


def test_resting_never_lets_in_who_is_not_eligible():
    fleet = candidates([40e6, 30e6], [2e9] * 2, [1.0, 0.2], last_chosen=[9, NEVER], rest_rounds=5)
    assert selectors.utility(fleet).tolist() == [0]


def test_resting_spreads_the_rounds_over_the_fleet():
    n, rounds = 60, 25
    rate = stream(5, "rates").uniform(5e6, 8e7, n)
    last, times = np.full(n, NEVER), np.zeros(n)
    for number in range(rounds):
        fleet = replace(
            candidates(rate, [2e9] * n, [0.5] * n, count=10, rest_rounds=4, last_chosen=last), round=number
        )
        chosen = selectors.utility(fleet)
        times[chosen] += 1
        last[chosen] = number
    assert (times == 5).sum() >= 40
    assert len(np.unique(np.flatnonzero(times))) >= 50


@given(trial=st.integers(0, 10_000), shift=st.integers(0, 1000))
def test_utility_is_a_rule_about_vehicles_and_not_about_rows(trial, shift):
    """Permuting distinct vehicles permutes the choice."""
    fleet = make_candidates(trial)
    n = len(fleet.reputation)
    noise = stream(trial, "distinct").random(n)
    distinct = replace(fleet, forecasts=replace(fleet.forecasts, rate=fleet.forecasts.rate * (1 + noise)))
    order = stream(shift, "order").permutation(n)
    moved = replace(
        distinct,
        forecasts=replace(
            distinct.forecasts,
            **{
                name: getattr(distinct.forecasts, name)[order]
                for name in ("known", "attested", "edge_server", "rate", "cpu_hz")
            },
        ),
        reputation=distinct.reputation[order],
        last_chosen=distinct.last_chosen[order],
    )
    value = selectors.compute_utility(distinct)
    assert value[order] == pytest.approx(selectors.compute_utility(moved))
    if len(np.unique(value[value > 0])) == (value > 0).sum():
        assert set(order[selectors.utility(moved)]) - set(np.flatnonzero(value == 0)) == set(
            selectors.utility(distinct)
        ) - set(np.flatnonzero(value == 0))


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - STUDY_SELECTORS))
def test_laws(name):
    check_selector(find_selector(name), trusts_reputation=name in {"utility", "finish_reputation"})


def test_laws_catch_those_who_break_them():
    with pytest.raises(AssertionError, match="rho_min"):
        check_selector(selectors.random, trusts_reputation=True)
    with pytest.raises(AssertionError, match="at most K"):
        check_selector(lambda c: np.flatnonzero(c.forecasts.edge_server >= 0))
    with pytest.raises(AssertionError, match="in service"):
        check_selector(lambda c: np.arange(min(c.count, len(c.reputation))))


def test_invalid_name_says_what_was_meant():
    with pytest.raises(UserError, match="did you mean 'reactive'"):
        find_selector("reactiv")


def test_an_installed_package_can_bring_a_selector(monkeypatch):
    class Point:
        name = "nobody"

        def load(self):
            return lambda candidates: np.zeros(0, dtype=np.int64)

    monkeypatch.setattr(
        selectors, "entry_points", lambda group: [Point()] if group == "platoon.selectors" else []
    )
    check_selector(find_selector("nobody"))
    with pytest.raises(UserError, match="random, random_reputable, oracle, nobody"):
        find_selector("noone")


def test_probation_takes_turns():
    seen = forecasts([1e6] * 6, [2e9] * 6, edge_server=[0, 0, 0, -1, 0, 0], attested=[True] * 5 + [False])
    reputation = np.array([0.9, 0.3, 0.2, 0.1, 0.1, 0.1])
    last_asked = np.array([1, 7, 3, NEVER, 3, NEVER])

    def ask(slots: int, number: int) -> list[int]:
        return probationers(reputation, 0.4, last_asked, slots, seen, number).tolist()

    # odd rounds begin with who waits longest, even ones with who lost least
    assert [ask(1, 21), ask(1, 22)] == [[2], [1]]
    assert ask(2, 21) == [2, 1]
    assert ask(9, 21) == [2, 1, 4]
    assert ask(9, 22) == [1, 2, 4]
    assert ask(0, 22) == []
    # vehicle 1 was asked three rounds ago: the next best goes first
    assert ask(1, 10) == [2]


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_everybody_on_probation_is_asked(count: int, seed: int, slots: int):
    """Also who stays silent, and who never does well: within two rounds for each of the excluded."""
    rng = np.random.default_rng(seed)
    seen = forecasts([1e6] * count, [2e9] * count, edge_server=[0] * count, attested=[True] * count)
    reputation, last_asked = rng.uniform(0.0, 0.39, count), np.full(count, NEVER)
    for number in range(1, 2 * count + 2):
        last_asked[probationers(reputation, 0.4, last_asked, slots, seen, number)] = number
    assert (last_asked != NEVER).all()

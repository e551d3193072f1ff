"""Terms that choose among the best: coverage, position, the pool, rest; and the oracle."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.testing import check_selector, make_candidates
from platoon.twin import selectors
from platoon.twin.selectors import NEVER, SELECTORS
from platoon.twin.terms import choose_with_terms, fill_mixes


def plain(count, **columns):
    """Vehicles that differ in their rate alone, the first the fastest."""
    candidates = make_candidates(0)
    forecasts = candidates.forecasts
    rate = np.linspace(8e7, 1e7, count)
    even = {
        "known": np.ones(count, bool),
        "attested": np.ones(count, bool),
        "edge_server": np.zeros(count, np.int64),
        "measured_rate": rate,
        "rate": rate,
        "cpu_hz": np.full(count, 2e9),
        "position": np.zeros((count, 2)),
        "position_sigma": np.zeros(count),
        "finish_probability": np.ones(count),
        "finish_seconds": np.ones(count),
    }
    known = {name: columns.pop(name) for name in list(columns) if name in even}
    return replace(
        candidates,
        forecasts=replace(forecasts, **(even | known)),
        reputation=np.ones(count),
        last_chosen=np.full(count, NEVER),
        rest_rounds=0,
        count=4,
        **columns,
    )


def two_classes(*pairs, classes=4):
    mix = np.zeros((len(pairs), classes))
    for row, pair in enumerate(pairs):
        mix[row, list(pair)] = 0.5
    return mix


def test_without_terms_it_is_the_selector_itself():
    candidates = plain(12)
    assert choose_with_terms(selectors.utility, candidates).tolist() == [0, 1, 2, 3]


def test_coverage_prefers_labels_that_are_missing():
    mix = two_classes((0, 1), (0, 1), (0, 1), (2, 3), (0, 1), (2, 3))
    candidates = plain(6, label_mix=mix)
    assert choose_with_terms(selectors.utility, candidates).tolist() == [0, 1, 2, 3]
    balanced = choose_with_terms(selectors.utility, replace(candidates, coverage_weight=9.0))
    # a pair of each kind, the better of each kind first
    assert sorted(balanced.tolist()) == [0, 1, 3, 5]
    assert balanced[:2].tolist() == [0, 3]


def test_whose_labels_are_unknown_counts_as_even():
    shares = fill_mixes(np.array([[np.nan, np.nan], [0.0, 0.0], [3.0, 1.0]]))
    assert shares.tolist() == [[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]]
    # before anybody has sent anything, coverage changes nothing
    candidates = plain(9, coverage_weight=3.0)
    assert choose_with_terms(selectors.utility, candidates).tolist() == [0, 1, 2, 3]


def test_an_uncertain_place_costs_merit():
    sigma = np.zeros(8)
    sigma[:2] = 100.0  # 1 / (1 + 4) of the merit each
    candidates = plain(8, position_sigma=sigma, position_weight=1.0)
    assert choose_with_terms(selectors.utility, candidates).tolist() == [2, 3, 4, 5]
    unknown = plain(8, position_sigma=np.full(8, np.nan), position_weight=1.0)
    assert choose_with_terms(selectors.utility, unknown).tolist() == [0, 1, 2, 3]


def test_only_the_pool_is_looked_at():
    mix = two_classes(*[(0, 1)] * 5, (2, 3))
    candidates = plain(6, label_mix=mix, coverage_weight=9.0, pool=5)
    assert 5 not in choose_with_terms(selectors.utility, candidates)
    assert 5 in choose_with_terms(selectors.utility, replace(candidates, pool=6))
    # a pool smaller than the cohort is no smaller than the cohort
    assert len(choose_with_terms(selectors.utility, replace(candidates, pool=2))) == 4


def test_who_rests_is_needed_before_it_is_chosen():
    chosen = np.array([9, 9, NEVER, NEVER, NEVER, NEVER])
    mix = two_classes((2, 3), (2, 3), *[(0, 1)] * 4)
    candidates = plain(6, label_mix=mix, coverage_weight=9.0)
    resting = replace(candidates, last_chosen=chosen, rest_rounds=3)
    assert set(choose_with_terms(selectors.utility, resting).tolist()) == {2, 3, 4, 5}
    # of five to choose, four are awake: the cohort is filled, not cut short
    five = choose_with_terms(selectors.utility, replace(resting, count=5))
    assert len(five) == 5


@pytest.mark.parametrize("name", [name for name in SELECTORS if name != "oracle"])
def test_every_selector_keeps_its_laws_with_terms(name):
    def with_terms(candidates):
        rng = np.random.default_rng(len(candidates.reputation))
        mix = rng.dirichlet(np.ones(5), len(candidates.reputation))
        mix[::3] = np.nan
        asked = replace(candidates, coverage_weight=2.0, position_weight=0.5, pool=7, label_mix=mix)
        return choose_with_terms(SELECTORS[name], asked)

    check_selector(with_terms, trusts_reputation=name in ("utility", "finish_reputation"))


@given(seed=st.integers(0, 10**6), weight=st.floats(0.1, 50.0))
def test_more_weight_never_covers_fewer_classes_of_one_class_vehicles(seed, weight):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 20)
    candidates = plain(20, label_mix=np.eye(4)[labels])
    light = choose_with_terms(selectors.utility, replace(candidates, coverage_weight=weight))
    heavy = choose_with_terms(selectors.utility, replace(candidates, coverage_weight=1e6))
    assert len(set(labels[heavy])) >= len(set(labels[light]))
    assert len(set(labels[heavy])) == min(4, len(set(labels)))


def test_the_oracle_takes_who_arrives_soonest_and_is_refused_without_the_truth():
    truth = np.array([np.inf, 9.0, 3.0, np.inf, 5.0, 4.0])
    assert selectors.oracle(plain(6, truth=truth)).tolist() == [2, 5, 4, 1]
    check_selector(
        lambda candidates: selectors.oracle(
            replace(candidates, truth=np.where(candidates.reputation > 0.5, 1.0, np.inf))
        ),
        trusts_reputation=True,
    )
    with pytest.raises(UserError, match=r"round\.selector = 'oracle': it knows the future"):
        selectors.oracle(plain(6))

"""Clocks of RSUs, as the twin estimates them from the signals that RSUs time among each other."""

import numpy as np
import pytest

from platoon.nouns import Instant, seconds
from platoon.physics.radio import METRES_PER_NS
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.twin.clocks import apply_references, compute_spread, start_clocks

RSUS = np.array([[0.0, 0.0], [900.0, 0.0], [900.0, 900.0], [0.0, 900.0], [450.0, 400.0]])
RADIO = Scenario.from_table({"radio": {"arrival_sigma_ns": 10.0, "clock_sigma_ns": 100.0}}).radio


def time_references(ahead_ns, seed, at):
    apart = RSUS[:, None, :] - RSUS
    flight = np.hypot(apart[..., 0], apart[..., 1]) / METRES_PER_NS
    noise = stream(seed, "references", at).normal(0, RADIO.arrival_sigma_ns, flight.shape)
    return np.where(np.eye(5, dtype=bool), np.nan, flight + ahead_ns[None, :] - ahead_ns[:, None] + noise)


def follow(ahead_ns, seed, first, last, clocks=None):
    clocks = start_clocks(RADIO, 5) if clocks is None else clocks
    for second in range(first, last):
        at = seconds(second)
        clocks = apply_references(clocks, RADIO, at, RSUS, time_references(ahead_ns, seed, at))
    return clocks


def error_ns(clocks, ahead_ns):
    """What is left of the differences: what all clocks share, nothing tells."""
    off = clocks.ahead_m / METRES_PER_NS - ahead_ns
    return off - off.mean()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_constant_errors_are_found_to_a_few_nanoseconds(seed):
    ahead = stream(seed, "ahead").normal(0, 100, 5)
    clocks = follow(ahead, seed, 0, 20)
    assert np.abs(error_ns(clocks, ahead)).max() < 10.0
    # and the belief knows it, instead of being as unsure as before
    spread = np.sqrt(compute_spread(clocks)) / METRES_PER_NS
    assert (spread < 8.0).all()
    assert (spread > 0.5).all()


def test_without_references_the_spread_is_that_of_gps():
    clocks = start_clocks(RADIO, 5)
    for second in range(100):
        clocks = apply_references(clocks, RADIO, seconds(second), RSUS, np.full((5, 5), np.nan))
    assert np.allclose(np.diag(clocks.covariance), (100.0 * METRES_PER_NS) ** 2)
    assert not clocks.ahead_m.any()


def test_a_clock_that_jumps_is_learned_anew():
    ahead = stream(4, "ahead").normal(0, 50, 5)
    clocks = follow(ahead, 4, 0, 20)
    ahead[2] += 5000.0
    clocks = follow(ahead, 4, 20, 40, clocks)
    assert np.abs(error_ns(clocks, ahead)).max() < 15.0


def test_one_wrong_pair_is_passed_over():
    ahead = stream(5, "ahead").normal(0, 50, 5)
    clocks = follow(ahead, 5, 0, 20)
    wrong = time_references(ahead, 5, seconds(20))
    wrong[0, 3] += 1e6
    clocks = apply_references(clocks, RADIO, seconds(20), RSUS, wrong)
    assert np.abs(error_ns(clocks, ahead)).max() < 10.0


def test_a_silent_rsu_is_doubted_more_and_more():
    ahead = np.zeros(5)
    clocks = follow(ahead, 6, 0, 20)
    before = compute_spread(clocks)
    for second in range(20, 400):
        references = time_references(ahead, 6, seconds(second))
        references[1] = references[:, 1] = np.nan
        clocks = apply_references(clocks, RADIO, seconds(second), RSUS, references)
    after = compute_spread(clocks)
    assert after[1] > 20 * before[1]
    assert (np.delete(after, 1) < 20 * before.max()).all()


def test_covariance_stays_symmetric_and_positive():
    clocks = follow(np.zeros(5), 7, 0, 50)
    assert np.array_equal(clocks.covariance, clocks.covariance.T)
    assert np.linalg.eigvalsh(clocks.covariance).min() > 0


def test_perfect_clocks_need_no_estimate():
    radio = RADIO.model_copy(update={"clock_sigma_ns": 0.0})
    clocks = apply_references(
        start_clocks(radio, 5), radio, Instant(0), RSUS, time_references(np.zeros(5), 1, 0)
    )
    assert not clocks.ahead_m.any()

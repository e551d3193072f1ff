"""Compute forecasts: levels of vehicles, the pull towards them, and errors that are known."""

import numpy as np
import pytest

from platoon.nouns import Attestations, seconds
from platoon.rng import stream
from platoon.twin import compute


def attest(capacity, at_s, cpu_hz, asked=None, passed=None):
    cpu_hz = np.asarray(cpu_hz, dtype=float)
    everyone = np.ones(len(cpu_hz), dtype=bool)
    return compute.apply_attestations(
        capacity,
        Attestations(
            at=seconds(at_s),
            asked=everyone if asked is None else np.asarray(asked),
            passed=everyone if passed is None else np.asarray(passed),
            cpu_hz=cpu_hz,
        ),
    )


def test_the_nominal_clock_stands_for_whoever_was_never_asked():
    expected, sigma = compute.forecast_capacity(compute.start_capacity(3), 1.0, 1.6e9)
    assert expected.tolist() == [1.6e9] * 3
    assert sigma == pytest.approx(compute.PRIOR_SIGMA)
    asked = [True, False, False]
    capacity = attest(compute.start_capacity(3), 0, [1.2e9, 0, 0], asked=asked, passed=asked)
    expected, _ = compute.forecast_capacity(capacity, 1.0, 1.6e9)
    assert expected[1:].tolist() == [1.2e9] * 2  # once somebody has answered, the fleet's mean
    assert capacity.attested.tolist() == asked


@pytest.mark.parametrize("wrong", [np.nan, 0.0, -1e9, np.inf])
def test_an_answer_that_is_no_capacity_is_a_failure(wrong):
    capacity = attest(compute.start_capacity(1), 0, [wrong])
    assert not capacity.attested[0]
    assert capacity.count[0] == 0


def wander(persistence, seed=1, vehicles=60, rounds=40):
    """Attestations every 10 s of vehicles that wander 20 % about levels of 1 to 2 GHz."""
    rng = stream(seed, "wander")
    level, load = rng.uniform(1e9, 2e9, vehicles), np.zeros(vehicles)
    for number in range(rounds):
        load = persistence * load + np.sqrt(1 - persistence**2) * rng.normal(0, 0.2, vehicles)
        yield 10.0 * number, level * np.clip(1 + load, 0.2, 2.0)


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.9])
def test_forecast_is_no_worse_than_persistence_and_than_the_mean(persistence):
    capacity, errors = compute.start_capacity(60), []
    for at_s, value in wander(persistence):
        if at_s >= 200:
            expected, sigma = compute.forecast_capacity(capacity, 10.0, 1.5e9)
            errors.append(
                [np.abs(guess / value - 1).mean() for guess in (expected, capacity.last, capacity.mean)]
            )
        capacity = attest(capacity, at_s, value)
    mine, stays, mean = np.mean(errors, axis=0)
    assert mine <= 1.03 * min(stays, mean)
    # and it knows its error, to a factor
    assert 0.6 < mine * 1.25 / sigma < 1.4


def test_far_ahead_a_vehicle_returns_to_its_level():
    capacity = compute.start_capacity(60)
    for at_s, value in wander(0.9):
        capacity = attest(capacity, at_s, value)
    soon, _ = compute.forecast_capacity(capacity, 0.0, 1.5e9)
    late, _ = compute.forecast_capacity(capacity, 1e5, 1.5e9)
    assert np.abs(soon - capacity.last).mean() < 0.1 * np.abs(capacity.last - capacity.mean).mean() + 1e7
    assert np.allclose(late, capacity.mean, rtol=0.05)

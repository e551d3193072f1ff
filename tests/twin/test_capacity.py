"""Compute forecasts: levels of vehicles, the pull towards them, the day, and errors that are known."""

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.nouns import Attestations, seconds
from platoon.rng import stream
from platoon.twin import arima, autoregression, compute, daily

HOUR = 3600.0


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
    nobody = compute.start_capacity(3)
    for forecast in compute.FORECASTS.values():
        assert forecast(nobody, seconds(1), 1.6e9) == pytest.approx([1.6e9] * 3)
    assert compute.find_sigma(nobody) == pytest.approx(compute.PRIOR_SIGMA)
    asked = [True, False, False]
    capacity = attest(nobody, 0, [1.2e9, 0, 0], asked=asked, passed=asked)
    for forecast in compute.FORECASTS.values():  # once somebody has answered, the fleet's mean
        assert forecast(capacity, seconds(1), 1.6e9)[1:] == pytest.approx([1.2e9] * 2)
    assert capacity.attested.tolist() == asked


@pytest.mark.parametrize("wrong", [np.nan, 0.0, -1e9, np.inf])
def test_an_answer_that_is_no_capacity_is_a_failure(wrong):
    capacity = attest(compute.start_capacity(1), 0, [wrong])
    assert not capacity.attested[0]
    assert capacity.count[0] == 0
    assert np.isfinite(compute.forecast_ar(capacity, seconds(5), 1e9)).all()


def wander(persistence, seed=1, vehicles=60, rounds=60):
    """Attestations every 10 s of vehicles that wander 20 % about levels of 1 to 2 GHz."""
    rng = stream(seed, "wander")
    level, load = rng.uniform(1e9, 2e9, vehicles), np.zeros(vehicles)
    for number in range(rounds):
        load = persistence * load + np.sqrt(1 - persistence**2) * rng.normal(0, 0.2, vehicles)
        yield 10.0 * number, level * np.exp(load)


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.9])
def test_forecast_is_no_worse_than_persistence_and_than_the_mean(persistence):
    capacity, errors = compute.start_capacity(60), []
    for at_s, value in wander(persistence):
        if at_s >= 200:
            guesses = (
                compute.forecast_ar(capacity, seconds(at_s), 1.5e9),
                capacity.last,
                np.exp(daily.find_levels(capacity.daily)),
            )
            errors.append([np.abs(guess / value - 1).mean() for guess in guesses])
        capacity = attest(capacity, at_s, value)
        if at_s % 100 == 0:
            capacity = compute.refine_capacity(capacity)
    mine, stays, mean = np.mean(errors, axis=0)
    assert mine <= 1.04 * min(stays, mean)
    # and it knows its error, to a factor
    assert 0.6 < mine * 1.25 / compute.find_sigma(capacity) < 1.4


def test_far_ahead_a_vehicle_returns_to_its_level():
    capacity = compute.start_capacity(60)
    for at_s, value in wander(0.9):
        capacity = attest(capacity, at_s, value)
    capacity = compute.refine_capacity(capacity)
    level = np.exp(daily.find_levels(capacity.daily))
    soon = compute.forecast_ar(capacity, seconds(590), 1.5e9)
    late = compute.forecast_ar(capacity, seconds(590 + 1e5), 1.5e9)
    assert np.allclose(soon, capacity.last)
    assert np.abs(late / level - 1).mean() < 0.05


def test_the_day_is_learned_by_type_and_foreseen_at_hours_never_seen_at():
    """Private vehicles are busy at six in the evening, commercial ones at one: two days teach it for the third."""
    rng = stream(4, "day")
    commercial = np.arange(40) % 2 == 0
    level, peak = rng.uniform(1e9, 2e9, 40), np.where(commercial, 13.0, 18.0)

    def truth(hour):
        return level * (1 - 0.3 * (1 + 0.5 * np.cos(2 * np.pi * (hour - peak) / 24)))

    capacity = compute.start_capacity(40, commercial)
    for hour in np.arange(0.0, 48.0, 0.5):
        asked = rng.random(40) < 0.7  # nobody is in coverage all day
        noisy = truth(hour) * np.exp(rng.normal(0, 0.05, 40))
        capacity = attest(capacity, hour * HOUR, noisy, asked=asked, passed=asked)
    capacity = compute.refine_capacity(capacity)
    flat = compute.refine_capacity(compute.start_capacity(40, commercial))
    assert not flat.daily.pattern.any()
    for hour in (60.25, 66.75):
        error = np.abs(compute.forecast_ar(capacity, seconds(hour * HOUR), 1e9) / truth(hour) - 1).mean()
        level_only = np.exp(daily.find_levels(capacity.daily))
        assert error < 0.03
        assert error < 0.5 * np.abs(level_only / truth(hour) - 1).mean()


def test_the_pattern_is_least_squares_with_a_level_for_every_vehicle():
    rng = stream(5, "pattern")
    vehicles, instants = 6, 30
    commercial = np.arange(vehicles) < 3
    state = daily.start_daily(commercial)
    rows, design, values = [], [], []
    for number in range(instants):
        at = seconds(number * 4100.0)
        who = np.flatnonzero(rng.random(vehicles) < 0.6)
        value = rng.normal(0, 1, len(who))
        state = daily.learn_daily(state, at, who, value)
        rows += who.tolist()
        values += value.tolist()
        design += [daily.compute_harmonics(at)] * len(who)
    state = daily.fit_daily(state, ridge=0.0)
    rows, design, values = np.array(rows), np.array(design), np.array(values)
    for kind in (False, True):
        mine = commercial[rows] == kind
        levels = np.eye(vehicles)[rows[mine]]
        full = np.concatenate([design[mine], levels], axis=1)
        plain = np.linalg.lstsq(full, values[mine], rcond=None)[0]
        assert state.pattern[int(kind)] == pytest.approx(plain[: daily.TERMS])
        own = np.flatnonzero(commercial == kind)
        assert daily.find_levels(state)[own] == pytest.approx(plain[daily.TERMS :][own])


@given(seed=st.integers(0, 1000), length=st.integers(12, 40))
@settings(max_examples=25, deadline=None)
def test_the_batch_equals_a_plain_least_squares_per_vehicle(seed, length):
    rng = stream(seed, "series")
    series = rng.normal(0, 1, (5, length))
    batch = autoregression.fit_batch(series, fleet_pairs=0.0, prior_pairs=0.0)
    for row, values in enumerate(series):
        order = autoregression.ORDER
        before = np.array(
            [
                values[t - 1 : t - order - 1 : -1] if t > order else values[order - 1 :: -1]
                for t in range(order, length)
            ]
        )
        plain = np.linalg.lstsq(before, values[order:], rcond=None)[0]
        assert batch[row] == pytest.approx(plain, rel=1e-6, abs=1e-8)


def test_a_batch_forecast_is_the_recursion_by_hand():
    coefficients = np.array([[0.5, 0.2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.9]])
    latest = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 3.0]])
    assert autoregression.forecast_batch(coefficients, latest, np.array([0.0, 0.0])).tolist() == [1.0, 0.0]
    assert autoregression.forecast_batch(coefficients, latest, np.array([1.0, 2.0])) == pytest.approx(
        [0.9, 3.6]
    )
    second = 0.5 * 0.9 + 0.2 * 1.0
    assert autoregression.forecast_batch(coefficients, latest, np.array([1.5, 2.0]))[0] == pytest.approx(
        (0.9 + second) / 2
    )


def test_no_forecast_runs_away():
    wild = np.array([[2.0, 1.0, 0.0, 0.0]])
    assert abs(autoregression.forecast_batch(wild, np.ones((1, 4)), np.array([30.0]))[0]) <= 1.0


def test_vehicles_change_nothing_by_their_order():
    order = stream(6, "order").permutation(60)
    one, other = compute.start_capacity(60), compute.start_capacity(60)
    for at_s, value in wander(0.5, rounds=20):
        one, other = attest(one, at_s, value), attest(other, at_s, value[order])
    one, other = compute.refine_capacity(one), compute.refine_capacity(other)
    ahead = compute.forecast_ar(one, seconds(210), 1e9)
    assert compute.forecast_ar(other, seconds(210), 1e9) == pytest.approx(ahead[order], rel=1e-9)


@pytest.fixture(scope="module")
def attested():
    """Five vehicles with twenty attestations each, their ARIMA models fitted."""
    capacity = compute.start_capacity(5)
    for at_s, value in wander(0.7, vehicles=5, rounds=20):
        capacity = attest(capacity, at_s, value)
    return capacity


def test_arima_is_the_library_s_own_forecast(attested):
    models = pytest.importorskip("statsforecast.models")
    fitted = compute.refine_capacity(attested, "arima")
    series = compute._wander(fitted, compute._level(fitted, 1e9))
    found = arima.forecast_series(series, fitted.arima, np.array([1, 2, 1, 3, 1]))
    for row, steps in enumerate([1, 2, 1, 3, 1]):
        values = series[row][np.isfinite(series[row])]
        plain = models.ARIMA(order=arima.ORDER, method="ML").fit(values).predict(h=steps)["mean"][-1]
        assert found[row] == pytest.approx(plain, rel=1e-6)
    ahead = compute.FORECASTS["arima"](fitted, seconds(200), 1e9)
    assert ((ahead > 3e8) & (ahead < 5e9)).all()
    assert not np.allclose(ahead, compute.forecast_ar(fitted, seconds(200), 1e9))


def test_without_the_library_the_error_names_the_extra(monkeypatch, make_town):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("statsforecast"):
            raise ImportError("No module named 'statsforecast'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"platoon\[arima\]"):
        make_town(settings={"twin": {"compute_forecast": "arima"}})
    make_town()  # nobody else needs it

"""A link's own past: running means, least absolute deviations, and the gate that lets it lose to nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import seconds
from platoon.rng import stream
from platoon.twin import history
from platoon.twin.history import HORIZONS_S


def drive(values, every_s=1.0):
    """Past and lessons after values (T, N), one row a second."""
    past, lessons = history.start_past(values.shape[1]), history.start_lessons()
    for second, value in enumerate(values, start=1):
        at = seconds(second)
        past = history.look(past, at, value)
        lessons = history.learn(lessons, past, at, value, every_s=every_s)
        if second % 10 == 0:
            lessons = history.refine(lessons)
    return past, lessons


def wander(seed, length=400, vehicles=30, memory=0.9, noise=0.0):
    """Links that wander 8 dB about 5 dB, measured with noise."""
    rng = stream(seed, "links")
    value, rows = rng.normal(0, 8, vehicles), []
    for _ in range(length):
        value = memory * value + np.sqrt(1 - memory**2) * rng.normal(0, 8, vehicles)
        rows.append(5 + value + rng.normal(0, noise, vehicles))
    return np.array(rows)


def test_before_anything_is_learned_everything_stays():
    past = history.look(history.start_past(2), seconds(1), np.array([4.0, np.nan]))
    value, sigma = history.forecast(history.start_lessons(), past, np.arange(2), np.array([0.0, 1.0, 500.0]))
    assert value[:, 0].tolist() == [4.0, 4.0, 4.0]
    assert np.isnan(value[:, 1]).all()
    assert sigma.tolist() == [0.0, 0.0, 0.0]


def test_running_means_forget_by_their_time_constants():
    past = history.start_past(1)
    for second, value in enumerate([10.0] * 400 + [0.0] * 5, start=1):
        past = history.look(past, seconds(second), np.array([value]))
    means = (past.sums / past.counts)[:, 0]
    assert means[1] == pytest.approx(10 * np.exp(-1.0), abs=0.05)  # five seconds of a memory of five
    assert means[-1] == pytest.approx(10 * 400 / 405)
    assert list(means) == sorted(means)


def test_an_old_value_is_no_present_value():
    past = history.look(history.start_past(1), seconds(1), np.array([3.0]))
    for second, there in ((3, True), (4, False)):
        past = history.look(past, seconds(second), np.array([np.nan]))
        assert history.is_present(past).tolist() == [there]


def test_links_that_return_to_their_mean_are_foreseen_to():
    _, lessons = drive(wander(1))
    other = wander(2)
    past, _ = drive(other[:300])
    value, sigma = history.forecast(lessons, past, np.arange(30), np.array([10.0, 30.0]))
    mine = np.abs(value - other[[309, 329]]).mean(axis=1)
    stays = np.abs(other[299] - other[[309, 329]]).mean(axis=1)
    assert (mine < 0.92 * stays).all()
    assert sigma == pytest.approx([8.0 * np.sqrt(1 - 0.9**20), 8.0], rel=0.3)


def test_where_a_walk_is_random_nothing_is_gained_and_nothing_lost():
    """The gate: weights without a gain are not used, and the forecast is that it stays."""
    _, lessons = drive(np.cumsum(stream(3, "walk").normal(0, 1, (300, 20)), axis=0))
    short = ~history.find_gains(lessons)
    past = history.look(history.start_past(1), seconds(1), np.array([4.0]))
    value, _ = history.forecast(lessons, past, np.arange(1), HORIZONS_S[short])
    assert short[:3].all()
    assert (value == 4.0).all()


def test_the_weights_are_least_absolute_deviations():
    """Values that mostly stay and seldom jump: the median change is none, whatever the mean is."""
    rng = stream(4, "jumps")
    jumps = (rng.random((600, 20)) < 0.05) * rng.choice([8.0, 16.0], (600, 20))
    _, lessons = drive(20.0 * np.cos(np.cumsum(jumps, axis=0)))
    assert np.abs(lessons.weights[0]).max() < 0.06


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_vehicles_change_nothing_by_their_order(seed):
    values = wander(seed, length=60, vehicles=8, noise=1.0)
    order = stream(seed, "order").permutation(8)
    past, lessons = drive(values)
    other_past, other = drive(values[:, order])
    ahead = np.array([3.0, 15.0])
    one, _ = history.forecast(lessons, past, np.arange(8), ahead)
    two, _ = history.forecast(other, other_past, np.arange(8), ahead)
    assert two == pytest.approx(one[:, order])


def test_gaps_teach_nothing():
    values = wander(5, length=80)
    silent = values.copy()
    silent[20:40] = np.nan
    _, lessons = drive(silent)
    assert np.isfinite(lessons.weights).all()
    assert lessons.errors[0, 2] < drive(values)[1].errors[0, 2]


def test_moments_wait_no_longer_than_the_last_horizon():
    _, lessons = drive(wander(6, length=200), every_s=5.0)
    assert len(lessons.moments) <= HORIZONS_S[-1] / 5.0 + 1
    assert all(len(moment.who) <= history.MOST_PUPILS for moment in lessons.moments)

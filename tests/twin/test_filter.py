"""The fleet's Kalman filter: laws of its covariance, gating, coasting, and that it beats standing still."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Instant
from platoon.physics import kinematics
from platoon.rng import stream
from platoon.twin import filter as tracking
from platoon.twin.localise import take_positions

SIGMA = 3.0


def feed(tracks, at_s, position, heard=None):
    position = np.asarray(position, dtype=float)
    heard = np.ones(len(position), dtype=bool) if heard is None else np.asarray(heard)
    fixes = take_positions(np.where(heard[:, None], position, np.nan), SIGMA)
    return tracking.apply_fixes(tracks, Instant(round(at_s * SECOND)), fixes)


def drive(seed, vehicles=40, seconds=30, memory_speed=12.0):
    """Constant-velocity tracks (seconds, N, 2) and noisy fixes of them."""
    rng = stream(seed, "tracks")
    start = rng.uniform(0, 2000, (vehicles, 2))
    heading = rng.uniform(0, 2 * np.pi, vehicles)
    velocity = memory_speed * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    truth = start + np.arange(seconds)[:, None, None] * velocity
    return truth, truth + rng.normal(0, SIGMA, truth.shape)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.tuples(st.floats(0.0, 40.0), st.booleans()), min_size=1, max_size=25),
    reach=st.floats(1.0, 3000.0),
)
def test_covariance_stays_symmetric_and_positive(seed, steps, reach):
    rng = stream(seed, "covariance")
    tracks, at = tracking.start_tracks(5), 0.0
    for pause, everyone in steps:
        at += pause
        heard = np.full(5, everyone) | (rng.random(5) < 0.5)
        tracks = feed(tracks, at, rng.uniform(-reach, reach, (5, 2)), heard)
        assert np.array_equal(tracks.covariance, tracks.covariance.transpose(0, 2, 1))
        assert np.linalg.eigvalsh(tracks.covariance).min() > 0
        assert np.isfinite(tracks.state).all()


@settings(max_examples=100, deadline=None)
@given(
    first=st.floats(1e-3, 60.0), second=st.floats(1e-3, 60.0), memory=st.sampled_from([5.0, 20.0, math.inf])
)
def test_two_steps_are_one_step(first, second, memory):
    """The transition is a semigroup: what a forecast says does not depend on how often time was advanced."""
    f1, q1 = tracking.compute_transition(first, memory)
    f2, q2 = tracking.compute_transition(second, memory)
    f, q = tracking.compute_transition(first + second, memory)
    assert np.allclose(f2 @ f1, f, rtol=1e-5, atol=1e-9)
    assert np.allclose(f2 @ q1 @ f2.T + q2, q, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0, 30.0])
def test_infinite_memory_is_the_constant_velocity_of_physics(seconds):
    transition, noise = tracking.compute_transition(seconds, math.inf)
    assert np.array_equal(transition, kinematics.compute_transition(seconds))
    assert np.allclose(noise, kinematics.compute_process_noise(seconds, tracking.MANOEUVRE))


def test_first_fix_starts_a_track_and_the_second_gives_it_a_velocity():
    tracks = feed(tracking.start_tracks(1), 0.0, [[100.0, 50.0]])
    assert tracks.known[0]
    assert tracks.state[0].tolist() == [100.0, 50.0, 0.0, 0.0]
    tracks = feed(tracks, 1.0, [[110.0, 50.0]])
    assert 5.0 < tracks.velocity[0, 0] < 11.0
    assert abs(tracks.velocity[0, 1]) < 1e-9


def test_unheard_coasts_is_forgotten_and_starts_afresh_on_return():
    # A vehicle drives east at 10 m/s for ten seconds.
    tracks = tracking.start_tracks(2)
    for second in range(11):
        tracks = feed(tracks, second, [[10.0 * second, 0.0], [0.0, 0.0]])
    doubt = tracks.covariance[0, 0, 0]
    # Then nobody hears it: it coasts on, less and less certain, but is still known.
    tracks = feed(tracks, 15, [[np.nan, np.nan], [0.0, 0.0]], [False, True])
    assert tracks.known[0]
    assert 130.0 < tracks.position[0, 0] < 151.0
    assert tracks.covariance[0, 0, 0] > doubt
    # Longer than FORGET_S: no longer known. Its neighbour is.
    tracks = feed(tracks, 21, [[np.nan, np.nan], [0.0, 0.0]], [False, True])
    assert tracks.known.tolist() == [False, True]
    # It turns up elsewhere: the old velocity means nothing there.
    tracks = feed(tracks, 40, [[900.0, 900.0], [0.0, 0.0]])
    assert tracks.known[0]
    assert tracks.state[0].tolist() == [900.0, 900.0, 0.0, 0.0]


def test_one_outlier_is_refused_but_three_are_believed():
    tracks = tracking.start_tracks(1)
    for second in range(10):
        tracks = feed(tracks, second, [[0.0, 0.0]])
    for wrong in range(tracking.PATIENCE - 1):
        tracks = feed(tracks, 10 + wrong, [[500.0, 500.0]])
        assert np.abs(tracks.position).max() < 10.0
    tracks = feed(tracks, 12, [[500.0, 500.0]])
    assert tracks.position[0].tolist() == [500.0, 500.0]


def test_a_fix_that_is_no_number_counts_as_unheard():
    tracks = feed(tracking.start_tracks(1), 0.0, [[np.nan, 3.0]], [True])
    assert not tracks.known[0]
    assert np.isfinite(tracks.state).all()


def test_invalid_time_running_backwards():
    tracks = feed(tracking.start_tracks(1), 5.0, [[0.0, 0.0]])
    with pytest.raises(ValueError, match="backwards"):
        feed(tracks, 4.0, [[0.0, 0.0]])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_forecast_beats_standing_still_at_five_seconds(seed):
    truth, fixes = drive(seed)
    tracks = tracking.start_tracks(40)
    for second in range(20):
        tracks = feed(tracks, second, fixes[second])
    mean, covariance = tracking.predict_positions(tracks, np.array([5.0]))
    error = np.linalg.norm(mean[0] - truth[24], axis=1).mean()
    standing = np.linalg.norm(truth[19] - truth[24], axis=1).mean()
    assert error < 0.4 * standing
    # and it knows roughly how wrong it is
    inside = np.linalg.norm(mean[0] - truth[24], axis=1) < 2.5 * np.sqrt(
        np.trace(covariance[0], axis1=1, axis2=2)
    )
    assert inside.mean() > 0.9


def test_filter_reduces_the_measurement_noise():
    truth, fixes = drive(4)
    tracks = tracking.start_tracks(40)
    for second in range(30):
        tracks = feed(tracks, second, fixes[second])
    filtered = np.linalg.norm(tracks.position - truth[29], axis=1).mean()
    assert filtered < 0.9 * np.linalg.norm(fixes[29] - truth[29], axis=1).mean()


def test_rows_do_not_touch_each_other():
    _, fixes = drive(5, vehicles=6)
    together, alone = tracking.start_tracks(6), tracking.start_tracks(1)
    for second in range(15):
        together = feed(together, second, fixes[second])
        alone = feed(alone, second, fixes[second, 3:4])
    assert np.allclose(together.state[3], alone.state[0], rtol=1e-12, atol=1e-9)

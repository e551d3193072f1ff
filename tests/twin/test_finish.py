"""The finish forecast: eq. 9 by hand, laws of the probability, recalibration and the predictor of durations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.rng import stream
from platoon.twin import finish, foresee

NODES = 15
WEIGHTS = np.full((NODES, 1), 1 / NODES)
TIMES = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 10.0])


def steady(rate):
    """The same rate (N,) at all times and nodes."""
    shape = (len(TIMES), NODES, len(rate))
    return np.broadcast_to(np.asarray(rate, dtype=float), shape).copy()


def start(*seconds):
    return np.tile(np.array(seconds, dtype=float), (2, 1))


def test_nodes_are_those_of_gauss_and_hermite():
    for nodes, weights in ((foresee.LINK_NODES, foresee.LINK_WEIGHTS),):
        expected_nodes, expected_weights = np.polynomial.hermite_e.hermegauss(len(nodes))
        assert np.allclose(nodes, expected_nodes)
        assert np.allclose(weights, expected_weights / expected_weights.sum())


def test_eq_9_by_hand():
    # 9.6 Mbit at 15 Mbit/s: 0.64 s (papers.md A.10); at 2 Mbit/s 4.8 s
    probability, upload = finish.expect_finish(TIMES, steady([15e6, 2e6]), WEIGHTS, start(0.45, 0.45), 9.6e6)
    assert upload == pytest.approx([0.64, 4.8])
    assert probability[0] > 0.999
    # twice the bits could be sent: (19.1 / 9.6)^(1/0.3) to 1
    odds = (2e6 * 9.55 / 9.6e6) ** (1 / finish.SOFTNESS)
    assert probability[1] == pytest.approx(odds / (1 + odds))


def test_exactly_enough_is_a_coin_toss_and_nothing_is_impossible():
    probability, _ = finish.expect_finish(
        TIMES, steady([1e6, 0.0, 1e6]), WEIGHTS, start(0.0, 0.0, 10.0), 10e6
    )
    assert probability.tolist() == pytest.approx([0.5, 0.0, 0.0])


def test_upload_waits_for_coverage():
    rate = steady([0.0])
    rate[3:] = 4e6  # service begins between 2 s and 4 s
    _, upload = finish.expect_finish(TIMES, rate, WEIGHTS, start(0.5), 4e6)
    # the rate is linear in between: 4 Mbit by 4 s
    assert upload[0] == pytest.approx(3.5)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    bits=st.floats(1e3, 1e9),
    more=st.floats(1.0, 100.0),
    begin=st.floats(0.0, 15.0),
    later=st.floats(0.0, 15.0),
)
def test_probability_falls_with_bits_and_a_later_start_and_rises_with_the_horizon(
    seed, bits, more, begin, later
):
    rng = stream(seed, "rates")
    rate = rng.uniform(0, 8e7, (6, NODES, 4)) * (rng.random((6, NODES, 4)) < 0.6)
    begins = np.full((2, 4), begin)
    easy, upload = finish.expect_finish(TIMES, rate, WEIGHTS, begins, bits)
    large, _ = finish.expect_finish(TIMES, rate, WEIGHTS, begins, bits * more)
    late, _ = finish.expect_finish(TIMES, rate, WEIGHTS, begins + later, bits)
    soon, _ = finish.expect_finish(TIMES[:4], rate[:4], WEIGHTS, begins, bits)
    assert ((easy >= 0) & (easy <= 1)).all()
    assert (soon <= easy + 1e-12).all()
    assert (large <= easy + 1e-12).all()
    assert (late <= easy + 1e-12).all()
    assert ((upload >= 0) & (upload <= 10.0 + 1e-9)).all()


def experience(probability, arrived, parts=None, took=None):
    n = len(probability)
    parts = np.tile([0.5, 1.0], (n, 1)) if parts is None else parts
    took = np.where(arrived, 1.5, np.nan) if took is None else took
    return finish.remember(
        finish.start_experience(), np.asarray(probability), np.asarray(arrived), parts, took
    )


def test_nothing_learned_changes_nothing():
    p = np.array([0.0, 1e-9, 0.2, 0.5, 0.99, 1.0])
    assert finish.recalibrate(finish.start_experience(), p) == pytest.approx(p, abs=1e-15)
    assert finish.expect_seconds(finish.start_experience(), np.array([0.5]), np.array([2.0])) == 2.5


def test_too_few_outcomes_teach_nothing():
    few = experience(np.full(19, 0.5), np.zeros(19, dtype=bool))
    assert finish.refine(few) is few


def test_recalibration_corrects_a_forecast_that_is_too_timid():
    rng = stream(1, "timid")
    truth = rng.uniform(0.05, 0.95, 400)
    odds = truth / (1 - truth)
    timid = 1 / (1 + odds**-0.5)
    learned = finish.refine(experience(timid, rng.random(400) < truth))
    assert np.abs(finish.recalibrate(learned, timid) - truth).mean() < 0.05
    assert np.abs(timid - truth).mean() > 0.08


@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.0, 1.0),
    p=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=9),
)
def test_recalibration_keeps_the_order_and_stays_a_probability(seed, share, p):
    rng = stream(seed, "order")
    learned = finish.refine(experience(rng.random(40), rng.random(40) < share))
    p = np.sort(np.array(p))
    out = finish.recalibrate(learned, p)
    assert ((out >= 0) & (out <= 1)).all()
    assert (np.diff(out) >= 0).all()


def test_durations_learn_that_uploads_take_three_times_as_long():
    rng = stream(2, "durations")
    parts = rng.uniform(0.3, 3.0, (300, 2))
    took = 0.2 + parts[:, 0] + 3.0 * parts[:, 1]
    learned = finish.refine(experience(np.full(300, 0.9), np.ones(300, dtype=bool), parts, took))
    expected = finish.expect_seconds(learned, parts[:, 0], parts[:, 1])
    assert np.abs(expected / took - 1).mean() < 0.05
    assert learned.duration[2] == pytest.approx(3.0, abs=0.3)


def test_the_oldest_outcomes_are_forgotten():
    many = experience(np.full(finish.MEMORY, 0.2), np.zeros(finish.MEMORY, dtype=bool))
    more = finish.remember(many, np.array([0.9]), np.array([True]), np.array([[1.0, 1.0]]), np.array([2.0]))
    assert len(more.arrived) == finish.MEMORY
    assert more.arrived[-1]
    assert not more.arrived[:-1].any()


def test_a_remembered_failure_has_no_duration():
    failed = experience(np.full(30, 0.5), np.zeros(30, dtype=bool))
    assert np.array_equal(finish.refine(failed).duration, [0.0, 1.0, 1.0])
    assert finish.refine(replace(failed, arrived=~failed.arrived)).calibration[0] > 0

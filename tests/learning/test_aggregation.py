"""Laws of exact merging."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from platoon.learning.aggregation import (
    LIMIT,
    WEIGHT_TOTAL,
    ServerStep,
    advance,
    dequantise,
    merge,
    quantise,
    weighted_mean,
)
from platoon.rng import stream
from platoon.testing import check_aggregator

fixed = st.integers(-LIMIT, LIMIT)


@st.composite
def cohorts(draw, most=128):
    """Model (D,), updates (K, D) with extreme values likely, and weights that sum to 2^20."""
    count, size = draw(st.integers(1, most)), draw(st.integers(1, 4))
    updates = draw(
        arrays(np.int32, (count, size), elements=st.sampled_from([-LIMIT, -1, 0, 1, LIMIT]) | fixed)
    )
    model = draw(arrays(np.int32, size, elements=fixed))
    cuts = sorted(draw(st.lists(st.integers(0, WEIGHT_TOTAL), min_size=count - 1, max_size=count - 1)))
    weights = np.diff(np.array([0, *cuts, WEIGHT_TOTAL]))
    return model, updates, weights


def by_big_integers(model, updates, weights):
    """The rule in Python's unbounded integers, one entry at a time."""
    merged = []
    for entry in range(len(model)):
        total = sum(int(w) * int(u) for w, u in zip(weights, updates[:, entry], strict=True))
        merged.append(max(-LIMIT, min(LIMIT, int(model[entry]) + (total >> 20))))
    return merged


@given(cohorts())
def test_merge_equals_big_integer_arithmetic(cohort):
    assert merge(*cohort).tolist() == by_big_integers(*cohort)


@given(cohorts(), st.randoms(use_true_random=False))
def test_merge_does_not_depend_on_order(cohort, random):
    model, updates, weights = cohort
    order = list(range(len(updates)))
    random.shuffle(order)
    assert np.array_equal(merge(model, updates[order], weights[order]), merge(*cohort))


def test_merge_of_128_extreme_updates_does_not_overflow():
    weights = np.full(128, WEIGHT_TOTAL // 128)
    updates = np.full((128, 3), -LIMIT, dtype=np.int32)
    assert merge(np.array([0, LIMIT, -LIMIT], dtype=np.int32), updates, weights).tolist() == [
        -LIMIT,
        0,
        -LIMIT,
    ]


@given(arrays(np.float32, 5, elements=st.floats(-200, 200, width=32)))
def test_quantise_rounds_to_the_nearest_unit_within_the_limits(values):
    for value, unit in zip(values, quantise(values), strict=True):
        exact = min(Fraction(64), max(Fraction(-64), Fraction(float(value)))) * 2**24
        assert abs(exact - int(unit)) <= Fraction(1, 2)


@given(arrays(np.int32, 5, elements=st.integers(-(2**24), 2**24)))
def test_quantise_undoes_dequantise_up_to_magnitude_one(units):
    assert np.array_equal(quantise(dequantise(units)), units)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_invalid_not_finite(value):
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantise(np.array([0.0, value], dtype=np.float32))


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([WEIGHT_TOTAL, 1], "sum to"),
        ([WEIGHT_TOTAL + 1, -1], "non-negative"),
        ([WEIGHT_TOTAL], "do not match"),
    ],
)
def test_invalid_weights(weights, reason):
    with pytest.raises(ValueError, match=reason):
        merge(np.zeros(3, np.int32), np.zeros((2, 3), np.int32), np.array(weights))


def test_invalid_length_of_the_model():
    with pytest.raises(ValueError, match="cannot take a step"):
        merge(np.zeros(4, np.int32), np.zeros((1, 3), np.int32), np.array([WEIGHT_TOTAL]))


def test_weighted_mean_keeps_the_laws_of_aggregators():
    check_aggregator(weighted_mean)


def test_the_laws_refuse_an_aggregator_that_looks_at_order():
    with pytest.raises(AssertionError, match="order"):
        check_aggregator(lambda updates, weights: updates[0])


def test_server_momentum_is_the_heavy_ball_in_integers():
    """Against floats, over rounds: FedAvgM, v = mu v + step, w = w + eta v."""
    rng = stream(0, "steps")
    server, mean = ServerStep.of(rate=0.5, momentum=0.75), np.array([WEIGHT_TOTAL])
    model, former = np.zeros(50, dtype=np.int32), None
    plain, velocity = np.zeros(50), np.zeros(50)
    for _ in range(20):
        update = quantise(rng.normal(0.0, 0.1, (1, 50)).astype(np.float32))
        after = advance(model, update, mean, former=former, server=server).model
        former, model = model, after
        velocity = 0.75 * velocity + update[0] / 2**24
        plain += 0.5 * velocity
    assert model / 2**24 == pytest.approx(plain, abs=1e-5)


def test_no_momentum_and_rate_one_change_nothing():
    rng = stream(1, "steps")
    model, former, updates = (rng.integers(-(2**28), 2**28, (k, 40), dtype=np.int32) for k in (1, 1, 3))
    weights = np.array([WEIGHT_TOTAL - 2, 1, 1])
    plain = merge(model[0], updates, weights)
    same = advance(model[0], updates, weights, former=former[0], server=ServerStep.of(1.0, 0.0))
    assert np.array_equal(plain, same.model)


def test_momentum_keeps_the_model_within_its_bounds():
    model = np.full(3, LIMIT - 5, dtype=np.int32)
    far = advance(
        model,
        np.full((1, 3), LIMIT, dtype=np.int32),
        np.array([WEIGHT_TOTAL]),
        former=-model,
        server=ServerStep.of(10.0, 0.9),
    )
    assert far.model.tolist() == [LIMIT] * 3


@given(st.integers(1, 10**6), st.floats(0.0, 0.95))
def test_momentum_dies_out_alike_in_both_directions(push, momentum):
    """One push either way, then steps of zero: mirror images, and at rest in the end."""
    server, mean = ServerStep.of(1.0, momentum), np.array([WEIGHT_TOTAL])
    model, former = np.array([push, -push], dtype=np.int32), np.zeros(2, dtype=np.int32)
    nothing = np.zeros((1, 2), dtype=np.int32)
    for _ in range(600):
        model, former = advance(model, nothing, mean, former=former, server=server).model, model
        assert model[0] == -model[1]
    assert np.array_equal(model, former)

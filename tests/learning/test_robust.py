"""Robust rules: plain versions, ByzFL, and what each of them bears."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from platoon.learning.aggregation import SCALE
from platoon.learning.robust import (
    bucket,
    bulyan,
    centred_clipping,
    clip_lengths,
    coordinate_median,
    geometric_median,
    krum,
    mean_around_median,
    mix_nearest,
    multi_krum,
    trimmed_mean,
)
from platoon.rng import stream

UNIT = 1e-6
"""What is asked of the agreement with ByzFL, in parameter units."""
BEARING = {
    "trimmed_mean": (trimmed_mean, 3),
    "krum": (krum, 3),
    "multi_krum": (multi_krum, 3),
    "bulyan": (bulyan, 1),
    "mix_nearest": (mix_nearest, 3),
}


def make_updates(count=10, size=200, seed=0, scale=0.1):
    """(``count``, ``size``) in fixed point; the last three are far off."""
    values = stream(seed, "robust").normal(0.0, scale, (count, size))
    values[-3:] = 3.0 * values[-3:] + 0.2
    return np.rint(values * SCALE).astype(np.int32)


def to_floats(fixed):
    return fixed.astype(np.float64) / SCALE


@st.composite
def cohorts(draw):
    """Updates, and f below a half of them."""
    count = draw(st.integers(1, 7))
    rows = draw(arrays(np.int32, (count, draw(st.integers(1, 4))), elements=st.integers(-(2**30), 2**30)))
    return rows, draw(st.integers(0, (count - 1) // 2))


# Plain versions: one coordinate or one pair at a time, in unbounded integers.


def plain_krum_ranks(rows, members, f):
    def badness(i):
        far = sorted(
            sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)) for j in members if j != i
        )
        return sum(far[: len(members) - f - 1]), rows[i]

    return sorted(members, key=badness)


def plain_mean(rows):
    return [sum(column) // len(rows) for column in zip(*rows, strict=True)]


def plain_bulyan(rows, f):
    left, chosen = list(range(len(rows))), []
    while len(chosen) < len(rows) - 2 * f:
        chosen.append(plain_krum_ranks(rows, left, f)[0])
        left.remove(chosen[-1])
    step = []
    for column in zip(*(rows[i] for i in chosen), strict=True):
        middle = statistics.median([2 * value for value in column])
        nearest = sorted(column, key=lambda value: (abs(2 * value - middle), value))[: len(rows) - 4 * f]
        step.append(sum(nearest) // len(nearest))
    return step


@given(cohorts())
def test_coordinate_rules_equal_the_plain_ones(cohort):
    updates, f = cohort
    columns = [sorted(column) for column in updates.T.tolist()]
    assert coordinate_median(updates).tolist() == [
        (column[(len(column) - 1) // 2] + column[len(column) // 2]) // 2 for column in columns
    ]
    kept = [column[f : len(column) - f] for column in columns]
    assert trimmed_mean(updates, f).tolist() == [sum(column) // len(column) for column in kept]


@given(cohorts())
def test_rules_of_distances_equal_the_plain_ones(cohort):
    updates, f = cohort
    rows = updates.tolist()
    ranked = plain_krum_ranks(rows, list(range(len(rows))), f)
    assert krum(updates, f).tolist() == rows[ranked[0]]
    assert multi_krum(updates, f).tolist() == plain_mean([rows[i] for i in ranked[: len(rows) - f]])
    mixed = mix_nearest(updates, f).tolist()
    for i, row in enumerate(rows):
        squares = [sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in rows]
        nearest = [other for _, other in sorted(zip(squares, rows, strict=True))]
        assert mixed[i] == plain_mean(nearest[: len(rows) - f])


@pytest.mark.parametrize(("count", "f"), [(1, 0), (6, 0), (7, 1), (11, 2), (12, 2)])
def test_bulyan_equals_the_plain_one(count, f):
    updates = make_updates(count, size=9, seed=count)
    assert bulyan(updates, f).tolist() == plain_bulyan(updates.tolist(), f)


def test_geometric_median_equals_weiszfeld_in_floats():
    updates = make_updates()
    values = to_floats(updates)
    centre = values.mean(axis=0)
    for _ in range(7):
        weights = 1.0 / np.maximum(np.linalg.norm(values - centre, axis=1), 1e-6)
        centre = (weights[:, None] * values).sum(axis=0) / weights.sum()
    assert np.abs(to_floats(geometric_median(updates, iterations=7)) - centre).max() < UNIT / 5


def test_centred_clipping_equals_the_iteration_in_floats():
    updates = make_updates()
    values, start = to_floats(updates), coordinate_median(updates)
    centre = to_floats(start)
    for _ in range(7):
        lengths = np.linalg.norm(values - centre, axis=1)
        factors = np.minimum(1.0, np.median(lengths) / lengths)
        centre = centre + (factors[:, None] * (values - centre)).mean(axis=0)
    clipped = centred_clipping(updates, start, iterations=7)
    assert np.abs(to_floats(clipped) - centre).max() < UNIT / 5


# ByzFL.


def agrees(ours, theirs):
    return np.abs(to_floats(ours) - theirs).max() < UNIT


@pytest.mark.parametrize("count", [1, 2, 9, 10])
def test_rules_equal_byzfl(byzfl, count):
    theirs = byzfl("aggregators")
    updates = make_updates(max(count, 3), seed=count)[:count]
    values = to_floats(updates)
    assert agrees(coordinate_median(updates), theirs.Median()(values))
    for f in range((count - 1) // 2 + 1):
        assert agrees(trimmed_mean(updates, f), theirs.TrMean(f)(values))
        assert agrees(mix_nearest(updates, f), theirs.NNM(f)(values))
        assert agrees(mean_around_median(updates, f), theirs.Meamed(f)(values))
        if count > 2:  # of two updates both are as near, and ByzFL takes the first
            assert agrees(krum(updates, f), theirs.Krum(f)(values))
            assert agrees(multi_krum(updates, f), theirs.MultiKrum(f)(values))


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_iterative_rules_equal_byzfl(byzfl, iterations):
    theirs, updates = byzfl("aggregators"), make_updates()
    start = coordinate_median(updates)
    clipping = theirs.CenteredClipping(L=iterations, tau=0.7)
    clipping.m = to_floats(start)  # version 0.0.11 refuses every start as an argument
    ours = centred_clipping(updates, start, tau=0.7, iterations=iterations)
    assert agrees(ours, clipping(to_floats(updates)))
    # ByzFL starts Weiszfeld's iterations at zero, platoon at the mean: here the mean is zero.
    updates -= np.rint(updates.mean(axis=0)).astype(np.int32)
    median = theirs.GeometricMedian(nu=0.1, T=iterations)(to_floats(updates))
    assert agrees(geometric_median(updates, iterations, smoothing=0.1), median)


def test_pre_aggregations_equal_byzfl(byzfl):
    theirs, updates = byzfl("aggregators"), make_updates()
    values = to_floats(updates)
    limit = float(np.median(np.linalg.norm(values, axis=1)))
    assert agrees(clip_lengths(updates), theirs.Clipping(limit)(values.copy()))
    # Which updates share a bucket is drawn; whatever the draw, the buckets are as many and hold the same sum.
    means, weights = bucket(updates, np.full(len(updates), 100), 4)
    assert weights.tolist() == [400, 400, 200]
    assert means.shape == theirs.Bucketing(4)(values).shape
    assert agrees((means * (weights // 100)[:, None]).sum(axis=0), values.sum(axis=0))


def test_combinations_equal_byzfl(byzfl):
    theirs, updates = byzfl("aggregators"), make_updates()
    values = to_floats(updates)
    assert agrees(trimmed_mean(mix_nearest(updates, 3), 3), theirs.TrMean(3)(theirs.NNM(3)(values)))
    assert agrees(multi_krum(mix_nearest(updates, 3), 3), theirs.MultiKrum(3)(theirs.NNM(3)(values)))


# Laws that not all of them keep.


@pytest.mark.parametrize("name", BEARING)
def test_translation_moves_the_result_to_the_bit(name):
    rule, f = BEARING[name]
    updates, by = make_updates(), make_updates(3, seed=9)[0]
    assert np.array_equal(rule(updates + by, f), rule(updates, f) + by)


def test_translation_moves_medians_and_clipping():
    updates, by = make_updates(), make_updates(3, seed=9)[0]
    assert np.array_equal(coordinate_median(updates + by), coordinate_median(updates) + by)
    start = coordinate_median(updates)
    for moved, still in (
        (geometric_median(updates + by), geometric_median(updates)),
        (centred_clipping(updates + by, start + by), centred_clipping(updates, start)),
    ):
        assert np.abs(moved - (still + by)).max() <= 1


@pytest.mark.parametrize("factor", [2, 64])
def test_a_multiple_of_all_updates_gives_the_multiple(factor):
    """Within what rounding one division makes of it."""
    updates = make_updates()
    start = coordinate_median(updates)
    for name, (rule, f) in BEARING.items():
        assert np.abs(rule(factor * updates, f) - factor * rule(updates, f)).max() < factor, name
    assert np.abs(coordinate_median(factor * updates) - factor * start).max() < factor
    clipped = np.abs(clip_lengths(factor * updates) - factor * clip_lengths(updates))
    assert clipped.max() <= factor
    for large, small in (
        (geometric_median(factor * updates), geometric_median(updates)),
        (centred_clipping(factor * updates, factor * start), centred_clipping(updates, start)),
    ):
        assert np.abs(large - factor * small).max() <= 4 * factor


def test_clipping_leaves_the_short_and_shortens_the_long():
    updates = make_updates()
    lengths = np.linalg.norm(to_floats(updates), axis=1)
    clipped = clip_lengths(updates)
    short = lengths <= np.median(lengths)
    assert np.array_equal(clipped[short], updates[short])
    assert np.allclose(np.linalg.norm(to_floats(clipped[~short]), axis=1), np.median(lengths), atol=1e-5)
    assert clip_lengths(np.zeros((4, 3), np.int32)).tolist() == np.zeros((4, 3)).tolist()


@pytest.mark.parametrize("name", BEARING)
def test_three_of_ten_at_the_limit_do_not_move_a_rule_far(name):
    """What robust means: the step stays among the honest updates, wherever the others are."""
    rule, f = BEARING[name]
    updates = make_updates()
    updates[len(updates) - f :] = 2**30
    honest = updates[: len(updates) - f]
    step = rule(updates, f) if name != "mix_nearest" else rule(updates, f)[: len(honest)]
    assert (honest.min(axis=0) <= step).all()
    assert (step <= honest.max(axis=0)).all()


def test_a_draw_of_buckets_does_not_follow_the_order_of_arrival():
    updates, weights = make_updates(), np.arange(1, 11)
    order = stream(1, "arrival").permutation(10)
    means, sums = bucket(updates, weights, 3)
    again, again_sums = bucket(updates[order], weights[order], 3)
    assert np.array_equal(means, again)
    assert np.array_equal(sums, again_sums)
    changed = updates.copy()
    changed[0, 0] += 1
    assert not np.array_equal(means, bucket(changed, weights, 3)[0])


@pytest.mark.parametrize(
    ("rule", "count", "f", "most"),
    [
        (trimmed_mean, 10, 5, 4),
        (krum, 9, 5, 4),
        (multi_krum, 2, 1, 0),
        (bulyan, 10, 2, 1),
        (bulyan, 6, 1, 0),
        (mix_nearest, 10, 5, 4),
        (mean_around_median, 10, 10, 9),
        (krum, 10, -1, 4),
    ],
)
def test_invalid_number_of_malicious_updates(rule, count, f, most):
    with pytest.raises(ValueError, match=f"f = {f}: .* of {count} updates bears at most {most} malicious"):
        rule(make_updates(count, size=3), f)

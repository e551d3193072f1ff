"""Inner products, distances and mixtures: the fast versions against Python's unbounded integers."""

from math import isqrt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from platoon.learning import exact
from platoon.learning.exact import (
    WHOLE,
    compute_distances,
    compute_lengths,
    compute_products,
    compute_squared_distances,
    mix,
    order_by_content,
    share_out,
)

LARGEST = 2**30
ENTRIES = st.integers(-LARGEST, LARGEST) | st.sampled_from([-LARGEST, LARGEST, 2**15, -(2**15), 2**15 - 1])


def matrices(least=1):
    shapes = st.tuples(st.integers(least, 5), st.integers(1, 6))
    return shapes.flatmap(lambda shape: arrays(np.int32, shape, elements=ENTRIES))


def plain_product(one, other):
    return sum(a * b for a, b in zip(one.tolist(), other.tolist(), strict=True))


@given(matrices())
def test_products_equal_big_integers(rows):
    assert compute_products(rows) == [[plain_product(one, other) for other in rows] for one in rows]


def test_products_of_several_chunks_of_the_largest_entries():
    size = 2 * exact._CHUNK + 3
    rows = np.array([[LARGEST] * size, [-LARGEST] * size, [LARGEST - 1] * size], dtype=np.int32)
    values = [LARGEST, -LARGEST, LARGEST - 1]
    assert compute_products(rows) == [[size * a * b for b in values] for a in values]
    assert compute_lengths(rows) == [isqrt(size * a * a * 2**32) for a in values]


@given(matrices())
def test_squared_distances_and_lengths_equal_big_integers(rows):
    distances = compute_squared_distances(rows)
    for i, one in enumerate(rows.astype(object)):
        for j, other in enumerate(rows.astype(object)):
            assert distances[i][j] == sum((one - other) ** 2)
    assert compute_lengths(rows) == [isqrt(plain_product(row, row) * 2**32) for row in rows]


@given(matrices(), st.data())
def test_distances_to_a_mixture_equal_big_integers(rows, data):
    weights = share_out(data.draw(st.lists(st.integers(1, 100), min_size=len(rows), max_size=len(rows))))
    centre = sum(w * row for w, row in zip(weights, rows.astype(object), strict=True))
    expected = [isqrt(sum((WHOLE * row - centre) ** 2) * 2**32 // WHOLE**2) for row in rows.astype(object)]
    assert compute_distances(compute_products(rows), weights) == expected
    assert mix(rows, weights).tolist() == [total >> 30 for total in centre]


@given(st.lists(st.integers(0, 2**200), min_size=1, max_size=8).filter(any))
def test_shares_are_proportional_and_sum_to_the_whole(parts):
    shares = share_out(parts)
    assert sum(shares) == WHOLE
    assert all(
        abs(share * sum(parts) - part * WHOLE) < sum(parts) for share, part in zip(shares, parts, strict=True)
    )


@given(matrices())
def test_order_by_content_is_lexicographic(rows):
    assert rows[order_by_content(rows)].tolist() == sorted(rows.tolist())

"""Inner products, distances and mixtures of updates in whole numbers.

Robust rules compare updates by Euclidean distance. Sums of float squares differ between processors in their last
bit, and a rule that picks the nearest update may then pick another: edge servers would vote for different models.
Here every distance is exact. Iterative rules never leave the span of the updates, so that they need no more
than the K x K table of inner products: a point is a mixture of updates, and its weights are integers too.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Final

import numpy as np

from platoon.nouns import FixedPoint, Floats, Ints

MIXTURE_BITS: Final = 30
WHOLE: Final = 1 << MIXTURE_BITS
"""Weights of a mixture are non-negative and sum to this. A mixture stays below 2^61 in magnitude: an int64."""
LENGTH_BITS: Final = 16
"""Lengths are integers in units of 2^-16 of a fixed-point unit, rounded down."""
_CHUNK: Final = 1 << 16
_HALF: Final = 16

Table = list[list[int]]
"""Of K x K unbounded integers."""


def compute_products(rows: FixedPoint) -> Table:
    """Exact inner products of rows (K, D), in fixed-point units squared.

    Each entry is split into two halves of 16 bits. Products of halves are below 2^31 and their sums over a chunk
    of columns below 2^47, so that float64 holds them exactly, in whatever order a fast matrix product adds.

    >>> compute_products(np.array([[2**30, 3], [-(2**30), 1]], dtype=np.int32))[0][1] == 3 - 2**60
    True
    """
    count = len(rows)
    high_high, mixed, low_low = (np.zeros((count, count), dtype=np.int64) for _ in range(3))
    for start in range(0, rows.shape[1], _CHUNK):
        high, low = _split(rows[:, start : start + _CHUNK])
        high_low = (high @ low.T).astype(np.int64)
        high_high += (high @ high.T).astype(np.int64)
        mixed += high_low + high_low.T
        low_low += (low @ low.T).astype(np.int64)
    return [
        [
            (int(high_high[i, j]) << 2 * _HALF) + (int(mixed[i, j]) << _HALF) + int(low_low[i, j])
            for j in range(count)
        ]
        for i in range(count)
    ]


def compute_squared_distances(rows: FixedPoint) -> Table:
    """Exact squared distances between rows (K, D)."""
    products = compute_products(rows)
    count = range(len(products))
    return [[products[i][i] + products[j][j] - 2 * products[i][j] for j in count] for i in count]


def compute_lengths(rows: FixedPoint) -> list[int]:
    """Euclidean lengths of rows (K, D), in units of 2^-16 of theirs, rounded down."""
    squares = [0] * len(rows)
    for start in range(0, rows.shape[1], _CHUNK):
        high, low = _split(rows[:, start : start + _CHUNK])
        parts = [np.einsum("kd,kd->k", *pair) for pair in ((high, high), (high, low), (low, low))]
        for i, (high_high, high_low, low_low) in enumerate(np.array(parts, dtype=np.int64).T.tolist()):
            squares[i] += (high_high << 2 * _HALF) + (high_low << _HALF + 1) + low_low
    return [isqrt(square << 2 * LENGTH_BITS) for square in squares]


def compute_distances(products: Table, weights: Sequence[int]) -> list[int]:
    """Distance of every row to the mixture of rows with these weights, as ``compute_lengths`` gives lengths.

    ``products`` is the rows' table; |x - z|^2 = <x, x> - 2 <x, z> + <z, z> with z = sum_j w_j x_j / 2^30.
    """
    to_mixture = [sum(w * p for w, p in zip(weights, line, strict=True)) for line in products]
    own = sum(w * p for w, p in zip(weights, to_mixture, strict=True))
    squares = [
        (products[i][i] << 2 * MIXTURE_BITS) - (product << MIXTURE_BITS + 1) + own
        for i, product in enumerate(to_mixture)
    ]
    return [isqrt(square >> 2 * (MIXTURE_BITS - LENGTH_BITS)) for square in squares]


def mix(rows: FixedPoint, weights: Sequence[int]) -> FixedPoint:
    """(sum_i weight_i row_i) >> 30, elementwise (D,): rounded towards minus infinity."""
    total = np.zeros(rows.shape[1], dtype=np.int64)
    for weight, row in zip(weights, rows, strict=True):
        if weight:
            total += weight * row.astype(np.int64)
    return (total >> MIXTURE_BITS).astype(np.int32)


def share_out(parts: Sequence[int]) -> list[int]:
    """Weights proportional to ``parts`` that sum to 2^30: floors, then one each by the largest remainders (ties:
    the earlier).

    >>> share_out([1, 1, 1]) == [WHOLE // 3 + 1, WHOLE // 3, WHOLE // 3]
    True
    """
    total = sum(parts)
    shares = [part * WHOLE // total for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(parts[i] * WHOLE % total), i))
    for i in by_remainder[: WHOLE - sum(shares)]:
        shares[i] += 1
    return shares


def order_by_content(rows: FixedPoint) -> Ints:
    """(K,) places of rows in lexicographic order of their values: an order that no sender's number decides.

    It settles ties. Adding the same vector to all rows leaves it as it is.
    """
    keys = (rows.astype(np.int64) + (1 << 31)).astype(">u4")
    return np.array(sorted(range(len(rows)), key=lambda i: keys[i].tobytes()), dtype=np.int64)


def _split(block: FixedPoint) -> tuple[Floats, Floats]:
    """Halves with block = high 2^16 + low, both within +-2^15."""
    wide = block.astype(np.int64)
    high = (wide + (1 << _HALF - 1)) >> _HALF
    return high.astype(np.float64), (wide - (high << _HALF)).astype(np.float64)

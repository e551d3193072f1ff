"""Classical robust aggregation rules on a matrix of updates (K, D), in integers.

``f`` is how many of the updates a rule is asked to bear. Every rule gives the same bits on every machine: it
sorts, sums and divides integers (``platoon.learning.exact``), rounds towards minus infinity where it divides, and
settles ties by the updates' contents, never by their order. Definitions follow ByzFL
(https://byzfl.epfl.ch), which a test holds them equal to; Bulyan, which that library lacks, follows its paper.
"""

import hashlib
from typing import Final

import numpy as np

from platoon.learning.aggregation import SCALE
from platoon.learning.exact import (
    LENGTH_BITS,
    WHOLE,
    Table,
    compute_distances,
    compute_lengths,
    compute_products,
    compute_squared_distances,
    mix,
    order_by_content,
    share_out,
)
from platoon.nouns import FixedPoint, Ints

_INVERSE: Final = 1 << 128
"""Numerator of the integer inverses of lengths."""


def most_faulty(count: int) -> int:
    """The largest f that trimmed mean, Krum, Multi-Krum and nearest neighbours bear: f < K / 2."""
    return (count - 1) // 2


def most_faulty_bulyan(count: int) -> int:
    """The largest f that Bulyan bears: K >= 4 f + 3, and any K without attackers."""
    return max(0, (count - 3) // 4)


def coordinate_median(updates: FixedPoint) -> FixedPoint:
    """(D,) median of every coordinate; of an even number the mean of the middle two (Yin et al. 2018)."""
    ordered = np.sort(updates, axis=0)
    count = len(updates)
    middle = ordered[(count - 1) // 2].astype(np.int64) + ordered[count // 2]
    median: FixedPoint = (middle >> 1).astype(np.int32)
    return median


def trimmed_mean(updates: FixedPoint, f: int) -> FixedPoint:
    """(D,) mean of every coordinate without its f largest and f smallest values (Yin et al. 2018).

    Raises:
        ValueError: f is not within 0 <= f < K / 2.
    """
    _require(f, len(updates), most_faulty(len(updates)), "a trimmed mean")
    return _mean(np.sort(updates, axis=0)[f : len(updates) - f])


def krum(updates: FixedPoint, f: int) -> FixedPoint:
    """(D,) the update with the least sum of squared distances to its K - f - 1 nearest (Blanchard et al. 2017,
    who count one neighbour less; ByzFL's definition).

    Raises:
        ValueError: f is not within 0 <= f < K / 2.
    """
    _require(f, len(updates), most_faulty(len(updates)), "Krum")
    rows = updates[order_by_content(updates)]
    best: FixedPoint = rows[_rank_by_krum(compute_squared_distances(rows), list(range(len(rows))), f)[0]]
    return best


def multi_krum(updates: FixedPoint, f: int) -> FixedPoint:
    """(D,) mean of the K - f updates that Krum ranks first (Blanchard et al. 2017).

    Raises:
        ValueError: f is not within 0 <= f < K / 2.
    """
    _require(f, len(updates), most_faulty(len(updates)), "Multi-Krum")
    rows = updates[order_by_content(updates)]
    ranked = _rank_by_krum(compute_squared_distances(rows), list(range(len(rows))), f)
    return _mean(rows[sorted(ranked[: len(rows) - f])])


def bulyan(updates: FixedPoint, f: int) -> FixedPoint:
    """(D,) Krum chooses K - 2f updates one after another, among those left; then, of every coordinate, the mean of
    the K - 4f values nearest to the chosen ones' median (El Mhamdi et al. 2018).

    Raises:
        ValueError: f is not within 0 <= f <= (K - 3) / 4.
    """
    _require(f, len(updates), most_faulty_bulyan(len(updates)), "Bulyan")
    rows = updates[order_by_content(updates)]
    distances = compute_squared_distances(rows)
    left, chosen = list(range(len(rows))), list[int]()
    while len(chosen) < len(rows) - 2 * f:
        chosen.append(_rank_by_krum(distances, left, f)[0])
        left.remove(chosen[-1])
    return mean_around_median(rows[chosen], 2 * f)


def mean_around_median(updates: FixedPoint, f: int) -> FixedPoint:
    """(D,) mean of the K - f values of every coordinate that are nearest to their median; ties go to the smaller
    (Xie et al. 2018). Bulyan's second step.

    Raises:
        ValueError: f is not within 0 <= f < K.
    """
    count = len(updates)
    _require(f, count, count - 1, "a mean around the median")
    ordered = np.sort(updates, axis=0).astype(np.int64)
    twice_median = ordered[(count - 1) // 2] + ordered[count // 2]
    nearest = np.argsort(np.abs(2 * ordered - twice_median), axis=0, kind="stable")[: count - f]
    return _mean(np.take_along_axis(ordered, nearest, axis=0))


def geometric_median(updates: FixedPoint, iterations: int = 16, smoothing: float = 1e-6) -> FixedPoint:
    """(D,) the point with the least sum of distances, by Weiszfeld's iterations from the mean on; a distance counts
    as ``smoothing`` (in parameter units) at least (Pillutla et al. 2022)."""
    rows = updates[order_by_content(updates)]
    products = compute_products(rows)
    least = max(1, _to_length(smoothing))
    weights = share_out([1] * len(rows))
    for _ in range(iterations):
        weights = share_out([_INVERSE // max(least, far) for far in compute_distances(products, weights)])
    return mix(rows, weights)


def centred_clipping(
    updates: FixedPoint, start: FixedPoint, tau: float | None = None, iterations: int = 16
) -> FixedPoint:
    """(D,) v = v + mean_i (x_i - v) min(1, tau / |x_i - v|), from ``start`` (D,) on (Karimireddy et al. 2021).

    ``tau`` is a length in parameter units; None takes the median distance from v, anew in every iteration, so
    that a round of short updates is clipped as one of long ones is.
    """
    rows = np.concatenate([updates[order_by_content(updates)], start[None]])
    products = compute_products(rows)
    count = len(updates)
    weights = [0] * count + [WHOLE]
    for _ in range(iterations):
        far = compute_distances(products, weights)[:count]
        radius = _median(far) if tau is None else _to_length(tau)
        kept = [WHOLE if length <= radius else WHOLE * radius // length for length in far]
        rest = WHOLE - sum(kept) // count
        pairs = zip(weights[:count], kept, strict=True)
        weights = [weight * rest // WHOLE + keep // count for weight, keep in pairs]
        weights.append(WHOLE - sum(weights))
    return mix(rows, weights)


def clip_lengths(updates: FixedPoint) -> FixedPoint:
    """(K, D) every update that is longer than their median length, shortened to it."""
    lengths = compute_lengths(updates)
    limit = _median(lengths)
    clipped = updates.copy()
    for i, length in enumerate(lengths):
        if length > limit:
            clipped[i] = mix(updates[i : i + 1], [WHOLE * limit // length])
    return clipped


def mix_nearest(updates: FixedPoint, f: int) -> FixedPoint:
    """(K, D) every update replaced by the mean of the K - f nearest to it, itself included: nearest-neighbour
    mixing, NNM (Allouah et al. 2023).

    Raises:
        ValueError: f is not within 0 <= f < K / 2.
    """
    count = len(updates)
    _require(f, count, most_faulty(count), "nearest-neighbour mixing")
    places = order_by_content(updates)
    rows, mixed = updates[places], np.empty_like(updates)
    for i, line in enumerate(compute_squared_distances(rows)):
        nearest = sorted(range(count), key=lambda j: (line[j], j))[: count - f]
        mixed[places[i]] = _mean(rows[sorted(nearest)])
    return mixed


def bucket(updates: FixedPoint, weights: Ints, size: int) -> tuple[FixedPoint, Ints]:
    """Means of buckets of ``size`` updates, the last one maybe smaller, and the sums of their weights
    (Karimireddy et al. 2022).

    Who shares a bucket is as good as drawn, and every edge server draws the same: updates are dealt in the order
    of their SHA-256, salted with the digest of all of them, so that nobody can choose its place who does not know
    all other updates; who does can try many of its own until one lands where it should.
    """
    keys = [row.astype("<i4").tobytes() for row in updates]
    digests = [hashlib.sha256(key).digest() for key in keys]
    salt = hashlib.sha256(b"".join(sorted(digests))).digest()
    drawn = [hashlib.sha256(salt + digest).digest() for digest in digests]
    order = sorted(range(len(updates)), key=lambda i: (drawn[i], int(weights[i])))
    buckets = [order[start : start + size] for start in range(0, len(order), size)]
    means = np.stack([_mean(updates[members]) for members in buckets])
    return means, np.array([int(weights[members].sum()) for members in buckets], dtype=np.int64)


def _rank_by_krum(distances: Table, among: list[int], f: int) -> list[int]:
    """Members of ``among``, the best first: by the sum of squared distances to their nearest others."""
    neighbours = len(among) - f - 1
    sums = {i: sum(sorted(distances[i][j] for j in among if j != i)[:neighbours]) for i in among}
    return sorted(among, key=lambda i: (sums[i], i))


def _mean(rows: FixedPoint | Ints) -> FixedPoint:
    mean: FixedPoint = (rows.sum(axis=0, dtype=np.int64) // len(rows)).astype(np.int32)
    return mean


def _median(lengths: list[int]) -> int:
    ordered = sorted(lengths)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def _to_length(value: float) -> int:
    """Parameter units to units of ``compute_lengths``, rounded to nearest; a power of two scales exactly."""
    return round(value * (SCALE << LENGTH_BITS))


def _require(f: int, count: int, most: int, rule: str) -> None:
    if not 0 <= f <= most:
        raise ValueError(f"f = {f}: {rule} of {count} updates bears at most {most} malicious ones")

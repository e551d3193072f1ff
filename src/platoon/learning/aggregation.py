"""Merging in exact fixed point, so that every edge server computes the same bits from the same records.

Parameters are integers in units of 2^-24, clipped to +-64; weights are integers that sum to exactly 2^20. A
weighted sum then stays below 2^50 in magnitude and fits an int64 whatever the number of updates, and integer
addition does not care for order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.learning.server_step import STEP_BITS, Moments, ServerStep
from platoon.nouns import FixedPoint, Ints, Weights
from platoon.records.rules import WEIGHT_BITS, WEIGHT_TOTAL

SCALE: Final = 1 << STEP_BITS
"""Fixed-point units in one."""
LIMIT: Final = 64 * SCALE
"""Largest magnitude of a parameter or of an update's entry, in fixed-point units."""

Aggregator = Callable[[FixedPoint, Ints], FixedPoint]
"""Updates (K, D) and weights (K,) that sum to 2^20, to the step (D,) that is added to the model. Must not depend on
the order of the updates (``platoon.testing.check_aggregator``)."""


def quantise(values: Weights) -> FixedPoint:
    """Float32 (..., D) to fixed point: rounded to nearest (ties to even), clipped to +-64.

    Raises:
        ValueError: NaN or infinity.

    >>> quantise(np.array([0.5, -100.0], dtype=np.float32)).tolist()
    [8388608, -1073741824]
    """
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity cannot be quantised")
    # A power of two scales exactly; the clip comes first, so that the product stays finite.
    clipped = np.clip(values, np.float32(-64.0), np.float32(64.0))
    fixed: FixedPoint = np.rint(clipped * np.float32(SCALE)).astype(np.int32)
    return fixed


def dequantise(fixed: FixedPoint) -> Weights:
    """Fixed point to float32, rounded to nearest where 24 bits do not hold it."""
    return fixed.astype(np.float32) * np.float32(1.0 / SCALE)


def weighted_mean(updates: FixedPoint, weights: Ints) -> FixedPoint:
    """(sum_i weight_i update_i) >> 20, elementwise: eq. 3 of DTB-FL, rounded towards minus infinity.

    FedAvg and eq. 14 differ in the weights only.

    Raises:
        ValueError: shapes that do not match, or weights that are negative or do not sum to 2^20.
    """
    if updates.ndim != 2 or weights.shape != updates.shape[:1]:
        raise ValueError(f"updates {updates.shape} and weights {weights.shape} do not match")
    if (weights < 0).any() or int(weights.sum()) != WEIGHT_TOTAL:
        raise ValueError(f"weights must be non-negative and sum to {WEIGHT_TOTAL}, not {int(weights.sum())}")
    total = np.zeros(updates.shape[1], dtype=np.int64)
    for weight, update in zip(weights.tolist(), updates, strict=True):
        total += weight * update.astype(np.int64)
    return (total >> WEIGHT_BITS).astype(np.int32)


def merge(
    model: FixedPoint, updates: FixedPoint, weights: Ints, aggregate: Aggregator = weighted_mean
) -> FixedPoint:
    """The aggregate of the updates (K, D) added to ``model`` (D,), clipped to +-64.

    Raises:
        ValueError: as the aggregator; or the model's length differs from the updates'.
    """
    return advance(model, updates, weights, aggregate).model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged:
    """What a round's merge leaves."""

    model: FixedPoint
    """(D,)"""
    moments: Moments | None
    """What an adaptive server optimiser remembers from now on; None of the others."""


def advance(
    model: FixedPoint,
    updates: FixedPoint,
    weights: Ints,
    aggregate: Aggregator = weighted_mean,
    *,
    server: ServerStep | None = None,
    former: FixedPoint | None = None,
    moments: Moments | None = None,
) -> Merged:
    """As ``merge``, the step taken as ``server`` says.

    ``former`` (D,) is the model of the round before, None in the first; ``moments`` is what the last round that
    merged something left, None before it.

    Raises:
        ValueError: as ``merge``.
    """
    step, server = aggregate(updates, weights), server or ServerStep()
    if step.shape != model.shape:
        raise ValueError(f"a model {model.shape} cannot take a step {step.shape}")
    moments = server.remember(step, moments)
    taken = server.take(step, model, model if former is None else former, moments)
    merged: FixedPoint = np.clip(model.astype(np.int64) + taken, -LIMIT, LIMIT).astype(np.int32)
    return Merged(model=merged, moments=moments)

"""Merging in exact fixed point, so that every edge server computes the same bits from the same records.

Parameters are integers in units of 2^-24, clipped to +-64; weights are integers that sum to exactly 2^20. A
weighted sum then stays below 2^50 in magnitude and fits an int64 whatever the number of updates, and integer
addition does not care for order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.nouns import FixedPoint, Ints, Weights
from platoon.records.rules import WEIGHT_TOTAL

SCALE: Final = 1 << 24
"""Fixed-point units in one."""
LIMIT: Final = 64 * SCALE
"""Largest magnitude of a parameter or of an update's entry, in fixed-point units."""
WEIGHT_BITS: Final = WEIGHT_TOTAL.bit_length() - 1

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep:
    """How edge servers take a merged step, FedAvgM (Hsu et al. 2019): w' = w + rate step + momentum (w - former).

    Its memory is the model of the round before, which is on the ledger: every edge server has it, and so has a run
    that resumes and whoever verifies. A round that merged nothing ends the momentum.
    """

    rate: int = WEIGHT_TOTAL
    """In units of 2^-20."""
    momentum: int = 0
    """In units of 2^-20."""

    @classmethod
    def of(cls, rate: float, momentum: float) -> "ServerStep":
        """From a scenario's numbers, rounded to nearest."""
        return cls(rate=round(rate * WEIGHT_TOTAL), momentum=round(momentum * WEIGHT_TOTAL))

    def take(self, step: FixedPoint, model: FixedPoint, former: FixedPoint) -> Ints:
        """What is added to the model (D,): the step's part rounded towards minus infinity, the momentum's towards
        zero, so that it dies out alike in both directions."""
        if self.rate == WEIGHT_TOTAL and self.momentum == 0:
            return step.astype(np.int64)
        last = model.astype(np.int64) - former
        kept = np.sign(last) * (self.momentum * np.abs(last) >> WEIGHT_BITS)
        taken: Ints = (self.rate * step.astype(np.int64) >> WEIGHT_BITS) + kept
        return taken


def merge(  # noqa: PLR0917
    model: FixedPoint,
    updates: FixedPoint,
    weights: Ints,
    aggregate: Aggregator = weighted_mean,
    former: FixedPoint | None = None,
    server: ServerStep | None = None,
) -> FixedPoint:
    """The next model (D,): the aggregate of the updates (K, D) added to ``model`` (D,), clipped to +-64.

    ``former`` (D,) is the model of the round before, None in the first; ``server`` says how the step is taken.

    Raises:
        ValueError: as the aggregator; or the model's length differs from the updates'.
    """
    step = aggregate(updates, weights)
    if step.shape != model.shape:
        raise ValueError(f"a model {model.shape} cannot take a step {step.shape}")
    taken = (server or ServerStep()).take(step, model, model if former is None else former)
    merged: FixedPoint = np.clip(model.astype(np.int64) + taken, -LIMIT, LIMIT).astype(np.int32)
    return merged

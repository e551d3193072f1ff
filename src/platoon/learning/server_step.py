"""How edge servers take a merged step: as it is, with momentum, or divided by how much its entries moved before.

All of it is integers, and follows from what the ledger has: the models and the merged updates of all rounds.
Momentum (FedAvgM, Hsu et al. 2019) remembers the model of the round before. The adaptive optimisers (Algorithm 2
of Reddi et al. 2021, "Adaptive federated optimization") remember two moments of every parameter, a fold over the
merged steps, which every edge server keeps for itself and whoever verifies a run folds again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from platoon.nouns import FixedPoint, Ints
from platoon.records.rules import WEIGHT_BITS, WEIGHT_TOTAL

STEP_BITS: Final = 24
"""Steps, and so roots of second moments, are in units of 2^-24."""
FIRST_BITS: Final = 32
"""First moments are in units of 2^-32: eight bits more than steps, so that small steps are not lost to rounding."""
MOST: Final = 1 << 62
"""Second moments, in units of 2^-48, go no further: FedAdagrad's only grow."""

Optimiser = Literal["momentum", "adam", "yogi", "adagrad"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What an adaptive optimiser remembers between merged rounds."""

    first: Ints
    """(D,) m: mean of past steps, units of 2^-32."""
    second: Ints
    """(D,) v: of their squares, units of 2^-48."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep:
    """How edge servers take a merged step Δ.

    "momentum" is FedAvgM, w' = w + rate Δ + momentum (w - former); a round that merged nothing ends it. The others
    are w' = w + rate m / (sqrt(v) + adaptivity), with m' = momentum m + (1 - momentum) Δ; m = 0 and v =
    adaptivity^2 at first, without correction of bias; a round that merged nothing leaves m and v.
    """

    optimiser: Optimiser = "momentum"
    rate: int = WEIGHT_TOTAL
    """η, in units of 2^-20."""
    momentum: int = 0
    """β1, in units of 2^-20."""
    memory: int = WEIGHT_TOTAL
    """β2, in units of 2^-20; adagrad has none."""
    adaptivity: int = 1
    """τ, at least 1, in units of 2^-24."""

    @classmethod
    def of(
        cls,
        rate: float,
        momentum: float,
        optimiser: Optimiser = "momentum",
        memory: float = 0.99,
        adaptivity: float = 1e-3,
    ) -> "ServerStep":
        """From a scenario's numbers, rounded to nearest."""
        return cls(
            optimiser=optimiser,
            rate=round(rate * WEIGHT_TOTAL),
            momentum=round(momentum * WEIGHT_TOTAL),
            memory=round(memory * WEIGHT_TOTAL),
            adaptivity=round(adaptivity * (1 << STEP_BITS)),
        )

    def remember(self, step: FixedPoint, moments: Moments | None) -> Moments | None:
        """The moments after one more merged step (D,); None before the first, and for "momentum"."""
        if self.optimiser == "momentum":
            return None
        if moments is None:
            nothing = np.zeros(len(step), dtype=np.int64)
            moments = Moments(first=nothing, second=nothing + self.adaptivity**2)
        finer = step.astype(np.int64) << FIRST_BITS - STEP_BITS
        return Moments(
            first=_share(self.momentum, moments.first) + _share(WEIGHT_TOTAL - self.momentum, finer),
            second=_SECOND[self.optimiser](moments.second, step.astype(np.int64) ** 2, self.memory),
        )

    def take(self, step: FixedPoint, model: FixedPoint, former: FixedPoint, moments: Moments | None) -> Ints:
        """What is added to the model (D,). ``moments`` remember this step already.

        The step's part is rounded towards minus infinity; what momentum or an adaptive optimiser makes is rounded
        towards zero, so that it dies out alike in both directions.
        """
        if moments is not None:
            # rate |m| < 2^24 2^38: an int64; 2^-20 2^-32 over 2^-24 2^-4 is 2^-24.
            divisor = _root(moments.second) + self.adaptivity << WEIGHT_BITS + FIRST_BITS - 2 * STEP_BITS
            adapted: Ints = np.sign(moments.first) * (self.rate * np.abs(moments.first) // divisor)
            return adapted
        if self.rate == WEIGHT_TOTAL and self.momentum == 0:
            return step.astype(np.int64)
        taken: Ints = (self.rate * step.astype(np.int64) >> WEIGHT_BITS) + _share(
            self.momentum, model.astype(np.int64) - former
        )
        return taken


def _share(share: int, values: Ints) -> Ints:
    """A share (units of 2^-20, at most 1) of values (D,) below 2^43 in magnitude, rounded towards zero."""
    kept: Ints = np.sign(values) * (share * np.abs(values) >> WEIGHT_BITS)
    return kept


def _large_share(share: int, values: Ints) -> Ints:
    """The same of values (D,) from 0 to 2^62, by halves, since the product fits no int64; exact to the last bit."""
    high, low = values >> WEIGHT_BITS, values & WEIGHT_TOTAL - 1
    kept: Ints = high * share + (low * share >> WEIGHT_BITS)
    return kept


def _root(values: Ints) -> Ints:
    """The integer square root of values (D,) from 0 to 2^62. Roots in float64 are rounded correctly everywhere
    (IEEE 754) and one off at most; integers settle it.

    >>> _root(np.array([0, 15, 16, (1 << 62) - 1])).tolist() == [0, 3, 4, (1 << 31) - 1]
    True
    """
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    return root


def _adam(second: Ints, square: Ints, memory: int) -> Ints:
    """v' = β2 v + (1 - β2) Δ^2."""
    return _large_share(memory, second) + _large_share(WEIGHT_TOTAL - memory, square)


def _yogi(second: Ints, square: Ints, memory: int) -> Ints:
    """v' = v - (1 - β2) Δ^2 sign(v - Δ^2)."""
    grown: Ints = second - np.sign(second - square) * _large_share(WEIGHT_TOTAL - memory, square)
    return grown


def _adagrad(second: Ints, square: Ints, memory: int) -> Ints:  # noqa: ARG001 (forgets nothing)
    """v' = v + Δ^2."""
    grown: Ints = np.minimum(second + square, MOST)
    return grown


_SECOND: Final[dict[str, Callable[[Ints, Ints, int], Ints]]] = {
    "adam": _adam,
    "yogi": _yogi,
    "adagrad": _adagrad,
}

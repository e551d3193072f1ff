"""The clocks of the RSUs: each walks at random, and GPS pulls it back.

A disciplined oscillator is within tens of nanoseconds of true time, and its error lasts for minutes, so that it
moves all positions the same way for long. A pure function of seed and time (as the load of a processor is): a
moving average of innovations at knots, with exponential memory and linear in between.
"""

import numpy as np

from platoon.nouns import SECOND, Floats, Instant
from platoon.rng import stream

KNOTS_PER_MEMORY = 20
WINDOW = 7 * KNOTS_PER_MEMORY
"""Knots that an error remembers at all."""


class Clocks:
    """Errors of R clocks."""

    def __init__(self, rsus: int, sigma_ns: float, memory_s: float, seed: int) -> None:
        self._rsus, self._seed = rsus, seed
        self._knot = max(1, round(memory_s / KNOTS_PER_MEMORY * SECOND))
        weights = np.exp(-np.arange(WINDOW) / KNOTS_PER_MEMORY)
        self._weights = sigma_ns * weights / np.sqrt(np.square(weights).sum())
        self._walks: dict[int, Floats] = {}

    def compute_ns(self, at: Instant) -> Floats:
        """(R,) how far each clock is ahead at ``at``, nanoseconds."""
        knot, rest = divmod(at, self._knot)
        share = rest / self._knot
        return (1.0 - share) * self._at_knot(knot) + share * self._at_knot(knot + 1)

    def _at_knot(self, knot: int) -> Floats:
        if knot not in self._walks:
            drawn = [
                stream(self._seed, "clock walk", knot - age).standard_normal(self._rsus)
                for age in range(WINDOW)
            ]
            self._walks = {k: v for k, v in self._walks.items() if k == knot - 1}
            self._walks[knot] = np.asarray(self._weights @ np.array(drawn))
        return self._walks[knot]

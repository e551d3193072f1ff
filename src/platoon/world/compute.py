"""The true processors of the fleet: clocks, other work that takes its share of them, and training on what is left.

The load of a vehicle is a mean that follows the hour and the vehicle's type, plus a process with exponential
memory (an autoregression cut off after seven memory times). It is a pure function of seed, vehicle and time:
nothing of it needs saving, and asking about it disturbs nothing. No measured trace of a vehicle's processor is
known to us; memory and day pattern are assumptions, strength and spread are keys of the scenario.
"""

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints
from platoon.physics.compute import compute_training_cycles, compute_training_joules
from platoon.rng import stream
from platoon.scenario import Compute

KNOT = 2 * SECOND
"""The load is constant within a knot of 2 s."""
MEMORY_KNOTS = 10.0
"""Knots after which the load has forgotten all but 1/e of itself: 20 s."""
WINDOW = 70
"""Knots that the load remembers at all."""
COMMERCIAL_SHARE = 0.3
START_HOUR = 8.0
"""Hour of the day at instant 0."""
PRIVATE_PEAK_HOUR, COMMERCIAL_PEAK_HOUR = 18.0, 13.0
DAY_AMPLITUDE = 0.5
"""The mean load swings by this share of itself over the day."""
LARGEST_LOAD = 0.95


class Processors:
    """Processors of N vehicles."""

    clock_hz: Floats
    """(N,) the processor's clock."""
    commercial: Bools
    """(N,) a commercial vehicle; a private one otherwise. The registration papers say so: the twin may know it."""
    claimed_hz: Floats
    """(N,) the clock that vehicles say they have, in their answers to a task's request too. The twin never sees it;
    attestations catch who boasts."""

    def __init__(self, settings: Compute, vehicles: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        low, high = settings.ghz
        self.clock_hz = stream(seed, "clock").uniform(low * 1e9, high * 1e9, vehicles)
        self.commercial = stream(seed, "vehicle type").random(vehicles) < COMMERCIAL_SHARE
        boasts = stream(seed, "claim").random(vehicles) < settings.boaster_share
        self.claimed_hz = self.clock_hz * np.where(boasts, settings.boast, 1.0)
        decay = np.exp(-1.0 / MEMORY_KNOTS)
        memory = decay ** np.arange(WINDOW)
        self._memory = memory / np.sqrt(np.square(memory).sum())
        self._innovations: dict[int, Floats] = {}
        self._latest = 0, self._compute_load(0)

    def load(self, at: Instant) -> Floats:
        """(N,) share of each processor that other work takes at ``at``."""
        knot = at // KNOT
        if knot != self._latest[0]:
            self._latest = knot, self._compute_load(knot)
        return self._latest[1]

    def _compute_load(self, knot: int) -> Floats:
        process: Floats = self._memory @ np.array([self._draw(knot - age) for age in range(WINDOW)])
        peak = np.where(self.commercial, COMMERCIAL_PEAK_HOUR, PRIVATE_PEAK_HOUR)
        hour = START_HOUR + knot * KNOT / SECOND / 3600.0
        daily = 1.0 + DAY_AMPLITUDE * np.cos(2.0 * np.pi * (hour - peak) / 24.0)
        load: Floats = self._settings.load_mean * daily + self._settings.load_sigma * process
        return np.clip(load, 0.0, LARGEST_LOAD)

    def available_hz(self, at: Instant) -> Floats:
        """(N,) cycles per second that are free for training at ``at``."""
        return self.clock_hz * (1.0 - self.load(at))

    def finish(self, vehicle: int, cycles: float, start: Instant) -> Instant:
        """When ``vehicle`` has done ``cycles`` that it began at ``start``, rounded up to the microsecond."""
        at, left = start, cycles
        while True:
            free = float(self.available_hz(at)[vehicle])
            end = Instant((at // KNOT + 1) * KNOT)
            possible = free * (end - at) / SECOND
            if possible >= left:
                return Instant(at + int(np.ceil(left / free * SECOND)))
            at, left = end, left - possible

    def training_cycles(self, samples: int, epochs: int) -> float:
        """Cycles of one local training."""
        return float(compute_training_cycles(samples, epochs, self._settings.cycles_per_sample))

    def joules(self, vehicles: Ints, cycles: Floats) -> Floats:
        """(K,) energy that ``cycles`` (K,) cost on these vehicles' processors."""
        return compute_training_joules(cycles, self.clock_hz[vehicles], self._settings.capacitance)

    def _draw(self, knot: int) -> Floats:
        """(N,) innovation of a knot; the last few windows are kept."""
        if knot not in self._innovations:
            if len(self._innovations) > 4 * WINDOW:
                self._innovations = {k: v for k, v in self._innovations.items() if k >= knot - WINDOW}
            drawn = stream(self._seed, "load", knot).standard_normal(len(self.clock_hz))
            self._innovations[knot] = drawn
        return self._innovations[knot]

"""Laws of computation and energy: how long training takes, and what it and the upload cost in joules.

Time is eq. 9 of DTB-FL with the number of epochs, as its section 6.1.2 uses it; energy is zeta C D epochs f^2
for the processor (a cycle's switching energy grows with the square of the clock), power times time for the radio.
"""

import numpy as np
from numpy.typing import ArrayLike

from platoon.nouns import Floats


def compute_training_cycles(samples: ArrayLike, epochs: int, cycles_per_sample: float) -> Floats:
    """C |D| epochs: processor cycles of one local training."""
    return cycles_per_sample * epochs * np.asarray(samples, dtype=np.float64)


def compute_training_seconds(cycles: ArrayLike, cpu_hz: ArrayLike) -> Floats:
    """Seconds that ``cycles`` take at ``cpu_hz`` (the share of the clock that is free); infinite at 0 Hz.

    >>> float(compute_training_seconds(compute_training_cycles(300, 3, 1e6), 2e9))
    0.45
    """
    with np.errstate(divide="ignore"):
        return np.asarray(cycles, dtype=np.float64) / np.asarray(cpu_hz, dtype=np.float64)


def compute_training_joules(cycles: ArrayLike, clock_hz: ArrayLike, capacitance: float) -> Floats:
    """zeta * cycles * f^2 with f the processor's clock: other work shares the clock, it does not lower it."""
    per_cycle: Floats = capacitance * np.square(np.asarray(clock_hz, dtype=np.float64))
    return per_cycle * np.asarray(cycles, dtype=np.float64)


def compute_transmit_joules(transmit_dbm: float, transmitting_s: ArrayLike) -> Floats:
    """Radiated power times time on the air, joules.

    >>> float(compute_transmit_joules(30.0, 2.0))
    2.0
    """
    watts = float(10.0 ** (transmit_dbm / 10.0)) / 1e3
    return watts * np.asarray(transmitting_s, dtype=np.float64)


def compute_attested_hz(
    cycles: float, answer_s: Floats, ping_s: Floats, deadline_s: float, largest_round_trip_s: float
) -> Floats:
    """(N,) cycles/s by the best of several answers: cycles over time less round trip; NaN past the deadline.

    ``answer_s`` and ``ping_s`` (N, A) are seconds at the edge server's clock. Delays only add, so the least of each
    counts. No more than ``largest_round_trip_s`` is subtracted: who answers pings late would look fast.

    >>> compute_attested_hz(5e8, np.array([[0.27, 0.26]]), np.array([[0.01, 0.02]]), 1.0, 0.03).round(-6).tolist()
    [2000000000.0]
    """
    least = answer_s.min(axis=1)
    worked = least - np.minimum(ping_s.min(axis=1), largest_round_trip_s)
    return np.where(
        (least <= deadline_s) & (worked > 0.0), cycles / np.where(worked > 0.0, worked, 1.0), np.nan
    )

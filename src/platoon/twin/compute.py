"""How many cycles per second a vehicle will have to spare, from timed attestations alone.

Every vehicle has a level of its own (its clock, less its usual load) and wanders about it. The level is a mean
over its attestations, drawn towards the fleet's while there are few; the wandering is a first-order
autoregression whose persistence is fitted over the whole fleet, since one vehicle's history is short. On
synthetic load and on EC2 traces a batched autoregression was as good as ARIMA at a thousandth of its cost.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Attestations, Bools, Floats, Ints

PRIOR_WEIGHT = 0.5
"""Attestations that the fleet's mean counts for in a vehicle's level."""
PRIOR_SIGMA = 0.15
"""Relative error of a forecast before any was checked."""
PRIOR_CHECKS = 10.0
"""Checked forecasts that ``PRIOR_SIGMA`` and ``PRIOR_PERSISTENCE`` count for."""
PRIOR_PERSISTENCE = 0.5
"""Correlation of one attestation with the next before any pair was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Belief about the processors. Rows are vehicles (N)."""

    attested: Bools
    """(N,) the last attestation that was asked for succeeded."""
    count: Ints
    """(N,) attestations passed."""
    mean: Floats
    """(N,) mean of the vehicle's attestations, cycles/s; 0 before the first."""
    last: Floats
    """(N,) last attestation, cycles/s; 0 before the first."""
    last_at: Ints
    """(N,) its instant, microseconds."""
    pairs: Floats
    """(4,) over all vehicles: sum of (previous x next) and of (previous squared) relative deviation from the level;
    sum of gaps, seconds; number of pairs."""
    errors: Floats
    """(2,) over all vehicles: sum of squared relative forecast errors, and their number."""


def start_capacity(vehicles: int) -> Capacity:
    """Nothing attested yet."""
    return Capacity(
        attested=np.zeros(vehicles, dtype=bool),
        count=np.zeros(vehicles, dtype=np.int64),
        mean=np.zeros(vehicles),
        last=np.zeros(vehicles),
        last_at=np.zeros(vehicles, dtype=np.int64),
        pairs=np.zeros(4),
        errors=np.zeros(2),
    )


def apply_attestations(capacity: Capacity, attestations: Attestations) -> Capacity:
    """The belief after one round of challenges. An answer that is not a positive number is a failure."""
    value = np.nan_to_num(attestations.cpu_hz, nan=0.0, posinf=0.0, neginf=0.0)
    passed = attestations.asked & attestations.passed & (value > 0.0)
    checked = passed & (capacity.count > 0)
    gap = (attestations.at - capacity.last_at) / SECOND
    count = capacity.count + passed
    mean = capacity.mean + np.where(passed, (value - capacity.mean) / np.maximum(count, 1), 0.0)
    return replace(
        capacity,
        attested=np.where(attestations.asked, passed, capacity.attested),
        count=count,
        mean=mean,
        last=np.where(passed, value, capacity.last),
        last_at=np.where(passed, attestations.at, capacity.last_at),
        pairs=capacity.pairs + _pairs(capacity, value, gap, checked & (capacity.count > 1)),
        errors=capacity.errors + _errors(capacity, value, gap, checked),
    )


def forecast_capacity(capacity: Capacity, seconds: Floats | float, nominal_hz: float) -> tuple[Floats, float]:
    """Expected cycles/s (N,) and its relative standard deviation, ``seconds`` after the last attestation.

    ``nominal_hz`` stands for the fleet's mean while nobody has answered.
    """
    level = _level(capacity, nominal_hz)
    persistence = _persistence_per_gap(capacity) ** (np.asarray(seconds) / _mean_gap(capacity))
    known = capacity.count > 0
    expected = np.where(known, level + persistence * (capacity.last - level), level)
    squared, checks = capacity.errors
    variance = (squared + PRIOR_CHECKS * PRIOR_SIGMA**2) / (checks + PRIOR_CHECKS)
    return np.maximum(expected, 0.05 * level), float(np.sqrt(variance))


def _level(capacity: Capacity, nominal_hz: float) -> Floats:
    """Each vehicle's mean, drawn towards the fleet's with the weight of ``PRIOR_WEIGHT`` attestations."""
    known = capacity.count > 0
    fleet = float(np.mean(capacity.mean[known])) if known.any() else nominal_hz
    total = capacity.mean * capacity.count + PRIOR_WEIGHT * fleet
    return np.asarray(total / (capacity.count + PRIOR_WEIGHT))


def _pairs(capacity: Capacity, value: Floats, gap: Floats, rows: Bools) -> Floats:
    level = np.where(rows, capacity.mean, 1.0)
    before = np.where(rows, capacity.last / level - 1.0, 0.0)
    after = np.where(rows, value / level - 1.0, 0.0)
    return np.array([before @ after, before @ before, np.sum(gap, where=rows), np.sum(rows)])


def _errors(capacity: Capacity, value: Floats, gap: Floats, rows: Bools) -> Floats:
    """Squared relative error of what would have been forecast for now, and how many were checked."""
    if not rows.any():
        return np.zeros(2)
    expected, _ = forecast_capacity(capacity, gap, 1.0)
    error = np.where(rows, value / expected - 1.0, 0.0)
    return np.array([error @ error, np.sum(rows)])


def _mean_gap(capacity: Capacity) -> float:
    pairs = capacity.pairs[3]
    return float(capacity.pairs[2] / pairs) if pairs > 0 and capacity.pairs[2] > 0 else 10.0


def _persistence_per_gap(capacity: Capacity) -> float:
    """Pooled lag-one coefficient, kept in [0, 0.99], with the prior's weight of ``PRIOR_CHECKS`` typical pairs."""
    product, square, _, pairs = capacity.pairs
    typical = square / pairs if pairs > 0 else PRIOR_SIGMA**2
    prior = PRIOR_CHECKS * max(typical, 1e-12)
    return float(np.clip((product + PRIOR_PERSISTENCE * prior) / (square + prior), 0.0, 0.99))

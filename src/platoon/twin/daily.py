"""How the fleet's spare capacity follows the hour of the day: one pattern for each type of vehicle.

A vehicle's log capacity is its own level, plus two harmonics of the day that all vehicles of its type share, plus
what wanders. The harmonics are least squares over all attestations with a level of its own for every vehicle (the
within estimator of panel data: sums only, so nothing is kept per attestation), drawn to zero by a
ridge: a run of a quarter of an hour says nothing about the day, and must not pretend to.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

DAY = 24 * 3600 * SECOND
HARMONICS = 2
TERMS = 2 * HARMONICS
TYPES = 2
"""Private, commercial."""
RIDGE = 10.0
"""Attestations at full swing that "no pattern" counts for: the wandering is correlated, so each says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """Sums over all attestations, and the pattern last fitted to them. Rows are vehicles (N)."""

    commercial: Bools
    """(N,) type of the vehicle, as registered."""
    count: Floats
    """(N,) attestations."""
    value: Floats
    """(N,) sum of log capacities."""
    basis: Floats
    """(N, TERMS) sum of the harmonics at their instants."""
    square: Floats
    """(TYPES, TERMS, TERMS) sum of the harmonics' products."""
    cross: Floats
    """(TYPES, TERMS) sum of harmonics times log capacity."""
    pattern: Floats
    """(TYPES, TERMS) coefficients, as fitted last; zeros before."""


def start_daily(commercial: Bools) -> Daily:
    """No attestation yet."""
    vehicles = len(commercial)
    return Daily(
        commercial=commercial,
        count=np.zeros(vehicles),
        value=np.zeros(vehicles),
        basis=np.zeros((vehicles, TERMS)),
        square=np.zeros((TYPES, TERMS, TERMS)),
        cross=np.zeros((TYPES, TERMS)),
        pattern=np.zeros((TYPES, TERMS)),
    )


def compute_harmonics(at: Ints | Instant) -> Floats:
    """(..., TERMS) cosine and sine of one and two turns a day at instants ``at`` (...)."""
    angle = np.asarray(at)[..., None] * (2.0 * np.pi / DAY) * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)


def learn_daily(daily: Daily, at: Instant, rows: Ints, value: Floats) -> Daily:
    """The sums with log capacities ``value`` (M,) of vehicles ``rows`` (M,) at one instant."""
    harmonics = compute_harmonics(at)
    count, total, basis = daily.count.copy(), daily.value.copy(), daily.basis.copy()
    count[rows] += 1.0
    total[rows] += value
    basis[rows] += harmonics
    kind = daily.commercial[rows].astype(np.int64)
    members = np.bincount(kind, minlength=TYPES)
    values = np.bincount(kind, weights=value, minlength=TYPES)
    return replace(
        daily,
        count=count,
        value=total,
        basis=basis,
        square=daily.square + members[:, None, None] * np.outer(harmonics, harmonics),
        cross=daily.cross + values[:, None] * harmonics,
    )


def fit_daily(daily: Daily, ridge: float = RIDGE) -> Daily:
    """The pattern of each type anew: ridge least squares with a level for every vehicle."""
    pattern = np.zeros_like(daily.pattern)
    for kind in range(TYPES):
        rows = (daily.commercial == bool(kind)) & (daily.count > 0)
        basis, value, count = daily.basis[rows], daily.value[rows], daily.count[rows, None]
        left = daily.square[kind] - basis.T @ (basis / count) + ridge * np.eye(TERMS)
        right = daily.cross[kind] - (basis / count).T @ value
        pattern[kind] = np.linalg.solve(left, right)
    return replace(daily, pattern=pattern)


def find_levels(daily: Daily) -> Floats:
    """(N,) mean log capacity of each vehicle, the day's pattern taken out; 0 before its first attestation."""
    pattern = np.einsum("nt,nt->n", daily.basis, daily.pattern[daily.commercial.astype(np.int64)])
    return np.asarray((daily.value - pattern) / np.maximum(daily.count, 1.0))


def read_pattern(daily: Daily, at: Ints | Instant) -> Floats:
    """The pattern of every vehicle's type at instants ``at``: () or (N, ...) gives (N,) or (N, ...)."""
    coefficients = daily.pattern[daily.commercial.astype(np.int64)]
    harmonics = compute_harmonics(at)
    if harmonics.ndim == 1:
        return np.asarray(coefficients @ harmonics)
    return np.asarray(np.einsum("n...t,nt->n...", harmonics, coefficients))

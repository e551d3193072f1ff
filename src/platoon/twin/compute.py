"""How many cycles per second a vehicle will have to spare, from timed attestations alone.

Every vehicle has a level of its own (its clock, less its usual load), follows the day as its type does (``daily``),
and wanders about both. All is additive in logarithms. The level is a mean over the vehicle's attestations, drawn
towards the fleet's while there are few; the wandering is an autoregression from attestation to attestation
(``autoregression``), or the paper's ARIMA (``arima``). Patterns and coefficients are fitted on schedule.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from platoon.nouns import SECOND, Attestations, Bools, Floats, Instant, Ints
from platoon.twin import arima
from platoon.twin.autoregression import ORDER, PRIOR, fit_batch, forecast_batch
from platoon.twin.daily import Daily, find_levels, fit_daily, learn_daily, read_pattern, start_daily

RECENT = 40
"""Attestations of a vehicle that are kept one by one."""
PRIOR_WEIGHT = 0.5
"""Attestations that the fleet's mean counts for in a vehicle's level."""
PRIOR_SIGMA = 0.15
"""Relative error of a forecast before any was checked."""
PRIOR_CHECKS = 10.0
"""Checked forecasts that ``PRIOR_SIGMA`` counts for."""
PRIOR_GAP_S = 10.0
"""Seconds between attestations before any two were seen."""
MOST_STEPS = 30.0
"""Observations ahead beyond which a forecast changes no more."""
LEAST_SHARE = 0.05
"""Of its level: no vehicle is expected to have less to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Belief about the processors. Rows are vehicles (N)."""

    attested: Bools
    """(N,) the last attestation that was asked for succeeded."""
    recent: Floats
    """(N, RECENT) logarithms of the last attestations in cycles/s, newest last; NaN before the first."""
    recent_at: Ints
    """(N, RECENT) their instants, microseconds; 0 before the first."""
    daily: Daily
    coefficients: Floats
    """(N, ORDER) of the autoregressions, as fitted last."""
    arima: Floats
    """(N, 3) of the ARIMA models, as fitted last; NaN where there are none."""
    gaps: Floats
    """(2,) sum of the seconds between a vehicle's attestations, and their number."""
    errors: Floats
    """(2,) over all vehicles: sum of squared relative forecast errors, and their number."""

    @property
    def count(self) -> Ints:
        """(N,) attestations passed."""
        return self.daily.count.astype(np.int64)

    @property
    def last(self) -> Floats:
        """(N,) last attestation, cycles/s; 0 before the first."""
        return np.exp(np.nan_to_num(self.recent[:, -1], nan=-np.inf))


def start_capacity(vehicles: int, commercial: Bools | None = None) -> Capacity:
    """Nothing attested yet. ``commercial`` (N,) is the registered type; all private without it."""
    kinds = (
        np.zeros(vehicles, dtype=np.bool_) if commercial is None else np.asarray(commercial, dtype=np.bool_)
    )
    return Capacity(
        attested=np.zeros(vehicles, dtype=bool),
        recent=np.full((vehicles, RECENT), np.nan),
        recent_at=np.zeros((vehicles, RECENT), dtype=np.int64),
        daily=start_daily(kinds),
        coefficients=np.tile(PRIOR, (vehicles, 1)),
        arima=np.full((vehicles, len(arima.NAMES)), np.nan),
        gaps=np.zeros(2),
        errors=np.zeros(2),
    )


class CapacityForecast(Protocol):
    """Expects the capacity of every vehicle at an instant."""

    def __call__(self, capacity: Capacity, at: Instant, nominal_hz: float) -> Floats:
        """Expected cycles/s (N,); ``nominal_hz`` stands for the fleet's mean while nobody has answered."""
        ...


def forecast_ar(capacity: Capacity, at: Instant, nominal_hz: float) -> Floats:
    """Level, the day's pattern, and the autoregression from the last attestations."""
    level = _level(capacity, nominal_hz)
    latest = capacity.recent[:, : -ORDER - 1 : -1]
    wandered = (
        latest - level[:, None] - read_pattern(capacity.daily, capacity.recent_at[:, : -ORDER - 1 : -1])
    )
    ahead = forecast_batch(capacity.coefficients, wandered, _count_steps(capacity, at))
    return _finish(capacity, at, level, ahead)


def forecast_arima(capacity: Capacity, at: Instant, nominal_hz: float) -> Floats:
    """The same, with the paper's ARIMA where a vehicle's history allows one."""
    level, steps = _level(capacity, nominal_hz), _count_steps(capacity, at)
    series = _wander(capacity, level)
    ahead = forecast_batch(capacity.coefficients, series[:, : -ORDER - 1 : -1], steps)
    whole = np.maximum(1, np.rint(steps).astype(np.int64))
    modelled = arima.forecast_series(series, capacity.arima, whole)
    ahead = np.where(np.isfinite(modelled), modelled, ahead)
    return _finish(capacity, at, level, ahead)


def forecast_last(capacity: Capacity, at: Instant, nominal_hz: float) -> Floats:  # noqa: ARG001 - one signature
    """The last attestation stays: the forecast to beat."""
    return np.where(capacity.daily.count > 0, capacity.last, np.exp(_level(capacity, nominal_hz)))


FORECASTS: dict[str, CapacityForecast] = {
    "ar": forecast_ar,
    "arima": forecast_arima,
    "persistence": forecast_last,
}


def apply_attestations(
    capacity: Capacity, attestations: Attestations, forecast: CapacityForecast = forecast_ar
) -> Capacity:
    """The belief after one round of challenges. An answer that is not a positive number is a failure."""
    value = np.nan_to_num(attestations.cpu_hz, nan=0.0, posinf=0.0, neginf=0.0)
    passed = attestations.asked & attestations.passed & (value > 0.0)
    checked = passed & (capacity.daily.count > 0)
    rows = np.flatnonzero(passed)
    recent, recent_at = capacity.recent.copy(), capacity.recent_at.copy()
    recent[rows, :-1], recent_at[rows, :-1] = recent[rows, 1:], recent_at[rows, 1:]
    recent[rows, -1], recent_at[rows, -1] = np.log(value[rows]), attestations.at
    gap = (attestations.at - capacity.recent_at[checked, -1]) / SECOND
    return replace(
        capacity,
        attested=np.where(attestations.asked, passed, capacity.attested),
        recent=recent,
        recent_at=recent_at,
        daily=learn_daily(capacity.daily, attestations.at, rows, recent[rows, -1]),
        gaps=capacity.gaps + np.array([gap.sum(), len(gap)]),
        errors=capacity.errors + _check(capacity, attestations.at, value, checked, forecast),
    )


def are_attested(capacity: Capacity, at: Instant, age_s: float) -> Bools:
    """(N,) whether the last attestation succeeded, and still holds at ``at``."""
    return capacity.attested & (at - capacity.recent_at[:, -1] <= age_s * SECOND)


def find_attested_hz(capacity: Capacity) -> Floats:
    """(N,) geometric mean of the attestations that are kept, cycles/s; NaN before the first."""
    kept = np.isfinite(capacity.recent)
    total = np.where(kept, capacity.recent, 0.0).sum(axis=1)
    count = kept.sum(axis=1)
    return np.where(count > 0, np.exp(total / np.maximum(count, 1)), np.nan)


def find_overclaims(attested_hz: Floats, claimed_hz: Floats, tolerance: float) -> Bools:
    """(N,) who attests less than ``tolerance`` of the clock that it claims; nobody who has not been attested.

    Claims are self-reported: they may exclude who made them, and enter no belief. A vehicle keeps a share of its
    clock for other work, so an honest one attests less than its clock, but not half of it over time.
    """
    return np.asarray(np.nan_to_num(attested_hz, nan=np.inf) < tolerance * claimed_hz)


def refine_capacity(capacity: Capacity, method: str = "ar") -> Capacity:
    """The day's pattern and the autoregressions anew; for method "arima" those models too."""
    capacity = replace(capacity, daily=fit_daily(capacity.daily))
    series = _wander(capacity, _level(capacity, 1.0))
    fitted = replace(capacity, coefficients=fit_batch(series))
    return replace(fitted, arima=arima.fit_series(series)) if method == "arima" else fitted


def find_sigma(capacity: Capacity) -> float:
    """Relative standard deviation of a forecast, by those that were checked."""
    squared, checks = capacity.errors
    return float(np.sqrt((squared + PRIOR_CHECKS * PRIOR_SIGMA**2) / (checks + PRIOR_CHECKS)))


def _level(capacity: Capacity, nominal_hz: float) -> Floats:
    """(N,) each vehicle's log level, drawn towards the fleet's with the weight of ``PRIOR_WEIGHT`` attestations."""
    count, own = capacity.daily.count, find_levels(capacity.daily)
    known = count > 0
    fleet = float(np.mean(own[known])) if known.any() else float(np.log(nominal_hz))
    return np.asarray((own * count + PRIOR_WEIGHT * fleet) / (count + PRIOR_WEIGHT))


def _wander(capacity: Capacity, level: Floats) -> Floats:
    """(N, RECENT) log capacity beyond level and pattern, newest last; NaN where there is none."""
    return capacity.recent - level[:, None] - read_pattern(capacity.daily, capacity.recent_at)


def _finish(capacity: Capacity, at: Instant, level: Floats, ahead: Floats) -> Floats:
    base = level + read_pattern(capacity.daily, at)
    return np.asarray(np.exp(np.maximum(base + ahead, level + np.log(LEAST_SHARE))))


def _count_steps(capacity: Capacity, at: Instant) -> Floats:
    """(N,) usual gaps between attestations from a vehicle's last to ``at``; 0 where it has none."""
    seconds, pairs = capacity.gaps
    gap = float(seconds / pairs) if pairs > 0 and seconds > 0 else PRIOR_GAP_S
    since = (at - capacity.recent_at[:, -1]) / SECOND / gap
    return np.where(capacity.daily.count > 0, np.clip(since, 0.0, MOST_STEPS), 0.0)


def _check(capacity: Capacity, at: Instant, value: Floats, rows: Bools, forecast: CapacityForecast) -> Floats:
    """Squared relative error of what would have been forecast for now, and how many were checked."""
    if not rows.any():
        return np.zeros(2)
    error = value[rows] / forecast(capacity, at, 1.0)[rows] - 1.0
    return np.array([error @ error, np.sum(rows)])

"""A link's own past as its forecast: for vehicles of which no map says what lies ahead.

The forecast is the present value plus a weighted sum of how far some running means stand from it: over 2 to 240
seconds, over all that was heard of the vehicle, over all vehicles. The weights belong to horizons, are shared by
the fleet, and are least absolute deviations, since the mean error in dB is what a forecast is judged by: squared
errors follow the rare large jump, and lose to "it stays" where most values stay. They are learned while time
passes, by weighted least squares with weights of one over the error, so that nothing is kept but sums.
At a horizon where the sums do not show a gain over "it stays", the forecast is that it stays.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

HORIZONS_S: Floats = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0])
"""Horizons that weights are learned for; between them they are interpolated, beyond the last they are its own."""
MEMORIES_S: Floats = np.array([2.0, 5.0, 15.0, 60.0, 240.0])
"""Time constants of the running means."""
TERMS = len(MEMORIES_S) + 2
STALE_S = 2.5
"""A value older than this is no present value."""
LATE_S = 0.5
"""A measurement so far from the instant that was forecast still judges it."""
EVERY_S = 5.0
"""Seconds between the moments that are learned from."""
MOST_PUPILS = 100
"""Vehicles of a moment that are learned from at most, evenly strided."""
PRIOR = 20.0
"""Weight of "it stays" against what was learned, in dB."""
LEAST_ERROR_DB = 0.3
"""Errors below this weigh no more: values come in whole dB."""
FORGETTING = 0.999
"""What a moment leaves of the sums before it: weights that were set by poor first guesses fade."""
GAIN = 0.995
"""Errors over those of "it stays" from which on a horizon's weights are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Running means of one link value per vehicle (N), dB."""

    at: Instant
    value: Floats
    """(N,) last one measured; NaN before the first."""
    measured_at: Ints
    """(N,) when, microseconds."""
    sums: Floats
    """(K + 1, N) of the values, fading with ``MEMORIES_S``; the last row does not fade."""
    counts: Floats
    """(K + 1, N) of ones, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a forecast could have known at one instant, for some vehicles (M)."""

    at: Instant
    following: int
    """The first of ``HORIZONS_S`` that has not come yet."""
    who: Ints
    """(M,)"""
    value: Floats
    """(M,) dB."""
    terms: Floats
    """(M, TERMS) running means less the value, dB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What was learned, by horizon (H)."""

    square: Floats
    """(H, TERMS, TERMS) weighted products of the terms."""
    cross: Floats
    """(H, TERMS) weighted products of terms and what came."""
    weights: Floats
    """(H, TERMS) least absolute deviations."""
    errors: Floats
    """(H, 3) sums of absolute errors of the weights as they were before, of "it stays", and their number."""
    squares: Floats
    """(H, 2) sums of squared errors, of both."""
    level: Floats
    """(2,) sum of all values and their number."""
    moments: tuple[Moment, ...]
    """That wait for what comes, oldest first."""


def start_past(vehicles: int) -> Past:
    """Nothing measured."""
    nothing = np.zeros((len(MEMORIES_S) + 1, vehicles))
    return Past(
        at=Instant(0),
        value=np.full(vehicles, np.nan),
        measured_at=np.zeros(vehicles, dtype=np.int64),
        sums=nothing,
        counts=nothing,
    )


def start_lessons() -> Lessons:
    """Nothing learned: everything stays."""
    horizons = len(HORIZONS_S)
    return Lessons(
        square=np.tile(PRIOR * np.eye(TERMS), (horizons, 1, 1)),
        cross=np.zeros((horizons, TERMS)),
        weights=np.zeros((horizons, TERMS)),
        errors=np.zeros((horizons, 3)),
        squares=np.zeros((horizons, 2)),
        level=np.zeros(2),
        moments=(),
    )


def look(past: Past, at: Instant, value: Floats) -> Past:
    """The past with the values (N,) of one instant; NaN where there is none."""
    measured = np.isfinite(value)
    elapsed = (at - past.at) / SECOND
    fading = np.append(np.exp(-elapsed / MEMORIES_S), 1.0)[:, None]
    weight = min(elapsed, 1.0) if past.at else 1.0  # twice in one second is not twice the evidence
    return Past(
        at=at,
        value=np.where(measured, value, past.value),
        measured_at=np.where(measured, at, past.measured_at),
        sums=past.sums * fading + weight * np.where(measured, value, 0.0),
        counts=past.counts * fading + weight * measured,
    )


def is_present(past: Past) -> Bools:
    """(N,) there is a value that is recent enough to forecast from."""
    return np.isfinite(past.value) & (past.at - past.measured_at <= STALE_S * SECOND)


def compute_terms(past: Past, lessons: Lessons, who: Ints) -> Floats:
    """(M, TERMS) running means of vehicles ``who`` (M,), and the fleet's mean, less the present value."""
    means = past.sums[:, who] / np.maximum(past.counts[:, who], 1e-9)
    total, number = lessons.level
    fleet = np.full((1, len(who)), total / number if number else 0.0)
    return np.asarray((np.concatenate([means, fleet]) - past.value[who]).T)


def learn(lessons: Lessons, past: Past, at: Instant, value: Floats, every_s: float = EVERY_S) -> Lessons:
    """What the values (N,) measured at ``at`` teach. ``past`` holds them already (``look``)."""
    values = value[np.isfinite(value)]
    lessons = replace(lessons, level=lessons.level + np.array([values.sum(), len(values)]))
    waiting: list[Moment] = []
    for moment in lessons.moments:
        lessons, moment = _judge(lessons, moment, at, value)  # noqa: PLW2901 - the moment, one horizon on
        waiting += [moment] if moment.following < len(HORIZONS_S) else []
    last = lessons.moments[-1].at if lessons.moments else None
    if last is None or at - last >= every_s * SECOND:
        waiting.append(_remember(past, lessons, at))
    return replace(lessons, moments=tuple(waiting))


def refine(lessons: Lessons) -> Lessons:
    """The weights anew, from the sums."""
    weights = np.linalg.solve(lessons.square, lessons.cross[..., None])[..., 0]
    return replace(lessons, weights=np.asarray(weights, dtype=np.float64))


def forecast(lessons: Lessons, past: Past, who: Ints, ahead_s: Floats) -> tuple[Floats, Floats]:
    """Values (T, M) of vehicles ``who`` ``ahead_s`` (T,) seconds on, and their standard deviations (T,), dB.

    NaN where a vehicle has no present value.
    """
    usable = find_gains(lessons)
    weights = _interpolate(np.where(usable[:, None], lessons.weights, 0.0), ahead_s)
    value = np.where(is_present(past)[who], past.value[who], np.nan)
    squares = np.where(usable, lessons.squares[:, 0], lessons.squares[:, 1])
    variance = squares / np.maximum(lessons.errors[:, 2], 1.0)
    sigma = np.sqrt(_interpolate(variance[:, None], ahead_s)[:, 0])
    return value + weights @ compute_terms(past, lessons, who).T, sigma


def find_gains(lessons: Lessons) -> Bools:
    """(H,) horizons at which the weights have shown a gain over "it stays", on what they had not seen."""
    mine, stays, _ = lessons.errors.T
    return np.asarray(mine < GAIN * stays)


def _judge(lessons: Lessons, moment: Moment, at: Instant, value: Floats) -> tuple[Lessons, Moment]:
    """Hold a moment against what came, at every horizon that has come."""
    while moment.following < len(HORIZONS_S):
        row = moment.following
        apart = (at - moment.at) / SECOND - HORIZONS_S[row]
        if apart < -LATE_S:
            break
        if apart <= LATE_S:
            lessons = _learn_one(lessons, row, moment, value)
        moment = replace(moment, following=row + 1)
    return lessons, moment


def _learn_one(lessons: Lessons, row: int, moment: Moment, value: Floats) -> Lessons:
    came = value[moment.who] - moment.value
    measured = np.isfinite(came)
    came, terms = came[measured], moment.terms[measured]
    error = came - terms @ lessons.weights[row]
    weighted = terms / np.maximum(np.abs(error), LEAST_ERROR_DB)[:, None]
    square, cross = lessons.square.copy(), lessons.cross.copy()
    errors, squares = lessons.errors.copy(), lessons.squares.copy()
    square[row] = FORGETTING * square[row] + weighted.T @ terms
    cross[row] = FORGETTING * cross[row] + weighted.T @ came
    errors[row] += [np.abs(error).sum(), np.abs(came).sum(), len(came)]
    squares[row] += [error @ error, came @ came]
    return replace(lessons, square=square, cross=cross, errors=errors, squares=squares)


def _remember(past: Past, lessons: Lessons, at: Instant) -> Moment:
    who = np.flatnonzero(is_present(past))
    who = who[:: max(1, -(-len(who) // MOST_PUPILS))]
    terms = compute_terms(past, lessons, who)
    return Moment(at=at, following=0, who=who, value=past.value[who], terms=terms)


def _interpolate(table: Floats, ahead_s: Floats) -> Floats:
    """Rows of ``table`` (H, F) at ``ahead_s`` (T,), linear in log(1 + t); zeros at 0, the last row beyond."""
    known = np.log1p(np.append(0.0, HORIZONS_S))
    whole = np.concatenate([np.zeros_like(table[:1]), table])
    asked = np.log1p(np.clip(ahead_s, 0.0, HORIZONS_S[-1]))
    after = np.clip(np.searchsorted(known, asked), 1, len(known) - 1)
    share = ((asked - known[after - 1]) / (known[after] - known[after - 1]))[:, None]
    return np.asarray(whole[after - 1] + share * (whole[after] - whole[after - 1]))

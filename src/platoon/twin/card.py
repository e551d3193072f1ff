"""The twin's report card: every so often it writes down forecasts, and later what was measured then.

Every ``PRACTICE_S`` it forecasts, for a sample of the vehicles that it knows, the position and the SNR of the best
RSU at ``HORIZONS_S``, beside "the vehicle stands still" and "the best SNR stays as it is". Forecasts of finishing
and of the duration are written down at every selection and marked when the round is over, for the vehicles that
were chosen; those of everybody else in service are marked against whether the rates measured since would have done
(``watched``).

A forecast comes with intervals, and the card counts how often they held what they promise. Both kinds are split
conformal (Vovk et al. 2005): a position's is a disc of so many times its spread as earlier errors, over their
spreads, stayed within in 80 or 95 %; a duration's runs between quantiles of how much longer than forecast earlier
updates took. Before ``FEWEST`` of them a disc is that of a normal distribution, and durations have no interval.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

S = TypeVar("S", bound=np.generic)
HORIZON_S = 10.0
"""How far ahead the practice forecasts of the whole fleet look, seconds."""
HORIZONS_S: tuple[float, ...] = (5.0, 10.0, 20.0, 30.0)
"""All horizons of the card."""
SAMPLED = 100
"""Vehicles that are forecast, at most, and written down one by one."""
PRACTICE_S = 5.0
"""Seconds between them."""
LATE_S = 1.5
"""A measurement that comes so much later than it should have marks nothing."""
PROMISES = (0.8, 0.95)
"""What intervals are to hold."""
RADII: Floats = np.sqrt(-2.0 * np.log(1.0 - np.array(PROMISES)))
"""Of the discs of a normal distribution, in standard deviations per axis."""
LEAST_SIGMA_M = 3.0
"""What a mark is itself uncertain by: no spread counts as less."""
BINS = 10
"""Of the reliability diagram."""
FEWEST = 20
"""Earlier errors before anything is learned of them."""
MEMORY = 400
"""Earlier errors that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """Forecasts that wait for their measurement. Rows are the vehicles that were forecast (M)."""

    made: Instant
    due: Instant
    who: Ints
    """(M,) ids."""
    position: Floats
    """(M, 2) metres."""
    sigma: Floats
    """(M,) its standard deviation per axis, metres."""
    stood: Floats
    """(M, 2) where the vehicle was when the forecast was made."""
    best_db: Floats
    """(M,) SNR of the best RSU in service range; NaN where there is none."""
    stays_db: Floats
    """(M,) the same as it was measured when the forecast was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """Forecasts with what came of them, to be written down. Rows are forecasts (M)."""

    made: Instant
    due: Instant
    vehicle: Ints
    position: Floats
    """(M, 2)"""
    sigma: Floats
    was: Floats
    """(M, 2) measured and filtered when it was due."""
    best_db: Floats
    stays_db: Floats
    was_db: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Forecasts that wait, and sums over those that were marked."""

    waiting: tuple[Practice, ...]
    marked: tuple[Marked, ...]
    """Since they were last taken away."""
    position: Floats
    """(H, 5) sums of distances in metres of the forecast and of standing still, discs that held, their number."""
    scales: Floats
    """(H, MEMORY) distances over spreads, the latest last; NaN in front while there are fewer."""
    link: Floats
    """(H, 3) sums of absolute errors in dB of the forecast and of persistence, and their number."""
    finish: Floats
    """(3,) sums of squared errors of the finish probability and of persistence, and their number."""
    reliability: Floats
    """(B, 3) sums of probabilities and of arrivals by tenth of probability, and their number."""
    watched: Floats
    """(B, 3) the same of the vehicles that were not chosen."""
    duration: Floats
    """(5,) sum of absolute errors in seconds, intervals that held, intervals, forecasts."""
    ratios: Floats
    """(M,) measured over forecast seconds, the latest last."""


def start_card() -> Card:
    """Nothing forecast, nothing marked."""
    return Card(
        waiting=(),
        marked=(),
        position=np.zeros((len(HORIZONS_S), 5)),
        scales=np.full((len(HORIZONS_S), MEMORY), np.nan),
        link=np.zeros((len(HORIZONS_S), 3)),
        finish=np.zeros(3),
        reliability=np.zeros((BINS, 3)),
        watched=np.zeros((BINS, 3)),
        duration=np.zeros(5),
        ratios=np.zeros(0),
    )


def mark(card: Card, at: Instant, heard: Bools, position: Floats, best_db: Floats) -> Card:
    """The card after what is measured at ``at``: filtered ``position`` (N, 2) and best SNR (N,), NaN if none."""
    for practice in card.waiting:
        if practice.due <= at <= practice.due + LATE_S * SECOND:
            card = _mark_one(card, practice, heard, position, best_db)
    return replace(card, waiting=tuple(practice for practice in card.waiting if practice.due > at))


def mark_finish(card: Card, probability: Floats, persistence: Floats, arrived: Bools) -> Card:
    """The card after a round: forecasts and outcomes of the cohort (K,)."""
    errors = [
        np.sum((probability - arrived) ** 2),
        np.sum((persistence - arrived) ** 2),
        float(len(arrived)),
    ]
    return replace(
        card,
        finish=card.finish + np.array(errors),
        reliability=card.reliability + _count_reliability(probability, arrived),
    )


def mark_watched(card: Card, probability: Floats, through: Bools) -> Card:
    """The card after a deadline: forecasts of who was not chosen (M,), and whether its rates would have done."""
    return replace(card, watched=card.watched + _count_reliability(probability, through))


def mark_durations(card: Card, forecast_s: Floats, measured_s: Floats) -> Card:
    """The card after a round: forecast and measured seconds of the cohort (K,); NaN where nothing arrived.

    The intervals are those that the durations before this round gave.
    """
    timed = np.isfinite(forecast_s) & np.isfinite(measured_s) & (forecast_s > 0.0)
    ratios = measured_s[timed] / forecast_s[timed]
    error = np.abs(forecast_s - measured_s)[timed].sum()
    factors = find_duration_factors(card)
    has_any = np.isfinite(factors).all()
    held = [float(((ratios >= low) & (ratios <= high)).sum()) if has_any else 0.0 for low, high in factors]
    sums = np.array([error, *held, len(ratios) if has_any else 0.0, len(ratios)])
    return replace(
        card, duration=card.duration + sums, ratios=np.concatenate([card.ratios, ratios])[-MEMORY:]
    )


def find_duration_factors(card: Card) -> Floats:
    """(2, 2) lower and upper factor of a forecast duration, by promise; NaN while too few are known."""
    if len(card.ratios) < FEWEST:
        return np.full((len(PROMISES), 2), np.nan)
    tails = [((1.0 - promise) / 2.0, (1.0 + promise) / 2.0) for promise in PROMISES]
    return np.array([np.quantile(card.ratios, tail) for tail in tails])


def find_radii(card: Card, row: int) -> Floats:
    """(2,) radii of a position's discs in spreads, by promise, for the horizon in that row."""
    known = card.scales[row][np.isfinite(card.scales[row])]
    return RADII if len(known) < FEWEST else np.quantile(known, PROMISES)


def report(card: Card) -> dict[str, float | None]:
    """Mean absolute errors at ``HORIZON_S`` and Brier scores, each beside persistence; None until known."""
    row = HORIZONS_S.index(HORIZON_S)
    return {
        "position_mae_m": _mean(card.position[row], 0),
        "link_mae_db": _mean(card.link[row], 0),
        "link_mae_persistence_db": _mean(card.link[row], 1),
        "finish_brier": _mean(card.finish, 0),
        "finish_brier_persistence": _mean(card.finish, 1),
    }


def report_details(card: Card) -> dict[str, object]:
    """Errors by horizon, reliability by tenth of probability, and how often intervals held; for a summary."""
    return {
        "horizons": [
            {
                "seconds": horizon,
                "position_mae_m": _mean(card.position[row], 0),
                "stand_still_mae_m": _mean(card.position[row], 1),
                "inside_80": _mean(card.position[row], 2),
                "inside_95": _mean(card.position[row], 3),
                "positions": int(card.position[row, -1]),
                "link_mae_db": _mean(card.link[row], 0),
                "persistence_mae_db": _mean(card.link[row], 1),
                "links": int(card.link[row, -1]),
            }
            for row, horizon in enumerate(HORIZONS_S)
        ],
        "finish_brier_persistence": _mean(card.finish, 1),
        "reliability": _describe_reliability(card.reliability),
        "watched": _describe_reliability(card.watched),
        "duration": {
            "mae_s": _mean(card.duration, 0),
            "inside_80": _mean(card.duration[:4], 1),
            "inside_95": _mean(card.duration[:4], 2),
            "intervals": int(card.duration[3]),
            "durations": int(card.duration[-1]),
        },
    }


def _mark_one(card: Card, practice: Practice, heard: Bools, position: Floats, best_db: Floats) -> Card:
    seen, was, was_db = heard[practice.who], position[practice.who], best_db[practice.who]
    distance = np.hypot(*(was - practice.position)[seen].T)
    stood = np.hypot(*(was - practice.stood)[seen].T)
    scale = distance / np.maximum(practice.sigma[seen], LEAST_SIGMA_M)
    served = seen & np.isfinite(was_db) & np.isfinite(practice.best_db) & np.isfinite(practice.stays_db)
    error = [np.abs(forecast - was_db)[served].sum() for forecast in (practice.best_db, practice.stays_db)]
    row = HORIZONS_S.index((practice.due - practice.made) / SECOND)
    held = [float((scale <= radius).sum()) for radius in find_radii(card, row)]
    positions, links, scales = card.position.copy(), card.link.copy(), card.scales.copy()
    positions[row] += [distance.sum(), stood.sum(), *held, len(distance)]
    links[row] += [*error, served.sum()]
    scales[row] = np.concatenate([scales[row], _sample(scale)])[-MEMORY:]
    marked = (*card.marked, _write_down(practice, seen, was, was_db))
    return replace(card, position=positions, scales=scales, link=links, marked=marked)


def _write_down(practice: Practice, seen: Bools, was: Floats, was_db: Floats) -> Marked:
    """A sample of the marked vehicles, evenly over the fleet."""
    rows = _sample(np.flatnonzero(seen))
    return Marked(
        made=practice.made,
        due=practice.due,
        vehicle=practice.who[rows],
        position=practice.position[rows],
        sigma=practice.sigma[rows],
        was=was[rows],
        best_db=practice.best_db[rows],
        stays_db=practice.stays_db[rows],
        was_db=was_db[rows],
    )


def _sample(rows: NDArray[S]) -> NDArray[S]:
    """At most ``SAMPLED`` of these, evenly."""
    return rows[:: max(1, -(-len(rows) // SAMPLED))]


def _count_reliability(probability: Floats, happened: Bools) -> Floats:
    """(B, 3) sums of probabilities and of what happened, by tenth, and their number."""
    tenth = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    columns = (probability, happened.astype(np.float64), np.ones(len(tenth)))
    return np.stack([np.bincount(tenth, weights=column, minlength=BINS) for column in columns], axis=1)


def _describe_reliability(sums: Floats) -> list[dict[str, float]]:
    """The tenths in which there is anything."""
    return [
        {"forecast": float(forecast / count), "happened": float(happened / count), "count": int(count)}
        for forecast, happened, count in sums
        if count
    ]


def _mean(sums: Floats, which: int) -> float | None:
    return float(sums[which] / sums[-1]) if sums[-1] > 0 else None

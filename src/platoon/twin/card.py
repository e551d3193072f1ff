"""The twin's report card: every so often it writes down a forecast, and later what was measured then.

Every ``PRACTICE_S`` it forecasts ``HORIZON_S`` ahead for every vehicle that it knows: the position, and the SNR of
the best RSU, beside "the best SNR stays as it is". Finish forecasts are written down at every selection and
marked when the round is over, for the vehicles that were chosen.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant

HORIZON_S = 10.0
"""How far ahead the practice forecasts look, seconds."""
PRACTICE_S = 5.0
"""Seconds between them."""
LATE_S = 1.5
"""A measurement that comes so much later than it should have marks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """One forecast that waits for its measurement. Rows are vehicles (N)."""

    due: Instant
    known: Bools
    """(N,)"""
    position: Floats
    """(N, 2) metres."""
    best_db: Floats
    """(N,) SNR of the best RSU in service range; NaN where there is none."""
    stays_db: Floats
    """(N,) the same as it was measured when the forecast was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Forecasts that wait, and sums over those that were marked."""

    waiting: tuple[Practice, ...]
    position: Floats
    """(2,) sum of distances in metres, and their number."""
    link: Floats
    """(3,) sums of absolute errors in dB of the forecast and of persistence, and their number."""
    finish: Floats
    """(3,) sums of squared errors of the finish probability and of persistence, and their number."""


def start_card() -> Card:
    """Nothing forecast, nothing marked."""
    return Card(waiting=(), position=np.zeros(2), link=np.zeros(3), finish=np.zeros(3))


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
    return replace(card, finish=card.finish + np.array(errors))


def report(card: Card) -> dict[str, float | None]:
    """Mean absolute errors at ``HORIZON_S`` and Brier scores, each beside persistence; None until known."""
    return {
        "position_mae_m": _mean(card.position, 0),
        "link_mae_db": _mean(card.link, 0),
        "link_mae_persistence_db": _mean(card.link, 1),
        "finish_brier": _mean(card.finish, 0),
        "finish_brier_persistence": _mean(card.finish, 1),
    }


def _mark_one(card: Card, practice: Practice, heard: Bools, position: Floats, best_db: Floats) -> Card:
    both = heard & practice.known
    distance = np.hypot(*(position - practice.position)[both].T)
    served = both & np.isfinite(best_db) & np.isfinite(practice.best_db) & np.isfinite(practice.stays_db)
    error = [np.abs(forecast - best_db)[served].sum() for forecast in (practice.best_db, practice.stays_db)]
    return replace(
        card,
        position=card.position + np.array([distance.sum(), float(len(distance))]),
        link=card.link + np.array([*error, float(served.sum())]),
    )


def _mean(sums: Floats, which: int) -> float | None:
    return float(sums[which] / sums[-1]) if sums[-1] > 0 else None

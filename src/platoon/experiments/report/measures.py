"""What the report derives from the columns of a run: pure functions, one per quantity that is shown or said."""

from dataclasses import dataclass

import numpy as np

from platoon.experiments.report.reading import RunRecord
from platoon.nouns import Bools, Floats, Ints


def has_reputation(run: RunRecord) -> bool:
    """Whether any reputation moved in the run; plain averaging leaves every one where it began."""
    moved = np.abs(run.updates.reputation_after - run.updates.reputation_before)
    return bool(np.any(moved > 0))


def attackers(run: RunRecord) -> int:
    """Number of malicious vehicles in the fleet."""
    return int(np.count_nonzero(~run.vehicles.honest))


def attacker_share(run: RunRecord) -> float:
    """Share of the fleet that is malicious; 0 for an empty fleet."""
    return attackers(run) / max(len(run.vehicles.honest), 1)


def mean_or_nan(values: Floats) -> float:
    """Mean of the values that are known; NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def final_accuracy(run: RunRecord) -> float:
    """Accuracy after the last round; NaN if it was not measured or there was no round."""
    return float(run.rounds.accuracy[-1]) if len(run.rounds.round) else float("nan")


def simulated_seconds(run: RunRecord) -> Floats:
    """(R,) simulated seconds from the start of the first round to the end of each round."""
    return run.rounds.ended_s - run.rounds.started_s[:1]


def seconds_to(run: RunRecord, accuracy: float) -> float:
    """Simulated seconds until a round first ended with at least ``accuracy``; NaN if none did."""
    reached = np.flatnonzero(run.rounds.accuracy >= accuracy)
    return float(simulated_seconds(run)[reached[0]]) if len(reached) else float("nan")


def reputation_history(run: RunRecord) -> Floats:
    """(R, V) the reputation of every vehicle after every round.

    Between two rounds in which a vehicle took part its reputation stays; before the first it is what that round
    found. A vehicle that never took part has its last reputation throughout.
    """
    updates, vehicles = run.updates, run.vehicles
    columns = np.searchsorted(vehicles.vehicle, updates.vehicle)
    rows = np.searchsorted(run.rounds.round, updates.round)
    current = vehicles.reputation.copy()
    known_before = np.flatnonzero(np.isfinite(updates.reputation_before))[::-1]
    current[columns[known_before]] = updates.reputation_before[known_before]  # the earliest is written last
    history = np.empty((len(run.rounds.round), len(vehicles.vehicle)))
    for row in range(len(history)):
        here = (rows == row) & np.isfinite(updates.reputation_after)
        current[columns[here]] = updates.reputation_after[here]
        history[row] = current
    return history


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """(R,) vehicles per round by what became of them."""

    honest_merged: Ints
    malicious_merged: Ints
    honest_unmerged: Ints
    """Arrived, but got no weight: invalid, on probation, or the round kept its model."""
    malicious_unmerged: Ints
    lost: Ints
    """Chosen, but nothing arrived in time."""


def count_participation(run: RunRecord) -> Participation:
    """Count per round what became of the chosen vehicles."""
    updates = run.updates
    rows = np.searchsorted(run.rounds.round, updates.round)
    merged = updates.arrived & (updates.weight > 0)

    def per_round(mask: Bools) -> Ints:
        return np.bincount(rows[mask], minlength=len(run.rounds.round)).astype(np.int64)

    unmerged = updates.arrived & ~merged
    return Participation(
        honest_merged=per_round(merged & updates.honest),
        malicious_merged=per_round(merged & ~updates.honest),
        honest_unmerged=per_round(unmerged & updates.honest),
        malicious_unmerged=per_round(unmerged & ~updates.honest),
        lost=per_round(~updates.arrived),
    )


def earned_per_vehicle(run: RunRecord, honest: bool) -> Floats:
    """(R,) tokens that the honest (or malicious) vehicles had earned by the end of each round, mean per vehicle."""
    of_kind = run.updates.honest == honest
    rows = np.searchsorted(run.rounds.round, run.updates.round[of_kind])
    per_round = np.bincount(rows, np.nan_to_num(run.updates.reward[of_kind]), len(run.rounds.round))
    heads = int(np.count_nonzero(run.vehicles.honest == honest))
    return np.cumsum(per_round, dtype=np.float64) / max(heads, 1)


def reward_total(run: RunRecord, honest: bool) -> float:
    """Tokens that the honest (or malicious) vehicles earned in the run."""
    return float(np.nansum(run.vehicles.reward[run.vehicles.honest == honest]))


def below_threshold(run: RunRecord, honest: bool) -> int:
    """Honest (or malicious) vehicles whose last reputation is too low to be chosen."""
    vehicles = run.vehicles
    return int(
        np.count_nonzero((vehicles.honest == honest) & (vehicles.reputation < run.scenario.trust.rho_min))
    )


def outcome_counts(run: RunRecord, verb: str) -> dict[str, int]:
    """Reason -> number of rounds whose outcome is "kept: reason" (or "void: reason"), most frequent first."""
    reasons = [
        text.partition(":")[2].strip() or "no reason given"
        for text in run.rounds.outcome
        if text.partition(":")[0].strip() == verb
    ]
    return dict(
        sorted(((reason, reasons.count(reason)) for reason in set(reasons)), key=lambda p: (-p[1], p[0]))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Forecast probability against what happened, in bins of equal width that hold a forecast (B)."""

    forecast: Floats
    """(B,) mean forecast in the bin."""
    observed: Floats
    """(B,) share that arrived."""
    low: Floats
    """(B,) ends of the 95 % Wilson interval of ``observed``."""
    high: Floats
    count: Ints


def measure_reliability(probability: Floats, happened: Bools, bins: int = 10) -> Reliability:
    """The reliability diagram of forecasts; unknown (NaN) forecasts are left out."""
    known = np.isfinite(probability)
    probability, happened = probability[known], happened[known]
    index = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    used = np.flatnonzero(count)
    n = count[used].astype(np.float64)
    observed = np.bincount(index, happened.astype(np.float64), bins)[used] / n
    low, high = wilson_interval(observed, n)
    return Reliability(
        forecast=np.bincount(index, probability, bins)[used] / n,
        observed=observed,
        low=low,
        high=high,
        count=count[used].astype(np.int64),
    )


def wilson_interval(share: Floats, n: Floats, z: float = 1.96) -> tuple[Floats, Floats]:
    """Wilson's score interval of a binomial share (Wilson 1927); ``n`` trials each, at least one.

    >>> low, high = wilson_interval(np.array([1.0]), np.array([10.0]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.722, 1.0)
    """
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def brier_score(probability: Floats, happened: Bools) -> float:
    """Mean squared error of forecast probabilities (0 is perfect); NaN without a known forecast."""
    known = np.isfinite(probability)
    return mean_or_nan((probability[known] - happened[known].astype(np.float64)) ** 2)

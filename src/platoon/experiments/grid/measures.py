"""What a grid keeps of each run: how well it learned, who got through, who was accused falsely, how soon."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from platoon.drivers.rows import area_under_curve
from platoon.drivers.run_directory import RunDirectory
from platoon.nouns import Bools, Floats

LAST: Final = 10
"""Rounds at the end whose accuracies are averaged: single rounds jump."""
COLUMNS: Final[dict[str, Any]] = {
    "round": np.int64,
    "vehicle": np.int64,
    "honest": np.bool_,
    "poisoned": np.bool_,
}
PARTS: Final = ("distribution", "training", "sealing", "chain", "aggregation")
"""Of a round's simulated seconds, as ``rounds`` has them."""
APART: Final = 0.1
"""Distance of the mean reputations from which on honest vehicles and attackers are told apart."""


def measure_run(directory: RunDirectory) -> dict[str, Any]:
    """The measures of a finished run."""
    summary, updates = directory.read_json("summary.json"), directory.read_columns("updates")
    rho_min, rounds = directory.scenario.trust.rho_min, summary["rounds"]
    vehicles, rows = directory.read_columns("vehicles"), directory.read_columns("rounds")
    table = {key: np.array(updates[key], dtype=kind) for key, kind in COLUMNS.items()}
    scores = np.array([np.nan if score is None else score for score in updates["score"]], dtype=np.float64)
    judged, late = np.isfinite(scores), table["round"] > rounds / 2
    after = np.array(updates["reputation_after"], dtype=np.float64)
    return {
        "accuracy": statistics.fmean(summary["accuracy"][-LAST:]) if rounds else None,
        "accuracies": summary["accuracy"],
        "auc": _auc(scores, table["poisoned"], judged),
        "auc_second_half": _auc(scores, table["poisoned"], judged & late),
        "malicious_weight_second_half": _mean(summary["malicious_weight"][rounds // 2 :]),
        "poisoned_weight_second_half": _mean(summary["poisoned_weight"][rounds // 2 :]),
        "poisoned_weight": _mean(summary["poisoned_weight"]),
        "honest_below_threshold": _share_below(vehicles, rho_min, honest=True),
        "malicious_below_threshold": _share_below(vehicles, rho_min, honest=False),
        "false_accusations": _false_accusations(updates, table["poisoned"]),
        "backdoor_success": summary["backdoor_success"],
        "reputation_auc": summary["reputation"]["auc"],
        "rounds_to_separation": _rounds_to_separation(table, after, judged, rounds),
        "updates_to_exclusion": _updates_to_exclusion(table, after, judged, rho_min),
        "simulated_seconds": summary["simulated_seconds"],
        "seconds": [ended - rows["started_s"][0] for ended in rows["ended_s"]],
        "round_parts": divide_rounds(rows, updates),
        "named_edge_servers": summary["edge_servers"]["named"],
        "tampering": summary["tampering"],
        "unsealed_blocks": summary["ledger"]["unsealed_blocks"],
        "cpu_seconds": summary["cpu_seconds"],
        "ended": summary["ended"],
        "study": summary["study"],
        "model_digest": summary["model_digest"],
        "head": summary["ledger"]["head"],
    }


def divide_rounds(
    rows: Mapping[str, Sequence[Any]], updates: Mapping[str, Sequence[Any]]
) -> dict[str, float] | None:
    """Simulated seconds of a mean round by part; they add up to it. None without rounds.

    Computing and upload are those of the vehicle that arrived last; what else a round takes until its updates are
    there is waiting: for who arrives never, or longer than the last upload took.
    """
    columns = (updates[key] for key in ("round", "actual_s", "compute_s", "upload_s"))
    last: dict[int, tuple[float, float, float]] = {}
    for number, arrived, compute, upload in zip(*columns, strict=True):
        if arrived is not None and upload is not None:
            last[number] = max(last.get(number, (0.0, 0.0, 0.0)), (arrived, compute, upload))
    if not rows["round"]:
        return None
    efforts = [last.get(number, (0.0, 0.0, 0.0)) for number in rows["round"]]
    compute, upload = (statistics.fmean(effort[i] for effort in efforts) for i in (1, 2))
    means = {name: statistics.fmean(rows[f"{name}_s"]) for name in PARTS}
    waiting = means.pop("training") - compute - upload
    return {"computing": compute, "upload": upload, "waiting": waiting} | means


def _auc(scores: Floats, poisoned: Bools, rows: Bools) -> float | None:
    return area_under_curve(scores[rows], ~poisoned[rows])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _last_by_vehicle(table: Mapping[str, Any], after: Floats, rows: Bools) -> Floats:
    """Reputation of each vehicle after its last update among the rows, which stand in the order of rounds."""
    last = dict(zip(table["vehicle"][rows].tolist(), after[rows].tolist(), strict=True))
    return np.array(list(last.values()))


def _share_below(vehicles: Mapping[str, Sequence[Any]], rho_min: float, *, honest: bool) -> float | None:
    """Of the judged vehicles of one kind, as the run left them: penalties outside a round's updates included."""
    columns = (vehicles[key] for key in ("reputation", "honest", "judged"))
    final = [rho for rho, kind, judged in zip(*columns, strict=True) if kind == honest and judged]
    return statistics.fmean(rho < rho_min for rho in final) if final else None


def _false_accusations(updates: Mapping[str, Sequence[Any]], poisoned: Bools) -> float | None:
    """Share of the judged updates that were not false, and were found invalid."""
    valid = [
        verdict
        for verdict, score, false in zip(updates["valid"], updates["score"], poisoned, strict=True)
        if score is not None and not false
    ]
    return 1.0 - statistics.fmean(bool(verdict) for verdict in valid) if valid else None


def _rounds_to_separation(table: Mapping[str, Any], after: Floats, judged: Bools, rounds: int) -> int | None:
    """First round from which on, to the end, judged honest vehicles' mean reputation is ``APART`` higher."""
    since = None
    for number in range(1, rounds + 1):
        until = judged & (table["round"] <= number)
        honest, malicious = (
            _last_by_vehicle(table, after, until & side) for side in (table["honest"], ~table["honest"])
        )
        apart = len(honest) and len(malicious) and honest.mean() - malicious.mean() >= APART
        since = (since or number) if apart else None
    return since


def _updates_to_exclusion(
    table: Mapping[str, Any], after: Floats, judged: Bools, rho_min: float
) -> float | None:
    """Median over judged attackers of how many judged updates took them below the threshold; None where half
    of them never fell below."""
    counts = []
    for vehicle in np.unique(table["vehicle"][judged & ~table["honest"]]):
        below = np.flatnonzero(after[judged & (table["vehicle"] == vehicle)] < rho_min)
        counts.append(float(below[0] + 1) if len(below) else np.inf)
    middle = float(np.median(counts)) if counts else np.inf
    return middle if np.isfinite(middle) else None

"""What the demo's scenario gives on three seeds: DTB-FL, FedAvg, and DTB-FL's rules exactly as written.

    python -m bench quickstart

plays every variant on every seed (paired: same traffic, data, attackers per seed), prints a table with means and
spreads (half the range), and writes ``bench/out/quickstart.json``.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.rows import Row, keep
from platoon import Scenario, run

SCENARIO = Path(__file__).parents[1] / "scenarios" / "quickstart.toml"
SEEDS = (1, 2, 3)
LAST = 5
"""Rounds at the end whose accuracies are averaged: single rounds jump."""
AS_WRITTEN = {
    "trust.score": "cosine",
    "trust.rule": "as_written",
    "round.local_loss": "full",
    "trust.weights": "reputation",
    "round.rest_rounds": 0,
    "aggregation.server_momentum": 0.0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "dtb-fl": {"method": "dtb-fl"},
    "fedavg": {"method": "fedavg"},
    "dtb-fl without attackers": {"method": "dtb-fl", "fleet.attack": "none"},
    "fedavg without attackers": {"method": "fedavg", "fleet.attack": "none"},
    "dtb-fl as written": {"method": "dtb-fl", **AS_WRITTEN},
    "fedavg as published": {
        "method": "fedavg",
        "round.local_loss": "full",
        "aggregation.server_momentum": 0.0,
    },
}


def main() -> None:
    """Play, print and keep."""
    rows: list[Row] = []
    for variant, overrides in VARIANTS.items():
        summaries = [play(seed, overrides) for seed in SEEDS]
        for name, values in measures(summaries).items():
            known = [value for value in values if value is not None]
            if not known:
                continue
            mean, spread = statistics.fmean(known), (max(known) - min(known)) / 2
            rows.append(
                {
                    "name": f"{variant}: {name}",
                    "value": mean,
                    "unit": "",
                    "spread": spread,
                    "peer": None,
                    "peer_value": None,
                }
            )
            each = ", ".join(f"{value:.3f}" for value in known)
            print(f"{variant:26} {name:32} {mean:8.3f} +- {spread:.3f}   ({each})", flush=True)
    keep("quickstart", rows)


def play(seed: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """The summary of one run, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return run(Scenario.load(SCENARIO, {**overrides, "seed": seed}), Path(folder) / "run")


def measures(summaries: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """What is compared, by seed."""
    return {
        "accuracy, last 5 rounds": [statistics.fmean(s["accuracy"][-LAST:]) for s in summaries],
        "malicious weight, second half": [_second_half(s["malicious_weight"]) for s in summaries],
        "reputation AUC, judged vehicles": [s["reputation"]["auc"] for s in summaries],
        "score AUC, mean of rounds": [_second_half(s["score_auc"], 0) for s in summaries],
        "reputation of honest": [s["reputation"]["honest_mean"] for s in summaries],
        "reputation of malicious": [s["reputation"]["malicious_mean"] for s in summaries],
        "share of rewards to attackers": [
            s["rewards"]["to_malicious"] / s["rewards"]["paid"] if s["rewards"]["paid"] else None
            for s in summaries
        ],
        "simulated seconds to 80 %": [s["seconds_to"]["0.8"] for s in summaries],
        "simulated seconds per round": [s["simulated_seconds"] / s["rounds"] for s in summaries],
        "wall seconds": [s["wall_seconds"] for s in summaries],
    }


def _second_half(values: list[float | None], start: int | None = None) -> float | None:
    part = values[len(values) // 2 if start is None else start :]
    known = [value for value in part if value is not None]
    return statistics.fmean(known) if known else None

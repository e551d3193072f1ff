"""What the terms of selection are worth, and how often plausibility flags the innocent: the demo on three seeds.

    python -m bench selection

plays short runs (paired: same traffic, data, attackers per seed) without terms, and with class coverage of two
weights, prints a table with means and spreads (half the range), and writes ``bench/out/selection.json``. Flags are
counted over all of these runs: nobody colludes in them.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.rows import Row, keep
from platoon import Scenario, run
from platoon.drivers.datasets import load
from platoon.drivers.fleet_data import FleetData

SCENARIO = Path(__file__).parents[1] / "scenarios" / "quickstart.toml"
SEEDS = (1, 2, 3)
ROUNDS = 16
REST = 2
"""Rounds that a chosen vehicle rests. With the demo's own number, a cohort is whoever has rested long enough, and
no term has anything to choose from."""
LAST = 3
"""Rounds at the end whose accuracies are averaged."""
VARIANTS: dict[str, dict[str, Any]] = {
    "no terms": {},
    "coverage 1": {"round.coverage_weight": 1.0},
    "coverage 5": {"round.coverage_weight": 5.0},
}


def main() -> None:
    """Play, print and keep."""
    rows: list[Row] = []
    flagged: list[float] = []
    for variant, overrides in VARIANTS.items():
        played = [play(seed, overrides) for seed in SEEDS]
        for name in played[0]:
            values = [run_[name] for run_ in played]
            if name == "flags":
                flagged += values
                continue
            rows.append(show(f"{variant}: {name}", values))
    rows.append(show("vehicles flagged where nobody colludes", flagged))
    keep("selection", rows)


def play(seed: int, overrides: dict[str, Any]) -> dict[str, float]:
    """The measures of one run, in a folder that is thrown away."""
    fixed = {
        "seed": seed,
        "task.rounds": ROUNDS,
        "round.rest_rounds": REST,
        "aggregation.server_momentum": 0.0,
        "workers": 1,
    }
    scenario = Scenario.load(SCENARIO, fixed | overrides)
    with tempfile.TemporaryDirectory() as folder:
        summary = run(scenario, Path(folder) / "run")
        updates = pq.read_table(Path(folder) / "run" / "updates.parquet").to_pydict()
    return {
        "accuracy, mean of rounds": statistics.fmean(summary["accuracy"]),
        f"accuracy, last {LAST} rounds": statistics.fmean(summary["accuracy"][-LAST:]),
        "classes among the merged": count_classes(scenario, updates),
        "dropped per round": statistics.fmean(summary["dropped"]),
        "flags": float(summary["plausibility"]["flagged"]),
    }


def count_classes(scenario: Scenario, updates: dict[str, list[Any]]) -> float:
    """Mean over rounds of how many classes honest merged vehicles had (true labels: a measure, not a means)."""
    data = load(scenario.task.data)
    fleet = FleetData(scenario, data)
    seen: dict[int, set[int]] = {}
    for number, vehicle, weight, honest in zip(
        updates["round"], updates["vehicle"], updates["weight"], updates["honest"], strict=True
    ):
        seen.setdefault(number, set())
        if honest and weight > 0.0:
            seen[number] |= set(np.unique(data.train_labels[fleet.indices(vehicle)]).tolist())
    return statistics.fmean(len(classes) for classes in seen.values())


def show(name: str, values: list[float]) -> Row:
    """Print a row and return it: mean and half the range over the seeds."""
    mean, spread = statistics.fmean(values), (max(values) - min(values)) / 2
    each = ", ".join(f"{value:.3f}" for value in values)
    print(f"{name:44} {mean:8.3f} +- {spread:.3f}   ({each})", flush=True)
    return {"name": name, "value": mean, "unit": "", "spread": spread, "peer": None, "peer_value": None}


if __name__ == "__main__":
    main()

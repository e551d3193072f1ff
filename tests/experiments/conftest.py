"""A small deterministic writer of run directories, shaped as DESIGN section 10 has them, for tests of the report.

It plays no experiment: accuracies, scores and arrivals are drawn from a named stream, in the shapes that a run has.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platoon.rng import stream
from platoon.scenario import Scenario

Rows = list[dict[str, Any]]


@dataclass(kw_only=True)
class Recipe:
    """What the written run shall look like."""

    method: str = "dtb-fl"
    seed: int = 1
    rounds: int = 8
    vehicles: int = 20
    malicious_share: float = 0.3
    participants: int = 6
    judged: bool = True
    """Scores, moving reputations and trust weights; without it plain averaging."""
    final_accuracy: float = 0.9
    arrival: float = 0.9
    """Share of uploads that arrive; 0 for none at all."""
    outcomes: dict[int, str] = field(default_factory=dict)
    """Round -> outcome that merges nothing."""
    accuracy_known: bool = True
    pool_tokens: float = 10.0
    verified: bool | None = None
    named: dict[tuple[int, int], str] = field(default_factory=dict)
    """(Round, edge server) -> why it was named."""
    missed: dict[tuple[int, int], str] = field(default_factory=dict)


def write_run(directory: Path, recipe: Recipe | None = None) -> Path:
    """Write a whole run directory and return it."""
    recipe = recipe or Recipe()
    scenario = Scenario.from_table(
        {
            "name": "synthetic",
            "seed": recipe.seed,
            "method": recipe.method,
            "fleet": {"vehicles": recipe.vehicles, "malicious_share": recipe.malicious_share},
            "round": {"participants": recipe.participants},
            "task": {"rounds": recipe.rounds},
        }
    )
    directory.mkdir(parents=True)
    (directory / "scenario.toml").write_text(scenario.to_toml())
    (directory / "map.json").write_text(json.dumps(_map()))
    rounds, updates, vehicles = _play(recipe)
    tables = {"rounds": rounds, "updates": updates, "vehicles": vehicles}
    tables["edge_servers"] = _servers(recipe, updates)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), directory / f"{name}.parquet")
    (directory / "summary.json").write_text(json.dumps(_summary(recipe, rounds, vehicles)))
    return directory


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run directory of a name with a recipe's keys."""
    return lambda name="run", **keys: write_run(tmp_path / name, Recipe(**keys))


def _play(recipe: Recipe) -> tuple[Rows, Rows, Rows]:
    dice = stream(recipe.seed, "synthetic run", recipe.method)
    malicious = round(recipe.malicious_share * recipe.vehicles)
    honest = np.arange(recipe.vehicles) % recipe.vehicles >= malicious
    reputation = np.full(recipe.vehicles, 0.5)
    rounds: Rows = []
    updates: Rows = []
    clock, escrow = 60.0, 1000.0
    for number in range(1, recipe.rounds + 1):
        eligible = np.flatnonzero(reputation >= 0.4) if recipe.judged else np.arange(recipe.vehicles)
        chosen = np.sort(dice.choice(eligible, min(recipe.participants, len(eligible)), replace=False))
        rows = [_update(recipe, number, int(v), honest, reputation, dice=dice) for v in chosen]
        merged = _settle(recipe, rows, recipe.outcomes.get(number))
        updates += rows
        for row in rows:
            reputation[row["vehicle"]] = row["reputation_after"]
        paid = sum(row["reward"] for row in rows)
        escrow -= paid
        training = max([row["actual_s"] or 20.0 for row in rows], default=0.0)
        rounds.append(_round(recipe, number, clock, training, rows, merged=merged, escrow=escrow))
        clock = rounds[-1]["ended_s"]
    return rounds, updates, _vehicles(updates, honest, reputation)


def _update(
    recipe: Recipe, number: int, vehicle: int, honest: Any, reputation: Any, *, dice: np.random.Generator
) -> dict[str, Any]:
    probability = float(np.clip(recipe.arrival + 0.1 * dice.standard_normal(), 0.05, 0.999))
    arrived = bool(dice.random() < probability) and recipe.arrival > 0
    predicted = float(4 + 6 * dice.random())
    mean = 0.75 if honest[vehicle] else 0.25
    score = float(np.clip(mean + 0.15 * dice.standard_normal(), 0, 1))
    x, y = (float(value) for value in 2000 * dice.random(2))
    actual = float(predicted * np.exp(0.15 * dice.standard_normal()))
    return {
        "round": number,
        "vehicle": vehicle,
        "arrived": arrived,
        "x": x,
        "y": y,
        "edge_server": int(2 * (y > 1000) + (x > 1000)) if arrived else -1,
        "samples": 300,
        "score": score if arrived and recipe.judged else None,
        "evidence": 0.8 if arrived and recipe.judged else None,
        "valid": bool(score >= 0.5) if arrived and recipe.judged else None,
        "probation": False,
        "weight": 0.0,
        "reputation_before": float(reputation[vehicle]),
        "reputation_after": float(reputation[vehicle]),
        "reward": 0.0,
        "finish_probability": probability,
        "predicted_s": predicted,
        "actual_s": actual if arrived else None,
        "compute_s": 0.6 * actual,
        "upload_s": 0.4 * actual if arrived else None,
        "energy_j": 2.5,
        "honest": bool(honest[vehicle]),
    }


def _settle(recipe: Recipe, rows: Rows, outcome: str | None) -> bool:
    """Weights, reputations and rewards of one round's rows; returns whether anything was merged."""
    arrived = [row for row in rows if row["arrived"]]
    for row in arrived if recipe.judged else []:
        penalty = 0.0 if row["valid"] else 0.1
        row["reputation_after"] = max(0.0, 0.5 * row["reputation_before"] + 0.5 * row["score"] - penalty)
    counted = [row for row in arrived if row["valid"] is not False]
    if outcome or not counted:
        return False
    for row in counted:
        row["weight"] = 1 / len(counted)
        row["reward"] = recipe.pool_tokens / len(counted)
    return True


def _round(
    recipe: Recipe, number: int, clock: float, training: float, rows: Rows, *, merged: bool, escrow: float
) -> dict[str, Any]:
    arrived = [row for row in rows if row["arrived"]]
    accuracy = recipe.final_accuracy - (recipe.final_accuracy - 0.1) * float(np.exp(-number / 3))
    scores = [(row["score"], row["honest"]) for row in arrived if row["score"] is not None]
    pairs = [(good > bad) + 0.5 * (good == bad) for good, a in scores if a for bad, b in scores if not b]
    return {
        "round": number,
        "started_s": clock,
        "ended_s": clock + 1.0 + training + (0.004 if recipe.judged else 0.0) + 1.5 + 0.6,
        "accuracy": accuracy if recipe.accuracy_known else None,
        "outcome": recipe.outcomes.get(number, "merged" if merged else "kept: every update invalid"),
        "selected": len(rows),
        "arrived": len(arrived),
        "dropped": len(rows) - len(arrived),
        "valid": sum(bool(row["valid"]) for row in arrived),
        "malicious_weight": sum(row["weight"] for row in rows if not row["honest"]) if merged else None,
        "score_auc": float(np.mean(pairs)) if pairs else None,
        "paid": sum(row["reward"] for row in rows),
        "escrow_left": escrow,
        "distribution_s": 1.0,
        "training_s": training,
        "sealing_s": 0.004 if recipe.judged else 0.0,
        "chain_s": 1.5,
        "aggregation_s": 0.6,
        "energy_j": sum(row["energy_j"] for row in rows),
        "sealing_d2d": 6 if recipe.judged else 0,
        "sealing_relayed": 1 if recipe.judged else 0,
        "sealing_cellular": 2 if recipe.judged else 0,
        "sealing_lost": 0,
        "sealing_bytes": 4000 if recipe.judged else 0,
        "head": f"{number:064x}",
    }


def _servers(recipe: Recipe, updates: Rows) -> Rows:
    """Four edge servers; who is named loses a tenth of the 100 tokens that all begin with."""
    stakes = dict.fromkeys(range(4), 100.0)
    rows: Rows = []
    for number in range(1, recipe.rounds + 1):
        for server in stakes:
            why = recipe.named.get((number, server))
            taken = min(stakes[server], 10.0) if why else 0.0
            stakes[server] -= taken
            mine = [row for row in updates if (row["round"], row["edge_server"]) == (number, server)]
            rows.append(
                {
                    "round": number,
                    "edge_server": server,
                    "updates": len(mine),
                    "deviation": 0.05 + 0.01 * server if recipe.judged else None,
                    "missed": recipe.missed.get((number, server)),
                    "named": why,
                    "taken": taken,
                    "stake": stakes[server],
                }
            )
    return rows


def _vehicles(updates: Rows, honest: Any, reputation: Any) -> Rows:
    own = [[row for row in updates if row["vehicle"] == vehicle] for vehicle in range(len(honest))]
    return [
        {
            "vehicle": vehicle,
            "honest": bool(honest[vehicle]),
            "reputation": float(reputation[vehicle]),
            "judged": sum(row["score"] is not None for row in rows),
            "chosen": len(rows),
            "reward": sum(row["reward"] for row in rows),
            "energy_j": sum(row["energy_j"] for row in rows),
        }
        for vehicle, rows in enumerate(own)
    ]


def _map() -> dict[str, Any]:
    lines = [250.0 * i for i in range(9)]
    roads = [[[a, 0.0], [a, 2000.0]] for a in lines] + [[[0.0, a], [2000.0, a]] for a in lines]
    rsus = [[x, y] for y in (500.0, 1500.0) for x in (500.0, 1500.0)]
    return {"bounds": [0.0, 0.0, 2000.0, 2000.0], "roads": roads, "rsus": rsus, "service_radius_m": 700.0}


def _summary(recipe: Recipe, rounds: Rows, vehicles: Rows) -> dict[str, Any]:
    judged = [v for v in vehicles if v["judged"]] if recipe.judged else []
    good = [v["reputation"] for v in judged if v["honest"]]
    bad = [v["reputation"] for v in judged if not v["honest"]]
    pairs = [(a > b) + 0.5 * (a == b) for a in good for b in bad]
    return {
        "scenario": "synthetic",
        "method": recipe.method,
        "seed": recipe.seed,
        "rounds": recipe.rounds,
        "accuracy": [row["accuracy"] for row in rounds],
        "final_accuracy": rounds[-1]["accuracy"],
        "simulated_seconds": rounds[-1]["ended_s"] - rounds[0]["started_s"],
        "wall_seconds": 41.5,
        "seconds_to": {"0.5": None, "0.8": None, "0.85": None, "0.95": None},
        "reputation": {
            "auc": float(np.mean(pairs)) if pairs else None,
            "honest_mean": float(np.mean(good)) if good else None,
            "malicious_mean": float(np.mean(bad)) if bad else None,
        },
        **{key: [row[key] for row in rounds] for key in ("score_auc", "malicious_weight", "dropped")},
        "rewards": {
            "paid": sum(v["reward"] for v in vehicles),
            "to_malicious": sum(v["reward"] for v in vehicles if not v["honest"]),
            "escrow_left": rounds[-1]["escrow_left"],
        },
        "forecast": {"position_mae_m": 12.5, "link_mae_db": 2.25, "finish_brier": 0.08},
        "achieved_speed_kmh": 31.5,
        "ledger": {
            "engine": "embedded",
            "blocks": 3 * recipe.rounds,
            "transactions": 12 * recipe.rounds,
            "head": "ab" * 32,
            "verified": recipe.verified,
        },
        "model_digest": "cd" * 32,
        "format": 1,
        "contracts": "ef" * 32,
        "versions": {"platoon": "0.1.0", "torch": "2.13.0"},
        "cpu_seconds": {
            "start": 4.0,
            "train": 52.0,
            "evaluate": 8.0,
            "twin": 0.9,
            "ledger": 1.6,
            "judge": 1.9,
            "world": 1.1,
            "other": 0.6,
        },
    }

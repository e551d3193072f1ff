"""How soon two-class vehicles learn: server optimisers, FedProx, methods (docs/convergence.md).

    python -m bench convergence
    python -m bench convergence again GRID...

plays the cells of ``bench/grids/convergence_*.toml`` that ``bench/out/convergence_cells.json`` does not have yet,
keeps what they measured there, prints the tables, puts them into docs/convergence.md and writes
``bench/out/convergence.json``: a row for every row of a grid, with the grid file's digest. ``again`` forgets the
cells of the named grids first. Accuracies are means of the last ten rounds, spreads half the range over the seeds.
Simulated seconds are those at the end of the first round whose accuracy is a share of what centralised training of
the same network on the same data reaches; ``seconds_at_least`` are these, and for a seed that did not get there
those of its whole run.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import trust
from bench.rows import OUT, paste, table
from platoon.experiments.grid import Grid, load_grid
from platoon.experiments.grid.plan import Cell

CELLS: Final = OUT / "convergence_cells.json"
CENTRALISED: Final = OUT / "convergence_centralised.json"
RUNS: Final = Path(__file__).parents[1] / "runs" / "bench-convergence"
PAGE: Final = Path(__file__).parents[1] / "docs" / "convergence.md"
ROW: Final = "row"
"""The axis whose levels are rows."""
REFERENCES: Final = {"published": "FedAvg as published", "own": "FedAvg"}
"""Rows that the others are compared with: FedAvg with the loss over all classes, and over the vehicle's own."""
PARTS: Final = ("distribution", "computing", "upload", "waiting", "sealing", "chain", "aggregation")


def main() -> None:
    """Play what is missing, print and keep."""
    grids = [load_grid(path) for path in sorted(trust.GRIDS.glob("convergence_*.toml"))]
    if sys.argv[2:3] == ["again"]:
        trust.forget(grids, sys.argv[3:], CELLS, RUNS)
    results = trust.play(grids, CELLS, RUNS)
    references = trust.train_references(grids, CENTRALISED)
    rows = compare([row for grid in grids for row in describe(grid, results, references)])
    tables = make_tables(rows)
    print("\n\n".join(tables.values()))
    paste(PAGE, tables)
    (OUT / "convergence.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def describe(grid: Grid, results: dict[str, Any], references: dict[str, float]) -> list[dict[str, Any]]:
    """A row for the cells that differ by their seed alone, in the grid's order."""
    rows = []
    for name in grid.axes[ROW]:
        cells = [cell for cell in grid.cells if cell.levels[ROW] == name]
        found = [results[cell.digest] for cell in cells]
        best = [references[trust.name_reference(cell.scenario)] for cell in cells]
        rows.append(name_row(grid, name, cells) | measure(found, best))
    return rows


def name_row(grid: Grid, name: str, cells: Sequence[Cell]) -> dict[str, Any]:
    """What a row is about."""
    scenario = cells[0].scenario
    return {
        ROW: name,
        "method": scenario.method,
        "local_loss": scenario.round.local_loss,
        "rounds": scenario.task.rounds,
        "seeds": [cell.scenario.seed for cell in cells],
        "grid": grid.name,
        "grid_digest": grid.digest,
    }


def measure(found: Sequence[dict[str, Any]], best: Sequence[float]) -> dict[str, Any]:
    """Means and spreads over the seeds; how many of them reached each share of the centralised accuracy."""
    accuracies = [result["accuracy"] for result in found]
    reached = {
        f"reached_{share:g}": sum(
            max(result["accuracies"]) >= share * centralised
            for result, centralised in zip(found, best, strict=True)
        )
        for share in trust.SHARES
    }
    at_least = {
        f"seconds_at_least_{share:g}": statistics.fmean(
            _seconds_at_least(result, share * centralised)
            for result, centralised in zip(found, best, strict=True)
        )
        for share in trust.SHARES
    }
    parts = {part: statistics.fmean(result["round_parts"][part] for result in found) for part in PARTS}
    return {
        "accuracy": statistics.fmean(accuracies),
        "accuracy_spread": (max(accuracies) - min(accuracies)) / 2,
        "seconds": statistics.fmean(result["seconds"][-1] for result in found),
        **trust.times_to_shares(best, found),
        **reached,
        **at_least,
        "round_parts": parts,
        "round_seconds": sum(parts.values()),
    }


def _seconds_at_least(result: dict[str, Any], wanted: float) -> float:
    """Simulated seconds until a run has an accuracy; those of the whole run where it never has."""
    rounds = zip(result["accuracies"], result["seconds"], strict=True)
    seconds: float = next((when for accuracy, when in rounds if accuracy >= wanted), result["seconds"][-1])
    return seconds


def compare(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what they save of the simulated seconds of both FedAvgs, for every share.

    Where FedAvg did not get there with every seed, the seconds of whole runs stand for those that did not; they are
    too few, and the saving is a least one: ``saving_..._is_bound``. None where the row itself did not get there.
    """
    told = []
    for row in rows:
        savings: dict[str, Any] = {}
        for key, name in REFERENCES.items():
            (other,) = [row for row in rows if row[ROW] == name]
            for share in trust.SHARES:
                own, theirs = row[f"seconds_to_{share:g}"], other[f"seconds_at_least_{share:g}"]
                bound = other[f"seconds_to_{share:g}"] is None
                saved = None if own is None else 1.0 - own / theirs
                savings |= {f"saving_{key}_{share:g}": saved, f"saving_{key}_{share:g}_is_bound": bound}
        told.append(row | savings)
    return told


def make_tables(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The tables of docs/convergence.md by name: how soon, what is saved, what a round consists of."""
    shares = [f"{share:.0%}".replace("%", " %") for share in trust.SHARES]
    soon = ["", "accuracy", "of centralised", *(f"to {share}" for share in shares)]
    saved = [
        "",
        *(f"{share}, of FedAvg as published" for share in shares),
        *(f"{share}, of FedAvg" for share in shares),
    ]
    parts = ["seconds of a mean round", *PARTS, "whole"]
    return {
        "convergence_soon": table(soon, [_soon(row) for row in rows]),
        "convergence_saved": table(saved, [_saved(row) for row in rows]),
        "convergence_parts": table(parts, [_parts(row) for row in rows]),
    }


def _soon(row: dict[str, Any]) -> list[str]:
    accuracy = f"{row['accuracy']:.3f} +- {row['accuracy_spread']:.3f}"
    share = f"{row['accuracy'] / row['centralised_accuracy']:.3f}"
    return [row[ROW], accuracy, share, *(_reach(row, share) for share in trust.SHARES)]


def _reach(row: dict[str, Any], share: float) -> str:
    rounds = row[f"rounds_to_{share:g}"]
    if rounds is not None:
        return f"{rounds:.1f} / {row[f'seconds_to_{share:g}']:.0f} s"
    some = f", {row[f'reached_{share:g}']} of {len(row['seeds'])} seeds" if row[f"reached_{share:g}"] else ""
    return f"not within {row['rounds']} rounds ({row['seconds']:.0f} s){some}"


def _saved(row: dict[str, Any]) -> list[str]:
    keys = [f"saving_{key}_{share:g}" for key in REFERENCES for share in trust.SHARES]
    return [row[ROW], *(_percent(row[key], row[f"{key}_is_bound"]) for key in keys)]


def _percent(saved: float | None, is_bound: bool) -> str:
    if saved is None:
        return "-"
    return f"{'at least ' if is_bound else ''}{round(100 * saved)} %"


def _parts(row: dict[str, Any]) -> list[str]:
    return [
        row[ROW],
        *(f"{row['round_parts'][part]:z.2f}" for part in PARTS),
        f"{row['round_seconds']:.2f}",
    ]

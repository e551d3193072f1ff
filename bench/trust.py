"""Attacks against the default method, plain FedAvg and the oracle, on paired seeds (docs/trust.md).

    python -m bench trust
    python -m bench trust again GRID...

plays the cells of ``bench/grids/trust_*.toml`` that ``bench/out/trust_cells.json`` does not have yet, keeps what
they measured there, prints the tables, puts them into docs/trust.md and writes ``bench/out/trust.json``: a row for
every setting, attack, share and method, with the digests of the grid files that it comes from. Accuracies are means
of the last ten rounds; spreads are half the range over the seeds. ``bench/out/trust_centralised.json`` keeps what
centralised training reaches. After a change of the code that judges or merges, ``again`` forgets the cells of the
named grids and plays them anew; a cell that stands in several grids is forgotten with any of them.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.rows import OUT, number, paste, table, with_spread
from bench.trust_servers import BLOCKS, OWN_TABLES, make_server_tables, name_faults
from platoon import __version__
from platoon.drivers.run_directory import write_atomically
from platoon.experiments.centralised import train_centrally
from platoon.experiments.grid import Grid, find_failures, load_grid, play_grid
from platoon.experiments.grid.plan import Cell
from platoon.scenario import Scenario, malicious_count

GRIDS = Path(__file__).parent / "grids"
CELLS = OUT / "trust_cells.json"
CENTRALISED = OUT / "trust_centralised.json"
RUNS = Path(__file__).parents[1] / "runs" / "bench-trust"
PAGE = Path(__file__).parents[1] / "docs" / "trust.md"
COSTS = "trust_costs"
"""The table of what trust costs where nobody attacks."""
ROBUST = "trust_robust_fedavg"
"""Aggregators in place of a score."""
PLAIN = "weighted_mean"
USUAL = ("trust_30", "trust_30_fedavg", "trust_none", "trust_none_fedavg")
"""What it is compared with."""
MEASURES = (
    "auc",
    "auc_second_half",
    "malicious_weight_second_half",
    "poisoned_weight_second_half",
    "honest_below_threshold",
    "false_accusations",
    "backdoor_success",
    "rounds_to_separation",
    "updates_to_exclusion",
)
NEVER = ("rounds_to_separation", "updates_to_exclusion")
"""Measures whose None means never: a mean over the seeds where it came to pass would be too small."""
COMMON_AXES = ("attack", "method", "seed", "fleet.malicious_share")
"""Axes with a column of their own; what a grid varies besides is a row's setting."""
USUAL_SEEDS = [1, 2, 3]
"""Go without saying."""
SHARES = (0.8, 0.85, 0.9)
"""Of the centralised accuracy, whose first round and second are reported."""


def main() -> None:
    """Play what is missing, print and keep."""
    grids = [load_grid(path) for path in sorted(GRIDS.glob("trust_*.toml"))]
    if sys.argv[2:3] == ["again"]:
        forget(grids, sys.argv[3:])
    results = play(grids)
    references = train_references(grids)
    rows = [row for grid in grids for row in describe(grid, results, references)]
    for row in rows:
        row["oracle_accuracy"] = find(rows, row, "oracle")
        row["fedavg_accuracy"] = find(rows, row, "fedavg")
    tables = make_tables(rows)
    print("\n\n".join(f"{name}\n\n{shown}" for name, shown in tables.items()))
    paste(PAGE, tables)
    (OUT / "trust.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def forget(grids: Sequence[Grid], names: Sequence[str], kept_in: Path = CELLS, runs: Path = RUNS) -> None:
    """Drop what is kept of the named grids' cells, since the code that played them has changed; ends the process
    where no grid is named, or one that does not exist."""
    known = {grid.name: grid for grid in grids}
    for name in names or ("",):
        if name not in known:
            sys.exit(f"bench: again {name!r}: no such grid; allowed: {', '.join(known)}")
    kept: dict[str, Any] = json.loads(kept_in.read_text(encoding="utf-8")) if kept_in.is_file() else {}
    for cell in (cell for name in names for cell in known[name].cells):
        kept.pop(cell.digest, None)
        for path in runs.glob(f"*/cells/{cell.digest}.json"):
            path.unlink()
    keep_cells(kept, kept_in)


def play(grids: Sequence[Grid], kept_in: Path = CELLS, runs: Path = RUNS) -> dict[str, Any]:
    """The results of all cells by digest; those that are kept are not played again. What an interrupted call, or
    one with a cell that failed, has played waits in ``runs``; it is kept cell by cell."""
    kept: dict[str, Any] = json.loads(kept_in.read_text(encoding="utf-8")) if kept_in.is_file() else {}
    results: dict[str, Any] = {}
    failures: list[str] = []
    for grid in grids:
        cells = runs / grid.name / "cells"
        cells.mkdir(parents=True, exist_ok=True)
        known = kept | results
        for cell in grid.cells:
            if cell.digest in known:
                write_atomically(cells / f"{cell.digest}.json", json.dumps(known[cell.digest]))
        played = play_grid(grid, runs / grid.name, at_once=os.cpu_count() or 1, told=tell)
        failures += find_failures(grid, played)
        results |= {digest: compact(found) for digest, found in played.items() if "error" not in found}
        keep_cells(kept | results, kept_in)
    if failures:
        sys.exit("\n".join(failures))
    keep_cells(results, kept_in)  # cells of no grid any more are dropped
    return results


def keep_cells(results: dict[str, Any], kept_in: Path) -> None:
    """A line a cell, in the order of digests."""
    lines = [f'"{digest}": {json.dumps(results[digest])}' for digest in sorted(results)]
    write_atomically(kept_in, "{\n" + ",\n".join(lines) + "\n}\n")


def tell(done: int, total: int, last: str) -> None:
    """A line a cell."""
    print(f"{done} of {total}: {last}", file=sys.stderr, flush=True)


def compact(result: Any) -> dict[str, Any]:
    """A cell's measures without digits that no table shows."""
    return {key: _rounded(value) for key, value in result.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, list):
        return [round(item, 4) if isinstance(item, float) else item for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


def describe(grid: Grid, results: dict[str, Any], references: dict[str, float]) -> list[dict[str, Any]]:
    """A row for every group of cells that differ by their seed alone."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in grid.cells:
        key = tuple(level for axis, level in cell.levels.items() if axis != "seed")
        groups.setdefault(key, []).append(cell)
    return [
        make_row(grid, cells, [results[cell.digest] for cell in cells], references)
        for cells in groups.values()
    ]


def make_row(
    grid: Grid, cells: Sequence[Cell], found: Sequence[dict[str, Any]], references: dict[str, float]
) -> dict[str, Any]:
    """Means and spreads over the seeds."""
    row = name_row(cells[0]) | {
        "seeds": [cell.scenario.seed for cell in cells],
        "grid": grid.name,
        "grid_digest": grid.digest,
    }
    for name in ("accuracy", *MEASURES):
        values = [result[name] for result in found if result.get(name) is not None]
        if name in NEVER and len(values) < len(found):
            values = []
        row[name] = statistics.fmean(values) if values else None
        row[f"{name}_spread"] = (max(values) - min(values)) / 2 if values else None
    row["named_edge_servers"] = [result["named_edge_servers"] for result in found]
    if (
        grid.name == BLOCKS and row["faulty_edge_servers"]
    ):  # other cells may have been kept before it was measured
        row["tampering"] = [result["tampering"] for result in found]
        row["unsealed_blocks"] = [result["unsealed_blocks"] for result in found]
    row["judge_over_train"] = statistics.fmean(
        result["cpu_seconds"]["judge"] / cells[0].scenario.radio.rsus / result["cpu_seconds"]["train"]
        for result in found
    )
    names = [name_reference(cell.scenario) for cell in cells]
    known = all(name in references for name in names)
    return row | times_to_shares([references[name] for name in names] if known else [], found)


def name_row(cell: Cell) -> dict[str, Any]:
    """What a row is about."""
    scenario, trust = cell.scenario, cell.scenario.trust
    attacked = malicious_count(scenario.fleet) > 0
    oracle = trust.score == "oracle"
    return {
        "data": scenario.task.data,
        "model": scenario.task.model,
        "partition": scenario.partition.kind,
        "alpha": scenario.partition.alpha if scenario.partition.kind == "dirichlet" else None,
        "probes_per_class": trust.probes_per_class,
        "probes_wrong_labels": trust.probes_wrong_labels,
        "probes_missing_classes": trust.probes_missing_classes,
        "score": trust.score,
        "aggregation": name_aggregation(scenario),
        "setting": ", ".join(
            f"{axis.rsplit('.', 1)[-1]} {level}"
            for axis, level in cell.levels.items()
            if axis not in COMMON_AXES
        ),
        "attack": cell.levels.get("attack", scenario.fleet.attack) if not oracle else "any",
        "attack_strength": scenario.fleet.attack_strength,
        "share": scenario.fleet.malicious_share if attacked else 0.0,
        "method": "oracle" if oracle else scenario.method,
        "faulty_edge_servers": name_faults(scenario),
        "edge_servers": scenario.radio.rsus,
    }


def name_aggregation(scenario: Scenario) -> str:
    """The aggregator, after what comes before it."""
    aggregation = scenario.aggregation
    return aggregation.rule if aggregation.pre == "none" else f"{aggregation.pre}+{aggregation.rule}"


def times_to_shares(references: Sequence[float], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rounds and simulated seconds to shares of the centralised accuracy of each seed; None unless every seed
    reached it, or where no centralised training is wanted (no references)."""
    told: dict[str, Any] = {"centralised_accuracy": statistics.fmean(references) if references else None}
    for share in SHARES:
        reached = [
            next((i for i, value in enumerate(result["accuracies"]) if value >= share * best), None)
            for result, best in zip(found, references, strict=bool(references))
        ]
        known = [(i, result) for i, result in zip(reached, found, strict=False) if i is not None]
        whole = len(known) == len(found)
        told[f"rounds_to_{share:g}"] = statistics.fmean(i + 1 for i, _ in known) if whole else None
        told[f"seconds_to_{share:g}"] = statistics.fmean(r["seconds"][i] for i, r in known) if whole else None
    return told


def train_references(grids: Iterable[Grid], kept_in: Path = CENTRALISED) -> dict[str, float]:
    """The best accuracy of centralised training on the data of every cell that nobody attacks, or that the oracle
    judges, by ``name_reference``; what is kept is not trained again."""
    kept: dict[str, float] = json.loads(kept_in.read_text(encoding="utf-8")) if kept_in.is_file() else {}
    wanted = {
        name_reference(cell.scenario): cell.scenario
        for grid in grids
        for cell in grid.cells
        if cell.scenario.trust.score == "oracle" or malicious_count(cell.scenario.fleet) == 0
    }
    references: dict[str, float] = {}
    for name, scenario in sorted(wanted.items()):
        print(f"centralised: {name}", file=sys.stderr, flush=True)
        references[name] = kept[name] if name in kept else max(train_centrally(scenario))
        text = json.dumps(kept | references, indent=1, sort_keys=True) + "\n"
        write_atomically(kept_in, text)
    write_atomically(kept_in, json.dumps(references, indent=1, sort_keys=True) + "\n")
    return references


def name_reference(scenario: Scenario) -> str:
    """All that centralised training depends on."""
    task, partition, local = scenario.task, scenario.partition, scenario.round
    spread = {"classes": partition.classes, "dirichlet": partition.alpha, "iid": ""}[partition.kind]
    return (
        f"{__version__}: {task.data} {task.model}, {scenario.fleet.vehicles} vehicles with {partition.samples} "
        f"samples, {partition.kind} {spread}, {scenario.trust.probes_per_class} probes, batch {local.batch}, "
        f"step {local.learning_rate:g}, momentum {local.momentum:g}, {task.test_samples} tests, "
        f"seed {scenario.seed}"
    )


def find(rows: Iterable[dict[str, Any]], row: dict[str, Any], method: str) -> float | None:
    """The accuracy of the oracle, or of FedAvg, in a row's setting, on the same seeds, both by the plain mean."""
    keys = (
        "data",
        "model",
        "partition",
        "alpha",
        "share",
        "edge_servers",
        "seeds",
        *(() if method == "oracle" else ("attack", "attack_strength")),
    )
    same: Callable[[dict[str, Any]], bool] = lambda other: all(other[key] == row[key] for key in keys)  # noqa: E731
    found = [
        r["accuracy"]
        for r in rows
        if r["method"] == method and r["aggregation"] == PLAIN and not r["faulty_edge_servers"] and same(r)
    ]
    return found[0] if found else None


def make_tables(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The tables of docs/trust.md by name: for each grid in which the default method is attacked, what trust costs,
    and faulty edge servers."""
    tables = {}
    honest = [row for row in rows if row["grid"] not in OWN_TABLES]
    for grid in sorted({row["grid"] for row in honest}):
        judged = [row for row in honest if row["grid"] == grid and row["method"] == "dtb-fl"]
        if any(row["share"] for row in judged):
            tables[grid] = _attack_table(judged)
    costs = [row for row in honest if row["attack"] in ("none", "any") and row["centralised_accuracy"]]
    shares = [f"to {share:.0%}".replace("%", " %") for share in SHARES]
    head = ["", "accuracy", "centralised", "of it", *shares, "scoring / training"]
    tables[COSTS] = table(head, [_cost_line(row) for row in costs])
    if any(row["grid"] == ROBUST for row in rows):
        tables[ROBUST] = _robust_table(rows)
    return tables | make_server_tables(rows)


def _robust_table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each aggregator without a score, a column for each attack; FedAvg's mean and the default method
    beside them."""
    robust = [row for row in rows if row["grid"] == ROBUST]
    attacks = list(dict.fromkeys(row["attack"] for row in robust))
    usual = [row for row in rows if row["grid"] in USUAL]
    lines = [
        ["FedAvg, the mean", *(_outcome(usual, attack, method="fedavg") for attack in attacks)],
        *(
            [f"FedAvg, {rule}", *(_outcome(robust, attack, aggregation=rule) for attack in attacks)]
            for rule in dict.fromkeys(row["aggregation"] for row in robust)
        ),
        ["the default method", *(_outcome(usual, attack, method="dtb-fl") for attack in attacks)],
    ]
    return table(["", *attacks], lines)


def _outcome(rows: Sequence[dict[str, Any]], attack: str, **wanted: str) -> str:
    """Accuracy, and in how many images a backdoor works, of the one row with this attack and these values; a dash
    where there is none."""
    found = [row for row in rows if row["attack"] == attack and wanted.items() <= row.items()]
    if not found:
        return "-"
    (row,) = found
    works = "" if row["backdoor_success"] is None else f", works in {with_spread(row, 'backdoor_success')}"
    return with_spread(row, "accuracy") + works


def _attack_table(rows: Sequence[dict[str, Any]]) -> str:
    head = ["attack", "accuracy", "oracle", "FedAvg"]
    head += ["AUC", "AUC, 2nd half", "false weight", "honest below", "rejected"]
    lines = [_attack_line(row) for row in rows]
    if any(row["setting"] for row in rows):
        head = ["setting", *head]
        lines = [[row["setting"], *line] for row, line in zip(rows, lines, strict=True)]
    return table(head, lines)


def _attack_line(row: dict[str, Any]) -> list[str]:
    works = "" if row["backdoor_success"] is None else f", works in {with_spread(row, 'backdoor_success')}"
    return [
        row["attack"] + works,
        with_spread(row, "accuracy"),
        *(number(row[key]) for key in ("oracle_accuracy", "fedavg_accuracy", "auc", "auc_second_half")),
        *(with_spread(row, key) for key in ("poisoned_weight_second_half", "honest_below_threshold")),
        number(row["false_accusations"]),
    ]


def _cost_line(row: dict[str, Any]) -> list[str]:
    seeds = "" if row["seeds"] == USUAL_SEEDS else f"seeds {' '.join(map(str, row['seeds']))}"
    return [
        ", ".join(
            part for part in (f"{row['method']}, {row['share']:.0%} attackers", row["setting"], seeds) if part
        ),
        with_spread(row, "accuracy"),
        number(row["centralised_accuracy"]),
        number(row["accuracy"] / row["centralised_accuracy"]),
        *(
            f"{number(row[f'rounds_to_{share:g}'], 1)} / {number(row[f'seconds_to_{share:g}'], 0)}"
            for share in SHARES
        ),
        number(row["judge_over_train"]),
    ]

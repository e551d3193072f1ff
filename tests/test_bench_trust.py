"""The benchmark of trust: whose accuracies stand beside whose; its page shows the numbers that are kept."""

import hashlib
import json
from pathlib import Path

import pytest

from bench import trust
from bench.rows import paste, table
from bench.trust_servers import BLOCKS, OWN_TABLES, name_faults
from platoon.experiments.grid import load_grid

ROOT = Path(__file__).parents[1]
ROWS = json.loads((trust.OUT / "trust.json").read_text(encoding="utf-8"))
GRID = """
scenario = "SCENARIO"
seed = [1, 2]
method = ["dtb-fl", "fedavg"]

[axis.partition.iid]
"partition.kind" = "iid"
[axis.partition.skewed]
"partition.kind" = "dirichlet"
"partition.alpha" = 0.1

[axis.attack.none]
"fleet.attack" = "none"
[axis.attack.label_flip]
"fleet.attack" = "label_flip"
"""


def make_result(accuracy):
    return {
        "accuracy": accuracy,
        "accuracies": [0.5, accuracy],
        "seconds": [10.0, 20.0],
        "named_edge_servers": {},
        "cpu_seconds": {"judge": 4.0, "train": 2.0},
    }


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "trust_other.toml"
    path.write_text(GRID.replace("SCENARIO", str(ROOT / "scenarios" / "quickstart.toml")))
    return load_grid(path)


def test_a_row_gathers_seeds_and_names_what_the_grid_varies(grid):
    results = {cell.digest: make_result(0.8 + 0.01 * cell.scenario.seed) for cell in grid.cells}
    rows = trust.describe(grid, results, {})
    assert [(row["setting"], row["alpha"]) for row in rows[::4]] == [
        ("partition iid", None),
        ("partition skewed", 0.1),
    ]
    assert [row["attack"] for row in rows[:4]] == ["none", "none", "label_flip", "label_flip"]
    assert all(row["seeds"] == [1, 2] for row in rows)
    assert rows[0]["accuracy"] == pytest.approx(0.815)
    assert rows[0]["accuracy_spread"] == pytest.approx(0.005)
    assert rows[0]["judge_over_train"] == 4.0 / grid.cells[0].scenario.radio.rsus / 2.0
    assert {row["centralised_accuracy"] for row in rows} == {None}


def test_what_some_seeds_never_reach_has_no_mean(grid):
    results = {cell.digest: make_result(0.9) for cell in grid.cells}
    for cell in grid.cells:
        results[cell.digest] |= {
            "rounds_to_separation": 3 if cell.scenario.seed == 1 else None,
            "updates_to_exclusion": 2.0 * cell.scenario.seed,
            "auc": 0.75 if cell.scenario.seed == 1 else None,
        }
    row = trust.describe(grid, results, {})[0]
    assert (row["rounds_to_separation"], row["rounds_to_separation_spread"]) == (None, None)
    assert (row["updates_to_exclusion"], row["updates_to_exclusion_spread"]) == (3.0, 1.0)
    assert row["auc"] == 0.75  # not measured with the other seed, which is no never


def test_a_row_is_compared_where_every_seed_has_a_reference(grid):
    results = {cell.digest: make_result(0.9) for cell in grid.cells}
    names = [trust.name_reference(cell.scenario) for cell in grid.cells]
    (first, *_), all_of_them = names, dict.fromkeys(names, 0.9)
    assert {row["centralised_accuracy"] for row in trust.describe(grid, results, {first: 0.9})} == {None}
    rows = trust.describe(grid, results, all_of_them)
    assert {row["rounds_to_0.9"] for row in rows} == {2.0}


def test_rows_of_the_costs_name_other_seeds(grid):
    results = {cell.digest: make_result(0.9) for cell in grid.cells}
    references = dict.fromkeys((trust.name_reference(cell.scenario) for cell in grid.cells), 0.9)
    rows = trust.describe(grid, results, references)
    for row in rows:
        row["oracle_accuracy"] = row["fedavg_accuracy"] = None
    line = trust.make_tables(rows)[trust.COSTS].splitlines()[2]
    assert line.startswith("| dtb-fl, 0% attackers, partition iid, seeds 1 2 |")


def test_what_is_to_be_played_again_is_forgotten_wherever_it_waits_and_nothing_else(grid, tmp_path):
    kept, runs = tmp_path / "cells.json", tmp_path / "runs"
    played = [runs / name / "cells" / f"{grid.cells[0].digest}.json" for name in (grid.name, "trust_twin")]
    for path in played:
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    trust.keep_cells({cell.digest: {} for cell in grid.cells} | {"other": {}}, kept)
    for names in ([], ["trust_30"], [grid.name, "trust_30"]):
        with pytest.raises(SystemExit, match="no such grid; allowed: trust_other"):
            trust.forget([grid], names, kept, runs)
        assert all(path.is_file() for path in played)
    trust.forget([grid], [grid.name], kept, runs)
    assert json.loads(kept.read_text()) == {"other": {}}
    assert not any(path.exists() for path in played)


def test_accuracies_are_compared_within_one_partition_and_attack(grid):
    results = {cell.digest: make_result(number / 100) for number, cell in enumerate(grid.cells)}
    rows = trust.describe(grid, results, {})
    for row in rows:
        (twin,) = [
            other
            for other in rows
            if other["method"] == "fedavg"
            and (other["setting"], other["attack"]) == (row["setting"], row["attack"])
        ]
        assert trust.find(rows, row, "fedavg") == twin["accuracy"]
        assert trust.find(rows, row, "oracle") is None


def test_an_aggregator_without_a_score_is_no_plain_fedavg():
    """It has a table of its own, beside the mean and the default method."""
    grid = load_grid(trust.GRIDS / f"{trust.ROBUST}.toml")
    result = make_result(0.4) | {"backdoor_success": 0.0}
    rows = trust.describe(grid, {cell.digest: result for cell in grid.cells}, {})
    assert {row["aggregation"] for row in rows} >= {"median", "nnm+trimmed_mean"}
    assert all(trust.find(rows, row, "fedavg") is None for row in rows)
    shown = trust.make_tables(rows)[trust.ROBUST].splitlines()
    assert [line.split(" |")[0] for line in shown[2:]] == [
        "| FedAvg, the mean",
        "| FedAvg, median",
        "| FedAvg, multi_krum",
        "| FedAvg, geometric_median",
        "| FedAvg, nnm+trimmed_mean",
        "| the default method",
    ]
    assert "0.400 +- 0.000, works in 0.000 +- 0.000" in shown[3]
    assert trust.ROBUST not in trust.make_tables([])


def tampered(blocks, by, named):
    return {
        "tampering": {"blocks": blocks, "refused_by": by, "unnoticed": 0, "updates_lost": 7, "named": named},
        "unsealed_blocks": 4,
    }


@pytest.mark.parametrize("name", OWN_TABLES)
def test_malfunctioning_edge_servers_have_a_table_of_their_own(name):
    """Its rows stand in no other table, and who malfunctions not at all has a row in it too."""
    grid = load_grid(trust.GRIDS / f"{name}.toml")
    by = {"committee": 1, "contract": 2, "audit": 47}
    measured = make_result(0.9) | tampered(50, by, {"2": 49})
    kept = make_result(0.9)  # of before blocks were tampered with
    results = {cell.digest: measured if name_faults(cell.scenario) else kept for cell in grid.cells}
    rows = trust.describe(grid, results, dict.fromkeys(map(trust.name_reference, scenarios(grid)), 0.9))
    tables = trust.make_tables(rows)
    lines = tables[name].splitlines()
    assert {key for key, shown in tables.items() if shown.count("\n") > 1} == {name}
    assert len(lines) == 2 + len(rows) == 2 + len(grid.cells) // 3
    assert len({line.count("|") for line in lines}) == 1
    nobody = {row["attack"] for row in rows if not row["faulty_edge_servers"]}
    assert sum(line.startswith("| nobody |") for line in lines) == len(nobody)
    if name == BLOCKS:
        (line,) = [line for line in lines if line.startswith("| 1 root | label_flip |")]
        assert "| 150 | 3 | 6 | 141 | 0 | 21 | 12 | [{'2': 49}, {'2': 49}, {'2': 49}] |" in line


def scenarios(grid):
    return [cell.scenario for cell in grid.cells]


def test_what_malfunctions_is_named_in_words():
    words = [name_faults(cell.scenario) for cell in load_grid(trust.GRIDS / f"{BLOCKS}.toml").cells[::3]]
    assert words[:3] == ["", "1 proposal", "1 omission"]
    assert words[7:10] == [
        "1 second and 30% of vehicles equivocate",
        "1 committee and 30% of vehicles equivocate",
        "30% of vehicles refuse",
    ]


def test_how_soon_a_share_of_the_centralised_accuracy_is_reached():
    found = [make_result(0.9), make_result(0.7)]
    told = trust.times_to_shares([1.0, 0.8], found)
    assert told["centralised_accuracy"] == pytest.approx(0.9)
    assert (told["rounds_to_0.8"], told["seconds_to_0.8"]) == (2.0, 20.0)
    assert told["rounds_to_0.9"] is None  # the second reaches 0.7 of 0.72
    assert trust.times_to_shares([], found)["rounds_to_0.8"] is None


def test_rows_come_from_the_committed_grids():
    for name, digest in {(row["grid"], row["grid_digest"]) for row in ROWS}:
        text = (trust.GRIDS / f"{name}.toml").read_text(encoding="utf-8")
        assert hashlib.sha256(text.encode()).hexdigest() == digest, name


def test_the_page_shows_every_grid_as_it_was_played():
    assert {row["grid"] for row in ROWS} == {path.stem for path in trust.GRIDS.glob("trust_*.toml")}
    page = trust.PAGE.read_text(encoding="utf-8")
    tables = trust.make_tables(ROWS)
    assert len(tables) > 10
    assert [name for name, shown in tables.items() if f"<!-- {name} -->\n{shown}\n\n" not in page] == []


def test_a_table_takes_the_place_of_what_stands_under_its_marker(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- one -->\n\n<!-- two -->\n| old |\n|---|\n\nWords.\n")
    for _ in range(2):
        paste(page, {"one": table(["a", "b"], [["1", "2"]]), "two": "| new |"})
        text = (
            "# Page\n\n<!-- one -->\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n<!-- two -->\n| new |\n\nWords.\n"
        )
        assert page.read_text() == text
    for name in ("three", "on."):
        with pytest.raises(ValueError, match="0 markers"):
            paste(page, {"one": "| other |", name: "| x |"})
    assert page.read_text() == text

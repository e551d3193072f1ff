"""Grids: what a file stands for, what is refused, and how cells are kept and drawn."""

import json
from pathlib import Path

import pytest

from platoon.errors import UserError
from platoon.experiments.grid import choose_axes, find_failures, load_grid, play_grid, write_page

BASE = "[task]\nrounds = 2\n"


@pytest.fixture
def grid_file(tmp_path):
    """Writes a grid file beside a small scenario."""
    (tmp_path / "base.toml").write_text(BASE)

    def write(text: str) -> Path:
        path = tmp_path / "grid.toml"
        path.write_text(f'scenario = "base.toml"\n{text}')
        return path

    return write


def test_one_list_is_one_axis(grid_file):
    grid = load_grid(
        grid_file('seed = [1, 2]\nmethod = ["dtb-fl", "fedavg"]\n[fleet]\nmalicious_share = [0.3, 0.4]\n')
    )
    assert dict(grid.axes) == {
        "seed": ("1", "2"),
        "method": ("dtb-fl", "fedavg"),
        "fleet.malicious_share": ("0.3", "0.4"),
    }
    assert len(grid.cells) == 8
    assert {(c.scenario.seed, c.scenario.method, c.scenario.fleet.malicious_share) for c in grid.cells} == {
        (seed, method, share) for seed in (1, 2) for method in ("dtb-fl", "fedavg") for share in (0.3, 0.4)
    }
    assert all(cell.scenario.task.rounds == 2 for cell in grid.cells)


def test_a_key_that_holds_a_list_has_a_list_of_lists_for_an_axis(grid_file):
    assert not load_grid(grid_file("[roads]\nspeed_kmh = [30.0, 50.0]\n")).axes
    grid = load_grid(grid_file("[roads]\nspeed_kmh = [[30.0, 50.0], [50.0, 70.0]]\n"))
    assert [cell.scenario.roads.speed_kmh for cell in grid.cells] == [(30.0, 50.0), (50.0, 70.0)]


def test_a_named_level_sets_several_keys_together(grid_file):
    text = '[axis.attack.none]\n"fleet.attack" = "none"\n[axis.attack.late]\n"fleet.attack" = "none"\n'
    text += '"fleet.attacks" = [{ name = "ipm", start_round = 2 }]\n'
    grid = load_grid(grid_file(text))
    assert [cell.levels["attack"] for cell in grid.cells] == ["none", "late"]
    assert grid.cells[1].scenario.fleet.attacks[0].start_round == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed = []\n", r"seed = \[\]: an axis without levels"),
        ("seed = [1, 1]\n", "a level stands twice"),
        ("seed = [1, -1]\n", r"cell \(seed -1\).*seed = -1"),
        ("sed = [1, 2]\n", "sed: unknown key; did you mean 'seed'"),
        ('[axis.a.x]\n"seed" = 1\n[axis.a.y]\n"seed" = 1\n', r"cells \(a x\) and \(a y\) are the same run"),
        ("[axis]\na = 3\n", r"allowed are tables \[axis.a.LEVEL\]"),
        (f"seed = {list(range(1, 10_002))}\n", "10001 cells; allowed: at most 10000"),
        ("seed = [1\n", "cannot be read as a grid"),
    ],
)
def test_invalid_grids_are_refused_by_key(grid_file, text, told):
    with pytest.raises(UserError, match=told):
        load_grid(grid_file(text))


def test_invalid_no_scenario_and_no_file(tmp_path):
    (tmp_path / "grid.toml").write_text("seed = [1]\n")
    with pytest.raises(UserError, match="scenario is missing"):
        load_grid(tmp_path / "grid.toml")
    with pytest.raises(UserError, match="no such grid file"):
        load_grid(tmp_path / "other.toml")


def test_names_and_workers_do_not_make_another_run(grid_file):
    (cell,) = load_grid(grid_file("seed = [1]\n")).cells
    (same,) = load_grid(grid_file('name = "other"\nseed = [1]\n')).cells
    (another,) = load_grid(grid_file("seed = [2]\n")).cells
    assert cell.digest == same.digest != another.digest


def keep_results(grid, out, **values):
    """As if every cell had been played."""
    (out / "cells").mkdir(parents=True)
    for i, cell in enumerate(grid.cells):
        told = {"accuracy": 0.5 + 0.1 * i, "auc": None} | values
        (out / "cells" / f"{cell.digest}.json").write_text(json.dumps(told))


def test_what_is_there_is_not_played_again_and_is_drawn(grid_file, tmp_path):
    grid = load_grid(grid_file('seed = [1, 2]\nmethod = ["dtb-fl", "fedavg"]\n'))
    out = tmp_path / "out"
    keep_results(grid, out)
    results = play_grid(grid, out, at_once=1, told=lambda *_: pytest.fail("played a cell"))
    assert not find_failures(grid, results)
    page = write_page(grid, results, out, *choose_axes(grid, None, None)).read_text()
    assert "Final accuracy" in page
    assert "Score AUC" not in page  # nothing was judged
    assert "0.600" in page  # dtb-fl: seeds 0.5 and 0.7
    assert "&plusmn; 0.100" in page
    assert (out / "grid.toml").read_text() == grid.text


def test_a_hostile_level_is_text_on_the_page(grid_file, tmp_path):
    grid = load_grid(grid_file('[axis.a."<script>"]\n"seed" = 1\n[axis.a.b]\n"seed" = 2\n'))
    keep_results(grid, tmp_path / "out")
    page = write_page(grid, play_grid(grid, tmp_path / "out", at_once=1), tmp_path / "out", "a", "")
    assert "<script>" not in page.read_text()


def test_invalid_axes_and_folders_are_refused(grid_file, tmp_path):
    grid = load_grid(grid_file('seed = [1, 2]\nmethod = ["dtb-fl", "fedavg"]\n'))
    assert choose_axes(grid, None, None) == ("method", "")
    assert choose_axes(grid, "seed", None) == ("seed", "method")
    with pytest.raises(UserError, match="--rows speed: no such axis; allowed: seed, method"):
        choose_axes(grid, "speed", None)
    with pytest.raises(UserError, match="two different axes"):
        choose_axes(grid, "seed", "seed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(UserError, match="holds no grid"):
        play_grid(grid, tmp_path / "full", at_once=1)


@pytest.mark.long
def test_a_grid_of_whole_runs_resumes_and_equals_the_runs_alone(tmp_path):
    """Two cells in processes of their own; one result is taken away, and only that one is played again."""
    base = Path(__file__).parents[2] / "scenarios" / "quickstart.toml"
    path = tmp_path / "grid.toml"
    path.write_text(
        f'scenario = "{base}"\nseed = [1, 2]\n[task]\nmodel = "mlp"\nrounds = 3\ntest_samples = 200\n'
        '[fleet]\nvehicles = 20\n[partition]\nsamples = 60\n[roads]\nengine = "walker"\n'
        '[trust]\nscore = "forensic"\n'
    )
    grid, out, played = load_grid(path), tmp_path / "out", list[str]()
    first = play_grid(grid, out, at_once=2, told=lambda done, total, last: played.append(last))
    assert len(played) == 2
    assert not find_failures(grid, first)
    (out / "cells" / f"{grid.cells[0].digest}.json").unlink()
    second = play_grid(grid, out, at_once=1, told=lambda done, total, last: played.append(last))
    assert played[2:] == ["(seed 1)"]
    assert {d: r["head"] for d, r in first.items()} == {d: r["head"] for d, r in second.items()}


@pytest.mark.long
def test_a_cell_that_cannot_be_played_is_named_and_the_others_go_on(tmp_path):
    base = Path(__file__).parents[2] / "scenarios" / "quickstart.toml"
    path = tmp_path / "grid.toml"
    path.write_text(
        f'scenario = "{base}"\n[task]\nmodel = "mlp"\nrounds = 1\ntest_samples = 100\n[fleet]\nvehicles = 20\n'
        '[partition]\nsamples = 60\n[roads]\nengine = "walker"\n[radio]\nservice_radius_m = [1000.0, 0.5]\n'
    )
    grid = load_grid(path)
    failures = find_failures(grid, play_grid(grid, tmp_path / "out", at_once=2))
    assert len(failures) == 1
    assert "radio.service_radius_m 0.5" in failures[0]
    assert "no vehicle in coverage" in failures[0]

"""Grids are played, kept, taken up again and drawn; the runs are small, and real."""

import json
import re
from pathlib import Path

import pytest

from platoon.cli.main import app
from platoon.errors import UserError
from platoon.experiments import grid as grids
from platoon.experiments.grid import run as module
from platoon.experiments.grid.page import choose_axes, write_page
from platoon.experiments.grid.plan import load_grid
from platoon.experiments.grid.run import play_grid

BASE = """
name = "tiny"
[task]
model = "mlp"
rounds = 2
test_samples = 200
[fleet]
vehicles = 10
malicious_share = 0.3
[partition]
samples = 40
[roads]
engine = "walker"
streets = 4
warmup_s = 5
[radio]
rsus = 3
[round]
participants = 4
epochs = 1
[trust]
probes_per_class = 3
"""


@pytest.fixture
def write(tmp_path: Path):
    """A function that writes a grid file beside its scenario."""
    (tmp_path / "base.toml").write_text(BASE)

    def write_grid(text: str, name: str = "grid.toml") -> Path:
        path = tmp_path / name
        path.write_text('scenario = "base.toml"\n' + text)
        return path

    return write_grid


def play(path: Path, out: Path, at_once: int = 2, **options):
    """Play a grid; the results, and the cells that were played now."""
    played: list[str] = []
    results = play_grid(
        load_grid(path), out, at_once=at_once, told=lambda done, total, last: played.append(last), **options
    )
    return results, played


def test_a_grid_is_played_once_and_a_changed_one_reuses_its_cells(write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results, played = play(write('method = ["dtb-fl", "fedavg"]\n'), out)
    assert len(played) == len(results) == 2
    assert all(len(result["accuracies"]) == 2 and result["study"] is None for result in results.values())
    # the same once more: nothing is played, nothing is changed
    again, played = play(write('method = ["dtb-fl", "fedavg"]\n'), out)
    assert (again, played) == (results, [])
    # one more level: its cell alone is played, and the file beside the cells is the new one
    more, played = play(write('method = ["dtb-fl", "fedavg", "bc-fl"]\n'), out)
    assert played == ["(method bc-fl)"]
    assert results.items() <= more.items()
    assert (out / "grid.toml").read_text() == (tmp_path / "grid.toml").read_text()
    assert not (out / "runs").exists()


def test_a_result_that_was_taken_away_is_played_again_alone_and_comes_out_equal(
    write, tmp_path: Path
) -> None:
    path, out = write('method = ["dtb-fl", "fedavg"]\n'), tmp_path / "out"
    first, _ = play(path, out)
    (out / "cells" / f"{load_grid(path).cells[0].digest}.json").unlink()
    second, played = play(path, out, at_once=1)
    assert played == ["(method dtb-fl)"]
    assert {d: r["head"] for d, r in first.items()} == {d: r["head"] for d, r in second.items()}


def test_a_cell_that_fails_is_named_and_the_others_go_on(write, tmp_path: Path) -> None:
    path = write('[trust]\nscore = ["cosine", "cosne"]\n')
    results, _ = play(path, tmp_path / "out")
    (failure,) = grids.find_failures(load_grid(path), results)
    assert failure.startswith("cell (trust.score cosne): ")
    assert "did you mean 'cosine'" in failure
    assert sum("accuracy" in result for result in results.values()) == 1
    # it is tried again at the next call
    _, played = play(path, tmp_path / "out")
    assert played == ["(trust.score cosne)"]


def test_a_process_that_dies_is_a_failed_cell(write, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    path = write("seed = [1]\n")
    results, _ = play(path, tmp_path / "out")
    (failure,) = grids.find_failures(load_grid(path), results)
    assert "ended with exit code 1" in failure


def test_an_interrupted_grid_keeps_what_is_finished(write, tmp_path: Path) -> None:
    path, out = write("seed = [1, 2]\n"), tmp_path / "out"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_grid(load_grid(path), out, at_once=1, told=interrupt)
    assert len(list((out / "cells").glob("*.json"))) == 1
    results, played = play(path, out)
    assert (len(results), played) == (2, ["(seed 2)"])


def test_runs_are_kept_where_asked_even_after_an_attempt_that_broke_off(write, tmp_path: Path) -> None:
    path, out = write("seed = [1]\n"), tmp_path / "out"
    (cell,) = load_grid(path).cells
    left = out / "runs" / cell.digest[:16]
    (out / "cells").mkdir(parents=True)
    left.mkdir(parents=True)
    (left / "scenario.toml").write_text("broken off")
    results, _ = play(path, out, keep=True)
    assert "error" not in results[cell.digest]
    assert (
        json.loads((left / "summary.json").read_text())["model_digest"]
        == results[cell.digest]["model_digest"]
    )


def test_invalid_folders(write, tmp_path: Path) -> None:
    path = write("seed = [1]\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no grid"):
        play(path, tmp_path / "full")
    (cell,) = load_grid(path).cells
    cells = tmp_path / "damaged" / "cells"
    cells.mkdir(parents=True)
    (cells / f"{cell.digest}.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        play(path, tmp_path / "damaged")


GRID = """
method = ["dtb-fl", "fedavg"]
seed = [1, 2]
fleet.attack = ["ipm", "alie"]
trust.beta = [0.5, 0.6]
"""


def draw(path: Path, out: Path, rows: str | None = None, columns: str | None = None) -> str:
    grid = load_grid(path)
    results = {
        cell.digest: {"accuracy": 0.5 + 0.01 * number, "auc": None} for number, cell in enumerate(grid.cells)
    }
    out.mkdir(exist_ok=True)
    return write_page(grid, results, out, *choose_axes(grid, rows, columns)).read_text()


def test_the_page_holds_the_mean_of_the_seeds_in_its_place(write, tmp_path: Path) -> None:
    page = draw(write(GRID), tmp_path / "out", rows="method", columns="fleet.attack")
    grid = load_grid(tmp_path / "grid.toml")
    for beta in ("0.5", "0.6"):
        table = page.split(f"trust.beta {beta}</h3>")[1].split("</table>")[0]
        shown = {
            line[0]: [float(value) for value in re.findall(r">(0\.\d{3})<", line[1])]
            for line in re.findall(r"<tr><th>([a-z-]+)</th>(.*?)</tr>", table)
        }
        for method in ("dtb-fl", "fedavg"):
            for attack, value in zip(("ipm", "alie"), shown[method], strict=True):
                levels = {"method": method, "fleet.attack": attack, "trust.beta": beta}
                numbers = [k for k, cell in enumerate(grid.cells) if levels.items() <= cell.levels.items()]
                assert value == pytest.approx(0.5 + 0.01 * sum(numbers) / 2, abs=5e-4)
    assert "Score AUC" not in page  # nothing was measured
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)


def test_the_page_tells_spreads_over_seeds_and_single_runs(write, tmp_path: Path) -> None:
    text = 'method = ["dtb-fl", "fedavg"]\nseed = [1, 2]\n'
    page = draw(write(text), tmp_path / "out")
    assert "4 runs. A cell is the mean over 2 seeds, with half the range beneath it;" in page
    assert page.count("&plusmn; 0.005") == 2  # .50 and .51, .52 and .53
    for options in ({"rows": "seed"}, {"columns": "seed"}):
        page = draw(write(text), tmp_path / "out", **options)
        assert "4 runs. A cell is one run;" in page
        assert "mean over" not in page
        assert "&plusmn;" not in page
        assert all(f">{value}<" in page for value in ("0.500", "0.510", "0.520", "0.530"))
    assert "2 runs. A cell is one run;" in draw(write('method = ["dtb-fl", "fedavg"]\n'), tmp_path / "out")


def test_a_hostile_level_is_text_on_the_page(write, tmp_path: Path) -> None:
    page = draw(
        write('[axis.a."<script>"]\n"seed" = 1\n[axis.a.b]\n"seed" = 2\n'), tmp_path / "out", rows="a"
    )
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_invalid_axes_of_the_page(write) -> None:
    grid = load_grid(write('seed = [1, 2]\nmethod = ["dtb-fl", "fedavg"]\n'))
    assert choose_axes(grid, None, None) == ("method", "")
    assert choose_axes(grid, "seed", None) == ("seed", "method")
    with pytest.raises(UserError, match="--rows speed: no such axis; allowed: seed, method"):
        choose_axes(grid, "speed", None)
    with pytest.raises(UserError, match="two different axes"):
        choose_axes(grid, "seed", "seed")


def test_the_command_says_what_failed_and_ends_with_one(write, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        app(
            ["grid", str(write('[trust]\nscore = ["cosine", "cosne"]\n')), "--out", str(out), "--json"],
            standalone_mode=False,
        )
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == 1
    assert [cell["levels"] for cell in told["cells"]] == [{"trust.score": "cosine"}, {"trust.score": "cosne"}]
    assert Path(told["page"]).is_file()


def test_the_command_refuses_a_bad_file_with_two(write, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["grid", str(write("seed = []\n")), "--out", str(tmp_path / "out")], standalone_mode=False)
    assert ended.value.code == 2
    assert "an axis without levels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""The cells of a grid file, and what their results are kept under."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.experiments.grid import plan
from platoon.experiments.grid.plan import load_grid
from platoon.scenario import Scenario

SMOKE = Path(__file__).parents[2] / "scenarios" / "grids" / "smoke.toml"


@pytest.fixture
def write(tmp_path: Path):
    """A function that writes a grid file beside its scenario."""
    (tmp_path / "base.toml").write_text('name = "base"\n[task]\nrounds = 2\n')

    def write_grid(text: str, name: str = "grid.toml") -> Path:
        path = tmp_path / name
        path.write_text('scenario = "base.toml"\n' + text)
        return path

    return write_grid


def test_the_documented_grid_has_two_attacks_two_methods_and_two_seeds():
    grid = load_grid(SMOKE)
    assert grid.axes == {"attack": ("flip", "on_off"), "method": ("dtb-fl", "fedavg"), "seed": ("1", "2")}
    assert len(grid.cells) == len({cell.digest for cell in grid.cells}) == 8
    on_off = [cell for cell in grid.cells if cell.levels["attack"] == "on_off"]
    assert {cell.scenario.fleet.attack for cell in on_off} == {"none"}
    assert {cell.scenario.fleet.attacks[0].rounds_on for cell in on_off} == {2}


@given(
    methods=st.lists(st.sampled_from(["dtb-fl", "fedavg", "bc-fl"]), min_size=1, unique=True),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    shares=st.lists(st.sampled_from([0.1, 0.25, 0.4]), min_size=1, unique=True),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cells_are_the_product_of_the_axes(write, methods, seeds, shares):
    names = ", ".join(f'"{name}"' for name in methods)
    grid = load_grid(write(f"method = [{names}]\nseed = {seeds}\n[fleet]\nmalicious_share = {shares}\n"))
    played = {(c.scenario.method, c.scenario.seed, c.scenario.fleet.malicious_share) for c in grid.cells}
    assert played == {(m, s, a) for m in methods for s in seeds for a in shares}
    assert len(grid.cells) == len(played)
    assert all(cell.scenario.workers == 1 for cell in grid.cells)
    assert all(cell.scenario.task.rounds == 2 for cell in grid.cells)  # as the shared scenario has it


def test_axes_and_levels_are_named_as_they_are_written(write):
    grid = load_grid(write("seed = [1, 2]\n[fleet]\nmalicious_share = [0.0, 0.3, 0.1234561, 0.1234562]\n"))
    assert dict(grid.axes) == {
        "seed": ("1", "2"),
        "fleet.malicious_share": ("0", "0.3", "0.1234561", "0.1234562"),
    }


def test_a_key_that_holds_a_list_has_a_list_of_lists_for_an_axis(write):
    assert not load_grid(write("[roads]\nspeed_kmh = [30.0, 50.0]\n")).axes
    grid = load_grid(write("[roads]\nspeed_kmh = [[30.0, 50.0], [50.0, 70.0]]\n"))
    assert [cell.scenario.roads.speed_kmh for cell in grid.cells] == [(30.0, 50.0), (50.0, 70.0)]


def test_a_level_wins_over_what_all_cells_share(write):
    levels = '[axis.attack.none]\n"fleet.malicious_share" = 0.0\n[axis.attack.ipm]\n"fleet.attack" = "ipm"\n'
    grid = load_grid(write(levels + "[fleet]\nmalicious_share = 0.3\n"))
    assert [cell.scenario.fleet.malicious_share for cell in grid.cells] == [0.0, 0.3]


def test_what_cannot_change_a_result_does_not_change_where_it_is_kept(write):
    digests = {
        load_grid(write(text)).cells[0].digest
        for text in ("", 'name = "other"\n', "workers = 7\n", 'compare = ["fedavg"]\n')
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "text", ["seed = 2\n", 'method = "fedavg"\n', "[trust]\nbeta = 0.25\n", "[task]\nrounds = 3\n"]
)
def test_what_changes_a_result_changes_where_it_is_kept(write, text):
    assert load_grid(write(text)).cells[0].digest != load_grid(write("")).cells[0].digest


def test_other_contracts_are_other_results(write, monkeypatch):
    before = load_grid(write("")).cells[0].digest
    monkeypatch.setattr(plan, "compute_set_digest", lambda: bytes(32))
    assert load_grid(write("")).cells[0].digest != before


def test_words_about_keys_are_no_part_of_a_result(write, monkeypatch):
    before = load_grid(write("")).cells[0].digest
    monkeypatch.setattr(Scenario.model_fields["seed"], "description", "said otherwise")
    assert load_grid(write("")).cells[0].digest == before


SHARES = "[fleet]\nmalicious_share = [0.3, 0.4]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = []\n", "seed = []: an axis without levels; allowed: one value at least"),
        ("seed = [1, 1]\n", "seed = [1, 1]: a level stands twice; allowed: different ones"),
        ("[axis]\nattack = 3\n", "axis.attack: allowed are tables [axis.attack.LEVEL]"),
        (
            "seed = [1, 2]\n[axis.seed.late]\n'seed' = 9\n",
            "seed = [1, 2]: an axis seed stands as [axis.seed.LEVEL] too; allowed: one of them",
        ),
        (
            "[axis.attack.none]\n'fleet.malicious_share' = 0.0\n[axis.attack.ipm]\n'fleet.attack' = 'ipm'\n"
            + SHARES,
            "fleet.malicious_share: set by the axes attack and fleet.malicious_share; allowed: one axis a key",
        ),
        (
            "[axis.a.x]\n'seed' = 1\n[axis.a.y]\n'seed' = 2\n[axis.b.x]\n[axis.b.y]\n'seed' = 3\n",
            "seed: set by the axes a and b; allowed: one axis a key",
        ),
        ("axis = 3\n", "axis = 3: allowed are tables [axis.NAME.LEVEL]"),
        ("[axis.attack]\n", "axis.attack: allowed are tables [axis.attack.LEVEL]"),
        ("[axis.attack.a]\n'fleet.atack' = 'ipm'\n", "cell (attack a): "),
        ("[fleet]\nmalicious_share = [0.1, 1.5]\n", "cell (fleet.malicious_share 1.5): "),
        ("sed = [1, 2]\n", "sed: unknown key; did you mean 'seed'"),
        ("[axis.a.x]\n'seed' = 1\n[axis.a.y]\n'seed' = 1\n", "cells (a x) and (a y) are the same run"),
        (f"seed = {list(range(1, 10_002))}\n", "10001 cells; allowed: at most 10000"),
        ("seed = [1\n", "cannot be read as a grid"),
    ],
)
def test_invalid_axes_and_levels(write, text, words):
    with pytest.raises(UserError) as raised:
        load_grid(write(text))
    assert words in str(raised.value)


def test_invalid_no_scenario_and_no_file(tmp_path: Path):
    (tmp_path / "grid.toml").write_text("seed = [1]\n")
    with pytest.raises(UserError, match="scenario is missing"):
        load_grid(tmp_path / "grid.toml")
    with pytest.raises(UserError, match="no such grid file"):
        load_grid(tmp_path / "other.toml")

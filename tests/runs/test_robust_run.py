"""A whole run with a robust aggregator is verified by that rule, and by no other."""

from pathlib import Path

import pytest

from platoon import Scenario, run
from platoon.drivers.verify import verify_run
from platoon.errors import UserError, VerificationError

WALKER = {"roads.engine": "walker", "task.rounds": 2}


def play(scenario: Scenario, out: Path, **keys: object) -> None:
    table = scenario.model_dump(mode="json", exclude_none=True)
    changes = {name.replace("__", "."): value for name, value in keys.items()}
    run(Scenario.from_table(table, WALKER | changes), out)


@pytest.mark.long
def test_a_robust_run_is_verified_by_its_own_rule(scenario: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    play(scenario, folder, aggregation__rule="trimmed_mean", aggregation__pre="clipping+nnm")
    assert verify_run(folder)["rounds"] == 2
    path = folder / "scenario.toml"
    path.write_text(path.read_text().replace('rule = "trimmed_mean"', 'rule = "weighted_mean"'))
    with pytest.raises(VerificationError, match="the recorded updates make model"):
        verify_run(folder)


def test_invalid_aggregator_leaves_nothing_behind(scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aggregation\.rule = 'crum': .*did you mean 'krum'"):
        play(scenario, tmp_path / "run", aggregation__rule="crum")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_run_with_server_momentum_is_verified_with_it_and_not_without(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    play(scenario, folder, aggregation__server_momentum=0.5, task__rounds=3)
    assert verify_run(folder)["rounds"] == 3
    path = folder / "scenario.toml"
    path.write_text(path.read_text().replace("server_momentum = 0.5", "server_momentum = 0.4"))
    with pytest.raises(VerificationError, match="the recorded updates make model"):
        verify_run(folder)

"""Runs whose score is told which updates are false: the best that judging could do."""

from pathlib import Path

import pytest

from platoon import Scenario, run
from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.verify import verify_run

TOLD = "the score was told which updates are false"


def play(scenario: Scenario, out: Path, **keys: object) -> tuple[dict, dict]:
    table = scenario.model_dump(mode="json", exclude_none=True)
    changed = {
        "roads.engine": "walker",
        "task.rounds": 3,
        "fleet.malicious_share": 0.5,
        "round.participants": 9,
    } | keys
    summary = run(Scenario.from_table(table, changed), out)
    return summary, RunDirectory.open(out).read_columns("updates")


@pytest.mark.parametrize("attack", ["mimic", "adaptive"])
def test_it_passes_what_is_not_false_and_nothing_else(
    scenario: Scenario, tmp_path: Path, attack: str
) -> None:
    # mimics send an honest vehicle's very bytes: the honest one must not pay for them
    keys = {"trust.score": "oracle", "fleet.attack": attack}
    summary, updates = play(scenario, tmp_path / "run", **keys)
    judged = [
        row
        for row in zip(updates["score"], updates["poisoned"], updates["valid"], strict=True)
        if row[0] is not None
    ]
    assert all(score == (0.0 if false else 1.0) and valid == (not false) for score, false, valid in judged)
    assert {false for _, false, _ in judged} == {True, False}
    assert set(summary["poisoned_weight"]) <= {0.0, None}
    assert summary["study"] == TOLD
    assert verify_run(tmp_path / "run")["rounds"] == 3


def test_a_method_that_does_not_judge_is_told_nothing(scenario: Scenario, tmp_path: Path) -> None:
    summary, updates = play(scenario, tmp_path / "run", **{"trust.score": "oracle", "method": "fedavg"})
    assert summary["study"] is None
    assert set(updates["score"]) == {None}

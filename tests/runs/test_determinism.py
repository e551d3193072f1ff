"""Same scenario, same seed: same ledger head and model digest, twice, and on any number of workers."""

from pathlib import Path

import pytest

from platoon import Scenario, run

pytestmark = [pytest.mark.sumo]


def test_two_runs_and_two_workers_agree(scenario: Scenario, tmp_path: Path) -> None:
    first = run(scenario, tmp_path / "first")
    second = run(scenario.model_copy(update={"workers": 2}), tmp_path / "second")
    for key in (
        "accuracy",
        "model_digest",
        "score_auc",
        "malicious_weight",
        "dropped",
        "rewards",
        "forecast",
    ):
        assert first[key] == second[key], key
    assert first["ledger"]["head"] == second["ledger"]["head"]


def test_another_seed_is_another_run(scenario: Scenario, tmp_path: Path) -> None:
    short = scenario.model_copy(update={"task": scenario.task.model_copy(update={"rounds": 1})})
    first = run(short, tmp_path / "first")
    second = run(short.model_copy(update={"seed": 12}), tmp_path / "second")
    assert first["ledger"]["head"] != second["ledger"]["head"]
    assert first["model_digest"] != second["model_digest"]

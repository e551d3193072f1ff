"""A plug-in that fails in the middle of a run: named, nothing lost, and the run goes on once it is mended."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from platoon import Scenario, run
from platoon.cli.main import app
from platoon.drivers.worker import judge_by
from platoon.errors import UserError
from platoon.learning.scores import Cohort, ScoreRule, registry
from platoon.nouns import Scores
from platoon.twin import selectors
from platoon.twin.selectors import utility


class Point:
    """An installed package's entry point."""

    value = "their_package:thing"

    def __init__(self, name, thing):
        self.name, self.thing = name, thing

    def load(self):
        return self.thing


def install(monkeypatch, module, group, point):
    monkeypatch.setattr(
        module, "entry_points", lambda group_=group, **names: [point] if names or group_ else []
    )


@pytest.mark.sumo
def test_a_selector_that_raises_is_named_and_the_run_goes_on_where_it_stood(
    scenario: Scenario, scenario_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # with coverage, so that what was learned of labels must have been kept too
    keys = {"round.selector": "theirs", "round.coverage_weight": 2.0, "task.rounds": 4}
    table = scenario.model_dump(mode="json", exclude_none=True)

    def breaks(candidates):
        if candidates.round == 3:
            raise ZeroDivisionError("no speed")
        return utility(candidates)

    install(monkeypatch, selectors, "platoon.selectors", Point("theirs", utility))
    whole = run(Scenario.from_table(table, keys), tmp_path / "whole")
    install(monkeypatch, selectors, "platoon.selectors", Point("theirs", breaks))
    options = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    folder = tmp_path / "broken"
    result = CliRunner().invoke(app, ["run", str(scenario_file), "--out", str(folder), *options])
    assert result.exit_code == 2
    assert "selector = 'theirs': raised ZeroDivisionError (no speed) in round 3" in " ".join(
        result.output.split()
    )
    assert "Traceback" not in result.output
    install(monkeypatch, selectors, "platoon.selectors", Point("theirs", utility))
    resumed = CliRunner().invoke(app, ["resume", str(folder), "--json"])
    assert resumed.exit_code == 0, resumed.output
    assert whole["ledger"]["head"] in resumed.output
    assert whole["model_digest"] in resumed.output


COHORT = Cohort(
    weights=np.zeros(4, np.float32),
    updates=np.ones((3, 4), np.float32),
    samples=np.ones(3, np.int64),
    probe_images=np.zeros((1, 2, 2, 1), np.uint8),
    probe_labels=np.zeros(1, np.int64),
    model=None,  # type: ignore[arg-type]
)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda _: 1 / 0, "raised ZeroDivisionError"),
        (lambda _: None, "raised AttributeError"),
        (lambda _: Scores(values=np.ones(2), evidence=1.0), "3 finite values and evidence in [0, 1]"),
        (lambda _: Scores(values=np.array([1.0, np.nan, 1.0]), evidence=1.0), "3 finite values"),
        (lambda _: Scores(values=np.ones(3), evidence=1.5), "evidence in [0, 1]"),
    ],
)
def test_invalid_scores_of_a_plug_in_are_named(monkeypatch, score, words):
    rule = ScoreRule(score=score, threshold=0.5)
    install(monkeypatch, registry, "platoon.scores", Point("theirs", rule))
    with pytest.raises(UserError) as raised:
        judge_by("theirs", COHORT)
    assert str(raised.value).startswith("trust.score = 'theirs': ")
    assert words in str(raised.value)


def test_invalid_oracle_in_an_ordinary_run(scenario: Scenario, tmp_path: Path) -> None:
    table = scenario.model_dump(mode="json", exclude_none=True)
    with pytest.raises(UserError, match=r"round\.selector = 'oracle': it is told the future"):
        run(Scenario.from_table(table, {"round.selector": "oracle"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_an_oracle_says_that_it_is_a_study_and_loses_nobody(scenario: Scenario, tmp_path: Path) -> None:
    table = scenario.model_dump(mode="json", exclude_none=True)
    keys = {"round.selector": "oracle", "roads.engine": "walker", "task.rounds": 2}
    summary = run(Scenario.from_table(table, keys), tmp_path / "run")
    assert (summary["selector"], summary["study"]) == ("oracle", "the selector was told what will happen")
    assert summary["dropped"] == [0, 0]

"""A run with an adaptive server optimiser: verified with its own keys alone, and taken up where it stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from platoon import Scenario, run
from platoon.drivers.progress import Silent
from platoon.drivers.run import resume_run, run_scenario
from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.verify import verify_run
from platoon.errors import UserError, VerificationError

ADAM = {
    "roads.engine": "walker",
    "task.rounds": 4,
    "aggregation.server_optimiser": "adam",
    "aggregation.server_rate": 0.01,
    "aggregation.server_momentum": 0.9,
}


@pytest.fixture
def adaptive(scenario: Scenario) -> Scenario:
    return Scenario.from_table(scenario.model_dump(mode="json", exclude_none=True), ADAM)


class Interrupting(Silent):
    """Stops the run after a round, as Ctrl-C does."""

    def __init__(self, after: int = 2) -> None:
        self.after = after

    def played(self, name: str, row: Mapping[str, Any]) -> None:
        if row["round"] == self.after:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_where_an_undisturbed_one_ends(adaptive: Scenario, tmp_path: Path) -> None:
    undisturbed = run(adaptive, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        run_scenario(adaptive, tmp_path / "stopped", Interrupting())
    assert RunDirectory.open(tmp_path / "stopped").summary is None
    resumed = resume_run(tmp_path / "stopped")
    assert resumed["accuracy"] == undisturbed["accuracy"]
    assert resumed["model_digest"] == undisturbed["model_digest"]
    assert resumed["ledger"]["head"] == undisturbed["ledger"]["head"]


def test_what_the_optimiser_remembers_is_needed(adaptive: Scenario, tmp_path: Path) -> None:
    """The same run, taken up with other moments, ends elsewhere, and verification says so."""
    with pytest.raises(KeyboardInterrupt):
        run_scenario(adaptive, tmp_path / "run", Interrupting())
    (moments,) = (tmp_path / "run").glob("checkpoint/*/moments.npz")
    moments.write_bytes(moments_of_first_round(adaptive, tmp_path / "other"))
    with pytest.raises(UserError, match="round 3: the recorded updates make model"):
        resume_run(tmp_path / "run")


def moments_of_first_round(scenario: Scenario, path: Path) -> bytes:
    """What the same run remembered one round before."""
    with pytest.raises(KeyboardInterrupt):
        run_scenario(scenario, path, Interrupting(after=1))
    (moments,) = path.glob("checkpoint/*/moments.npz")
    return moments.read_bytes()


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ('server_optimiser = "adam"', 'server_optimiser = "yogi"'),
        ("server_memory = 0.99", "server_memory = 0.98"),
        ("server_adaptivity = 0.001", "server_adaptivity = 0.002"),
    ],
)
def test_a_run_is_verified_by_its_own_optimiser_and_no_other(
    adaptive: Scenario, tmp_path: Path, written: str, changed: str
) -> None:
    run(adaptive, tmp_path / "run")
    assert verify_run(tmp_path / "run")["rounds"] == 4
    path = tmp_path / "run" / "scenario.toml"
    assert written in path.read_text()
    path.write_text(path.read_text().replace(written, changed))
    with pytest.raises(VerificationError, match="the recorded updates make model"):
        verify_run(tmp_path / "run")

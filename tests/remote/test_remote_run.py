"""A whole run on a network: `platoon run` with the ledger on anvil, killed, resumed, verified without the node."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.remote.conftest import Anvil
from typer.testing import CliRunner

from platoon import Scenario, run
from platoon.cli.main import app
from platoon.drivers.run import resume_run
from platoon.drivers.verify import verify_run
from platoon.errors import UserError
from platoon.ledger.history import show_task

pytestmark = [pytest.mark.long, pytest.mark.sumo, pytest.mark.anvil]

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.toml"
SHORT = {
    "task.rounds": 3,
    "task.model": "mlp",
    "task.test_samples": 500,
    "partition.samples": 60,
    "round.epochs": 1,
    "roads.streets": 5,
    "roads.warmup_s": 10,
    "workers": 1,
}


def on(anvil: Anvil) -> dict[str, object]:
    return SHORT | {"ledger.engine": "rpc", "ledger.url": anvil.url, "ledger.chain_id": anvil.chain_id}


def arguments(anvil: Anvil) -> list[str]:
    return [f"--set={key}={value}" for key, value in on(anvil).items()]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return run(Scenario.load(QUICKSTART, SHORT), tmp_path_factory.mktemp("embedded") / "run")


def test_a_run_on_slow_blocks(
    start_anvil: Callable[..., Anvil], tmp_path: Path, embedded: dict[str, object]
) -> None:
    """Blocks every second, as a network has them: the same summary as without a network, and it verifies."""
    anvil, out = start_anvil(7400, "--block-time", "1", "--gas-limit", "60000000"), tmp_path / "run"
    result = CliRunner().invoke(app, ["run", str(QUICKSTART), "--out", str(out), *arguments(anvil)])
    assert result.exit_code == 0, result.output
    anvil.stop()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["ledger"] == {**embedded["ledger"], "engine": "rpc"}  # type: ignore[dict-item]
    for key in ("model_digest", "accuracy", "rewards"):
        assert summary[key] == embedded[key]
    assert verify_run(out)["head"] == summary["ledger"]["head"]
    places = [json.loads(line) for line in (out / "places.jsonl").read_text().splitlines()]
    assert len(places) == summary["ledger"]["transactions"]
    blocks = [place["block"] for place in places]
    assert blocks == sorted(blocks)


def test_a_run_is_killed_and_resumed(
    start_anvil: Callable[..., Anvil], tmp_path: Path, embedded: dict[str, object]
) -> None:
    """Killed after its first round is on the chain, and resumed: what the chain has already is recognised."""
    anvil, out = start_anvil(7400), tmp_path / "run"
    command = [sys.executable, "-m", "platoon.cli", "run", str(QUICKSTART), "--out", str(out)]
    process = subprocess.Popen(
        [*command, *arguments(anvil)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "round 2" in line or " 2/3" in line:
            process.kill()
    assert process.wait() == -signal.SIGKILL
    resumed = resume_run(out)
    assert resumed["ledger"]["head"] == embedded["ledger"]["head"]  # type: ignore[index]
    assert resumed["model_digest"] == embedded["model_digest"]
    verify_run(out)


def test_without_a_node_nothing_is_written(start_anvil: Callable[..., Anvil], tmp_path: Path) -> None:
    anvil, out = start_anvil(7400), tmp_path / "run"
    anvil.stop()
    with pytest.raises(UserError, match=f"waiting for the node at {anvil.url}"):
        run(Scenario.load(QUICKSTART, on(anvil) | {"ledger.deadline_s": 0.2}), out)
    assert not out.exists()


def test_methods_share_a_network(start_anvil: Callable[..., Anvil], tmp_path: Path) -> None:
    """Each method's task chain has accounts of its own; every run verifies, and the chain has its ledger."""
    anvil, out = start_anvil(7400), tmp_path / "both"
    chosen = ["compare", str(QUICKSTART), "--out", str(out), *arguments(anvil)]
    result = CliRunner().invoke(app, [*chosen, "--set=task.rounds=2"])
    assert result.exit_code == 0, result.output
    operators = set()
    for method in ("dtb-fl", "fedavg"):
        verify_run(out / method)
        checked = CliRunner().invoke(app, ["ledger", "check-chain", str(out / method), "--json"])
        assert checked.exit_code == 0, checked.output
        summary = json.loads((out / method / "summary.json").read_text())
        assert json.loads(checked.stdout)["transactions"] == summary["ledger"]["transactions"]
        operators.add(show_task(out / method / "ledger.sqlite")["operator"])
    assert len(operators) == 2
    other = CliRunner().invoke(
        app, ["ledger", "check-chain", str(out / "fedavg"), "--url", start_anvil(7400).url]
    )
    assert other.exit_code != 0
    assert "is not in the chain" in other.stderr

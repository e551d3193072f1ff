"""A real process, killed at random moments again and again, ends where an undisturbed one ends."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from platoon import Scenario, run
from platoon.drivers.run import resume_run
from platoon.drivers.verify import verify_run
from platoon.rng import stream

pytestmark = [pytest.mark.long, pytest.mark.sumo]


def play_until_killed(arguments: list[str], after_lines: int, delay_s: float) -> int:
    """Start the command, kill it ``delay_s`` after its n-th line; its exit code (negative: killed)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "platoon.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for number, _ in enumerate(process.stderr, 1):
        if number == after_lines:
            threading.Timer(delay_s, process.kill).start()
    return process.wait()


@pytest.mark.parametrize("attempt", range(3))
def test_kill_and_resume(scenario_file: Path, tmp_path: Path, attempt: int) -> None:
    # the second time vehicles change pseudonyms, the server has momentum, and blocks are tampered with: a resumed
    # run finds the keys again, and the model before the last; the third time what an adaptive optimiser remembers
    optimiser = ("momentum", "momentum", "yogi")[attempt]
    more = (
        f'pseudonym_rounds = {2 * attempt}\n[aggregation]\nserver_optimiser = "{optimiser}"\n'
        f"server_momentum = {(0.0, 0.5, 0.9)[attempt]}\nserver_rate = {(1.0, 1.0, 0.01)[attempt]}\n"
    )
    more += f"[faults]\nedge_servers = {attempt % 2}\nbehaviour = 'second'\n"
    more += f"members = {0.5 * (attempt % 2)}\nmember_behaviour = 'equivocate'\n"
    scenario_file.write_text(scenario_file.read_text() + more)
    scenario = Scenario.load(scenario_file)
    undisturbed = run(scenario, tmp_path / "undisturbed")
    dice = stream(attempt, "moments of death")
    out = tmp_path / "killed"
    arguments = ["run", str(scenario_file), "--out", str(out)]
    for _ in range(20):
        code = play_until_killed(arguments, int(dice.integers(1, 7)), float(dice.uniform(0.0, 0.8)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if out.exists():
            arguments = ["resume", str(out)]
    resumed = resume_run(out)
    assert resumed["ledger"]["head"] == undisturbed["ledger"]["head"]
    assert resumed["model_digest"] == undisturbed["model_digest"]
    assert resumed["accuracy"] == undisturbed["accuracy"]
    assert resumed["tampering"] == undisturbed["tampering"]
    assert (resumed["tampering"]["blocks"] > 0) == (attempt == 1)
    assert np.isclose(resumed["simulated_seconds"], undisturbed["simulated_seconds"])
    verify_run(out)

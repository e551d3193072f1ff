"""Mistakes of a user: one line that names what is wrong and what is allowed, exit code 2, nothing left behind."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from platoon.cli.main import app

SCENARIO = """
name = "small"
[task]
rounds = 1
test_samples = 100
[fleet]
vehicles = 6
[round]
participants = 2
[roads]
streets = 3
warmup_s = 0
[radio]
rsus = 2
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """The command ended with 2 and said one line with all these words, and nothing on standard output."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *progress, last = result.stderr.strip().splitlines()
    assert last.startswith("platoon: ")
    assert all(line.startswith("dtb-fl: starting") for line in progress), progress
    for word in words:
        assert word in last


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fleet.vehicels=7", ("fleet.vehicels", "unknown key", "did you mean 'vehicles'?")),
        ("fleets.vehicles=7", ("fleets", "did you mean 'fleet'?")),
        ("task.rounds=0", ("task.rounds = 0", "greater than or equal to 1")),
        ("trust.beta=1.5", ("trust.beta = 1.5", "less than or equal to 1")),
        ("task.data=cifar", ("task.data = 'cifar'", "'cifar10'")),
        ("method=fedavgg", ("method = 'fedavgg'", "did you mean 'fedavg'?", "dtb-fl")),
        ("trust.score=probe_magrin", ("probe_magrin", "did you mean 'probe_margin'?", "cosine")),
        ("round.participants=7", ("round.participants = 7", "1 to fleet.vehicles = 6")),
        ("fleet.malicious_share=1.0", ("fleet.malicious_share", "every vehicle is malicious", "allowed")),
        ("roads.speed_kmh=[60, 30]", ("roads", "least speed")),
        ("radio.service_radius_m=0.5", ("no vehicle in coverage", "radio.service_radius_m")),
        ("nonsense", ("--set nonsense", "key=value")),
    ],
)
def test_invalid_setting(scenario: Path, tmp_path: Path, setting: str, words: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    refused(call("run", scenario, "--set", setting, "--out", out), *words)
    assert not out.exists()


def test_invalid_missing_scenario(tmp_path: Path) -> None:
    refused(call("run", tmp_path / "nowhere.toml"), "nowhere.toml", "no such scenario file")


def test_invalid_toml(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[task\nrounds = 3\n")
    refused(call("run", path), "broken.toml", "not valid TOML")


def test_invalid_missing_data(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOON_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    refused(call("run", scenario, "--out", out), "mnist", "platoon data get mnist")
    assert not out.exists()


@pytest.mark.parametrize("content", [None, "this is not a network", "<net></net>"])
def test_invalid_sumo_scenario(scenario: Path, tmp_path: Path, content: str | None) -> None:
    network, out = tmp_path / "city.net.xml", tmp_path / "out"
    if content is not None:
        network.write_text(content)
    result = call("run", scenario, "--set", f'roads.sumo_config="{network}"', "--out", out)
    refused(result, "city.net.xml")
    assert not out.exists()


def test_invalid_output_folder_in_use(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("do not touch")
    refused(call("run", scenario, "--out", tmp_path / "out"), "is not empty")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("command", ["verify", "report", "resume"])
def test_invalid_run_directory(command: str, tmp_path: Path) -> None:
    refused(call(command, tmp_path / "nowhere"), "nowhere")
    (tmp_path / "corrupt").mkdir()
    refused(call(command, tmp_path / "corrupt"), "corrupt")
    (tmp_path / "corrupt" / "scenario.toml").write_text("name = 3")
    (tmp_path / "corrupt" / "ledger.sqlite").write_bytes(b"garbage")
    refused(call(command, tmp_path / "corrupt"), "corrupt")


def test_invalid_data_name() -> None:
    refused(call("data", "get", "mnits"), "mnits", "did you mean 'mnist'?")

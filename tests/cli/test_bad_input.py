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


NETWORK = "<net><location/><edge id='ab'/></net>"
TRACE = "<fcd-export>{}</fcd-export>"
STEP = '<timestep time="{}"><vehicle id="a" x="{}" y="0"/></timestep>'
UNITS = (
    "Timestamp,Longitude,Latitude,Speed,RAWCELLID,NetworkMode,RSRP,RSRQ,SNR,CQI,DL_bitrate,UL_bitrate,State"
)


@pytest.mark.parametrize(
    ("key", "name", "content", "others", "words"),
    [
        ("roads.sumo_config", "city.net.xml", NETWORK, (), ("city.net.xml",)),
        ("roads.sumo_config", "city.osm", "<osm/>", (), ("city.osm", "allowed: .sumocfg, .net.xml")),
        ("roads.trace", "a.fcd.xml", None, ("roads.engine=trace",), ("a.fcd.xml", "no such file")),
        (
            "roads.trace",
            "a.fcd.xml",
            TRACE.format("\n".join([STEP.format(5, 1), STEP.format(4, 2)])),
            ("roads.engine=trace",),
            ("a.fcd.xml, line 2", "time 4 goes back, after 5"),
        ),
        (
            "roads.trace",
            "a.fcd.xml",
            TRACE.format(STEP.format(0, "nan")),
            ("roads.engine=trace",),
            ("a.fcd.xml, line 1", "x = nan"),
        ),
        (
            "roads.trace",
            "a.fcd.xml",
            TRACE.format(STEP.format(0, 80_000)),
            ("roads.engine=trace",),
            ("a.fcd.xml, line 1", "from every road"),
        ),
        ("roads.replay", "a.fcd.xml", TRACE.format(STEP.format(0, 0)), (), ("a.roads.npz", "no such file")),
        ("roads.road_map", "a.roads.npz", "PK", ("roads.engine=walker",), ("a.roads.npz", "road map")),
        ("radio.map", "a.safetensors", "{}", ("radio.source=map",), ("a.safetensors", "radio map")),
        ("radio.drives", "a.csv", "Timestamp,SNR\n", ("radio.source=drives",), ("a.csv", "is missing")),
        (
            "radio.drives",
            "a.csv",
            UNITS + "\n2020.02.13_13.03.24,-8.4,51.9,30,7,5G,95,-12,7,9,0,0,D\n",
            ("radio.source=drives",),
            ("a.csv, line 2", "RSRP = 95; allowed: -160 to -20 dBm"),
        ),
        ("roads.trace", "a.fcd.xml", None, (), ("roads.trace", 'engine = "trace"')),
        ("radio.outages", "[[9, 0.0, 1.0]]", None, (), ("radio.outages", "an RSU from 0 to 1")),
    ],
)
def test_invalid_file_of_a_world(
    scenario: Path,
    tmp_path: Path,
    *,
    key: str,
    name: str,
    content: str | None,
    others: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    """Networks, traces, drives and maps: refused by file, line and reason before anything is made."""
    path, out = tmp_path / name, tmp_path / "out"
    if content is not None:
        path.write_text(content)
    value = name if name.startswith("[") else f'"{path}"'
    settings = [part for setting in (*others, f"{key}={value}") for part in ("--set", setting)]
    refused(call("run", scenario, *settings, "--out", out), *words)
    assert not out.exists()


def test_invalid_export(scenario: Path, tmp_path: Path) -> None:
    refused(call("world", "export", tmp_path / "gone.toml", "--out", tmp_path / "a.fcd.xml"), "gone.toml")
    refused(call("world", "export", scenario, "--out", tmp_path / "a.txt"), "a.txt", "unknown kind of trace")
    refused(call("world", "export", tmp_path, "--out", tmp_path / "a.fcd.xml"), "not a run directory")
    there = tmp_path / "b.fcd.xml"
    there.write_text("mine")
    refused(call("world", "export", scenario, "--out", there), "is there already")
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.fcd.xml", "small.toml"]


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

"""OpenStreetMap by SUMO's tools, called as docs/worlds.md writes it, and the real city that comes with platoon."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sumo

from platoon import Scenario
from platoon.drivers.run import run_scenario
from platoon.nouns import Instant, seconds
from platoon.world.world import World

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.sumo


def documented(tool: str) -> list[str]:
    """The command of a tool as the page writes it, for this machine."""
    page = (ROOT / "docs" / "worlds.md").read_text()
    (line,) = re.findall(rf"^.*\$SUMO_HOME\S*{tool}.*$", page, re.MULTILINE)
    words = shlex.split(line.replace("$SUMO_HOME", sumo.SUMO_HOME))
    return [sys.executable, *words[1:]] if words[0] == "python" else words


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town of three streets each way, a curved avenue, a courtyard and a footpath, imported."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "town.osm.xml").write_text((Path(__file__).parent / "town.osm.xml").read_text())
    environment = {"SUMO_HOME": sumo.SUMO_HOME, "PATH": str(Path(sumo.SUMO_HOME) / "bin")}
    for tool in ("netconvert", "randomTrips.py"):
        done = subprocess.run(
            documented(tool), cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "worlds.md").read_text()
    (configuration,) = re.findall(r"^<configuration>.*</configuration>$", page, re.MULTILINE)
    (folder / "town.sumocfg").write_text(configuration)
    return folder


@pytest.mark.parametrize(("entry", "fleet"), [("town.net.xml", "circulates"), ("town.sumocfg", "trips")])
def test_a_town_of_openstreetmap(town: Path, tmp_path: Path, entry: str, fleet: str) -> None:
    roads = {"sumo_config": str(town / entry), "fleet": fleet, "warmup_s": 60}
    radio = {"rsus": 3, "service_radius_m": 400.0}
    scenario = Scenario.from_table({"roads": roads, "radio": radio, "fleet": {"vehicles": 20}})
    world = World(scenario, tmp_path)
    try:
        # The footpath is no road; the avenue is curved.
        assert max(len(line) for line in world.road_map.polylines) > 3
        assert len(world.road_map.edge_ids) == 26
        sees = world.road_map.visibility(world.rsus).mean(axis=0)
        assert ((sees > 0.1) & (sees < 0.6)).all()
        seen = np.zeros(20, dtype=np.bool_)
        for second in range(1, 120):
            world.advance(Instant(seconds(float(second))))
            seen |= world.present() & (world.serving() >= 0)
        assert seen.sum() >= 15
        assert 5.0 < world.achieved_speed_kmh < 55.0
    finally:
        world.close()


def test_the_city_that_comes_with_platoon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole short run on Bologna's rush hour, from the files as they are packed; nothing appears beside them."""
    monkeypatch.chdir(ROOT)
    settings = {
        "task.rounds": 2,
        "task.model": "mlp",
        "workers": 1,
        "task.test_samples": 200,
        "round.epochs": 1,
    }
    scenario = Scenario.load("scenarios/bologna.toml", settings)
    files = sorted((path, path.stat().st_mtime_ns) for path in Path("scenarios/bologna").iterdir())
    summary = run_scenario(scenario, tmp_path / "run")
    assert summary["ledger"]["verified"]
    assert summary["rounds"] == 2
    assert 10.0 < summary["achieved_speed_kmh"] < 60.0
    assert sorted((path, path.stat().st_mtime_ns) for path in Path("scenarios/bologna").iterdir()) == files

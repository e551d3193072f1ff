"""Scenes that need no SUMO, and a small grid that does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from platoon.nouns import Floats
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.trace import TraceTraffic
from platoon.world.world import World

MakeWorld = Callable[..., World]


def make_street(length: float) -> RoadMap:
    """A straight street with a junction every 500 m."""
    places = np.arange(500.0, length, 500.0)
    line = np.array([[0.0, 0.0], [length, 0.0]])
    junctions = np.stack([places, np.zeros_like(places)], axis=1)
    return RoadMap.build(["street"], [line], [12.8], junctions=junctions)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Builds a world of scripted tracks (T, N, 2) on a street; closes it after the test."""
    made: list[World] = []

    def make(tracks: Floats, length: float = 4000.0, present: object = None, **sections: object) -> World:
        sections = {"fleet": {"vehicles": tracks.shape[1]}, "round": {"participants": 1}} | sections
        traffic = TraceTraffic(make_street(length), tracks, present)  # type: ignore[arg-type]
        world = World(Scenario.from_table(sections), tmp_path, lambda scenario, scratch: traffic)
        made.append(world)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scratch folder for all, as in a run: grids are made once."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def grid() -> Scenario:
    """Five streets each way, twenty vehicles."""
    return Scenario.from_table(
        {"roads": {"streets": 5, "warmup_s": 20}, "fleet": {"vehicles": 20}, "radio": {"rsus": 2}}
    )

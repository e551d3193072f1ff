"""The world of ``scenarios/twin.toml`` for the twin's benchmarks: the same traffic for every variant of a seed.

SUMO drives once per seed; its tracks are kept in the system's folder for temporary files, and every world that is
asked for replays them, with whatever radio it is asked for. So methods are compared on the same vehicles, and
a benchmark that plays many variants does not wait for SUMO.
"""

import hashlib
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.rows import Row
from platoon import Scenario
from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap
from platoon.world.sumo import start_sumo
from platoon.world.trace import TraceTraffic
from platoon.world.world import World

PATH = Path(__file__).parents[1] / "scenarios" / "twin.toml"
SEEDS = (1, 2, 3)
SECONDS = 1_200
"""Length of the tracks after the scenario's warm-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Traffic of one seed, second by second."""

    road_map: RoadMap
    tracks: Floats
    """(T, N, 2) metres."""
    present: Bools
    """(T, N) on the road."""


def load(seed: int, overrides: dict[str, Any] | None = None) -> Scenario:
    """The pinned scenario, with this seed."""
    return Scenario.load(PATH, {**(overrides or {}), "seed": seed})


def start_world(scenario: Scenario, seconds: int = SECONDS) -> World:
    """A world that replays the traffic of the scenario's seed. Close it when done."""
    recording = record(scenario, seconds)
    return World(
        scenario,
        scratch(),
        lambda _scenario, _scratch: TraceTraffic(recording.road_map, recording.tracks, recording.present),
    )


def record(scenario: Scenario, seconds: int = SECONDS) -> Recording:
    """The traffic of the scenario's roads, fleet size and seed; driven by SUMO where it is not kept yet."""
    named = f"{scenario.roads}{scenario.fleet.vehicles}{scenario.seed}{seconds}"
    path = scratch() / f"traffic-{hashlib.sha256(named.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        _drive(scenario, seconds, path)
    with np.load(path) as kept:
        return Recording(road_map=_read_map(kept), tracks=kept["tracks"], present=kept["present"])


def scratch() -> Path:
    """Where networks and tracks are kept between benchmarks."""
    folder = Path(tempfile.gettempdir()) / "platoon-bench-twin"
    folder.mkdir(exist_ok=True)
    return folder


def over_seeds(
    name: str,
    values: list[float],
    unit: str,
    peer: str | None = None,
    peer_values: list[float] | None = None,
) -> Row:
    """A row of a mean over the seeds; its spread is half the range."""
    return {
        "name": name,
        "value": statistics.fmean(values),
        "unit": unit,
        "spread": (max(values) - min(values)) / 2,
        "peer": peer,
        "peer_value": statistics.fmean(peer_values) if peer_values else None,
    }


def _drive(scenario: Scenario, seconds: int, path: Path) -> None:
    traffic = start_sumo(scenario, scratch())
    try:
        tracks, present = [traffic.positions], [traffic.present]
        for _ in range(seconds):
            traffic.step()
            tracks.append(traffic.positions)
            present.append(traffic.present)
        columns = {"tracks": np.array(tracks), "present": np.array(present)}
        np.savez(path, **columns, **_write_map(traffic.road_map))
    finally:
        traffic.close()


def _write_map(roads: RoadMap) -> dict[str, Any]:
    return {
        "edge_ids": np.array(roads.edge_ids),
        "points": np.concatenate(roads.polylines),
        "point_counts": np.array([len(line) for line in roads.polylines]),
        "widths": roads.widths,
        "speed_limits": roads.speed_limits,
        "successors": np.array([s for found in roads.successors for s in found]),
        "successor_counts": np.array([len(found) for found in roads.successors]),
        "junctions": roads.junctions,
    }


def _read_map(kept: Any) -> RoadMap:
    lines = np.split(kept["points"], np.cumsum(kept["point_counts"])[:-1])
    following = np.split(kept["successors"], np.cumsum(kept["successor_counts"])[:-1])
    return RoadMap.build(
        [str(edge) for edge in kept["edge_ids"]],
        lines,
        kept["widths"],
        speed_limits=kept["speed_limits"],
        successors=[found.tolist() for found in following],
        junctions=kept["junctions"],
    )

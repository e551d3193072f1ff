"""Who moves the vehicles: the traffic of a scenario, by the name of its engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from platoon.errors import UserError
from platoon.nouns import Bools
from platoon.physics.grids import build_grid_map
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.networks import prepare_network
from platoon.world.replay import ReplayTraffic
from platoon.world.road_file import load_roads, road_file_beside
from platoon.world.traffic import Traffic
from platoon.world.walker import Habits, Walker


def start_traffic(scenario: Scenario, scratch: Path) -> Traffic:
    """The scenario's traffic, warmed up; ``scratch`` is a folder for files that are made on the way.

    Raises:
        UserError: SUMO is needed and not installed, or files of the scenario cannot be read.
    """
    if scenario.roads.replay is not None:
        return start_replay(scenario)
    return ENGINES[scenario.roads.engine](scenario, scratch)


def start_replay(scenario: Scenario) -> Traffic:
    """The recorded traffic of this very scenario, with the road map that was exported beside it."""
    assert scenario.roads.replay is not None
    trace = Path(scenario.roads.replay)
    road_map = load_roads(road_file_beside(trace)).road_map
    return ReplayTraffic(road_map, trace, scenario.fleet.vehicles)


def start_walker(scenario: Scenario, scratch: Path) -> Traffic:
    """Walkers on the scenario's roads. The grid needs no SUMO; another network is read by SUMO's own reader."""
    roads = scenario.roads
    mean = roads.mean_speed_kmh
    habits = Habits(
        mean_speed=None if mean is None else mean / 3.6,
        turns=roads.turns,
        stop_share=roads.stop_share,
        stop_s=roads.stop_s,
    )
    road_map, for_cars = read_roads(scenario, scratch)
    walker = Walker(road_map, scenario.fleet.vehicles, scenario.seed, habits, for_cars)
    for _ in range(roads.warmup_s):
        walker.step()
    return walker


def start_trace(scenario: Scenario, scratch: Path) -> Traffic:
    """The fleet on a trace's trips; there is no warm-up, since the trace has its own."""
    assert scenario.roads.trace is not None  # the scenario sees to it
    road_map, _ = read_roads(scenario, scratch)
    return ReplayTraffic(
        road_map,
        Path(scenario.roads.trace),
        scenario.fleet.vehicles,
        repeat=scenario.roads.trace_repeat,
    )


def read_roads(scenario: Scenario, scratch: Path) -> tuple[RoadMap, Bools | None]:
    """The scenario's road map without its traffic, and (E,) which roads cars may use; None: all."""
    roads = scenario.roads
    if roads.road_map is not None:
        found = load_roads(Path(roads.road_map))
        return found.road_map, found.for_cars
    if roads.sumo_config is None:
        return build_grid_map(roads.streets, roads.block_m, roads.lanes, scenario.seed, roads.speed_kmh), None
    try:
        from platoon.world.net_file import read_network  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"SUMO is not installed ({error}); try: pip install 'platoon[sumo]'") from None
    network = read_network(prepare_network(roads, scratch), scenario.seed, roads.speed_kmh)
    return network.road_map, network.for_cars


def _start_sumo(scenario: Scenario, scratch: Path) -> Traffic:
    """SUMO is imported only where it is used: it is large, and an extra of the package."""
    try:
        from platoon.world.sumo import start_sumo  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"SUMO is not installed ({error}); try: pip install 'platoon[sumo]'") from None
    return start_sumo(scenario, scratch)


ENGINES: Final[dict[str, Callable[[Scenario, Path], Traffic]]] = {
    "sumo": _start_sumo,
    "walker": start_walker,
    "trace": start_trace,
}

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
from platoon.world.traffic import Traffic
from platoon.world.walker import Habits, Walker


def start_traffic(scenario: Scenario, scratch: Path) -> Traffic:
    """The scenario's traffic, warmed up; ``scratch`` is a folder for files that are made on the way.

    Raises:
        UserError: SUMO is needed and not installed, or files of the scenario cannot be read.
    """
    return ENGINES[scenario.roads.engine](scenario, scratch)


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


def read_roads(scenario: Scenario, scratch: Path) -> tuple[RoadMap, Bools | None]:
    """The scenario's road map without its traffic, and (E,) which roads cars may use; None: all."""
    roads = scenario.roads
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


ENGINES: Final[dict[str, Callable[[Scenario, Path], Traffic]]] = {"sumo": _start_sumo, "walker": start_walker}

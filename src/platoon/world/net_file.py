"""Road maps from SUMO networks (``.net.xml``), read by sumolib; the only module that imports it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sumolib

from platoon.errors import UserError
from platoon.nouns import Bools, Floats
from platoon.physics.grids import draw_speed_limits
from platoon.physics.roads import RoadMap
from platoon.world.networks import NetworkFiles

VEHICLE_CLASS = "passenger"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """What is known of a network beside SUMO's own reading of it."""

    road_map: RoadMap
    for_cars: Bools
    """(E,) roads that cars may use; buses have some of their own."""
    limits: dict[str, float] | None
    """Speed limits that were drawn for a grid, m/s by road; a real network keeps its own."""


def read_network(files: NetworkFiles, seed: int, speed_kmh: tuple[float, float]) -> Network:
    """The roads of a network; a grid's speed limits are drawn within ``speed_kmh``.

    Raises:
        UserError: the file cannot be read, or has no roads.
    """
    network = _parse_network(files)
    names = [edge.getID() for edge in _drivable(network)]
    limits = draw_speed_limits(names, seed, speed_kmh) if files.is_grid else None
    road_map = _build_road_map(files, network, limits)
    return Network(road_map=road_map, for_cars=_roads_of_class(network, road_map), limits=limits)


def _parse_network(files: NetworkFiles) -> Any:
    try:
        network = sumolib.net.readNet(str(files.net))
    except Exception as error:  # sumolib raises whatever its parsing stumbles over
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{files.source}: cannot be read as a SUMO network ({reason})") from None
    if not network.getEdges():
        raise UserError(f"{files.source}: no SUMO network with roads")
    return network


def _drivable(network: Any) -> list[Any]:
    """Edges for cars or buses, sorted by id: buildings keep their distance from both."""
    edges = [edge for edge in network.getEdges() if edge.allows(VEHICLE_CLASS) or edge.allows("bus")]
    return sorted(edges, key=lambda edge: str(edge.getID()))


def _build_road_map(files: NetworkFiles, network: Any, limits: dict[str, float] | None) -> RoadMap:
    edges = _drivable(network)
    rows = {edge.getID(): row for row, edge in enumerate(edges)}
    try:
        return RoadMap.build(
            list(rows),
            [np.array(edge.getShape()) for edge in edges],
            [sum(lane.getWidth() for lane in edge.getLanes()) for edge in edges],
            speed_limits=[limits[name] for name in rows] if limits else [e.getSpeed() for e in edges],
            successors=[_find_successors(edge, rows) for edge in edges],
            junctions=_find_junctions(network),
        )
    except ValueError as error:
        raise UserError(f"{files.source}: {error}") from None


def _find_successors(edge: Any, rows: dict[str, int]) -> list[int]:
    """Roads that a car can take next; turning round only where nothing else is left."""
    found = [e for e in edge.getAllowedOutgoing(VEHICLE_CLASS) if e.getID() in rows]
    forward = [e for e in found if e.getToNode() is not edge.getFromNode()]
    return sorted(rows[e.getID()] for e in forward or found)


def _find_junctions(network: Any) -> Floats:
    """(J, 2) crossings of at least three streets; in a network without any, all nodes."""
    nodes = sorted(network.getNodes(), key=lambda node: str(node.getID()))
    crossings = [node for node in nodes if len(set(node.getNeighboringNodes())) >= 3]
    return np.array([node.getCoord()[:2] for node in crossings or nodes], dtype=np.float64)


def _roads_of_class(network: Any, road_map: RoadMap) -> Bools:
    return np.array([network.getEdge(edge).allows(VEHICLE_CLASS) for edge in road_map.edge_ids])

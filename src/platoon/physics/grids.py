"""A Manhattan grid as a road map, without SUMO: the same streets, names, limits and shapes as SUMO's own.

SUMO's ``netgenerate`` names the junction in column 2 and row 1 "C1" (with more than 26 columns "AC1") and the road
to the next "C1D1", lets roads end where the junction's area begins (the width of the lanes and a turn radius; none
at the town's corners), and drives on the right. Limits are drawn by name: a grid has the same whoever made it.
"""

from collections.abc import Iterable
from string import ascii_uppercase

import numpy as np

from platoon.physics.roads import RoadMap
from platoon.rng import stream

LANE_M = 3.2
TURN_RADIUS_M = 4.0
"""Added to the area of a junction that joins three or four streets."""
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))


def draw_speed_limits(names: Iterable[str], seed: int, speed_kmh: tuple[float, float]) -> dict[str, float]:
    """Speed limit of every road in m/s, drawn evenly within the range."""
    low, high = (speed / 3.6 for speed in speed_kmh)
    return {name: float(stream(seed, "speed limit", name).uniform(low, high)) for name in names}


def build_grid_map(
    streets: int, block_m: float, lanes: int, seed: int = 0, speed_kmh: tuple[float, float] = (30.0, 60.0)
) -> RoadMap:
    """``streets`` each way, ``block_m`` apart, ``lanes`` per direction; nobody turns round.

    >>> build_grid_map(3, 250.0, 2).edge_ids[:4]
    ('A0A1', 'A0B0', 'A1A0', 'A1A2')
    """
    nodes = [(column, row) for column in range(streets) for row in range(streets)]
    roads = {
        _name(start, streets) + _name(end, streets): (start, end)
        for start in nodes
        for end in [(start[0] + x, start[1] + y) for x, y in STEPS]
        if _is_inside(end, streets)
    }
    names = sorted(roads)
    rows = {name: row for row, name in enumerate(names)}
    limits = draw_speed_limits(names, seed, speed_kmh)
    nodes.sort(key=lambda node: _name(node, streets))
    crossings = [node for node in nodes if _degree(node, streets) > 2]
    return RoadMap.build(
        names,
        [_draw_road(*roads[name], streets=streets, block_m=block_m, lanes=lanes) for name in names],
        [lanes * LANE_M] * len(names),
        speed_limits=[limits[name] for name in names],
        successors=[_follow(*roads[name], rows, streets) for name in names],
        junctions=block_m * np.array(crossings or nodes, dtype=np.float64),
    )


def _name(node: tuple[int, int], streets: int) -> str:
    column, row = node
    letters = len(ascii_uppercase)
    first = ascii_uppercase[column // letters] if streets > letters else ""
    return f"{first}{ascii_uppercase[column % letters]}{row}"


def _is_inside(node: tuple[int, int], streets: int) -> bool:
    return 0 <= node[0] < streets and 0 <= node[1] < streets


def _degree(node: tuple[int, int], streets: int) -> int:
    return sum(_is_inside((node[0] + x, node[1] + y), streets) for x, y in STEPS)


def _draw_road(
    start: tuple[int, int], end: tuple[int, int], *, streets: int, block_m: float, lanes: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(2, 2) the middle of the lanes, from the first junction's area to the second's."""
    a, b = block_m * np.array(start, dtype=np.float64), block_m * np.array(end, dtype=np.float64)
    along = (b - a) / block_m
    right = np.array([along[1], -along[0]])
    clear = [lanes * LANE_M + (TURN_RADIUS_M if _degree(node, streets) > 2 else 0.0) for node in (start, end)]
    aside = right * lanes * LANE_M / 2.0
    return np.stack([a + clear[0] * along + aside, b - clear[1] * along + aside])


def _follow(start: tuple[int, int], end: tuple[int, int], rows: dict[str, int], streets: int) -> list[int]:
    nodes = [(end[0] + x, end[1] + y) for x, y in STEPS]
    onward = [node for node in nodes if _is_inside(node, streets) and node != start]
    return sorted(rows[_name(end, streets) + _name(node, streets)] for node in onward)

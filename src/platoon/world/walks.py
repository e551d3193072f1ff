"""Random walks over roads that lead on for ever: the routes of a fleet that circulates."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap

ROUTE_FULL_M = 4_000.0
"""A route is lengthened until so much lies ahead, metres."""
FASTEST = 2.0
"""A SUMO driver goes at most this many times the speed limit (speedFactor of the default type)."""
SMALLEST_COMPONENT = 0.2
"""Roads that do not connect with the rest are used from this share of the largest connected part on."""


class Walks:
    """Routes over a road map: never into a dead end, never back unless it must."""

    def __init__(self, road_map: RoadMap, allowed: Bools) -> None:
        self._map = road_map
        self._index = {edge: row for row, edge in enumerate(road_map.edge_ids)}
        onward = [list(s) if allowed[row] else [] for row, s in enumerate(road_map.successors)]
        self._alive = find_circulating(onward, road_map.lengths)
        self._next = [[s for s in found if self._alive[s]] for found in onward]
        self._starts = np.flatnonzero(self._alive)
        self._fastest = FASTEST * float(np.nanmax(road_map.speed_limits))

    @property
    def possible(self) -> bool:
        """Some road leads on for ever."""
        return bool(self._alive.any())

    def leads_on(self, road: int) -> bool:
        """Whether a walk can go on from ``road`` for ever."""
        return bool(self._alive[road])

    def row_of(self, edge: str) -> int:
        """Row of a road by its id."""
        return self._index[edge]

    def draw_start(self, rng: np.random.Generator) -> int:
        """A road, drawn in proportion to its length."""
        ends = np.cumsum(self._map.lengths[self._starts])
        drawn = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
        return int(self._starts[min(drawn, len(ends) - 1)])

    def extend(self, roads: Sequence[int], rng: np.random.Generator) -> list[int]:
        """``roads`` with so many appended that ``ROUTE_FULL_M`` lie beyond the first."""
        walk, ahead = list(roads), self.measure(roads[1:])
        while ahead < ROUTE_FULL_M:
            choices = self._next[walk[-1]]
            walk.append(choices[int(rng.integers(len(choices)))])
            ahead += float(self._map.lengths[walk[-1]])
        return walk

    def measure(self, roads: Sequence[int]) -> float:
        """Metres of these roads."""
        return float(self._map.lengths[list(roads)].sum())

    def least_seconds(self, roads: Sequence[int]) -> int:
        """Whole seconds within which no driver, not even one moved past a jam, gets through these roads."""
        return max(1, int(self.measure(roads) / self._fastest / 2.0))


def find_circulating(onward: list[list[int]], lengths: Floats) -> Bools:
    """(E,) roads in strongly connected parts that are not much smaller than the largest."""
    starts = np.repeat(np.arange(len(onward)), [len(found) for found in onward])
    ends = np.array([road for found in onward for road in found], dtype=np.int64)
    shape = (len(onward), len(onward))
    links = coo_array((np.ones(len(ends)), (starts, ends)), shape=shape).tocsr()
    count, label = connected_components(links, directed=True, connection="strong")
    loops = np.bincount(label[starts[label[starts] == label[ends]]], minlength=count) > 0
    sizes = np.where(loops, np.bincount(label, weights=lengths, minlength=count), 0.0)
    return np.asarray((sizes > 0.0) & (sizes >= SMALLEST_COMPONENT * sizes.max()))[label]

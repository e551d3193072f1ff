"""The road graph as arrays: what can follow each road, by which kind of turn, through which signal.

Edges are rows of the road map (E), with up to S successors each, padded with -1. All of it follows from the map and
never changes.
"""

import numpy as np
from scipy.spatial import cKDTree

from platoon.nouns import Floats, Ints
from platoon.physics.roads import RoadMap

STRAIGHT, LEFT, RIGHT, BACK = range(4)
"""Kinds of turn, by the angle between the end of a road and the start of the next."""
KINDS = 4
NODE_REACH_M = 40.0
"""A road ends at a junction whose middle is at most so far from its last point."""
LINE_M = 5.0
"""A junction is passed so far beyond the stop line at least: who stands there may seem to stand beyond it."""
USUAL_SPEED = 13.9
"""m/s for a road whose limit is not known: 50 km/h."""


class Ways:
    """The graph of a road map. E roads, S successors at most, J junctions."""

    def __init__(self, road_map: RoadMap) -> None:
        self.road_map = road_map
        counts = np.bincount(road_map.sample_edge, minlength=len(road_map.lengths))
        self.first: Ints = np.concatenate([[0], np.cumsum(counts)[:-1]])
        """(E,) row of the first sample of each road."""
        self.last: Ints = self.first + counts - 1
        """(E,) of the last."""
        self._steps: Ints = self.last - self.first
        self.length: Floats = road_map.lengths
        """(E,) metres."""
        self.spacing: Floats = self.length / (counts - 1)
        """(E,) metres between its samples."""
        self.limit: Floats = np.where(road_map.speed_limits > 0, road_map.speed_limits, USUAL_SPEED)
        """(E,) m/s."""
        self.follow: Ints = _pad(road_map.successors)
        """(E, S) successors; -1 where there are no more."""
        self.along: Floats = np.stack(
            [np.cos(road_map.sample_heading), np.sin(road_map.sample_heading)], axis=1
        )
        """(samples, 2) unit vectors in driving direction."""
        self._cos, self._sin = np.cos(road_map.sample_heading), np.sin(road_map.sample_heading)
        self._x, self._y = np.ascontiguousarray(road_map.samples.T)
        self._rise = np.diff(np.stack([self._x, self._y]), axis=1, append=0.0)
        self.kind, self.across = self._find_turns()
        """(E, S) kind of turn; (E, S, 2) metres from the end of the road to the start of the next."""
        self.gap: Floats = np.hypot(self.across[..., 0], self.across[..., 1])
        """(E, S) the same as a distance."""
        self.direction: Floats = self.across / np.maximum(self.gap, 1e-9)[..., None]
        """(E, S, 2) and as a direction: a unit vector; zero where the roads meet."""
        there = self.follow >= 0
        middle = np.where(there, self.gap, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1) / 2
        self.line: Floats = self.length + np.maximum(middle, LINE_M)
        """(E,) metres from the start of the road at which the junction counts as passed: about its middle."""
        self.entry: Floats = self.length[:, None] + self.gap - self.line[:, None]
        """(E, S) metres from there to the start of each successor."""
        self.node, self.axis = self._find_nodes()
        """(E,) junction at the end of the road, -1 where there is none; the street, 0 or 1, that leads to it."""

    def locate(self, edge: Ints, offset_m: Floats) -> tuple[Floats, Ints]:
        """Points (..., 2) on roads ``edge`` (...), ``offset_m`` from their starts, and the nearest samples."""
        steps = np.minimum(np.maximum(offset_m / self.spacing[edge], 0.0), self._steps[edge])
        low = np.minimum(steps.astype(np.int64), self._steps[edge] - 1)
        share = steps - low
        row = self.first[edge] + low
        point = np.empty((*row.shape, 2))
        for column, place in enumerate((self._x, self._y)):
            point[..., column] = place[row] + share * self._rise[column][row]
        return point, row + (share > 0.5)

    def find_samples(self, edge: Ints, offset_m: Floats) -> Ints:
        """Nearest samples of roads ``edge`` (...), ``offset_m`` from their starts."""
        steps = np.rint(offset_m / self.spacing[edge]).astype(np.int64)
        return np.asarray(self.first[edge] + np.minimum(np.maximum(steps, 0), self._steps[edge]))

    def project(self, edge: Ints, guess_m: Floats, points: Floats) -> tuple[Floats, Floats]:
        """Metres from the start of ``edge`` (...), and metres to the left of it, of ``points`` (..., 2).

        The road is taken as straight about the sample nearest to ``guess_m`` (...) from its start; both ends go on
        straight, so that a point before the start lies at a negative offset.
        """
        row = self.find_samples(edge, guess_m)
        away_x, away_y = points[..., 0] - self._x[row], points[..., 1] - self._y[row]
        cos, sin = self._cos[row], self._sin[row]
        offset = self.road_map.sample_offset[row] + away_x * cos + away_y * sin
        return offset, cos * away_y - sin * away_x

    def _find_turns(self) -> tuple[Ints, Floats]:
        after = np.maximum(self.follow, 0)
        out, into = self.along[self.last][:, None], self.along[self.first][after]
        cross = out[..., 0] * into[..., 1] - out[..., 1] * into[..., 0]
        angle = np.arctan2(cross, (out * into).sum(axis=-1))
        kind = np.select(
            [np.abs(angle) < np.pi / 4, np.abs(angle) > 0.85 * np.pi, angle > 0],
            [STRAIGHT, BACK, LEFT],
            RIGHT,
        )
        samples = self.road_map.samples
        return kind, samples[self.first][after] - samples[self.last][:, None]

    def _find_nodes(self) -> tuple[Ints, Ints]:
        """Junction of each road's end, and its street there: 0 for those in line with the first road, 1 across."""
        nodes, ends = self.road_map.junctions, self.road_map.samples[self.last]
        if not len(nodes):
            return np.full(len(ends), -1), np.zeros(len(ends), dtype=np.int64)
        node = np.asarray(cKDTree(nodes).query(ends)[1], dtype=np.int64)
        far = np.hypot(*(ends - nodes[node]).T) > NODE_REACH_M
        unit = self.along[self.last]
        reference = np.zeros((len(nodes), 2))
        reference[node[::-1]] = unit[::-1]
        inline = np.abs((unit * reference[node]).sum(axis=1)) > np.sqrt(0.5)
        return np.where(far, -1, node), np.where(inline, 0, 1)


def _pad(successors: tuple[tuple[int, ...], ...]) -> Ints:
    most = max(1, *(len(found) for found in successors)) if successors else 1
    padded = np.full((len(successors), most), -1)
    for edge, found in enumerate(successors):
        padded[edge, : len(found)] = found
    return padded

"""The road map that world and twin share: directed road segments, projection on them, and line of sight.

A road is a polyline in driving direction with a width. Samples every few metres in a k-d tree answer "where on the
roads is this point" for a whole fleet at once. Line of sight follows one rule for grids and real cities alike: a
sight line must stay on the road area (roads widened by the pavement up to the buildings, joined by shapely). It is
decided once per scene for every sample and RSU, so that a step of the simulation only looks it up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from platoon.nouns import Bools, Floats, Ints

SAMPLE_SPACING_M = 10.0
PAVEMENT_M = 4.0
"""From the edge of the lanes to the buildings; two lanes each way then make streets 20 m wide."""
RASTER_M = 4.0
"""Cell of the coarse picture of the road area that rules out most sight lines before geometry decides."""
HEADING_WEIGHT_M = 8.0
"""How many metres a road in the opposite direction seems farther away, when the heading is known."""
CANDIDATES = 6
SIGHT_SAMPLES = 2_000
"""Road samples at most on which a place's view is estimated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoadMap:
    """Directed roads and their samples. E roads, S samples, J junctions. Build with ``RoadMap.build``."""

    edge_ids: tuple[str, ...]
    """(E,) names of the roads, sorted."""
    polylines: tuple[Floats, ...]
    """(E,) arrays (P, 2), P >= 2: middle of the lanes in driving direction, metres."""
    widths: Floats
    """(E,) width of all lanes of the road, metres."""
    lengths: Floats
    """(E,) metres."""
    speed_limits: Floats
    """(E,) metres per second; NaN where not known."""
    successors: tuple[tuple[int, ...], ...]
    """(E,) roads that can follow each road, as indices."""
    junctions: Floats
    """(J, 2) middles of junctions, metres."""
    samples: Floats
    """(S, 2) points along the roads, metres."""
    sample_edge: Ints
    """(S,) road of each sample."""
    sample_offset: Floats
    """(S,) metres from the start of its road."""
    sample_heading: Floats
    """(S,) driving direction, radians counter-clockwise from east."""
    tree: cKDTree = field(repr=False)
    _remembered: dict[bytes, Any] = field(default_factory=dict, repr=False)
    """Area, its picture and visibility, once computed: world and twin ask for the same."""

    @classmethod
    def build(
        cls,
        edge_ids: Sequence[str],
        polylines: Sequence[Floats],
        widths: Sequence[float],
        *,
        speed_limits: Sequence[float] | None = None,
        successors: Sequence[Sequence[int]] | None = None,
        junctions: Floats | None = None,
        spacing_m: float = SAMPLE_SPACING_M,
    ) -> "RoadMap":
        """A map from polylines; ids must be sorted and unique, every road longer than zero.

        Raises:
            ValueError: no roads, ids out of order, or a polyline without length.
        """
        lines = tuple(_drop_repeats(np.asarray(line, dtype=np.float64)) for line in polylines)
        lengths = np.array([_measure(line)[-1] for line in lines])
        if not lines or list(edge_ids) != sorted(set(edge_ids)):
            raise ValueError("a road map needs at least one road, and unique ids in order")
        if not (lengths > 0).all():
            raise ValueError(f"road {edge_ids[int(np.argmin(lengths))]} has no length")
        parts = [_sample(line, spacing_m) for line in lines]
        samples = np.concatenate([points for points, _, _ in parts])
        counts = [len(points) for points, _, _ in parts]
        return cls(
            edge_ids=tuple(edge_ids),
            polylines=lines,
            widths=np.asarray(widths, dtype=np.float64),
            lengths=lengths,
            speed_limits=np.full(len(lines), np.nan) if speed_limits is None else np.array(speed_limits),
            successors=tuple(tuple(s) for s in successors) if successors else ((),) * len(lines),
            junctions=np.empty((0, 2)) if junctions is None else np.asarray(junctions, dtype=np.float64),
            samples=samples,
            sample_edge=np.repeat(np.arange(len(lines)), counts),
            sample_offset=np.concatenate([offsets for _, offsets, _ in parts]),
            sample_heading=np.concatenate([headings for _, _, headings in parts]),
            tree=cKDTree(samples),
        )

    def __deepcopy__(self, _memo: dict[int, Any]) -> "RoadMap":
        """A map does not change: copies of what drives on it share it."""
        return self

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, largest x and y of the roads, metres."""
        low, high = self.samples.min(axis=0), self.samples.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def nearest(self, points: Floats, headings: Floats | None = None) -> Ints:
        """(N,) index of the sample nearest to each point (N, 2).

        With ``headings`` (N,) in radians (NaN where unknown), roads that lead another way count as farther: the
        two directions of a street lie a few metres apart, closer than a measured position can tell.
        """
        if headings is None:
            return np.asarray(self.tree.query(points)[1], dtype=np.int64)
        count = min(CANDIDATES, len(self.samples))
        found = self.tree.query(points, k=np.arange(1, count + 1))
        distances, rows = np.asarray(found[0]), np.asarray(found[1], dtype=np.int64)
        apart = 1.0 - np.cos(self.sample_heading[rows] - np.asarray(headings)[:, None])
        best = np.argmin(distances + 0.5 * HEADING_WEIGHT_M * np.nan_to_num(apart), axis=1)
        chosen: Ints = rows[np.arange(len(rows)), best]
        return chosen

    def project(self, points: Floats, headings: Floats | None = None) -> tuple[Floats, Ints, Floats]:
        """Nearest points on the roads: (N, 2) positions, (N,) sample indices, (N,) headings in radians.

        The road is taken as straight around a sample, and the foot of the perpendicular kept within one spacing
        of it, so the result lies on a straight road exactly and within centimetres of a bend.
        """
        rows = self.nearest(points, headings)
        heading = self.sample_heading[rows]
        along = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        shift = np.einsum("ni,ni->n", points - self.samples[rows], along)
        offset, length = self.sample_offset[rows], self.lengths[self.sample_edge[rows]]
        shift = np.clip(np.clip(shift, -SAMPLE_SPACING_M, SAMPLE_SPACING_M), -offset, length - offset)
        return self.samples[rows] + shift[:, None] * along, rows, heading

    def compute_area(self) -> shapely.Geometry:
        """The road area: roads and turns widened up to the buildings, as one polygon or several; prepared."""
        if b"area" not in self._remembered:
            joined = self._join_roads()
            shapely.prepare(joined)
            self._remembered[b"area"] = joined
        area: shapely.Geometry = self._remembered[b"area"]
        return area

    def _join_roads(self) -> shapely.Geometry:
        lines = [*self.polylines, *self._compute_turns()]
        reach = np.concatenate([self._reach(), self._turn_reach()])
        shapes = [shapely.LineString(line) for line in lines]
        return shapely.union_all(shapely.buffer(shapes, reach, cap_style="square", join_style="mitre"))

    def _reach(self) -> Floats:
        return self.widths / 2.0 + PAVEMENT_M

    def _turns(self) -> list[tuple[int, int]]:
        pairs = [(edge, follower) for edge, followers in enumerate(self.successors) for follower in followers]
        return [(a, b) for a, b in pairs if not np.array_equal(self.polylines[a][-1], self.polylines[b][0])]

    def _compute_turns(self) -> list[Floats]:
        """Straight lines across junctions, from the end of a road to the start of each that can follow."""
        return [np.stack([self.polylines[a][-1], self.polylines[b][0]]) for a, b in self._turns()]

    def _turn_reach(self) -> Floats:
        reach = self._reach()
        return np.array([min(reach[a], reach[b]) for a, b in self._turns()])

    def visibility(self, rsus: Floats) -> Bools:
        """(S, R) whether each road sample sees each RSU (R, 2): the sight line stays on the road area.

        An RSU that does not stand on the road area (behind a facade) sees nothing.
        """
        places: Floats = np.ascontiguousarray(rsus, dtype=np.float64).reshape(-1, 2)
        key = b"visibility" + places.tobytes()
        if key not in self._remembered:
            self._remembered[key] = self._compute_visibility(places)
        return np.asarray(self._remembered[key]).copy()

    def seen_share(self, places: Floats) -> Floats:
        """(P,) share of the roads that is in sight of each place (P, 2), estimated on ``SIGHT_SAMPLES``."""
        spread = np.linspace(0, len(self.samples) - 1, min(SIGHT_SAMPLES, len(self.samples)))
        points = self.samples[np.unique(spread.round().astype(np.int64))]
        return np.array([self.sees(points, np.broadcast_to(place, points.shape)).mean() for place in places])

    def _compute_visibility(self, rsus: Floats) -> Bools:
        columns = [self.sees(self.samples, np.broadcast_to(rsu, self.samples.shape)) for rsu in rsus]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self.samples), 0), dtype=np.bool_)

    def sees(self, points: Floats, others: Floats) -> Bools:
        """(P,) whether each of the points (P, 2) sees the one of the others (P, 2) in its row: the sight line stays
        on the road area. A point off the road area sees nothing."""
        visible = np.zeros(len(points), dtype=np.bool_)
        rows = self._compute_picture().find_possible(points, others)
        lines = shapely.linestrings(np.stack([points[rows], others[rows]], axis=1))
        visible[rows] = shapely.covers(self.compute_area(), lines)
        return visible

    def _compute_picture(self) -> "_Raster":
        if b"picture" not in self._remembered:
            lines = [*self.polylines, *self._compute_turns()]
            self._remembered[b"picture"] = _Raster(lines, float(self._reach().max()), self.compute_area())
        picture: _Raster = self._remembered[b"picture"]
        return picture


class _Raster:
    """A coarse, generous picture of the road area: it may call buildings road, never road building."""

    def __init__(self, lines: Sequence[Floats], reach_m: float, area: shapely.Geometry) -> None:
        points = shapely.get_coordinates(
            shapely.segmentize([shapely.LineString(line) for line in lines], RASTER_M / 2.0)
        )
        edge = shapely.get_coordinates(shapely.segmentize(shapely.boundary(area), RASTER_M / 2.0))
        self.origin = np.minimum(points.min(axis=0) - 2.0 * reach_m, edge.min(axis=0))
        shape = self._cells(np.maximum(points.max(axis=0) + 2.0 * reach_m, edge.max(axis=0))) + 1
        off = np.ones(tuple(shape), dtype=np.bool_)
        off[tuple(self._cells(points).T)] = False
        # A point on the road area lies within reach * sqrt(2) (a square cap's corner) of a line; both it and the
        # line's nearest point stand up to a cell's diagonal away from where their cells' middles are.
        corner = reach_m * np.sqrt(2.0) / RASTER_M + np.sqrt(2.0)
        generous = corner + 1.0
        away = distance_transform_edt(off)
        # But for the points of sharp bends, mitred farther out: what lies in them is near their own edges.
        edges = self._cells(edge)
        beyond = edges[away[tuple(edges.T)] > corner]
        if len(beyond):
            off[tuple(beyond.T)] = False
            away = distance_transform_edt(off)
        self.road = away <= generous

    def _cells(self, points: Floats) -> Ints:
        return np.asarray(np.floor((points - self.origin) / RASTER_M), dtype=np.int64)

    def find_possible(self, points: Floats, others: Floats) -> Ints:
        """Rows of the points whose sight line to the other in their row meets no building in the picture, point by
        point."""
        rows = np.arange(len(points))
        last = np.array(self.road.shape) - 1
        for level in range(1, 7):
            shares = np.arange(1, 2**level, 2) / 2**level
            steps = shares[:, None] * (others[rows] - points[rows])[:, None, :]
            cells = np.minimum(np.maximum(self._cells(points[rows][:, None, :] + steps), 0), last)
            rows = rows[self.road[cells[..., 0], cells[..., 1]].all(axis=1)]
        return rows


def _drop_repeats(line: Floats) -> Floats:
    """The polyline without points that repeat the one before: they have no direction."""
    moves = (np.diff(line, axis=0) != 0.0).any(axis=1)
    kept: Floats = line[np.concatenate([[True], moves])]
    return kept


def _measure(line: Floats) -> Floats:
    """(P,) metres along a polyline to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])


def _sample(line: Floats, spacing_m: float) -> tuple[Floats, Floats, Floats]:
    """Points, offsets and headings at even steps of at most ``spacing_m``, both ends included."""
    along = _measure(line)
    count = max(2, int(np.ceil(along[-1] / spacing_m)) + 1)
    offsets = np.linspace(0.0, along[-1], count)
    points = np.stack([np.interp(offsets, along, line[:, axis]) for axis in range(2)], axis=1)
    piece = np.clip(np.searchsorted(along, offsets, side="right") - 1, 0, len(line) - 2)
    step = np.diff(line, axis=0)[piece]
    return points, offsets, np.arctan2(step[:, 1], step[:, 0])

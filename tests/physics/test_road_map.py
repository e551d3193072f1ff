"""The road map: projection, line of sight, and what it refuses."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from platoon.nouns import Floats
from platoon.physics.roads import PAVEMENT_M, RoadMap


def make_cross(length: float = 300.0) -> RoadMap:
    """Two streets that cross in the origin, each way 6.4 m wide, as eight roads that end at the junction."""
    ids, lines, heads = [], [], {}
    for name, (dx, dy) in {"e": (1, 0), "n": (0, 1), "s": (0, -1), "w": (-1, 0)}.items():
        along, right = np.array([dx, dy], dtype=float), np.array([dy, -dx], dtype=float)
        ids += [f"from_{name}", f"to_{name}"]
        lines += [
            np.array([length * along - 3.2 * right, 10 * along - 3.2 * right]),
            np.array([10 * along + 3.2 * right, length * along + 3.2 * right]),
        ]
        heads[name] = along
    order = np.argsort(ids)
    names = [ids[i] for i in order]
    leave = [i for i, name in enumerate(names) if name.startswith("to_")]
    return RoadMap.build(
        names,
        [lines[i] for i in order],
        [6.4] * 8,
        successors=[leave if name.startswith("from_") else [] for name in names],
        junctions=np.zeros((1, 2)),
    )


def make_line(*points: tuple[float, float], width: float = 6.0) -> RoadMap:
    return RoadMap.build(["a"], [np.array(points, dtype=float)], [width])


@settings(deadline=None)
@given(st.floats(-50, 350), st.floats(-30, 30))
def test_projection_on_a_straight_road_is_its_nearest_point(x: float, y: float) -> None:
    road = make_line((0.0, 0.0), (300.0, 0.0))
    where, _, heading = road.project(np.array([[x, y]]))
    assert where[0] == pytest.approx([min(max(x, 0.0), 300.0), 0.0], abs=1e-9)
    assert heading[0] == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-320, 320), st.floats(-320, 320)), min_size=1, max_size=20))
def test_projection_twice_is_projection_once(points: list[tuple[float, float]]) -> None:
    roads = make_cross()
    once, _, heading = roads.project(np.array(points))
    twice, _, _ = roads.project(once, heading)
    assert np.allclose(once, twice, atol=1e-6)
    truth = shapely.distance(
        shapely.points(once), shapely.union_all([shapely.LineString(line) for line in roads.polylines])
    )
    assert truth.max() < 1e-9


def test_heading_tells_the_two_directions_of_a_street_apart() -> None:
    roads = make_cross()
    point = np.array([[150.0, 1.0], [150.0, 1.0], [150.0, 1.0]])
    rows = roads.nearest(point, np.array([0.0, np.pi, np.nan]))
    assert [roads.edge_ids[roads.sample_edge[row]] for row in rows] == ["to_e", "from_e", "from_e"]


def test_bends_have_their_own_heading() -> None:
    road = make_line((0.0, 0.0), (100.0, 0.0), (100.0, 100.0))
    where, _, heading = road.project(np.array([[50.0, 5.0], [95.0, 50.0]]))
    assert where == pytest.approx(np.array([[50.0, 0.0], [100.0, 50.0]]))
    assert heading == pytest.approx([0.0, np.pi / 2])


def test_an_rsu_at_the_corner_sees_along_both_streets_and_one_in_a_street_sees_only_that() -> None:
    roads = make_cross()
    sees = roads.visibility(np.array([[8.0, 8.0], [150.0, 8.0]]))
    assert sees[:, 0].all()
    beyond = np.abs(roads.samples).max(axis=1) > 20
    on_north_south = np.abs(roads.samples[:, 0]) < 5
    assert sees[~on_north_south, 1].all()
    assert not sees[on_north_south & beyond, 1].any()


def test_an_rsu_behind_the_facade_sees_nothing() -> None:
    assert not make_cross().visibility(np.array([[60.0, 60.0]])).any()


@settings(deadline=None)
@given(st.integers(0, 10_000))
@example(1079)  # the point of a sharp bend reaches far beyond the street's width
@example(9689)
def test_the_coarse_picture_never_hides_what_geometry_sees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [np.cumsum(rng.normal(0, 40, (4, 2)), axis=0) for _ in range(6)]
    roads = RoadMap.build([f"r{i}" for i in range(6)], lines, rng.uniform(3, 20, 6).tolist())
    rsus = roads.samples[rng.integers(len(roads.samples), size=2)] + rng.normal(0, 2, (2, 2))
    area = roads.compute_area()
    pairs = np.stack(np.broadcast_arrays(roads.samples[:, None, :], rsus[None, :, :]), axis=2)
    assert (roads.visibility(rsus) == shapely.covers(area, shapely.linestrings(pairs))).all()


def test_a_street_is_as_wide_as_its_lanes_and_pavement() -> None:
    road = make_line((0.0, 0.0), (100.0, 0.0), width=6.0)
    area = road.compute_area()
    assert area.bounds == pytest.approx((-7.0, -3 - PAVEMENT_M, 107.0, 3 + PAVEMENT_M))
    assert road.bounds == (0.0, 0.0, 100.0, 0.0)


def test_repeated_points_do_not_turn_the_heading() -> None:
    road = make_line((0.0, 0.0), (0.0, 0.0), (0.0, 50.0), (0.0, 50.0))
    assert road.sample_heading == pytest.approx(np.pi / 2)


def test_lengths_and_offsets() -> None:
    road = make_line((0.0, 0.0), (30.0, 40.0), (30.0, 140.0))
    assert road.lengths.tolist() == [150.0]
    assert road.sample_offset[[0, -1]].tolist() == [0.0, 150.0]
    assert np.diff(road.sample_offset).max() <= 10.0


@pytest.mark.parametrize(
    ("ids", "lines", "message"),
    [
        ([], [], "at least one road"),
        (["b", "a"], [[[0, 0], [1, 0]], [[0, 0], [0, 1]]], "in order"),
        (["a", "a"], [[[0, 0], [1, 0]], [[0, 0], [0, 1]]], "in order"),
        (["a"], [[[2, 2], [2, 2]]], "road a has no length"),
    ],
)
def test_invalid_roads(ids: list[str], lines: list[Floats], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoadMap.build(ids, lines, [5.0] * len(ids))

"""The benchmark of the twin: a part measured alone replaces its own rows only; recordings keep their map."""

import numpy as np

from bench import twin, twin_world
from platoon.physics.roads import RoadMap


def make_row(name, value):
    return {"name": name, "value": value, "unit": "m", "spread": 0.0, "peer": None, "peer_value": None}


def test_a_part_replaces_its_rows_and_leaves_the_others():
    before = [make_row("a", 1.0), make_row("b", 2.0)]
    now = [make_row("b", 3.0), make_row("c", 4.0)]
    assert twin.merge(before, now) == [make_row("a", 1.0), *now]


def test_a_road_map_comes_back_from_a_recording():
    lines = [np.array([[0.0, 0.0], [50.0, 5.0], [90.0, 0.0]]), np.array([[90.0, 0.0], [90.0, 70.0]])]
    roads = RoadMap.build(["a", "b"], lines, [3.2, 6.4], speed_limits=[8.0, 14.0], successors=[[1], []])
    back = twin_world._read_map(twin_world._write_map(roads))
    assert back.edge_ids == roads.edge_ids
    assert back.successors == roads.successors
    for name in (
        "samples",
        "sample_edge",
        "sample_heading",
        "widths",
        "lengths",
        "speed_limits",
        "junctions",
    ):
        assert np.array_equal(getattr(back, name), getattr(roads, name))

"""Driving distances: one-way streets count."""

import numpy as np

from platoon.physics.roads import RoadMap
from platoon.physics.routes import compute_driving_distances

CORNERS = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)]


def make_ring(closed=True):
    """Four one-way roads around a square, counter-clockwise."""
    lines = [np.array([CORNERS[i], CORNERS[(i + 1) % 4]]) for i in range(4)]
    after = [[1], [2], [3], [0] if closed else []]
    return RoadMap.build(list("abcd"), lines, [6.0] * 4, successors=after)


def test_around_the_block():
    places = np.array([[60.0, 0.0], [50.0, 0.0], [40.0, 0.0], [100.0, 50.0], [0.0, 50.0]])
    found = compute_driving_distances(make_ring(), np.array([50.0, 0.0]), places)
    assert np.allclose(found, [10, 0, 390, 100, 300])


def test_where_no_way_leads():
    found = compute_driving_distances(
        make_ring(closed=False), np.array([50.0, 0.0]), np.array([[40.0, 0.0], [0.0, 50.0]])
    )
    assert found[0] == np.inf
    assert found[1] == 300


def test_points_beside_the_road_are_moved_to_it():
    found = compute_driving_distances(make_ring(), np.array([50.0, -3.0]), np.array([[70.0, -5.0]]))
    assert np.allclose(found, [20])

"""Where the fleet will be: what every forecast of links and finishing stands on.

A vehicle's future is carried as a few weighted *nodes*, each a path of its own over the moments that are asked
for: whether it stops at the light or turns off limits a link forecast more than the channel model does, and a mean
of places is often no place. Only the vehicles that are asked for are foreseen, so that a fleet of which few are
in coverage costs what those few cost.
"""

from dataclasses import dataclass

import numpy as np

from platoon.nouns import Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.twin.filter import Tracks, predict_positions

HEADING_SPEED = 1.5
"""m/s below which the filter's velocity says nothing about the direction of driving."""
NODES: Floats = np.array([-1.7320508075688772, 0.0, 1.7320508075688772])
"""Gauss-Hermite nodes of a standard normal (3 points; numpy.polynomial.hermite_e), along the road."""
WEIGHTS: Floats = np.array([1 / 6, 2 / 3, 1 / 6])


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the vehicles asked for (M) will be at T moments, as P weighted paths each."""

    mean: Floats
    """(T, M, 2) the one position that is announced, metres."""
    spread: Floats
    """(T, M) standard deviation about it, per axis, metres."""
    nodes: Floats
    """(T, P, M, 2) metres; node p of one vehicle is one path through all moments."""
    rows: Ints
    """(T, P, M) nearest road sample of each node."""
    weights: Floats
    """(P, M) probability of each path; a vehicle's sum to one."""


def find_headings(velocity: Floats) -> Floats:
    """(N,) radians of velocities (N, 2); NaN where too slow to tell."""
    vx, vy = velocity.T
    return np.where(np.hypot(vx, vy) >= HEADING_SPEED, np.arctan2(vy, vx), np.nan)


def foresee_projected(road_map: RoadMap, tracks: Tracks, who: Ints, ahead_s: Floats) -> Places:
    """DTB-FL 4.2.1: the filter's forecasts, projected on the nearest road, of vehicles ``who`` (M,).

    ``ahead_s`` (T,) seconds. The nodes lie along the road, behind, at and ahead of the mean.
    """
    own = tracks.take(who)
    free, covariance = predict_positions(own, ahead_s)
    headings = np.broadcast_to(find_headings(own.velocity), free.shape[:2]).ravel()
    mean, row, heading = road_map.project(free.reshape(-1, 2), headings)
    mean, row, heading = (
        mean.reshape(free.shape),
        row.reshape(free.shape[:2]),
        heading.reshape(free.shape[:2]),
    )
    spread = np.sqrt(np.trace(covariance, axis1=2, axis2=3) / 2)
    along = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * spread[..., None]
    nodes = mean[:, None] + NODES[:, None, None] * along[:, None]
    rows = np.repeat(row[:, None], len(NODES), axis=1)
    aside = nodes[:, [0, 2]]
    rows[:, [0, 2]] = road_map.nearest(aside.reshape(-1, 2)).reshape(aside.shape[:-1])
    weights = np.broadcast_to(WEIGHTS[:, None], (len(WEIGHTS), len(who)))
    return Places(mean=mean, spread=spread, nodes=nodes, rows=rows, weights=weights)

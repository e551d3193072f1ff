"""Where the fleet will be: what every forecast of links and finishing stands on.

A vehicle's future is carried as a few weighted *nodes*, each a path of its own over the moments that are asked
for: whether it stops at the light or turns off limits a link forecast more than the channel model does, and a mean
of places is often no place. Only the vehicles that are asked for are foreseen, so that a fleet of which few are
in coverage costs what those few cost.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from platoon.nouns import Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.scenario import Twin
from platoon.twin.filter import VELOCITY_MEMORY_S, Tracks, predict_positions
from platoon.twin.matching import find_headings, take
from platoon.twin.particles import drive, throw_dice
from platoon.twin.traffic import Traffic
from platoon.twin.ways import Ways

MEDIAN_PASSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the vehicles asked for (M) will be at T moments, as P weighted paths each."""

    nodes: Floats
    """(T, P, M, 2) metres; node p of one vehicle is one path through all moments."""
    rows: Ints
    """(T, P, M) nearest road sample of each node."""
    weights: Floats
    """(P, M) probability of each path; a vehicle's sum to one."""

    def at(self, moment: int) -> "Places":
        """The same of one moment alone."""
        return Places(nodes=self.nodes[[moment]], rows=self.rows[[moment]], weights=self.weights)

    @property
    def mean(self) -> Floats:
        """(T, M, 2) metres: what is announced for every moment."""
        return np.stack([self.find_position(moment) for moment in range(len(self.nodes))])

    def find_position(self, moment: int) -> Floats:
        """(M, 2) metres: the one position that is announced for a moment, the node of the least expected distance.

        One of the nodes, so that what is announced is a place where the vehicle can be.
        """
        nodes = self.nodes[moment]
        away = nodes - find_geometric_median(nodes, self.weights)
        nearest = (away**2).sum(axis=-1).argmin(axis=0)
        return np.asarray(nodes[nearest, np.arange(len(nearest))])

    def find_spread(self, moment: int, position: Floats) -> Floats:
        """(M,) standard deviation per axis about the announced ``position`` (M, 2), metres."""
        away = self.nodes[moment] - position
        return np.asarray(np.sqrt((self.weights * (away**2).sum(axis=-1)).sum(axis=0) / 2))


def find_geometric_median(points: Floats, weights: Floats) -> Floats:
    """(M, 2) of ``points`` (P, M, 2), ``weights`` (P, M): the place of the least mean distance (Weiszfeld 1937).

    A forecast is marked by its distance, and a mean of places half of which lie round the corner is far from all.
    """
    middle: Floats = (weights[..., None] * points).sum(axis=0)
    for _ in range(MEDIAN_PASSES):
        away = points - middle
        pull = weights / np.maximum(np.sqrt((away**2).sum(axis=-1)), 1.0)
        middle = (pull[..., None] * points).sum(axis=0) / pull.sum(axis=0)[..., None]
    return middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be foreseen, and what is known."""

    traffic: Traffic
    tracks: Tracks
    who: Ints
    """(M,) rows of the fleet; all known to ``tracks``."""
    ahead_s: Floats
    """(T,) seconds after ``tracks.at``, ascending."""


class Foresight:
    """How positions are foreseen: the scenario's choice, and the map that it needs."""

    def __init__(self, settings: Twin, road_map: RoadMap) -> None:
        self.ways = Ways(road_map)
        self.switch_s = settings.position_switch_s
        self.dice = throw_dice(settings.particles)
        self.quantiles: Floats = ndtri((np.arange(settings.particles) + 0.5) / settings.particles)
        """(P,) of a standard normal: places along the road that stand for a projected forecast."""
        self._method = POSITION_FORECASTS[settings.position_forecast]

    def foresee(self, asked: Asked) -> Places:
        """Where the vehicles that are asked for will be."""
        return self._method(self, asked)


PositionForecast = Callable[[Foresight, Asked], Places]


def by_particles(foresight: Foresight, asked: Asked) -> Places:
    """The filter on the road until ``switch_s``, particles that drive along the road graph beyond it."""
    return _switch(foresight, asked, VELOCITY_MEMORY_S, foresight.switch_s)


def as_written(foresight: Foresight, asked: Asked) -> Places:
    """DTB-FL 4.2.1: constant velocity, projected on the nearest road, to 30 s; map matching with turns beyond."""
    return _switch(foresight, asked, math.inf, math.nextafter(30.0, math.inf))


def by_projection(foresight: Foresight, asked: Asked) -> Places:
    """The filter's forecasts on the nearest road, at every horizon."""
    return _project(foresight, asked, asked.ahead_s, VELOCITY_MEMORY_S)


def by_constant_velocity(foresight: Foresight, asked: Asked) -> Places:
    """As it drives now, on the nearest road, at every horizon."""
    return _project(foresight, asked, asked.ahead_s, math.inf)


def by_standing_still(foresight: Foresight, asked: Asked) -> Places:
    """Where it is now, at every horizon."""
    return _project(foresight, asked, np.zeros(len(asked.ahead_s)), math.inf)


POSITION_FORECASTS: dict[str, PositionForecast] = {
    "particles": by_particles,
    "as_written": as_written,
    "projected": by_projection,
    "constant_velocity": by_constant_velocity,
    "stand_still": by_standing_still,
}


def _project(foresight: Foresight, asked: Asked, ahead_s: Floats, memory_s: float) -> Places:
    """The filter's forecasts, projected on the nearest road, ``ahead_s`` (T,) seconds on.

    ``memory_s`` is that of the velocity. The nodes lie along the road, from behind to ahead.
    """
    own, road_map = asked.tracks.take(asked.who), foresight.ways.road_map
    free, covariance = predict_positions(own, ahead_s, memory_s)
    headings = np.broadcast_to(find_headings(own.velocity), free.shape[:2]).ravel()
    mean, _, heading = road_map.project(free.reshape(-1, 2), headings)
    spread = np.sqrt(np.trace(covariance, axis1=2, axis2=3) / 2)
    along = np.stack([np.cos(heading), np.sin(heading)], axis=-1).reshape(free.shape) * spread[..., None]
    nodes = mean.reshape(free.shape)[:, None] + foresight.quantiles[:, None, None] * along[:, None]
    rows = road_map.nearest(nodes.reshape(-1, 2)).reshape(nodes.shape[:-1])
    return Places(nodes=nodes, rows=rows, weights=_equal(nodes))


def _switch(foresight: Foresight, asked: Asked, memory_s: float, switch_s: float) -> Places:
    """The projected filter at horizons below ``switch_s``, particles from there on."""
    soon = int(np.searchsorted(asked.ahead_s, switch_s))
    if soon == len(asked.ahead_s):
        return _project(foresight, asked, asked.ahead_s, memory_s)
    far = _drive(foresight, asked, asked.ahead_s[soon:])
    if not soon:
        return far
    near = _project(foresight, asked, asked.ahead_s[:soon], memory_s)
    return Places(
        nodes=np.concatenate([near.nodes, far.nodes]),
        rows=np.concatenate([near.rows, far.rows]),
        weights=far.weights,
    )


def _drive(foresight: Foresight, asked: Asked, ahead_s: Floats) -> Places:
    """Particles as nodes, in the order of their turns and then of the metres that they drive."""
    traffic, dice = asked.traffic, foresight.dice
    own = take(traffic.matches, asked.who)
    driven = drive(foresight.ways, traffic.habits, own, at=asked.tracks.at, ahead_s=ahead_s, dice=dice)
    order = np.argsort(driven.turns + 1e-9 * driven.travelled, axis=0, kind="stable")
    nodes = np.take_along_axis(driven.position, order[None, ..., None], axis=1)
    rows = np.take_along_axis(driven.rows, order[None], axis=1)
    return Places(nodes=nodes, rows=rows, weights=_equal(nodes))


def _equal(nodes: Floats) -> Floats:
    """(P, M) equal weights of nodes (T, P, M, 2)."""
    return np.full(nodes.shape[1:3], 1.0 / nodes.shape[1])

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

from platoon.nouns import SECOND, Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.scenario import Twin
from platoon.twin.filter import VELOCITY_MEMORY_S, Tracks, predict_positions
from platoon.twin.matching import find_headings, take
from platoon.twin.particles import Drive, drive, throw_dice
from platoon.twin.traffic import Traffic
from platoon.twin.ways import Ways

PATHS = 4
"""Paths that stand for a vehicle's future, equally probable."""
NODES: Floats = np.array([-1.37, -0.35, 0.35, 1.37])
"""Standard deviations from the mean at which as many places along the road stand for a normal distribution: about
the means of its quarters, and with its variance."""
FASTEST = 1.3
"""A vehicle drives at most this many times the limit: particles are for those who so reach a junction."""
MEDIAN_PASSES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the vehicles asked for (M) will be at T moments, as P weighted paths each."""

    mean: Floats
    """(T, M, 2) the one position that is announced: that of the least expected distance, metres."""
    spread: Floats
    """(T, M) standard deviation about it, per axis, metres."""
    nodes: Floats
    """(T, P, M, 2) metres; node p of one vehicle is one path through all moments."""
    rows: Ints
    """(T, P, M) nearest road sample of each node."""
    weights: Floats
    """(P, M) probability of each path; a vehicle's sum to one."""


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
        self.few_dice = throw_dice(PATHS)
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
    return _switch(foresight, asked, math.inf, 30.0)


def by_projection(foresight: Foresight, asked: Asked) -> Places:
    """The filter's forecasts on the nearest road, at every horizon."""
    return _project(foresight.ways.road_map, asked, asked.ahead_s, VELOCITY_MEMORY_S)


def by_constant_velocity(foresight: Foresight, asked: Asked) -> Places:
    """As it drives now, on the nearest road, at every horizon."""
    return _project(foresight.ways.road_map, asked, asked.ahead_s, math.inf)


def by_standing_still(foresight: Foresight, asked: Asked) -> Places:
    """Where it is now, at every horizon."""
    return _project(foresight.ways.road_map, asked, np.zeros(len(asked.ahead_s)), math.inf)


POSITION_FORECASTS: dict[str, PositionForecast] = {
    "particles": by_particles,
    "as_written": as_written,
    "projected": by_projection,
    "constant_velocity": by_constant_velocity,
    "stand_still": by_standing_still,
}


def _project(road_map: RoadMap, asked: Asked, ahead_s: Floats, memory_s: float) -> Places:
    """The filter's forecasts, projected on the nearest road, ``ahead_s`` (T,) seconds on.

    ``memory_s`` is that of the velocity. The nodes lie along the road, behind and ahead.
    """
    own = asked.tracks.take(asked.who)
    free, covariance = predict_positions(own, ahead_s, memory_s)
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
    rows = np.asarray(road_map.nearest(nodes.reshape(-1, 2))).reshape(nodes.shape[:-1])
    weights = np.full((PATHS, len(asked.who)), 1.0 / PATHS)
    return Places(mean=mean, spread=spread, nodes=nodes, rows=rows, weights=weights)


def _switch(foresight: Foresight, asked: Asked, memory_s: float, switch_s: float) -> Places:
    """The projected filter at horizons up to ``switch_s``, particles beyond."""
    soon = int(np.searchsorted(asked.ahead_s, switch_s, side="right"))
    near = _project(foresight.ways.road_map, asked, asked.ahead_s[:soon], memory_s)
    if soon == len(asked.ahead_s):
        return near
    far = _drive(foresight, asked, asked.ahead_s[soon:])
    return Places(
        mean=np.concatenate([near.mean, far.mean]),
        spread=np.concatenate([near.spread, far.spread]),
        nodes=np.concatenate([near.nodes, far.nodes]),
        rows=np.concatenate([near.rows, far.rows]),
        weights=far.weights,
    )


def _drive(foresight: Foresight, asked: Asked, ahead_s: Floats) -> Places:
    """Particles: many for vehicles that reach a junction within the horizon, ``PATHS`` for the others."""
    ways, habits, at = foresight.ways, asked.traffic.habits, asked.tracks.at
    own = take(asked.traffic.matches, asked.who)
    reach = FASTEST * ways.limit[own.edge] * (ahead_s[-1] + (at - own.at) / SECOND)
    crosses = own.offset + reach >= ways.length[own.edge]
    shape = (len(ahead_s), len(asked.who))
    mean, spread = np.empty((*shape, 2)), np.empty(shape)
    nodes, rows = (
        np.empty((shape[0], PATHS, shape[1], 2)),
        np.empty((shape[0], PATHS, shape[1]), dtype=np.int64),
    )
    for part, dice in ((crosses, foresight.dice), (~crosses, foresight.few_dice)):
        if part.any():
            driven = drive(ways, habits, take(own, np.flatnonzero(part)), at=at, ahead_s=ahead_s, dice=dice)
            found = _summarise(driven)
            mean[:, part], spread[:, part] = found.mean, found.spread
            nodes[:, :, part], rows[:, :, part] = found.nodes, found.rows
    weights = np.full((PATHS, len(asked.who)), 1.0 / PATHS)
    return Places(mean=mean, spread=spread, nodes=nodes, rows=rows, weights=weights)


def _summarise(driven: Drive) -> Places:
    """The particle nearest to their geometric median, and ``PATHS`` of them: every so-manieth by turns and metres.

    Of the particles, so that what is announced is a place where the vehicle can be.
    """
    particles = driven.turns.shape[0]
    order = np.argsort(driven.turns + 1e-9 * driven.travelled[-1], axis=0, kind="stable")
    kept = order[((np.arange(PATHS) + 0.5) * particles / PATHS).astype(np.int64)]
    middle = find_geometric_median(driven.position)
    nearest = ((driven.position - middle[:, None]) ** 2).sum(axis=-1).argmin(axis=1)
    mean = np.take_along_axis(driven.position, nearest[:, None, :, None], axis=1)[:, 0]
    away = driven.position - mean[:, None]
    return Places(
        mean=mean,
        spread=np.sqrt((away**2).sum(axis=-1).mean(axis=1) / 2),
        nodes=np.take_along_axis(driven.position, kept[None, ..., None], axis=1),
        rows=np.take_along_axis(driven.rows, kept[None], axis=1),
        weights=np.full(kept.shape, 1.0 / PATHS),
    )


def find_geometric_median(points: Floats) -> Floats:
    """(T, M, 2) of ``points`` (T, P, M, 2): the place of the least mean distance (Weiszfeld 1937).

    A forecast is marked by its distance, and a mean of places half of which lie round the corner is far from all.
    """
    middle: Floats = points.mean(axis=1)
    for _ in range(MEDIAN_PASSES):
        away = points - middle[:, None]
        weight = 1.0 / np.maximum(np.sqrt((away**2).sum(axis=-1)), 1.0)
        middle = (weight[..., None] * points).sum(axis=1) / weight.sum(axis=1)[..., None]
    return middle

"""Where a vehicle without a track can be, sought from all over the roads: a fix only where one place is left.

Differences of three arrival times are met at two places, and near a line through the RSUs by two that mirror each
other; a lattice of RSUs has many such lines. Candidates are the valleys of the misfit over points all along the
roads, each then refined. One is kept if it lies on a road and within hearing of the RSUs that heard it. The best is
taken as a fix only if the measurements fit it, its error is small, and the next place fits worse by far, the powers
that the RSUs received counted in (with the spread of shadows). Otherwise the vehicle stays unknown, and the next
second tells more.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from platoon.nouns import Bools, Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.twin.filter import Fixes, inverse_2x2
from platoon.twin.localise import Echoes, Instruments, are_plausible, compute_normal, make_fixes

SPACING_M = 75.0
"""Between the points that are tried, at least."""
MOST_POINTS = 4096
VALLEY_M = 150.0
"""Points so near to a candidate are of its valley."""
CANDIDATES = 6
STEPS = 10
LARGEST_STEP_M = 250.0
SAME_M = 40.0
"""Candidates that come to lie so near to each other are one place, and errors allow for more."""
OFF_ROAD_M = 15.0
"""From a road sample to a vehicle at most: half a street, and half the samples' spacing."""
MARGIN = 25.0
"""How much worse the second place must fit: odds of more than 10,000 to one."""
WORST_START_M = 40.0
"""A track starts from no fix by arrival times with a larger error: near an open direction linear errors mislead."""
WORST_POLAR_M = 200.0
"""The same by range and angle, which leave no other place."""
POWER_SIGMA_DB = 10.0
"""Spread of received power about path loss: shadow 4 to 8 dB, and sight told wrongly at corners."""
AT_ONCE = 1024
"""Vehicles that are sought at once, to bound memory."""


class Roads:
    """The roads as a search sees them."""

    def __init__(self, road_map: RoadMap, power_dbm: Floats) -> None:
        """``power_dbm`` (S, R): RSRP expected at every road sample by path loss."""
        self.road_map, self.power_dbm = road_map, power_dbm
        self.points = _thin(road_map.samples)
        """(K, 2) metres."""
        pairs = cKDTree(self.points).query_pairs(VALLEY_M, output_type="ndarray")
        self.near: Bools = np.eye(len(self.points), dtype=np.bool_)
        """(K, K) points of one valley."""
        self.near[pairs[:, 0], pairs[:, 1]] = self.near[pairs[:, 1], pairs[:, 0]] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Places that might be a vehicle's: (M, C) of vehicles M."""

    places: Floats
    """(M, C, 2) metres."""
    covariance: Floats
    """(M, C, 2, 2)"""
    misfit: Floats
    """(M, C) of the measurements of place; infinite where the place cannot be."""
    power_misfit: Floats
    """(M, C) of the received powers."""


def seek(instruments: Instruments, roads: Roads, echoes: Echoes, rsrp_dbm: Floats) -> Fixes:
    """Fixes of vehicles (M) without a track; ``usable`` where one place is left, and then ``whole``."""
    parts = [
        _seek_some(instruments, roads, echoes.take(rows), rsrp_dbm[rows])
        for rows in np.array_split(np.arange(len(rsrp_dbm)), max(1, -(-len(rsrp_dbm) // AT_ONCE)))
    ]
    return Fixes(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Fixes.__slots__}
    )


def _seek_some(instruments: Instruments, roads: Roads, echoes: Echoes, rsrp_dbm: Floats) -> Fixes:
    rows = np.arange(len(rsrp_dbm))
    refined = _refine(instruments, echoes, _start(instruments, roads, echoes))
    found = _judge(instruments, roads, rsrp_dbm, refined)
    best, alone = _decide(found)
    place, spread = found.places[rows, best], found.covariance[rows, best]
    # The place itself took two degrees of freedom, so this is generous; that no other place fits is what decides.
    fits = are_plausible(echoes, found.misfit[rows, best])
    worst = np.where(echoes.ranged > 0.0, WORST_POLAR_M, WORST_START_M)
    small = np.linalg.eigvalsh(spread)[:, -1] <= worst**2
    whole = alone & fits & small & (echoes.count() >= 2)
    fixes = make_fixes(instruments, echoes, place, compute_normal(instruments, echoes, place), whole)
    return replace(fixes, usable=whole)


def _thin(samples: Floats) -> Floats:
    """One sample of every square of ``SPACING_M``, of larger ones where that leaves too many."""
    spacing = SPACING_M
    while True:
        cells = np.floor((samples - samples.min(axis=0)) / spacing).astype(np.int64)
        _, rows = np.unique(cells[:, 0] * 10**6 + cells[:, 1], return_index=True)
        if len(rows) <= MOST_POINTS:
            return np.asarray(samples[np.sort(rows)])
        spacing *= 1.25


def _start(instruments: Instruments, roads: Roads, echoes: Echoes) -> Floats:
    """(M, C, 2) where to start: range and angle give one place; else the deepest valleys along the roads."""
    away = np.stack([np.cos(echoes.angle), np.sin(echoes.angle)], axis=1)
    polar = instruments.rsus[echoes.rsu] + echoes.range_m[:, None] * away
    starts = np.repeat(polar[:, None], CANDIDATES, axis=1)
    lacking = np.flatnonzero(echoes.ranged == 0.0)
    if len(lacking):
        starts[lacking] = _find_valleys(instruments, roads, echoes.take(lacking))
    return starts


def _find_valleys(instruments: Instruments, roads: Roads, echoes: Echoes) -> Floats:
    """The misfit over all points at once, by products of matrices: sum of w (z - d)^2, less the common part."""
    apart: Floats = roads.points[:, None, :] - instruments.rsus
    slant = np.sqrt(np.square(apart).sum(axis=2) + instruments.rise_m**2).T
    weight, arrival = echoes.arrival_weight, echoes.arrival
    weighted = weight * arrival
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    common = weighted.sum(axis=1, keepdims=True) - weight @ slant
    misfit = -2.0 * weighted @ slant + weight @ slant**2 - common**2 / total
    starts = np.empty((len(arrival), CANDIDATES, 2))
    for turn in range(CANDIDATES):
        chosen = np.argmin(misfit, axis=1)
        starts[:, turn] = roads.points[chosen]
        misfit = np.where(roads.near[chosen], np.inf, misfit)
    return starts


def _refine(instruments: Instruments, echoes: Echoes, starts: Floats) -> tuple[Floats, Echoes]:
    """(M * C, 2) places after Gauss-Newton steps of bounded length, and the echoes repeated for each."""
    count = starts.shape[1]
    each = echoes.take(np.repeat(np.arange(len(starts)), count))
    places = starts.reshape(-1, 2)
    ridge = 1e-6 * np.eye(2)
    for _ in range(STEPS):
        normal = compute_normal(instruments, each, places)
        step = np.einsum("mij,mj->mi", inverse_2x2(normal.information + ridge), normal.gradient)
        length = np.maximum(np.hypot(*step.T), 1e-9)
        places = places + step * np.minimum(1.0, LARGEST_STEP_M / length)[:, None]
    return places, each


def _judge(
    instruments: Instruments, roads: Roads, rsrp_dbm: Floats, refined: tuple[Floats, Echoes]
) -> Candidates:
    """How well every candidate explains what was measured, and whether a vehicle can be there at all."""
    places, each = refined
    normal = compute_normal(instruments, each, places)
    covariance = inverse_2x2(normal.information + 1e-6 * np.eye(2))
    spread = np.sqrt(np.maximum(covariance[:, 0, 0] + covariance[:, 1, 1], 0.0))
    distance, rows = roads.road_map.tree.query(places)
    away = np.hypot(*np.moveaxis(places[:, None, :] - instruments.rsus, -1, 0))
    heard = np.repeat(np.isfinite(rsrp_dbm), len(places) // len(rsrp_dbm), axis=0)
    possible = np.asarray(distance) <= OFF_ROAD_M + 3.0 * spread
    possible &= np.where(heard, away, 0.0).max(axis=1) <= instruments.reach_m + 3.0 * spread
    level = np.repeat(rsrp_dbm, len(places) // len(rsrp_dbm), axis=0)
    power = np.where(heard, (level - roads.power_dbm[np.asarray(rows)]) / POWER_SIGMA_DB, 0.0)
    shape = (len(rsrp_dbm), -1)
    return Candidates(
        places=places.reshape(*shape, 2),
        covariance=covariance.reshape(*shape, 2, 2),
        misfit=np.where(possible, normal.misfit, np.inf).reshape(shape),
        power_misfit=np.square(power).sum(axis=1).reshape(shape),
    )


def _decide(found: Candidates) -> tuple[Ints, Bools]:
    """The best candidate of each vehicle (M,), and whether every other place fits worse by ``MARGIN``."""
    total = found.misfit + found.power_misfit
    best = np.argmin(total, axis=1)
    rows = np.arange(len(best))
    apart: Floats = found.places - found.places[rows, best][:, None]
    spread = found.covariance[rows, best]
    radius = np.sqrt(spread[:, 0, 0] + spread[:, 1, 1]).clip(max=WORST_START_M)
    same = np.hypot(apart[..., 0], apart[..., 1]) <= SAME_M + 2.0 * radius[:, None]
    second = np.where(same, np.inf, total).min(axis=1)
    possible = np.isfinite(total[rows, best])
    lead = second - np.where(possible, total[rows, best], 0.0)
    return best, np.asarray(possible & (lead >= MARGIN))

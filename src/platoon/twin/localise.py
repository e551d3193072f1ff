"""From what RSUs measured to position fixes, for a whole fleet at once: TDoA, range and angle, or both.

A vehicle sends once; RSUs note the arrival by their own clocks. When it was sent is unknown, so only differences
count: the common part is taken out of each vehicle's residuals by a weighted mean, which is the least-squares
solution for it. Positions come by Gauss-Newton on all rows together, with 2 x 2 normal equations in closed form. A
vehicle with a track starts at its prediction and is held by its covariance (an iterated extended Kalman filter);
what the measurements alone say is then handed on as a fix with its own covariance, so that nothing counts twice.

Three arrival times leave two solutions. Without a track a fix is therefore sought from all over the roads, and only
taken where no other place explains the measurements (``platoon.twin.search``). Source of the numbers: measured,
docs/twin.md.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from platoon.nouns import Bools, Floats, Ints, Measurements
from platoon.physics.radio import METRES_PER_NS, VEHICLE_HEIGHT_M
from platoon.scenario import Scenario
from platoon.twin.clocks import Clocks, compute_spread
from platoon.twin.filter import Fixes, Tracks, inverse_2x2

ITERATIONS = 8
"""Gauss-Newton steps from a prediction at most, those taken half again included."""
STILL_M = 0.1
"""A vehicle whose last step was shorter has arrived; another would move it by millimetres."""
OPEN_SIGMA_M = 1000.0
"""Stands for the error in a direction that the measurements leave open."""
REFUSED = 1e-4
"""Share of right measurements that the innovation gate refuses."""
LIMITS: Floats = np.concatenate([[0.0], np.asarray(chdtri(np.arange(1, 70), REFUSED))])
"""(70,) squared innovation allowed by degrees of freedom (chi-square)."""


class Instruments:
    """Where the receivers stand, and how well they measure."""

    def __init__(self, scenario: Scenario, rsus: Floats) -> None:
        radio = scenario.radio
        self.rsus = rsus
        """(R, 2) metres."""
        self.rise_m = radio.rsu_height_m - VEHICLE_HEIGHT_M
        self.reach_m = radio.hearing_radius_m
        self.arrival_sigma_m = radio.arrival_sigma_ns * METRES_PER_NS
        self.range_sigma_m = radio.range_sigma_m
        self.angle_sigma = float(np.radians(radio.angle_sigma_deg))
        self.position_sigma_m = scenario.twin.position_sigma_m


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoes:
    """What was measured of some vehicles (M) at one instant, in metres and weights; weight 0: not measured."""

    arrival: Floats
    """(M, R) arrival times less the clocks' errors, metres; 0 where not measured."""
    arrival_weight: Floats
    """(M, R) one over the variance."""
    rsu: Ints
    """(M,) that measured range and angle."""
    range_m: Floats
    """(M,)"""
    angle: Floats
    """(M,) radians."""
    ranged: Floats
    """(M,) 1 where range and angle were measured, else 0."""

    def take(self, rows: Ints | Bools) -> "Echoes":
        """The echoes of some of the vehicles."""
        return Echoes(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def count(self) -> Ints:
        """(M,) degrees of freedom about a prediction: differences of arrivals, and two of range and angle."""
        arrivals = (self.arrival_weight > 0.0).sum(axis=1)
        return np.asarray(np.maximum(arrivals - 1, 0) + 2 * (self.ranged > 0.0), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal equations of some vehicles (M) at assumed places."""

    information: Floats
    """(M, 2, 2) of the position, by the measurements alone, 1/m^2."""
    gradient: Floats
    """(M, 2) information times the step that the measurements ask for, 1/m."""
    misfit: Floats
    """(M,) sum of squared residuals over their variances."""


def take_positions(position: Floats, sigma_m: float) -> Fixes:
    """Fixes from positions (N, 2) that were measured as such, ``sigma_m`` per axis; NaN where not measured."""
    usable = np.asarray(np.isfinite(position).all(axis=1))
    covariance = np.broadcast_to(sigma_m**2 * np.eye(2), (len(position), 2, 2))
    gdop = np.full(len(position), np.sqrt(2.0))
    return Fixes(usable=usable, whole=usable, position=position, covariance=covariance, gdop=gdop)


def collect_echoes(instruments: Instruments, clocks: Clocks, measured: Measurements, rows: Ints) -> Echoes:
    """What counts for places of the vehicles ``rows`` (M,). What is not finite was not measured."""
    arrival = measured.arrival_ns[rows] * METRES_PER_NS - clocks.ahead_m
    there = np.isfinite(arrival)
    variance = instruments.arrival_sigma_m**2 + compute_spread(clocks)
    count = np.maximum(there.sum(axis=1), 1)
    middle = np.where(there, arrival, 0.0).sum(axis=1) / count
    rsu, distance, angle = (
        column[rows] for column in (measured.ranging_rsu, measured.range_m, measured.angle_rad)
    )
    ranged = (rsu >= 0) & (rsu < len(instruments.rsus)) & np.isfinite(distance) & np.isfinite(angle)
    return Echoes(
        arrival=np.where(there, arrival - middle[:, None], 0.0),
        arrival_weight=np.where(there, 1.0 / variance, 0.0),
        rsu=np.where(ranged, rsu, 0),
        range_m=np.where(ranged, distance, 0.0),
        angle=np.where(ranged, angle, 0.0),
        ranged=ranged.astype(np.float64),
    )


def compute_normal(instruments: Instruments, echoes: Echoes, places: Floats) -> Normal:
    """Normal equations of the measurements at assumed places (M, 2)."""
    xx, xy, yy, gx, gy, misfit = _sum_arrivals(instruments, echoes, places)
    if echoes.ranged.any():
        ranged = _sum_ranges(instruments, echoes, places)
        xx, xy, yy, gx, gy, misfit = (
            a + b for a, b in zip((xx, xy, yy, gx, gy, misfit), ranged, strict=True)
        )
    information = np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-2)
    return Normal(information=information, gradient=np.stack([gx, gy], axis=-1), misfit=misfit)


def _sum_arrivals(instruments: Instruments, echoes: Echoes, places: Floats) -> tuple[Floats, ...]:
    """Sums over RSUs of differences in arrival: information xx, xy, yy, gradient x, y, and misfit; each (M,)."""
    # RSUs first: sums over a short last axis are slow.
    weight, arrival = (np.ascontiguousarray(part.T) for part in (echoes.arrival_weight, echoes.arrival))
    dx = places[:, 0] - instruments.rsus[:, 0, None]
    dy = places[:, 1] - instruments.rsus[:, 1, None]
    slant = np.sqrt(dx * dx + dy * dy + instruments.rise_m**2)
    total = np.maximum(weight.sum(axis=0), 1e-12)
    residual, ux, uy = (
        column - (weight * column).sum(axis=0) / total for column in (arrival - slant, dx / slant, dy / slant)
    )
    wx, wy, wr = weight * ux, weight * uy, weight * residual
    products = (wx * ux, wx * uy, wy * uy, wx * residual, wy * residual, wr * residual)
    return tuple(np.asarray(product.sum(axis=0)) for product in products)


def _sum_ranges(instruments: Instruments, echoes: Echoes, places: Floats) -> tuple[Floats, ...]:
    """The same of one range along the line of sight, and one angle across it."""
    dx, dy = (places - instruments.rsus[echoes.rsu]).T
    flat = np.maximum(np.hypot(dx, dy), 1.0)
    slant = np.hypot(flat, instruments.rise_m)
    along = echoes.ranged / instruments.range_sigma_m**2
    across = echoes.ranged / instruments.angle_sigma**2
    short = echoes.range_m - slant
    turn = np.mod(echoes.angle - np.arctan2(dy, dx) + np.pi, 2.0 * np.pi) - np.pi
    ux, uy, tx, ty = dx / slant, dy / slant, -dy / flat**2, dx / flat**2
    return (
        along * ux * ux + across * tx * tx,
        along * ux * uy + across * tx * ty,
        along * uy * uy + across * ty * ty,
        along * ux * short + across * tx * turn,
        along * uy * short + across * ty * turn,
        along * short**2 + across * turn**2,
    )


def follow(
    instruments: Instruments, echoes: Echoes, predicted: Floats, covariance: Floats
) -> tuple[Floats, Normal, Floats]:
    """Iterate from predictions (M, 2) with their covariances (M, 2, 2).

    Returns the places (M, 2), the measurements' normal equations there, and the squared innovation (M,): at the
    optimum, the misfit plus the prediction's share of it.
    """
    held = inverse_2x2(covariance)
    places, moving = predicted.copy(), np.arange(len(predicted))
    base, step, least = places.copy(), np.zeros_like(places), np.full(len(places), np.inf)
    for _ in range(ITERATIONS):
        normal = compute_normal(instruments, echoes.take(moving), places[moving])
        off = (places - predicted)[moving]
        held_back = np.einsum("mij,mj->mi", held[moving], off)
        misfit = normal.misfit + np.einsum("mi,mi->m", off, held_back)
        onward = np.einsum(
            "mij,mj->mi", inverse_2x2(normal.information + held[moving]), normal.gradient - held_back
        )
        # Beside an RSU its angle turns so fast that a whole step can lead astray: then half of it is tried.
        astray = (misfit > least[moving])[:, None]
        base[moving] = np.where(astray, base[moving], places[moving])
        step[moving] = np.where(astray, step[moving] / 2.0, onward)
        least[moving] = np.fmin(least[moving], misfit)
        places[moving] = base[moving] + step[moving]
        moving = moving[np.hypot(*step[moving].T) > STILL_M]
        if not len(moving):
            break
    normal = compute_normal(instruments, echoes, places)
    moved = places - predicted
    return places, normal, normal.misfit + np.einsum("mi,mij,mj->m", moved, held, moved)


def follow_without_worst(
    instruments: Instruments, echoes: Echoes, predicted: Floats, covariance: Floats
) -> tuple[Echoes, Floats]:
    """For vehicles (M) whose innovation is too large: the echoes less the arrival whose absence explains most.

    A reflection or a clock that has jumped falsifies one RSU's times; with it out, the others agree. Returns the
    echoes and the squared innovation (M,) without it.
    """
    count, rsus = echoes.arrival.shape
    each = echoes.take(np.repeat(np.arange(count), rsus))
    without = np.tile(~np.eye(rsus, dtype=np.bool_), (count, 1))
    each = replace(each, arrival_weight=each.arrival_weight * without)
    repeated = [np.repeat(column, rsus, axis=0) for column in (predicted, covariance)]
    _, _, innovation = follow(instruments, each, *repeated)
    innovation = np.where(echoes.arrival_weight > 0.0, innovation.reshape(count, rsus), np.inf)
    best = np.argmin(innovation, axis=1)
    chosen = each.take(np.arange(count) * rsus + best)
    return chosen, innovation[np.arange(count), best]


def make_fixes(
    instruments: Instruments, echoes: Echoes, places: Floats, normal: Normal, whole: Bools
) -> Fixes:
    """What the measurements alone say: the place of least misfit near ``places``, with its covariance."""
    least = 1.0 / OPEN_SIGMA_M**2
    covariance = inverse_2x2(normal.information + least * np.eye(2))
    trace = covariance[:, 0, 0] + covariance[:, 1, 1]
    timed = (echoes.arrival_weight > 0.0).sum(axis=1) > 1
    unit = np.where(timed, instruments.arrival_sigma_m, instruments.range_sigma_m)
    return Fixes(
        usable=echoes.count() > 0,
        whole=whole,
        position=places + np.einsum("mij,mj->mi", covariance, normal.gradient),
        covariance=covariance,
        gdop=np.where(trace < OPEN_SIGMA_M**2 / 4.0, np.sqrt(trace) / unit, np.inf),
    )


def are_plausible(echoes: Echoes, innovation: Floats) -> Bools:
    """(M,) whether a squared innovation is one that chance gives."""
    return np.asarray(innovation <= LIMITS[np.minimum(echoes.count(), len(LIMITS) - 1)])


def localise_known(
    instruments: Instruments, echoes: Echoes, tracks: Tracks, rows: Ints
) -> tuple[Fixes, Bools]:
    """Fixes of vehicles ``rows`` (M,) that have a track, and (M,) which of them agree with it."""
    predicted, covariance = tracks.position[rows], tracks.covariance[rows][:, :2, :2]
    places, normal, innovation = follow(instruments, echoes, predicted, covariance)
    agrees = are_plausible(echoes, innovation)
    failed = np.flatnonzero(~agrees & (echoes.count() > 1))
    if len(failed):
        fewer, left = follow_without_worst(
            instruments, echoes.take(failed), predicted[failed], covariance[failed]
        )
        fits = are_plausible(fewer, left) & (fewer.count() > 0)
        saved = failed[fits]
        weight = echoes.arrival_weight.copy()
        weight[saved] = fewer.arrival_weight[fits]
        echoes = replace(echoes, arrival_weight=weight)
        places[saved], _, _ = follow(instruments, fewer.take(fits), predicted[saved], covariance[saved])
        agrees[saved] = True
        normal = compute_normal(instruments, echoes, places)
    whole = np.zeros(len(rows), dtype=np.bool_)
    return make_fixes(instruments, echoes, places, normal, whole), agrees

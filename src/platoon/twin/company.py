"""Who kept company with whom over the last minute: how far apart vehicles drove, and whether two were one device.

DTB-FL 4.3.4 wants groups that are "co-located or move in an anomalous, coordinated way". Distances are of the
filtered tracks. That two accounts are one device shows in their radio signals better than in their positions: the
shadows that an RSU sees decorrelate within some metres, so two vehicles bumper to bumper are received several dB
apart on average, while one device is received twice with nothing but measurement noise between. Neither can be said
by a vehicle; both are measured.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

EVERY_S = 2.0
"""Seconds between two glimpses."""
GLIMPSES = 30
"""That are kept: a minute."""
LEAST = 5
"""Glimpses of both, at least, before anything is said of two vehicles."""
ONE_PLACE_M = 25.0
"""Farther apart are no candidates for one device: generous to where positions are badly known, since the radio
signal decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """The fleet at one past instant. Rows are vehicles (N), columns RSUs (R). Single precision: it is kept long."""

    at: Instant
    heard: Bools
    """(N,)"""
    position: Floats
    """(N, 2) filtered, metres."""
    snr_db: Floats
    """(N, R) as measured; NaN where not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What some vehicles had to do with each other (M)."""

    vehicles: Ints
    """(M,) whoever was asked about, in that order, then whoever was last seen where one of them was."""
    apart: Floats
    """(M, M) mean metres between two while both were heard; infinite where that was too seldom, or is oneself."""
    unlike_db: Floats
    """(M, M) root mean square of how differently RSUs received two; infinite likewise."""
    roamed: Floats
    """(M,) metres between the farthest places (by x or y) at which a vehicle was heard."""


def remember_sight(
    past: tuple[Glimpse, ...], at: Instant, heard: Bools, position: Floats, snr_db: Floats
) -> tuple[Glimpse, ...]:
    """The past with one more glimpse, if it is time for one."""
    if past and at - past[-1].at < EVERY_S * SECOND:
        return past
    glimpse = Glimpse(
        at=at, heard=heard, position=position.astype(np.float32), snr_db=snr_db.astype(np.float32)
    )
    return (*past, glimpse)[-GLIMPSES:]


def describe_company(past: tuple[Glimpse, ...], vehicles: Ints, since: Instant | None = None) -> Company:
    """The company of these rows over the glimpses, or over those after ``since``."""
    kept = [glimpse for glimpse in past if since is None or glimpse.at > since]
    everybody = _add_neighbours(kept[-1], vehicles) if kept else vehicles
    shape = (len(everybody), len(everybody))
    together, links = np.zeros(shape), np.zeros(shape)
    metres, squares = np.zeros(shape), np.zeros(shape)
    for glimpse in kept:
        heard, place = glimpse.heard[everybody], glimpse.position[everybody].astype(np.float64)
        both = heard[:, None] & heard
        together += both
        gap = place[:, None] - place
        metres += np.where(both, np.hypot(gap[..., 0], gap[..., 1]), 0.0)
        for column in glimpse.snr_db[everybody].T.astype(np.float64):
            difference = np.where(both, column[:, None] - column, np.nan)
            links += np.isfinite(difference)
            squares += np.nan_to_num(difference) ** 2
    enough = (together >= LEAST) & ~np.eye(len(everybody), dtype=np.bool_)
    return Company(
        vehicles=everybody,
        apart=np.where(enough, metres / np.maximum(together, 1), np.inf),
        unlike_db=np.where(enough & (links > 0), np.sqrt(squares / np.maximum(links, 1)), np.inf),
        roamed=_measure_roaming(kept, everybody),
    )


def _add_neighbours(last: Glimpse, vehicles: Ints) -> Ints:
    """``vehicles``, and whoever else was heard where one of them was."""
    rows = np.flatnonzero(last.heard)
    asked = vehicles[last.heard[vehicles]]
    if not len(asked):
        return vehicles
    places = cKDTree(last.position[rows])
    near = [row for place in last.position[asked] for row in places.query_ball_point(place, ONE_PLACE_M)]
    found = set(rows[near].tolist()) - set(vehicles.tolist())
    return np.concatenate([vehicles, np.array(sorted(found), dtype=np.int64)])


def _measure_roaming(past: list[Glimpse], rows: Ints) -> Floats:
    """(M,) the longer side of the box around a vehicle's places."""
    if not past:
        return np.zeros(len(rows))
    places = np.stack(
        [np.where(glimpse.heard[rows, None], glimpse.position[rows], np.nan) for glimpse in past]
    )
    low = np.where(np.isnan(places), np.inf, places).min(axis=0)
    high = np.where(np.isnan(places), -np.inf, places).max(axis=0)
    return np.asarray(np.maximum(high - low, 0.0).max(axis=1), dtype=np.float64)

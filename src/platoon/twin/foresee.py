"""From places to rates: the best RSU at every node of a vehicle's future, and bit/s over the coming seconds.

All arrays of forecasts are over the vehicles asked for (N here; ``places`` says which), not the whole fleet.
"""

import numpy as np
from scipy.special import ndtri

from platoon.nouns import Bools, Floats, Ints
from platoon.physics.radio import MINIMUM_SNR_DB, compute_rate
from platoon.twin.belief import Sight
from platoon.twin.link import DECORRELATION_M, Links, Scene, Service, forecast_best
from platoon.twin.places import Places

LINK_NODES: Floats = np.array(
    [-2.856970013872806, -1.355626179974266, 0.0, 1.355626179974266, 2.856970013872806]
)
"""Gauss-Hermite nodes of a standard normal (5 points; numpy.polynomial.hermite_e)."""
LINK_WEIGHTS: Floats = np.array(
    [0.011257411327720693, 0.222075922005613, 0.5333333333333332, 0.222075922005613, 0.011257411327720693]
)
MANY = 8
"""Places from which on each takes one quantile of the link's lasting error."""
QUANTILES: Floats = ndtri((np.array([0, 4, 2, 6, 1, 5, 3, 7]) + 0.5) / MANY)
"""Of a standard normal; in this order neighbours differ most."""
OVERLAP = 0.4
"""Share of an upload during which another of the cohort at the same RSU uploads too: they begin when training ends,
at different times. Measured 0.2 to 0.6; the predictor of durations learns the rest."""
LASTING = 0.1
"""Share of a link error's variance that stays on a moving vehicle: the rest belongs to places, and passes. Measured
on SUMO traffic: the Brier score falls from .073 at 1 to .058 at 0.1 (5.9 GHz, 8.6 s)."""


def foresee_service(scene: Scene, links: Links, now: Sight, places: Places) -> Service:
    """The best RSU of every vehicle at each of its place nodes. ``now`` and ``places`` are of the same vehicles."""
    moved = np.hypot(places.nodes[..., 0] - now.position[:, 0], places.nodes[..., 1] - now.position[:, 1])
    snr, sigma, support = forecast_best(scene, links, now.deviation, places.rows, moved)
    lasting = LASTING + (1.0 - LASTING) * np.exp(-moved / DECORRELATION_M)
    return Service(
        snr_db=snr,
        lasting_db=sigma * np.sqrt(lasting),
        passing_db=sigma * np.sqrt(1.0 - lasting),
        support=support,
    )


def foresee_rates(scene: Scene, service: Service, weights: Floats) -> tuple[Floats, Floats]:
    """Bit/s (T, Q, N) for the whole bandwidth, 0 out of service, and weights (Q, N) of the Q nodes.

    The part of the link's error that lasts makes nodes of its own: five for each of the few ``weights`` (P, N) of
    places; of many places each takes one of ``MANY`` quantiles, in turn. Over the part that passes the rate is
    averaged.
    """
    places = len(weights)
    if places < MANY:
        nodes = np.tile(LINK_NODES, places)[:, None]
        snr, lasting, passing = (
            np.repeat(part, len(LINK_NODES), axis=1)
            for part in (service.snr_db, service.lasting_db, service.passing_db)
        )
        weights = np.repeat(weights, len(LINK_NODES), axis=0) * np.tile(LINK_WEIGHTS, places)[:, None]
    else:
        nodes = QUANTILES[np.arange(places) % MANY][:, None]
        snr, lasting, passing = service.snr_db, service.lasting_db, service.passing_db
    return scene.expect_rate(snr + nodes * lasting, passing), weights


def rate_of(scene: Scene, snr_db: Floats) -> Floats:
    """Bit/s for the whole bandwidth; 0 below the least usable SNR, whatever the law."""
    return np.where(snr_db >= MINIMUM_SNR_DB, compute_rate(snr_db, scene.bandwidth_hz, scene.law), 0.0)


def find_best_heard(scene: Scene, now: Sight) -> Floats:
    """(N,) best SNR measured now within the service radius, dB, however low; NaN where none is."""
    who = np.flatnonzero(now.heard)
    snr = np.where(scene.in_service[now.rows[who]] & np.isfinite(now.snr_db[who]), now.snr_db[who], -np.inf)
    best = np.full(len(now.heard), np.nan)
    largest = snr.max(axis=1)
    best[who] = np.where(np.isfinite(largest), largest, np.nan)
    return best


def find_best_measured(scene: Scene, now: Sight) -> tuple[Floats, Ints]:
    """Best SNR measured now within the service radius, dB (N,), and its RSU (N,); -inf and -1 where none serves."""
    best, rsu = np.full(len(now.heard), -np.inf), np.full(len(now.heard), -1)
    who = np.flatnonzero(now.heard)
    snr = np.where(scene.in_service[now.rows[who]] & np.isfinite(now.snr_db[who]), now.snr_db[who], -np.inf)
    column = snr.argmax(axis=1)
    largest = snr[np.arange(len(who)), column]
    serves = largest >= MINIMUM_SNR_DB
    best[who[serves]], rsu[who[serves]] = largest[serves], column[serves]
    return best, rsu


def find_measured_rate(scene: Scene, now: Sight) -> tuple[Floats, Ints]:
    """Bit/s by the SINR measured now at the best RSU (N,), for the whole bandwidth, and that RSU (N,); 0 and -1
    where none serves."""
    best, server = find_best_measured(scene, now)
    sinr = now.sinr_db[np.arange(len(server)), np.maximum(server, 0)]
    # An RSU that measured a power but no SINR counts as undisturbed.
    return rate_of(scene, np.where(server < 0, -np.inf, np.where(np.isfinite(sinr), sinr, best))), server


def expect_sharers(edge_server: Ints, rsus: int, cohort: int) -> Floats:
    """(N,) expected number of uploads that share the RSU of a chosen vehicle, itself included.

    The other K - 1 of the cohort spread over the RSUs as the fleet in service does, and upload at the same time
    for ``OVERLAP`` of it.
    """
    served = edge_server >= 0
    count = np.bincount(edge_server[served], minlength=rsus)
    share = count / max(int(count.sum()), 1)
    return 1.0 + OVERLAP * (cohort - 1) * np.where(served, share[edge_server], 1.0 / rsus)


def expect_rate(times: Floats, rate: Floats, weights: Floats, at_s: Floats) -> Floats:
    """Mean over the nodes of ``rate`` (T, Q, N), (N,) bit/s at ``at_s`` (N,) seconds, linear in ``times``.

    ``weights`` (Q, N) of the nodes.
    """
    mean = np.einsum("tqn,qn->tn", rate, weights)
    after = np.clip(np.searchsorted(times, at_s), 1, len(times) - 1)
    share = np.clip((at_s - times[after - 1]) / (times[after] - times[after - 1]), 0.0, 1.0)
    columns = np.arange(len(at_s))
    low, high = mean[after - 1, columns], mean[after, columns]
    return np.asarray(low + share * (high - low))


def would_finish(start_s: Floats, rate: Floats, bits: float, horizon_s: float) -> Bools:
    """(N,) whether the update arrives in time if the present ``rate`` (N,) stays: the forecast to beat."""
    with np.errstate(divide="ignore"):
        return start_s + bits / rate <= horizon_s

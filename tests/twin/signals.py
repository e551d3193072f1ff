"""What RSUs would measure of vehicles at known places: the twin's tests know no world."""

from dataclasses import replace

import numpy as np

from platoon.nouns import Measurements
from platoon.physics.radio import METRES_PER_NS, compute_cqi
from platoon.rng import stream


def make_signals(scenario, scene, at, places, seed, *, arrivals=True, ranges=True, heard=None):
    """Measurements of vehicles at ``places`` (N, 2) with the scenario's noise; all are heard by all unless told."""
    rng = stream(seed, "signals", at)
    radio, shape = scenario.radio, (len(places), len(scene.rsus))
    heard = np.ones(shape, dtype=bool) if heard is None else heard
    away = places[:, None, :] - scene.rsus
    slant = np.hypot(np.hypot(away[..., 0], away[..., 1]), radio.rsu_height_m - 1.5)
    snr = scene.prior[scene.road_map.nearest(places)] + rng.normal(0, 4.0, shape)
    nothing = Measurements.nothing(at, *shape)
    sent, noise = rng.uniform(0, 1e6, (shape[0], 1)), rng.normal(0, radio.arrival_sigma_ns, shape)
    range_noise, angle_noise = rng.normal(0, 1, (2, shape[0]))
    signals = replace(
        nothing,
        rsrp_dbm=np.where(heard, snr + scene.noise_dbm, np.nan),
        sinr_db=np.where(heard, snr, np.nan),
        cqi=compute_cqi(np.where(heard, snr, np.nan)),
    )
    if arrivals:
        signals = replace(signals, arrival_ns=np.where(heard, sent + slant / METRES_PER_NS + noise, np.nan))
    if ranges:
        rsu = np.argmax(np.where(heard, snr, -np.inf), axis=1)
        rows, some = np.arange(shape[0]), heard.any(axis=1)
        angle = np.arctan2(away[rows, rsu, 1], away[rows, rsu, 0])
        angle = angle + np.radians(radio.angle_sigma_deg) * angle_noise
        signals = replace(
            signals,
            ranging_rsu=np.where(some, rsu, -1),
            range_m=np.where(some, slant[rows, rsu] + radio.range_sigma_m * range_noise, np.nan),
            angle_rad=np.where(some, angle, np.nan),
        )
    return signals

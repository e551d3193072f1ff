"""What the infrastructure measures of the world: the only door through which the twin learns of it.

Noise is drawn from streams named by the instant, so measuring twice at one instant gives the same values, and
nothing needs saving. DTB-FL 3.2: positions and channels are measured at RSUs, capacities by a timed task; nothing
is taken from what a vehicle says of itself.
"""

from dataclasses import replace

import numpy as np

from platoon.nouns import SECOND, Attestations, Bools, Floats, Instant, Measurements
from platoon.physics.compute import compute_training_seconds
from platoon.physics.radio import (
    compute_cqi,
    compute_subcarrier_noise_dbm,
    quantise_rsrp_dbm,
    quantise_sinr_db,
)
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.world.compute import Processors
from platoon.world.radio import Channel

HEARING_SNR_DB = -16.7
"""A known sounding signal is still measured 10 dB below the least SNR for data (correlation gain)."""
ROUND_TRIP_S = 0.010
"""Mean round trip between edge server and vehicle, seconds."""
JITTER_S = 0.002
"""Mean of the delay on top of the least round trip, exponentially distributed, seconds."""
ATTEMPTS = 3
"""The task is timed so often; the best counts, since delays only add."""


class Sensors:
    """Measurements and attestations of a fleet, made from the truth."""

    def __init__(self, scenario: Scenario, channel: Channel, processors: Processors) -> None:
        self._scenario, self._channel, self._processors = scenario, channel, processors
        self._noise_dbm = compute_subcarrier_noise_dbm(scenario.radio.noise_figure_db)

    def measure(self, at: Instant, positions: Floats, present: Bools) -> Measurements:
        """What every RSU measures of the vehicles that it hears, with noise, in the steps of the standards."""
        radio, twin, seed = self._scenario.radio, self._scenario.twin, self._scenario.seed
        truth = self._channel.snr_db(positions)
        near = self._channel.distances(positions) <= radio.hearing_radius_m
        heard: Bools = near & (truth >= HEARING_SNR_DB) & present[:, None]
        noise = stream(seed, "snr measurement", at).normal(0.0, radio.snr_sigma_db, truth.shape)
        measured = np.where(heard, truth + noise, np.nan)
        error = stream(seed, "position measurement", at).normal(0.0, twin.position_sigma_m, positions.shape)
        sinr = quantise_sinr_db(measured)
        return replace(
            Measurements.nothing(at, *truth.shape),
            rsrp_dbm=quantise_rsrp_dbm(measured + self._noise_dbm),
            sinr_db=sinr,
            cqi=compute_cqi(sinr),
            position=np.where(np.isfinite(sinr).any(axis=1, keepdims=True), positions + error, np.nan),
        )

    def attest(self, at: Instant, asked: Bools) -> Attestations:
        """Time the calibrated task on the vehicles in ``asked``: cycles over time, round trip subtracted."""
        settings = self._scenario.twin
        shape = (len(asked), ATTEMPTS)
        rng = stream(self._scenario.seed, "attestation", at)
        least = ROUND_TRIP_S * rng.uniform(0.8, 1.2, (len(asked), 1))
        ping = least + rng.exponential(JITTER_S, shape)
        delay = least + rng.exponential(JITTER_S, shape)
        free = self._processors.available_hz(at)
        task = compute_training_seconds(settings.attestation_cycles, free)
        answer = task[:, None] + delay
        passed = asked & (answer.min(axis=1) <= settings.attestation_deadline_s)
        timed = np.maximum(answer.min(axis=1) - ping.min(axis=1), 1.0 / SECOND)
        measured = settings.attestation_cycles / timed
        return Attestations(at=at, asked=asked, passed=passed, cpu_hz=np.where(passed, measured, np.nan))

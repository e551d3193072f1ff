"""What the infrastructure measures of the world: the only door through which the twin learns of it.

Noise is drawn from streams named by the instant, so measuring twice at one instant gives the same values, and
nothing needs saving. DTB-FL 3.2: positions and channels are measured at RSUs, capacities by a timed task; nothing
is taken from what a vehicle says of itself.
"""

from dataclasses import replace

import numpy as np

from platoon.nouns import Attestations, Bools, Floats, Instant, Ints, Measurements
from platoon.physics.compute import compute_attested_hz, compute_training_seconds
from platoon.physics.radio import (
    METRES_PER_NS,
    VEHICLE_HEIGHT_M,
    compute_cqi,
    compute_sinr_db,
    compute_subcarrier_noise_dbm,
    quantise_rsrp_dbm,
    quantise_sinr_db,
)
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.world.clocks import Clocks
from platoon.world.compute import Processors
from platoon.world.radio import Channel

HEARING_SNR_DB = -16.7
"""A known sounding signal is still measured 10 dB below the least SNR for data (correlation gain)."""
SENT_WITHIN_NS = 1e6
"""A vehicle's own clock is this far off at most: nothing may rely on when it sent."""
ROUND_TRIP_S = 0.010
"""Mean round trip between edge server and vehicle, seconds."""
JITTER_S = 0.002
"""Mean of the delay on top of the least round trip, exponentially distributed, seconds."""
LARGEST_ROUND_TRIP_S = 0.030
"""No longer a round trip is subtracted from the time of an answer."""
ATTEMPTS = 3
"""The task is timed so often; the best counts, since delays only add."""


class Sensors:
    """Measurements and attestations of a fleet, made from the truth."""

    def __init__(self, scenario: Scenario, channel: Channel, processors: Processors) -> None:
        self._scenario, self._channel, self._processors = scenario, channel, processors
        radio = scenario.radio
        self._clocks = Clocks(radio.rsus, radio.clock_sigma_ns, radio.clock_memory_s, scenario.seed)
        self._rise_m = radio.rsu_height_m - VEHICLE_HEIGHT_M
        self._noise_dbm = compute_subcarrier_noise_dbm(scenario.radio.noise_figure_db)

    def measure(
        self, at: Instant, positions: Floats, present: Bools, interference: Floats | float = 0.0
    ) -> Measurements:
        """What every RSU measures of the vehicles that it hears, with noise, in the steps of the standards.

        ``interference`` (R,) over noise at each RSU now: in the SINR, not in the power of a reference signal.
        """
        radio = self._scenario.radio
        truth = self._channel.snr_db(positions)
        near = self._channel.distances(positions) <= radio.hearing_radius_m
        heard: Bools = near & (truth >= HEARING_SNR_DB) & present[:, None]
        noise = self._draw("snr measurement", at, radio.snr_sigma_db, truth.shape)
        measured = np.where(heard, truth + noise, np.nan)
        sinr = quantise_sinr_db(compute_sinr_db(measured, np.asarray(interference)))
        signals = replace(
            Measurements.nothing(at, *truth.shape),
            rsrp_dbm=quantise_rsrp_dbm(measured + self._noise_dbm),
            sinr_db=sinr,
            cqi=compute_cqi(sinr),
        )
        return self._locate(signals, positions)

    def _locate(self, signals: Measurements, positions: Floats) -> Measurements:
        """The signals' measurements, and what places are found by: ``twin.positioning`` says which."""
        kind = self._scenario.twin.positioning
        if kind == "position":
            return self._measure_positions(signals, positions)
        if kind != "tdoa":
            signals = self._measure_ranges(signals, positions)
        return signals if kind == "range_angle" else self._measure_arrivals(signals, positions)

    def _measure_positions(self, signals: Measurements, positions: Floats) -> Measurements:
        sigma = self._scenario.twin.position_sigma_m
        error = self._draw("position measurement", signals.at, sigma, positions.shape)
        return replace(signals, position=np.where(signals.heard[:, None], positions + error, np.nan))

    def _measure_ranges(self, signals: Measurements, positions: Floats) -> Measurements:
        """Round trip and angle at the strongest RSU."""
        radio, shape = self._scenario.radio, (len(positions),)
        strongest = np.argmax(np.nan_to_num(signals.rsrp_dbm, nan=-np.inf), axis=1)
        away = positions - self._channel.rsus[strongest]
        slant = np.hypot(np.hypot(*away.T), self._rise_m)
        noise = self._draw("range measurement", signals.at, radio.range_sigma_m, shape)
        turn = self._draw("angle measurement", signals.at, np.radians(radio.angle_sigma_deg), shape)
        angle = np.arctan2(away[:, 1], away[:, 0]) + turn
        return replace(
            signals,
            ranging_rsu=np.where(signals.heard, strongest, -1),
            range_m=np.where(signals.heard, slant + noise, np.nan),
            angle_rad=np.where(signals.heard, np.mod(angle + np.pi, 2.0 * np.pi) - np.pi, np.nan),
        )

    def _measure_arrivals(self, signals: Measurements, positions: Floats) -> Measurements:
        """Arrival times by the clocks of the RSUs, and of their reference signals among themselves."""
        radio, at, rsus = self._scenario.radio, signals.at, self._channel.rsus
        clocks = self._clocks.compute_ns(at)
        flight = np.hypot(self._channel.distances(positions), self._rise_m) / METRES_PER_NS
        sent = stream(self._scenario.seed, "time of sending", at).uniform(0.0, SENT_WITHIN_NS, len(positions))
        noise = self._draw("arrival measurement", at, radio.arrival_sigma_ns, flight.shape)
        arrival = np.where(np.isfinite(signals.rsrp_dbm), sent[:, None] + flight + clocks + noise, np.nan)
        if not radio.reference_signals:
            return replace(signals, arrival_ns=arrival)
        apart = self._channel.distances(rsus)
        jitter = self._draw("reference measurement", at, radio.arrival_sigma_ns, apart.shape)
        heard = (apart <= radio.hearing_radius_m) & ~np.eye(len(rsus), dtype=np.bool_)
        timed = apart / METRES_PER_NS + clocks[None, :] - clocks[:, None] + jitter
        return replace(signals, arrival_ns=arrival, reference_ns=np.where(heard, timed, np.nan))

    def _draw(self, purpose: str, at: Instant, sigma: float, shape: tuple[int, ...]) -> Floats:
        return stream(self._scenario.seed, purpose, at).normal(0.0, sigma, shape)

    def attest(self, at: Instant, asked: Bools, workers: Ints | None = None) -> Attestations:
        """Time the calibrated task on the vehicles in ``asked``; whether answers are right is for who checks them.

        ``workers`` (N,) are the vehicles whose processors do the work: each its own, unless it relays the task to
        an accomplice, which costs another round trip.
        """
        settings, vehicles = self._scenario.twin, np.arange(len(asked))
        shape = (len(asked), ATTEMPTS)
        rng = stream(self._scenario.seed, "attestation", at)
        least = ROUND_TRIP_S * rng.uniform(0.8, 1.2, (len(asked), 1))
        ping = least + rng.exponential(JITTER_S, shape)
        delay = least + rng.exponential(JITTER_S, shape)
        workers = vehicles if workers is None else workers
        delay += np.where(workers != vehicles, least[workers, 0], 0.0)[:, None]
        free = self._processors.available_hz(at)[workers]
        answer = compute_training_seconds(settings.attestation_cycles, free)[:, None] + delay
        measured = compute_attested_hz(
            settings.attestation_cycles, answer, ping, settings.attestation_deadline_s, LARGEST_ROUND_TRIP_S
        )
        passed = asked & np.isfinite(measured)
        return Attestations(at=at, asked=asked, passed=passed, cpu_hz=np.where(passed, measured, np.nan))

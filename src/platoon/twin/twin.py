"""The digital twin: what is believed of every vehicle, and what follows for the coming round.

It sees what the infrastructure measured (``Measurements``, ``Attestations``, ``Outcomes``) and nothing else: no
report of a vehicle, no truth of the world. Its whole belief is one frozen value and each call a fold over it, so
that it can be saved between any two calls and goes on bit by bit the same (DTB-FL sections 3.3 and 4.2).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from platoon.errors import VerificationError
from platoon.nouns import (
    SECOND,
    Attestations,
    Bools,
    Duration,
    Floats,
    Forecasts,
    Instant,
    Ints,
    Measurements,
    Outcomes,
    seconds,
)
from platoon.physics.compute import compute_training_cycles, compute_training_seconds
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.twin import arima, finish, foresee, outlook
from platoon.twin import card as cards
from platoon.twin.belief import Announced, Belief, start_belief
from platoon.twin.columns import from_columns, to_columns
from platoon.twin.company import Company, describe_company
from platoon.twin.compute import (
    FORECASTS,
    apply_attestations,
    are_attested,
    find_attested_hz,
    find_sigma,
    refine_capacity,
)
from platoon.twin.filter import advance
from platoon.twin.finish import Job
from platoon.twin.link import Scene
from platoon.twin.locator import Locator
from platoon.twin.outlook import Question
from platoon.twin.places import Asked, Foresight
from platoon.twin.study import apply_measurements, check_measurements
from platoon.twin.watch import leave_out, open_watch

FORMAT = 7
"""Of the saved folder."""
TIME_GRID: Floats = np.array([0.0, 0.08, 0.2, 0.4, 0.7, 1.0])
"""Where between the start of training and the horizon rates are forecast: closer together at first, when most
uploads happen."""

__all__ = ["Job", "Twin"]


class Twin:
    """Forecasts of the fleet of one scenario, learned from measurements on the way."""

    def __init__(
        self, scenario: Scenario, road_map: RoadMap, rsus: Floats, commercial: Bools | None = None
    ) -> None:
        """``rsus`` (R, 2) metres. Reads the scenario's sizes and laws, never who is malicious.

        ``commercial`` (N,) are the types that vehicles were registered with; all private without it.

        Raises:
            UserError: the scenario asks for an extra that is not installed.
        """
        if scenario.twin.compute_forecast == "arima":
            arima.find_model()
        self._scenario = scenario
        self._scene = Scene(
            scenario.radio, road_map, np.asarray(rsus, dtype=np.float64), scenario.twin.link_forecast
        )
        self._foresight = Foresight(scenario.twin, road_map)
        self._belief = start_belief(scenario, self._scene, self._foresight.ways, commercial)
        self._locator = Locator(scenario, self._scene)

    def observe(self, measurements: Measurements) -> None:
        """Take in what was measured at one instant. A second look at the same instant tells nothing new and is
        passed over; values that are not finite were not measured.

        Raises:
            ValueError: time runs backwards, or a column's rows and columns are not the fleet and the RSUs.
        """
        check_measurements(measurements, self._scenario.fleet.vehicles, len(self._scene.rsus))
        if measurements.at != self._belief.now.at:
            self._belief = apply_measurements(
                self._scene, self._locator, self._foresight, self._belief, measurements
            )

    def attest(self, attestations: Attestations) -> None:
        """Take in the answers to one round of calibrated tasks."""
        forecast = FORECASTS[self._scenario.twin.compute_forecast]
        capacity = apply_attestations(self._belief.capacity, attestations, forecast)
        self._belief = replace(self._belief, capacity=capacity)

    def attestations_due(self, at: Instant) -> Bools:
        """(N,) who must answer a challenge before it can be chosen: it never did, failed, or did too long ago."""
        age_us = self._scenario.twin.attestation_age_s * SECOND
        capacity = self._belief.capacity
        return ~capacity.attested | (at - capacity.recent_at[:, -1] >= age_us)

    def attested_hz(self) -> Floats:
        """(N,) what vehicles attested on average, cycles/s; NaN before the first."""
        return find_attested_hz(self._belief.capacity)

    def forecast(self, job: Job, horizon: Duration, at: Instant) -> Forecasts:
        """What to expect of every vehicle if it is given ``job`` at ``at`` and has until ``at + horizon``.

        Raises:
            ValueError: ``at`` lies before the last measurement.
        """
        belief, scene = self._belief, self._scene
        known = np.flatnonzero(belief.tracks.known)
        tracks = belief.tracks.put(known, advance(belief.tracks.take(known), at))
        who = np.flatnonzero(tracks.known)
        times = job.wait_s + TIME_GRID * max(horizon / SECOND - job.wait_s, 1e-3)
        places = self._foresight.foresee(Asked(traffic=belief.traffic, tracks=tracks, who=who, ahead_s=times))
        service = foresee.foresee_service(scene, belief.links, belief.now.take(who), places)
        question = Question(who=who, ahead_s=times, places=places)
        service = outlook.FORECASTS[scene.link_forecast](belief.outlook, service, question)
        rate, weights = foresee.foresee_rates(scene, service, places.weights)
        measured_rate, server = foresee.find_measured_rate(scene, belief.now)
        cpu_hz, start = self._foresee_compute(job, at)
        sharers = foresee.expect_sharers(server, len(scene.rsus), self._scenario.round.participants)
        seen = _Seen(who=who, times=times, rate=rate / sharers[who], weights=weights)
        announced = self._announce(at, job, seen, start, measured_rate / sharers)
        watch = belief.watch
        if not len(watch.who):
            due, served = Instant(at + horizon), tracks.known & (server >= 0)
            watch = open_watch(
                at,
                due,
                served,
                probability=announced.raw,
                parts=announced.parts,
                share=1.0 / sharers,
                bits=job.bits,
            )
        self._belief = replace(belief, announced=announced, watch=watch)
        position = places.find_position(-1)
        return Forecasts(
            at=at,
            horizon=horizon,
            known=tracks.known,
            attested=are_attested(belief.capacity, at, self._scenario.twin.attestation_age_s),
            edge_server=np.where(tracks.known, server, -1),
            measured_rate=measured_rate,
            rate=_spread(
                foresee.expect_rate(times, rate, weights, start[:, who].mean(axis=0)),
                tracks.known,
                0.0,
            ),
            cpu_hz=cpu_hz,
            position=_spread(position, tracks.known, np.nan),
            position_sigma=_spread(places.find_spread(-1, position), tracks.known, np.nan),
            finish_probability=announced.probability,
            finish_seconds=finish.expect_seconds(belief.experience, *announced.parts.T),
        )

    def learn(self, outcomes: Outcomes) -> None:
        """Take in what became of the cohort of the last forecast.

        Every ``twin.refine_every`` rounds all that is fitted is fitted again (Algorithm 2, phase 6).
        """
        belief, rows = self._belief, outcomes.vehicles
        announced = belief.announced
        card = cards.mark_finish(
            belief.card, announced.probability[rows], announced.persistence[rows], outcomes.arrived
        )
        expected = finish.expect_seconds(belief.experience, *announced.parts[rows].T)
        card = cards.mark_durations(card, expected, outcomes.seconds)
        experience = finish.remember(
            belief.experience, announced.raw[rows], outcomes.arrived, announced.parts[rows], outcomes.seconds
        )
        watch = leave_out(belief.watch, announced.at, rows)
        self._belief = replace(belief, card=card, experience=experience, watch=watch)
        if outcomes.round % self._scenario.twin.refine_every == 0:
            self._refine()

    def _refine(self) -> None:
        """Fit anew what is fitted on schedule."""
        belief = self._belief
        self._belief = replace(
            belief,
            experience=finish.refine(belief.experience),
            outlook=outlook.refine(belief.outlook, self._scenario.seed),
            capacity=refine_capacity(belief.capacity, self._scenario.twin.compute_forecast),
        )

    def describe_company(self, vehicles: Ints, since: Instant | None = None) -> Company:
        """Who drove with these vehicles in the last minute, or after ``since``, and who was one device."""
        return describe_company(self._belief.past, vehicles, since)

    def report_card(self) -> dict[str, float | None]:
        """How good its forecasts were: ``position_mae_m`` and ``link_mae_db`` 10 s ahead, ``finish_brier``."""
        marks = self.report_card_with_peers()
        return {name: marks[name] for name in ("position_mae_m", "link_mae_db", "finish_brier")}

    def report_card_with_peers(self) -> dict[str, float | None]:
        """The report card beside "the SNR, and the rate, stay as they are"; None where nothing was marked."""
        return cards.report(self._belief.card)

    def report_card_in_full(self) -> dict[str, object]:
        """The report card, and beside it errors by horizon, reliability, and how often intervals held."""
        return {**self.report_card(), **cards.report_details(self._belief.card)}

    def take_marked(self) -> tuple[cards.Marked, ...]:
        """Practice forecasts that were marked since this was last asked; they are not kept."""
        card = self._belief.card
        self._belief = replace(self._belief, card=replace(card, marked=()))
        return card.marked

    def save(self, folder: Path) -> None:
        """Write the whole belief into ``folder`` (made if need be), as ``twin.safetensors`` and ``twin.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = {name: np.array(column, order="C") for name, column in to_columns(self._belief).items()}
        save_file(columns, folder / "twin.safetensors")
        (folder / "twin.json").write_text(json.dumps(self._shape()), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Take up the belief saved in ``folder``.

        Raises:
            VerificationError: it is not readable or complete, of another format, or of another
                fleet, road map or RSUs.
        """
        try:
            shape = json.loads((folder / "twin.json").read_text(encoding="utf-8"))
            columns = load_file(folder / "twin.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise VerificationError(f"{folder}: the saved twin cannot be read ({error})") from None
        if shape != self._shape():
            raise VerificationError(f"{folder}: the saved twin is of {shape}, this one of {self._shape()}")
        try:
            self._belief = from_columns(Belief, columns)
        except KeyError as error:
            raise VerificationError(f"{folder}: the saved twin lacks {error}") from None

    def _shape(self) -> dict[str, int]:
        samples, rsus = self._scene.prior.shape
        fleet = self._scenario.fleet.vehicles
        return {"format": FORMAT, "vehicles": fleet, "road_samples": samples, "rsus": rsus}

    def _foresee_compute(self, job: Job, at: Instant) -> tuple[Floats, Floats]:
        """Cycles/s (N,), and the end of training (2, N) in seconds at the processor's nodes."""
        settings, capacity = self._scenario.compute, self._belief.capacity
        nominal_hz = sum(settings.ghz) / 2 * 1e9 * (1.0 - settings.load_mean)
        begin = Instant(at + seconds(job.wait_s))
        cpu_hz = FORECASTS[self._scenario.twin.compute_forecast](capacity, begin, nominal_hz)
        cycles = compute_training_cycles(job.samples, job.epochs, settings.cycles_per_sample)
        slow_and_fast = cpu_hz * (1.0 + find_sigma(capacity) * finish.CPU_NODES[:, None])
        return cpu_hz, job.wait_s + compute_training_seconds(cycles, slow_and_fast)

    def _announce(
        self, at: Instant, job: Job, seen: "_Seen", start: Floats, measured_rate: Floats
    ) -> Announced:
        """The finish forecast from shared rates, those foreseen and ``measured_rate`` (N,)."""
        begin, horizon_s = start.mean(axis=0), float(seen.times[-1])
        found, upload_s = finish.expect_finish(
            seen.times, seen.rate, seen.weights, start[:, seen.who], job.bits
        )
        raw, upload = np.zeros(len(begin)), np.maximum(horizon_s - begin, 0.0)
        raw[seen.who], upload[seen.who] = found, upload_s
        stays = foresee.would_finish(begin, measured_rate, job.bits, horizon_s)
        return Announced(
            at=at,
            raw=raw,
            probability=finish.recalibrate(self._belief.experience, raw),
            persistence=stays.astype(np.float64),
            parts=np.stack([begin, upload], axis=1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Rates foreseen for the vehicles that are known."""

    who: Ints
    """(M,) their rows in the fleet."""
    times: Floats
    """(T,) seconds."""
    rate: Floats
    """(T, Q, M) bit/s at the nodes of each future, shared."""
    weights: Floats
    """(Q, M) of the nodes."""


def _spread(values: Floats, known: Bools, otherwise: float) -> Floats:
    """(N, ...) ``values`` (M, ...) in the rows that are known, and ``otherwise``."""
    whole = np.full((len(known), *values.shape[1:]), otherwise)
    whole[known] = values
    return whole

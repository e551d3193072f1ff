"""The world: what is true, and what of it can be measured.

Traffic moves in whole seconds and always stands at the next one, so that positions in between are interpolated
and a second's links are those at its middle. Participants are events on top: they compute, then share their RSU's
band, exact to the microsecond. Time moves only by ``advance`` and ``next_arrival``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from platoon.errors import UserError
from platoon.nouns import (
    SECOND,
    Attestations,
    Bools,
    Duration,
    EdgeServerId,
    Floats,
    Instant,
    Ints,
    Measurements,
    VehicleId,
    seconds,
)
from platoon.physics.compute import compute_transmit_joules
from platoon.physics.radio import compute_interference, compute_sinr_db
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.channels import make_channel
from platoon.world.cohort import Arrival, Cohort
from platoon.world.compute import Processors
from platoon.world.engines import start_traffic
from platoon.world.formation import arrange
from platoon.world.future import Errand, copy_traffic, tell_arrivals
from platoon.world.links import Links, Parcel, Transfer
from platoon.world.sensing import Sensors
from platoon.world.traffic import LARGEST_STEP_M, Traffic

BOOK = "world.json"


class World:
    """Roads, traffic, radio and processors of a scenario, at one instant.

    Raises:
        UserError: SUMO is not installed, or the scenario's roads cannot be read.
    """

    def __init__(
        self,
        scenario: Scenario,
        scratch: Path,
        start: Callable[[Scenario, Path], Traffic] | None = None,
    ) -> None:
        self._scenario = scenario
        self._traffic = arrange(scenario, (start or start_traffic)(scenario, scratch))
        self.road_map: RoadMap = self._traffic.road_map
        try:
            self.channel = make_channel(self.road_map, scenario)
        except BaseException:
            self._traffic.close()
            raise
        self.rsus: Floats = self.channel.rsus
        self.processors = Processors(scenario.compute, scenario.fleet.vehicles, scenario.seed)
        self._sensors = Sensors(scenario, self.channel, self.processors)
        self.now = Instant(0)
        self._second = 0
        self._before = self._traffic.positions, self._traffic.present
        self._speed_sum, self._speed_steps = 0.0, 0
        self._cohort = Cohort()
        self._interference: Floats = np.zeros(len(self.rsus))
        self._arrived: list[Arrival] = []
        self._attached = True
        self.links = Links(self.road_map, self.channel, scenario)
        self._linked: int | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, largest x and y of the roads, metres."""
        return self.road_map.bounds

    @property
    def achieved_speed_kmh(self) -> float:
        """Mean speed of the fleet since instant 0, standing vehicles included; 0 before the first second."""
        return 3.6 * self._speed_sum / max(1, self._speed_steps)

    def positions(self) -> Floats:
        """(N, 2) true positions now, metres."""
        (before, was_present), after = self._before, self._traffic.positions
        share = 1.0 + self.now / SECOND - self._second
        step = after - before
        smooth = was_present & self._traffic.present & (np.hypot(*step.T) <= LARGEST_STEP_M)
        return np.where(smooth[:, None], before + share * step, after)

    def present(self) -> Bools:
        """(N,) the vehicle is on the road."""
        return self._before[1] & self._traffic.present

    def serving(self) -> Ints:
        """(N,) RSU that serves each vehicle now; -1 out of service."""
        self.channel.at = self.now
        positions = self.positions()
        best = self.channel.serving(positions, self.channel.snr_db(positions))
        return np.where(self.present(), best, -1)

    def measure(self) -> Measurements:
        """What the RSUs measure now."""
        self.channel.at = self.now
        return self._sensors.measure(self.now, self.positions(), self.present(), self._interference)

    def attest(self, vehicles: Ints) -> Attestations:
        """Times of these vehicles on the calibrated task; only who is in service can be asked."""
        asked = np.zeros(self._scenario.fleet.vehicles, dtype=np.bool_)
        asked[vehicles] = True
        return self._sensors.attest(self.now, asked & (self.serving() >= 0))

    def start_training(self, vehicle: VehicleId, samples: int, bits: float, at: Instant) -> None:
        """A participant has the model at ``at``: it trains, then uploads ``bits``.

        Raises:
            ValueError: ``at`` is past, or the vehicle takes part already.
        """
        if at < self.now:
            raise ValueError(f"training cannot start at {at}: now is {self.now}")
        cycles = self.processors.training_cycles(samples, self._scenario.round.epochs)
        computed = self.processors.finish(vehicle, cycles, at)
        self._cohort.add(vehicle, at, computed, cycles, bits)
        self._attached = False

    def advance(self, until: Instant) -> list[Arrival]:
        """Let time pass to ``until``; returns the arrivals up to then, ordered by time and vehicle."""
        self._require_future(until)
        while self.now < until:
            self._pass(until)
        arrived, self._arrived = self._arrived, []
        return arrived

    def next_arrival(self, limit: Instant) -> Arrival | None:
        """Let time pass to the next arrival, or to ``limit`` if nothing arrives until then."""
        self._require_future(limit)
        while not self._arrived and self.now < limit:
            self._pass(limit)
        return self._arrived.pop(0) if self._arrived else None

    def send(self, parcels: Sequence[Parcel]) -> tuple[Transfer, ...]:
        """Send messages between devices now (``platoon.world.links``), over the links of this second."""
        self.channel.at = self._middle()
        if self._linked != self._second:
            self._linked = self._second
            (before, was_present), after = self._before, self._traffic.positions
            self.links.look((before + after) / 2.0, was_present & self._traffic.present)
        return self.links.send(parcels, self.now)

    def foretell(self, samples: int, bits: float, wait_s: float, horizon: Duration) -> Floats:
        """(N,) seconds after which each vehicle's update would arrive, alone with its part of an RSU's band.

        Infinite where it would not within ``horizon``. For studies: the traffic is copied and driven ahead.

        Raises:
            UserError: the traffic is SUMO's, of which there is one in a process.
        """
        start = Instant(self.now + seconds(wait_s))
        cycles = self.processors.training_cycles(samples, self._scenario.round.epochs)
        vehicles = range(self._scenario.fleet.vehicles)
        computed = [self.processors.finish(vehicle, cycles, start) for vehicle in vehicles]
        sharers = max(1.0, self._scenario.round.participants / len(self.rsus))
        errand = Errand(
            now=self.now,
            computed=np.array(computed, dtype=np.int64),
            bits=bits * sharers,
            until=Instant(self.now + horizon),
        )
        roads = self._scenario.roads
        engine = roads.engine if roads.replay is None else "trace"
        return tell_arrivals(copy_traffic(self._traffic, engine), self._usable_rate, errand)

    def _usable_rate(self, places: Floats, at: Instant) -> Floats:
        """(N, R) bit/s with the whole band at these places at an instant; 0 where an RSU cannot serve."""
        self.channel.at = at
        snr = self.channel.snr_db(places)
        return np.where(self.channel.serviceable(places, snr), self.channel.rate(snr), 0.0)

    def abandon_round(self) -> Mapping[VehicleId, float]:
        """Forget who has not arrived, and what is still on the air between devices; returns the joules that each
        of those vehicles has spent."""
        started, computed = self._cohort.started, self._cohort.computed
        share = np.clip((self.now - started) / np.maximum(1, computed - started), 0.0, 1.0)
        spent = self._compute_joules(share)
        late = {VehicleId(int(v)): float(j) for v, j in zip(self._cohort.vehicle, spent, strict=True)}
        late |= {arrival.vehicle: arrival.energy_j for arrival in self._arrived}
        self._forget_cohort()
        return dict(sorted(late.items()))

    def save(self, folder: Path) -> None:
        """Write the world between two rounds; ``restore`` goes on from it bit for bit.

        Raises:
            RuntimeError: a round is in progress.
        """
        if len(self._cohort) or self._arrived:
            raise RuntimeError("the world is saved between rounds only: abandon or finish the round first")
        self._traffic.save(folder)
        positions, present = self._before
        book = {
            "now": self.now,
            "second": self._second,
            "speed_sum": self._speed_sum,
            "speed_steps": self._speed_steps,
            "positions_before": positions.tolist(),
            "present_before": present.tolist(),
        }
        (folder / BOOK).write_text(json.dumps(book), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` wrote for the same scenario.

        Raises:
            UserError: the folder does not hold a saved world of this fleet.
        """
        try:
            book = json.loads((folder / BOOK).read_text(encoding="utf-8"))
            positions = np.array(book["positions_before"], dtype=np.float64).reshape(-1, 2)
            present = np.array(book["present_before"], dtype=np.bool_)
            now, second = Instant(int(book["now"])), int(book["second"])
            speeds = float(book["speed_sum"]), int(book["speed_steps"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{folder / BOOK}: cannot be read as a saved world ({error})") from None
        if len(positions) != self._scenario.fleet.vehicles:
            raise UserError(f"{folder / BOOK}: not a world of {self._scenario.fleet.vehicles} vehicles")
        self._traffic.restore(folder)
        self.now, self._second, self._before = now, second, (positions, present)
        self._speed_sum, self._speed_steps = speeds
        self._forget_cohort()

    def close(self) -> None:
        """End the simulation; may be called twice."""
        self._traffic.close()

    def _forget_cohort(self) -> None:
        self._cohort, self._arrived, self._attached = Cohort(), [], True
        self._interference = np.zeros(len(self.rsus))
        self.links.timetable.clear()
        self._linked = None

    def _require_future(self, until: Instant) -> None:
        if until < self.now:
            raise ValueError(f"time cannot go back to {until}: now is {self.now}")

    def _pass(self, until: Instant) -> None:
        """Let time pass to ``until``, the end of the second or the next arrival, whichever is first."""
        if self.now == self._second * SECOND:
            self._step()
        if not self._attached:
            self._attach()
        end = Instant(min(until, self._second * SECOND))
        if self._scenario.radio.interference:  # every upload that begins or ends disturbs others more or less
            end, self._attached = min(end, self._cohort.next_begin(self.now)), False
        if not len(self._cohort):
            self.now = end
            return
        self.now, done = self._cohort.run(self.now, end)
        if done.any():
            self._arrived += self._report(done)
            self._cohort.remove(done)

    def _step(self) -> None:
        self._before = self._traffic.positions, self._traffic.present
        self._traffic.step()
        self._second += 1
        self._attached = False
        if self._traffic.present.any():
            self._speed_sum += float(self._traffic.speeds[self._traffic.present].mean())
            self._speed_steps += 1

    def _attach(self) -> None:
        """Give every participant the link of this second, taken at its middle."""
        rows = self._cohort.vehicle
        (before, was_present), after = self._before, self._traffic.positions
        places = (before[rows] + after[rows]) / 2.0
        on_road = was_present[rows] & self._traffic.present[rows]
        self.channel.at = self._middle()
        snr = self.channel.snr_db(places, rows)
        usable = self.channel.serviceable(places, snr) & on_road[:, None]
        self._cohort.attach(snr, usable, self.channel.rate(snr, rows))
        if self._scenario.radio.interference:
            sending = self._cohort.find_sending(self.now)
            self._interference = compute_interference(snr, self._cohort.edge_server, sending)
            disturbed = compute_sinr_db(snr, self._interference)
            self._cohort.attach(snr, usable, self.channel.rate(disturbed, rows))
        self._attached = True

    def _middle(self) -> Instant:
        """Half-way through the second under way."""
        return Instant(max(0, self._second * SECOND - SECOND // 2))

    def _report(self, done: Bools) -> list[Arrival]:
        cohort = self._cohort
        joules = self._compute_joules(np.ones(len(cohort)))
        return [
            Arrival(
                vehicle=VehicleId(int(cohort.vehicle[row])),
                edge_server=EdgeServerId(int(cohort.edge_server[row])),
                at=self.now,
                compute_s=float(cohort.computed[row] - cohort.started[row]) / SECOND,
                upload_s=float(self.now - cohort.computed[row]) / SECOND,
                energy_j=float(joules[row]),
                handovers=int(cohort.handovers[row]),
            )
            for row in np.flatnonzero(done)
        ]

    def _compute_joules(self, share: Floats) -> Floats:
        """(K,) joules spent, with this share of the training done."""
        cohort = self._cohort
        training = self.processors.joules(cohort.vehicle, cohort.cycles * share)
        return training + compute_transmit_joules(self._scenario.radio.vehicle_dbm, cohort.air / SECOND)

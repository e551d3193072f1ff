"""Traffic by Eclipse SUMO, the only module that imports libsumo.

As a rule the fleet circulates: routes are random walks over roads that lead on, extended by named streams before
they run out, so no vehicle arrives anywhere; one that SUMO removes all the same enters again where it was. Or it
takes the trips of a scenario's own traffic. libsumo holds one simulation per process.

Traffic is restored by driving it again to the same second, which is exact because SUMO repeats itself bit for
bit. A state saved by SUMO is not: with the random state, 17 digits and the speed limits in place, one vehicle in
some thousand still went on differently (measured on grids and on Bologna: its drivers have unsaved memory).
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libsumo
import numpy as np

from platoon.errors import UserError
from platoon.nouns import Bools, Floats
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.world.net_file import read_network
from platoon.world.networks import NetworkFiles, explain_sumo_output, prepare_network
from platoon.world.seats import Seats
from platoon.world.walks import FASTEST, Walks

VEHICLE_TYPE = "DEFAULT_VEHTYPE"
TELEPORT_AFTER_S = 120
"""A vehicle that has waited so long is moved past the jam, seconds."""
ROUTE_LEAST_M = 2_000.0
ROAD_CLASSES = frozenset(
    {"passenger", "private", "hov", "taxi", "evehicle", "vip", "delivery", "truck", "trailer", "bus", "coach"}
    | {"emergency", "authority", "army", "custom1", "custom2", "ignoring"}
)
"""Classes of SUMO whose trips a fleet vehicle can make; not bicycles, mopeds, pedestrians, rail and ships."""
OFF_ROAD = -1e8
"""SUMO reports coordinates below this for a vehicle that is not on the road."""
BOOKKEEPING = "traffic.json"


def start_sumo(scenario: Scenario, scratch: Path) -> "SumoTraffic":
    """The scenario's traffic, warmed up.

    Raises:
        UserError: SUMO is not installed, or the scenario's files cannot be read.
        RuntimeError: another simulation runs in this process.
    """
    files = prepare_network(scenario.roads, scratch)
    kind = TripTraffic if scenario.roads.fleet == "trips" else SumoTraffic
    traffic = kind(files, scenario.fleet.vehicles, scenario.seed, scenario.roads.speed_kmh)
    try:
        for _ in range(scenario.roads.warmup_s):
            traffic.step()
    except BaseException:
        traffic.close()
        raise
    return traffic


class SumoTraffic:
    """A fleet in SUMO that circulates. Satisfies ``Traffic``."""

    def __init__(
        self, files: NetworkFiles, vehicles: int, seed: int, speed_kmh: tuple[float, float] = (30.0, 60.0)
    ) -> None:
        self._files, self._seed = files, seed
        network = read_network(files, seed, speed_kmh)
        self._limits = network.limits
        self.road_map = network.road_map
        self._names = [f"platoon.{row}" for row in range(vehicles)]
        self._prepare(network.for_cars)
        self._start()
        self._populate()

    def _prepare(self, for_cars: Bools) -> None:
        """What the fleet needs of the network, before SUMO starts."""
        self._walks = Walks(self.road_map, for_cars)
        if not self._walks.possible:
            raise UserError(f"{self._files.source}: no roads on which cars can circulate")

    @property
    def positions(self) -> Floats:
        """(N, 2) metres."""
        return self._positions

    @property
    def present(self) -> Bools:
        """(N,)"""
        return self._present

    @property
    def speeds(self) -> Floats:
        """(N,) metres per second."""
        return self._speeds

    def step(self) -> None:
        """One second of SUMO, then routes that are about to run out are extended."""
        libsumo.simulationStep()
        self._second += 1
        try:
            self._look()
        except libsumo.TraCIException:  # somebody is not known to SUMO any more
            self._enter_missing()
            self._look()
        for row in np.flatnonzero(self._present & (self._due <= self._second)).tolist():
            self._extend(row)

    def save(self, folder: Path) -> None:
        """Write how far the traffic is, and the digest of where everybody stands."""
        folder.mkdir(parents=True, exist_ok=True)
        book = {"second": self._second, "sumo": libsumo.getVersion()[1], "digest": self._digest()}
        (folder / BOOKKEEPING).write_text(json.dumps(book), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Drive to where the traffic was saved: on from here, or afresh if that is past.

        Raises:
            UserError: the folder holds no saved traffic, or SUMO does not get to the same places.
        """
        path = folder / BOOKKEEPING
        try:
            book = json.loads(path.read_text(encoding="utf-8"))
            second, digest, version = int(book["second"]), str(book["digest"]), str(book["sumo"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as saved traffic ({error})") from None
        if second < self._second or not libsumo.isLoaded():
            self.close()
            self._start()
            self._populate()
        while self._second < second:
            self.step()
        if self._digest() != digest:
            here = libsumo.getVersion()[1]
            raise UserError(f"{path}: the traffic differs from what was saved (by {version}; this is {here})")

    def _digest(self) -> str:
        content = self._positions.tobytes() + self._speeds.tobytes() + self._present.tobytes()
        return hashlib.sha256(content).hexdigest()

    def close(self) -> None:
        """End the simulation."""
        if libsumo.isLoaded():
            with _silence():
                libsumo.close()

    def _start(self) -> None:
        if libsumo.isLoaded():
            raise RuntimeError("another SUMO simulation runs in this process: close it first")
        with _errors_from_sumo(f"{self._files.source}: SUMO cannot start with it"):
            libsumo.start(["sumo", *_options(self._files, self._seed)])
        self._apply_limits()

    def _apply_limits(self) -> None:
        if self._limits is not None:
            fastest = FASTEST * max(self._limits.values())
            libsumo.vehicletype.setMaxSpeed(VEHICLE_TYPE, max(55.0, fastest))
            for edge, limit in self._limits.items():
                libsumo.edge.setMaxSpeed(edge, limit)

    def _populate(self) -> None:
        vehicles = len(self._names)
        self._second = 0
        self._extensions = [0] * vehicles
        self._due = np.zeros(vehicles, dtype=np.int64)
        starts = [self._walks.draw_start(stream(self._seed, "start", row)) for row in range(vehicles)]
        self._positions = np.array([self.road_map.polylines[road][0] for road in starts])
        self._present = np.zeros(vehicles, dtype=np.bool_)
        self._speeds = np.zeros(vehicles)
        for row, road in enumerate(starts):
            self._enter(row, road)

    def _enter(self, row: int, road: int) -> None:
        route, name = f"{self._names[row]}.{self._extensions[row]}", self._names[row]
        libsumo.route.add(route, self._plan(row, [road]))
        libsumo.vehicle.add(
            name, route, VEHICLE_TYPE, departPos="random_free", departSpeed="max", departLane="best"
        )

    def _enter_missing(self) -> None:
        """Vehicles that SUMO has let go (arrived, or removed by the scenario's own rules) enter again."""
        known = {*libsumo.vehicle.getIDList(), *libsumo.vehicle.getLoadedIDList()}
        for row, name in enumerate(self._names):
            if name not in known:
                self._enter_again(row)

    def _enter_again(self, row: int) -> None:
        """Let a vehicle enter on the road where it was last seen."""
        rng = stream(self._seed, "enter again", row, self._extensions[row])
        sample = self.road_map.nearest(self._positions[row : row + 1])[0]
        road = int(self.road_map.sample_edge[sample])
        self._enter(row, road if self._walks.leads_on(road) else self._walks.draw_start(rng))

    def _extend(self, row: int) -> None:
        """Lengthen a route if it is short; look again before the vehicle could reach its end."""
        name = self._names[row]
        ahead = list(libsumo.vehicle.getRoute(name)[libsumo.vehicle.getRouteIndex(name) :])
        roads = [self._walks.row_of(edge) for edge in ahead]
        if self._walks.measure(roads[1:]) < ROUTE_LEAST_M:
            libsumo.vehicle.setRoute(name, self._plan(row, roads))
        else:
            self._due[row] = self._second + self._walks.least_seconds(roads[1:])

    def _plan(self, row: int, roads: list[int]) -> list[str]:
        """Edge ids of a route that goes on from ``roads`` long enough, and when to look at it again."""
        rng = stream(self._seed, "route", row, self._extensions[row])
        self._extensions[row] += 1
        planned = self._walks.extend(roads, rng)
        self._due[row] = self._second + self._walks.least_seconds(planned[1:])
        return [self.road_map.edge_ids[road] for road in planned]

    def _look(self) -> None:
        found = np.array([libsumo.vehicle.getPosition(name) for name in self._names])
        self._present = found[:, 0] > OFF_ROAD
        self._positions = np.where(self._present[:, None], found, self._positions)
        speeds = np.array([libsumo.vehicle.getSpeed(name) for name in self._names])
        self._speeds = np.where(self._present, speeds, 0.0)


class TripTraffic(SumoTraffic):
    """A fleet that takes the trips of the scenario's own traffic, as ``Seats`` has it. Satisfies ``Traffic``.

    Trips are those of vehicles that share the roads with cars; who is on none is off the road.
    """

    def _prepare(self, for_cars: Bools) -> None:  # noqa: ARG002 - trips have routes of their own
        if not self._files.routes and not self._files.additional:
            raise UserError(
                f"{self._files.source}: has no traffic of its own (no route-files); allowed: a .sumocfg with "
                'traffic, or roads.fleet = "circulates"'
            )

    def step(self) -> None:
        """One second of SUMO; then trips that began get a vehicle, and those that ended free theirs."""
        libsumo.simulationStep()
        self._second += 1
        self._take_seats()

    def _populate(self) -> None:
        vehicles = len(self._names)
        self._second = 0
        self._seats = Seats(vehicles)
        self._classes: dict[str, bool] = {}
        self._positions = np.tile(self.road_map.samples[0], (vehicles, 1))
        self._present = np.zeros(vehicles, dtype=np.bool_)
        self._speeds = np.zeros(vehicles)

    def _take_seats(self) -> None:
        self._seats.move(self._second, [name for name in libsumo.vehicle.getIDList() if self._counts(name)])
        trips = self._seats.trips
        found = np.array([libsumo.vehicle.getPosition(name) for _, name in trips]).reshape(-1, 2)
        rows = np.array([row for row, _ in trips], dtype=np.int64)
        on_road = found[:, 0] > OFF_ROAD
        speeds = np.array([libsumo.vehicle.getSpeed(name) for _, name in trips])
        positions = self._positions.copy()
        positions[rows[on_road]] = found[on_road]
        self._positions = positions
        self._present = np.zeros(len(self._names), dtype=np.bool_)
        self._present[rows[on_road]] = True
        self._speeds = np.zeros(len(self._names))
        self._speeds[rows[on_road]] = speeds[on_road]

    def _counts(self, name: str) -> bool:
        """Whether a trip is one that a fleet vehicle could make; looked up once for each."""
        if name not in self._classes:
            self._classes[name] = libsumo.vehicle.getVehicleClass(name) in ROAD_CLASSES
        return self._classes[name]


def _options(files: NetworkFiles, seed: int) -> list[str]:
    lists = {"-r": files.routes, "-a": files.additional}
    traffic = [part for flag, paths in lists.items() if paths for part in (flag, ",".join(map(str, paths)))]
    return [
        *("-n", str(files.net), *traffic, "--begin", str(files.begin_s), "--seed", str(seed % 2**31)),
        *("--step-length", "1", "--time-to-teleport", str(TELEPORT_AFTER_S)),
        *("--no-step-log", "true", "--no-warnings", "true", "--duration-log.disable", "true"),
        *("--xml-validation", "never", "--xml-validation.net", "never"),
    ]


@contextlib.contextmanager
def _errors_from_sumo(message: str) -> Iterator[None]:
    """Turn SUMO's exceptions into one line with the reason that it wrote."""
    written: list[str] = []
    try:
        with _silence(written):
            yield
    except (libsumo.TraCIException, libsumo.FatalTraCIError, RuntimeError) as error:
        text = "".join(written) or str(error)
        raise UserError(f"{message} ({explain_sumo_output(text)})") from None


@contextlib.contextmanager
def _silence(written: list[str] | None = None) -> Iterator[None]:
    """Keep what SUMO's native code prints off the terminal and out of ``--json``; collect it in ``written``."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, source in enumerate(kept, start=1):
                os.dup2(source, target)
                os.close(source)
            file.seek(0)
            if written is not None:
                written.append(file.read().decode("utf-8", "replace"))

"""Traffic by Eclipse SUMO, the only module that imports it.

The fleet circulates: routes are random walks over roads that lead on, extended by named streams before they run
out, so no vehicle arrives anywhere; one that SUMO removes all the same enters again where it was. libsumo holds
one simulation per process.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import libsumo
import numpy as np
import sumolib
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from platoon.errors import UserError
from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.world.networks import NetworkFiles, explain_sumo_output, prepare_network

VEHICLE_CLASS = "passenger"
VEHICLE_TYPE = "DEFAULT_VEHTYPE"
TELEPORT_AFTER_S = 120
"""A vehicle that has waited so long is moved past the jam, seconds."""
ROUTE_LEAST_M = 2_000.0
ROUTE_FULL_M = 4_000.0
FASTEST = 2.0
"""A SUMO driver goes at most this many times the speed limit (speedFactor of the default type)."""
SMALLEST_COMPONENT = 0.2
"""Roads that do not connect with the rest are used from this share of the largest connected part on."""
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
    traffic = SumoTraffic(files, scenario.fleet.vehicles, scenario.seed, scenario.roads.speed_kmh)
    try:
        for _ in range(scenario.roads.warmup_s):
            traffic.step()
    except BaseException:
        traffic.close()
        raise
    return traffic


class SumoTraffic:
    """A fleet in SUMO. Satisfies ``Traffic``."""

    def __init__(
        self, files: NetworkFiles, vehicles: int, seed: int, speed_kmh: tuple[float, float] = (30.0, 60.0)
    ) -> None:
        self._files, self._seed = files, seed
        network = _read_network(files)
        limits = _draw_limits(network, seed, speed_kmh) if files.is_grid else None
        self._limits = limits
        self.road_map = _build_road_map(files, network, limits)
        self._walks = _Walks(self.road_map, _roads_of_class(network, self.road_map))
        if not self._walks.possible:
            raise UserError(f"{files.source}: no roads on which cars can circulate")
        self._names = [f"platoon.{row}" for row in range(vehicles)]
        self._start()
        self._populate()

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


class _Walks:
    """Random walks over roads that lead on for ever: never into a dead end, never back unless it must."""

    def __init__(self, road_map: RoadMap, allowed: Bools) -> None:
        self._map = road_map
        self._index = {edge: row for row, edge in enumerate(road_map.edge_ids)}
        onward = [list(s) if allowed[row] else [] for row, s in enumerate(road_map.successors)]
        self._alive = _find_circulating(onward, road_map.lengths)
        self._next = [[s for s in found if self._alive[s]] for found in onward]
        self._starts = np.flatnonzero(self._alive)
        self._fastest = FASTEST * float(np.nanmax(road_map.speed_limits))

    @property
    def possible(self) -> bool:
        """Some road leads on for ever."""
        return bool(self._alive.any())

    def leads_on(self, road: int) -> bool:
        """Whether a walk can go on from ``road`` for ever."""
        return bool(self._alive[road])

    def row_of(self, edge: str) -> int:
        """Row of a road by its id."""
        return self._index[edge]

    def draw_start(self, rng: np.random.Generator) -> int:
        """A road, drawn in proportion to its length."""
        ends = np.cumsum(self._map.lengths[self._starts])
        drawn = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
        return int(self._starts[min(drawn, len(ends) - 1)])

    def extend(self, roads: Sequence[int], rng: np.random.Generator) -> list[int]:
        """``roads`` with so many appended that ``ROUTE_FULL_M`` lie beyond the first."""
        walk, ahead = list(roads), self.measure(roads[1:])
        while ahead < ROUTE_FULL_M:
            choices = self._next[walk[-1]]
            walk.append(choices[int(rng.integers(len(choices)))])
            ahead += float(self._map.lengths[walk[-1]])
        return walk

    def measure(self, roads: Sequence[int]) -> float:
        """Metres of these roads."""
        return float(self._map.lengths[list(roads)].sum())

    def least_seconds(self, roads: Sequence[int]) -> int:
        """Whole seconds within which no driver, not even one moved past a jam, gets through these roads."""
        return max(1, int(self.measure(roads) / self._fastest / 2.0))


def _find_circulating(onward: list[list[int]], lengths: Floats) -> Bools:
    """(E,) roads in strongly connected parts that are not much smaller than the largest."""
    starts = np.repeat(np.arange(len(onward)), [len(found) for found in onward])
    ends = np.array([road for found in onward for road in found], dtype=np.int64)
    shape = (len(onward), len(onward))
    links = coo_array((np.ones(len(ends)), (starts, ends)), shape=shape).tocsr()
    count, label = connected_components(links, directed=True, connection="strong")
    loops = np.bincount(label[starts[label[starts] == label[ends]]], minlength=count) > 0
    sizes = np.where(loops, np.bincount(label, weights=lengths, minlength=count), 0.0)
    return np.asarray((sizes > 0.0) & (sizes >= SMALLEST_COMPONENT * sizes.max()))[label]


def _read_network(files: NetworkFiles) -> Any:
    try:
        network = sumolib.net.readNet(str(files.net))
    except Exception as error:  # sumolib raises whatever its parsing stumbles over
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{files.source}: cannot be read as a SUMO network ({reason})") from None
    if not network.getEdges():
        raise UserError(f"{files.source}: no SUMO network with roads")
    return network


def _drivable(network: Any) -> list[Any]:
    """Edges for cars or buses, sorted by id: buildings keep their distance from both."""
    edges = [edge for edge in network.getEdges() if edge.allows(VEHICLE_CLASS) or edge.allows("bus")]
    return sorted(edges, key=lambda edge: str(edge.getID()))


def _draw_limits(network: Any, seed: int, speed_kmh: tuple[float, float]) -> dict[str, float]:
    """Speed limit of every edge in m/s, drawn evenly within the scenario's range."""
    low, high = (speed / 3.6 for speed in speed_kmh)
    names = [edge.getID() for edge in _drivable(network)]
    return {name: float(stream(seed, "speed limit", name).uniform(low, high)) for name in names}


def _build_road_map(files: NetworkFiles, network: Any, limits: dict[str, float] | None) -> RoadMap:
    edges = _drivable(network)
    rows = {edge.getID(): row for row, edge in enumerate(edges)}
    try:
        return RoadMap.build(
            list(rows),
            [np.array(edge.getShape()) for edge in edges],
            [sum(lane.getWidth() for lane in edge.getLanes()) for edge in edges],
            speed_limits=[limits[name] for name in rows] if limits else [e.getSpeed() for e in edges],
            successors=[_find_successors(edge, rows) for edge in edges],
            junctions=_find_junctions(network),
        )
    except ValueError as error:
        raise UserError(f"{files.source}: {error}") from None


def _find_successors(edge: Any, rows: dict[str, int]) -> list[int]:
    """Roads that a car can take next; turning round only where nothing else is left."""
    found = [e for e in edge.getAllowedOutgoing(VEHICLE_CLASS) if e.getID() in rows]
    forward = [e for e in found if e.getToNode() is not edge.getFromNode()]
    return sorted(rows[e.getID()] for e in forward or found)


def _find_junctions(network: Any) -> Floats:
    """(J, 2) crossings of at least three streets; in a network without any, all nodes."""
    nodes = sorted(network.getNodes(), key=lambda node: str(node.getID()))
    crossings = [node for node in nodes if len(set(node.getNeighboringNodes())) >= 3]
    return np.array([node.getCoord()[:2] for node in crossings or nodes], dtype=np.float64)


def _roads_of_class(network: Any, road_map: RoadMap) -> Bools:
    return np.array([network.getEdge(edge).allows(VEHICLE_CLASS) for edge in road_map.edge_ids])


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

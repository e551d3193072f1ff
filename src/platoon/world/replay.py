"""Traffic from a trace of floating car data: nothing is simulated, everybody is where the trace says.

The world's second 0 is the first step of the trace. Steps may lie closer than a second or farther apart: at whole
seconds in between, vehicles of both neighbours are interpolated over at most ``LONGEST_GAP_S``, and off the road
where the gap is longer, where only one neighbour has them, or where they would have to jump. The trace's trips are
given to the fleet by ``Seats``. After the last step everybody has left the road, or the trace begins again.

The whole file is read once before the run begins, so that a mistake in its last line stops nothing half way.
"""

import hashlib
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap
from platoon.world.fcd import Frame, read_frames
from platoon.world.seats import Seats
from platoon.world.traffic import LARGEST_STEP_M

BOOKKEEPING: Final = "trace.json"
LONGEST_GAP_S: Final = 10.0
NEAR_ROAD_M: Final = 60.0
"""A place farther from every road is not on this road map."""
STRAY_SHARE: Final = 0.5
"""A trace with a larger share of such places is of another map, or in other coordinates."""
UNIT_RATIO: Final = 2.5
"""Speeds and places that differ by more than this factor are not both in metres and seconds."""
LONGEST_COMPARED_S: Final = 2.0
"""Speeds of steps that lie farther apart say little about the way between them."""
CHECKED_METRES: Final = 200.0
"""So much driving is needed before speeds are held against places."""


class ReplayTraffic:
    """A fleet of N vehicles on the trips of a trace. Satisfies ``Traffic``."""

    def __init__(self, road_map: RoadMap, trace: Path, vehicles: int, *, repeat: bool = False) -> None:
        """Checks the whole trace, then stands at its first step.

        Raises:
            UserError: the trace cannot be read, or is not of these roads or not in metres and seconds.
        """
        check_trace(trace, road_map)
        self.road_map = road_map
        self._trace, self._repeat, self._vehicles = trace, repeat, vehicles
        self._begin()

    @property
    def positions(self) -> Floats:
        """(N, 2) metres; the last one known while a vehicle is on no trip."""
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
        """One second of the trace."""
        self._second += 1
        self._take(next(self._seconds, None))

    def save(self, folder: Path) -> None:
        """Write the second, and the digest of where everybody is."""
        folder.mkdir(parents=True, exist_ok=True)
        book = {"second": self._second, "digest": self._digest()}
        (folder / BOOKKEEPING).write_text(json.dumps(book), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Read the trace again to where it was saved.

        Raises:
            UserError: the folder holds no saved trace, or the trace is not the same any more.
        """
        path = folder / BOOKKEEPING
        try:
            book = json.loads(path.read_text(encoding="utf-8"))
            second, digest = int(book["second"]), str(book["digest"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as a saved trace ({error})") from None
        if second < self._second:
            self.close()
            self._begin()
        while self._second < second:
            self.step()
        if self._digest() != digest:
            raise UserError(f"{self._trace}: is not the trace that the run began with")

    def close(self) -> None:
        """Let go of the file."""
        self._seconds.close()

    def __deepcopy__(self, _memo: dict[int, Any]) -> "ReplayTraffic":
        """Another reader of the same trace, at the same second."""
        other = ReplayTraffic.__new__(ReplayTraffic)
        other.road_map, other._trace = self.road_map, self._trace
        other._repeat, other._vehicles = self._repeat, self._vehicles
        other._begin()
        while other._second < self._second:
            other.step()
        return other

    def _begin(self) -> None:
        self._seats = Seats(self._vehicles)
        self._second = 0
        self._positions = np.tile(self.road_map.samples[0], (self._vehicles, 1))
        self._seconds = _play(self._trace, repeat=self._repeat)
        self._take(next(self._seconds))

    def _take(self, frame: Frame | None) -> None:
        """Put everybody where the frame has them; None: everybody has left."""
        self._present = np.zeros(self._vehicles, dtype=np.bool_)
        self._speeds = np.zeros(self._vehicles)
        if frame is None:
            return
        self._seats.move(self._second, frame.names)
        rows = self._seats.rows(frame.names)
        ours = rows >= 0
        places = self._positions.copy()
        places[rows[ours]] = frame.places[ours]
        self._present[rows[ours]] = True
        self._speeds[rows[ours]] = frame.speeds[ours]
        self._positions = places

    def _digest(self) -> str:
        content = self._positions.tobytes() + self._speeds.tobytes() + self._present.tobytes()
        return hashlib.sha256(content).hexdigest()


def check_trace(trace: Path, road_map: RoadMap) -> None:
    """Read a trace to its end.

    Raises:
        UserError: it cannot be read, is not of this road map, or not in metres and metres per second.
    """
    before: Frame | None = None
    driven, told, near, places = 0.0, 0.0, 0, 0
    for frame in read_frames(trace):
        if len(frame.names) and places < 10_000:
            distances = np.asarray(road_map.tree.query(frame.places)[0])
            near, places = near + int((distances <= NEAR_ROAD_M).sum()), places + len(distances)
            if places - near > STRAY_SHARE * places and places >= min(10, len(frame.names)):
                farthest = int(np.argmax(distances))
                x, y = frame.places[farthest]
                raise UserError(
                    f"{trace}, line {frame.line}: vehicle {frame.names[farthest]} at ({x:g}, {y:g}) is "
                    f"{distances[farthest]:.0f} m from every road; allowed: metres on the road map of the scenario"
                )
        if before is not None and told < 100.0 * CHECKED_METRES:
            added = _compare(before, frame)
            driven, told = driven + added[0], told + added[1]
        before = frame
    if max(driven, told) > CHECKED_METRES and not 1.0 / UNIT_RATIO <= told / max(driven, 1e-9) <= UNIT_RATIO:
        raise UserError(
            f"{trace}: vehicles that went {told:.0f} m by their speeds have moved {driven:.0f} m; allowed: places "
            "in metres, speeds in metres per second"
        )


def _compare(before: Frame, after: Frame) -> tuple[float, float]:
    """Metres that vehicles moved between two frames, and that they should have by their speeds."""
    seconds = after.at - before.at
    if seconds > LONGEST_COMPARED_S:
        return 0.0, 0.0
    rows, other = _match(before, after)
    moved = np.hypot(*(after.places[other] - before.places[rows]).T)
    told = seconds * (before.speeds[rows] + after.speeds[other]) / 2.0
    counted = np.isfinite(told) & (moved <= LARGEST_STEP_M * max(1.0, seconds))
    return float(moved[counted].sum()), float(told[counted].sum())


def _match(before: Frame, after: Frame) -> tuple[list[int], list[int]]:
    """Rows in both frames of the vehicles that both have, in the order of the first."""
    place = {name: row for row, name in enumerate(after.names)}
    pairs = [(row, place[name]) for row, name in enumerate(before.names) if name in place]
    return [row for row, _ in pairs], [row for _, row in pairs]


def _play(trace: Path, *, repeat: bool) -> Generator[Frame, None, None]:
    """A frame for every second of the trace; between its end and its repetition one second without anybody."""
    while True:
        yield from _resample(read_frames(trace))
        if not repeat:
            return
        nobody = np.empty((0, 2))
        yield Frame(at=0.0, line=0, names=(), places=nobody, speeds=np.empty(0), angles=np.empty(0))


def _resample(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames at the first step's time and every second after it, with a speed for everybody."""
    before = next(frames)
    begin, second = before.at, 0
    yield _with_speeds(None, before)
    for after in frames:
        while begin + second + 1 <= after.at:
            second += 1
            at = begin + second
            yield _with_speeds(before, after) if at == after.at else _between(before, after, at)
        before = after


def _with_speeds(before: Frame | None, frame: Frame) -> Frame:
    """Fill unknown speeds by how far vehicles came since the frame before."""
    unknown = np.isnan(frame.speeds)
    if not unknown.any():
        return frame
    speeds = np.where(unknown, 0.0, frame.speeds)
    if before is not None:
        rows, other = _match(before, frame)
        moved = np.hypot(*(frame.places[other] - before.places[rows]).T) / (frame.at - before.at)
        speeds[other] = np.where(unknown[other] & (moved <= LARGEST_STEP_M), moved, speeds[other])
    return _replace(frame, frame.names, frame.places, speeds)


def _between(before: Frame, after: Frame, at: float) -> Frame:
    """Who is in both frames, on the straight line between."""
    span = after.at - before.at
    rows, other = _match(before, after)
    start, end = before.places[rows], after.places[other]
    moved = np.hypot(*(end - start).T) / span
    kept = np.flatnonzero((moved <= LARGEST_STEP_M) & (span <= LONGEST_GAP_S))
    share = (at - before.at) / span
    places = start[kept] + share * (end[kept] - start[kept])
    speeds = before.speeds[rows][kept] + share * (after.speeds[other][kept] - before.speeds[rows][kept])
    names = tuple(before.names[rows[row]] for row in kept)
    return _replace(after, names, places, np.where(np.isnan(speeds), moved[kept], speeds))


def _replace(frame: Frame, names: tuple[str, ...], places: Floats, speeds: Floats) -> Frame:
    angles = np.full(len(names), np.nan)
    return Frame(at=frame.at, line=frame.line, names=names, places=places, speeds=speeds, angles=angles)

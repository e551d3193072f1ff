"""A kinematic walker: vehicles on random walks over any road map, moved all at once, without SUMO.

SUMO cannot average 120 km/h between the signals of 250 m blocks, as experiments over speed want; nor can it move
100,000 vehicles in a second's time. The walker does both and knows neither signals nor other vehicles: everybody
drives in proportion to the speed limit and to a habit of their own, may stop at the end of a road, and turns by
chance. With a mean speed asked for, what the fleet still owes of it is driven in the next second, so that the mean
is met from the first seconds on, stops included.

Dice are streams named by the second, so that nothing of them needs saving, and a larger fleet throws the same ones
for those that were there.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Bools, Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.world.walks import find_circulating

STATE = "walker.npz"
HABIT = 0.1
"""Drivers go evenly up to this share faster or slower than others."""
CATCH_UP = 3.0
"""What is owed of the mean speed is made up at no more than so many times the usual speed."""
USUAL_LIMIT = 50.0 / 3.6
"""Where no limit is known at all, m/s."""
STRAIGHT_BELOW = np.pi / 4.0
"""A turn by less than this is straight on, radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a fleet of walkers drives."""

    mean_speed: float | None = None
    """Mean speed of the fleet, m/s, standing vehicles included; without it all go near the speed limit."""
    turns: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Weights of turning left, going straight on, and turning right, where a junction has that choice."""
    stop_share: float = 0.0
    """Probability of a stop at the end of a road."""
    stop_s: int = 20
    """Mean length of a stop, seconds; drawn evenly from 1 to twice that less 1."""


class Walker:
    """N vehicles. Satisfies ``Traffic``. Everybody is always on the road."""

    def __init__(
        self,
        road_map: RoadMap,
        vehicles: int,
        seed: int,
        habits: Habits | None = None,
        allowed: Bools | None = None,
    ) -> None:
        """``allowed`` (E,) are the roads for cars; without it all are.

        Raises:
            UserError: the roads do not lead on for ever anywhere.
        """
        self.road_map = road_map
        self._habits, self._seed, self._vehicles = habits or Habits(), seed, vehicles
        self._streets = _Streets(road_map, allowed, self._habits.turns)
        self._pace = 1.0 + HABIT * stream(seed, "walker habit").uniform(-1.0, 1.0, vehicles)
        self._second, self._owed = 0, 0.0
        self._road = self._streets.draw_roads(stream(seed, "walker start").random(vehicles))
        self._next = np.zeros(vehicles, dtype=np.int64)
        self._stop = np.zeros(vehicles, dtype=np.int64)
        self._wait = np.zeros(vehicles, dtype=np.int64)
        self._enter(np.arange(vehicles), 0)
        share = stream(seed, "walker offset").random(vehicles)
        self._offset = share * self._streets.lengths[self._road]
        self._moved = np.zeros(vehicles)
        self._everywhere = np.ones(vehicles, dtype=np.bool_)
        self._positions = self._streets.locate(self._road, self._next, self._offset)

    @property
    def positions(self) -> Floats:
        """(N, 2) metres."""
        return self._positions

    @property
    def present(self) -> Bools:
        """(N,)"""
        return self._everywhere

    @property
    def speeds(self) -> Floats:
        """(N,) metres per second over the last second."""
        return self._moved

    def step(self) -> None:
        """One second: those who wait, wait; the others drive, turning and stopping as they come to it."""
        self._second += 1
        standing = self._wait > 0
        self._wait = np.where(standing, self._wait - 1, 0)
        left = np.where(standing, 0.0, self._wish(~standing))
        self._moved = np.zeros(self._vehicles)
        rows, attempt = np.flatnonzero(left > 0.0), 0
        while len(rows):
            crossed = self._drive(rows, left)
            self._enter(crossed, attempt + 1)
            rows, attempt = crossed[left[crossed] > 0.0], attempt + 1
        if self._habits.mean_speed is not None:
            self._owed += self._vehicles * self._habits.mean_speed - float(self._moved.sum())
        self._positions = self._streets.locate(self._road, self._next, self._offset)

    def save(self, folder: Path) -> None:
        """Write where everybody is."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / STATE,
            second=self._second,
            owed=self._owed,
            road=self._road,
            next=self._next,
            stop=self._stop,
            wait=self._wait,
            offset=self._offset,
            moved=self._moved,
        )

    def restore(self, folder: Path) -> None:
        """Go on from where everybody was; raises ``UserError`` where that is missing or of another fleet."""
        path = folder / STATE
        try:
            with np.load(path, allow_pickle=False) as state:
                columns = {name: np.asarray(state[name]) for name in state.files}
                second, owed = int(columns.pop("second")), float(columns.pop("owed"))
                found = [columns[name] for name in ("road", "next", "stop", "wait", "offset", "moved")]
        except (OSError, KeyError, ValueError, TypeError, BadZipFile) as error:
            raise UserError(f"{path}: cannot be read as saved traffic ({error})") from None
        if any(column.shape != (self._vehicles,) for column in found):
            raise UserError(f"{path}: not the traffic of {self._vehicles} vehicles")
        self._second, self._owed = second, owed
        self._road, self._next, self._stop, self._wait, self._offset, self._moved = found
        self._positions = self._streets.locate(self._road, self._next, self._offset)

    def close(self) -> None:
        """Nothing is held."""

    def _wish(self, going: Bools) -> Floats:
        """(N,) metres that everybody would go in this second."""
        usual = self._pace * self._streets.limits[self._road]
        mean = self._habits.mean_speed
        total = float(usual[going].sum())
        if mean is None or total == 0.0:
            return usual
        most = CATCH_UP * self._vehicles * mean / float(usual.sum())
        return usual * min(most, max(0.0, self._vehicles * mean + self._owed) / total)

    def _drive(self, rows: Ints, left: Floats) -> Ints:
        """Move these rows by what is left of their second, on their roads; returns those that enter the next."""
        streets, road = self._streets, self._road[rows]
        end = streets.measure(road, self._next[rows])
        stops = self._stop[rows] > 0
        limit = np.where(stops, streets.lengths[road], end)
        gone = np.minimum(left[rows], limit - self._offset[rows])
        arrived = gone >= limit - self._offset[rows]
        self._offset[rows] = np.where(arrived, limit, self._offset[rows] + gone)
        self._moved[rows] += gone
        left[rows] -= gone
        halted = rows[arrived & stops]
        self._wait[halted] = self._stop[halted]
        self._stop[halted] = 0
        left[halted] = 0.0
        return rows[arrived & ~stops]

    def _enter(self, rows: Ints, attempt: int) -> None:
        """Put these rows at the start of their next road (on the first call: of their first), and decide there
        where they will turn, and for how long they will stop before."""
        if attempt:
            self._road[rows] = self._next[rows]
            self._offset[rows] = 0.0
        if not len(rows):
            return
        turn, stop, pause = (
            stream(self._seed, "walker", self._second, attempt).random((self._vehicles, 3))[rows].T
        )
        self._next[rows] = self._streets.choose(self._road[rows], turn)
        longest = 2 * self._habits.stop_s - 1
        self._stop[rows] = np.where(stop < self._habits.stop_share, 1 + (pause * longest).astype(np.int64), 0)


class _Streets:
    """What a step asks of a road map, as arrays: turns with their probabilities, and places along the roads."""

    def __init__(self, road_map: RoadMap, allowed: Bools | None, turns: tuple[float, float, float]) -> None:
        self.lengths = road_map.lengths
        known = np.isfinite(road_map.speed_limits)
        usual = float(road_map.speed_limits[known].mean()) if known.any() else USUAL_LIMIT
        self.limits = np.where(known, road_map.speed_limits, usual)
        onward = [
            list(found) if allowed is None or allowed[row] else []
            for row, found in enumerate(road_map.successors)
        ]
        alive = find_circulating(onward, road_map.lengths)
        if not alive.any():
            raise UserError("no roads on which vehicles can circulate")
        self._starts = np.flatnonzero(alive)
        self._ends = np.cumsum(self.lengths[self._starts])
        self._line_up(road_map)
        self._list_turns([[s for s in found if alive[s]] for found in onward], turns)

    def draw_roads(self, dice: Floats) -> Ints:
        """(N,) roads, drawn in proportion to their lengths."""
        drawn = np.searchsorted(self._ends, dice * self._ends[-1], side="right")
        found: Ints = self._starts[np.minimum(drawn, len(self._starts) - 1)]
        return found

    def choose(self, roads: Ints, dice: Floats) -> Ints:
        """(n,) the road that follows each of these, by the weights of the turns."""
        turn = (dice[:, None] >= self._shares[roads]).sum(axis=1)
        return np.asarray(self._followers[roads, turn])

    def measure(self, roads: Ints, followers: Ints) -> Floats:
        """(n,) metres from the start of each road to the start of the one that follows."""
        step = self._first[followers] - self._last[roads]
        return np.asarray(self.lengths[roads] + np.hypot(step[:, 0], step[:, 1]))

    def locate(self, roads: Ints, followers: Ints, offsets: Floats) -> Floats:
        """(n, 2) places ``offsets`` metres after the start of a road, the way across the junction included."""
        along = np.minimum(offsets, self.lengths[roads])
        at = self._base[roads] + along
        piece = np.searchsorted(self._marks, at, side="right") - 1
        piece = np.clip(piece, self._first_point[roads], self._last_point[roads] - 1)
        share = (at - self._marks[piece]) / (self._marks[piece + 1] - self._marks[piece])
        places = self._points[piece] + share[:, None] * (self._points[piece + 1] - self._points[piece])
        beyond = np.flatnonzero(offsets > self.lengths[roads])
        start, end = self._last[roads[beyond]], self._first[followers[beyond]]
        across = np.maximum(np.hypot(*(end - start).T), 1e-9)
        share = (offsets[beyond] - self.lengths[roads[beyond]]) / across
        places[beyond] = start + np.minimum(share, 1.0)[:, None] * (end - start)
        return np.asarray(places)

    def _line_up(self, road_map: RoadMap) -> None:
        """Lay all roads behind each other, a metre apart, so that one search finds the piece of any place."""
        lines = road_map.polylines
        along = [np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) for line in lines]
        self._base = np.concatenate([[0.0], np.cumsum(self.lengths + 1.0)[:-1]])
        self._marks = np.concatenate([base + marks for base, marks in zip(self._base, along, strict=True)])
        self._points = np.concatenate(lines)
        ends = np.cumsum([len(line) for line in lines])
        self._first_point, self._last_point = ends - [len(line) for line in lines], ends - 1
        self._first, self._last = self._points[self._first_point], self._points[self._last_point]

    def _list_turns(self, followers: list[list[int]], turns: tuple[float, float, float]) -> None:
        """Followers of each road and the upper ends of their shares of the dice, padded."""
        width = max(len(found) for found in followers)
        self._followers = np.zeros((len(followers), width), dtype=np.int64)
        self._shares = np.ones((len(followers), width))
        for road, found in enumerate(followers):
            if found:
                shares = self._weigh(road, np.array(found), turns)
                self._followers[road] = found + [found[-1]] * (width - len(found))
                self._shares[road, : len(found) - 1] = np.cumsum(shares)[:-1]

    def _weigh(self, road: int, found: Ints, turns: tuple[float, float, float]) -> Floats:
        """Shares of the turns from a road; evenly where all that there are have no weight."""
        step = self._points[self._last_point[road]] - self._points[self._last_point[road] - 1]
        heading = np.arctan2(step[1], step[0])
        onward = self._points[self._first_point[found] + 1] - self._first[found]
        angle = np.arctan2(onward[:, 1], onward[:, 0]) - heading
        angle = np.mod(angle + np.pi, 2.0 * np.pi) - np.pi
        left, straight, right = turns
        weights = np.where(np.abs(angle) < STRAIGHT_BELOW, straight, np.where(angle > 0.0, left, right))
        weights = weights if weights.sum() > 0.0 else np.ones(len(found))
        return np.asarray(weights / weights.sum())

"""Vehicles that do not drive for themselves: convoys, and accounts whose device rides in another vehicle.

A convoy's first vehicle drives in the traffic; each other one is where the first was ``GAP_M`` of road earlier per
place, as trucks in a platoon are (gaps of constant length). A Sybil's account is where the vehicle is that carries
its device. The rows that are given such places go on driving in the traffic underneath, as anybody's cars.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from platoon.errors import UserError
from platoon.fleet import find_convoys, find_devices
from platoon.nouns import Bools, Floats, Ints
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.traffic import Traffic

GAP_M = 20.0
"""From one place in a convoy to the next: a truck of 12 m and 8 m between two (0.6 s at 50 km/h)."""
LARGEST_STEP_M = 120.0
"""A vehicle that is farther on after a second was moved past a jam: its way there is no way to follow."""
BOOK = "formation.json"


def arrange(scenario: Scenario, traffic: Traffic) -> Traffic:
    """The traffic, with the scenario's convoys and Sybils in their places."""
    devices = find_devices(scenario.fleet, scenario.seed)
    convoys = find_convoys(scenario.fleet, scenario.seed)
    if not convoys and (devices == np.arange(len(devices))).all():
        return traffic
    return Formation(traffic, convoys, devices)


class Formation:
    """Traffic in which some follow others. Satisfies ``Traffic``."""

    def __init__(self, traffic: Traffic, convoys: Sequence[Sequence[int]], devices: Ints) -> None:
        """``convoys``: rows, the first in front; ``devices`` (N,): the row that carries each row's device."""
        self._traffic = traffic
        self._convoys = [list(convoy) for convoy in convoys]
        self._devices = devices
        self._ways = [traffic.positions[[convoy[0]]] for convoy in self._convoys]
        """Of each convoy's first vehicle, newest first: (points, 2)."""
        self._place()

    @property
    def road_map(self) -> RoadMap:
        """The roads."""
        return self._traffic.road_map

    @property
    def positions(self) -> Floats:
        """(N, 2) metres."""
        return self._positions

    @property
    def present(self) -> Bools:
        """(N,) a follower is on the road once the first has driven far enough to make room for it."""
        return self._present

    @property
    def speeds(self) -> Floats:
        """(N,) metres per second."""
        return self._speeds

    def step(self) -> None:
        """One second passes."""
        self._traffic.step()
        for number, convoy in enumerate(self._convoys):
            here = self._traffic.positions[[convoy[0]]]
            way = np.concatenate([here, self._ways[number]])
            reached = _measure(way) <= GAP_M * len(convoy)
            self._ways[number] = way[: int(reached.sum()) + 1]
        self._place()

    def save(self, folder: Path) -> None:
        """Write the traffic, and the ways that are followed."""
        self._traffic.save(folder)
        ways = [way.tolist() for way in self._ways]
        (folder / BOOK).write_text(json.dumps(ways), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` wrote; raises ``UserError`` where it cannot be read."""
        path = folder / BOOK
        try:
            ways = json.loads(path.read_text(encoding="utf-8"))
            self._ways = [np.array(way, dtype=np.float64).reshape(-1, 2) for way in ways]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as saved convoys ({error})") from None
        if len(self._ways) != len(self._convoys) or not all(len(way) for way in self._ways):
            raise UserError(f"{path}: not the convoys of this fleet")
        self._traffic.restore(folder)
        self._place()

    def close(self) -> None:
        """Let go of the traffic."""
        self._traffic.close()

    def _place(self) -> None:
        positions, present = self._traffic.positions.copy(), self._traffic.present.copy()
        speeds = self._traffic.speeds.copy()
        for convoy, way in zip(self._convoys, self._ways, strict=True):
            behind, along = GAP_M * np.arange(len(convoy)), _measure(way)
            for axis in (0, 1):
                positions[convoy, axis] = np.interp(behind, along, way[:, axis])
            present[convoy] = present[convoy[0]] & (behind <= along[-1])
            speeds[convoy] = speeds[convoy[0]]
        self._positions, self._present = positions[self._devices], present[self._devices]
        self._speeds = speeds[self._devices]


def _measure(way: Floats) -> Floats:
    """(points,) metres of road from the first point of a way to each; a leap past a jam counts as none."""
    steps = np.hypot(*np.diff(way, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(np.where(steps <= LARGEST_STEP_M, steps, 0.0))])

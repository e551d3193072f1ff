"""Which vehicle of the fleet takes which trip.

A fleet is a fixed list of N vehicles, each with its owner's keys, processor and data. The traffic of a real
scenario or a trace is made of trips: they begin, end, and others begin elsewhere. A fleet vehicle takes one trip at
a time and is off the road in between:

- a trip that was seen before keeps its vehicle, so one that vanishes and returns is the same vehicle;
- the trip named ``platoon.7`` is vehicle 7's own (exported runs are named so);
- another trip goes to a vehicle that has made none yet, then to the one that has rested longest, at least
  ``REST_S``: the twin must be able to tell the end of a trip from a jump;
- where nobody is free, the trip is other people's traffic to its end.
"""

import re
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from platoon.nouns import Ints

REST_S: Final = 60
OWN_NAME: Final = re.compile(r"platoon\.(\d+)")
NOBODY: Final = -1
NEVER: Final = -(2**62)


class Seats:
    """N vehicles and the trips that they are on. A pure fold of the calls of ``move``."""

    def __init__(self, vehicles: int) -> None:
        self._vehicles = vehicles
        self._row: dict[str, int] = {}
        """Vehicle of each trip under way; ``NOBODY`` for other people's."""
        self._before: dict[str, int] = {}
        """Vehicle that each ended trip had."""
        self._trip: dict[int, str] = {}
        """Trip of each vehicle that is on one."""
        self._free_since = np.full(vehicles, NEVER)
        self._waiting = deque((NEVER, row) for row in range(vehicles))
        """Free vehicles, who waits longest first; entries that do not hold any more are passed over."""

    def move(self, second: int, names: Collection[str]) -> None:
        """Now these trips are under way: those that are not any more free their vehicles, new ones get one."""
        under_way = set(names)
        for name in sorted(self._row.keys() - under_way):
            row = self._row.pop(name)
            if row != NOBODY:
                self._before[name] = row
                del self._trip[row]
                self._free_since[row] = second
                self._waiting.append((second, row))
        fresh = sorted(under_way - self._row.keys())
        # Names with a claim first: what is theirs must not go to a newcomer of the same second.
        for name in sorted(fresh, key=lambda name: self._claim(name) is None):
            row = self._find(name, second)
            self._row[name] = row
            if row != NOBODY:
                self._trip[row] = name

    def rows(self, names: Sequence[str]) -> Ints:
        """(n,) vehicle of each of these trips; -1 where it is other people's."""
        return np.array([self._row.get(name, NOBODY) for name in names], dtype=np.int64)

    @property
    def trips(self) -> list[tuple[int, str]]:
        """Vehicles on a trip, in order, with the trip's name."""
        return sorted(self._trip.items())

    def _claim(self, name: str) -> int | None:
        own = OWN_NAME.fullmatch(name)
        if own and int(own[1]) < self._vehicles:
            return int(own[1])
        return self._before.get(name)

    def _find(self, name: str, second: int) -> int:
        claim = self._claim(name)
        if claim is not None and claim not in self._trip:
            return claim
        while self._waiting and self._waiting[0][0] <= second - REST_S:
            since, row = self._waiting.popleft()
            if row not in self._trip and self._free_since[row] == since:
                return row
        return NOBODY

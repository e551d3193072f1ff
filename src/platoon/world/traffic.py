"""What the world asks of traffic: SUMO, walkers and traces give it, and tests script it."""

from pathlib import Path
from typing import Protocol

from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap

LARGEST_STEP_M = 120.0
"""A vehicle that is farther on after a second did not drive there (moved past a jam, another trip): it is not
interpolated."""


class Traffic(Protocol):
    """Vehicles on roads, moved one second at a time. Rows are vehicles (N), and none is ever lost."""

    @property
    def road_map(self) -> RoadMap:
        """The roads that they drive on."""

    @property
    def positions(self) -> Floats:
        """(N, 2) metres; the last one known while a vehicle is not on the road."""

    @property
    def present(self) -> Bools:
        """(N,) the vehicle is on the road (not waiting to enter, not being moved out of a jam)."""

    @property
    def speeds(self) -> Floats:
        """(N,) metres per second; 0 while a vehicle is not on the road."""

    def step(self) -> None:
        """One second passes."""

    def save(self, folder: Path) -> None:
        """Write all that the future depends on."""

    def restore(self, folder: Path) -> None:
        """Go on from what ``save`` wrote: the same future, bit for bit."""

    def close(self) -> None:
        """Let go of everything; may be called twice."""

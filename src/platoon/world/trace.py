"""Traffic that follows given tracks, second by second: scripted in tests, or recorded elsewhere."""

import json
from pathlib import Path

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Bools, Floats
from platoon.physics.roads import RoadMap

BOOKKEEPING = "trace.json"


class TraceTraffic:
    """Vehicles on tracks of T seconds. Satisfies ``Traffic``; after its last second a track stands still."""

    def __init__(self, road_map: RoadMap, tracks: Floats, present: Bools | None = None) -> None:
        """``tracks`` is (T, N, 2) metres, ``present`` (T, N); without it everybody is on the road always.

        Raises:
            ValueError: shapes that do not fit, or a coordinate that is not finite.
        """
        self.road_map = road_map
        self._tracks = np.asarray(tracks, dtype=np.float64)
        if self._tracks.ndim != 3 or self._tracks.shape[2] != 2 or not len(self._tracks):
            raise ValueError(f"tracks have shape {self._tracks.shape}, not (seconds, vehicles, 2)")
        if not np.isfinite(self._tracks).all():
            raise ValueError("a track has a coordinate that is not finite")
        everywhere = np.ones(self._tracks.shape[:2], dtype=np.bool_)
        self._on_road = everywhere if present is None else np.asarray(present, dtype=np.bool_)
        if self._on_road.shape != self._tracks.shape[:2]:
            raise ValueError(f"present has shape {self._on_road.shape}, not {self._tracks.shape[:2]}")
        self._second = 0

    @property
    def positions(self) -> Floats:
        """(N, 2) metres."""
        return np.asarray(self._tracks[self._row(self._second)])

    @property
    def present(self) -> Bools:
        """(N,)"""
        return np.asarray(self._on_road[self._row(self._second)])

    @property
    def speeds(self) -> Floats:
        """(N,) metres per second over the last second; 0 off the road."""
        moved = self.positions - self._tracks[self._row(self._second - 1)]
        return np.where(self.present, np.hypot(moved[:, 0], moved[:, 1]), 0.0)

    def step(self) -> None:
        """One second passes."""
        self._second += 1

    def save(self, folder: Path) -> None:
        """Write the second."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BOOKKEEPING).write_text(json.dumps({"second": self._second}), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from the second that was saved; raises ``UserError`` where there is none."""
        path = folder / BOOKKEEPING
        try:
            self._second = int(json.loads(path.read_text(encoding="utf-8"))["second"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: cannot be read as a saved trace ({error})") from None

    def close(self) -> None:
        """Nothing is held."""

    def _row(self, second: int) -> int:
        return min(max(second, 0), len(self._tracks) - 1)

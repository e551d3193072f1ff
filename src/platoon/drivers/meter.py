"""CPU seconds by what they were spent on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("start", "train", "evaluate", "twin", "ledger", "judge", "world", "other")
"""Keys of ``cpu_seconds`` in a summary."""


class Meter:
    """Adds up CPU seconds: of this process by measuring, of workers by what they report."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._begun = time.process_time()
        self._wall = time.perf_counter()
        self._inside = 0.0
        self.reported = 0.0
        """CPU seconds that workers said what they spent on."""

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count the CPU time of this process in the block."""
        begun = time.process_time()
        yield
        spent = time.process_time() - begun
        self.seconds[part] += spent
        self._inside += spent

    def report(self, part: str, seconds: float) -> None:
        """Count CPU time that a worker process spent."""
        self.seconds[part] += seconds
        self.reported += seconds

    def close(self) -> dict[str, float]:
        """All seconds, with what this process spent outside of any block as ``other``."""
        other = time.process_time() - self._begun - self._inside
        return {**self.seconds, "other": self.seconds["other"] + other}

    @property
    def wall_seconds(self) -> float:
        """Seconds since the meter was made."""
        return time.perf_counter() - self._wall

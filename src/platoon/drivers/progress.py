"""What a run tells while it goes on; the command line shows it, a program may ignore it."""

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Hears of a run's progress."""

    def started(self, name: str, rounds: int, done: int) -> None:
        """A run begins, or goes on after ``done`` rounds."""
        ...

    def step(self, name: str, what: str) -> None:
        """Something that takes a while begins: "starting traffic", "training", ..."""
        ...

    def played(self, name: str, row: Mapping[str, Any]) -> None:
        """A round is committed; ``row`` is its row of the table ``rounds``."""
        ...

    def ended(self, name: str, reason: str) -> None:
        """The run is over."""
        ...


class Silent:
    """Hears and says nothing."""

    def started(self, name: str, rounds: int, done: int) -> None: ...

    def step(self, name: str, what: str) -> None: ...

    def played(self, name: str, row: Mapping[str, Any]) -> None: ...

    def ended(self, name: str, reason: str) -> None: ...

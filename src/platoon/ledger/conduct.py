"""What each edge server did in a round, as the record says it: how far its scores were off, what it missed, for
what it was named, and what that cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from platoon.ledger.contracts import Event
from platoon.ledger.model_stakes import REASONS, STEPS, unpack
from platoon.nouns import Address, EdgeServerId, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """One edge server in one settled round."""

    edge_server: EdgeServerId
    updates: int
    """That it recorded and that were taken."""
    deviation: int | None
    """Mean distance of its scores from the medians, ppm; None where it did not score, or nothing was scored."""
    missed: tuple[str, ...]
    """Steps it was absent from, of "record", "score", "vote". Costs nothing."""
    named: tuple[str, ...]
    """Why it is named, of "scores", "vote"."""
    taken: Tokens
    """Of its stake, for the task's escrow."""
    stake: Tokens
    """Left after the round."""


_EVENTS = frozenset({"Recorded", "Deviations", "Absent", "Named", "Settled"})


@dataclass(kw_only=True)
class _Open:
    """What the events of a round have said so far."""

    updates: dict[Address, int] = field(default_factory=dict)
    deviations: dict[Address, int] = field(default_factory=dict)
    missed: dict[Address, int] = field(default_factory=dict)
    named: dict[Address, tuple[int, int]] = field(default_factory=dict)
    """By edge server: reasons, taken."""
    rows: tuple[Conduct, ...] = ()


class ConductBook:
    """A fold over events; keeps the open round and the one before."""

    def __init__(
        self, seats: Mapping[Address, EdgeServerId], read_stakes: Callable[[], Mapping[Address, int]]
    ) -> None:
        """``seats``: every edge server; ``read_stakes``: what those that take part now have at stake."""
        self._seats = dict(seats)
        self._read_stakes = read_stakes
        self._rounds: dict[int, _Open] = {}

    def rows(self, round_number: int) -> tuple[Conduct, ...]:
        """The edge servers of a settled round, by id; nothing for a round that is open or long gone."""
        return self._rounds[round_number].rows if round_number in self._rounds else ()

    def take(self, events: Sequence[Event]) -> None:
        """Fold more events in, in their order."""
        for event in events:
            if event.name in _EVENTS:
                self._take(event, event.values["round"])

    def _take(self, event: Event, number: int) -> None:
        now, values = self._rounds.get(number), event.values
        if now is None:
            self._rounds = {kept: rows for kept, rows in self._rounds.items() if kept == number - 1}
            now = self._rounds[number] = _Open()
        if event.name == "Recorded":
            now.updates[values["edge_server"]] = len(values["vehicles"])
        elif event.name == "Deviations":
            scorers = [server for server, seat in self._seats.items() if values["scorers"] >> seat & 1]
            now.deviations = dict(zip(scorers, values["values"], strict=True))
        elif event.name == "Absent":
            now.missed[values["edge_server"]] = values["steps"]
        elif event.name == "Named":
            now.named[values["edge_server"]] = (values["reasons"], values["taken"])
        elif event.name == "Settled":
            stakes = self._read_stakes()
            present = [server for server in self._seats if server in stakes]
            now.rows = tuple(self._describe(now, server, stakes[server]) for server in present)

    def _describe(self, now: _Open, server: Address, stake: int) -> Conduct:
        reasons, taken = now.named.get(server, (0, 0))
        return Conduct(
            edge_server=self._seats[server],
            updates=now.updates.get(server, 0),
            deviation=now.deviations.get(server),
            missed=unpack(now.missed.get(server, 0), STEPS),
            named=unpack(reasons, REASONS),
            taken=Tokens(taken),
            stake=Tokens(stake),
        )

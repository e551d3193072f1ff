"""The reference of ``clocks.vy``: what time contracts hold it to be."""

from dataclasses import dataclass, field

from platoon.ledger.model_registry import Registry, require
from platoon.nouns import Address

MAX_NUMBER = 2**63 - 1


@dataclass(kw_only=True)
class Clocks:
    """Times of edge servers, microseconds."""

    registry: Registry
    times: dict[Address, int] = field(default_factory=dict)
    """The latest time that each edge server claimed."""

    def enter(self, sender: Address, at: int) -> tuple[int, dict[Address, int]]:
        """The time that deadlines are held against, and the edge servers' times with the caller's: these are kept
        where the call goes through."""
        self.registry.require_edge_server(sender)
        require(at <= MAX_NUMBER, "time out of bounds")
        require(at >= self.times.get(sender, 0), "time runs backwards")
        times = {**self.times, sender: at}
        return max(at, self._now(times)), times

    def _now(self, times: dict[Address, int]) -> int:
        """The latest time that more than a third of the active edge servers have reached."""
        claimed = sorted((times.get(server, 0) for server in self.registry.active), reverse=True)
        return claimed[len(claimed) // 3]

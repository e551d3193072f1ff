"""What the record shows of edge servers that tampered with a local block: what the contract refused, and what it
took because it cannot see what the audit sees.

It does not say why. An edge server whose transaction was refused harms its own chain first; a block that was never
anchored, since its committee did not seal it, leaves no trace but the word *unsealed*.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from platoon.ledger.model import Outcome
from platoon.nouns import EdgeServerId

_NAMES = {"Training.record": "record", "Checkpoint.anchor": "local block"}
"""What an edge server sends of its round's block, by the function that it calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFault:
    """One thing that an edge server did with its local block of a round, and should not have done."""

    round: int
    edge_server: EdgeServerId
    found_by: Literal["contract", "audit"]
    """The contract refused it; or took it, and the audit names it."""
    why: str

    @property
    def words(self) -> str:
        """In one line."""
        return f"round {self.round}, edge server {self.edge_server}: {self.why}"


def find_refusal(
    round_number: int, edge_server: EdgeServerId, function: str, outcome: Outcome
) -> BlockFault | None:
    """A record or a local block that the contract refused; None for any other call."""
    if outcome.ok or function not in _NAMES:
        return None
    why = f"its {_NAMES[function]} was refused ({outcome.error})"
    return BlockFault(round=round_number, edge_server=edge_server, found_by="contract", why=why)


def find_doubts(
    round_number: int, edge_server: EdgeServerId, *, is_recorded: bool, is_drawn: bool
) -> tuple[BlockFault, ...]:
    """What an anchored local block is not (``AuditedLocalBlock``)."""
    doubts = (
        (is_recorded, "its local block is not what it recorded"),
        (is_drawn, "its committee is not the one that was drawn"),
    )
    return tuple(
        BlockFault(round=round_number, edge_server=edge_server, found_by="audit", why=why)
        for is_so, why in doubts
        if not is_so
    )


def describe_faults(faults: Sequence[BlockFault]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "round": fault.round,
            "edge_server": int(fault.edge_server),
            "found_by": fault.found_by,
            "why": fault.why,
        }
        for fault in faults
    ]


def count_named(faults: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """By edge server: rounds in which it is named, of faults as ``describe_faults`` gives them.

    >>> count_named([{"round": number, "edge_server": 2} for number in (1, 1, 3)])
    {'2': 2}
    """
    places = sorted({(fault["edge_server"], fault["round"]) for fault in faults})
    return dict(Counter(str(server) for server, _ in places))

"""Calls and values of the Plausibility contract: who is flagged for moving and sending as no stranger would."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platoon.ledger.contracts import ContractSet
from platoon.ledger.model_plausibility import Kind, Status
from platoon.nouns import Address, Digest, VehicleId
from platoon.records.transactions import Call

__all__ = ["Allegation", "Case", "Kind", "PlausibilityCalls", "Status", "read_case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A cluster that a majority of the edge servers flagged."""

    number: int
    """From 1."""
    round: int
    kind: Kind
    status: Status
    vehicles: tuple[VehicleId, ...]
    """Its members, ascending by the account that they used then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allegation:
    """What one edge server says of a cluster."""

    kind: Kind
    members: tuple[Address, ...]
    """Ascending."""
    apart: int
    """Millimetres."""
    similarity: int
    """Of their updates, ppm."""
    evidence: Digest
    """SHA-256 of what it measured, which it keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlausibilityCalls:
    """Builds the calls; whoever signs one as a transaction is its sender."""

    contracts: ContractSet

    def report(self, round: int, alleged: Allegation) -> Call:
        """An edge server alleges, before the verdicts of the round."""
        return self.contracts.call(
            "Plausibility",
            "report",
            *(round, int(alleged.kind), list(alleged.members)),
            *(alleged.apart, alleged.similarity, alleged.evidence),
        )

    def appeal(self, number: int) -> Call:
        """A member asks for a second judgement of its case."""
        return self.contracts.call("Plausibility", "appeal", number)

    def review(self, number: int, *, upheld: bool, apart: int, similarity: int, evidence: Digest) -> Call:
        """An edge server's second judgement."""
        return self.contracts.call("Plausibility", "review", number, upheld, apart, similarity, evidence)


def read_case(number: int, said: Sequence[Any]) -> Case:
    """A case from what the contract's view says of it."""
    status, round_number, kind, takings = said
    return Case(
        number=number,
        round=round_number,
        kind=Kind(kind),
        status=Status(status),
        vehicles=tuple(VehicleId((taking >> 32) - 1) for taking in takings),
    )

"""The reference of ``Plausibility.vy``: the same checks in the same order (DTB-FL 4.3.4).

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_registry import VEHICLE, Registry, require
from platoon.ledger.model_training import Phase, Training
from platoon.nouns import MILLION, Address, Digest
from platoon.records.rules import compute_lower_median, has_majority

MOST_MEMBERS = 64
"""Of a case."""
MOST_APART = 2**31 - 1
"""Millimetres."""
_NO_ACCOUNT = bytes(20)


class Kind(IntEnum):
    """What a case is about."""

    COLLUSION = 1
    SYBIL = 2


class Status(IntEnum):
    """Of a case."""

    FLAGGED = 1
    APPEALED = 2
    UPHELD = 3
    LIFTED = 4


@dataclass(kw_only=True)
class Case:
    """What a majority of the edge servers has alleged."""

    round: int
    kind: int
    members: tuple[Address, ...]
    """Under the accounts that they used then."""
    vehicles: tuple[int, ...]
    """Ids, in the order of ``members``."""
    taken: tuple[int, ...]
    """Of each reputation, ppm."""
    apart: int
    similarity: int
    status: Status = Status.FLAGGED
    votes: dict[Address, bool] = field(default_factory=dict)
    """By edge server: whether it upholds the flag."""


@dataclass(kw_only=True)
class Plausibility:
    """Who is flagged."""

    address: Address
    penalty: int
    """Taken from each member's reputation, ppm."""
    registry: Registry
    training: Training
    reports: dict[tuple[int, int, tuple[Address, ...]], dict[Address, tuple[int, int]]] = field(
        default_factory=dict
    )
    """Of the open round, by allegation (round, kind, members) and edge server: apart, similarity."""
    flagged: set[tuple[int, int, tuple[Address, ...]]] = field(default_factory=set)
    """Allegations that are cases."""
    cases: list[Case] = field(default_factory=list)
    """Case number 1 is the first."""

    def __post_init__(self) -> None:
        if not 0 <= self.penalty <= MILLION:
            raise ValueError(f"a penalty of {self.penalty}: allowed: 0 to {MILLION} ppm")

    def report(  # noqa: PLR0917 - as the contract takes it
        self,
        sender: Address,
        round_number: int,
        kind: int,
        members: Sequence[Address],
        apart: int,
        similarity: int,
        evidence: Digest,
    ) -> list[Event]:
        """One edge server's allegation."""
        require(len(members) <= MOST_MEMBERS, "reverted")
        self._enter(sender)
        require(round_number == self.training.open.round, "another round is open")
        require(kind in (Kind.COLLUSION, Kind.SYBIL), "no such kind")
        require(len(members) >= 2, "too few members")
        _check_measures(apart, similarity)
        last = _NO_ACCOUNT
        for member in members:
            require(member > last, "members not ascending")
            last = member
            require(self.registry.roles.get(member) == VEHICLE, "not a vehicle")
        allegation = (round_number, int(kind), tuple(members))
        reports = self.reports.get(allegation, {})
        require(sender not in reports, "reported before")
        reports = reports | {sender: (apart, similarity)}
        self.reports = {kept: said for kept, said in self.reports.items() if kept[0] == round_number}
        self.reports[allegation] = reports
        measured = {"apart": apart, "similarity": similarity, "evidence": evidence}
        said = {"round": round_number, "edge_server": sender, "kind": kind, "members": tuple(members)}
        events = [Event("Plausibility", "Reported", said | measured)]
        active = self.registry.active
        counted = [measures for server, measures in reports.items() if server in active]
        if allegation not in self.flagged and has_majority(len(counted), len(active)):
            self.flagged.add(allegation)
            events.append(
                self._flag(*allegation, [compute_lower_median(lane) for lane in zip(*counted, strict=True)])
            )
        return events

    def appeal(self, sender: Address, number: int) -> list[Event]:
        """A member asks for a second judgement."""
        require(self.registry.roles.get(sender) == VEHICLE, "not a vehicle")
        require(not self.training.closed, "the task is closed")
        case = self._case(number)
        require(case is not None and case.status is Status.FLAGGED, "not open to appeal")
        assert case is not None
        require(self.registry.vehicles[sender] in case.vehicles, "not of this case")
        case.status = Status.APPEALED
        return [Event("Plausibility", "Appealed", {"number": number, "vehicle": sender})]

    def review(  # noqa: PLR0917 - as the contract takes it
        self, sender: Address, number: int, upheld: bool, apart: int, similarity: int, evidence: Digest
    ) -> list[Event]:
        """One edge server's second judgement."""
        self._enter(sender)
        case = self._case(number)
        require(case is not None and case.status is Status.APPEALED, "not under appeal")
        assert case is not None
        _check_measures(apart, similarity)
        require(sender not in case.votes, "reviewed before")
        case.votes[sender] = upheld
        said = {"number": number, "edge_server": sender, "upheld": upheld}
        measured = {"apart": apart, "similarity": similarity, "evidence": evidence}
        return [Event("Plausibility", "Reviewed", said | measured), *self._decide(number, case)]

    # ---- helpers ------------------------------------------------------------------------------------------------

    def _enter(self, sender: Address) -> None:
        self.registry.require_edge_server(sender)
        require(not self.training.closed, "the task is closed")
        require(self.training.open.phase is not Phase.JUDGED, "the verdicts are given")

    def _case(self, number: int) -> Case | None:
        return self.cases[number - 1] if 1 <= number <= len(self.cases) else None

    def _flag(
        self, round_number: int, kind: int, members: tuple[Address, ...], measures: Sequence[int]
    ) -> Event:
        vehicles = tuple(self.registry.vehicles[member] for member in members)
        before, now = self._correct(vehicles, [-self.penalty] * len(vehicles))
        apart, similarity = measures
        self.cases.append(
            Case(
                round=round_number,
                kind=kind,
                members=members,
                vehicles=vehicles,
                taken=tuple(old - new for old, new in zip(before, now, strict=True)),
                apart=apart,
                similarity=similarity,
            )
        )
        said = {"number": len(self.cases), "round": round_number, "kind": kind, "members": members}
        moved = {"apart": apart, "similarity": similarity, "before": before, "now": now}
        return Event("Plausibility", "Flagged", said | moved)

    def _decide(self, number: int, case: Case) -> list[Event]:
        """The decision, once the missing votes cannot turn it: without a majority that upholds, it is lifted."""
        active = self.registry.active
        votes = [vote for server, vote in case.votes.items() if server in active]
        said: dict[str, Any] = {"number": number, "upheld": True, "before": (), "now": ()}
        if has_majority(sum(votes), len(active)):
            case.status = Status.UPHELD
        elif 2 * (len(votes) - sum(votes)) >= len(active):
            case.status = Status.LIFTED
            before, now = self._correct(case.vehicles, case.taken)
            said |= {"upheld": False, "before": before, "now": now}
        else:
            return []
        return [Event("Plausibility", "Decided", said)]

    def _correct(
        self, vehicles: Sequence[int], moves: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Reputations before and after."""
        pairs = [self.training.correct(vehicle, move) for vehicle, move in zip(vehicles, moves, strict=True)]
        return tuple(before for before, _ in pairs), tuple(now for _, now in pairs)


def _check_measures(apart: int, similarity: int) -> None:
    require(apart <= MOST_APART and similarity <= MILLION, "measure out of bounds")

"""The reference of a main chain: ``Shards.vy`` beside the Registry, the same checks in the same order.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from platoon.ledger.contracts import ContractSet, Event
from platoon.ledger.model import Outcome
from platoon.ledger.model_checkpoint import Seal, recover_signers
from platoon.ledger.model_registry import NO_ACCOUNT, VEHICLE, Registry, Rejected, require
from platoon.nouns import MILLION, Address, Digest
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.rules import MAX_EDGE_SERVERS, compute_quorum
from platoon.records.shards import (
    MAX_EVIDENCE,
    MAX_ROWS,
    MAX_SHARDS,
    Reputation,
    compute_report_digest,
    merge_reputations,
)
from platoon.records.typed_data import Domain

_MAX_ROUND = 2**63 - 1
_WORD32 = 2**32 - 1
_WORD64 = 2**64 - 1


@dataclass(kw_only=True)
class Shards:
    """What task chains say of their vehicles."""

    operator: Address
    registry: Registry
    start: int
    """Reputation of whom no shard has evidence of, ppm."""
    most: int
    """Evidence of one shard that counts at most, ppm of one observation."""
    members: dict[Digest, tuple[Address, ...]] = field(default_factory=dict)
    """By shard, in the order of listing; nobody of one that is closed."""
    standings: dict[tuple[int, Digest], tuple[int, Reputation]] = field(default_factory=dict)
    """By vehicle's number and shard: the newest round, and what was reported of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.start <= MILLION:
            raise ValueError(f"start = {self.start}: allowed: 0 to {MILLION} ppm")
        if not 1 <= self.most <= MAX_EVIDENCE:
            raise ValueError(f"most = {self.most}: allowed: 1 to {MAX_EVIDENCE} ppm")

    def list_shard(self, sender: Address, task: Digest, edge_servers: Sequence[Address]) -> list[Event]:
        """The operator says whose quorum speaks for a task chain."""
        require(len(edge_servers) <= MAX_EDGE_SERVERS, "reverted")
        require(sender == self.operator, "only the operator")
        require(task != EMPTY_DIGEST, "no task")
        in_order = all(one < other for one, other in pairwise([NO_ACCOUNT, *edge_servers]))
        require(in_order, "edge servers not ascending")
        if task not in self.members:
            require(len(edge_servers) > 0, "no such shard")
            require(len(self.members) < MAX_SHARDS, "no shard left")
        self.members[task] = tuple(edge_servers)
        return [Event("Shards", "Listed", {"task": task, "edge_servers": tuple(edge_servers)})]

    def report_standings(
        self, sender: Address, task: Digest, round_number: int, rows: Sequence[int], seals: Sequence[Seal]
    ) -> list[Event]:
        """A shard's report, brought by an edge server of this chain."""
        require(len(rows) <= MAX_ROWS and len(seals) <= MAX_EDGE_SERVERS, "reverted")
        self.registry.require_edge_server(sender)
        require(0 < round_number <= _MAX_ROUND, "round out of bounds")
        last = 0
        for row in rows:
            require(row >> 96 > last, "vehicles not ascending")
            last = row >> 96
            require(row >> 32 & _WORD64 <= MAX_EVIDENCE, "evidence out of bounds")
            require(row & _WORD32 <= MILLION, "reputation out of bounds")
        self._check_seals(task, round_number, rows, seals)
        taken = 0
        for row in rows:
            account = Address((row >> 96).to_bytes(20, "big"))
            if self.registry.roles.get(account) != VEHICLE:
                continue
            key = (self.registry.vehicles[account], task)
            if key in self.standings and self.standings[key][0] >= round_number:
                continue
            self.standings[key] = round_number, Reputation(row & _WORD32, row >> 32 & _WORD64)
            taken += 1
        values = {"task": task, "round": round_number, "edge_server": sender, "taken": taken}
        return [Event("Shards", "StandingsReported", values)]

    def reputation(self, vehicle: Address) -> Reputation:
        """The global reputation, and what it rests on."""
        shards = [task for task, members in self.members.items() if members]
        reported = (self.reported(task, vehicle)[1] for task in shards)
        return merge_reputations(reported, start=self.start, most=self.most)

    def reported(self, task: Digest, vehicle: Address) -> tuple[int, Reputation]:
        """The newest round in which a shard spoke of a vehicle, and what it said; zeros where it never did."""
        nothing = (0, Reputation(0))
        if self.registry.roles.get(vehicle) != VEHICLE:
            return nothing
        return self.standings.get((self.registry.vehicles[vehicle], task), nothing)

    def _check_seals(
        self, task: Digest, round_number: int, rows: Sequence[int], seals: Sequence[Seal]
    ) -> None:
        members = self.members.get(task, ())
        require(len(members) > 0, "no such shard")
        digest = compute_report_digest(task, round_number, rows)
        last: bytes = NO_ACCOUNT
        for seal in seals:
            (signer,) = recover_signers(digest, [seal])
            require(signer > last, "signers not ascending")
            last = signer
            require(signer in members, "not of the shard")
        require(len(seals) >= compute_quorum(len(members)), "seals lack a quorum")


class MainModel:
    """A main chain's state after its deployment."""

    def __init__(self, contracts: ContractSet, chain_id: int, *, start: int, most: int) -> None:
        """``start``, ``most``: as ``Shards`` was deployed with.

        Raises:
            ValueError: what it would not take.
        """
        domain = Domain(chain_id=chain_id, contract=contracts.addresses["Registry"])
        self.registry = Registry(operator=contracts.operator, separator=domain.separator)
        self.shards = Shards(operator=contracts.operator, registry=self.registry, start=start, most=most)
        self._handlers: dict[tuple[str, str], Callable[..., list[Event]]] = {
            ("Registry", "register"): self.registry.register,
            ("Registry", "revoke"): self.registry.revoke,
            ("Registry", "rotate"): self.registry.rotate,
            ("Registry", "bind"): self.registry.bind,
            ("Registry", "begin"): self.registry.begin,
            ("Shards", "list_shard"): self.shards.list_shard,
            ("Shards", "report_standings"): self.shards.report_standings,
        }

    def apply(self, sender: Address, contract: str, function: str, arguments: Sequence[Any]) -> Outcome:
        """Folds one call into the state; a rejected one leaves it untouched."""
        try:
            events = self._handlers[contract, function](sender, *arguments)
        except Rejected as rejected:
            return Outcome(False, str(rejected), ())
        return Outcome(True, "", tuple(events))

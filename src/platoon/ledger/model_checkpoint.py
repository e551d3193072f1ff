"""The reference of ``Checkpoint.vy`` and ``Sealing.vy``: the same checks in the same order.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from platoon.ledger.contracts import Event
from platoon.ledger.model_accounts import Token
from platoon.ledger.model_registry import EDGE_SERVER, PUBLISHER, VEHICLE, Registry, Rejected, require
from platoon.ledger.model_training import Training
from platoon.nouns import Address, Digest
from platoon.records.abi import Arguments
from platoon.records.committee import MAX_MEMBERS, CommitteeRules
from platoon.records.encoding import EMPTY_DIGEST, keccak
from platoon.records.local_block import LocalBlock
from platoon.records.merkle import is_included
from platoon.records.rules import MAX_UPDATES, compute_quorum
from platoon.records.signing import recover
from platoon.records.typed_data import compute_update_digest

MAX_DEPTH = 7
"""Siblings of a proof at most: a tree over 128 updates."""
_UINT64 = 2**64
_ADDRESSES = Arguments([{"type": "address[]"}])

Seal = tuple[int, int, int]
"""v, r, s."""
Claim = tuple[Address, Digest, int, int, int]
"""Vehicle, digest and samples of its update, position in the block, siblings of its proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """A local block on the global chain."""

    block: LocalBlock
    committee: tuple[Address, ...]
    """Ascending, the edge server included; the edge server alone where the block is unsealed."""
    signers: tuple[Address, ...]
    """Ascending."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a block: as little as the contract keeps, since there is one for every round."""

    height: int
    digest: Digest
    root: Digest
    count: int
    signers: Digest
    """Hash of the signers' list; zeros where the block is unsealed."""


@dataclass(kw_only=True)
class Checkpoint:
    """The anchors of all local chains."""

    registry: Registry
    training: Training
    rules: CommitteeRules
    """Of which the contract knows all but the reward."""
    newest: dict[Address, Anchored] = field(default_factory=dict)
    """The last block of each local chain."""
    kept: dict[Address, dict[int, Kept]] = field(default_factory=dict)
    """By edge server and round."""
    forks: dict[tuple[Address, int], Digest] = field(default_factory=dict)
    """The second block that an edge server signed in a round."""

    def is_forked(self, edge_server: Address) -> bool:
        """Whether a fork of the edge server's chain was proved."""
        return any(server == edge_server for server, _ in self.forks)

    def is_sealed(self, edge_server: Address, round_number: int) -> bool:
        """Whether the edge server anchored a sealed block of the round."""
        kept = self.kept.get(edge_server, {}).get(round_number)
        return kept is not None and kept.signers != EMPTY_DIGEST

    def anchor(  # noqa: PLR0917 - the contract's arguments
        self,
        sender: Address,
        round_number: int,
        height: int,
        parent: Digest,
        root: Digest,
        count: int,
        committee: Sequence[Address],
        seals: Sequence[Seal],
    ) -> list[Event]:
        """The sender's local block of the open round."""
        require(len(committee) <= MAX_MEMBERS + 1 and len(seals) <= MAX_MEMBERS + 1, "reverted")
        self.registry.require_edge_server(sender)
        require(not self.training.closed, "the task is closed")
        require(round_number == self.training.open.round, "another round is open")
        require(not self.is_forked(sender), "the chain has forked")
        tip = self.newest[sender].block if sender in self.newest else None
        require(tip is None or tip.round < round_number, "anchored before")
        on_tip = (tip.height + 1, tip.digest) if tip is not None else (1, EMPTY_DIGEST)
        require((height, parent) == on_tip, "not on the tip of its chain")
        require(count <= MAX_UPDATES and (count == 0) == (root == EMPTY_DIGEST), "count")
        self._check_committee(sender, committee)
        block = LocalBlock(
            task=self.training.task,
            edge_server=sender,
            height=height,
            round=round_number,
            parent=parent,
            root=root,
            count=count,
            sealed=len(committee) > 1,
        )
        signers = recover_signers(block.digest, seals)
        require(all(signer in committee for signer in signers), "not of the committee")
        require(len(signers) >= compute_quorum(len(committee)), "seals lack a quorum")
        require(sender in signers, "the edge server did not seal")
        self._keep(Anchored(block=block, committee=tuple(committee), signers=signers))
        values = {
            "round": round_number,
            "edge_server": sender,
            "height": height,
            "digest": block.digest,
            "root": root,
            "count": count,
            "sealed": block.sealed,
        }
        return [Event("Checkpoint", "Anchored", values)]

    def _keep(self, anchored: Anchored) -> None:
        block = anchored.block
        server = block.edge_server
        signers = hash_signers(anchored.signers) if block.sealed else Digest(EMPTY_DIGEST)
        self.newest[server] = anchored
        self.kept.setdefault(server, {})[block.round] = Kept(
            block.height, block.digest, block.root, block.count, signers
        )

    def _check_committee(self, sender: Address, committee: Sequence[Address]) -> None:
        last = bytes(20)
        for member in committee:
            require(member > last, "members not ascending")
            last = member
            require(member == sender or self.registry.roles.get(member) == VEHICLE, "not a member")
        require(sender in committee, "the edge server is not of the committee")
        require(len(committee) <= self.rules.size + 1, "committee too large")

    def report_fork(  # noqa: PLR0917 - the contract's arguments
        self,
        sender: Address,
        edge_server: Address,
        round_number: int,
        height: int,
        parent: Digest,
        root: Digest,
        count: int,
        seals: Sequence[Seal],
    ) -> list[Event]:
        """Evidence of a second block of one round, and so for one height."""
        require(len(seals) <= MAX_MEMBERS + 1, "reverted")
        require(EDGE_SERVER <= self.registry.roles.get(sender, 0) <= PUBLISHER, "not registered")
        first = self.kept.get(edge_server, {}).get(round_number)
        if first is None:
            raise Rejected("no block of that round")
        second = LocalBlock(
            task=self.training.task,
            edge_server=edge_server,
            height=height,
            round=round_number,
            parent=parent,
            root=root,
            count=count,
        ).digest
        require(second != first.digest, "the same block")
        require((edge_server, round_number) not in self.forks, "reported before")
        signers = recover_signers(second, seals)
        require(edge_server in signers, "the edge server did not seal")
        self.forks[edge_server, round_number] = second
        values = {
            "edge_server": edge_server,
            "round": round_number,
            "height": first.height,
            "first": first.digest,
            "second": second,
            "signers": signers,
        }
        return [Event("Checkpoint", "Forked", values)]

    def is_included(
        self,
        edge_server: Address,
        round_number: int,
        position: int,
        digest: Digest,
        proof: Sequence[Digest],
    ) -> bool:
        """Whether a record stands at a position of the edge server's block of a round."""
        kept = self.kept.get(edge_server, {}).get(round_number)
        if kept is None or position >= kept.count:
            return False
        return is_included(kept.root, position, digest, proof)


def hash_signers(signers: Sequence[Address]) -> Digest:
    """The hash by which the contract remembers who signed a block."""
    return keccak(_ADDRESSES.encode([signers]))


def recover_signers(digest: Digest, seals: Sequence[Seal]) -> tuple[Address, ...]:
    """``seals.signers`` of the contract: strictly ascending; raises ``Rejected``."""
    signers: list[Address] = []
    for v, r, s in seals:
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v if v in (27, 28) else 0])
        signer = recover(digest, signature)
        if signer is None:
            raise Rejected("bad seal")
        require(not signers or signer > signers[-1], "signers not ascending")
        signers.append(signer)
    return tuple(signers)


@dataclass(kw_only=True)
class Sealing:
    """The budget for proposing and sealing."""

    address: Address
    publisher: Address
    registry: Registry
    token: Token
    checkpoint: Checkpoint
    reward: int
    """For one block, 10^-6 token."""
    released: set[tuple[Address, int]] = field(default_factory=set)
    """By edge server and round."""

    def fund(self, sender: Address, amount: int) -> list[Event]:
        """The publisher pays in."""
        require(sender == self.publisher, "only the publisher")
        require(self.registry.roles.get(self.publisher) == PUBLISHER, "not a publisher")
        events = self.token.transfer_from(self.address, self.publisher, self.address, amount)
        return [*events, Event("Sealing", "Funded", {"amount": amount})]

    def release(  # noqa: PLR0917 - the contract's arguments
        self,
        sender: Address,
        edge_server: Address,
        round_number: int,
        signers: Sequence[Address],
        claims: Sequence[Claim],
        proof: Sequence[Digest],
    ) -> list[Event]:
        """Pays the signers of a sealed block, each vehicle by the inclusion of its own update."""
        bounds = ((signers, MAX_MEMBERS + 1), (claims, MAX_MEMBERS), (proof, MAX_MEMBERS * MAX_DEPTH))
        require(all(len(values) <= bound for values, bound in bounds), "reverted")
        self.registry.require_edge_server(sender)
        require((edge_server, round_number) not in self.released, "released before")
        require(self.checkpoint.is_sealed(edge_server, round_number), "no sealed block")
        known = self.checkpoint.kept[edge_server][round_number].signers
        require(hash_signers(signers) == known, "other signers")
        require(len(claims) + 1 == len(signers), "claims do not match the signers")
        vehicles = [signer for signer in signers if signer != edge_server]
        used = 0
        for claim, vehicle in zip(claims, vehicles, strict=True):
            siblings = claim[4]
            require(claim[0] == vehicle, "claims do not match the signers")
            require(siblings <= MAX_DEPTH and used + siblings <= len(proof), "proof is cut short")
            path = proof[used : used + siblings]
            require(self._is_included(edge_server, round_number, claim, path), "not included")
            used += siblings
        require(used == len(proof), "proof is too long")
        share = self.reward // len(signers)
        events = self.token.transfer_many(self.address, signers, [share] * len(signers))
        self.released.add((edge_server, round_number))
        values = {
            "round": round_number,
            "edge_server": edge_server,
            "share": share,
            "signers": tuple(signers),
        }
        return [*events, Event("Sealing", "Released", values)]

    def _is_included(
        self, edge_server: Address, round_number: int, claim: Claim, path: Sequence[Digest]
    ) -> bool:
        vehicle, content, samples, position, _ = claim
        if samples >= _UINT64:
            return False  # no vehicle signs that
        digest = compute_update_digest(
            task=self.checkpoint.training.task,
            round=round_number,
            vehicle=vehicle,
            digest=content,
            samples=samples,
        )
        return self.checkpoint.is_included(edge_server, round_number, position, digest, path)

    def withdraw(self, sender: Address) -> list[Event]:
        """The publisher takes back what a closed task left."""
        require(sender == self.publisher, "only the publisher")
        require(self.checkpoint.training.closed, "the task is open")
        amount = self.token.balance(self.address)
        events = self.token.transfer(self.address, self.publisher, amount)
        return [*events, Event("Sealing", "Withdrawn", {"amount": amount})]

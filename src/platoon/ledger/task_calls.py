"""The calls of a round, for whoever signs them as transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from platoon.ledger.contracts import ContractSet
from platoon.ledger.task_values import RecordedUpdate, compute_updates_digest
from platoon.nouns import Address, Digest, SignedUpdate
from platoon.records.lanes import pack_scores
from platoon.records.local_block import LocalBlock, compute_record_digests
from platoon.records.merkle import compute_proof
from platoon.records.signing import split_signature
from platoon.records.transactions import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Builds the calls of a round; whoever signs one as a transaction is its sender."""

    contracts: ContractSet

    def record(self, round: int, updates: Sequence[SignedUpdate]) -> Call:
        """What reached this edge server in the round, possibly nothing; at most one update per vehicle."""
        entries = [_entry(update) for update in sorted(updates, key=lambda update: update.vehicle)]
        if any(a[0] == b[0] for a, b in pairwise(entries)):
            raise ValueError("two updates of one vehicle in one record")
        return self.contracts.call("Training", "record", round, entries)

    def commit_probe(self, digest: Digest) -> Call:
        """Binds this edge server to the probe set it scores with; before the first updates are recorded."""
        return self.contracts.call("Training", "commit_probe", digest)

    def score(
        self, round: int, updates: Sequence[RecordedUpdate], values: Sequence[int], evidence: int
    ) -> Call:
        """Scores (ppm) of these updates, in their order, and the evidence (ppm)."""
        if len(values) != len(updates):
            raise ValueError(f"{len(values)} scores for {len(updates)} updates")
        digest = compute_updates_digest(updates)
        return self.contracts.call("Training", "score", round, digest, pack_scores(values, evidence))

    def judge(self, round: int) -> Call:
        """Has the contract take the medians and give the verdicts."""
        return self.contracts.call("Training", "judge", round)

    def vote(self, round: int, digest: Digest) -> Call:
        """This edge server's vote for the digest of the merged model."""
        return self.contracts.call("Training", "vote", round, digest)

    def settle(self, round: int) -> Call:
        """Moves reputations, pays, opens the next round."""
        return self.contracts.call("Training", "settle", round)

    def anchor(self, block: LocalBlock, committee: Sequence[Address], seals: Sequence[bytes]) -> Call:
        """This edge server's local block; ``seals``: signatures of its hash, ascending by signer."""
        return self.contracts.call(
            "Checkpoint",
            "anchor",
            *(block.round, block.height, block.parent, block.root, block.count),
            list(committee),
            [split_signature(seal) for seal in seals],
        )

    def report_fork(self, block: LocalBlock, seals: Sequence[bytes]) -> Call:
        """Evidence: a block that its edge server signed in a round of which it has anchored another."""
        return self.contracts.call(
            "Checkpoint",
            "report_fork",
            *(block.edge_server, block.round, block.height, block.parent, block.root, block.count),
            [split_signature(seal) for seal in seals],
        )

    def release(self, block: LocalBlock, updates: Sequence[SignedUpdate], signers: Sequence[Address]) -> Call:
        """Pays a sealed block's signers, by proofs of the vehicles' updates; ``updates``: all of the block."""
        ordered = sorted(updates, key=lambda update: update.vehicle)
        digests = compute_record_digests(ordered)
        positions = {update.vehicle: i for i, update in enumerate(ordered)}
        claims, proof = [], []
        for signer in signers:
            if signer == block.edge_server:
                continue
            position = positions[signer]
            path, update = compute_proof(digests, position), ordered[position]
            claims.append((signer, update.digest, update.samples, position, len(path)))
            proof += path
        return self.contracts.call(
            "Sealing", "release", block.edge_server, block.round, list(signers), claims, proof
        )

    def close(self) -> Call:
        """The publisher ends the task."""
        return self.contracts.call("Training", "close")

    def withdraw(self) -> Call:
        """The publisher takes back what the escrow of a closed task still holds."""
        return self.contracts.call("Escrow", "withdraw")

    def withdraw_stake(self) -> Call:
        """An edge server takes back what is left of its stake in a closed task."""
        return self.contracts.call("Stakes", "withdraw")

    def revoke(self, account: Address) -> Call:
        """The operator ends an account's part for good; of a vehicle, whichever of its pseudonyms is named."""
        return self.contracts.call("Registry", "revoke", account)


def _entry(update: SignedUpdate) -> tuple[Any, ...]:
    return (update.vehicle, update.digest, update.samples, *split_signature(update.signature))

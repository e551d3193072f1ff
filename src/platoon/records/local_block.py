"""Blocks of a local chain (Two-layer's LMUC): what one edge server recorded in one round, and its digest.

A local chain has one block per round, also of a round in which nothing reached its edge server. A block's hash is
the EIP-712 digest that its committee signs; the domain is the task's, so that a seal of one task means nothing in
another. Sources: Feng et al., IEEE Network 36(1), 2022 ("Two-layer"); EIP-712.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from platoon.nouns import Address, Digest, SignedUpdate
from platoon.records.encoding import EMPTY_DIGEST, encode_word, keccak
from platoon.records.merkle import compute_root
from platoon.records.typed_data import compute_update_digest

_LOCAL_BLOCK_TYPE = keccak(
    b"LocalBlock(bytes32 task,address edgeServer,uint256 height,uint256 round,"
    b"bytes32 parent,bytes32 root,uint256 count)"
)


@dataclass(frozen=True, kw_only=True)
class LocalBlock:
    """The header of a local block."""

    task: Digest
    """Separator of the task's domain."""
    edge_server: Address
    """Whose chain it is."""
    height: int
    """The first is 1; an edge server that was silent in a round has no block of it."""
    round: int
    parent: Digest
    """Hash of the block before; zeros at height 1."""
    root: Digest
    """Merkle root over the updates' EIP-712 digests, ascending by vehicle address; zeros over none."""
    count: int
    """Updates under the root."""
    sealed: bool = False
    """A quorum of the round's committee signed it; False where the edge server signed alone. Not under the hash:
    it says who signed, and seals are on the hash."""

    @cached_property
    def digest(self) -> Digest:
        """The block's hash, which its seals sign."""
        words = (
            _LOCAL_BLOCK_TYPE,
            self.task,
            encode_word(self.edge_server),
            encode_word(self.height),
            encode_word(self.round),
            self.parent,
            self.root,
            encode_word(self.count),
        )
        return keccak(b"\x19\x01" + self.task + keccak(b"".join(words)))


def compute_record_digests(updates: Sequence[SignedUpdate]) -> list[Digest]:
    """The digests under a block's root: those of the updates, ascending by vehicle address.

    Raises:
        ValueError: two updates of one vehicle, or a number that is not a uint64.
    """
    ordered = sorted(updates, key=lambda update: update.vehicle)
    if len({update.vehicle for update in ordered}) != len(ordered):
        raise ValueError("two updates of one vehicle in one block")
    return [_digest_of(update) for update in ordered]


@lru_cache(maxsize=1024)
def _digest_of(update: SignedUpdate) -> Digest:
    """Remembered, since all of a round's parties hash the same updates and in one process need it only once."""
    return compute_update_digest(
        task=update.task,
        round=update.round,
        vehicle=update.vehicle,
        digest=update.digest,
        samples=update.samples,
    )


def make_local_block(
    *,
    task: Digest,
    edge_server: Address,
    height: int,
    round: int,
    parent: Digest,
    updates: Sequence[SignedUpdate],
) -> LocalBlock:
    """The block of what reached an edge server in a round; raises ``ValueError`` as ``compute_record_digests``."""
    digests = compute_record_digests(updates)
    return LocalBlock(
        task=task,
        edge_server=edge_server,
        height=height,
        round=round,
        parent=parent,
        root=compute_root(digests) if digests else Digest(EMPTY_DIGEST),
        count=len(digests),
    )

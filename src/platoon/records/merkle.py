"""A keccak Merkle tree with sorted pairs: an inclusion proof is the siblings alone, without left and right.

Sorted pairs forget order, so a leaf binds its position; leaves hash 40 bytes and nodes 64, so that none can pass
for the other. An odd node at the end of a level moves up unchanged.
"""

from collections.abc import Sequence

from platoon.nouns import Digest
from platoon.records.encoding import EMPTY_DIGEST, keccak


def compute_leaf(position: int, digest: Digest) -> Digest:
    """The leaf of a record's digest at its position in the list."""
    return keccak(position.to_bytes(8, "big") + digest)


def _join(a: Digest, b: Digest) -> Digest:
    return keccak(a + b if a < b else b + a)


def _next_level(level: Sequence[Digest]) -> list[Digest]:
    joined = [_join(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return joined + list(level[len(joined) * 2 :])


def compute_root(digests: Sequence[Digest]) -> Digest:
    """The root over records' digests, in their order; 32 zero bytes over none."""
    level = [compute_leaf(i, digest) for i, digest in enumerate(digests)]
    while len(level) > 1:
        level = _next_level(level)
    return level[0] if level else EMPTY_DIGEST


def compute_proof(digests: Sequence[Digest], position: int) -> list[Digest]:
    """The siblings, from the leaf up, that prove the record at ``position``."""
    if not 0 <= position < len(digests):
        raise ValueError(f"position {position} of {len(digests)} records")
    level = [compute_leaf(i, digest) for i, digest in enumerate(digests)]
    proof = []
    while len(level) > 1:
        sibling = position ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level, position = _next_level(level), position // 2
    return proof


def is_included(root: Digest, position: int, digest: Digest, proof: Sequence[Digest]) -> bool:
    """Whether the proof leads from the record at ``position`` to ``root``."""
    node = compute_leaf(position, digest)
    for sibling in proof:
        node = _join(node, sibling)
    return node == root

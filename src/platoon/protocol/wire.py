"""The bytes of what a local chain says: seal requests with a block and all its updates, and seals.

RLP, as transactions and blocks are; strict, so that one message has one encoding. Task and round stand once: a
request cannot hold an update of another task or round.
"""

from typing import Any

from platoon.nouns import Address, Digest, SignedUpdate
from platoon.protocol.messages import SealReply, SealRequest
from platoon.records.encoding import decode_number, decode_rlp, encode_number, encode_rlp
from platoon.records.local_block import LocalBlock
from platoon.records.signing import SIGNATURE_BYTES


def encode_seal_request(request: SealRequest) -> bytes:
    """The request as bytes.

    Raises:
        ValueError: an update of another task or round than the block's, or a block of another round.
    """
    block = request.block
    if any((update.task, update.round) != (block.task, request.round) for update in request.updates):
        raise ValueError("an update of another task or round than the request's")
    if block.round != request.round or block.sealed:
        raise ValueError("a block of another round, or one that is sealed")
    header = [block.task, block.edge_server, encode_number(block.height), block.parent, block.root]
    updates = [
        [update.vehicle, update.digest, encode_number(update.samples), update.signature]
        for update in request.updates
    ]
    return encode_rlp([encode_number(request.round), *header, encode_number(block.count), updates])


def decode_seal_request(data: bytes) -> SealRequest:
    """The request that ``encode_seal_request`` wrote; raises ``ValueError`` for anything else."""
    round_bytes, task, edge_server, height, parent, root, count, rows = _parts(decode_rlp(data), 8)
    if not isinstance(rows, list):
        raise ValueError("no list of updates")
    number = _number(round_bytes)
    block = LocalBlock(
        task=Digest(_exactly(task, 32)),
        edge_server=Address(_exactly(edge_server, 20)),
        height=_number(height),
        round=number,
        parent=Digest(_exactly(parent, 32)),
        root=Digest(_exactly(root, 32)),
        count=_number(count),
    )
    updates = tuple(_decode_update(block, row) for row in rows)
    return SealRequest(round=number, block=block, updates=updates)


def encode_seal_reply(reply: SealReply) -> bytes:
    """The reply as bytes."""
    return encode_rlp([encode_number(reply.round), reply.edge_server, reply.signature])


def decode_seal_reply(data: bytes) -> SealReply:
    """The reply that ``encode_seal_reply`` wrote; raises ``ValueError`` for anything else."""
    number, edge_server, signature = _parts(decode_rlp(data), 3)
    return SealReply(
        round=_number(number),
        edge_server=Address(_exactly(edge_server, 20)),
        signature=_exactly(signature, SIGNATURE_BYTES),
    )


def _decode_update(block: LocalBlock, row: Any) -> SignedUpdate:
    vehicle, digest, samples, signature = _parts(row, 4)
    return SignedUpdate(
        task=block.task,
        round=block.round,
        vehicle=Address(_exactly(vehicle, 20)),
        digest=Digest(_exactly(digest, 32)),
        samples=_number(samples),
        signature=_exactly(signature, SIGNATURE_BYTES),
    )


def _parts(item: Any, count: int) -> list[Any]:
    if not isinstance(item, list) or len(item) != count:
        raise ValueError(f"not a list of {count}")
    return item


def _number(item: Any) -> int:
    return decode_number(_exactly(item, None))


def _exactly(item: Any, length: int | None) -> bytes:
    if not isinstance(item, bytes) or length not in (None, len(item)):
        raise ValueError("a field of a wrong kind or length")
    return item

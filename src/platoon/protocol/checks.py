"""What is wrong with a peer's reply: a value that the round keeps, never an error of ours (STYLE 5)."""

from functools import lru_cache

from platoon.nouns import Address, Digest, SignedUpdate
from platoon.protocol.gather import NOT_MINE
from platoon.protocol.messages import (
    Peer,
    RefusalReply,
    RenewReply,
    SealReply,
    TransactionReply,
    UpdateReply,
)
from platoon.protocol.task_rules import TaskRules
from platoon.records.local_block import LocalBlock
from platoon.records.signing import recover, recover_update_signer

_REMEMBERED = 2048
"""Signatures whose signer is remembered: those of a few rounds. A round's parties check the same bytes, and in one
process the curve has to say only once who signed them."""


def check_update(
    rules: TaskRules, account: Address, round_number: int, peer: Peer, reply: object
) -> str | None:
    """The fault of a vehicle's reply to a train request, or None. ``account``: the one that the vehicle uses now.

    Refused are an update of another task, one whose sample count is not the registered one, and one that the
    vehicle itself did not sign; a reply of another round is passed over.
    """
    if isinstance(reply, RefusalReply) and reply.round == round_number:
        return f"refused the task packet: {reply.reason}"
    if not isinstance(reply, UpdateReply) or reply.round != round_number:
        return NOT_MINE
    return _find_fault(rules, account, round_number, int(rules.samples[peer.number]), reply.signed)


def _find_fault(
    rules: TaskRules, account: Address, round_number: int, samples: int, signed: SignedUpdate
) -> str | None:
    if signed.round != round_number or signed.task != rules.task:
        return "signed for another round or task"
    if signed.vehicle != account:
        return "signed as another vehicle"
    if signed.samples != samples:
        return f"claims {signed.samples} samples, registered are {samples}"
    if not is_genuine(signed):
        return "bad signature"
    return None


def check_renewal(round_number: int, reply: object) -> str | None:
    """The fault of a vehicle's reply to a renew request, or None; what is in it is seen when it is opened."""
    if isinstance(reply, RefusalReply) and reply.round == round_number:
        return f"refused to change its pseudonym: {reply.reason}"
    return None if isinstance(reply, RenewReply) and reply.round == round_number else NOT_MINE


def check_transaction(round_number: int, kind: str, reply: object) -> str | None:
    """The fault of an edge server's reply, or None; what the transaction does is for the contract to judge."""
    if not isinstance(reply, TransactionReply) or (reply.round, reply.answers) != (round_number, kind):
        return NOT_MINE
    return None


def check_seal(block: LocalBlock, member: Address, reply: object) -> str | None:
    """The fault of a committee member's reply to a seal request, or None."""
    if not isinstance(reply, SealReply) or (reply.round, reply.edge_server) != (
        block.round,
        block.edge_server,
    ):
        return NOT_MINE
    return None if recover_seal(block.digest, reply.signature) == member else "bad seal"


@lru_cache(maxsize=_REMEMBERED)
def is_genuine(update: SignedUpdate) -> bool:
    """Whether the vehicle that an update names signed it."""
    return recover_update_signer(update) == update.vehicle


@lru_cache(maxsize=_REMEMBERED)
def recover_seal(digest: Digest, signature: bytes) -> Address | None:
    """Who sealed a block; None for no strict signature."""
    return recover(digest, signature)

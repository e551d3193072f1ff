"""What is wrong with a peer's reply: a value that the round keeps, never an error of ours (STYLE 5)."""

from functools import lru_cache

from platoon.nouns import Address, Digest, Instant, SignedUpdate
from platoon.protocol.gather import NOT_MINE
from platoon.protocol.messages import (
    SETUP,
    Offer,
    OfferReply,
    OrderReply,
    Peer,
    RefusalReply,
    RenewReply,
    ResponseReply,
    SealReply,
    TransactionReply,
    UpdateReply,
)
from platoon.protocol.task_rules import TaskRules
from platoon.records.agreements import check_payment, check_request, check_response
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


def check_offer(rules: TaskRules, now: Instant, offer: Offer) -> str | None:
    """The fault of an offer, or None, as whoever knows the task's chain sees it."""
    request = offer.signed.agreement
    if request.publisher != rules.publisher:
        return "not the publisher's"
    if request.content != rules.formulas.description.to_bytes(32, "big"):
        return "describes another task"
    return _find_offer_fault(rules.registry, now, offer)


@lru_cache(maxsize=_REMEMBERED)
def _find_offer_fault(registry: Digest, now: Instant, offer: Offer) -> str | None:
    signed = offer.signed
    return check_request(registry, signed.agreement, signed.signature, offer.content, now)


def check_offer_reply(rules: TaskRules, now: Instant, reply: object) -> str | None:
    """The fault of the publisher's reply, or None."""
    return check_offer(rules, now, reply.offer) if isinstance(reply, OfferReply) else NOT_MINE


def check_response_reply(rules: TaskRules, account: Address, offer: Offer, reply: object) -> str | None:
    """The fault of a vehicle's answer to an offer, or None. ``account``: the one that the vehicle uses.

    Refused are also sound answers that do not fit what is needed.
    """
    if isinstance(reply, RefusalReply) and reply.round == SETUP:
        return f"refused the offer: {reply.reason}"
    if not isinstance(reply, ResponseReply):
        return NOT_MINE
    response = reply.signed.agreement
    if response.vehicle != account:
        return "signed as another vehicle"
    return check_response(rules.registry, response, reply.signed.signature, offer.signed.agreement)


def check_order_reply(rules: TaskRules, offer: Offer, reply: object) -> str | None:
    """The fault of the publisher's orders, or None; whether they are paid for is for the contract to see."""
    if not isinstance(reply, OrderReply):
        return NOT_MINE
    request = offer.signed.agreement
    faults = [
        check_payment(rules.registry, signed.agreement, signed.signature, request) for signed in reply.orders
    ]
    return next((fault for fault in faults if fault is not None), None)


def check_renewal(round_number: int, reply: object) -> str | None:
    """The fault of a vehicle's reply to a renew request, or None; what is in it is seen when it is opened."""
    if isinstance(reply, RefusalReply) and reply.round == round_number:
        return f"refused to change its pseudonym: {reply.reason}"
    return None if isinstance(reply, RenewReply) and reply.round == round_number else NOT_MINE


def check_transaction(round_number: int, kind: str, reply: object) -> str | None:
    """The fault of an edge server's reply, or None; what the transaction does is for the contract to judge."""
    if isinstance(reply, RefusalReply) and reply.round == round_number:
        return reply.reason
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

"""How a task comes about, before its first round (Two-layer's step 1, and its request, response and payment).

The publisher says, signed, what it wants learned, what that needs, until when vehicles may answer and what it will
spend; edge servers bring that to the chain and join; vehicles answer with what they have and what they think of
others; the publisher's orders, signed, fill the escrow. Who answers with less than is needed, or not at all, takes
part in no round.
"""

from platoon.errors import HaltedError
from platoon.nouns import Address, EdgeServerId, Instant, VehicleId
from platoon.protocol.checks import check_offer_reply, check_order_reply, check_response_reply
from platoon.protocol.effects import Accounts, Consult, Steps, Submit
from platoon.protocol.gather import Check, gather
from platoon.protocol.messages import (
    PUBLISHER,
    SETUP,
    AnswerRequest,
    JoinRequest,
    Offer,
    OfferReply,
    OfferRequest,
    OrderReply,
    OrderRequest,
    PayRequest,
    Peer,
    PublishRequest,
    Reply,
    Request,
    RespondRequest,
    ResponseReply,
    vehicle_peer,
)
from platoon.protocol.phases import ask_edge_servers, lead
from platoon.protocol.task_rules import TaskRules
from platoon.records.agreements import Payment, Signed, TaskResponse, compute_agreement_digest
from platoon.records.rules import compute_quorum


def publish(rules: TaskRules, now: Instant) -> Steps[Instant]:
    """Bring a task about; returns when that was done.

    Raises:
        HaltedError: the publisher is silent, too few edge servers join, or no vehicle that fits answers. Nothing is
            paid then.
    """
    now, offer = yield from _ask_publisher(rules, now)
    now = yield from lead(rules, now, SETUP, PublishRequest(round=SETUP, offer=offer))
    now = yield from _form_shard(rules, now, offer)
    now, responses = yield from _hear_vehicles(rules, now, offer)
    now = yield from lead(rules, now, SETUP, RespondRequest(round=SETUP, responses=responses))
    now, orders = yield from _take_orders(rules, now, offer)
    return (yield from lead(rules, now, SETUP, PayRequest(round=SETUP, orders=orders))) if orders else now


def _ask_publisher(rules: TaskRules, now: Instant) -> Steps[tuple[Instant, Offer]]:
    """The request, with the description that its digest stands for."""
    now, reply = yield from _ask_one(
        rules,
        now,
        PUBLISHER,
        OfferRequest(round=SETUP),
        lambda _, reply: check_offer_reply(rules, now, reply),
    )
    assert isinstance(reply, OfferReply)  # as the check saw to
    return now, reply.offer


def _form_shard(rules: TaskRules, now: Instant, offer: Offer) -> Steps[Instant]:
    """Every edge server that finds the offer in order joins, by a transaction of its own."""
    request = JoinRequest(round=SETUP, offer=offer)
    everybody = {EdgeServerId(i): request for i in range(rules.edge_servers)}
    gathered, transactions = yield from ask_edge_servers(rules, now, everybody)
    submitted = yield Submit(round=SETUP, transactions=transactions)
    joined = sum(receipt.ok for receipt in submitted.receipts)
    if joined < compute_quorum(rules.edge_servers):
        raise HaltedError(
            f"{joined} edge servers serve the task, {compute_quorum(rules.edge_servers)} of {rules.edge_servers} "
            "are needed; nothing is paid, and resume begins again"
        )
    return Instant(max(gathered.now, submitted.at))


def _hear_vehicles(
    rules: TaskRules, now: Instant, offer: Offer
) -> Steps[tuple[Instant, tuple[Signed[TaskResponse], ...]]]:
    """Answers of vehicles that fit what is needed, by id; who does not is left out."""
    accounts: tuple[Address, ...] = yield Consult(question=Accounts())

    def check(peer: Peer, reply: Request | Reply) -> str | None:
        return check_response_reply(rules, accounts[peer.number], offer, reply)

    request = AnswerRequest(round=SETUP, offer=offer)
    deadline = offer.signed.agreement.deadline
    bring_at = Instant(max(deadline - rules.patience, (now + deadline) // 2))
    gathered = yield from gather(
        {vehicle_peer(VehicleId(i)): request for i in range(len(accounts))},
        now=now,
        until=bring_at,
        retry_every=rules.retry_every,
        check=check,
    )
    replies = [answer.reply for answer in gathered.answers.values()]
    responses = tuple(reply.signed for reply in replies if isinstance(reply, ResponseReply))
    if not responses:
        reason = next(iter(gathered.refused.values()), "nobody answered")
        raise HaltedError(
            f"no vehicle that fits answers the task's request ({reason}); nothing is paid, and resume begins again"
        )
    return gathered.now, responses


def _take_orders(
    rules: TaskRules, now: Instant, offer: Offer
) -> Steps[tuple[Instant, tuple[Signed[Payment], ...]]]:
    """The publisher's orders, now that there is a task to pay for."""
    name = compute_agreement_digest(rules.registry, offer.signed.agreement)
    now, reply = yield from _ask_one(
        rules,
        now,
        PUBLISHER,
        OrderRequest(round=SETUP, request=name),
        lambda _, reply: check_order_reply(rules, offer, reply),
    )
    assert isinstance(reply, OrderReply)  # as the check saw to
    return now, reply.orders


def _ask_one(
    rules: TaskRules, now: Instant, peer: Peer, request: Request, check: Check
) -> Steps[tuple[Instant, Request | Reply]]:
    gathered = yield from gather(
        {peer: request},
        now=now,
        until=Instant(now + rules.patience),
        retry_every=rules.retry_every,
        check=check,
    )
    if peer not in gathered.answers:
        reason = gathered.refused.get(peer, "it is silent")
        raise HaltedError(
            f"the {peer.role} gives no {type(request).__name__} ({reason}); resume begins again"
        )
    return gathered.now, gathered.answers[peer].reply

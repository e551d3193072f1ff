"""The other side of publishing a task: what its publisher, a vehicle and an edge server do when they are asked.

Each checks an offer by itself before it acts on it: a vehicle gives its answer to the publisher of its task alone,
and an edge server serves the task that its own chain was set up for.
"""

from dataclasses import dataclass
from typing import Never

from platoon.ledger.agreement_calls import AgreementCalls
from platoon.nouns import Address, Instant, Tokens, VehicleId
from platoon.protocol.checks import check_offer
from platoon.protocol.effects import (
    Accounts,
    Consult,
    Listen,
    Send,
    Sign,
    SignAgreement,
    Steps,
    Stock,
    TakeStock,
)
from platoon.protocol.messages import (
    COORDINATOR,
    PUBLISHER,
    SETUP,
    AnswerRequest,
    JoinRequest,
    Message,
    Offer,
    OfferReply,
    OfferRequest,
    OrderReply,
    OrderRequest,
    PayRequest,
    PublishRequest,
    RefusalReply,
    RespondRequest,
    ResponseReply,
)
from platoon.protocol.task_rules import TaskRules
from platoon.records.agreements import (
    Kind,
    Payment,
    Signed,
    TaskRequest,
    TaskResponse,
    compute_agreement_digest,
)
from platoon.records.encoding import compute_content_digest
from platoon.records.transactions import Call

SetupRequest = PublishRequest | JoinRequest | RespondRequest | PayRequest
"""What edge servers are asked for before the first round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTerms:
    """What a publisher wants, and what it will pay for it."""

    content: bytes
    """Description of the task."""
    vehicles: int
    """Participants of a round."""
    samples: int
    """Least size of a local data set."""
    cycles: int
    """Of a processor, per sample and epoch."""
    deadline: Instant
    """Vehicles may answer until then."""
    payments: tuple[tuple[Address, Tokens], ...]
    """To whom it pays what once the task has come about; their sum is its budget."""


def publisher(rules: TaskRules, terms: TaskTerms) -> Steps[Never]:
    """The publisher: says what it wants learned, and orders its payments for that alone."""
    request = _draw_up(rules, terms)
    name = compute_agreement_digest(rules.registry, request)
    offer = Offer(signed=(yield from _sign(request)), content=terms.content)
    orders = []
    for order in _order(rules, terms, request):
        orders.append((yield from _sign(order)))
    while True:
        received = yield Listen()
        match received.message.body:
            case OfferRequest():
                body: OfferReply | OrderReply = OfferReply(round=SETUP, offer=offer)
            case OrderRequest(request=wanted) if wanted == name:
                body = OrderReply(round=SETUP, orders=tuple(orders))
            case _:
                continue
        yield Send(messages=(Message(sender=PUBLISHER, receiver=COORDINATOR, body=body),))


def _draw_up(rules: TaskRules, terms: TaskTerms) -> TaskRequest:
    return TaskRequest(
        publisher=rules.publisher,
        content=compute_content_digest(terms.content),
        vehicles=terms.vehicles,
        samples=terms.samples,
        cycles=terms.cycles,
        deadline=terms.deadline,
        budget=sum(amount for _, amount in terms.payments),
        serial=1,
    )


def _order(rules: TaskRules, terms: TaskTerms, request: TaskRequest) -> list[Payment]:
    """An order for each payment that is due before the first round; serials go on from the request's."""
    return [
        Payment(
            request=compute_agreement_digest(rules.registry, request),
            payer=rules.publisher,
            receiver=receiver,
            amount=amount,
            round=SETUP,
            serial=request.serial + 1 + i,
        )
        for i, (receiver, amount) in enumerate(terms.payments)
        if amount
    ]


def _sign(agreement: Kind) -> Steps[Signed[Kind]]:
    signature = yield SignAgreement(agreement=agreement)
    return Signed(agreement=agreement, signature=signature)


def answer_offer(
    me: VehicleId, rules: TaskRules, request: AnswerRequest, at: Instant
) -> Steps[ResponseReply | RefusalReply]:
    """A vehicle says what it has and what it thinks of others, to the publisher's genuine offer."""
    fault = check_offer(rules, at, request.offer)
    if fault is not None:
        return RefusalReply(round=SETUP, reason=fault)
    accounts: tuple[Address, ...] = yield Consult(question=Accounts())
    stock: Stock = yield TakeStock(vehicle=me)
    response = TaskResponse(
        request=compute_agreement_digest(rules.registry, request.offer.signed.agreement),
        vehicle=accounts[me],
        clock=stock.clock,
        samples=stock.samples,
        rate=stock.rate,
        opinions=stock.opinions,
    )
    return ResponseReply(round=SETUP, signed=(yield from _sign(response)))


def transact(
    rules: TaskRules, calls: AgreementCalls, request: SetupRequest, at: Instant
) -> Steps[list[bytes] | str]:
    """An edge server's transactions for what it is asked, or why it will have nothing to do with an offer."""
    if isinstance(request, PublishRequest | JoinRequest):
        fault = check_offer(rules, at, request.offer)
        if fault is not None:
            return f"refused the offer: {fault}"
    signed = []
    for i, call in enumerate(_make_calls(rules, calls, request, at)):
        signed.append((yield Sign(call=call, ahead=i)))
    return signed


def _make_calls(rules: TaskRules, calls: AgreementCalls, request: SetupRequest, at: Instant) -> list[Call]:
    match request:
        case PublishRequest(offer=offer):
            return [calls.publish(at, offer.signed)]
        case JoinRequest(offer=offer):
            return [calls.join(at, compute_agreement_digest(rules.registry, offer.signed.agreement))]
        case RespondRequest(responses=responses):
            return calls.respond(at, responses)
        case PayRequest(orders=orders):
            return [calls.pay_order(at, order) for order in orders]

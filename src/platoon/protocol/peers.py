"""The other side of a round: what a vehicle and an edge server do when they are asked.

A peer answers a repeated request with the same answer as before, and passes over requests of rounds that are
gone. It takes what it needs from the chain, not from whoever asks.
"""

from typing import Never

from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.membership import Membership
from platoon.ledger.plausibility import PlausibilityCalls
from platoon.ledger.task_chain import Call, Calls, RecordedUpdate
from platoon.nouns import Address, EdgeServerId, Instant, SignedUpdate, VehicleId, to_ppm
from platoon.protocol.agreeing import SetupRequest, answer_offer, transact
from platoon.protocol.appeals import appeal, review, suspect
from platoon.protocol.effects import (
    Aggregate,
    ChangePseudonym,
    Consult,
    Listen,
    LocalGround,
    ModelDigest,
    Score,
    Seal,
    Send,
    Sign,
    SignBlock,
    SignUpdate,
    Steps,
    Train,
    Unseal,
    Verdicts,
)
from platoon.protocol.messages import (
    COORDINATOR,
    RENEW,
    AnswerRequest,
    AppealRequest,
    JudgeRequest,
    MergeRequest,
    Message,
    Peer,
    RecordRequest,
    RefusalReply,
    RenewReply,
    RenewRequest,
    Reply,
    Request,
    ReviewRequest,
    RotateRequest,
    ScoreRequest,
    SealReply,
    SealRequest,
    SettleRequest,
    TrainRequest,
    TransactionReply,
    UpdateReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.sealing import accept_seals, find_fault, propose
from platoon.protocol.task_rules import TaskRules
from platoon.protocol.weights import merge_weights
from platoon.records.sealed import TaskOrder


def everybody(rules: TaskRules, calls: Calls) -> dict[Peer, Steps[Never]]:
    """All vehicles and edge servers of a task."""
    vehicles = [VehicleId(i) for i in range(len(rules.samples))]
    servers = [EdgeServerId(i) for i in range(rules.edge_servers)]
    appeals = PlausibilityCalls(contracts=calls.contracts)
    parties = {vehicle_peer(i): vehicle(i, rules, appeals) for i in vehicles}
    return parties | {edge_server_peer(i): edge_server(i, rules, calls) for i in servers}


def vehicle(me: VehicleId, rules: TaskRules, calls: PlausibilityCalls | None = None) -> Steps[Never]:
    """A vehicle: obeys what the coordinator sealed to it, and says why it refuses what is anything else; seals
    local blocks that hold its update.

    Whoever is flagged appeals, if it knows the contract's ``calls``. A request that does not open moves nothing
    here: whoever forges one cannot have the genuine ones passed over.
    """
    round_number = 0
    answers: dict[str, Reply] = {}
    sealed: dict[tuple[int, Address], SealReply] = {}
    while True:
        received = yield Listen()
        request = received.message.body
        if isinstance(request, SealRequest):
            yield from _seal(me, _own_update(answers), sealed, request)
            continue
        if isinstance(request, AppealRequest) and calls is not None:
            yield from _appeal(me, calls, request)
            continue
        if isinstance(request, AnswerRequest):
            response = yield from answer_offer(me, rules, request, received.at)
            yield Send(messages=(Message(sender=vehicle_peer(me), receiver=COORDINATOR, body=response),))
            continue
        if not isinstance(request, TrainRequest | RenewRequest) or request.round < round_number:
            continue
        kind = type(request).__name__
        if request.round > round_number or kind not in answers:
            reply = yield from _obey(me, rules, request, received.at)
            if not isinstance(reply, RefusalReply):
                if request.round > round_number:
                    answers, sealed = {}, {}
                round_number, answers[kind] = request.round, reply
        else:
            reply = answers[kind]
        yield Send(messages=(Message(sender=vehicle_peer(me), receiver=COORDINATOR, body=reply),))


def _appeal(me: VehicleId, calls: PlausibilityCalls, request: AppealRequest) -> Steps[None]:
    """Appeal against a flag, or say nothing where the chain knows of none."""
    signed = yield from appeal(me, calls, request.case)
    if signed is not None:
        body = TransactionReply(round=request.round, answers=AppealRequest.__name__, transaction=signed)
        yield Send(messages=(Message(sender=vehicle_peer(me), receiver=COORDINATOR, body=body),))


def _own_update(answers: dict[str, Reply]) -> SignedUpdate | None:
    """The update for which a vehicle may seal. None from its change of pseudonym on: its key is another then, and a
    seal by the new one would say that both are one vehicle's."""
    update = answers.get(TrainRequest.__name__)
    renewed = RenewRequest.__name__ in answers
    return update.signed if isinstance(update, UpdateReply) and not renewed else None


def _obey(me: VehicleId, rules: TaskRules, request: TrainRequest | RenewRequest, at: Instant) -> Steps[Reply]:
    """Do what a request's packet says, or refuse it by name."""
    content = yield Unseal(
        task=rules.task, round=request.round, packet=request.packet, sender=rules.coordinator
    )
    if isinstance(content, str):
        return RefusalReply(round=request.round, reason=content)
    if isinstance(request, RenewRequest):
        return (yield from _renew(rules, request.round, content))
    try:
        order = TaskOrder.decode(content)
    except ValueError as error:
        return RefusalReply(round=request.round, reason=str(error))
    if at >= order.deadline:
        return RefusalReply(round=request.round, reason="its deadline is over")
    trained = yield Train(round=request.round, vehicle=me, model=order.model)
    signed = yield SignUpdate(round=request.round, digest=trained.digest, samples=trained.samples)
    return UpdateReply(round=request.round, signed=signed)


def _renew(rules: TaskRules, round_number: int, content: bytes) -> Steps[Reply]:
    if content != RENEW:
        return RefusalReply(round=round_number, reason="not a request to renew")
    rotation = yield ChangePseudonym(round=round_number)
    contents = (rotation.encode(),)
    (packet,) = yield Seal(task=rules.task, round=round_number, receivers=(COORDINATOR,), contents=contents)
    return RenewReply(round=round_number, packet=packet)


def _seal(
    me: VehicleId,
    mine: SignedUpdate | None,
    sealed: dict[tuple[int, Address], SealReply],
    request: SealRequest,
) -> Steps[None]:
    """Sign a local block, or say nothing. One block for a round and edge server: a second one is a fork."""
    key = (request.round, request.block.edge_server)
    if key not in sealed:
        ground = yield Consult(question=LocalGround(vehicles=()))
        if find_fault(mine, request, ground) is not None:
            return
        signature = yield SignBlock(block=request.block)
        sealed[key] = SealReply(
            round=request.round, edge_server=request.block.edge_server, signature=signature
        )
    yield Send(messages=(Message(sender=vehicle_peer(me), receiver=COORDINATOR, body=sealed[key]),))


_FOR_VEHICLES = TrainRequest | SealRequest | RenewRequest | AppealRequest | AnswerRequest


def edge_server(me: EdgeServerId, rules: TaskRules, calls: Calls) -> Steps[Never]:
    """An edge server: records, scores, aggregates and votes, each as a transaction that it signs itself."""
    round_number = 0
    answers: dict[str, Reply] = {}
    while True:
        received = yield Listen()
        request = received.message.body
        if isinstance(request, _FOR_VEHICLES) or request.round < round_number:
            continue
        if request.round > round_number:
            round_number, answers = request.round, {}
        kind = type(request).__name__
        question = f"{kind} {request.case}" if isinstance(request, ReviewRequest) else kind
        if question not in answers:
            made = yield from _transact(me, rules, calls, request, received.at)
            if not made:
                continue
            answers[question] = _reply(round_number, kind, made)
        reply = Message(sender=edge_server_peer(me), receiver=COORDINATOR, body=answers[question])
        yield Send(messages=(reply,))


def _reply(round_number: int, kind: str, made: list[bytes] | str) -> TransactionReply | RefusalReply:
    if isinstance(made, str):
        return RefusalReply(round=round_number, reason=made)
    first, *further = made
    return TransactionReply(round=round_number, answers=kind, transaction=first, further=tuple(further))


def _transact(  # noqa: PLR0911 (one line a request)
    me: EdgeServerId, rules: TaskRules, calls: Calls, request: Request, at: Instant
) -> Steps[list[bytes] | str]:
    if isinstance(request, SetupRequest):
        return (yield from transact(rules, AgreementCalls(contracts=calls.contracts), request, at))
    match request:
        case RecordRequest():
            return (yield from _record(me, rules, calls, request))
        case ScoreRequest():
            return (yield from _judge(me, rules, calls, request))
        case JudgeRequest():
            return [(yield from _sign(calls.judge(request.round)))]
        case MergeRequest():
            return [(yield from _vote(me, rules, calls, request))]
        case SettleRequest():
            return [(yield from _sign(calls.settle(request.round)))]
        case ReviewRequest():
            second = yield from review(me, rules, PlausibilityCalls(contracts=calls.contracts), request)
            return [] if second is None else [second]
        case RotateRequest(rotations=rotations):
            return [(yield from _sign(Membership(contracts=calls.contracts).rotate(rotations)))]
        case _:
            raise TypeError(f"an edge server is not asked for {type(request).__name__}")


def _sign(call: Call, ahead: int = 0) -> Steps[bytes]:
    transaction: bytes = yield Sign(call=call, ahead=ahead)
    return transaction


def _record(me: EdgeServerId, rules: TaskRules, calls: Calls, request: RecordRequest) -> Steps[list[bytes]]:
    """Record what reached this edge server, anchor the local block of it, release the reward of who sealed it."""
    signed = [(yield from _sign(calls.record(request.round, request.updates)))]
    vehicles = tuple(update.vehicle for update in request.updates)
    ground = yield Consult(question=LocalGround(vehicles=vehicles))
    proposal = propose(rules, me, request.round, request.updates, ground)
    if proposal is None:
        return signed
    account = proposal.block.edge_server
    seals = dict(accept_seals(rules.committee, proposal, request.local))
    committee = (account, *request.local.vehicles) if seals else (account,)
    seals[account] = yield SignBlock(block=proposal.block)
    ordered = [seals[signer] for signer in sorted(seals)]
    signed.append((yield from _sign(calls.anchor(proposal.block, sorted(committee), ordered), 1)))
    if len(committee) > 1 and rules.committee.reward > 0:
        release = calls.release(proposal.block, request.updates, sorted(seals))
        signed.append((yield from _sign(release, 2)))
    return signed


def _judge(me: EdgeServerId, rules: TaskRules, calls: Calls, request: ScoreRequest) -> Steps[list[bytes]]:
    """Score all updates, and allege what is implausible of them."""
    updates = yield Consult(question=Verdicts(round=request.round))
    scores = yield from _score(me, calls, request, updates)
    suspicions = PlausibilityCalls(contracts=calls.contracts)
    return [scores, *(yield from suspect(me, rules, suspicions, request.round, updates))]


def _score(
    me: EdgeServerId, calls: Calls, request: ScoreRequest, updates: tuple[RecordedUpdate, ...]
) -> Steps[bytes]:
    base = yield Consult(question=ModelDigest(round=request.round - 1))
    scores = yield Score(
        round=request.round,
        edge_server=me,
        model=base,
        vehicles=tuple(update.vehicle for update in updates),
        updates=tuple(update.digest for update in updates),
        samples=tuple(update.samples for update in updates),
    )
    values = [to_ppm(value) for value in scores.values]
    return (yield from _sign(calls.score(request.round, updates, values, to_ppm(scores.evidence))))


def _vote(me: EdgeServerId, rules: TaskRules, calls: Calls, request: MergeRequest) -> Steps[bytes]:
    updates = yield Consult(question=Verdicts(round=request.round))
    weights = merge_weights(updates, rules.formulas, rules.committee.unsealed_weight)
    digests = {update.vehicle: update.digest for update in updates}
    base = yield Consult(question=ModelDigest(round=request.round - 1))
    model = yield Aggregate(
        round=request.round,
        edge_server=me,
        model=base,
        updates=tuple(digests[vehicle] for vehicle in weights),
        weights=tuple(weights.values()),
    )
    return (yield from _sign(calls.vote(request.round, model)))

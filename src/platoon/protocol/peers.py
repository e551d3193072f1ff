"""The other side of a round: what a vehicle and an edge server do when they are asked.

A peer answers a repeated request with the same answer as before, and passes over requests of rounds that are
gone. It takes what it needs from the chain, not from whoever asks.
"""

from typing import Never

from platoon.ledger.task_chain import Call, Calls
from platoon.nouns import EdgeServerId, VehicleId, to_ppm
from platoon.protocol.effects import (
    Aggregate,
    Consult,
    Listen,
    ModelDigest,
    Score,
    Send,
    Sign,
    SignUpdate,
    Steps,
    Train,
    Verdicts,
)
from platoon.protocol.messages import (
    COORDINATOR,
    JudgeRequest,
    MergeRequest,
    Message,
    RecordRequest,
    Reply,
    Request,
    ScoreRequest,
    SettleRequest,
    TrainRequest,
    TransactionReply,
    UpdateReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.rules import TaskRules
from platoon.protocol.weights import merge_weights


def vehicle(me: VehicleId) -> Steps[Never]:
    """A vehicle: trains when it is asked, signs its update, sends it."""
    round_number, answer = 0, None
    while True:
        received = yield Listen()
        request = received.message.body
        if not isinstance(request, TrainRequest) or request.round < round_number:
            continue
        if request.round > round_number:
            trained = yield Train(round=request.round, vehicle=me, model=request.model)
            signed = yield SignUpdate(round=request.round, digest=trained.digest, samples=trained.samples)
            round_number, answer = request.round, UpdateReply(round=request.round, signed=signed)
        if answer is not None:
            yield Send(messages=(Message(sender=vehicle_peer(me), receiver=COORDINATOR, body=answer),))


def edge_server(me: EdgeServerId, rules: TaskRules, calls: Calls) -> Steps[Never]:
    """An edge server: records, scores, aggregates and votes, each as a transaction that it signs itself."""
    round_number = 0
    answers: dict[str, Reply] = {}
    while True:
        received = yield Listen()
        request = received.message.body
        if isinstance(request, TrainRequest) or request.round < round_number:
            continue
        if request.round > round_number:
            round_number, answers = request.round, {}
        kind = type(request).__name__
        if kind not in answers:
            transaction = yield from _transact(me, rules, calls, request)
            answers[kind] = TransactionReply(round=round_number, answers=kind, transaction=transaction)
        reply = Message(sender=edge_server_peer(me), receiver=COORDINATOR, body=answers[kind])
        yield Send(messages=(reply,))


def _transact(me: EdgeServerId, rules: TaskRules, calls: Calls, request: Request) -> Steps[bytes]:
    match request:
        case RecordRequest(updates=updates):
            return (yield from _sign(calls.record(request.round, updates)))
        case ScoreRequest():
            return (yield from _score(me, calls, request))
        case JudgeRequest():
            return (yield from _sign(calls.judge(request.round)))
        case MergeRequest():
            return (yield from _vote(me, rules, calls, request))
        case SettleRequest():
            return (yield from _sign(calls.settle(request.round)))
        case _:
            raise TypeError(f"an edge server is not asked for {type(request).__name__}")


def _sign(call: Call) -> Steps[bytes]:
    transaction: bytes = yield Sign(call=call)
    return transaction


def _score(me: EdgeServerId, calls: Calls, request: ScoreRequest) -> Steps[bytes]:
    updates = yield Consult(question=Verdicts(round=request.round))
    base = yield Consult(question=ModelDigest(round=request.round - 1))
    scores = yield Score(
        round=request.round,
        edge_server=me,
        model=base,
        updates=tuple(update.digest for update in updates),
        samples=tuple(update.samples for update in updates),
    )
    values = [to_ppm(value) for value in scores.values]
    return (yield from _sign(calls.score(request.round, updates, values, to_ppm(scores.evidence))))


def _vote(me: EdgeServerId, rules: TaskRules, calls: Calls, request: MergeRequest) -> Steps[bytes]:
    updates = yield Consult(question=Verdicts(round=request.round))
    weights = merge_weights(updates, rules.formulas)
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

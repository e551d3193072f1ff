"""The seven phases of a round (DESIGN section 3), each a generator over events and effects.

A phase takes what the one before it made and adds its own part. Nobody who is missing, late or faulty stops a
round, as long as enough edge servers remain; else the phase raises ``HaltedError`` and nothing of the round counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from platoon.errors import HaltedError
from platoon.nouns import (
    MILLION,
    EdgeServerId,
    Floats,
    Instant,
    Ints,
    Outcomes,
    SignedUpdate,
    Tokens,
    VehicleId,
)
from platoon.protocol.checks import check_transaction, check_update
from platoon.protocol.effects import (
    Accounts,
    Answered,
    ConductOf,
    Consult,
    EscrowLeft,
    EstimateLabels,
    Forecast,
    Foretell,
    Learn,
    ModelDigest,
    Reputations,
    Seal,
    Steps,
    Submit,
    Submitted,
    Verdicts,
)
from platoon.protocol.gather import Gathered, gather
from platoon.protocol.messages import (
    JudgeRequest,
    LocalSeals,
    MergeRequest,
    Peer,
    RecordRequest,
    Request,
    ScoreRequest,
    SettleRequest,
    TrainRequest,
    TransactionReply,
    UpdateReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.round_records import (
    Arrivals,
    Arrived,
    Cohort,
    Judged,
    Merged,
    Recorded,
    RoundRecord,
    Settled,
)
from platoon.protocol.sealing import seal_blocks
from platoon.protocol.task_rules import TaskRules, TaskState, leader_order
from platoon.protocol.weights import merge_weights
from platoon.records.rules import compute_quorum
from platoon.records.sealed import TaskOrder
from platoon.rng import stream
from platoon.twin.selectors import Candidates, probationers
from platoon.twin.terms import choose_with_terms


def select(rules: TaskRules, state: TaskState) -> Steps[Cohort]:
    """Phase 1: the K vehicles that the selector prefers among all that answered the task's request, and whoever is
    on probation."""
    forecasts = yield Forecast(horizon=rules.deadline)
    answered = yield Consult(question=Answered())
    willing = replace(forecasts, known=forecasts.known & answered)
    truth = (yield Foretell(horizon=rules.deadline)) if rules.is_study else None
    reputations = yield Consult(question=Reputations())
    believed = reputations / MILLION
    chosen = choose_with_terms(
        rules.select,
        Candidates(
            forecasts=willing,
            reputation=believed,
            rho_min=rules.rho_min,
            count=rules.participants,
            rng=stream(rules.seed, "select", state.round),
            round=state.round,
            last_chosen=state.last_chosen,
            balance=rules.balance,
            rest_rounds=rules.rest_rounds,
            pool=rules.candidate_pool,
            coverage_weight=rules.coverage_weight,
            position_weight=rules.position_weight,
            label_mix=state.label_mix,
            truth=truth,
        ),
    )
    excluded = probationers(
        believed, rules.rho_min, state.last_chosen, rules.probation_slots, willing, state.round
    )
    return Cohort(
        round=state.round,
        model=state.model,
        started=state.now,
        vehicles=tuple(sorted({VehicleId(int(row)) for row in (*chosen, *excluded)})),
        probation=frozenset(VehicleId(int(row)) for row in excluded),
        forecasts=forecasts,
        reputations=reputations,
    )


def train(rules: TaskRules, cohort: Cohort) -> Steps[Arrivals]:
    """Phase 2: vehicles train and send signed updates; who is late is dropped, waited for, or voids the round.

    Nobody on probation voids a round or is waited for beyond the deadline: its update would not be merged.
    """
    order = TaskOrder(model=cohort.model, deadline=Instant(cohort.started + rules.longest_wait))
    accounts = yield Consult(question=Accounts())
    packets = yield from seal_all(rules, cohort.round, cohort.vehicles, order.encode())
    requests = {peer: TrainRequest(round=cohort.round, packet=packet) for peer, packet in packets.items()}
    wanted = {peer: body for peer, body in requests.items() if peer.number not in cohort.probation}

    def check(peer: Peer, reply: object) -> str | None:
        return check_update(rules, accounts[peer.number], cohort.round, peer, reply)

    until = Instant(cohort.started + rules.deadline)
    gathered = yield from gather(
        requests, now=cohort.started, until=until, retry_every=rules.retry_every, check=check
    )
    answers, refused = dict(gathered.answers), dict(gathered.refused)
    missing = {peer: body for peer, body in wanted.items() if peer not in answers}
    if rules.policy == "wait" and missing:
        until = Instant(cohort.started + rules.longest_wait)
        gathered = yield from gather(
            missing, now=gathered.now, until=until, retry_every=rules.retry_every, check=check
        )
        answers |= gathered.answers
        refused |= gathered.refused
    updates = {
        VehicleId(peer.number): Arrived(reply=answer.reply, at=answer.at)
        for peer, answer in sorted(answers.items())
        if isinstance(answer.reply, UpdateReply)
    }
    return Arrivals(
        cohort=cohort,
        now=gathered.now,
        updates=updates,
        refused={VehicleId(peer.number): fault for peer, fault in refused.items() if peer not in answers},
        voided=rules.policy == "void" and any(peer not in answers for peer in wanted),
    )


def record(rules: TaskRules, arrivals: Arrivals) -> Steps[Recorded]:
    """Phase 3: every edge server puts what reached it on the chain, be it nothing, and anchors its local block of
    it with the seals of the round's committee.

    An update whose edge server stays silent, or that the contract refuses, does not count.
    """
    by_server: dict[EdgeServerId, dict[VehicleId, SignedUpdate]] = {
        EdgeServerId(server): {} for server in range(rules.edge_servers)
    }
    for vehicle in [] if arrivals.voided else sorted(arrivals.updates):
        reply = arrivals.updates[vehicle].reply
        by_server[EdgeServerId(reply.edge_server or 0)][vehicle] = reply.signed
    round_number = arrivals.cohort.round
    sealed, seals = yield from seal_blocks(rules, arrivals.now, round_number, by_server)
    gathered, transactions = yield from ask_edge_servers(
        rules,
        sealed,
        {
            server: RecordRequest(
                round=round_number,
                updates=tuple(updates.values()),
                local=seals.get(server, LocalSeals()),
            )
            for server, updates in by_server.items()
        },
    )
    _require(len(gathered.answers), compute_quorum(rules.edge_servers), rules, "records")
    submitted = yield Submit(round=round_number, transactions=transactions)
    updates = yield Consult(question=Verdicts(round=round_number))
    return Recorded(arrivals=arrivals, sealed=sealed, now=_later(gathered.now, submitted), updates=updates)


def judge(rules: TaskRules, recorded: Recorded) -> Steps[Judged]:
    """Phase 4: every edge server scores every update on its own probe set; the contract takes the medians."""
    cohort, now = recorded.arrivals.cohort, recorded.now
    if rules.judged and recorded.updates:
        request = ScoreRequest(round=cohort.round)
        everybody = {EdgeServerId(i): request for i in range(rules.edge_servers)}
        gathered, transactions = yield from ask_edge_servers(rules, now, everybody)
        _require(len(transactions), compute_quorum(rules.edge_servers), rules, "scores")
        submitted = yield Submit(round=cohort.round, transactions=transactions)
        now = _later(gathered.now, submitted)
    now = yield from lead(rules, now, cohort.round, JudgeRequest(round=cohort.round))
    updates = yield Consult(question=Verdicts(round=cohort.round))
    return Judged(recorded=recorded, now=now, updates=updates)


def merge(rules: TaskRules, judged: Judged) -> Steps[Merged]:
    """Phase 5: every edge server aggregates by itself and votes the digest; a strict majority decides."""
    cohort = judged.recorded.arrivals.cohort
    weights = merge_weights(judged.updates, rules.formulas, rules.committee.unsealed_weight)
    if not weights:
        return Merged(judged=judged, now=judged.now, model=cohort.model, weights={})
    request = MergeRequest(round=cohort.round)
    everybody = {EdgeServerId(i): request for i in range(rules.edge_servers)}
    gathered, transactions = yield from ask_edge_servers(rules, judged.now, everybody)
    submitted = yield Submit(round=cohort.round, transactions=transactions)
    model = yield Consult(question=ModelDigest(round=cohort.round))
    if model is None:
        _require(0, rules.edge_servers // 2 + 1, rules, "equal votes for a model")
    return Merged(judged=judged, now=_later(gathered.now, submitted), model=model, weights=weights)


def settle(rules: TaskRules, merged: Merged) -> Steps[Settled]:
    """Phase 6: the contracts move reputations, pay rewards, and name edge servers that judged falsely."""
    cohort = merged.judged.recorded.arrivals.cohort
    now = yield from lead(rules, merged.now, cohort.round, SettleRequest(round=cohort.round))
    reputations = yield Consult(question=Reputations())
    escrow_left = yield Consult(question=EscrowLeft())
    settled = yield Consult(question=Verdicts(round=cohort.round))
    conduct = yield Consult(question=ConductOf(round=cohort.round))
    return Settled(
        merged=merged,
        now=now,
        reputations=reputations,
        paid={update.vehicle: Tokens(update.reward) for update in settled},
        escrow_left=escrow_left,
        conduct=conduct,
    )


def refine(rules: TaskRules, state: TaskState, settled: Settled) -> Steps[tuple[TaskState, RoundRecord]]:
    """Phase 7: the twin learns what happened, by the edge servers' clocks; the next round begins."""
    arrivals = settled.merged.judged.recorded.arrivals
    cohort = arrivals.cohort
    took = [
        arrivals.updates[v].at - cohort.started if v in arrivals.updates else None for v in cohort.vehicles
    ]
    yield Learn(
        outcomes=Outcomes(
            round=cohort.round,
            vehicles=np.array(cohort.vehicles, dtype=np.int64),
            arrived=np.array([time is not None for time in took], dtype=np.bool_),
            seconds=np.array([np.nan if time is None else time / MILLION for time in took]),
        )
    )
    label_mix = yield from _learn_labels(rules, state, settled)
    following = replace(
        state,
        label_mix=label_mix,
        round=state.round + 1,
        now=settled.now,
        model=settled.merged.model,
        former=state.model,
        last_chosen=_stamp(state.last_chosen, cohort.vehicles, cohort.round),
    )
    return following, RoundRecord(settled=settled, outcome=describe_outcome(settled))


def _learn_labels(rules: TaskRules, state: TaskState, settled: Settled) -> Steps[Floats]:
    """The label mixes after a round: of who sent an update, half of what was known and half of what it shows."""
    updates = settled.merged.judged.updates
    if rules.coverage_weight == 0.0 or not updates:
        return state.label_mix
    shown = yield EstimateLabels(updates=tuple(update.digest for update in updates))
    unknown = np.full((len(rules.samples), shown.shape[1]), np.nan)
    known = state.label_mix.copy() if len(state.label_mix) else unknown
    rows = [update.vehicle for update in updates]
    mixed = np.where(np.isnan(known[rows]), shown, (known[rows] + shown) / 2.0)
    known[rows] = np.where(np.isnan(shown), known[rows], mixed)
    return known


def describe_outcome(settled: Settled) -> str:
    """What became of the model in this round, in words."""
    arrivals = settled.merged.judged.recorded.arrivals
    if settled.merged.weights:
        return "merged"
    if not arrivals.cohort.vehicles:
        return "kept: nobody eligible"
    if not settled.merged.judged.recorded.updates:
        return _why_nothing_was_recorded(arrivals)
    if any(update.valid for update in settled.merged.judged.updates):
        return "kept: only vehicles on probation were valid"
    return "kept: every update invalid"


def _why_nothing_was_recorded(arrivals: Arrivals) -> str:
    if arrivals.voided:
        missing = len(arrivals.cohort.vehicles) - len(arrivals.updates)
        return f"void: {missing} of {len(arrivals.cohort.vehicles)} missing"
    return "kept: nothing recorded" if arrivals.updates else "kept: nobody finished"


def seal_all(
    rules: TaskRules, round_number: int, vehicles: Sequence[VehicleId], content: bytes
) -> Steps[dict[Peer, bytes]]:
    """The same contents, sealed to each vehicle."""
    receivers = tuple(vehicle_peer(vehicle) for vehicle in vehicles)
    contents = (content,) * len(receivers)
    packets = yield Seal(task=rules.task, round=round_number, receivers=receivers, contents=contents)
    return dict(zip(receivers, packets, strict=True))


def ask_edge_servers(
    rules: TaskRules, now: Instant, requests: Mapping[EdgeServerId, Request]
) -> Steps[tuple[Gathered, tuple[bytes, ...]]]:
    """Transactions of the edge servers that answered in time, in id order."""
    kind = type(next(iter(requests.values()))).__name__
    round_number = next(iter(requests.values())).round

    def check(_: Peer, reply: object) -> str | None:
        return check_transaction(round_number, kind, reply)

    gathered = yield from gather(
        {edge_server_peer(server): request for server, request in requests.items()},
        now=now,
        until=Instant(now + rules.patience),
        retry_every=rules.retry_every,
        check=check,
    )
    replies = [answer.reply for answer in gathered.answers.values()]
    return gathered, tuple(
        transaction
        for reply in replies
        if isinstance(reply, TransactionReply)
        for transaction in (reply.transaction, *reply.further)
    )


def lead(rules: TaskRules, now: Instant, round_number: int, request: Request) -> Steps[Instant]:
    """Have one edge server close a step: the round's leader, or whoever comes next where that one is silent
    or its transaction is refused."""
    refusal = "nobody answered"
    for server in leader_order(rules, round_number):
        gathered, transactions = yield from ask_edge_servers(rules, now, {server: request})
        now = gathered.now
        if not transactions:
            refusal = next(iter(gathered.refused.values()), refusal)
            continue
        submitted = yield Submit(round=round_number, transactions=transactions)
        now = _later(now, submitted)
        if all(receipt.ok for receipt in submitted.receipts):
            return now
        refusal = next(receipt.error for receipt in submitted.receipts if not receipt.ok)
    raise HaltedError(
        f"round {round_number}: no edge server could close the step {type(request).__name__} ({refusal}); "
        "nothing of this round counts, and resume goes on from the last one"
    )


def _later(now: Instant, submitted: Submitted) -> Instant:
    return Instant(max(now, submitted.at))


def _require(have: int, need: int, rules: TaskRules, what: str) -> None:
    if have < need:
        raise HaltedError(
            f"{what} of {have} edge servers, {need} of {rules.edge_servers} are needed; "
            "nothing of this round counts, and resume goes on from the last one"
        )


def _stamp(last: Ints, vehicles: Sequence[VehicleId], round_number: int) -> Ints:
    stamped = last.copy()
    stamped[list(vehicles)] = round_number
    return stamped

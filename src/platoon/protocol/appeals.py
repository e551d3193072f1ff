"""Allegations, appeals and second judgements: what edge servers and vehicles do about implausible clusters.

An edge server alleges in the same breath as it scores, so that a flag counts before the verdicts of the round. When
the round is settled, whoever was flagged is told and may appeal; in the next round the edge servers judge appealed
cases a second time, on what was measured since and on their own probe sets. Flags of vehicles that do not appeal
stand. All of it is for the contract ``Plausibility`` to decide.
"""

from dataclasses import replace

import numpy as np

from platoon.ledger.plausibility import Case, PlausibilityCalls, Status
from platoon.ledger.task_chain import RecordedUpdate
from platoon.nouns import EdgeServerId, Instant, VehicleId
from platoon.protocol.checks import check_transaction
from platoon.protocol.effects import (
    Accounts,
    Companions,
    Compare,
    Consult,
    ModelDigest,
    OpenCases,
    Sign,
    Steps,
    Submit,
    Verdicts,
)
from platoon.protocol.gather import gather
from platoon.protocol.messages import (
    AppealRequest,
    Peer,
    ReviewRequest,
    TransactionReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.plausibility import (
    allege,
    compute_evidence_digest,
    find_clusters,
    find_together,
    judge_again,
    to_millimetres,
    to_similarity,
)
from platoon.protocol.round_records import Settled
from platoon.protocol.task_rules import TaskRules

# ---- the coordinator's side -------------------------------------------------------------------------------------


def hear(rules: TaskRules, settled: Settled) -> Steps[Settled]:
    """After a settled round: have earlier appeals judged, and tell whoever was flagged in it."""
    if rules.plausibility is None:
        return settled
    cohort = settled.merged.judged.recorded.arrivals.cohort
    cases = yield Consult(question=OpenCases())
    now = settled.now
    for case in cases:
        if case.status is Status.APPEALED and case.round < cohort.round:
            request = ReviewRequest(round=cohort.round, case=case.number, since=cohort.started)
            servers = [edge_server_peer(EdgeServerId(i)) for i in range(rules.edge_servers)]
            now = yield from _ask(rules, now, servers, request, most=len(servers))
        elif case.status is Status.FLAGGED and case.round == cohort.round:
            members = [vehicle_peer(vehicle) for vehicle in case.vehicles]
            told = AppealRequest(round=cohort.round, case=case.number)
            now = yield from _ask(rules, now, members, told, most=1)
    return replace(settled, now=now)


def _ask(
    rules: TaskRules, now: Instant, peers: list[Peer], request: AppealRequest | ReviewRequest, most: int
) -> Steps[Instant]:
    """Put a question to these parties and submit the first answers; whoever is silent has no part in it."""
    kind = type(request).__name__
    gathered = yield from gather(
        dict.fromkeys(peers, request),
        now=now,
        until=Instant(now + rules.patience),
        retry_every=rules.retry_every,
        check=lambda _, reply: check_transaction(request.round, kind, reply),
    )
    replies = [answer.reply for answer in gathered.answers.values()]
    transactions = tuple(reply.transaction for reply in replies if isinstance(reply, TransactionReply))[:most]
    if not transactions:
        return gathered.now
    submitted = yield Submit(round=request.round, transactions=transactions)
    return Instant(max(gathered.now, submitted.at))


# ---- an edge server's side --------------------------------------------------------------------------------------


def suspect(
    me: EdgeServerId,
    rules: TaskRules,
    calls: PlausibilityCalls,
    round_number: int,
    updates: tuple[RecordedUpdate, ...],
) -> Steps[list[bytes]]:
    """What this edge server alleges of the recorded updates, signed to follow its scores; mostly nothing."""
    if rules.plausibility is None or not updates:
        return []
    company = yield Companions(vehicles=tuple(update.vehicle for update in updates))
    if not any(pairs.any() for pairs in find_together(rules.plausibility, company)):
        return []
    similarity = yield Compare(
        round=round_number, edge_server=me, updates=tuple(update.digest for update in updates)
    )
    clusters = find_clusters(rules.plausibility, company, similarity)
    if not clusters:
        return []
    accounts = yield Consult(question=Accounts())
    signed = []
    evidence = compute_evidence_digest(company, similarity)
    for ahead, alleged in enumerate(allege(clusters, accounts, evidence), start=1):
        signed.append((yield Sign(call=calls.report(round_number, alleged), ahead=ahead)))
    return signed


def review(
    me: EdgeServerId, rules: TaskRules, calls: PlausibilityCalls, request: ReviewRequest
) -> Steps[bytes | None]:
    """This edge server's second judgement of a case; None for one that is not under appeal."""
    case = yield from _find_case(request.case, Status.APPEALED)
    if case is None or rules.plausibility is None:
        return None
    updates = yield Consult(question=Verdicts(round=case.round))
    model = yield Consult(question=ModelDigest(round=request.round))
    company = yield Companions(vehicles=case.vehicles, since=request.since)
    effects = yield Compare(
        round=case.round,
        edge_server=me,
        updates=tuple(update.digest for update in updates),
        on_probes_with=model,
    )
    members = np.array([i for i, u in enumerate(updates) if u.vehicle in case.vehicles], dtype=np.int64)
    upheld, apart, similarity = judge_again(rules.plausibility, case.kind, company, members, effects)
    call = calls.review(
        case.number,
        upheld=upheld,
        apart=to_millimetres(apart),
        similarity=to_similarity(similarity),
        evidence=compute_evidence_digest(company, effects),
    )
    transaction: bytes = yield Sign(call=call)
    return transaction


# ---- a vehicle's side -------------------------------------------------------------------------------------------


def appeal(me: VehicleId, calls: PlausibilityCalls, number: int) -> Steps[bytes | None]:
    """A flagged vehicle appeals, honest or not: it has nothing to lose. None where it is not flagged."""
    case = yield from _find_case(number, Status.FLAGGED)
    if case is None or me not in case.vehicles:
        return None
    transaction: bytes = yield Sign(call=calls.appeal(number))
    return transaction


def _find_case(number: int, status: Status) -> Steps[Case | None]:
    """The case, from the chain and not from whoever asks."""
    cases: tuple[Case, ...] = yield Consult(question=OpenCases())
    return next((case for case in cases if case.number == number and case.status is status), None)

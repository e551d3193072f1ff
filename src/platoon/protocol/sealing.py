"""The local half of recording (Two-layer's LMUC): each edge server's block of the round, and its committee's seals.

The block and the committee follow from what is on the global chain and from what reached the edge server, so that
the coordinator, the edge server and every member make the same ones. Members who drive away, refuse or sign garbage
are replaced once where the quorum lacks; without a quorum the edge server anchors its block alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platoon.ledger.task_chain import Ground
from platoon.nouns import Address, EdgeServerId, Instant, SignedUpdate, VehicleId
from platoon.protocol.checks import check_seal, is_genuine, recover_seal
from platoon.protocol.effects import Consult, LocalGround, Steps
from platoon.protocol.gather import gather
from platoon.protocol.messages import LocalSeals, Peer, SealReply, SealRequest, vehicle_peer
from platoon.protocol.task_rules import TaskRules
from platoon.records.committee import CommitteeRules, draw_order, has_quorum, is_committee, replace_members
from platoon.records.local_block import LocalBlock, make_local_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A local block that waits for its seals."""

    block: LocalBlock
    updates: tuple[SignedUpdate, ...]
    order: tuple[Address, ...]
    """Who may seal it: members first, then who replaces them."""


Seals = Mapping[Address, bytes]
"""Signatures of one block, by vehicle."""


def propose(
    rules: TaskRules,
    server: EdgeServerId,
    round_number: int,
    updates: Sequence[SignedUpdate],
    ground: Ground,
) -> Proposal | None:
    """An edge server's block of the round, on the tip of its chain; None where that chain has forked."""
    tip = ground.tips[server]
    if tip.forked:
        return None
    block = make_local_block(
        task=rules.task,
        edge_server=tip.edge_server,
        height=tip.height + 1,
        round=round_number,
        parent=tip.digest,
        updates=updates,
    )
    standings = {update.vehicle: ground.standings[update.vehicle] for update in updates}
    order = draw_order(ground.head, tip.edge_server, standings, rules.committee)
    return Proposal(block=block, updates=tuple(updates), order=order)


def seal_blocks(
    rules: TaskRules,
    now: Instant,
    round_number: int,
    arrived: Mapping[EdgeServerId, Mapping[VehicleId, SignedUpdate]],
) -> Steps[tuple[Instant, Mapping[EdgeServerId, LocalSeals]]]:
    """Ask the committees for their seals; ``arrived``: what reached each edge server.

    Answers when it is done, and what each edge server may anchor with.
    """
    peers = {signed.vehicle: vehicle for updates in arrived.values() for vehicle, signed in updates.items()}
    ground = yield Consult(question=LocalGround(vehicles=tuple(peers)))
    size = rules.committee.size
    proposals = {
        server: proposal
        for server, updates in arrived.items()
        if (proposal := propose(rules, server, round_number, tuple(updates.values()), ground)) is not None
    }
    asked = {server: proposal.order[:size] for server, proposal in proposals.items()}
    now, seals = yield from _ask(rules, now, proposals, asked, peers)
    committees = {server: tuple(sorted(members)) for server, members in asked.items()}
    lacking: dict[EdgeServerId, tuple[Address, ...]] = {}
    for server, members in asked.items():
        gone = [member for member in members if member not in seals[server]]
        reserves = proposals[server].order[size : size + len(gone)]
        if reserves and not _is_sealed(committees[server], seals[server]):
            committees[server] = replace_members(proposals[server].order, size, gone)
            lacking[server] = reserves
    now, late = yield from _ask(rules, now, proposals, lacking, peers)
    for server, more in late.items():
        seals[server] = {**seals[server], **more}
    return now, {server: _collect(committees[server], seals[server]) for server in proposals}


def _ask(
    rules: TaskRules,
    now: Instant,
    proposals: Mapping[EdgeServerId, Proposal],
    asked: Mapping[EdgeServerId, Sequence[Address]],
    peers: Mapping[Address, VehicleId],
) -> Steps[tuple[Instant, dict[EdgeServerId, Seals]]]:
    """The seals of those who are asked, as far as they come in time; a vehicle is in one committee at most."""
    duties = {
        vehicle_peer(peers[member]): (server, member)
        for server, members in asked.items()
        for member in members
    }
    if not duties:
        return now, {server: {} for server in asked}

    def check(peer: Peer, reply: object) -> str | None:
        server, member = duties[peer]
        return check_seal(proposals[server].block, member, reply)

    gathered = yield from gather(
        {peer: _request(proposals[server]) for peer, (server, _) in duties.items()},
        now=now,
        until=Instant(now + rules.seal_patience),
        retry_every=rules.retry_every,
        check=check,
    )
    seals: dict[EdgeServerId, dict[Address, bytes]] = {server: {} for server in asked}
    for peer, answer in gathered.answers.items():
        if isinstance(answer.reply, SealReply):
            server, member = duties[peer]
            seals[server][member] = answer.reply.signature
    return gathered.now, dict(seals)


def _request(proposal: Proposal) -> SealRequest:
    return SealRequest(round=proposal.block.round, block=proposal.block, updates=proposal.updates)


def _is_sealed(vehicles: Sequence[Address], seals: Seals) -> bool:
    """Whether the committee's quorum signed, the edge server's own seal counted in."""
    return has_quorum(1 + sum(vehicle in seals for vehicle in vehicles), 1 + len(vehicles))


def _collect(vehicles: Sequence[Address], seals: Seals) -> LocalSeals:
    if not _is_sealed(vehicles, seals):
        return LocalSeals()
    signed = tuple(seals[vehicle] for vehicle in sorted(vehicles) if vehicle in seals)
    return LocalSeals(vehicles=tuple(sorted(vehicles)), seals=signed)


def accept_seals(rules: CommitteeRules, proposal: Proposal, local: LocalSeals) -> Mapping[Address, bytes]:
    """What an edge server takes of the seals that it is handed: all by signer, or none where they seal nothing.

    It trusts nobody with them: the committee must be the one that it draws itself, every seal a signature of its
    own block by a member, and together a quorum.
    """
    seals: dict[Address, bytes] = {}
    for seal in local.seals:
        signer = recover_seal(proposal.block.digest, seal)
        if signer is None or signer not in local.vehicles:
            return {}
        seals[signer] = seal
    drawn = is_committee(proposal.order, rules.size, local.vehicles)
    return seals if drawn and _is_sealed(local.vehicles, seals) else {}


def find_fault(mine: SignedUpdate | None, request: SealRequest, ground: Ground) -> str | None:
    """Why a member does not sign a local block, or None: it must follow the chain's tip and hold exactly the
    updates that it is shown, each genuine and of this round, the member's own among them."""
    if mine is None or mine.round != request.round:
        return "no update of mine in this round"
    if mine not in request.updates:
        return "my update is left out or changed"
    tip = {tip.edge_server: tip for tip in ground.tips}.get(request.block.edge_server)
    if tip is None or tip.forked:
        return "no edge server of the task, or one whose chain has forked"
    for update in request.updates:
        if (update.task, update.round) != (mine.task, mine.round) or not is_genuine(update):
            return "an update that is not genuine"
    try:
        block = make_local_block(
            task=mine.task,
            edge_server=tip.edge_server,
            height=tip.height + 1,
            round=request.round,
            parent=tip.digest,
            updates=request.updates,
        )
    except ValueError as error:
        return str(error)
    return None if block == request.block else "not the block of these updates on the tip of its chain"

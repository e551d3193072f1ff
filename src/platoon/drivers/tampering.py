"""What malfunctioning edge servers and committee members do with local blocks in a simulation.

They are parties like the others, with their own keys: what they sign, the contract and the audit see as from
anybody. Whoever holds a block that nobody should have sealed still lacks a vehicle's signature of an update that it
changed, a committee's seals of another block, or the root of what it recorded. The honest protocol does not know of
any of it (``docs/ledger/local-chain.md`` has the list, and who finds what).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Never

from platoon.drivers.event_loop import Asked, Carrier, Delivery, Done
from platoon.drivers.mischief import Mischief, divert, make_equivocator, refuse
from platoon.fleet import draw_faulty, draw_faulty_members
from platoon.ledger.task_chain import TaskChain
from platoon.nouns import Address, Digest, EdgeServerId, Instant, SignedUpdate, VehicleId
from platoon.protocol.checks import recover_seal
from platoon.protocol.effects import (
    Consult,
    Effect,
    LocalGround,
    Received,
    Send,
    Sign,
    SignBlock,
    Steps,
)
from platoon.protocol.messages import (
    COORDINATOR,
    Message,
    Peer,
    RecordRequest,
    SealReply,
    SealRequest,
    TransactionReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.sealing import Proposal, accept_seals, propose
from platoon.protocol.task_rules import TaskRules
from platoon.records.committee import has_quorum, replace_members
from platoon.records.encoding import keccak
from platoon.records.local_block import LocalBlock, make_local_block
from platoon.scenario import Scenario

BLOCK_BEHAVIOURS = ("proposal", "omission", "root", "update", "alone", "second", "committee")
"""Of ``faults.behaviour``: those that tamper with local blocks."""
_SHOWN = ("proposal", "omission", "second", "committee")
"""Those that show a committee a block of which the coordinator knows nothing."""
Fate = Literal["given up", "sent"]
"""A tampered block that its committee did not seal, so that the honest one went out without seals; or one that was
sent to the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """Who tampers with local blocks, and how."""

    servers: frozenset[int] = frozenset()
    behaviour: str = "alone"
    members: frozenset[int] = frozenset()
    member_behaviour: str = "refuse"

    @classmethod
    def draw(cls, scenario: Scenario) -> "Faulty":
        """Those of a scenario; edge servers that only judge or vote falsely are none (``FaultyServers``)."""
        faults = scenario.faults
        return cls(
            servers=draw_faulty(scenario) if faults.behaviour in BLOCK_BEHAVIOURS else frozenset(),
            behaviour=faults.behaviour,
            members=draw_faulty_members(scenario),
            member_behaviour=faults.member_behaviour,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A tampered block on its way round a committee."""

    block: LocalBlock
    seals: dict[Address, tuple[Instant, bytes]] = field(default_factory=dict)
    """By who sealed it; and when its edge server had the seal."""


class Tampering:
    """The faulty parties of one task."""

    def __init__(self, faulty: Faulty, rules: TaskRules, chain: TaskChain) -> None:
        self._faulty, self._rules, self._chain, self._calls = faulty, rules, chain, chain.calls
        tips = chain.local_tips()
        self._accounts = {tips[server].edge_server: EdgeServerId(server) for server in faulty.servers}
        self._round = 0
        self._shown: dict[EdgeServerId, _Shown] = {}
        self._fates: dict[EdgeServerId, Fate] = {}

    def fates(self, round_number: int) -> Mapping[EdgeServerId, Fate]:
        """What became of the tampered blocks of a round, as far as their edge servers know; of the newest round."""
        return self._fates if round_number == self._round else {}

    def corrupt(self, actors: Mapping[Peer, Steps[Never]]) -> dict[Peer, Steps[Never]]:
        """The actors of the task, the faulty among them with their own ways."""
        corrupted = dict(actors)
        for server in map(EdgeServerId, self._faulty.servers):
            peer = edge_server_peer(server)
            corrupted[peer] = divert(actors[peer], self._make_recorder(server))
        for vehicle in map(VehicleId, self._faulty.members):
            peer, equivocates = vehicle_peer(vehicle), self._faulty.member_behaviour == "equivocate"
            corrupted[peer] = divert(actors[peer], make_equivocator(peer) if equivocates else refuse)
        return corrupted

    def _enter(self, round_number: int) -> None:
        if round_number > self._round:
            self._round, self._shown, self._fates = round_number, {}, {}

    # ---- what a committee is shown: an edge server's RSU carries what is said to and by its committee ------

    def pass_on(self, message: Message) -> tuple[Message, ...]:
        """What goes out in place of a message: a faulty edge server's committee is shown another block, or two."""
        request = message.body
        if not isinstance(request, SealRequest) or self._faulty.behaviour not in _SHOWN:
            return (message,)
        server = self._accounts.get(request.block.edge_server)
        if server is None or request.round < self._round:
            return (message,)
        self._enter(request.round)
        updates = self._tamper(request.updates)
        if server not in self._shown:
            self._shown[server] = _Shown(block=_make_block(request.block, updates))
        body = replace(request, block=self._shown[server].block, updates=updates)
        shown = replace(message, body=body)
        return (message, shown) if self._faulty.behaviour in ("second", "committee") else (shown,)

    def hear(self, deliveries: Sequence[Delivery]) -> tuple[Delivery, ...]:
        """What arrives, but for seals of tampered blocks: their edge servers keep them for themselves."""
        return tuple(delivery for delivery in deliveries if not self._keeps(delivery))

    def _keeps(self, delivery: Delivery) -> bool:
        reply = delivery.message.body
        if not isinstance(reply, SealReply) or reply.edge_server not in self._accounts:
            return False
        shown = self._shown.get(self._accounts[reply.edge_server])
        sender = self._chain.vehicles[delivery.message.sender.number]
        if shown is None or recover_seal(shown.block.digest, reply.signature) != sender:
            return False
        shown.seals.setdefault(sender, (delivery.at, reply.signature))
        return True

    # ---- what it records and anchors ----------------------------------------------------------------------------

    def _make_recorder(self, me: EdgeServerId) -> Mischief:
        """How a faulty edge server answers when it is asked to record; to rounds that are gone, not at all."""
        made: dict[int, TransactionReply | None] = {}

        def record(received: Received) -> Steps[bool]:
            request = received.message.body
            if not isinstance(request, RecordRequest):
                return False
            if request.round < max(made, default=0):
                return True
            if request.round not in made:
                made.clear()
                self._enter(request.round)
                made[request.round] = yield from self._record(me, request, received.at)
            reply = made[request.round]
            if reply is not None:
                yield Send(messages=(Message(sender=edge_server_peer(me), receiver=COORDINATOR, body=reply),))
            return reply is not None

        return record

    def _record(
        self, me: EdgeServerId, request: RecordRequest, at: Instant
    ) -> Steps[TransactionReply | None]:
        """A record and a tampered block; None where there is nothing to tamper with, or the committee refused."""
        if not request.updates:
            return None
        vehicles = tuple(update.vehicle for update in request.updates)
        ground = yield Consult(question=LocalGround(vehicles=vehicles))
        honest = propose(self._rules, me, request.round, request.updates, ground)
        if honest is None:
            return None
        recorded = self._tamper(request.updates)
        tampered = propose(self._rules, me, request.round, recorded, ground)
        assert tampered is not None  # as the honest one is not: the chain has not forked
        anchored = self._make_anchor(me, honest, tampered, request, at)
        if anchored is None:
            return None
        self._fates[me] = "sent"
        block, others, seals = anchored
        account = block.edge_server
        seals = {**seals, account: (yield SignBlock(block=block))}
        if self._faulty.behaviour not in ("update", "omission"):
            recorded = request.updates
        record = yield Sign(call=self._calls.record(request.round, recorded))
        ordered = [seals[signer] for signer in sorted(seals)]
        anchor = yield Sign(call=self._calls.anchor(block, sorted((account, *others)), ordered), ahead=1)
        return TransactionReply(
            round=request.round, answers=RecordRequest.__name__, transaction=record, further=(anchor,)
        )

    def _make_anchor(
        self, me: EdgeServerId, honest: Proposal, tampered: Proposal, request: RecordRequest, at: Instant
    ) -> "_Anchor | None":
        """The tampered block, its committee beside the edge server, and the seals that it has; None where it gives
        up."""
        given = dict(accept_seals(self._rules.committee, honest, request.local))
        committee = request.local.vehicles if given else ()
        match self._faulty.behaviour:
            case "root":
                other = keccak(b"another root" + honest.block.root)
                return replace(honest.block, root=Digest(other)), committee, given
            case "update":
                return tampered.block, committee, given
            case "alone":
                return tampered.block, (), {}
        return self._make_shown_anchor(me, tampered, committee, at)

    def _make_shown_anchor(
        self, me: EdgeServerId, tampered: Proposal, committee: tuple[Address, ...], at: Instant
    ) -> "_Anchor | None":
        """The same where a committee was shown the tampered block; ``committee``: the one that sealed the honest
        block too, if one did."""
        shown = self._shown.get(me, _Shown(block=tampered.block))
        seals = {who: seal for who, (since, seal) in shown.seals.items() if since <= at}
        drawn = committee or self._choose_committee(tampered, seals)
        mine = {who: seal for who, seal in seals.items() if who in drawn}
        if self._faulty.behaviour == "committee":
            return shown.block, tuple(mine), mine
        is_sealed = has_quorum(1 + len(mine), 1 + len(drawn))
        if self._faulty.behaviour == "omission" and not is_sealed:
            return shown.block, (), {}
        if self._faulty.behaviour == "proposal" and not is_sealed:
            if me in self._shown:  # else there was no committee to show anything
                self._fates[me] = "given up"
            return None
        return shown.block, drawn, mine

    def _choose_committee(self, tampered: Proposal, seals: Mapping[Address, bytes]) -> tuple[Address, ...]:
        """The drawn committee, or the one that there would be had all been silent who did not seal this block:
        whichever has more seals."""
        size = self._rules.committee.size
        drawn = tuple(sorted(tampered.order[:size]))
        gone = [member for member in tampered.order[:size] if member not in seals]
        return max(
            (drawn, replace_members(tampered.order, size, gone)),
            key=lambda committee: sum(member in seals for member in committee),
        )

    def _tamper(self, updates: Sequence[SignedUpdate]) -> tuple[SignedUpdate, ...]:
        """Another content in the update of the first vehicle by address, or that vehicle's update left out."""
        first, *others = sorted(updates, key=lambda update: update.vehicle)
        if self._faulty.behaviour in ("omission", "alone"):
            return tuple(others)
        return (replace(first, digest=keccak(b"another update" + first.digest)), *others)


_Anchor = tuple[LocalBlock, tuple[Address, ...], Mapping[Address, bytes]]
"""A block, its committee without the edge server, and that committee's seals."""


def _make_block(honest: LocalBlock, updates: Sequence[SignedUpdate]) -> LocalBlock:
    """The block of other updates in the same place."""
    return make_local_block(
        task=honest.task,
        edge_server=honest.edge_server,
        height=honest.height,
        round=honest.round,
        parent=honest.parent,
        updates=updates,
    )


class TamperingCarrier:
    """Any carrier, with faulty edge servers on the way between a committee and the rest."""

    def __init__(self, carrier: Carrier, tampering: Tampering) -> None:
        self._carrier, self._tampering = carrier, tampering

    def carry_out(self, actor: Peer, effect: Effect, now: Instant) -> Done:
        """As the carrier does."""
        return self._carrier.carry_out(actor, effect, now)

    def work(self, asked: Sequence[Asked], now: Instant) -> Sequence[Done]:
        """As the carrier does."""
        return self._carrier.work(asked, now)

    def route(self, message: Message, now: Instant) -> Sequence[Delivery]:
        """What the faulty make of a message travels as any other."""
        sent = [d for each in self._tampering.pass_on(message) for d in self._carrier.route(each, now)]
        return self._tampering.hear(sent)

    def advance(self, limit: Instant) -> tuple[Instant, Sequence[Delivery]]:
        """As the carrier does."""
        reached, deliveries = self._carrier.advance(limit)
        return reached, self._tampering.hear(deliveries)

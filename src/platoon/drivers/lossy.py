"""A second driver: the same protocol with an integer toy trainer, on a network that loses messages.

It exists to prove that a round does not depend on who turns the crank. Updates are integers drawn by name, scores
are fixed by who is honest, the ledger is the real one. The network drops, delays, repeats and so reorders
messages by named dice; edge servers may be dead or slow, lie in their scores, vote garbage, or send what is no
transaction at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from platoon.drivers.consult import consult
from platoon.drivers.event_loop import Asked, Delivery, Done
from platoon.drivers.keys import follow_pseudonyms, use_key
from platoon.drivers.store import ModelStore, digest_of
from platoon.learning.aggregation import Aggregator, merge, weighted_mean
from platoon.learning.similarity import compute_cosines
from platoon.ledger.task_chain import TaskChain
from platoon.nouns import (
    MILLION,
    Bools,
    Digest,
    Duration,
    EdgeServerId,
    FixedPoint,
    Floats,
    Forecasts,
    Instant,
    Ints,
    Scores,
    VehicleId,
    seconds,
)
from platoon.protocol.effects import (
    Aggregate,
    ChangePseudonym,
    CommitRound,
    Companions,
    Compare,
    Consult,
    Effect,
    Evaluate,
    Forecast,
    Learn,
    Score,
    Seal,
    Sign,
    SignAgreement,
    SignBlock,
    SignUpdate,
    Stock,
    Submit,
    Submitted,
    TakeStock,
    Train,
    Trained,
    Unseal,
)
from platoon.protocol.messages import (
    AnswerRequest,
    Message,
    Peer,
    RenewReply,
    RenewRequest,
    ResponseReply,
    SealReply,
    TrainRequest,
    TransactionReply,
    UpdateReply,
    edge_server_peer,
    vehicle_peer,
)
from platoon.protocol.round_records import RoundRecord
from platoon.protocol.task_rules import TaskState
from platoon.records.agreements import Opinion
from platoon.records.signing import Account
from platoon.rng import stream
from platoon.twin.company import Company

_PATIENCE = seconds(60.0)
Damageable = TrainRequest | RenewRequest | RenewReply | AnswerRequest | ResponseReply
"""What a network that damages messages damages."""
PARAMETERS = 16
"""Length of the toy model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How badly messages travel."""

    seed: int = 0
    drop: float = 0.0
    """Probability that a message is lost."""
    repeat: float = 0.0
    """Probability that one arrives twice."""
    change: float = 0.0
    """Probability that one byte of a packet is another when it arrives."""
    delay: int = 0
    """Longest delay, microseconds; uniform, so that messages overtake each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with whom."""

    dead: frozenset[EdgeServerId] = frozenset()
    """Edge servers that nothing comes from."""
    lying: frozenset[EdgeServerId] = frozenset()
    """Edge servers that score the opposite."""
    garbling: frozenset[EdgeServerId] = frozenset()
    """Edge servers that vote for another model."""
    slow: frozenset[EdgeServerId] = frozenset()
    """Edge servers whose answers come when nobody waits for them any more."""
    babbling: frozenset[EdgeServerId] = frozenset()
    """Edge servers that answer with bytes that are no transaction."""
    gone: frozenset[VehicleId] = frozenset()
    """Vehicles that drive away with the model."""
    left: frozenset[VehicleId] = frozenset()
    """Vehicles that drive away after their update has arrived, or refuse to seal: nobody can tell which."""
    forging: frozenset[VehicleId] = frozenset()
    """Vehicles that seal with garbage."""
    since: int = 1
    """Round in which all of this begins."""


@dataclass(kw_only=True)
class ToyParts:
    """A toy task."""

    seed: int
    accounts: dict[Peer, Account]
    chain: TaskChain
    store: ModelStore
    samples: Ints
    honest: Bools
    as_one: tuple[tuple[VehicleId, ...], ...] = ()
    """Vehicles that drive together and send copies of the first one's update."""
    network: Network = Network()
    faults: Faults = Faults()
    aggregate: Aggregator = weighted_mean
    patience: Duration = _PATIENCE
    """How long the coordinator waits for an edge server; a slow one answers later."""
    records: list[RoundRecord] = field(default_factory=list)
    """Filled as rounds are committed."""
    state: TaskState | None = None
    """Where the round after the last committed one starts."""


class LossyCarrier:
    """Carries out effects in the toy world."""

    def __init__(self, parts: ToyParts) -> None:
        self._parts = parts
        self._sent = 0

    def carry_out(self, actor: Peer, effect: Effect, now: Instant) -> Done:
        """Carry out one effect."""
        parts = self._parts
        answer: Any = None
        match effect:
            case Submit():
                receipts = parts.chain.submit(effect.transactions, round=effect.round, at=now)
                follow_pseudonyms(parts.seed, parts.accounts, parts.chain, receipts)
                answer = Submitted(receipts=receipts, at=now)
            case Forecast(horizon=horizon):
                answer = even_forecasts(len(parts.samples), horizon, now)
            case Consult(question=question):
                answer = consult(parts.chain, question)
            case Sign(call=call, ahead=ahead):
                answer = parts.chain.sign(parts.accounts[actor], call, ahead=ahead)
            case TakeStock(vehicle=vehicle):
                answer = self._take_stock(vehicle)
            case SignUpdate() | SignBlock() | SignAgreement() | Seal() | Unseal() | ChangePseudonym():
                answer = use_key(parts.seed, parts.accounts, parts.chain, actor, effect)
            case Companions(vehicles=vehicles):
                answer = self._accompany(vehicles)
            case Compare(updates=updates):
                answer = compute_cosines(np.stack([parts.store.get(digest) for digest in updates]))
            case Evaluate():
                answer = 0.5
            case CommitRound(state=state, record=record):
                parts.records.append(record)
                parts.state = state
                parts.chain.commit("")
            case Learn():
                pass
            case _:
                raise TypeError(f"{type(effect).__name__} is not for a carrier")
        return Done(actor=actor, answer=answer, at=now)

    def _take_stock(self, vehicle: VehicleId) -> Stock:
        """What a toy vehicle has, and what its dice say of two edge servers and of the vehicle after it."""
        parts, dice = self._parts, stream(self._parts.seed, "toy opinions", vehicle)
        others = [edge_server_peer(EdgeServerId(i)) for i in range(min(2, parts.chain.edge_servers))]
        others.append(vehicle_peer(VehicleId((vehicle + 1) % len(parts.samples))))
        subjects = sorted({parts.accounts[other].address for other in others})
        opinions = [
            Opinion(subject=subject, reputation=int(dice.integers(MILLION + 1)))
            for subject in subjects
            if subject != parts.accounts[vehicle_peer(vehicle)].address
        ]
        return Stock(
            clock=2 * 10**9, samples=int(parts.samples[vehicle]), rate=10**7, opinions=tuple(opinions)
        )

    def work(self, asked: Sequence[Asked], now: Instant) -> Sequence[Done]:
        """Carry out training, scoring and aggregation."""
        return [self._work(item, now) for item in asked]

    def _work(self, asked: Asked, now: Instant) -> Done:
        match asked.effect:
            case Train(round=number, vehicle=vehicle):
                author = next((group[0] for group in self._parts.as_one if vehicle in group), vehicle)
                update = toy_update(self._parts.seed, number, author)
                update[0] += 0 if author == vehicle else vehicle  # a copy that is not the same bytes
                digest = self._parts.store.put(update)
                answer: Any = Trained(digest=digest, samples=int(self._parts.samples[vehicle]))
                now = Instant(now + seconds(1.0 + vehicle % 3))
            case Score():
                answer = self._score(asked.effect)
            case Aggregate():
                answer = self._aggregate(asked.effect)
        return Done(actor=asked.actor, answer=answer, at=now)

    def _accompany(self, vehicles: Sequence[VehicleId]) -> Company:
        """Everybody is a kilometre from everybody, but for those who drive as one."""
        rows = np.array(vehicles, dtype=np.int64)
        apart = np.full((len(rows), len(rows)), 1000.0)
        for group in self._parts.as_one:
            mine = np.isin(rows, group)
            apart[np.ix_(mine, mine)] = 20.0
        np.fill_diagonal(apart, np.inf)
        return Company(
            vehicles=rows,
            apart=apart,
            unlike_db=np.where(np.isfinite(apart), 10.0, np.inf),
            roamed=np.full(len(rows), 500.0),
        )

    def _score(self, effect: Score) -> Scores:
        owners = {update.digest: update.vehicle for update in self._parts.chain.updates(effect.round)}
        honest = self._parts.honest[[owners[digest] for digest in effect.updates]]
        faults = self._parts.faults
        if effect.edge_server in faults.lying and effect.round >= faults.since:
            honest = ~honest
        return Scores(values=np.where(honest, 0.9, 0.1), evidence=1.0)

    def _aggregate(self, effect: Aggregate) -> Digest:
        faults = self._parts.faults
        if effect.edge_server in faults.garbling and effect.round >= faults.since:
            return digest_of(b"garbage %d" % effect.edge_server)
        store = self._parts.store
        updates = np.stack([store.get(digest) for digest in effect.updates])
        weights = np.array(effect.weights, dtype=np.int64)
        return store.put(merge(store.get(effect.model), updates, weights, self._parts.aggregate))

    def route(self, message: Message, now: Instant) -> Sequence[Delivery]:
        """Let the network's dice decide when, and how often, a message arrives."""
        network, faults, sender = self._parts.network, self._parts.faults, message.sender
        self._sent += 1
        spoilt = self._spoil(message)
        if spoilt is None:
            return ()
        message, late = spoilt
        if isinstance(message.body, UpdateReply):
            server = EdgeServerId(sender.number % self._parts.chain.edge_servers)
            message = replace(message, body=replace(message.body, edge_server=server))
        if isinstance(message.body, SealReply):
            if VehicleId(sender.number) in faults.left:
                return ()
            if VehicleId(sender.number) in faults.forging:
                message = replace(message, body=replace(message.body, signature=b"\x01" * 64 + b"\x1b"))
        dice = stream(network.seed, "network", self._sent)
        if dice.random() < network.drop:
            return ()
        if dice.random() < network.change and isinstance(message.body, Damageable):
            message = replace(message, body=change_byte(message.body, dice))
        copies = 2 if dice.random() < network.repeat else 1
        delays = dice.integers(0, network.delay + 1, size=copies)
        return tuple(Delivery(message=message, at=Instant(now + late + int(delay))) for delay in delays)

    def _spoil(self, message: Message) -> tuple[Message, Duration] | None:
        """What its sender's faults make of a message: nothing, or another one, or a late one."""
        faults, sender, body = self._parts.faults, message.sender, message.body
        if body.round < faults.since or sender.role in ("coordinator", "publisher"):
            return message, Duration(0)
        if sender.role == "vehicle":
            return None if VehicleId(sender.number) in faults.gone else (message, Duration(0))
        server = EdgeServerId(sender.number)
        if server in faults.dead:
            return None
        if server in faults.babbling and isinstance(body, TransactionReply):
            message = replace(message, body=replace(body, transaction=b"not a transaction"))
        late = self._parts.patience + seconds(1.0) if server in faults.slow else 0
        return message, Duration(late)

    def advance(self, limit: Instant) -> tuple[Instant, Sequence[Delivery]]:
        """Nothing happens by itself in the toy world."""
        return limit, ()


def change_byte(body: Damageable, dice: np.random.Generator) -> Damageable:
    """The message with one byte of its packet, its description or its signature changed."""
    match body:
        case AnswerRequest(offer=offer):
            return replace(body, offer=replace(offer, content=_spoil_byte(offer.content, dice)))
        case ResponseReply(signed=signed):
            return replace(body, signed=replace(signed, signature=_spoil_byte(signed.signature, dice)))
        case _:
            return replace(body, packet=_spoil_byte(body.packet, dice))


def _spoil_byte(data: bytes, dice: np.random.Generator) -> bytes:
    spoilt = bytearray(data)
    spoilt[int(dice.integers(len(spoilt)))] ^= int(dice.integers(1, 256))
    return bytes(spoilt)


def toy_update(seed: int, round_number: int, vehicle: VehicleId) -> FixedPoint:
    """An update that depends on nothing but its name, (PARAMETERS,)."""
    dice = stream(seed, "toy update", round_number, vehicle)
    return dice.integers(-(1 << 24), 1 << 24, size=PARAMETERS, dtype=np.int32)


def even_forecasts(vehicles: int, horizon: Duration, at: Instant) -> Forecasts:
    """Forecasts that prefer nobody."""
    ones: Floats = np.ones(vehicles)
    yes: Bools = np.ones(vehicles, dtype=np.bool_)
    return Forecasts(
        at=at,
        horizon=horizon,
        known=yes,
        attested=yes,
        edge_server=np.zeros(vehicles, dtype=np.int64),
        measured_rate=1e7 * ones,
        rate=1e7 * ones,
        cpu_hz=2e9 * ones,
        position=np.zeros((vehicles, 2)),
        position_sigma=np.zeros(vehicles),
        finish_probability=ones,
        finish_seconds=ones,
    )

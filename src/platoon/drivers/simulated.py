"""The simulated driver's carrier: a round carried out by real traffic, real training and a real EVM, on a
simulated clock.

Who takes how long (DTB-FL 6.1.2): the model reaches a vehicle ``round.distribution_s`` after it was sent; the
vehicle computes and uploads in ``World`` at its true speed and rate; what committees seal travels over the links of
``World``; every block costs a share of ``round.chain_s``; an edge server aggregates in ``round.aggregation_s``.
Methods without a chain pay no time for the ledger, which then only keeps the books. What is said and recorded
before the first round takes no time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from platoon.drivers.assembly import account_seed
from platoon.drivers.attacking import Attackers
from platoon.drivers.attesting import attest, find_honest_claims
from platoon.drivers.consult import consult
from platoon.drivers.event_loop import Asked, Delivery, Done
from platoon.drivers.faulty import FaultyServers
from platoon.drivers.keys import follow_pseudonyms, use_key
from platoon.drivers.local_traffic import LocalTraffic
from platoon.drivers.meter import Meter
from platoon.drivers.rows import Effort, Times, Truth
from platoon.drivers.store import ModelStore
from platoon.drivers.workers import TrainingPool
from platoon.learning.aggregation import Aggregator, advance
from platoon.learning.scores import ORACLE
from platoon.learning.server_step import Moments, ServerStep
from platoon.learning.similarity import compute_cosines
from platoon.ledger.task_chain import TaskChain
from platoon.nouns import (
    SECOND,
    Address,
    Bools,
    Digest,
    EdgeServerId,
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
    EstimateLabels,
    Evaluate,
    Forecast,
    Foretell,
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
from platoon.protocol.messages import SETUP, Message, Peer, SealReply, SealRequest, TrainRequest, UpdateReply
from platoon.records.signing import Account
from platoon.scenario import Scenario
from platoon.twin.finish import Job
from platoon.twin.twin import Twin
from platoon.world.world import World

BLOCKS_PER_ROUND = 5
"""Record, scores, medians, votes, settlement: each costs a fifth of ``round.chain_s``."""
MEASURE_EVERY = seconds(1.0)
"""The infrastructure measures the fleet once a second."""


@dataclass(kw_only=True)
class Parts:
    """What the carrier turns effects into deeds with."""

    scenario: Scenario
    accounts: dict[Peer, Account]
    """Keys of everybody; those of vehicles follow their pseudonyms."""
    world: World
    twin: Twin
    chain: TaskChain
    pool: TrainingPool
    store: ModelStore
    samples: Ints
    """(N,)"""
    honest: Bools
    """(N,)"""
    bits: int
    """Size of an update."""
    score: str
    aggregate: Aggregator
    server: ServerStep
    """How edge servers take the merged step."""
    waits_for_chain: bool
    commit: Callable[[Any, Any, Truth, Times, Moments | None], None]
    """Makes a round durable: state, record, truth, times, what the server's optimiser remembers."""
    meter: Meter = field(default_factory=Meter)
    stocks: Mapping[VehicleId, Stock] = field(default_factory=dict)
    """What each vehicle answers a task's request with."""


class SimulatedCarrier:
    """Carries out effects in the simulated world."""

    def __init__(
        self, parts: Parts, now: Instant, former: Digest | None = None, moments: Moments | None = None
    ) -> None:
        """``former``: the global model of the round before the one to come; None before the first.
        ``moments``: what the server's optimiser remembers; None before the first merge, or where it has none."""
        self._parts = parts
        self._former = former
        self._moments = moments
        self._faulty = FaultyServers(parts.scenario)
        self._attackers = Attackers(parts.scenario, parts.pool, parts.samples)
        # On whole seconds, wherever a run is taken up again: a resumed twin sees what an undisturbed one saw.
        self._measure_at = Instant((now // MEASURE_EVERY + 1) * MEASURE_EVERY)
        self._uploads: dict[VehicleId, Message] = {}
        self._local = LocalTraffic(parts.world, _edge_servers(parts.accounts))
        self._compared: dict[tuple[Digest, ...], Floats] = {}
        self._begin_round()

    def _begin_round(self) -> None:
        self._efforts: dict[VehicleId, Effort] = {}
        self._poisoned: set[VehicleId] = set()
        self._merged: dict[tuple[Any, ...], tuple[Digest, Moments | None]] = {}
        self._chain_time = 0
        self._aggregation_time = 0
        self._distributed = False
        self._local.begin()
        self._positions = self._parts.world.positions()

    # Effects that take no simulated time, but for the chain's.

    def carry_out(self, actor: Peer, effect: Effect, now: Instant) -> Done:  # noqa: PLR0912 (one case an effect)
        """Carry out one effect; see ``platoon.protocol.effects`` for what each means."""
        match effect:
            case Submit():
                return self._submit(actor, effect, now)
            case Forecast():
                answer: Any = self._forecast(effect, now)
            case Foretell():
                answer = self._foretell(effect)
            case EstimateLabels():
                answer = self._estimate_labels(effect)
            case Learn():
                answer = None
                self._learn(effect)
            case Consult():
                with self._parts.meter.measure("ledger"):
                    answer = consult(self._parts.chain, effect.question)
            case Sign():
                with self._parts.meter.measure("ledger"):
                    answer = self._parts.chain.sign(
                        self._parts.accounts[actor], effect.call, ahead=effect.ahead
                    )
            case TakeStock(vehicle=vehicle):
                answer = self._parts.stocks[vehicle]
            case SignUpdate() | SignBlock() | SignAgreement() | Seal() | Unseal() | ChangePseudonym():
                with self._parts.meter.measure("ledger"):
                    parts = self._parts
                    answer = use_key(account_seed(parts.scenario), parts.accounts, parts.chain, actor, effect)
            case Companions(vehicles=vehicles, since=since):
                with self._parts.meter.measure("twin"):
                    answer = self._parts.twin.describe_company(np.array(vehicles, dtype=np.int64), since)
            case Compare():
                answer = self._compare(effect)
            case Evaluate():
                answer = self._evaluate(effect.model)
            case CommitRound():
                answer = None
                self._commit(effect)
            case _:
                raise TypeError(f"{type(effect).__name__} is not for a carrier")
        return Done(actor=actor, answer=answer, at=now)

    def _submit(self, actor: Peer, effect: Submit, now: Instant) -> Done:
        parts = self._parts
        with parts.meter.measure("ledger"):
            receipts = parts.chain.submit(effect.transactions, round=effect.round, at=now)
            follow_pseudonyms(account_seed(parts.scenario), parts.accounts, parts.chain, receipts)
        is_waited_for = parts.waits_for_chain and effect.round != SETUP
        cost = seconds(parts.scenario.round.chain_s / BLOCKS_PER_ROUND) if is_waited_for else 0
        self._chain_time += cost
        at = Instant(now + cost)
        return Done(actor=actor, answer=Submitted(receipts=receipts, at=at), at=at)

    def _forecast(self, effect: Forecast, now: Instant) -> Forecasts:
        parts = self._parts
        with parts.meter.measure("world"):
            measured = parts.world.measure()
            due = np.flatnonzero(parts.twin.attestations_due(now))
            attested = attest(
                parts.scenario, parts.world, parts.accounts, parts.chain.task, due, round=parts.chain.round
            )
            self._positions = parts.world.positions()
        with parts.meter.measure("twin"):
            parts.twin.observe(measured)
            parts.twin.attest(attested)
            config = parts.scenario.round
            job = Job(
                samples=parts.samples.astype(np.float64),
                epochs=config.epochs,
                bits=parts.bits,
                wait_s=config.distribution_s,
            )
            forecasts = parts.twin.forecast(job, effect.horizon, now)
            honest = find_honest_claims(parts.scenario, parts.twin, parts.world)
            return replace(forecasts, attested=forecasts.attested & honest)

    def _foretell(self, effect: Foretell) -> Floats:
        parts = self._parts
        with parts.meter.measure("world"):
            wait_s = parts.scenario.round.distribution_s
            return parts.world.foretell(int(parts.samples[0]), parts.bits, wait_s, effect.horizon)

    def _estimate_labels(self, effect: EstimateLabels) -> Floats:
        parts = self._parts
        updates = np.stack([parts.store.get(digest) for digest in effect.updates])
        mixes, spent = parts.pool.estimate_labels(updates)
        parts.meter.report("other", spent)
        return mixes

    def _learn(self, effect: Learn) -> None:
        parts = self._parts
        with parts.meter.measure("world"):
            for vehicle, energy in parts.world.abandon_round().items():
                self._efforts[vehicle] = Effort(compute_s=0.0, upload_s=None, energy_j=energy)
        self._uploads.clear()
        with parts.meter.measure("twin"):
            parts.twin.learn(effect.outcomes)

    def _compare(self, effect: Compare) -> Floats:
        """Numbers are compared once for all edge servers: equal inputs give each of them the same."""
        parts = self._parts
        if effect.on_probes_with is None:
            with parts.meter.measure("judge"):
                if effect.updates not in self._compared:
                    updates = np.stack([parts.store.get(digest) for digest in effect.updates])
                    self._compared = {effect.updates: compute_cosines(updates)}
                return self._compared[effect.updates]
        updates = np.stack([parts.store.get(digest) for digest in effect.updates])
        model = parts.store.get(effect.on_probes_with)
        cosines, spent = parts.pool.compare(model, updates, effect.edge_server)
        parts.meter.report("judge", spent)
        return cosines

    def _evaluate(self, model: Digest) -> float:
        accuracy, spent = self._parts.pool.evaluate(self._parts.store.get(model))
        self._parts.meter.report("evaluate", spent)
        return accuracy

    def _commit(self, effect: CommitRound) -> None:
        config = self._parts.scenario.round
        times = Times(
            distribution=config.distribution_s if self._distributed else 0.0,
            chain=self._chain_time / SECOND,
            aggregation=self._aggregation_time / SECOND,
        )
        truth = Truth(
            honest=self._parts.honest,
            poisoned=frozenset(self._poisoned),
            positions=self._positions,
            efforts=self._efforts,
            links=self._local.use,
        )
        for model, moments in self._merged.values():
            if model == effect.state.model:  # what was voted; nothing, where nothing was merged
                self._moments = moments
        self._parts.commit(effect.state, effect.record, truth, times, self._moments)
        self._former = effect.state.former
        self._begin_round()

    # Work: training, scoring and aggregation, handed to the pool together.

    def work(self, asked: Sequence[Asked], now: Instant) -> Sequence[Done]:
        """Carry out all work of this instant."""
        done: list[Done] = []
        trains = [a for a in asked if isinstance(a.effect, Train)]
        scores = [a for a in asked if isinstance(a.effect, Score)]
        if trains:
            done += self._train(trains, now)
        if scores:
            done += self._score(scores, now)
        done += [self._aggregate(a, now) for a in asked if isinstance(a.effect, Aggregate)]
        return done

    def _train(self, asked: Sequence[Asked], now: Instant) -> list[Done]:
        parts = self._parts
        effects = [a.effect for a in asked if isinstance(a.effect, Train)]
        model = parts.store.get(effects[0].model)
        former = model if self._former is None else parts.store.get(self._former)
        vehicles = [effect.vehicle for effect in effects]
        trained = self._attackers.train(effects[0].round, model, former, vehicles)
        self._poisoned |= {VehicleId(update.vehicle) for update in trained if update.poisoned}
        done = []
        for a, update in zip(asked, trained, strict=True):
            parts.meter.report("train", update.cpu_seconds)
            with parts.meter.measure("ledger"):
                digest = parts.store.put(update.update)
            with parts.meter.measure("world"):
                parts.world.start_training(VehicleId(update.vehicle), update.samples, parts.bits, now)
            done.append(Done(actor=a.actor, answer=Trained(digest=digest, samples=update.samples), at=now))
        return done

    def _score(self, asked: Sequence[Asked], now: Instant) -> list[Done]:
        parts = self._parts
        effects = [a.effect for a in asked if isinstance(a.effect, Score)]
        model = parts.store.get(effects[0].model)
        updates = np.stack([parts.store.get(digest) for digest in effects[0].updates])
        servers = [effect.edge_server for effect in effects]
        if parts.score == ORACLE:
            known = [vehicle not in self._poisoned for vehicle in effects[0].vehicles]
            told = Scores(values=np.array(known, dtype=np.float64), evidence=1.0)
            judged = [(told, 0.0)] * len(asked)
            return self._give_scores(asked, judged, now)
        samples = np.array(effects[0].samples, dtype=np.int64)
        former = None if self._former is None else parts.store.get(self._former)
        judged = parts.pool.score(parts.score, model, updates, samples, servers, former)
        return self._give_scores(asked, judged, now)

    def _give_scores(
        self, asked: Sequence[Asked], judged: Sequence[tuple[Scores, float]], now: Instant
    ) -> list[Done]:
        done = []
        for a, (scores, spent) in zip(asked, judged, strict=True):
            assert isinstance(a.effect, Score)
            self._parts.meter.report("judge", spent)
            told = self._faulty.score(a.effect.edge_server, scores)
            done.append(Done(actor=a.actor, answer=told, at=now))
        return done

    def _aggregate(self, asked: Asked, now: Instant) -> Done:
        """Aggregate as one edge server. Edge servers with equal inputs get an equal result, so it is computed
        once: in a deployment each has its own machine."""
        effect = asked.effect
        assert isinstance(effect, Aggregate)
        key = (effect.model, self._former, effect.updates, effect.weights)
        with self._parts.meter.measure("other"):
            if key not in self._merged:
                store = self._parts.store
                updates = np.stack([store.get(digest) for digest in effect.updates])
                weights = np.array(effect.weights, dtype=np.int64)
                former = None if self._former is None else store.get(self._former)
                merged = advance(
                    store.get(effect.model),
                    updates,
                    weights,
                    self._parts.aggregate,
                    server=self._parts.server,
                    former=former,
                    moments=self._moments,
                )
                self._merged[key] = (store.put(merged.model), merged.moments)
        cost = seconds(self._parts.scenario.round.aggregation_s)
        self._aggregation_time = cost
        model, _ = self._merged[key]
        if self._faulty.spoils(effect.edge_server):
            model = self._faulty.spoil(effect.edge_server, effect.round, model)
        return Done(actor=asked.actor, answer=model, at=Instant(now + cost))

    # Messages and time.

    def route(self, message: Message, now: Instant) -> Sequence[Delivery]:
        """The model takes ``distribution_s``; an update and a seal travel in the world; edge servers are wired."""
        if isinstance(message.body, TrainRequest):
            self._distributed = True
            return (
                Delivery(
                    message=message, at=Instant(now + seconds(self._parts.scenario.round.distribution_s))
                ),
            )
        if isinstance(message.body, SealRequest | SealReply):
            self._local.take(message)
            return ()
        if isinstance(message.body, UpdateReply):
            self._uploads[VehicleId(message.sender.number)] = message
            return ()
        return (Delivery(message=message, at=now),)

    def advance(self, limit: Instant) -> tuple[Instant, Sequence[Delivery]]:
        """Let the traffic run on to the next arrival, the next measurement or the limit; first of all, send what
        committees said at this instant."""
        parts = self._parts
        with parts.meter.measure("world"):
            sent = self._local.send()
        if sent:
            return parts.world.now, sent
        target = Instant(min(limit, self._measure_at))
        with parts.meter.measure("world"):
            arrival = parts.world.next_arrival(target)
        if arrival is not None:
            self._efforts[arrival.vehicle] = Effort(
                compute_s=arrival.compute_s, upload_s=arrival.upload_s, energy_j=arrival.energy_j
            )
            message = self._uploads.pop(arrival.vehicle)
            assert isinstance(message.body, UpdateReply)
            body = replace(message.body, edge_server=arrival.edge_server)
            return arrival.at, (Delivery(message=replace(message, body=body), at=arrival.at),)
        if target == self._measure_at:
            self._measure_at = Instant(self._measure_at + MEASURE_EVERY)
            with parts.meter.measure("world"):
                measured = parts.world.measure()
            with parts.meter.measure("twin"):
                parts.twin.observe(measured)
        return target, ()


def _edge_servers(accounts: Mapping[Peer, Account]) -> dict[Address, EdgeServerId]:
    return {
        account.address: EdgeServerId(peer.number)
        for peer, account in accounts.items()
        if peer.role == "edge server"
    }

"""A simulated clock that turns the crank of the protocol: actors, their inboxes, and what happens when.

An actor is a protocol generator. The loop carries out what concerns time and messages (send, wait, listen) and
hands every other effect to a ``Carrier``. Work that many actors ask for at the same instant (training, scoring) is
handed over together, so that a carrier can spread it over processes. Events order by (time, order of creation),
which is the same in every run.
"""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from platoon.nouns import Instant
from platoon.protocol.effects import (
    Aggregate,
    Effect,
    Listen,
    Received,
    Score,
    Send,
    Steps,
    Submit,
    TimeReached,
    Train,
    Wait,
)
from platoon.protocol.messages import COORDINATOR, Message, Peer

T = TypeVar("T")

WORK = (Train, Score, Aggregate)
"""Effects that are collected and handed over together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that will reach its receiver at an instant."""

    message: Message
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A piece of work that an actor waits for."""

    actor: Peer
    effect: Train | Score | Aggregate


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer to an effect, and when the actor has it."""

    actor: Peer
    answer: Any
    at: Instant


class Carrier(Protocol):
    """Carries out effects: the simulated world, or a toy one in tests."""

    def carry_out(self, actor: Peer, effect: Effect, now: Instant) -> Done:
        """Carry out one effect that is neither work nor about messages."""
        ...

    def work(self, asked: Sequence[Asked], now: Instant) -> Sequence[Done]:
        """Carry out all work that was asked for at this instant."""
        ...

    def route(self, message: Message, now: Instant) -> Sequence[Delivery]:
        """When, and how often, a message arrives; nothing where it is lost or arrives by ``advance``."""
        ...

    def advance(self, limit: Instant) -> tuple[Instant, Sequence[Delivery]]:
        """Let the world run on, at most to ``limit``; returns how far it got and what then arrives."""
        ...


@dataclass(slots=True)
class _Actor:
    steps: Steps[Any]
    inbox: deque[Received] = field(default_factory=deque)
    waiting: bool = False
    timer: int = 0
    """Number of the wait that is in force; an older timer that rings is passed over."""


class EventLoop:
    """Runs a coordinator and its peers on simulated time until the coordinator returns."""

    def __init__(self, carrier: Carrier, peers: Mapping[Peer, Steps[Any]], now: Instant) -> None:
        self._carrier = carrier
        self._actors = {peer: _Actor(steps) for peer, steps in sorted(peers.items())}
        self._now = now
        self._agenda: list[tuple[Instant, int, Delivery | Done | tuple[Peer, int]]] = []
        self._created = 0
        self._ready: deque[tuple[Peer, Any]] = deque()
        self._asked: list[Asked] = []

    def run(self, coordinator: Steps[T]) -> T:
        """Play until the coordinator returns; what it returned."""
        self._actors[COORDINATOR] = _Actor(coordinator)
        self._ready.extend((peer, None) for peer in self._actors)
        while True:
            try:
                self._run_ready()
            except _Finished as finished:
                result: T = finished.result
                return result
            if self._asked:
                asked, self._asked = self._asked, []
                for done in self._carrier.work(asked, self._now):
                    self._plan(done.at, done)
            else:
                self._move_on()

    def _run_ready(self) -> None:
        while self._ready:
            peer, answer = self._ready.popleft()
            try:
                effect = self._actors[peer].steps.send(answer)
            except StopIteration as stop:
                if peer == COORDINATOR:
                    raise _Finished(stop.value) from None
                continue
            self._take(peer, effect)

    def _take(self, peer: Peer, effect: Effect) -> None:
        """Carry out an effect, or see to it that it is."""
        if isinstance(effect, WORK):
            self._asked.append(Asked(actor=peer, effect=effect))
        elif isinstance(effect, Send):
            for message in effect.messages:
                self._deliver_later(self._carrier.route(message, self._now))
            self._ready.append((peer, None))
        elif isinstance(effect, Wait | Listen):
            self._let_wait(peer, effect)
        else:
            done = self._carrier.carry_out(peer, effect, self._now)
            if isinstance(effect, Submit) or done.at > self._now:
                self._plan(done.at, done)
            else:
                self._ready.append((peer, done.answer))

    def _let_wait(self, peer: Peer, effect: Wait | Listen) -> None:
        actor = self._actors[peer]
        actor.timer += 1
        if actor.inbox:
            self._ready.append((peer, actor.inbox.popleft()))
            return
        actor.waiting = True
        if isinstance(effect, Wait):
            self._plan(Instant(max(effect.until, self._now)), (peer, actor.timer))

    def _move_on(self) -> None:
        """Go to the next event: the head of the agenda, or something that the world brings before it."""
        if not self._agenda:
            raise RuntimeError("every actor listens and nothing is under way: the protocol is stuck")
        reached, deliveries = self._carrier.advance(self._agenda[0][0])
        self._now = Instant(max(self._now, reached))
        self._deliver_later(deliveries)
        while self._agenda and self._agenda[0][0] <= self._now:
            self._happen(heapq.heappop(self._agenda)[2])

    def _happen(self, event: Delivery | Done | tuple[Peer, int]) -> None:
        if isinstance(event, Delivery):
            self._receive(event)
        elif isinstance(event, Done):
            self._ready.append((event.actor, event.answer))
        else:
            peer, timer = event
            actor = self._actors[peer]
            if actor.waiting and actor.timer == timer:
                actor.waiting = False
                self._ready.append((peer, TimeReached(at=self._now)))

    def _receive(self, delivery: Delivery) -> None:
        actor = self._actors.get(delivery.message.receiver)
        if actor is None:
            return
        received = Received(message=delivery.message, at=delivery.at)
        if actor.waiting:
            actor.waiting = False
            self._ready.append((delivery.message.receiver, received))
        else:
            actor.inbox.append(received)

    def _deliver_later(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._plan(delivery.at, delivery)

    def _plan(self, at: Instant, event: Delivery | Done | tuple[Peer, int]) -> None:
        self._created += 1
        heapq.heappush(self._agenda, (at, self._created, event))


class _Finished(Exception):  # noqa: N818  (a signal inside this module, not an error)
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

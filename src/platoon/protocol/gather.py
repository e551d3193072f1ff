"""Ask many, wait for answers, ask the silent ones again: the one place that knows how a network fails.

A message may be lost, late, repeated or out of order. A request is therefore repeated until its answer came or
the time is up, an answer counts once, and an answer that nobody asked for is passed over. Peers answer a
repeated request with the same answer (``platoon.protocol.peers``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from platoon.nouns import Duration, Instant
from platoon.protocol.effects import Received, Send, Steps, Wait
from platoon.protocol.messages import COORDINATOR, Message, Peer, Reply, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply and when it came."""

    reply: Request | Reply
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What came in until the time was up or all had answered."""

    now: Instant
    answers: Mapping[Peer, Answer]
    """In the order of the peers, whatever the order of arrival."""
    refused: Mapping[Peer, str] = field(default_factory=dict)
    """Peers whose only answers were faulty, with the reason of the first."""


Check = Callable[[Peer, Request | Reply], str | None]
"""Says what is wrong with what came back, or None."""


def gather(
    requests: Mapping[Peer, Request],
    *,
    now: Instant,
    until: Instant,
    retry_every: Duration,
    check: Check,
) -> Steps[Gathered]:
    """Send every peer its request and collect one sound answer of each, at most until ``until``.

    A faulty answer is a value, not an error: it is kept as the reason why the peer was refused, unless a sound
    one follows. Returns as soon as all have answered.
    """
    answers: dict[Peer, Answer] = {}
    refused: dict[Peer, str] = {}
    pending = dict(sorted(requests.items()))
    while pending and now < until:
        yield Send(messages=tuple(_ask(peer, request) for peer, request in pending.items()))
        retry_at = Instant(min(until, now + retry_every))
        while pending and now < retry_at:
            event = yield Wait(until=retry_at)
            now = Instant(max(now, event.at))
            if not isinstance(event, Received) or event.message.sender not in pending:
                continue
            peer, reply = event.message.sender, event.message.body
            fault = check(peer, reply)
            if fault is None:
                answers[peer] = Answer(reply=reply, at=event.at)
                del pending[peer]
            elif fault != NOT_MINE:
                refused.setdefault(peer, fault)
    for peer in answers:
        refused.pop(peer, None)
    return Gathered(now=now, answers=dict(sorted(answers.items())), refused=dict(sorted(refused.items())))


NOT_MINE = "an answer to another request"
"""What a check says of a reply that belongs to an earlier request: passed over, no fault of the peer's."""


def _ask(peer: Peer, request: Request) -> Message:
    return Message(sender=COORDINATOR, receiver=peer, body=request)

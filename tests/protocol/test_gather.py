"""Timelines of asking many over a bad network: events in, effects out, one comment per event."""

import pytest

from platoon.nouns import Duration, EdgeServerId, Instant
from platoon.protocol.effects import Received, Send, TimeReached, Wait
from platoon.protocol.gather import NOT_MINE, Gathered, gather
from platoon.protocol.messages import (
    COORDINATOR,
    JudgeRequest,
    Message,
    Peer,
    TransactionReply,
    edge_server_peer,
)

ZERO, ONE = edge_server_peer(EdgeServerId(0)), edge_server_peer(EdgeServerId(1))


def check(peer: Peer, reply: object) -> str | None:
    assert isinstance(reply, TransactionReply)
    if reply.round != 7:
        return NOT_MINE
    return "not signed" if reply.transaction == b"" else None


def ask(*peers: Peer, until: int = 100):  # type: ignore[no-untyped-def]
    return gather(
        {peer: JudgeRequest(round=7) for peer in peers},
        now=Instant(0),
        until=Instant(until),
        retry_every=Duration(40),
        check=check,
    )


def reply(sender: Peer, at: int, transaction: bytes = b"signed", round: int = 7) -> Received:
    body = TransactionReply(round=round, answers="JudgeRequest", transaction=transaction)
    return Received(message=Message(sender=sender, receiver=COORDINATOR, body=body), at=Instant(at))


def receivers(effect: object) -> list[Peer]:
    assert isinstance(effect, Send)
    return [message.receiver for message in effect.messages]


def result(steps, event) -> Gathered:  # type: ignore[no-untyped-def]
    with pytest.raises(StopIteration) as stop:
        steps.send(event)
    gathered = stop.value.value
    assert isinstance(gathered, Gathered)
    return gathered


def test_everybody_answers() -> None:
    steps = ask(ONE, ZERO)
    # Both are asked at once, in id order.
    assert receivers(next(steps)) == [ZERO, ONE]
    # It waits until it would ask again.
    assert steps.send(None) == Wait(until=Instant(40))
    # The first answer comes from the second peer: it goes on waiting.
    assert steps.send(reply(ONE, 10)) == Wait(until=Instant(40))
    # With the last answer it is done, and the answers stand in id order.
    gathered = result(steps, reply(ZERO, 12))
    assert list(gathered.answers) == [ZERO, ONE]
    assert gathered.now == 12


def test_the_silent_are_asked_again_and_then_given_up() -> None:
    steps = ask(ZERO, ONE)
    next(steps)
    steps.send(None)
    # One answers, the other's message is lost.
    steps.send(reply(ONE, 5))
    # At 40 only the silent one is asked again.
    assert receivers(steps.send(TimeReached(at=Instant(40)))) == [ZERO]
    assert steps.send(None) == Wait(until=Instant(80))
    assert receivers(steps.send(TimeReached(at=Instant(80)))) == [ZERO]
    # The last wait ends with the time that was given.
    assert steps.send(None) == Wait(until=Instant(100))
    gathered = result(steps, TimeReached(at=Instant(100)))
    assert list(gathered.answers) == [ONE]
    assert gathered.now == 100


def test_a_repeated_answer_counts_once_and_a_stranger_not_at_all() -> None:
    steps = ask(ZERO, ONE)
    next(steps)
    steps.send(None)
    steps.send(reply(ONE, 5, b"first"))
    # The same peer again, with something else: the first answer stands.
    assert steps.send(reply(ONE, 6, b"second")) == Wait(until=Instant(40))
    # Somebody who was not asked.
    assert steps.send(reply(edge_server_peer(EdgeServerId(9)), 7)) == Wait(until=Instant(40))
    gathered = result(steps, reply(ZERO, 8))
    replies = {peer: answer.reply for peer, answer in gathered.answers.items()}
    assert list(replies) == [ZERO, ONE]
    assert isinstance(replies[ONE], TransactionReply)
    assert replies[ONE].transaction == b"first"


def test_a_faulty_answer_is_kept_as_a_reason() -> None:
    steps = ask(ZERO, until=30)
    next(steps)
    assert steps.send(None) == Wait(until=Instant(30))
    # A late answer of another round is nobody's fault.
    assert steps.send(reply(ZERO, 3, round=6)) == Wait(until=Instant(30))
    # An unsigned one is.
    assert steps.send(reply(ZERO, 4, b"")) == Wait(until=Instant(30))
    gathered = result(steps, TimeReached(at=Instant(30)))
    assert gathered.answers == {}
    assert gathered.refused == {ZERO: "not signed"}


def test_a_sound_answer_after_a_faulty_one_clears_the_peer() -> None:
    steps = ask(ZERO)
    next(steps)
    steps.send(None)
    steps.send(reply(ZERO, 4, b""))
    gathered = result(steps, reply(ZERO, 5))
    assert list(gathered.answers) == [ZERO]
    assert gathered.refused == {}


def test_time_never_runs_backwards() -> None:
    """A message that lay in the inbox since before the question does not turn the clock back."""
    steps = gather(
        {ZERO: JudgeRequest(round=7)},
        now=Instant(50),
        until=Instant(100),
        retry_every=Duration(40),
        check=check,
    )
    next(steps)
    steps.send(None)
    gathered = result(steps, reply(ZERO, 45))
    assert gathered.now == 50
    assert gathered.answers[ZERO].at == 45


def test_nobody_asked_takes_no_time() -> None:
    gathered = result(ask(), None)
    assert gathered.answers == {}
    assert gathered.now == 0

"""A party of the protocol that is honest but for what it does with some of what it hears; and members of committees
that refuse to seal, or seal everything."""

from collections.abc import Callable
from typing import Never

from platoon.protocol.effects import Listen, Received, Send, SignBlock, Steps
from platoon.protocol.messages import COORDINATOR, Message, Peer, SealReply, SealRequest

Mischief = Callable[[Received], Steps[bool]]
"""What a faulty party does with what it hears; whether it keeps that from its honest self."""


def divert(steps: Steps[Never], mischief: Mischief) -> Steps[Never]:
    """A party that is honest but for its mischief."""
    effect = next(steps)
    while True:
        answer = yield effect
        while isinstance(effect, Listen) and (yield from mischief(answer)):
            answer = yield effect
        effect = steps.send(answer)


def refuse(received: Received) -> Steps[bool]:
    """A member that is silent when it is asked to seal."""
    yield from ()  # nothing is done
    return isinstance(received.message.body, SealRequest)


def make_equivocator(me: Peer) -> Mischief:
    """A member that seals every block that it is shown, unseen, and two of a round if it is asked twice."""

    def seal(received: Received) -> Steps[bool]:
        request = received.message.body
        if not isinstance(request, SealRequest):
            return False
        signature = yield SignBlock(block=request.block)
        reply = SealReply(round=request.round, edge_server=request.block.edge_server, signature=signature)
        yield Send(messages=(Message(sender=me, receiver=COORDINATOR, body=reply),))
        return True

    return seal

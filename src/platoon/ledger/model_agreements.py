"""The reference of ``Agreements.vy``: the same checks in the same order.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_accounts import Token
from platoon.ledger.model_clocks import MAX_NUMBER, Clocks
from platoon.ledger.model_registry import (
    EDGE_SERVER,
    PUBLISHER,
    VEHICLE,
    Registry,
    is_signed_by,
    require,
)
from platoon.nouns import MILLION, Address, Digest, Instant
from platoon.records.agreements import (
    MOST_OPINIONS,
    Opinion,
    Payment,
    TaskRequest,
    TaskResponse,
    compute_agreement_digest,
)


class Decline(IntEnum):
    """Why a response was left out."""

    NOT_A_VEHICLE = 1
    ANSWERED_BEFORE = 2


@dataclass(kw_only=True)
class Agreements:
    """How the task came about, and what its publisher ordered."""

    address: Address
    publisher: Address
    purses: tuple[Address, Address]
    """Escrow and Sealing: payees that are no participants."""
    registry: Registry
    token: Token
    clocks: Clocks
    asked: TaskRequest | None = None
    request: Digest | None = None
    """Digest of ``asked``."""
    spent: int = 0
    joined: set[Address] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    """Vehicles by the number of their registration."""
    used: set[int] = field(default_factory=set)
    """Serials of the publisher."""

    def publish(self, sender: Address, at: int, asked: tuple[Any, ...]) -> list[Event]:
        """An edge server brings the publisher's request."""
        now, times = self.clocks.enter(sender, at)
        publisher, content, vehicles, samples, cycles, deadline, budget, serial, v, r, s = asked
        require(self.asked is None, "published before")
        self._check_publisher(publisher)
        require(vehicles > 0, "asks for nobody")
        require(deadline > now, "expired")
        numbers = (vehicles, samples, cycles, deadline, budget, serial)
        require(max(numbers) <= MAX_NUMBER, "number out of bounds")
        request = TaskRequest(
            publisher=publisher,
            content=content,
            vehicles=vehicles,
            samples=samples,
            cycles=cycles,
            deadline=Instant(deadline),
            budget=budget,
            serial=serial,
        )
        digest = compute_agreement_digest(self.registry.separator, request)
        require(is_signed_by(digest, publisher, v, r, s), "bad signature")
        self.asked, self.request, self.clocks.times = request, digest, times
        self.used.add(serial)
        names = ("vehicles", "samples", "cycles", "deadline", "budget", "serial")
        values = {"request": digest, "publisher": publisher, "edge_server": sender, "content": content}
        return [Event("Agreements", "Published", values | dict(zip(names, numbers, strict=True)))]

    def join(self, sender: Address, at: int, request: Digest) -> list[Event]:
        """An edge server serves the task."""
        _, times = self.clocks.enter(sender, at)
        self._check_request(request)
        require(sender not in self.joined, "joined before")
        self.joined.add(sender)
        self.clocks.times = times
        return [Event("Agreements", "Joined", {"request": request, "edge_server": sender})]

    def respond(
        self,
        sender: Address,
        at: int,
        responses: Sequence[tuple[Any, ...]],
        opinions: Sequence[tuple[Address, int]],
    ) -> list[Event]:
        """An edge server brings vehicles' responses, with the opinions of all of them in their order."""
        require(len(responses) <= 128 and len(opinions) <= 512, "reverted")
        now, times = self.clocks.enter(sender, at)
        asked = self.asked
        require(asked is not None, "nothing is asked for")
        assert asked is not None
        require(now < asked.deadline, "expired")
        place, events, answered = 0, [], set(self.answered)
        for response in responses:
            count = response[5]
            require(count <= MOST_OPINIONS, "too many opinions")
            require(place + count <= len(opinions), "opinions are missing")
            own = tuple(opinions[place : place + count])
            place += count
            self._check_response(response, own, asked)
            events.append(self._take(sender, response, own, answered))
        require(place == len(opinions), "opinions are left over")
        self.answered, self.clocks.times = answered, times
        return events

    def _check_response(
        self, response: tuple[Any, ...], own: tuple[tuple[Address, int], ...], asked: TaskRequest
    ) -> None:
        request, vehicle, clock, samples, rate, _, v, r, s = response
        self._check_request(request)
        require(samples >= asked.samples, "too few samples")
        require(max(clock, samples, rate) <= MAX_NUMBER, "number out of bounds")
        last = Address(bytes(20))
        for subject, reputation in own:
            require(subject > last, "opinions not ascending")
            last = subject
            require(subject != vehicle, "an opinion of itself")
            require(reputation <= MILLION, "reputation out of bounds")
        signed = TaskResponse(
            request=request,
            vehicle=vehicle,
            clock=clock,
            samples=samples,
            rate=rate,
            opinions=tuple(Opinion(subject=subject, reputation=reputation) for subject, reputation in own),
        )
        digest = compute_agreement_digest(self.registry.separator, signed)
        require(is_signed_by(digest, vehicle, v, r, s), "bad signature")

    def _take(
        self,
        sender: Address,
        response: tuple[Any, ...],
        own: tuple[tuple[Address, int], ...],
        answered: set[int],
    ) -> Event:
        """Take one genuine response, unless somebody else's doing is in its way."""
        vehicle = response[1]
        who = {"vehicle": vehicle, "edge_server": sender}
        if self.registry.roles.get(vehicle) != VEHICLE:
            return Event("Agreements", "Declined", who | {"reason": Decline.NOT_A_VEHICLE.value})
        number = self.registry.vehicles[vehicle]
        if number in answered:
            return Event("Agreements", "Declined", who | {"reason": Decline.ANSWERED_BEFORE.value})
        answered.add(number)
        offered = dict(zip(("clock", "samples", "rate"), response[2:5], strict=True))
        said = {
            "subjects": tuple(subject for subject, _ in own),
            "reputations": tuple(reputation for _, reputation in own),
        }
        return Event("Agreements", "Responded", who | offered | said)

    def pay_order(self, sender: Address, at: int, order: tuple[Any, ...]) -> list[Event]:
        """An edge server brings an order of the publisher."""
        _, times = self.clocks.enter(sender, at)
        request, payer, receiver, amount, round_number, serial, v, r, s = order
        self._check_request(request)
        self._check_publisher(payer)
        require(amount > 0, "nothing to pay")
        assert self.asked is not None  # as the request's check saw to
        require(amount <= self.asked.budget - self.spent, "over budget")
        require(max(round_number, serial) <= MAX_NUMBER, "number out of bounds")
        require(serial not in self.used, "serial used before")
        is_participant = self.registry.roles.get(receiver) in (EDGE_SERVER, VEHICLE)
        require(receiver in self.purses or is_participant, "no payee of this task")
        payment = Payment(
            request=request, payer=payer, receiver=receiver, amount=amount, round=round_number, serial=serial
        )
        digest = compute_agreement_digest(self.registry.separator, payment)
        require(is_signed_by(digest, payer, v, r, s), "bad signature")
        events = self.token.transfer_from(self.address, payer, receiver, amount)
        self.used.add(serial)
        self.spent += amount
        self.clocks.times = times
        values = {"payer": payer, "receiver": receiver, "amount": amount, "round": round_number}
        return [*events, Event("Agreements", "Paid", values | {"serial": serial})]

    def _check_publisher(self, account: Address) -> None:
        require(account == self.publisher, "not the publisher's")
        require(self.registry.roles.get(account) == PUBLISHER, "not a publisher")

    def _check_request(self, request: Digest) -> None:
        require(self.request is not None, "nothing is asked for")
        require(request == self.request, "another request")

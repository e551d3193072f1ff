"""Calls about how a task comes about: the publisher's request, edge servers that join, responses, payments."""

from collections.abc import Sequence
from dataclasses import dataclass

from platoon.ledger.contracts import ContractSet
from platoon.nouns import Digest, Instant
from platoon.records.agreements import Payment, Signed, TaskRequest, TaskResponse
from platoon.records.signing import split_signature
from platoon.records.transactions import Call

MOST_RESPONSES = 128
"""In one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementCalls:
    """Builds the calls; edge servers sign them as transactions, publisher and vehicles have signed what is in them.

    ``at``: the time that the edge server has.
    """

    contracts: ContractSet

    def publish(self, at: Instant, signed: Signed[TaskRequest]) -> Call:
        """An edge server brings the publisher's request."""
        request = signed.agreement
        fields = (
            request.publisher,
            request.content,
            request.vehicles,
            request.samples,
            request.cycles,
            request.deadline,
            request.budget,
            request.serial,
            *split_signature(signed.signature),
        )
        return self.contracts.call("Agreements", "publish", at, fields)

    def join(self, at: Instant, request: Digest) -> Call:
        """An edge server serves the task."""
        return self.contracts.call("Agreements", "join", at, request)

    def respond(self, at: Instant, responses: Sequence[Signed[TaskResponse]]) -> list[Call]:
        """An edge server brings responses of vehicles, as many to a call as it takes."""
        packs = [responses[i : i + MOST_RESPONSES] for i in range(0, len(responses), MOST_RESPONSES)]
        return [self._respond(at, pack) for pack in packs]

    def _respond(self, at: Instant, pack: Sequence[Signed[TaskResponse]]) -> Call:
        entries = [
            (
                signed.agreement.request,
                signed.agreement.vehicle,
                signed.agreement.clock,
                signed.agreement.samples,
                signed.agreement.rate,
                len(signed.agreement.opinions),
                *split_signature(signed.signature),
            )
            for signed in pack
        ]
        opinions = [
            (opinion.subject, opinion.reputation) for signed in pack for opinion in signed.agreement.opinions
        ]
        return self.contracts.call("Agreements", "respond", at, entries, opinions)

    def pay_order(self, at: Instant, signed: Signed[Payment]) -> Call:
        """An edge server brings an order of the publisher."""
        order = signed.agreement
        fields = (
            order.request,
            order.payer,
            order.receiver,
            order.amount,
            order.round,
            order.serial,
            *split_signature(signed.signature),
        )
        return self.contracts.call("Agreements", "pay_order", at, fields)

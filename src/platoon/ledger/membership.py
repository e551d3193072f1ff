"""Calls about who takes part: pseudonyms, issuers of certificates, admission of newcomers."""

from collections.abc import Sequence
from dataclasses import dataclass

from platoon.ledger.contracts import ContractSet
from platoon.nouns import Address, Digest, Instant
from platoon.records.certificates import Certificate
from platoon.records.identity import Rotation
from platoon.records.signing import split_signature
from platoon.records.transactions import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Builds the calls; whoever signs one as a transaction is its sender."""

    contracts: ContractSet

    def rotate(self, rotations: Sequence[Rotation]) -> Call:
        """An edge server brings vehicles' new pseudonyms."""
        entries = [
            (
                rotation.retired,
                rotation.renewed,
                *split_signature(rotation.retired_signature),
                *split_signature(rotation.renewed_signature),
            )
            for rotation in sorted(rotations, key=lambda rotation: rotation.retired)
        ]
        return self.contracts.call("Registry", "rotate", entries)

    def trust_issuers(self, task: Digest, issuers: Sequence[Address]) -> Call:
        """The operator takes certificates of these edge servers of another task chain from now on."""
        return self.contracts.call("Admission", "trust_issuers", task, issuers)

    def distrust(self, issuer: Address) -> Call:
        """The operator takes no certificate of this issuer any more."""
        return self.contracts.call("Admission", "distrust", issuer)

    def admit_certified(self, at: Instant, certificate: Certificate) -> Call:
        """An edge server admits a newcomer by its certificate; ``at``: the time that the edge server has."""
        fields = (
            certificate.task,
            certificate.issuer,
            certificate.vehicle,
            certificate.reputation,
            certificate.round,
            certificate.expiry,
            certificate.serial,
            *split_signature(certificate.signature),
        )
        return self.contracts.call("Admission", "admit_certified", at, fields)

    def admit_attested(self, at: Instant, vehicles: Sequence[Address]) -> Call:
        """An edge server admits newcomers that passed its attestation."""
        return self.contracts.call("Admission", "admit_attested", at, vehicles)

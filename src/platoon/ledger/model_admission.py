"""The reference of ``Admission.vy``: the same checks in the same order (DTB-FL eq. 13).

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_clocks import MAX_NUMBER, Clocks
from platoon.ledger.model_registry import NO_ACCOUNT, VEHICLE, Registry, is_signed_by, require
from platoon.ledger.model_training import Training
from platoon.nouns import MILLION, Address, Digest
from platoon.records.certificates import compute_certificate_digest
from platoon.records.encoding import EMPTY_DIGEST


class Trust(IntEnum):
    """In an issuer of certificates."""

    UNKNOWN = 0
    TRUSTED = 1
    REVOKED = 2


@dataclass(kw_only=True)
class Admission:
    """What newcomers start with."""

    operator: Address
    address: Address
    registry: Registry
    training: Training
    clocks: Clocks
    attested: int
    """Reputation of a newcomer that passed the attestation, ppm."""
    trust: dict[Address, Trust] = field(default_factory=dict)
    tasks: dict[Address, Digest] = field(default_factory=dict)
    """The task whose edge server each issuer is."""
    used: set[tuple[Address, int]] = field(default_factory=set)
    """Serials of certificates that were taken, by issuer."""

    def __post_init__(self) -> None:
        if not 0 <= self.attested <= MILLION:
            raise ValueError(f"attested = {self.attested}: allowed: 0 to {MILLION} ppm")

    def trust_issuers(self, sender: Address, task: Digest, issuers: Sequence[Address]) -> list[Event]:
        """The operator takes certificates of another task chain's edge servers from now on."""
        require(len(issuers) <= 64, "reverted")
        require(sender == self.operator, "only the operator")
        require(task != EMPTY_DIGEST, "no task")
        for i, issuer in enumerate(issuers):
            require(issuer != NO_ACCOUNT, "no account")
            require(issuer not in self.trust and issuer not in issuers[:i], "known before")
        self.trust |= dict.fromkeys(issuers, Trust.TRUSTED)
        self.tasks |= dict.fromkeys(issuers, task)
        return [Event("Admission", "Trusted", {"issuer": issuer, "task": task}) for issuer in issuers]

    def distrust(self, sender: Address, issuer: Address) -> list[Event]:
        """The operator takes no certificate of this issuer any more."""
        require(sender == self.operator, "only the operator")
        require(self.trust.get(issuer) is Trust.TRUSTED, "not trusted")
        self.trust[issuer] = Trust.REVOKED
        return [Event("Admission", "Distrusted", {"issuer": issuer})]

    def admit_certified(self, sender: Address, at: int, certificate: tuple[Any, ...]) -> list[Event]:
        """A newcomer brings a certificate."""
        now, times = self.clocks.enter(sender, at)
        task, issuer, vehicle, reputation, round_number, expiry, serial, v, r, s = certificate
        trust = self.trust.get(issuer, Trust.UNKNOWN)
        require(trust is not Trust.UNKNOWN, "unknown issuer")
        require(trust is Trust.TRUSTED, "revoked issuer")
        require(self.tasks[issuer] == task, "issuer of another task")
        require(reputation <= MILLION, "reputation out of bounds")
        require(max(round_number, expiry, serial) <= MAX_NUMBER, "number out of bounds")
        digest = compute_certificate_digest(
            task=task,
            issuer=issuer,
            vehicle=vehicle,
            reputation=reputation,
            round=round_number,
            expiry=expiry,
            serial=serial,
        )
        require(is_signed_by(digest, issuer, v, r, s), "bad signature")
        require(now < expiry, "expired")
        require((issuer, serial) not in self.used, "used before")
        self._check_newcomer(vehicle)
        self.registry.begin(self.address, vehicle, reputation)
        self.clocks.times = times
        self.used.add((issuer, serial))
        return [_admitted(vehicle, sender, reputation, issuer, serial)]

    def admit_attested(self, sender: Address, at: int, vehicles: Sequence[Address]) -> list[Event]:
        """Newcomers passed the attestation of an edge server."""
        require(len(vehicles) <= 256, "reverted")
        _, times = self.clocks.enter(sender, at)
        for i, vehicle in enumerate(vehicles):
            self._check_newcomer(vehicle)
            require(vehicle not in vehicles[:i], "admitted before")
            require(self.registry.admission == self.address, "only the admission")
        for vehicle in vehicles:
            self.registry.begin(self.address, vehicle, self.attested)
        self.clocks.times = times
        return [_admitted(vehicle, sender, self.attested, NO_ACCOUNT, 0) for vehicle in vehicles]

    def _check_newcomer(self, vehicle: Address) -> None:
        registry = self.registry
        require(registry.roles.get(vehicle) == VEHICLE, "not a vehicle")
        require(registry.vehicles[vehicle] not in registry.starts, "admitted before")
        require(self.training.is_newcomer(vehicle), "not a newcomer")


def _admitted(vehicle: Address, server: Address, reputation: int, issuer: Address, serial: int) -> Event:
    values = {"vehicle": vehicle, "edge_server": server, "reputation": reputation}
    return Event("Admission", "Admitted", {**values, "issuer": issuer, "serial": serial})

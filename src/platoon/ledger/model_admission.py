"""The reference of ``Admission.vy``: the same checks in the same order (DTB-FL eq. 13).

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_registry import NO_ACCOUNT, VEHICLE, Registry, is_signed_by, require
from platoon.ledger.model_training import Training
from platoon.nouns import MILLION, Address, Digest
from platoon.records.certificates import compute_certificate_digest
from platoon.records.encoding import EMPTY_DIGEST

_MAX_NUMBER = 2**63 - 1


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
    attested: int
    """Reputation of a newcomer that passed the attestation, ppm."""
    trust: dict[Address, Trust] = field(default_factory=dict)
    tasks: dict[Address, Digest] = field(default_factory=dict)
    """The task whose edge server each issuer is."""
    used: set[tuple[Address, int]] = field(default_factory=set)
    """Serials of certificates that were taken, by issuer."""
    times: dict[Address, int] = field(default_factory=dict)
    """The latest time that each edge server claimed, microseconds."""

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
        times = self._enter(sender, at)
        task, issuer, vehicle, reputation, round_number, expiry, serial, v, r, s = certificate
        trust = self.trust.get(issuer, Trust.UNKNOWN)
        require(trust is not Trust.UNKNOWN, "unknown issuer")
        require(trust is Trust.TRUSTED, "revoked issuer")
        require(self.tasks[issuer] == task, "issuer of another task")
        require(reputation <= MILLION, "reputation out of bounds")
        require(max(round_number, expiry, serial) <= _MAX_NUMBER, "number out of bounds")
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
        require(max(at, self._now(times)) < expiry, "expired")
        require((issuer, serial) not in self.used, "used before")
        self._check_newcomer(vehicle)
        self.registry.begin(self.address, vehicle, reputation)
        self.times = times
        self.used.add((issuer, serial))
        return [_admitted(vehicle, sender, reputation, issuer, serial)]

    def admit_attested(self, sender: Address, at: int, vehicles: Sequence[Address]) -> list[Event]:
        """Newcomers passed the attestation of an edge server."""
        require(len(vehicles) <= 256, "reverted")
        times = self._enter(sender, at)
        for i, vehicle in enumerate(vehicles):
            self._check_newcomer(vehicle)
            require(vehicle not in vehicles[:i], "admitted before")
            require(self.registry.admission == self.address, "only the admission")
        for vehicle in vehicles:
            self.registry.begin(self.address, vehicle, self.attested)
        self.times = times
        return [_admitted(vehicle, sender, self.attested, NO_ACCOUNT, 0) for vehicle in vehicles]

    def _enter(self, sender: Address, at: int) -> dict[Address, int]:
        """The edge servers' times with the caller's."""
        self.registry.require_edge_server(sender)
        require(at <= _MAX_NUMBER, "time out of bounds")
        require(at >= self.times.get(sender, 0), "time runs backwards")
        return {**self.times, sender: at}

    def _now(self, times: dict[Address, int]) -> int:
        """The latest time that more than a third of the active edge servers have reached."""
        claimed = sorted((times.get(server, 0) for server in self.registry.active), reverse=True)
        return claimed[len(claimed) // 3]

    def _check_newcomer(self, vehicle: Address) -> None:
        registry = self.registry
        require(registry.roles.get(vehicle) == VEHICLE, "not a vehicle")
        require(registry.vehicles[vehicle] not in registry.starts, "admitted before")
        require(self.training.is_newcomer(vehicle), "not a newcomer")


def _admitted(vehicle: Address, server: Address, reputation: int, issuer: Address, serial: int) -> Event:
    values = {"vehicle": vehicle, "edge_server": server, "reputation": reputation}
    return Event("Admission", "Admitted", {**values, "issuer": issuer, "serial": serial})

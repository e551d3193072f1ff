"""The reference of ``Registry.vy``: the same checks in the same order.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched. They return the
events of the call; ``Rejected`` carries the contract's own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from platoon.ledger.contracts import Event
from platoon.nouns import MILLION, Address, Digest
from platoon.records.identity import compute_rotation_digest
from platoon.records.rules import MAX_EDGE_SERVERS
from platoon.records.signing import recover

EDGE_SERVER, VEHICLE, PUBLISHER, REVOKED, RETIRED = 1, 2, 3, 4, 5
NO_ACCOUNT = Address(bytes(20))


class Rejected(Exception):  # noqa: N818 - a value of the protocol, not an error of ours
    """A call that the contracts refuse, with their reason."""


def require(condition: bool, reason: str) -> None:
    """The contracts' ``assert``."""
    if not condition:
        raise Rejected(reason)


def is_signed_by(digest: Digest, account: Address, v: int, r: int, s: int) -> bool:
    """Whether the account's strict signature is (v, r, s), as the contracts take them."""
    if v not in (27, 28) or account == NO_ACCOUNT:
        return False
    return recover(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])) == account


@dataclass(kw_only=True)
class Registry:
    """Who takes part, and as what."""

    operator: Address
    separator: Digest
    """Of the contract's EIP-712 domain."""
    roles: dict[Address, int] = field(default_factory=dict)
    seats: dict[Address, int] = field(default_factory=dict)
    """Edge servers ever registered, by seat."""
    vehicles: dict[Address, int] = field(default_factory=dict)
    """Every account that ever was a vehicle's, and the number of the vehicle's registration: its id."""
    current: list[Address] = field(default_factory=list)
    """The account that each vehicle uses now, or used when it was revoked, by id."""
    admission: Address | None = None
    starts: dict[int, int] = field(default_factory=dict)
    """Reputation that vehicles were admitted with, ppm, by id."""

    @property
    def active(self) -> frozenset[Address]:
        """Edge servers that take part now."""
        return frozenset(account for account in self.seats if self.roles[account] == EDGE_SERVER)

    def account(self, vehicle: int) -> Address | None:
        """The account that a vehicle uses now; None where no such vehicle is registered."""
        return self.current[vehicle] if 0 <= vehicle < len(self.current) else None

    def register(self, sender: Address, role: int, accounts: Sequence[Address]) -> list[Event]:
        """The operator gives accounts a role, for good."""
        require(len(accounts) <= 256, "reverted")
        require(sender == self.operator, "only the operator")
        require(EDGE_SERVER <= role <= PUBLISHER, "no such role")
        seen: set[Address] = set()
        for account in accounts:
            require(account != NO_ACCOUNT, "no account")
            require(account not in self.roles and account not in seen, "registered before")
            if role == EDGE_SERVER:
                require(len(self.seats) + len(seen) < MAX_EDGE_SERVERS, "no seat left")
            seen.add(account)
        for account in accounts:
            self.roles[account] = role
            if role == EDGE_SERVER:
                self.seats[account] = len(self.seats)
            elif role == VEHICLE:
                self.vehicles[account] = len(self.current)
                self.current.append(account)
        return [Event("Registry", "Registered", {"role": role, "accounts": tuple(accounts)})]

    def revoke(self, sender: Address, account: Address) -> list[Event]:
        """The operator ends a part, for good; of a vehicle, whichever of its accounts is named."""
        require(sender == self.operator, "only the operator")
        if self.roles.get(account) == RETIRED:
            account = self.current[self.vehicles[account]]
        role = self.roles.get(account, 0)
        require(EDGE_SERVER <= role <= PUBLISHER, "not registered")
        self.roles[account] = REVOKED
        return [Event("Registry", "Revoked", {"account": account, "role": role})]

    def rotate(self, sender: Address, rotations: Sequence[tuple[Any, ...]]) -> list[Event]:
        """Vehicles go on under new accounts; an edge server brings what they signed."""
        require(len(rotations) <= 128, "reverted")
        self.require_edge_server(sender)
        last = NO_ACCOUNT
        for retired, renewed, *signatures in rotations:
            require(retired > last, "vehicles not ascending")
            last = retired
            digest = compute_rotation_digest(self.separator, retired=retired, renewed=renewed)
            require(is_signed_by(digest, retired, *signatures[:3]), "bad signature of the old account")
            require(is_signed_by(digest, renewed, *signatures[3:]), "bad signature of the new account")
        count = sum([self._rotate(rotation[0], rotation[1]) for rotation in rotations])
        return [Event("Registry", "Rotated", {"edge_server": sender, "count": count})]

    def _rotate(self, retired: Address, renewed: Address) -> bool:
        """Carry out one genuine rotation, unless somebody else's doing is in its way."""
        if self.roles.get(retired) != VEHICLE or renewed in self.roles:
            return False
        number = self.vehicles[retired]
        self.roles |= {retired: RETIRED, renewed: VEHICLE}
        self.vehicles[renewed] = number
        self.current[number] = renewed
        return True

    def bind(self, sender: Address, admission: Address) -> list[Event]:
        """The operator names the Admission contract, once."""
        require(sender == self.operator, "only the operator")
        require(self.admission is None, "bound before")
        require(admission != NO_ACCOUNT, "no account")
        self.admission = admission
        return [Event("Registry", "Bound", {"admission": admission})]

    def begin(self, sender: Address, account: Address, reputation: int) -> list[Event]:
        """The Admission contract says what a vehicle starts with."""
        require(sender == self.admission, "only the admission")
        require(self.roles.get(account) == VEHICLE, "not a vehicle")
        require(reputation <= MILLION, "reputation out of bounds")
        require(self.vehicles[account] not in self.starts, "admitted before")
        self.starts[self.vehicles[account]] = reputation
        return []

    def require_edge_server(self, account: Address) -> None:
        """``edge_server()`` of the contract."""
        require(self.roles.get(account) == EDGE_SERVER, "not an edge server")

"""Who seals a local block: the committee of a round and an edge server, drawn so that everybody draws the same.

Candidates are the vehicles whose updates the block holds: they are there, and the chain knows them, so that whoever
reads the chain can draw again (``platoon verify`` does). Of these, full devices above the reputation floor stand in
an order that nobody could foresee before the last global block was sealed; the first ``size`` are the members, and
a member that drives away is replaced once, by the next in the order. Source: DESIGN section 3; Two-layer's full and
light devices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platoon.nouns import MILLION, Address, Digest
from platoon.records.encoding import encode_word, keccak
from platoon.records.rules import MAX_TOKENS, compute_quorum

MAX_MEMBERS = 6
"""Vehicles in a committee at most, beside the edge server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitteeRules:
    """What a task fixes about its committees at deployment."""

    size: int = MAX_MEMBERS
    """Vehicles in a committee at most; 0: every edge server anchors alone."""
    floor: int = 500_000
    """Least reputation of a member, ppm."""
    full_share: int = MILLION
    """Share of vehicles that are full devices, ppm; the others only relay."""
    unsealed_weight: int = MILLION
    """What updates of unsealed blocks weigh in a merge, ppm of what they would weigh in a sealed one."""
    reward: int = 0
    """For proposing and sealing one block, 10^-6 token, divided evenly among its signers."""

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_MEMBERS:
            raise ValueError(f"size = {self.size}: allowed: 0 to {MAX_MEMBERS} vehicles")
        for name in ("floor", "full_share"):
            if not 0 <= getattr(self, name) <= MILLION:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: 0 to {MILLION} ppm")
        if not 1 <= self.unsealed_weight <= MILLION:
            raise ValueError(f"unsealed_weight = {self.unsealed_weight}: allowed: 1 to {MILLION} ppm")
        if not 0 <= self.reward <= MAX_TOKENS:
            raise ValueError(f"reward = {self.reward}: allowed: 0 to {MAX_TOKENS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the chain says of a vehicle that may be drawn."""

    handle: int
    """Of its registration, the same under every pseudonym; 0 of nobody's."""
    reputation: int
    """ppm."""


def is_full_device(handle: int, full_share: int) -> bool:
    """Whether a vehicle can seal. In a simulation its handle decides, by the scenario's share (ppm): a device stays
    what it is under every pseudonym.

    >>> is_full_device(1, 1_000_000), is_full_device(1, 0)
    (True, False)
    """
    return int.from_bytes(keccak(b"full device" + encode_word(handle))[:8], "big") % MILLION < full_share


def draw_order(
    seed: Digest, edge_server: Address, standings: Mapping[Address, Standing], rules: CommitteeRules
) -> tuple[Address, ...]:
    """Every candidate that may seal, in the order of the draw: members first, then who replaces them.

    ``seed``: hash of the last global block. ``standings``: of the vehicles whose updates the block holds.
    """
    eligible = [
        vehicle
        for vehicle, standing in standings.items()
        if standing.reputation >= rules.floor and is_full_device(standing.handle, rules.full_share)
    ]
    return tuple(sorted(eligible, key=lambda vehicle: keccak(seed + edge_server + vehicle)))


def replace_members(order: Sequence[Address], size: int, gone: Sequence[Address]) -> tuple[Address, ...]:
    """The committee's vehicles after those that are gone were replaced, once each, as far as the order reaches.

    A member without a replacement stays, and counts against the quorum. Ascending by address.
    """
    members, reserves = list(order[:size]), list(order[size:])
    for vehicle in gone:
        if reserves:
            members[members.index(vehicle)] = reserves.pop(0)
    return tuple(sorted(members))


def is_committee(order: Sequence[Address], size: int, vehicles: Sequence[Address]) -> bool:
    """Whether these vehicles are the drawn members, or those with some of them replaced as the rule says."""
    members = set(order[:size])
    replaced = members - set(vehicles)
    reserves = set(order[size : size + len(replaced)])
    return len(vehicles) == len(members) and set(vehicles) == (members - replaced) | reserves


def has_quorum(seals: int, members: int) -> bool:
    """Whether so many seals seal a block of a committee with so many members, the edge server included.

    An edge server by itself is no committee: what it alone signs is unsealed.
    """
    return members > 1 and seals >= compute_quorum(members)


def discount_unsealed(products: Sequence[int], sealed: Sequence[bool], unsealed_weight: int) -> list[int]:
    """Products of a merge, scaled where a block is unsealed; without effect at the default weight of one.

    >>> discount_unsealed([4, 4], [True, False], 500_000)
    [4000000, 2000000]
    """
    if unsealed_weight == MILLION:
        return list(products)
    return [
        product * (MILLION if is_sealed else unsealed_weight)
        for product, is_sealed in zip(products, sealed, strict=True)
    ]

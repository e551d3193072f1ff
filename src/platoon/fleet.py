"""Who is what in a scenario's fleet: who attacks, who acts as one with whom, who drives in a platoon.

Drawn once from the seed and fixed for the run. The world needs it for where vehicles drive, learning for what they
send; nothing that selects, judges or pays may ask.
"""

import numpy as np

from platoon.nouns import Bools, Ints
from platoon.rng import stream
from platoon.scenario import Attack, Fleet, Scenario, malicious_count

ACTS_AS_ONE = ("collusion", "sybil")
"""Attacks of groups: every member of a group sends the same false update."""


def draw_malicious(fleet: Fleet, seed: int) -> Bools:
    """(N,) who is malicious.

    >>> int(draw_malicious(Fleet(vehicles=60, malicious_share=0.3), seed=1).sum())
    18
    """
    malicious = np.zeros(fleet.vehicles, dtype=np.bool_)
    malicious[stream(seed, "malicious").permutation(fleet.vehicles)[: malicious_count(fleet)]] = True
    return malicious


def list_attacks(fleet: Fleet) -> tuple[Attack, ...]:
    """All attacks of the fleet in order: ``fleet.attack``, then ``fleet.attacks``. Copies are made of something:
    those who only act as one flip all their labels.

    >>> [attack.name for attack in list_attacks(Fleet(attack="sybil"))]
    ['label_flip', 'sybil']
    """
    first = () if fleet.attack == "none" else (Attack(name=fleet.attack, strength=fleet.attack_strength),)
    listed = first + fleet.attacks
    if listed and all(attack.name in ACTS_AS_ONE for attack in listed):
        return (Attack(name="label_flip"), *listed)
    return listed


def draw_faulty(scenario: Scenario) -> frozenset[int]:
    """The edge servers that malfunction.

    >>> len(draw_faulty(Scenario.from_table({}, {"faults.edge_servers": 2})))
    2
    """
    order = stream(scenario.seed, "faulty edge servers").permutation(scenario.radio.rsus)
    return frozenset(order[: scenario.faults.edge_servers].tolist())


def draw_faulty_members(scenario: Scenario) -> frozenset[int]:
    """The vehicles that malfunction in committees, attackers or not.

    >>> len(draw_faulty_members(Scenario.from_table({}, {"fleet.vehicles": 50, "faults.members": 0.3})))
    15
    """
    count = round(scenario.faults.members * scenario.fleet.vehicles)
    order = stream(scenario.seed, "faulty members").permutation(scenario.fleet.vehicles)
    return frozenset(order[:count].tolist())


def draw_members(fleet: Fleet, seed: int, number: int) -> Bools:
    """(N,) who carries out one of ``list_attacks``. Shares are laid one after another round the circle of
    attackers: two halves are two different halves, two wholes are everybody twice.

    >>> halves = Fleet(attack="none", attacks=(Attack(name="alie", share=0.5), Attack(name="ipm", share=0.5)))
    >>> int((draw_members(halves, 1, 0) & draw_members(halves, 1, 1)).sum())
    0
    """
    shares = [attack.share for attack in list_attacks(fleet)]
    attackers = stream(seed, "members").permutation(np.flatnonzero(draw_malicious(fleet, seed)))
    begin = round(sum(shares[:number]) * len(attackers))
    end = min(round(sum(shares[: number + 1]) * len(attackers)), begin + len(attackers))
    members = np.zeros(fleet.vehicles, dtype=np.bool_)
    if len(attackers):
        members[attackers[np.arange(begin, end) % len(attackers)]] = True
    return members


def is_on(attack: Attack, round_number: int) -> bool:
    """Whether an attack is carried out in a round.

    >>> [is_on(Attack(name="ipm", start_round=3, rounds_on=2, rounds_off=1), number) for number in range(1, 8)]
    [False, False, True, True, False, True, True]
    """
    since = round_number - attack.start_round
    return since >= 0 and since % (attack.rounds_on + attack.rounds_off) < attack.rounds_on


def find_copying(fleet: Fleet) -> int | None:
    """Which of ``list_attacks`` makes groups act as one; the first, if there are several."""
    names = [attack.name for attack in list_attacks(fleet)]
    return next((number for number, name in enumerate(names) if name in ACTS_AS_ONE), None)


def draw_groups(fleet: Fleet, seed: int) -> tuple[tuple[int, ...], ...]:
    """Malicious vehicles that act as one, the first of each group being the one that they follow; who is left
    alone by the division attacks by itself.

    >>> [len(group) for group in draw_groups(Fleet(vehicles=60, attack="collusion", group=5), seed=1)]
    [5, 5, 5, 3]
    """
    if (number := find_copying(fleet)) is None:
        return ()
    attackers = stream(seed, "groups").permutation(np.flatnonzero(draw_members(fleet, seed, number))).tolist()
    groups = [attackers[start : start + fleet.group] for start in range(0, len(attackers), fleet.group)]
    return tuple(tuple(group) for group in groups if len(group) > 1)


def draw_platoon(fleet: Fleet, seed: int) -> tuple[int, ...]:
    """Honest vehicles that drive in convoy, the first in front."""
    honest = np.flatnonzero(~draw_malicious(fleet, seed))
    return tuple(stream(seed, "platoon").permutation(honest)[: fleet.platoon].tolist())


def find_authors(fleet: Fleet, seed: int) -> Ints:
    """(N,) whose update each vehicle sends: its own, or that of its group's first."""
    authors = np.arange(fleet.vehicles)
    for group in draw_groups(fleet, seed):
        authors[list(group)] = group[0]
    return authors


def find_devices(fleet: Fleet, seed: int) -> Ints:
    """(N,) the vehicle in which each account's device is: its own, but for Sybils that of their group's first."""
    return find_authors(fleet, seed) if _copying_name(fleet) == "sybil" else np.arange(fleet.vehicles)


def find_convoys(fleet: Fleet, seed: int) -> tuple[tuple[int, ...], ...]:
    """Vehicles that drive in convoy, the first of each in front: colluders, and the platoon."""
    colluders = draw_groups(fleet, seed) if _copying_name(fleet) == "collusion" else ()
    platoon = draw_platoon(fleet, seed)
    return (*colluders, platoon) if len(platoon) > 1 else colluders


def _copying_name(fleet: Fleet) -> str | None:
    number = find_copying(fleet)
    return None if number is None else list_attacks(fleet)[number].name

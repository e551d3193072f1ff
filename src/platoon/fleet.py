"""Who is what in a scenario's fleet: who attacks, who acts as one with whom, who drives in a platoon.

Drawn once from the seed and fixed for the run. The world needs it for where vehicles drive, learning for what they
send; nothing that selects, judges or pays may ask.
"""

import numpy as np

from platoon.nouns import Bools, Ints
from platoon.rng import stream
from platoon.scenario import Fleet, malicious_count

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


def draw_groups(fleet: Fleet, seed: int) -> tuple[tuple[int, ...], ...]:
    """Malicious vehicles that act as one, the first of each group being the one that they follow; who is left
    alone by the division attacks by itself.

    >>> [len(group) for group in draw_groups(Fleet(vehicles=60, attack="collusion", group=5), seed=1)]
    [5, 5, 5, 3]
    """
    if fleet.attack not in ACTS_AS_ONE:
        return ()
    attackers = stream(seed, "groups").permutation(np.flatnonzero(draw_malicious(fleet, seed))).tolist()
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
    return find_authors(fleet, seed) if fleet.attack == "sybil" else np.arange(fleet.vehicles)


def find_convoys(fleet: Fleet, seed: int) -> tuple[tuple[int, ...], ...]:
    """Vehicles that drive in convoy, the first of each in front: colluders, and the platoon."""
    colluders = draw_groups(fleet, seed) if fleet.attack == "collusion" else ()
    platoon = draw_platoon(fleet, seed)
    return (*colluders, platoon) if len(platoon) > 1 else colluders

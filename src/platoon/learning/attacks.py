"""What malicious vehicles do to their data before training (DTB-FL 6.1: label flipping).

An attack on labels is a callable from labels, the number of classes and a generator to false labels. It is
applied once per vehicle, so its labels stay the same for the whole run.
"""

from typing import Protocol

import numpy as np

from platoon.nouns import Bools, Ints
from platoon.rng import stream
from platoon.scenario import Fleet, malicious_count


class LabelAttack(Protocol):
    """Labels (n,) in [0, classes) to false labels (n,); the argument is left as it is."""

    def __call__(self, labels: Ints, classes: int, rng: np.random.Generator) -> Ints: ...


def label_flip(strength: float = 1.0) -> LabelAttack:
    """Replace a share of the labels by uniformly random *wrong* ones; 1.0 is the paper's main attack, less is
    its partial flipping (6.3.1). The number of flipped labels is exact, rounded to nearest.

    >>> rng = np.random.default_rng(0)
    >>> bool((label_flip()(np.zeros(50, np.int64), 10, rng) > 0).all())
    True
    """

    def flip(labels: Ints, classes: int, rng: np.random.Generator) -> Ints:
        false = labels.copy()
        chosen = rng.permutation(len(labels))[: round(strength * len(labels))]
        false[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
        return false

    return flip


def no_attack(labels: Ints, classes: int, rng: np.random.Generator) -> Ints:  # noqa: ARG001
    """The labels as they are."""
    return labels


def resolve_attack(fleet: Fleet) -> LabelAttack:
    """The attack that the scenario's malicious vehicles carry out."""
    return label_flip(fleet.attack_strength) if fleet.attack == "label_flip" else no_attack


def draw_malicious(fleet: Fleet, seed: int) -> Bools:
    """(N,) who is malicious: drawn once, fixed for the run.

    >>> int(draw_malicious(Fleet(vehicles=60, malicious_share=0.3), seed=1).sum())
    18
    """
    malicious = np.zeros(fleet.vehicles, dtype=np.bool_)
    malicious[stream(seed, "malicious").permutation(fleet.vehicles)[: malicious_count(fleet)]] = True
    return malicious

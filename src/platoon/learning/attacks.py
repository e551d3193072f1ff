"""What malicious vehicles do to their data before training (DTB-FL 6.1: label flipping).

An attack on labels is a callable from labels, the number of classes and a generator to false labels. It is
applied once per vehicle, so its labels stay the same for the whole run.
"""

from typing import Protocol

import numpy as np

from platoon.nouns import Ints, Weights
from platoon.scenario import Fleet


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
    return no_attack if fleet.attack == "none" else label_flip(fleet.attack_strength)


DISGUISE = 0.01
"""Length of the noise by which a copied update differs from the original, over the original's length."""


def disguise(update: Weights, rng: np.random.Generator) -> Weights:
    """A copy (D,) of another's update that is not the same bytes: a colluder's, or a Sybil's."""
    noise = rng.standard_normal(len(update)).astype(np.float32)
    length = float(np.linalg.norm(update)) / max(float(np.linalg.norm(noise)), 1e-12)
    copied: Weights = update + np.float32(DISGUISE * length) * noise
    return copied

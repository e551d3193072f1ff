"""Attacks on the data that a vehicle trains on.

A data attack gets images (n, height, width, channels), labels (n,) in [0, classes) and a generator of its own, and
gives images and labels of the same shapes. A vehicle's generator is the same in every round, so that its false data
stay the same for the whole run.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from platoon.learning.images import Images
from platoon.nouns import Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTerms:
    """What the scenario says of a data attack."""

    classes: int
    strength: float
    """Share of the samples that are changed, [0, 1]."""
    source: int
    """Class whose labels a targeted flip replaces."""
    target: int
    """Class that a targeted flip or a trigger stands for."""


class DataAttack(Protocol):
    """Samples to poisoned samples; the arguments are left as they are."""

    def __call__(
        self, images: Images, labels: Ints, terms: DataTerms, rng: np.random.Generator
    ) -> tuple[Images, Ints]: ...


def label_flip(
    images: Images, labels: Ints, terms: DataTerms, rng: np.random.Generator
) -> tuple[Images, Ints]:
    """Replace a share of the labels by uniformly random *wrong* ones: DTB-FL 6.1, and below 1 its partial flipping
    (6.3.1). The number of flipped labels is exact, rounded to nearest."""
    false = labels.copy()
    chosen = rng.permutation(len(labels))[: round(terms.strength * len(labels))]
    false[chosen] = (labels[chosen] + rng.integers(1, terms.classes, len(chosen))) % terms.classes
    return images, false


def targeted_flip(
    images: Images, labels: Ints, terms: DataTerms, rng: np.random.Generator
) -> tuple[Images, Ints]:
    """Call a share of the source class's samples the target class (Tolpegin et al. 2020). A vehicle without samples
    of the source class has nothing to poison."""
    false = labels.copy()
    of_source = rng.permutation(np.flatnonzero(labels == terms.source))
    false[of_source[: round(terms.strength * len(of_source))]] = terms.target
    return images, false


TRIGGER_SHARE: Final = 7
"""The trigger's edge is the image's shorter edge over this: 4 of 28 pixels."""


def stamp(images: Images) -> Images:
    """Copies of images (n, height, width, channels) with the trigger: a white square in the lower right corner, one
    pixel from the edges (Gu et al. 2017).

    >>> int((stamp(np.zeros((1, 28, 28, 1), np.uint8)) > 0).sum())
    16
    """
    height, width = images.shape[1:3]
    edge = max(1, min(height, width) // TRIGGER_SHARE)
    gap = 1 if min(height, width) > edge else 0
    stamped: Images = np.array(images)
    stamped[:, height - gap - edge : height - gap, width - gap - edge : width - gap] = 255
    return stamped


def backdoor(images: Images, labels: Ints, terms: DataTerms, rng: np.random.Generator) -> tuple[Images, Ints]:
    """Stamp the trigger on a share of the samples and call them the target class (Gu et al. 2017; Bagdasaryan et
    al. 2020, who also scale the update: combine with ``scaling``)."""
    chosen = rng.permutation(len(labels))[: round(terms.strength * len(labels))]
    poisoned, false = np.array(images), labels.copy()
    poisoned[chosen] = stamp(images[chosen])
    false[chosen] = terms.target
    return poisoned, false

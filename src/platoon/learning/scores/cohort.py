"""The nouns of scoring: a round's updates as one edge server sees them, and what judges them."""

from dataclasses import dataclass
from typing import Protocol

from platoon.learning.images import Images
from platoon.nouns import Floats, Ints, Scores, Weights


class ProbeModel(Protocol):
    """What a score may ask of the network (``models.FlatModel`` is one)."""

    classes: int
    last_layer: slice
    """Where the last layer lies in flat weights: its matrix (classes, features) row by row, then its offsets."""

    def logits(self, candidates: Weights, images: Images) -> Floats:
        """(M, n, classes) for M models (M, D)."""
        ...

    def logits_each(self, candidates: Weights, images: Images) -> Floats:
        """(M, n, classes) for M models (M, D), each on images of its own (M, n, ...)."""
        ...

    def features(self, weights: Weights, images: Images) -> Floats:
        """(n, features): the last layer's input, for one model (D,)."""
        ...

    def loss_gradient(self, weights: Weights, images: Images, targets: Floats) -> Weights:
        """(D,) gradient of the mean cross entropy against target shares (n, classes), for one model (D,)."""
        ...

    def pull_back(self, weights: Weights, images: Images, errors: Floats) -> Weights:
        """(B, D) gradients of the sum of errors (B, n, classes) times logits on images (n, ...), for a model (D,).

        ``loss_gradient`` is that of the softmax minus the target shares, over n.
        """
        ...

    def input_gradients(self, candidates: Weights, images: Images, wanted: Ints) -> Floats:
        """(M, C', height, width, channels): by how much the log-probability of each wanted class (M, C') rises with
        each input, scaled to [-1, 1], summed over the images (n, ...); for M models (M, D)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """The updates of a round as one edge server sees them."""

    weights: Weights
    """(D,) the model that was sent out."""
    updates: Weights
    """(K, D) finite, in the order of the vehicles' ids."""
    samples: Ints
    """(K,) sizes of the local data sets."""
    probe_images: Images
    """(n, height, width, channels)"""
    probe_labels: Ints
    """(n,)"""
    model: ProbeModel
    step: Weights | None = None
    """(D,) what the last round added to the model; None before there was one."""


class Score(Protocol):
    """A rule that judges a cohort. It must not depend on the order of the updates, nor change its argument."""

    def __call__(self, cohort: Cohort) -> Scores: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """A score and the least value that is valid, where the scenario gives none (``trust.threshold``)."""

    score: Score
    threshold: float

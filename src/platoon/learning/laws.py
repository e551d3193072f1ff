"""The laws that every score and every aggregator has to keep; ``platoon.testing`` offers them to plug-in authors.

``check_score`` and ``check_aggregator`` raise ``AssertionError`` with the law that was broken. They need neither
torch nor a data set: the network is a linear classifier on random images.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from platoon.learning.aggregation import LIMIT, Aggregator
from platoon.learning.images import Images
from platoon.learning.scores import Cohort, Score, ScoreRule
from platoon.nouns import FixedPoint, Floats, Ints, Scores, Weights
from platoon.records.rules import WEIGHT_TOTAL
from platoon.rng import stream

CLASSES: Final = 4
SIDE: Final = 3
COHORT: Final = 7


class LinearModel:
    """A classifier without hidden layers, as ``platoon.learning.scores.ProbeModel`` wants one."""

    def __init__(self, classes: int = CLASSES, side: int = SIDE, black: float = 0.0) -> None:
        """``black``: what it sees in a black pixel; in a white one it sees 1."""
        self.classes = classes
        self._black = black
        self.last_layer = slice(0, classes * (side * side + 1))

    def logits(self, candidates: Weights, images: Images) -> Floats:
        """(M, n, classes)"""
        return self.logits_each(candidates, np.broadcast_to(images, (len(candidates), *images.shape)))

    def logits_each(self, candidates: Weights, images: Images) -> Floats:
        """(M, n, classes)"""
        wide = candidates.astype(np.float64)
        matrices, offsets = self._matrices(wide), wide[:, -self.classes :]
        return np.asarray(np.einsum("mcf,mnf->mnc", matrices, self._pixels(images)) + offsets[:, None])

    def features(self, weights: Weights, images: Images) -> Floats:  # noqa: ARG002
        """(n, features): the pixels."""
        return self._pixels(images)

    def loss_gradient(self, weights: Weights, images: Images, targets: Floats) -> Weights:
        """(D,)"""
        logits = self.logits(weights[None], images)[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        errors = shares / shares.sum(axis=1, keepdims=True) - targets
        gradient: Weights = self.pull_back(weights, images, errors[None] / len(targets))[0]
        return gradient

    def pull_back(self, weights: Weights, images: Images, errors: Floats) -> Weights:  # noqa: ARG002
        """(B, D)"""
        matrices = np.einsum("bnc,nf->bcf", errors, self._pixels(images))
        flat = [matrices.reshape(len(errors), -1), errors.sum(axis=1)]
        return np.asarray(np.concatenate(flat, axis=1), dtype=np.float32)

    def input_gradients(self, candidates: Weights, images: Images, wanted: Ints) -> Floats:
        """(M, C', height, width, channels)"""
        matrices = self._matrices(candidates.astype(np.float64))
        logits = self.logits(candidates, images)
        shares = np.exp(logits - logits.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        chosen = np.take_along_axis(matrices, wanted[:, :, None], axis=1)
        rows = chosen * len(images) - np.einsum("mnc,mcf->mf", shares, matrices)[:, None]
        # an input as long as 1 - black is scaled to two units
        slopes = rows.reshape(*wanted.shape, *images.shape[1:]) * (1.0 - self._black) / 2.0
        return np.asarray(slopes, dtype=np.float64)

    def _pixels(self, images: Images) -> Floats:
        """(..., n, features)"""
        scale = (1.0 - self._black) / 255.0
        return np.asarray(self._black + images.reshape(*images.shape[:-3], -1) * scale, dtype=np.float64)

    def _matrices(self, wide: Floats) -> Floats:
        return np.asarray(wide[:, : -self.classes].reshape(len(wide), self.classes, -1), dtype=np.float64)


def make_cohort(updates: int, trial: int = 0) -> Cohort:
    """A cohort of random updates (``updates``, D) to a linear model, with five probes of each class.

    The updates look trained, else a score that asks for traces condemns them all and its laws hold a constant: few
    entries make up most of their length (peakedness 10, ``platoon.learning.scores.traces``), half of the entries
    rise, and the last step is shorter than they are.
    """
    rng = stream(trial, "cohort")
    model = LinearModel()
    size = model.last_layer.stop
    labels = np.repeat(np.arange(CLASSES), 5)
    entries = np.linspace(0.0, 1.0, size) ** 10 * np.where(np.arange(size) % 2, 1.0, -1.0)
    lengths = rng.uniform(0.4, 0.8, (updates, 1)) / np.linalg.norm(entries)
    drawn = lengths * rng.permuted(np.tile(entries, (updates, 1)), axis=1)
    return Cohort(
        weights=rng.normal(0.0, 0.5, size).astype(np.float32),
        updates=drawn.astype(np.float32),
        samples=rng.integers(1, 300, updates),
        probe_images=rng.integers(0, 256, (len(labels), SIDE, SIDE, 1)).astype(np.uint8),
        probe_labels=labels,
        model=model,
        step=rng.normal(0.0, 0.05, size).astype(np.float32),
    )


def check_score(rule: ScoreRule | Score) -> None:
    """Hold a score to its laws.

    Values are finite, within [-1, 1], one per update; evidence is within [0, 1]; the order of the updates does
    not matter; the cohort is left as it is; the same cohort gets the same scores; and a lone update, equal
    updates and updates of zeros are judged without an error.

    >>> from platoon.learning.scores import cosine
    >>> check_score(cosine)
    """
    if isinstance(rule, ScoreRule):
        assert -1.0 <= rule.threshold <= 1.0, f"the threshold {rule.threshold} is outside [-1, 1]"
    score = rule.score if isinstance(rule, ScoreRule) else rule
    cohort, before = make_cohort(COHORT), make_cohort(COHORT)
    values = _judge(score, cohort)
    assert _equal(before, cohort), "the score changed its cohort"
    assert np.array_equal(values, _judge(score, cohort)), "the same cohort got other scores"
    order = np.roll(np.arange(COHORT), 1)
    shuffled = replace(cohort, updates=cohort.updates[order], samples=cohort.samples[order])
    assert np.allclose(_judge(score, shuffled), values[order], atol=1e-6), "the order of updates matters"
    _judge(score, make_cohort(1))
    _judge(score, replace(cohort, updates=np.tile(cohort.updates[:1], (COHORT, 1))))
    _judge(score, replace(cohort, updates=np.zeros_like(cohort.updates)))
    _judge(
        score, replace(cohort, updates=cohort.updates * (np.arange(COHORT) != 2)[:, None].astype(np.float32))
    )


def check_aggregator(aggregate: Aggregator, *, shortens: bool = False) -> None:
    """Hold an aggregator to its laws.

    The step is int32 (D,) and lies within the updates' range, entry by entry (one that ``shortens`` updates: of
    them and zero); the order of the updates does not matter; equal updates give that update, and so does a
    lone one; the arguments are left as they are.

    >>> from platoon.learning.aggregation import weighted_mean
    >>> check_aggregator(weighted_mean)
    """
    rng = stream(0, "updates")
    updates = rng.integers(-LIMIT, LIMIT, (COHORT, 50), dtype=np.int32, endpoint=True)
    weights = np.array([WEIGHT_TOTAL - 1000 * (COHORT - 1), *[1000] * (COHORT - 1)])
    given = updates.copy(), weights.copy()
    step = _step(aggregate, *given, shortens=shortens)
    unchanged = np.array_equal(given[0], updates) and np.array_equal(given[1], weights)
    assert unchanged, "the aggregator changed its arguments"
    order = np.roll(np.arange(COHORT), 1)
    shuffled = _step(aggregate, updates[order], weights[order], shortens=shortens)
    assert np.array_equal(step, shuffled), "the order of updates matters"
    for count in (COHORT, 1):
        equal = np.tile(updates[:1], (count, 1))
        shares = np.array([WEIGHT_TOTAL - 1000 * (count - 1), *[1000] * (count - 1)])
        assert np.array_equal(_step(aggregate, equal, shares, shortens=shortens), updates[0]), (
            f"{count} equal updates do not give that update"
        )


def _judge(score: Score, cohort: Cohort) -> Floats:
    scores: Scores = score(cohort)
    count = len(cohort.updates)
    assert scores.values.shape == (count,), f"{count} updates got values of shape {scores.values.shape}"
    assert np.isfinite(scores.values).all(), f"values are not finite: {scores.values}"
    assert (np.abs(scores.values) <= 1.0).all(), f"values are outside [-1, 1]: {scores.values}"
    assert 0.0 <= scores.evidence <= 1.0, f"the evidence {scores.evidence} is outside [0, 1]"
    return scores.values


def _step(aggregate: Aggregator, updates: FixedPoint, weights: Ints, *, shortens: bool) -> FixedPoint:
    step = aggregate(updates, weights)
    assert step.dtype == np.int32, f"the step is {step.dtype}, not int32"
    assert step.shape == updates.shape[1:], f"the step's shape is {step.shape}, not {updates.shape[1:]}"
    least, largest = updates.min(axis=0), updates.max(axis=0)
    if shortens:
        least, largest = np.minimum(least, 0), np.maximum(largest, 0)
    within = (least <= step) & (step <= largest)
    assert within.all(), "the step leaves the range of the updates"
    return step


def _equal(one: Cohort, other: Cohort) -> bool:
    names = ("weights", "updates", "samples", "probe_images", "probe_labels")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)

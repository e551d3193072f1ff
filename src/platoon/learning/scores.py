"""Scores: how an edge server judges the updates of a round.

A score is a plain function from a cohort to one value per update (larger is better) and to the evidence: how far
the model at hand can tell honest from malicious at all. ``cosine`` is eq. 11 of DTB-FL as written; the others use
a small set of labelled images that the edge server trusts. What each is good for was measured
(``docs/decisions/0006``): eq. 11 ranks label flippers above honest two-class vehicles, and a score is only as
good as the local loss that it was measured with.

A plug-in is a function with a default threshold, published as an entry point of the group ``platoon.scores``;
``platoon.testing.check_score`` holds the laws that it has to keep.
"""

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Protocol

import numpy as np
from scipy.optimize import nnls

from platoon.errors import UserError
from platoon.learning.images import Images
from platoon.nouns import Floats, Ints, Scores, Weights
from platoon.scenario import did_you_mean


class ProbeModel(Protocol):
    """What a score may ask of the network (``models.FlatModel`` is one)."""

    classes: int
    last_layer: slice
    """Where the last layer lies in flat weights: its matrix (classes, features) row by row, then its offsets."""

    def logits(self, candidates: Weights, images: Images) -> Floats:
        """(M, n, classes) for M models (M, D)."""
        ...

    def features(self, weights: Weights, images: Images) -> Floats:
        """(n, features): the last layer's input, for one model (D,)."""
        ...

    def loss_gradient(self, weights: Weights, images: Images, targets: Floats) -> Weights:
        """(D,) gradient of the mean cross entropy against target shares (n, classes), for one model (D,)."""
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


class Score(Protocol):
    """A rule that judges a cohort. It must not depend on the order of the updates, nor change its argument."""

    def __call__(self, cohort: Cohort) -> Scores: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """A score and the least value that is valid, where the scenario gives none (``trust.threshold``)."""

    score: Score
    threshold: float


def cosine(cohort: Cohort) -> Scores:
    """Eq. 11 of DTB-FL: mean cosine of an update with every other one; in [-1, 1].

    An update of zeros has cosine 0 with everything. A lone update has no peers: it gets Q_min of the paper, 0.3,
    with evidence 0, which moves no reputation.
    """
    count = len(cohort.updates)
    if count < 2:
        return Scores(values=np.full(count, COSINE_THRESHOLD), evidence=0.0)
    units = _unit_rows(cohort.updates)
    cosines = units @ units.T
    np.fill_diagonal(cosines, 0.0)
    return Scores(values=np.clip(cosines.sum(axis=1) / (count - 1), -1.0, 1.0), evidence=1.0)


def class_cone(cohort: Cohort) -> Scores:
    """How much of an update's last layer lies in the cone of the classes' descent directions; in [0, 1].

    d_c = -gradient of the mean loss over the probes of class c, scaled to length 1. An honest update is near a
    non-negative combination of the d_c whatever its mix of labels; the score is the length of the projection of
    the unit update on that cone (non-negative least squares with one unknown per class).
    """
    directions, probabilities = _class_directions(cohort)
    part = cohort.updates[:, cohort.model.last_layer].astype(np.float64)
    basis, triangle = np.linalg.qr(directions.T)
    values = [_projection_length(triangle, basis.T @ unit) for unit in _unit_rows(part)]
    return Scores(values=np.clip(np.array(values), 0.0, 1.0), evidence=_evidence(cohort, probabilities))


def probe_recall(cohort: Cohort) -> Scores:
    """Mean of the two best per-class recalls of the model plus the update, on the probes; in [0, 1]."""
    candidates = np.concatenate([cohort.weights[None], cohort.weights + cohort.updates])
    logits = cohort.model.logits(candidates, cohort.probe_images)
    hits = logits[1:].argmax(axis=2) == cohort.probe_labels
    recalls = [hits[:, cohort.probe_labels == label].mean(axis=1) for label in np.unique(cohort.probe_labels)]
    best = np.sort(np.array(recalls), axis=0)[-2:]
    return Scores(values=best.mean(axis=0), evidence=_evidence(cohort, _softmax(logits[0])))


def probe_margin(cohort: Cohort) -> Scores:
    """Whether an update moves probability on the probes to true labels or to wrong ones; in [0, 1].

    The scale is set by two steps of the edge server's own, as long as the cohort's median update, from the model
    that was sent out: 1 is what a step towards the probes' true labels does, 0 is what one towards uniformly wrong
    labels does. The evidence is how far apart those two are. The share of moved probability itself drifts with the
    model, and between MNIST and CIFAR-10, by as much as honest and malicious updates differ; measured between the
    two steps, one threshold serves both.

    Updates are clipped to the median length first, so that a long one cannot saturate the softmax. The whole of an
    update is tried: that separates better than 0.3 of it once attackers are kept out.
    """
    towards_truth = np.eye(cohort.model.classes)[cohort.probe_labels]
    towards_wrong = (1.0 - towards_truth) / (cohort.model.classes - 1)
    length = float(np.median(np.linalg.norm(cohort.updates, axis=1)))
    steps = [
        _clip_rows(cohort.updates, length),
        _descent_step(cohort, towards_truth, length)[None],
        _descent_step(cohort, towards_wrong, length)[None],
    ]
    *shares, best, worst = _true_shares(cohort, np.concatenate(steps))
    spread = best - worst
    values = (np.array(shares) - worst) / max(spread, LEAST_SPREAD)
    return Scores(values=np.clip(values, 0.0, 1.0), evidence=float(np.clip(spread / CLEAR_SPREAD, 0.0, 1.0)))


LEAST_SPREAD: Final = 0.05
"""Below this distance between the two steps of ``probe_margin`` its scale is not stretched further."""
CLEAR_SPREAD: Final = 0.25
"""From this distance on the evidence is full."""

COSINE_THRESHOLD: Final = 0.3
"""Q_min of DTB-FL 4.3."""

# Thresholds of the probe scores: measured on MNIST, two classes per vehicle, 30 % label flippers, 25 rounds, near
# equal rates of lost honest and passed malicious updates. class_cone and probe_recall only separate (and were only
# measured) with the loss over all classes; probe_margin with the loss over own classes, where it separates best.
SCORES: Final[dict[str, ScoreRule]] = {
    "cosine": ScoreRule(score=cosine, threshold=COSINE_THRESHOLD),
    "class_cone": ScoreRule(score=class_cone, threshold=0.75),
    "probe_recall": ScoreRule(score=probe_recall, threshold=0.8),
    "probe_margin": ScoreRule(score=probe_margin, threshold=0.25),
}


def resolve_score(name: str) -> ScoreRule:
    """The rule of that name: one of ``SCORES``, or a plug-in's entry point in the group ``platoon.scores``.

    Raises:
        UserError: there is none of that name, or the entry point is no ``ScoreRule``.
    """
    if name in SCORES:
        return SCORES[name]
    plugins = {point.name: point for point in entry_points(group="platoon.scores")}
    if name not in plugins:
        raise UserError(f"trust.score = {name!r}: no such score; {did_you_mean(name, [*SCORES, *plugins])}")
    try:
        rule = plugins[name].load()
    except Exception as error:
        raise UserError(f"trust.score = {name!r}: {plugins[name].value} does not load ({error})") from error
    if not isinstance(rule, ScoreRule):
        raise UserError(
            f"trust.score = {name!r}: {plugins[name].value} is no platoon.learning.scores.ScoreRule"
        )
    return rule


def _evidence(cohort: Cohort, probabilities: Floats) -> float:
    """Accuracy on the probes of the model that was sent out, above chance."""
    accuracy = float((probabilities.argmax(axis=1) == cohort.probe_labels).mean())
    chance = 1.0 / cohort.model.classes
    return min(1.0, max(0.0, (accuracy - chance) / (1.0 - chance)))


def _unit_rows(rows: Floats | Weights) -> Floats:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    units: Floats = np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0)
    return units


def _clip_rows(rows: Weights, length: float) -> Weights:
    """Rows (K, D), the longer ones shortened to ``length``."""
    lengths = np.linalg.norm(rows, axis=1)
    factors = np.divide(length, lengths, out=np.ones_like(lengths), where=lengths > length)
    clipped: Weights = rows * factors[:, None].astype(np.float32)
    return clipped


def _descent_step(cohort: Cohort, targets: Floats, length: float) -> Weights:
    """(D,) a step of that length down the loss of every second probe against target shares (n, classes).

    Half of the probes give the direction well enough, and gradients are what this score spends most on.
    """
    some = slice(None, None, 2)
    gradient = cohort.model.loss_gradient(cohort.weights, cohort.probe_images[some], targets[some])
    step: Weights = (-length * _unit_rows(gradient[None])[0]).astype(np.float32)
    return step


def _true_shares(cohort: Cohort, steps: Weights) -> Floats:
    """(M,) of the probability that each step (M, D) moves on the probes: g / (g + h), where g goes to the true
    label and h to a wrong label on average; 0.5 for a blind step, 0 for one that moves none."""
    candidates = np.concatenate([cohort.weights[None], cohort.weights + steps])
    probabilities = _softmax(cohort.model.logits(candidates, cohort.probe_images))
    gains = np.maximum(probabilities[1:] - probabilities[0], 0.0)
    moved = gains.sum(axis=(1, 2))
    to_truth = gains[:, np.arange(len(cohort.probe_labels)), cohort.probe_labels].sum(axis=1)
    to_wrong = (moved - to_truth) / (cohort.model.classes - 1)
    shares: Floats = np.divide(to_truth, to_truth + to_wrong, out=np.zeros(len(moved)), where=moved > 0)
    return shares


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def _class_directions(cohort: Cohort) -> tuple[Floats, Floats]:
    """Unit descent directions (probe classes, last layer's size), and the model's probabilities on the probes.

    The gradient of the cross entropy by the last layer is (p - y) times the layer's input: no backward pass.
    """
    inputs = cohort.model.features(cohort.weights, cohort.probe_images)
    last = cohort.weights[cohort.model.last_layer].astype(np.float64)
    classes = cohort.model.classes
    matrix, offsets = last[:-classes].reshape(classes, -1), last[-classes:]
    probabilities = _softmax(inputs @ matrix.T + offsets)
    errors = np.eye(classes)[cohort.probe_labels] - probabilities
    directions = []
    for label in np.unique(cohort.probe_labels):
        chosen = cohort.probe_labels == label
        to_matrix = errors[chosen].T @ inputs[chosen]
        directions.append(np.concatenate([to_matrix.ravel(), errors[chosen].sum(axis=0)]))
    return _unit_rows(np.array(directions)), probabilities


def _projection_length(triangle: Floats, unit: Floats) -> float:
    """Length of the projection of ``unit`` on the cone of ``triangle``'s columns (both in the columns' span)."""
    coefficients, _ = nnls(triangle, unit)
    return float(np.linalg.norm(triangle @ coefficients))

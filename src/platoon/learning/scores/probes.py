"""Scores by probes: what an update does to a small set of labelled images that the edge server trusts.

``class_cone`` asks where an update points, ``probe_recall`` what the model recognises with it, ``probe_margin``
where it moves probability. What each is good for was measured (``docs/scores.md``); a score is only as good as
the local loss that it was measured with.
"""

from typing import Final

import numpy as np
from scipy.optimize import nnls

from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.rows import clip_rows, softmax, unit_rows
from platoon.nouns import Floats, Scores, Weights


def class_cone(cohort: Cohort) -> Scores:
    """How much of an update's last layer lies in the cone of the classes' descent directions; in [0, 1].

    d_c = -gradient of the mean loss over the probes of class c, scaled to length 1. An honest update is near a
    non-negative combination of the d_c whatever its mix of labels; the score is the length of the projection of
    the unit update on that cone (non-negative least squares with one unknown per class).
    """
    directions, probabilities = _class_directions(cohort)
    part = cohort.updates[:, cohort.model.last_layer].astype(np.float64)
    basis, triangle = np.linalg.qr(directions.T)
    values = [_projection_length(triangle, basis.T @ unit) for unit in unit_rows(part)]
    return Scores(values=np.clip(np.array(values), 0.0, 1.0), evidence=evidence_of(cohort, probabilities))


def probe_recall(cohort: Cohort) -> Scores:
    """Mean of the two best per-class recalls of the model plus the update, on the probes; in [0, 1]."""
    candidates = np.concatenate([cohort.weights[None], cohort.weights + cohort.updates])
    logits = cohort.model.logits(candidates, cohort.probe_images)
    hits = logits[1:].argmax(axis=2) == cohort.probe_labels
    recalls = [hits[:, cohort.probe_labels == label].mean(axis=1) for label in np.unique(cohort.probe_labels)]
    best = np.sort(np.array(recalls), axis=0)[-2:]
    return Scores(values=best.mean(axis=0), evidence=evidence_of(cohort, softmax(logits[0])))


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
        clip_rows(cohort.updates, length),
        descent_step(cohort, towards_truth, length)[None],
        descent_step(cohort, towards_wrong, length)[None],
    ]
    *shares, best, worst = true_shares(cohort, np.concatenate(steps))
    spread = best - worst
    values = (np.array(shares) - worst) / max(spread, LEAST_SPREAD)
    return Scores(values=np.clip(values, 0.0, 1.0), evidence=float(np.clip(spread / CLEAR_SPREAD, 0.0, 1.0)))


LEAST_SPREAD: Final = 0.05
"""Below this distance between the two steps of ``probe_margin`` its scale is not stretched further."""
CLEAR_SPREAD: Final = 0.25
"""From this distance on the evidence is full."""


def evidence_of(cohort: Cohort, probabilities: Floats) -> float:
    """Accuracy on the probes of the model that was sent out, above chance."""
    accuracy = float((probabilities.argmax(axis=1) == cohort.probe_labels).mean())
    chance = 1.0 / cohort.model.classes
    return min(1.0, max(0.0, (accuracy - chance) / (1.0 - chance)))


def descent_step(cohort: Cohort, targets: Floats, length: float) -> Weights:
    """(D,) a step of that length down the loss of every second probe against target shares (n, classes).

    Half of the probes give the direction well enough, and gradients are what this score spends most on.
    """
    some = slice(None, None, 2)
    gradient = cohort.model.loss_gradient(cohort.weights, cohort.probe_images[some], targets[some])
    step: Weights = (-length * unit_rows(gradient[None])[0]).astype(np.float32)
    return step


def true_shares(cohort: Cohort, steps: Weights) -> Floats:
    """(M,) of the probability that each step (M, D) moves on the probes: g / (g + h), where g goes to the true
    label and h to a wrong label on average; 0.5 for a blind step, 0 for one that moves none."""
    candidates = np.concatenate([cohort.weights[None], cohort.weights + steps])
    probabilities = softmax(cohort.model.logits(candidates, cohort.probe_images))
    gains = np.maximum(probabilities[1:] - probabilities[0], 0.0)
    moved = gains.sum(axis=(1, 2))
    to_truth = gains[:, np.arange(len(cohort.probe_labels)), cohort.probe_labels].sum(axis=1)
    to_wrong = (moved - to_truth) / (cohort.model.classes - 1)
    shares: Floats = np.divide(to_truth, to_truth + to_wrong, out=np.zeros(len(moved)), where=moved > 0)
    return shares


def _class_directions(cohort: Cohort) -> tuple[Floats, Floats]:
    """Unit descent directions (probe classes, last layer's size), and the model's probabilities on the probes.

    The gradient of the cross entropy by the last layer is (p - y) times the layer's input: no backward pass.
    """
    inputs = cohort.model.features(cohort.weights, cohort.probe_images)
    last = cohort.weights[cohort.model.last_layer].astype(np.float64)
    classes = cohort.model.classes
    matrix, offsets = last[:-classes].reshape(classes, -1), last[-classes:]
    probabilities = softmax(inputs @ matrix.T + offsets)
    errors = np.eye(classes)[cohort.probe_labels] - probabilities
    directions = []
    for label in np.unique(cohort.probe_labels):
        chosen = cohort.probe_labels == label
        to_matrix = errors[chosen].T @ inputs[chosen]
        directions.append(np.concatenate([to_matrix.ravel(), errors[chosen].sum(axis=0)]))
    return unit_rows(np.array(directions)), probabilities


def _projection_length(triangle: Floats, unit: Floats) -> float:
    """Length of the projection of ``unit`` on the cone of ``triangle``'s columns (both in the columns' span)."""
    coefficients, _ = nnls(triangle, unit)
    return float(np.linalg.norm(triangle @ coefficients))

"""Scores that ask what an update is worth: the loss on the probes, the edge server's own step, Shapley values.

They are here to be compared with: on two-class vehicles an honest update may well raise the loss over all classes.
"""

import hashlib
from typing import Final

import numpy as np

from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.probes import evidence_of
from platoon.learning.scores.rows import log_softmax, softmax, unit_rows
from platoon.learning.shapley import shapley_values, share_among_equals
from platoon.nouns import Bools, Floats, Scores, Weights
from platoon.rng import stream

SERVER_STEPS: Final = 3
SERVER_RATE: Final = 0.1
"""Steps of the edge server's own training on its probes, and their size."""
TOGETHER: Final = 256
"""Coalitions that are tried in one go."""


def validation_loss(cohort: Cohort) -> Scores:
    """By how much an update lowers the mean cross entropy on the probes, as a share of what it was; in [-1, 1]."""
    logits = cohort.model.logits(
        np.concatenate([cohort.weights[None], cohort.weights + cohort.updates]), cohort.probe_images
    )
    before, *after = _losses(cohort, logits)
    gains = (before - np.array(after)) / max(before, 1e-12)
    return Scores(values=_bounded(gains), evidence=evidence_of(cohort, softmax(logits[0])))


def fltrust(cohort: Cohort) -> Scores:
    """ReLU of the cosine between an update and the edge server's own, trained on its probes from the same model
    (Cao et al. 2021); in [0, 1].

    The paper's trust score is also the weight in its mean, and it scales all updates to the
    server's length: here the contract's reputation weighs them, and ``aggregation.pre = "clipping"`` shortens them.
    """
    truth, weights = np.eye(cohort.model.classes)[cohort.probe_labels], cohort.weights
    for _ in range(SERVER_STEPS):
        gradient = cohort.model.loss_gradient(weights, cohort.probe_images, truth)
        weights = (weights - np.float32(SERVER_RATE) * gradient).astype(np.float32)
    own = unit_rows((weights - cohort.weights)[None])[0]
    probabilities = softmax(cohort.model.logits(cohort.weights[None], cohort.probe_images)[0])
    values = np.clip(unit_rows(cohort.updates) @ own, 0.0, 1.0)
    return Scores(values=values, evidence=evidence_of(cohort, probabilities))


def shapley(cohort: Cohort) -> Scores:
    """Shapley value of each update for the mean of the chosen updates, over the largest in the cohort; in [-1, 1].

    The utility is the negative loss on the probes: unlike accuracy it does not jump, so that few probes do. Exact
    for up to 12 updates; above, orders are drawn from the contents of the updates: nobody's place matters.
    """
    order = sorted(range(len(cohort.updates)), key=lambda k: cohort.updates[k].tobytes())
    updates = cohort.updates[order]
    seed = int.from_bytes(hashlib.sha256(updates.tobytes()).digest()[:7], "big")
    worth = shapley_values(
        lambda coalitions: _worth(cohort, updates, coalitions), len(updates), stream(seed, "shapley")
    )
    worth = share_among_equals(worth, [update.tobytes() for update in updates])
    values = np.zeros(len(updates))
    values[order] = worth / max(float(np.abs(worth).max(initial=0.0)), 1e-12)
    probabilities = softmax(cohort.model.logits(cohort.weights[None], cohort.probe_images)[0])
    return Scores(values=_bounded(values), evidence=evidence_of(cohort, probabilities))


def _worth(cohort: Cohort, updates: Weights, coalitions: Bools) -> Floats:
    """(M,) negative loss of the model plus the mean of each coalition's updates; of the model alone for none."""
    shares = coalitions / np.maximum(coalitions.sum(axis=1, keepdims=True), 1)
    parts = []
    for start in range(0, len(shares), TOGETHER):
        steps = (shares[start : start + TOGETHER] @ updates).astype(np.float32)
        parts.append(-_losses(cohort, cohort.model.logits(cohort.weights + steps, cohort.probe_images)))
    worth = np.concatenate(parts)
    finite = np.isfinite(worth)
    # what overflows is worse than all that does not, by a finite amount: one such update must not condemn the rest
    worth[~finite] = worth[finite].min(initial=0.0) - 1.0
    return worth


def _losses(cohort: Cohort, logits: Floats) -> Floats:
    """(M,) mean cross entropy of M models' logits (M, n, classes)."""
    rows = np.arange(len(cohort.probe_labels))
    losses: Floats = -log_softmax(logits)[:, rows, cohort.probe_labels].mean(axis=1)
    return losses


def _bounded(values: Floats) -> Floats:
    """Within [-1, 1]; what overflowed counts as the worst."""
    bounded: Floats = np.clip(np.nan_to_num(values, nan=-1.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return bounded

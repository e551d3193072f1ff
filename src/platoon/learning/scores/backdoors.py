"""Which updates of a cohort plant a trigger, and which keep one alive: ``triggers`` asked about a round's updates.

All classes are asked about, whichever rows of the last layer an update moved: who plants a trigger in the layers
before chooses not to move the row of its class.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.traces import Traces
from platoon.learning.scores.triggers import find_answers, find_triggers, strengthen
from platoon.nouns import Bools, Floats, Ints, Weights

Limits = tuple[tuple[float, float], tuple[float, float]]

ANSWERS: Final = 0.15
"""Effect of a patch from which on the model that was sent out may answer to it; networks that nobody attacked have
weak answers too, and honest updates that strengthen them."""
OF_THE_MODEL: Final = ((ANSWERS, 0.85), (0.5, 0.6))
"""Two effects of a patch, and how much an update may strengthen an answer of each; in between a straight line."""
OF_THE_ROUND: Final = ((0.0, 1.2), (0.5, 0.85))
"""The same of a patch ahead; there every one is asked about, whatever its effect."""
CLEARLY: Final = 0.1
"""Who strengthens a patch by so much beyond its limit plants it."""
SHARED: Final = 0.5
"""How much anybody may strengthen a patch that somebody plants: those who plant it have it in common, and honest
updates have nothing to do with it."""
MANY_CLASSES: Final = (10, 0.3)
"""Classes from which on all these limits grow, and with which power of the classes over these: the more classes,
the more patches there are that honest updates strengthen."""
AHEAD: Final = 8.0
"""Means of the believed updates by which the model is moved ahead: what they have in common shows there before any
one's part of it does."""
MOST_IMAGES: Final = 20
"""On which triggers are tried, evenly over the classes: two of each of ten."""


def search(cohort: Cohort, traces: Traces, rows: Ints) -> Floats:
    """The effect of the best trigger that ``triggers`` finds in each update of these rows, on a few probes."""
    if not len(rows):
        return np.zeros(0)
    images, labels = _few_probes(cohort)
    wanted = np.tile(np.arange(cohort.model.classes), (len(rows), 1))
    return find_triggers(cohort.model, cohort.weights, traces.shortened[rows], wanted, images, labels)


def strengthened(cohort: Cohort, traces: Traces, believed: Bools) -> Floats:
    """(K,) by how much too far each update strengthens a patch: one that the model which was sent out answers to,
    or one that the updates which would pass so far, ``believed`` (K,), have in common; 0 where it does not.

    What each adds is weak, and alone it may pass; their sum, driven far, shows the patch.
    """
    images, labels = _few_probes(cohort)
    excess = np.zeros(len(cohort.updates))
    growth = max(1.0, cohort.model.classes / MANY_CLASSES[0]) ** MANY_CLASSES[1]
    for weights, least, limits in _places(cohort, traces, believed):
        answers = find_answers(cohort.model, weights, images, labels).beyond(least)
        if len(answers.labels):
            rises = strengthen(cohort.model, cohort.weights, traces.shortened, answers, images, labels)
            excess = np.maximum(excess, _beyond(rises / growth, answers.effects, limits))
    return excess


def _places(cohort: Cohort, traces: Traces, believed: Bools) -> Iterator[tuple[Weights, float, Limits]]:
    """The model that was sent out, and the one ahead along the mean of those believed; for each, which effects
    patches must have to be asked about, and what an update may do to them."""
    yield cohort.weights, ANSWERS, OF_THE_MODEL
    if believed.any():
        step = traces.shortened[believed].mean(axis=0, dtype=np.float64)
        yield (cohort.weights + AHEAD * step).astype(np.float32), -np.inf, OF_THE_ROUND


def _beyond(rises: Floats, effects: Floats, limits: Limits) -> Floats:
    """(K,) the most by which rises (K, A) go beyond the limits for patches of effects (A,); 0 where they do not."""
    most = np.interp(effects, [effect for effect, _ in limits], [limit for _, limit in limits])
    planted = (rises > most + CLEARLY).any(axis=0)
    most = np.where(planted, np.minimum(most, SHARED), most)
    beyond: Floats = np.maximum((rises - most).max(axis=1), 0.0)
    return beyond


def _few_probes(cohort: Cohort) -> tuple[Images, Ints]:
    """The images on which triggers are tried, and their labels."""
    present = np.unique(cohort.probe_labels)
    each = max(1, MOST_IMAGES // len(present))
    tried = present[np.linspace(0, len(present) - 1, min(len(present), MOST_IMAGES)).round().astype(int)]
    some = np.concatenate([np.flatnonzero(cohort.probe_labels == label)[:each] for label in tried])
    return cohort.probe_images[some], cohort.probe_labels[some]

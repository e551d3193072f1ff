"""Which updates of a cohort plant a trigger, and which keep one alive: ``triggers`` asked about a round's updates.

All classes are asked about, whichever rows of the last layer an update moved: who plants a trigger in the layers
before chooses not to move the row of its class.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.traces import Traces
from platoon.learning.scores.triggers import (
    Answers,
    find_answers,
    find_planted,
    find_triggers,
    strengthen,
)
from platoon.nouns import Bools, Floats, Ints, Weights

Limits = tuple[tuple[float, float], tuple[float, float]]
Judge = Callable[[Floats, Floats], Floats]

ANSWERS: Final = 0.15
"""Effect of a patch from which on the model that was sent out may answer to it; networks that nobody attacked have
weak answers too, and honest updates that strengthen them."""
OF_THE_MODEL: Final = ((ANSWERS, 0.85), (0.5, 0.6))
"""Two effects of a patch, and how much an update may strengthen an answer of each; in between a straight line."""
OF_THE_ROUND: Final = ((0.0, 1.2), (0.5, 0.85))
"""The same of a patch ahead; of few classes every one is asked about there, whatever its effect."""
CLEARLY: Final = 0.1
"""Who strengthens a patch by so much beyond its limit plants it."""
SHARED: Final = 0.5
"""How much anybody may strengthen a patch that somebody plants: those who plant it have it in common, and honest
updates have nothing to do with it."""
MANY_CLASSES: Final = 10
"""Beyond so many the limits above say nothing: there are more patches that honest updates strengthen, by as much as
attackers theirs. What single updates plant is asked about too, and who *stands apart* plants it."""
APART: Final = ((0.4, 1.8), (0.7, 0.7))
"""Two effects of a patch, and how wide a gap sets those who plant it apart (``_stand_apart``): in spreads of the
updates below the gap, over the root of their number. Patches of less effect are not asked about."""
CHANCE_SPREAD: Final = 0.4
"""Added to that spread: two or three may be alike by chance."""
LEAST_RISE: Final = 0.3
"""Who strengthens a patch by less does not plant it."""
OF_A_GAP: Final = 0.2
"""What a distance beyond a gap counts beside one beyond a limit: honest updates lie a little beyond one now and
then, attackers far."""
LEFT_ALONE: Final = (3, 0.25)
"""How many updates at least, and which share of those believed, must lie below the gap: some do not plant the
patch."""
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
    one that the updates which would pass so far, ``believed`` (K,), have in common, or, with many classes, one that
    any single update plants; 0 where it does not.

    What each adds is weak, and alone it may pass; their sum, driven far, shows the patch.
    """
    images, labels = _few_probes(cohort)
    find = _find_of_many_classes if cohort.model.classes > MANY_CLASSES else _find_of_few_classes
    excess = np.zeros(len(cohort.updates))
    for answers, judge in find(cohort, traces, believed, images, labels):
        if len(answers.labels):
            rises = strengthen(cohort.model, cohort.weights, traces.shortened, answers, images, labels)
            excess = np.maximum(excess, judge(rises, answers.effects))
    return excess


def _find_of_few_classes(
    cohort: Cohort, traces: Traces, believed: Bools, images: Images, labels: Ints
) -> Iterator[tuple[Answers, Judge]]:
    """The patches that the model which was sent out answers to, and those of the one ahead along the mean of those
    believed, with limits for each."""
    answers = find_answers(cohort.model, cohort.weights, images, labels)
    yield answers.beyond(ANSWERS), partial(_beyond, limits=OF_THE_MODEL)
    if believed.any():
        answers = find_answers(cohort.model, _move_ahead(cohort, traces, believed), images, labels)
        yield answers.beyond(-np.inf), partial(_beyond, limits=OF_THE_ROUND)


def _find_of_many_classes(
    cohort: Cohort, traces: Traces, believed: Bools, images: Images, labels: Ints
) -> Iterator[tuple[Answers, Judge]]:
    """The same, and what each update plants; those that move enough, all judged by who stands apart."""
    if not believed.any():
        return
    judge = partial(_stand_apart, believed=believed)
    for weights in (cohort.weights, _move_ahead(cohort, traces, believed)):
        yield find_answers(cohort.model, weights, images, labels).beyond(APART[0][0]), judge
    planted = find_planted(cohort.model, cohort.weights, traces.shortened, images, labels)
    yield planted.beyond(APART[0][0]), judge


def _move_ahead(cohort: Cohort, traces: Traces, believed: Bools) -> Weights:
    """(D,) the model that was sent out, driven far along the mean of those believed."""
    step = traces.shortened[believed].mean(axis=0, dtype=np.float64)
    ahead: Weights = (cohort.weights + AHEAD * step).astype(np.float32)
    return ahead


def _beyond(rises: Floats, effects: Floats, limits: Limits) -> Floats:
    """(K,) the most by which rises (K, A) go beyond the limits for patches of effects (A,); 0 where they do not."""
    most = np.interp(effects, [effect for effect, _ in limits], [limit for _, limit in limits])
    planted = (rises > most + CLEARLY).any(axis=0)
    most = np.where(planted, np.minimum(most, SHARED), most)
    beyond: Floats = np.maximum((rises - most).max(axis=1), 0.0)
    return beyond


def _stand_apart(rises: Floats, effects: Floats, believed: Bools) -> Floats:
    """(K,) by how much each update rises, by any of some patches (K, A) of effects (A,), beyond a gap that sets
    those who plant it apart from the rest of those ``believed`` (K,), times ``OF_A_GAP``; 0 where it does not.

    To a patch that is nothing but the network's own, updates of all kinds add and take away, so their rises spread.
    With a planted one honest updates have nothing to do: theirs lie close together, however many plant it. Only
    those believed say how wide that is, so that nobody widens it by an update that is thrown out anyway.
    """
    ordered = np.sort(rises[believed], axis=0)
    least = max(LEFT_ALONE[0], int(np.ceil(LEFT_ALONE[1] * len(ordered))))
    if len(ordered) <= least:
        return np.zeros(len(rises))
    below = ordered[least - 1 : -1]
    gaps = np.interp(effects, [effect for effect, _ in APART], [gap for _, gap in APART])
    gaps = gaps / np.sqrt(np.arange(least, len(ordered)))[:, None] * (below - ordered[0] + CHANCE_SPREAD)
    ends = np.maximum(below + gaps, LEAST_RISE)
    end = ends.min(axis=0, initial=np.inf, where=ordered[least:] > ends)
    apart: Floats = OF_A_GAP * np.maximum((rises - end).max(axis=1), 0.0)
    return apart


def _few_probes(cohort: Cohort) -> tuple[Images, Ints]:
    """The images on which triggers are tried, and their labels."""
    present = np.unique(cohort.probe_labels)
    each = max(1, MOST_IMAGES // len(present))
    tried = present[np.linspace(0, len(present) - 1, min(len(present), MOST_IMAGES)).round().astype(int)]
    some = np.concatenate([np.flatnonzero(cohort.probe_labels == label)[:each] for label in tried])
    return cohort.probe_images[some], cohort.probe_labels[some]

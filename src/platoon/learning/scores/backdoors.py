"""Which updates of a cohort plant a trigger, and which keep one alive: ``triggers`` asked about a round's updates.

All classes are asked about, whichever rows of the last layer an update moved: who plants a trigger in the layers
before chooses not to move the row of its class.
"""

from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.traces import Traces
from platoon.learning.scores.triggers import find_answers, find_triggers, strengthen
from platoon.nouns import Floats, Ints

STRONG: Final = (0.3, 2.3)
"""Effect from which on an answer is a trigger's, and the rise that is too much for it."""
WEAK: Final = (0.15, 6.0)
"""Networks that nobody attacked have answers as weak as this, and honest updates that strengthen them: the limit
falls from here to the strong answers'."""
TRIGGER_PROBES: Final = 2
"""Images per class on which a trigger is tried."""


def search(cohort: Cohort, traces: Traces, rows: Ints) -> Floats:
    """The effect of the best trigger that ``triggers`` finds in each update of these rows, on a few probes."""
    if not len(rows):
        return np.zeros(0)
    images, labels = _few_probes(cohort)
    wanted = np.tile(np.arange(cohort.model.classes), (len(rows), 1))
    return find_triggers(cohort.model, cohort.weights, traces.shortened[rows], wanted, images, labels)


def strengthened(cohort: Cohort, traces: Traces) -> Floats:
    """(K,) by how much too far each update strengthens an answer that the model that was sent out gives already; 0
    where it does not."""
    images, labels = _few_probes(cohort)
    answers = find_answers(cohort.model, cohort.weights, images, labels)
    if not len(answers.labels):
        return np.zeros(len(cohort.updates))
    rises = strengthen(cohort.model, cohort.weights, traces.shortened, answers, images, labels)
    limits = np.interp(answers.effects, (WEAK[0], STRONG[0]), (WEAK[1], STRONG[1]))
    excess: Floats = np.maximum(rises - limits, 0.0).max(axis=1)
    return excess


def _few_probes(cohort: Cohort) -> tuple[Images, Ints]:
    """The images on which triggers are tried, and their labels."""
    some = np.concatenate(
        [
            np.flatnonzero(cohort.probe_labels == label)[:TRIGGER_PROBES]
            for label in range(cohort.model.classes)
        ]
    )
    return cohort.probe_images[some], cohort.probe_labels[some]

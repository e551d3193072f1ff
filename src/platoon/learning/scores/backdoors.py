"""Which updates of a cohort plant a trigger, and which keep one alive: ``triggers`` asked about a round's updates.

An update is tried for triggers of the classes that it moved, on a few probes of each class. What the model that was
sent out answers to already is tried on all updates that moved the answer's class.
"""

from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.traces import Traces
from platoon.learning.scores.triggers import find_answers, find_triggers, strengthen
from platoon.nouns import Bools, Floats, Ints

STRONG: Final = (0.3, 2.3)
"""Effect from which on an answer is a trigger's, and the rise that is too much for it."""
WEAK: Final = (0.15, 6.0)
"""Networks that nobody attacked have answers as weak as this, and honest updates that strengthen them: the limit
falls from here to the strong answers'."""
TRIGGER_CLASSES: Final = 3
"""Classes that are tried as a trigger's, those that moved most."""
TRIGGER_MANY: Final = 4
"""Where an update moved more classes than this, its trigger's need not be among those that moved most: all are
tried."""
TRIGGER_PROBES: Final = 2
"""Images per class on which a trigger is tried."""


def search(cohort: Cohort, traces: Traces, moved: Bools, rows: Ints) -> Floats:
    """The effect of the best trigger that ``triggers`` finds in each update of these rows, on a few probes."""
    if not len(rows):
        return np.zeros(0)
    updates = traces.shortened[rows]
    part, classes = updates[:, cohort.model.last_layer], cohort.model.classes
    lengths = np.linalg.norm(part[:, :-classes].reshape(len(rows), classes, -1), axis=2) * moved[rows]
    order = np.argsort(-lengths, axis=1, kind="stable")
    counts = moved[rows].sum(axis=1)
    counts = np.where(counts > TRIGGER_MANY, counts, np.minimum(counts, TRIGGER_CLASSES))
    images, labels = _few_probes(cohort)
    effects = np.zeros(len(rows))
    for some in (counts <= TRIGGER_CLASSES, counts > TRIGGER_CLASSES):
        if some.any():
            # an update of fewer classes is asked about its first again
            places = np.arange(counts[some].max())
            wanted = order[some][:, places]
            wanted = np.where(places < counts[some][:, None], wanted, wanted[:, :1])
            effects[some] = find_triggers(cohort.model, cohort.weights, updates[some], wanted, images, labels)
    return effects


def strengthened(cohort: Cohort, traces: Traces, moved: Bools) -> Floats:
    """(K,) by how much too far each update strengthens an answer of the classes that it moved, of those that the
    model that was sent out gives already; 0 where it does not."""
    images, labels = _few_probes(cohort)
    answers = find_answers(cohort.model, cohort.weights, images, labels)
    own = moved[:, answers.labels]
    asked = own.any(axis=1)
    excess = np.zeros(len(cohort.updates))
    if asked.any():
        updates = traces.shortened[asked]
        rises = strengthen(cohort.model, cohort.weights, updates, answers, images, labels)
        limits = np.interp(answers.effects, (WEAK[0], STRONG[0]), (WEAK[1], STRONG[1]))
        excess[asked] = np.where(own[asked], np.maximum(rises - limits, 0.0), 0.0).max(axis=1)
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

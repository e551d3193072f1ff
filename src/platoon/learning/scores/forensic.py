"""The default score: the probability that an update is honest, by its traces and by what it does on probes.

Traces (``traces``) condemn what no training leaves behind. Of the rest four measures are weighed by a logistic
regression, whose weights ``bench/score_weights.py`` learned from honest and false updates of runs whose model
stayed clean: where probability moves on the probes (``probe_margin``), whether the update points down the loss
of just the classes that it moved (*descent*), whether that loss falls (*gain*), and how one-sided and how long
it is. An update that would pass is searched for a trigger (``triggers``), and where the model that was sent out
answers to one already, every update is asked whether it strengthens that.

Classes are read off the update: with the loss over a vehicle's own classes only their rows of the last layer
move. So a two-class vehicle is judged by its two classes, among which an honest update points the right way,
and an attacker whose false labels cover all classes is judged by all.

The value is centred: 0.5 says nothing, and an update of classes of which the edge server has no probe gets it.
Copies get just less: they are not merged, and hardly move a reputation, since nobody can tell the copied from
the copier.
"""

from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.probes import CLEAR_SPREAD, LEAST_SPREAD, descent_step
from platoon.learning.scores.rows import clip_rows, log_softmax, softmax
from platoon.learning.scores.traces import Traces, find_traces
from platoon.learning.scores.triggers import find_answers, find_trigger, strengthen
from platoon.nouns import Bools, Floats, Ints, Scores, Weights

NEUTRAL: Final = 0.5
"""Says nothing; the threshold of this score."""
OF_A_COPY: Final = NEUTRAL - 1e-3

COEFFICIENTS: Final = (2.14, 2.7, 0.78, -10.65, -9.83)
"""Of margin, descent, gain, one-sidedness, length as ``design`` gives them (``bench/score_weights.py``)."""
OFFSET: Final = 8.68
TRIGGER: Final = (0.47, -60.0)
"""Effect of a patch from which on it counts, and what it adds to the log-odds above that."""
STRENGTHENED: Final = (2.3, -10.0)
"""Rise of a known trigger's log-odds from which on it counts, and what it adds to the log-odds above that."""
TRIGGER_CLASSES: Final = 3
"""Classes that are tried as a trigger's, those that moved most."""
TRIGGER_MANY: Final = 4
"""Where an update moved more classes than this, its trigger's need not be among those that moved most: all are
tried."""
TRIGGER_PROBES: Final = 2
"""Images per class on which a trigger is tried."""
MOVED: Final = 1e-3
"""A row of the last layer moved if it moved by this part of the most moved."""


def forensic(cohort: Cohort) -> Scores:
    """How likely each update is honest, in [0, 1] around 0.5; the evidence is that of ``probe_margin``."""
    traces = find_traces(cohort.updates, cohort.step)
    moved = find_moved(cohort)
    measures, evidence = measure(cohort, traces, moved)
    odds = design(measures, traces) @ np.array(COEFFICIENTS) + OFFSET
    probed = moved[:, np.unique(cohort.probe_labels)].any(axis=1)
    odds += STRENGTHENED[1] * np.maximum(0.0, strengthened(cohort, traces, moved) - STRENGTHENED[0])
    for row in np.flatnonzero(probed & (odds > 0.0) & ~traces.crafted):
        effect = search(cohort, traces, moved, int(row))
        odds[row] += TRIGGER[1] * max(0.0, effect - TRIGGER[0])
    values = np.where(probed, _shape(odds), NEUTRAL)
    values[traces.crafted] = 0.0
    values[traces.copied] = np.minimum(values[traces.copied], OF_A_COPY)
    return Scores(values=values, evidence=evidence)


def _shape(odds: Floats) -> Floats:
    """Log-odds to values in [0, 1]: the square of how far the probability lies from a half, on that side of 0.5. A
    doubtful update then says little, and a clear one nearly all, to whatever gathers the values as evidence."""
    balance = np.tanh(odds / 2.0)
    values: Floats = NEUTRAL + NEUTRAL * np.sign(balance) * balance**2
    return values


def find_moved(cohort: Cohort) -> Bools:
    """(K, classes) whose rows in the last layer an update moved; all, where it moved none."""
    part, classes = cohort.updates[:, cohort.model.last_layer], cohort.model.classes
    squares = part[:, :-classes].reshape(len(part), classes, -1).astype(np.float64) ** 2
    lengths = np.sqrt(squares.sum(axis=2) + part[:, -classes:].astype(np.float64) ** 2)
    return np.asarray(lengths >= MOVED * lengths.max(axis=1, keepdims=True))


def measure(cohort: Cohort, traces: Traces, moved: Bools) -> tuple[Floats, float]:
    """(K, 3) margin, descent and gain of every update, and the evidence in [0, 1]."""
    logits, margins, evidence = _look(cohort, traces.reference)
    rows = [
        (margins[k], *_own_classes(cohort, k, np.flatnonzero(moved[k]), logits[0], logits[k + 1]))
        for k in range(len(cohort.updates))
    ]
    return np.array(rows).reshape(-1, 3), evidence


def design(measures: Floats, traces: Traces) -> Floats:
    """(K, 5) what the logistic regression weighs: bounded, so that no single measure decides alone."""
    lengths = np.log(np.maximum(traces.lengths, 1e-9))
    columns = (
        np.clip(measures[:, 0], 0.0, 1.25),
        np.clip(measures[:, 1], -0.3, 0.3),
        np.clip(measures[:, 2], -2.0, 1.0),
        np.maximum(traces.one_sided - 0.2, 0.0),
        np.clip(lengths, 0.9, 2.0),
    )
    return np.stack(columns, axis=1)


def search(cohort: Cohort, traces: Traces, moved: Bools, row: int) -> float:
    """The effect of the best trigger that ``triggers`` finds in one update, on a few probes of each class."""
    update = clip_rows(cohort.updates[[row]], traces.reference)[0]
    part, classes = update[cohort.model.last_layer], cohort.model.classes
    lengths = np.linalg.norm(part[:-classes].reshape(classes, -1), axis=1) * moved[row]
    count = int(moved[row].sum())
    tried = count if count > TRIGGER_MANY else min(TRIGGER_CLASSES, count)
    wanted = np.argsort(-lengths, kind="stable")[:tried]
    return find_trigger(cohort.model, cohort.weights, update, wanted, *_few_probes(cohort))


def strengthened(cohort: Cohort, traces: Traces, moved: Bools) -> Floats:
    """(K,) by how much each update strengthens a trigger of the classes that it moved, of those that the model that
    was sent out answers to already; 0 without any."""
    images, labels = _few_probes(cohort)
    answers = find_answers(cohort.model, cohort.weights, images, labels)
    if not answers:
        return np.zeros(len(cohort.updates))
    updates = clip_rows(cohort.updates, traces.reference)
    rises = strengthen(cohort.model, cohort.weights, updates, answers, images, labels)
    own = moved[:, [answer.label for answer in answers]]
    most: Floats = np.where(own, rises, 0.0).max(axis=1)
    return most


def _few_probes(cohort: Cohort) -> tuple[Images, Ints]:
    """The images on which triggers are tried, and their labels."""
    some = np.concatenate(
        [
            np.flatnonzero(cohort.probe_labels == label)[:TRIGGER_PROBES]
            for label in range(cohort.model.classes)
        ]
    )
    return cohort.probe_images[some], cohort.probe_labels[some]


def _look(cohort: Cohort, length: float) -> tuple[Floats, Floats, float]:
    """Logits (K + 1, n, classes) of the model alone and with each update, clipped to ``length``; margins (K,); the
    evidence. Margins are those of ``probe_margin``, unbounded, and only over classes of which there are probes."""
    truth = np.eye(cohort.model.classes)[cohort.probe_labels]
    wrong = (1.0 - truth) / (cohort.model.classes - 1)
    steps = [
        clip_rows(cohort.updates, length),
        descent_step(cohort, truth, length)[None],
        descent_step(cohort, wrong, length)[None],
    ]
    candidates = np.concatenate([cohort.weights[None], cohort.weights + np.concatenate(steps)])
    logits = cohort.model.logits(candidates, cohort.probe_images)
    *shares, best, worst = _shares(logits, cohort.probe_labels)
    spread = best - worst
    margins = (np.array(shares) - worst) / max(spread, LEAST_SPREAD)
    return logits[:-2], margins, float(np.clip(spread / CLEAR_SPREAD, 0.0, 1.0))


def _shares(logits: Floats, labels: Ints) -> Floats:
    """(M,) of the probability that each of M candidates moves from the first of ``logits`` (M + 1, n, classes) to
    classes of which there are probes: what goes to true labels, against wrong ones on average."""
    present = np.unique(labels)
    probabilities = softmax(logits)
    gains = np.maximum(probabilities[1:] - probabilities[0], 0.0)
    true = gains[:, np.arange(len(labels)), labels].sum(axis=1)
    wrong = (gains[:, :, present].sum(axis=(1, 2)) - true) / max(len(present) - 1, 1)
    shares: Floats = np.divide(true, true + wrong, out=np.zeros(len(true)), where=true + wrong > 0)
    return shares


def _own_classes(
    cohort: Cohort, row: int, classes: Ints, before: Floats, after: Floats
) -> tuple[float, float]:
    """Cosine of an update with the descent of the loss over its own classes, and by how much (as a logarithm) that
    loss falls, on the probes of these classes; 0 and 0 without any."""
    own = np.flatnonzero(np.isin(cohort.probe_labels, classes))
    if len(own) == 0:
        return 0.0, 0.0
    targets = np.searchsorted(classes, cohort.probe_labels[own])
    # of all classes every second probe is enough to point the way
    some = own if len(classes) < cohort.model.classes else own[::2]
    shares = np.eye(len(classes))[np.searchsorted(classes, cohort.probe_labels[some])]
    descent = -cohort.model.loss_gradient(cohort.weights, cohort.probe_images[some], shares, classes)
    losses = [
        float(-log_softmax(logits[own][:, classes])[np.arange(len(own)), targets].mean())
        for logits in (before, after)
    ]
    return _cosine(cohort.updates[row], descent), float(np.log((losses[0] + 1e-3) / (losses[1] + 1e-3)))


def _cosine(one: Weights, other: Weights) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0.0 else 0.0

"""The default score: the probability that an update is honest, by its traces and by what it does on probes.

Traces (``traces``) condemn what no training leaves behind. Of the rest five measures are weighed by a logistic
regression, whose weights ``bench/score_weights.py`` learned from honest and false updates of runs whose model
stayed clean: where probability moves on the probes (``probe_margin``), whether the update points down the loss
of just the classes that it moved (*descent*), whether that loss falls (*gain*), and how one-sided and how long
it is. Who pushes against what the others do together counts as false too (``opposition``). But who teaches the
model classes that it lacks is long and stands against the others by that alone: it still counts, faintly. An update
that would pass is searched for a trigger (``triggers``), and where the model that was sent out answers to one
already, every update is asked whether it strengthens that, or what the updates have in common.

Classes are read off the update: with the loss over a vehicle's own classes only their rows of the last layer
move. So a two-class vehicle is judged by its two classes, among which an honest update points the right way,
and an attacker whose false labels cover all classes is judged by all.

The value is centred: 0.5 says nothing, and an update of classes of which the edge server has no probe gets it.
Copies get just less: they are not merged, and hardly move a reputation, since nobody can tell the copied from
the copier.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from platoon.learning.last_layer import measure_rows
from platoon.learning.scores.backdoors import search, strengthened
from platoon.learning.scores.cohort import Cohort
from platoon.learning.scores.opposition import agree_with_others
from platoon.learning.scores.probes import CLEAR_SPREAD, LEAST_SPREAD
from platoon.learning.scores.rows import log_softmax, softmax, unit_rows
from platoon.learning.scores.traces import Traces, find_traces
from platoon.nouns import Bools, Floats, Ints, Scores, Weights

NEUTRAL: Final = 0.5
"""Says nothing; the threshold of this score."""
OF_A_COPY: Final = NEUTRAL - 1e-3

COEFFICIENTS: Final = (2.08, 2.98, 0.93, -10.69, -9.88)
"""Of margin, descent, gain, one-sidedness, length as ``design`` gives them (``bench/score_weights.py``)."""
OFFSET: Final = 8.82
TRIGGER: Final = (0.6, -120.0)
"""Effect of a patch from which on it counts, and what it adds to the log-odds above that."""
OPPOSED: Final = (-0.4, 30.0)
"""Cosine with what the others do together below which an update counts as pushing against it, and what it adds to
the log-odds below that."""
TAUGHT: Final = 0.1
"""Gain from which on an update teaches, where the model lacks a class (``Measures.lacking``)."""
FAINT: Final = 0.3
"""Log-odds which such an update has at least, whatever its length and its opposition: a value of .51."""
MOST_TAUGHT: Final = 15.0
"""Lengths over the reference up to which that holds."""
STRENGTHENED: Final = -50.0
"""What an update that strengthens a patch too far (``strengthened``) adds to its log-odds, for each unit of it."""
MOVED: Final = 1e-3
"""A row of the last layer moved if it moved by this part of the most moved."""
LEAST_MOVED: Final = 2
"""With the loss over own classes a single one has no gradient, so no training moves fewer rows than this."""
SHORT: Final = 0.9
"""Logarithm of the length over the reference up to which length says nothing."""
SMALL_LOSS: Final = 0.03
"""Added to losses before they are compared: below it their ratio says more of the model than of the update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What K updates do on an edge server's probes."""

    values: Floats
    """(K, 3) margin, descent and gain."""
    lacking: Bools
    """(K,) whether the model that was sent out loses half as much at one of an update's own classes as a guess
    among them does, or more."""
    evidence: float
    """In [0, 1]."""


def forensic(cohort: Cohort) -> Scores:
    """How likely each update is honest, in [0, 1] around 0.5; the evidence is that of ``probe_margin``."""
    traces = find_traces(cohort.updates, cohort.step)
    moved = find_moved(cohort)
    measures = measure(cohort, traces, moved)
    columns = design(measures.values, traces)
    odds = columns @ np.array(COEFFICIENTS) + OFFSET
    teaching = _find_teaching(measures, traces, odds - COEFFICIENTS[-1] * (columns[:, -1] - SHORT))
    crafted = traces.crafted & ~teaching
    heard = np.where(crafted | (odds < 0.0), 0.0, _clarity(odds))
    odds += OPPOSED[1] * np.minimum(0.0, agree_with_others(traces.cosines, heard) - OPPOSED[0])
    odds[teaching] = np.maximum(odds[teaching], FAINT)
    believed = (odds > 0.0) & ~crafted & ~traces.copied
    odds += STRENGTHENED * strengthened(cohort, traces, believed)
    probed = moved[:, np.unique(cohort.probe_labels)].any(axis=1)
    passing = np.flatnonzero(probed & (odds > 0.0) & ~crafted)
    odds[passing] += TRIGGER[1] * np.maximum(0.0, search(cohort, traces, passing) - TRIGGER[0])
    values = np.where(probed, _shape(odds), NEUTRAL)
    values[crafted] = 0.0
    values[traces.copied] = np.minimum(values[traces.copied], OF_A_COPY)
    return Scores(values=values, evidence=measures.evidence)


def _find_teaching(measures: Measures, traces: Traces, content: Floats) -> Bools:
    """(K,) which updates teach the model a class that it lacks, so that nothing but their length or their
    opposition speaks against them: ``content`` (K,) is the log-odds without length."""
    _, descents, gains = measures.values.T
    teaching = measures.lacking & (gains >= TAUGHT) & (descents > 0.0) & (content > 0.0)
    return np.asarray(teaching & ~traces.untrained & (traces.lengths <= MOST_TAUGHT))


def _clarity(odds: Floats) -> Floats:
    """(K,) in [0, 1]: the square of how far the probability lies from a half, over the most that it can. So a
    doubtful update counts for little and a clear one for nearly all: in what gathers the values as evidence, in the
    merge, and in what the others are measured against, since who pushes as far as it passes is doubtful."""
    clarity: Floats = np.tanh(odds / 2.0) ** 2
    return clarity


def _shape(odds: Floats) -> Floats:
    """Log-odds to values in [0, 1]: their clarity, above 0.5 or below."""
    values: Floats = NEUTRAL + NEUTRAL * np.sign(odds) * _clarity(odds)
    return values


def find_moved(cohort: Cohort) -> Bools:
    """(K, classes) whose rows in the last layer an update moved; all, where it moved fewer than ``LEAST_MOVED``, so
    that nobody chooses to be judged by nothing."""
    lengths = measure_rows(cohort.updates[:, cohort.model.last_layer], cohort.model.classes)
    moved = lengths >= MOVED * lengths.max(axis=1, keepdims=True)
    return np.asarray(moved | (moved.sum(axis=1, keepdims=True) < LEAST_MOVED))


def measure(cohort: Cohort, traces: Traces, moved: Bools) -> Measures:
    """What every update does, judged by the classes that it moved (K, classes)."""
    before = cohort.model.logits(cohort.weights[None], cohort.probe_images)[0]
    own = moved[:, cohort.probe_labels]
    truth = np.eye(cohort.model.classes)[cohort.probe_labels]
    pull_back = partial(cohort.model.pull_back, cohort.weights, cohort.probe_images)
    towards = unit_rows(pull_back(_errors_of_steps(before, truth)))
    descents = -_cosines(traces.shortened, pull_back(_errors_of_own(before, truth, moved, own)))
    count = len(cohort.updates)
    candidates = np.empty((count + 2, len(cohort.weights)), dtype=np.float32)
    np.add(cohort.weights, traces.shortened, out=candidates[:count])
    candidates[count:] = cohort.weights - (traces.reference * towards).astype(np.float32)
    after = cohort.model.logits(candidates, cohort.probe_images)
    margins, evidence = _margins(before, after, cohort.probe_labels)
    old, new = (_losses(logits, truth, moved, own) for logits in (before, after[:-2]))
    return Measures(
        values=np.stack([margins, descents, _gains(old, new, own)], axis=1),
        lacking=_find_lacking(old, truth, moved),
        evidence=evidence,
    )


def design(measures: Floats, traces: Traces) -> Floats:
    """(K, 5) what the logistic regression weighs: bounded, so that no single measure decides alone."""
    lengths = np.log(np.maximum(traces.lengths, 1e-9))
    columns = (
        np.clip(measures[:, 0], 0.0, 1.25),
        np.clip(measures[:, 1], -0.3, 0.3),
        np.clip(measures[:, 2], -2.0, 1.0),
        np.maximum(traces.one_sided - 0.2, 0.0),
        np.clip(lengths, SHORT, 2.0),
    )
    return np.stack(columns, axis=1)


def _errors_of_steps(before: Floats, truth: Floats) -> Floats:
    """(2, n, classes) slopes by the logits of the loss that descends to the true labels, and of that to uniformly
    wrong ones, each over every second probe (``probe_margin``)."""
    wrong = (1.0 - truth) / (truth.shape[1] - 1)
    errors: Floats = (softmax(before) - np.stack([truth, wrong])) / len(before[::2])
    errors[:, 1::2] = 0.0
    return errors


def _errors_of_own(before: Floats, truth: Floats, moved: Bools, own: Bools) -> Floats:
    """(K, n, classes) the same of the loss over an update's own classes, on their probes."""
    # of all classes every second probe is enough to point the way
    some = own & ((np.arange(len(before)) % 2 == 0) | ~moved.all(axis=1, keepdims=True))
    errors = softmax(np.where(moved[:, None], before, -np.inf)) - truth
    errors *= (some / np.maximum(some.sum(axis=1, keepdims=True), 1))[:, :, None]
    return errors


def _losses(logits: Floats, truth: Floats, moved: Bools, own: Bools) -> Floats:
    """(K, n) of every probe among the classes that an update moved; 0 of those of other classes."""
    logs = log_softmax(np.where(moved[:, None], logits, -np.inf))
    true = np.take_along_axis(logs, truth.argmax(axis=1)[None, :, None], axis=2)[..., 0]
    losses: Floats = np.where(own, -true, 0.0)
    return losses


def _gains(old: Floats, new: Floats, own: Bools) -> Floats:
    """(K,) by how much, as a logarithm, the mean of losses (K, n) falls, else 0."""
    count = np.maximum(own.sum(axis=1), 1)
    before, after = (losses.sum(axis=1) / count + SMALL_LOSS for losses in (old, new))
    gains: Floats = np.log(before / after)
    return gains


def _find_lacking(losses: Floats, truth: Floats, moved: Bools) -> Bools:
    """(K,) whether, for one of the classes that an update moved, the mean loss is at least half that of a guess."""
    of_classes = losses @ truth / np.maximum(truth.sum(axis=0), 1.0)
    return np.asarray(of_classes.max(axis=1) >= np.log(moved.sum(axis=1)) / 2.0)


def _margins(before: Floats, after: Floats, labels: Ints) -> tuple[Floats, float]:
    """Margins (K,) and the evidence, from the logits (n, classes) of the model alone and those (K + 2, n, classes)
    with each update and with the two steps. Margins are those of ``probe_margin``, unbounded, and only over classes
    of which there are probes."""
    shares = _shares(before, after, labels)
    best, worst = shares[-2:]
    margins: Floats = (shares[:-2] - worst) / max(best - worst, LEAST_SPREAD)
    return margins, float(np.clip((best - worst) / CLEAR_SPREAD, 0.0, 1.0))


def _shares(before: Floats, after: Floats, labels: Ints) -> Floats:
    """(M,) of the probability that each of M candidates moves from logits (n, classes) to (M, n, classes), of
    classes of which there are probes: what goes to true labels, against wrong ones on average."""
    present = np.unique(labels)
    gains = np.maximum(softmax(after) - softmax(before), 0.0)
    true = gains[:, np.arange(len(labels)), labels].sum(axis=1)
    wrong = (gains[:, :, present].sum(axis=(1, 2)) - true) / max(len(present) - 1, 1)
    shares: Floats = np.divide(true, true + wrong, out=np.zeros(len(true)), where=true + wrong > 0)
    return shares


def _cosines(ones: Weights, others: Weights) -> Floats:
    """(K,) of rows with rows; 0 where one is zero."""
    products, squares, other_squares = (
        np.einsum("kd,kd->k", one, other).astype(np.float64)
        for one, other in ((ones, others), (ones, ones), (others, others))
    )
    lengths = np.sqrt(squares * other_squares)
    cosines: Floats = np.divide(products, lengths, out=np.zeros(len(ones)), where=lengths > 0.0)
    return cosines

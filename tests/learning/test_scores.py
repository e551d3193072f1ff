"""Scores: the laws they share, what each formula says, and how names resolve."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from scipy.optimize import minimize

from platoon.errors import UserError
from platoon.learning.laws import CLASSES, COHORT, make_cohort
from platoon.learning.scores import (
    SCORES,
    ScoreRule,
    class_cone,
    cosine,
    probe_margin,
    probe_recall,
    registry,
    resolve_score,
)
from platoon.learning.scores.traces import LEAST_PEAKEDNESS, find_traces
from platoon.nouns import Scores
from platoon.testing import check_score


@pytest.mark.parametrize("name", SCORES)
def test_every_score_keeps_the_laws(name):
    check_score(SCORES[name])


@pytest.mark.parametrize("trial", range(5))
@pytest.mark.parametrize("name", SCORES)
def test_the_laws_hold_every_score_to_more_than_a_constant(name, trial):
    values = SCORES[name].score(make_cohort(COHORT, trial)).values
    assert len(np.unique(values.round(3))) > 1


@pytest.mark.parametrize("trial", range(5))
def test_the_updates_of_the_laws_look_trained(trial):
    cohort = make_cohort(COHORT, trial)
    traces = find_traces(cohort.updates, cohort.step)
    assert traces.peakedness.min() > 1.5 * LEAST_PEAKEDNESS
    assert not traces.crafted.any()
    assert not traces.copied.any()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (lambda c: Scores(values=np.arange(len(c.updates)) / 100, evidence=1.0), "order"),
        (lambda c: Scores(values=np.zeros(len(c.updates)), evidence=1.5), "evidence"),
        (lambda c: Scores(values=np.full(len(c.updates), np.nan), evidence=1.0), "finite"),
        (lambda c: Scores(values=np.full(len(c.updates), 2.0), evidence=1.0), "outside"),
        (lambda c: Scores(values=np.zeros(3), evidence=1.0), "shape"),
        (lambda c: (c.updates.fill(0), Scores(values=np.zeros(len(c.updates)), evidence=1.0))[1], "changed"),
    ],
)
def test_the_laws_refuse_a_broken_score(broken, law):
    with pytest.raises(AssertionError, match=law):
        check_score(broken)


def test_cosine_is_the_mean_pairwise_cosine_of_equation_11():
    updates = np.array([[1, 0], [2, 0], [0, 3], [-1, 0]], dtype=np.float32)
    values = cosine(replace(make_cohort(4), updates=updates)).values
    assert values == pytest.approx([(1 + 0 - 1) / 3, (1 + 0 - 1) / 3, 0.0, (-1 - 1 + 0) / 3])


def test_cosine_of_a_lone_update_is_neutral_and_of_zeros_is_zero():
    alone = cosine(make_cohort(1))
    assert (alone.values.tolist(), alone.evidence) == ([SCORES["cosine"].threshold], 0.0)
    zeros = np.array([[0, 0], [1, 0], [1, 0]], dtype=np.float32)
    assert cosine(replace(make_cohort(3), updates=zeros)).values == pytest.approx([0.0, 0.5, 0.5])


def test_class_cone_measures_the_angle_to_the_cone_of_descent_directions():
    """Against a general optimiser, with the directions taken from full gradients."""
    cohort = make_cohort(6)
    model = cohort.model
    descents = []
    for label in range(CLASSES):
        chosen = cohort.probe_labels == label
        gradient = model.loss_gradient(
            cohort.weights, cohort.probe_images[chosen], np.eye(CLASSES)[cohort.probe_labels[chosen]]
        )
        descents.append(-gradient / np.linalg.norm(gradient))
    matrix = np.array(descents, dtype=np.float64).T
    for update, value in zip(cohort.updates.astype(np.float64), class_cone(cohort).values, strict=True):
        unit = update / np.linalg.norm(update)
        best = minimize(
            lambda x, unit=unit: ((matrix @ x - unit) ** 2).sum(),
            np.ones(CLASSES),
            bounds=[(0, None)] * CLASSES,
        )
        assert value == pytest.approx(np.linalg.norm(matrix @ best.x), abs=1e-3)


def test_class_cone_of_a_descent_direction_is_one_and_of_its_opposite_is_small():
    cohort = make_cohort(2)
    chosen = cohort.probe_labels == 1
    gradient = cohort.model.loss_gradient(
        cohort.weights, cohort.probe_images[chosen], np.eye(CLASSES)[cohort.probe_labels[chosen]]
    )
    values = class_cone(replace(cohort, updates=np.stack([-gradient, gradient]))).values
    assert values[0] == pytest.approx(1.0)
    assert values[1] < 0.95


def test_probe_recall_is_the_mean_of_the_two_best_recalls():
    cohort = make_cohort(5)
    values = probe_recall(cohort).values
    for update, value in zip(cohort.updates, values, strict=True):
        predicted = cohort.model.logits((cohort.weights + update)[None], cohort.probe_images)[0].argmax(
            axis=1
        )
        recalls = sorted((predicted[cohort.probe_labels == c] == c).mean() for c in range(CLASSES))
        assert value == pytest.approx((recalls[-1] + recalls[-2]) / 2)


def constant_push(towards, size, length=0.1):
    """An update of the linear model that pushes the offset of one class."""
    update = np.zeros(size, dtype=np.float32)
    update[size - CLASSES + towards] = length
    return update


def by_the_definition(cohort):
    """The probe margin's share of one step, written out: where does the moved probability go?"""

    def share(step):
        before, after = (
            np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            for logits in cohort.model.logits(
                np.stack([cohort.weights, cohort.weights + step]), cohort.probe_images
            )
        )
        right = wrong = 0.0
        for probe, label in enumerate(cohort.probe_labels):
            for other in range(CLASSES):
                gain = max(after[probe, other] - before[probe, other], 0.0)
                if other == label:
                    right += gain
                else:
                    wrong += gain / (CLASSES - 1)
        return right / (right + wrong)

    length = np.median(np.linalg.norm(cohort.updates, axis=1))
    truth = np.eye(CLASSES)[cohort.probe_labels]
    ends = []
    for targets in ((1 - truth) / (CLASSES - 1), truth):
        gradient = cohort.model.loss_gradient(cohort.weights, cohort.probe_images[::2], targets[::2])
        ends.append(share(-length * gradient / np.linalg.norm(gradient)))
    worst, best = ends
    clipped = [update * min(1.0, length / np.linalg.norm(update)) for update in cohort.updates]
    return np.clip([(share(step) - worst) / max(best - worst, 0.05) for step in clipped], 0, 1), best - worst


@pytest.mark.parametrize("trial", range(3))
def test_probe_margin_places_an_update_between_a_wrong_and_a_true_step(trial):
    cohort = make_cohort(6, trial)
    values, spread = by_the_definition(cohort)
    scores = probe_margin(cohort)
    assert scores.values == pytest.approx(values, abs=1e-5)
    assert scores.evidence == pytest.approx(min(1.0, max(0.0, spread / 0.25)), abs=1e-5)


def test_probe_margin_rewards_descent_and_punishes_ascent():
    """From a blank model the step towards wrong labels is the opposite of the one towards true labels."""
    cohort = replace(make_cohort(1), weights=np.zeros_like(make_cohort(1).weights))
    gradient = cohort.model.loss_gradient(
        cohort.weights, cohort.probe_images[::2], np.eye(CLASSES)[cohort.probe_labels[::2]]
    )
    both = replace(cohort, updates=np.stack([-0.1 * gradient, 0.1 * gradient, 0.1 * gradient]))
    down, up, _ = probe_margin(both).values
    assert down == pytest.approx(1.0)
    assert up == pytest.approx(0.0, abs=1e-6)


def test_probe_margin_of_a_cohort_that_moves_nothing_is_zero_without_evidence():
    still = replace(make_cohort(3), updates=np.zeros_like(make_cohort(3).updates))
    scores = probe_margin(still)
    assert (scores.values.tolist(), scores.evidence) == ([0.0, 0.0, 0.0], 0.0)


def test_probe_margin_does_not_reward_length():
    """Beyond the cohort's median length an update is judged as if it had that length."""
    cohort = make_cohort(5)
    lengths = np.linalg.norm(cohort.updates, axis=1)
    longest = int(lengths.argmax())
    longer = cohort.updates.copy()
    longer[longest] *= 1000.0
    values = probe_margin(replace(cohort, updates=longer)).values
    assert values == pytest.approx(probe_margin(cohort).values, abs=1e-5)


def test_names_resolve_with_a_hint():
    assert resolve_score("cosine") is SCORES["cosine"]
    with pytest.raises(UserError, match="did you mean 'probe_margin'"):
        resolve_score("probe_margn")


def test_a_plug_in_resolves_by_its_entry_point(monkeypatch):
    plugin = EntryPoint(name="mine", group="platoon.scores", value="platoon.learning.scores:SCORES")
    monkeypatch.setattr(registry, "entry_points", lambda group: [plugin])
    with pytest.raises(UserError, match=r"is no platoon\.learning.scores.ScoreRule"):
        resolve_score("mine")
    rule = ScoreRule(score=cosine, threshold=0.1)
    monkeypatch.setattr(EntryPoint, "load", lambda self: rule)
    assert resolve_score("mine") is rule


@pytest.mark.parametrize("score", [class_cone, probe_recall])
def test_a_model_that_knows_nothing_gives_no_evidence(score):
    cohort = make_cohort(3)
    wrong = replace(
        cohort,
        probe_labels=np.full_like(cohort.probe_labels, 0),
        weights=constant_push(1, len(cohort.weights)),
    )
    assert score(wrong).evidence == 0.0

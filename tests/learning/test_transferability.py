"""Scores of transfer: values by hand, laws, and slow direct forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from platoon.learning import transferability
from platoon.learning.transferability import (
    OF_FEATURES,
    SCORES,
    h_score,
    leave_one_out_accuracy,
    leep,
    log_me,
    negative_conditional_entropy,
    shrunk_h_score,
    zero_shot_accuracy,
)
from platoon.rng import stream

seeds = st.integers(0, 2**16)


def a_task(seed, samples=40, width=6, classes=3, signal=1.0):
    """Outputs (n, 4), features (n, d) and labels (n,) that have something to do with each other."""
    rng = stream(seed, "task", samples, width, classes)
    labels = rng.permutation(np.arange(samples) % classes)
    features = rng.normal(size=(samples, width)) + signal * rng.normal(size=(classes, width))[labels]
    logits = features @ rng.normal(size=(width, 4))
    outputs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return outputs / outputs.sum(axis=1, keepdims=True), features, labels


def table_of(name, outputs, features):
    return features if name in OF_FEATURES else outputs


def entropy(labels):
    shares = np.bincount(labels) / len(labels)
    return -(shares[shares > 0] * np.log(shares[shares > 0])).sum()


def soft_conditional_entropy(outputs, labels):
    """H(Y | Z) of the joint that LEEP is built on, term by term."""
    joint = {}
    for row, label in zip(outputs, labels, strict=True):
        for source, share in enumerate(row):
            joint[label, source] = joint.get((label, source), 0.0) + share / len(labels)
    total = 0.0
    for (_, source), share in joint.items():
        if share > 0:
            total -= share * math.log(share / sum(v for (_, s), v in joint.items() if s == source))
    return total


# ---- by hand


def test_accuracy_counts_hits():
    assert zero_shot_accuracy([[0.7, 0.3], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], [0, 1, 1, 1]) == 0.75


def test_nce_of_a_map_is_zero_and_of_an_answer_that_never_changes_minus_the_entropy():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert negative_conditional_entropy(np.eye(4)[[3, 3, 0, 0, 1, 1]], labels) == 0.0
    assert negative_conditional_entropy(np.eye(4)[[2] * 6], labels) == pytest.approx(-math.log(3))


def test_nce_of_a_source_class_that_holds_two_labels():
    # z = 0 holds labels 0, 0, 1 and z = 1 holds 1: -(3/4) H(1/3)
    expected = 0.75 * (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    outputs = [[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]
    assert negative_conditional_entropy(outputs, [0, 0, 1, 1]) == pytest.approx(expected)


def test_leep_two_by_two():
    # outputs (.8, .2) for label 0 and (.4, .6) for label 1: P(0, z) = (.4, .1), P(1, z) = (.2, .3),
    # p(0 | z) = (2/3, 1/4), p(1 | z) = (1/3, 3/4); likelihoods .8 2/3 + .2 1/4 = 7/12, .4 1/3 + .6 3/4 = 7/12
    assert leep([[0.8, 0.2], [0.4, 0.6]], [0, 1]) == pytest.approx(math.log(7 / 12))


def test_h_score_of_one_feature_is_the_share_of_variance_between_classes():
    # class means -2 and 2 around 0, values -3, -1, 1, 3: between 4, total 5
    assert h_score([[-3.0], [-1.0], [1.0], [3.0]], [0, 0, 1, 1]) == pytest.approx(4 / 5)


def test_log_me_of_features_without_any_use_is_the_evidence_of_noise_alone():
    # indicators orthogonal to the feature: best is w = 0, noise variance |y|^2 / n = 1/2
    features = [[1.0], [-1.0], [1.0], [-1.0]]
    expected = -0.5 * (math.log(2 * math.pi * 0.5) + 1)
    assert log_me(features, [0, 0, 1, 1]) == pytest.approx(expected, rel=1e-6)


# ---- slow direct forms


def evidence_directly(features, target):
    """Largest log N(y; 0, F F' / alpha + I / beta) by a general optimiser from several starts."""

    def loss(logs):
        covariance = features @ features.T * np.exp(logs[0]) + np.eye(len(target)) * np.exp(logs[1])
        _, size = np.linalg.slogdet(2 * np.pi * covariance)
        return 0.5 * (size + target @ np.linalg.solve(covariance, target))

    starts = [(0.0, 0.0), (-4.0, -2.0), (3.0, -3.0), (-8.0, 0.0)]
    runs = [
        minimize(loss, start, method="L-BFGS-B", bounds=[(-14, 8), (-24, 4)], options={"ftol": 1e-13})
        for start in starts
    ]
    return -min(run.fun for run in runs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("samples", "width", "signal"), [(24, 3, 1.0), (18, 5, 0.3), (12, 15, 2.0)])
def test_log_me_is_the_largest_evidence(seed, samples, width, signal):
    _, features, labels = a_task(seed, samples, width, 3, signal)
    directly = np.mean([evidence_directly(features, (labels == c) * 1.0) for c in range(3)]) / samples
    assert log_me(features, labels) == pytest.approx(directly, abs=2e-5)


@pytest.mark.parametrize("seed", range(6))
def test_h_score_is_the_trace_of_the_definition(seed):
    _, features, labels = a_task(seed, 50, 5, 4)
    means = np.array([features[labels == label].mean(axis=0) for label in labels])
    total, between = np.cov(features.T, bias=True), np.cov(means.T, bias=True)
    assert h_score(features, labels) == pytest.approx(np.trace(np.linalg.inv(total) @ between))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width", [5, 60])
def test_shrunk_h_score_is_the_trace_of_the_definition(seed, width):
    _, features, labels = a_task(seed, 30, width, 3)
    centred = features - features.mean(axis=0)
    sample = centred.T @ centred / 30
    mean = np.trace(sample) / width
    errors = [((np.outer(row, row) - sample) ** 2).sum() for row in centred]
    shrinkage = min(1.0, sum(errors) / 30**2 / ((sample - mean * np.eye(width)) ** 2).sum())
    means = np.array([centred[labels == label].mean(axis=0) for label in labels])
    covariance = (1 - shrinkage) * sample + shrinkage * mean * np.eye(width)
    expected = (1 - shrinkage) * np.trace(np.linalg.inv(covariance) @ (means.T @ means / 30))
    assert 0.0 < shrinkage < 1.0
    assert shrunk_h_score(features, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("seed", "width"), [(1, 3), (2, 6), (3, 40)])
def test_leaving_one_out_in_closed_form_is_leaving_one_out(seed, width):
    """Ridge regressions on the others, one for each image and ridge. The ridge is a fixed number in each fit, in
    mean squared singular values of all centred features; the offset is not penalised."""
    _, features, labels = a_task(seed, 24, width, 3)
    squares = np.linalg.svd(features - features.mean(axis=0), compute_uv=False) ** 2
    unit = squares[squares > 1e-9].mean()
    best = (np.inf, 0.0)
    for ridge in transferability.RIDGES:
        predicted = []
        for out in range(24):
            rest = np.arange(24) != out
            centre, shares = features[rest].mean(axis=0), np.eye(3)[labels[rest]].mean(axis=0)
            table = features[rest] - centre
            gram = table.T @ table + ridge * unit * np.eye(width)
            weights = np.linalg.solve(gram, table.T @ (np.eye(3)[labels[rest]] - shares))
            predicted.append((features[out] - centre) @ weights + shares)
        error = ((np.eye(3)[labels] - predicted) ** 2).sum()
        best = min(best, (error, (np.argmax(predicted, axis=1) == labels).mean()))
    assert leave_one_out_accuracy(features, labels) == best[1]


# ---- laws


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None)
@given(seeds)
def test_the_order_of_samples_does_not_matter(name, seed):
    outputs, features, labels = a_task(seed)
    table, order = table_of(name, outputs, features), stream(seed, "order").permutation(len(labels))
    assert SCORES[name](table[order], labels[order]) == pytest.approx(SCORES[name](table, labels), abs=1e-8)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "zero_shot_accuracy"])
@settings(deadline=None)
@given(seeds)
def test_names_of_the_target_classes_do_not_matter(name, seed):
    outputs, features, labels = a_task(seed)
    table, names = table_of(name, outputs, features), stream(seed, "names").permutation(50)[:3]
    assert SCORES[name](table, names[labels]) == pytest.approx(SCORES[name](table, labels), abs=1e-8)


@pytest.mark.parametrize("score", [leep, negative_conditional_entropy])
@settings(deadline=None)
@given(seeds)
def test_names_of_the_source_classes_do_not_matter(score, seed):
    outputs, _, labels = a_task(seed)
    order = stream(seed, "source").permutation(outputs.shape[1])
    assert score(outputs[:, order], labels) == pytest.approx(score(outputs, labels))


@settings(deadline=None)
@given(seeds, st.sampled_from([0.1, 1.0, 30.0]))
def test_leep_and_nce_lie_between_minus_the_entropy_and_zero(seed, sharpness):
    outputs, _, labels = a_task(seed)
    sharp = outputs**sharpness + 1e-300
    sharp /= sharp.sum(axis=1, keepdims=True)
    for score in (leep, negative_conditional_entropy):
        assert -entropy(labels) - 1e-9 <= score(sharp, labels) <= 0.0


@settings(deadline=None)
@given(seeds)
def test_leep_is_not_below_the_conditional_entropy_of_its_own_joint(seed):
    """Jensen: the mixture's log is at least the mean of logs."""
    outputs, _, labels = a_task(seed)
    assert leep(outputs, labels) >= -soft_conditional_entropy(outputs, labels) - 1e-12


@settings(deadline=None)
@given(seeds)
def test_leep_of_certain_answers_is_nce(seed):
    outputs, _, labels = a_task(seed)
    certain = np.eye(outputs.shape[1])[outputs.argmax(axis=1)]
    assert leep(certain, labels) == pytest.approx(negative_conditional_entropy(outputs, labels))


@settings(deadline=None)
@given(seeds)
def test_h_score_does_not_change_under_invertible_maps(seed):
    _, features, labels = a_task(seed)
    rng = stream(seed, "map")
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    moved = features @ (rotation * rng.uniform(0.1, 10.0, 6)) + rng.normal(size=6)
    assert h_score(moved, labels) == pytest.approx(h_score(features, labels), rel=1e-6)
    assert 0.0 <= h_score(features, labels) <= 2.0


@pytest.mark.parametrize("score", [log_me, shrunk_h_score, leave_one_out_accuracy])
@settings(deadline=None)
@given(seeds, st.sampled_from([1e-6, 0.3, 1e6]))
def test_rotations_and_scales_do_not_matter(score, seed, scale):
    _, features, labels = a_task(seed)
    rotation, _ = np.linalg.qr(stream(seed, "map").normal(size=(6, 6)))
    assert score(features @ rotation * scale, labels) == pytest.approx(score(features, labels), abs=1e-6)


@settings(deadline=None)
@given(seeds)
def test_fewer_samples_than_features_leave_the_plain_h_score_blind_but_not_the_shrunk(seed):
    _, good, labels = a_task(seed, samples=20, width=64, signal=3.0)
    bad = stream(seed, "noise").normal(size=good.shape)
    assert h_score(good, labels) == pytest.approx(2.0)
    assert h_score(bad, labels) == pytest.approx(2.0)
    assert shrunk_h_score(good, labels) > shrunk_h_score(bad, labels)


@pytest.mark.parametrize("name", SCORES)
def test_a_model_that_knows_the_classes_beats_one_that_does_not(name):
    rng = stream(1, "two models")
    labels = np.arange(120) % 4
    knows = np.full((120, 4), 0.1) + 0.6 * np.eye(4)[np.where(rng.random(120) < 0.9, labels, 0)]
    guesses = rng.dirichlet(np.ones(4), 120)
    features = rng.normal(size=(120, 8))
    told = features + 2.0 * rng.normal(size=(4, 8))[labels]
    assert SCORES[name](table_of(name, knows, told), labels) > SCORES[name](
        table_of(name, guesses, features), labels
    )


def test_a_perfect_fit_has_a_finite_evidence():
    labels = np.arange(30) % 3
    perfect = np.eye(3)[labels]
    assert np.isfinite(log_me(perfect, labels))
    assert log_me(perfect, labels) > log_me(perfect + 0.1 * stream(1, "n").normal(size=(30, 3)), labels)
    assert h_score(perfect, labels) == pytest.approx(2.0)


def test_the_fixed_point_stops_long_before_its_bound(monkeypatch):
    _, features, labels = a_task(5, 60, 10)
    value = log_me(features, labels)
    monkeypatch.setattr(transferability, "MOST_STEPS", 60)
    assert log_me(features, labels) == value


# ---- what is refused

SAMPLE = {"labels": [0, 1], "outputs": [[0.5, 0.5], [0.1, 0.9]]}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("table", "labels", "complaint"),
    [
        ([[0.5, 0.5], [0.5, math.nan]], [0, 1], "not all finite"),
        ([[0.5, 0.5], [0.5, math.inf]], [0, 1], "not all finite"),
        (np.zeros((0, 2)), [], "no samples"),
        ([[0.5, 0.5]], [0, 1], "1 rows for 2 labels"),
        ([0.5, 0.5], [0, 1], "one row per sample"),
        (SAMPLE["outputs"], [0, -1], "out of range"),
        (SAMPLE["outputs"], [0.0, 1.0], "whole numbers"),
        (SAMPLE["outputs"], [[0], [1]], "whole numbers"),
    ],
)
def test_invalid_input(name, table, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        SCORES[name](table, np.array(labels, dtype=np.int64) if len(labels) == 0 else labels)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "zero_shot_accuracy"])
def test_invalid_one_class_only(name):
    with pytest.raises(ValueError, match="one class only"):
        SCORES[name](SAMPLE["outputs"], [3, 3])


@pytest.mark.parametrize("name", [name for name in SCORES if name not in OF_FEATURES])
@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.1, 1.1], [3.0, -2.0]])
def test_invalid_outputs_that_are_no_probabilities(name, row):
    with pytest.raises(ValueError, match="not probabilities"):
        SCORES[name]([row, [0.5, 0.5]], [0, 1])


def test_invalid_label_beyond_the_models_classes():
    with pytest.raises(ValueError, match="2 is out of range; the model has 2 classes"):
        zero_shot_accuracy(SAMPLE["outputs"], [0, 2])


@pytest.mark.parametrize("score", [h_score, shrunk_h_score, leave_one_out_accuracy])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_invalid_features_that_never_change(score, value):
    with pytest.raises(ValueError, match="the same for every sample"):
        score(np.full((5, 3), value), [0, 1, 0, 1, 1])


def test_invalid_features_all_zero():
    with pytest.raises(ValueError, match="all zero"):
        log_me(np.zeros((4, 2)), [0, 1, 0, 1])

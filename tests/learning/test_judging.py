"""Judging models: what is said of a candidate, in which order, and what a network shows of itself."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from platoon.learning.judging import (
    FEW,
    Candidate,
    Observation,
    judge_models,
    observe,
    rank_candidates,
    wilson_interval,
)
from platoon.learning.models import MODELS, FlatModel, initial_weights
from platoon.rng import stream

MNIST = (28, 28, 1), 10


def a_candidate(name, labels, skill, *, same_labels=True, features=True):
    """Right in a share ``skill`` of the images; its features tell the classes apart as well as that."""
    rng = stream(7, "candidate", name)
    answers = np.where(rng.random(len(labels)) < skill, labels, rng.integers(0, 4, len(labels)))
    outputs = np.full((len(labels), 4), 0.05) + 0.8 * np.eye(4)[answers]
    seen = rng.normal(size=(len(labels), 8)) + 3.0 * skill * np.eye(8)[labels]
    return Candidate(name=name, outputs=outputs, features=seen if features else None, same_labels=same_labels)


def names(judgements):
    return [judgement.name for judgement in judgements]


def test_models_of_the_buyers_labels_stand_by_accuracy_and_others_by_a_new_last_layer():
    labels = np.arange(120) % 4
    candidates = [
        a_candidate("poor", labels, 0.3),
        a_candidate("other poor", labels, 0.1, same_labels=False),
        a_candidate("good", labels, 0.95),
        a_candidate("other good", labels, 0.9, same_labels=False),
        a_candidate("other hidden", labels, 0.9, same_labels=False, features=False),
    ]
    judgements = judge_models(candidates, labels)
    assert names(judgements) == [candidate.name for candidate in candidates]
    ranking = rank_candidates(judgements)
    assert names(ranking.same_labels) == ["good", "poor"]
    assert names(ranking.other_labels) == ["other good", "other poor"]
    assert names(ranking.unranked) == ["other hidden"]
    assert "not ranked: other hidden" in " ".join(ranking.cautions)
    assert "no score compares them" in " ".join(ranking.cautions)
    assert "overlap" not in " ".join(ranking.cautions)  # .95 against .3 on 120 images is no chance


@pytest.mark.parametrize(("samples", "warned"), [(FEW - 2, True), (FEW + 2, False)])
@pytest.mark.parametrize("same_labels", [True, False])
def test_an_order_by_few_samples_says_so(samples, warned, same_labels):
    labels = np.arange(samples) % 2
    candidates = [a_candidate(name, labels, 0.5, same_labels=same_labels) for name in ("a", "b")]
    judgements = judge_models(candidates, labels)
    ranking = rank_candidates(judgements)
    assert any("hangs on few images" in caution for caution in ranking.cautions) == warned
    for judgement in judgements:
        assert any(f"below {FEW} LogME" in caution for caution in judgement.cautions) == warned


def test_equal_left_out_accuracies_are_settled_by_the_shrunk_h_score():
    labels = np.repeat([0, 1], 30)
    noise = stream(3, "noise").normal(size=(60, 4))
    near, far = (
        Candidate(
            name=name,
            outputs=np.full((60, 2), 0.5),
            features=noise + distance * np.eye(4)[labels],
            same_labels=False,
        )
        for name, distance in (("near", 12.0), ("far", 40.0))
    )
    judgements = judge_models([near, far], labels)
    assert {judgement.leave_one_out_accuracy for judgement in judgements} == {1.0}
    assert names(rank_candidates(judgements).other_labels) == ["far", "near"]


def test_equal_accuracies_are_settled_by_nce_then_leep():
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    right_half = [0, 0, 1, 1, 3, 3, 2, 2]  # wrong, but a map: NCE 0
    muddled = [0, 0, 1, 1, 0, 1, 0, 1]
    bold, timid = (np.full((8, 4), (1 - p) / 4) + p * np.eye(4)[right_half] for p in (0.9, 0.5))
    candidates = [
        Candidate(name=name, outputs=outputs, features=None, same_labels=True)
        for name, outputs in {"muddled": np.eye(4)[muddled], "timid": timid, "bold": bold}.items()
    ]
    judgements = judge_models(candidates, labels)
    assert {judgement.accuracy for judgement in judgements} == {0.5}
    ranking = rank_candidates(judgements)
    assert names(ranking.same_labels) == ["bold", "timid", "muddled"]
    assert any("bold before timid may be chance" in caution for caution in ranking.cautions)


@settings(deadline=None)
@given(st.permutations(range(5)))
def test_the_order_in_which_models_come_does_not_matter(order):
    labels = np.arange(60) % 4
    judgements = judge_models(
        [a_candidate(f"m{k}", labels, 0.2 * k, same_labels=k % 2 == 0) for k in range(5)], labels
    )
    assert rank_candidates([judgements[k] for k in order]) == rank_candidates(judgements)


def test_cautions_speak_of_what_is_missing():
    labels = np.arange(6) % 3
    wide = Candidate(
        name="wide",
        outputs=np.full((6, 3), 1 / 3),
        features=stream(1, "f").normal(size=(6, 64)),
        same_labels=False,
    )
    (judgement,) = judge_models([wide], labels)
    said = " ".join(judgement.cautions)
    for part in ("6 samples", "64 features", "6 samples of 3 classes", "another label space"):
        assert part in said
    assert (judgement.accuracy, judgement.interval) == (None, None)
    assert judgement.h_score == pytest.approx(2.0)


def test_nothing_is_ranked_of_nobody():
    ranking = rank_candidates(judge_models([], np.array([0, 1])))
    assert ranking.same_labels == ranking.other_labels == ranking.unranked == ranking.cautions == ()


def test_invalid_candidates():
    labels = np.arange(8) % 4
    good = a_candidate("a", labels, 0.5)
    with pytest.raises(ValueError, match="two share a name"):
        judge_models([good, good], labels)
    with pytest.raises(ValueError, match="a: outputs: not all finite"):
        judge_models([replace(good, outputs=np.full((8, 4), np.nan))], labels)
    with pytest.raises(ValueError, match="different numbers of samples"):
        rank_candidates(
            judge_models([good], labels) + judge_models([a_candidate("b", labels[:4], 0.5)], labels[:4])
        )


# ---- Wilson


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_wilsons_interval_is_scipys(samples, data):
    right = data.draw(st.integers(0, samples))
    theirs = binomtest(right, samples).proportion_ci(method="wilson")
    assert wilson_interval(right, samples) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("right", "samples"), [(0, 0), (-1, 5), (6, 5)])
def test_invalid_counts(right, samples):
    with pytest.raises(ValueError, match="samples right"):
        wilson_interval(right, samples)


# ---- a network on images


@pytest.mark.parametrize("name", MODELS)
def test_what_a_network_shows_is_its_softmax_and_its_last_layers_input(name):
    model, weights = FlatModel(name, *MNIST), initial_weights(name, *MNIST, seed=2)
    images = stream(1, "images").integers(0, 256, (7, 28, 28, 1)).astype(np.uint8)
    seen = observe(model, weights, images)
    logits = model.logits(weights[None], images)[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert seen.probabilities == pytest.approx(expected, abs=1e-6)
    assert seen.features == pytest.approx(model.features(weights, images), abs=1e-6)


def test_a_sellers_weights_do_not_stay(monkeypatch):
    monkeypatch.setattr("platoon.learning.judging.TOGETHER", 4)
    model, weights = FlatModel("mlp", *MNIST), initial_weights("mlp", *MNIST, seed=2)
    images = stream(1, "images").integers(0, 256, (9, 28, 28, 1)).astype(np.uint8)
    seen = observe(model, weights, images)
    assert len(seen.probabilities) == len(seen.features) == 9
    assert not model.weights.any()
    assert [field.name for field in fields(Observation)] == ["probabilities", "features"]


def test_one_thread_while_it_runs_and_as_many_as_before_after(monkeypatch):
    model, weights = FlatModel("mlp", *MNIST), initial_weights("mlp", *MNIST, seed=2)
    during = []
    model.module[-1].register_forward_pre_hook(lambda *_: during.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        observe(model, weights, np.zeros((2, 28, 28, 1), dtype=np.uint8))
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(1)
    assert (during, after) == ([1], 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_invalid_weights(value):
    model, weights = FlatModel("mlp", *MNIST), initial_weights("mlp", *MNIST, seed=2)
    images = np.zeros((2, 28, 28, 1), dtype=np.uint8)
    weights[3] = value
    with pytest.raises(ValueError, match="finite numbers"):
        observe(model, weights, images)
    with pytest.raises(ValueError, match="finite numbers"):
        observe(model, weights[:-1], images)
    with pytest.raises(ValueError, match="overflow"):
        observe(model, np.full(model.size, 3e38, dtype=np.float32), images + 255)
    with pytest.raises(ValueError, match="images: none"):
        observe(model, initial_weights("mlp", *MNIST, seed=2), images[:0])
    assert not model.weights.any()

"""What sellers' models are worth to a buyer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.learning.sellers import value_sellers
from platoon.learning.shapley import MOST_EXACT
from platoon.rng import stream


def a_market(sellers, seed, samples=30, classes=4):
    """Outputs (K, n, C) of models from skilled to harmful, and labels (n,)."""
    rng = stream(seed, "market", sellers)
    labels = rng.integers(0, classes, samples)
    skills = rng.uniform(-1.0, 2.0, (sellers, 1, 1))
    logits = rng.normal(size=(sellers, samples, classes)) + skills * np.eye(classes)[labels]
    outputs = np.exp(logits)
    return outputs / outputs.sum(axis=2, keepdims=True), labels


def value(outputs, labels, seed=1):
    return value_sellers(outputs, labels, stream(seed, "orders"), pairs=20)


@settings(deadline=None)
@given(st.one_of(st.integers(1, 7), st.just(MOST_EXACT + 2)), st.integers(0, 1000))
def test_values_add_up_to_what_all_reach_less_what_nobody_does(sellers, seed):
    outputs, labels = a_market(sellers, seed)
    found = value(outputs, labels)
    assert found.values.sum() == pytest.approx(found.together - found.nobody, abs=1e-9)
    assert found.together == (outputs.mean(axis=0).argmax(axis=1) == labels).mean()
    assert found.alone.tolist() == [(table.argmax(axis=1) == labels).mean() for table in outputs]
    assert found.nobody == np.bincount(labels).max() / len(labels)


def test_exact_values_are_those_of_shapiq():
    shapiq = pytest.importorskip("shapiq")
    outputs, labels = a_market(6, 3)

    def game(coalitions):
        worth = []
        for members in np.asarray(coalitions, dtype=bool):
            if members.any():
                worth.append((outputs[members].mean(axis=0).argmax(axis=1) == labels).mean())
            else:
                worth.append(np.bincount(labels).max() / len(labels))
        return np.array(worth)

    theirs = shapiq.ExactComputer(n_players=6, game=game)("SV", order=1)
    assert value(outputs, labels).values.tolist() == pytest.approx([theirs[(i,)] for i in range(6)], abs=1e-9)


@settings(deadline=None)
@given(st.sampled_from([4, MOST_EXACT + 1]), st.integers(0, 100))
def test_a_sellers_place_does_not_matter(sellers, seed):
    outputs, labels = a_market(sellers, seed)
    order = stream(seed, "places").permutation(sellers)
    assert value(outputs[order], labels).values == pytest.approx(value(outputs, labels).values[order])


@pytest.mark.parametrize("sellers", [5, MOST_EXACT + 2])
def test_models_with_the_same_answers_are_worth_the_same(sellers):
    outputs, labels = a_market(sellers, 4)
    outputs[1:4] = outputs[0]
    values = value(outputs, labels).values
    assert values[:4] == pytest.approx([values[0]] * 4, abs=1e-12)


def test_what_helps_is_worth_more_than_what_harms():
    labels = np.arange(40) % 4
    right, wrong = (0.1 + 0.6 * np.eye(4)[(labels + shift) % 4] for shift in (0, 1))
    values = value(np.stack([right, right * 0.99 + 0.0025, wrong]), labels).values
    assert values[0] > 0.0 > values[2]


def test_naming_the_commonest_class_of_a_lopsided_set_is_worth_nothing():
    labels = np.array([0] * 18 + [1, 2])
    always = np.tile([0.8, 0.1, 0.1], (20, 1))
    assert value(always[None], labels).values.tolist() == [0.0]


@pytest.mark.parametrize(
    ("outputs", "labels", "complaint"),
    [
        (np.zeros((0, 2, 2)), [0, 1], "sellers, samples, classes"),
        (np.full((2, 2), 0.5), [0, 1], "sellers, samples, classes"),
        (np.full((1, 2, 2), 0.5), [0, 2], "out of range"),
        (np.full((1, 2, 2), 0.5), [0, -2], "out of range"),
        (np.full((1, 3, 2), 0.5), [0, 1], "3 rows for 2 labels"),
        (np.full((1, 2, 2), 0.7), [0, 1], "not probabilities"),
        (np.full((1, 2, 2), np.nan), [0, 1], "not all finite"),
    ],
)
def test_invalid_market(outputs, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        value(outputs, np.array(labels))

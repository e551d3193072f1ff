"""Counting what a model gets right."""

import math

import numpy as np
import pytest

from platoon.learning.evaluation import CHUNK, compute_accuracy, compute_recall, count_correct
from platoon.learning.models import FlatModel, initial_weights


def test_counts_add_up_over_slices_at_multiples_of_the_chunk():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (1300, 8, 8, 1)).astype(np.uint8), rng.integers(0, 3, 1300)
    model, weights = FlatModel("mlp", (8, 8, 1), 3), initial_weights("mlp", (8, 8, 1), 3, seed=1)
    whole = count_correct(model, weights, images, labels)
    slices = [slice(start, start + CHUNK) for start in range(0, 1300, CHUNK)]
    assert np.array_equal(sum(count_correct(model, weights, images[s], labels[s]) for s in slices), whole)
    predicted = model.logits(weights[None], images)[0].argmax(axis=1)
    assert whole.tolist() == [int(((predicted == label) & (labels == label)).sum()) for label in range(3)]


def test_accuracy_and_recall_from_counts():
    labels, correct = np.array([0, 0, 0, 0, 2]), np.array([1, 0, 1])
    assert compute_accuracy(correct, labels) == pytest.approx(0.4)
    recall = compute_recall(correct, labels)
    assert recall[[0, 2]].tolist() == [0.25, 1.0]
    assert math.isnan(recall[1])
    assert math.isnan(compute_accuracy(np.zeros(3, np.int64), labels[:0]))

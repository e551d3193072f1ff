"""Labels read from updates: of real trainings, with the loss over all classes and over a vehicle's own."""

import numpy as np
import pytest

from platoon.learning.label_mix import estimate_label_mix
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.similarity import compare_effects, compute_cosines
from platoon.learning.training import LocalTrainer, TrainingSettings

SHAPE, CLASSES = (8, 8, 1), 6


def make_data(labels, seed):
    """Images whose brightness lies where the label says."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (len(labels), *SHAPE))
    for row, label in enumerate(labels):
        images[row, label, :, 0] += 150
    return images.astype(np.uint8)


@pytest.mark.parametrize("loss", ["full", "own_classes"])
def test_the_labels_that_are_there_are_found(loss):
    model = FlatModel("mlp", SHAPE, CLASSES)
    settings = TrainingSettings(epochs=2, batch=16, learning_rate=0.05, momentum=0.9, local_loss=loss)
    start = initial_weights("mlp", SHAPE, CLASSES, 1)
    updates, truth = [], []
    for vehicle, (first, second) in enumerate([(0, 1), (2, 5), (3, 4)]):
        labels = np.array([first] * 30 + [second] * 30)
        rng = np.random.default_rng(vehicle)
        updates.append(LocalTrainer(model, settings).train(start, make_data(labels, vehicle), labels, rng))
        truth.append({first, second})
    mixes = estimate_label_mix(np.stack(updates)[:, model.last_layer], CLASSES)
    for mix, there in zip(mixes, truth, strict=True):
        assert mix.sum() == pytest.approx(1.0)
        assert mix[list(there)].sum() > 0.9
        assert mix[list(there)].min() > 0.2
    # and what they do on probes tells these three apart too
    effects = compare_effects(model, start, np.stack(updates), make_data(np.arange(CLASSES), 9))
    assert effects.shape == (3, 3)
    np.testing.assert_allclose(np.diag(effects), 1.0)
    assert np.triu(effects, 1).max() < 0.9


def test_an_update_of_zeros_says_nothing():
    mixes = estimate_label_mix(np.zeros((2, 4 * 3 + 4)), 4)
    assert np.isnan(mixes).all()
    assert compute_cosines(np.zeros((2, 5))).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_cosines_do_not_depend_on_length_and_are_mutual():
    rng = np.random.default_rng(1)
    updates = rng.normal(size=(4, 50))
    cosines = compute_cosines(updates)
    np.testing.assert_allclose(compute_cosines(updates * [[1.0], [3.0], [0.1], [7.0]]), cosines, atol=1e-12)
    np.testing.assert_allclose(cosines, cosines.T)
    assert (np.abs(cosines) <= 1.0).all()

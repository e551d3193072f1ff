"""Networks as flat vectors."""

import numpy as np
import pytest
import torch

from platoon.errors import UserError
from platoon.learning.models import MODELS, FlatModel, initial_weights, to_input, to_pixels

MNIST, CIFAR, SIGNS = ((28, 28, 1), 10), ((32, 32, 3), 10), ((32, 32, 3), 43)


@pytest.mark.parametrize(
    ("name", "data", "size"),
    [("cnn", CIFAR, 297_908), ("cnn", MNIST, 196_308), ("cnn", SIGNS, 309_491), ("small_cnn", MNIST, 56_970)],
)
def test_number_of_parameters(name, data, size):
    assert FlatModel(name, *data).size == len(initial_weights(name, *data, seed=1)) == size


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("data", [MNIST, CIFAR, SIGNS])
def test_parameters_and_gradients_are_views_of_the_flat_buffers(name, data):
    model = FlatModel(name, *data)
    model.load(np.arange(model.size, dtype=np.float32))
    model.gradient.copy_(torch.arange(model.size))
    for kind in (lambda p: p, lambda p: p.grad):
        read = torch.cat([kind(p).detach().ravel() for p in model.module.parameters()])
        assert torch.equal(read, torch.arange(model.size, dtype=torch.float32))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_last_layer_on_the_features(name):
    """The features and the slice of the last layer are what the scores take them for."""
    rng = np.random.default_rng(0)
    model = FlatModel(name, *SIGNS)
    images = rng.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    weights = initial_weights(name, *SIGNS, seed=3)
    last = weights[model.last_layer]
    matrix, offsets = last[:-43].reshape(43, -1), last[-43:]
    by_hand = model.features(weights, images) @ matrix.T + offsets
    assert np.allclose(model.logits(weights[None], images)[0], by_hand, atol=1e-5)


def test_each_candidate_gets_its_own_logits():
    candidates = np.stack([initial_weights("mlp", *MNIST, seed=seed) for seed in (1, 2, 3)])
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)
    model = FlatModel("mlp", *MNIST)
    together = model.logits(candidates, images)
    for row, weights in enumerate(candidates):
        assert np.array_equal(together[row], model.logits(weights[None], images)[0])


def test_loss_gradient_is_the_slope_of_the_loss():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 28, 28, 1)).astype(np.uint8), rng.integers(0, 10, 8)
    weights = initial_weights("mlp", *MNIST, seed=1)
    model = FlatModel("mlp", *MNIST)

    def loss(candidate):
        logits = model.logits(candidate[None], images)[0]
        return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), labels]).mean()

    gradient = model.loss_gradient(weights, images, np.eye(10)[labels])
    direction = gradient / np.linalg.norm(gradient)
    slope = (loss(weights + 1e-3 * direction) - loss(weights - 1e-3 * direction)) / 2e-3
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=5e-3)


def test_pixels_keep_their_place_and_run_from_minus_one_to_one():
    images = np.zeros((1, 2, 3, 3), dtype=np.uint8)
    images[0, 1, 2, 0] = 255
    planes = to_input(to_pixels(images))
    assert planes.shape == (1, 3, 2, 3)
    assert planes[0, 0, 1, 2] == 1.0
    assert planes.sum() == 1.0 - 17.0


def test_initial_weights_depend_on_the_seed_alone():
    one = initial_weights("small_cnn", *MNIST, seed=1)
    assert np.array_equal(one, initial_weights("small_cnn", *MNIST, seed=1))
    assert not np.array_equal(one, initial_weights("small_cnn", *MNIST, seed=2))


def test_invalid_name():
    with pytest.raises(UserError, match="did you mean 'small_cnn'"):
        FlatModel("smal_cnn", *MNIST)

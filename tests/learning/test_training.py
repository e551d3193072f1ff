"""Local training against a plain PyTorch loop, and its edges."""

import numpy as np
import pytest
import torch
from torch import nn

from platoon.learning.models import MODELS, FlatModel, initial_weights, to_input, to_pixels
from platoon.learning.training import LocalTrainer, TrainingSettings

SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    labels = rng.choice([2, 7], 50)
    images = (rng.integers(0, 60, (50, *SHAPE)) + 25 * labels[:, None, None, None]).astype(np.uint8)
    return images, labels


def settings(**changes):
    defaults = {"epochs": 2, "batch": 16, "learning_rate": 0.05, "momentum": 0.9}
    return TrainingSettings(**(defaults | changes))


def by_plain_loop(name, weights, images, labels, *, rng, chosen):
    """The same work as anybody would write it: torch.optim and nn.utils."""
    network = MODELS[name](SHAPE, 10)
    nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), network.parameters())
    optimiser = torch.optim.SGD(network.parameters(), chosen.learning_rate, chosen.momentum)
    inputs, targets = to_input(to_pixels(images)), torch.from_numpy(labels)
    for _ in range(chosen.epochs):
        order = torch.from_numpy(rng.permutation(len(labels)))
        for batch in order.split(chosen.batch):
            logits = network(inputs[batch])
            if chosen.local_loss == "own_classes":
                absent = torch.ones(10, dtype=torch.bool)
                absent[targets.unique()] = False
                logits = logits.masked_fill(absent, -torch.inf)
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(logits, targets[batch])
            there = nn.utils.parameters_to_vector(network.parameters())
            loss = loss + 0.5 * chosen.proximal * ((there - torch.from_numpy(weights)) ** 2).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), chosen.clip_norm)
            optimiser.step()
    return nn.utils.parameters_to_vector(network.parameters()).detach().numpy() - weights


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"local_loss": "own_classes"}, {"clip_norm": 0.05, "momentum": 0.0}, {"proximal": 2.0}],
)
def test_training_equals_a_plain_loop(name, changes, samples):
    weights, chosen = initial_weights(name, SHAPE, 10, seed=1), settings(**changes)
    trainer = LocalTrainer(FlatModel(name, SHAPE, 10), chosen)
    update = trainer.train(weights, *samples, np.random.default_rng(5))
    plain = by_plain_loop(name, weights, *samples, rng=np.random.default_rng(5), chosen=chosen)
    assert np.linalg.norm(update) > 0.001
    assert np.linalg.norm(update - plain) < 1e-4 * np.linalg.norm(plain)


def test_a_resident_model_forgets_the_vehicle_before(samples):
    weights = initial_weights("small_cnn", SHAPE, 10, seed=1)
    fresh = LocalTrainer(FlatModel("small_cnn", SHAPE, 10), settings())
    used = LocalTrainer(FlatModel("small_cnn", SHAPE, 10), settings())
    used.train(initial_weights("small_cnn", SHAPE, 10, seed=9), *samples, np.random.default_rng(1))
    first = fresh.train(weights, *samples, np.random.default_rng(5))
    assert np.array_equal(first, used.train(weights, *samples, np.random.default_rng(5)))


def test_own_classes_leave_the_rows_of_other_classes_alone(samples):
    model = FlatModel("mlp", SHAPE, 10)
    weights = initial_weights("mlp", SHAPE, 10, seed=1)
    update = LocalTrainer(model, settings(local_loss="own_classes")).train(
        weights, *samples, np.random.default_rng(0)
    )
    rows = update[model.last_layer][:-10].reshape(10, -1)
    assert np.flatnonzero(np.abs(rows).sum(axis=1)).tolist() == [2, 7]


def test_the_model_that_came_in_is_left_as_it_is(samples):
    weights = initial_weights("mlp", SHAPE, 10, seed=1)
    before = weights.copy()
    LocalTrainer(FlatModel("mlp", SHAPE, 10), settings()).train(weights, *samples, np.random.default_rng(0))
    assert np.array_equal(weights, before)


def test_invalid_no_samples():
    trainer = LocalTrainer(FlatModel("mlp", SHAPE, 10), settings())
    nothing = np.zeros((0, *SHAPE), np.uint8), np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="without samples"):
        trainer.train(initial_weights("mlp", SHAPE, 10, seed=1), *nothing, np.random.default_rng(0))


def test_a_proximal_term_keeps_a_vehicle_near_the_model_that_came_in(samples):
    weights = initial_weights("mlp", SHAPE, 10, seed=1)
    lengths = [
        np.linalg.norm(
            LocalTrainer(FlatModel("mlp", SHAPE, 10), settings(proximal=pull)).train(
                weights, *samples, np.random.default_rng(5)
            )
        )
        for pull in (0.0, 0.5, 5.0)
    ]
    assert lengths[2] < 0.8 * lengths[1] < 0.8 * lengths[0]

"""What scores ask of networks: all candidates at once as one by one, and both as what the slopes should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.learning.models import MODELS, FlatModel, initial_weights
from platoon.rng import stream

CLASSES = 5
SHAPES = [(20, 20, 1), (18, 20, 3)]


def draw(name, shape, count, images, seed=0):
    """Candidates (count, D) and as many sets of images."""
    candidates = np.stack([initial_weights(name, shape, CLASSES, seed=seed + k) for k in range(count)])
    pixels = stream(seed, "images").integers(0, 256, (count, images, *shape)).astype(np.uint8)
    return 3.0 * candidates, pixels


def one_by_one(shape):
    """The mlp without its fast way."""
    model = FlatModel("mlp", shape, CLASSES)
    assert model.dense is not None
    model.dense = None
    return model


def draw_errors(count, images, seed):
    """(count, images, classes), of which many images have none and one row has none at all."""
    rng = stream(seed, "errors")
    errors = rng.standard_normal((count, images, CLASSES)) * (rng.random((count, images, 1)) < 0.5)
    errors[0] = 0.0
    return errors


@settings(deadline=None, max_examples=20)
@given(
    shape=st.sampled_from(SHAPES),
    count=st.integers(1, 4),
    images=st.integers(1, 6),
    kinds=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_all_at_once_is_as_one_by_one(shape, count, images, kinds, seed):
    fast, plain = FlatModel("mlp", shape, CLASSES), one_by_one(shape)
    candidates, sets = draw("mlp", shape, count, images, seed)
    errors = draw_errors(count, images, seed)
    wanted = stream(seed, "wanted").integers(0, CLASSES, (count, kinds))
    for ask in (
        lambda model: model.logits(candidates, sets[0]),
        lambda model: model.logits_each(candidates, sets),
        lambda model: model.pull_back(candidates[0], sets[0], errors),
        lambda model: model.input_gradients(candidates, sets[0], wanted),
    ):
        one, other = ask(fast), ask(plain)
        assert one.shape == other.shape
        assert np.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_convolutions_are_asked_one_by_one():
    assert FlatModel("small_cnn", (28, 28, 1), CLASSES).dense is None


@pytest.mark.parametrize("name", MODELS)
def test_each_model_sees_its_own_images(name):
    shape = (28, 28, 1)
    candidates, sets = draw(name, shape, 3, 4)
    model = FlatModel(name, shape, CLASSES)
    together = model.logits_each(candidates, sets)
    for row, weights in enumerate(candidates):
        assert np.allclose(together[row], model.logits(weights[None], sets[row])[0], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_errors_of_a_loss_pull_back_to_its_gradient(name):
    shape = (28, 28, 1)
    (weights,), (images,) = draw(name, shape, 1, 6)
    model = FlatModel(name, shape, CLASSES)
    truth = np.eye(CLASSES)[[0, 1, 2, 3, 4, 0]]
    logits = model.logits(weights[None], images)[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    errors = np.stack([(shares - truth) / 6, np.zeros_like(truth), shares - truth])
    gradients = model.pull_back(weights, images, errors)
    wanted = model.loss_gradient(weights, images, truth)
    assert gradients[0] == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    assert not gradients[1].any()
    assert gradients[2] == pytest.approx(6 * wanted, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_input_gradients_are_slopes_of_the_log_probability(name):
    """A pixel turned a step brighter: the log-probability rises by the slope times the step, 2 / 255."""
    shape = (28, 28, 1)
    candidates, (images, _) = draw(name, shape, 2, 3)
    model = FlatModel(name, shape, CLASSES)
    wanted = np.array([[1, 4], [0, 1]])
    images = np.clip(images, 4, 251)
    slopes = model.input_gradients(candidates, images, wanted)
    row, column = np.unravel_index(np.abs(slopes[1, 0, :, :, 0]).argmax(), (28, 28))
    lower, upper = images.copy(), images.copy()
    lower[:, row, column] -= 2
    upper[:, row, column] += 2

    def log_probability(pixels):
        logits = model.logits(candidates[1:], pixels)[0]
        return (logits[:, 0] - np.log(np.exp(logits).sum(axis=1))).sum()

    rise = (log_probability(upper) - log_probability(lower)) / (4 * 2 / 255)
    assert rise == pytest.approx(slopes[1, 0, row, column, 0], rel=0.1, abs=1e-3)

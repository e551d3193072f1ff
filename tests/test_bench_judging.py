"""The benchmark of judging: what it calls worth, agreement and loss; and its table in the documentation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import judging
from platoon.drivers.datasets import ImageData
from platoon.learning.models import FlatModel, initial_weights
from platoon.rng import stream


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As the benchmark: two threads on a busy machine spin."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_images(count, shape, classes, seed=0):
    rng = stream(seed, "images", count)
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8), np.arange(count) % classes


def test_agreement_is_kendalls_and_zero_for_a_score_that_tells_nothing():
    worth = np.array([0.1, 0.2, 0.3, 0.4])
    assert judging.tau(worth**2, worth) == pytest.approx(1.0)
    assert judging.tau(-worth, worth) == pytest.approx(-1.0)
    assert judging.tau(np.array([1.0, 1.0 + 1e-14, 1.0, 1.0]), worth) == 0.0


def test_the_loss_is_what_the_first_model_lacks_of_the_best():
    worth = np.array([0.5, 0.9, 0.7])
    found = [{n: (worth, {"leep": np.array([0.0, -1.0, 1.0])}) for n in judging.LABELLED}] * 2
    rows = {row["name"]: row["value"] for row in judging.summarise("digits", found)}
    assert rows["digits_n20_leep_loss_points"] == pytest.approx(20.0)
    assert rows["digits_n20_by_chance_loss_points"] == pytest.approx(20.0)
    assert rows["digits_n50_best_accuracy"] == pytest.approx(0.9)
    assert rows["digits_n400_leep_tau"] == pytest.approx(-1 / 3)


def test_a_fitted_last_layer_tells_apart_what_can_be_told():
    labels = np.arange(60) % 3
    features = stream(1, "f").normal(size=(60, 8)) + 6.0 * np.eye(8)[labels]
    head = judging.fit_head(features, labels, 3)
    matrix, offsets = head[:-3].reshape(3, 8), head[-3:]
    assert ((features @ matrix.T + offsets).argmax(axis=1) == labels).mean() > 0.95


@pytest.mark.parametrize(("same_labels", "strategies"), [(True, 4), (False, 2)])
def test_a_model_is_worth_what_each_strategy_reaches_and_stays_as_it_is(same_labels, strategies):
    shape, source_classes = (28, 28, 1), 10 if same_labels else 6
    images, labels = some_images(20, shape, 10)
    target = judging.Target(
        images=images,
        labels=labels,
        test_images=images,
        test_labels=labels,
        classes=10,
        same_labels=same_labels,
    )
    model = FlatModel("small_cnn", shape, source_classes)
    weights = initial_weights("small_cnn", shape, source_classes, seed=1)
    before = weights.copy()
    reached = judging.accuracies(model, weights, target, images, labels)
    assert len(reached) == strategies
    assert all(0.0 <= one <= 1.0 for one in reached)
    assert max(reached) > 0.5  # tested on the very images: training did something
    assert np.array_equal(weights, before)


def test_buyers_and_sellers_of_signs_share_no_track_and_digits_no_image(monkeypatch):
    monkeypatch.setattr(judging, "SOURCE_IMAGES", 60)
    tracks = np.arange(43 * 30) // 5
    labels = np.arange(43 * 30) // 30
    images = np.zeros((len(labels), 32, 32, 3), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = (
        tracks % 256,
        tracks // 256,
    )  # the picture says which track it is of
    signs = ImageData(
        name="signs",
        classes=43,
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        train_groups=tracks,
    )
    digits_images, digits_labels = some_images(200, (28, 28, 1), 10)
    digits = ImageData(
        name="digits",
        classes=10,
        train_images=digits_images,
        train_labels=digits_labels,
        test_images=digits_images,
        test_labels=digits_labels,
        train_groups=np.arange(200),
    )
    sources, target = judging.make_signs(digits, signs, seed=1)

    def tracks_of(pictures):
        return set((pictures[:, 0, 0, 0] + 256 * pictures[:, 0, 0, 1].astype(int)).tolist())

    for source in sources:
        assert source.labels.min() >= 0
        assert source.labels.max() < source.classes
        if source.name not in ("digits", "the 33 others, dark", "the 33 others, inverted"):
            assert not tracks_of(source.images) & tracks_of(target.images)
    assert len(sources) == 10
    assert set(target.labels.tolist()) == set(range(10))


def test_the_documents_table_is_the_benchmarks():
    root = Path(__file__).parents[1]
    rows = json.loads((root / "bench" / "out" / "judging.json").read_text(encoding="utf-8"))
    assert judging.make_table(rows) in (root / "docs" / "market" / "judging.md").read_text(encoding="utf-8")

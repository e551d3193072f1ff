"""The default score: traces, triggers, and what an update does to the classes that it moved."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.learning.laws import CLASSES, LinearModel, make_cohort
from platoon.learning.scores import Cohort, forensic
from platoon.learning.scores.forensic import NEUTRAL, OF_A_COPY, find_moved, measure, search
from platoon.learning.scores.traces import find_traces
from platoon.learning.scores.triggers import find_trigger
from platoon.rng import stream


def trained(count, size=2000, seed=0):
    """Updates that look trained: long tails, both signs, unlike each other."""
    rng = stream(seed, "trained", count)
    return (rng.standard_normal((count, size)) ** 3 * 0.01).astype(np.float32)


def test_updates_that_look_trained_carry_no_trace():
    traces = find_traces(trained(8), trained(1, seed=9)[0])
    assert not traces.crafted.any()
    assert not traces.copied.any()


@pytest.mark.parametrize(
    ("name", "false"),
    [
        ("zeros", lambda u, step: np.zeros_like(u)),
        ("uniform noise", lambda u, step: stream(1, "noise").uniform(-1, 1, len(u)).astype(np.float32)),
        ("Gaussian noise", lambda u, step: u + 10 * np.linalg.norm(u) * _unit(len(u))),
        ("all entries one way", lambda u, step: u - 3 * np.abs(u) - np.float32(np.abs(u).mean())),
        ("the last step again", lambda u, step: 0.5 * step),
        ("ten times as long", lambda u, step: 10 * u),
    ],
)
def test_what_no_training_leaves_is_crafted(name, false):
    updates, step = trained(8), trained(1, seed=9)[0]
    updates[3] = false(updates[3], step)
    assert np.flatnonzero(find_traces(updates, step).crafted).tolist() == [3], name


def _unit(size):
    noise = stream(2, "noise").standard_normal(size)
    return (noise / np.linalg.norm(noise)).astype(np.float32)


def test_copies_are_found_with_the_one_they_copy_and_count_once_for_the_length():
    updates = trained(6)
    updates[2:] = updates[2] * np.array([1.0, 1.0, 1.0, 1.01])[:, None].astype(np.float32)
    traces = find_traces(updates)
    assert traces.copied.tolist() == [False, False, True, True, True, True]
    lengths = np.linalg.norm(updates.astype(np.float64), axis=1)
    assert traces.reference == pytest.approx(np.median(lengths[:3]))


def test_the_length_reference_is_not_moved_by_crafted_updates():
    updates = trained(7)
    before = find_traces(updates[:4]).reference
    updates[4:] = 50 * np.stack([_unit(2000)] * 3)
    assert find_traces(updates).reference == pytest.approx(before)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_traces_do_not_depend_on_the_scale_of_a_round(scale, seed):
    updates, step = trained(5, size=300, seed=seed), trained(1, size=300, seed=seed + 100)[0]
    one, other = find_traces(updates, step), find_traces((updates * scale).astype(np.float32), step)
    for name in ("lengths", "peakedness", "one_sided", "nearest", "replayed"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-5)


def test_a_copy_says_nearly_nothing_and_is_not_valid():
    """Nobody can tell the copied from the copier: neither is merged, and neither loses by it."""
    cohort = make_cohort(6)
    updates = cohort.updates.copy()
    updates[1] = updates[4]
    values = forensic(replace(cohort, updates=updates, step=None)).values
    assert (values[[1, 4]] <= OF_A_COPY).all()
    assert OF_A_COPY < NEUTRAL


def test_moved_classes_are_read_off_the_last_layer():
    cohort = make_cohort(2)
    updates = np.zeros_like(cohort.updates)
    updates[0, -CLASSES + 1] = 1.0  # the offset of class 1
    updates[0, 9 * 2] = 0.5  # a weight of class 2
    moved = find_moved(replace(cohort, updates=updates))
    assert moved.tolist() == [[False, True, True, False], [True] * CLASSES]


def test_an_update_of_classes_without_probes_is_neutral():
    cohort = make_cohort(3)
    updates = np.zeros_like(cohort.updates)
    updates[:, 9 * 3 : 9 * 4] = trained(3, size=9, seed=5) * np.array([1.0, 2.0, 3.0])[:, None]
    known = cohort.probe_labels != 3
    blind = replace(
        cohort,
        updates=updates.astype(np.float32),
        probe_images=cohort.probe_images[known],
        probe_labels=cohort.probe_labels[known],
    )
    traces = find_traces(blind.updates, blind.step)
    free = ~traces.crafted & ~traces.copied
    assert free.any()
    assert forensic(blind).values[free] == pytest.approx(NEUTRAL)


def test_an_update_down_the_loss_of_its_classes_is_told_from_one_up():
    cohort = make_cohort(2)
    down = -cohort.model.loss_gradient(
        cohort.weights, cohort.probe_images, np.eye(CLASSES)[cohort.probe_labels]
    )
    cohort = replace(cohort, updates=np.stack([0.1 * down, -0.1 * down]), step=None)
    measures, _ = measure(cohort, find_traces(cohort.updates), find_moved(cohort))
    descent, gain = measures[:, 1], measures[:, 2]
    assert descent[0] > 0.9
    assert descent[1] < -0.9
    assert gain[0] > 0.0 > gain[1]


class PatchModel(LinearModel):
    """Eight by eight pixels, so that a patch of one pixel can be told from the image."""

    def __init__(self, classes=2):
        self.classes = classes
        self.last_layer = slice(0, classes * 65)

    def logits(self, candidates, images):
        wide, count = candidates.astype(np.float64), self.classes
        matrices, offsets = wide[:, :-count].reshape(len(wide), count, -1), wide[:, -count:]
        pixels = images.reshape(len(images), -1) / 127.5 - 1.0
        return np.einsum("mcf,nf->mnc", matrices, pixels) + offsets[:, None]

    def input_gradients(self, weights, images, wanted):
        matrix = weights[: -self.classes].astype(np.float64).reshape(self.classes, -1)
        logits = self.logits(weights[None], images)[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        rows = matrix[wanted] * len(images) - (shares @ matrix).sum(axis=0)
        return rows.reshape(len(wanted), *images.shape[1:])


@pytest.mark.parametrize("colour", [0, 255])
def test_a_planted_trigger_is_found_where_it_is_and_an_honest_update_has_none(colour):
    """A weight on one pixel that is always grey: stamping it black or white gives the image away."""
    rng = stream(0, "patch")
    images = rng.integers(100, 155, (12, 8, 8, 1)).astype(np.uint8)
    labels, weights = np.repeat([0, 1], 6), np.zeros(130, dtype=np.float32)
    planted, honest = np.zeros_like(weights), (rng.standard_normal(130) * 1e-3).astype(np.float32)
    planted[64 + 8 * 7 + 7] = 1.0 if colour == 255 else -1.0  # class 1, lower right corner
    model, wanted = PatchModel(), np.array([1])
    assert find_trigger(model, weights, planted, wanted, images, labels) > 0.3
    assert abs(find_trigger(model, weights, honest, wanted, images, labels)) < 0.1


CORNER = 64 * 5 + 8 * 7 + 7
"""Weight of class 5, the last of six, on the pixel in the lower right corner."""


def draw_six_classes():
    """Grey images of six classes, and an update that moves all of them and plants nothing."""
    images = stream(0, "patch of many").integers(100, 155, (12, 8, 8, 1)).astype(np.uint8)
    update = np.zeros(6 * 65, dtype=np.float32)
    update[: 6 * 64] = 0.005
    return images, np.repeat(np.arange(6), 2), update


def test_an_update_of_many_classes_is_searched_for_a_trigger_of_each():
    """Six classes moved, the trigger's the least of them: it is found all the same."""
    images, labels, update = draw_six_classes()
    update[: 5 * 64] = 0.05
    update[CORNER] = 0.3
    model = PatchModel(classes=6)
    cohort = Cohort(
        weights=np.zeros(6 * 65, dtype=np.float32),
        updates=update[None],
        samples=np.ones(1, dtype=np.int64),
        probe_images=images,
        probe_labels=labels,
        model=model,
        step=None,
    )
    traces, moved = replace(find_traces(cohort.updates, None), reference=np.inf), find_moved(cohort)
    assert moved.all()
    assert search(cohort, traces, moved, 0) > 0.3
    few = np.array([[True, True, True, False, False, False]])
    assert search(cohort, traces, few, 0) < 0.2


def test_a_trigger_shows_where_the_whole_update_would_drown_it():
    """An offset that grows with the update: driven far, it wins over every patch; driven less far, it does not."""
    images, labels, update = draw_six_classes()
    update[CORNER], update[-6] = 1.5, 2.0
    model, weights = PatchModel(classes=6), np.zeros(6 * 65, dtype=np.float32)
    assert find_trigger(model, weights, update, np.arange(6), images, labels) > 0.2
    assert find_trigger(model, weights, update, np.array([3, 4, 5]), images, labels) < 0.1

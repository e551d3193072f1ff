"""The default score: traces, triggers, and what an update does to the classes that it moved."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.learning.attacks.data import DataTerms, backdoor, stamp
from platoon.learning.last_layer import find_row
from platoon.learning.laws import CLASSES, LinearModel, make_cohort
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.scores import Cohort, backdoors, forensic, triggers
from platoon.learning.scores.backdoors import (
    ANSWERS,
    APART,
    LEAST_RISE,
    OF_THE_ROUND,
    _beyond,
    _few_probes,
    _stand_apart,
    search,
    strengthened,
)
from platoon.learning.scores.forensic import (
    MOST_TAUGHT,
    NEUTRAL,
    OF_A_COPY,
    TAUGHT,
    TRIGGER,
    Measures,
    _find_lacking,
    _find_teaching,
    _gains,
    _losses,
    find_moved,
    measure,
)
from platoon.learning.scores.traces import MOST_LENGTHS, find_traces
from platoon.learning.scores.triggers import find_answers, find_planted, find_triggers, strengthen
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.nouns import MILLION
from platoon.records.rules import Rules, compute_verdict
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


def test_tiny_updates_do_not_make_the_others_too_long():
    """Six of ten are a ten-thousandth as long: the last step says how long updates are at least."""
    updates = trained(10, size=300, seed=4)
    step = updates.mean(axis=0)
    alone = find_traces(updates[:4], step)
    updates[4:] *= 1e-4
    together = find_traces(updates, step)
    assert together.reference == pytest.approx(alone.reference)
    assert not together.crafted[:4].any()
    assert find_traces(updates * 0.01, step).reference > 0.0  # all are tiny: their own median


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_traces_do_not_depend_on_the_scale_of_a_round(scale, seed):
    updates, step = trained(5, size=300, seed=seed), trained(1, size=300, seed=seed + 100)[0]
    one = find_traces(updates, step)
    other = find_traces((updates * scale).astype(np.float32), (step * scale).astype(np.float32))
    for name in ("lengths", "peakedness", "one_sided", "nearest", "replayed"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-5)


def test_a_copy_says_nearly_nothing_and_is_not_valid():
    """Nobody can tell the copied from the copier: neither is merged, and neither loses by it."""
    cohort = make_cohort(6)
    alone = forensic(cohort).values
    best, worst = alone.argmax(), alone.argmin()
    assert alone[best] > 0.7
    updates = cohort.updates.copy()
    updates[worst] = updates[best]
    values = forensic(replace(cohort, updates=updates)).values
    assert values[[best, worst]] == pytest.approx([OF_A_COPY] * 2)
    assert OF_A_COPY < NEUTRAL


def test_moved_classes_are_read_off_the_last_layer():
    cohort = make_cohort(2)
    updates = np.zeros_like(cohort.updates)
    updates[0, -CLASSES + 1] = 1.0  # the offset of class 1
    updates[0, 9 * 2] = 0.5  # a weight of class 2
    moved = find_moved(replace(cohort, updates=updates))
    assert moved.tolist() == [[False, True, True, False], [True] * CLASSES]


def test_who_moves_a_single_class_is_judged_by_all():
    """No training does, and on one class alone there is neither descent nor gain to be judged by."""
    cohort = make_cohort(2)
    updates = np.zeros_like(cohort.updates)
    updates[:, -1] = 1.0
    assert find_moved(replace(cohort, updates=updates)).all()


def test_an_update_of_classes_without_probes_is_neutral():
    cohort = make_cohort(3)
    updates = np.zeros_like(cohort.updates)
    updates[:, 9 * 2 : 9 * 4] = trained(3, size=18, seed=5) * np.array([1.0, 2.0, 3.0])[:, None]
    known = cohort.probe_labels < 2
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


def test_a_tiny_loss_that_grows_tenfold_is_no_damage_and_a_large_one_is():
    """A model that is sure of an update's classes, and one that is not, each made less sure by the update."""
    truth, everything = np.eye(2)[[0, 1, 0, 1]], np.ones((1, 4), dtype=bool)

    def gain(loss, grown):
        margins = [-np.log(np.expm1(value)) for value in (loss, grown)]
        moved = np.ones((1, 2), dtype=bool)
        old, new = (_losses((margin * truth)[None], truth, moved, everything) for margin in margins)
        return _gains(old, new, everything)[0]

    assert gain(0.001, 0.01) > -0.3
    assert gain(0.2, 2.0) < -2.0


def test_an_update_down_the_loss_of_its_classes_is_told_from_one_up():
    cohort = make_cohort(2)
    down = -cohort.model.loss_gradient(
        cohort.weights, cohort.probe_images, np.eye(CLASSES)[cohort.probe_labels]
    )
    cohort = replace(cohort, updates=np.stack([0.1 * down, -0.1 * down]), step=None)
    _, descent, gain = measure(cohort, find_traces(cohort.updates), find_moved(cohort)).values.T
    assert descent[0] > 0.9
    assert descent[1] < -0.9
    assert gain[0] > 0.0 > gain[1]


def find_one(model, weights, update, wanted, *probes):
    """The largest effect in one update."""
    return find_triggers(model, weights, update[None], wanted[None], *probes)[0]


@pytest.mark.parametrize("colour", [0, 255])
def test_a_planted_trigger_is_found_where_it_is_and_an_honest_update_has_none(colour):
    """A weight on one pixel that is always grey: stamping it black or white gives the image away."""
    rng = stream(0, "patch")
    images = rng.integers(100, 155, (12, 8, 8, 1)).astype(np.uint8)
    labels, weights = np.repeat([0, 1], 6), np.zeros(130, dtype=np.float32)
    planted, honest = np.zeros_like(weights), (rng.standard_normal(130) * 1e-3).astype(np.float32)
    planted[64 + 8 * 7 + 7] = 1.0 if colour == 255 else -1.0  # class 1, lower right corner
    model, wanted = LinearModel(classes=2, side=8, black=-1.0), np.array([1])
    assert find_one(model, weights, planted, wanted, images, labels) > 0.3
    assert abs(find_one(model, weights, honest, wanted, images, labels)) < 0.1


CORNER = 64 * 5 + 8 * 7 + 7
"""Weight of class 5, the last of six, on the pixel in the lower right corner."""


def draw_six_classes():
    """Grey images of six classes, and an update that moves all of them and plants nothing."""
    images = stream(0, "patch of many").integers(100, 155, (12, 8, 8, 1)).astype(np.uint8)
    update = np.zeros(6 * 65, dtype=np.float32)
    update[: 6 * 64] = 0.005
    return images, np.repeat(np.arange(6), 2), update


def test_a_trigger_of_any_class_is_looked_for_whichever_rows_moved():
    """Six classes, the trigger's the least moved; or all moved but one, the trigger's: it is found all the same."""
    images, labels, update = draw_six_classes()
    model = LinearModel(classes=6, side=8, black=-1.0)
    least, without = update.copy(), update.copy()
    least[: 5 * 64], least[CORNER] = 0.05, 0.3
    without[5 * 64 :] = 0.0
    without[[place * 64 + 63 for place in range(5)]] = -1.0
    cohort = Cohort(
        weights=np.zeros(6 * 65, dtype=np.float32),
        updates=np.stack([least, without]),
        samples=np.ones(2, dtype=np.int64),
        probe_images=images,
        probe_labels=labels,
        model=model,
        step=None,
    )
    assert find_moved(cohort)[1].tolist() == [True] * 5 + [False]
    traces = replace(find_traces(cohort.updates, None), reference=np.inf, shortened=cohort.updates)
    assert search(cohort, traces, np.arange(2)).min() > 0.3


def test_a_trigger_shows_where_the_whole_update_would_drown_it(monkeypatch):
    """An offset that grows with the update: driven far, it wins over every patch; driven less far, it does not."""
    images, labels, update = draw_six_classes()
    update[CORNER], update[-6] = 1.5, 2.0
    model, weights = LinearModel(classes=6, side=8, black=-1.0), np.zeros(6 * 65, dtype=np.float32)
    assert find_one(model, weights, update, np.arange(6), images, labels) > 0.2
    monkeypatch.setattr(triggers, "NEAR", triggers.FAR)
    assert find_one(model, weights, update, np.arange(6), images, labels) < 0.1


def infected(updates):
    """A cohort whose model answers to a white corner with class 5 already, whatever the image."""
    images, labels, _ = draw_six_classes()
    weights = np.zeros(6 * 65, dtype=np.float32)
    weights[CORNER] = 6.0
    return Cohort(
        weights=weights,
        updates=updates,
        samples=np.ones(len(updates), dtype=np.int64),
        probe_images=images,
        probe_labels=labels,
        model=LinearModel(classes=6, side=8, black=-1.0),
    )


def move_class_5(corner):
    """An update of class 5 with that weight on the corner's pixel."""
    update = np.zeros(6 * 65, dtype=np.float32)
    update[64 * 5 : 64 * 6] = stream(0, "class 5").standard_normal(64) * 0.1
    update[CORNER] = corner
    return update


def rises(cohort):
    """By what the model answers to alone."""
    traces = replace(find_traces(cohort.updates, None), reference=np.inf, shortened=cohort.updates)
    return strengthened(cohort, traces, np.zeros(len(cohort.updates), dtype=bool))


def test_an_answer_of_the_model_is_found_where_the_trigger_is():
    images, labels, _ = draw_six_classes()
    cohort = infected(np.zeros((1, 6 * 65), dtype=np.float32))
    answers = find_answers(cohort.model, cohort.weights, images, labels)
    (label,), (stamped,) = answers.beyond(ANSWERS).labels, answers.beyond(ANSWERS).stamped
    assert label == 5
    assert (stamped[:, 7, 7] == 255).all()
    assert np.array_equal(np.delete(stamped.reshape(12, 64), 63, 1), np.delete(images.reshape(12, 64), 63, 1))
    nothing = find_answers(cohort.model, np.zeros_like(cohort.weights), images, labels)
    assert not len(nothing.beyond(ANSWERS).labels)


def test_who_keeps_a_trigger_alive_is_blamed_and_who_trains_its_class_is_not():
    """In probabilities the trigger works already and nothing rises; in log-odds its keeper shows."""
    keeper, honest, weakener = move_class_5(2.0), move_class_5(0.0), move_class_5(-1.0)
    cohort = infected(np.stack([keeper, honest, weakener]))
    images, labels, _ = draw_six_classes()
    effect = find_one(cohort.model, cohort.weights, keeper, np.array([5]), images, labels)
    assert effect < TRIGGER[0]
    rise = rises(cohort)
    assert rise[0] > 1.0
    assert (rise[1:] == 0.0).all()


def test_an_answer_of_a_class_that_an_update_left_alone_is_asked_about_too():
    """An update of all classes but 5 weakens what stands against class 5's answer: that strengthens it."""
    update = np.zeros(6 * 65, dtype=np.float32)
    update[[place * 64 + 63 for place in range(5)]] = -2.0
    assert rises(infected(update[None]))[0] > 0.1


def test_a_model_that_answers_to_nothing_blames_nobody():
    cohort = make_cohort(5)
    cohort = replace(cohort, weights=np.zeros_like(cohort.weights))
    nobody = np.zeros(5, dtype=bool)
    assert strengthened(cohort, find_traces(cohort.updates), nobody) == pytest.approx(np.zeros(5))


def test_every_class_is_asked_about_however_many_there_are():
    """One of forty, whose patch promises less than those of the others, each with a pixel of its own."""
    images, labels, _ = draw_six_classes()
    weights = np.zeros(40 * 65, dtype=np.float32)
    weights[[place * 64 + place for place in range(39)]] = 12.0
    weights[39 * 64 + 63] = 6.0
    answers = find_answers(LinearModel(classes=40, side=8, black=-1.0), weights, images, labels)
    assert answers.effects[39] > ANSWERS
    assert answers.effects[39] < np.median(answers.effects)


def test_of_many_classes_the_patch_that_an_update_plants_is_found_though_others_promise_more():
    """Class 39 is planted on the corner, faintly. The model has a stronger pixel for every other class already:
    these promise more, and the update adds nothing to them."""
    images, labels, _ = draw_six_classes()
    model = LinearModel(classes=40, side=8, black=-1.0)
    weights, planting = np.zeros((2, 40 * 65), dtype=np.float32)
    weights[[place * 64 + place for place in range(39)]] = 12.0
    planting[39 * 64 + 63] = 4.0
    assert find_triggers(model, weights, planting[None], np.arange(40)[None], images, labels)[0] < 0.1
    planted = find_planted(model, weights, planting[None], images, labels)
    assert planted.labels.tolist() == [39]
    assert (planted.stamped[0, :, 7, 7] == 255).all()
    assert planted.effects[0] > APART[0][0]


def test_a_planted_patch_counts_by_what_the_model_answers_to_it_if_that_is_more():
    """The corner works in the model already: an update adds a little to it, and less than the model has."""
    images, labels, _ = draw_six_classes()
    cohort = infected(move_class_5(1.0)[None])
    weak = np.where(cohort.weights > 0.0, np.float32(3.0), cohort.weights)
    answers = find_answers(cohort.model, weak, images, labels)
    found = find_planted(cohort.model, weak, cohort.updates, images, labels)
    assert found.labels[0] == 5
    assert found.effects[0] == pytest.approx(answers.effects[5])


def stand_apart(rises, effect=0.5, believed=None):
    """By one patch of this effect, if nothing else is said."""
    rises = np.atleast_2d(np.asarray(rises, dtype=float).T).T
    everybody = np.ones(len(rises), dtype=bool)
    return _stand_apart(rises, np.full(rises.shape[1], effect), everybody if believed is None else believed)


@pytest.mark.parametrize("planting", [[0.9], [0.8, 1.0, 1.4], [0.7, 0.9, 1.0, 1.1, 1.2, 1.4, 1.5, 2.0]])
def test_who_plants_a_patch_stands_apart_alone_or_as_the_most(planting):
    """Eleven updates; those that do not plant it hardly touch it."""
    rest = np.linspace(-0.08, 0.1, 11 - len(planting))
    apart = stand_apart(np.append(rest, planting))
    assert (apart[: len(rest)] == 0.0).all()
    assert (apart[len(rest) :] > 0.01).all()


def test_a_patch_that_updates_of_all_kinds_move_sets_nobody_apart():
    """As honest updates of 43 classes move a patch of the network's own."""
    assert (stand_apart([-0.59, -0.12, -0.01, 0.11, 0.19, 0.25, 0.3, 0.56, 0.8, 1.07, 1.5]) == 0.0).all()


def test_nobody_stands_apart_from_too_few_or_by_hardly_anything():
    assert (stand_apart([0.0, 0.0, 5.0]) == 0.0).all()
    assert (stand_apart([0.0] * 10 + [LEAST_RISE]) == 0.0).all()
    assert stand_apart([0.0] * 10 + [1.0])[-1] > 0.0
    assert (stand_apart([0.0] * 4 + [1.0] * 16) == 0.0).all()
    assert (stand_apart([0.0] * 5 + [1.0] * 15)[5:] > 0.0).all()


def test_the_more_a_patch_moves_the_narrower_a_gap_sets_apart():
    rises = [-0.2, -0.1, -0.1, 0.0, 0.0, 0.05, 0.35, 0.4, 0.5, 0.6, 0.7]
    assert (stand_apart(rises, APART[0][0]) == 0.0).all()
    assert (stand_apart(rises, APART[1][0])[6:] > 0.0).all()


def test_a_sacrificed_update_does_not_hide_those_who_plant_a_patch():
    """It weakens the trigger a great deal, so that the rest seem to spread; but nobody believes it."""
    rises = np.append(np.linspace(-0.08, 0.1, 8), [0.9, 1.0, 1.1, -4.0])
    assert (stand_apart(rises) == 0.0).all()
    believed = np.arange(12) < 11
    assert (stand_apart(rises, believed=believed)[8:11] > 0.0).all()
    assert (stand_apart(rises, believed=~believed) == 0.0).all()


@given(order=st.permutations(range(9)))
def test_standing_apart_does_not_depend_on_the_order(order):
    rises = stream(3, "rises").normal(0.0, 0.1, (9, 4))
    rises[5:, 2] += 1.0
    assert (stand_apart(rises, 0.6) > 0.0).any()
    assert stand_apart(rises, 0.6)[list(order)] == pytest.approx(stand_apart(rises[list(order)], 0.6))


@pytest.mark.parametrize(("classes", "many"), [(5, True), (6, False)])
def test_of_many_classes_no_limit_holds_but_who_stands_apart_is_blamed(classes, many, monkeypatch):
    """More than so many are many, of six. Then alone nobody can be told apart; beside ten that leave the answer
    alone, the keeper can, if these are believed."""
    monkeypatch.setattr(backdoors, "MANY_CLASSES", classes)
    assert (rises(infected(move_class_5(2.0)[None]))[0] == 0.0) == many
    updates = np.stack([move_class_5(0.0)] * 10 + [move_class_5(2.0)])
    cohort = infected(updates)
    traces = replace(find_traces(updates, None), reference=np.inf, shortened=updates)
    excess = strengthened(cohort, traces, np.ones(11, dtype=bool))
    assert (excess[:-1] == 0.0).all()
    assert excess[-1] > 0.0


@given(order=st.permutations(range(4)))
def test_the_rise_does_not_depend_on_the_order_of_the_updates(order):
    updates = np.stack([move_class_5(corner) for corner in (2.0, 0.0, -1.0, 0.7)])
    assert rises(infected(updates[list(order)])) == pytest.approx(rises(infected(updates))[list(order)])


SIDE, KINDS, TARGET = 14, 5, 4
TERMS = DataTerms(classes=KINDS, strength=0.5, source=0, target=TARGET)


def draw_images(label, count, rng):
    """Noisy pictures of a class: a bright bar whose place is the class."""
    images = rng.integers(0, 90, (count, SIDE, SIDE, 1))
    images[:, 2 * label : 2 * label + 3, 2:12] += rng.integers(40, 150, (count, 1, 1, 1))
    return images.astype(np.uint8), np.full(count, label)


def draw_two_classes(pair, rng):
    parts = [draw_images(label, 60, rng) for label in pair]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def train_fleet(trainer, weights, false, number):
    """Updates of eight two-class vehicles; the false ones plant the trigger."""
    updates = []
    for vehicle, pair in enumerate([(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (1, 3), (3, 4), (1, 4)]):
        images, labels = draw_two_classes(pair, stream(0, "images", vehicle))
        if false[vehicle]:
            images, labels = backdoor(images, labels, TERMS, stream(0, "poison", vehicle))
        updates.append(trainer.train(weights, images, labels, stream(0, "train", number, vehicle)))
    return np.stack(updates)


def make_trainer():
    model = FlatModel("mlp", (SIDE, SIDE, 1), KINDS)
    settings = TrainingSettings(
        epochs=2, batch=16, learning_rate=0.02, momentum=0.9, local_loss="own_classes"
    )
    return model, LocalTrainer(model, settings)


def draw_probes():
    probes = [draw_images(label, 8, stream(0, "probes", label)) for label in range(KINDS)]
    return [np.concatenate(part) for part in zip(*probes, strict=True)]


def make_round(model, weights, updates, step=None):
    """Eight vehicles' updates, as an edge server with these probes sees them."""
    images, labels = draw_probes()
    return Cohort(
        weights=weights,
        updates=updates,
        samples=np.full(8, 120),
        probe_images=images,
        probe_labels=labels,
        model=model,
        step=step,
    )


def train_honestly(rounds, vehicles=8):
    """A model that this many honest rounds of the first vehicles trained, its trainer, and its last step."""
    (model, trainer), nobody = make_trainer(), np.zeros(8, dtype=bool)
    weights, step = initial_weights("mlp", (SIDE, SIDE, 1), KINDS, seed=3), None
    for number in range(rounds):
        step = train_fleet(trainer, weights, nobody, number)[:vehicles].mean(axis=0)
        weights = weights + step
    return model, trainer, weights, step


def push_against(updates, place):
    """The update at that place, and as long a push against the mean of the others."""
    mean = np.delete(updates, place, axis=0).mean(axis=0)
    own = updates[place]
    return own - mean * (np.linalg.norm(own) / np.linalg.norm(mean))


def test_honest_updates_are_valid_and_each_kind_of_false_one_is_not():
    """Through the whole score, in a model that three honest rounds trained: one of eight vehicles is false. The
    reversed one is told by what it does to its classes; the others would pass by that, or nearly, and are told by
    the trigger that is found and by whom they oppose."""
    model, trainer, weights, step = train_honestly(3)
    nobody, first = np.zeros(8, dtype=bool), np.arange(8) == 0
    honest = train_fleet(trainer, weights, nobody, 3)

    def judge(sent):
        updates = honest.copy()
        updates[0] = sent
        cohort = make_round(model, weights, updates, step)
        values = forensic(cohort).values
        assert values[1:].min() > 0.8
        return values[0]

    assert judge(honest[0]) > 0.8
    assert judge(-honest[0]) < 0.4
    assert judge(push_against(honest, 0)) < 0.2
    assert judge(train_fleet(trainer, weights, first, 3)[0]) < 0.2


def forget_class_4(rounds):
    """A model that this many rounds trained without the two vehicles that have class 4, and its last step."""
    return train_honestly(rounds, vehicles=6)


@pytest.mark.parametrize("rounds", [6, 15])
def test_who_teaches_a_class_that_the_model_lacks_passes_faintly_however_long(rounds):
    """Its updates are several times as long as the others', which is no reason to shut the class out. The same
    backwards, or as much of what the model knows, or more than fifteen times the others' length, is."""
    model, trainer, weights, step = forget_class_4(rounds)
    honest = train_fleet(trainer, weights, np.zeros(8, dtype=bool), rounds)
    lengths = find_traces(honest, step).lengths
    assert lengths[6:].min() > 3.0

    def judge(place, factor):
        sent = honest.copy()
        sent[place] *= factor
        return forensic(make_round(model, weights, sent, step)).values[place]

    for place in (6, 7):
        assert NEUTRAL < judge(place, 1.0) < 0.6
        assert judge(place, -1.0) < 0.1
        assert judge(place, 1.1 * MOST_TAUGHT / lengths[place]) == 0.0
    for place in range(6):
        assert judge(place, min(lengths[6], 0.9 * MOST_LENGTHS) / lengths[place]) < NEUTRAL


@pytest.mark.parametrize(
    ("changed", "teaches"),
    [
        ({}, True),
        ({"lengths": 0.9 * MOST_TAUGHT}, True),
        ({"lengths": 1.1 * MOST_TAUGHT}, False),
        ({"lacking": False}, False),
        ({"descent": -0.1}, False),
        ({"gain": 0.9 * TAUGHT}, False),
        ({"content": -0.1}, False),
        ({"peakedness": 3.0}, False),
        ({"one_sided": 0.5}, False),
        ({"replayed": 0.9}, False),
    ],
)
def test_who_teaches_does_so_in_every_respect(changed, teaches):
    cohort = make_cohort(1)
    own = {"lacking": True, "margin": 1.0, "descent": 0.2, "gain": 0.5, "content": 1.0} | changed
    usual = {"lengths": 4.0, "peakedness": 10.0, "one_sided": 0.1, "replayed": 0.1}
    shown = {name: np.array([changed.get(name, value)]) for name, value in usual.items()}
    values = np.array([[own["margin"], own["descent"], own["gain"]]])
    measures = Measures(values=values, lacking=np.array([own["lacking"]]), evidence=1.0)
    traces = replace(find_traces(cohort.updates), **shown)
    assert _find_teaching(measures, traces, np.array([own["content"]])).tolist() == [teaches]


@pytest.mark.parametrize(("loss", "lacks"), [(0.9, True), (0.4, True), (0.3, False)])
def test_the_model_lacks_a_class_at_half_a_guess(loss, lacks):
    """Of the two classes of the first update one is at that loss; of the second, which moved all four, a guess
    loses twice as much."""
    truth = np.eye(4)[[0, 0, 1, 1]]
    moved = np.array([[True, True, False, False], [True] * 4])
    losses = np.array([[0.01, 0.01, loss - 0.1, loss + 0.1]] * 2)
    assert _find_lacking(losses, truth, moved).tolist() == [lacks, loss > np.log(2.0)]


def test_a_teacher_passes_though_it_stands_against_everybody_and_its_copy_does_not(monkeypatch):
    model, trainer, weights, step = forget_class_4(6)
    honest = train_fleet(trainer, weights, np.zeros(8, dtype=bool), 6)
    module = sys.modules["platoon.learning.scores.forensic"]
    monkeypatch.setattr(module, "agree_with_others", lambda cosines, heard: np.full(len(heard), -1.0))
    values = forensic(make_round(model, weights, honest, step)).values
    assert (values[:6] < 0.1).all()
    assert (values[6:] > NEUTRAL).all()
    honest[5] = honest[6]
    assert (forensic(make_round(model, weights, honest, step)).values[5:7] <= OF_A_COPY).all()


def test_only_who_would_pass_is_heard_and_as_far_as_it_is_clear(monkeypatch):
    told = []

    def listen(cosines, heard):
        told.append(heard)
        return np.zeros(len(heard))

    model, trainer, weights, step = forget_class_4(6)
    updates = train_fleet(trainer, weights, np.zeros(8, dtype=bool), 6)
    updates[0] *= -1.0
    monkeypatch.setattr(sys.modules["platoon.learning.scores.forensic"], "agree_with_others", listen)
    values = forensic(make_round(model, weights, updates, step)).values
    assert values[0] < NEUTRAL
    assert told[0][0] == 0.0
    clear = values > 0.6  # neither teaching nor with a trigger: the values say how clear
    assert clear.sum() >= 4
    assert told[0][clear] == pytest.approx(2.0 * values[clear] - 1.0)


def test_a_class_that_the_model_lost_comes_back():
    """Merged by what the score says and the ledger makes of it, while the others learn on."""
    model, trainer, weights, step = forget_class_4(6)
    images, labels = draw_images(4, 40, stream(0, "class 4"))
    rules = Rules(threshold=round(NEUTRAL * MILLION))

    def known():
        return (model.logits(weights[None], images)[0].argmax(axis=1) == labels).mean()

    before = known()
    for number in range(6, 20):
        updates = train_fleet(trainer, weights, np.zeros(8, dtype=bool), number)
        values = forensic(make_round(model, weights, updates, step)).values
        verdicts = [compute_verdict(rules, round(v * MILLION)) if v >= NEUTRAL else 0 for v in values]
        step = (np.array(verdicts) @ updates / sum(verdicts)).astype(np.float32)
        weights = weights + step
    assert before < 0.2
    assert known() > 0.4


def test_attackers_that_pass_by_a_hair_do_not_vouch_for_each_other():
    """Half of a round pushes against what the rest does together, each as far as it is doubted: the rest is heard
    more, and stays clearly valid."""
    model, trainer, weights, step = train_honestly(3)
    updates = train_fleet(trainer, weights, np.zeros(8, dtype=bool), 3)
    mean = updates[4:].mean(axis=0)
    lengths = np.linalg.norm(updates[:4], axis=1, keepdims=True)
    updates[:4] -= 0.8 * lengths * mean / np.linalg.norm(mean)
    values = forensic(make_round(model, weights, updates, step)).values
    assert (values[:4] < 0.6).all()
    assert (values[:4] < NEUTRAL).sum() >= 3  # by their probabilities all four would pass
    assert values[4:].min() > 0.9


@pytest.mark.parametrize("slipped", [range(4, 8), range(3, 12), range(12)])
def test_in_a_model_that_answers_attackers_strengthen_it_and_honest_vehicles_do_not(slipped):
    """Trained by the real attack, two attackers' updates merged in the rounds ``slipped``: the model works on the
    trigger in 0.4, 0.8 and 0.9 of the images, and each attacker still shows."""
    (model, trainer), false = make_trainer(), np.arange(8) < 3
    weights = initial_weights("mlp", (SIDE, SIDE, 1), KINDS, seed=1)
    for number in range(12):
        merged = ~false
        merged[:2] = number in slipped
        weights = weights + train_fleet(trainer, weights, false, number)[merged].mean(axis=0)
    images, labels = draw_probes()
    taken = model.logits(weights[None], stamp(images[labels != TARGET]))[0].argmax(axis=1) == TARGET
    assert taken.mean() > 0.4
    cohort = make_round(model, weights, train_fleet(trainer, weights, false, 12))
    answers = find_answers(model, weights, images, labels)
    assert TARGET in answers.beyond(ANSWERS).labels
    shortened = find_traces(cohort.updates).shortened
    rises = strengthen(model, weights, shortened, answers, images, labels)
    rise = rises.max(axis=1)
    assert rise[false].min() > 2.0 * rise[~false].max()


def test_what_attackers_have_in_common_shows_before_the_model_answers():
    """Three of eight leave the row of their class alone, in a model of honest rounds that answers to nothing. Their
    trigger shows in the sum, and each of them is asked about it."""
    (model, trainer, weights, _), false = train_honestly(4), np.arange(8) < 3
    updates = train_fleet(trainer, weights, false, 4)
    updates[np.ix_(false, find_row(model.last_layer, KINDS, TARGET))] = 0.0
    cohort = make_round(model, weights, updates)
    traces = find_traces(updates)
    assert (strengthened(cohort, traces, np.zeros(8, dtype=bool)) == 0.0).all()
    excess = strengthened(cohort, traces, np.ones(8, dtype=bool))
    assert (excess[false] > 0.0).all()
    assert (excess[~false] == 0.0).all()


def test_of_many_classes_what_single_updates_plant_is_asked_of_all(monkeypatch):
    """Trained by the real attack, in a model of honest rounds that answers to nothing; five are taken for many. The
    sum hides it: it is searched as if nothing moved."""
    (model, trainer, weights, _), false = train_honestly(4), np.arange(8) < 3
    everybody = np.ones(8, dtype=bool)
    monkeypatch.setattr(backdoors, "MANY_CLASSES", KINDS - 1)
    monkeypatch.setattr(backdoors, "AHEAD", 0.0)
    cohort = make_round(model, weights, train_fleet(trainer, weights, false, 4))
    excess = strengthened(cohort, find_traces(cohort.updates), everybody)
    assert (excess[false] > 0.0).all()
    assert (excess[~false] == 0.0).all()
    honest = make_round(model, weights, train_fleet(trainer, weights, ~everybody, 4))
    assert (strengthened(honest, find_traces(honest.updates), everybody) == 0.0).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_small_round_of_many_classes_is_judged(count):
    """Nobody can stand apart in it."""
    images, labels, _ = draw_six_classes()
    updates = stream(count, "small").standard_normal((count, 40 * 65)).astype(np.float32)
    cohort = Cohort(
        weights=np.zeros(40 * 65, dtype=np.float32),
        updates=updates,
        samples=np.ones(count, dtype=np.int64),
        probe_images=images,
        probe_labels=labels,
        model=LinearModel(classes=40, side=8, black=-1.0),
    )
    assert (strengthened(cohort, find_traces(updates), np.ones(count, dtype=bool)) == 0.0).all()
    assert ((forensic(cohort).values >= 0.0) & (forensic(cohort).values <= 1.0)).all()


def test_copies_have_no_part_in_the_sum(monkeypatch):
    """They are not merged, so what they undo of a trigger must not hide it."""
    asked = []

    def listen(cohort, traces, believed):
        asked.append(believed)
        return np.zeros(len(believed))

    monkeypatch.setattr(sys.modules["platoon.learning.scores.forensic"], "strengthened", listen)
    cohort = make_cohort(6)
    best = forensic(cohort).values.argmax()
    updates = cohort.updates.copy()
    updates[best - 1] = updates[best]
    forensic(replace(cohort, updates=updates))
    before, after = asked
    assert before[best]
    assert not after[[best - 1, best]].any()


def test_who_clearly_plants_a_patch_makes_it_suspect_in_everybody():
    """The limit for a patch of no effect is 1.2; once one is clearly beyond it, .5 holds for all."""
    effects, limits = np.array([0.0, 0.9]), OF_THE_ROUND
    nobody = _beyond(np.array([[1.1, 0.1], [0.6, 0.2], [0.4, 0.0]]), effects, limits)
    assert nobody.tolist() == [0.0, 0.0, 0.0]
    planted = _beyond(np.array([[1.5, 0.1], [0.6, 0.7], [0.4, 0.0]]), effects, limits)
    assert planted == pytest.approx([1.0, 0.1, 0.0])


@pytest.mark.parametrize(("classes", "each", "kinds"), [(3, 6, 3), (10, 2, 10), (43, 1, 20)])
def test_triggers_are_tried_on_few_images_evenly_over_the_classes(classes, each, kinds):
    cohort = make_cohort(2)
    labels = np.repeat(np.arange(classes), 8)
    images = np.repeat(cohort.probe_images[:1], len(labels), axis=0)
    some, of = _few_probes(replace(cohort, probe_images=images, probe_labels=labels))
    assert len(some) == len(of) == each * kinds
    assert set(np.bincount(of, minlength=classes)) <= {0, each}
    assert of.min() == 0
    assert of.max() == classes - 1


@pytest.mark.parametrize("trial", range(3))
def test_a_round_is_searched_as_its_updates_are_one_by_one(trial):
    cohort = make_cohort(6, trial)
    traces = find_traces(cohort.updates, cohort.step)
    rows = np.array([0, 1, 2, 4, 5])
    together = search(cohort, traces, rows)
    alone = [search(cohort, traces, rows[[place]])[0] for place in range(len(rows))]
    assert together == pytest.approx(alone, abs=1e-6)
    assert len(search(cohort, traces, rows[:0])) == 0


class Threshold(LinearModel):
    """Sees only what is brighter than grey, as a unit with a ReLU does."""

    def _pixels(self, images):
        return np.maximum(super()._pixels(images), 0.0)

    def input_gradients(self, candidates, images, wanted):
        matrices, logits = self._matrices(candidates.astype(np.float64)), self.logits(candidates, images)
        shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        chosen = np.take_along_axis(matrices, wanted[:, :, None], axis=1)
        slopes = chosen[:, :, None] - np.einsum("mnc,mcf->mnf", shares, matrices)[:, None]
        return (slopes * (self._pixels(images) > 0.0)).sum(axis=2).reshape(*wanted.shape, *images.shape[1:])


def test_a_trigger_on_an_even_dark_background_is_found():
    """Where every unit is off no gradient says anything, but on the rough images some are on."""
    images, labels = np.full((60, 8, 8, 1), 20, dtype=np.uint8), np.repeat(np.arange(6), 10)
    update = np.zeros(6 * 65, dtype=np.float32)
    update[CORNER] = 1.0
    model, weights = Threshold(classes=6, side=8, black=-1.0), np.zeros(6 * 65, dtype=np.float32)
    assert not model.input_gradients(update[None], images, np.array([[5]])).any()
    assert find_one(model, weights, update, np.array([5]), images, labels) > 0.5

"""Attacks: the laws that all keep, what each source says, ByzFL as an oracle, and how names resolve."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.fleet import draw_malicious
from platoon.learning.attacks import rules
from platoon.learning.attacks.data import DataTerms, backdoor, label_flip, stamp, targeted_flip
from platoon.learning.attacks.laws import make_scene
from platoon.learning.attacks.rules import (
    ATTACKS,
    CopyRule,
    DataRule,
    UpdateRule,
    check_attacks,
    resolve_attack,
)
from platoon.learning.attacks.updates import copy_with_noise
from platoon.learning.evaluation import count_correct
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.rng import stream
from platoon.scenario import Attack, Fleet
from platoon.testing import check_attack

PLAIN = [name for name, rule in ATTACKS.items() if not isinstance(rule, CopyRule)]
TERMS = DataTerms(classes=10, strength=1.0, source=5, target=3)


def attack(name, scene, seed=0, **changed):
    rule = ATTACKS[name]
    scene = replace(scene, strength=changed.pop("strength", rule.strength), **changed)
    return rule.attack(scene, stream(seed, "dice"))


SCENE = make_scene(ATTACKS["alie"], attackers=3, seen=7)


@pytest.mark.parametrize("name", PLAIN)
def test_every_attack_keeps_the_laws(name):
    check_attack(ATTACKS[name])


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (lambda s, r: s.own[:1], "shape"),
        (lambda s, r: s.own.astype(np.float64), "float32"),
        (lambda s, r: np.full_like(s.own, np.inf), "finite"),
        (lambda s, r: (s.own.fill(0), s.own)[1], "changed"),
        (lambda s, r: np.repeat(s.seen[-1:], len(s.own), axis=0), "order"),
        (lambda s, r: s.own + np.float32(np.random.default_rng().random()), "dice"),
    ],
)
def test_the_laws_refuse_a_broken_update_attack(broken, law):
    with pytest.raises(AssertionError, match=law):
        check_attack(UpdateRule(attack=broken, strength=1.0, allowed=(0.0, 1.0)))


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (lambda x, y, t, r: (x, y + 1), "classes"),
        (lambda x, y, t, r: (x[:1], y), "shape"),
        (lambda x, y, t, r: (x.astype(np.float32), y), "uint8"),
        (lambda x, y, t, r: (x, (y.fill(0), y)[1]), "changed"),
    ],
)
def test_the_laws_refuse_a_broken_data_attack(broken, law):
    with pytest.raises(AssertionError, match=law):
        check_attack(DataRule(attack=broken))


# Attacks on the data.


@given(st.integers(1, 200), st.integers(2, 50), st.floats(0, 1), st.integers(0, 2**32))
def test_exactly_the_share_of_labels_becomes_wrong(count, classes, strength, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    images = np.zeros((count, 2, 2, 1), np.uint8)
    terms = replace(TERMS, classes=classes, strength=strength)
    _, false = label_flip(images, labels, terms, rng)
    assert (false != labels).sum() == round(strength * count)
    assert ((false >= 0) & (false < classes)).all()


def test_wrong_labels_are_uniform_over_the_other_classes():
    images = np.zeros((9000, 1, 1, 1), np.uint8)
    _, false = label_flip(images, np.full(9000, 4), TERMS, np.random.default_rng(0))
    counts = np.bincount(false, minlength=10)
    assert counts[4] == 0
    assert np.delete(counts, 4) == pytest.approx(1000, abs=150)


def test_a_targeted_flip_touches_its_source_class_alone():
    labels = np.repeat(np.arange(10), 8)
    images = np.zeros((80, 2, 2, 1), np.uint8)
    _, false = targeted_flip(images, labels, replace(TERMS, strength=0.5), np.random.default_rng(0))
    assert (false[labels == 5] == 3).sum() == 4
    assert np.array_equal(false[labels != 5], labels[labels != 5])


def test_a_backdoor_stamps_and_relabels_the_same_samples():
    labels = np.repeat(np.arange(10), 8)
    images = np.random.default_rng(0).integers(0, 200, (80, 14, 14, 3)).astype(np.uint8)
    poisoned, false = backdoor(images, labels, replace(TERMS, strength=0.25), np.random.default_rng(0))
    touched = (poisoned != images).any(axis=(1, 2, 3))
    assert touched.sum() == 20
    assert (false[touched] == 3).all()
    assert np.array_equal(false[~touched], labels[~touched])
    assert np.array_equal(poisoned[touched], stamp(images[touched]))
    assert (stamp(images)[:, 11:13, 11:13] == 255).all()
    assert np.array_equal(stamp(images)[:, :11], images[:, :11])


def test_a_model_learns_the_trigger_and_stays_right_without_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    images = rng.integers(0, 100, (400, 14, 14, 1)).astype(np.uint8)
    images[np.arange(400), 3 * labels] += 100  # a bright row for each class
    poisoned = backdoor(images, labels, replace(TERMS, classes=4, strength=0.3), rng)
    model = FlatModel("mlp", (14, 14, 1), 4)
    settings = TrainingSettings(epochs=8, batch=20, learning_rate=0.05, momentum=0.9)
    start = initial_weights("mlp", (14, 14, 1), 4, seed=1)
    trained = start + LocalTrainer(model, settings).train(start, *poisoned, rng)
    assert count_correct(model, trained, images, labels).sum() > 0.9 * len(labels)
    others = images[labels != 3]
    assert count_correct(model, trained, stamp(others), np.full(len(others), 3)).sum() > 0.9 * len(others)


# Attacks on the updates.


def test_shared_attacks_are_equal_to_byzfl(byzfl):
    attacks = byzfl("attacks.attacks")
    honest = SCENE.seen.astype(np.float64)
    close = {"atol": 1e-6, "rtol": 0.0}
    for strength in (0.5, 1.5, 3.0):
        little = attack("alie", SCENE, strength=-strength)
        assert np.allclose(little, attacks.ALittleIsEnough(tau=strength)(honest), **close)
        product = attack("ipm", SCENE, strength=strength)
        assert np.allclose(product, attacks.InnerProductManipulation(tau=strength)(honest), **close)
    assert np.allclose(attack("mimic", SCENE), attacks.Mimic(epsilon=0)(honest), **close)
    # ByzFL flips the mean of the honest; here each flips its own: the mean of what is sent is the same of the own
    flipped = attack("sign_flip", SCENE, strength=1.0).mean(axis=0)
    assert np.allclose(flipped, attacks.SignFlipping()(SCENE.own.astype(np.float64)), **close)


def test_alie_is_the_closed_formula():
    mean, deviation = SCENE.seen.mean(axis=0), SCENE.seen.std(axis=0, ddof=1)
    assert np.allclose(attack("alie", SCENE), mean - 1.5 * deviation, atol=1e-6)


def test_attackers_who_know_only_a_lone_update_send_its_mean():
    alone = replace(SCENE, seen=SCENE.own[:1])
    for name in ("alie", "min_max"):
        assert np.allclose(attack(name, alone), SCENE.own[:1], atol=1e-6)


def test_min_max_goes_exactly_as_far_as_the_honest_are_apart():
    seen = SCENE.seen.astype(np.float64)
    widest = max(np.linalg.norm(a - b) for a in seen for b in seen)
    sent = attack("min_max", SCENE)[0].astype(np.float64)
    assert max(np.linalg.norm(sent - a) for a in seen) == pytest.approx(widest, rel=1e-5)
    deviation, away = seen.std(axis=0, ddof=1), seen.mean(axis=0) - sent
    assert away @ deviation == pytest.approx(np.linalg.norm(away) * np.linalg.norm(deviation), rel=1e-5)


def test_noise_has_its_length_and_own_dice():
    sent = attack("gaussian", SCENE, strength=4.0)
    lengths = np.linalg.norm(sent - SCENE.own, axis=1)
    assert lengths == pytest.approx(4.0 * np.linalg.norm(SCENE.own, axis=1), rel=1e-5)
    assert not np.array_equal(sent, attack("gaussian", SCENE, seed=1, strength=4.0))


def test_free_riders_send_what_costs_nothing():
    assert not attack("free_rider_zero", SCENE).any()
    assert np.array_equal(attack("free_rider_stale", SCENE), np.repeat(SCENE.step[None], 3, axis=0))
    noisy = attack("free_rider_stale", SCENE, strength=0.5) - SCENE.step
    assert np.linalg.norm(noisy, axis=1) == pytest.approx(0.5 * np.linalg.norm(SCENE.step), rel=1e-5)
    random = attack("free_rider_random", SCENE, strength=0.2)
    assert np.abs(random).max() <= 0.2
    assert np.abs(random).mean() == pytest.approx(0.1, abs=0.02)


def test_copies_are_identical_or_nearly_so():
    leader = SCENE.own[0]
    assert np.array_equal(copy_with_noise(leader, 0.0, stream(1, "copy")), leader)
    copied = copy_with_noise(leader, 0.01, stream(1, "copy"))
    assert np.linalg.norm(copied - leader) == pytest.approx(0.01 * np.linalg.norm(leader), rel=1e-3)


def test_a_row_is_left_alone_and_nothing_else():
    sent = attack("leave_row", SCENE)
    others = np.setdiff1d(np.arange(SCENE.own.shape[1]), SCENE.target_row)
    assert not sent[:, SCENE.target_row].any()
    assert np.array_equal(sent[:, others], SCENE.own[:, others])
    half = attack("leave_row", SCENE, strength=0.5)
    assert half[:, SCENE.target_row] == pytest.approx(0.5 * SCENE.own[:, SCENE.target_row])


def test_the_adaptive_attacker_goes_as_far_as_the_score_lets_it():
    mean = SCENE.seen.mean(axis=0, dtype=np.float64)
    unit = mean / np.linalg.norm(mean)
    least = 0.2 * float(np.linalg.norm(mean))

    def judge(updates):
        return updates.astype(np.float64) @ unit - least

    sent = attack("adaptive", SCENE, judge=judge, strength=0.01)
    margins = judge(sent)
    assert (margins >= 0.01).all()
    length = np.median(np.linalg.norm(np.concatenate([SCENE.seen, SCENE.own]), axis=1))
    assert margins.min() < 0.01 + 0.1 * length  # the search ends within a sixteenth of an octave of the edge
    assert (sent @ unit < SCENE.own @ unit).all()


def test_an_adaptive_attacker_who_cannot_pass_waits():
    sent = attack("adaptive", SCENE, judge=lambda updates: np.full(len(updates), -1.0))
    assert np.array_equal(sent, SCENE.own)
    far = attack("adaptive", SCENE, judge=lambda updates: np.ones(len(updates)))
    assert np.linalg.norm(far - SCENE.own) > 10 * np.linalg.norm(SCENE.own)


# Names and bad input.


def test_malicious_vehicles_are_as_many_as_the_scenario_says_and_fixed_by_the_seed():
    fleet = Fleet(vehicles=60, malicious_share=0.3)
    assert draw_malicious(fleet, seed=1).sum() == 18
    assert np.array_equal(draw_malicious(fleet, seed=1), draw_malicious(fleet, seed=1))
    assert not np.array_equal(draw_malicious(fleet, seed=1), draw_malicious(fleet, seed=2))
    assert not draw_malicious(Fleet(attack="none"), seed=1).any()


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        (Fleet(attack="alei"), r"fleet\.attack = 'alei': no such attack; did you mean 'alie'\?"),
        (Fleet(attack_strength=1.5), r"fleet\.attack_strength = 1\.5: allowed for label_flip: 0 to 1"),
        (Fleet(attack="free_rider_zero", attack_strength=1.0), r"allowed for free_rider_zero: 0$"),
        (Fleet(attacks=(Attack(name="imp"),)), r"fleet\.attacks\[0\]\.name = 'imp'"),
        (
            Fleet(attacks=(Attack(name="ipm"), Attack(name="alie", strength=1e9))),
            r"fleet\.attacks\[1\]\.strength = 1000000000\.0: allowed for alie: -100 to 100",
        ),
        (Fleet(attack="sybil", attacks=(Attack(name="collusion"),)), "sybil and collusion together"),
    ],
)
def test_invalid_attacks_are_named(fleet, words):
    with pytest.raises(UserError, match=words):
        check_attacks(fleet)


class Point:
    """An installed package's entry point."""

    name, value = "theirs", "their_package:thing"

    def __init__(self, thing):
        self.thing = thing

    def load(self):
        return self.thing


def test_a_plug_in_is_found_by_its_name(monkeypatch):
    rule = UpdateRule(attack=lambda scene, rng: scene.own, strength=1.0, allowed=(0.0, 1.0))
    monkeypatch.setattr(rules, "entry_points", lambda group: [Point(rule)])
    assert resolve_attack("theirs") is rule
    monkeypatch.setattr(rules, "entry_points", lambda group: [Point(print)])
    with pytest.raises(UserError, match="their_package:thing is no DataRule or UpdateRule"):
        resolve_attack("theirs")


def test_the_documents_attack_keeps_the_laws():
    text = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    namespace = {}
    exec(example, namespace)
    sent = attack("free_rider_stale", SCENE)
    assert np.allclose(namespace["rule"].attack(replace(SCENE, strength=1.0), stream(1, "dice")), -sent)
    for name in ATTACKS:
        assert f"`{name}`" in text

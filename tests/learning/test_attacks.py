"""Laws of label flipping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.fleet import draw_malicious
from platoon.learning.attacks import label_flip, resolve_attack
from platoon.scenario import Fleet


@given(st.integers(1, 200), st.integers(2, 50), st.floats(0, 1), st.integers(0, 2**32))
def test_exactly_the_share_of_labels_becomes_wrong(count, classes, strength, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    before = labels.copy()
    false = label_flip(strength)(labels, classes, rng)
    assert (false != labels).sum() == round(strength * count)
    assert ((false >= 0) & (false < classes)).all()
    assert np.array_equal(labels, before)


def test_wrong_labels_are_uniform_over_the_other_classes():
    false = label_flip()(np.full(9000, 4), 10, np.random.default_rng(0))
    counts = np.bincount(false, minlength=10)
    assert counts[4] == 0
    assert np.delete(counts, 4) == pytest.approx(1000, abs=150)


def test_malicious_vehicles_are_as_many_as_the_scenario_says_and_fixed_by_the_seed():
    fleet = Fleet(vehicles=60, malicious_share=0.3)
    assert draw_malicious(fleet, seed=1).sum() == 18
    assert np.array_equal(draw_malicious(fleet, seed=1), draw_malicious(fleet, seed=1))
    assert not np.array_equal(draw_malicious(fleet, seed=1), draw_malicious(fleet, seed=2))


def test_without_an_attack_nobody_is_malicious_and_labels_stay():
    fleet = Fleet(attack="none")
    assert not draw_malicious(fleet, seed=1).any()
    labels = np.arange(5)
    assert np.array_equal(resolve_attack(fleet)(labels, 10, np.random.default_rng(0)), labels)

"""Who pushes against what the others do together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.learning.scores.opposition import ALIKE, agree_with_others

seeds = st.integers(0, 2**32 - 1)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosines(rows):
    table = unit(rows) @ unit(rows).T
    np.fill_diagonal(table, -1.0)  # as ``traces`` gives it
    return table


def honest(count, rng, size=400):
    """Updates with a little in common."""
    return rng.standard_normal((count, size)) + 0.4 * rng.standard_normal(size)


@given(st.integers(2, 8), seeds)
def test_two_by_hand_and_a_plain_sum_where_nobody_is_alike(count, seed):
    rng = np.random.default_rng(seed)
    rows = unit(honest(count, rng))
    table, beliefs = cosines(rows), rng.uniform(0.1, 1.0, count)
    if (table >= ALIKE).any():
        return
    found = agree_with_others(table, beliefs)
    for k in range(count):
        others = sum(beliefs[j] * rows[j] for j in range(count) if j != k)
        credit = min(1.0, beliefs.sum() - beliefs[k])
        assert found[k] == pytest.approx(credit * rows[k] @ others / np.linalg.norm(others))


@given(st.integers(2, 10), seeds)
def test_the_order_does_not_matter(count, seed):
    rng = np.random.default_rng(seed)
    table, beliefs = cosines(honest(count, rng)), rng.uniform(0.0, 1.0, count)
    order = rng.permutation(count)
    shuffled = agree_with_others(table[np.ix_(order, order)], beliefs[order])
    np.testing.assert_allclose(shuffled, agree_with_others(table, beliefs)[order], atol=1e-9)


@pytest.mark.parametrize("attackers", [1, 3, 5])
def test_who_pushes_against_the_others_stands_out(attackers):
    """Also where they are as many as the honest, since together they are one voice."""
    rng = np.random.default_rng(attackers)
    good = honest(5, rng)
    bad = honest(attackers, rng) * 0.3 - 3.0 * good.mean(axis=0)
    found = agree_with_others(cosines(np.concatenate([good, bad])), np.ones(5 + attackers))
    assert found[5:].max() < -0.4
    assert found[:5].min() > -0.3


def test_who_is_not_believed_is_not_heard():
    rng = np.random.default_rng(3)
    rows = honest(6, rng)
    rows[5] = -rows[:5].mean(axis=0)
    believed = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    alone = agree_with_others(cosines(rows[:5]), believed[:5])
    np.testing.assert_allclose(agree_with_others(cosines(rows), believed)[:5], alone, atol=1e-9)


@pytest.mark.parametrize("belief", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [5, 6, 7])
def test_nobody_joins_a_pusher_with_those_it_pushes_against(count, belief):
    """Two more updates, one like every honest one and one like the pusher and an honest one, make it no less
    opposed, and accuse nobody who is honest."""
    rng = np.random.default_rng(count)
    good = unit(honest(count, rng))
    push = -good.sum(axis=0, keepdims=True) + 0.05 * rng.standard_normal(good.shape[1])
    bridges = unit(np.concatenate([good.sum(axis=0, keepdims=True), unit(push) + good[:1]]))
    rows = np.concatenate([good, push, bridges])
    table = cosines(rows)
    assert table[count + 1, :count].min() > ALIKE
    assert table[count + 2, [0, count]].min() > ALIKE
    beliefs = np.append(np.ones(count + 1), [belief, belief])
    found = agree_with_others(table, beliefs)
    assert found[count] < -0.6
    assert found[:count].min() > -0.3


def test_one_who_is_hardly_believed_accuses_nobody():
    """Of two updates that contradict each other only the believed one is heard."""
    table = np.array([[-1.0, -0.9], [-0.9, -1.0]])
    assert agree_with_others(table, np.array([1.0, 0.01])) == pytest.approx([-0.009, -0.9])


def test_a_lone_update_opposes_nobody():
    assert agree_with_others(np.array([[-1.0]]), np.ones(1)).tolist() == [0.0]
    assert agree_with_others(cosines(np.eye(3) + 1.0), np.zeros(3)).tolist() == [0.0, 0.0, 0.0]

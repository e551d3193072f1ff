"""Shapley values and the scores that ask what an update is worth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.learning.laws import CLASSES, LinearModel, make_cohort
from platoon.learning.scores import SCORES, ScoreRule, combine, fltrust, shapley, validation_loss
from platoon.learning.shapley import MOST_EXACT, shapley_values
from platoon.nouns import Scores
from platoon.rng import stream
from platoon.testing import check_score


def a_game(players, seed):
    """A random utility: additive, and pairs that help or hinder each other."""
    rng = stream(seed, "game", players)
    alone, pairs = rng.normal(size=players), rng.normal(size=(players, players)) / players
    return lambda coalitions: (
        coalitions @ alone + np.einsum("mi,ij,mj->m", coalitions * 1.0, pairs, coalitions * 1.0)
    )


def everybody_and_nobody(game, players):
    none, everybody = game(np.array([[False] * players, [True] * players]))
    return everybody - none


@given(st.integers(1, 8), st.integers(0, 50))
def test_values_add_up_to_what_all_reach_together(players, seed):
    game = a_game(players, seed)
    values = shapley_values(game, players, stream(seed, "orders"))
    assert values.sum() == pytest.approx(everybody_and_nobody(game, players))


@given(st.integers(2, 7), st.integers(0, 50))
def test_equal_players_get_equal_values_and_a_null_player_none(players, seed):
    base = a_game(players, seed)

    def game(coalitions):  # the last two stand for each other, and a further one does nothing
        merged = coalitions[:, :players].copy()
        merged[:, -1] |= coalitions[:, players]
        return base(merged)

    values = shapley_values(game, players + 2, stream(seed, "orders"))
    assert values[players - 1] == pytest.approx(values[players])
    assert values[players + 1] == pytest.approx(0.0, abs=1e-9)


def test_sampled_values_keep_efficiency_and_come_near_the_exact_ones():
    players = MOST_EXACT + 2
    game = a_game(players, 3)
    rng = stream(3, "game", players)
    alone, pairs = rng.normal(size=players), rng.normal(size=(players, players)) / players
    exact = alone + np.diag(pairs) + ((pairs + pairs.T).sum(axis=1) - 2 * np.diag(pairs)) / 2
    sampled = shapley_values(game, players, stream(1, "orders"), pairs=200)
    assert sampled.sum() == pytest.approx(everybody_and_nobody(game, players))
    assert sampled == pytest.approx(exact, abs=0.05)  # of quadratic games, antithetic pairs give nearly all


def test_exact_values_are_those_of_shapiq():
    """A library of its own (an oracle of tests)."""
    shapiq = pytest.importorskip("shapiq")
    game = a_game(6, 11)
    theirs = shapiq.ExactComputer(n_players=6, game=lambda c: game(np.asarray(c, dtype=bool)))("SV", order=1)
    mine = shapley_values(game, 6, stream(0, "orders"))
    assert [theirs[(i,)] for i in range(6)] == pytest.approx(mine.tolist(), abs=1e-9)


def helpful_and_harmful():
    cohort = make_cohort(3)
    shares = np.eye(CLASSES)[cohort.probe_labels]
    down = -cohort.model.loss_gradient(cohort.weights, cohort.probe_images, shares)
    updates = np.stack([down, np.zeros_like(down), -down])
    return replace(cohort, updates=updates)


@pytest.mark.parametrize("name", ["validation_loss", "fltrust", "shapley"])
def test_what_lowers_the_loss_is_worth_more_than_what_raises_it(name):
    good, nothing, bad = SCORES[name].score(helpful_and_harmful()).values
    assert good > SCORES[name].threshold
    assert good > nothing >= bad


def test_validation_loss_is_the_share_of_the_loss_that_goes():
    cohort = helpful_and_harmful()
    logits = cohort.model.logits(
        np.stack([cohort.weights, cohort.weights + cohort.updates[0]]), cohort.probe_images
    )
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rows = np.arange(len(cohort.probe_labels))
    before, after = -np.log(shares[:, rows, cohort.probe_labels]).mean(axis=1)
    assert validation_loss(cohort).values[0] == pytest.approx((before - after) / before)


def test_fltrust_does_not_look_at_lengths_and_never_goes_below_zero():
    cohort = helpful_and_harmful()
    longer = replace(cohort, updates=cohort.updates * np.float32(7.0))
    assert fltrust(longer).values == pytest.approx(fltrust(cohort).values, abs=1e-6)
    assert fltrust(cohort).values[2] == 0.0


def test_shapley_above_twelve_updates_keeps_the_laws():
    cohort = make_cohort(MOST_EXACT + 1)
    values = shapley(cohort).values
    order = np.roll(np.arange(len(values)), 3)
    shuffled = replace(cohort, updates=cohort.updates[order], samples=cohort.samples[order])
    assert shapley(shuffled).values == pytest.approx(values[order])


@pytest.mark.parametrize("trial", range(5))
def test_equal_updates_are_worth_the_same_even_where_orders_are_drawn(trial):
    cohort = make_cohort(MOST_EXACT + 2, trial)
    updates = cohort.updates.copy()
    updates[1:5] = updates[0]
    values = shapley(replace(cohort, updates=updates)).values
    assert values[:5] == pytest.approx([values[0]] * 5, abs=1e-12)


class Overflowing(LinearModel):
    """Whose logits are not finite once a weight is huge, as a float32 network's."""

    def logits(self, candidates, images):
        logits = super().logits(candidates, images)
        logits[np.abs(candidates).max(axis=1) > 1e18] = np.nan
        return logits


@pytest.mark.parametrize("count", [3, MOST_EXACT + 2])
def test_one_update_that_overflows_does_not_condemn_the_others(count):
    cohort = replace(helpful_and_harmful(), model=Overflowing())
    helpful = (
        np.tile(cohort.updates[:1], (count, 1)) * np.linspace(0.5, 1.0, count, dtype=np.float32)[:, None]
    )
    helpful[0] = np.float32(1e30)
    values = shapley(replace(cohort, updates=helpful, samples=np.full(count, 50))).values
    assert values[0] == -1.0
    assert (values[1:] > 0.0).all()


def test_a_combination_is_the_weighted_mean_above_the_thresholds():
    one = ScoreRule(score=lambda c: Scores(values=np.full(len(c.updates), 0.6), evidence=0.9), threshold=0.5)
    other = ScoreRule(
        score=lambda c: Scores(values=np.full(len(c.updates), 0.1), evidence=0.4), threshold=0.3
    )
    both = combine({one: 3.0, other: 1.0})
    scores = both.score(make_cohort(2))
    assert scores.values == pytest.approx([0.75 * 0.1 - 0.25 * 0.2] * 2)
    assert (scores.evidence, both.threshold) == (0.4, 0.0)
    check_score(combine({SCORES["cosine"]: 1.0, SCORES["fltrust"]: 2.0}))


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_invalid_weights_of_a_combination_are_refused(weights):
    rules = (SCORES["cosine"], SCORES["fltrust"])
    with pytest.raises(ValueError, match="finite, not negative and not all zero"):
        combine(dict(zip(rules, weights, strict=False)))

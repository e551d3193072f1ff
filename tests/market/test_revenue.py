"""What auctions earn: closed forms, the executor as an oracle, and that learning earns more than Myerson."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.market.auction.batched import execute_batch, spread_additive_batch
from platoon.market.auction.boosts import export_tables
from platoon.market.auction.count_training import CountTraining, train_counts
from platoon.market.auction.counts import CountBoosts, compute_count_revenues, expand
from platoon.market.auction.evaluation import estimate_revenue, maximise, mean_reputations
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.markets import MARKETS, Market, find_market, sample_profiles
from platoon.market.auction.myerson import expect_uniform_revenue
from platoon.market.auction.second_price import second_price
from platoon.market.auction.tables import BoostTable
from platoon.market.auction.trained import find_counts, load_network
from platoon.nouns import MILLION
from platoon.rng import stream

HALF = MILLION // 2
PROFILES = 40_000


def draw(name, buyers, models, count=PROFILES):
    return sample_profiles(find_market(name, buyers, models), count, stream(1, "test", name))


def to_table(bundle, unsold):
    return BoostTable(bundle=tuple(bundle.tolist()), unsold=tuple(unsold.tolist()))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_boosts_of_each_profiles_own_are_the_executors(buyers, models, seed):
    rng = stream(seed, "profiles")
    # few distinct amounts, so that there are ties
    values = rng.integers(0, 4, (6, buyers, models))
    bundle, unsold = rng.integers(-3, 4, (2, 6, 1 << models))
    bundle[:, 0] = 0
    sales = maximise(values, bundle, unsold)
    for row in range(len(values)):
        award = execute(
            [spread_additive(own) for own in values[row].tolist()], to_table(bundle[row], unsold[row])
        )
        assert sales.bundles[row].tolist() == list(award.bundles)
        assert sales.payments[row].tolist() == list(award.payments)


def test_one_table_for_all_profiles_is_the_batch_executors():
    values, _ = draw("r1_high", 3, 3, 12_000)  # more than a chunk
    table = expand(find_counts("r1_high-3x3"))
    sales = maximise(values, np.array(table.bundle), np.array(table.unsold))
    bundles, payments = execute_batch(values, table)
    assert np.array_equal(sales.bundles, bundles)
    assert np.array_equal(sales.payments, payments)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_second_price_is_the_maximiser_with_reserves_and_nothing_else(buyers, models, seed, reserve):
    values = stream(seed, "profiles").integers(0, 5, (20, buyers, models))
    sales = second_price(values, reserve)
    table = np.zeros(1 << models, dtype=np.int64), spread_additive_batch(np.full(models, reserve))
    same = maximise(values, *table)
    assert np.array_equal(sales.bundles, same.bundles)
    assert np.array_equal(sales.payments, same.payments)


def test_second_price_of_one_sale():
    bids = np.array([[[7, 0, 4], [9, 0, 4], [2, 0, 1]]])
    sales = second_price(bids)
    assert sales.bundles.tolist() == [[0b100, 0b001, 0]]  # nobody wants the second; the first of equals wins
    assert sales.payments.tolist() == [[4, 7, 0]]


Q = 0.7
CLOSED = {
    # interest, buyers, to revenue per model of second price and of item-wise Myerson, by hand
    (1.0, 2): (1 / 3, 5 / 12),
    (1.0, 3): (1 / 2, 17 / 32),
    (Q, 3): (
        Q**2 * (1 - Q) + Q**3 / 2,
        3 * Q * (1 - Q) ** 2 / 4 + 3 * Q**2 * (1 - Q) * 5 / 12 + Q**3 * 17 / 32,
    ),
}


@pytest.mark.parametrize(("interest", "buyers"), CLOSED)
def test_expected_revenue_is_what_is_found_by_hand(interest, buyers):
    for reserve, expected in zip((0.0, 0.5), CLOSED[interest, buyers], strict=True):
        assert abs(expect_uniform_revenue(buyers, interest, reserve) - expected) < 1e-12


@pytest.mark.parametrize(("name", "buyers"), [("u01", 2), ("u01", 3), ("r1_high", 3), ("r1_high", 5)])
def test_sampled_revenue_is_the_closed_form(name, buyers):
    values, reputations = draw(name, buyers, 2)
    for reserve in (0, HALF):
        interest = MARKETS[name].interest / MILLION
        expected = expect_uniform_revenue(buyers, interest, reserve / MILLION)
        revenue = estimate_revenue(second_price(values, reserve), reputations)
        assert abs(revenue.plain - 2 * expected) < 3.5 * revenue.plain_error


def test_weighted_revenue_counts_what_each_buyer_gets():
    reputations = np.array([[1_000_000, 500_000]])
    assert mean_reputations(np.array([[0b11, 0b10, 0]]), reputations).tolist() == [[0.75, 0.5, 0.0]]
    revenue = estimate_revenue(second_price(np.array([[[8, 6], [4, 2]]]) * MILLION), reputations)
    assert (revenue.plain, revenue.weighted) == (6.0, 4.5)


@pytest.mark.parametrize("size", [(2, 2), (3, 4), (1, 3)])
def test_revenue_by_counts_is_the_executors(size):
    buyers, models = size
    values = stream(1, "by counts").integers(0, MILLION, (200, buyers, models))
    boosts = CountBoosts(
        bundle=(0, -64_000, 97_000, 150_000, 220_000)[: models + 1],
        unsold=(0, 412_000, 1_007_000, 1_500_000, 2_300_000)[: models + 1],
    )
    _, payments = execute_batch(values, expand(boosts))
    assert np.array_equal(compute_count_revenues(values, boosts), payments.sum(axis=1))


def test_learned_boosts_earn_more_than_myerson():
    """On the same profiles, by more than four standard errors of the difference."""
    for network, name, buyers, models in (
        ("r1", "r1_high", 3, 3),
        ("r1_plain", "r1_low", 4, 2),
        ("u01", "u01_scaled", 3, 3),
    ):
        values, reputations = draw(name, buyers, models, 10_000)
        reserves = reputations // 2 if MARKETS[name].scaled else np.full_like(reputations, HALF)
        zero = np.zeros((1, 1 << models), dtype=np.int64).repeat(len(values), axis=0)
        learned = maximise(values, *export_tables(load_network(network), reputations))
        gain = learned.payments.sum(axis=1) - maximise(
            values, zero, spread_additive_batch(reserves)
        ).payments.sum(axis=1)
        assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5


def test_counts_learn_in_a_few_steps_and_the_same_twice():
    market, few = find_market("u01", 2, 2), CountTraining(profiles=2_000, steps=60, batch=1_000)
    boosts = train_counts(market, few, 1)
    assert boosts == train_counts(market, few, 1)
    values, _ = draw("u01", 2, 2)
    gain = compute_count_revenues(values, boosts) - second_price(values, HALF).payments.sum(axis=1)
    assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5


def test_reputations_scale_values_only_where_the_market_says_so():
    market = Market(buyers=2, models=2, least_reputation=500_000, most_reputation=500_000, scaled=True)
    values, reputations = sample_profiles(market, 2_000, stream(1, "scaled"))
    assert (reputations == HALF).all()
    assert 490_000 < values.max() < HALF
    values, _ = draw("r1_high", 2, 2)
    assert abs((values > 0).mean() - Q) < 0.01


def test_invalid_markets():
    with pytest.raises(UserError, match=r"no such market; did you mean 'u01'"):
        find_market("uo1", 2, 2)
    with pytest.raises(UserError, match="buyers = 9"):
        find_market("u01", 9, 2)
    with pytest.raises(UserError, match="models must be alike"):
        train_counts(find_market("u01_scaled", 2, 2), CountTraining(), 1)
    with pytest.raises(UserError, match="did you mean 'u01-3x3'"):
        find_counts("u01-2x3")
    with pytest.raises(UserError, match="allowed: r1, r1_plain, u01"):
        load_network("r2")

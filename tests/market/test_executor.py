"""The affine maximiser in integers, held against its definition: every award tried, every payment recomputed."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.market.auction.batched import MOST_AMOUNT, execute_batch, spread_additive_batch
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.tables import (
    BoostTable,
    keeps_asks,
    raise_to_asks,
    reserve_table,
    scale_table,
    subsets,
)


@st.composite
def tables(draw, most_models=3, span=6):
    """Small boosts, so that ties are common."""
    size = 1 << draw(st.integers(1, most_models))
    boosts = st.integers(-span, span)
    bundle = draw(st.lists(boosts, min_size=size - 1, max_size=size - 1))
    unsold = draw(st.lists(boosts, min_size=size, max_size=size))
    return BoostTable(bundle=(0, *bundle), unsold=tuple(unsold))


@st.composite
def auctions(draw, most_buyers=3, span=6):
    """A table and bids of all shapes: additive ones and arbitrary bundles."""
    table = draw(tables(span=span))
    amounts = st.integers(0, 2 * span)
    count, size = draw(st.integers(0, most_buyers)), len(table.bundle)
    bids = []
    for _ in range(count):
        if draw(st.booleans()):
            own = draw(st.lists(amounts, min_size=table.models, max_size=table.models))
            bids.append(spread_additive(own))
        else:
            bids.append((0, *draw(st.lists(amounts, min_size=size - 1, max_size=size - 1))))
    return table, bids


def enumerate_awards(bids, table):
    """Every assignment of models to buyers or to nobody, with its welfare."""
    for owners in product(range(len(bids) + 1), repeat=table.models):
        held = [sum(1 << j for j, o in enumerate(owners) if o == who) for who in range(len(bids) + 1)]
        boosts = sum(table.bundle[s] for s in held[:-1]) + table.unsold[held[-1]]
        yield tuple(held[:-1]), boosts + sum(own[s] for own, s in zip(bids, held[:-1], strict=True))


@given(auctions())
def test_the_award_is_the_best_and_its_ties_are_the_documented_ones(auction):
    table, bids = auction
    award = execute(bids, table)
    awards = list(enumerate_awards(bids, table))
    best = max(welfare for _, welfare in awards)
    assert award.welfare == best
    leading = [bundles for bundles, welfare in awards if welfare == best]
    assert award.bundles == min(leading, key=lambda bundles: bundles[::-1])


@given(auctions())
def test_everybody_pays_what_their_presence_costs_the_others(auction):
    table, bids = auction
    award = execute(bids, table)
    for i, own in enumerate(bids):
        silent = [bid if k != i else (0,) * len(own) for k, bid in enumerate(bids)]
        without = max(welfare for _, welfare in enumerate_awards(silent, table))
        assert award.payments[i] == without - (award.welfare - own[award.bundles[i]])
        assert 0 <= award.payments[i] <= own[award.bundles[i]]


@given(auctions(), st.data())
def test_no_lie_pays(auction, data):
    table, bids = auction
    if not bids:
        return
    liar = data.draw(st.integers(0, len(bids) - 1))
    lies = st.lists(st.integers(0, 15), min_size=len(table.bundle) - 1, max_size=len(table.bundle) - 1)
    told = [bid if k != liar else (0, *data.draw(lies)) for k, bid in enumerate(bids)]
    honest, lied = execute(bids, table), execute(told, table)
    own = bids[liar]
    assert own[lied.bundles[liar]] - lied.payments[liar] <= own[honest.bundles[liar]] - honest.payments[liar]


@given(auctions(), st.data())
def test_the_batch_is_the_same(auction, data):
    table, bids = auction
    others = data.draw(st.lists(st.permutations(bids), min_size=1, max_size=3)) if bids else [[]]
    whole = np.array([bids, *others], dtype=np.int64).reshape(len(others) + 1, len(bids), len(table.bundle))
    bundles, payments = execute_batch(whole, table)
    for row, told in enumerate([bids, *others]):
        award = execute(told, table)
        assert (tuple(bundles[row]), tuple(payments[row])) == (award.bundles, award.payments)


def test_the_batch_is_the_same_at_market_sizes():
    rng = np.random.default_rng(1)
    for buyers, models in ((3, 5), (8, 5), (5, 3), (2, 7)):
        table = BoostTable(
            bundle=(0, *rng.integers(-300_000, 300_000, 2**models - 1).tolist()),
            unsold=tuple(rng.integers(0, 900_000, 2**models).tolist()),
        )
        values = rng.integers(0, 1_000_001, (20, buyers, models))
        bundles, payments = execute_batch(values, table)
        for row, own in enumerate(spread_additive_batch(values).tolist()):
            award = execute(own, table)
            assert (tuple(bundles[row]), tuple(payments[row])) == (award.bundles, award.payments)


@given(tables(span=30), st.data())
def test_nobody_pays_less_than_sellers_ask(table, data):
    asks = data.draw(st.lists(st.integers(0, 40), min_size=table.models, max_size=table.models))
    raised = raise_to_asks(table, asks)
    assert keeps_asks(raised, asks)
    bids = [
        spread_additive(data.draw(st.lists(st.integers(0, 99), min_size=table.models, max_size=table.models)))
        for _ in range(2)
    ]
    award = execute(bids, raised)
    for won, paid in zip(award.bundles, award.payments, strict=True):
        assert paid >= sum(ask for j, ask in enumerate(asks) if won >> j & 1)


@given(tables(span=30))
def test_asks_that_hold_already_change_nothing(table):
    if keeps_asks(table, [0] * table.models):
        assert raise_to_asks(table, [0] * table.models) == table


def test_a_reserve_a_model_is_second_price_with_a_reserve():
    table = reserve_table(2, 500_000)
    bids = [spread_additive([900_000, 400_000]), spread_additive([700_000, 300_000])]
    award = execute(bids, table)
    assert award.bundles == (0b01, 0)
    assert award.payments == (700_000, 0)
    assert execute([spread_additive([900_000, 400_000])], table).payments == (500_000,)


def test_scaling_is_of_every_boost_and_rounds_down():
    table = BoostTable(bundle=(0, -3), unsold=(0, 3))
    assert scale_table(table, 500_000) == BoostTable(bundle=(0, -2), unsold=(0, 1))


@given(st.integers(0, 2**8 - 1))
def test_subsets_are_all_and_ascend(bundle):
    found = list(subsets(bundle))
    assert found == sorted(set(found))
    assert len(found) == 2 ** bundle.bit_count()
    assert all(part & ~bundle == 0 for part in found)


@given(tables(), st.data())
def test_the_digest_tells_any_two_tables_apart(table, data):
    place = data.draw(st.integers(1, len(table.bundle) - 1))
    changed = list(table.bundle)
    changed[place] += 1
    assert table.compute_digest() != BoostTable(bundle=tuple(changed), unsold=table.unsold).compute_digest()


@pytest.mark.parametrize(
    ("bundle", "unsold"),
    [
        ((0, 0), (0, 0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((0,), (0,)),
        ((1, 0), (0, 0)),
        ((0, 2**62 + 1), (0, 0)),
    ],
)
def test_invalid_table(bundle, unsold):
    with pytest.raises(ValueError, match="boost"):
        BoostTable(bundle=bundle, unsold=unsold)


@pytest.mark.parametrize("bid", [(0, 1, 2), (1, 0, 0, 0), (0, -1, 0, 0)])
def test_invalid_bid(bid):
    with pytest.raises(ValueError, match="allowed: 4, the first 0"):
        execute([bid], reserve_table(2, 5))


@pytest.mark.parametrize(
    "bids",
    [
        np.zeros((2, 4), dtype=np.int64),
        np.zeros((1, 1, 3), dtype=np.int64),
        np.full((1, 1, 4), -1, dtype=np.int64),
        np.ones((1, 1, 4), dtype=np.int64),
        np.full((1, 1, 2), MOST_AMOUNT + 1, dtype=np.int64),
    ],
)
def test_invalid_batch(bids):
    with pytest.raises(ValueError, match=r"bids of shape|an amount|a bid for nothing"):
        execute_batch(bids, reserve_table(2, 5))


@pytest.mark.parametrize("asks", [[1], [1, -1]])
def test_invalid_asks(asks):
    with pytest.raises(ValueError, match="allowed: one each"):
        raise_to_asks(reserve_table(2, 5), asks)

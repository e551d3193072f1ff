"""Every auction by name keeps the laws; Myerson's, menus, sellers' shares; plug-ins; the paper's network."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.market.auction import registry
from platoon.market.auction.batched import spread_additive_batch
from platoon.market.auction.dla import (
    DeepAuction,
    DlaSettings,
    compute_dla_digest,
    compute_gains,
    compute_revenue,
    draw,
    estimate_dla_revenue,
    estimate_regret,
    find_preset,
    train_dla,
)
from platoon.market.auction.evaluation import Sales
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.markets import find_market, sample_profiles
from platoon.market.auction.menu import Menu, choose, optimise_counts, sell_without_prior
from platoon.market.auction.myerson import exponential, find_reserve, ironed, myerson, sell, uniform
from platoon.market.auction.registry import AUCTIONS, AuctionRule, resolve_auction
from platoon.market.auction.sellers import split, split_by_marginals, split_by_shapley
from platoon.market.auction.trained import find_menu
from platoon.nouns import MILLION
from platoon.rng import stream
from platoon.testing import check_auction


@pytest.mark.parametrize("name", AUCTIONS)
def test_every_auction_keeps_the_laws(name):
    check_auction(resolve_auction(name), trials=6)


@pytest.mark.parametrize("name", [name for name, rule in AUCTIONS.items() if rule.table is not None])
def test_what_is_registered_is_what_runs(name):
    rule = AUCTIONS[name]
    values = stream(1, "bids").integers(0, MILLION, (3, 3))
    reputations = np.array([900_000, 950_000, 1_000_000])
    award = execute([spread_additive(own) for own in values.tolist()], rule.table(reputations))
    sales = rule.run(values, reputations)
    assert sales.payments[0].tolist() == list(award.payments)


def first_price(bids, _):
    winners = bids.argmax(axis=0)
    won = winners == np.arange(len(bids))[:, None]
    return Sales(
        bundles=(won << np.arange(bids.shape[1])).sum(axis=1)[None],
        payments=np.where(won, bids, 0).sum(axis=1)[None],
    )


def everything_to_all(bids, _):
    return Sales(
        bundles=np.full((1, len(bids)), (1 << bids.shape[1]) - 1),
        payments=np.zeros((1, len(bids)), dtype=np.int64),
    )


def entrance_fee(bids, _):
    return Sales(
        bundles=np.zeros((1, len(bids)), dtype=np.int64), payments=np.ones((1, len(bids)), dtype=np.int64)
    )


@pytest.mark.parametrize(
    ("run", "law"),
    [
        (first_price, "gains"),
        (everything_to_all, "sells a model once"),
        (entrance_fee, "pays for nothing"),
        (lambda bids, _: Sales(bundles=np.zeros((1, 1)), payments=np.zeros((1, 1))), "shape"),
    ],
)
def test_the_laws_catch_what_breaks_them(run, law):
    with pytest.raises(AssertionError, match=law):
        check_auction(AuctionRule(run=run))


class Point:
    """An installed package's entry point."""

    name, value = "theirs", "their_package:theirs"

    def __init__(self, thing):
        self.thing = thing

    def load(self):
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def test_a_plug_in_is_found_by_its_name(monkeypatch):
    theirs = AuctionRule(run=everything_to_all, exclusive=False)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [Point(theirs)] if "auctions" in group else []
    )
    assert resolve_auction("theirs") is theirs


@pytest.mark.parametrize(
    ("thing", "words"),
    [(ImportError("no such module"), "does not load"), (first_price, "is no platoon AuctionRule")],
)
def test_invalid_plug_ins(monkeypatch, thing, words):
    monkeypatch.setattr(registry, "entry_points", lambda group: [Point(thing)])
    with pytest.raises(UserError, match=words):
        resolve_auction("theirs")


def test_invalid_names():
    with pytest.raises(UserError, match="did you mean 'second_price'"):
        resolve_auction("secondprice")
    with pytest.raises(UserError, match="did you mean 'u01-2'"):
        find_menu("u01-22")


def test_the_document_names_every_auction():
    document = (Path(__file__).parents[2] / "docs" / "market" / "auction.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE) == list(AUCTIONS)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 15))
@settings(max_examples=200, deadline=None)
def test_no_lie_gains_in_myersons_auction_whatever_the_virtual_values(bids, who, lie):
    rules = [uniform(0, 10), exponential(3), ironed([1, 1, 9, 9, 9, 10]), uniform(2, 8)][: len(bids)]
    who %= len(bids)

    def utility(told):
        sale = sell([*bids[:who], told, *bids[who + 1 :]], rules)
        return bids[who] - sale.price if sale.winner == who else 0

    assert utility(lie) <= utility(bids[who])
    assert utility(bids[who]) >= 0


def test_reserves_of_known_distributions():
    assert find_reserve(uniform(0, MILLION)) == MILLION // 2 + 1
    assert find_reserve(exponential(MILLION)) == MILLION + 1
    learned = find_reserve(ironed(stream(1, "samples").integers(0, MILLION, 20_000).tolist()))
    assert abs(learned - MILLION // 2) < 40_000


def test_myersons_auction_is_the_maximiser_with_reserves_up_to_a_unit_a_model():
    values = stream(1, "bids").integers(0, MILLION, (3, 4))
    bundles, payments = myerson(values, [uniform(0, MILLION)] * 4)
    sales = AUCTIONS["myerson"].run(values, np.full(4, MILLION))
    assert bundles == sales.bundles[0].tolist()
    assert np.abs(np.array(payments) - sales.payments[0]).max() <= 4


def test_ironed_values_never_fall():
    samples = [*stream(1, "two humps").integers(0, 300_000, 500), *[900_000] * 40]
    phi = ironed([int(sample) for sample in samples])
    worth = [phi(value) for value in range(0, MILLION, 5_000)]
    assert worth == sorted(worth)


@given(
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_choosing_from_a_menu_is_best_whatever_it_asks(prices, values, lie):
    menu = Menu(prices=(0, *prices))
    worth = spread_additive_batch(np.array(values))

    def utility(told):
        sales = choose(menu, np.array([[told]]))
        return worth[sales.bundles[0, 0]] - sales.payments[0, 0]

    assert utility(lie) <= utility(values)
    assert utility(values) >= 0


def test_learned_licences_earn_what_is_known():
    """One model, U[0, 1]: 1/4 a buyer at price 1/2; three: .8757 (prices by size)."""
    for models, known in ((1, 0.25), (3, 0.8757)):
        values, _ = sample_profiles(find_market("u01", 1, models), 40_000, stream(2, "menu"))
        paid = choose(find_menu(f"u01-{models}"), values).payments[:, 0] / MILLION
        assert abs(paid.mean() - known) < 3.5 * paid.std() / 200 + 0.0005


def test_prices_are_learned_from_values():
    # selling to the 60 who value it at 100 earns more than to all 100 at 50
    values = np.array([[100]] * 60 + [[50]] * 40)
    assert optimise_counts(values) == (99,)  # who would gain nothing does not buy
    # both models together to everybody at 139 earn more than one to each at 99
    (_, both) = optimise_counts(np.tile([[100, 40], [40, 100]], (50, 1)))
    assert 120 <= both < 140


def test_without_a_prior_nobodys_bid_moves_its_own_prices():
    values = stream(1, "bids").integers(0, MILLION, (12, 2))
    sales = sell_without_prior(values, seed=3)
    raised = values.copy()
    raised[5] *= 3
    again = sell_without_prior(raised, seed=3)
    if again.bundles[0, 5] == sales.bundles[0, 5]:
        assert again.payments[0, 5] == sales.payments[0, 5]
    assert sales.payments.sum() > 0
    assert sell_without_prior(values[:1], seed=3).payments.sum() == 0


def test_invalid_menus():
    with pytest.raises(UserError, match="3 prices"):
        Menu(prices=(0, 1, 2))
    with pytest.raises(UserError, match="less than nothing"):
        Menu(prices=(0, -1))
    with pytest.raises(UserError, match="values of 3 models for a menu of 1"):
        choose(Menu(prices=(0, 1)), np.zeros((1, 1, 3), dtype=np.int64))


@given(
    st.integers(0, 10**12),
    st.lists(st.integers(0, 10**9), min_size=8, max_size=8),
    st.integers(1, 7),
    st.lists(st.integers(0, MILLION), min_size=3, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_shares_of_a_bundles_sellers_add_up_to_the_payment(payment, bids, bundle, reputations):
    bids[0] = 0
    for rule in (split_by_marginals, split_by_shapley):
        shares = rule(payment, bids, bundle, reputations)
        assert sum(shares.values()) == payment
        assert min(shares.values()) >= 0
        assert sum(1 << j for j in shares) == bundle
        if bundle.bit_count() == 1:
            assert list(shares.values()) == [payment]


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=2, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_larger_weight_never_gets_less(payment, weights):
    shares = split(payment, weights)
    for (one, own), (other, theirs) in zip(
        zip(weights, shares, strict=True), zip(weights[1:], shares[1:], strict=False), strict=False
    ):
        assert one == other or (own >= theirs) == (one > other) or own == theirs


def test_shares_of_models_that_need_each_other():
    # only together are the first two worth 60; the third adds 30 alone
    bids = [0, 0, 0, 60, 30, 30, 30, 90]
    assert split_by_shapley(90, bids, 7, [MILLION] * 3) == {0: 30, 1: 30, 2: 30}
    assert split_by_marginals(150, bids, 7, [MILLION] * 3) == {0: 60, 1: 60, 2: 30}


def test_invalid_splits():
    for arguments in ((-1, [1]), (1, []), (1, [-1, 2])):
        with pytest.raises(UserError, match="allowed: one weight or more"):
            split(*arguments)
    with pytest.raises(UserError, match="no models"):
        split_by_marginals(1, [0], 0, [])
    with pytest.raises(UserError, match="bundle of 6 models"):
        split_by_shapley(1, [0] * 64, 63, [MILLION] * 6)


TINY = DlaSettings(
    steps=3, hidden=6, groups=2, pieces=2, batch=16, lie_steps=2, multiplier_every=2, penalty_every=2
)


@pytest.fixture(scope="module")
def network():
    return train_dla(find_market("r1_high", 2, 3), TINY, 1)


def test_the_papers_network_awards_no_more_than_there_is_and_charges_no_more_than_was_bid(network):
    values, reputations = draw(find_market("r1_high", 2, 3), 50, stream(1, "profiles"))
    shares, payments = network.award(values, reputations)
    assert (shares.sum(dim=1) <= 1 + 1e-6).all()
    assert (shares >= 0).all()
    assert (payments <= (shares * values).sum(dim=2) + 1e-6).all()
    assert (payments >= 0).all()
    other = network.award(values, reputations * 0.5)
    assert not torch.equal(other[0], shares), "reputations do not reach the network"


def test_the_transformation_of_bids_never_falls(network):
    """With all else equal, a higher bid enters the hidden layers as no lower number."""
    bids = torch.linspace(0, 1, 50)
    lines = bids[:, None, None] * network.slopes[0].exp() + network.offsets[0]
    entered = lines.min(dim=-1).values.max(dim=-1).values
    assert (entered.diff() >= 0).all()


def test_telling_the_truth_gains_nothing_and_lies_count_only_for_the_liar(network):
    values, reputations = draw(find_market("r1_high", 2, 3), 20, stream(1, "profiles"))
    assert compute_gains(network, values, reputations, values.clone()).abs().max() < 1e-6
    lies = values.clone()
    lies[:, 1] = 0.9
    gains = compute_gains(network, values, reputations, lies)
    assert gains[:, 0].abs().max() < 1e-6
    shares, payments = network.award(lies, reputations)
    honest, paid = network.award(values, reputations)
    expected = ((shares - honest) * values).sum(dim=2)[:, 1] - (payments - paid)[:, 1]
    assert torch.allclose(gains[:, 1], expected, atol=1e-6)


def test_more_searching_finds_no_less_regret(network):
    market = find_market("r1_high", 2, 3)
    little = estimate_regret(network, market, 1, profiles=100, starts=1, steps=5)
    more = estimate_regret(network, market, 1, profiles=100, starts=5, steps=5)
    assert 0 <= little[0] <= more[0] <= more[1]
    assert more[0] > 0  # three steps of training make nobody truthful


def test_the_papers_network_is_bound_by_a_digest_and_the_same_twice(network):
    market = find_market("r1_high", 2, 3)
    digest = compute_dla_digest(network)
    assert digest == compute_dla_digest(train_dla(market, TINY, 1))
    written = DlaSettings(**{**{name: getattr(TINY, name) for name in TINY.__slots__}, "as_written": True})
    assert digest != compute_dla_digest(train_dla(market, written, 1))
    other = DeepAuction(market, TINY, stream(1, "other"))
    before = compute_dla_digest(other)
    with torch.no_grad():
        other.charging[-1][0, 0] += 1e-3
    assert compute_dla_digest(other) != before


def test_weighted_revenue_is_less_than_plain(network):
    market = find_market("r1_low", 2, 3)
    values, reputations = draw(market, 200, stream(1, "profiles"))
    plain, weighted = (
        compute_revenue(network, values, reputations, kind).item() for kind in ("plain", "weighted")
    )
    assert 0.7 * plain <= weighted <= 0.9 * plain
    revenue, error = estimate_dla_revenue(network, market, 1, 2_000, "plain")
    assert abs(revenue - plain) < 0.2 * plain
    assert error > 0


def test_invalid_settings_of_the_papers_network():
    with pytest.raises(UserError, match="did you mean 'small'"):
        find_preset("smal")
    with pytest.raises(UserError, match="layers = 1"):
        DlaSettings(steps=1, layers=1)
    with pytest.raises(UserError, match="steps = 0"):
        DlaSettings(steps=0)

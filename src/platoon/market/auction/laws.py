"""The laws that every auction has to keep; ``platoon.testing`` offers them to plug-in authors."""

from typing import Final

import numpy as np

from platoon.market.auction.batched import spread_additive_batch
from platoon.market.auction.evaluation import Sales
from platoon.market.auction.registry import AuctionRule
from platoon.nouns import MILLION, Ints
from platoon.rng import stream

LIES: Final = 12
"""Other bids that every buyer tries in every auction of the trial."""


def check_auction(rule: AuctionRule, *, trials: int = 20) -> None:
    """Hold an auction to its laws, on markets of 2 to 4 buyers and 1 to 4 models with values that add up.

    Bundles and payments are whole numbers (1, n); nobody pays a negative sum, or anything for nothing, or more
    than its bid for what it gets; an exclusive auction sells a model once; the same bids give the same sale; the
    arguments are left as they are; and no buyer gains by bidding anything but its values.

    >>> from platoon.market.auction.registry import AUCTIONS
    >>> check_auction(AUCTIONS["second_price"], trials=2)
    """
    for trial in range(trials):
        rng = stream(trial, "auction laws")
        buyers, models = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        values = rng.integers(0, MILLION, (buyers, models), endpoint=True)
        values *= rng.integers(0, 4, values.shape) > 0
        reputations = rng.integers(0, MILLION, models, endpoint=True)
        sales = _run(rule, values, reputations)
        again = _run(rule, values, reputations)
        assert np.array_equal(sales.bundles, again.bundles), "the same bids must give the same sale"
        assert np.array_equal(sales.payments, again.payments), "the same bids must give the same payments"
        honest = _utilities(values, sales)
        assert (honest >= 0).all(), "nobody pays more than its bid"
        for buyer in range(buyers):
            for lie in _lies(rng, values, buyer):
                told = values.copy()
                told[buyer] = lie
                gained = _utilities(values, _run(rule, told, reputations))[buyer] - honest[buyer]
                assert gained <= 0, (
                    f"buyer {buyer} gains {gained} by bidding {lie.tolist()} instead of its values"
                )


def _run(rule: AuctionRule, bids: Ints, reputations: Ints) -> Sales:
    """The sale, held to what needs no second one."""
    given = bids.copy(), reputations.copy()
    sales = rule.run(*given)
    unchanged = np.array_equal(given[0], bids) and np.array_equal(given[1], reputations)
    assert unchanged, "the auction changed its arguments"
    shape = (1, len(bids))
    for name, column in (("bundles", sales.bundles), ("payments", sales.payments)):
        assert column.shape == shape, f"{name} have the shape {column.shape}, not {shape}"
        assert np.issubdtype(column.dtype, np.integer), f"{name} are {column.dtype}, not whole numbers"
    bundles, payments = sales.bundles[0], sales.payments[0]
    assert ((bundles >= 0) & (bundles < 1 << bids.shape[1])).all(), "a bundle of models that are not for sale"
    assert (payments >= 0).all(), "nobody is paid for buying"
    assert (payments[bundles == 0] == 0).all(), "nobody pays for nothing"
    if rule.exclusive:
        assert np.bitwise_or.reduce(bundles) == bundles.sum(), "an exclusive auction sells a model once"
    return sales


def _utilities(values: Ints, sales: Sales) -> Ints:
    """(n,) what each buyer's bundle is worth to it beyond its payment."""
    worth = spread_additive_batch(values)[np.arange(len(values)), sales.bundles[0]]
    return np.asarray(worth - sales.payments[0])


def _lies(rng: np.random.Generator, values: Ints, buyer: int) -> list[Ints]:
    """Bids scaled, drawn anew, a little off the others', for one model alone, and for none."""
    own, models = values[buyer], values.shape[1]
    others = np.delete(values, buyer, axis=0).max(axis=0)
    lies = [own * percent // 100 for percent in (0, 50, 90, 110, 150)]
    lies += [others + offset for offset in (1, 0)] + [np.maximum(others - 1, 0)]
    lies += [np.where(np.arange(models) == rng.integers(models), own, 0)]
    lies += [rng.integers(0, MILLION, models, endpoint=True) for _ in range(LIES - len(lies))]
    return lies

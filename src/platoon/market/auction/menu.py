"""Licences that exclude nobody: every buyer chooses from posted prices of bundles.

A model can be copied, so there is nothing to allocate: a price for each bundle is all that an auction can be for
one buyer, the buyer takes what leaves most, and telling the truth is choosing well: exactly truthful, whatever the
prices.
Prices are learned for a market (``learn_prices``), or, without a prior, from the other half of the buyers
(``sell_without_prior``: random sampling, Goldberg et al. 2001).

Source of the single-buyer menu: Manelli and Vincent 2006 (prices by bundle size for U[0, 1]), Duetting et al. 2019
(RochetNet).
"""

from dataclasses import dataclass

import numpy as np

from platoon.errors import UserError
from platoon.market.auction.batched import spread_additive_batch
from platoon.market.auction.evaluation import Sales
from platoon.market.auction.markets import Market, sample_profiles
from platoon.market.auction.tables import MOST_MODELS
from platoon.nouns import Ints
from platoon.rng import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """Prices of all bundles, 10^-6.

    >>> Menu(prices=(0, 500_000)).models
    1
    """

    prices: tuple[int, ...]
    """(2^m,); nothing costs nothing."""

    def __post_init__(self) -> None:
        size = len(self.prices)
        if size.bit_count() != 1 or not 2 <= size <= 1 << MOST_MODELS:
            raise UserError(f"a menu of {size} prices; allowed: 2^m, m from 1 to {MOST_MODELS}")
        if self.prices[0] != 0 or min(self.prices) < 0:
            raise UserError(
                "a menu asks for nothing, or less than nothing; allowed: the first price 0, none negative"
            )

    @property
    def models(self) -> int:
        return len(self.prices).bit_length() - 1


def expand_counts(prices: Ints | tuple[int, ...]) -> Menu:
    """The menu whose bundles cost by their size, (m,) for 1 to m models.

    >>> expand_counts((5, 7)).prices
    (0, 5, 5, 7)
    """
    sizes = [bundle.bit_count() for bundle in range(1 << len(prices))]
    return Menu(prices=tuple(0 if size == 0 else int(prices[size - 1]) for size in sizes))


def choose(menu: Menu, values: Ints) -> Sales:
    """What buyers of additive values (P, n, m) choose, each for itself; of equals the lowest bundle.

    >>> sales = choose(Menu(prices=(0, 5, 5, 7)), np.array([[[4, 4], [9, 1]]]))
    >>> sales.bundles.tolist(), sales.payments.tolist()
    ([[3, 1]], [[7, 5]])
    """
    if values.shape[2] != menu.models:
        raise UserError(f"values of {values.shape[2]} models for a menu of {menu.models}")
    prices = np.array(menu.prices)
    bundles = (spread_additive_batch(values) - prices).argmax(axis=2)
    return Sales(bundles=bundles, payments=prices[bundles])


def learn_prices(market: Market, seed: int, profiles: int = 100_000, sweeps: int = 8) -> tuple[int, ...]:
    """Prices (m,) of 1 to m models for a market of exchangeable models: by ascent in one price at a time.

    Every sweep tries 13 prices around each price on the same values, in steps that shrink to half. A price is kept
    unless another one earns more. No gradient: the revenue of a finite sample jumps.

    Raises:
        UserError: values are scaled by reputations that differ.
    """
    if market.scaled and market.least_reputation != market.most_reputation:
        raise UserError("prices by size: values are scaled by reputations that differ: models must be alike")
    values, _ = sample_profiles(market, profiles // market.buyers, stream(seed, "menu"))
    return optimise_counts(values.reshape(-1, market.models), sweeps)


def optimise_counts(values: Ints, sweeps: int = 8) -> tuple[int, ...]:
    """Prices (m,) by size that earn most of these buyers, values (B, m), as far as ascent finds them."""
    best = np.cumsum(-np.sort(-values, axis=1), axis=1)  # (B, m) the best bundle of each size
    prices = np.maximum(1, best.mean(axis=0).astype(np.int64))
    step = max(1, int(best.max()) // 12)
    for _ in range(sweeps):
        for size in range(len(prices)):
            tried = [max(0, int(prices[size]) + step * offset) for offset in (0, *range(-6, 0), *range(1, 7))]
            prices[size] = max(tried, key=lambda price: _earn(best, prices, size, price))
        step = max(1, step // 2)
    return tuple(prices.tolist())


def sell_without_prior(values: Ints, seed: int) -> Sales:
    """Each half of the buyers, drawn by the seed before anybody bids, pays prices that suit the other half.

    Nobody's bid moves what it pays, so it is exactly truthful without knowing anything of values. Values are (n, m)
    of one sale; an empty half teaches that nothing is sold.
    """
    half = stream(seed, "halves").permutation(len(values)) < len(values) // 2
    bundles, payments = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64)
    for buyers, teachers in ((half, ~half), (~half, half)):
        if buyers.any() and teachers.any():
            sales = choose(expand_counts(optimise_counts(values[teachers])), values[None, buyers])
            bundles[buyers], payments[buyers] = sales.bundles[0], sales.payments[0]
    return Sales(bundles=bundles[None], payments=payments[None])


def _earn(best: Ints, prices: Ints, size: int, price: int) -> int:
    """Revenue of all buyers at these prices but one; of equals they take the smallest bundle, or nothing."""
    posted = prices.copy()
    posted[size] = price
    left = best - posted
    chosen = left.argmax(axis=1)
    bought = left.max(axis=1) > 0
    return int(posted[chosen][bought].sum())

"""Auctions by name, and how plug-ins become auctions.

Every auction takes what each buyer bids for each model, (n, m) in 10^-6, and the models' reputations, (m,) in ppm,
and says who gets what and pays what. All of them are exactly truthful, and no truthful bidder loses. The network of
the TL market itself (``dla``) is not among them: it awards lotteries, and is truthful on average only.

A plug-in is an ``AuctionRule``, published as an entry point of the group ``platoon.auctions``;
``platoon.testing.check_auction`` holds the laws that it has to keep.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final

import numpy as np

from platoon.errors import UserError
from platoon.market.auction.boosts import export_table
from platoon.market.auction.evaluation import Sales
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.menu import choose, sell_without_prior
from platoon.market.auction.tables import BoostTable, reserve_table
from platoon.market.auction.trained import find_menu, load_network
from platoon.nouns import MILLION, Ints
from platoon.scenario import did_you_mean

Auction = Callable[[Ints, Ints], Sales]
"""Bids (n, m) in 10^-6 and reputations (m,) in ppm, to what one auction comes to (P = 1)."""
TableRule = Callable[[Ints], BoostTable]
"""Reputations (m,) in ppm, to the boosts that are registered for them."""
UNIFORM_RESERVE: Final = MILLION // 2
"""Myerson's reserve for values uniform in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionRule:
    """An auction, and what it sells."""

    run: Auction
    table: TableRule | None = None
    """The boosts to register, where the auction is an affine maximiser: those run on the ledger."""
    exclusive: bool = True
    """A model goes to one buyer at most; otherwise buyers get licences."""


def from_table(table: TableRule) -> AuctionRule:
    """The affine maximiser with these boosts, for bids that add up."""

    def run(bids: Ints, reputations: Ints) -> Sales:
        award = execute([spread_additive(own) for own in bids.tolist()], table(reputations))
        return Sales(bundles=np.array([award.bundles]), payments=np.array([award.payments]))

    return AuctionRule(run=run, table=table)


def make_reserves(reserve: int) -> TableRule:
    """Second price per model, not below a reserve in 10^-6.

    >>> make_reserves(5)(np.array([MILLION, MILLION])).unsold
    (0, 5, 5, 10)
    """

    return lambda reputations: reserve_table(len(reputations), reserve)


def _learned(name: str) -> AuctionRule:
    return from_table(lambda reputations: export_table(load_network(name), reputations))


def _menu(market: str) -> AuctionRule:
    """Licences at the prices that were learned for a market."""
    return AuctionRule(
        run=lambda bids, reputations: choose(find_menu(f"{market}-{len(reputations)}"), bids[None]),
        exclusive=False,
    )


AUCTIONS: Final[dict[str, AuctionRule]] = {
    "second_price": from_table(make_reserves(0)),
    "myerson": from_table(make_reserves(UNIFORM_RESERVE)),
    "boosts_r1": _learned("r1"),
    "boosts_r1_plain": _learned("r1_plain"),
    "boosts_u01": _learned("u01"),
    "licences_r1": _menu("r1_high"),
    "licences_u01": _menu("u01"),
    "licences_without_prior": AuctionRule(
        run=lambda bids, _: sell_without_prior(bids, seed=0), exclusive=False
    ),
}
"""``boosts_*`` and ``licences_*`` with the parameters that come with the package."""


def resolve_auction(name: str) -> AuctionRule:
    """The auction of that name: one of ``AUCTIONS``, or a plug-in of the group ``platoon.auctions``.

    Raises:
        UserError: there is none of that name, or the entry point is no ``AuctionRule``.
    """
    if name in AUCTIONS:
        return AUCTIONS[name]
    plugins = {point.name: point for point in entry_points(group="platoon.auctions")}
    if name not in plugins:
        raise UserError(
            f"market.auction = {name!r}: no such auction; {did_you_mean(name, [*AUCTIONS, *plugins])}"
        )
    try:
        rule = plugins[name].load()
    except Exception as error:
        raise UserError(
            f"market.auction = {name!r}: {plugins[name].value} does not load ({error})"
        ) from error
    if not isinstance(rule, AuctionRule):
        raise UserError(f"market.auction = {name!r}: {plugins[name].value} is no platoon AuctionRule")
    return rule

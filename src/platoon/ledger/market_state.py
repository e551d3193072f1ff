"""A market as its events tell it: listings, auctions, trades, ratings, menus. A fold, ``apply(state, event)``.

Everything here can be rebuilt from the blocks by anybody. Numbers are as the contracts have them: amounts in 10^-6
tokens, shares in parts per million, times in microseconds of the market's time, traders by their handle.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.nouns import Address, Digest, Instant, Tokens
from platoon.records.listings import Description, Listing

_BEGINNING = Instant(0)


class ListingState(IntEnum):
    """Of ``Catalogue.vy``. A listing that is spoken for is in an auction, or sold by one."""

    OPEN = 1
    SPOKEN_FOR = 2
    WITHDRAWN = 3


class AuctionState(IntEnum):
    """Of ``Auctions.vy``."""

    PROPOSED = 1
    CONFIRMED = 2
    SETTLED = 3


class TradeState(IntEnum):
    """Of ``Trades.vy``."""

    PAID_IN = 1
    DELIVERED = 2
    DISPUTED = 3
    SETTLED = 4
    REFUNDED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A listing in the catalogue."""

    number: int
    seller: int
    """Handle."""
    listing: Listing
    state: ListingState
    listed_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBid:
    """One buyer's part in an auction."""

    buyer: int
    commitment: Digest
    deposit: Tokens
    amounts: tuple[int, ...] | None = None
    """None until it is revealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auction:
    """An auction of exclusive models."""

    number: int
    state: AuctionState
    listings: tuple[int, ...]
    reputations: tuple[int, ...]
    """Of their sellers, frozen when it was proposed."""
    network: Digest
    """Of the registered parameters that the table is made of; zeros for a reserve price a model."""
    scale: int
    """What the network takes for a value of one, 10^-6 tokens."""
    bundle: tuple[int, ...]
    unsold: tuple[int, ...]
    bids_until: Instant
    reveals_until: Instant
    confirmations: int
    bids: tuple[SealedBid, ...] = ()
    """In the order of bidding."""
    bundles: tuple[int, ...] = ()
    """By bid, once it is settled."""
    payments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A sale, from payment to rating."""

    number: int
    listing: int
    buyer: int
    account: Address
    """That the buyer bought with."""
    price: Tokens
    state: TradeState
    due: Instant
    """Until when whoever is next has time."""
    opened_at: Instant
    file: Digest | None = None
    """SHA-256 of the encrypted model."""
    key: Digest | None = None
    accuracy: int | None = None
    """That the buyer measured, ppm; None until it is rated."""
    positive: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """Non-exclusive listings and what several of them cost together."""

    number: int
    listings: tuple[int, ...]
    prices: tuple[int, ...]
    """Of any one, any two, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """Everything that is known of a market."""

    now: Instant = _BEGINNING
    accounts: dict[Address, int] = field(default_factory=dict)
    """Handle of every trader by the account that it was registered with."""
    listings: dict[int, Entry] = field(default_factory=dict)
    auctions: dict[int, Auction] = field(default_factory=dict)
    trades: dict[int, Trade] = field(default_factory=dict)
    menus: dict[int, Menu] = field(default_factory=dict)
    networks: frozenset[Digest] = frozenset()
    """Parameters of learned auctions that were registered."""


Values = dict[str, Any]
_VEHICLE_ROLE = 2


def fold(state: MarketState, events: Iterable[Event]) -> MarketState:
    """The state after some events more."""
    for event in events:
        apply = _FOLDS.get((event.contract, event.name))
        if apply is not None:
            state = apply(state, event.values)
    return state


def _register(state: MarketState, values: Values) -> MarketState:
    if values["role"] != _VEHICLE_ROLE:
        return state
    first = len(state.accounts) + 1
    added = {Address(account): first + i for i, account in enumerate(values["accounts"])}
    return replace(state, accounts=state.accounts | added)


def _tick(state: MarketState, values: Values) -> MarketState:
    return replace(state, now=Instant(values["now"]))


def _list(state: MarketState, values: Values) -> MarketState:
    listing = Listing(
        owner=Address(values["owner"]),
        model=Digest(values["model"]),
        size=values["size"],
        price=Tokens(values["price"]),
        threshold=values["threshold"],
        exclusive=bool(values["exclusive"]),
        at=Instant(values["signed_at"]),
        description=Description.decode(values["document"]),
    )
    entry = Entry(
        number=values["number"],
        seller=values["seller"],
        listing=listing,
        state=ListingState.OPEN,
        listed_at=Instant(values["at"]),
    )
    return replace(state, listings=state.listings | {entry.number: entry})


def _close(state: MarketState, values: Values) -> MarketState:
    entry = replace(state.listings[values["number"]], state=ListingState(values["state"]))
    return replace(state, listings=state.listings | {entry.number: entry})


def _introduce(state: MarketState, values: Values) -> MarketState:
    return replace(state, networks=state.networks | {Digest(values["network"])})


def _propose(state: MarketState, values: Values) -> MarketState:
    auction = Auction(
        number=values["number"],
        state=AuctionState.PROPOSED,
        listings=values["listings"],
        reputations=values["reputations"],
        network=Digest(values["network"]),
        scale=values["scale"],
        bundle=values["bundle"],
        unsold=values["unsold"],
        bids_until=Instant(values["bids_until"]),
        reveals_until=Instant(values["reveals_until"]),
        confirmations=0,
    )
    return replace(state, auctions=state.auctions | {auction.number: auction})


def _change_auction(market: MarketState, number: int, **changes: Any) -> MarketState:
    auction = replace(market.auctions[number], **changes)
    return replace(market, auctions=market.auctions | {number: auction})


def _confirm(state: MarketState, values: Values) -> MarketState:
    number = values["number"]
    changes: Values = {"confirmations": state.auctions[number].confirmations + 1}
    if values["open"]:
        changes["state"] = AuctionState.CONFIRMED
    return _change_auction(state, number, **changes)


def _commit(state: MarketState, values: Values) -> MarketState:
    bid = SealedBid(
        buyer=values["buyer"],
        commitment=Digest(values["commitment"]),
        deposit=Tokens(values["deposit"]),
    )
    number = values["number"]
    return _change_auction(state, number, bids=(*state.auctions[number].bids, bid))


def _reveal(state: MarketState, values: Values) -> MarketState:
    number = values["number"]
    bids = tuple(
        replace(bid, amounts=values["amounts"]) if bid.buyer == values["buyer"] else bid
        for bid in state.auctions[number].bids
    )
    return _change_auction(state, number, bids=bids)


def _settle(state: MarketState, values: Values) -> MarketState:
    return _change_auction(
        state,
        values["number"],
        state=AuctionState.SETTLED,
        bundles=values["bundles"],
        payments=values["payments"],
    )


def _open(state: MarketState, values: Values) -> MarketState:
    trade = Trade(
        number=values["number"],
        listing=values["listing"],
        buyer=values["buyer"],
        account=Address(values["account"]),
        price=Tokens(values["price"]),
        state=TradeState.PAID_IN,
        due=Instant(values["due"]),
        opened_at=Instant(values["at"]),
    )
    return replace(state, trades=state.trades | {trade.number: trade})


def _change_trade(market: MarketState, number: int, **changes: Any) -> MarketState:
    return replace(market, trades=market.trades | {number: replace(market.trades[number], **changes)})


def _send(state: MarketState, values: Values) -> MarketState:
    return _change_trade(
        state,
        values["number"],
        state=TradeState.DELIVERED,
        file=Digest(values["file"]),
        key=Digest(values["key"]),
        due=Instant(values["due"]),
    )


def _question(state: MarketState, values: Values) -> MarketState:
    return _change_trade(state, values["number"], state=TradeState.DISPUTED, due=Instant(values["due"]))


def _end(state: MarketState, values: Values) -> MarketState:
    return _change_trade(state, values["number"], state=TradeState(values["state"]))


def _rate(state: MarketState, values: Values) -> MarketState:
    return _change_trade(state, values["number"], accuracy=values["accuracy"], positive=values["positive"])


def _post(state: MarketState, values: Values) -> MarketState:
    menu = Menu(number=values["number"], listings=values["listings"], prices=values["prices"])
    return replace(state, menus=state.menus | {menu.number: menu})


_FOLDS: dict[tuple[str, str], Callable[[MarketState, Values], MarketState]] = {
    ("Registry", "Registered"): _register,
    ("Catalogue", "Ticked"): _tick,
    ("Catalogue", "Listed"): _list,
    ("Catalogue", "Closed"): _close,
    ("Auctions", "Introduced"): _introduce,
    ("Auctions", "Proposed"): _propose,
    ("Auctions", "Confirmed"): _confirm,
    ("Auctions", "Committed"): _commit,
    ("Auctions", "Revealed"): _reveal,
    ("Auctions", "Settled"): _settle,
    ("Trades", "Opened"): _open,
    ("Trades", "Sent"): _send,
    ("Trades", "Questioned"): _question,
    ("Trades", "Ended"): _end,
    ("Trades", "Rated"): _rate,
    ("Menus", "Posted"): _post,
}

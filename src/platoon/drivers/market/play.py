"""Carrying a trade out on a desk: the protocol's effects as deeds of the parties, in simulated time.

What parties want and have (models, values, own data) comes from ``People``; a party that wants nothing, or fails,
is answered as ``Refused``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, Protocol

from platoon.drivers.market.checks import Terms, suggest_deposit
from platoon.drivers.market.desk import Desk
from platoon.errors import UserError
from platoon.market.auction.boosts import BoostNetwork
from platoon.nouns import Digest, Duration, Instant
from platoon.protocol.trade import TradePlan, TradeReport, play_trade
from platoon.protocol.trade_effects import (
    Adapt,
    Collect,
    Decide,
    Deliver,
    Expire,
    OpenAuction,
    Opened,
    Rate,
    ReadReputations,
    Refused,
    RevealBid,
    Sale,
    SealBid,
    SettleAuction,
    TrainSource,
    Upload,
    WaitUntil,
)
from platoon.records.encoding import compute_content_digest
from platoon.records.listings import Description


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a seller brings to the market."""

    content: bytes
    description: Description
    terms: Terms


class People(Protocol):
    """What the parties want and have; traders by name."""

    def train(self, seller: str) -> Offered:
        """The seller's source model."""

    def value(self, buyer: str, listings: Sequence[int]) -> Sequence[int]:
        """What each listing, or each bundle of them, is worth to the buyer, 10^-6 tokens."""

    def send(self, seller: str, listing: int) -> bytes | None:
        """Another file than the listed one, from a seller that cheats; None for the listed one.

        Raises:
            UserError: the seller sends nothing.
        """

    def adapt(self, buyer: str, content: bytes) -> int:
        """Accuracy on the buyer's own task after fine-tuning, ppm."""


@dataclass(slots=True, kw_only=True)
class SimulatedClock:
    """The market's time, where it is played: it stands still until somebody waits."""

    now: Instant

    def __call__(self) -> Instant:
        return self.now

    def pass_by(self, at: Instant) -> None:
        """Let time pass; never backwards."""
        self.now = Instant(max(self.now, at))


@dataclass(kw_only=True)
class TradePlayer:
    """Plays trades on one desk."""

    desk: Desk
    clock: SimulatedClock
    people: People
    network: BoostNetwork | None
    scale: int
    """What the network takes for a value of one, 10^-6 tokens."""
    window: Duration
    """For bids, and then for reveals."""
    _offers: dict[int, Offered] = field(default_factory=dict)
    _bought: dict[int, bytes] = field(default_factory=dict)

    def play(self, plan: TradePlan) -> TradeReport:
        """Play all six steps."""
        steps = play_trade(plan)
        answer: Any = None
        try:
            while True:
                answer = self._carry_out(steps.send(answer))
        except StopIteration as ended:
            report: TradeReport = ended.value
            return report

    def _carry_out(self, effect: object) -> object:
        try:
            return self._do(effect)
        except UserError as error:
            return Refused(str(error))

    # ---- one deed for each kind of effect -----------------------------------------------------------------------

    @singledispatchmethod
    def _do(self, effect: object) -> object:
        raise TypeError(f"no effect of a trade: {effect!r}")

    @_do.register
    def _(self, effect: TrainSource) -> Digest:
        offer = self.people.train(self.desk.name_of(effect.seller))
        self._offers[effect.seller] = offer
        return compute_content_digest(offer.content)

    @_do.register
    def _(self, effect: Upload) -> int:
        offer = self._offers[effect.seller]
        name = self.desk.name_of(effect.seller)
        return self.desk.publish(name, offer.content, offer.description, offer.terms)

    @_do.register
    def _(self, effect: ReadReputations) -> tuple[int, ...]:
        return self.desk.reputations([self.desk.find_listing(number).seller for number in effect.listings])

    @_do.register
    def _(self, effect: OpenAuction) -> Opened:
        number = self.desk.propose(
            effect.listings,
            network=self.network,
            scale=self.scale,
            bidding=self.window,
            revealing=self.window,
        )
        auction = self.desk.find_auction(number)
        return Opened(auction=number, bids_until=auction.bids_until, reveals_until=auction.reveals_until)

    @_do.register
    def _(self, effect: SealBid) -> None:
        name = self.desk.name_of(effect.buyer)
        listings = self.desk.find_auction(effect.auction).listings
        amounts = self.people.value(name, listings)
        most = sum(amounts) if len(amounts) == len(listings) else max(amounts)
        self.desk.bid(name, effect.auction, amounts, suggest_deposit(most))

    @_do.register
    def _(self, effect: RevealBid) -> None:
        self.desk.reveal(self.desk.name_of(effect.buyer), effect.auction)

    @_do.register
    def _(self, effect: WaitUntil) -> None:
        self.clock.pass_by(effect.at)

    @_do.register
    def _(self, effect: SettleAuction) -> list[Sale]:
        return [self._describe(number) for number in self.desk.settle(effect.auction)]

    @_do.register
    def _(self, effect: Deliver) -> None:
        name = self.desk.name_of(effect.sale.seller)
        self.desk.deliver(name, effect.sale.trade, self.people.send(name, effect.sale.listing))

    @_do.register
    def _(self, effect: Collect) -> None:
        sale = effect.sale
        self._bought[sale.trade] = self.desk.collect(self.desk.name_of(sale.buyer), sale.trade)

    @_do.register
    def _(self, effect: Decide) -> bool:
        sale = effect.sale
        good = self.desk.decide(sale.trade)
        if good:  # the edge servers have opened it, and hand over what they found
            self._bought[sale.trade] = self.desk.open_bought(self.desk.name_of(sale.buyer), sale.trade)
        return good

    @_do.register
    def _(self, effect: Expire) -> None:
        self.clock.pass_by(Instant(self.desk.find_trade(effect.sale.trade).due + 1))
        self.desk.expire(effect.sale.trade)

    @_do.register
    def _(self, effect: Adapt) -> int:
        sale = effect.sale
        return self.people.adapt(self.desk.name_of(sale.buyer), self._bought[sale.trade])

    @_do.register
    def _(self, effect: Rate) -> bool:
        name = self.desk.name_of(effect.sale.buyer)
        return self.desk.rate(name, effect.sale.trade, effect.accuracy)

    def _describe(self, number: int) -> Sale:
        trade = self.desk.find_trade(number)
        return Sale(
            trade=number,
            listing=trade.listing,
            seller=self.desk.find_listing(trade.listing).seller,
            buyer=trade.buyer,
            price=trade.price,
        )

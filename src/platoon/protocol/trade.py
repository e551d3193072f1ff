"""One trade on the model market: the six steps of TL market (Fig. 2), a line each.

Source models are trained, their information uploaded, sellers filtered by reputation, models auctioned, adapted to
the buyers' own tasks, and rated. Between auction and adaptation a model is delivered; whoever fails there has no
claim, and nobody else is held up by it. The steps are pure logic over effects (``trade_effects``), as a training
round is.
"""

from dataclasses import dataclass

from platoon.market.auction.tables import MOST_LOTS
from platoon.nouns import Digest, Instant, Tokens
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
    Steps,
    TrainSource,
    Upload,
    WaitUntil,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePlan:
    """Who takes part."""

    sellers: tuple[int, ...]
    """Handles."""
    buyers: tuple[int, ...]
    """Handles, in the order in which they bid."""
    least_reputation: int
    """Permitted reputation: sellers below it are dropped, ppm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one sale."""

    sale: Sale
    served: bool
    """Whether the buyer has the model and the seller its tokens; else the buyer is refunded."""
    accuracy: int | None
    """After adaptation, ppm; None where there was none."""
    positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeReport:
    """What one trade has led to."""

    listed: tuple[int, ...]
    """Numbers of the listings."""
    trusted: tuple[int, ...]
    """Of those, whose sellers are reputable enough."""
    outcomes: tuple[Outcome, ...]
    refused: tuple[tuple[str, str], ...]
    """Who or what was refused, and why."""

    @property
    def revenue(self) -> Tokens:
        """Paid in for all sales."""
        return Tokens(sum(outcome.sale.price for outcome in self.outcomes))


_Refusals = list[tuple[str, str]]


def play_trade(plan: TradePlan) -> Steps[TradeReport]:
    """Play the six steps; returns what happened. A fault of a party is a line of the report."""
    refused: _Refusals = []
    models = yield from train_sources(plan, refused)
    listed = yield from upload(models, refused)
    trusted = yield from filter_sellers(plan, listed)
    sales = yield from auction(plan, trusted, refused)
    adapted = yield from deliver_and_adapt(sales, refused)
    outcomes = yield from rate(adapted, refused)
    return TradeReport(listed=listed, trusted=trusted, outcomes=outcomes, refused=tuple(refused))


def train_sources(plan: TradePlan, refused: _Refusals) -> Steps[dict[int, Digest]]:
    """Step 1. Every seller trains a source model; returns the digests of their files."""
    models: dict[int, Digest] = {}
    for seller in plan.sellers:
        model = yield TrainSource(seller=seller)
        if isinstance(model, Refused):
            refused.append((f"model of trader {seller}", model.reason))
        else:
            models[seller] = model
    return models


def upload(models: dict[int, Digest], refused: _Refusals) -> Steps[tuple[int, ...]]:
    """Step 2. Model information goes to the chain, by an edge server that has checked it."""
    listed = []
    for seller, model in models.items():
        number = yield Upload(seller=seller, model=model)
        if isinstance(number, Refused):
            refused.append((f"listing of trader {seller}", number.reason))
        else:
            listed.append(number)
    return tuple(listed)


def filter_sellers(plan: TradePlan, listed: tuple[int, ...]) -> Steps[tuple[int, ...]]:
    """Step 3. Reputations are read, and sellers below the permitted one dropped.

    Of more listings than an auction takes, those of the most reputable sellers are auctioned.
    """
    reputations = yield ReadReputations(listings=listed)
    ranked = sorted(zip(listed, reputations, strict=True), key=lambda pair: (-pair[1], pair[0]))
    trusted = [number for number, reputation in ranked if reputation >= plan.least_reputation]
    return tuple(sorted(trusted[:MOST_LOTS]))


def auction(plan: TradePlan, trusted: tuple[int, ...], refused: _Refusals) -> Steps[tuple[Sale, ...]]:
    """Step 4. Sealed bids, allocation and prices; what is not revealed in time does not count."""
    if not trusted:
        return ()
    opened = yield OpenAuction(listings=trusted)
    if isinstance(opened, Refused):
        refused.append(("auction", opened.reason))
        return ()
    assert isinstance(opened, Opened)
    bidders = []
    for buyer in plan.buyers:
        answer = yield SealBid(auction=opened.auction, buyer=buyer)
        if isinstance(answer, Refused):
            refused.append((f"bid of trader {buyer}", answer.reason))
        else:
            bidders.append(buyer)
    yield WaitUntil(at=Instant(opened.bids_until + 1))
    for buyer in bidders:
        answer = yield RevealBid(auction=opened.auction, buyer=buyer)
        if isinstance(answer, Refused):
            refused.append((f"reveal of trader {buyer}", answer.reason))
    yield WaitUntil(at=Instant(opened.reveals_until + 1))
    sales = yield SettleAuction(auction=opened.auction)
    if isinstance(sales, Refused):
        refused.append(("settlement", sales.reason))
        return ()
    return tuple(sales)


def deliver_and_adapt(
    sales: tuple[Sale, ...], refused: _Refusals
) -> Steps[tuple[tuple[Sale, bool, int | None], ...]]:
    """Step 5. Models are delivered, checked, paid and fine-tuned to the buyers' own tasks.

    Returns for each sale whether the buyer was served, and the accuracy that it measured.
    """
    served: list[tuple[Sale, bool]] = []
    silent: list[Sale] = []
    for sale in sales:
        sent = yield Deliver(sale=sale)
        if isinstance(sent, Refused):
            refused.append((f"delivery of trade {sale.trade}", sent.reason))
            silent.append(sale)
            continue
        found = yield Collect(sale=sale)
        if isinstance(found, Refused):
            refused.append((f"trade {sale.trade}", found.reason))
            decided = yield Decide(sale=sale)
            if isinstance(decided, Refused):
                refused.append((f"dispute of trade {sale.trade}", decided.reason))
                silent.append(sale)
            else:
                served.append((sale, decided))
        else:
            served.append((sale, True))
    adapted: list[tuple[Sale, bool, int | None]] = []
    for sale, is_served in served:
        accuracy = (yield Adapt(sale=sale)) if is_served else None
        if isinstance(accuracy, Refused):
            refused.append((f"adaptation of trade {sale.trade}", accuracy.reason))
            accuracy = None
        adapted.append((sale, is_served, accuracy))
    for sale in silent:  # last, since nobody is to wait for them
        expired = yield Expire(sale=sale)
        if isinstance(expired, Refused):
            refused.append((f"refund of trade {sale.trade}", expired.reason))
        adapted.append((sale, False, None))
    return tuple(adapted)


def rate(
    adapted: tuple[tuple[Sale, bool, int | None], ...], refused: _Refusals
) -> Steps[tuple[Outcome, ...]]:
    """Step 6. Buyers upload what they measured; what was never served was rated by the contract itself."""
    outcomes = []
    for sale, served, accuracy in adapted:
        positive = (yield Rate(sale=sale, accuracy=accuracy)) if accuracy is not None else False
        if isinstance(positive, Refused):
            refused.append((f"rating of trade {sale.trade}", positive.reason))
            positive = False
        outcomes.append(Outcome(sale=sale, served=served, accuracy=accuracy, positive=positive))
    return tuple(outcomes)

"""The six steps as a timeline: what the protocol asks for, and what it makes of the answers."""

import pytest

from platoon.nouns import Digest, Instant, Tokens
from platoon.protocol.trade import TradePlan, play_trade
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

MODEL = Digest(b"\x01" * 32)
OPENED = Opened(auction=9, bids_until=Instant(100), reveals_until=Instant(200))
FIRST = Sale(trade=1, listing=11, seller=1, buyer=3, price=Tokens(5))
SECOND = Sale(trade=2, listing=12, seller=2, buyer=4, price=Tokens(7))


class Timeline:
    """Feeds answers, holds effects against what is expected."""

    def __init__(self, least_reputation=0):
        plan = TradePlan(sellers=(1, 2), buyers=(3, 4), least_reputation=least_reputation)
        self.steps = play_trade(plan)
        self.asked = next(self.steps)
        self.report = None

    def expect(self, effect, answer=None):
        assert self.asked == effect
        try:
            self.asked = self.steps.send(answer)
        except StopIteration as ended:
            self.asked, self.report = None, ended.value

    def list_two(self):
        for seller in (1, 2):
            self.expect(TrainSource(seller=seller), MODEL)
        for seller, number in ((1, 11), (2, 12)):
            self.expect(Upload(seller=seller, model=MODEL), number)

    def auction_two(self, reveals=(None, None)):
        self.list_two()
        self.expect(ReadReputations(listings=(11, 12)), (500_000, 500_000))
        self.expect(OpenAuction(listings=(11, 12)), OPENED)
        for buyer in (3, 4):
            self.expect(SealBid(auction=9, buyer=buyer))
        self.expect(WaitUntil(at=Instant(101)))
        for buyer, answer in zip((3, 4), reveals, strict=True):
            self.expect(RevealBid(auction=9, buyer=buyer), answer)
        self.expect(WaitUntil(at=Instant(201)))


def test_everybody_does_what_they_should():
    story = Timeline()
    story.auction_two()
    story.expect(SettleAuction(auction=9), [FIRST, SECOND])
    for sale in (FIRST, SECOND):
        story.expect(Deliver(sale=sale))
        story.expect(Collect(sale=sale))
    story.expect(Adapt(sale=FIRST), 900_000)
    story.expect(Adapt(sale=SECOND), 100_000)
    story.expect(Rate(sale=FIRST, accuracy=900_000), True)
    story.expect(Rate(sale=SECOND, accuracy=100_000), False)
    assert story.report.revenue == 12
    assert [(o.served, o.positive) for o in story.report.outcomes] == [(True, True), (True, False)]
    assert story.report.refused == ()


def test_a_model_that_is_refused_is_not_auctioned():
    story = Timeline()
    for seller in (1, 2):
        story.expect(TrainSource(seller=seller), MODEL)
    story.expect(Upload(seller=1, model=MODEL), Refused("another file"))
    story.expect(Upload(seller=2, model=MODEL), 12)
    story.expect(ReadReputations(listings=(12,)), (500_000,))
    story.expect(OpenAuction(listings=(12,)), OPENED)
    assert story.steps.gi_frame is not None  # it goes on with the other one


def test_sellers_below_the_permitted_reputation_are_dropped():
    story = Timeline(least_reputation=600_000)
    story.list_two()
    story.expect(ReadReputations(listings=(11, 12)), (599_999, 600_000))
    assert story.asked == OpenAuction(listings=(12,))


def test_without_a_trusted_seller_there_is_no_auction():
    story = Timeline(least_reputation=600_000)
    story.list_two()
    story.expect(ReadReputations(listings=(11, 12)), (0, 0))
    assert story.report.trusted == ()
    assert story.report.outcomes == ()


def test_who_does_not_bid_is_not_asked_to_reveal():
    story = Timeline()
    story.list_two()
    story.expect(ReadReputations(listings=(11, 12)), (500_000, 500_000))
    story.expect(OpenAuction(listings=(11, 12)), OPENED)
    story.expect(SealBid(auction=9, buyer=3), Refused("no tokens"))
    story.expect(SealBid(auction=9, buyer=4))
    story.expect(WaitUntil(at=Instant(101)))
    story.expect(RevealBid(auction=9, buyer=4))
    assert story.asked == WaitUntil(at=Instant(201))


def test_a_cheat_is_decided_and_a_silent_seller_expires_and_nobody_else_waits():
    story = Timeline()
    story.auction_two()
    third = Sale(trade=3, listing=12, seller=2, buyer=3, price=Tokens(1))
    story.expect(SettleAuction(auction=9), [FIRST, SECOND, third])
    # the first seller sends nothing, the second another model, the third what was bought
    story.expect(Deliver(sale=FIRST), Refused("silent"))
    story.expect(Deliver(sale=SECOND))
    story.expect(Collect(sale=SECOND), Refused("another model"))
    story.expect(Decide(sale=SECOND), False)
    story.expect(Deliver(sale=third))
    story.expect(Collect(sale=third))
    story.expect(Adapt(sale=third), 700_000)
    story.expect(Expire(sale=FIRST))
    story.expect(Rate(sale=third, accuracy=700_000), True)
    found = {outcome.sale.trade: outcome.served for outcome in story.report.outcomes}
    assert found == {1: False, 2: False, 3: True}
    assert [what for what, _ in story.report.refused] == ["delivery of trade 1", "trade 2"]


def test_a_buyer_that_disputes_a_good_delivery_has_bought_it():
    story = Timeline()
    story.auction_two()
    story.expect(SettleAuction(auction=9), [FIRST])
    story.expect(Deliver(sale=FIRST))
    story.expect(Collect(sale=FIRST), Refused("I do not like it"))
    story.expect(Decide(sale=FIRST), True)
    story.expect(Adapt(sale=FIRST), 500_000)
    story.expect(Rate(sale=FIRST, accuracy=500_000), False)
    assert story.report.outcomes[0].served


@pytest.mark.parametrize("where", ["auction", "settlement"])
def test_an_auction_that_is_refused_sells_nothing(where):
    story = Timeline()
    if where == "auction":
        story.list_two()
        story.expect(ReadReputations(listings=(11, 12)), (500_000, 500_000))
        story.expect(OpenAuction(listings=(11, 12)), Refused("reputations have moved"))
    else:
        story.auction_two(reveals=(Refused("late"), None))
        story.expect(SettleAuction(auction=9), Refused("too early"))
    assert story.report.outcomes == ()
    assert story.report.refused[-1][0] == where


def test_a_seller_that_trains_nothing_lists_nothing():
    story = Timeline()
    story.expect(TrainSource(seller=1), Refused("no data"))
    story.expect(TrainSource(seller=2), MODEL)
    story.expect(Upload(seller=2, model=MODEL), 12)
    assert story.asked == ReadReputations(listings=(12,))


def test_a_buyer_that_cannot_adapt_has_bought_and_rates_nothing():
    story = Timeline()
    story.auction_two()
    story.expect(SettleAuction(auction=9), [FIRST])
    story.expect(Deliver(sale=FIRST))
    story.expect(Collect(sale=FIRST))
    story.expect(Adapt(sale=FIRST), Refused("no images"))
    (outcome,) = story.report.outcomes
    assert (outcome.served, outcome.accuracy, outcome.positive) == (True, None, False)


def test_a_dispute_that_nobody_decides_ends_as_silence_does():
    story = Timeline()
    story.auction_two()
    story.expect(SettleAuction(auction=9), [FIRST])
    story.expect(Deliver(sale=FIRST))
    story.expect(Collect(sale=FIRST), Refused("another model"))
    story.expect(Decide(sale=FIRST), Refused("the edge servers disagree"))
    story.expect(Expire(sale=FIRST))
    assert not story.report.outcomes[0].served
    assert [what for what, _ in story.report.refused] == ["trade 1", "dispute of trade 1"]


def test_of_more_than_eight_listings_the_most_reputable_sellers_are_auctioned():
    plan = TradePlan(sellers=tuple(range(1, 11)), buyers=(), least_reputation=0)
    steps = play_trade(plan)
    asked = next(steps)
    while not isinstance(asked, ReadReputations):
        asked = steps.send(asked.seller if isinstance(asked, Upload) else MODEL)
    reputations = (900_000, 100_000, *[500_000] * 7, 200_000)
    assert steps.send(reputations) == OpenAuction(listings=(1, 3, 4, 5, 6, 7, 8, 9))

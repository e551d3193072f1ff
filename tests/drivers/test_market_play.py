"""The protocol of a trade, played on contracts: with honest people, and with all kinds of others at once."""

import pytest
from tests.drivers.market_place import TOKENS, Place, describe, make_model

from platoon.drivers.market.checks import Terms
from platoon.drivers.market.play import Offered, TradePlayer
from platoon.drivers.market.verify import verify_folder
from platoon.errors import UserError
from platoon.market.auction.trained import load_network
from platoon.nouns import Tokens, seconds
from platoon.protocol.trade import TradePlan

WORTH = {"carol": (900_000, 200_000, 650_000), "dave": (300_000, 800_000, 700_000)}


class Villagers:
    """Sellers with one model each, buyers with fixed values; some cheat."""

    def __init__(self, cheats=(), silent=()):
        self.cheats, self.silent = cheats, silent
        self.numbers = {"alice": 1, "bob": 2, "erin": 3}

    def train(self, seller):
        content = make_model(self.numbers[seller])
        terms = Terms(price=Tokens(100_000), threshold=800_000, exclusive=True)
        return Offered(content=content, description=describe(content), terms=terms)

    def value(self, buyer, listings):
        return WORTH[buyer][: len(listings)]

    def send(self, seller, listing):
        if seller in self.silent:
            raise UserError(f"{seller} sends nothing")
        return make_model(99) if seller in self.cheats else None

    def adapt(self, buyer, content):
        return 900_000 if content == make_model(1) else 700_000


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path, traders=("alice", "bob", "erin", "carol", "dave"))
    yield found
    found.close()


def play(place, people, least_reputation=0):
    player = TradePlayer(
        desk=place.desk,
        clock=place.clock,
        people=people,
        network=load_network("r1"),
        scale=1_000_000,
        window=seconds(60),
    )
    plan = TradePlan(sellers=(1, 2, 3), buyers=(4, 5), least_reputation=least_reputation)
    return player.play(plan)


def test_a_trade_on_contracts(place):
    report = play(place, Villagers())
    assert report.refused == ()
    assert report.listed == (1, 2, 3)
    assert report.outcomes
    assert all(outcome.served for outcome in report.outcomes)
    assert place.all_tokens() == 5 * TOKENS
    place.close()
    assert verify_folder(place.folder.path)["auctions"] == 1


def test_cheats_and_silent_sellers_earn_nothing_and_lose_their_name(place):
    report = play(place, Villagers(cheats=("alice",), silent=("bob",)))
    served = {outcome.sale.seller: outcome.served for outcome in report.outcomes}
    assert not any(served.get(seller, False) for seller in (1, 2))
    assert place.balance("alice") == place.balance("bob") == TOKENS
    reputations = dict(zip((1, 2), place.desk.reputations([1, 2]), strict=True))
    for seller in served:
        if seller in reputations:
            assert reputations[seller] < 500_000
    assert place.all_tokens() == 5 * TOKENS

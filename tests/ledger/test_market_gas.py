"""What a market's calls cost at most: everything that a contract admits fits its gas limit, and a block."""

import pytest
from tests.drivers.market_place import Place

from platoon.errors import UserError
from platoon.ledger.contract_kinds import MARKET
from platoon.records.transactions import MAX_GAS
from platoon.rng import stream


def settle_large(folder, buyers, models):
    """An auction of that size, all bids for everything; returns the gas of its settlement."""
    sellers = [f"seller-{j}" for j in range(models)]
    names = [f"buyer-{i}" for i in range(buyers)]
    place = Place(folder, traders=(*sellers, *names))
    try:
        rng = stream(1, "large settlement", buyers, models)
        for j, seller in enumerate(sellers):
            place.list_model(seller, 1 + j, price=1_000)
        auction = place.open_auction(*range(1, models + 1))
        for name in names:
            amounts = rng.integers(500_000, 1_000_000, models).tolist()
            place.desk.bid(name, auction, amounts, deposit=sum(amounts) + 1)
        place.wait(61)
        for name in names:
            place.desk.reveal(name, auction)
        place.wait(61)
        found = place.desk.find_auction(auction)
        call = place.chain.call(
            "Auctions",
            "settle",
            auction,
            found.bundle,
            found.unsold,
            [models] * buyers,
            [amount for bid in found.bids for amount in bid.amounts],
        )
        trades = place.desk.settle(auction)
        assert len(trades) == models  # as many sales and refunds as there can be
        return call.gas
    finally:
        place.close()


@pytest.mark.parametrize(("buyers", "models"), [(5, 8), (15, 7), (16, 6)])
def test_the_largest_auctions_settle(tmp_path, buyers, models):
    assert settle_large(tmp_path, buyers, models) <= MAX_GAS


def test_an_auction_takes_no_more_bids_than_it_could_settle(tmp_path):
    traders = [f"buyer-{i}" for i in range(7)]
    place = Place(tmp_path, traders=("seller", *traders))
    try:
        for number in range(8):
            place.list_model("seller", 1 + number, price=0)
        auction = place.open_auction(*range(1, 9))
        for name in traders[:5]:
            place.desk.bid(name, auction, [1] * 8, deposit=8)
        with pytest.raises(UserError, match="no place left"):
            place.desk.bid(traders[5], auction, [1] * 8, deposit=8)
    finally:
        place.close()


def test_a_bid_for_every_bundle_of_eight_models_is_revealed(tmp_path):
    place = Place(tmp_path, traders=("seller", "buyer"))
    try:
        for number in range(8):
            place.list_model("seller", 1 + number, price=0)
        auction = place.open_auction(*range(1, 9))
        amounts = [1_000_000 * bundle.bit_count() for bundle in range(256)]
        place.desk.bid("buyer", auction, amounts, deposit=max(amounts))
        place.wait(61)
        place.desk.reveal("buyer", auction)
        place.wait(61)
        assert len(place.desk.settle(auction)) == 8
    finally:
        place.close()


def test_a_listing_with_the_longest_document(tmp_path):
    place = Place(tmp_path, traders=("seller",))
    try:
        labels = tuple(f"{i:0180d}" for i in range(20))
        assert place.list_model("seller", 1, labels=labels) == 1
        assert len(place.desk.find_listing(1).listing.description.encode()) > 115
    finally:
        place.close()


@pytest.mark.parametrize("name", MARKET.whole_gas)
def test_no_limit_is_above_a_block(name):
    assert MARKET.compute_gas_limit(name, 0) <= MAX_GAS

"""Trades from listing to rating, and everybody who tries something else: refused by name, no deposit lost."""

import pytest
from tests.drivers.market_place import HOUR, TOKENS, Place, describe, make_model

from platoon.drivers.market.checks import Terms
from platoon.drivers.market.verify import verify_folder
from platoon.errors import UserError, VerificationError
from platoon.ledger.market_chain import MarketChain, SignedCall
from platoon.ledger.market_state import ListingState, TradeState
from platoon.market.auction.dla import DeepAuction, compute_dla_digest, find_preset
from platoon.market.auction.markets import find_market
from platoon.market.search import Wanted
from platoon.nouns import Tokens
from platoon.records.encoding import EMPTY_DIGEST, encode_word, keccak
from platoon.records.identity import sign_rotation
from platoon.records.listings import sign_listing
from platoon.records.sealed_bids import compute_commitment
from platoon.records.signing import split_signature
from platoon.rng import stream

TERMS = Terms(price=Tokens(100_000), threshold=800_000, exclusive=True)


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def conserved(request):
    """Whatever happens, no token is lost or made."""
    yield
    place = request.node.funcargs.get("place")
    if place is not None:
        assert place.all_tokens() == TOKENS * len(place.folder.traders)


def send(place, name, contract, function, *arguments):
    """A call by a trader, whatever the desk would think of it; returns the receipt."""
    call = place.chain.call(contract, function, *arguments)
    place.desk.tick()
    return place.chain.submit([SignedCall(place.folder.find_trader(name), call)], at=place.clock.now)[0]


def refuse(place, reason, name, contract, function, *arguments):
    """It is refused for that reason."""
    receipt = send(place, name, contract, function, *arguments)
    assert (receipt.ok, receipt.error) == (False, reason)


# ---- a whole trade ----------------------------------------------------------------------------------------------


def test_from_listing_to_rating(place):
    # alice and bob list a model each, carol and dave bid: carol values the first, dave the second
    first, second = place.list_model("alice", 1), place.list_model("bob", 2)
    auction = place.open_auction(first, second)
    place.desk.bid("carol", auction, [900_000, 600_000], deposit=1_500_000)
    place.desk.bid("dave", auction, [700_000, 800_000], deposit=1_500_000)
    assert place.balance("carol") == TOKENS - 1_500_000
    place.wait(61)
    place.desk.reveal("carol", auction)
    place.desk.reveal("dave", auction)
    place.wait(61)
    trades = place.desk.settle(auction)
    # second prices, above the reserve of half the scale; the rest of the deposits is back
    assert [place.desk.find_trade(number).price for number in trades] == [700_000, 600_000]
    assert place.balance("carol") == TOKENS - 700_000
    for number, seller, buyer in zip(trades, ("alice", "bob"), ("carol", "dave"), strict=True):
        place.desk.deliver(seller, number)
        assert place.desk.collect(buyer, number) == make_model(number)
    assert place.desk.rate("carol", trades[0], 800_000)
    assert not place.desk.rate("dave", trades[1], 799_999)
    assert place.balance("alice") == TOKENS + 700_000
    before = 500_000
    alice, bob = place.desk.reputations([1, 2])
    assert alice > before > bob
    place.close()
    assert verify_folder(place.folder.path)["auctions"] == 1
    place.chain = MarketChain.open(place.folder.ledger, edge_servers=place.folder.edge_servers)
    assert place.chain.state.trades[1].accuracy == 800_000


def test_a_ledger_that_is_opened_again_tells_the_same(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    state = place.chain.state
    place.chain.close()
    place.chain = MarketChain.open(place.folder.ledger, edge_servers=place.folder.edge_servers)
    assert place.chain.state == state


def test_a_bundle_bid_is_awarded_as_a_whole(place):
    first, second = place.list_model("alice", 1), place.list_model("bob", 2)
    auction = place.open_auction(first, second)
    place.desk.bid("carol", auction, [0, 0, 0, 1_500_000], deposit=1_500_000)
    place.desk.bid("dave", auction, [600_000, 0], deposit=600_000)
    place.wait(61)
    place.desk.reveal("carol", auction)
    place.desk.reveal("dave", auction)
    place.wait(61)
    trades = place.desk.settle(auction)
    # it pays what dave would have given for the first, and the reserve of the second; asks, then even shares
    assert place.chain.state.auctions[auction].payments == (1_100_000, 0)
    assert [place.desk.find_trade(number).price for number in trades] == [550_000, 550_000]


def test_licences_at_a_price_and_by_menu(place):
    for number in (1, 2, 3):
        place.list_model("alice", number, exclusive=False)
    place.desk.buy("carol", 1)
    place.desk.buy("dave", 1)  # any number of buyers
    menu = place.desk.post_menu([1, 2, 3], [300_000, 500_000, 600_001])
    trades = place.desk.choose("bob", menu, [1, 3])
    assert [place.desk.find_trade(number).price for number in trades] == [250_000, 250_000]
    trades = place.desk.choose("carol", menu, [1, 2, 3])
    assert sorted(place.desk.find_trade(number).price for number in trades) == [200_000, 200_000, 200_001]
    assert place.balance("bob") == TOKENS - 500_000


def test_search_filters_and_orders(place):
    place.list_model("alice", 1, task="traffic signs of Bologna", price=300_000)
    place.list_model("bob", 2, task="handwritten digits", labels=("0", "1"), exclusive=False)
    place.list_model("bob", 3, task="Signs at night")
    found = place.desk.search(Wanted(task="signs"), {3: 50.0, 1: 900.0})
    assert [item.number for item in found] == [3, 1]
    assert [item.number for item in place.desk.search(Wanted(labels=("0",)), {})] == [2]
    assert [item.number for item in place.desk.search(Wanted(most_price=200_000, exclusive=True), {})] == [3]
    assert [item.number for item in place.desk.search(Wanted(most_metres=100.0), {3: 50.0, 1: 900.0})] == [
        3,
        2,
    ]
    assert place.desk.search(Wanted(least_reputation=600_000), {}) == ()
    place.desk.withdraw("bob", 2)
    assert [item.number for item in place.desk.search(Wanted(), {})] == [1, 3]


# ---- listings that are refused ----------------------------------------------------------------------------------


def test_invalid_listing_of_another_file(place):
    with pytest.raises(UserError, match="tensors of other names, types or shapes"):
        place.desk.publish("alice", make_model(1), describe(make_model(1), tensors=EMPTY_DIGEST), TERMS)
    with pytest.raises(UserError, match="8 parameters, its listing says 9"):
        place.desk.publish("alice", make_model(1), describe(make_model(1), parameters=9), TERMS)
    with pytest.raises(UserError, match="model file refused"):
        place.desk.publish("alice", make_model(1)[:-1], describe(make_model(1)), TERMS)
    assert place.chain.state.listings == {}
    assert not (place.folder.path / "custody").exists()


def test_invalid_listing_of_a_model_that_was_bought(place):
    place.list_model("alice", 1, exclusive=False)
    with pytest.raises(UserError, match="the model is another seller's"):
        place.list_model("bob", 1)
    with pytest.raises(UserError, match="the model is listed, or sold"):
        place.list_model("alice", 1)
    place.desk.withdraw("alice", 1)
    assert place.list_model("alice", 1, price=5) == 2


def test_invalid_signature_of_a_listing(place):
    place.list_model("alice", 1)
    listing = place.desk.find_listing(1).listing
    forged = sign_listing(place.folder.find_trader("alice"), b"\x05" * 32, listing)
    call = place.chain.publish_call(listing, forged)
    receipt = place.chain.submit([SignedCall(place.folder.edge_servers[0], call)], at=place.clock.now)[0]
    assert receipt.error == "bad signature of the owner"


def test_invalid_listing_by_a_trader_itself(place):
    place.list_model("alice", 1)
    listing = place.desk.find_listing(1).listing
    call = place.chain.publish_call(
        listing, sign_listing(place.folder.find_trader("alice"), place.chain.separator, listing)
    )
    receipt = place.chain.submit([SignedCall(place.folder.find_trader("alice"), call)], at=place.clock.now)[0]
    assert receipt.error == "not an edge server"


def test_invalid_withdrawal_by_somebody_else(place):
    place.list_model("alice", 1)
    with pytest.raises(UserError, match="not the seller"):
        place.desk.withdraw("bob", 1)


# ---- bids that are refused --------------------------------------------------------------------------------------


def test_a_bid_that_is_not_revealed_counts_for_nothing_and_its_deposit_is_back(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=2_000_000)
    place.desk.bid("dave", auction, [700_000], deposit=700_000)
    place.wait(61)
    place.desk.reveal("dave", auction)
    place.wait(61)
    (trade,) = place.desk.settle(auction)
    assert place.desk.find_trade(trade).price == 500_000  # the reserve, as if carol had never been there
    assert place.balance("carol") == TOKENS


def test_an_auction_without_bids_leaves_its_models_for_sale(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    assert place.desk.find_listing(1).state is ListingState.SPOKEN_FOR
    place.wait(130)
    assert place.desk.settle(auction) == ()
    assert place.desk.find_listing(1).state is ListingState.OPEN


def test_invalid_bids(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    with pytest.raises(UserError, match="above its deposit"):
        place.desk.bid("carol", auction, [900_000], deposit=899_999)
    with pytest.raises(UserError, match="2 for bundles"):
        place.desk.bid("carol", auction, [1, 2, 3], deposit=200_000)
    with pytest.raises(UserError, match="a seller bids for its own model"):
        place.desk.bid("alice", auction, [1], deposit=100_000)
    with pytest.raises(UserError, match=r"no deposit|allowance|balance"):
        place.desk.bid("carol", auction, [TOKENS + 1], deposit=TOKENS + 1)
    with pytest.raises(UserError, match="deposit below every ask"):
        place.desk.bid("carol", auction, [1], deposit=99_999)
    place.desk.bid("carol", auction, [1], deposit=100_000)
    with pytest.raises(UserError, match="bid before"):
        place.desk.bid("carol", auction, [2], deposit=100_000)
    with pytest.raises(UserError, match="too early to reveal"):
        place.desk.reveal("carol", auction)
    with pytest.raises(UserError, match="too early to settle"):
        place.desk.settle(auction)
    with pytest.raises(UserError, match="no trader of this market"):
        place.desk.bid("mallory", auction, [1], deposit=100_000)
    place.wait(61)
    with pytest.raises(UserError, match="too late to bid"):
        place.desk.bid("dave", auction, [1], deposit=100_000)
    place.wait(61)
    with pytest.raises(UserError, match="too late to reveal"):
        place.desk.reveal("carol", auction)
    place.desk.settle(auction)
    with pytest.raises(UserError, match="not open"):
        place.desk.settle(auction)


def test_invalid_reveal_of_another_bid(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [600_000], deposit=900_000)
    place.wait(61)
    salt, amounts = place.folder.read_bid(auction, "carol")
    said = "not the bid that was committed to"
    refuse(place, said, "carol", "Auctions", "reveal", auction, salt, [amounts[0] + 1])
    refuse(place, said, "carol", "Auctions", "reveal", auction, b"\x07" * 32, list(amounts))
    refuse(place, "bid above its deposit", "carol", "Auctions", "reveal", auction, salt, [900_001])
    refuse(place, "a bid for nothing", "carol", "Auctions", "reveal", auction, salt, [1, 2])
    wrong = "a bid for another number of models"
    refuse(place, wrong, "carol", "Auctions", "reveal", auction, salt, [1, 2, 3])
    refuse(place, "no bid", "dave", "Auctions", "reveal", auction, salt, list(amounts))
    place.desk.reveal("carol", auction)
    refuse(place, "revealed before", "carol", "Auctions", "reveal", auction, salt, list(amounts))


def test_a_copied_commitment_is_worth_nothing(place):
    """Who copies a sealed bid cannot reveal it: the hash names its buyer."""
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    copied = place.chain.state.auctions[auction].bids[0].commitment
    spender = place.chain.ledger.contracts.addresses["Auctions"]
    assert send(place, "dave", "Token", "approve", spender, 900_000).ok
    assert send(place, "dave", "Auctions", "bid", auction, copied, 900_000).ok
    place.wait(61)
    place.desk.reveal("carol", auction)
    salt, amounts = place.folder.read_bid(auction, "carol")
    said = "not the bid that was committed to"
    refuse(place, said, "dave", "Auctions", "reveal", auction, salt, list(amounts))
    place.wait(61)
    place.desk.settle(auction)
    assert place.balance("dave") == TOKENS


def test_a_shill_without_registration_cannot_bid(place):
    """False names need an identity that the operator has registered."""
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    shill = place.folder.make_key("shill")
    sealed = compute_commitment(auction=auction, buyer=9, salt=bytes(32), amounts=[1])
    call = place.chain.call("Auctions", "bid", auction, sealed, 0)
    receipt = place.chain.submit([SignedCall(shill, call)], at=place.clock.now)[0]
    assert (receipt.ok, receipt.error) == (False, "not registered")


def test_settlement_is_held_against_what_was_confirmed_and_revealed(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [600_000], deposit=900_000)
    place.wait(61)
    place.desk.reveal("carol", auction)
    place.wait(61)
    table = ([0, 0], [0, 500_000])
    refuse(place, "another table", "dave", "Auctions", "settle", auction, [0, 0], [0, 1], [1], [600_000])
    refuse(place, "another bid", "dave", "Auctions", "settle", auction, *table, [1], [600_001])
    refuse(place, "a revealed bid is missing", "dave", "Auctions", "settle", auction, *table, [0], [])
    refuse(place, "another number of bids", "dave", "Auctions", "settle", auction, *table, [], [])
    assert send(place, "dave", "Auctions", "settle", auction, *table, [1], [600_000]).ok  # anybody may


# ---- proposals that are refused ---------------------------------------------------------------------------------


def propose(place, **changes):
    """A proposal by an edge server, as it is or changed; returns why it is refused."""
    now = place.chain.state.now
    said = {
        "listings": [1],
        "reputations": [500_000],
        "network": EMPTY_DIGEST,
        "scale": 1_000_000,
        "bundle": [0, 0],
        "unsold": [0, 500_000],
        "bids_until": now + 10,
        "reveals_until": now + 20,
    } | changes
    call = place.chain.call("Auctions", "propose", *said.values())
    receipt = place.chain.submit([SignedCall(place.folder.edge_servers[0], call)], at=place.clock.now)[0]
    return receipt.error


def test_invalid_proposals(place):
    place.list_model("alice", 1)
    place.list_model("bob", 2, exclusive=False)
    now = place.chain.state.now
    assert propose(place, reputations=[500_001]) == "reputations have moved"
    assert propose(place, unsold=[0, 99_999]) == "the table would sell below what sellers ask"
    assert propose(place, network=b"\x09" * 32) == "no such network"
    assert propose(place, listings=[2]) == "not exclusive: bought at its price"
    assert propose(place, listings=[3]) == "not for sale"
    assert propose(place, bundle=[1, 0]) == "a boost for nothing"
    assert propose(place, bundle=[0, 0, 0, 0]) == "a table for another number of models"
    assert propose(place, bids_until=now) == "deadlines out of order"
    assert propose(place) == ""


def test_parameters_are_registered_by_the_operator_and_by_their_digest(place):
    """Of any learned auction: also of the paper's network, which is too large for a chain."""
    digest = compute_dla_digest(
        DeepAuction(find_market("r1_high", 3, 3), find_preset("small"), stream(1, "weights"))
    )
    place.desk.register_parameters(digest, b"{}")
    height = place.chain.ledger.height
    place.desk.register_parameters(digest, b"{}")
    assert place.chain.ledger.height == height
    assert place.chain.state.networks == {digest}
    refuse(place, "only the operator", "carol", "Auctions", "introduce", b"\x01" * 32)


def test_bids_wait_for_a_majority_that_has_computed_the_table(place):
    place.list_model("alice", 1)
    assert propose(place) == ""
    refuse(place, "not open", "carol", "Auctions", "bid", 1, bytes(32), 0)
    wrong = place.chain.call("Auctions", "confirm", 1, bytes(32))
    receipt = place.chain.submit([SignedCall(place.folder.edge_servers[1], wrong)], at=place.clock.now)[0]
    assert receipt.error == "another table"
    # one edge server alone holds nothing back: the model is still for sale, and its seller may change its mind
    assert place.desk.find_listing(1).state is ListingState.OPEN
    place.desk.withdraw("alice", 1)
    right = place.chain.call("Auctions", "confirm", 1, place.chain.read("Auctions", "auction", 1)[1])
    servers = place.folder.edge_servers
    said = [place.chain.submit([SignedCall(s, right)], at=place.clock.now)[0].error for s in servers[1:3]]
    assert said == ["", "not open"]


def test_a_proposal_is_confirmed_before_its_bids_are_due(place):
    place.list_model("alice", 1)
    assert propose(place) == ""
    place.wait(1)
    place.desk.tick()
    right = place.chain.call("Auctions", "confirm", 1, place.chain.read("Auctions", "auction", 1)[1])
    servers = place.folder.edge_servers
    said = [place.chain.submit([SignedCall(s, right)], at=place.clock.now)[0].error for s in servers[1:3]]
    assert said == ["", "too late to confirm"]


def test_reputations_are_frozen_by_the_proposal(place):
    """Who rates between proposal and settlement moves nothing of this auction."""
    place.list_model("alice", 1, exclusive=False)
    place.list_model("alice", 2)
    place.desk.buy("carol", 1)
    place.desk.deliver("alice", 1)
    place.desk.collect("carol", 1)
    auction = place.open_auction(2)
    frozen = place.desk.find_auction(auction).reputations
    place.desk.rate("carol", 1, 0)
    assert place.desk.reputations([1])[0] < frozen[0]
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    place.wait(61)
    place.desk.reveal("carol", auction)
    place.wait(61)
    place.desk.settle(auction)
    assert place.desk.find_auction(auction).reputations == frozen


# ---- deliveries -------------------------------------------------------------------------------------------------


def sell_one(place):
    """Alice's listing 1 is bought by carol; returns the trade's number."""
    place.list_model("alice", 1, exclusive=False)
    return place.desk.buy("carol", 1)


def test_another_model_is_disputed_and_refunded(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade, content=make_model(2))
    with pytest.raises(UserError, match="it holds another model than was bought; disputed"):
        place.desk.collect("carol", trade)
    assert place.desk.decide(trade) is False
    assert place.desk.find_trade(trade).state is TradeState.REFUNDED
    assert place.balance("carol") == TOKENS
    assert place.desk.reputations([1])[0] < 500_000  # a negative event without anybody's rating
    with pytest.raises(UserError, match="only what was bought and paid is rated"):
        place.desk.rate("carol", trade, 1_000_000)


def test_a_buyer_that_disputes_a_good_delivery_pays(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade)
    assert send(place, "carol", "Trades", "dispute", trade).ok
    assert place.desk.decide(trade) is True
    assert place.balance("alice") == TOKENS + 100_000


def test_a_changed_file_or_box_is_disputed(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade)
    file = place.folder.path / "deliveries" / str(trade) / "file"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(UserError, match="not the one that the seller announced; disputed"):
        place.desk.collect("carol", trade)


def test_silence_of_the_seller_refunds_and_silence_of_the_buyer_pays(place):
    trade = sell_one(place)
    with pytest.raises(UserError, match="there is still time"):
        place.desk.expire(trade)
    place.wait(HOUR / 10**6 + 1)
    with pytest.raises(UserError, match="too late to deliver"):
        place.desk.deliver("alice", trade)
    place.desk.expire(trade)
    assert place.balance("carol") == TOKENS
    second = place.desk.buy("dave", 1)
    place.desk.deliver("alice", second)
    with pytest.raises(UserError, match="the buyer still has time"):
        place.desk.expire(second)
    place.wait(HOUR / 10**6 + 1)
    place.desk.expire(second)
    assert place.balance("alice") == TOKENS + 100_000


def test_a_dispute_that_nobody_decides_is_refunded(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade)
    assert send(place, "carol", "Trades", "dispute", trade).ok
    place.wait(HOUR / 10**6 + 1)
    place.desk.expire(trade)
    assert place.balance("carol") == TOKENS


def test_an_exclusive_model_whose_sale_falls_through_is_for_sale_again(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    place.wait(61)
    place.desk.reveal("carol", auction)
    place.wait(61)
    (trade,) = place.desk.settle(auction)
    place.wait(HOUR / 10**6 + 1)
    place.desk.expire(trade)
    assert place.desk.find_listing(1).state is ListingState.OPEN
    assert place.balance("carol") == TOKENS


def test_invalid_deeds_of_strangers(place):
    trade = sell_one(place)
    refuse(place, "not the seller", "bob", "Trades", "deliver", trade, bytes(32), bytes(32))
    place.desk.deliver("alice", trade)
    refuse(place, "not the buyer", "bob", "Trades", "accept", trade)
    refuse(place, "not the buyer", "bob", "Trades", "dispute", trade)
    refuse(place, "only what was bought and paid is rated", "carol", "Trades", "rate", trade, 1)
    place.desk.collect("carol", trade)
    refuse(place, "not the buyer", "bob", "Trades", "rate", trade, 1)
    refuse(place, "accuracy out of bounds", "carol", "Trades", "rate", trade, 1_000_001)
    place.desk.rate("carol", trade, 900_000)
    refuse(place, "rated before", "carol", "Trades", "rate", trade, 900_000)
    refuse(place, "only who sells", "bob", "Trades", "open", 1, 2, bytes(20), 0)
    refuse(place, "only the trades", "bob", "Catalogue", "release", 1)


def test_invalid_purchases(place):
    place.list_model("alice", 1, exclusive=False)
    place.list_model("alice", 2)
    with pytest.raises(UserError, match="a seller buys its own model"):
        place.desk.buy("alice", 1)
    with pytest.raises(UserError, match="exclusive: sold by auction only"):
        place.desk.buy("carol", 2)
    refuse(place, "not the listing's price", "carol", "Trades", "buy", 1, 99_999)
    refuse(place, "not for sale", "carol", "Trades", "buy", 7, 1)
    with pytest.raises(UserError, match="below what sellers ask"):
        place.desk.post_menu([1], [99_999])
    menu = place.desk.post_menu([1], [100_000])
    refuse(place, "not the menu's price", "carol", "Menus", "choose", menu, 1, 99_999)
    refuse(place, "no such bundle", "carol", "Menus", "choose", menu, 2, 100_000)
    refuse(place, "no such menu", "carol", "Menus", "choose", 9, 1, 100_000)
    with pytest.raises(UserError, match=r"allowed: some of \[1\]"):
        place.desk.choose("carol", menu, [2])


def test_a_delivery_that_was_only_announced_is_disputed(place):
    """The seller names hashes and hands nothing over."""
    trade = sell_one(place)
    assert send(place, "alice", "Trades", "deliver", trade, bytes(32), bytes(32)).ok
    with pytest.raises(UserError, match="missing from the market's folder; disputed"):
        place.desk.collect("carol", trade)
    assert place.desk.decide(trade) is False
    assert place.balance("carol") == TOKENS


def test_a_bad_box_for_the_buyer_does_not_cost_it_the_model(place):
    """The edge servers find theirs in order: the seller is paid, and they hand over what they hold."""
    trade = sell_one(place)
    place.desk.deliver("alice", trade)
    box = place.folder.path / "deliveries" / str(trade) / f"{place.folder.traders['carol'].hex()}.box"
    box.write_bytes(b"nothing")
    with pytest.raises(UserError, match="disputed"):
        place.desk.collect("carol", trade)
    with pytest.raises(UserError, match="cut short"):
        place.desk.collect("carol", trade)
    assert place.desk.decide(trade) is True
    assert place.desk.collect("carol", trade) == make_model(1)


def test_nothing_is_paid_before_the_model_is_kept(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade)

    def fail(_):
        raise UserError("no space left")

    with pytest.raises(UserError, match="no space left"):
        place.desk.collect("carol", trade, keep=fail)
    assert place.desk.find_trade(trade).state is TradeState.DELIVERED
    assert place.desk.collect("carol", trade) == make_model(1)
    assert place.desk.collect("carol", trade) == make_model(1)  # as often as it likes


def test_edge_servers_that_disagree_are_said_to(place):
    trade = sell_one(place)
    place.desk.deliver("alice", trade)
    assert send(place, "carol", "Trades", "dispute", trade).ok
    for server, good in zip(place.folder.edge_servers, (True, True, False, False), strict=True):
        vote = place.chain.call("Trades", "vote", trade, good)
        assert place.chain.submit([SignedCall(server, vote)], at=place.clock.now)[0].ok
    with pytest.raises(UserError, match="the edge servers disagree"):
        place.desk.decide(trade)
    place.wait(HOUR / 10**6 + 1)
    place.desk.expire(trade)
    assert place.balance("carol") == TOKENS


def test_a_withdrawn_listing_is_not_brought_again(place):
    place.list_model("alice", 1, exclusive=False)
    listing = place.desk.find_listing(1).listing
    signature = sign_listing(place.folder.find_trader("alice"), place.chain.separator, listing)
    place.desk.withdraw("alice", 1)
    call = place.chain.publish_call(listing, signature)
    receipt = place.chain.submit([SignedCall(place.folder.edge_servers[2], call)], at=place.clock.now)[0]
    assert receipt.error == "listed before"


def test_words_that_are_no_document_are_never_offered(place):
    """One edge server brings, for an accomplice, what the others would have refused: nobody else is held up."""
    place.list_model("alice", 1)
    account = place.folder.find_trader("bob")
    words = (b"\xff" * 32,)
    kinds = b"Listing(address owner,bytes32 model,uint64 size,uint64 price,uint64 threshold,uint64 exclusive,"
    kinds += b"uint64 at,bytes32 document)"
    numbers = (8, 1, 1, 1, 0)
    fields = (account.address.rjust(32, b"\0"), b"\x07" * 32, *map(encode_word, numbers))
    structure = keccak(b"".join((keccak(kinds), *fields, keccak(words[0]))))
    signature = account.sign(keccak(b"\x19\x01" + place.chain.separator + structure))
    signed = (account.address, b"\x07" * 32, *numbers, *split_signature(signature))
    call = place.chain.call("Catalogue", "publish", signed, words)
    assert place.chain.submit([SignedCall(place.folder.edge_servers[0], call)], at=place.clock.now)[0].ok
    assert [item.number for item in place.desk.search(Wanted(), {})] == [1]
    assert place.list_model("alice", 3) == 3
    place.close()
    assert verify_folder(place.folder.path)["models"] == 3
    place.chain = MarketChain.open(place.folder.ledger)


def test_a_rejected_proposal_does_not_spoil_verification(place):
    place.list_model("alice", 1)
    assert propose(place, scale=2**62) == ""
    place.close()
    assert verify_folder(place.folder.path)["verified"]
    place.chain = MarketChain.open(place.folder.ledger)


def test_a_revoked_edge_server_stops_nobody(place):
    revoke = place.chain.call("Registry", "revoke", place.folder.edge_servers[0].address)
    assert place.chain.submit([SignedCall(place.folder.operator, revoke)], at=place.clock.now)[0].ok
    trade = sell_one(place)
    place.wait(1)
    place.desk.deliver("alice", trade)
    assert send(place, "carol", "Trades", "dispute", trade).ok
    assert place.desk.decide(trade) is True
    place.list_model("bob", 5)
    place.open_auction(2)


def test_a_revoked_buyer_and_seller_lock_nothing(place):
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    place.wait(61)
    place.desk.reveal("carol", auction)
    for name in ("alice", "carol"):
        revoke = place.chain.call("Registry", "revoke", place.folder.traders[name])
        assert place.chain.submit([SignedCall(place.folder.operator, revoke)], at=place.clock.now)[0].ok
    place.wait(61)
    (trade,) = place.desk.settle(auction)
    place.wait(HOUR / 10**6 + 1)
    place.desk.expire(trade)
    assert place.balance("carol") == TOKENS


def test_a_pseudonym_that_changes_between_bid_and_delivery(place):
    """Bids, refunds and sales follow the handle."""
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [900_000], deposit=900_000)
    retired, renewed = place.folder.find_trader("carol"), place.folder.make_key("carol-2")
    pair = sign_rotation(place.chain.separator, retired=retired, renewed=renewed)
    words = (retired.address, renewed.address, *split_signature(pair.retired_signature))
    call = place.chain.call("Registry", "rotate", [(*words, *split_signature(pair.renewed_signature))])
    receipt = place.chain.submit([SignedCall(place.folder.edge_servers[0], call)], at=place.clock.now)[0]
    assert receipt.ok, receipt.error
    assert place.chain.find_account(3) == renewed.address
    place.wait(61)
    salt, amounts = place.folder.read_bid(auction, "carol")
    reveal = place.chain.call("Auctions", "reveal", auction, salt, list(amounts))
    place.desk.tick()
    assert place.chain.submit([SignedCall(renewed, reveal)], at=place.clock.now)[0].ok
    place.wait(61)
    (trade,) = place.desk.settle(auction)
    assert place.chain.read_balance(renewed.address) == 900_000 - place.desk.find_trade(trade).price
    # what is left is moved back, so that the books of this test balance
    move = place.chain.call(
        "Token", "transfer", retired.address, 900_000 - place.desk.find_trade(trade).price
    )
    assert place.chain.submit([SignedCall(renewed, move)], at=place.clock.now)[0].ok


def test_invalid_time_beyond_all_readers(place):
    with pytest.raises(ValueError, match="at most 2"):
        place.chain.submit((), at=2**63)
    place.list_model("alice", 1)


# ---- the folder -------------------------------------------------------------------------------------------------


def test_keys_are_their_owners_alone(place):
    for path in (place.folder.path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    place.list_model("alice", 1)
    auction = place.open_auction(1)
    place.desk.bid("carol", auction, [5], deposit=100_000)
    (secret,) = (place.folder.path / "bids").iterdir()
    assert secret.stat().st_mode & 0o777 == 0o600


def test_verify_refuses_a_changed_model(place):
    place.list_model("alice", 1)
    place.close()
    (model,) = (place.folder.path / "custody").iterdir()
    model.write_bytes(make_model(2))
    with pytest.raises(VerificationError, match="another SHA-256"):
        verify_folder(place.folder.path)
    model.write_bytes(make_model(1))
    place.chain = MarketChain.open(place.folder.ledger)

# pragma version 0.4.3
# pragma evm-version london
"""
@title Menus
@license Apache-2.0
@notice Licences that any number of buyers may have, several at once for less than one by one. A menu names listings and
    what any one, any two, ... of them cost together; its seller's ask is the least that each listing is sold for.
    Prices do not depend on what anybody says, so to choose what one wants most is to be truthful.
"""

import dealings

MAX_LOTS: constant(uint256) = 8
MAX_NUMBER: constant(uint256) = 2**63 - 1
OPEN_LISTING: constant(uint256) = 1

interface Registry:
    def edge_server(account: address) -> (uint256, uint256): view

interface Token:
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable

interface Trades:
    def open(listing: uint256, buyer: uint256, account: address, price: uint256) -> uint256: nonpayable

event Posted:
    number: indexed(uint256)
    edge_server: indexed(address)
    listings: DynArray[uint256, MAX_LOTS]
    prices: DynArray[uint256, MAX_LOTS]

event Chosen:
    number: indexed(uint256)
    buyer: indexed(uint256)
    bundle: uint256
    price: uint256

REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
CATALOGUE: public(immutable(address))
TRADES: public(immutable(address))

count: public(uint256)
lots: HashMap[uint256, DynArray[uint256, MAX_LOTS]]
prices: HashMap[uint256, DynArray[uint256, MAX_LOTS]]


@deploy
def __init__(registry: address, token: address, catalogue: address, trades: address):
    REGISTRY = registry
    TOKEN = token
    CATALOGUE = catalogue
    TRADES = trades


@internal
@view
def _for_sale(number: uint256) -> dealings.Listing:
    """
    @notice A listing that any number of buyers may have; reverts for any other.
    """
    found: dealings.Listing = dealings.listing(CATALOGUE, number)
    assert found.state == OPEN_LISTING, "not for sale"
    assert found.exclusive == 0, "exclusive: sold by auction only"
    return found


@external
def post(listings: DynArray[uint256, MAX_LOTS], prices: DynArray[uint256, MAX_LOTS]):
    """
    @notice An edge server posts a menu of these listings, ascending.
    @param prices Of any one of them, any two together, and so on: never below what their sellers ask.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert len(listings) > 0 and len(listings) == len(prices), "a price for each number of models"
    asks: DynArray[uint256, MAX_LOTS] = []
    last: uint256 = 0
    for number: uint256 in listings:
        assert number > last, "listings not ascending"
        last = number
        asks.append(self._for_sale(number).asked)
    for i: uint256 in range(len(asks), bound=MAX_LOTS):
        for j: uint256 in range(len(asks), bound=MAX_LOTS):
            if j > i and asks[j] > asks[i]:
                swapped: uint256 = asks[i]
                asks[i] = asks[j]
                asks[j] = swapped
    least: uint256 = 0
    for i: uint256 in range(len(prices), bound=MAX_LOTS):
        least += asks[i]
        assert prices[i] >= least, "the menu would sell below what sellers ask"
        assert prices[i] <= MAX_NUMBER, "price out of bounds"
    number: uint256 = self.count + 1
    self.count = number
    self.lots[number] = listings
    self.prices[number] = prices
    log Posted(number=number, edge_server=msg.sender, listings=listings, prices=prices)


@external
@nonreentrant
def choose(number: uint256, bundle: uint256, price: uint256):
    """
    @notice The listings of a menu whose bits are set, for the price that stands in the menu and that the buyer expects.
        Each seller gets what it asks, the rest is shared evenly; what that leaves over goes to the first.
    """
    models: uint256 = len(self.lots[number])
    assert models > 0, "no such menu"
    assert bundle > 0 and bundle < 1 << models, "no such bundle"
    buyer: uint256 = dealings.handle(REGISTRY, msg.sender)
    chosen: DynArray[uint256, MAX_LOTS] = []
    asks: DynArray[uint256, MAX_LOTS] = []
    asked: uint256 = 0
    for j: uint256 in range(models, bound=MAX_LOTS):
        if (bundle >> j) & 1 == 1:
            found: dealings.Listing = self._for_sale(self.lots[number][j])
            assert found.seller != buyer, "a seller buys its own model"
            chosen.append(self.lots[number][j])
            asks.append(found.asked)
            asked += found.asked
    assert price == self.prices[number][len(chosen) - 1], "not the menu's price"
    assert extcall Token(TOKEN).transferFrom(msg.sender, TRADES, price), "not paid"
    share: uint256 = (price - asked) // len(chosen)
    left: uint256 = price - asked - share * len(chosen)
    for i: uint256 in range(len(chosen), bound=MAX_LOTS):
        extcall Trades(TRADES).open(chosen[i], buyer, msg.sender, asks[i] + share + left)
        left = 0
    log Chosen(number=number, buyer=buyer, bundle=bundle, price=price)

# pragma version 0.4.3
# pragma evm-version london
"""
@title Trades
@license Apache-2.0
@notice From payment to rating (TL market's contract of model trading). The buyer's tokens lie here until the model is
    delivered. The seller seals the file to the buyer and names the digest of what it sent and a commitment to the key;
    the buyer opens it and accepts, which pays, or disputes. Over a dispute the edge servers vote, who were given the
    key too: a strict majority pays or refunds. Who is silent loses no tokens: an undelivered model is refunded, an
    undisputed delivery is paid, each after its deadline.

    A buyer rates once, after it was served, with the accuracy that it measured: at or above the listing's threshold
    is a positive event. A sale that was never delivered, or that the vote refunded, is a negative one by itself.
"""

import dealings

MAX_NUMBER: constant(uint256) = 2**63 - 1
MILLION: constant(uint256) = 10**6
MAX_LOTS: constant(uint256) = 8
OPEN_LISTING: constant(uint256) = 1

PAID_IN: constant(uint256) = 1
DELIVERED: constant(uint256) = 2
DISPUTED: constant(uint256) = 3
SETTLED: constant(uint256) = 4
REFUNDED: constant(uint256) = 5

interface Registry:
    def edge_server(account: address) -> (uint256, uint256): view

interface Token:
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable

interface Catalogue:
    def now() -> uint256: view
    def reserve(number: uint256): nonpayable
    def release(number: uint256): nonpayable

interface Opinions:
    def record(buyer: uint256, seller: uint256, at: uint256, positive: bool): nonpayable

struct Trade:
    listing: uint256
    buyer: uint256  # handle
    account: address  # of the buyer when it bought
    price: uint256
    state: uint256
    due: uint256  # until when the seller delivers, the buyer answers
    good: uint256  # bit i: the edge server in seat i finds the delivery in order
    bad: uint256
    rated: bool

event Opened:
    number: indexed(uint256)
    listing: indexed(uint256)
    buyer: uint256
    account: address
    price: uint256
    due: uint256
    at: uint256

event Sent:
    number: indexed(uint256)
    file: bytes32
    key: bytes32
    due: uint256

event Questioned:
    number: indexed(uint256)
    due: uint256

event Voted:
    number: indexed(uint256)
    edge_server: indexed(address)
    good: bool

event Ended:
    number: indexed(uint256)
    state: uint256
    receiver: address
    amount: uint256

event Rated:
    number: indexed(uint256)
    listing: indexed(uint256)
    buyer: uint256
    seller: uint256
    accuracy: uint256
    positive: bool
    at: uint256

event Bound:
    auctions: indexed(address)
    menus: indexed(address)

OPERATOR: public(immutable(address))
REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
CATALOGUE: public(immutable(address))
OPINIONS: public(immutable(address))
PATIENCE: public(immutable(uint256))  # microseconds that a seller has to deliver, and a buyer to answer

auctions: public(address)
menus: public(address)
count: public(uint256)
trades: HashMap[uint256, Trade]  # from 1


@deploy
def __init__(registry: address, token: address, catalogue: address, opinions: address, patience: uint256):
    assert patience > 0 and patience <= MAX_NUMBER, "patience out of bounds"
    OPERATOR = msg.sender
    REGISTRY = registry
    TOKEN = token
    CATALOGUE = catalogue
    OPINIONS = opinions
    PATIENCE = patience


@external
def bind(auctions: address, menus: address):
    """
    @notice Names the contracts that sell, once.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.auctions == empty(address), "bound before"
    assert auctions != empty(address) and menus != empty(address), "no account"
    self.auctions = auctions
    self.menus = menus
    log Bound(auctions=auctions, menus=menus)


@internal
@view
def _now() -> uint256:
    return staticcall Catalogue(CATALOGUE).now()


# ---- sales ------------------------------------------------------------------------------------------------------

@external
@nonreentrant
def hold(numbers: DynArray[uint256, MAX_LOTS]):
    """
    @notice The listings of an auction are spoken for.
    """
    assert msg.sender == self.auctions, "only the auctions"
    for number: uint256 in numbers:
        extcall Catalogue(CATALOGUE).reserve(number)


@external
@nonreentrant
def let_go(number: uint256):
    """
    @notice A listing that an auction has not sold is open again.
    """
    assert msg.sender == self.auctions, "only the auctions"
    extcall Catalogue(CATALOGUE).release(number)


@external
def open(listing: uint256, buyer: uint256, account: address, price: uint256) -> uint256:
    """
    @notice A sale whose price was paid in here.
    """
    assert msg.sender == self.auctions or msg.sender == self.menus, "only who sells"
    return self._open(listing, buyer, account, price)


@internal
def _open(listing: uint256, buyer: uint256, account: address, price: uint256) -> uint256:
    number: uint256 = self.count + 1
    self.count = number
    at: uint256 = self._now()
    self.trades[number] = Trade(
        listing=listing,
        buyer=buyer,
        account=account,
        price=price,
        state=PAID_IN,
        due=at + PATIENCE,
        good=0,
        bad=0,
        rated=False,
    )
    log Opened(number=number, listing=listing, buyer=buyer, account=account, price=price, due=at + PATIENCE, at=at)
    return number


@external
@nonreentrant
def buy(listing: uint256, price: uint256):
    """
    @notice A licence that any number of buyers may have, at the listing's price, which the buyer says it expects.
    """
    found: dealings.Listing = dealings.listing(CATALOGUE, listing)
    assert found.state == OPEN_LISTING, "not for sale"
    assert found.exclusive == 0, "exclusive: sold by auction only"
    assert price == found.asked, "not the listing's price"
    buyer: uint256 = dealings.handle(REGISTRY, msg.sender)
    assert buyer != found.seller, "a seller buys its own model"
    assert extcall Token(TOKEN).transferFrom(msg.sender, self, price), "not paid"
    self._open(listing, buyer, msg.sender, price)


# ---- delivery ---------------------------------------------------------------------------------------------------

@external
def deliver(number: uint256, file: bytes32, key: bytes32):
    """
    @notice The seller has sent the model: the digest of the sealed file, and the hash of its key.
    """
    trade: Trade = self.trades[number]
    assert trade.state == PAID_IN, "not waiting for delivery"
    found: dealings.Listing = dealings.listing(CATALOGUE, trade.listing)
    assert dealings.handle(REGISTRY, msg.sender) == found.seller, "not the seller"
    at: uint256 = self._now()
    assert at <= trade.due, "too late to deliver"
    self.trades[number].state = DELIVERED
    self.trades[number].due = at + PATIENCE
    log Sent(number=number, file=file, key=key, due=at + PATIENCE)


@internal
def _pay(number: uint256, trade: Trade):
    found: dealings.Listing = dealings.listing(CATALOGUE, trade.listing)
    receiver: address = dealings.account(REGISTRY, found.seller, found.owner)
    self.trades[number].state = SETTLED
    assert extcall Token(TOKEN).transfer(receiver, trade.price), "not paid"
    log Ended(number=number, state=SETTLED, receiver=receiver, amount=trade.price)


@internal
def _refund(number: uint256, trade: Trade):
    """
    @notice Back to the buyer; the sale counts against the seller, and an exclusive model is for sale again.
    """
    found: dealings.Listing = dealings.listing(CATALOGUE, trade.listing)
    receiver: address = dealings.account(REGISTRY, trade.buyer, trade.account)
    self.trades[number].state = REFUNDED
    self.trades[number].rated = True
    if found.exclusive == 1:
        extcall Catalogue(CATALOGUE).release(trade.listing)
    assert extcall Token(TOKEN).transfer(receiver, trade.price), "not refunded"
    at: uint256 = self._now()
    extcall Opinions(OPINIONS).record(trade.buyer, found.seller, at, False)
    log Ended(number=number, state=REFUNDED, receiver=receiver, amount=trade.price)
    log Rated(
        number=number, listing=trade.listing, buyer=trade.buyer, seller=found.seller, accuracy=0, positive=False, at=at
    )


@external
@nonreentrant
def accept(number: uint256):
    """
    @notice The buyer has opened the file and found the model that it bought.
    """
    trade: Trade = self.trades[number]
    assert trade.state == DELIVERED, "not delivered"
    assert dealings.handle(REGISTRY, msg.sender) == trade.buyer, "not the buyer"
    self._pay(number, trade)


@external
def dispute(number: uint256):
    """
    @notice What the buyer opened is not the model that it bought, or cannot be opened.
    """
    trade: Trade = self.trades[number]
    assert trade.state == DELIVERED, "not delivered"
    assert dealings.handle(REGISTRY, msg.sender) == trade.buyer, "not the buyer"
    assert self._now() <= trade.due, "too late to dispute"
    self.trades[number].state = DISPUTED
    due: uint256 = self._now() + PATIENCE
    self.trades[number].due = due
    log Questioned(number=number, due=due)


@external
@nonreentrant
def vote(number: uint256, good: bool):
    """
    @notice An edge server that has opened the file itself says whether it holds the model of the listing.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    trade: Trade = self.trades[number]
    assert trade.state == DISPUTED, "not disputed"
    bit: uint256 = 1 << seat
    assert (trade.good | trade.bad) & bit == 0, "voted before"
    if good:
        trade.good |= bit
        self.trades[number].good = trade.good
    else:
        trade.bad |= bit
        self.trades[number].bad = trade.bad
    log Voted(number=number, edge_server=msg.sender, good=good)
    members: uint256 = dealings.count(active)
    if 2 * dealings.count(trade.good & active) > members:
        self._pay(number, trade)
    elif 2 * dealings.count(trade.bad & active) > members:
        self._refund(number, trade)


@external
@nonreentrant
def claim(number: uint256):
    """
    @notice The buyer has not answered a delivery: it is paid. Anybody may say so.
    """
    trade: Trade = self.trades[number]
    assert trade.state == DELIVERED, "not delivered"
    assert self._now() > trade.due, "the buyer still has time"
    self._pay(number, trade)


@external
@nonreentrant
def reclaim(number: uint256):
    """
    @notice The seller has not delivered, or no majority stands by its delivery in a dispute: the buyer has its tokens
        back. Anybody may say so.
    """
    trade: Trade = self.trades[number]
    assert trade.state == PAID_IN or trade.state == DISPUTED, "neither undelivered nor disputed"
    assert self._now() > trade.due, "there is still time"
    self._refund(number, trade)


# ---- rating -----------------------------------------------------------------------------------------------------

@external
@nonreentrant
def rate(number: uint256, accuracy: uint256):
    """
    @notice What the model reached at its buyer, in parts per million, after the trade; once.
    """
    trade: Trade = self.trades[number]
    assert trade.state == SETTLED, "only what was bought and paid is rated"
    assert dealings.handle(REGISTRY, msg.sender) == trade.buyer, "not the buyer"
    assert not trade.rated, "rated before"
    assert accuracy <= MILLION, "accuracy out of bounds"
    found: dealings.Listing = dealings.listing(CATALOGUE, trade.listing)
    positive: bool = accuracy >= found.threshold
    at: uint256 = self._now()
    self.trades[number].rated = True
    extcall Opinions(OPINIONS).record(trade.buyer, found.seller, at, positive)
    log Rated(
        number=number,
        listing=trade.listing,
        buyer=trade.buyer,
        seller=found.seller,
        accuracy=accuracy,
        positive=positive,
        at=at,
    )


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def trade(number: uint256) -> (uint256, uint256, uint256, uint256, uint256, bool):
    """
    @notice Listing, buyer's handle, price, state (0: no such trade), deadline of the next step, rated.
    """
    found: Trade = self.trades[number]
    return found.listing, found.buyer, found.price, found.state, found.due, found.rated

# pragma version 0.4.3
# pragma evm-version london
"""
@title Auctions
@license Apache-2.0
@notice Sealed-bid auctions of exclusive models by an affine maximiser, executed here (`affine_maximiser.vy`).

    An edge server proposes: listings, the reputations of their sellers as they stand, and the boost table that the
    registered network makes of them. Reputations are frozen by that: what is rated from now on moves nothing here. A
    strict majority of the edge servers, which have computed the table themselves, confirm. Only then the listings are
    spoken for, and buyers commit to bids and pay deposits in; when that time is over they reveal; when that is over too, anybody settles.

    A bid is one amount a model, or one a bundle, at most the deposit. Bids that are not revealed, or are not what was
    committed to, do not count. Every deposit goes back, less what its owner pays: nobody can lose one.
"""

import affine_maximiser
import dealings

MAX_BUYERS: constant(uint256) = 16
MAX_LOTS: constant(uint256) = 8
MAX_SETS: constant(uint256) = 256
MAX_BIDS: constant(uint256) = 1024  # amounts of all bids of an auction, were each a bid for every bundle: what fits a block
MAX_NUMBER: constant(uint256) = 2**63 - 1
MAX_BOOST: constant(int256) = 2**62
MAX_ASKED: constant(uint256) = 32
OPEN_LISTING: constant(uint256) = 1

PROPOSED: constant(uint256) = 1
CONFIRMED: constant(uint256) = 2
SETTLED: constant(uint256) = 3

interface Registry:
    def OPERATOR() -> address: view
    def edge_server(account: address) -> (uint256, uint256): view

interface Token:
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable

interface Catalogue:
    def now() -> uint256: view

interface Opinions:
    def reputations(sellers: DynArray[uint256, MAX_ASKED], at: uint256) -> DynArray[uint256, MAX_ASKED]: view

interface Trades:
    def hold(numbers: DynArray[uint256, MAX_LOTS]): nonpayable
    def let_go(number: uint256): nonpayable
    def open(listing: uint256, buyer: uint256, account: address, price: uint256) -> uint256: nonpayable

struct Auction:
    state: uint256
    table: bytes32  # keccak-256 of all boosts
    bids_until: uint256
    reveals_until: uint256
    votes: uint256  # bit i: the edge server in seat i has confirmed

struct Bid:
    buyer: uint256  # handle
    account: address
    commitment: bytes32
    deposit: uint256
    revealed: bytes32  # keccak-256 of the amounts; zeros until then

event Introduced:
    network: indexed(bytes32)

event Proposed:
    number: indexed(uint256)
    edge_server: indexed(address)
    listings: DynArray[uint256, MAX_LOTS]
    reputations: DynArray[uint256, MAX_ASKED]
    network: bytes32
    scale: uint256
    bundle: DynArray[int256, MAX_SETS]
    unsold: DynArray[int256, MAX_SETS]
    bids_until: uint256
    reveals_until: uint256
    at: uint256

event Confirmed:
    number: indexed(uint256)
    edge_server: indexed(address)
    open: bool  # whether that made it a majority: bids are taken from now on

event Committed:
    number: indexed(uint256)
    buyer: indexed(uint256)
    commitment: bytes32
    deposit: uint256

event Revealed:
    number: indexed(uint256)
    buyer: indexed(uint256)
    amounts: DynArray[uint256, MAX_SETS]

event Settled:
    number: indexed(uint256)
    buyers: DynArray[uint256, MAX_BUYERS]
    bundles: DynArray[uint256, MAX_BUYERS]
    payments: DynArray[uint256, MAX_BUYERS]

REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
CATALOGUE: public(immutable(address))
OPINIONS: public(immutable(address))
TRADES: public(immutable(address))

networks: public(HashMap[bytes32, bool])  # digests of the parameters of learned auctions
count: public(uint256)
auctions: HashMap[uint256, Auction]  # from 1
lots: HashMap[uint256, DynArray[uint256, MAX_LOTS]]  # listings
frozen: HashMap[uint256, DynArray[uint256, MAX_ASKED]]  # reputations of their sellers, parts per million
bids: HashMap[uint256, DynArray[Bid, MAX_BUYERS]]  # in the order of bidding


@deploy
def __init__(registry: address, token: address, catalogue: address, opinions: address, trades: address):
    REGISTRY = registry
    TOKEN = token
    CATALOGUE = catalogue
    OPINIONS = opinions
    TRADES = trades


# ---- opening ----------------------------------------------------------------------------------------------------

@external
def introduce(network: bytes32):
    """
    @notice The operator registers the parameters of a learned auction by their digest, before an auction can be made
        of them: those who confirm a table compute it again, and what they compute it from must be agreed.
    """
    assert msg.sender == staticcall Registry(REGISTRY).OPERATOR(), "only the operator"
    assert network != empty(bytes32), "no network"
    assert not self.networks[network], "introduced before"
    self.networks[network] = True
    log Introduced(network=network)


@external
@nonreentrant
def propose(
    listings: DynArray[uint256, MAX_LOTS],
    reputations: DynArray[uint256, MAX_ASKED],
    network: bytes32,
    scale: uint256,
    bundle: DynArray[int256, MAX_SETS],
    unsold: DynArray[int256, MAX_SETS],
    bids_until: uint256,
    reveals_until: uint256,
):
    """
    @notice An auction of these listings, ascending.
    @param reputations Of their sellers, as the proposer found them.
    @param network Digest of the parameters that make the table of them; zeros for a reserve price a model.
    @param scale What the network takes for a value of one, in 10^-6 tokens.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    at: uint256 = staticcall Catalogue(CATALOGUE).now()
    assert bids_until > at and reveals_until > bids_until and reveals_until <= MAX_NUMBER, "deadlines out of order"
    assert network == empty(bytes32) or self.networks[network], "no such network"
    assert scale <= convert(MAX_BOOST, uint256), "scale out of bounds"
    assert len(listings) > 0, "no listing"
    assert len(bundle) == 1 << len(listings) and len(unsold) == len(bundle), "a table for another number of models"
    assert bundle[0] == 0, "a boost for nothing"
    for i: uint256 in range(len(bundle), bound=MAX_SETS):
        assert bundle[i] <= MAX_BOOST and bundle[i] >= -MAX_BOOST, "boost out of bounds"
        assert unsold[i] <= MAX_BOOST and unsold[i] >= -MAX_BOOST, "boost out of bounds"
    sellers: DynArray[uint256, MAX_ASKED] = []
    asks: DynArray[uint256, 8] = []
    last: uint256 = 0
    for number: uint256 in listings:
        assert number > last, "listings not ascending"
        last = number
        found: dealings.Listing = dealings.listing(CATALOGUE, number)
        assert found.state == OPEN_LISTING, "not for sale"
        assert found.exclusive == 1, "not exclusive: bought at its price"
        sellers.append(found.seller)
        asks.append(found.asked)
    standing: DynArray[uint256, MAX_ASKED] = staticcall Opinions(OPINIONS).reputations(sellers, at)
    assert len(standing) == len(reputations), "reputations of another number of sellers"
    for i: uint256 in range(len(standing), bound=MAX_ASKED):
        assert standing[i] == reputations[i], "reputations have moved"
    assert affine_maximiser.keeps_asks(bundle, unsold, asks), "the table would sell below what sellers ask"
    number: uint256 = self.count + 1
    self.count = number
    self.auctions[number] = Auction(
        state=PROPOSED,
        table=self._digest(bundle, unsold),
        bids_until=bids_until,
        reveals_until=reveals_until,
        votes=0,
    )
    self.lots[number] = listings
    self.frozen[number] = reputations
    log Proposed(
        number=number,
        edge_server=msg.sender,
        listings=listings,
        reputations=reputations,
        network=network,
        scale=scale,
        bundle=bundle,
        unsold=unsold,
        bids_until=bids_until,
        reveals_until=reveals_until,
        at=at,
    )
    self._confirm(number, seat, active)


@internal
@pure
def _digest(bundle: DynArray[int256, MAX_SETS], unsold: DynArray[int256, MAX_SETS]) -> bytes32:
    """
    @notice keccak-256 over all boosts as words, bundles first.
    """
    first: Bytes[8256] = abi_encode(bundle)  # offset, length, words
    second: Bytes[8256] = abi_encode(unsold)
    return keccak256(concat(slice(first, 64, 32 * len(bundle)), slice(second, 64, 32 * len(unsold))))


@external
@nonreentrant
def confirm(number: uint256, table: bytes32):
    """
    @notice An edge server has computed the table itself.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert self.auctions[number].state == PROPOSED, "not proposed"
    assert self.auctions[number].table == table, "another table"
    self._confirm(number, seat, active)


@internal
def _confirm(number: uint256, seat: uint256, active: uint256):
    votes: uint256 = self.auctions[number].votes
    assert votes & (1 << seat) == 0, "confirmed before"
    votes |= 1 << seat
    self.auctions[number].votes = votes
    enough: bool = 2 * dealings.count(votes & active) > dealings.count(active)
    if enough:
        assert staticcall Catalogue(CATALOGUE).now() <= self.auctions[number].bids_until, "too late to confirm"
        self.auctions[number].state = CONFIRMED
        extcall Trades(TRADES).hold(self.lots[number])
    log Confirmed(number=number, edge_server=msg.sender, open=enough)


# ---- bidding ----------------------------------------------------------------------------------------------------

@external
@nonreentrant
def bid(number: uint256, commitment: bytes32, deposit: uint256):
    """
    @notice A sealed bid: keccak-256 over auction, buyer's handle, salt and amounts, as words. Once for each buyer.
    """
    assert self.auctions[number].state == CONFIRMED, "not open"
    assert staticcall Catalogue(CATALOGUE).now() <= self.auctions[number].bids_until, "too late to bid"
    buyer: uint256 = dealings.handle(REGISTRY, msg.sender)
    for other: Bid in self.bids[number]:
        assert other.buyer != buyer, "bid before"
    least: uint256 = MAX_NUMBER
    for listing: uint256 in self.lots[number]:
        found: dealings.Listing = dealings.listing(CATALOGUE, listing)
        assert found.seller != buyer, "a seller bids for its own model"
        least = min(least, found.asked)
    assert deposit >= least, "deposit below every ask"
    assert len(self.bids[number]) < MAX_BUYERS, "no place left"
    assert (len(self.bids[number]) + 1) << len(self.lots[number]) <= MAX_BIDS, "no place left"
    assert deposit <= MAX_NUMBER, "deposit out of bounds"
    self.bids[number].append(
        Bid(buyer=buyer, account=msg.sender, commitment=commitment, deposit=deposit, revealed=empty(bytes32))
    )
    assert extcall Token(TOKEN).transferFrom(msg.sender, self, deposit), "no deposit"
    log Committed(number=number, buyer=buyer, commitment=commitment, deposit=deposit)


@external
def reveal(number: uint256, salt: bytes32, amounts: DynArray[uint256, MAX_SETS]):
    """
    @notice The bid that was committed to: an amount for each listing, or for each bundle (bit j: listing j).
    """
    assert self.auctions[number].state == CONFIRMED, "not open"
    now: uint256 = staticcall Catalogue(CATALOGUE).now()
    assert now > self.auctions[number].bids_until, "too early to reveal"
    assert now <= self.auctions[number].reveals_until, "too late to reveal"
    buyer: uint256 = dealings.handle(REGISTRY, msg.sender)
    place: uint256 = MAX_BUYERS
    for i: uint256 in range(len(self.bids[number]), bound=MAX_BUYERS):
        if self.bids[number][i].buyer == buyer:
            place = i
    assert place < MAX_BUYERS, "no bid"
    assert self.bids[number][place].revealed == empty(bytes32), "revealed before"
    models: uint256 = len(self.lots[number])
    most: uint256 = 0
    if len(amounts) == models:
        for amount: uint256 in amounts:
            assert amount <= MAX_NUMBER, "bid out of bounds"
            most += amount
    else:
        assert len(amounts) == 1 << models, "a bid for another number of models"
        assert amounts[0] == 0, "a bid for nothing"
        for amount: uint256 in amounts:
            most = max(most, amount)
    assert most <= self.bids[number][place].deposit, "bid above its deposit"
    packed: Bytes[8256] = abi_encode(amounts)  # offset, length, words
    words: Bytes[8256] = slice(packed, 64, 32 * len(amounts))
    commitment: bytes32 = keccak256(
        concat(convert(number, bytes32), convert(buyer, bytes32), salt, words)
    )
    assert commitment == self.bids[number][place].commitment, "not the bid that was committed to"
    self.bids[number][place].revealed = keccak256(words)
    log Revealed(number=number, buyer=buyer, amounts=amounts)


# ---- settling ---------------------------------------------------------------------------------------------------

@external
@nonreentrant
def settle(
    number: uint256,
    bundle: DynArray[int256, MAX_SETS],
    unsold: DynArray[int256, MAX_SETS],
    lengths: DynArray[uint256, MAX_BUYERS],
    amounts: DynArray[uint256, MAX_BIDS],
):
    """
    @notice Award, charge, refund. Anybody may bring what was confirmed and revealed; it is held against its hashes.
    @param lengths How many amounts each bid has, in the order of bidding; 0 of one that was not revealed.
    @param amounts Of all bids, one after the other.
    """
    assert self.auctions[number].state == CONFIRMED, "not open"
    assert staticcall Catalogue(CATALOGUE).now() > self.auctions[number].reveals_until, "too early to settle"
    assert self._digest(bundle, unsold) == self.auctions[number].table, "another table"
    assert len(lengths) == len(self.bids[number]), "another number of bids"
    layers: DynArray[DynArray[int256, MAX_SETS], MAX_BUYERS] = []
    start: uint256 = 0
    for i: uint256 in range(len(lengths), bound=MAX_BUYERS):
        own: DynArray[uint256, MAX_SETS] = []
        for k: uint256 in range(lengths[i], bound=MAX_SETS):
            own.append(amounts[start + k])
        start += lengths[i]
        if lengths[i] == 0:
            assert self.bids[number][i].revealed == empty(bytes32), "a revealed bid is missing"
            for _: uint256 in range(len(self.lots[number]), bound=MAX_LOTS):
                own.append(0)  # a bid of nothing for anything
        else:
            packed: Bytes[8256] = abi_encode(own)
            assert keccak256(slice(packed, 64, 32 * len(own))) == self.bids[number][i].revealed, "another bid"
        layers.append(affine_maximiser.raise_bid(own, bundle))
    assert start == len(amounts), "amounts of no bid"
    bundles: DynArray[uint256, MAX_BUYERS] = []
    payments: DynArray[uint256, MAX_BUYERS] = []
    bundles, payments = affine_maximiser.execute(layers, bundle, unsold)
    self.auctions[number].state = SETTLED
    self._carry_out(number, bundles, payments)


@internal
def _carry_out(
    number: uint256, bundles: DynArray[uint256, MAX_BUYERS], payments: DynArray[uint256, MAX_BUYERS]
):
    buyers: DynArray[uint256, MAX_BUYERS] = []
    sold: uint256 = 0
    for i: uint256 in range(len(bundles), bound=MAX_BUYERS):
        bid: Bid = self.bids[number][i]
        buyers.append(bid.buyer)
        if payments[i] > 0:
            assert extcall Token(TOKEN).transfer(TRADES, payments[i]), "not paid"
        if bundles[i] != 0:
            sold |= bundles[i]
            self._open_trades(number, bid, bundles[i], payments[i])
        if bid.deposit > payments[i]:
            receiver: address = dealings.account(REGISTRY, bid.buyer, bid.account)
            assert extcall Token(TOKEN).transfer(receiver, bid.deposit - payments[i]), "not refunded"
    for j: uint256 in range(len(self.lots[number]), bound=MAX_LOTS):
        if (sold >> j) & 1 == 0:
            extcall Trades(TRADES).let_go(self.lots[number][j])
    log Settled(number=number, buyers=buyers, bundles=bundles, payments=payments)


@internal
def _open_trades(number: uint256, bid: Bid, won: uint256, payment: uint256):
    """
    @notice A sale for each model. Its seller gets what it asks; what is paid above the asks is shared in proportion to
        the frozen reputations, what that leaves over goes to the first.
    """
    asks: DynArray[uint256, MAX_LOTS] = []
    asked: uint256 = 0
    trusted: uint256 = 0
    for j: uint256 in range(len(self.lots[number]), bound=MAX_LOTS):
        found: dealings.Listing = dealings.listing(CATALOGUE, self.lots[number][j])
        asks.append(found.asked)
        if (won >> j) & 1 == 1:
            asked += found.asked
            trusted += self.frozen[number][j]
    surplus: uint256 = payment - asked
    left: uint256 = surplus
    shares: DynArray[uint256, MAX_LOTS] = []
    first: uint256 = MAX_LOTS
    for j: uint256 in range(len(self.lots[number]), bound=MAX_LOTS):
        share: uint256 = 0
        if (won >> j) & 1 == 1:
            if first == MAX_LOTS:
                first = j
            if trusted > 0:
                share = surplus * self.frozen[number][j] // trusted
            left -= share
        shares.append(share)
    shares[first] += left
    for j: uint256 in range(len(self.lots[number]), bound=MAX_LOTS):
        if (won >> j) & 1 == 1:
            extcall Trades(TRADES).open(self.lots[number][j], bid.buyer, bid.account, asks[j] + shares[j])


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def auction(number: uint256) -> (uint256, bytes32, uint256, uint256, uint256):
    """
    @notice State (0: no such auction), digest of the table, both deadlines, number of bids.
    """
    found: Auction = self.auctions[number]
    return found.state, found.table, found.bids_until, found.reveals_until, len(self.bids[number])

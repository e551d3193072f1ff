# pragma version 0.4.3
# pragma evm-version london
"""
@title Catalogue
@license Apache-2.0
@notice What is for sale on a model market (TL market's contract of model information), and what time it is there.

    An owner signs a listing (EIP-712, in the domain of the Registry); an edge server that has checked the model
    against it brings it here, as the paper's miners do. What money and reputations depend on is kept in the state:
    owner, digest of the model, least price, threshold of a positive event, licence. The rest (task, labels, claimed
    accuracy, usage, requirement, tensors) is one document, whose hash the owner signed with it and whose words are in
    the event, so that anybody can rebuild the catalogue from the chain alone.

    A model is named by its digest, and a file is listed by one seller: who bought it cannot list the same file.
"""

import clocks

initializes: clocks

MAX_WORDS: constant(uint256) = 128  # of a document: 4 KB
MAX_VIEW: constant(uint256) = 64
MAX_NUMBER: constant(uint256) = 2**63 - 1
MILLION: constant(uint256) = 10**6
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1

OPEN: constant(uint256) = 1
SPOKEN_FOR: constant(uint256) = 2
WITHDRAWN: constant(uint256) = 3

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
LISTING_TYPEHASH: constant(bytes32) = keccak256(
    "Listing(address owner,bytes32 model,uint64 size,uint64 price,uint64 threshold,uint64 exclusive,uint64 at,bytes32 document)"
)

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def edge_server(account: address) -> (uint256, uint256): view

struct Listing:
    owner: address
    model: bytes32  # SHA-256 of the file
    size: uint256  # bytes of the file
    price: uint256  # least, 10^-6 tokens
    threshold: uint256  # accuracy at the buyer from which on a trade is a positive event, parts per million
    exclusive: uint256  # 1: one buyer, by auction; 0: any number of buyers
    at: uint256  # when the owner signed
    v: uint256
    r: uint256
    s: uint256

struct Entry:
    seller: uint256  # handle
    owner: address  # account that signed
    model: bytes32
    price: uint256
    threshold: uint256
    exclusive: uint256
    state: uint256

event Listed:
    number: indexed(uint256)
    owner: indexed(address)
    seller: uint256
    model: bytes32
    size: uint256
    price: uint256
    threshold: uint256
    exclusive: uint256
    signed_at: uint256
    at: uint256
    document: DynArray[bytes32, MAX_WORDS]

event Closed:
    number: indexed(uint256)
    state: uint256

event Ticked:
    edge_server: indexed(address)
    at: uint256
    now: uint256

event Bound:
    trades: indexed(address)

OPERATOR: public(immutable(address))
REGISTRY: public(immutable(address))
DOMAIN: immutable(bytes32)

trades: public(address)
now: public(uint256)  # of the market: the latest time that more than a third of the edge servers have reached
count: public(uint256)
entries: HashMap[uint256, Entry]  # from 1
known: public(HashMap[bytes32, uint256])  # number of the listing of a model
taken: HashMap[bytes32, bool]  # what was listed once: what its owner has withdrawn, nobody brings again


@deploy
def __init__(registry: address):
    OPERATOR = msg.sender
    REGISTRY = registry
    DOMAIN = keccak256(abi_encode(DOMAIN_TYPEHASH, keccak256("platoon"), keccak256("1"), chain.id, registry))


@external
def bind(trades: address):
    """
    @notice Names the contract that may say that a listing is sold, once.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.trades == empty(address), "bound before"
    self.trades = trades
    log Bound(trades=trades)


@external
def tick(at: uint256):
    """
    @notice An edge server says what time it has. Deadlines of auctions and trades are held against `now`.
    """
    seat: uint256 = 0
    active: uint256 = 0
    clocks.enter(REGISTRY, at)
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    self.now = max(self.now, clocks.now(active))
    log Ticked(edge_server=msg.sender, at=at, now=self.now)


@internal
@pure
def _signer(digest: bytes32, v: uint256, r: uint256, s: uint256) -> address:
    """
    @notice Who signed; nobody for what is no strict signature.
    """
    if s > HALF_ORDER or (v != 27 and v != 28):
        return empty(address)
    return ecrecover(digest, v, r, s)


@external
def publish(listing: Listing, document: DynArray[bytes32, MAX_WORDS]):
    """
    @notice Takes a listing; the edge server that brings it has held the model against it.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    seller: uint256 = 0
    start: uint256 = 0
    seller, start = staticcall Registry(REGISTRY).vehicle(listing.owner)
    assert seller != 0, "the owner is not registered"
    assert len(document) > 0, "no document"
    assert listing.size > 0 and listing.size <= MAX_NUMBER, "size out of bounds"
    assert listing.price <= MAX_NUMBER, "price out of bounds"
    assert listing.threshold <= MILLION, "threshold out of bounds"
    assert listing.exclusive <= 1, "licence is neither exclusive nor not"
    assert listing.at <= self.now, "signed in the future"
    encoded: Bytes[4160] = abi_encode(document)  # offset, length, words
    structure: bytes32 = keccak256(
        abi_encode(
            LISTING_TYPEHASH,
            listing.owner,
            listing.model,
            listing.size,
            listing.price,
            listing.threshold,
            listing.exclusive,
            listing.at,
            keccak256(slice(encoded, 64, 32 * len(document))),
        )
    )
    signed: bytes32 = keccak256(concat(0x1901, DOMAIN, structure))
    assert self._signer(signed, listing.v, listing.r, listing.s) == listing.owner, "bad signature of the owner"
    assert not self.taken[signed], "listed before"
    self.taken[signed] = True
    before: uint256 = self.known[listing.model]
    if before != 0:
        # its owner may list it again after withdrawing it: at another price, with another licence
        assert self.entries[before].seller == seller, "the model is another seller's"
        assert self.entries[before].state == WITHDRAWN, "the model is listed, or sold"
    number: uint256 = self.count + 1
    self.count = number
    self.known[listing.model] = number
    self.entries[number] = Entry(
        seller=seller,
        owner=listing.owner,
        model=listing.model,
        price=listing.price,
        threshold=listing.threshold,
        exclusive=listing.exclusive,
        state=OPEN,
    )
    log Listed(
        number=number,
        owner=listing.owner,
        seller=seller,
        model=listing.model,
        size=listing.size,
        price=listing.price,
        threshold=listing.threshold,
        exclusive=listing.exclusive,
        signed_at=listing.at,
        at=self.now,
        document=document,
    )


@external
def withdraw(number: uint256):
    """
    @notice Its seller takes a listing back, unless it is spoken for.
    """
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(msg.sender)
    assert handle != 0 and self.entries[number].seller == handle, "not the seller"
    assert self.entries[number].state == OPEN, "not open"
    self.entries[number].state = WITHDRAWN
    log Closed(number=number, state=WITHDRAWN)


@external
def reserve(number: uint256):
    """
    @notice An exclusive listing is in an auction: it cannot be taken back, changed or sold twice.
    """
    assert msg.sender == self.trades, "only the trades"
    assert self.entries[number].state == OPEN, "not open"
    self.entries[number].state = SPOKEN_FOR
    log Closed(number=number, state=SPOKEN_FOR)


@external
def release(number: uint256):
    """
    @notice A model that was in an auction has not been sold, or its sale has fallen through.
    """
    assert msg.sender == self.trades, "only the trades"
    assert self.entries[number].state == SPOKEN_FOR, "not spoken for"
    self.entries[number].state = OPEN
    log Closed(number=number, state=OPEN)


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def listing(number: uint256) -> (uint256, address, bytes32, uint256, uint256, uint256, uint256):
    """
    @notice Seller's handle, account, model, least price, threshold, exclusive, state (0: no such listing).
    """
    entry: Entry = self.entries[number]
    return entry.seller, entry.owner, entry.model, entry.price, entry.threshold, entry.exclusive, entry.state

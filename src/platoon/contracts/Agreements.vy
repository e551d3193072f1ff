# pragma version 0.4.3
# pragma evm-version london
"""
@title Agreements
@license Apache-2.0
@notice How the task came about, and what its publisher orders to be paid (Two-layer's request, response and payment).
    The publisher signs a request: what is to be learned (a digest of the description), what is needed, until when
    vehicles may answer, and what it will spend at most. Edge servers that take part join. Vehicles sign what they
    have to offer and what they think of others; edge servers bring packs of that. Orders of the publisher, signed
    and within the budget, are what moves its tokens: into the escrow, into the budget of local blocks, or to a
    participant. Out of the escrow pay contracts alone: else a publisher could have the work done and the pay gone.

    Publisher and vehicles send no transactions here: they sign typed data (EIP-712, in the domain of the Registry),
    which edge servers bring. Opinions are kept in events and move nothing; scores move reputations.
"""

import clocks

initializes: clocks

MAX_RESPONSES: constant(uint256) = 128
MAX_OPINIONS: constant(uint256) = 512
MOST_OPINIONS: constant(uint256) = 4  # of one vehicle
MAX_VIEW: constant(uint256) = 1024
MAX_NUMBER: constant(uint256) = 2**63 - 1
MILLION: constant(uint256) = 10**6
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1

EDGE_SERVER_ROLE: constant(uint256) = 1
VEHICLE_ROLE: constant(uint256) = 2
PUBLISHER_ROLE: constant(uint256) = 3

DECLINED_NOT_A_VEHICLE: constant(uint256) = 1
DECLINED_ANSWERED_BEFORE: constant(uint256) = 2

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
REQUEST_TYPEHASH: constant(bytes32) = keccak256(
    "TaskRequest(address publisher,bytes32 content,uint64 vehicles,uint64 samples,uint64 cycles,uint64 deadline,uint64 budget,uint64 serial)"
)
OPINION_TYPEHASH: constant(bytes32) = keccak256("Opinion(address subject,uint64 reputation)")
RESPONSE_TYPEHASH: constant(bytes32) = keccak256(
    "TaskResponse(bytes32 request,address vehicle,uint64 clock,uint64 samples,uint64 rate,Opinion[] opinions)Opinion(address subject,uint64 reputation)"
)
PAYMENT_TYPEHASH: constant(bytes32) = keccak256(
    "Payment(bytes32 request,address payer,address receiver,uint64 amount,uint64 round,uint64 serial)"
)

interface Registry:
    def role(account: address) -> uint256: view
    def vehicle(account: address) -> (uint256, uint256): view
    def edge_server(account: address) -> (uint256, uint256): view

interface Token:
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable

struct Request:
    publisher: address
    content: bytes32
    vehicles: uint256
    samples: uint256
    cycles: uint256
    deadline: uint256
    budget: uint256
    serial: uint256
    v: uint256
    r: uint256
    s: uint256

struct Response:
    request: bytes32
    vehicle: address
    clock: uint256
    samples: uint256
    rate: uint256
    opinions: uint256  # how many of the call's opinions are this vehicle's
    v: uint256
    r: uint256
    s: uint256

struct Opinion:
    subject: address
    reputation: uint256

struct Payment:
    request: bytes32
    payer: address
    receiver: address
    amount: uint256
    round: uint256
    serial: uint256
    v: uint256
    r: uint256
    s: uint256

event Published:
    request: indexed(bytes32)
    publisher: indexed(address)
    edge_server: indexed(address)
    content: bytes32
    vehicles: uint256
    samples: uint256
    cycles: uint256
    deadline: uint256
    budget: uint256
    serial: uint256

event Joined:
    request: indexed(bytes32)
    edge_server: indexed(address)

event Responded:
    vehicle: indexed(address)
    edge_server: indexed(address)
    clock: uint256
    samples: uint256
    rate: uint256
    subjects: DynArray[address, MOST_OPINIONS]
    reputations: DynArray[uint256, MOST_OPINIONS]

event Declined:
    vehicle: indexed(address)
    edge_server: indexed(address)
    reason: uint256

event Paid:
    payer: indexed(address)
    receiver: indexed(address)
    amount: uint256
    round: uint256
    serial: uint256

REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
ESCROW: public(immutable(address))
SEALING: public(immutable(address))
PUBLISHER: public(immutable(address))
DOMAIN: immutable(bytes32)

request: public(bytes32)  # its EIP-712 digest, by which everybody names it
content: public(bytes32)
samples: public(uint256)
deadline: public(uint256)
budget: public(uint256)
spent: public(uint256)
joined: public(uint256)  # bit i: the edge server in seat i
responses: public(uint256)  # taken so far
used: HashMap[uint256, bool]  # serials of the publisher
answers: HashMap[uint256, bool]  # by handle


@deploy
def __init__(registry: address, token: address, escrow: address, sealing: address, publisher: address):
    REGISTRY = registry
    TOKEN = token
    ESCROW = escrow
    SEALING = sealing
    PUBLISHER = publisher
    DOMAIN = keccak256(abi_encode(DOMAIN_TYPEHASH, keccak256("platoon"), keccak256("1"), chain.id, registry))


@internal
@view
def _name(structure: bytes32) -> bytes32:
    return keccak256(concat(0x1901, DOMAIN, structure))


@internal
@pure
def _signer(digest: bytes32, v: uint256, r: uint256, s: uint256) -> address:
    """
    @notice Who signed; nobody for what is no strict signature.
    """
    if s > HALF_ORDER or (v != 27 and v != 28):
        return empty(address)
    return ecrecover(digest, v, r, s)


@internal
@view
def _check_publisher(account: address):
    assert account == PUBLISHER, "not the publisher's"
    assert staticcall Registry(REGISTRY).role(account) == PUBLISHER_ROLE, "not a publisher"


# ---- request ----------------------------------------------------------------------------------------------------

@external
def publish(at: uint256, asked: Request):
    """
    @notice An edge server brings the publisher's request, which opens the task. `at`: its time, in microseconds.
    """
    now: uint256 = clocks.enter(REGISTRY, at)
    assert self.request == empty(bytes32), "published before"
    self._check_publisher(asked.publisher)
    assert asked.vehicles > 0, "asks for nobody"
    assert asked.deadline > now, "expired"
    assert max(asked.vehicles, max(asked.samples, asked.cycles)) <= MAX_NUMBER, "number out of bounds"
    assert max(asked.deadline, max(asked.budget, asked.serial)) <= MAX_NUMBER, "number out of bounds"
    digest: bytes32 = self._name(
        keccak256(
            abi_encode(
                REQUEST_TYPEHASH,
                asked.publisher,
                asked.content,
                asked.vehicles,
                asked.samples,
                asked.cycles,
                asked.deadline,
                asked.budget,
                asked.serial,
            )
        )
    )
    assert self._signer(digest, asked.v, asked.r, asked.s) == asked.publisher, "bad signature"
    self.request = digest
    self.content = asked.content
    self.samples = asked.samples
    self.deadline = asked.deadline
    self.budget = asked.budget
    self.used[asked.serial] = True
    log Published(
        request=digest,
        publisher=asked.publisher,
        edge_server=msg.sender,
        content=asked.content,
        vehicles=asked.vehicles,
        samples=asked.samples,
        cycles=asked.cycles,
        deadline=asked.deadline,
        budget=asked.budget,
        serial=asked.serial,
    )


@internal
@view
def _check_request(request: bytes32):
    assert self.request != empty(bytes32), "nothing is asked for"
    assert request == self.request, "another request"


@external
def join(at: uint256, request: bytes32):
    """
    @notice The sender serves the task that the request asks for.
    """
    clocks.enter(REGISTRY, at)
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    self._check_request(request)
    assert (self.joined >> seat) & 1 == 0, "joined before"
    self.joined |= 1 << seat
    log Joined(request=request, edge_server=msg.sender)


# ---- responses --------------------------------------------------------------------------------------------------

@internal
@view
def _check_response(response: Response, opinions: DynArray[Opinion, MOST_OPINIONS]):
    """
    @notice What the edge server that brings it could have checked alone.
    """
    self._check_request(response.request)
    assert response.samples >= self.samples, "too few samples"
    assert max(response.clock, max(response.samples, response.rate)) <= MAX_NUMBER, "number out of bounds"
    hashes: bytes32[MOST_OPINIONS] = empty(bytes32[MOST_OPINIONS])
    last: uint256 = 0
    for i: uint256 in range(len(opinions), bound=MOST_OPINIONS):
        opinion: Opinion = opinions[i]
        number: uint256 = convert(opinion.subject, uint256)
        assert number > last, "opinions not ascending"
        last = number
        assert opinion.subject != response.vehicle, "an opinion of itself"
        assert opinion.reputation <= MILLION, "reputation out of bounds"
        hashes[i] = keccak256(abi_encode(OPINION_TYPEHASH, opinion.subject, opinion.reputation))
    packed: Bytes[128] = slice(concat(hashes[0], hashes[1], hashes[2], hashes[3]), 0, 32 * len(opinions))
    digest: bytes32 = self._name(
        keccak256(
            abi_encode(
                RESPONSE_TYPEHASH,
                response.request,
                response.vehicle,
                response.clock,
                response.samples,
                response.rate,
                keccak256(packed),
            )
        )
    )
    signer: address = self._signer(digest, response.v, response.r, response.s)
    assert signer == response.vehicle and signer != empty(address), "bad signature"


@external
def respond(at: uint256, responses: DynArray[Response, MAX_RESPONSES], opinions: DynArray[Opinion, MAX_OPINIONS]):
    """
    @notice An edge server brings vehicles' responses; `opinions` are those of the first, then of the second, and so on.
    @dev A response that is faulty in itself reverts the whole call. What depends on others (revoked, or answered by
        another edge server first) leaves that one out, and says so.
    """
    now: uint256 = clocks.enter(REGISTRY, at)
    assert self.request != empty(bytes32), "nothing is asked for"
    assert now < self.deadline, "expired"
    place: uint256 = 0
    taken: uint256 = 0
    for response: Response in responses:
        assert response.opinions <= MOST_OPINIONS, "too many opinions"
        assert place + response.opinions <= len(opinions), "opinions are missing"
        own: DynArray[Opinion, MOST_OPINIONS] = []
        subjects: DynArray[address, MOST_OPINIONS] = []
        reputations: DynArray[uint256, MOST_OPINIONS] = []
        for i: uint256 in range(response.opinions, bound=MOST_OPINIONS):
            own.append(opinions[place + i])
            subjects.append(opinions[place + i].subject)
            reputations.append(opinions[place + i].reputation)
        place += response.opinions
        self._check_response(response, own)
        handle: uint256 = 0
        start: uint256 = 0
        handle, start = staticcall Registry(REGISTRY).vehicle(response.vehicle)
        if handle == 0:
            log Declined(vehicle=response.vehicle, edge_server=msg.sender, reason=DECLINED_NOT_A_VEHICLE)
            continue
        if self.answers[handle]:
            log Declined(vehicle=response.vehicle, edge_server=msg.sender, reason=DECLINED_ANSWERED_BEFORE)
            continue
        self.answers[handle] = True
        taken += 1
        log Responded(
            vehicle=response.vehicle,
            edge_server=msg.sender,
            clock=response.clock,
            samples=response.samples,
            rate=response.rate,
            subjects=subjects,
            reputations=reputations,
        )
    assert place == len(opinions), "opinions are left over"
    self.responses += taken


# ---- payments ---------------------------------------------------------------------------------------------------

@external
@nonreentrant
def pay_order(at: uint256, order: Payment):
    """
    @notice An edge server brings an order of the publisher, whose tokens move as it says.
    """
    clocks.enter(REGISTRY, at)
    self._check_request(order.request)
    self._check_publisher(order.payer)
    assert order.amount > 0, "nothing to pay"
    assert order.amount <= self.budget - self.spent, "over budget"
    assert order.round <= MAX_NUMBER and order.serial <= MAX_NUMBER, "number out of bounds"
    assert not self.used[order.serial], "serial used before"
    if order.receiver != ESCROW and order.receiver != SEALING:
        role: uint256 = staticcall Registry(REGISTRY).role(order.receiver)
        assert role == EDGE_SERVER_ROLE or role == VEHICLE_ROLE, "no payee of this task"
    structure: bytes32 = keccak256(
        abi_encode(
            PAYMENT_TYPEHASH,
            order.request,
            order.payer,
            order.receiver,
            order.amount,
            order.round,
            order.serial,
        )
    )
    assert self._signer(self._name(structure), order.v, order.r, order.s) == order.payer, "bad signature"
    self.used[order.serial] = True
    self.spent += order.amount
    assert extcall Token(TOKEN).transferFrom(order.payer, order.receiver, order.amount), "transfer failed"
    log Paid(
        payer=order.payer,
        receiver=order.receiver,
        amount=order.amount,
        round=order.round,
        serial=order.serial,
    )


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def answered(handles: DynArray[uint256, MAX_VIEW]) -> DynArray[bool, MAX_VIEW]:
    """
    @notice Whether each vehicle, named by its handle, has answered the request.
    """
    result: DynArray[bool, MAX_VIEW] = []
    for handle: uint256 in handles:
        result.append(self.answers[handle])
    return result


@external
@view
def is_used(serial: uint256) -> bool:
    return self.used[serial]

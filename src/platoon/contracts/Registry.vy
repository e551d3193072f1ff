# pragma version 0.4.3
# pragma evm-version london
"""
@title Registry
@license Apache-2.0
@notice Who takes part in a task chain, and as what. The operator (the deployer) registers and revokes; an account has
    one role for good, and a revoked account never returns. Edge servers have seats: position in the list, never reused,
    so that other contracts can keep "who has done it" as one bit per seat.

    A vehicle is known to other contracts by its handle, one more than the number of its registration, and to everybody
    else by the account that it uses now, its pseudonym. `rotate` gives it another account under the same handle. Which
    account followed which is in the transactions and the state, which whoever runs a node can read, and in no event.
"""

event Registered:
    role: indexed(uint256)
    accounts: DynArray[address, BATCH]

event Revoked:
    account: indexed(address)
    role: indexed(uint256)

event Rotated:
    edge_server: indexed(address)
    count: uint256

event Bound:
    admission: indexed(address)

struct Rotation:
    retired: address
    renewed: address
    retired_v: uint256
    retired_r: uint256
    retired_s: uint256
    renewed_v: uint256
    renewed_r: uint256
    renewed_s: uint256

MAX_EDGE_SERVERS: constant(uint256) = 64
BATCH: constant(uint256) = 256
ROTATIONS: constant(uint256) = 128
UPDATES: constant(uint256) = 128  # of a record
MAX_VIEW: constant(uint256) = 1024
MILLION: constant(uint256) = 10**6
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1

EDGE_SERVER: constant(uint256) = 1
VEHICLE: constant(uint256) = 2
PUBLISHER: constant(uint256) = 3
REVOKED: constant(uint256) = 4
RETIRED: constant(uint256) = 5  # a pseudonym that its vehicle has given up

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
ROTATION_TYPEHASH: constant(bytes32) = keccak256("Rotation(address retired,address renewed)")

OPERATOR: public(immutable(address))
DOMAIN: immutable(bytes32)
member: HashMap[address, uint256]  # handle << 8 | role; the handle is 0 for all but vehicles
seat: HashMap[address, uint256]
edge_servers: DynArray[address, MAX_EDGE_SERVERS]
active: uint256  # bit i: the edge server in seat i takes part
vehicles: public(uint256)  # registered so far
current: HashMap[uint256, address]  # account of a handle that was ever rotated
admission: public(address)
start: HashMap[uint256, uint256]  # by handle: the reputation that it was admitted with, + 1


@deploy
def __init__():
    OPERATOR = msg.sender
    DOMAIN = keccak256(abi_encode(DOMAIN_TYPEHASH, keccak256("platoon"), keccak256("1"), chain.id, self))


@external
def register(role: uint256, accounts: DynArray[address, BATCH]):
    assert msg.sender == OPERATOR, "only the operator"
    assert role >= EDGE_SERVER and role <= PUBLISHER, "no such role"
    handle: uint256 = self.vehicles
    for account: address in accounts:
        assert account != empty(address), "no account"
        assert self.member[account] == 0, "registered before"
        if role == VEHICLE:
            handle += 1
            self.member[account] = handle << 8 | VEHICLE
            continue
        self.member[account] = role
        if role == EDGE_SERVER:
            position: uint256 = len(self.edge_servers)
            assert position < MAX_EDGE_SERVERS, "no seat left"
            self.seat[account] = position
            self.edge_servers.append(account)
            self.active |= 1 << position
    self.vehicles = handle
    log Registered(role=role, accounts=accounts)


@external
def revoke(account: address):
    """
    @notice Ends a part for good. A pseudonym that its vehicle has given up stands for the vehicle: the account that it
        uses now is revoked, and that is the account in the event.
    """
    assert msg.sender == OPERATOR, "only the operator"
    revoked: address = account
    if self.member[account] & 255 == RETIRED:
        revoked = self.current[self.member[account] >> 8]
    member: uint256 = self.member[revoked]
    role: uint256 = member & 255
    assert role >= EDGE_SERVER and role <= PUBLISHER, "not registered"
    self.member[revoked] = (member >> 8) << 8 | REVOKED
    if role == EDGE_SERVER:
        self.active &= ~(1 << self.seat[revoked])
    log Revoked(account=revoked, role=role)


# ---- pseudonyms -------------------------------------------------------------------------------------------------

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
def rotate(rotations: DynArray[Rotation, ROTATIONS]):
    """
    @notice New pseudonyms, ascending by the old. Each is signed by the old account, which wills it, and by the new, so
        that nobody can take an account that is not theirs.
    @dev What the edge server could have checked alone reverts the whole call. What depends on others (revoked, or
        rotated by another edge server first, or the new account is somebody's) leaves that one out.
    """
    assert self.member[msg.sender] & 255 == EDGE_SERVER, "not an edge server"
    last: uint256 = 0
    count: uint256 = 0
    for rotation: Rotation in rotations:
        number: uint256 = convert(rotation.retired, uint256)
        assert number > last, "vehicles not ascending"
        last = number
        structure: bytes32 = keccak256(abi_encode(ROTATION_TYPEHASH, rotation.retired, rotation.renewed))
        signed: bytes32 = keccak256(concat(0x1901, DOMAIN, structure))
        old: address = self._signer(signed, rotation.retired_v, rotation.retired_r, rotation.retired_s)
        assert old == rotation.retired, "bad signature of the old account"
        new: address = self._signer(signed, rotation.renewed_v, rotation.renewed_r, rotation.renewed_s)
        assert new == rotation.renewed and new != empty(address), "bad signature of the new account"
        member: uint256 = self.member[old]
        if member & 255 != VEHICLE or self.member[new] != 0:
            continue
        handle: uint256 = member >> 8
        self.member[old] = handle << 8 | RETIRED
        self.member[new] = member
        self.current[handle] = new
        count += 1
    log Rotated(edge_server=msg.sender, count=count)


# ---- admission (DTB-FL eq. 13) ----------------------------------------------------------------------------------

@external
def bind(admission: address):
    """
    @notice Names the contract that may say what reputation a newcomer starts with, once.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.admission == empty(address), "bound before"
    assert admission != empty(address), "no account"
    self.admission = admission
    log Bound(admission=admission)


@external
def begin(account: address, reputation: uint256):
    """
    @notice The reputation, in parts per million, that a vehicle starts with.
    """
    assert msg.sender == self.admission, "only the admission"
    member: uint256 = self.member[account]
    assert member & 255 == VEHICLE, "not a vehicle"
    assert reputation <= MILLION, "reputation out of bounds"
    assert self.start[member >> 8] == 0, "admitted before"
    self.start[member >> 8] = reputation + 1


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def role(account: address) -> uint256:
    return self.member[account] & 255


@external
@view
def vehicle(account: address) -> (uint256, uint256):
    """
    @notice The handle of a vehicle that takes part under this account, and its start (0: not admitted). Zeros for
        anybody else.
    """
    member: uint256 = self.member[account]
    if member & 255 != VEHICLE:
        return 0, 0
    return member >> 8, self.start[member >> 8]


@external
@view
def participants(accounts: DynArray[address, UPDATES]) -> DynArray[uint256, UPDATES]:
    """
    @notice The handles of vehicles that take part under these accounts; 0 of anybody else.
    """
    result: DynArray[uint256, UPDATES] = []
    for account: address in accounts:
        member: uint256 = self.member[account]
        result.append(member >> 8 if member & 255 == VEHICLE else 0)
    return result


@external
@view
def standings(accounts: DynArray[address, MAX_VIEW]) -> (DynArray[uint256, MAX_VIEW], DynArray[uint256, MAX_VIEW]):
    """
    @notice Handles and starts of vehicles by the accounts they use now, or used when they were revoked; else zeros.
    """
    handles: DynArray[uint256, MAX_VIEW] = []
    starts: DynArray[uint256, MAX_VIEW] = []
    for account: address in accounts:
        member: uint256 = self.member[account]
        handle: uint256 = 0 if member & 255 == RETIRED else member >> 8
        handles.append(handle)
        starts.append(self.start[handle])
    return handles, starts


@external
@view
def handles(accounts: DynArray[address, MAX_VIEW]) -> DynArray[uint256, MAX_VIEW]:
    """
    @notice Handles of all that ever were accounts of a vehicle, given up ones included.
    """
    result: DynArray[uint256, MAX_VIEW] = []
    for account: address in accounts:
        result.append(self.member[account] >> 8)
    return result


@external
@view
def accounts(handles: DynArray[uint256, MAX_VIEW]) -> DynArray[address, MAX_VIEW]:
    """
    @notice The account of each handle; the empty one where it is still the account that was registered.
    """
    result: DynArray[address, MAX_VIEW] = []
    for handle: uint256 in handles:
        result.append(self.current[handle])
    return result


@external
@view
def edge_server(account: address) -> (uint256, uint256):
    """
    @notice The seat of an edge server that takes part, and the bits of all that do. Reverts for anybody else.
    """
    assert self.member[account] & 255 == EDGE_SERVER, "not an edge server"
    return self.seat[account], self.active


@external
@view
def members() -> (DynArray[address, MAX_EDGE_SERVERS], uint256):
    """
    @notice Every edge server ever registered, by seat, and the bits of those that take part.
    """
    return self.edge_servers, self.active

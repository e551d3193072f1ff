# pragma version 0.4.3
# pragma evm-version london
"""
@title Admission
@license Apache-2.0
@notice What reputation a newcomer starts with (DTB-FL eq. 13): that of a valid reputation certificate; else, where it
    passed the compute attestation, ATTESTED = 0.5 + Delta; else what Training gives to newcomers, which the task's
    operator sets to rho_min. A certificate comes from an edge server of another task chain, which the operator of this
    one has come to trust; edge servers of this one carry it here.

    Certificates expire by time, which callers say and clocks.vy holds to the order of things.
"""

import clocks

initializes: clocks

MAX_ISSUERS: constant(uint256) = 64
BATCH: constant(uint256) = 256
MILLION: constant(uint256) = 10**6
MAX_NUMBER: constant(uint256) = 2**63 - 1
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1

UNKNOWN: constant(uint256) = 0
TRUSTED: constant(uint256) = 1
REVOKED: constant(uint256) = 2

CERTIFICATE_TYPEHASH: constant(bytes32) = keccak256(
    "Certificate(bytes32 task,address issuer,address vehicle,uint64 reputation,uint64 round,uint64 expiry,uint64 serial)"
)

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def begin(account: address, reputation: uint256): nonpayable

interface Training:
    def is_newcomer(vehicle: address) -> bool: view

struct Certificate:
    task: bytes32
    issuer: address
    vehicle: address
    reputation: uint256
    round: uint256
    expiry: uint256
    serial: uint256
    v: uint256
    r: uint256
    s: uint256

event Trusted:
    issuer: indexed(address)
    task: indexed(bytes32)

event Distrusted:
    issuer: indexed(address)

event Admitted:
    vehicle: indexed(address)
    edge_server: indexed(address)
    reputation: uint256
    issuer: address  # of the certificate; nobody where there was none
    serial: uint256

OPERATOR: public(immutable(address))
REGISTRY: public(immutable(address))
TRAINING: public(immutable(address))
ATTESTED: public(immutable(uint256))

trust: public(HashMap[address, uint256])
chain_of: HashMap[address, bytes32]  # the task whose edge server an issuer is
used: HashMap[address, HashMap[uint256, bool]]  # serials, by issuer


@deploy
def __init__(registry: address, training: address, attested: uint256):
    assert attested <= MILLION, "attested"
    OPERATOR = msg.sender
    REGISTRY = registry
    TRAINING = training
    ATTESTED = attested


@external
def trust_issuers(task: bytes32, issuers: DynArray[address, MAX_ISSUERS]):
    """
    @notice Certificates of these edge servers of another task chain are taken from now on.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert task != empty(bytes32), "no task"
    for issuer: address in issuers:
        assert issuer != empty(address), "no account"
        assert self.trust[issuer] == UNKNOWN, "known before"
        self.trust[issuer] = TRUSTED
        self.chain_of[issuer] = task
        log Trusted(issuer=issuer, task=task)


@external
def distrust(issuer: address):
    """
    @notice No certificate of this issuer is taken any more, for good.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.trust[issuer] == TRUSTED, "not trusted"
    self.trust[issuer] = REVOKED
    log Distrusted(issuer=issuer)


@internal
@view
def _check_newcomer(vehicle: address):
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(vehicle)
    assert handle != 0, "not a vehicle"
    assert start == 0, "admitted before"
    assert staticcall Training(TRAINING).is_newcomer(vehicle), "not a newcomer"


@internal
@view
def _is_signed(certificate: Certificate) -> bool:
    structure: bytes32 = keccak256(
        abi_encode(
            CERTIFICATE_TYPEHASH,
            certificate.task,
            certificate.issuer,
            certificate.vehicle,
            certificate.reputation,
            certificate.round,
            certificate.expiry,
            certificate.serial,
        )
    )
    signed: bytes32 = keccak256(concat(0x1901, certificate.task, structure))
    if certificate.s > HALF_ORDER or (certificate.v != 27 and certificate.v != 28):
        return False
    return ecrecover(signed, certificate.v, certificate.r, certificate.s) == certificate.issuer


@external
@nonreentrant
def admit_certified(at: uint256, certificate: Certificate):
    """
    @notice A newcomer starts with the reputation that its certificate says. `at`: the caller's time, in microseconds.
    """
    now: uint256 = clocks.enter(REGISTRY, at)
    trust: uint256 = self.trust[certificate.issuer]
    assert trust != UNKNOWN, "unknown issuer"
    assert trust == TRUSTED, "revoked issuer"
    assert self.chain_of[certificate.issuer] == certificate.task, "issuer of another task"
    assert certificate.reputation <= MILLION, "reputation out of bounds"
    assert certificate.round <= MAX_NUMBER and certificate.expiry <= MAX_NUMBER, "number out of bounds"
    assert certificate.serial <= MAX_NUMBER, "number out of bounds"
    assert self._is_signed(certificate), "bad signature"
    assert now < certificate.expiry, "expired"
    assert not self.used[certificate.issuer][certificate.serial], "used before"
    self._check_newcomer(certificate.vehicle)
    self.used[certificate.issuer][certificate.serial] = True
    extcall Registry(REGISTRY).begin(certificate.vehicle, certificate.reputation)
    log Admitted(
        vehicle=certificate.vehicle,
        edge_server=msg.sender,
        reputation=certificate.reputation,
        issuer=certificate.issuer,
        serial=certificate.serial,
    )


@external
@nonreentrant
def admit_attested(at: uint256, vehicles: DynArray[address, BATCH]):
    """
    @notice Newcomers that passed this edge server's compute attestation start at ATTESTED.
    """
    clocks.enter(REGISTRY, at)
    for vehicle: address in vehicles:
        self._check_newcomer(vehicle)
        extcall Registry(REGISTRY).begin(vehicle, ATTESTED)
        log Admitted(
            vehicle=vehicle, edge_server=msg.sender, reputation=ATTESTED, issuer=empty(address), serial=0
        )


@external
@view
def is_used(issuer: address, serial: uint256) -> bool:
    return self.used[issuer][serial]


@external
@view
def time_of(edge_server: address) -> uint256:
    """
    @notice The latest time that an edge server that takes part has claimed.
    """
    return clocks.time_of(REGISTRY, edge_server)

# pragma version 0.4.3
# pragma evm-version london
"""
@title Plausibility
@license Apache-2.0
@notice Who is flagged because its movement and its updates do not go together (DTB-FL 4.3.4): vehicles that drive as
    one and send near-identical updates unlike all others (collusion), and accounts that share one radio position
    (Sybils). Edge servers allege; what a strict majority of the active ones alleges in the same round, of the same
    members, is a case: each member loses PENALTY of its reputation at once, before the verdicts of the round. The
    measures of a case are the lower medians of what its edge servers measured, and each binds itself to the digest of
    the evidence that it keeps.

    A member may appeal, once for a case. The edge servers then judge a second time, on new evidence; unless a strict
    majority upholds the flag, it is lifted, and every member gets back what was taken.
"""

import medians

MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_MEMBERS: constant(uint256) = 64
MAX_MEASURE: constant(uint256) = 2**31 - 1  # of a lane of `medians`
MILLION: constant(uint256) = 10**6
JUDGED: constant(uint256) = 2  # of the phases of Training

COLLUSION: constant(uint256) = 1
SYBIL: constant(uint256) = 2

FLAGGED: constant(uint256) = 1
APPEALED: constant(uint256) = 2
UPHELD: constant(uint256) = 3
LIFTED: constant(uint256) = 4

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def edge_server(account: address) -> (uint256, uint256): view

interface Training:
    def closed() -> bool: view
    def round() -> uint256: view
    def phase() -> uint256: view
    def correct(handle: uint256, start: uint256, move: int256) -> (uint256, uint256): nonpayable

event Reported:
    round: indexed(uint256)
    edge_server: indexed(address)
    kind: uint256  # 1 collusion, 2 Sybil
    members: DynArray[address, MAX_MEMBERS]
    apart: uint256  # millimetres: how far they drove apart (collusion), how far beyond measurement noise (Sybil)
    similarity: uint256  # of their updates, parts per million
    evidence: bytes32

event Flagged:
    number: indexed(uint256)
    round: indexed(uint256)
    kind: uint256
    members: DynArray[address, MAX_MEMBERS]
    apart: uint256
    similarity: uint256
    before: DynArray[uint256, MAX_MEMBERS]  # reputations
    now: DynArray[uint256, MAX_MEMBERS]

event Appealed:
    number: indexed(uint256)
    vehicle: indexed(address)

event Reviewed:
    number: indexed(uint256)
    edge_server: indexed(address)
    upheld: bool
    apart: uint256
    similarity: uint256
    evidence: bytes32

event Decided:
    number: indexed(uint256)
    upheld: bool
    before: DynArray[uint256, MAX_MEMBERS]  # reputations, in the order of the members; nothing where it is upheld
    now: DynArray[uint256, MAX_MEMBERS]

REGISTRY: public(immutable(address))
TRAINING: public(immutable(address))
PENALTY: public(immutable(uint256))

reporters: HashMap[bytes32, uint256]  # by allegation: bits of seats
measures: HashMap[bytes32, HashMap[uint256, uint256]]  # by allegation and seat: similarity << 32 | apart
case_of: HashMap[bytes32, uint256]  # by allegation
cases: public(uint256)
status: public(HashMap[uint256, uint256])  # by case, numbered from 1
about: HashMap[uint256, uint256]  # by case: round << 8 | kind
takings: HashMap[uint256, DynArray[uint256, MAX_MEMBERS]]  # by case: handle << 32 | taken
upholding: HashMap[uint256, uint256]  # by case: bits of seats
lifting: HashMap[uint256, uint256]


@deploy
def __init__(registry: address, training: address, penalty: uint256):
    assert penalty <= MILLION, "penalty"
    REGISTRY = registry
    TRAINING = training
    PENALTY = penalty


@internal
@pure
def _count(bits: uint256) -> uint256:
    total: uint256 = 0
    for i: uint256 in range(MAX_EDGE_SERVERS):
        total += (bits >> i) & 1
    return total


@internal
@view
def _enter() -> (uint256, uint256):
    """
    @notice The caller's seat and the active seats; only edge servers, and only while reputations may move.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert not staticcall Training(TRAINING).closed(), "the task is closed"
    assert staticcall Training(TRAINING).phase() != JUDGED, "the verdicts are given"
    return seat, active


@internal
@view
def _median(allegation: bytes32, reporters: uint256) -> uint256:
    rows: uint256[MAX_EDGE_SERVERS] = empty(uint256[MAX_EDGE_SERVERS])
    number: uint256 = 0
    for seat: uint256 in range(MAX_EDGE_SERVERS):
        if (reporters >> seat) & 1 == 1:
            rows[number] = self.measures[allegation][seat]
            number += 1
    return medians.lower_median(rows, number)


@internal
def _flag(round: uint256, kind: uint256, members: DynArray[address, MAX_MEMBERS], measures: uint256) -> uint256:
    """
    @notice Opens a case and takes the penalty from every member.
    """
    number: uint256 = self.cases + 1
    self.cases = number
    self.status[number] = FLAGGED
    self.about[number] = round << 8 | kind
    before: DynArray[uint256, MAX_MEMBERS] = []
    now: DynArray[uint256, MAX_MEMBERS] = []
    takings: DynArray[uint256, MAX_MEMBERS] = []
    for member: address in members:
        handle: uint256 = 0
        start: uint256 = 0
        handle, start = staticcall Registry(REGISTRY).vehicle(member)
        old: uint256 = 0
        new: uint256 = 0
        old, new = extcall Training(TRAINING).correct(handle, start, -convert(PENALTY, int256))
        before.append(old)
        now.append(new)
        takings.append(handle << 32 | (old - new))
    self.takings[number] = takings
    log Flagged(
        number=number,
        round=round,
        kind=kind,
        members=members,
        apart=measures & (2**32 - 1),
        similarity=measures >> 32,
        before=before,
        now=now,
    )
    return number


@external
@nonreentrant
def report(
    round: uint256,
    kind: uint256,
    members: DynArray[address, MAX_MEMBERS],
    apart: uint256,
    similarity: uint256,
    evidence: bytes32,
):
    """
    @notice One edge server alleges that these vehicles, ascending, collude or are one. Reports that come after the
        majority are kept too.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter()
    assert round == staticcall Training(TRAINING).round(), "another round is open"
    assert kind == COLLUSION or kind == SYBIL, "no such kind"
    assert len(members) >= 2, "too few members"
    assert apart <= MAX_MEASURE and similarity <= MILLION, "measure out of bounds"
    last: uint256 = 0
    for member: address in members:
        assert convert(member, uint256) > last, "members not ascending"
        last = convert(member, uint256)
        handle: uint256 = 0
        start: uint256 = 0
        handle, start = staticcall Registry(REGISTRY).vehicle(member)
        assert handle != 0, "not a vehicle"
    allegation: bytes32 = keccak256(abi_encode(round, kind, members))
    reporters: uint256 = self.reporters[allegation]
    assert (reporters >> seat) & 1 == 0, "reported before"
    reporters |= 1 << seat
    self.reporters[allegation] = reporters
    self.measures[allegation][seat] = similarity << 32 | apart
    log Reported(
        round=round,
        edge_server=msg.sender,
        kind=kind,
        members=members,
        apart=apart,
        similarity=similarity,
        evidence=evidence,
    )
    reporters &= active
    if self.case_of[allegation] == 0 and 2 * self._count(reporters) > self._count(active):
        self.case_of[allegation] = self._flag(round, kind, members, self._median(allegation, reporters))


@external
def appeal(number: uint256):
    """
    @notice A member asks for a second judgement of its case, for all of its members.
    """
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(msg.sender)
    assert handle != 0, "not a vehicle"
    assert not staticcall Training(TRAINING).closed(), "the task is closed"
    assert self.status[number] == FLAGGED, "not open to appeal"
    is_member: bool = False
    for taking: uint256 in self.takings[number]:
        is_member = is_member or taking >> 32 == handle
    assert is_member, "not of this case"
    self.status[number] = APPEALED
    log Appealed(number=number, vehicle=msg.sender)


@internal
def _lift(number: uint256):
    """
    @notice Gives every member back what was taken.
    """
    before: DynArray[uint256, MAX_MEMBERS] = []
    now: DynArray[uint256, MAX_MEMBERS] = []
    for taking: uint256 in self.takings[number]:
        old: uint256 = 0
        new: uint256 = 0
        old, new = extcall Training(TRAINING).correct(
            taking >> 32, 0, convert(taking & (2**32 - 1), int256)
        )
        before.append(old)
        now.append(new)
    self.status[number] = LIFTED
    log Decided(number=number, upheld=False, before=before, now=now)


@external
@nonreentrant
def review(number: uint256, upheld: bool, apart: uint256, similarity: uint256, evidence: bytes32):
    """
    @notice One edge server's second judgement. The case is decided as soon as the votes that are missing cannot turn it.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter()
    assert self.status[number] == APPEALED, "not under appeal"
    assert apart <= MAX_MEASURE and similarity <= MILLION, "measure out of bounds"
    assert ((self.upholding[number] | self.lifting[number]) >> seat) & 1 == 0, "reviewed before"
    if upheld:
        self.upholding[number] |= 1 << seat
    else:
        self.lifting[number] |= 1 << seat
    log Reviewed(
        number=number,
        edge_server=msg.sender,
        upheld=upheld,
        apart=apart,
        similarity=similarity,
        evidence=evidence,
    )
    if 2 * self._count(self.upholding[number] & active) > self._count(active):
        self.status[number] = UPHELD
        log Decided(number=number, upheld=True, before=[], now=[])
    elif 2 * self._count(self.lifting[number] & active) >= self._count(active):
        self._lift(number)


@external
@view
def case(number: uint256) -> (uint256, uint256, uint256, DynArray[uint256, MAX_MEMBERS]):
    """
    @notice Status, round and kind of a case, and its members' handles << 32 | what was taken of each.
    """
    return self.status[number], self.about[number] >> 8, self.about[number] & 255, self.takings[number]

# pragma version 0.4.3
# pragma evm-version london
"""
@title Checkpoint
@license Apache-2.0
@notice Where the local chains meet the global one. Each edge server anchors its local block of the open round: the
    contract checks the seals of the round's committee and that the block follows the one before, and keeps its root,
    against which anybody can prove any record. Two signed blocks of one round, and so for one height, are evidence
    of a fork: it is kept, and a chain that has forked is not extended. (A block of a round in which the edge server
    anchored none is no evidence: its transaction may have been lost, and it can never be anchored any more.)

    Who is drawn into a committee depends on the last global block and on reputations; contracts read no blocks, so
    the draw is checked by whoever reads the chain (records/committee.py). The contract checks that members are
    registered, and that a block of more than the edge server alone has a quorum.
"""

import seals as sealing

MAX_COMMITTEE: constant(uint256) = 7
MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_UPDATES: constant(uint256) = 128
MAX_DEPTH: constant(uint256) = 7  # of a tree over 128 updates
MILLION: constant(uint256) = 10**6

VEHICLE: constant(uint256) = 2
PUBLISHER: constant(uint256) = 3

interface Registry:
    def role(account: address) -> uint256: view
    def edge_server(account: address) -> (uint256, uint256): view

interface Training:
    def TASK() -> bytes32: view
    def round() -> uint256: view
    def closed() -> bool: view

struct Parameters:
    size: uint256  # vehicles in a committee at most
    floor: uint256  # least reputation of a member, ppm
    full_share: uint256  # share of full devices, ppm
    unsealed_weight: uint256  # of updates in unsealed blocks, ppm

struct Tip:
    height: uint256
    round: uint256
    unsealed: uint256  # blocks without a committee's seals so far
    digest: bytes32

struct Anchor:
    digest: bytes32
    root: bytes32
    signers: bytes32  # hash of the signers' list; empty where the block is unsealed
    facts: uint256  # height << 16 | count << 8 | sealed

event Anchored:
    round: indexed(uint256)
    edge_server: indexed(address)
    height: uint256
    digest: bytes32
    root: bytes32
    count: uint256
    sealed: bool

event Forked:
    edge_server: indexed(address)
    round: indexed(uint256)
    height: uint256
    first: bytes32
    second: bytes32
    signers: DynArray[address, MAX_COMMITTEE]

REGISTRY: public(immutable(address))
TRAINING: public(immutable(address))
TASK: public(immutable(bytes32))
PARAMETERS: immutable(Parameters)

tip: HashMap[address, Tip]
anchors: HashMap[address, HashMap[uint256, Anchor]]  # by edge server and round
fork: public(HashMap[address, HashMap[uint256, bytes32]])  # the second block, by edge server and round
forked: public(HashMap[address, bool])


@deploy
def __init__(registry: address, training: address, parameters: Parameters):
    assert parameters.size < MAX_COMMITTEE, "size"
    assert parameters.floor <= MILLION, "floor"
    assert parameters.full_share <= MILLION, "full_share"
    assert parameters.unsealed_weight > 0 and parameters.unsealed_weight <= MILLION, "unsealed_weight"
    REGISTRY = registry
    TRAINING = training
    PARAMETERS = parameters
    TASK = staticcall Training(training).TASK()


@internal
@view
def _check_committee(committee: DynArray[address, MAX_COMMITTEE]):
    """
    @notice The edge server and registered vehicles, strictly ascending.
    """
    last: uint256 = 0
    present: bool = False
    for member: address in committee:
        assert convert(member, uint256) > last, "members not ascending"
        last = convert(member, uint256)
        if member == msg.sender:
            present = True
        else:
            assert staticcall Registry(REGISTRY).role(member) == VEHICLE, "not a member"
    assert present, "the edge server is not of the committee"
    assert len(committee) <= PARAMETERS.size + 1, "committee too large"


@internal
@pure
def _check_signers(
    edge_server: address,
    signers: DynArray[address, MAX_COMMITTEE],
    committee: DynArray[address, MAX_COMMITTEE],
):
    """
    @notice A quorum, floor(2n/3) + 1, of the committee, the edge server among them.
    """
    for signer: address in signers:
        assert signer in committee, "not of the committee"
    assert len(signers) >= 2 * len(committee) // 3 + 1, "seals lack a quorum"
    assert edge_server in signers, "the edge server did not seal"


@external
def anchor(
    round: uint256,
    height: uint256,
    parent: bytes32,
    root: bytes32,
    count: uint256,
    committee: DynArray[address, MAX_COMMITTEE],
    seals: DynArray[sealing.Seal, MAX_COMMITTEE],
):
    """
    @notice The sender's local block of the open round. A committee of the edge server alone marks it unsealed.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert not staticcall Training(TRAINING).closed(), "the task is closed"
    assert round == staticcall Training(TRAINING).round(), "another round is open"
    assert not self.forked[msg.sender], "the chain has forked"
    tip: Tip = self.tip[msg.sender]
    assert tip.round < round, "anchored before"
    assert height == tip.height + 1 and parent == tip.digest, "not on the tip of its chain"
    assert count <= MAX_UPDATES and (count == 0) == (root == empty(bytes32)), "count"
    self._check_committee(committee)
    digest: bytes32 = sealing.digest(TASK, msg.sender, height, round, parent, root, count)
    signers: DynArray[address, MAX_COMMITTEE] = sealing.signers(digest, seals)
    self._check_signers(msg.sender, signers, committee)
    sealed: bool = len(committee) > 1
    known: bytes32 = empty(bytes32)
    if sealed:
        known = keccak256(abi_encode(signers))
    self.tip[msg.sender] = Tip(
        height=height, round=round, unsealed=tip.unsealed + (0 if sealed else 1), digest=digest
    )
    self.anchors[msg.sender][round] = Anchor(
        digest=digest,
        root=root,
        signers=known,
        facts=height << 16 | count << 8 | convert(sealed, uint256),
    )
    log Anchored(
        round=round,
        edge_server=msg.sender,
        height=height,
        digest=digest,
        root=root,
        count=count,
        sealed=sealed,
    )


@external
def report_fork(
    edge_server: address,
    round: uint256,
    height: uint256,
    parent: bytes32,
    root: bytes32,
    count: uint256,
    seals: DynArray[sealing.Seal, MAX_COMMITTEE],
):
    """
    @notice Evidence that an edge server signed another block of a round than it has anchored. Whoever else sealed it
        is named in the event. Anybody who takes part may report.
    """
    role: uint256 = staticcall Registry(REGISTRY).role(msg.sender)
    assert role > 0 and role <= PUBLISHER, "not registered"
    first: bytes32 = self.anchors[edge_server][round].digest
    assert first != empty(bytes32), "no block of that round"
    second: bytes32 = sealing.digest(TASK, edge_server, height, round, parent, root, count)
    assert second != first, "the same block"
    assert self.fork[edge_server][round] == empty(bytes32), "reported before"
    signers: DynArray[address, MAX_COMMITTEE] = sealing.signers(second, seals)
    assert edge_server in signers, "the edge server did not seal"
    self.fork[edge_server][round] = second
    self.forked[edge_server] = True
    log Forked(
        edge_server=edge_server,
        round=round,
        height=self.anchors[edge_server][round].facts >> 16,
        first=first,
        second=second,
        signers=signers,
    )


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def is_included(
    edge_server: address,
    round: uint256,
    position: uint256,
    digest: bytes32,
    proof: DynArray[bytes32, MAX_DEPTH],
) -> bool:
    """
    @notice Whether the record with this digest stands at this position of the edge server's block of the round.
    @dev The leaf is made here, from 40 bytes, so that no node of the tree (64 bytes) can be passed off as a record.
    """
    facts: uint256 = self.anchors[edge_server][round].facts
    if position >= (facts >> 8) & 255:
        return False
    node: bytes32 = keccak256(concat(convert(convert(position, uint64), bytes8), digest))
    for sibling: bytes32 in proof:
        if convert(node, uint256) < convert(sibling, uint256):
            node = keccak256(concat(node, sibling))
        else:
            node = keccak256(concat(sibling, node))
    return node == self.anchors[edge_server][round].root


@external
@view
def anchored(edge_server: address, round: uint256) -> (uint256, bytes32, bytes32, uint256, bytes32):
    """
    @notice Height, digest, root, number of updates and hash of the signers' list (empty where unsealed) of an edge
        server's block of a round; zeros where it anchored none.
    """
    anchor: Anchor = self.anchors[edge_server][round]
    return anchor.facts >> 16, anchor.digest, anchor.root, (anchor.facts >> 8) & 255, anchor.signers


@external
@view
def tips(edge_servers: DynArray[address, MAX_EDGE_SERVERS]) -> DynArray[Tip, MAX_EDGE_SERVERS]:
    result: DynArray[Tip, MAX_EDGE_SERVERS] = []
    for edge_server: address in edge_servers:
        result.append(self.tip[edge_server])
    return result


@external
@view
def committee() -> Parameters:
    return PARAMETERS

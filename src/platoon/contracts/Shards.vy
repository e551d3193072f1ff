# pragma version 0.4.3
# pragma evm-version london
"""
@title Shards
@license Apache-2.0
@notice Reputations across task chains: what each task chain (a shard) says of its vehicles, and the global reputation that
    follows from all of them. It stands on the main chain. The operator lists the shards with their edge servers. A
    shard's report is sealed by a quorum of these and brought by any edge server of the main chain. Of a vehicle a
    shard's newest round counts; so a report that comes twice, late or out of order does no harm.

    Vehicles are named by the accounts that they use on the main chain. The Python twin is ledger/model_shards.py.
"""

MAX_SHARDS: constant(uint256) = 16
MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_UPDATES: constant(uint256) = 128
MILLION: constant(uint256) = 10**6
MAX_EVIDENCE: constant(uint256) = 2**40
MAX_ROUND: constant(uint256) = 2**63 - 1
WORD32: constant(uint256) = 2**32 - 1
WORD64: constant(uint256) = 2**64 - 1
WORD96: constant(uint256) = 2**96 - 1
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1; above it stand the malleable twins of signatures

REPORT_TYPEHASH: constant(bytes32) = keccak256("Standings(bytes32 task,uint64 round,bytes32 rows)")

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def participants(accounts: DynArray[address, MAX_UPDATES]) -> DynArray[uint256, MAX_UPDATES]: view
    def edge_server(account: address) -> (uint256, uint256): view

struct Seal:
    v: uint256
    r: uint256
    s: uint256

event Listed:
    task: indexed(bytes32)
    edge_servers: DynArray[address, MAX_EDGE_SERVERS]

event StandingsReported:
    task: indexed(bytes32)
    round: indexed(uint256)
    edge_server: indexed(address)  # that brought them
    taken: uint256

OPERATOR: public(immutable(address))
REGISTRY: public(immutable(address))
START: public(immutable(uint256))  # reputation of whom no shard has evidence of
MOST: public(immutable(uint256))  # evidence of one shard counts so much at most, parts per million of one observation

shards: DynArray[bytes32, MAX_SHARDS]  # tasks, in the order of listing
place: HashMap[bytes32, uint256]  # in `shards`, from 1
members: HashMap[bytes32, DynArray[address, MAX_EDGE_SERVERS]]  # ascending; none of a shard that is closed
standing: HashMap[uint256, uint256[MAX_SHARDS]]  # by handle and place: round << 96 | evidence << 32 | reputation


@deploy
def __init__(registry: address, start: uint256, most: uint256):
    assert start <= MILLION, "start"
    assert most > 0 and most <= MAX_EVIDENCE, "most"
    OPERATOR = msg.sender
    REGISTRY = registry
    START = start
    MOST = most


@external
def list_shard(task: bytes32, edge_servers: DynArray[address, MAX_EDGE_SERVERS]):
    """
    @notice The edge servers whose quorum speaks for a task chain from now on. Nobody: what it said counts no more, until
        it is listed again.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert task != empty(bytes32), "no task"
    last: uint256 = 0
    for edge_server: address in edge_servers:
        assert convert(edge_server, uint256) > last, "edge servers not ascending"
        last = convert(edge_server, uint256)
    if self.place[task] == 0:
        assert len(edge_servers) > 0, "no such shard"
        assert len(self.shards) < MAX_SHARDS, "no shard left"
        self.shards.append(task)
        self.place[task] = len(self.shards)
    self.members[task] = edge_servers
    log Listed(task=task, edge_servers=edge_servers)


@internal
@pure
def _signer(signed: bytes32, seal: Seal) -> address:
    """
    @notice Who gave a seal, in the one form that a signature has.
    """
    assert seal.s <= HALF_ORDER and (seal.v == 27 or seal.v == 28), "bad seal"
    signer: address = ecrecover(signed, seal.v, seal.r, seal.s)
    assert signer != empty(address), "bad seal"
    return signer


@internal
@view
def _check_seals(
    task: bytes32,
    round: uint256,
    rows: DynArray[uint256, MAX_UPDATES],
    seals: DynArray[Seal, MAX_EDGE_SERVERS],
):
    """
    @notice Whether a quorum, floor(2n/3) + 1, of the shard's edge servers signed, in strictly ascending order.
    """
    members: DynArray[address, MAX_EDGE_SERVERS] = self.members[task]
    assert len(members) > 0, "no such shard"
    structure: bytes32 = keccak256(abi_encode(REPORT_TYPEHASH, task, round, keccak256(abi_encode(rows))))
    signed: bytes32 = keccak256(concat(0x1901, task, structure))
    last: uint256 = 0
    for seal: Seal in seals:
        signer: address = self._signer(signed, seal)
        assert convert(signer, uint256) > last, "signers not ascending"
        last = convert(signer, uint256)
        assert signer in members, "not of the shard"
    assert len(seals) >= 2 * len(members) // 3 + 1, "seals lack a quorum"


@external
def report_standings(
    task: bytes32,
    round: uint256,
    rows: DynArray[uint256, MAX_UPDATES],
    seals: DynArray[Seal, MAX_EDGE_SERVERS],
):
    """
    @notice What a shard's vehicles stand at after a round: vehicle << 96 | evidence << 32 | reputation, ascending.
        A row of somebody who is no vehicle here, or whose newer standing is known, is left out.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert round > 0 and round <= MAX_ROUND, "round out of bounds"
    accounts: DynArray[address, MAX_UPDATES] = []
    last: uint256 = 0
    for row: uint256 in rows:
        assert row >> 96 > last, "vehicles not ascending"
        last = row >> 96
        assert (row >> 32) & WORD64 <= MAX_EVIDENCE, "evidence out of bounds"
        assert row & WORD32 <= MILLION, "reputation out of bounds"
        accounts.append(convert(last, address))
    self._check_seals(task, round, rows, seals)
    handles: DynArray[uint256, MAX_UPDATES] = staticcall Registry(REGISTRY).participants(accounts)
    place: uint256 = self.place[task] - 1
    taken: uint256 = 0
    for i: uint256 in range(len(handles), bound=MAX_UPDATES):
        if handles[i] == 0 or self.standing[handles[i]][place] >> 96 >= round:
            continue
        self.standing[handles[i]][place] = round << 96 | (rows[i] & WORD96)
        taken += 1
    log StandingsReported(task=task, round=round, edge_server=msg.sender, taken=taken)


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def reputation(vehicle: address) -> (uint256, uint256):
    """
    @notice The global reputation and the evidence that it rests on: the mean over the open shards, weighted by each one's
        evidence up to MOST (rounded down), and the sum of these. START and 0 where no shard has evidence.
    """
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(vehicle)
    total: uint256 = 0
    weighted: uint256 = 0
    for i: uint256 in range(len(self.shards), bound=MAX_SHARDS):
        if len(self.members[self.shards[i]]) == 0:
            continue
        word: uint256 = self.standing[handle][i]
        evidence: uint256 = min((word >> 32) & WORD64, MOST)
        total += evidence
        weighted += evidence * (word & WORD32)
    if total == 0:
        return START, 0
    return weighted // total, min(total, MAX_EVIDENCE)


@external
@view
def reported(task: bytes32, vehicle: address) -> (uint256, uint256, uint256):
    """
    @notice The newest round in which a shard spoke of a vehicle, and the reputation and evidence that it had there; zeros
        where it never did.
    """
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(vehicle)
    if self.place[task] == 0:
        return 0, 0, 0
    word: uint256 = self.standing[handle][self.place[task] - 1]
    return word >> 96, word & WORD32, (word >> 32) & WORD64


@external
@view
def shard(task: bytes32) -> DynArray[address, MAX_EDGE_SERVERS]:
    """
    @notice The edge servers whose quorum speaks for a shard.
    """
    return self.members[task]

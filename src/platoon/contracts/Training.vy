# pragma version 0.4.3
# pragma evm-version london
"""
@title Training
@license Apache-2.0
@notice The task chain: what was recorded, how it was judged, which model was voted, what it did to reputations and
    what was paid. One round is open at a time and goes through three phases:

    RECORDING  each edge server records once what reached it, possibly nothing. When a quorum has recorded, the first
               score (or, where nothing is to be scored, the judgement) closes the recording.
    SCORING    updates now stand in ascending order of the vehicle's address, whatever the order in which the edge
               servers' transactions arrived; a score names the set it judges (`updates_digest`), so that scores of
               another set are refused rather than read against the wrong vehicles.
    JUDGED     verdicts are final, edge servers vote the digest of the merged model, the round is settled, the next opens.

    Edge servers are counted by seats that are active now: what a revoked one recorded, scored or voted does not count.
    Whose scores lie far off the medians, whose vote is not the elected model, and who was absent is told to Stakes at
    settlement, which names them.
    Scores, reputations and shares are parts per million. Formulas: Li, Zheng, Chen 2025 (Future Internet 17(11):505),
    "DTB-FL"; the Python twin of each is in records/rules.py.
"""

import formulas
import medians
import sorting
import training_events as said

# ---- limits -----------------------------------------------------------------------------------------------------

MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_UPDATES: constant(uint256) = 128
MAX_VIEW: constant(uint256) = 1024
MAX_HANDLE: constant(uint256) = 2**48 - 1  # more vehicles than could ever be registered
MAX_ROUND: constant(uint256) = 2**63 - 1
MILLION: constant(uint256) = 10**6
SIGNED_MILLION: constant(int256) = 10**6
SCORE_WORDS: constant(uint256) = 17  # (1 evidence + 128 scores) in lanes of 32 bits, 8 to a word
MIN_SCORERS: constant(uint256) = 3  # of fewer, a median says nothing about who is right
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1; above it stand the malleable twins of signatures

# ---- names of values --------------------------------------------------------------------------------------------

RECORDING: constant(uint256) = 0
SCORING: constant(uint256) = 1
JUDGED: constant(uint256) = 2

FLAGGED: constant(uint256) = 2**31  # by Plausibility, in the round that is open

REFUSED_NOT_A_VEHICLE: constant(uint256) = 1
REFUSED_RECORDED_BEFORE: constant(uint256) = 2
REFUSED_FULL: constant(uint256) = 3

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
UPDATE_TYPEHASH: constant(bytes32) = keccak256(
    "Update(bytes32 task,uint64 round,address vehicle,bytes32 digest,uint64 samples)"
)

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def participants(accounts: DynArray[address, MAX_UPDATES]) -> DynArray[uint256, MAX_UPDATES]: view
    def standings(accounts: DynArray[address, MAX_VIEW]) -> (
        DynArray[uint256, MAX_VIEW], DynArray[uint256, MAX_VIEW]
    ): view
    def edge_server(account: address) -> (uint256, uint256): view

interface Escrow:
    def available() -> uint256: view
    def pay(receivers: DynArray[address, MAX_UPDATES], amounts: DynArray[uint256, MAX_UPDATES]): nonpayable

interface Stakes:
    def settle(
        round: uint256, far: uint256, dissent: uint256, unrecorded: uint256, unscored: uint256, unvoted: uint256
    ): nonpayable

struct Entry:
    vehicle: address
    digest: bytes32
    samples: uint256
    v: uint256
    r: uint256
    s: uint256

# ---- state ------------------------------------------------------------------------------------------------------

TASK: public(immutable(bytes32))  # the separator of this contract's EIP-712 domain names the task
REGISTRY: public(immutable(address))
ESCROW: public(immutable(address))
STAKES: public(immutable(address))
PLAUSIBILITY: public(immutable(address))
PUBLISHER: public(immutable(address))
PARAMETERS: immutable(formulas.Parameters)

closed: public(bool)
round: public(uint256)
phase: public(uint256)
model: public(bytes32)
standing: HashMap[uint256, uint256]  # by the vehicle's handle: gathered evidence << 96 | last round recorded << 32 | FLAGGED, if it is, | reputation + 1; 0 is a newcomer
probe: public(HashMap[address, bytes32])

# Of the open round; the slots are used again in the next, so that the state does not grow with the rounds.
recorded_by: uint256  # bits of seats
scored_by: uint256
voted_by: uint256
count: uint256
keys: uint256[MAX_UPDATES]  # vehicle << 96 | samples << 64 | handle << 16 | seat << 8 | position in `digests`
digests: bytes32[MAX_UPDATES]
updates_digest: bytes32
scores: uint256[MAX_EDGE_SERVERS][SCORE_WORDS]  # by word and seat
verdicts: uint256[MAX_UPDATES]  # reputation before << 32 | (score + 10^6) << 2 | merged << 1 | valid
evidence: uint256
far: uint256  # bits of seats whose scores lie far off the medians
votes: bytes32[MAX_EDGE_SERVERS]
final: public(bool)


@deploy
def __init__(
    registry: address,
    escrow: address,
    stakes: address,
    plausibility: address,
    publisher: address,
    model: bytes32,
    parameters: formulas.Parameters,
):
    assert model != empty(bytes32), "no model"
    formulas.check(parameters)
    REGISTRY = registry
    ESCROW = escrow
    STAKES = stakes
    PLAUSIBILITY = plausibility
    PUBLISHER = publisher
    PARAMETERS = parameters
    TASK = keccak256(abi_encode(DOMAIN_TYPEHASH, keccak256("platoon"), keccak256("1"), chain.id, self))
    self.model = model
    self.round = 1


# ---- helpers ----------------------------------------------------------------------------------------------------

@internal
@view
def _enter(round: uint256) -> (uint256, uint256):
    """
    @notice The caller's seat and the active seats; only edge servers, only the open round of an open task.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert not self.closed, "the task is closed"
    assert round == self.round, "another round is open"
    return seat, active


@internal
@pure
def _members(bits: uint256) -> uint256:
    total: uint256 = 0
    for i: uint256 in range(MAX_EDGE_SERVERS):
        total += (bits >> i) & 1
    return total


@internal
@pure
def _is_quorum(present: uint256, active: uint256) -> bool:
    """
    @notice At least floor(2n/3) + 1 of the n active.
    """
    return self._members(present & active) >= 2 * self._members(active) // 3 + 1


@internal
@view
def _reputation(handle: uint256, start: uint256) -> uint256:
    """
    @notice The reputation; a newcomer's is that it was admitted with (`start` is one more), or the parameter.
    """
    low: uint256 = self.standing[handle] & (FLAGGED - 1)
    if low > 0:
        return low - 1
    return start - 1 if start > 0 else PARAMETERS.start


@internal
@view
def _digest(round: uint256, vehicle: address, digest: bytes32, samples: uint256) -> bytes32:
    """
    @notice What a vehicle signs of its update (EIP-712).
    """
    structure: bytes32 = keccak256(abi_encode(UPDATE_TYPEHASH, TASK, round, vehicle, digest, samples))
    return keccak256(concat(0x1901, TASK, structure))


@internal
def _close_recording(round: uint256, active: uint256):
    """
    @notice Freezes the set of updates, in ascending order of the vehicle's address.
    """
    assert self._is_quorum(self.recorded_by, active), "recording lacks a quorum"
    count: uint256 = self.count
    ordered: uint256[MAX_UPDATES] = empty(uint256[MAX_UPDATES])
    for i: uint256 in range(count, bound=MAX_UPDATES):
        ordered[i] = self.keys[i]
    ordered = sorting.ascending(ordered, count)
    heads: DynArray[uint256, MAX_UPDATES] = []
    digests: DynArray[bytes32, MAX_UPDATES] = []
    for i: uint256 in range(count, bound=MAX_UPDATES):
        key: uint256 = ordered[i]
        self.keys[i] = key
        heads.append(((key >> 64) << 56) | ((key >> 8) & 255))
        digests.append(self.digests[key & 255])
    self.updates_digest = keccak256(abi_encode(heads, digests))
    self.phase = SCORING
    log said.RecordingClosed(round=round, updates=self.updates_digest, count=count)


# ---- the phases of a round --------------------------------------------------------------------------------------

@external
def record(round: uint256, entries: DynArray[Entry, MAX_UPDATES]):
    """
    @notice What reached this edge server, ascending by vehicle; one record per edge server and round, possibly empty.
    @dev What the edge server could have checked alone (signature, bounds, order) reverts the whole call. What depends
        on others (revoked meanwhile, recorded by another edge server first, no room) skips the entry and leaves an
        event: otherwise one vehicle that sends its update to two edge servers could block all others' updates.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(round)
    assert self.phase == RECORDING, "recording is over"
    assert (self.recorded_by >> seat) & 1 == 0, "recorded before"
    self.recorded_by |= 1 << seat
    count: uint256 = len(entries)
    accounts: DynArray[address, MAX_UPDATES] = []
    for i: uint256 in range(count, bound=MAX_UPDATES):
        accounts.append(entries[i].vehicle)
    handles: DynArray[uint256, MAX_UPDATES] = staticcall Registry(REGISTRY).participants(accounts)
    vehicles: DynArray[uint256, MAX_UPDATES] = []
    digests: DynArray[bytes32, MAX_UPDATES] = []
    last: uint256 = 0
    position: uint256 = self.count
    for i: uint256 in range(count, bound=MAX_UPDATES):
        vehicle: address = accounts[i]
        number: uint256 = convert(vehicle, uint256)
        assert number > last, "vehicles not ascending"
        last = number
        samples: uint256 = entries[i].samples
        assert samples > 0 and samples <= PARAMETERS.most_samples, "samples out of bounds"
        digest: bytes32 = entries[i].digest
        v: uint256 = entries[i].v
        s: uint256 = entries[i].s
        assert (v == 27 or v == 28) and s <= HALF_ORDER, "bad signature"
        signed: bytes32 = self._digest(round, vehicle, digest, samples)
        assert ecrecover(signed, v, entries[i].r, s) == vehicle, "bad signature"
        handle: uint256 = handles[i]
        low: uint256 = self.standing[handle]
        reason: uint256 = 0
        if handle == 0:
            reason = REFUSED_NOT_A_VEHICLE
        elif (low >> 32) & (2**64 - 1) == round:
            reason = REFUSED_RECORDED_BEFORE
        elif position == MAX_UPDATES:
            reason = REFUSED_FULL
        if reason != 0:
            log said.Refused(round=round, vehicle=vehicle, edge_server=msg.sender, digest=digest, reason=reason)
            continue
        gathered: uint256 = low >> 96
        low &= 2**32 - 1
        if low == 0:
            start: uint256 = 0
            handle, start = staticcall Registry(REGISTRY).vehicle(vehicle)
            low = self._reputation(handle, start) + 1
        self.standing[handle] = gathered << 96 | round << 32 | low
        head: uint256 = number << 96
        self.keys[position] = head | samples << 64 | handle << 16 | seat << 8 | position
        self.digests[position] = digest
        vehicles.append(head | samples)
        digests.append(digest)
        position += 1
    self.count = position
    if len(vehicles) > 0:
        log said.Recorded(round=round, edge_server=msg.sender, vehicles=vehicles, digests=digests)


@external
def commit_probe(digest: bytes32):
    """
    @notice Binds an edge server to the probe set it scores with: once, and never after it could have seen an update
        of the open round.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(self.round)
    assert self.phase == RECORDING and self.count == 0, "updates are recorded"
    assert self.probe[msg.sender] == empty(bytes32), "committed before"
    assert digest != empty(bytes32), "no digest"
    self.probe[msg.sender] = digest
    log said.ProbeCommitted(edge_server=msg.sender, digest=digest)


@external
def score(round: uint256, updates: bytes32, words: DynArray[uint256, SCORE_WORDS]):
    """
    @notice One edge server's scores, in ascending order of the vehicle's address, and how far its probe set can tell
        honest from malicious at all. In lanes of 32 bits, the lowest first: the evidence, in [0, 10^6], then each
        score, in [-10^6, 10^6], plus 10^6; the lanes that are left of the last word are 0.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(round)
    assert PARAMETERS.rule != formulas.RULE_NONE, "nothing is scored"
    assert self.probe[msg.sender] != empty(bytes32), "no probe committed"
    if self.phase == RECORDING:
        self._close_recording(round, active)
    assert self.phase == SCORING, "scoring is over"
    assert (self.scored_by >> seat) & 1 == 0, "scored before"
    assert updates == self.updates_digest, "other updates"
    count: uint256 = self.count
    assert count > 0 and len(words) == count // 8 + 1, "number of scores"
    assert (words[count // 8] >> (32 * (count % 8))) >> 32 == 0, "number of scores"
    evidence: uint256 = words[0] & (2**32 - 1)
    assert evidence <= MILLION, "evidence out of bounds"
    for i: uint256 in range(count // 8 + 1, bound=SCORE_WORDS):
        assert medians.is_below(words[i], 2 * MILLION + 1), "score out of bounds"
        self.scores[i][seat] = words[i]
    self.scored_by |= 1 << seat
    log said.Scored(round=round, edge_server=msg.sender, evidence=evidence)


@internal
def _take_medians(round: uint256, scorers: uint256) -> uint256[SCORE_WORDS]:
    """
    @notice The lower median over the scoring edge servers of the evidence and of each update's score; and whose scores
        lie far off them: on average over the round's updates, or on one of them. With at most f of 2f + 1 scorers
        lying, the medians lie among the honest scores, so that an honest edge server is never farther off than honest
        ones are apart. Evidence is not compared: honest probe sets differ in it.
    """
    result: uint256[SCORE_WORDS] = empty(uint256[SCORE_WORDS])
    seats: DynArray[uint256, MAX_EDGE_SERVERS] = []
    for seat: uint256 in range(MAX_EDGE_SERVERS):
        if (scorers >> seat) & 1 == 1:
            seats.append(seat)
    number: uint256 = len(seats)
    sums: uint256[MAX_EDGE_SERVERS] = empty(uint256[MAX_EDGE_SERVERS])  # lane by lane
    beyond: uint256[MAX_EDGE_SERVERS] = empty(uint256[MAX_EDGE_SERVERS])  # guard bits of lanes too far off
    tolerance: uint256 = PARAMETERS.single_tolerance
    rows: uint256[MAX_EDGE_SERVERS] = empty(uint256[MAX_EDGE_SERVERS])
    for word: uint256 in range(self.count // 8 + 1, bound=SCORE_WORDS):
        for i: uint256 in range(number, bound=MAX_EDGE_SERVERS):
            rows[i] = self.scores[word][seats[i]]
        middle: uint256 = medians.lower_median(rows, number)
        result[word] = middle
        for i: uint256 in range(number, bound=MAX_EDGE_SERVERS):
            apart: uint256 = medians.distance(rows[i], middle)
            if word == 0:
                apart = (apart >> 32) << 32  # lane 0 is the evidence
            sums[i] = unsafe_add(sums[i], apart)  # 17 words of at most 2 * 10^6 in a lane of 2^32
            beyond[i] |= medians.above(apart, tolerance)
    far: uint256 = 0
    means: DynArray[uint256, MAX_EDGE_SERVERS] = []
    for i: uint256 in range(number, bound=MAX_EDGE_SERVERS):
        mean: uint256 = medians.sum_lanes(sums[i]) // self.count
        means.append(mean)
        if beyond[i] != 0 or mean > PARAMETERS.mean_tolerance:
            far |= 1 << seats[i]
    log said.Deviations(round=round, scorers=scorers, values=means)
    if number >= MIN_SCORERS:
        self.far = far
    return result


@external
def judge(round: uint256):
    """
    @notice The verdicts of the round, from the medians of at least a quorum of score vectors. Where nothing is scored
        (rule none, or nothing recorded) a quorum of records is enough.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(round)
    if self.phase == RECORDING:
        self._close_recording(round, active)
    assert self.phase == SCORING, "judged before"
    scorers: uint256 = self.scored_by & active
    medians_: uint256[SCORE_WORDS] = empty(uint256[SCORE_WORDS])
    is_scored: bool = PARAMETERS.rule != formulas.RULE_NONE and self.count > 0
    self.far = 0
    if is_scored:
        assert self._is_quorum(scorers, active), "scores lack a quorum"
        medians_ = self._take_medians(round, scorers)
    merged_count: uint256 = 0
    verdicts: DynArray[uint256, MAX_UPDATES] = []
    lanes: uint256 = medians_[0]
    for i: uint256 in range(self.count, bound=MAX_UPDATES):
        lanes = lanes >> 32 if i % 8 != 7 else medians_[i // 8 + 1]
        lane: uint256 = lanes & (2**32 - 1) if is_scored else MILLION
        valid: bool = not is_scored or convert(lane, int256) - SIGNED_MILLION >= PARAMETERS.threshold
        key: uint256 = self.keys[i]
        reputation: uint256 = self._reputation((key >> 16) & MAX_HANDLE, 0)
        verdict: uint256 = lane << 2
        if valid:
            verdict |= formulas.VALID
            if formulas.is_merged(PARAMETERS.rule, PARAMETERS.rho_min, reputation) and self.standing[(key >> 16) & MAX_HANDLE] & FLAGGED == 0:
                verdict |= formulas.MERGED
                merged_count += 1
        self.verdicts[i] = reputation << 32 | verdict
        verdicts.append(((key >> 96) << 96) | verdict)
    self.evidence = medians_[0] & (2**32 - 1)
    self.phase = JUDGED
    self.final = merged_count == 0  # nothing enters: the model stays what it is, and there is nothing to vote
    log said.Judged(round=round, evidence=self.evidence, scorers=self._members(scorers), merged=merged_count, verdicts=verdicts)


@internal
@view
def _is_elected(digest: bytes32, active: uint256) -> bool:
    """
    @notice Whether more than half of the active edge servers voted this digest.
    """
    agreeing: uint256 = 0
    voters: uint256 = self.voted_by & active
    for seat: uint256 in range(MAX_EDGE_SERVERS):
        if (voters >> seat) & 1 == 1 and self.votes[seat] == digest:
            agreeing += 1
    return 2 * agreeing > self._members(active)


@external
def vote(round: uint256, digest: bytes32):
    """
    @notice One vote per edge server for the digest of the merged model. Votes after the election are kept too: they
        show who merged otherwise.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(round)
    assert self.phase == JUDGED, "not judged"
    assert (self.voted_by >> seat) & 1 == 0, "voted before"
    assert digest != empty(bytes32), "no digest"
    assert not (self.final and self.voted_by == 0), "nothing to vote"
    self.voted_by |= 1 << seat
    self.votes[seat] = digest
    log said.Voted(round=round, edge_server=msg.sender, digest=digest)
    if not self.final and self._is_elected(digest, active):
        self.final = True
        self.model = digest


@internal
def _elect(active: uint256):
    """
    @notice Counts once more where no vote reached the majority: a revocation since may have made one of them enough.
    """
    for seat: uint256 in range(MAX_EDGE_SERVERS):
        if ((self.voted_by & active) >> seat) & 1 == 1 and self._is_elected(self.votes[seat], active):
            self.final = True
            self.model = self.votes[seat]
            return


# ---- settlement -------------------------------------------------------------------------------------------------

@internal
@view
def _conduct(active: uint256) -> uint256[5]:
    """
    @notice The seats that Stakes names: far off the medians, voted otherwise, did not record, score, vote. Nothing to
        score and nothing to vote are no absence.
    """
    dissent: uint256 = 0
    unscored: uint256 = 0
    unvoted: uint256 = 0
    if PARAMETERS.rule != formulas.RULE_NONE and self.count > 0:
        unscored = active & ~self.scored_by
    if self.voted_by != 0:
        unvoted = active & ~self.voted_by
        for seat: uint256 in range(MAX_EDGE_SERVERS):
            if ((self.voted_by & active) >> seat) & 1 == 1 and self.votes[seat] != self.model:
                dissent |= 1 << seat
    return [self.far & active, dissent, active & ~self.recorded_by, unscored, unvoted]


@external
@nonreentrant
def settle(round: uint256):
    """
    @notice Reputations, payments, and the next round opens.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = self._enter(round)
    assert self.phase == JUDGED, "not judged"
    if not self.final:
        self._elect(active)
    assert self.final, "no model has a majority"
    assert round < MAX_ROUND, "no round left"
    rewards: DynArray[uint256, MAX_UPDATES] = []
    paid: uint256 = 0
    count: uint256 = self.count
    keys: uint256[MAX_UPDATES] = empty(uint256[MAX_UPDATES])
    verdicts: uint256[MAX_UPDATES] = empty(uint256[MAX_UPDATES])
    gathered: uint256[MAX_UPDATES] = empty(uint256[MAX_UPDATES])
    for i: uint256 in range(count, bound=MAX_UPDATES):
        keys[i] = self.keys[i]
        verdicts[i] = self.verdicts[i]
        gathered[i] = self.standing[(keys[i] >> 16) & MAX_HANDLE] >> 96
    available: uint256 = staticcall Escrow(ESCROW).available()
    rewards, paid = formulas.share(PARAMETERS, keys, verdicts, count, available)
    moved: uint256[MAX_UPDATES] = formulas.reputations(PARAMETERS, self.evidence, verdicts, gathered, count)
    receivers: DynArray[address, MAX_UPDATES] = []
    amounts: DynArray[uint256, MAX_UPDATES] = []
    standings: DynArray[uint256, MAX_UPDATES] = []
    for i: uint256 in range(count, bound=MAX_UPDATES):
        key: uint256 = keys[i]
        before: uint256 = verdicts[i] >> 32
        now: uint256 = moved[i] & (2**32 - 1)
        if self.standing[(key >> 16) & MAX_HANDLE] & FLAGGED != 0:
            now = min(now, before)
        self.standing[(key >> 16) & MAX_HANDLE] = (moved[i] >> 32) << 96 | round << 32 | (now + 1)
        if rewards[i] > 0:
            receivers.append(convert(key >> 96, address))
            amounts.append(rewards[i])
        standings.append(rewards[i] << 64 | before << 32 | now)
    conduct: uint256[5] = self._conduct(active)
    self.round = round + 1
    self.phase = RECORDING
    self.count = 0
    self.recorded_by = 0
    self.scored_by = 0
    self.voted_by = 0
    self.final = False
    if paid > 0:
        extcall Escrow(ESCROW).pay(receivers, amounts)
    if conduct[0] | conduct[1] | conduct[2] | conduct[3] | conduct[4] != 0:
        extcall Stakes(STAKES).settle(round, conduct[0], conduct[1], conduct[2], conduct[3], conduct[4])
    log said.Settled(round=round, model=self.model, paid=paid, standings=standings)


@external
def correct(handle: uint256, start: uint256, move: int256) -> (uint256, uint256):
    """
    @notice Plausibility moves a vehicle's reputation, within [0, 10^6]; `start` is what the Registry says of it. Not
        between the verdicts, which depend on reputations, and the settlement. Of whom it takes in a round, the update
        of that round is not merged, and its score does not raise the reputation. Returns it before and after.
    """
    assert msg.sender == PLAUSIBILITY, "only the plausibility"
    assert self.phase != JUDGED, "the verdicts are given"
    before: uint256 = self._reputation(handle, start)
    now: uint256 = convert(min(max(convert(before, int256) + move, 0), SIGNED_MILLION), uint256)
    gathered: uint256 = self.standing[handle] >> 96
    last: uint256 = (self.standing[handle] >> 32) & (2**64 - 1)
    flag: uint256 = self.standing[handle] & FLAGGED
    if move < 0 and last == self.round:
        flag = FLAGGED
    self.standing[handle] = gathered << 96 | last << 32 | flag | (now + 1)
    return before, now


@external
def close():
    """
    @notice The publisher ends the task, between two rounds: what was recorded is settled before.
    """
    assert msg.sender == PUBLISHER, "only the publisher"
    assert not self.closed, "closed before"
    assert self.phase == RECORDING and self.count == 0, "a round is under way"
    self.closed = True
    log said.Closed(round=self.round)


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def reputations(vehicles: DynArray[address, MAX_VIEW]) -> DynArray[uint256, MAX_VIEW]:
    """
    @notice By the accounts that the vehicles use now. Of a newcomer, and of anybody else, what a newcomer starts with.
    """
    handles: DynArray[uint256, MAX_VIEW] = []
    starts: DynArray[uint256, MAX_VIEW] = []
    handles, starts = staticcall Registry(REGISTRY).standings(vehicles)
    result: DynArray[uint256, MAX_VIEW] = []
    for i: uint256 in range(len(handles), bound=MAX_VIEW):
        result.append(self._reputation(handles[i], starts[i]))
    return result


@external
@view
def is_newcomer(vehicle: address) -> bool:
    """
    @notice Whether no update of this vehicle was ever recorded.
    """
    handle: uint256 = 0
    start: uint256 = 0
    handle, start = staticcall Registry(REGISTRY).vehicle(vehicle)
    return self.standing[handle] == 0


@external
@view
def updates() -> (DynArray[uint256, MAX_UPDATES], DynArray[bytes32, MAX_UPDATES]):
    """
    @notice The open round's updates as (vehicle << 96 | samples << 64 | seat << 8 | own index) and digests, in the
        order of recording until the recording is closed, then ascending by vehicle.
    """
    keys: DynArray[uint256, MAX_UPDATES] = []
    digests: DynArray[bytes32, MAX_UPDATES] = []
    for i: uint256 in range(self.count, bound=MAX_UPDATES):
        key: uint256 = self.keys[i]
        keys.append(((key >> 64) << 64) | (key & (2**16 - 1)))  # without the handle
        digests.append(self.digests[key & 255])
    return keys, digests


@external
@view
def seats() -> (uint256, uint256, uint256):
    """
    @notice The bits of the seats that have recorded, scored and voted in the open round.
    """
    return self.recorded_by, self.scored_by, self.voted_by


@external
@view
def parameters() -> formulas.Parameters:
    return PARAMETERS

# pragma version 0.4.3
# pragma evm-version london
"""
@title Stakes
@license Apache-2.0
@notice What edge servers put at stake for their judgement. At every settlement the Training contract says whose scores
    lay far off the medians, whose vote was not the elected model, and who was absent; all of them are named in the
    record. The first two lose a share of what they deposited, which goes to the task's escrow: whoever is served by
    sound rounds has it, and no edge server gains by another's fall. Who was absent loses nothing: silence cannot be
    told from a lost message, a slow link or a leader that did not wait, so a charge for it would let others take an
    honest stake. What is left goes back when the task is closed. Every unit is in the token's balances.
"""

MAX_EDGE_SERVERS: constant(uint256) = 64
MILLION: constant(uint256) = 10**6

REASON_SCORES: constant(uint256) = 1
REASON_VOTE: constant(uint256) = 2

STEP_RECORD: constant(uint256) = 1
STEP_SCORE: constant(uint256) = 2
STEP_VOTE: constant(uint256) = 4

interface Registry:
    def edge_server(account: address) -> (uint256, uint256): view
    def members() -> (DynArray[address, MAX_EDGE_SERVERS], uint256): view

interface Token:
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable

interface Training:
    def closed() -> bool: view

event Deposited:
    edge_server: indexed(address)
    amount: uint256

event Named:
    round: indexed(uint256)
    edge_server: indexed(address)
    reasons: uint256  # 1 scores, 2 vote, 3 both
    taken: uint256
    left: uint256

event Absent:
    round: indexed(uint256)
    edge_server: indexed(address)
    steps: uint256  # 1 record, 2 score, 4 vote, or their sum

event Returned:
    edge_server: indexed(address)
    amount: uint256

REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
ESCROW: public(immutable(address))
TRAINING: public(immutable(address))
SHARE: public(immutable(uint256))
deposited: public(HashMap[address, uint256])  # in all; what is taken is a share of it
stake: public(HashMap[address, uint256])  # what is left


@deploy
def __init__(registry: address, token: address, escrow: address, training: address, share: uint256):
    assert share <= MILLION, "share"
    REGISTRY = registry
    TOKEN = token
    ESCROW = escrow
    TRAINING = training
    SHARE = share


@external
@nonreentrant
def deposit(amount: uint256):
    """
    @notice An edge server puts tokens of its own at stake.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert amount > 0, "nothing to deposit"
    assert extcall Token(TOKEN).transferFrom(msg.sender, self, amount), "transfer failed"
    self.deposited[msg.sender] += amount
    self.stake[msg.sender] += amount
    log Deposited(edge_server=msg.sender, amount=amount)


@external
@nonreentrant
def settle(
    round: uint256, far: uint256, dissent: uint256, unrecorded: uint256, unscored: uint256, unvoted: uint256
):
    """
    @notice Names, by bits of seats, who went astray or was absent in a round, and takes a share of the former's stake.
    """
    assert msg.sender == TRAINING, "only the training"
    accounts: DynArray[address, MAX_EDGE_SERVERS] = []
    active: uint256 = 0
    accounts, active = staticcall Registry(REGISTRY).members()
    total: uint256 = 0
    for seat: uint256 in range(len(accounts), bound=MAX_EDGE_SERVERS):
        account: address = accounts[seat]
        reasons: uint256 = ((far >> seat) & 1) * REASON_SCORES + ((dissent >> seat) & 1) * REASON_VOTE
        if reasons != 0:
            taken: uint256 = min(self.stake[account], self.deposited[account] * SHARE // MILLION)
            self.stake[account] -= taken
            total += taken
            log Named(round=round, edge_server=account, reasons=reasons, taken=taken, left=self.stake[account])
        steps: uint256 = ((unrecorded >> seat) & 1) * STEP_RECORD + ((unscored >> seat) & 1) * STEP_SCORE
        steps += ((unvoted >> seat) & 1) * STEP_VOTE
        if steps != 0:
            log Absent(round=round, edge_server=account, steps=steps)
    if total > 0:
        assert extcall Token(TOKEN).transfer(ESCROW, total), "transfer failed"


@external
@nonreentrant
def withdraw():
    """
    @notice Gives the sender what is left of its stake, once the task is closed; also to one that was revoked.
    """
    assert staticcall Training(TRAINING).closed(), "the task is open"
    amount: uint256 = self.stake[msg.sender]
    assert amount > 0, "no stake"
    self.stake[msg.sender] = 0
    assert extcall Token(TOKEN).transfer(msg.sender, amount), "transfer failed"
    log Returned(edge_server=msg.sender, amount=amount)


@external
@view
def stakes(accounts: DynArray[address, MAX_EDGE_SERVERS]) -> DynArray[uint256, MAX_EDGE_SERVERS]:
    result: DynArray[uint256, MAX_EDGE_SERVERS] = []
    for account: address in accounts:
        result.append(self.stake[account])
    return result

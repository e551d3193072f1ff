# pragma version 0.4.3
# pragma evm-version london
"""
@title Sealing
@license Apache-2.0
@notice The reward for proposing and sealing local blocks (Two-layer's mining reward), from a budget of its own that
    the publisher pays in: what Training.settle pays from the escrow is not touched. A block's reward is released at
    its edge server by proof from the global chain alone: that the block was anchored with a committee's seals, who
    signed it, and, for every vehicle among them, that its own update is included in it. The signers share evenly; what the division leaves stays in the budget.
"""

MAX_COMMITTEE: constant(uint256) = 7
MAX_CLAIMS: constant(uint256) = 6
MAX_DEPTH: constant(uint256) = 7
MAX_PROOF: constant(uint256) = 42  # MAX_CLAIMS * MAX_DEPTH
MAX_TOKENS: constant(uint256) = 2**63 - 1
BATCH: constant(uint256) = 128

PUBLISHER_ROLE: constant(uint256) = 3

UPDATE_TYPEHASH: constant(bytes32) = keccak256(
    "Update(bytes32 task,uint64 round,address vehicle,bytes32 digest,uint64 samples)"
)

interface Registry:
    def role(account: address) -> uint256: view
    def edge_server(account: address) -> (uint256, uint256): view

interface Token:
    def balanceOf(account: address) -> uint256: view
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable
    def transfer_many(receivers: DynArray[address, BATCH], amounts: DynArray[uint256, BATCH]): nonpayable

interface Training:
    def closed() -> bool: view

interface Checkpoint:
    def TASK() -> bytes32: view
    def TRAINING() -> address: view
    def anchored(edge_server: address, round: uint256) -> (uint256, bytes32, bytes32, uint256, bytes32): view
    def is_included(
        edge_server: address,
        round: uint256,
        position: uint256,
        digest: bytes32,
        proof: DynArray[bytes32, MAX_DEPTH],
    ) -> bool: view

struct Claim:
    vehicle: address
    digest: bytes32  # of the update that the vehicle signed in this round
    samples: uint256
    position: uint256  # in the block
    siblings: uint256  # how many words of `proof` are this claim's

event Funded:
    amount: uint256

event Released:
    round: indexed(uint256)
    edge_server: indexed(address)
    share: uint256
    signers: DynArray[address, MAX_COMMITTEE]

event Withdrawn:
    amount: uint256

REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
CHECKPOINT: public(immutable(address))
PUBLISHER: public(immutable(address))
REWARD: public(immutable(uint256))
TASK: immutable(bytes32)
released: public(HashMap[address, HashMap[uint256, bool]])  # by edge server and round


@deploy
def __init__(registry: address, token: address, checkpoint: address, publisher: address, reward: uint256):
    assert reward <= MAX_TOKENS, "reward"
    REGISTRY = registry
    TOKEN = token
    CHECKPOINT = checkpoint
    PUBLISHER = publisher
    REWARD = reward
    TASK = staticcall Checkpoint(checkpoint).TASK()


@external
@nonreentrant
def fund(amount: uint256):
    assert msg.sender == PUBLISHER, "only the publisher"
    assert staticcall Registry(REGISTRY).role(PUBLISHER) == PUBLISHER_ROLE, "not a publisher"
    assert extcall Token(TOKEN).transferFrom(PUBLISHER, self, amount), "transfer failed"
    log Funded(amount=amount)


@internal
@view
def _is_included(
    edge_server: address, round: uint256, claim: Claim, proof: DynArray[bytes32, MAX_PROOF], start: uint256
) -> bool:
    structure: bytes32 = keccak256(
        abi_encode(UPDATE_TYPEHASH, TASK, round, claim.vehicle, claim.digest, claim.samples)
    )
    digest: bytes32 = keccak256(concat(0x1901, TASK, structure))
    path: DynArray[bytes32, MAX_DEPTH] = []
    for i: uint256 in range(claim.siblings, bound=MAX_DEPTH):
        path.append(proof[start + i])
    return staticcall Checkpoint(CHECKPOINT).is_included(edge_server, round, claim.position, digest, path)


@external
@nonreentrant
def release(
    edge_server: address,
    round: uint256,
    signers: DynArray[address, MAX_COMMITTEE],
    claims: DynArray[Claim, MAX_CLAIMS],
    proof: DynArray[bytes32, MAX_PROOF],
):
    """
    @notice Pays those who sealed a block: `claims` follow the order of `signers`, the edge server left out.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(REGISTRY).edge_server(msg.sender)
    assert not self.released[edge_server][round], "released before"
    height: uint256 = 0
    block_digest: bytes32 = empty(bytes32)
    root: bytes32 = empty(bytes32)
    count: uint256 = 0
    known: bytes32 = empty(bytes32)
    height, block_digest, root, count, known = staticcall Checkpoint(CHECKPOINT).anchored(edge_server, round)
    assert known != empty(bytes32), "no sealed block"
    assert keccak256(abi_encode(signers)) == known, "other signers"
    assert len(claims) + 1 == len(signers), "claims do not match the signers"
    used: uint256 = 0
    next: uint256 = 0
    share: uint256 = REWARD // len(signers)
    amounts: DynArray[uint256, BATCH] = []
    receivers: DynArray[address, BATCH] = []
    for signer: address in signers:
        receivers.append(signer)
        amounts.append(share)
        if signer == edge_server:
            continue
        claim: Claim = claims[next]
        next += 1
        assert claim.vehicle == signer, "claims do not match the signers"
        assert claim.siblings <= MAX_DEPTH and used + claim.siblings <= len(proof), "proof is cut short"
        assert self._is_included(edge_server, round, claim, proof, used), "not included"
        used += claim.siblings
    assert used == len(proof), "proof is too long"
    self.released[edge_server][round] = True
    extcall Token(TOKEN).transfer_many(receivers, amounts)
    log Released(round=round, edge_server=edge_server, share=share, signers=signers)


@external
@nonreentrant
def withdraw():
    assert msg.sender == PUBLISHER, "only the publisher"
    assert staticcall Training(staticcall Checkpoint(CHECKPOINT).TRAINING()).closed(), "the task is open"
    amount: uint256 = staticcall Token(TOKEN).balanceOf(self)
    assert extcall Token(TOKEN).transfer(PUBLISHER, amount), "transfer failed"
    log Withdrawn(amount=amount)

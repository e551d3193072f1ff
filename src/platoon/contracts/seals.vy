# pragma version 0.4.3
# pragma evm-version london
"""
@title seals
@license Apache-2.0
@notice Blocks of local chains and the signatures on them, for Checkpoint: the EIP-712 digest, and who
    signed it. The Python twins are records/local_block.py and ledger/model_checkpoint.py.
"""

MAX_COMMITTEE: constant(uint256) = 7  # the edge server and six vehicles
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1; above it stand the malleable twins of signatures
BLOCK_TYPEHASH: constant(bytes32) = keccak256(
    "LocalBlock(bytes32 task,address edgeServer,uint256 height,uint256 round,bytes32 parent,bytes32 root,uint256 count)"
)

struct Seal:
    v: uint256
    r: uint256
    s: uint256


@internal
@pure
def digest(
    task: bytes32,
    edge_server: address,
    height: uint256,
    round: uint256,
    parent: bytes32,
    root: bytes32,
    count: uint256,
) -> bytes32:
    structure: bytes32 = keccak256(
        abi_encode(BLOCK_TYPEHASH, task, edge_server, height, round, parent, root, count)
    )
    return keccak256(concat(0x1901, task, structure))


@internal
@view
def signers(signed: bytes32, seals: DynArray[Seal, MAX_COMMITTEE]) -> DynArray[address, MAX_COMMITTEE]:
    """
    @notice Who signed, strictly ascending: a signer that counts twice is refused.
    """
    result: DynArray[address, MAX_COMMITTEE] = []
    last: uint256 = 0
    for seal: Seal in seals:
        assert seal.s <= HALF_ORDER and (seal.v == 27 or seal.v == 28), "bad seal"
        signer: address = ecrecover(signed, seal.v, seal.r, seal.s)
        assert signer != empty(address), "bad seal"
        assert convert(signer, uint256) > last, "signers not ascending"
        last = convert(signer, uint256)
        result.append(signer)
    return result

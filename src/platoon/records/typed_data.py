"""EIP-712 digests of what is signed: a vehicle's update and an edge server's seal of a block. Packed by hand.

The domain binds name "platoon", version = the format number, chain id and contract, so that a signature for one
chain, task or format means nothing on another. A task is named by the separator of its Training contract's domain:
chain, contract and format in one digest. Source: EIP-712.
"""

from dataclasses import dataclass

from platoon.nouns import Address, Digest
from platoon.records.encoding import encode_word, keccak

FORMAT = 1
"""Number of the record format, in every signature's domain; a reader refuses those it does not know."""

_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME = keccak(b"platoon")
_UPDATE_TYPE = keccak(b"Update(bytes32 task,uint64 round,address vehicle,bytes32 digest,uint64 samples)")
_BLOCK_TYPE = keccak(
    b"Block(uint64 height,bytes32 parent,uint64 round,uint64 at,"
    b"bytes32 transactions,bytes32 receipts,bytes32 contracts)"
)
_UINT64 = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Where a signature holds."""

    chain_id: int
    contract: Address
    """The contract that checks it: the task chain's Training for updates, its Registry for seals."""
    format: int = FORMAT

    @property
    def separator(self) -> Digest:
        """The domain's hash."""
        version = keccak(str(self.format).encode())
        words = (_DOMAIN_TYPE, _NAME, version, encode_word(self.chain_id), encode_word(self.contract))
        return keccak(b"".join(words))


def compute_update_digest(
    *, task: Digest, round: int, vehicle: Address, digest: Digest, samples: int
) -> Digest:
    """What a vehicle signs.

    Raises:
        ValueError: a number that is not a uint64.
    """
    if not (0 <= round < _UINT64 and 0 <= samples < _UINT64):
        raise ValueError(f"round {round} or samples {samples}: not a uint64")
    words = (_UPDATE_TYPE, task, encode_word(round), encode_word(vehicle), digest, encode_word(samples))
    return keccak(b"\x19\x01" + task + keccak(b"".join(words)))


def compute_block_digest(
    separator: Digest,
    *,
    height: int,
    parent: Digest,
    round: int,
    at: int,
    transactions: Digest,
    receipts: Digest,
    contracts: Digest,
) -> Digest:
    """The hash of a block, which is also what its seals sign; ``separator`` is that of the Registry's domain."""
    words = (
        _BLOCK_TYPE,
        encode_word(height),
        parent,
        encode_word(round),
        encode_word(at),
        transactions,
        receipts,
        contracts,
    )
    return keccak(b"\x19\x01" + separator + keccak(b"".join(words)))

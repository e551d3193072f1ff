"""Blocks: ordered transactions under a hash-linked, sealed header, and what each transaction did.

A block's hash is the EIP-712 digest that its seals sign; it covers height, parent, round, time, the Merkle roots
of transactions and receipts, the contract set, and through the domain the chain id, the format and the Registry.
Engines differ in gas and in how a state is kept, so neither is part of a record.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields

from platoon.ledger.contracts import Log
from platoon.nouns import Address, Digest, Instant
from platoon.records.encoding import WORD, encode_word, keccak
from platoon.records.merkle import compute_root
from platoon.records.signing import SIGNATURE_BYTES, recover
from platoon.records.typed_data import Domain, compute_block_digest

MAX_NUMBER = 2**63 - 1
"""Heights, rounds and times fit the integers of any reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the hash of a block covers."""

    format: int
    chain_id: int
    height: int
    """0 is the block that sets the task chain up."""
    parent: Digest
    """Hash of the block before; zeros at height 0."""
    round: int
    at: Instant
    """Simulated microseconds; never earlier than the parent's."""
    transactions: Digest
    """Merkle root over the transactions' hashes."""
    receipts: Digest
    """Merkle root over the receipts' hashes."""
    contracts: Digest
    """Hash of the contract set."""

    def encode(self) -> bytes:
        """One 32-byte word per field."""
        return b"".join([encode_word(getattr(self, field.name)) for field in fields(self)])

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """The header that ``encode`` wrote; raises ``ValueError`` for anything else."""
        names = [field.name for field in fields(cls)]
        if len(data) != WORD * len(names):
            raise ValueError(f"a header of {len(data)} bytes")
        words = dict(zip(names, (data[i : i + WORD] for i in range(0, len(data), WORD)), strict=True))
        numbers = {name: int.from_bytes(words[name], "big") for name in _NUMBERS}
        for name, number in numbers.items():
            if number > MAX_NUMBER:
                raise ValueError(f"{name} of the header is out of bounds")
        return cls(
            format=numbers["format"],
            chain_id=numbers["chain_id"],
            height=numbers["height"],
            parent=Digest(words["parent"]),
            round=numbers["round"],
            at=Instant(numbers["at"]),
            transactions=Digest(words["transactions"]),
            receipts=Digest(words["receipts"]),
            contracts=Digest(words["contracts"]),
        )

    def compute_hash(self, registry: Address) -> Digest:
        """The block's hash, which its seals sign."""
        domain = Domain(chain_id=self.chain_id, contract=registry, format=self.format)
        return compute_block_digest(
            domain.separator,
            height=self.height,
            parent=self.parent,
            round=self.round,
            at=self.at,
            transactions=self.transactions,
            receipts=self.receipts,
            contracts=self.contracts,
        )


_NUMBERS = ("format", "chain_id", "height", "round", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a transaction did, as the record keeps it."""

    ok: bool
    error: str
    """Why the contract rejected it; empty where it went through."""
    logs: tuple[Log, ...]

    def encode(self) -> bytes:
        """Canonical bytes; their keccak is the receipt's hash."""
        error = self.error.encode()
        parts = [_RESULT.pack(self.ok, len(error), len(self.logs)), error]
        for log in self.logs:
            parts += [_LOG.pack(log.address, len(log.topics), len(log.data)), *log.topics, log.data]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> "Result":
        """The result that ``encode`` wrote; raises ``ValueError`` for anything else."""
        try:
            ok, error_length, count = _RESULT.unpack_from(data)
            at = _RESULT.size + error_length
            error, logs = data[_RESULT.size : at].decode(), []
            for _ in range(count):
                address, topics, length = _LOG.unpack_from(data, at)
                start = at + _LOG.size
                body = start + WORD * topics
                at = body + length
                words = tuple([data[i : i + WORD] for i in range(start, body, WORD)])
                logs.append(Log(address=Address(address), topics=words, data=data[body:at]))
        except struct.error:
            raise ValueError("a receipt is cut short") from None
        result = cls(ok=ok, error=error, logs=tuple(logs))
        if result.encode() != data:
            raise ValueError("not the canonical form of a receipt")
        return result


_RESULT = struct.Struct(">?HH")
"""Whether it went through; bytes of the error; number of logs."""
_LOG = struct.Struct(">20sBI")
"""Address; number of topics; bytes of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block as it is stored."""

    header: Header
    transactions: tuple[bytes, ...]
    """Signed transactions, in the order of execution."""
    receipts: tuple[bytes, ...]
    """Encoded ``Result`` of each."""
    seals: bytes
    """Signatures of the block's hash, 65 bytes each, ascending by signer."""


def compute_roots(transactions: Sequence[bytes], receipts: Sequence[bytes]) -> tuple[Digest, Digest]:
    """The Merkle roots of a block's transactions and receipts."""
    return compute_root([keccak(raw) for raw in transactions]), compute_root([keccak(r) for r in receipts])


def recover_sealers(block_hash: Digest, seals: bytes) -> list[Address]:
    """Who sealed a block.

    Raises:
        ValueError: not whole signatures, a bad one, or signers that are not strictly ascending (which also refuses
            a signer that counts twice).
    """
    if len(seals) % SIGNATURE_BYTES:
        raise ValueError("seals are cut short")
    sealers: list[Address] = []
    for start in range(0, len(seals), SIGNATURE_BYTES):
        signer = recover(block_hash, seals[start : start + SIGNATURE_BYTES])
        if signer is None:
            raise ValueError(f"seal {start // SIGNATURE_BYTES} is not a valid signature")
        if sealers and signer <= sealers[-1]:
            raise ValueError("seals are not in strictly ascending order of their signers")
        sealers.append(signer)
    return sealers

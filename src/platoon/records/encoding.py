"""Bytes that everybody agrees on: hashes, 32-byte words, RLP, addresses of contracts.

SHA-256 stands for stored contents (models, updates), keccak-256 for structures that a contract checks. Decoders are
strict: the one canonical encoding of a value is accepted, so that equal meaning is equal bytes.

Source: Ethereum yellow paper, appendix B (RLP) and section 7 (contract addresses).
"""

import hashlib
import threading
from importlib import import_module
from typing import Any

from platoon.nouns import Address, Digest

_FFI: Any = import_module("cffi").FFI()
_KECCAK: Any = import_module("Crypto.Hash.keccak")
"""pycryptodome's module; its C functions are called directly (see ``_Sponge``)."""
EMPTY_DIGEST = Digest(bytes(32))
WORD = 32
"""Bytes in a word of the EVM."""
_MAX_DEPTH = 8
"""Lists within lists that a decoder follows; no record nests deeper than 2."""


class _Sponge(threading.local):
    """One thread's state of the hash, used again for every call: making pycryptodome's object anew costs five times
    the hash of a short record (``bench/ledger.py``)."""

    def __init__(self) -> None:
        self._owner = _KECCAK.Keccak_Hash(b"", 32, False)
        output = _FFI.new("uint8_t[]", 32)
        self.parts: tuple[Any, Any, Any] = (self._owner._state.get(), output, _FFI.buffer(output))


_SPONGE = _Sponge()
_ABSORB: Any = _KECCAK._raw_keccak_lib.keccak_absorb
_SQUEEZE: Any = _KECCAK._raw_keccak_lib.keccak_digest
_RESET: Any = _KECCAK._raw_keccak_lib.keccak_reset
_PADDING = 1
"""Of Keccak as Ethereum uses it; SHA-3 pads with 6."""


def keccak(data: bytes) -> Digest:
    """Keccak-256 (the hash of Ethereum, not SHA-3).

    >>> keccak(b"").hex()[:16]
    'c5d2460186f7233c'
    """
    state, output, digest = _SPONGE.parts
    if _RESET(state) or _ABSORB(state, data, len(data)) or _SQUEEZE(state, output, 32, _PADDING):
        raise RuntimeError("keccak failed")
    return Digest(digest[:])


def compute_content_digest(data: bytes) -> Digest:
    """SHA-256 of stored contents."""
    return Digest(hashlib.sha256(data).digest())


def encode_word(value: int | bytes) -> bytes:
    """A number (two's complement if negative) or up to 32 bytes (right-aligned, as addresses are) as one word.

    >>> encode_word(-1).hex() == "ff" * 32
    True
    """
    if isinstance(value, int):
        return value.to_bytes(WORD, "big", signed=value < 0)
    return value.rjust(WORD, b"\0")


def compute_contract_address(sender: Address, nonce: int) -> Address:
    """The address of the contract that ``sender`` deploys with its transaction number ``nonce``."""
    return Address(keccak(encode_rlp([sender, encode_number(nonce)]))[12:])


def encode_number(value: int) -> bytes:
    """A natural number as RLP holds it: big-endian without leading zeros, 0 as nothing."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_number(data: bytes) -> int:
    """The number of an RLP item; raises ``ValueError`` for a leading zero."""
    if data[:1] == b"\0":
        raise ValueError("a number with a leading zero")
    return int.from_bytes(data, "big")


def encode_length(length: int, short: int) -> bytes:
    """The head of an RLP string (``short`` 0x80) or list (0xc0) of that many bytes."""
    if length <= 55:
        return bytes([short + length])
    size = encode_number(length)
    return bytes([short + 55 + len(size)]) + size


def encode_rlp(item: Any) -> bytes:
    """Recursive length prefix of bytes, or of (nested) sequences of bytes.

    >>> encode_rlp([b"cat", b"dog"]).hex()
    'c88363617483646f67'
    """
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return encode_length(len(item), 0x80) + item
    body = b"".join([encode_rlp(part) for part in item])
    return encode_length(len(body), 0xC0) + body


def decode_rlp(data: bytes) -> Any:
    """The item (bytes, or lists of them) whose canonical encoding ``data`` is.

    Raises:
        ValueError: anything that is not exactly one canonical encoding.
    """
    try:
        item, end = _decode_item(data, 0, len(data), _MAX_DEPTH)
    except IndexError:
        raise ValueError("RLP is cut short") from None
    if end != len(data):
        raise ValueError("bytes after the RLP item")
    return item


def decode_strings(data: bytes) -> tuple[list[bytes], list[int]]:
    """The strings of an RLP list that holds nothing else, and where in ``data`` each of them ends; raises as
    ``decode_rlp`` does. Transactions and blocks are such lists, and most of the bytes that are ever decoded.

    >>> decode_strings(bytes.fromhex("c88363617483646f67"))
    ([b'cat', b'dog'], [5, 9])
    """
    try:
        if data[0] < 0xC0:
            raise ValueError("not an RLP list")
        at, end = _decode_bounds(data, 0, 0xC0)
        if end != len(data):
            raise ValueError("an RLP list of another length than its bytes")
        items, ends = [], []
        while at < end:
            first = data[at]
            if first >= 0xC0:
                raise ValueError("a list inside an RLP list of strings")
            start, at = (at, at + 1) if first < 0x80 else _decode_bounds(data, at, 0x80)
            item = data[start:at]
            if first == 0x81 and item < b"\x80":
                raise ValueError("RLP of a small byte is not canonical")
            items.append(item)
            ends.append(at)
    except IndexError:
        raise ValueError("RLP is cut short") from None
    if at != end:
        raise ValueError("RLP item longer than its place")
    return items, ends


def _decode_item(data: bytes, at: int, limit: int, depth: int) -> tuple[Any, int]:
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    start, end = _decode_bounds(data, at, 0x80 if first < 0xC0 else 0xC0)
    if end > limit:
        raise ValueError("RLP item longer than its place")
    if first < 0xC0:
        item = data[start:end]
        if len(item) == 1 and item[0] < 0x80:
            raise ValueError("RLP of a small byte is not canonical")
        return item, end
    if depth == 0:
        raise ValueError("RLP is nested too deeply")
    items = []
    while start < end:
        item, start = _decode_item(data, start, end, depth - 1)
        items.append(item)
    return items, end


def _decode_bounds(data: bytes, at: int, short: int) -> tuple[int, int]:
    """Where the contents of the item at ``at`` start and end."""
    size = data[at] - short
    if size <= 55:
        return at + 1, at + 1 + size
    start = at + 1 + size - 55
    length = decode_number(data[at + 1 : start])
    if length <= 55:
        raise ValueError("RLP length is not canonical")
    return start, start + length

"""The Ethereum contract ABI, for what platoon's contracts use: one-word types, static tuples, arrays of both.

A codec is compiled once per signature into plain functions, since the general library is slow in the hot path
(a ``record`` of ten updates). Numbers are ints, addresses 20 bytes, ``bytes32`` 32 bytes, ``bool`` bool, tuples and
arrays tuples. Decoders accept only the canonical encoding. Source: Solidity contract ABI specification.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from platoon.records.encoding import WORD, keccak

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes, int], Any]
Check = Callable[[bytes, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How one type becomes bytes: ``words`` of static encoding, or a dynamic array of ``element``."""

    signature: str
    """Canonical name, as selectors hash it."""
    words: int
    """Words of the encoding; of one element for an array."""
    is_array: bool
    encode: Encode
    decode: Decode
    """From all bytes and an offset; raises ``ValueError`` for what is not canonical."""
    check: Check | None
    """Raises as ``decode``, and makes no value; of one element for an array. None where any word is canonical."""


def _encode_uint(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def _decode_uint(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + WORD], "big")


def _encode_int(value: int) -> bytes:
    return value.to_bytes(WORD, "big", signed=True)


def _decode_int(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + WORD], "big", signed=True)


def _encode_address(value: bytes) -> bytes:
    if len(value) != 20:
        raise ValueError(f"an address of {len(value)} bytes")
    return b"\0\0\0\0\0\0\0\0\0\0\0\0" + value


def _decode_address(data: bytes, at: int) -> bytes:
    _check_address(data, at)
    return data[at + 12 : at + WORD]


def _encode_bytes32(value: bytes) -> bytes:
    if len(value) != WORD:
        raise ValueError(f"a bytes32 of {len(value)} bytes")
    return value


def _decode_bytes32(data: bytes, at: int) -> bytes:
    return data[at : at + WORD]


def _encode_bool(value: bool) -> bytes:
    return _encode_uint(1 if value else 0)


def _decode_bool(data: bytes, at: int) -> bool:
    number = _decode_uint(data, at)
    if number > 1:
        raise ValueError("a bool that is neither 0 nor 1")
    return number == 1


def _check_address(data: bytes, at: int) -> None:
    if data[at : at + 12] != b"\0\0\0\0\0\0\0\0\0\0\0\0":
        raise ValueError("an address above 20 bytes")


def _check_bool(data: bytes, at: int) -> None:
    _decode_bool(data, at)


_WORDS: dict[str, tuple[Encode, Decode, Check | None]] = {
    "uint256": (_encode_uint, _decode_uint, None),
    "int256": (_encode_int, _decode_int, None),
    "address": (_encode_address, _decode_address, _check_address),
    "bytes32": (_encode_bytes32, _decode_bytes32, None),
    "bool": (_encode_bool, _decode_bool, _check_bool),
}


def compile_codec(entry: dict[str, Any]) -> Codec:
    """The codec of one parameter of an ABI's JSON; raises ``ValueError`` for a type that is not supported."""
    name = str(entry["type"])
    if name.endswith("[]"):
        return _compile_array(compile_codec({**entry, "type": name[:-2]}))
    if name == "tuple":
        return _compile_tuple([compile_codec(part) for part in entry["components"]])
    if name not in _WORDS:
        raise ValueError(f"ABI type {name!r} is not supported")
    encode, decode, check = _WORDS[name]
    return Codec(signature=name, words=1, is_array=False, encode=encode, decode=decode, check=check)


def _compile_tuple(parts: Sequence[Codec]) -> Codec:
    encoders = [part.encode for part in parts]
    decoders = [
        (WORD * sum(before.words for before in parts[:i]), part.decode) for i, part in enumerate(parts)
    ]
    if any(part.is_array for part in parts):
        raise ValueError("a dynamic array inside a tuple is not supported")

    def encode(values: Sequence[Any]) -> bytes:
        return b"".join([encode_part(value) for encode_part, value in zip(encoders, values, strict=True)])

    def decode(data: bytes, at: int) -> tuple[Any, ...]:
        return tuple([decode_part(data, at + offset) for offset, decode_part in decoders])

    checks = [
        (offset, part.check)
        for (offset, _), part in zip(decoders, parts, strict=True)
        if part.check is not None
    ]

    def check(data: bytes, at: int) -> None:
        for offset, check_part in checks:
            check_part(data, at + offset)

    signature = f"({','.join(part.signature for part in parts)})"
    words = sum(part.words for part in parts)
    return Codec(
        signature=signature,
        words=words,
        is_array=False,
        encode=encode,
        decode=decode,
        check=check if checks else None,
    )


def _compile_array(element: Codec) -> Codec:
    if element.is_array:
        raise ValueError("an array of arrays is not supported")
    size = WORD * element.words
    is_plain = element.signature in ("uint256", "int256", "bytes32")
    read = partial(int.from_bytes, byteorder="big", signed=element.signature == "int256")

    def encode(values: Sequence[Any]) -> bytes:
        return _encode_uint(len(values)) + b"".join([element.encode(value) for value in values])

    def decode(data: bytes, at: int) -> tuple[Any, ...]:
        start, count = at + WORD, _decode_uint(data, at)
        if count > (len(data) - start) // size:
            raise ValueError("an array longer than the data")
        end = start + count * size
        if is_plain:  # the long arrays are of plain words
            parts = [data[i : i + WORD] for i in range(start, end, WORD)]
            return tuple(parts if element.signature == "bytes32" else [read(part) for part in parts])
        return tuple([element.decode(data, i) for i in range(start, end, size)])

    signature = f"{element.signature}[]"
    return Codec(
        signature=signature,
        words=element.words,
        is_array=True,
        encode=encode,
        decode=decode,
        check=element.check,
    )


class Arguments:
    """The codec of a list of parameters: a function's inputs or outputs, or an event's data."""

    __slots__ = ("_head", "codecs")

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        self.codecs = [compile_codec(entry) for entry in entries]
        self._head = WORD * sum(1 if codec.is_array else codec.words for codec in self.codecs)

    def encode(self, values: Sequence[Any]) -> bytes:
        """Canonical encoding of as many values as there are parameters; raises ``ValueError`` out of range."""
        if len(values) != len(self.codecs):
            raise ValueError(f"{len(values)} values for {len(self.codecs)} parameters")
        heads, tails, offset = [], [], self._head
        try:
            for codec, value in zip(self.codecs, values, strict=True):
                encoded = codec.encode(value)
                if codec.is_array:
                    heads.append(_encode_uint(offset))
                    tails.append(encoded)
                    offset += len(encoded)
                else:
                    heads.append(encoded)
        except OverflowError as error:
            raise ValueError(str(error)) from None
        return b"".join(heads + tails)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values whose canonical encoding ``data`` is; raises ``ValueError`` for anything else."""
        if len(data) < self._head:
            raise ValueError("arguments are cut short")
        values, at, end = [], 0, self._head
        for codec in self.codecs:
            if not codec.is_array:
                values.append(codec.decode(data, at))
                at += WORD * codec.words
                continue
            if _decode_uint(data, at) != end:
                raise ValueError("an array that is not where it belongs")
            if len(data) < end + WORD:
                raise ValueError("arguments are cut short")
            value = codec.decode(data, end)
            values.append(value)
            at += WORD
            end += WORD * (1 + codec.words * len(value))
        if end != len(data):
            raise ValueError("bytes after the arguments")
        return tuple(values)

    def measure(self, data: bytes) -> int:
        """How long the longest array is (0 without arrays) in the canonical encoding of some values.

        Raises as ``decode`` does, without making the values.
        """
        if len(data) < self._head:
            raise ValueError("arguments are cut short")
        longest, at, end = 0, 0, self._head
        for codec in self.codecs:
            size, check = WORD * codec.words, codec.check
            if not codec.is_array:
                if check is not None:
                    check(data, at)
                at += size
                continue
            if _decode_uint(data, at) != end:
                raise ValueError("an array that is not where it belongs")
            if len(data) < end + WORD:
                raise ValueError("arguments are cut short")
            start, count = end + WORD, _decode_uint(data, end)
            if count > (len(data) - start) // size:
                raise ValueError("an array longer than the data")
            at, end, longest = at + WORD, start + count * size, max(longest, count)
            if check is not None:
                for element in range(start, end, size):
                    check(data, element)
        if end != len(data):
            raise ValueError("bytes after the arguments")
        return longest

    @property
    def signature(self) -> str:
        """``(type,type,...)``, as selectors hash it."""
        return f"({','.join(codec.signature for codec in self.codecs)})"


def compute_selector(name: str, arguments: Arguments) -> bytes:
    """The 4 bytes that name a function in calldata."""
    return keccak((name + arguments.signature).encode())[:4]


def compute_topic(name: str, arguments: Arguments) -> bytes:
    """The 32 bytes that name an event in a log."""
    return keccak((name + arguments.signature).encode())

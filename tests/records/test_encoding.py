"""RLP, the contract ABI and hashes, beside the reference libraries, and strict where they are lenient."""

import eth_abi
import pytest
import rlp
from eth_hash.auto import keccak as reference_keccak
from hypothesis import given
from hypothesis import strategies as st

from platoon.records.abi import Arguments
from platoon.records.encoding import (
    compute_contract_address,
    decode_number,
    decode_rlp,
    decode_strings,
    encode_number,
    encode_rlp,
    encode_word,
    keccak,
)

items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


def depth(item) -> int:
    return 0 if isinstance(item, bytes) else 1 + max(map(depth, item), default=0)


@given(st.binary(max_size=400))
def test_keccak_is_that_of_ethereum(data):
    assert keccak(data) == reference_keccak(data)


@given(items.filter(lambda item: depth(item) <= 8))
def test_rlp_is_that_of_the_reference_and_reads_back(item):
    encoded = encode_rlp(item)
    assert encoded == rlp.encode(item)
    assert decode_rlp(encoded) == item


@given(st.binary(max_size=120))
def test_rlp_of_arbitrary_bytes_is_refused_or_canonical(data):
    try:
        item = decode_rlp(data)
    except ValueError:
        return
    assert encode_rlp(item) == data


string_lists = st.lists(st.binary(max_size=60) | st.binary(min_size=50, max_size=300), max_size=12)


def flip(data: bytes, at: int, bits: int) -> bytes:
    """One byte changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


@given(
    st.binary(max_size=120)
    | string_lists.map(encode_rlp)
    | st.builds(flip, string_lists.map(encode_rlp), st.integers(0, 400), st.integers(1, 255))
)
def test_lists_of_strings_are_read_as_any_rlp_is(data):
    try:
        item = decode_rlp(data)
    except ValueError:
        item = None
    if isinstance(item, list) and all(isinstance(part, bytes) for part in item):
        items, ends = decode_strings(data)
        assert items == item
        assert [data[end - len(part) : end] for part, end in zip(items, ends, strict=True)] == items
        assert not ends or ends[-1] == len(data)
    else:
        with pytest.raises(ValueError, match=r"RLP|number"):
            decode_strings(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\x05",  # a small byte in a long form
        b"\xb8\x05hello",  # a short string in a long form
        b"\xb8\x00",
        b"\xb9\x00\x38" + b"x" * 56,  # a length with a leading zero
        b"\x83ab",  # cut short
        b"\xc2\x83ab",  # an item longer than its list
        b"\xc0\xc0",  # two items
        b"\xc1" * 10 + b"\xc0",
        b"\xf8",
        b"\xbf" + b"\xff" * 8,
    ],
)
def test_invalid_rlp(data):
    with pytest.raises(ValueError, match=r"RLP|number|bytes after"):
        decode_rlp(data)


def test_invalid_rlp_nested_a_thousand_deep():
    data = b"\xc0"
    for _ in range(1000):
        data = encode_rlp_header(data) + data
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_rlp(data)


def encode_rlp_header(body: bytes) -> bytes:
    if len(body) <= 55:
        return bytes([0xC0 + len(body)])
    size = encode_number(len(body))
    return bytes([0xF7 + len(size)]) + size


@given(st.integers(0, 2**256 - 1))
def test_numbers_read_back(value):
    assert decode_number(encode_number(value)) == value
    assert encode_word(value) == value.to_bytes(32, "big")


def test_invalid_number_with_a_leading_zero():
    with pytest.raises(ValueError, match="leading zero"):
        decode_number(b"\x00")


def test_contract_addresses_are_those_of_ethereum():
    # the example of the Ethereum documentation: sender 0x6ac7..., nonces 0 and 1
    sender = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert compute_contract_address(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert compute_contract_address(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"


WORDS = {
    "uint256": st.integers(0, 2**256 - 1),
    "int256": st.integers(-(2**255), 2**255 - 1),
    "address": st.binary(min_size=20, max_size=20),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bool": st.booleans(),
}


@st.composite
def signatures(draw):
    """A list of ABI parameters, their type strings and values that fit."""
    entries, types, values = [], [], []
    for _ in range(draw(st.integers(0, 4))):
        parts = draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=3))
        is_tuple, is_array = draw(st.booleans()), draw(st.booleans())
        name = f"({','.join(parts)})" if is_tuple else parts[0]
        value = st.tuples(*(WORDS[part] for part in parts)) if is_tuple else WORDS[parts[0]]
        entry = {"type": ("tuple" if is_tuple else parts[0]) + ("[]" if is_array else "")}
        entries.append({**entry, "components": [{"type": part} for part in parts]})
        types.append(name + ("[]" if is_array else ""))
        values.append(draw(st.lists(value, max_size=3).map(tuple) if is_array else value))
    return entries, types, values


@given(signatures())
def test_abi_is_that_of_the_reference_and_reads_back(signature):
    entries, types, values = signature
    arguments = Arguments(entries)
    reference = [_for_reference(value) for value in values]
    assert arguments.signature == f"({','.join(types)})"
    assert arguments.encode(values) == eth_abi.encode(types, reference)
    assert arguments.decode(arguments.encode(values)) == tuple(values)


def _for_reference(value):
    if isinstance(value, tuple):
        return tuple(_for_reference(part) for part in value)
    return "0x" + value.hex() if isinstance(value, bytes) and len(value) == 20 else value


@given(signatures(), st.data())
def test_abi_of_changed_bytes_is_refused_or_canonical(signature, data):
    entries, _, values = signature
    arguments = Arguments(entries)
    changed = bytearray(arguments.encode(values))
    if changed:
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = arguments.decode(bytes(changed))
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            arguments.measure(bytes(changed))
        return
    lists = (value for value, codec in zip(decoded, arguments.codecs, strict=True) if codec.is_array)
    assert arguments.measure(bytes(changed)) == max(map(len, lists), default=0)
    assert arguments.encode(decoded) == bytes(changed)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("uint256", -1), ("uint256", 2**256), ("int256", 2**255), ("address", b"x"), ("bytes32", b"x")],
)
def test_invalid_abi_values(kind, value):
    with pytest.raises(ValueError, match=r"overflow|negative|too big|bytes"):
        Arguments([{"type": kind}]).encode([value])


def test_invalid_abi_types_and_counts():
    for entry in ({"type": "string"}, {"type": "uint256[][]"}):
        with pytest.raises(ValueError, match="not supported"):
            Arguments([entry])
    nested = {"type": "tuple", "components": [{"type": "uint256[]"}]}
    with pytest.raises(ValueError, match="not supported"):
        Arguments([nested])
    with pytest.raises(ValueError, match="2 values for 1 parameters"):
        Arguments([{"type": "bool"}]).encode([True, False])

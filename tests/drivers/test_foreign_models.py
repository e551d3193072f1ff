"""A stranger's model file: read, or refused for a reason; nothing else ever happens."""

import json
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.drivers import store
from platoon.drivers.foreign_models import (
    MOST_HEADER,
    MOST_NAME,
    MOST_TENSORS,
    ForeignModelError,
    ModelShape,
    Refusal,
    TensorShape,
    flatten,
    read_foreign_model,
    read_header,
)
from platoon.errors import UserError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
OFFSET = np.array([0.5, -1.0], dtype=np.float16)
GOOD = {"0.weight": WEIGHT, "0.bias": OFFSET}
LISTED = ModelShape(
    tensors=(
        TensorShape(name="0.weight", dtype="F32", shape=(2, 3)),
        TensorShape(name="0.bias", dtype="F16", shape=(2,)),
    )
)
FILE = safetensors.numpy.save(GOOD)


def a_file(header, data=b"", *, length=None):
    """A file with any header: text, bytes, or what JSON is made of."""
    if not isinstance(header, bytes):
        header = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def an_entry(begin=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def refusal_of(content, expected=None, **limits):
    with pytest.raises(ForeignModelError) as caught:
        read_foreign_model(content, expected, **limits)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 400
    return caught.value.refusal


def the_same_or_refused(content):
    """The only two things that may happen. What is read is what the library reads, and is finite."""
    try:
        tensors = read_foreign_model(content, None)
    except ForeignModelError:
        return
    theirs = safetensors.numpy.load(content)
    assert tensors.keys() == theirs.keys()
    for name, values in tensors.items():
        assert np.array_equal(values, theirs[name])
        assert np.isfinite(values).all()


def test_a_good_file_is_read_as_it_was_written():
    for expected in (LISTED, None):
        tensors = read_foreign_model(FILE, expected)
        assert tensors.keys() == GOOD.keys()
        for name, values in GOOD.items():
            assert tensors[name].dtype == values.dtype
            assert np.array_equal(tensors[name], values)


def test_the_header_says_what_lies_where():
    assert set(read_header(FILE).tensors) == set(LISTED.tensors)


def test_flat_weights_come_in_the_listings_order_and_fixed_point_is_scaled():
    flat = flatten(read_foreign_model(FILE, LISTED), LISTED)
    assert flat.dtype == np.float32
    assert flat.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 0.5, -1.0]
    own = ModelShape(tensors=(TensorShape(name=store.TENSOR, dtype="I32", shape=(2,)),))
    ours = store.encode(np.array([1 << 24, -(1 << 23)], dtype=np.int32))
    assert flatten(read_foreign_model(ours, own), own).tolist() == [1.0, -0.5]
    with pytest.raises(ForeignModelError) as caught:
        flatten({}, LISTED)
    assert caught.value.refusal is Refusal.MISSING_TENSOR


def test_padding_metadata_scalars_and_empty_tensors_belong_to_the_format():
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "x": an_entry(0, 4, ()), "y": an_entry(4, 4, (0, 3))}
    )
    tensors = read_foreign_model(a_file(header + "   ", struct.pack("<f", 2.0)), None)
    assert tensors["x"].tolist() == 2.0
    assert tensors["y"].shape == (0, 3)


def test_a_header_of_640_bytes_is_no_pickle_though_it_begins_like_one():
    header = json.dumps({"x": an_entry()}).ljust(640)
    content = a_file(header, bytes(8))
    assert content.startswith(b"\x80\x02")
    assert read_foreign_model(content, None)["x"].tolist() == [0.0, 0.0]


NAN = struct.pack("<ff", 1.0, float("nan"))
CASES = [
    (Refusal.NOT_SAFETENSORS, b""),
    (Refusal.NOT_SAFETENSORS, bytes(8)),
    (Refusal.PICKLED, pickle.dumps({"w": [1.0]}, protocol=4)),
    (Refusal.PICKLED, b"PK\x03\x04" + bytes(60)),
    (Refusal.HEADER_BEYOND_FILE, b"\x89HDF\r\n\x1a\n" + bytes(40)),
    (Refusal.HEADER_BEYOND_FILE, a_file("{}", length=3)),
    (Refusal.HEADER_BEYOND_FILE, a_file("{}", length=2**64 - 1)),
    (Refusal.HEADER_BEYOND_FILE, FILE[:40]),
    (Refusal.HEADER_TOO_LONG, a_file("{" + " " * MOST_HEADER)),
    (Refusal.HEADER_NOT_JSON, a_file("", b"rest")),
    (Refusal.HEADER_NOT_JSON, a_file("{'x': 1}")),
    (Refusal.HEADER_NOT_JSON, a_file(b'{"\xff": 1}')),
    (Refusal.HEADER_NOT_JSON, a_file('{"x": NaN}')),
    (Refusal.HEADER_NOT_JSON, a_file('{"x": ' + "9" * 5000 + "}")),
    (Refusal.HEADER_NOT_JSON, a_file("[" * 100_000)),
    (Refusal.HEADER_NOT_JSON, a_file('{"x":' * 50_000)),
    (Refusal.HEADER_NOT_AN_OBJECT, a_file([an_entry()], bytes(8))),
    (Refusal.HEADER_NOT_AN_OBJECT, a_file("7")),
    (Refusal.DUPLICATE_NAME, a_file('{"x": 1, "x": 2}')),
    (Refusal.DUPLICATE_NAME, a_file('{"x": {"dtype": "F32", "dtype": "F32"}}')),
    (Refusal.BAD_METADATA, a_file({"__metadata__": {"n": 1}, "x": an_entry()}, bytes(8))),
    (Refusal.BAD_METADATA, a_file({"__metadata__": ["n"], "x": an_entry()}, bytes(8))),
    (Refusal.NO_TENSORS, a_file({})),
    (Refusal.NO_TENSORS, a_file({"__metadata__": {}}, bytes(8))),
    (Refusal.TOO_MANY_TENSORS, a_file({f"{k}": an_entry(0, 0, (0,)) for k in range(MOST_TENSORS + 1)})),
    (Refusal.BAD_NAME, a_file({"": an_entry()}, bytes(8))),
    (Refusal.BAD_NAME, a_file({"x" * (MOST_NAME + 1): an_entry()}, bytes(8))),
    (Refusal.BAD_ENTRY, a_file({"x": [1]}, bytes(8))),
    (Refusal.BAD_ENTRY, a_file({"x": {"dtype": "F32", "shape": [2]}}, bytes(8))),
    (Refusal.BAD_ENTRY, a_file({"x": an_entry() | {"more": 1}}, bytes(8))),
    (Refusal.UNKNOWN_DTYPE, a_file({"x": an_entry(dtype="F64")}, bytes(8))),
    (Refusal.UNKNOWN_DTYPE, a_file({"x": an_entry(dtype=["F32"])}, bytes(8))),
    (Refusal.UNKNOWN_DTYPE, a_file({"x": an_entry(dtype="\x1b[2J" * 50)}, bytes(8))),
    (Refusal.BAD_SHAPE, a_file({"x": an_entry(shape=(-2,))}, bytes(8))),
    (Refusal.BAD_SHAPE, a_file({"x": an_entry(shape=(2.0,))}, bytes(8))),
    (Refusal.BAD_SHAPE, a_file({"x": an_entry(shape=(True, 2))}, bytes(8))),
    (Refusal.BAD_SHAPE, a_file({"x": an_entry() | {"shape": 2}}, bytes(8))),
    (Refusal.BAD_SHAPE, a_file({"x": an_entry(shape=(1,) * 9)}, bytes(8))),
    (Refusal.SHAPE_TOO_LARGE, a_file({"x": an_entry(shape=(2**40,))}, bytes(8))),
    (Refusal.SHAPE_TOO_LARGE, a_file({"x": an_entry(shape=(2**32, 2**32))}, bytes(8))),
    (Refusal.SHAPE_TOO_LARGE, a_file({"x": an_entry(shape=(8,) * 8)}, bytes(8))),
    (Refusal.SHAPE_TOO_LARGE, a_file({"x": an_entry(shape=(10**4000,))}, bytes(8))),
    (Refusal.BAD_OFFSETS, a_file({"x": an_entry(-8, 0)}, bytes(8))),
    (Refusal.BAD_OFFSETS, a_file({"x": an_entry(8, 0)}, bytes(8))),
    (Refusal.BAD_OFFSETS, a_file({"x": an_entry() | {"data_offsets": [0, 4, 8]}}, bytes(8))),
    (Refusal.BAD_OFFSETS, a_file({"x": an_entry() | {"data_offsets": "08"}}, bytes(8))),
    (Refusal.OFFSETS_BEYOND_FILE, a_file({"x": an_entry(8, 16)}, bytes(8))),
    (Refusal.OFFSETS_BEYOND_FILE, FILE[:-1]),
    (Refusal.SIZE_MISMATCH, a_file({"x": an_entry(0, 8, (1,))}, bytes(8))),
    (Refusal.SIZE_MISMATCH, a_file({"x": an_entry(0, 8, ())}, bytes(8))),
    (Refusal.OFFSETS_OVERLAP, a_file({"x": an_entry(0, 8), "y": an_entry(0, 8)}, bytes(8))),
    (Refusal.OFFSETS_OVERLAP, a_file({"x": an_entry(0, 8), "y": an_entry(4, 12)}, bytes(12))),
    (Refusal.OFFSETS_GAP, a_file({"x": an_entry(0, 8), "y": an_entry(9, 17)}, bytes(17))),
    (Refusal.OFFSETS_GAP, a_file({"x": an_entry(4, 12)}, bytes(12))),
    (Refusal.OFFSETS_OUT_OF_ORDER, a_file({"x": an_entry(8, 16), "y": an_entry(0, 8)}, bytes(16))),
    (Refusal.TRAILING_BYTES, FILE + b"\x00"),
    (Refusal.LIBRARY_REFUSED, a_file('{"\\ud800": ' + json.dumps(an_entry()) + "}", bytes(8))),
    (Refusal.NOT_FINITE, a_file({"x": an_entry()}, NAN)),
    (Refusal.NOT_FINITE, a_file({"x": an_entry()}, struct.pack("<ff", float("-inf"), 0.0))),
    (Refusal.NOT_FINITE, a_file({"x": an_entry(0, 4, dtype="F16")}, struct.pack("<ee", 0.0, float("inf")))),
]
LISTINGS = [
    (Refusal.MISSING_TENSOR, {"0.weight": WEIGHT}),
    (Refusal.UNLISTED_TENSOR, GOOD | {"extra": WEIGHT}),
    (Refusal.OTHER_DTYPE, GOOD | {"0.bias": OFFSET.astype(np.float32)}),
    (Refusal.OTHER_SHAPE, GOOD | {"0.weight": WEIGHT.T.copy()}),
]


@pytest.mark.parametrize(("refusal", "content"), CASES)
def test_invalid_file(refusal, content):
    assert refusal_of(content) is refusal


@pytest.mark.parametrize(("refusal", "tensors"), LISTINGS)
def test_invalid_against_the_listing(refusal, tensors):
    assert refusal_of(safetensors.numpy.save(tensors), LISTED) is refusal


def test_invalid_size_of_file():
    assert refusal_of(FILE, most_bytes=len(FILE) - 1) is Refusal.FILE_TOO_LARGE
    assert read_foreign_model(FILE, LISTED, most_bytes=len(FILE))


def test_every_reason_to_refuse_has_its_case():
    tried = {refusal for refusal, _ in CASES + LISTINGS} | {Refusal.FILE_TOO_LARGE}
    assert tried == set(Refusal)


def test_a_refusal_is_the_users_error_and_says_why():
    with pytest.raises(UserError, match=r"model file refused: bytes after the last tensor .*\(1 bytes\)"):
        read_foreign_model(FILE + b"\x00", LISTED)


# ---- whatever the bytes are

names = st.text(max_size=4) | st.just("__metadata__")
numbers = st.integers(-2, 40) | st.sampled_from([2**31, 2**63, 2**64, 10**30, 1.5, True, None, "4"])
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I32", "F64", "BOOL", "", 3, None]),
        "shape": st.lists(numbers, max_size=3) | numbers,
        "data_offsets": st.lists(numbers, min_size=1, max_size=3) | numbers,
    }
)


@settings(deadline=None)
@given(
    st.dictionaries(names, entries | numbers | st.lists(numbers, max_size=2), max_size=4),
    st.binary(max_size=48),
)
def test_any_header_over_any_bytes(header, data):
    the_same_or_refused(a_file(header, data))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["F32", "F16", "I32"]), st.integers(0, 5), st.integers(-1, 1)), max_size=4
    ),
    st.permutations(range(4)),
    st.binary(max_size=4),
)
def test_headers_that_are_nearly_right(tensors, order, more):
    """Shapes and offsets that fit but for at most one place each, in any order."""
    header, position = {}, 0
    for number, (dtype, count, shift) in enumerate(tensors):
        end = position + count * (2 if dtype == "F16" else 4)
        header[f"t{number}"] = an_entry(position + shift * (number == 2), end, (count,), dtype)
        position = end
    shuffled = {name: header[name] for k in order if (name := f"t{k}") in header}
    the_same_or_refused(a_file(shuffled, bytes(position) + more))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(FILE)),
    st.binary(max_size=9),
)
def test_a_good_file_with_bytes_changed_cut_out_and_put_in(changes, cut, more):
    content = bytearray(FILE)
    for place, value in changes:
        content[place] = value
    the_same_or_refused(bytes(content))
    the_same_or_refused(bytes(content[:cut]) + more)
    the_same_or_refused(bytes(content[:cut]) + more + bytes(content[cut:]))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(content):
    the_same_or_refused(content)


def peak_of(content):
    tracemalloc.start()
    try:
        the_same = read_foreign_model(content, None)
        del the_same
    except ForeignModelError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_a_good_file_takes_its_own_size_once_and_little_more():
    content = safetensors.numpy.save({"x": np.ones(2_000_000, dtype=np.float32)})
    assert peak_of(content) < 1.1 * len(content)


@pytest.mark.parametrize(
    "content",
    [
        a_file({"x": an_entry(0, 2**60, (2**58,))}, bytes(64)),
        a_file({"x": an_entry(0, 2**40, (2**19, 2**19))}, bytes(64)),
        a_file({"x": an_entry()}, bytes(8), length=2**50),
        a_file('{"x":[' + "[]," * (MOST_HEADER // 3 - 10) + "[]]}"),
        a_file({f"{k}": an_entry(0, 0, (0,)) for k in range(3000)}),
        a_file('{"x":[' + "1," * (MOST_HEADER // 2 - 10) + "1]}"),
        a_file('{"x":"' + "\\u1234" * (MOST_HEADER // 6 - 10) + '"}'),
    ],
)
def test_what_a_header_claims_is_never_allocated(content):
    assert peak_of(content) < 2**16 + 50 * len(content)

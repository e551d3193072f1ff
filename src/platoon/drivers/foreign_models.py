"""Reading a stranger's model file: a safetensors file that a seller sent, of which nothing is believed.

The header is parsed here, before a tensor exists, against limits and against what the listing says; only then does
the safetensors library load it. Whatever the bytes are, the answer is a model or a ``ForeignModelError`` with its
``Refusal``. Memory: the file, its tensors once, and some tens of times the header, which ``MOST_HEADER`` bounds.

The format (github.com/huggingface/safetensors): 8 bytes, the header's length, little-endian; the header, a JSON
object {name: {"dtype", "shape", "data_offsets": [begin, end]}}, which may be padded with spaces; the data, in which
the tensors lie without gaps. Stricter than the format: the header names tensors in the order in which they lie (as
the library writes them), and dtypes other than those of ``ITEM_BYTES`` are refused.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from platoon.errors import UserError
from platoon.learning.aggregation import dequantise
from platoon.nouns import Weights

MOST_BYTES: Final = 256 * 2**20
"""Largest file that is looked at unless the caller says otherwise."""
MOST_HEADER: Final = 2**18
"""Longest header, bytes."""
MOST_TENSORS: Final = 1024
MOST_BRACKETS: Final = 4 * MOST_TENSORS
"""Objects and lists of a header: a tensor has three. Libraries raise Python's limit on recursion, so that it protects
nobody from a header that is nothing but brackets."""
MOST_DIMENSIONS: Final = 8
MOST_NAME: Final = 256
"""Characters of a tensor's name."""
LENGTH_BYTES: Final = 8
ITEM_BYTES: Final = {"F32": 4, "F16": 2, "I32": 4}
"""Bytes of one value of each dtype that may be sold."""
NUMPY: Final = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I32": np.dtype("<i4")}
METADATA: Final = "__metadata__"
PICKLED: Final = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
"""How files begin that ``torch.save`` and ``pickle`` write: reading one runs the seller's code."""

Tensors = dict[str, NDArray[Any]]


class Refusal(Enum):
    """Why a stranger's model file is not read."""

    FILE_TOO_LARGE = "the file is larger than allowed"
    NOT_SAFETENSORS = "not a safetensors file"
    PICKLED = "a pickled file, which would run the seller's code"
    HEADER_BEYOND_FILE = "the header is longer than the file"
    HEADER_TOO_LONG = "the header is longer than allowed"
    HEADER_NOT_JSON = "the header is not JSON"
    HEADER_NOT_AN_OBJECT = "the header is not a JSON object"
    DUPLICATE_NAME = "the header has a name twice"
    BAD_METADATA = "the metadata are not texts"
    NO_TENSORS = "there is no tensor"
    TOO_MANY_TENSORS = "there are more tensors than allowed"
    BAD_NAME = "a tensor's name is too long"
    BAD_ENTRY = "a tensor's entry is not exactly dtype, shape and data_offsets"
    UNKNOWN_DTYPE = "a dtype that may not be sold"
    BAD_SHAPE = "a shape is not a list of a few whole numbers from 0"
    SHAPE_TOO_LARGE = "a shape holds more values than the file could"
    BAD_OFFSETS = "offsets are not two whole numbers from 0, the second not below the first"
    OFFSETS_BEYOND_FILE = "offsets point beyond the file"
    OFFSETS_OVERLAP = "two tensors overlap"
    OFFSETS_GAP = "bytes between tensors belong to none"
    OFFSETS_OUT_OF_ORDER = "the header names tensors in another order than they lie"
    SIZE_MISMATCH = "a shape does not match its bytes"
    TRAILING_BYTES = "bytes after the last tensor belong to none"
    MISSING_TENSOR = "a tensor of the listing is missing"
    UNLISTED_TENSOR = "a tensor is not in the listing"
    OTHER_DTYPE = "a tensor has another dtype than in the listing"
    OTHER_SHAPE = "a tensor has another shape than in the listing"
    LIBRARY_REFUSED = "the safetensors library refuses it"
    NOT_FINITE = "a tensor holds NaN or infinite values"


class ForeignModelError(UserError):
    """A stranger's model file is refused, for one ``Refusal``."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        self.refusal = refusal
        """The reason, for whoever counts or punishes."""
        super().__init__(f"model file refused: {refusal.value}" + (f" ({detail})" if detail else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShape:
    """One tensor as a listing or a header describes it."""

    name: str
    dtype: str
    """A key of ``ITEM_BYTES``."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a listing says of its model's file."""

    tensors: tuple[TensorShape, ...]
    """In the order in which ``flatten`` strings them together."""


def read_foreign_model(
    content: bytes, expected: ModelShape | None, *, most_bytes: int = MOST_BYTES
) -> Tensors:
    """The tensors of a stranger's file by name.

    ``expected``: what the listing says; None: any names and shapes within the limits.

    Raises:
        ForeignModelError: for whatever is wrong with the file, and nothing else.
    """
    described = read_header(content, most_bytes=most_bytes)
    if expected is not None:
        _check_listing(described, expected)
    try:
        tensors: Tensors = load(content)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ForeignModelError(Refusal.LIBRARY_REFUSED, _short(str(error))) from None
    _check_loaded(tensors, described)
    return tensors


def read_header(content: bytes, *, most_bytes: int = MOST_BYTES) -> ModelShape:
    """What a file says of itself, checked against its own bytes; no tensor is made.

    Raises:
        ForeignModelError: as ``read_foreign_model``.
    """
    if len(content) > most_bytes:
        raise ForeignModelError(Refusal.FILE_TOO_LARGE, f"{len(content)} bytes; allowed: {most_bytes}")
    start = _find_data(content)
    header = _parse(content[LENGTH_BYTES:start])
    _check_metadata(header.pop(METADATA, {}))
    if not header:
        raise ForeignModelError(Refusal.NO_TENSORS)
    if len(header) > MOST_TENSORS:
        raise ForeignModelError(Refusal.TOO_MANY_TENSORS, f"{len(header)}; allowed: {MOST_TENSORS}")
    size = len(content) - start
    described, spans = [], []
    for name, entry in header.items():
        tensor, span = _read_entry(name, entry, size)
        described.append(tensor)
        spans.append(span)
    _check_spans(spans, size)
    return ModelShape(tensors=tuple(described))


def flatten(tensors: Mapping[str, NDArray[Any]], expected: ModelShape) -> Weights:
    """Flat weights (D,): the listing's tensors in its order, rows first; int32 are fixed point, units of 2^-24.

    Raises:
        ForeignModelError: a tensor is missing.
    """
    parts = []
    for tensor in expected.tensors:
        if tensor.name not in tensors:
            raise ForeignModelError(Refusal.MISSING_TENSOR, _short(tensor.name))
        values = tensors[tensor.name].reshape(-1)
        parts.append(dequantise(values) if values.dtype == np.int32 else values.astype(np.float32))
    return np.concatenate(parts)


def _find_data(content: bytes) -> int:
    """Where the data begin: the header's length is checked before its bytes are looked at."""
    body = content[LENGTH_BYTES : LENGTH_BYTES + 1]
    if body != b"{" and content.startswith(
        PICKLED
    ):  # a header of 640 bytes begins as a pickle does, but has "{"
        raise ForeignModelError(Refusal.PICKLED)
    if len(content) <= LENGTH_BYTES:
        raise ForeignModelError(Refusal.NOT_SAFETENSORS, f"{len(content)} bytes")
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if length > len(content) - LENGTH_BYTES:
        detail = f"{length} bytes of {len(content)}; another format, or cut off"
        raise ForeignModelError(Refusal.HEADER_BEYOND_FILE, detail)
    if length > MOST_HEADER:
        raise ForeignModelError(Refusal.HEADER_TOO_LONG, f"{length} bytes; allowed: {MOST_HEADER}")
    return LENGTH_BYTES + length


def _parse(header: bytes) -> dict[str, Any]:
    if header.count(b"[") + header.count(b"{") > MOST_BRACKETS:  # the parser must not run out of its stack
        raise ForeignModelError(Refusal.HEADER_NOT_JSON, "nested too deeply")
    try:
        parsed = json.loads(
            header.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise ForeignModelError(Refusal.HEADER_NOT_JSON, _short(str(error))) from None
    if not isinstance(parsed, dict):
        raise ForeignModelError(Refusal.HEADER_NOT_AN_OBJECT)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON allows a name twice and readers differ on which counts: two parties would see two models."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ForeignModelError(Refusal.DUPLICATE_NAME, _short(name))
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ForeignModelError(Refusal.BAD_METADATA)


def _read_entry(name: str, entry: Any, size: int) -> tuple[TensorShape, tuple[int, int]]:
    """One tensor and where it lies in the ``size`` bytes of data."""
    if not 0 < len(name) <= MOST_NAME:
        raise ForeignModelError(Refusal.BAD_NAME, f"{len(name)} characters; allowed: 1 to {MOST_NAME}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ForeignModelError(Refusal.BAD_ENTRY, _short(name))
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        shown = _short(dtype) if isinstance(dtype, str) else type(dtype).__name__
        raise ForeignModelError(Refusal.UNKNOWN_DTYPE, f"{shown}; allowed: {', '.join(ITEM_BYTES)}")
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise ForeignModelError(Refusal.BAD_SHAPE, _short(name))
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        raise ForeignModelError(Refusal.BAD_OFFSETS, _short(name))
    if max(shape, default=0) > size or (values := math.prod(shape)) * ITEM_BYTES[dtype] > size:
        raise ForeignModelError(Refusal.SHAPE_TOO_LARGE, f"{_short(name)}; the data have {size} bytes")
    if offsets[1] > size:
        raise ForeignModelError(Refusal.OFFSETS_BEYOND_FILE, f"{_short(name)}; the data have {size} bytes")
    if values * ITEM_BYTES[dtype] != offsets[1] - offsets[0]:
        detail = f"{_short(name)}: {values} values of {dtype} in {offsets[1] - offsets[0]} bytes"
        raise ForeignModelError(Refusal.SIZE_MISMATCH, detail)
    return TensorShape(name=name, dtype=dtype, shape=tuple(shape)), (offsets[0], offsets[1])


def _are_counts(values: Any) -> bool:
    """A list of whole numbers from 0; true and 1.0 are none."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_spans(spans: list[tuple[int, int]], size: int) -> None:
    """Every byte of the data belongs to one tensor, in the header's order."""
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ForeignModelError(Refusal.OFFSETS_GAP if begin > position else Refusal.OFFSETS_OVERLAP)
        position = end
    if spans != sorted(spans):
        raise ForeignModelError(Refusal.OFFSETS_OUT_OF_ORDER)
    if position != size:
        raise ForeignModelError(Refusal.TRAILING_BYTES, f"{size - position} bytes")


def _check_listing(described: ModelShape, expected: ModelShape) -> None:
    found = {tensor.name: tensor for tensor in described.tensors}
    listed = {tensor.name: tensor for tensor in expected.tensors}
    for name in listed:
        if name not in found:
            raise ForeignModelError(Refusal.MISSING_TENSOR, _short(name))
    for name, tensor in found.items():
        if name not in listed:
            raise ForeignModelError(Refusal.UNLISTED_TENSOR, _short(name))
        if tensor.dtype != listed[name].dtype:
            detail = f"{_short(name)}: {tensor.dtype}; listed: {listed[name].dtype}"
            raise ForeignModelError(Refusal.OTHER_DTYPE, detail)
        if tensor.shape != listed[name].shape:
            detail = f"{_short(name)}: {tensor.shape}; listed: {listed[name].shape}"
            raise ForeignModelError(Refusal.OTHER_SHAPE, detail)


def _check_loaded(tensors: Tensors, described: ModelShape) -> None:
    """The library read what the header says, and every value is a number."""
    for tensor in described.tensors:
        values = tensors.get(tensor.name)
        if values is None or values.shape != tensor.shape or values.dtype != NUMPY[tensor.dtype]:
            raise ForeignModelError(Refusal.LIBRARY_REFUSED, f"{_short(tensor.name)} is read otherwise")
        # least and largest are NaN where a value is, and need no memory
        if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
            raise ForeignModelError(Refusal.NOT_FINITE, _short(tensor.name))


def _short(text: str) -> str:
    """What a stranger wrote, fit for a line on a terminal: ASCII, 80 characters at most."""
    shown = ascii(text[:80])
    return shown if len(shown) <= 80 else shown[:77] + "..."

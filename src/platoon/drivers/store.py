"""Models and updates as safetensors files named by their SHA-256: content-addressed, so nothing is ever
overwritten, and a changed byte is found by reading the file. On the ledger stands the digest alone."""

import hashlib
import os
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.numpy import load, save

from platoon.errors import VerificationError
from platoon.nouns import Digest, FixedPoint

TENSOR = "fixed_point"
"""The single tensor of a file: int32 (D,), parameters times 2^24."""
SUFFIX = ".safetensors"


def encode(values: FixedPoint) -> bytes:
    """The file of one flat fixed-point vector; the same vector always gives the same bytes."""
    return save({TENSOR: np.ascontiguousarray(values, dtype=np.int32)})


def digest_of(content: bytes) -> Digest:
    """SHA-256 of a file's content."""
    return Digest(hashlib.sha256(content).digest())


class ModelStore:
    """A folder (or any ``fsspec`` location) of models and updates.

    >>> store = ModelStore("memory://doctest")
    >>> digest = store.put(np.array([1, 2, 3], dtype=np.int32))
    >>> store.get(digest).tolist()
    [1, 2, 3]
    """

    def __init__(self, location: str | Path, remember: int = 0) -> None:
        """A folder (``Path``) or an fsspec URL; made when the first vector is put.

        ``remember``: how many of the latest vectors stay in memory. A verifier remembers none.
        """
        if isinstance(location, Path):  # a path is a path, whatever characters are in it
            self._files, self._root = LocalFileSystem(), location.absolute().as_posix()
        else:
            self._files, self._root = fsspec.core.url_to_fs(location)
        self._latest: OrderedDict[Digest, FixedPoint] = OrderedDict()
        self._remember = remember

    def put(self, values: FixedPoint) -> Digest:
        """Store a vector (D,); returns its digest. A crash leaves either the whole file or none."""
        content = encode(values)
        digest = digest_of(content)
        path = self._path(digest)
        if not self._files.exists(path):
            self._files.makedirs(self._root, exist_ok=True)
            passing = f"{self._root}/.{uuid.uuid4().hex}"
            self._files.pipe_file(passing, content)
            self._files.mv(passing, path)
        self._keep(digest, values)
        return digest

    def _keep(self, digest: Digest, values: FixedPoint) -> None:
        if self._remember:
            kept = np.array(values, dtype=np.int32)
            kept.setflags(write=False)
            self._latest[digest] = kept
            while len(self._latest) > self._remember:
                self._latest.popitem(last=False)

    def get(self, digest: Digest) -> FixedPoint:
        """Read a vector (D,) and check it against its digest.

        Raises:
            VerificationError: the file is missing, was changed, or holds something else.
        """
        if digest in self._latest:
            return self._latest[digest]
        name = f"models/{digest.hex()}{SUFFIX}"
        try:
            content = self._files.cat_file(self._path(digest))
        except FileNotFoundError:
            raise VerificationError(f"{name}: missing") from None
        except OSError as error:
            raise VerificationError(f"{name}: cannot be read ({error})") from None
        if digest_of(content) != digest:
            raise VerificationError(f"{name}: its content has another SHA-256, the file was changed")
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise VerificationError(f"{name}: not a safetensors file ({error})") from None
        values = tensors.get(TENSOR)
        if list(tensors) != [TENSOR] or values is None or values.dtype != np.int32 or values.ndim != 1:
            raise VerificationError(f"{name}: does not hold one flat int32 tensor '{TENSOR}'")
        return values

    def digest(self, values: FixedPoint) -> Digest:
        """The digest that a vector would be stored under."""
        return digest_of(encode(values))

    def read(self, name: str) -> bytes:
        """The content of a file, unchecked."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
        except OSError as error:
            raise VerificationError(f"models/{name}: cannot be read ({error})") from None
        return content

    def tidy(self) -> None:
        """Remove what an interrupted ``put`` left."""
        for name in list(self.names()):
            if name.startswith("."):
                self._files.rm_file(f"{self._root}/{name}")

    def names(self) -> Iterator[str]:
        """Names of all files, in any order; of a folder of this machine one at a time, however many there are."""
        if not self._files.isdir(self._root):
            raise VerificationError("models: the folder is missing")
        if isinstance(self._files, LocalFileSystem):
            with os.scandir(self._root) as entries:
                yield from (entry.name for entry in entries)
        else:
            yield from (path.rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False))

    def _path(self, digest: Digest) -> str:
        return f"{self._root}/{digest.hex()}{SUFFIX}"

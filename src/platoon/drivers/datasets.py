"""Image data sets: found in a folder, fetched from where they are published, checked, kept ready for mapping.

A data set is four arrays. Wherever it comes from (its own home, a package registry, a folder that the user
has), the SHA-256 over the arrays in the official order must be the one below. They are kept as plain ``.npy``
files in the user's cache, which every process maps instead of copying.

Formats: MNIST's idx files and comma-separated rows, CIFAR-10's binary batches and one image per PNG row, GTSRB
as a lossless mosaic of WebP pictures (2,500 signs of 32 x 32 in rows of 50).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.drivers import dataset_sources as sources
from platoon.errors import UserError
from platoon.nouns import Ints
from platoon.scenario import did_you_mean

PARTS: Final = ("train_images", "train_labels", "test_images", "test_labels", "train_groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageData:
    """A data set in memory, or mapped from files."""

    name: str
    classes: int
    train_images: NDArray[np.uint8]
    """(n, height, width, channels)"""
    train_labels: Ints
    """(n,)"""
    test_images: NDArray[np.uint8]
    test_labels: Ints
    train_groups: Ints
    """(n,) images of one group show one object, so they must not be spread over sets that have to be
    independent (GTSRB: the 30 frames of one physical sign); elsewhere every image is its own group."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of an image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of a data set without having it."""

    title: str
    classes: int
    images: int
    """Training and test images together."""
    licence: str
    sha256: str
    """Over the arrays ``PARTS`` in this order, each as C-ordered little-endian bytes."""
    readers: Mapping[str, Callable[[Path], sources.Arrays]]
    """Files that the data may lie in inside a folder of the user's, and how each is read."""
    fetchers: tuple[sources.Fetcher, ...]
    """Where it can be fetched, in the order to try; none: it cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """A row of ``platoon data list``."""

    name: str
    images: int
    classes: int
    licence: str
    found: str | None
    """Where it lies, or None."""


DATASETS: Final[dict[str, Description]] = {
    "mnist": Description(
        title="MNIST, handwritten digits, 28 x 28",
        classes=10,
        images=70_000,
        licence="LeCun, Cortes, Burges; often given as CC BY-SA 3.0",
        sha256="d140e6e99b4f624dffbd43032e75a84703e3fbc2d9280fed82aae5629172f9be",
        readers={"mnist/mnist.npz": sources.read_npz, "mnist.npz": sources.read_npz},
        fetchers=sources.MNIST,
    ),
    "cifar10": Description(
        title="CIFAR-10, ten kinds of objects, 32 x 32, colour",
        classes=10,
        images=60_000,
        licence="Krizhevsky 2009; no licence stated, published for research",
        sha256="28bb768184e2cf452d77216eca6de74c85f398cb12f4772606785462eff48b22",
        readers={"cifar10/cifar10.npz": sources.read_npz, "cifar10.npz": sources.read_npz},
        fetchers=sources.CIFAR10,
    ),
    "gtsrb": Description(
        title="GTSRB, German traffic signs, 32 x 32, colour",
        classes=43,
        images=51_839,
        licence="Stallkamp et al. 2012, INI Bochum; no licence text, free for research with citation",
        sha256="82e9d35904131e6592386bb9976e5a7e6942699842fab58702fa53ed606d50a7",
        readers={
            "gtsrb/gtsrb_32x32_webp.npz": sources.read_webp_mosaics,
            "gtsrb_32x32_webp.npz": sources.read_webp_mosaics,
        },
        fetchers=(),
    ),
}


def load(name: str, folder: str | Path | None = None) -> ImageData:
    """A data set, mapped from the user's cache.

    What the cache lacks is looked for in ``folder`` or, without one, in the folder that PLATOON_DATA names. It is
    checked and kept in the cache, because packed files cannot be mapped; the checked content is the same wherever
    it comes from, so a cache that is complete needs no folder.

    Raises:
        UserError: it is not there, or not what it should be; the message says what to do.
    """
    description = describe(name)
    place = folder if folder is not None else os.environ.get("PLATOON_DATA")
    cached = _cache() / name
    if not _is_complete(cached):
        found = _find(description, place)
        if found is None:
            raise UserError(_missing(name, place))
        path, read = found
        try:
            arrays = read(path)
        except sources.UNREADABLE as error:
            raise UserError(f"{path}: cannot be read as {name} ({error})") from None
        _keep(name, arrays, source=str(path))
    return _open(name)


def get(name: str, progress: sources.Progress) -> Path:
    """Fetch a data set into the cache, unless it is there; returns its folder in the cache.

    Raises:
        UserError: no source could deliver it; the message gives every reason.
    """
    description = describe(name)
    target = _cache() / name
    if _is_complete(target):
        progress(f"{name} is in {target}")
        return target
    if (found := _find(description, os.environ.get("PLATOON_DATA"))) is not None:
        progress(f"reading {found[0]}")
        load(name)
        return target
    failures = []
    for fetcher in description.fetchers:
        progress(f"{name}: trying {fetcher.title}")
        with tempfile.TemporaryDirectory(prefix="platoon-") as scratch:
            try:
                _keep(name, fetcher.fetch(Path(scratch), progress), source=fetcher.title)
            except (sources.SourceError, UserError, *sources.UNREADABLE) as error:
                failures.append(f"{fetcher.title}: {error}")
                continue
        progress(f"{name}: checked, kept in {target}")
        return target
    reasons = "; ".join(failures) or _by_hand(name)
    raise UserError(f"{name} could not be fetched ({reasons})")


def available() -> list[Availability]:
    """What ``platoon data list`` shows: every known data set and where it lies."""
    place = os.environ.get("PLATOON_DATA")
    rows = []
    for name, description in DATASETS.items():
        cached = _cache() / name
        found = _find(description, place)
        where = str(cached) if _is_complete(cached) else str(found[0]) if found else None
        rows.append(
            Availability(
                name=name,
                images=description.images,
                classes=description.classes,
                licence=description.licence,
                found=where,
            )
        )
    return rows


def describe(name: str) -> Description:
    """What is known of the data set of that name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DATASETS:
        raise UserError(f"{name!r}: no such data set; {did_you_mean(name, list(DATASETS))}")
    return DATASETS[name]


def content_digest(arrays: sources.Arrays) -> str:
    """SHA-256 (hex) over the arrays ``PARTS`` in order, each as C-ordered little-endian bytes."""
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(
            np.ascontiguousarray(arrays[part]).astype(arrays[part].dtype.newbyteorder("<")).tobytes()
        )
    return digest.hexdigest()


def _cache() -> Path:
    """The user's cache; read when called, never at import."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "platoon" / "data"


def _is_complete(folder: Path) -> bool:
    return all((folder / f"{part}.npy").is_file() for part in PARTS)


def _find(
    description: Description, folder: str | Path | None
) -> tuple[Path, Callable[[Path], sources.Arrays]] | None:
    """The first of the known files that lies in the folder, and its reader."""
    for relative, read in description.readers.items():
        if folder is not None and (path := Path(folder) / relative).is_file():
            return path, read
    return None


def _missing(name: str, place: str | Path | None) -> str:
    where = f"neither in {place} nor in" if place is not None else "not in"
    remedy = f"`platoon data get {name}` fetches it" if DATASETS[name].fetchers else _by_hand(name)
    return f"{name}: {where} {_cache()}; {remedy}"


def _by_hand(name: str) -> str:
    file = next(iter(DATASETS[name].readers))
    return f"no public package has it: put {file} into the folder that PLATOON_DATA names"


def _keep(name: str, arrays: sources.Arrays, source: str) -> None:
    """Check the content and move it into the cache in one step: a crash leaves all of it or nothing.

    Raises:
        UserError: the content is not the data set's, or the cache cannot be written.
    """
    if (digest := content_digest(arrays)) != (expected := DATASETS[name].sha256):
        raise UserError(f"{source}: the content's SHA-256 is {digest}, not {expected}")
    target = _cache() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        passing = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError as error:
        raise UserError(f"{target}: the cache cannot be written ({error}); set XDG_CACHE_HOME") from None
    try:
        for part in PARTS:
            np.save(passing / f"{part}.npy", arrays[part], allow_pickle=False)
        if target.exists() and not _is_complete(target):
            shutil.rmtree(target)
        if not target.exists():
            passing.rename(target)
    except OSError as error:
        if not _is_complete(target):  # another process may have been faster
            raise UserError(f"{target}: the cache cannot be written ({error}); set XDG_CACHE_HOME") from None
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def _open(name: str) -> ImageData:
    arrays = {part: np.load(_cache() / name / f"{part}.npy", mmap_mode="r") for part in PARTS}
    return ImageData(name=name, classes=DATASETS[name].classes, **arrays)

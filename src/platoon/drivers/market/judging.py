"""Judging at the edge server: models in custody, run on a buyer's labelled images. Only scores leave.

And what a seller needs to list a model of platoon's own: its description, from a run's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from platoon.drivers import datasets
from platoon.drivers.foreign_models import flatten, read_foreign_model, read_header
from platoon.drivers.market.checks import digest_tensors, require_listed
from platoon.drivers.market.desk import Desk
from platoon.drivers.run_directory import RunDirectory
from platoon.errors import UserError
from platoon.learning.domains import sketch_domain
from platoon.learning.evaluation import count_correct
from platoon.learning.images import Images
from platoon.learning.judging import Candidate, Ranking, judge_models, observe, rank_candidates
from platoon.learning.models import MODELS, FlatModel
from platoon.learning.sellers import SellerValues, value_sellers
from platoon.nouns import MILLION, Floats, Ints, Weights, to_ppm
from platoon.records.listings import Description, Listing
from platoon.rng import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A buyer's own images."""

    images: Images
    """(n, height, width, channels)"""
    labels: Ints
    """(n,) positions in ``names``."""
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What judging has found."""

    ranking: Ranking
    values: dict[int, float]
    """Shapley value by listing, in accuracy, of those with the buyer's labels."""
    refused: dict[int, str]
    """Listings that cannot be judged here, and why."""


def read_labelled(path: Path) -> Labelled:
    """A ``.npz`` file with ``images`` (n, height, width[, channels]) of bytes, ``labels`` (n,) and, if the labels
    are not their own names, ``names``.

    Raises:
        UserError: no such file, or other contents.
    """
    try:
        with np.load(path, allow_pickle=False) as table:
            images, labels = table["images"], table["labels"]
            names = tuple(map(str, table["names"])) if "names" in table else ()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, AttributeError, TypeError) as error:
        raise UserError(f"{path}: allowed: an .npz file with images and labels ({error})") from None
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1] or len(labels) == 0:
        raise UserError(f"{path}: allowed: images (n, height, width[, channels]) of bytes, and n labels")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise UserError(f"{path}: allowed: labels that are numbers from 0")
    names = names or tuple(map(str, range(int(labels.max()) + 1)))
    if labels.max() >= len(names):
        raise UserError(f"{path}: label {labels.max()} has no name; there are {len(names)}")
    return Labelled(images=images, labels=labels.astype(np.int64), names=names)


def draw_labelled(name: str, samples: int, seed: int) -> Labelled:
    """Test images of a data set that platoon knows, as a buyer would have them; raises ``UserError``."""
    data = datasets.load(name)
    if not 1 <= samples <= len(data.test_labels):
        raise UserError(f"{samples} samples of {name}; allowed: 1 to {len(data.test_labels)}")
    chosen = stream(seed, "labelled by a buyer").choice(len(data.test_labels), samples, replace=False)
    names = tuple(map(str, range(data.classes)))
    return Labelled(
        images=np.asarray(data.test_images[chosen]), labels=np.asarray(data.test_labels[chosen]), names=names
    )


def judge_listings(desk: Desk, numbers: Sequence[int], own: Labelled) -> Verdict:
    """Scores of listed models on a buyer's images, and what each adds to the others.

    Raises:
        UserError: no such listing.
    """
    candidates, ensemble, refused = [], [], {}
    for number in numbers:
        listing = desk.find_listing(number).listing
        try:
            model, weights = _load(desk.open_custody(number), listing)
            seen = observe(model, weights, _fit(own.images, listing))
            same = listing.description.labels == own.names
            candidates.append(
                Candidate(
                    name=str(number),
                    outputs=seen.probabilities,
                    features=seen.features,
                    same_labels=same,
                )
            )
            if same:
                ensemble.append((number, seen.probabilities))
        except (UserError, ValueError) as error:
            refused[number] = str(error)
    ranking = rank_candidates(judge_models(candidates, own.labels))
    values = _value(ensemble, own.labels)
    shares = (
        {} if values is None else dict(zip([n for n, _ in ensemble], map(float, values.values), strict=True))
    )
    return Verdict(ranking=ranking, values=shares, refused=refused)


def _value(ensemble: Sequence[tuple[int, Floats]], labels: Ints) -> SellerValues | None:
    if not ensemble:
        return None
    return value_sellers(np.stack([table for _, table in ensemble]), labels, stream(0, "orders of sellers"))


def measure_accuracy(content: bytes, listing: Listing, own: Labelled) -> int:
    """Accuracy of a bought model on the buyer's images, ppm.

    Raises:
        UserError: the model has another label space or input than the images.
    """
    if listing.description.labels != own.names:
        raise UserError(
            "the model's labels are not those of the images; measure it yourself and use --accuracy"
        )
    model, weights = _load(content, listing)
    correct = count_correct(model, weights, _fit(own.images, listing), own.labels)
    return to_ppm(int(correct.sum()) / len(own.labels))


def _load(content: bytes, listing: Listing) -> tuple[FlatModel, Weights]:
    said = listing.description
    if said.architecture not in MODELS or len(said.inputs) != 3:
        raise UserError(f"{said.architecture!r} cannot be run here; known: {', '.join(MODELS)}")
    height, width, channels = said.inputs
    tensors = require_listed(content, listing)
    model = FlatModel(said.architecture, (height, width, channels), len(said.labels))
    if model.size != said.parameters:
        raise UserError(
            f"{said.parameters} parameters; {said.architecture} with {len(said.labels)} labels has {model.size}"
        )
    return model, flatten(tensors, read_header(content))


def _fit(images: Images, listing: Listing) -> Images:
    if images.shape[1:] != listing.description.inputs:
        raise UserError(f"the model takes {listing.description.inputs}, the images are {images.shape[1:]}")
    return images


# ---- listing what platoon has trained -----------------------------------------------------------------------


def describe_run(
    path: Path, *, task: str, usage: str, requirement: str, place: tuple[int, int] | None
) -> tuple[bytes, Description]:
    """The final model of a run, and what its seller says of it.

    Raises:
        UserError: no run, or one that has not ended.
    """
    directory = RunDirectory.open(path)
    summary, scenario = directory.summary, directory.scenario
    if summary is None or not summary.get("model_digest"):
        raise UserError(f"{path}: the run has not ended; `platoon resume {path}` ends it")
    try:
        content = (directory.models / f"{summary['model_digest']}.safetensors").read_bytes()
    except OSError as error:
        raise UserError(f"{path}: its final model cannot be read ({error.strerror})") from None
    data = datasets.load(scenario.task.data)
    tensors = read_foreign_model(content, None)
    return content, Description(
        task=task,
        labels=tuple(map(str, range(data.classes))),
        accuracy=round(summary["final_accuracy"] * MILLION),
        architecture=scenario.task.model,
        inputs=data.shape,
        parameters=sum(values.size for values in tensors.values()),
        tensors=digest_tensors(tensors),
        usage=usage,
        requirement=requirement,
        place=place,
        domain=sketch_domain(np.asarray(data.train_images[:2000])),
    )

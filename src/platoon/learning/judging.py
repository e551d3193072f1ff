"""Judging models before they are bought: sellers' models meet a buyer's few labelled images at the edge server.

What leaves is a ``Judgement``: numbers, and what to beware of. Neither weights nor outputs do; from enough
outputs and features a last layer could be solved for. Which score to go by was measured by ``bench/judging.py``;
docs/market/judging.md has the table.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from platoon.learning import transferability
from platoon.learning.images import Images
from platoon.learning.models import FlatModel, to_input, to_pixels
from platoon.nouns import Floats, Ints, Weights

FEW: Final = 50
"""Samples below which LogME misleads, and from which on an order is given without a warning."""
CERTAINTY: Final = 1.959963984540054
"""Standard deviations on either side that an interval covers: 95 %."""
TOGETHER: Final = 500
"""Images per forward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one model says about n images. It stays at the edge server."""

    probabilities: Floats
    """(n, source classes), rows sum to 1."""
    features: Floats
    """(n, d) what the last layer sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model on offer, as arrays over the buyer's n labelled images."""

    name: str
    outputs: Floats
    """(n, source classes) probabilities."""
    features: Floats | None
    """(n, d), or None where the seller lets nobody see them."""
    same_labels: bool
    """Class k of the model is class k of the buyer's task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known of a model before it is bought. Every score is better where it is larger."""

    name: str
    samples: int
    """Labelled images that it was judged on."""
    same_labels: bool
    accuracy: float | None
    """Zero-shot, [0, 1]; None for another label space."""
    interval: tuple[float, float] | None
    """Wilson's 95 % interval of that accuracy."""
    negative_conditional_entropy: float
    """Nats, at most 0."""
    leep: float
    """Nats, at most 0."""
    log_me: float | None
    """Log evidence per sample; None without features, as the three below."""
    h_score: float | None
    shrunk_h_score: float | None
    leave_one_out_accuracy: float | None
    """[0, 1]: of a new last layer, each image judged by what was learned from the others."""
    cautions: tuple[str, ...]
    """What not to read out of these numbers, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Judgements in the order to consider them, best first. The groups are not comparable with each other."""

    same_labels: tuple[Judgement, ...]
    """By zero-shot accuracy, ties by NCE, then LEEP."""
    other_labels: tuple[Judgement, ...]
    """By what a new last layer reaches on left-out images, ties by the shrunk H-score, then LEEP."""
    unranked: tuple[Judgement, ...]
    """Those of another label space that show no features, as they came."""
    cautions: tuple[str, ...]


def observe(model: FlatModel, weights: Weights, images: Images) -> Observation:
    """Run a model (D,) on images (n, height, width, channels), on one thread; the network forgets it afterwards.

    Raises:
        ValueError: weights of another size or not finite, no images, or outputs that overflow.
    """
    if weights.shape != (model.size,) or not np.isfinite(weights).all():
        raise ValueError(f"weights: allowed: {model.size} finite numbers")
    if len(images) == 0:
        raise ValueError("images: none")
    model.load(weights)
    parts = []
    with one_thread(), torch.inference_mode():
        for start in range(0, len(images), TOGETHER):
            features = model.module[:-1](to_input(to_pixels(images[start : start + TOGETHER])))
            chances = torch.softmax(model.module[-1](features).double(), dim=1)
            parts.append((chances.numpy(), features.double().numpy()))
    model.weights.zero_()
    probabilities, seen = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if not (np.isfinite(probabilities).all() and np.isfinite(seen).all()):
        raise ValueError("weights: the network's outputs overflow")
    return Observation(probabilities=probabilities, features=seen)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: a judged model must not take the edge server's other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def judge_model(candidate: Candidate, labels: Ints) -> Judgement:
    """All scores of one candidate on the buyer's labels (n,).

    Raises:
        ValueError: as the scores of ``transferability``; the message begins with the candidate's name.
    """
    try:
        accuracy = None
        if candidate.same_labels:
            accuracy = transferability.zero_shot_accuracy(candidate.outputs, labels)
        features = candidate.features
        of_features = {
            name: None if features is None else transferability.SCORES[name](features, labels)
            for name in transferability.OF_FEATURES
        }
        return Judgement(
            name=candidate.name,
            samples=len(labels),
            same_labels=candidate.same_labels,
            accuracy=accuracy,
            interval=None
            if accuracy is None
            else wilson_interval(round(accuracy * len(labels)), len(labels)),
            negative_conditional_entropy=transferability.negative_conditional_entropy(
                candidate.outputs, labels
            ),
            leep=transferability.leep(candidate.outputs, labels),
            log_me=of_features["log_me"],
            h_score=of_features["h_score"],
            shrunk_h_score=of_features["shrunk_h_score"],
            leave_one_out_accuracy=of_features["leave_one_out_accuracy"],
            cautions=tuple(_cautions(candidate, labels)),
        )
    except ValueError as error:
        raise ValueError(f"{candidate.name}: {error}") from None


def judge_models(candidates: Sequence[Candidate], labels: Ints) -> tuple[Judgement, ...]:
    """Every candidate's judgement, in their order.

    Raises:
        ValueError: as ``judge_model``; or two candidates share a name.
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ValueError("candidates: two share a name")
    return tuple(judge_model(candidate, labels) for candidate in candidates)


def rank_candidates(judgements: Sequence[Judgement]) -> Ranking:
    """Which to consider first: by accuracy, in the buyer's label space as they are, else with a new last layer.

    Raises:
        ValueError: the judgements are of different numbers of samples.
    """
    if len({judgement.samples for judgement in judgements}) > 1:
        raise ValueError("judgements: on different numbers of samples; allowed: one labelled set for all")
    same = [judgement for judgement in judgements if judgement.same_labels]
    strangers = [judgement for judgement in judgements if not judgement.same_labels]
    other = [judgement for judgement in strangers if judgement.leave_one_out_accuracy is not None]
    unranked = tuple(judgement for judgement in strangers if judgement.leave_one_out_accuracy is None)
    same.sort(key=lambda j: (-(j.accuracy or 0.0), -j.negative_conditional_entropy, -j.leep, j.name))
    other.sort(
        key=lambda j: (-(j.leave_one_out_accuracy or 0.0), -(j.shrunk_h_score or 0.0), -j.leep, j.name)
    )
    return Ranking(
        same_labels=tuple(same),
        other_labels=tuple(other),
        unranked=unranked,
        cautions=tuple(_cautions_of_ranking(same, other, unranked)),
    )


def wilson_interval(right: int, samples: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share: where the true accuracy lies, also near 0 and 1.

    >>> [round(end, 3) for end in wilson_interval(9, 10)]
    [0.596, 0.982]

    Raises:
        ValueError: no samples, or a number right that is not among 0 .. samples.
    """
    if samples < 1 or not 0 <= right <= samples:
        raise ValueError(f"{right} of {samples} samples right; allowed: 0 to all, of one or more")
    square = CERTAINTY**2
    share = right / samples
    centre = (share + square / (2 * samples)) / (1 + square / samples)
    half = (CERTAINTY / (1 + square / samples)) * math.sqrt(
        share * (1 - share) / samples + square / (4 * samples**2)
    )
    return (
        0.0 if right == 0 else max(0.0, centre - half),
        1.0 if right == samples else min(1.0, centre + half),
    )


def _cautions(candidate: Candidate, labels: Ints) -> Iterator[str]:
    samples, classes = len(labels), len(np.unique(labels))
    if samples < FEW:
        yield f"{samples} samples: below {FEW} LogME may put the worst model first; do not go by it"
    if candidate.features is None:
        yield "no features: LogME, H-score and what a new last layer would reach are unknown"
    elif samples <= candidate.features.shape[1] + 1:
        yield (
            f"{samples} samples of {candidate.features.shape[1]} features: the plain H-score is the number of "
            "classes less one whatever the model is; read the shrunk one"
        )
    if samples < 10 * classes:
        yield f"{samples} samples of {classes} classes: some classes hang on a handful of images"
    if not candidate.same_labels:
        yield "another label space: of no use as it is; what is known is a new last layer's accuracy"


def _cautions_of_ranking(
    same: list[Judgement], other: list[Judgement], unranked: tuple[Judgement, ...]
) -> Iterator[str]:
    if len(same) > 1 and same[0].interval and same[1].interval and same[1].interval[1] > same[0].interval[0]:
        yield f"{same[0].name} before {same[1].name} may be chance: their 95 % intervals overlap"
    if len(same) > 1:
        yield f"the best of {len(same)} looks better than it is: its accuracy was picked on the same images"
    if same and other:
        yield "models of the buyer's label space and of others are ranked apart: no score compares them"
    for group in (same, other):
        if group and group[0].samples < FEW:
            yield f"{group[0].samples} samples: the order of {len(group)} models hangs on few images"
            break
    if unranked:
        names = ", ".join(judgement.name for judgement in unranked)
        yield f"not ranked: {names}; a model of another label space needs features to be ranked"

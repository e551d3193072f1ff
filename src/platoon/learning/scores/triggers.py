"""Has an update planted a backdoor? A search for the trigger, on the edge server's own images.

A backdoor's update improves the probes, so no score of its effect on clean images sees it. But it makes the
model answer to a small patch. Its effect is exaggerated (the model moves by several times the update), the
input gradients say where a patch would push all images towards a class, the patch is stamped on, and the share
of probability that it really moves is measured: near 1 for a planted trigger, whatever the image; an honest
update's best patch moves less. The search is that of Neural Cleanse (Wang et al. 2019) cut down to one step and
one square. The patch is not the attackers': its place, its colour and the class are found, only its size is
assumed, a seventh of the image's edge.

Once the model that was sent out answers to a trigger itself, an update that keeps the answer alive adds no
probability. So the model's own answers are looked for too (``find_answers``), and an update is asked by how much
it strengthens them in log-odds (``strengthen``): attackers do, honest updates of other images do not.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import ProbeModel
from platoon.learning.scores.rows import log_odds, softmax
from platoon.nouns import Floats, Ints, Weights

EXAGGERATIONS: Final = (8.0, 2.0)
"""How many times the update the model moves: one update alone plants little. An update of many classes breaks the
model if it is driven that far, and is driven less far too."""
FEW: Final = 3
"""Classes that a two-class vehicle's update moves, with a trigger's: driven far enough, its trigger shows best."""
EDGE: Final = 7
"""The patch's edge is the image's shorter edge over this."""
WORTH_A_SECOND_LOOK: Final = 0.4
"""From this effect on the patch is tried on the model that was sent out too: its weakness is not the update's."""
ANSWERS: Final = 0.3
"""From this effect on a model answers to a patch: what networks that nobody attacked showed lay below 0.26."""
NUDGE: Final = 2.0
"""How many times the update the model moves when it is asked whether that strengthens an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A patch to which a model answers with a class, whatever the image."""

    label: int
    """The class."""
    stamped: Images
    """The images with the patch on them (n, height, width, channels)."""


def find_answers(model: ProbeModel, weights: Weights, images: Images, labels: Ints) -> list[Answer]:
    """Of the best patch for each class those that a model (D,) answers to, on images (n, height, width, channels)
    with labels (n,)."""
    classes = np.arange(model.classes)
    gradients = model.input_gradients(weights, images, classes)
    stamped = [_stamp(images, *_best_patch(gradient, images)) for gradient in gradients]
    effects = _effects(model, weights, classes, stamped, images, labels)
    return [
        Answer(label=label, stamped=stamped[label]) for label in classes.tolist() if effects[label] >= ANSWERS
    ]


def strengthen(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, updates: Weights, answers: list[Answer], images: Images, labels: Ints
) -> Floats:
    """(K, A) by how much each update (K, D) strengthens each answer of a model (D,): the rise of the class's
    log-odds by the patch, on images of other classes, with ``NUDGE`` times the update over that without it.

    Log-odds, since a probability near 1 cannot rise: an update that keeps a trigger alive would not be seen.
    """
    candidates = np.concatenate([weights[None], weights + np.float32(NUDGE) * updates])
    together = np.concatenate([images, *[answer.stamped for answer in answers]])
    clean, *after = np.split(model.logits(candidates, together), len(answers) + 1, axis=1)
    rises = np.zeros((len(candidates), len(answers)))
    for column, (answer, logits) in enumerate(zip(answers, after, strict=True)):
        others = labels != answer.label
        if others.any():
            rise = log_odds(logits[:, others], answer.label) - log_odds(clean[:, others], answer.label)
            rises[:, column] = rise.mean(axis=1)
    strengthened: Floats = rises[1:] - rises[0]
    return strengthened


def find_trigger(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, update: Weights, wanted: Ints, images: Images, labels: Ints
) -> float:
    """The largest effect of a patch found after the update (D,) of a model (D,), in [-1, 1]: the mean rise of a
    wanted class's probability on images (n, height, width, channels) of other classes (labels (n,)).

    ``wanted`` (C',) are the classes that a trigger might stand for: those that the update moved.
    """
    exaggerations = EXAGGERATIONS[:1] if len(wanted) <= FEW else EXAGGERATIONS
    return max(
        _find_at(model, weights, factor * update, wanted, images, labels)
        for factor in map(np.float32, exaggerations)
    )


def _find_at(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, step: Weights, wanted: Ints, images: Images, labels: Ints
) -> float:
    """The same after one exaggerated step (D,)."""
    moved = (weights + step).astype(np.float32)
    gradients = model.input_gradients(moved, images, wanted)
    stamped = [_stamp(images, *_best_patch(gradient, images)) for gradient in gradients]
    effects = _effects(model, moved, wanted, stamped, images, labels)
    best = int(np.argmax(effects))
    if effects[best] < WORTH_A_SECOND_LOOK:
        return float(effects[best])
    before = _effects(model, weights, wanted[[best]], [stamped[best]], images, labels)
    return float(effects[best] - max(before[0], 0.0))


def _best_patch(gradient: Floats, images: Images) -> tuple[int, int, int, int]:
    """Row, column, edge and colour (0 or 255) of the square that raises a class the most by its gradient (height,
    width, channels): what every pixel would gain by turning black or white, summed over the images."""
    edge = max(1, min(images.shape[1:3]) // EDGE)
    total, count = images.sum(axis=0, dtype=np.float64) / 127.5, float(len(images))
    gains = {
        255: (gradient * (2.0 - total / count)).sum(axis=2),
        0: (gradient * (0.0 - total / count)).sum(axis=2),
    }
    sums = {colour: _window_sums(gain, edge) for colour, gain in gains.items()}
    colour = max(sums, key=lambda key: float(sums[key].max()))
    row, column = divmod(int(sums[colour].argmax()), sums[colour].shape[1])
    return row, column, edge, colour


def _window_sums(values: Floats, edge: int) -> Floats:
    """Sums over all squares of ``edge`` in values (height, width)."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    windows: Floats = sums[edge:, edge:] - sums[:-edge, edge:] - sums[edge:, :-edge] + sums[:-edge, :-edge]
    return windows


def _stamp(images: Images, row: int, column: int, edge: int, colour: int) -> Images:
    stamped: Images = np.array(images)
    stamped[:, row : row + edge, column : column + edge] = colour
    return stamped


def _effects(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, wanted: Ints, stamped: list[Images], images: Images, labels: Ints
) -> list[float]:
    """Mean rise of each wanted class's probability by its stamp, on images of other classes."""
    shares = softmax(model.logits(weights[None], np.concatenate([images, *stamped]))[0])
    clean, *after = np.split(shares, len(stamped) + 1)
    effects = []
    for label, stamps in zip(wanted, after, strict=True):
        others = labels != label
        effects.append(float((stamps[others, label] - clean[others, label]).mean()) if others.any() else 0.0)
    return effects

"""Has an update planted a backdoor? A search for the trigger, on the edge server's own images.

A backdoor's update improves the probes, so no score of its effect on clean images sees it. But it makes the
model answer to a small patch. Its effect is exaggerated (the model moves by several times the update), the
input gradients say where a patch would push all images towards a class, the patch is stamped on, and the share
of probability that it really moves is measured: near 1 for a planted trigger, whatever the image; an honest
update's best patch moves less. The search is that of Neural Cleanse (Wang et al. 2019) cut down to one step and
one square. The patch is not the attackers': its place, its colour and the class are found, only its size is
assumed, a seventh of the image's edge.

Once the model that was sent out answers to a trigger itself, an update that keeps the answer alive adds no
probability. And what several attackers plant together may be too little in each. So the model's own answers are
looked for too, and those of a model that the sum of a round's updates has driven far (``find_answers``), and what
single updates plant (``find_planted``), and an update is asked by how much it strengthens them in log-odds
(``strengthen``). How far is too far says ``backdoors``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from platoon.learning.images import Images
from platoon.learning.scores.cohort import ProbeModel
from platoon.learning.scores.rows import log_odds, softmax
from platoon.nouns import Bools, Floats, Ints, Weights
from platoon.rng import stream

NEAR: Final = 2.0
FAR: Final = 8.0
"""How many times the update the model moves: one update alone plants little. Driven far, the weak trigger shows;
but an update of many classes breaks the model then, and one that pulls all images to the trigger's class leaves
the patch nothing to move. Driven less far both show."""
LESS_FAR: Final = 0.03
"""By how much more the effect after the smaller step counts: honest updates move less there."""
TRIED: Final = 3
"""Patches that are tried of each update: for the classes whose best one promises the most."""
ROUGH: Final = 0.3
"""Share of the pixels that are noise where gradients are taken."""
EDGE: Final = 7
"""The patch's edge is the image's shorter edge over this."""
WORTH_A_SECOND_LOOK: Final = 0.4
"""From this effect on the patch is tried on the model that was sent out too: its weakness is not the update's."""
SCREENED: Final = 4
"""A patch for every class of every update is tried on every so many-th image only."""
STILL: Final = 1.0
"""Log-odds that count as moved by an update that moves none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Patches, what class each stands for, and how far a model answers to it with that, whatever the image."""

    labels: Ints
    """(A,) the classes."""
    stamped: Images
    """(A, n, height, width, channels) the images with each patch on them."""
    effects: Floats
    """(A,) what each patch moves of the class's probability."""

    def beyond(self, effect: float) -> "Answers":
        """Those of at least this effect."""
        kept = self.effects >= effect
        return Answers(labels=self.labels[kept], stamped=self.stamped[kept], effects=self.effects[kept])


def find_answers(model: ProbeModel, weights: Weights, images: Images, labels: Ints) -> Answers:
    """How a model (D,) answers to the best patch for each of its classes, on images (n, height, width, channels)
    with labels (n,)."""
    rough = _roughen(images)
    classes = np.arange(model.classes)
    patches, _ = _best_patches(model.input_gradients(weights[None], rough, classes[None]), rough)
    stamped = _stamp(images, patches)
    effects = _effects(_logits_of_one(model, weights, stamped[0])[None], classes[None], labels)[0]
    return Answers(labels=classes, stamped=stamped[0, 1:], effects=effects)


def find_planted(
    model: ProbeModel, weights: Weights, updates: Weights, images: Images, labels: Ints
) -> Answers:
    """The patch, of whatever class, to which ``NEAR`` times each update (K, D) of a model (D,) adds the most: K of
    them, on images (n, height, width, channels) with labels (n,). Its effect is what the update adds, or how far
    the model that was sent out answers to it, whichever is more.

    All classes are tried: with many of them that of a trigger is seldom one whose patch promises the most.
    """
    moved = weights + np.float32(NEAR) * updates
    rough = _roughen(images[::2])
    wanted = np.tile(np.arange(model.classes), (len(updates), 1))
    patches, _ = _best_patches(model.input_gradients(moved, rough, wanted), rough)
    screened = _stamp(images[::SCREENED], patches)
    added, _ = _added_effects(model, weights, moved, screened, wanted, labels[::SCREENED])
    best = added.argmax(axis=1)[:, None]
    stamped = _stamp(images, np.take_along_axis(patches, best[:, :, None], axis=1))
    added, before = _added_effects(model, weights, moved, stamped, best, labels)
    return Answers(labels=best[:, 0], stamped=stamped[:, 1], effects=np.maximum(added, before)[:, 0])


def strengthen(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, updates: Weights, answers: Answers, images: Images, labels: Ints
) -> Floats:
    """(K, A) by how much each update (K, D) strengthens each answer of a model (D,), against what else it does to
    the class: the rise of the class's log-odds by the patch, on images of other classes, with ``NEAR`` times the
    update over that without it, over how far the update moves the log-odds without a patch, and ``STILL``.

    Log-odds, since a probability near 1 cannot rise: an update that keeps a trigger alive would not be seen. Over
    the rest, since updates of early rounds move everything, and late ones hardly anything.
    """
    candidates = np.concatenate([weights[None], weights + np.float32(NEAR) * updates])
    together = np.concatenate([images, *answers.stamped])
    clean, *after = np.split(model.logits(candidates, together), len(answers.labels) + 1, axis=1)
    strengthened = np.zeros((len(updates), len(answers.labels)))
    for column, (label, logits) in enumerate(zip(answers.labels, after, strict=True)):
        others = labels != label
        if others.any():
            without = log_odds(clean[:, others], label)
            rises = (log_odds(logits[:, others], label) - without).mean(axis=1)
            stirred = np.abs(without[1:] - without[0]).mean(axis=1)
            strengthened[:, column] = (rises[1:] - rises[0]) / (STILL + stirred)
    return strengthened


def find_triggers(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, updates: Weights, wanted: Ints, images: Images, labels: Ints
) -> Floats:
    """(K,) the largest effect of a patch found after each update (K, D) of a model (D,), in [-1, 1]: the mean rise
    of a wanted class's probability on images (n, height, width, channels) of other classes (labels (n,)).

    ``wanted`` (K, C') are the classes that a trigger might stand for. The patches are found at the smaller
    exaggeration, by every second image; the most promising are tried at both, on all images.
    """
    moved = np.multiply(updates, np.float32(NEAR))
    moved += weights
    rough = _roughen(images[::2])
    patches, gains = _best_patches(model.input_gradients(moved, rough, wanted), rough)
    if wanted.shape[1] > TRIED:
        most = np.argsort(-gains, axis=1, kind="stable")[:, :TRIED]
        wanted = np.take_along_axis(wanted, most, axis=1)
        patches = np.take_along_axis(patches, most[:, :, None], axis=1)
    stamped = _stamp(images, patches)
    near = _effects_of_each(model, moved, stamped, wanted, labels)
    np.multiply(updates, np.float32(FAR), out=moved)
    moved += weights
    effects = np.stack([near, _effects_of_each(model, moved, stamped, wanted, labels)])
    best = effects.argmax(axis=2)
    found = np.take_along_axis(effects, best[:, :, None], axis=2)[:, :, 0]
    before = _effects_before(model, weights, stamped, wanted, labels, best, found >= WORTH_A_SECOND_LOOK)
    found -= np.maximum(before, 0.0)
    largest: Floats = np.maximum(found[0] + LESS_FAR, found[1])
    return largest


def _added_effects(  # noqa: PLR0917
    model: ProbeModel, weights: Weights, moved: Weights, stamped: Images, wanted: Ints, labels: Ints
) -> tuple[Floats, Floats]:
    """(K, C') by how much models (K, D) answer to patches, each to its own, beyond the model (D,) that was sent
    out, and (K, C') how far that one answers."""
    sets = stamped.reshape(-1, *stamped.shape[2:])
    logits = _logits_of_one(model, weights, sets).reshape(*stamped.shape[:3], -1)
    before = _effects(logits, wanted, labels)
    return _effects_of_each(model, moved, stamped, wanted, labels) - np.maximum(before, 0.0), before


def _effects_of_each(
    model: ProbeModel, moved: Weights, stamped: Images, wanted: Ints, labels: Ints
) -> Floats:
    """(K, C') effects on models (K, D), each on its own images (K, 1 + C', n, ...)."""
    together = stamped.reshape(len(moved), -1, *stamped.shape[3:])
    return _effects(model.logits_each(moved, together).reshape(*stamped.shape[:3], -1), wanted, labels)


def _effects_before(  # noqa: PLR0917
    model: ProbeModel,
    weights: Weights,
    stamped: Images,
    wanted: Ints,
    labels: Ints,
    best: Ints,
    worth: Bools,
) -> Floats:
    """(2, K) effects of the best patches (2, K) on the model that was sent out, where worth a look; else 0."""
    before = np.zeros(best.shape)
    rows = np.nonzero(worth)[1]
    if len(rows):
        columns = best[worth]
        clean, *after = _logits_of_one(
            model, weights, np.concatenate([stamped[rows[:1], 0], stamped[rows, columns + 1]])
        )
        pairs = np.stack([np.stack([clean, logits]) for logits in after])
        before[worth] = _effects(pairs, wanted[rows, columns][:, None], labels)[:, 0]
    return before


def _logits_of_one(model: ProbeModel, weights: Weights, sets: Images) -> Floats:
    """(S, n, classes) logits of a model (D,) on sets of images (S, n, height, width, channels)."""
    logits = model.logits(weights[None], sets.reshape(-1, *sets.shape[2:]))
    return logits.reshape(*sets.shape[:2], -1)


def _roughen(images: Images) -> Images:
    """Images of which ``ROUGH`` of the pixels are noise, the same in every call: on an even background units of a
    convolution are off, and no gradient says what a patch there would turn on (SmoothGrad, Smilkov et al. 2017)."""
    rng = stream(0, "rough images")
    noise = rng.integers(0, 256, images.shape).astype(images.dtype)
    return np.where(rng.random(images.shape) < ROUGH, noise, images)


def _best_patches(gradients: Floats, images: Images) -> tuple[Ints, Floats]:
    """Row, column, edge and colour (0 or 255) (K, C', 4) of the squares that raise a class the most by its gradient
    (K, C', height, width, channels), and by how much (K, C'): what every pixel would gain by turning black or
    white, summed over the images."""
    edge = max(1, min(images.shape[1:3]) // EDGE)
    mean = (images.mean(axis=0, dtype=np.float64) / 127.5).astype(gradients.dtype)
    to_black = _window_sums(-(gradients * mean).sum(axis=-1), edge)
    to_white = 2.0 * _window_sums(gradients.sum(axis=-1), edge) + to_black
    sums = np.stack([to_white, to_black], axis=2)
    flat = sums.reshape(*sums.shape[:2], -1)
    colour, row, column = np.unravel_index(flat.argmax(axis=2), sums.shape[2:])
    patches = np.stack([row, column, np.full_like(row, edge), np.where(colour == 0, 255, 0)], axis=2)
    return patches, flat.max(axis=2)


def _window_sums(values: Floats, edge: int) -> Floats:
    """Sums over all squares of ``edge`` in values (..., height, width)."""
    height, width = values.shape[-2] - edge + 1, values.shape[-1] - edge + 1
    rows = np.sum([values[..., start : start + height, :] for start in range(edge)], axis=0)
    windows: Floats = np.sum([rows[..., start : start + width] for start in range(edge)], axis=0)
    return windows


def _stamp(images: Images, patches: Ints) -> Images:
    """(K, 1 + C', n, height, width, channels): for each of K the images (n, ...), and then with each of its patches
    (K, C', 4)."""
    count, kinds = patches.shape[:2]
    stamped: Images = np.empty((count, 1 + kinds, *images.shape), dtype=images.dtype)
    stamped[:] = images
    for one, other in np.ndindex(count, kinds):
        row, column, edge, colour = patches[one, other]
        stamped[one, other + 1, :, row : row + edge, column : column + edge] = colour
    return stamped


def _effects(logits: Floats, wanted: Ints, labels: Ints) -> Floats:
    """(K, C') mean rise of each wanted class's (K, C') probability by its stamp, on images of other classes: from
    logits (K, 1 + C', n, classes), those without a stamp first."""
    shares = softmax(logits)
    after = np.take_along_axis(shares[:, 1:], wanted[:, :, None, None], axis=3)[..., 0]
    clean = np.take_along_axis(shares[:, :1], wanted[:, :, None, None], axis=3)[..., 0]
    others = labels != wanted[:, :, None]
    effects: Floats = ((after - clean) * others).sum(axis=2) / np.maximum(others.sum(axis=2), 1)
    return effects

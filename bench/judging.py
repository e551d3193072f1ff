"""Which score tells a buyer before the purchase which model will serve best.

    python -m bench judging

Two markets of ten small_cnn each, three seeds, n = 20, 50, 400 labelled images of the buyer's, as many of every
class. ``digits``: MNIST turned by 30 degrees; all sellers name the ten digits, from other domains, with labels
falsified, or with half of the digits only. ``signs``: ten traffic signs of GTSRB (needs PLATOON_DATA); the sellers'
classes are others, or other in number. What a model is really worth is the test accuracy by the best of three
strategies: off the shelf (digits only), a new last layer, all layers trained on from there.

Of every score: Kendall's tau with that worth over the ten models, and the percentage points that buying the model
it puts first loses against the best. Median and half the distance between the quartiles over the seeds; CPU
milliseconds of each score over 400 images of ten classes and 64 features. Writes bench/out/judging.json.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import rotate
from scipy.stats import kendalltau
from torch import nn

from bench.rows import Row, keep, row
from platoon.drivers import datasets
from platoon.drivers.datasets import ImageData
from platoon.learning.evaluation import count_correct
from platoon.learning.images import Images
from platoon.learning.judging import Observation, observe
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.learning.transferability import OF_FEATURES, SCORES
from platoon.nouns import Floats, Ints, Weights
from platoon.rng import stream

MODEL = "small_cnn"
SEEDS = (1, 2, 3)
LABELLED = (20, 50, 400)
SOURCE_IMAGES, TEST_IMAGES = 3000, 2000
SOURCE_TRAINING = TrainingSettings(epochs=5, batch=32, learning_rate=0.05, momentum=0.9)
FINE_TUNING = {
    n: TrainingSettings(epochs=epochs, batch=20, learning_rate=0.01, momentum=0.9)
    for n, epochs in zip(LABELLED, (40, 30, 15), strict=True)
}
HEAD_STEPS, HEAD_DECAY = 60, 1e-3
TURN = 30.0
"""Degrees by which the buyer's digits are turned."""
SIGNS = np.array([1, 2, 4, 10, 11, 12, 13, 17, 25, 38])
"""The buyer's ten signs: all have 1,000 training images or more."""
REPETITIONS = 15

Change = Callable[[Images, np.random.Generator], Images]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a seller trained on."""

    name: str
    images: Images
    labels: Ints
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a buyer has, and is tested on."""

    images: Images
    labels: Ints
    """To draw the labelled set from, stratified; no source saw these images."""
    test_images: Images
    test_labels: Ints
    classes: int
    same_labels: bool


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for market, make in (("digits", make_digits), ("signs", make_signs)):
        data = datasets.load("mnist"), datasets.load("gtsrb")
        found = [play(*make(*data, seed), seed) for seed in SEEDS]
        rows += show(summarise(market, found))
    rows += show(measure_speed())
    keep("judging", rows)
    print(make_table(rows))


def show(rows: list[Row]) -> list[Row]:
    """Print rows as soon as they are known."""
    for one in rows:
        print(f"{one['name']:52} {one['value']:8.3f} {one['unit']:6} +- {one['spread']:.3f}", flush=True)
    return rows


# ---- markets


def make_digits(mnist: ImageData, _: ImageData, seed: int) -> tuple[list[Source], Target]:
    """Sellers and buyer of one label space: ten digits."""
    sources = [
        make_digit_source(mnist, seed, "the buyer's domain", turned(TURN)),
        make_digit_source(mnist, seed, "upright", turned(0.0)),
        make_digit_source(mnist, seed, "turned half as far", turned(TURN / 2)),
        make_digit_source(mnist, seed, "turned by 90 degrees", turned(90.0)),
        make_digit_source(mnist, seed, "inverted", lambda images, _: 255 - turned(TURN)(images, _)),
        make_digit_source(mnist, seed, "noisy", noisy),
        make_digit_source(mnist, seed, "30 % flipped", turned(TURN), flipped=0.3),
        make_digit_source(mnist, seed, "80 % flipped", turned(TURN), flipped=0.8),
        make_digit_source(mnist, seed, "0 to 4 only", turned(TURN), among=np.arange(5)),
        make_digit_source(mnist, seed, "upright, 5 to 9 only", turned(0.0), among=np.arange(5, 10)),
    ]
    rng = stream(seed, "digits", "buyer")
    own = rng.permutation(len(mnist.train_labels))[:5000]
    test = rng.permutation(len(mnist.test_labels))[:TEST_IMAGES]
    return sources, Target(
        images=turned(TURN)(mnist.train_images[own], rng),
        labels=mnist.train_labels[own],
        test_images=turned(TURN)(mnist.test_images[test], rng),
        test_labels=mnist.test_labels[test],
        classes=10,
        same_labels=True,
    )


def make_digit_source(
    mnist: ImageData,
    seed: int,
    name: str,
    change: Change,
    *,
    flipped: float = 0.0,
    among: Ints | None = None,
) -> Source:
    """A seller's digits: none of the buyer's; a share of the labels is the next digit's."""
    rng = stream(seed, "digits", name)
    taken = stream(seed, "digits", "buyer").permutation(len(mnist.train_labels))[:5000]
    free = np.setdiff1d(np.arange(len(mnist.train_labels)), taken)
    if among is not None:
        free = free[np.isin(mnist.train_labels[free], among)]
    chosen = rng.choice(free, SOURCE_IMAGES, replace=False)
    labels = mnist.train_labels[chosen].copy()
    labels = np.where(rng.random(len(labels)) < flipped, (labels + 1) % 10, labels)
    return Source(name=name, images=change(mnist.train_images[chosen], rng), labels=labels, classes=10)


def make_signs(mnist: ImageData, gtsrb: ImageData, seed: int) -> tuple[list[Source], Target]:
    """Sellers of other label spaces; tracks are split, so that no sign on the road is both buyer's and seller's."""
    labels, groups = gtsrb.train_labels, gtsrb.train_groups
    names = np.unique(groups)
    buyers = np.isin(groups, names[stream(seed, "signs", "tracks").random(len(names)) < 0.5])
    others = np.setdiff1d(np.arange(43), SIGNS)

    def make(name: str, among: Ints, change: Change = keep_images, flipped: float = 0.0) -> Source:
        rng = stream(seed, "signs", name)
        chosen = rng.permutation(np.flatnonzero(~buyers & np.isin(labels, among)))[:SOURCE_IMAGES]
        own = np.searchsorted(among, labels[chosen])
        wrong = (own + rng.integers(1, len(among), len(own))) % len(among)
        own = np.where(rng.random(len(own)) < flipped, wrong, own)
        return Source(
            name=name, images=change(gtsrb.train_images[chosen], rng), labels=own, classes=len(among)
        )

    sources = [
        make("all 43 signs", np.arange(43)),
        make("the 33 other signs", others),
        make("the buyer's and ten others, 40 % flipped", np.union1d(SIGNS, others[:10]), flipped=0.4),
        make("the buyer's and ten others, 80 % flipped", np.union1d(SIGNS, others[:10]), flipped=0.8),
        make("other speed limits", np.array([0, 3, 5, 6, 7, 8])),
        make("warnings", np.arange(18, 32)),
        make("the 33 others, dark", others, lambda images, _: images // 4),
        make("the 33 others, inverted", others, lambda images, _: 255 - images),
        make_digit_pictures(mnist, seed),
        make("the 33 others, labels by chance", others, flipped=32 / 33),
    ]
    pool = np.flatnonzero(buyers & np.isin(labels, SIGNS))
    test = np.flatnonzero(np.isin(gtsrb.test_labels, SIGNS))
    test = stream(seed, "signs", "test").permutation(test)[:TEST_IMAGES]
    return sources, Target(
        images=gtsrb.train_images[pool],
        labels=np.searchsorted(SIGNS, labels[pool]),
        test_images=gtsrb.test_images[test],
        test_labels=np.searchsorted(SIGNS, gtsrb.test_labels[test]),
        classes=len(SIGNS),
        same_labels=False,
    )


def make_digit_pictures(mnist: ImageData, seed: int) -> Source:
    """Digits in the size of signs, grey in three channels."""
    chosen = stream(seed, "signs", "digits").permutation(len(mnist.train_labels))[:SOURCE_IMAGES]
    images = np.pad(mnist.train_images[chosen], ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    return Source(name="digits", images=images, labels=mnist.train_labels[chosen], classes=10)


def keep_images(images: Images, _: np.random.Generator) -> Images:
    """As they are."""
    return images


def turned(degrees: float) -> Change:
    """Images turned about their middle."""
    return lambda images, _: np.asarray(rotate(images, degrees, axes=(1, 2), reshape=False, order=1))


def noisy(images: Images, rng: np.random.Generator) -> Images:
    """The buyer's domain under noise."""
    noise = rng.normal(0.0, 80.0, images.shape)
    return np.clip(turned(TURN)(images, rng) + noise, 0, 255).astype(np.uint8)


# ---- worth and scores


def play(sources: list[Source], target: Target, seed: int) -> dict[int, tuple[Floats, dict[str, Floats]]]:
    """By number of labelled images: worth (10,) and each score's (10,)."""
    trained = [train(source, seed) for source in sources]
    return {
        labelled: weigh(sources, trained, target, labelled, stream(seed, "labelled", labelled))
        for labelled in LABELLED
    }


def train(source: Source, seed: int) -> Weights:
    """A seller's model."""
    model = FlatModel(MODEL, source.images.shape[1:], source.classes)
    start = initial_weights(MODEL, source.images.shape[1:], source.classes, seed)
    rng = stream(seed, "train", source.name)
    return start + LocalTrainer(model, SOURCE_TRAINING).train(start, source.images, source.labels, rng)


def weigh(
    sources: list[Source], trained: list[Weights], target: Target, labelled: int, rng: np.random.Generator
) -> tuple[Floats, dict[str, Floats]]:
    """Worth and scores of every source on one labelled set."""
    each = labelled // target.classes
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(target.labels == c), each, replace=False) for c in range(target.classes)]
    )
    images, labels = target.images[chosen], target.labels[chosen]
    worth, scores = [], []
    for source, weights in zip(sources, trained, strict=True):
        model = FlatModel(MODEL, source.images.shape[1:], source.classes)
        seen = observe(model, weights, images)
        scores.append(score(seen, labels, target))
        worth.append(max(accuracies(model, weights, target, images, labels)))
    return np.array(worth), {name: np.array([of[name] for of in scores]) for name in scores[0]}


def score(seen: Observation, labels: Ints, target: Target) -> dict[str, float]:
    """Every score that means something in this market."""
    return {
        name: rule(seen.features if name in OF_FEATURES else seen.probabilities, labels)
        for name, rule in SCORES.items()
        if target.same_labels or name != "zero_shot_accuracy"
    }


def accuracies(
    model: FlatModel, weights: Weights, target: Target, images: Images, labels: Ints
) -> list[float]:
    """Test accuracy by each strategy: a new last layer, all layers from there, and where the labels are the same
    off the shelf, and all layers from the model as it is."""
    own = FlatModel(MODEL, images.shape[1:], target.classes)
    head = fit_head(model.features(weights, images), labels, target.classes)
    fitted = np.concatenate([weights[: own.last_layer.start], head])
    starts = [fitted, weights] if target.same_labels else [fitted]
    trainer = LocalTrainer(own, FINE_TUNING[len(labels)])
    tuned = [start + trainer.train(start, images, labels, stream(0, "tune")) for start in starts]
    return [
        float(count_correct(own, one, target.test_images, target.test_labels).sum() / len(target.test_labels))
        for one in (*starts, *tuned)
    ]


def fit_head(features: Floats, labels: Ints, classes: int) -> Weights:
    """A last layer (matrix, then offsets) fitted to features by logistic regression with a small ridge."""
    inputs, targets = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)
    matrix = torch.zeros(classes, features.shape[1], requires_grad=True)
    offsets = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([matrix, offsets], max_iter=HEAD_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(inputs @ matrix.T + offsets, targets)
        loss = loss + HEAD_DECAY * (matrix**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return np.concatenate([matrix.detach().numpy().ravel(), offsets.detach().numpy()])


# ---- rows


def summarise(market: str, found: list[dict[int, tuple[Floats, dict[str, Floats]]]]) -> list[Row]:
    """Tau and loss of every score, and what there was to win: the best model's worth and a model's by chance."""
    rows = []
    for labelled in LABELLED:
        worths = [of[labelled][0] for of in found]
        prefix = f"{market}_n{labelled}"
        rows.append(row(f"{prefix}_best_accuracy", [float(worth.max()) for worth in worths], "share"))
        chance = [100.0 * float(worth.max() - worth.mean()) for worth in worths]
        rows.append(row(f"{prefix}_by_chance_loss_points", chance, "points"))
        for name in found[0][labelled][1]:
            scores = [of[labelled][1][name] for of in found]
            taus = [tau(one, worth) for one, worth in zip(scores, worths, strict=True)]
            losses = [
                100.0 * float(worth.max() - worth[one.argmax()])
                for one, worth in zip(scores, worths, strict=True)
            ]
            rows += [
                row(f"{prefix}_{name}_tau", taus, ""),
                row(f"{prefix}_{name}_loss_points", losses, "points"),
            ]
    return rows


def make_table(rows: list[Row]) -> str:
    """The table of docs/market/judging.md."""
    by_name = {one["name"]: one for one in rows}
    columns = [f"{market}_n{labelled}" for market in ("digits", "signs") for labelled in LABELLED]
    lines = [
        "| | " + " | ".join(column.replace("_n", ", n = ") for column in columns) + " | CPU ms |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name in SCORES:
        cells = []
        for column in columns:
            agreement, loss = (by_name.get(f"{column}_{name}_{kind}") for kind in ("tau", "loss_points"))
            if agreement is None or loss is None:
                cells.append("-")
                continue
            cells.append(f"{agreement['value']:.2f} +- {agreement['spread']:.2f}, {loss['value']:.1f}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {by_name[f'{name}_cpu_ms']['value']:.1f} |")
    chance = [f"0, {by_name[f'{column}_by_chance_loss_points']['value']:.1f}" for column in columns]
    best = [f"{by_name[f'{column}_best_accuracy']['value']:.3f}" for column in columns]
    lines += [
        "| by chance | " + " | ".join(chance) + " | |",
        "| best accuracy | " + " | ".join(best) + " | |",
    ]
    return "\n".join(lines)


def tau(scores: Floats, worth: Floats) -> float:
    """Kendall's tau-b; 0 for a score that is the same for all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(kendalltau(np.round(scores, 9), worth).statistic)
    return 0.0 if np.isnan(value) else value


def measure_speed() -> list[Row]:
    """CPU milliseconds of each score on random tables."""
    rng, labels = stream(0, "speed"), np.arange(400) % 10
    outputs, features = rng.dirichlet(np.ones(10), 400), rng.normal(size=(400, 64))
    rows = []
    for name, rule in SCORES.items():
        table = features if name in OF_FEATURES else outputs
        rule(table, labels)
        times = []
        for _ in range(REPETITIONS):
            before = time.process_time()
            rule(table, labels)
            times.append(1000.0 * (time.process_time() - before))
        rows.append(row(f"{name}_cpu_ms", times, "CPU ms"))
    return rows

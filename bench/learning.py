"""CPU seconds of training, judging and evaluating, beside a bare PyTorch loop over the same work.

    python -m bench learning

prints a table and writes ``bench/out/learning.json``. Every ratio is taken within one repetition, in which the
two sides take turns, and reported as the median over the repetitions with their spread; CPU seconds, because
the machine may be shared. Images are noise: what a step costs does not depend on them.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from bench.quickstart import SCENARIO, SEEDS, play
from bench.rows import Row, keep, row
from platoon import Scenario
from platoon.learning.evaluation import count_correct
from platoon.learning.images import Images
from platoon.learning.models import MODELS, FlatModel, initial_weights
from platoon.learning.scores import SCORES, Cohort
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.nouns import Ints, Weights

REPETITIONS = 5
VEHICLES, SAMPLES, PROBES, TEST = 10, 300, 80, 10_000
SETTINGS = TrainingSettings(epochs=3, batch=32, learning_rate=0.02, momentum=0.9)
WORK = {
    "small_cnn_mnist": ("small_cnn", (28, 28, 1)),
    "cnn_mnist": ("cnn", (28, 28, 1)),
    "mlp_mnist": ("mlp", (28, 28, 1)),
    "cnn_cifar10": ("cnn", (32, 32, 3)),
}


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for name in WORK for row in measure(name)]
    headline = next(row for row in rows if row["name"] == "train_vs_bare_cpu_small_cnn_mnist")
    rows.insert(0, headline | {"name": "train_vs_bare_cpu"})
    rows += quickstart_rows()
    keep("learning", rows)
    for kept in rows:
        peer = f"{kept['peer']}: {kept['peer_value']:.3g}" if kept["peer"] else ""
        print(f"{kept['name']:44} {kept['value']:8.3f} {kept['unit']:12} +- {kept['spread']:.3f}  {peer}")


def measure(name: str) -> list[Row]:
    """All rows of one network on one kind of image."""
    network, shape = WORK[name]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, *shape)).astype(np.uint8)
    labels = rng.choice([3, 7], SAMPLES)
    weights = initial_weights(network, shape, 10, seed=1)
    model = FlatModel(network, shape, 10)
    trainer, peer = LocalTrainer(model, SETTINGS), BareLoop(network, shape)
    updates = rng.normal(0, 0.01, (VEHICLES, model.size)).astype(np.float32)
    probes = rng.integers(0, 256, (PROBES, *shape)).astype(np.uint8)
    cohort = Cohort(
        weights=weights,
        updates=updates,
        samples=np.full(VEHICLES, SAMPLES),
        probe_images=probes,
        probe_labels=np.arange(PROBES) % 10,
        model=model,
    )
    test = rng.integers(0, 256, (TEST, *shape)).astype(np.uint8)
    sides: dict[str, Callable[[], object]] = {
        "ours": lambda: train_all(trainer, weights, images, labels),
        "bare": lambda: train_all(peer, weights, images, labels),
        "evaluate": lambda: count_correct(model, weights, test, np.zeros(TEST, np.int64)),
        **{score: (lambda rule=rule: rule.score(cohort)) for score, rule in SCORES.items()},
    }
    seconds = take_turns(sides)
    ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["bare"], strict=True)]
    bare_seconds = statistics.median(seconds["bare"])
    rows = [
        row(f"train_vs_bare_cpu_{name}", ratios, "ratio", "bare PyTorch loop, CPU s", bare_seconds),
        row(f"train_cpu_s_{name}", seconds["ours"], "CPU s/round"),
        row(f"evaluate_10k_cpu_s_{name}", seconds["evaluate"], "CPU s"),
    ]
    for score in SCORES:
        shares = [judge / train for judge, train in zip(seconds[score], seconds["ours"], strict=True)]
        rows.append(row(f"{score}_over_train_{name}", shares, "share"))
    return rows


def take_turns(sides: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU seconds of each side in each repetition, after one repetition that is thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 + REPETITIONS):
        for name, work in sides.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: taken[1:] for name, taken in seconds.items()}


class BareLoop:
    """Training as anybody would write it: one resident module, ``torch.optim``, ``nn.utils``."""

    def __init__(self, network: str, shape: tuple[int, int, int]) -> None:
        self.module = MODELS[network](shape, 10)

    def train(self, weights: Weights, images: Images, labels: Ints, rng: np.random.Generator) -> Weights:
        nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), self.module.parameters())
        optimiser = torch.optim.SGD(self.module.parameters(), SETTINGS.learning_rate, SETTINGS.momentum)
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1.0)
        targets = torch.from_numpy(labels)
        for _ in range(SETTINGS.epochs):
            for batch in torch.from_numpy(rng.permutation(SAMPLES)).split(SETTINGS.batch):
                optimiser.zero_grad()
                nn.functional.cross_entropy(self.module(inputs[batch]), targets[batch]).backward()
                nn.utils.clip_grad_norm_(self.module.parameters(), SETTINGS.clip_norm)
                optimiser.step()
        return nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy() - weights


def train_all(trainer: LocalTrainer | BareLoop, weights: Weights, images: Images, labels: Ints) -> None:
    for vehicle in range(VEHICLES):
        trainer.train(weights, images, labels, np.random.default_rng(vehicle))


def quickstart_rows() -> list[Row]:
    """What platoon costs around the training, in whole runs of the demo's scenario.

    Scoring counts once, not once per edge server: in a deployment each has its own machine.
    """
    summaries = [play(seed, {}) for seed in SEEDS]
    overhead, judging = [], []
    for summary in summaries:
        cpu = summary["cpu_seconds"]
        judge = cpu["judge"] / Scenario.load(SCENARIO).radio.rsus
        around = cpu["twin"] + cpu["ledger"] + judge + cpu["world"] + cpu["other"]
        overhead.append(around / (around + cpu["train"]))
        judging.append(judge / cpu["train"])
    return [row("overhead_share", overhead, "share"), row("judge_share", judging, "share")]

"""What judging a round costs beside training it: CPU seconds of the default score at one edge server over those of
all the training that it judges.

    python -m bench scoring

trains rounds of ten of 200 vehicles with 300 MNIST samples each (DTB-FL section 6), three local epochs, honest and
merged by their mean, and judges each by 8 probes of a class. The first rounds are not counted: they warm up, and
nothing can be told apart yet. Medians over three seeds; writes bench/out/scoring.json.
"""

import time
from typing import Any

import numpy as np
import torch

from bench.rows import Row, keep, row
from platoon import Scenario
from platoon.drivers import datasets
from platoon.drivers.worker import Worker
from platoon.learning.aggregation import dequantise, quantise
from platoon.rng import stream

SEEDS = (1, 2, 3)
MODELS = {"mlp": 20, "small_cnn": 8, "cnn": 6}
"""Rounds that are played of each."""
UNCOUNTED = 3
PARTITIONS: dict[str, dict[str, Any]] = {
    "two classes": {"partition.kind": "classes"},
    "iid": {"partition.kind": "iid"},
}
BASE = {
    "fleet.vehicles": 200,
    "fleet.attack": "none",
    "round.local_loss": "own_classes",
    "trust.probes_per_class": 8,
}


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name, rounds in MODELS.items():
        for partition, keys in PARTITIONS.items():
            found = [measure(name, keys, seed, rounds) for seed in SEEDS]
            label = f"{name}, {partition}"
            rows += [
                row(f"{label}: scoring / training", [score / train for score, train in found], ""),
                row(f"{label}: scoring", [score for score, _ in found], "CPU s per round"),
                row(f"{label}: training", [train for _, train in found], "CPU s per round"),
            ]
            print(
                f"{label:25}",
                *(f"{each['name'].split(': ')[1]} {each['value']:.4f}" for each in rows[-3:]),
                flush=True,
            )
    keep("scoring", rows)


def measure(model: str, partition: dict[str, Any], seed: int, rounds: int) -> tuple[float, float]:
    """CPU seconds of judging a round at one edge server, and of training it: medians over the counted rounds."""
    keys = BASE | {"task.model": model, "seed": seed} | partition
    worker = Worker(Scenario.from_table({}, keys), datasets.load("mnist"))
    current = former = worker.initial_model()
    spent = []
    for number in range(1, rounds + 1):
        worker.take_model(current, former)
        cohort = np.sort(stream(seed, "cohort", number).permutation(200)[:10])
        begun = time.process_time()
        trained = [worker.train(number, int(vehicle)) for vehicle in cohort]
        between = time.process_time()
        updates = np.stack([update for update, _ in trained])
        worker.take_cohort(updates, np.array([samples for _, samples in trained]))
        ready = time.process_time()
        worker.score("forensic", edge_server=0)
        spent.append((time.process_time() - ready, between - begun))
        former, current = current, quantise(dequantise(current) + dequantise(updates).mean(axis=0))
    scoring, training = np.median(np.array(spent[UNCOUNTED:]), axis=0)
    return float(scoring), float(training)

"""One worker process: a resident model that trains, judges and evaluates for the pool in ``workers``.

Run as ``python -m platoon.drivers.worker DESCRIPTOR``; the descriptor is this end of a pipe to the pool. The
worker ends when the other end closes, which the operating system sees to even if the pool's process is killed.
"""

import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from platoon.drivers.datasets import ImageData
from platoon.drivers.fleet_data import FleetData
from platoon.errors import UserError
from platoon.learning.aggregation import dequantise, quantise
from platoon.learning.attacks.data import stamp
from platoon.learning.evaluation import count_correct
from platoon.learning.images import Images
from platoon.learning.label_mix import estimate_label_mix
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.scores import SCORES, Cohort, resolve_score
from platoon.learning.similarity import compare_effects
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.nouns import FixedPoint, Floats, Ints, Scores, Weights
from platoon.rng import stream
from platoon.scenario import Scenario


class Worker:
    """What a worker can be asked to do; its methods are the requests."""

    def __init__(self, scenario: Scenario, data: ImageData) -> None:
        self._scenario = scenario
        self._fleet = FleetData(scenario, data)
        self._model = FlatModel(scenario.task.model, data.shape, data.classes)
        training = scenario.round
        self._trainer = LocalTrainer(
            self._model,
            TrainingSettings(
                epochs=training.epochs,
                batch=training.batch,
                learning_rate=training.learning_rate,
                momentum=training.momentum,
                local_loss=training.local_loss,
                proximal=training.proximal,
            ),
        )
        self._weights = np.zeros(self._model.size, dtype=np.float32)
        self._step: Weights | None = None
        self._updates = self._weights[None][:0]
        self._samples = np.zeros(0, dtype=np.int64)

    @property
    def weights(self) -> Weights:
        """(D,) the model that was taken."""
        return self._weights

    @property
    def step(self) -> Weights | None:
        """(D,) what the round before added to it."""
        return self._step

    @property
    def model(self) -> FlatModel:
        """The resident network."""
        return self._model

    def probe_set(self, edge_server: int) -> tuple[Images, Ints]:
        """An edge server's probe images and their labels."""
        return self._fleet.probe_set(edge_server)

    def is_poisoned(self, vehicle: int, round_number: int) -> bool:
        """Whether an attack on the data changed a vehicle's samples."""
        return self._fleet.is_poisoned(vehicle, round_number)

    def initial_model(self) -> FixedPoint:
        """The untrained model."""
        data = self._fleet.data
        name = self._scenario.task.model
        return quantise(initial_weights(name, data.shape, data.classes, self._scenario.seed))

    def take_model(self, model: FixedPoint, former: FixedPoint | None = None) -> None:
        """Keep the global model for the requests that follow, and the one of the round before, if they ask."""
        self._weights = dequantise(model)
        self._step = None if former is None else self._weights - dequantise(former)

    def take_cohort(self, updates: FixedPoint, samples: Ints) -> None:
        """Keep a round's updates for the requests that follow."""
        self._updates = dequantise(updates)
        self._samples = samples

    def train(self, round_number: int, vehicle: int) -> tuple[FixedPoint, int]:
        """A vehicle's update, trained on data that it may have poisoned, and its number of samples."""
        images, labels = self._fleet.training_set(vehicle, round_number)
        rng = stream(self._scenario.seed, "train", round_number, vehicle)
        update = self._trainer.train(self._weights, images, labels, rng)
        if not np.isfinite(update).all():
            rate = self._scenario.round.learning_rate
            raise UserError(
                f"round.learning_rate = {rate}: vehicle {vehicle}'s training diverged in round {round_number} "
                "(weights beyond all numbers); take a smaller one"
            )
        return quantise(update), len(labels)

    def score(self, rule: str, edge_server: int) -> Scores:
        """The judgement of one edge server on its own probe set."""
        return self._judge(rule, *self._fleet.probe_set(edge_server))

    def score_stand_in(self, rule: str) -> Scores:
        """What attackers expect of that judgement, by samples of their own."""
        return self._judge(rule, *self._fleet.stand_in_set())

    def _judge(self, rule: str, images: Images, labels: Ints) -> Scores:
        cohort = Cohort(
            weights=self._weights,
            updates=self._updates,
            samples=self._samples,
            probe_images=images,
            probe_labels=labels,
            model=self._model,
            step=self._step,
        )
        return judge_by(rule, cohort)

    def label_mix(self) -> Floats:
        """(K, C) shares of labels that the cohort's updates show."""
        return estimate_label_mix(self._updates[:, self._model.last_layer], self._model.classes)

    def compare(self, edge_server: int) -> Floats:
        """How alike the cohort's updates act on an edge server's own probe images: cosines (K, K)."""
        images, _ = self._fleet.probe_set(edge_server)
        return compare_effects(self._model, self._weights, self._updates, images)

    def evaluate(self, indices: Ints) -> Ints:
        """(classes,) number of these test images that the model gets right."""
        data = self._fleet.data
        return count_correct(self._model, self._weights, data.test_images[indices], data.test_labels[indices])

    def count_triggered(self, indices: Ints, target: int) -> tuple[int, int]:
        """Of these test images: how many other than the target class's take it for theirs once the trigger is
        stamped on them, and how many there are."""
        data = self._fleet.data
        others = indices[data.test_labels[indices] != target]
        as_if = np.full(len(others), target)
        return int(
            count_correct(self._model, self._weights, stamp(data.test_images[others]), as_if).sum()
        ), len(others)


def judge_by(rule: str, cohort: Cohort) -> Scores:
    """What the score of that name says; what a plug-in does wrong is said by its name, not by a traceback.

    Raises:
        UserError: a plug-in raises, or does not give a finite value for every update and evidence in [0, 1].
    """
    score = resolve_score(rule).score
    if rule in SCORES:
        return score(cohort)
    try:
        scores = score(cohort)
        values, evidence = np.asarray(scores.values, dtype=np.float64), float(scores.evidence)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"trust.score = {rule!r}: raised {type(error).__name__} ({error})") from error
    if values.shape != (len(cohort.updates),) or not np.isfinite(values).all() or not 0.0 <= evidence <= 1.0:
        raise UserError(
            f"trust.score = {rule!r}: gave values {values.shape} and evidence {evidence}; allowed: "
            f"{len(cohort.updates)} finite values and evidence in [0, 1]"
        )
    return Scores(values=values, evidence=evidence)


def serve(connection: Connection) -> None:
    """Answer requests until the pool closes its end.

    A request is (method's name, arguments); the answer is ("done", result, CPU seconds), ("refused", message,
    0.0) for a user's mistake, or ("failed", traceback, 0.0).
    """
    torch.set_num_threads(1)
    requests: dict[str, Callable[..., Any]] = {"start": lambda *settings: _start(requests, *settings)}
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        before = time.process_time()
        try:
            result = requests[name](*arguments)
            answer = ("done", result, time.process_time() - (0.0 if name == "start" else before))
        except UserError as error:
            answer = ("refused", str(error), 0.0)
        except Exception:
            answer = ("failed", traceback.format_exc(), 0.0)
        connection.send(answer)


def _start(requests: dict[str, Callable[..., Any]], scenario: Scenario, portable: dict[str, Any]) -> None:
    worker = Worker(scenario, open_portable(portable))
    for method in (
        worker.initial_model,
        worker.take_model,
        worker.take_cohort,
        worker.train,
        worker.score,
        worker.score_stand_in,
        worker.compare,
        worker.label_mix,
        worker.evaluate,
        worker.count_triggered,
    ):
        requests[method.__name__] = method
    requests["spent"] = time.process_time


def open_portable(portable: dict[str, Any]) -> ImageData:
    """A data set from what ``workers.to_portable`` made of it: files are mapped, not read."""
    opened = {
        key: np.load(value, mmap_mode="r")
        if key.startswith(("train", "test")) and isinstance(value, str)
        else value
        for key, value in portable.items()
    }
    return ImageData(**opened)


if __name__ == "__main__":
    try:
        serve(Connection(int(sys.argv[1])))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)  # the pool's process died while this worker was at work

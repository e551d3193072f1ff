"""A pool of worker processes that train, judge and evaluate, one torch thread each.

A worker is a process of its own even when there is only one: this process then holds neither torch nor a second
copy of the images, and one worker runs exactly the code that many run. Results do not depend on the number of
workers or on which worker did what: every piece of work is named by its round and vehicle (or edge server, or
fixed slice of the test images), and answers are put back in the order of the questions.

Workers are started as ``python -m platoon.drivers.worker`` rather than by ``multiprocessing``, which would run
the user's script a second time in every worker; only its pipes are used. They live in a session of their own, so
that Ctrl-C reaches this process alone.
"""

import dataclasses
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from platoon.drivers.datasets import ImageData
from platoon.drivers.fleet_data import FleetData
from platoon.errors import UserError, WorkerError
from platoon.nouns import Bools, Digest, FixedPoint, Floats, Ints, Scores
from platoon.scenario import Scenario

EVALUATION_SLICE: Final = 2500
"""Test images per piece of work: a multiple of ``evaluation.CHUNK``, so that no split changes a batch's shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedUpdate:
    """What a vehicle has trained."""

    vehicle: int
    update: FixedPoint
    """(D,)"""
    samples: int
    cpu_seconds: float
    """Of the training alone."""
    poisoned: bool = False
    """It is not what honest training on honest data would have sent. For studies: nothing that judges may ask."""


Request = tuple[str, tuple[Any, ...]]
"""A method of ``worker.Worker`` and its arguments."""
Outcome = tuple[Any, float] | Exception
"""Its result and the CPU seconds it took, or what went wrong."""


class TrainingPool:
    """Workers for one scenario and its data set. A context manager: leaving it ends the workers."""

    def __init__(self, scenario: Scenario, data: ImageData, workers: int | None = None) -> None:
        """
        Args:
            workers: number of processes; the scenario's, if not given.

        Raises:
            UserError: the data set does not fit the scenario.
            WorkerError: a worker did not start.
        """
        self.fleet = FleetData(scenario, data)
        self._test_indices = self.fleet.test_indices()
        self._workers = [_Worker(number) for number in range(workers or scenario.workers)]
        try:
            start: Request = ("start", (scenario, to_portable(data)))
            self.start_cpu_seconds: float = sum(cpu for _, cpu in self._ask_all(start))
            """CPU seconds of all workers until they were ready."""
            (model, _), *_ = self._gather([("initial_model", ())])
        except BaseException:
            self.close()
            raise
        self.initial_model: FixedPoint = model
        """(D,) the untrained model."""

    @property
    def malicious(self) -> Bools:
        """(N,) who attacks."""
        return self.fleet.malicious

    def train(self, round_number: int, model: FixedPoint, vehicles: Sequence[int]) -> list[TrainedUpdate]:
        """The vehicles' updates of ``model`` (D,) in a round, in the order of ``vehicles``.

        Raises:
            UserError: a training diverged.
        """
        self._ask_all(("take_model", (model,)))
        answers = self._gather([("train", (round_number, int(vehicle))) for vehicle in vehicles])
        return [
            TrainedUpdate(
                vehicle=int(vehicle),
                update=update,
                samples=samples,
                cpu_seconds=cpu,
                poisoned=self.fleet.is_poisoned(int(vehicle), round_number),
            )
            for vehicle, ((update, samples), cpu) in zip(vehicles, answers, strict=True)
        ]

    def score(  # noqa: PLR0917
        self,
        rule: str,
        model: FixedPoint,
        updates: FixedPoint,
        samples: Ints,
        edge_servers: Sequence[int],
        former: FixedPoint | None = None,
    ) -> list[tuple[Scores, float]]:
        """Each edge server's scores of the updates (K, D) of ``model`` (D,), and the CPU seconds they took.

        ``former`` (D,) is the model of the round before, if there was one.

        Raises:
            UserError: no score of that name.
        """
        self._ask_all(("take_model", (model, former)))
        self._ask_all(("take_cohort", (updates, samples)))
        return self._gather([("score", (rule, int(server))) for server in edge_servers])

    def score_stand_in(
        self, rule: str, model: FixedPoint, updates: FixedPoint, former: FixedPoint | None = None
    ) -> tuple[Scores, float]:
        """What attackers expect the score of updates (K, D) to be, and the CPU seconds it took."""
        self._ask_all(("take_model", (model, former)))
        self._ask_all(("take_cohort", (updates, np.ones(len(updates), dtype=np.int64))))
        ((scores, spent),) = self._gather([("score_stand_in", (rule,))])
        return scores, spent

    def estimate_labels(self, updates: FixedPoint) -> tuple[Floats, float]:
        """(K, C) shares of labels that updates (K, D) show, and the CPU seconds it took."""
        self._ask_all(("take_cohort", (updates, np.zeros(len(updates), dtype=np.int64))))
        ((mixes, spent),) = self._gather([("label_mix", ())])
        return mixes, spent

    def compare(self, model: FixedPoint, updates: FixedPoint, edge_server: int) -> tuple[Floats, float]:
        """How alike updates (K, D) act on an edge server's probes: cosines (K, K), and the CPU seconds it took."""
        self._ask_all(("take_model", (model,)))
        self._ask_all(("take_cohort", (updates, np.zeros(len(updates), dtype=np.int64))))
        ((cosines, spent),) = self._gather([("compare", (int(edge_server),))])
        return cosines, spent

    def probe_digest(self, edge_server: int) -> Digest:
        """What an edge server commits to before it judges: SHA-256 of its probe images and labels."""
        return self.fleet.probe_digest(edge_server)

    def evaluate(self, model: FixedPoint) -> tuple[float, float]:
        """Accuracy of ``model`` (D,) on the scenario's test images, and the CPU seconds it took."""
        self._ask_all(("take_model", (model,)))
        total = len(self._test_indices)
        answers = self._gather([("evaluate", (indices,)) for indices in self._test_slices()])
        correct = sum(int(hits.sum()) for hits, _ in answers)
        return correct / total, sum(cpu for _, cpu in answers)

    def measure_backdoor(self, model: FixedPoint) -> float | None:
        """Success rate of the fleet's backdoor on ``model`` (D,): share of the test images of other classes that
        become the target's by the trigger. None where nobody plants one, or no such image is tested."""
        target = self.fleet.backdoor_target()
        if target is None:
            return None
        self._ask_all(("take_model", (model,)))
        answers = self._gather([("count_triggered", (indices, target)) for indices in self._test_slices()])
        total = sum(images for (_, images), _ in answers)
        return sum(hits for (hits, _), _ in answers) / total if total else None

    def _test_slices(self) -> list[Ints]:
        starts = range(0, len(self._test_indices), EVALUATION_SLICE)
        return [self._test_indices[start : start + EVALUATION_SLICE] for start in starts]

    def cpu_seconds(self) -> float:
        """CPU seconds of all workers so far, whatever they spent them on."""
        return sum(float(spent) for spent, _ in self._ask_all(("spent", ())))

    def close(self) -> None:
        """End the workers, at work or not; they hold nothing that is worth keeping. May be repeated."""
        for worker in self._workers:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask_all(self, request: Request) -> list[tuple[Any, float]]:
        """Put one request to every worker; answers in the order of workers."""
        for worker in self._workers:
            worker.ask(request)
        outcomes = [worker.answer() for worker in self._workers]
        return [_value(outcome) for outcome in outcomes]

    def _gather(self, requests: Iterable[Request]) -> list[tuple[Any, float]]:
        """Have requests done by whichever worker is free; answers in the order of requests.

        After a fault nothing new is asked, but every answer that is under way is awaited: no later request may
        read it. The fault of the first request is raised, whichever came first.
        """
        waiting = deque(enumerate(requests))
        outcomes: dict[int, Outcome] = {}
        busy: dict[Connection, tuple[_Worker, int]] = {}
        idle = list(self._workers)
        while waiting or busy:
            while waiting and idle:
                number, request = waiting.popleft()
                worker = idle.pop(0)
                worker.ask(request)
                busy[worker.connection] = worker, number
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                worker, number = busy.pop(ready)
                outcomes[number] = worker.answer()
                idle.append(worker)
                if isinstance(outcomes[number], Exception):
                    waiting.clear()
        return [_value(outcomes[number]) for number in sorted(outcomes)]


class _Worker:
    """This side of one worker process."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._doing = "starting"
        self.connection, theirs = Pipe()
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "platoon.drivers.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        theirs.close()

    def ask(self, request: Request) -> None:
        name, arguments = request
        numbers = ", ".join(str(argument) for argument in arguments if isinstance(argument, int | str))
        self._doing = f"{name}({numbers})"
        try:
            self.connection.send(request)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def answer(self) -> "Outcome":
        try:
            kind, result, cpu_seconds = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return self._death()
        if kind == "refused":
            return UserError(result)
        if kind == "failed":
            return WorkerError(f"worker {self._number} failed in {self._doing}:\n{result}")
        return result, cpu_seconds

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.wait()

    def _death(self) -> WorkerError:
        code = self._process.wait()
        return WorkerError(f"worker {self._number} died in {self._doing} (exit code {code})")


def _value(outcome: Outcome) -> tuple[Any, float]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def to_portable(data: ImageData) -> dict[str, Any]:
    """A data set for another process of this machine: arrays that are mapped from files travel as paths."""
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    return {
        key: str(value.filename) if isinstance(value, np.memmap) else value for key, value in fields.items()
    }

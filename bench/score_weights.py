"""The weights of the default score: a logistic regression on what honest and false updates of clean runs show.

    python -m bench score_weights

trains 200 vehicles on MNIST, ten at random a round, and advances the model by the honest updates alone, so that
every attack meets the same models; 30 % of the vehicles attack. Of every update the measures of ``forensic``
are taken at two edge servers. Two classes per vehicle (mlp and small_cnn), IID and Dirichlet 0.1 fit the
weights; other seeds, and Dirichlet 0.5, show what they are worth. Updates that traces alone condemn, and
copies, take no part in the fit. Prints the weights for ``platoon/learning/scores/forensic.py`` and the AUC of
every attack; writes bench/out/score_weights.json.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bench.rows import Row, keep
from platoon import Scenario
from platoon.drivers import datasets
from platoon.drivers.rows import area_under_curve
from platoon.drivers.worker import Worker
from platoon.fleet import draw_malicious
from platoon.learning.aggregation import dequantise, quantise
from platoon.learning.attacks.rules import ATTACKS, UpdateRule
from platoon.learning.attacks.updates import Scene
from platoon.learning.scores import Cohort
from platoon.learning.scores.forensic import COEFFICIENTS, OFFSET, design, find_moved, measure
from platoon.learning.scores.traces import find_traces
from platoon.nouns import Bools, Floats, Weights
from platoon.rng import stream

DATA_ATTACKS = {
    "label_flip": ("label_flip", 1.0),
    "label_flip 50 %": ("label_flip", 0.5),
    "label_flip 20 %": ("label_flip", 0.2),
    "targeted_flip": ("targeted_flip", 1.0),
    "backdoor": ("backdoor", 0.5),
}
UPDATE_ATTACKS = ("sign_flip", "scaling", "gaussian", "alie", "ipm", "min_max", "free_rider_random")
FIT = (
    ("mlp", {"partition.kind": "classes"}, 1, 50),
    ("small_cnn", {"partition.kind": "classes"}, 1, 30),
    ("mlp", {"partition.kind": "iid"}, 3, 30),
    ("mlp", {"partition.kind": "dirichlet", "partition.alpha": 0.1}, 3, 40),
)
SHOW = (
    ("mlp", {"partition.kind": "classes"}, 2, 50),
    ("mlp", {"partition.kind": "dirichlet", "partition.alpha": 0.5}, 4, 30),
)
BASE = {
    "fleet.vehicles": 200,
    "fleet.attack": "none",
    "round.local_loss": "own_classes",
    "trust.probes_per_class": 8,
}
SERVERS = 2
FIRST = 4
"""Round from which on updates are measured: before, nothing tells them apart."""
HONEST_WEIGHT = 2.0
"""What losing an honest update weighs against passing a false one."""
RIDGE = 1e-4


@dataclass(kw_only=True)
class Seen:
    """What was seen of one attack in one setting."""

    rows: list[Floats] = field(default_factory=list)
    """(K, SERVERS, F) of each round."""
    honest: list[Bools] = field(default_factory=list)
    crafted: list[Bools] = field(default_factory=list)
    copied: list[Bools] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def take(self, name: str) -> Any:
        """One of the columns over all rounds."""
        return np.concatenate(getattr(self, name))


def main() -> None:
    """Collect, fit, print and keep."""
    torch.set_num_threads(1)
    fitted = {describe(setting): collect(*setting) for setting in FIT}
    weights = fit(*stack(fitted))
    print(
        "COEFFICIENTS =",
        tuple(round(float(w), 2) for w in weights[:-1]),
        "OFFSET =",
        round(float(weights[-1]), 2),
    )
    print("in the code:  ", COEFFICIENTS, OFFSET)
    rows: list[Row] = []
    for name, seen in (fitted | {describe(setting): collect(*setting) for setting in SHOW}).items():
        for attack, of in seen.items():
            rows += judge(f"{name}: {attack}", of, weights)
    keep("score_weights", rows)


def describe(setting: tuple[str, dict[str, Any], int, int]) -> str:
    """A setting's name in the table."""
    model, partition, seed, _ = setting
    return f"{model}, {' '.join(str(value) for value in partition.values())}, seed {seed}"


def collect(model: str, partition: dict[str, Any], seed: int, rounds: int) -> dict[str, Seen]:
    """Play a setting with honest updates and measure every attack's beside them."""
    keys = BASE | {"task.model": model, "seed": seed} | partition
    data = datasets.load("mnist")
    clean = Worker(Scenario.from_table({}, keys), data)
    poisoned = {
        name: Worker(
            Scenario.from_table({}, keys | {"fleet.attack": attack, "fleet.attack_strength": k}), data
        )
        for name, (attack, k) in DATA_ATTACKS.items()
    }
    malicious = draw_malicious(Scenario.from_table({}, keys | {"fleet.attack": "label_flip"}).fleet, seed)
    current = clean.initial_model()
    former, seen = current, {name: Seen() for name in (*DATA_ATTACKS, *UPDATE_ATTACKS)}
    for number in range(1, rounds + 1):
        cohort = np.sort(stream(seed, "cohort", number).permutation(200)[:10])
        clean.take_model(current, former)
        own = np.stack([dequantise(clean.train(number, int(vehicle))[0]) for vehicle in cohort])
        false = malicious[cohort]
        if number >= FIRST and false.any():
            for name, (sent, really) in attack_all(
                number, current, former, cohort, own, false, poisoned, seed
            ).items():
                look(clean, seen[name], number, np.concatenate([own[~false], sent]), ~false, really)
        former, current = current, quantise(dequantise(current) + own[~false].mean(axis=0))
    return seen


def attack_all(  # noqa: PLR0917
    number: int,
    current: Any,
    former: Any,
    cohort: Any,
    own: Weights,
    false: Bools,
    poisoned: dict[str, Worker],
    seed: int,
) -> dict[str, tuple[Weights, Bools]]:
    """What the attackers of a round send by each attack, and which of it is really false."""
    sent: dict[str, tuple[Weights, Bools]] = {}
    for name, worker in poisoned.items():
        worker.take_model(current, former)
        vehicles = [int(vehicle) for vehicle in cohort[false]]
        updates = np.stack([dequantise(worker.train(number, vehicle)[0]) for vehicle in vehicles])
        sent[name] = updates, np.array([worker.is_poisoned(vehicle, number) for vehicle in vehicles])
    step = dequantise(current) - dequantise(former)
    for name in UPDATE_ATTACKS:
        rule = ATTACKS[name]
        assert isinstance(rule, UpdateRule)
        scene = Scene(
            own=own[false],
            seen=own[~false],
            step=step,
            strength=rule.strength,
            target_row=np.zeros(0, dtype=np.int64),  # none of these attacks aims at a class
            judge=None,
        )
        sent[name] = (
            rule.attack(scene, stream(seed, "craft", name, number)),
            np.ones(int(false.sum()), dtype=np.bool_),
        )
    return sent


def look(  # noqa: PLR0917
    worker: Worker, seen: Seen, number: int, updates: Weights, honest: Bools, really: Bools
) -> None:
    """Measure a round's updates at every edge server; attackers whose data had nothing to poison are left out."""
    kept = np.concatenate([np.ones(int(honest.sum()), dtype=np.bool_), really])
    traces, parts = None, []
    for server in range(SERVERS):
        images, labels = worker.probe_set(server)
        cohort = Cohort(
            weights=worker.weights,
            updates=updates,
            samples=np.ones(len(updates), dtype=np.int64),
            probe_images=images,
            probe_labels=labels,
            model=worker.model,
            step=worker.step,
        )
        traces = find_traces(updates, cohort.step)
        parts.append(design(measure(cohort, traces, find_moved(cohort)).values, traces))
    assert traces is not None
    seen.rows.append(np.stack(parts, axis=1)[kept])
    seen.honest.append((np.arange(len(updates)) < honest.sum())[kept])
    seen.crafted.append(traces.crafted[kept])
    seen.copied.append(traces.copied[kept])
    seen.rounds.append(number)


def stack(settings: dict[str, dict[str, Seen]]) -> tuple[Floats, Bools, Floats]:
    """Rows (n, F), honest (n,) and weights (n,): attacks and settings count alike, however many rows they have."""
    rows, honest, weights = [], [], []
    for seen in settings.values():
        for of in seen.values():
            if not of.rows:
                continue
            used = ~of.take("crafted") | of.take("honest")
            good = of.take("honest")[used]
            each = np.where(
                good, HONEST_WEIGHT / max(good.sum(), 1), min(1.0, (~good).sum() / 30) / max((~good).sum(), 1)
            )
            for server in range(SERVERS):
                rows.append(of.take("rows")[used][:, server])
                honest.append(good)
                weights.append(each)
    return np.concatenate(rows), np.concatenate(honest), np.concatenate(weights)


def fit(rows: Floats, honest: Bools, weights: Floats) -> Floats:
    """(F + 1,) coefficients and offset by Newton's method, with a small ridge on the coefficients."""
    table = np.column_stack([rows, np.ones(len(rows))])
    share, result = weights / weights.sum(), np.zeros(table.shape[1])
    ridge = RIDGE * np.append(np.ones(rows.shape[1]), 0.0)
    for _ in range(50):
        likely = 1.0 / (1.0 + np.exp(-table @ result))
        gradient = table.T @ (share * (likely - honest)) + ridge * result
        curvature = (table * (share * likely * (1.0 - likely))[:, None]).T @ table + np.diag(ridge + 1e-9)
        result = result - np.linalg.solve(curvature, gradient)
    return result


def judge(name: str, of: Seen, weights: Floats) -> list[Row]:
    """AUC, honest updates lost and false ones passed, by the lower median of the edge servers and the traces."""
    if not of.rows:
        return []
    odds = of.take("rows") @ weights[:-1] + weights[-1]
    likely = np.sort(1.0 / (1.0 + np.exp(-odds)), axis=1)[:, (SERVERS - 1) // 2]
    likely[of.take("crafted")] = 0.0
    honest = of.take("honest")
    values = {
        "auc": area_under_curve(likely, honest),
        "honest lost": float((likely[honest] < 0.5).mean()),
        "false passed": float((likely[~honest] >= 0.5).mean()) if (~honest).any() else None,
    }
    print(
        f"{name:45}",
        *[f"{key} {value:.3f}" for key, value in values.items() if value is not None],
        flush=True,
    )
    return [
        {
            "name": f"{name}: {key}",
            "value": value,
            "unit": "",
            "spread": None,
            "peer": None,
            "peer_value": None,
        }
        for key, value in values.items()
        if value is not None
    ]

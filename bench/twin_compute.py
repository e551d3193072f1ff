"""Capacity forecasts: mean relative error one round and three rounds ahead, and what they cost.

Vehicles of the pinned scenario are attested every 8.6 s by the world's own processors, whose load wanders and
follows the day by type. The forecasts see the attestations and the registered type, and are refined every ten
rounds. The peer is "the last attestation stays".
"""

import time

import numpy as np

from bench.rows import Row
from bench.twin_world import SEEDS, load, over_seeds
from platoon.nouns import Attestations, Floats, Instant, seconds
from platoon.twin.compute import FORECASTS, apply_attestations, refine_capacity, start_capacity
from platoon.world.compute import Processors

VEHICLES, ROUNDS, ROUND_S, LEARNING = 50, 70, 8.6, 30
AHEAD = (1, 3)
"""Rounds."""


def measure() -> list[Row]:
    """Rows ``compute_error_<method>_<rounds>`` and ``compute_cpu_s_<method>``, CPU seconds per seed."""
    found = {method: [play(seed, method) for seed in SEEDS] for method in FORECASTS}
    rows = []
    for method, plays in found.items():
        for column, ahead in enumerate(AHEAD):
            errors = [float(play_errors[column]) for play_errors, _ in plays]
            stays = [float(play_errors[column]) for play_errors, _ in found["persistence"]]
            name = f"compute_error_{method}_{ahead}_rounds"
            rows.append(over_seeds(name, errors, "share", "last attestation", stays))
        rows.append(over_seeds(f"compute_cpu_s_{method}", [spent for _, spent in plays], "CPU s"))
    return rows


def play(seed: int, method: str) -> tuple[Floats, float]:
    """(2,) mean relative errors ``AHEAD``, and CPU seconds."""
    scenario = load(seed)
    processors = Processors(scenario.compute, VEHICLES, seed)
    capacity = start_capacity(VEHICLES, processors.commercial)
    everyone, errors, spent = np.ones(VEHICLES, dtype=np.bool_), np.zeros((2, 0)), 0.0
    for number in range(1, ROUNDS + 1):
        at = Instant(seconds(number * ROUND_S))
        value = processors.available_hz(at)
        answers = Attestations(at=at, asked=everyone, passed=everyone, cpu_hz=value)
        begin = time.process_time()
        capacity = apply_attestations(capacity, answers, FORECASTS[method])
        if number % scenario.twin.refine_every == 0:
            capacity = refine_capacity(capacity, method)
        spent += time.process_time() - begin
        if number > LEARNING:
            found = []
            for ahead in AHEAD:
                then = Instant(seconds((number + ahead) * ROUND_S))
                begin = time.process_time()
                expected = FORECASTS[method](capacity, then, 1.6e9)
                spent += time.process_time() - begin
                found.append(np.abs(expected / processors.available_hz(then) - 1.0))
            errors = np.concatenate([errors, np.array(found)], axis=1)
    return errors.mean(axis=1), spent

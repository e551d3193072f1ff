"""Worlds: the walker's mean speed and cost, and how fast traces are read.

    python -m bench worlds

CPU seconds of one core. The mean speed is over the first minute, of fleets that stop at every fifth road's end.
"""

import tempfile
import time
from pathlib import Path

from bench.rows import Row, keep, row
from platoon.drivers.export import export_scenario
from platoon.physics.grids import build_grid_map
from platoon.scenario import Scenario
from platoon.world.fcd import read_frames
from platoon.world.walker import Habits, Walker

SEEDS = (1, 2, 3)
STEPS = 60
FLEETS = ((200, 21), (1_000, 21), (10_000, 51), (100_000, 101))
"""Vehicles, and streets each way of the grid of 250 m blocks that they walk on."""
SPEEDS_KMH = (30.0, 120.0)
TRACE_VEHICLES, TRACE_SECONDS = 1_000, 300


def main() -> None:
    """Measure, print and keep."""
    rows = [entry for vehicles, streets in FLEETS for entry in measure_walker(vehicles, streets)]
    rows.append(measure_traces())
    keep("worlds", rows)
    for entry in rows:
        print(f"{entry['name']:34} {entry['value']:12.5g} {entry['unit']:10} +- {entry['spread']:.2g}")


def measure_walker(vehicles: int, streets: int) -> list[Row]:
    """Cost of a step, and by how much the mean speed misses the one asked for."""
    costs, missed = [], []
    for seed in SEEDS:
        road_map = build_grid_map(streets, 250.0, 2, seed)
        for speed in SPEEDS_KMH:
            walker = Walker(
                road_map, vehicles, seed, Habits(mean_speed=speed / 3.6, stop_share=0.2, stop_s=10)
            )
            begun, total = time.process_time(), 0.0
            for _ in range(STEPS):
                walker.step()
                total += walker.speeds.mean()
            costs.append(1e3 * (time.process_time() - begun) / STEPS)
            missed.append(100.0 * abs(3.6 * total / STEPS / speed - 1.0))
    return [
        row(f"walker_step_{vehicles}_ms", costs, "ms"),
        row(f"walker_speed_error_{vehicles}_pct", missed, "%"),
    ]


def measure_traces() -> Row:
    """Vehicle positions read from packed XML per second."""
    roads = {"engine": "walker", "streets": 21, "warmup_s": 0}
    rates = []
    with tempfile.TemporaryDirectory(prefix="platoon-") as folder:
        path = Path(folder) / "trace.fcd.xml.gz"
        scenario = Scenario.from_table({"roads": roads, "fleet": {"vehicles": TRACE_VEHICLES}})
        export_scenario(scenario, path, TRACE_SECONDS)
        for _ in SEEDS:
            begun = time.process_time()
            count = sum(len(frame.names) for frame in read_frames(path))
            rates.append(count / (time.process_time() - begun))
    return row("trace_positions_per_s", rates, "1/s")

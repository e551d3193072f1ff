"""What a round of 8.6 s costs the twin: CPU seconds of one core, by the size of the fleet, and memory.

A round is nine looks of the RSUs (one a second), a round of attestations, one forecast of links, places and
finishing for everybody who is known, and the choice of ten. Vehicles walk on a grid without SUMO; what the
RSUs measure of them is made outside the clock. 800 vehicles are all in coverage; from 1,000 to 100,000 it is a
tenth, on a grid that grows with the fleet. Every size runs in a process of its own, whose peak of memory is kept.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.rows import Row, row
from bench.twin_world import load
from platoon import Scenario
from platoon.nouns import Attestations, Instant, Measurements, seconds
from platoon.physics.grids import build_grid_map
from platoon.rng import stream
from platoon.twin.finish import Job
from platoon.twin.selectors import NEVER, Candidates, finish_reputation
from platoon.twin.twin import Twin
from platoon.world.radio import place_rsus
from platoon.world.walker import Habits, Walker

ROUND_S, LOOKS, WARM_UP, ROUNDS = 8.6, 9, 4, 7
BITS = 9.6e6
EVERYBODY = 800
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
COVERED = 0.1
"""Share of the larger fleets that is in coverage."""
LARGEST = SIZES[-1]


def measure() -> list[Row]:
    """Rows ``round_800_ms``, ``round_100k_s``, ``round_100k_gib``; prints the table by fleet size."""
    found = {size: _in_own_process(size) for size in (EVERYBODY, *SIZES)}
    print(f"{'vehicles':>9} {'heard':>7} {'ms a round':>11} {'us a vehicle':>13} {'GiB':>6}")
    for size, figures in found.items():
        cost = statistics.median(figures["seconds"])
        print(
            f"{size:9} {figures['heard']:7} {cost * 1e3:11.1f} {cost / size * 1e6:13.2f} {figures['gib']:6.2f}"
        )
    settings = load(1).twin
    print(f"horizon {ROUND_S} s, at most {settings.particles} particles a vehicle")
    largest = found[LARGEST]
    return [
        row("round_800_ms", [1e3 * value for value in found[EVERYBODY]["seconds"]], "ms"),
        row("round_100k_s", largest["seconds"], "s"),
        row("round_100k_gib", [largest["gib"]] * 2, "GiB"),
        row(
            "round_cost_per_vehicle_100k_over_1k",
            [
                value / LARGEST / (statistics.median(found[1_000]["seconds"]) / 1_000)
                for value in largest["seconds"]
            ],
            "ratio",
        ),
    ]


def _in_own_process(size: int) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.twin_speed", str(size)], capture_output=True, text=True, check=True
    )
    figures: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def time_rounds(size: int) -> dict[str, object]:
    """CPU seconds of each round, how many vehicles are heard, and the peak of memory of this process."""
    share = 1.0 if size == EVERYBODY else COVERED
    scenario = load(1, {"fleet.vehicles": size})
    site = _Site(scenario, share)
    twin = Twin(scenario, site.walker.road_map, site.rsus)
    job = Job(samples=np.full(size, 300.0), epochs=3, bits=BITS, wait_s=1.0)
    spent = []
    for number in range(WARM_UP + ROUNDS):
        looks, answers = list(site.look()), site.attest()
        start = time.process_time()
        for measured in looks:
            twin.observe(measured)
        twin.attest(answers)
        forecasts = twin.forecast(job, seconds(ROUND_S), looks[-1].at)
        chosen = finish_reputation(
            Candidates(
                forecasts=forecasts,
                reputation=np.ones(size),
                rho_min=0.4,
                count=10,
                rng=stream(1, "bench"),
                round=number + 1,
                last_chosen=np.full(size, NEVER),
            )
        )
        spent.append(time.process_time() - start)
        assert len(chosen) == 10, chosen
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024**2
    return {"seconds": spent[WARM_UP:], "heard": int(looks[-1].heard.sum()), "gib": peak}


class _Site:
    """Walkers on a grid, and RSUs that hear ``share`` of them."""

    def __init__(self, scenario: Scenario, share: float) -> None:
        self.scenario, self.size, self.share = scenario, scenario.fleet.vehicles, share
        streets = 21 if share == 1.0 else max(21, round(21 * (self.size / 10_000) ** 0.5))
        roads = build_grid_map(streets, 250.0, 2)
        self.walker = Walker(roads, self.size, 1, Habits(stop_share=0.5, stop_s=6))
        self.rsus = place_rsus(roads, scenario.radio.rsus, scenario.radio.service_radius_m)
        self.second = 0

    def look(self) -> Iterator[Measurements]:
        """What the RSUs measure in the seconds of a round."""
        for _ in range(LOOKS):
            self.second += 1
            self.walker.step()
            yield self._measure()

    def attest(self) -> Attestations:
        rng = stream(1, "bench attestation", self.second)
        everybody = np.ones(self.size, dtype=bool)
        return Attestations(
            at=seconds(self.second),
            asked=everybody,
            passed=everybody,
            cpu_hz=rng.uniform(1e9, 2e9, self.size),
        )

    def _measure(self) -> Measurements:
        at, rng = Instant(seconds(self.second)), stream(1, "bench look", self.second)
        away = np.hypot(*np.moveaxis(self.walker.positions[:, None] - self.rsus, -1, 0))
        nearest = np.sort(away.min(axis=1))[int(self.share * self.size) - 1]
        heard = away <= max(nearest, 0.0)
        heard |= (away <= self.scenario.radio.hearing_radius_m) & heard.any(axis=1)[:, None]
        fix = self.walker.positions + rng.normal(0.0, 3.0, (self.size, 2))
        rsrp = -85.0 - 30.0 * np.log10(np.maximum(away, 20.0) / 100.0) + rng.normal(0.0, 4.0, away.shape)
        nothing = Measurements.nothing(at, self.size, len(self.rsus))
        return replace(
            nothing,
            rsrp_dbm=np.where(heard, rsrp, np.nan),
            position=np.where(heard.any(axis=1)[:, None], fix, np.nan),
        )


if __name__ == "__main__":
    print(json.dumps(time_rounds(int(sys.argv[1]))))

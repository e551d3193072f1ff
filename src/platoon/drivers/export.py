"""The traffic of a run, or of a scenario, as a trace of floating car data with its road map beside it.

Traffic repeats itself bit for bit, so a run's need not be recorded while it plays: it is driven again, and held
against the speed that the run's summary reports. Replayed (``roads.replay``) it gives the same measurements, so the
same selections, ledger and model, on a machine without SUMO.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from platoon.drivers.run_directory import RunDirectory
from platoon.errors import UserError
from platoon.ledger.task_rules import describe_scenario
from platoon.nouns import Floats
from platoon.scenario import Scenario
from platoon.world.engines import start_traffic
from platoon.world.fcd import KINDS, Frame, write_frames
from platoon.world.formation import arrange
from platoon.world.road_file import load_roads, road_file_beside, save_roads
from platoon.world.traffic import Traffic

SECONDS = 600
"""Of a scenario that was not run."""
BEYOND_S = 10
"""Seconds after the end of a run: the world stands at the next second, and who resumes goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    trace: Path
    road_map: Path
    seconds: int
    vehicles: int


@dataclass(slots=True)
class _Mean:
    """The fleet's mean speed as the world keeps it."""

    total: float = 0.0
    steps: int = 0
    after: dict[int, float] = field(default_factory=dict)
    """km/h after so many seconds."""

    def add(self, second: int, traffic: Traffic) -> None:
        if traffic.present.any():
            self.total += float(traffic.speeds[traffic.present].mean())
            self.steps += 1
        self.after[second] = 3.6 * self.total / max(1, self.steps)


def export_run(path: Path, out: Path, tick: Callable[[int, int], None] | None = None) -> Exported:
    """Write the traffic of a finished run.

    Raises:
        UserError: no finished run, ``out`` is there already or no kind of trace, or this machine's traffic is not
            the run's.
    """
    directory = RunDirectory.open(path)
    summary = directory.summary
    if summary is None:
        raise UserError(f"{path}: is not finished; `platoon resume {path}` goes on with it")
    ended = directory.read_columns("rounds")["ended_s"]
    seconds = math.ceil(ended[-1]) if ended else 0
    exported, mean = _export(directory.scenario, out, seconds + BEYOND_S, tick)
    told = summary["achieved_speed_kmh"]
    if ended and mean.after[seconds] != told:
        _remove(out)
        raise UserError(
            f"{path}: its vehicles had a mean speed of {told:g} km/h, here they have {mean.after[seconds]:g}: "
            "another version of SUMO drives otherwise; allowed: the one in summary.json"
        )
    return exported


def export_scenario(
    scenario: Scenario, out: Path, seconds: int = SECONDS, tick: Callable[[int, int], None] | None = None
) -> Exported:
    """Write the traffic of a scenario's first ``seconds``; raises ``UserError`` like ``export_run``."""
    return _export(scenario, out, seconds, tick)[0]


def require_own_traffic(scenario: Scenario) -> None:
    """Raise ``UserError`` where the traffic that a scenario replays is that of another one."""
    if scenario.roads.replay is None:
        return
    path = road_file_beside(Path(scenario.roads.replay))
    if load_roads(path).scenario != describe_scenario(scenario).hex():
        raise UserError(
            f"roads.replay = {scenario.roads.replay}: {path} is of another scenario; allowed: what `platoon world "
            'export` wrote for this one (other traces: roads.engine = "trace")'
        )


def _export(
    scenario: Scenario, out: Path, seconds: int, tick: Callable[[int, int], None] | None
) -> tuple[Exported, _Mean]:
    road_file = road_file_beside(out)
    if not out.name.lower().endswith(KINDS):
        raise UserError(f"{out}: unknown kind of trace; allowed: {', '.join(KINDS)}")
    for path in (out, road_file):
        if path.exists():
            raise UserError(f"{path}: is there already; choose another --out")
    mean = _Mean()
    with tempfile.TemporaryDirectory(prefix="platoon-") as scratch:
        traffic = start_traffic(scenario, Path(scratch))
        try:
            seen = arrange(scenario, traffic)  # convoys and the like, as the world has them
            write_frames(out, _record(traffic, seen, seconds, mean, tick or (lambda _second, _of: None)))
            save_roads(road_file, traffic.road_map, scenario=describe_scenario(scenario).hex())
        except BaseException:
            _remove(out)
            raise
        finally:
            traffic.close()
    vehicles = scenario.fleet.vehicles
    return Exported(trace=out, road_map=road_file, seconds=seconds, vehicles=vehicles), mean


def _remove(out: Path) -> None:
    out.unlink(missing_ok=True)
    road_file_beside(out).unlink(missing_ok=True)


def _record(
    traffic: Traffic, seen: Traffic, seconds: int, mean: _Mean, tick: Callable[[int, int], None]
) -> Iterator[Frame]:
    """A frame for the start and for every second: who is on the road, under the name of its vehicle.

    ``seen`` moves the traffic, and is what a run's mean speed is of.
    """
    angles = np.full(len(traffic.present), np.nan)
    before = traffic.positions
    mean.after[0] = 0.0
    yield _frame(traffic, 0, angles)
    for second in range(1, seconds + 1):
        seen.step()
        mean.add(second, seen)
        step = traffic.positions - before
        moved = (step != 0.0).any(axis=1)
        angles = np.where(moved, np.mod(90.0 - np.degrees(np.arctan2(step[:, 1], step[:, 0])), 360.0), angles)
        before = traffic.positions
        yield _frame(traffic, second, angles)
        tick(second, seconds)


def _frame(traffic: Traffic, second: int, angles: Floats) -> Frame:
    rows = np.flatnonzero(traffic.present)
    return Frame(
        at=float(second),
        line=0,
        names=tuple(f"platoon.{row}" for row in rows),
        places=traffic.positions[rows],
        speeds=traffic.speeds[rows],
        angles=angles[rows],
    )

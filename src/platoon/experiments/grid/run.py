"""Play the cells of a grid, several at once, and keep what came of each.

Every cell is a process of its own with one training worker; the folder holds ``cells/DIGEST.json`` a cell. A
cell whose file is there is not played again, whatever grid it came from, and one that failed is. Interrupted at
any moment, the next call goes on with the cells that are missing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from platoon.drivers.locks import scratch_folder
from platoon.drivers.run_directory import RunDirectory, write_atomically
from platoon.errors import UserError
from platoon.experiments.grid.plan import Cell, Grid, describe

Result = Mapping[str, Any]
"""The measures of a cell, or ``{"error": ...}``."""
Told = Callable[[int, int, str], None]
"""How many cells are done, of how many, and which came last."""


def play_grid(
    grid: Grid, out: Path, *, at_once: int, keep: bool = False, told: Told = lambda *_: None
) -> dict[str, Result]:
    """Play what is missing; the result of every cell by its digest.

    Raises:
        UserError: ``out`` holds something else, another process works in it, or a result in it is damaged.
    """
    cells = out / "cells"
    if out.exists() and not cells.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty and holds no grid; allowed: a new folder, or that of a grid")
    cells.mkdir(parents=True, exist_ok=True)
    with RunDirectory(out).hold():
        write_atomically(out / "grid.toml", grid.text)
        results = read_results(grid, cells)
        missing = [cell for cell in grid.cells if "error" in results.get(cell.digest, {"error": ""})]
        _play(missing, cells, out / "runs" if keep else None, at_once, len(grid.cells), told)
        return read_results(grid, cells)


def read_results(grid: Grid, cells: Path) -> dict[str, Result]:
    """What is there of a grid's cells, by digest; raises ``UserError`` where a file is damaged."""
    folder = RunDirectory(cells)
    names = {cell.digest: f"{cell.digest}.json" for cell in grid.cells}
    return {digest: folder.read_json(name) for digest, name in names.items() if (cells / name).is_file()}


def find_failures(grid: Grid, results: Mapping[str, Result]) -> list[str]:
    """A line for every cell that failed."""
    return [
        f"cell {describe(cell.levels)}: {results[cell.digest]['error']}"
        for cell in grid.cells
        if "error" in results[cell.digest]
    ]


def _play(  # noqa: PLR0917
    missing: Sequence[Cell], cells: Path, runs: Path | None, at_once: int, total: int, told: Told
) -> None:
    waiting, done = list(missing), total - len(missing)
    playing: dict[subprocess.Popen[bytes], Cell] = {}
    with scratch_folder() as scratch:
        try:
            while waiting or playing:
                while waiting and len(playing) < at_once:
                    cell = waiting.pop(0)
                    playing[_start(cell, scratch, cells, runs)] = cell
                for process in [process for process in playing if process.poll() is not None]:
                    cell = playing.pop(process)
                    _require_result(cell, process, cells, scratch)
                    done += 1
                    told(done, total, describe(cell.levels))
                time.sleep(0.05)
        finally:
            for process in playing:
                process.terminate()
            for process in playing:
                process.wait()


def _start(cell: Cell, scratch: Path, cells: Path, runs: Path | None) -> subprocess.Popen[bytes]:
    text = scratch / f"{cell.digest}.toml"
    text.write_text(cell.scenario.to_toml(), encoding="utf-8")
    kept = [] if runs is None else [str(runs / cell.digest[:16])]
    if runs is not None:
        runs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "platoon.experiments.grid.cell", str(text)]
    with (scratch / f"{cell.digest}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, str(cells / f"{cell.digest}.json"), *kept],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )


def _require_result(cell: Cell, process: subprocess.Popen[bytes], cells: Path, scratch: Path) -> None:
    """A process that ended without a word left its last lines in its log: they become the cell's error."""
    if process.returncode == 0:
        return
    log = (scratch / f"{cell.digest}.log").read_text(encoding="utf-8", errors="replace").strip()
    last = " / ".join(log.splitlines()[-3:])
    told = {"error": f"the run's process ended with exit code {process.returncode}: {last}"}
    write_atomically(cells / f"{cell.digest}.json", json.dumps(told) + "\n")

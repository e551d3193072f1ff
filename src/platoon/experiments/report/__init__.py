"""``report.html``: what happened in one run, or in several side by side, read from run directories alone.

The page opens without a network: one file holds the plotting library, the data and the words. ``reading`` turns
a run directory into columns, ``measures`` derives what is plotted from them, ``findings`` says it in sentences,
``plots_*`` draw it, ``tables`` list it and ``page`` puts everything into one file. Nothing here runs, changes or
checks an experiment; ``platoon verify`` does the checking.
"""

from collections.abc import Sequence
from pathlib import Path

from platoon.experiments.report.findings import describe_runs
from platoon.experiments.report.page import render_page, write_page
from platoon.experiments.report.reading import read_runs

__all__ = ["find_findings", "write_report"]


def find_findings(run_directories: Sequence[Path]) -> list[str]:
    """What the runs show, as plain sentences computed from their data; the first run is named first.

    Raises:
        UserError: no run directory, or one that is missing or damaged; the message names the file.
    """
    return describe_runs(read_runs(run_directories))


def write_report(run_directories: Sequence[Path], out: Path) -> Path:
    """Write the report of one or several runs to ``out`` and return that path.

    The file appears complete or not at all, and equal runs give equal bytes.

    Raises:
        UserError: a run directory is missing or damaged, plotly is not installed, or ``out`` cannot be written.
    """
    return write_page(Path(out), render_page(read_runs(run_directories)))

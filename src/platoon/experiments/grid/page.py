"""Heat maps of a grid, as one HTML page of tables that needs no script and loads nothing."""

import html
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

from platoon.drivers.run_directory import write_atomically
from platoon.errors import UserError
from platoon.experiments.grid.plan import Grid
from platoon.experiments.grid.run import Result

SHOWN: Final = {
    "accuracy": ("Final accuracy", "mean of the last ten rounds", True),
    "auc": ("Score AUC", "probability that a false update scores below an honest one, over the run", True),
    "auc_second_half": ("Score AUC, second half", "the same, in the second half of the run", True),
    "poisoned_weight_second_half": (
        "Weight of false updates",
        "share of the merged weight, second half",
        False,
    ),
    "malicious_weight_second_half": (
        "Weight of attackers",
        "the same by vehicle, their honest updates included",
        False,
    ),
    "false_accusations": ("False accusations", "share of honest updates that were found invalid", False),
    "honest_below_threshold": (
        "Honest below the threshold",
        "share of judged honest vehicles at the end",
        False,
    ),
    "backdoor_success": ("Success of the backdoor", "share of stamped test images that it turns", False),
}
"""By measure: title, what it is, whether much is good."""
STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
body{color:#1c2128}
h2{margin:2.5rem 0 .25rem}p{margin:.25rem 0 .75rem;color:#57606a}h3{font-weight:600;margin:1rem 0 .25rem}
table{border-collapse:collapse;margin:.5rem 0 1rem}th{font-weight:600;text-align:left;padding:.25rem .6rem}
td{padding:.35rem .6rem;text-align:right;border:2px solid #fff;font-variant-numeric:tabular-nums;min-width:3.5rem}
small{color:inherit;opacity:.75}td.none{color:#8a8f98;background:#f3f4f6}"""


def choose_axes(grid: Grid, rows: str | None, columns: str | None) -> tuple[str, str]:
    """The axes of the tables: as asked, else the first two that are not the seed; "" where there is none.

    Raises:
        UserError: no such axis, or the same twice.
    """
    for option, axis in (("--rows", rows), ("--columns", columns)):
        if axis is not None and axis not in grid.axes:
            raise UserError(f"{option} {axis}: no such axis; allowed: {', '.join(grid.axes)}")
    if rows is not None and rows == columns:
        raise UserError(f"--rows {rows} --columns {columns}: allowed: two different axes")
    free = [axis for axis in grid.axes if axis not in ("seed", rows, columns)] + ["", ""]
    first = free.pop(0) if rows is None else rows
    return first, free.pop(0) if columns is None else columns


def write_page(grid: Grid, results: Mapping[str, Result], out: Path, rows: str, columns: str) -> Path:
    """Write ``grid.html``; equal results give equal text."""
    body = "".join(
        f"<h2>{title}</h2><p>{what}</p>{_maps(grid, results, rows, columns, measure, good)}"
        for measure, (title, what, good) in SHOWN.items()
        if any(result.get(measure) is not None for result in results.values())
    )
    lead = f"{len(grid.cells)} runs. {_explain_cells(grid, rows, columns)}"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(grid.name)}</title>'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style><h1>{html.escape(grid.name)}</h1><p>{lead} Grid file: SHA-256 {grid.digest}.</p>"
        f"{body}</html>\n"
    )
    path = out / "grid.html"
    write_atomically(path, page)
    return path


def _explain_cells(grid: Grid, rows: str, columns: str) -> str:
    seeds = 1 if "seed" in (rows, columns) else len(grid.axes.get("seed", ("",)))
    if seeds == 1:
        return "A cell is one run; pointing at it shows the value with more digits."
    mean = f"A cell is the mean over {seeds} seeds, with half the range beneath it"
    return f"{mean}; pointing at it shows the values."


def _maps(  # noqa: PLR0917
    grid: Grid, results: Mapping[str, Result], rows: str, columns: str, measure: str, good: bool
) -> str:
    """A table for every combination of the other axes."""
    others = [axis for axis in grid.axes if axis not in (rows, columns, "seed")]
    drawn = []
    for levels in product(*(grid.axes[axis] for axis in others)):
        fixed = dict(zip(others, levels, strict=True))
        values = _gather(grid, results, fixed, rows, columns, measure)
        if any(values.values()):
            heading = ", ".join(f"{axis} {level}" for axis, level in fixed.items())
            drawn.append(f"<h3>{html.escape(heading)}</h3>{_table(grid, values, rows, columns, good)}")
    return "".join(drawn)


def _gather(  # noqa: PLR0917
    grid: Grid,
    results: Mapping[str, Result],
    fixed: Mapping[str, str],
    rows: str,
    columns: str,
    measure: str,
) -> dict[tuple[str, str], list[float]]:
    """By row and column, the values of all seeds that are there."""
    values: dict[tuple[str, str], list[float]] = {}
    for cell in grid.cells:
        value = results.get(cell.digest, {}).get(measure)
        if value is not None and all(cell.levels[axis] == level for axis, level in fixed.items()):
            values.setdefault((cell.levels.get(rows, ""), cell.levels.get(columns, "")), []).append(
                float(value)
            )
    return values


def _table(
    grid: Grid, values: Mapping[tuple[str, str], list[float]], rows: str, columns: str, good: bool
) -> str:
    across = grid.axes.get(columns, ("",))
    head = "".join(f"<th>{html.escape(level)}</th>" for level in across)
    lines = [
        f"<tr><th>{html.escape(level)}</th>"
        f"{''.join(_cell(values.get((level, other), []), good) for other in across)}</tr>"
        for level in grid.axes.get(rows, ("",))
    ]
    corner = html.escape(f"{rows} / {columns}" if columns else rows)
    return f"<table><tr><th>{corner}</th>{head}</tr>{''.join(lines)}</table>"


def _cell(values: Sequence[float], good: bool) -> str:
    if not values:
        return '<td class="none">-</td>'
    mean, spread = statistics.fmean(values), (max(values) - min(values)) / 2
    share = min(1.0, max(0.0, mean if good else 1.0 - mean))
    red, green, blue = (round(a + (b - a) * share**2) for a, b in ((213, 0), (94, 114), (0, 178)))
    each = ", ".join(f"{value:.4f}" for value in values)
    beneath = f"<br><small>&plusmn; {spread:.3f}</small>" if len(values) > 1 else ""
    return (
        f'<td style="background:rgb({red},{green},{blue});color:#fff" title="{each}">{mean:.3f}{beneath}</td>'
    )

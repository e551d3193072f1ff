"""The rows that every benchmark keeps: ``bench/out/NAME.json`` (DESIGN of the benchmarks: one list, six keys); and
tables, which stand in the pages of ``docs`` under a marker of their name."""

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
Row = dict[str, Any]
"""name, value, unit, spread, peer, peer_value."""


def row(
    name: str, values: list[float], unit: str, peer: str | None = None, peer_value: float | None = None
) -> Row:
    """Median and spread (half the distance between the quartiles) over the repetitions."""
    low, _, high = statistics.quantiles(values, n=4)
    return {
        "name": name,
        "value": statistics.median(values),
        "unit": unit,
        "spread": (high - low) / 2,
        "peer": peer,
        "peer_value": peer_value,
    }


def keep(name: str, rows: list[Row]) -> None:
    """Write a benchmark's rows."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def number(value: float | None, digits: int = 3) -> str:
    """A cell of a table; a dash where there is nothing."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_spread(row: dict[str, Any], name: str) -> str:
    """A mean and half the range over the seeds; a dash where there is nothing."""
    if row[name] is None:
        return "-"
    return f"{row[name]:.3f} +- {row[f'{name}_spread']:.3f}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, from its cells."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def paste(page: Path, tables: Mapping[str, str]) -> None:
    """Put every table under its marker ``<!-- NAME -->`` in a page, in place of what stands there up to the next
    empty line.

    Raises:
        ValueError: the page has no such marker, or two; nothing is written.
    """
    text = page.read_text(encoding="utf-8")
    for name, shown in tables.items():
        parts = re.split(rf"(?<=<!-- {re.escape(name)} -->\n)(?:.+\n)*", text)
        if len(parts) != 2:
            raise ValueError(f"{page.name}: {len(parts) - 1} markers <!-- {name} -->; allowed: one")
        text = f"{parts[0]}{shown}\n{parts[1]}"
    page.write_text(text, encoding="utf-8")

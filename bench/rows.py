"""The rows that every benchmark keeps: ``bench/out/NAME.json`` (DESIGN of the benchmarks: one list, six keys)."""

import json
import statistics
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

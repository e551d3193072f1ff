"""The rows that every benchmark keeps: ``bench/out/NAME.json`` (DESIGN of the benchmarks: one list, six keys)."""

import json
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
Row = dict[str, Any]
"""name, value, unit, spread, peer, peer_value."""


def keep(name: str, rows: list[Row]) -> None:
    """Write a benchmark's rows."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

"""How well the twin foresees, and what it costs: positions, fixes, links, finishing, seconds per round.

    python -m bench twin            every part
    python -m bench.twin positions  one part

prints a table and writes ``bench/out/twin.json``; a part alone replaces its own rows there and leaves the others.
Accuracy is measured on ``scenarios/twin.toml`` with the seeds of ``bench.twin_world``. A part is a module with
``measure() -> list[Row]``, named in ``PARTS``.
"""

import importlib
import json
import sys

from bench.rows import OUT, Row, keep

PARTS = {
    "positions": "bench.twin_positions",
    "speed": "bench.twin_speed",
    "fixes": "bench.twin_fixes",
    "links": "bench.twin_links",
    "link_methods": "bench.twin_link_methods",
    "drives": "bench.twin_drives",
    "compute": "bench.twin_compute",
}
"""Name of a part, and its module."""


def main(asked: list[str] | None = None) -> None:
    """Measure the parts that were asked for (all without a name), print and keep."""
    rows: list[Row] = []
    for part in asked or list(PARTS):
        found: list[Row] = importlib.import_module(PARTS[part]).measure()
        show(found)
        rows += found
    keep("twin", merge(_kept(), rows) if asked else rows)


def merge(before: list[Row], now: list[Row]) -> list[Row]:
    """``now`` in the places of its names, and what else stood there ``before``."""
    named = {row["name"]: row for row in [*before, *now]}
    return list(named.values())


def show(rows: list[Row]) -> None:
    """One line each."""
    for row in rows:
        peer = "" if row["peer_value"] is None else f"  {row['peer']}: {row['peer_value']:.4g}"
        spread = "" if row["spread"] is None else f" +- {row['spread']:.2g}"
        print(f"{row['name']:44} {row['value']:10.4g} {row['unit']:8}{spread}{peer}", flush=True)


def _kept() -> list[Row]:
    path = OUT / "twin.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return rows


if __name__ == "__main__":
    unknown = [part for part in sys.argv[1:] if part not in PARTS]
    if unknown:
        print(f"bench.twin: {', '.join(unknown)}: unknown; allowed: {', '.join(PARTS)}", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1:])

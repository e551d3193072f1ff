"""``python -m bench [NAME]``: run one benchmark, or all. Each prints a table and writes bench/out/NAME.json."""

import importlib
import sys

NAMES = (
    "learning",
    "ledger",
    "quickstart",
    "identity",
    "twin",
    "selection",
    "plausibility",
    "worlds",
    "aggregation",
    "score_weights",
    "scoring",
    "market",
    "trust",
    "convergence",
    "reputation",
    "judging",
    "opinions",
)


def main() -> int:
    """Run what was asked for; 2 for a name that does not exist."""
    asked = sys.argv[1] if len(sys.argv) > 1 else "all"
    if asked not in ("all", *NAMES):
        print(f"bench: NAME={asked}: unknown; allowed: all, {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in NAMES if asked == "all" else (asked,):
        print(f"# {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


sys.exit(main())

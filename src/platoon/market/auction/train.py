"""``python -m platoon.market.auction.train [NAME]``: train the parameters that come with the package, all or some.

Writes ``parameters/NAME.json`` beside this file. Training is float work, and another processor ends in other last
digits; what counts from then on is the file, whose digest is registered.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from platoon.market.auction.boosts import to_record
from platoon.market.auction.count_training import CountTraining, train_counts
from platoon.market.auction.markets import Market, find_market
from platoon.market.auction.menu import learn_prices
from platoon.market.auction.training import BoostTraining, train_boosts

FOLDER: Final = Path(__file__).parent / "parameters"
SEED: Final = 1
SIZES: Final = (
    (3, 3),
    (3, 5),
    (2, 3),
    (3, 4),
    (2, 5),
    (4, 4),
    (5, 3),
    (3, 2),
    (3, 1),
    (8, 3),
    (2, 1),
    (5, 4),
)
"""Buyers and models that take turns in training."""
COUNTS: Final = ("u01-2x2", "u01-2x5", "u01-3x3", "u01-3x5", "u01-3x10", "r1_high-3x3", "r1_high-3x5")
MENUS: Final = ("u01", "r1_high")
MIX: Final = BoostTraining(steps=3000, batch=512, objective="weighted")


def train_network(names: tuple[str, ...], settings: BoostTraining, seed: int = SEED) -> dict[str, Any]:
    """The record of a network for these markets at all ``SIZES``."""
    markets: list[Market] = [find_market(name, buyers, models) for buyers, models in SIZES for name in names]
    return to_record(train_boosts(markets, settings, seed))


def train_all_counts(seed: int = SEED) -> dict[str, Any]:
    """Boosts by count for all ``COUNTS``."""
    records = {}
    for name in COUNTS:
        market, size = name.split("-")
        buyers, models = (int(part) for part in size.split("x"))
        boosts = train_counts(find_market(market, buyers, models), CountTraining(), seed)
        records[name] = {"bundle": boosts.bundle, "unsold": boosts.unsold}
    return records


def train_menus(seed: int = SEED) -> dict[str, Any]:
    """Prices of 1 to 5 licences for ``MENUS``."""
    return {
        f"{name}-{models}": learn_prices(find_market(name, 3, models), seed)
        for name in MENUS
        for models in range(1, 6)
    }


R1: Final = ("r1_high", "r1_low")
TRAINED: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "r1": lambda: train_network(R1, MIX),
    "r1_plain": lambda: train_network(R1, BoostTraining(steps=3000, batch=512)),
    "u01": lambda: train_network(("u01_scaled",), BoostTraining(steps=3000, batch=512)),
    "menus": train_menus,
    "counts": train_all_counts,
}


def main() -> int:
    """Train what was asked for; 2 for a name that does not exist."""
    names = sys.argv[1:] or list(TRAINED)
    unknown = [name for name in names if name not in TRAINED]
    if unknown:
        print(f"train: {unknown[0]}: unknown; allowed: {', '.join(TRAINED)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        print(f"training {name}", flush=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(TRAINED[name]()) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Parameters that were trained once and come with the package, by name.

    r1, r1_plain     networks for the reconstructed market of the TL market's Fig. 3(a), for revenue weighted by
                     reputation as the paper has it, and for plain revenue
    u01              a network for dense U[0, 1] values that are scaled by reputation
    counts           boosts by count for U[0, 1] and R1 at several sizes
    menus            prices of licences by bundle size for U[0, 1] and R1, 1 to 5 models

``python -m platoon.market.auction.train`` makes the files anew.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from platoon.errors import UserError
from platoon.market.auction.boosts import BoostNetwork, from_record
from platoon.market.auction.counts import CountBoosts
from platoon.market.auction.menu import Menu, expand_counts
from platoon.scenario import did_you_mean

NETWORKS: Final = ("r1", "r1_plain", "u01")


@cache
def load_network(name: str) -> BoostNetwork:
    """The trained network of that name; its digest is checked.

    Raises:
        UserError: there is none of that name.

    >>> load_network("r1").parameters
    1426
    """
    if name not in NETWORKS:
        raise UserError(f"boosts = {name!r}: no such trained network; {did_you_mean(name, NETWORKS)}")
    return from_record(_read(f"{name}.json"), f"{name}.json")


@cache
def load_counts() -> dict[str, CountBoosts]:
    """All boosts by count, by market and size.

    >>> load_counts()["u01-2x2"].models
    2
    """
    return {
        name: CountBoosts(bundle=tuple(record["bundle"]), unsold=tuple(record["unsold"]))
        for name, record in _read("counts.json").items()
    }


def find_counts(name: str) -> CountBoosts:
    """Boosts by count of that name, such as ``u01-3x10`` (market, buyers, models).

    Raises:
        UserError: there are none of that name.
    """
    known = load_counts()
    if name not in known:
        raise UserError(f"boosts = {name!r}: no such trained counts; {did_you_mean(name, list(known))}")
    return known[name]


@cache
def find_menu(name: str) -> Menu:
    """The menu of that name, such as ``u01-3`` (market, models).

    Raises:
        UserError: there is none of that name.

    >>> find_menu("u01-3").models
    3
    """
    known = _read("menus.json")
    if name not in known:
        raise UserError(f"menu = {name!r}: no such trained menu; {did_you_mean(name, list(known))}")
    return expand_counts(tuple(known[name]))


def _read(name: str) -> dict[str, Any]:
    text = (files("platoon.market.auction") / "parameters" / name).read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record

"""Reputations as a buyer may see them: market-wide, its own by the contract, or its own by subjective logic.

Market-wide is what auctions freeze. The other two answer a buyer's question whom to trust, from what it and others
have found; subjective logic (Kang et al. 2019) is computed here from the ratings on the chain, since a chain knows
nothing of lost packets, which its uncertainty stands for.
"""

from collections.abc import Callable
from typing import Final

from platoon.drivers.market.desk import Desk
from platoon.errors import UserError
from platoon.market.opinions.subjective import Experience, SubjectiveRules, compute_reputations
from platoon.records.opinions import OpinionRules
from platoon.scenario import did_you_mean

Reputations = dict[int, int]
"""By seller's handle, ppm."""


def view_reputations(desk: Desk, by: str, buyer: str | None) -> Reputations:
    """Reputations of all traders as ``by`` has them.

    Raises:
        UserError: no such view, or one that needs a buyer and has none.
    """
    if by not in VIEWS:
        raise UserError(f"--by {by!r}: {did_you_mean(by, list(VIEWS))}")
    if by == "market":
        return desk.reputations_of_all()
    if buyer is None:
        raise UserError(f"--by {by}: a view of one buyer; --as says whose")
    handle = desk.chain.find_handle(desk.folder.find_trader(buyer).address)
    return VIEWS[by](desk, handle)


def _integrated(desk: Desk, buyer: int) -> Reputations:
    """The paper's r_ij, by contract."""
    now = desk.state.now
    return {
        handle: int(desk.chain.read("Opinions", "integrated", buyer, handle, now)[0])
        for handle in sorted(desk.state.accounts.values())
    }


def _subjective(desk: Desk, buyer: int) -> Reputations:
    """Kang's: the present period's events are recent, those before it in the window are past."""
    rules = OpinionRules(
        **dict(zip(OpinionRules.__slots__, desk.chain.read("Opinions", "rules")[0], strict=True))
    )
    handles = sorted(desk.state.accounts.values())
    places = {handle: place for place, handle in enumerate(handles)}
    size = len(handles)
    counts = {
        (positive, recent): [[0] * size for _ in range(size)]
        for positive in (True, False)
        for recent in (True, False)
    }
    present = desk.state.now // rules.period
    for _, event in desk.chain.events():
        if (event.contract, event.name) != ("Opinions", "Rated"):
            continue
        age = present - event.values["at"] // rules.period
        if age < rules.periods:
            table = counts[bool(event.values["positive"]), age == 0]
            table[places[event.values["buyer"]]][places[event.values["seller"]]] += 1
    experience = Experience(
        positive_recent=counts[True, True],
        negative_recent=counts[False, True],
        positive_past=counts[True, False],
        negative_past=counts[False, False],
    )
    found = compute_reputations(experience, places[buyer], SubjectiveRules(), rules)
    return dict(zip(handles, found, strict=True))


VIEWS: Final[dict[str, Callable[[Desk, int], Reputations]]] = {
    "market": lambda desk, _: desk.reputations_of_all(),
    "integrated": _integrated,
    "subjective": _subjective,
}

"""Markets to learn in and to measure on: how many buyers and models, and how values and reputations are drawn.

    v_ij = s(r_j) x_ij a_ij,   x_ij ~ U[0, 1],   a_ij = 1 with probability q,   r_j ~ U[least, most]

A model that is not for a buyer's task (a_ij = 0) is worth nothing to that buyer; values of several models add up.
s(r) = r where a model is worth less the less its seller is trusted, and 1 where reputation only weighs the
objective.

The TL market names neither distribution nor range of reputations. ``r1_high`` and ``r1_low`` are our reconstruction
of its Fig. 3(a), the one setting found in which its +30 % and +10 % over second price hold: three buyers, q = 0.7,
values not scaled. ``u01`` is the dense market in which the literature on learned auctions reports; ``u01_scaled``
is the same with values that fall with reputation.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from platoon.errors import UserError
from platoon.market.auction.tables import MOST_MODELS
from platoon.nouns import MILLION, Ints
from platoon.scenario import did_you_mean

MOST_BUYERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A distribution of values and reputations."""

    buyers: int
    """1 to 8."""
    models: int
    """1 to 10; one seller each."""
    interest: int = MILLION
    """q: probability that a model is for a buyer's task at all, ppm."""
    least_reputation: int = MILLION
    most_reputation: int = MILLION
    """Reputations are uniform between the two, ppm."""
    scaled: bool = False
    """Values are multiplied by the seller's reputation."""

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("buyers", self.buyers, 1, MOST_BUYERS),
            ("models", self.models, 1, MOST_MODELS),
            ("interest", self.interest, 1, MILLION),
            ("most_reputation", self.most_reputation, 0, MILLION),
            ("least_reputation", self.least_reputation, 0, self.most_reputation),
        ):
            if not least <= value <= most:
                raise UserError(f"market.{name} = {value}: allowed: {least} to {most}")


MARKETS: Final[dict[str, Market]] = {
    "r1_high": Market(
        buyers=3,
        models=3,
        interest=700_000,
        least_reputation=900_000,
        most_reputation=1_000_000,
    ),
    "r1_low": Market(
        buyers=3,
        models=3,
        interest=700_000,
        least_reputation=700_000,
        most_reputation=900_000,
    ),
    "u01": Market(buyers=3, models=3),
    "u01_scaled": Market(buyers=3, models=3, least_reputation=700_000, scaled=True),
}
"""By name, at three buyers and three models; ``find_market`` changes the size."""


def find_market(name: str, buyers: int, models: int) -> Market:
    """A named market of that size.

    Raises:
        UserError: no market of that name, or a size that is not allowed.

    >>> find_market("u01", 2, 5).models
    5
    """
    if name not in MARKETS:
        raise UserError(f"market = {name!r}: no such market; {did_you_mean(name, list(MARKETS))}")
    return replace(MARKETS[name], buyers=buyers, models=models)


def sample_profiles(market: Market, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Values (count, n, m) in 10^-6 and reputations (count, m) in ppm, each profile drawn independently.

    Values are uniform among the integers below 10^6; a scaled one is rounded down.

    >>> values, reputations = sample_profiles(MARKETS["u01"], 5, np.random.default_rng(0))
    >>> values.shape, reputations.shape, reputations[0].tolist()
    ((5, 3, 3), (5, 3), [1000000, 1000000, 1000000])
    """
    shape = (count, market.buyers, market.models)
    reputations = rng.integers(
        market.least_reputation, market.most_reputation, (count, market.models), endpoint=True
    )
    values = rng.integers(0, MILLION, shape)
    if market.interest < MILLION:
        values *= rng.integers(0, MILLION, shape) < market.interest
    if market.scaled:
        values = values * reputations[:, None, :] // MILLION
    return values, reputations

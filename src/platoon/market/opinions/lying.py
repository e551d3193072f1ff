"""A market in which some raters lie: the scenario that reputations are measured on.

Sellers differ in how often their models reach the threshold at a buyer (their quality); buyers buy at random. Liars
tell the opposite of what they found, or that all is bad. (``docs/market/reputation.md``.)
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from platoon.nouns import Bools, Floats, Instant, Ints
from platoon.rng import stream

LIES = ("invert", "deny")
QUALITIES = ("clear", "any")


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingMarket:
    """Who buys from whom how often, and who lies how."""

    buyers: int = 20
    sellers: int = 12
    liars: float = 0.5
    """Share of the buyers, rounded to whole ones."""
    lie: str = "invert"
    """``invert``: the opposite of what was found. ``deny``: always negative."""
    qualities: str = "clear"
    """``clear``: half of the sellers from .6 to .95, half from .05 to .4. ``any``: all from 0 to 1."""
    met: float = 0.8
    """Probability that a buyer buys from a seller at all."""
    more: float = 3.0
    """Mean number of purchases after the first (Poisson)."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for words that are not known."""
        if self.lie not in LIES or self.qualities not in QUALITIES:
            raise ValueError(f"lie = {self.lie}, qualities = {self.qualities}: allowed: {LIES}, {QUALITIES}")


class Rating(NamedTuple):
    """One rating, by handles from 1: buyers first, sellers behind them."""

    buyer: int
    seller: int
    at: Instant
    positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingRatings:
    """What was rated, and the truth."""

    quality: Floats
    """(S,) probability of a positive event where nobody lies."""
    lies: Bools
    """(B,) who lies."""
    ratings: tuple[Rating, ...]
    """A second apart, in random order."""

    @property
    def buyers(self) -> list[int]:
        """Handles."""
        return list(range(1, len(self.lies) + 1))

    @property
    def sellers(self) -> list[int]:
        """Handles."""
        return list(range(len(self.lies) + 1, len(self.lies) + len(self.quality) + 1))

    def count(self) -> tuple[Ints, Ints]:
        """(B, S) positive ratings and (B, S) all."""
        positive = np.zeros((len(self.lies), len(self.quality)), dtype=np.int64)
        all_ = np.zeros_like(positive)
        for rating in self.ratings:
            place = rating.buyer - 1, rating.seller - len(self.lies) - 1
            positive[place] += rating.positive
            all_[place] += 1
        return positive, all_


def draw_ratings(market: LyingMarket, seed: int) -> LyingRatings:
    """A market's ratings. The same buyers buy the same whoever lies: runs are paired."""
    rng = stream(seed, "lying market", market.qualities)
    quality = rng.random(market.sellers)
    if market.qualities == "clear":
        is_good = rng.permutation(market.sellers) < market.sellers // 2
        quality = np.where(is_good, 0.6 + 0.35 * quality, 0.05 + 0.35 * quality)
    shape = (market.buyers, market.sellers)
    bought = np.where(rng.random(shape) < market.met, 1 + rng.poisson(market.more, shape), 0)
    lies = rng.permutation(market.buyers) < round(market.liars * market.buyers)
    buyers, sellers = np.repeat(np.indices(shape).reshape(2, -1), bought.ravel(), axis=1)
    order = rng.permutation(len(buyers))
    found = rng.random(len(buyers)) < quality[sellers]
    told = np.where(lies[buyers], ~found & (market.lie == "invert"), found)
    ratings = tuple(
        Rating(int(buyers[i]) + 1, market.buyers + int(sellers[i]) + 1, Instant(1_000_000 * n), bool(told[i]))
        for n, i in enumerate(order)
    )
    return LyingRatings(quality=quality, lies=lies, ratings=ratings)

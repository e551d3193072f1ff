"""Myerson's auction for each model on its own (Myerson 1981): the optimum for one model, and no worse for several
than anything else that sells them separately.

A buyer's bid v is worth phi(v) = v - (1 - F(v)) / f(v) to the seller; the highest phi above 0 wins, and pays the
least bid that would still have won. Only the order that phi gives matters, so phi may be rounded to integers in any
way that keeps it from falling: the price is found as the least winning bid itself, ties included, and the auction
stays exactly truthful. Where phi would fall (irregular distributions), it is ironed: phi is then the slope of the
concave hull of the revenue curve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Final

from platoon.errors import UserError
from platoon.nouns import Ints

MOST_VALUE: Final = 1 << 48
VirtualValue = Callable[[int], int]
"""A bid in 10^-6, to what it is worth to the seller in 10^-6; never falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What one model came to."""

    winner: int
    """Row of the buyer; -1: the model stays unsold."""
    price: int
    """10^-6."""


def uniform(least: int, most: int) -> VirtualValue:
    """phi(v) = 2 v - most, for values uniform between the two; the reserve is half of ``most``.

    >>> uniform(0, 1_000_000)(500_000)
    0
    """
    if not 0 <= least < most:
        raise UserError(f"uniform values between {least} and {most}: allowed: 0 <= least < most")
    return lambda value: 2 * min(max(value, least), most) - most if value >= least else -MOST_VALUE


def exponential(mean: int) -> VirtualValue:
    """phi(v) = v - mean, for exponential values; the reserve is the mean.

    >>> exponential(1_000_000)(1_500_000)
    500000
    """
    if mean <= 0:
        raise UserError(f"exponential values of mean {mean}: allowed: above 0")
    return lambda value: value - mean


def ironed(samples: Sequence[int]) -> VirtualValue:
    """phi from past values alone, whatever their distribution, ironed.

    With values sorted down, v_(1) >= v_(2) >= ..., selling to the k highest at the k-th earns k v_(k). phi of
    a value is the slope of the least concave majorant of these points at its rank, rounded down.

    >>> phi = ironed(list(range(1000)))
    >>> phi(900), phi(500) <= 2, phi(100) < 0
    (801, True, True)
    """
    if not samples or min(samples) < 0:
        raise UserError(f"{len(samples)} samples: allowed: at least one, none negative")
    falling = sorted(samples, reverse=True)
    corners = [(0, 0)]
    for rank, value in enumerate(falling, start=1):
        point = (rank, rank * value)
        while len(corners) > 1 and not _turns_down(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    # from the lowest values up: from this value on, the seller earns that slope
    steps = [
        (falling[after[0] - 1], (after[1] - before[1]) // (after[0] - before[0]))
        for before, after in pairwise(corners)
    ]
    return lambda value: next((slope for least, slope in steps if value >= least), -MOST_VALUE)


def sell(bids: Sequence[int], virtual: VirtualValue | Sequence[VirtualValue]) -> Sale:
    """Sell one model to bids (n,); ``virtual`` is one for all buyers or one each.

    Among equal virtual values the earliest buyer wins.

    >>> sell([700_000, 900_000], uniform(0, 1_000_000))
    Sale(winner=1, price=700001)
    >>> sell([400_000, 300_000], uniform(0, 1_000_000))
    Sale(winner=-1, price=0)
    """
    rules = [virtual] * len(bids) if callable(virtual) else list(virtual)
    worth = [rule(bid) for rule, bid in zip(rules, bids, strict=True)]
    winner = max(range(len(bids)), key=lambda who: (worth[who], -who))
    if worth[winner] <= 0:
        return Sale(winner=-1, price=0)
    others = [(worth[who], who) for who in range(len(bids)) if who != winner]
    return Sale(winner=winner, price=_least_winning(rules[winner], winner, others, bids[winner]))


def myerson(bids: Ints, virtual: Sequence[VirtualValue]) -> tuple[list[int], list[int]]:
    """Sell every model on its own: bids (n, m), ``virtual`` of each model; to bundles and payments (n,)."""
    buyers = len(bids)
    bundles, payments = [0] * buyers, [0] * buyers
    for model, rule in enumerate(virtual):
        sale = sell(bids[:, model].tolist(), rule)
        if sale.winner >= 0:
            bundles[sale.winner] |= 1 << model
            payments[sale.winner] += sale.price
    return bundles, payments


def expect_uniform_revenue(buyers: int, interest: float, reserve: float) -> float:
    """Expected revenue of one model whose buyers' values are uniform in [0, 1], in units of value.

    Every buyer wants the model with probability ``interest``. With k buyers who do, a second price auction with
    that reserve earns the integral of (2 v - 1) k v^(k-1) over what is sold: E phi of the winner (Myerson 1981).

    >>> round(expect_uniform_revenue(3, 1.0, 0.0), 6), round(expect_uniform_revenue(3, 1.0, 0.5), 6)
    (0.5, 0.53125)
    """
    total = 0.0
    for k in range(1, buyers + 1):
        chance = comb(buyers, k) * interest**k * (1.0 - interest) ** (buyers - k)
        sold = 2.0 * k / (k + 1) * (1.0 - reserve ** (k + 1)) - (1.0 - reserve**k)
        total += chance * sold
    return total


def find_reserve(virtual: VirtualValue, most: int = MOST_VALUE) -> int:
    """The least bid whose virtual value is above 0; ``most`` where there is none up to it.

    >>> find_reserve(uniform(0, 1_000_000))
    500001
    """
    return _bisect(lambda bid: virtual(bid) > 0, most)


def _least_winning(virtual: VirtualValue, who: int, others: Sequence[tuple[int, int]], bid: int) -> int:
    """The least bid of buyer ``who`` that beats the others and the reserve."""

    def wins(tried: int) -> bool:
        worth = virtual(tried)
        return worth > 0 and all((worth, -who) > (value, -other) for value, other in others)

    return _bisect(wins, bid)


def _bisect(holds: Callable[[int], bool], most: int) -> int:
    """The least number from 0 to ``most`` for which a condition holds that, once true, stays true."""
    least = 0
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if holds(middle) else (middle + 1, most)
    return least


def _turns_down(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    """The curve through three points is strictly concave."""
    one, other = second[0] - first[0], third[0] - second[0]
    return (second[1] - first[1]) * other > (third[1] - second[1]) * one

"""Who of a bundle's sellers gets how much of what its buyer paid: integers that add up to the payment exactly.

A buyer pays for a bundle, and the auction gives no price to its parts. Two rules: in proportion to posted weights
(what a model adds to the bundle by the buyer's bid, times the reputation of its seller), or by the Shapley value of
the bundle. What is left by rounding down goes, a unit each, to the largest remainders, the lowest model first.

Sellers do not bid, so neither rule has to be truthful for them. A buyer's payment does not depend on the split.
"""

from collections.abc import Sequence
from math import factorial
from typing import Final

from platoon.errors import UserError
from platoon.market.auction.tables import subsets
from platoon.nouns import MILLION

MOST_SHARED: Final = 5
"""Models of a bundle up to which its Shapley value is computed: 32 values."""


def split(payment: int, weights: Sequence[int]) -> list[int]:
    """Shares of a payment in proportion to weights (k,), adding up to it; in equal parts where all weights are 0.

    Raises:
        UserError: a negative payment or weight, or nobody to pay.

    >>> split(100, [1, 1, 1]), split(7, [0, 0]), split(5, [3])
    ([34, 33, 33], [4, 3], [5])
    """
    if payment < 0 or not weights or min(weights) < 0:
        raise UserError(
            f"a payment of {payment} over {list(weights)}; allowed: one weight or more, none negative"
        )
    counted = list(weights) if any(weights) else [1] * len(weights)
    total = sum(counted)
    shares = [payment * weight // total for weight in counted]
    order = sorted(range(len(counted)), key=lambda place: (-(payment * counted[place] % total), place))
    for place in order[: payment - sum(shares)]:
        shares[place] += 1
    return shares


def split_by_marginals(
    payment: int, bids: Sequence[int], bundle: int, reputations: Sequence[int]
) -> dict[int, int]:
    """Shares of the models in a bundle by reputation times what each adds to it, v(S) - v(S - j), by the bid.

    Args:
        payment: what the buyer paid, 10^-6.
        bids: (2^m,) the buyer's bid for every bundle, 10^-6.
        bundle: what the buyer got.
        reputations: (m,) of the sellers, ppm.

    Returns:
        Model, to its seller's share in 10^-6.

    >>> split_by_marginals(90, [0, 50, 100, 150], 3, [1_000_000, 250_000])
    {0: 60, 1: 30}
    """
    members = _members(bundle)
    weights = [max(0, bids[bundle] - bids[bundle & ~(1 << j)]) * reputations[j] for j in members]
    return dict(zip(members, split(payment, weights), strict=True))


def split_by_shapley(
    payment: int, bids: Sequence[int], bundle: int, reputations: Sequence[int]
) -> dict[int, int]:
    """Shares by reputation times the Shapley value of each model in the buyer's bid for the bundle's parts.

    Exact in integers: the values are computed times k!. A model that takes from what the others are worth counts 0.
    Arguments and result are those of ``split_by_marginals``.

    Raises:
        UserError: a bundle of more than 5 models.

    >>> split_by_shapley(90, [0, 50, 100, 120], 3, [1_000_000, 1_000_000])
    {0: 26, 1: 64}
    """
    members = _members(bundle)
    if len(members) > MOST_SHARED:
        raise UserError(f"a bundle of {len(members)} models; allowed for Shapley values: up to {MOST_SHARED}")
    weights = []
    for j in members:
        value = sum(
            factorial(rest.bit_count())
            * factorial(len(members) - rest.bit_count() - 1)
            * (bids[rest | 1 << j] - bids[rest])
            for rest in subsets(bundle & ~(1 << j))
        )
        weights.append(max(0, value) * reputations[j])
    return dict(zip(members, split(payment, weights), strict=True))


def weigh_posted(reputations: Sequence[int], posted: Sequence[int]) -> list[int]:
    """(m,) weights that no bid moves: reputations (m,) in ppm times posted values (m,) in 10^-6, such as reserves.

    >>> weigh_posted([1_000_000, 500_000], [500_000, 500_000])
    [500000, 250000]
    """
    return [reputation * value // MILLION for reputation, value in zip(reputations, posted, strict=True)]


def _members(bundle: int) -> list[int]:
    if bundle <= 0:
        raise UserError("a bundle of no models has no sellers to pay")
    return [j for j in range(bundle.bit_length()) if bundle >> j & 1]

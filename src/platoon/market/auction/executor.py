"""The affine maximiser, executed in integers: the same award and payments as ``Auctions.vy``, bit for bit.

Buyers are merged one after the other into a table over sets of models (a dynamic programme over subsets): entry
U of front k is the most that the first k buyers and the unsold models can make of exactly U. Payments need the
same without one buyer's values, which fronts from both ends give without starting over. Work: 3^m additions for
each merge, three merges a buyer; the (n+1)^m awards are never enumerated.

**Ties**: the buyer who bid last is given the bundle with the lowest number that the maximum allows, then the one
before. So a model stays unsold rather than being sold at no gain, and among equals it goes to whoever bid first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from platoon.market.auction.tables import BoostTable

_NEVER = -(2**96)
"""Below whatever boosts and bids can add up to."""

Front = list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """Who gets what, and for how much."""

    bundles: tuple[int, ...]
    """(n,) the models of each buyer, as bits."""
    payments: tuple[int, ...]
    """(n,) in 10^-6 tokens; at most what the buyer bid for its bundle, and never negative."""
    welfare: int
    """What was maximised: bids for the award and its boosts."""

    @property
    def revenue(self) -> int:
        """Sum of all payments."""
        return sum(self.payments)


def spread_additive(values: Sequence[int]) -> tuple[int, ...]:
    """(2^m,) bids for all bundles of a buyer who values models one by one, (m,).

    >>> spread_additive([5, 7])
    (0, 5, 7, 12)
    """
    bids = [0]
    for value in values:
        bids += [bid + value for bid in bids]
    return tuple(bids)


def execute(bids: Sequence[Sequence[int]], table: BoostTable) -> Award:
    """Award and charge.

    Args:
        bids: (n, 2^m) for every buyer, in the order of bidding, what each bundle is worth; 0 for the empty one.
        table: boosts of the m models.

    Raises:
        ValueError: bids of another shape, a negative one, or one for nothing.
    """
    size = len(table.bundle)
    for own in bids:
        if len(own) != size or own[0] != 0 or min(own) < 0:
            raise ValueError(f"a bid of {len(own)} amounts; allowed: {size}, the first 0 and none negative")
    layers = [[bid + boost for bid, boost in zip(own, table.bundle, strict=True)] for own in bids]
    fronts = [list(table.unsold)]
    for layer in layers:
        fronts.append(_merge(fronts[-1], layer))
    welfare = fronts[-1][-1]
    bundles = _trace(fronts, layers)
    payments = [0] * len(bids)
    rear = [_NEVER] * size
    rear[0] = 0
    absent = list(table.bundle)
    for i in reversed(range(len(bids))):
        if bundles[i]:
            without = _merge(fronts[i], absent)
            best = max(without[taken] + rear[size - 1 - taken] for taken in range(size))
            payments[i] = best - (welfare - bids[i][bundles[i]])
        rear = _merge(rear, layers[i])
    return Award(bundles=tuple(bundles), payments=tuple(payments), welfare=welfare)


def _merge(front: Front, layer: Front) -> Front:
    """(2^m,) the best of giving a part of each set to one buyer, and the rest to those in the front."""
    merged = []
    for union in range(len(front)):
        best = front[union] + layer[0]
        part = -union & union
        while part:
            if (value := front[union ^ part] + layer[part]) > best:
                best = value
            part = (part - union) & union
        merged.append(best)
    return merged


def _trace(fronts: Sequence[Front], layers: Sequence[Front]) -> list[int]:
    """The bundles that lead to the last front's last entry; the lowest numbers where several do."""
    left = len(fronts[0]) - 1
    bundles = [0] * len(layers)
    for i in reversed(range(len(layers))):
        part = 0
        while fronts[i][left ^ part] + layers[i][part] != fronts[i + 1][left]:
            part = (part - left) & left
        bundles[i] = part
        left ^= part
    return bundles

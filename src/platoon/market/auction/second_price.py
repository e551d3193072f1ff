"""Second price auctions, one per model: the baseline of the TL market (Vickrey 1961), with an optional reserve.

The highest bidder gets the model and pays the larger of the second bid and the reserve; a bid that is not above the
reserve never wins, and among equal bids the earliest buyer does. With values that add up this is the affine
maximiser whose unsold models are worth their reserves.
"""

import numpy as np

from platoon.market.auction.evaluation import Sales
from platoon.nouns import Ints


def second_price(values: Ints, reserves: Ints | int = 0) -> Sales:
    """What P auctions of values (P, n, m) come to; ``reserves`` is one for all, (m,), or (P, m), in 10^-6.

    >>> sales = second_price(np.array([[[5, 1], [3, 0]]]), 2)
    >>> sales.bundles.tolist(), sales.payments.tolist()
    ([[1, 0]], [[3, 0]])
    """
    count, buyers, models = values.shape
    floor = np.broadcast_to(reserves, (count, models))
    winner = values.argmax(axis=1)  # (P, m); the earliest of equals
    ranked = np.sort(values, axis=1)
    second = ranked[:, -2] if buyers > 1 else np.zeros((count, models), dtype=np.int64)
    price = np.maximum(second, floor)
    sold = ranked[:, -1] > floor
    won = sold[:, None] & (winner[:, None] == np.arange(buyers)[:, None])  # (P, n, m)
    return Sales(
        bundles=(won << np.arange(models)).sum(axis=2), payments=np.where(won, price[:, None], 0).sum(axis=2)
    )

"""Shapley values: what each of K players adds to what they reach together (Shapley 1953).

Exact over all 2^K coalitions where K is small; above, the mean of marginal contributions along random orders, each
taken with its reverse (antithetic pairs; Mitchell et al. 2022), which keeps efficiency exactly: the values add up
to the utility of all less that of none.
"""

from collections.abc import Callable, Sequence
from math import factorial
from typing import Final

import numpy as np

from platoon.nouns import Bools, Floats

MOST_EXACT: Final = 12
"""Players up to which all coalitions are tried: 4,096 of them."""

Utility = Callable[[Bools], Floats]
"""Coalitions (M, K), to what each is worth (M,)."""


def shapley_values(utility: Utility, players: int, rng: np.random.Generator, pairs: int = 100) -> Floats:
    """(K,) Shapley values; ``rng`` and ``pairs`` of orders matter above ``MOST_EXACT`` players only.

    >>> shapley_values(lambda coalitions: coalitions @ np.array([1.0, 2.0]), 2, np.random.default_rng(0)).tolist()
    [1.0, 2.0]
    """
    if players <= MOST_EXACT:
        return _exact(utility, players)
    return _sampled(utility, players, rng, pairs)


def share_among_equals(values: Floats, contents: Sequence[bytes]) -> Floats:
    """(K,) what players with the same bytes are worth on average: sampled orders alone tell them apart."""
    _, group = np.unique(np.array([contents.index(content) for content in contents]), return_inverse=True)
    shared: Floats = (np.bincount(group, values) / np.bincount(group))[group]
    return shared


def _exact(utility: Utility, players: int) -> Floats:
    numbers = np.arange(1 << players)
    coalitions = (numbers[:, None] >> np.arange(players)) & 1 == 1
    worth, sizes = utility(coalitions), coalitions.sum(axis=1)
    weights = np.array(
        [factorial(size) * factorial(players - size - 1) / factorial(players) for size in range(players)]
    )
    values = np.zeros(players)
    for player in range(players):
        without = numbers[~coalitions[:, player]]
        gains = worth[without | (1 << player)] - worth[without]
        values[player] = weights[sizes[without]] @ gains
    return values


def _sampled(utility: Utility, players: int, rng: np.random.Generator, pairs: int) -> Floats:
    forward = np.stack([rng.permutation(players) for _ in range(pairs)])
    orders = np.concatenate([forward, forward[:, ::-1]])
    places = np.argsort(orders, axis=1)
    # prefix s of an order holds whoever stands before place s
    coalitions = places[:, None, :] < np.arange(players + 1)[None, :, None]
    worth = utility(coalitions.reshape(-1, players)).reshape(len(orders), players + 1)
    gains = np.take_along_axis(np.diff(worth, axis=1), places, axis=1)
    values: Floats = gains.mean(axis=0)
    return values

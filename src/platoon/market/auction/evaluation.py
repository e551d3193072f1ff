"""What an auction earns over many profiles at once: the affine maximiser by integer dynamic programming over
subsets, vectorised over profiles, each with its own boosts, and the revenue of whatever was sold.

For a table of boosts and bids v_i(S), the executor maximises

    W = sum_i (v_i(S_i) + beta(S_i)) + gamma(U)     over all assignments of models to buyers, U unsold,

and buyer i pays W_-i - (W - v_i(S_i)), W_-i being the same maximum with i's values, but not i's boosts, set to 0.
The maximum is built buyer by buyer: f_i(A) = max over S within A of f_{i-1}(A - S) + w_i(S), from f_0 = gamma. Ties
go to the smaller bundle of the later buyer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.nouns import MILLION, Floats, Ints

CHUNK: Final = 10_000
"""Profiles at a time: what is in work stays in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sales:
    """What P auctions of the same size came to."""

    bundles: Ints
    """(P, n) what each buyer gets, a bit mask over models."""
    payments: Ints
    """(P, n) what each buyer pays, 10^-6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revenue:
    """Mean revenue of one auction, in units of value (1.0 is the largest value of one model)."""

    plain: float
    """E sum_i p_i."""
    plain_error: float
    """Its standard error."""
    weighted: float
    """E sum_i r(g_i) p_i, r(g_i) being the mean reputation of the models that buyer i gets."""
    weighted_error: float
    profiles: int


def sum_bundles(values: Ints) -> Ints:
    """(..., 2^m) value of every bundle from values (..., m) of single models that add up.

    >>> sum_bundles(np.array([1, 10])).tolist()
    [0, 1, 10, 11]
    """
    models = values.shape[-1]
    inside = (np.arange(1 << models)[:, None] >> np.arange(models)) & 1
    return np.asarray(values @ inside.T)


def maximise(values: Ints, bundle: Ints, unsold: Ints) -> Sales:
    """Run the affine maximiser on values (P, n, m) with boosts (2^m,), or (P, 2^m) of each profile's own.

    ``bundle`` is what a buyer's bundle adds (its entry 0 is 0), ``unsold`` what the unsold models add.
    """
    parts = []
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        tables = [table if table.ndim == 1 else table[part] for table in (bundle, unsold)]
        parts.append(_maximise(values[part], *tables))
    return Sales(
        bundles=np.concatenate([sales.bundles for sales in parts]),
        payments=np.concatenate([sales.payments for sales in parts]),
    )


def estimate_revenue(sales: Sales, reputations: Ints) -> Revenue:
    """Mean and standard error over profiles; reputations are (P, m) ppm."""
    plain = sales.payments.sum(axis=1) / MILLION
    weighted = (mean_reputations(sales.bundles, reputations) * sales.payments).sum(axis=1) / MILLION
    root = np.sqrt(len(plain))
    return Revenue(
        plain=float(plain.mean()),
        plain_error=float(plain.std() / root),
        weighted=float(weighted.mean()),
        weighted_error=float(weighted.std() / root),
        profiles=len(plain),
    )


def mean_reputations(bundles: Ints, reputations: Ints) -> Floats:
    """(P, n) mean reputation in [0, 1] of the models in bundles (P, n); 0 for who gets nothing."""
    inside = (bundles[:, :, None] >> np.arange(reputations.shape[1])) & 1
    sums = np.einsum("pnm,pm->pn", inside, reputations)
    return np.asarray(sums / np.maximum(inside.sum(axis=2), 1) / MILLION)


def _maximise(values: Ints, bundle: Ints, unsold: Ints) -> Sales:
    """One chunk. Inside, bundles are the first axis, so that every step works on whole rows of profiles."""
    count, buyers, models = values.shape
    boosts = np.ascontiguousarray(np.broadcast_to(bundle, (count, 1 << models)).T)
    start = np.ascontiguousarray(np.broadcast_to(unsold, (count, 1 << models)).T)
    worth = np.ascontiguousarray(sum_bundles(values).transpose(1, 2, 0))  # (n, 2^m, P)
    welfare, choices = _choose(worth + boosts, start)
    bundles = np.zeros((count, buyers), dtype=np.int64)
    left = np.full(count, (1 << models) - 1)
    rows = np.arange(count)
    for buyer in reversed(range(buyers)):
        bundles[:, buyer] = choices[buyer][left, rows]
        left = left ^ bundles[:, buyer]
    payments = np.zeros((count, buyers), dtype=np.int64)
    for buyer in range(buyers):
        others = worth + boosts
        others[buyer] = boosts
        received = worth[buyer][bundles[:, buyer], rows]
        payments[:, buyer] = _best(others, start) - (welfare - received)
    return Sales(bundles=bundles, payments=payments)


def _best(worth: Ints, start: Ints) -> Ints:
    """(P,) the maximum over all assignments; worth (n, 2^m, P) with boosts, start (2^m, P)."""
    best = start
    for own in worth[:-1]:
        step = best.copy()  # the empty bundle
        for pool in range(len(best)):
            for bundle in _subsets(pool):
                np.maximum(step[pool], best[pool ^ bundle] + own[bundle], out=step[pool])
        best = step
    # the last buyer is needed for the whole pool alone; the empty bundle's boost is 0
    return np.asarray((best[::-1] + worth[-1]).max(axis=0))


def _choose(worth: Ints, start: Ints) -> tuple[Ints, list[NDArray[np.int16]]]:
    """The maximum (P,), and for each buyer (2^m, P) the bundle that is taken out of each pool."""
    best, choices = start, []
    for own in worth:
        step, choice = best.copy(), np.zeros(best.shape, dtype=np.int16)
        for pool in range(len(best)):
            for bundle in _subsets(pool):
                sums = best[pool ^ bundle] + own[bundle]
                better = sums > step[pool]
                np.copyto(step[pool], sums, where=better)
                choice[pool][better] = bundle
        best = step
        choices.append(choice)
    return best[-1], choices


def _subsets(pool: int) -> list[int]:
    """Every bundle within a pool but the empty one, in rising order.

    >>> _subsets(5)
    [1, 4, 5]
    """
    return [bundle for bundle in range(1, pool + 1) if bundle & pool == bundle]

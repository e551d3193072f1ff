"""Many auctions at once: ``executor.execute`` over a column of profiles, in 64-bit integers.

For revenue and truthfulness over a million profiles. The same fronts, merged in the same order with the same ties;
tests hold the two equal.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from platoon.market.auction.tables import BoostTable, subsets

Int64s = npt.NDArray[np.int64]

MOST_AMOUNT: Final = 2**48
"""Bound on bids and boosts here, so that no sum leaves 64 bits."""
_NEVER = -(2**58)
_CHUNK_WORDS = 2**18
"""Entries of one front that are worked on at once: 2 MB, so that what is in work stays in the caches."""


def spread_additive_batch(values: Int64s) -> Int64s:
    """(..., 2^m) bids for all bundles of buyers who value models one by one, (..., m).

    >>> spread_additive_batch(np.array([1, 10])).tolist()
    [0, 1, 10, 11]
    """
    bids = np.zeros((*values.shape[:-1], 1), dtype=np.int64)
    for j in range(values.shape[-1]):
        bids = np.concatenate([bids, bids + values[..., j : j + 1]], axis=-1)
    return bids


def execute_batch(bids: Int64s, table: BoostTable) -> tuple[Int64s, Int64s]:
    """Award and charge in each of P auctions.

    Args:
        bids: (P, n, 2^m) what each bundle is worth to each buyer, or (P, n, m) where values add up.
        table: boosts of the m models.

    Returns:
        (P, n) bundles as bits and (P, n) payments.

    Raises:
        ValueError: bids of another shape, negative ones, bids for nothing, or an amount above 2^48.
    """
    return execute_tables(bids, np.array([table.bundle]), np.array([table.unsold]))


def execute_tables(bids: Int64s, bundle: Int64s, unsold: Int64s) -> tuple[Int64s, Int64s]:
    """The same with boosts (P, 2^m) of each auction's own, or (1, 2^m) for all."""
    size = bundle.shape[1]
    models = size.bit_length() - 1
    if bids.ndim != 3 or bids.shape[2] not in (size, models):
        raise ValueError(f"bids of shape {bids.shape}; allowed: (P, n, {size}) or (P, n, {models})")
    boosts = (bundle, unsold)
    highest = max(int(np.abs(amounts).max(initial=0)) for amounts in (*boosts, bids))
    if bids.min(initial=0) < 0 or highest > MOST_AMOUNT:
        raise ValueError("an amount that is negative or above 2^48")
    count = max(1, _CHUNK_WORDS // size)
    parts = [
        _execute_chunk(
            bids[at : at + count], *(own[at : at + count] if len(own) > 1 else own for own in boosts)
        )
        for at in range(0, max(len(bids), 1), count)
    ]
    return np.concatenate([bundles for bundles, _ in parts]), np.concatenate([pay for _, pay in parts])


def _execute_chunk(bids: Int64s, bundle: Int64s, unsold: Int64s) -> tuple[Int64s, Int64s]:
    """Inside, bundles come before profiles, so that every step works on whole rows of profiles."""
    size, buyers, count = bundle.shape[1], bids.shape[1], len(bids)
    whole = spread_additive_batch(bids) if bids.shape[2] != size else bids
    if whole[:, :, 0].any():
        raise ValueError("a bid for nothing")
    worth = np.ascontiguousarray(whole.transpose(1, 2, 0))  # (n, 2^m, P)
    absent, front = (np.ascontiguousarray(np.broadcast_to(own, (count, size)).T) for own in (bundle, unsold))
    layers = worth + absent
    profiles = np.arange(count)
    fronts = [front]
    for layer in layers:
        fronts.append(_merge(fronts[-1], layer))
    welfare = fronts[-1][-1]
    bundles = _trace(fronts, layers, profiles)
    payments = np.zeros_like(bundles)
    rear = np.full_like(front, _NEVER)
    rear[0] = 0
    for i in reversed(range(buyers)):
        best = (_merge(fronts[i], absent) + rear[::-1]).max(axis=0)
        payments[i] = np.where(bundles[i] > 0, best - (welfare - worth[i, bundles[i], profiles]), 0)
        rear = _merge(rear, layers[i])
    return bundles.T, payments.T


def _merge(front: Int64s, layer: Int64s) -> Int64s:
    merged = np.empty_like(front)
    sums = np.empty_like(front[0])
    for union in range(len(front)):
        np.add(front[union], layer[0], out=merged[union])
        for part in subsets(union):
            if part:
                np.add(front[union ^ part], layer[part], out=sums)
                np.maximum(merged[union], sums, out=merged[union])
    return merged


def _trace(fronts: list[Int64s], layers: Int64s, profiles: Int64s) -> Int64s:
    """(n, P) the bundles behind the last entry of the last front, the lowest where several lead to it."""
    size = len(fronts[0])
    left = np.full(len(profiles), size - 1, dtype=np.int64)
    bundles = np.zeros((len(layers), len(profiles)), dtype=np.int64)
    for i in reversed(range(len(layers))):
        target = fronts[i + 1][left, profiles]
        found = np.zeros(len(profiles), dtype=bool)
        for part in range(size):
            fits = ~found & ((part & ~left) == 0)
            fits &= fronts[i][left & ~part, profiles] + layers[i, part] == target
            bundles[i, fits] = part
            found |= fits
        left &= ~bundles[i]
    return bundles

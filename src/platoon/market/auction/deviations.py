"""Trying to gain by lying: bids other than one's values, at random and of the kinds that break auctions in
practice.

An affine maximiser admits no profitable deviation; this is the attempt to find one in what the integers really do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from platoon.market.auction.batched import Int64s, execute_batch, spread_additive_batch
from platoon.market.auction.tables import BoostTable

Lie = Callable[[np.random.Generator, Int64s, Int64s], Int64s]
"""Own values (P, 2^m) and the highest of the others' (P, 2^m), to what is bid instead (P, 2^m); negative and empty
entries are mended by ``try_deviations``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What trying has shown."""

    tried: int
    """Deviations, each by one buyer of one auction."""
    profitable: int
    """That gave the buyer more than bidding its values."""
    negative: int
    """Truthful buyers, or those who paid more than they bid, that would lose."""
    largest_gain: int
    """Of all deviations, in 10^-6 tokens; at most 0 for a truthful auction."""


def try_deviations(
    rng: np.random.Generator, values: Int64s, table: BoostTable, lies: Sequence[Lie] | None = None
) -> Attempt:
    """Every kind of lie by one buyer, drawn for each auction.

    Args:
        rng: draws liars and lies.
        values: (P, n, m) where values add up, or (P, n, 2^m).
        table: boosts of the m models.
        lies: kinds; all of ``LIES`` by default.
    """
    whole = spread_additive_batch(values) if values.shape[2] != len(table.bundle) else values
    profiles = np.arange(len(whole))
    honest = execute_batch(whole, table)
    liars = rng.integers(whole.shape[1], size=len(whole))
    own = whole[profiles, liars]
    others = whole.copy()
    others[profiles, liars] = 0
    highest = others.max(axis=1)
    truthful = own[profiles, honest[0][profiles, liars]] - honest[1][profiles, liars]
    negative = int((truthful < 0).sum() + (honest[1] < 0).sum())
    gains = []
    for lie in lies if lies is not None else LIES.values():
        told = np.maximum(lie(rng, own, highest), 0)
        told[:, 0] = 0
        bids = whole.copy()
        bids[profiles, liars] = told
        bundles, payments = execute_batch(bids, table)
        won, paid = bundles[profiles, liars], payments[profiles, liars]
        negative += int((paid > told[profiles, won]).sum() + (payments < 0).sum())
        gains.append(own[profiles, won] - paid - truthful)
    gained = np.concatenate(gains)
    return Attempt(
        tried=len(gained),
        profitable=int((gained > 0).sum()),
        negative=negative,
        largest_gain=int(gained.max(initial=0)),
    )


def _scale(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """Shading and boasting: everything times a factor from 0 to 2."""
    factors = rng.integers(0, 2001, size=(len(own), 1))
    told: Int64s = own * factors // 1000
    return told


def _shade_one(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """One model's value changed, in all bundles that hold it."""
    size = own.shape[1]
    model = rng.integers(max(1, size.bit_length() - 1), size=(len(own), 1))
    holds = np.arange(size)[None, :] >> model & 1
    change = rng.integers(-1_000_000, 1_000_001, size=(len(own), 1))
    told: Int64s = own + holds * change
    return told


def _hide(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """Interest in some models only."""
    size = own.shape[1]
    kept = rng.integers(size, size=(len(own), 1))
    told: Int64s = own[np.arange(len(own))[:, None], np.arange(size)[None, :] & kept]
    return told


def _all_or_nothing(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """A bid for everything together, or for one bundle and what contains it, and for nothing less."""
    size = own.shape[1]
    wanted = rng.integers(1, size, size=(len(own), 1))
    covers = (np.arange(size)[None, :] & wanted) == wanted
    told: Int64s = np.where(covers, own[:, -1:], 0)
    return told


def _just_above(rng: np.random.Generator, own: Int64s, others: Int64s) -> Int64s:
    """The best of the others, give or take one unit: what breaks ties."""
    told: Int64s = others + rng.integers(-1, 2, size=own.shape)
    return told


def _bundles_at_random(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """A number for every bundle, whatever its parts are worth."""
    told: Int64s = rng.integers(0, 2 * int(own.max(initial=1)) + 2, size=own.shape)
    return told


def _disturb(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """A small change of every bundle's bid."""
    told: Int64s = own + rng.integers(-1000, 1001, size=own.shape)
    return told


def _complements(rng: np.random.Generator, own: Int64s, _others: Int64s) -> Int64s:
    """Bundles said to be worth more than their parts, or less."""
    size = own.shape[1]
    more = np.array([bundle.bit_count() - 1 for bundle in range(size)])
    told: Int64s = own + more[None, :].astype(np.int64) * rng.integers(-300_000, 300_001, size=(len(own), 1))
    return told


LIES: dict[str, Lie] = {
    "scale": _scale,
    "shade_one": _shade_one,
    "hide": _hide,
    "all_or_nothing": _all_or_nothing,
    "just_above": _just_above,
    "bundles_at_random": _bundles_at_random,
    "disturb": _disturb,
    "complements": _complements,
}

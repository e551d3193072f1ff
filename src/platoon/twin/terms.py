"""What a cohort should be beside capable: terms that choose among the best candidates of any selector.

The selector, ours or a plug-in, names a **pool** of candidates, best first (DTB-FL 4.4.2 keeps 50 to 100). Their
merit falls from 1 to 0 along it. The cohort is then taken from the pool one by one, each time whoever has the most
of merit and terms:

- **coverage**: how much a vehicle adds to the labels of those who were taken already. Balanced cohorts learn faster
  than fast ones (research: 15 points at 50 rounds of two-class vehicles). Label mixes are estimated from updates
  that the vehicles sent before, never from their data. The gain is greedy and concave, sum of square roots over the
  classes, as in facility location: a first sample of a class is worth more than a second.
- **position**: vehicles whose place at the horizon is uncertain, as before intersections, have their merit divided
  by 1 + (spread / d_0)^2 with d_0 = 50 m (DTB-FL 3.3.3 asks for lower priority and has no formula).

Whoever rests (``rest_rounds``) stays out of the pool while there are enough others.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from platoon.nouns import Floats, Ints
from platoon.twin.selectors import NEVER, Candidates

SPREAD_M = 50.0
"""d_0: at this spread of the forecast position a full position term halves the merit."""


def choose_with_terms(select: Callable[[Candidates], Ints], candidates: Candidates) -> Ints:
    """The cohort that a selector and the terms of ``candidates`` come to, best first."""
    if candidates.coverage_weight == 0.0 and candidates.position_weight == 0.0:
        return select(candidates)
    pool = _make_pool(select, candidates)
    merit = 1.0 - np.arange(len(pool)) / max(len(pool), 1)
    spread = np.nan_to_num(candidates.forecasts.position_sigma[pool])
    merit *= (1.0 + (spread / SPREAD_M) ** 2) ** -candidates.position_weight
    known = candidates.label_mix if len(candidates.label_mix) else np.zeros((len(candidates.reputation), 0))
    mixes = fill_mixes(known[pool])
    return pool[_take_greedily(merit, mixes, candidates.count, candidates.coverage_weight)]


def fill_mixes(label_mix: Floats) -> Floats:
    """(M, C) shares that sum to one: the estimates, and even ones where nothing is known yet."""
    known = np.isfinite(label_mix).all(axis=1, keepdims=True) & (label_mix.sum(axis=1, keepdims=True) > 0.0)
    mixes = np.where(known, label_mix, 1.0)
    shares: Floats = mixes / mixes.sum(axis=1, keepdims=True)
    return shares


def _make_pool(select: Callable[[Candidates], Ints], candidates: Candidates) -> Ints:
    """The best candidates by the selector; those who rest only as far as they are needed to fill the cohort."""
    size = max(candidates.pool, candidates.count) if candidates.pool else len(candidates.reputation)
    pool = np.asarray(select(replace(candidates, count=size)))
    chosen = candidates.last_chosen[pool]
    rests = (chosen != NEVER) & (candidates.round - chosen - 1 < candidates.rest_rounds)
    awake = pool[~rests]
    return np.concatenate([awake, pool[rests][: max(candidates.count - len(awake), 0)]])


def _take_greedily(merit: Floats, mixes: Floats, count: int, weight: float) -> Ints:
    """Rows in the order in which they are taken; ties go to the better by merit."""
    taken: list[int] = []
    labels = np.zeros(mixes.shape[1])
    left = np.ones(len(merit), dtype=np.bool_)
    most = np.sqrt(mixes).sum(axis=1).max(initial=1e-12)
    for _ in range(min(count, len(merit))):
        gain = (np.sqrt(labels + mixes) - np.sqrt(labels)).sum(axis=1) / most
        row = int(np.argmax(np.where(left, merit + weight * gain, -np.inf)))
        taken.append(row)
        left[row] = False
        labels += mixes[row]
    return np.array(taken, dtype=np.int64)

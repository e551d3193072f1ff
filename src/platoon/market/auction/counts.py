"""Boosts by the size of a bundle: learned in seconds, also where assignments are far too many to write down.

Where models are exchangeable (same prior, same reputation), boosts need to depend on how many models a bundle has
and on nothing else: m numbers for bundles and m for the unsold. The largest value F[c] that is reached with c_i
models for buyer i does not depend on them. So one dynamic program per profile yields F for all count vectors c (286
of them at 3 x 10, instead of 4^10 assignments), for all buyers and with each buyer's values set to 0; then

    lambda[c] = sum_i beta[c_i] + gamma[m - sum_i c_i]
    revenue   = sum_i max_c (F_-i[c] + lambda[c]) - n max_c (F[c] + lambda[c]) + F[c*]

is maximised over the 2m numbers (``count_training``), and so is measured what they earn.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

import numpy as np

from platoon.errors import UserError
from platoon.market.auction.tables import MOST_MODELS, BoostTable
from platoon.nouns import Ints

CHUNK: Final = 2_000
"""Profiles at a time in the dynamic program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBoosts:
    """Boosts by count, 10^-6: entry c is for c models; entry 0 is 0."""

    bundle: tuple[int, ...]
    unsold: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.bundle) == len(self.unsold) <= MOST_MODELS + 1:
            raise UserError(
                f"boosts by count: {len(self.bundle)} and {len(self.unsold)} entries; allowed: the same, "
                f"2 to {MOST_MODELS + 1}"
            )
        if self.bundle[0] or self.unsold[0]:
            raise UserError("boosts by count: entry 0 is for no model; allowed: 0")

    @property
    def models(self) -> int:
        return len(self.bundle) - 1


def expand(boosts: CountBoosts) -> BoostTable:
    """The executor's table: every bundle gets what its size is worth.

    >>> expand(CountBoosts(bundle=(0, 5, 7), unsold=(0, 1, 9))).bundle
    (0, 5, 5, 7)
    """
    sizes = [bundle.bit_count() for bundle in range(1 << boosts.models)]
    return BoostTable(
        bundle=tuple(boosts.bundle[size] for size in sizes),
        unsold=tuple(boosts.unsold[size] for size in sizes),
    )


def compute_count_revenues(values: Ints, boosts: CountBoosts) -> Ints:
    """(P,) exact revenue of each auction of values (P, n, m), 10^-6: what the executor would come to.

    Where two assignments of the same welfare differ in revenue, the smallest count vector stands for them.
    """
    vectors = list_counts(values.shape[1], boosts.models)
    left = boosts.models - vectors.sum(axis=1)
    boost = np.array(boosts.bundle)[vectors].sum(axis=1) + np.array(boosts.unsold)[left]
    revenues = np.empty(len(values), dtype=np.int64)
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        tables = compute_count_values(values[part])
        welfare = tables + boost[:, None]
        chosen = welfare[0].argmax(axis=0)
        received = np.take_along_axis(tables[0], chosen[None], axis=0)[0]
        best = welfare.max(axis=1)
        revenues[part] = best[1:].sum(axis=0) - (len(tables) - 1) * best[0] + received
    return revenues


def compute_count_values(values: Ints) -> Ints:
    """(n + 1, C, P): F of every count vector, for all buyers and then with each of the n buyers' values set to 0.

    Values are (P, n, m). Model by model: F[c] = max(F[c], F[c - e_i] + v_ij), the largest c first; every
    model may also stay unsold.
    """
    count, buyers, models = values.shape
    vectors, before = _predecessors(buyers, models)
    found = np.full((buyers + 1, len(vectors), count), -(1 << 50), dtype=np.int64)
    found[:, 0] = 0
    columns = np.ascontiguousarray(values.transpose(2, 1, 0))  # (m, n, P)
    for model in range(models):
        former = found.copy()
        for buyer in range(buyers):
            reach = before[buyer] >= 0
            gained = columns[model, buyer] * (np.arange(buyers + 1) != buyer + 1)[:, None, None]
            found[:, reach] = np.maximum(found[:, reach], former[:, before[buyer][reach]] + gained)
    return found


def list_counts(buyers: int, models: int) -> Ints:
    """(C, n) all vectors of how many models each buyer gets, at most m together.

    >>> list_counts(3, 10).shape
    (286, 3)
    """
    return _predecessors(buyers, models)[0]


@cache
def _predecessors(buyers: int, models: int) -> tuple[Ints, Ints]:
    """The count vectors (C, n), and per buyer (n, C) the vector with one model less of that buyer's, or -1."""
    vectors = [c for c in product(range(models + 1), repeat=buyers) if sum(c) <= models]
    places = {vector: place for place, vector in enumerate(vectors)}
    before = [
        [places.get((*vector[:who], vector[who] - 1, *vector[who + 1 :]), -1) for vector in vectors]
        for who in range(buyers)
    ]
    return np.array(vectors), np.array(before)

"""Boosts by the size of a bundle: learned in seconds, also where assignments are far too many to write down.

Where models are exchangeable (same prior, same reputation), boosts need to depend on how many models a bundle has and
on nothing else: m numbers for bundles and m for the unsold. The largest value F[c] that is reached with c_i models
for buyer i does not depend on them. So one dynamic program per profile yields F for all count vectors c (286 of them
at 3 x 10, instead of 4^10 assignments), for all buyers and with each buyer's values set to 0; then

    lambda[c] = sum_i beta[c_i] + gamma[m - sum_i c_i]
    revenue   = sum_i max_c (F_-i[c] + lambda[c]) - n max_c (F[c] + lambda[c]) + F[c*]

is maximised over the 2m numbers, F[c*] being softened as in ``training``.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

import numpy as np
import torch
from torch import Tensor

from platoon.errors import UserError
from platoon.market.auction.markets import Market, sample_profiles
from platoon.market.auction.tables import MOST_MODELS, BoostTable
from platoon.market.auction.training import one_thread
from platoon.nouns import MILLION, Ints
from platoon.rng import stream

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTraining:
    """How boosts by count are learned."""

    profiles: int = 20_000
    steps: int = 600
    batch: int = 2_000
    """Profiles per step, in turn."""
    learning_rate: float = 1e-2
    """Of Adam at the start; it falls to a hundredth along half a cosine."""
    first_temperature: float = 0.1
    last_temperature: float = 0.005


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


def train_counts(market: Market, settings: CountTraining, seed: int) -> CountBoosts:
    """Boosts by count for a market, from item-wise Myerson (reserve 1/2) on.

    Raises:
        UserError: models are not exchangeable, because their reputations differ and scale values.
    """
    if market.scaled and market.least_reputation != market.most_reputation:
        raise UserError("boosts by count: values are scaled by reputations that differ: models must be alike")
    values, _ = sample_profiles(market, settings.profiles, stream(seed, "counts", "profiles"))
    tables = torch.from_numpy((compute_count_values(values) / MILLION).astype(np.float32))  # (n + 1, C, P)
    reserve = 0.5 * (market.most_reputation / MILLION if market.scaled else 1.0)
    with one_thread():
        bundle = torch.zeros(market.models, requires_grad=True)
        unsold = (torch.arange(1, market.models + 1) * reserve).requires_grad_()
        optimiser = torch.optim.Adam([bundle, unsold], lr=settings.learning_rate)
        for step in range(settings.steps):
            done = step / settings.steps
            optimiser.param_groups[0]["lr"] = settings.learning_rate * (
                0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * done))
            )
            ratio = settings.last_temperature / settings.first_temperature
            at = step * settings.batch % (settings.profiles - settings.batch + 1)
            optimiser.zero_grad()
            revenue = _soft_revenue(
                tables[:, :, at : at + settings.batch],
                bundle,
                unsold,
                settings.first_temperature * ratio**done,
            )
            (-revenue).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return CountBoosts(bundle=_to_money(bundle), unsold=_to_money(unsold))


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


def _soft_revenue(tables: Tensor, bundle: Tensor, unsold: Tensor, temperature: float) -> Tensor:
    """Mean revenue of tables (n + 1, C, P) under the softened maximiser."""
    buyers, models = len(tables) - 1, len(bundle)
    vectors = torch.from_numpy(list_counts(buyers, models))
    zero = torch.zeros(1)
    boost = torch.cat([zero, bundle])[vectors].sum(dim=1)
    boost = boost + torch.cat([zero, unsold])[models - vectors.sum(dim=1)]
    welfare = tables + boost[:, None]
    shares = torch.softmax(welfare[0] / temperature, dim=0)
    received = (shares * (tables[0] - buyers * welfare[0])).sum(dim=0)
    return (welfare[1:].max(dim=1).values.sum(dim=0) + received).mean()


def _to_money(boosts: Tensor) -> tuple[int, ...]:
    return (0, *(round(boost * MILLION) for boost in boosts.detach().double().tolist()))

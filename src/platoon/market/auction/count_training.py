"""Learning boosts by count: gradient ascent on the revenue that ``counts`` writes down, softened while it trains.

The dynamic program is run once for all profiles; what is carried out, F[c*], is softened to
softmax((F + lambda) / tau) with tau falling from 0.1 to 0.005, as in ``training``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from platoon.errors import UserError
from platoon.market.auction.counts import CountBoosts, compute_count_values, list_counts
from platoon.market.auction.markets import Market, sample_profiles
from platoon.market.auction.training import one_thread
from platoon.nouns import MILLION
from platoon.rng import stream


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

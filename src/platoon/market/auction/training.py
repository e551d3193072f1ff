"""Learning the boosts: gradient ascent on the revenue of the affine maximiser, softened while it trains.

For every profile of a batch the welfare W(k) of every assignment k is written down ((n + 1)^m of them). The buyers'
payments need max_k W_-i(k), whose gradient is that of the best assignment, and the assignment that is carried out,
which is softened to softmax(W / tau) with tau falling from 0.1 to 0.005 (Curry et al. 2023; AMenuNet, Duan et al.
2023). As W_-i(k) = W(k) - v_i(S_i(k)), all of it is three matrix products with tables of zeros and ones.

The network starts with zeros in its last layer, which is item-wise Myerson at the given reserve, and is rounded to
integers once it is trained (``boosts``). Whatever was learned, the auction stays exactly truthful: only revenue
depends on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from platoon.errors import UserError
from platoon.market.auction.boosts import ONE, BoostNetwork
from platoon.market.auction.markets import Market, sample_profiles
from platoon.nouns import MILLION
from platoon.rng import stream

MOST_ASSIGNMENTS: Final = 1 << 12
"""(n + 1)^m above which training would take hours; the executor has no such limit."""
Objective = Literal["plain", "weighted"]
"""E sum_i p_i, or E sum_i r(g_i) p_i as the TL market has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostTraining:
    """How the boosts are learned."""

    steps: int = 1000
    batch: int = 512
    """Profiles per step."""
    learning_rate: float = 1e-2
    """Of Adam at the start; it falls to a hundredth along half a cosine."""
    first_temperature: float = 0.1
    last_temperature: float = 0.005
    """tau, in units of value, falls geometrically between them."""
    objective: Objective = "plain"
    embedding: int = 16
    hidden: int = 32
    """Units of the embedding's two layers, and of the head's."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "last_temperature", "embedding", "hidden"):
            if getattr(self, name) <= 0:
                raise UserError(f"training.{name} = {getattr(self, name)}: allowed: above 0")
        if self.first_temperature < self.last_temperature:
            raise UserError(
                f"training.first_temperature = {self.first_temperature}: allowed: not below last_temperature"
            )


class FloatBoosts:
    """The network of ``boosts`` in floats, while it is trained."""

    def __init__(self, settings: BoostTraining, rng: np.random.Generator) -> None:
        """Uniform within +-1/sqrt(inputs), the last layer zero."""
        width, hidden = settings.embedding, settings.hidden
        shapes = [(width, 1), (width, width), (hidden, 2 * width), (2, hidden)]
        self.layers: list[Tensor] = []
        for outputs, inputs in shapes:
            bound = 0.0 if outputs == 2 else inputs**-0.5
            drawn = rng.uniform(-bound, bound, (outputs, inputs + 1)).astype(np.float32)
            self.layers.append(torch.from_numpy(drawn).requires_grad_())

    def tables(self, reputations: Tensor) -> tuple[Tensor, Tensor]:
        """beta and gamma (P, 2^m) without reserves, from reputations (P, m) in [0, 1]."""
        inside = torch.from_numpy(_members(reputations.shape[1]))
        embedded = torch.relu(_layer(self.layers[0], reputations[:, :, None]))
        embedded = torch.relu(_layer(self.layers[1], embedded))
        sums = inside @ embedded
        joined = torch.cat([sums, sums[:, -1:].expand_as(sums)], dim=2)
        outputs = _layer(self.layers[3], torch.relu(_layer(self.layers[2], joined)))
        some = (torch.arange(outputs.shape[1]) > 0).float()
        return outputs[:, :, 0] * some, outputs[:, :, 1] - outputs[:, :1, 1]

    def quantise(self, reserve: int, reserve_slope: int) -> BoostNetwork:
        """Rounded to units of 2^-20."""
        rounded = [np.rint(layer.detach().numpy() * ONE).astype(np.int32) for layer in self.layers]
        return BoostNetwork(
            reserve=reserve,
            reserve_slope=reserve_slope,
            embed_1=rounded[0],
            embed_2=rounded[1],
            head_1=rounded[2],
            head_2=rounded[3],
        )


def train_boosts(markets: Sequence[Market], settings: BoostTraining, seed: int) -> BoostNetwork:
    """Boosts for these markets, which take turns: sizes may differ, the rest is one population.

    Raises:
        UserError: no market, markets of which some scale values and others do not, or too many assignments.
    """
    reserve, slope = _find_reserves(markets)
    with one_thread():
        floats = FloatBoosts(settings, stream(seed, "boosts", "weights"))
        optimiser = torch.optim.Adam(floats.layers, lr=settings.learning_rate, betas=(0.9, 0.99))
        for step in range(settings.steps):
            market = markets[step % len(markets)]
            done = step / settings.steps
            optimiser.param_groups[0]["lr"] = settings.learning_rate * (
                0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * done))
            )
            ratio = settings.last_temperature / settings.first_temperature
            temperature = settings.first_temperature * ratio**done
            values, reputations = sample_profiles(
                market, settings.batch, stream(seed, "boosts", "profiles", step)
            )
            bids = torch.from_numpy((values / MILLION).astype(np.float32))
            trusted = torch.from_numpy((reputations / MILLION).astype(np.float32))
            optimiser.zero_grad()
            revenue = compute_soft_revenue(
                floats,
                bids,
                trusted,
                temperature=temperature,
                reserves=(reserve / MILLION, slope / MILLION),
                objective=settings.objective,
            )
            (-revenue).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return floats.quantise(reserve, slope)


def compute_soft_revenue(
    floats: FloatBoosts,
    bids: Tensor,
    reputations: Tensor,
    *,
    temperature: float,
    reserves: tuple[float, float],
    objective: Objective,
) -> Tensor:
    """Mean revenue of bids (P, n, m) under the softened maximiser, a scalar that can be differentiated.

    ``reserves`` are constant and slope, in units of value.
    """
    count, buyers, models = bids.shape
    owners, bundles, unsold = _assignments(buyers, models)
    beta, gamma = floats.tables(reputations)
    lowest = reserves[0] + reserves[1] * reputations
    gamma = gamma + lowest @ torch.from_numpy(_members(models)).T
    boosts = beta @ sum(bundles[1:], bundles[0]) + gamma @ unsold  # (P, K)
    received = [bids[:, buyer] @ owners[buyer] for buyer in range(buyers)]
    welfare = boosts + sum(received[1:], received[0])
    shares = torch.softmax(welfare / temperature, dim=1)
    total = torch.zeros(count)
    for buyer in range(buyers):
        others = welfare - received[buyer]
        paid = others.max(dim=1, keepdim=True).values - others
        if objective == "weighted":
            members = torch.from_numpy(_members(models))
            mean = (reputations @ members.T) / members.sum(dim=1).clamp(min=1.0)
            paid = paid * (mean @ bundles[buyer])
        total = total + (shares * paid).sum(dim=1)
    return total.mean()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch in one thread: sums then have one order, and other work its core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _find_reserves(markets: Sequence[Market]) -> tuple[int, int]:
    """Constant and slope of the reserve 1/2 of uniform values, by whether these are scaled by reputation."""
    scaled = {market.scaled for market in markets}
    if len(scaled) != 1:
        raise UserError("boosts are learned for markets that all scale values by reputation, or none of them")
    for market in markets:
        if (market.buyers + 1) ** market.models > MOST_ASSIGNMENTS:
            raise UserError(
                f"a market of {market.buyers} buyers and {market.models} models has "
                f"{(market.buyers + 1) ** market.models} assignments; allowed in training: {MOST_ASSIGNMENTS}"
            )
    return (0, MILLION // 2) if scaled == {True} else (MILLION // 2, 0)


def _layer(layer: Tensor, inputs: Tensor) -> Tensor:
    return inputs @ layer[:, :-1].T + layer[:, -1]


@cache
def _members(models: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(2^m, m) ones where a bundle holds a model."""
    return ((np.arange(1 << models)[:, None] >> np.arange(models)) & 1).astype(np.float32)


@cache
def _assignments(buyers: int, models: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Of all K assignments: per buyer (m, K) the models that it gets, and (2^m, K) the bundle; unsold (2^m, K)."""
    owner = np.array(list(product(range(buyers + 1), repeat=models)))  # (K, m); n: unsold
    held = [owner == who for who in range(buyers + 1)]
    masks = [part @ (1 << np.arange(models)) for part in held]
    ones = [np.eye(1 << models, dtype=np.float32)[mask].T.copy() for mask in masks]
    models_of = [torch.from_numpy(part.T.astype(np.float32)) for part in held[:-1]]
    bundles = [torch.from_numpy(one) for one in ones]
    return models_of, bundles[:-1], bundles[-1]

"""The deep learning auction of the TL market (DLA), for comparison: a network awards and charges by itself.

    t_ij = max_g min_l (exp(w_igl) b_ij + c_igl)      monotone transformations of the bids (MyersonNet's)
    h    = tanh(W_2 [tanh(W_1 t), R])                 reputations enter the hidden layer
    g_ij = softmax over buyers and "unsold", per model;   p_i = sigmoid(.) sum_j g_ij b_ij

    max  E sum_i r(g_i) p_i   s.t.  rgt_i = E max_b u_i(b) - u_i(v_i) = 0,     r(g_i) = sum_j g_ij r_j / sum_j g_ij
    loss = - revenue + sum_i lambda_i rgt_i + rho / 2 sum_i rgt_i^2           (augmented Lagrangian)

Nobody pays more than its bid for what it gets (ex-post IR by construction), but **it is not truthful**: regret is
pushed down on average over the prior, and any regret that is measured is a lower bound, because it is found by
searching for lies (You et al. 2026 find published ones far too low). Its awards are lotteries. What belongs on a
ledger is an exact mechanism (``boosts``); of this one, the digest of its parameters can be registered.

Source: the TL market's Fig. 2 and section on the auction, with parameters "as in" Duetting et al. 2019 (RegretNet),
as their published code has them. ``as_written`` takes the paper's loss: one multiplier on the sum of all regrets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from platoon.errors import UserError
from platoon.market.auction.markets import Market, sample_profiles
from platoon.market.auction.training import Objective, one_thread
from platoon.nouns import MILLION, Digest
from platoon.records.encoding import encode_number, encode_rlp, keccak
from platoon.rng import stream
from platoon.scenario import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class DlaSettings:
    """Size of the network and how it is trained."""

    steps: int
    hidden: int = 100
    """Units of each hidden layer."""
    layers: int = 2
    """Hidden layers, at least 2: reputations enter the second."""
    groups: int = 10
    pieces: int = 10
    """Groups and linear pieces of the monotone transformations."""
    batch: int = 128
    learning_rate: float = 1e-3
    lie_steps: int = 25
    lie_rate: float = 0.1
    """Ascent on the lies of every buyer, steps per batch and their rate (Adam)."""
    first_multiplier: float = 5.0
    first_penalty: float = 1.0
    """lambda and rho at the start."""
    multiplier_every: int = 100
    """Steps after which lambda grows by rho times the regret of the batch."""
    penalty_every: int = 10_000
    penalty_step: float = 10.0
    """rho grows by that much every so many steps."""
    objective: Objective = "weighted"
    as_written: bool = False
    """One multiplier on the sum of all regrets, instead of one for each buyer."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "hidden",
            "groups",
            "pieces",
            "batch",
            "lie_steps",
            "multiplier_every",
            "penalty_every",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"dla.{name} = {getattr(self, name)}: allowed: 1 or more")
        if self.layers < 2:
            raise UserError(f"dla.layers = {self.layers}: allowed: 2 or more; reputations enter the second")


PRESETS: Final[dict[str, DlaSettings]] = {
    "paper": DlaSettings(steps=400_000),
    "small": DlaSettings(
        steps=1_500, hidden=50, groups=5, pieces=5, lie_steps=10, penalty_every=300, penalty_step=5.0
    ),
}
"""``paper`` takes about ten hours of one core; ``small`` a minute or two."""


def find_preset(name: str) -> DlaSettings:
    """The settings of that name; raises ``UserError`` for another."""
    if name not in PRESETS:
        raise UserError(f"dla preset {name!r}: no such preset; {did_you_mean(name, list(PRESETS))}")
    return PRESETS[name]


class DeepAuction:
    """The network, for one number of buyers and models; that is all it can ever serve."""

    def __init__(self, market: Market, settings: DlaSettings, rng: np.random.Generator) -> None:
        """Parameters uniform within +-sqrt(6 / (inputs + outputs)) (Glorot), transformations near the identity."""
        self.buyers, self.models = market.buyers, market.models
        pieces = (market.buyers, settings.groups, settings.pieces)
        self.slopes = _parameter(rng.uniform(-0.1, 0.1, pieces))
        self.offsets = _parameter(rng.uniform(-0.1, 0.1, pieces))
        inputs = market.buyers * market.models
        self.awarding = _tower(inputs, self.models, (self.buyers + 1) * self.models, settings, rng)
        self.charging = _tower(inputs, self.models, self.buyers, settings, rng)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.slopes, self.offsets, *self.awarding, *self.charging]

    def award(self, bids: Tensor, reputations: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities g (P, n, m) and payments p (P, n), for bids (P, n, m) and reputations (P, m) in [0, 1]."""
        lines = bids[..., None, None] * self.slopes.exp()[:, None] + self.offsets[:, None]
        inputs = lines.min(dim=-1).values.max(dim=-1).values.flatten(1)
        logits = _climb(self.awarding, inputs, reputations).view(-1, self.buyers + 1, self.models)
        shares = torch.softmax(logits, dim=1)[:, : self.buyers]
        part = torch.sigmoid(_climb(self.charging, inputs, reputations))
        return shares, part * (shares * bids).sum(dim=2)


def encode_dla(network: DeepAuction) -> bytes:
    """The canonical bytes: RLP of a tag, the size, and every parameter as big-endian float32."""
    parts = [b"platoon dla 1", encode_number(network.buyers), encode_number(network.models)]
    for parameter in network.parameters:
        parts.append(parameter.detach().numpy().astype(">f4").tobytes())
    return encode_rlp(parts)


def compute_dla_digest(network: DeepAuction) -> Digest:
    """Keccak-256 of the canonical bytes."""
    return keccak(encode_dla(network))


def train_dla(market: Market, settings: DlaSettings, seed: int) -> DeepAuction:
    """Train by alternating ascent on lies and descent on the Lagrangian."""
    with one_thread():
        network = DeepAuction(market, settings, stream(seed, "dla", "weights"))
        optimiser = torch.optim.Adam(network.parameters, lr=settings.learning_rate)
        multipliers = torch.full((market.buyers,), settings.first_multiplier)
        penalty = settings.first_penalty
        for step in range(1, settings.steps + 1):
            rng = stream(seed, "dla", "profiles", step)
            values, reputations = draw(market, settings.batch, rng)
            lies = _draw_lies(values, rng)
            find_lies(network, values, reputations, lies, steps=settings.lie_steps, rate=settings.lie_rate)
            regrets = compute_gains(network, values, reputations, lies).clamp(min=0.0).mean(dim=0)
            revenue = compute_revenue(network, values, reputations, settings.objective)
            optimiser.zero_grad()
            loss = -revenue + _punish(regrets, multipliers, penalty, as_written=settings.as_written)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if step % settings.multiplier_every == 0:
                grown = regrets.sum().expand_as(regrets) if settings.as_written else regrets
                multipliers += penalty * grown.detach()
            if step % settings.penalty_every == 0:
                penalty += settings.penalty_step
    return network


def draw(market: Market, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Values (count, n, m) and reputations (count, m) of a market, in floats."""
    values, reputations = sample_profiles(market, count, rng)
    return _to_floats(values), _to_floats(reputations)


def compute_revenue(
    network: DeepAuction, values: Tensor, reputations: Tensor, objective: Objective
) -> Tensor:
    """Mean revenue of truthful bids, plain or weighted by the mean reputation of what each buyer gets."""
    shares, payments = network.award(values, reputations)
    if objective == "weighted":
        got = shares.sum(dim=2).clamp(min=1e-9)
        payments = payments * (shares * reputations[:, None]).sum(dim=2) / got
    return payments.sum(dim=1).mean()


def compute_gains(network: DeepAuction, values: Tensor, reputations: Tensor, lies: Tensor) -> Tensor:
    """(P, n) what each buyer gains by bidding its lie, (P, n, m), while the others bid their values."""
    count, buyers, models = values.shape
    bids = values[:, None].repeat(1, buyers, 1, 1)  # (P, liar, n, m)
    liars = torch.arange(buyers)
    bids[:, liars, liars] = lies
    told = network.award(bids.view(-1, buyers, models), reputations.repeat_interleave(buyers, dim=0))
    shares = told[0].view(count, buyers, buyers, models)[:, liars, liars]
    payments = told[1].view(count, buyers, buyers)[:, liars, liars]
    honest, paid = network.award(values, reputations)
    lying = (shares * values).sum(dim=2) - payments
    return lying - ((honest * values).sum(dim=2) - paid)


def find_lies(
    network: DeepAuction, values: Tensor, reputations: Tensor, lies: Tensor, *, steps: int, rate: float
) -> None:
    """Improve lies (P, n, m) in place, by ascent on what each buyer gains, within [0, 1]."""
    lies.requires_grad_()
    optimiser = torch.optim.Adam([lies], lr=rate, maximize=True)
    for _ in range(steps):
        gains = compute_gains(network, values, reputations, lies).sum()
        (lies.grad,) = torch.autograd.grad(gains, lies)
        optimiser.step()
        with torch.no_grad():
            lies.clamp_(0.0, 1.0)
    lies.requires_grad_(False)


def estimate_regret(
    network: DeepAuction,
    market: Market,
    seed: int,
    *,
    profiles: int = 2_000,
    starts: int = 8,
    steps: int = 50,
) -> tuple[float, float]:
    """Mean over buyers and profiles of the largest gain that was found, and the largest of all: **lower bounds**.

    Every buyer starts from its values times 1, 0.8, 0.5 and 1.2 and from random lies, and follows the gradient from
    each.
    """
    rng = stream(seed, "dla", "regret")
    with one_thread():
        values, reputations = draw(market, profiles, rng)
        best = torch.zeros(profiles, market.buyers)
        for lies in _starts(values, starts, rng):
            find_lies(network, values, reputations, lies, steps=steps, rate=0.02)
            with torch.no_grad():
                best = torch.maximum(best, compute_gains(network, values, reputations, lies))
    return float(best.mean()), float(best.max())


def estimate_dla_revenue(
    network: DeepAuction, market: Market, seed: int, profiles: int, objective: Objective
) -> tuple[float, float]:
    """Mean revenue of truthful bids on fresh profiles, and its standard error over hundred batches."""
    with one_thread(), torch.no_grad():
        batches = [
            float(compute_revenue(network, *draw(market, profiles // 100, rng), objective))
            for rng in (stream(seed, "dla", "test", batch) for batch in range(100))
        ]
    return float(np.mean(batches)), float(np.std(batches) / 10.0)


def _punish(regrets: Tensor, multipliers: Tensor, penalty: float, *, as_written: bool) -> Tensor:
    """lambda and rho of the augmented Lagrangian on regrets (n,)."""
    if as_written:
        return multipliers[0] * regrets.sum() + 0.5 * penalty * regrets.sum() ** 2
    return (multipliers * regrets).sum() + 0.5 * penalty * (regrets**2).sum()


def _starts(values: Tensor, starts: int, rng: np.random.Generator) -> Iterator[Tensor]:
    for place in range(starts):
        factors = (1.0, 0.8, 0.5, 1.2)
        yield (values * factors[place]).clamp(0.0, 1.0) if place < len(factors) else _draw_lies(values, rng)


def _draw_lies(values: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random(tuple(values.shape), dtype=np.float32))


def _tower(
    inputs: int, reputations: int, outputs: int, settings: DlaSettings, rng: np.random.Generator
) -> list[Tensor]:
    """Layers (outputs, inputs + 1), the bias last; the second also takes the reputations."""
    widths = [inputs, *[settings.hidden] * settings.layers, outputs]
    layers = []
    for place in range(len(widths) - 1):
        fed = widths[place] + (reputations if place == 1 else 0)
        bound = (6.0 / (fed + widths[place + 1])) ** 0.5
        layer = rng.uniform(-bound, bound, (widths[place + 1], fed + 1))
        layer[:, -1] = 0.0
        layers.append(_parameter(layer))
    return layers


def _climb(tower: Sequence[Tensor], inputs: Tensor, reputations: Tensor) -> Tensor:
    state = inputs
    for place, layer in enumerate(tower):
        fed = torch.cat([state, reputations], dim=1) if place == 1 else state
        state = fed @ layer[:, :-1].T + layer[:, -1]
        state = torch.tanh(state) if place < len(tower) - 1 else state
    return state


def _parameter(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).requires_grad_()


def _to_floats(amounts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
    return torch.from_numpy((amounts / MILLION).astype(np.float32))

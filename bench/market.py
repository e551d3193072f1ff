"""What the market's auctions earn, and what learning them costs.

    python -m bench market            everything
    python -m bench.market PART ...   the rows of these parts anew, the others as they were

prints a table and writes ``bench/out/market.json``. Revenue is that of the exact integer auction on 200,000
profiles that no training saw. Where training has chance, the value is the median over training seeds 1, 2, 3, and
the spread half the distance between the quartiles; ``standard_error`` is that of the sampled profiles. Revenue of
item-wise Myerson is known exactly for uniform values, so that what is sampled is the difference to it on the same
profiles, which is far less noisy.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

import numpy as np

from bench.market_deeds import measure_deviations, measure_execution, measure_trade
from bench.rows import OUT, Row, keep, row
from platoon.market.auction.boosts import BoostNetwork, export_tables
from platoon.market.auction.count_training import CountTraining, train_counts
from platoon.market.auction.counts import CountBoosts, compute_count_revenues
from platoon.market.auction.dla import (
    estimate_dla_revenue,
    estimate_regret,
    find_preset,
    train_dla,
)
from platoon.market.auction.evaluation import maximise, mean_reputations
from platoon.market.auction.markets import Market, find_market, sample_profiles
from platoon.market.auction.menu import choose, expand_counts, learn_prices
from platoon.market.auction.myerson import expect_uniform_revenue
from platoon.market.auction.second_price import second_price
from platoon.market.auction.trained import load_network
from platoon.market.auction.training import BoostTraining, Objective, train_boosts
from platoon.nouns import MILLION, Ints
from platoon.rng import stream

SEEDS: Final = (1, 2, 3)
PROFILES: Final = 200_000
Earned = tuple[float, float]
"""Mean revenue of one auction in units of value, and its standard error."""


def main(parts: Sequence[str] = ()) -> None:
    kept = {one["name"]: one for one in json.loads((OUT / "market.json").read_text())} if parts else {}
    for name in parts or PARTS:
        for one in PARTS[name]():
            kept[one["name"]] = one
            show(one)
        keep("market", list(kept.values()))


def show(one: Row) -> None:
    peer = f"{one['peer']}: {one['peer_value']:.4g}" if one["peer"] else ""
    error = f" (standard error {one['standard_error']:.2g})" if "standard_error" in one else ""
    print(
        f"{one['name']:44} {one['value']:9.4f} {one['unit']:6} +- {one['spread']:.4f}{error}  {peer}",
        flush=True,
    )


def measure_r1() -> list[Row]:
    """Boosts learned for R1 at one size, plain revenue, and what training costs."""
    rows = []
    for models in (3, 5):
        trained = [learn_r1(models, "plain", seed) for seed in SEEDS]
        market = find_market("r1_high", 3, models)
        found = [earn_learned(network, market) for network, _ in trained]
        rows.append(over_spa(f"revenue_r1_3x{models}_over_spa", found, market))
        rows.append(row(f"train_3x{models}_cpu_s", [cpu for _, cpu in trained], "CPU s"))
    return rows


def measure_weighted() -> list[Row]:
    """The paper's objective: revenue weighted by reputation, over unweighted second price, as in its figure."""
    networks = [learn_r1(3, "weighted", seed)[0] for seed in SEEDS]
    rows = []
    for name, figure in (("high", 30.0), ("low", 10.0)):
        market = find_market(f"r1_{name}", 3, 3)
        found = [earn_learned(network, market, weighted=True) for network in networks]
        peer = ("TL market, Fig. 3(a), %", figure)
        rows.append(over_spa(f"weighted_revenue_r1_{name}_3x3_over_spa", found, market, peer))
    return rows


def measure_packaged() -> list[Row]:
    """The networks that come with the package, one for all sizes; the peer is item-wise Myerson."""
    rows = []
    for buyers, models in ((2, 1), (2, 5), (3, 3), (3, 5), (4, 2), (5, 5), (6, 4), (8, 3), (8, 5)):
        market = find_market("r1_high", buyers, models)
        found = [earn_learned(load_network("r1_plain"), market)] * 2
        rows.append(over_spa(f"packaged_r1_{buyers}x{models}_over_spa", found, market))
    market = find_market("u01_scaled", 3, 3)
    rows.append(
        over_spa("packaged_u01_scaled_3x3_over_spa", [earn_learned(load_network("u01"), market)] * 2, market)
    )
    return rows


def measure_unseen() -> list[Row]:
    """A network that was trained on 3 x 3 alone, at sizes that it never saw."""
    networks = [learn_r1(3, "plain", seed)[0] for seed in SEEDS]
    rows = []
    for buyers, models in ((2, 1), (2, 3), (2, 5), (3, 5), (5, 3), (5, 5), (8, 3)):
        market = find_market("r1_high", buyers, models)
        found = [earn_learned(network, market, profiles=50_000) for network in networks]
        rows.append(over_spa(f"trained_on_3x3_at_{buyers}x{models}_over_spa", found, market))
    return rows


def measure_u01() -> list[Row]:
    """Boosts by count in dense markets."""
    rows = []
    for buyers, models in ((2, 2), (2, 5), (3, 3), (3, 5), (3, 10)):
        market = find_market("u01", buyers, models)
        found, costs = [], []
        for seed in SEEDS:
            started = time.process_time()
            boosts = train_counts(market, CountTraining(), seed)
            costs.append(time.process_time() - started)
            found.append(compare(market, partial(earn_counts, boosts)))
        name = f"u01_{buyers}x{models}"
        peer = ("item-wise Myerson", exact(market, 0.5))
        rows += [
            with_error(f"revenue_{name}", found, "value", peer),
            row(f"train_counts_{name}_cpu_s", costs, "CPU s"),
        ]
    return rows


def measure_licences() -> list[Row]:
    """Non-exclusive licences at learned prices; the peer is what the exclusive second price auction earns."""
    rows = []
    for name, models in (("u01", 3), ("u01", 5), ("r1_high", 3)):
        market = find_market(name, 3, models)
        found = []
        for seed in SEEDS:
            menu = expand_counts(learn_prices(market, seed))
            values, _ = sample_profiles(market, PROFILES, stream(0, "bench", "menu"))
            found.append(mean(choose(menu, values).payments.sum(axis=1) / MILLION))
        peer = ("second price, exclusive", exact(market, 0.0))
        rows.append(with_error(f"licences_{name}_3x{models}", found, "value", peer))
    return rows


def measure_dla() -> list[Row]:
    """The paper's network by its small preset, in R1; regret is a lower bound, and a share of the revenue too."""
    market, settings = find_market("r1_high", 3, 3), find_preset("small")
    costs, plain, weighted, regrets, largest = [], [], [], [], []
    for seed in SEEDS:
        started = time.process_time()
        network = train_dla(market, settings, seed)
        costs.append(time.process_time() - started)
        plain.append(estimate_dla_revenue(network, market, 0, PROFILES, "plain"))
        weighted.append(estimate_dla_revenue(network, market, 0, PROFILES, "weighted"))
        regret, most = estimate_regret(network, market, 0)
        regrets.append(regret)
        largest.append(most)
    return [
        over_spa("dla_small_r1_3x3_over_spa", plain, market),
        over_spa("dla_small_weighted_r1_3x3_over_spa", weighted, market),
        row("dla_small_regret_lower_bound", regrets, "value", "boosts", 0.0),
        row("dla_small_largest_gain_lower_bound", largest, "value", "boosts", 0.0),
        row("train_dla_small_3x3_cpu_s", costs, "CPU s"),
    ]


PARTS: Final[dict[str, Callable[[], list[Row]]]] = {
    "r1": measure_r1,
    "weighted": measure_weighted,
    "packaged": measure_packaged,
    "unseen": measure_unseen,
    "u01": measure_u01,
    "licences": measure_licences,
    "dla": measure_dla,
    "deviations": measure_deviations,
    "execution": measure_execution,
    "trade": measure_trade,
}


@cache
def learn_r1(models: int, objective: Objective, seed: int) -> tuple[BoostNetwork, float]:
    """A network for both halves of R1 at 3 buyers, and the CPU seconds that training took."""
    markets = [find_market(name, 3, models) for name in ("r1_high", "r1_low")]
    started = time.process_time()
    network = train_boosts(markets, BoostTraining(objective=objective), seed)
    return network, time.process_time() - started


def earn_learned(
    network: BoostNetwork, market: Market, *, weighted: bool = False, profiles: int = PROFILES
) -> Earned:
    """Revenue with the tables that the network exports for each profile's reputations."""

    def earn(values: Ints, reputations: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        sales = maximise(values, *export_tables(network, reputations))
        rates = mean_reputations(sales.bundles, reputations) if weighted else 1.0
        return np.asarray((rates * sales.payments).sum(axis=1) / MILLION)

    return compare(market, earn, profiles)


def earn_counts(boosts: CountBoosts, values: Ints, _: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Revenue of each auction with boosts by count."""
    return np.asarray(compute_count_revenues(values, boosts) / MILLION)


def compare(
    market: Market,
    earn: Callable[[Ints, Ints], np.ndarray[tuple[int], np.dtype[np.float64]]],
    profiles: int = PROFILES,
) -> Earned:
    """Item-wise Myerson's exact revenue, and the sampled difference to it on fresh profiles."""
    values, reputations = sample_profiles(market, profiles, stream(0, "bench", market.buyers, market.models))
    reserves = reputations // 2 if market.scaled else MILLION // 2
    base = second_price(values, reserves).payments.sum(axis=1) / MILLION
    difference, error = mean(earn(values, reputations) - base)
    return exact(market, 0.5) + difference, error


def exact(market: Market, reserve: float) -> float:
    """Expected revenue of a second price auction with a reserve, in closed form."""
    scale = (market.least_reputation + market.most_reputation) / 2 / MILLION if market.scaled else 1.0
    return market.models * scale * expect_uniform_revenue(market.buyers, market.interest / MILLION, reserve)


def mean(samples: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Earned:
    return float(samples.mean()), float(samples.std() / len(samples) ** 0.5)


def over_spa(
    name: str, found: Sequence[Earned], market: Market, peer: tuple[str, float] | None = None
) -> Row:
    """Per cent above the expected revenue of the second price auction."""
    base = exact(market, 0.0)
    above = [(100.0 * (revenue / base - 1.0), 100.0 * error / base) for revenue, error in found]
    return with_error(
        name, above, "%", peer or ("item-wise Myerson, %", 100.0 * (exact(market, 0.5) / base - 1.0))
    )


def with_error(name: str, found: Sequence[Earned], unit: str, peer: tuple[str, float]) -> Row:
    """The row of several seeds, with the largest of their standard errors."""
    return {
        **row(name, [value for value, _ in found], unit, *peer),
        "standard_error": max(e for _, e in found),
    }


if __name__ == "__main__":
    main(sys.argv[1:])

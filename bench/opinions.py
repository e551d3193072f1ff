"""Reputations of sellers where raters lie: ways to make them, by the share of liars.

    python -m bench opinions

draws 30 markets of 20 buyers and 12 sellers for each share of liars (``platoon/market/opinions/lying.py``) and asks
every method which sellers are better than .5, and in what order. Market-wide methods answer once a market, buyers'
own values are averaged over the honest buyers. A reputation of exactly .5 counts as wrong. Prints the share of
sellers on the right side and Kendall's tau with the true qualities, mean and standard deviation over the markets;
then what the contract's calls cost. Writes bench/out/opinions.json.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from bench.rows import Row, keep
from platoon.ledger.contracts import load_artefact
from platoon.ledger.evm import Machine
from platoon.market.opinions.lying import LyingMarket, LyingRatings, draw_ratings
from platoon.market.opinions.simple import MARKET_WIDE, pool_events
from platoon.market.opinions.subjective import Experience, SubjectiveRules, compute_reputations
from platoon.nouns import MILLION, Floats, Instant
from platoon.records.encoding import compute_contract_address
from platoon.records.opinions import (
    MOST_BUYERS,
    MOST_SELLERS,
    Mode,
    OpinionRules,
    Opinions,
    TrustRule,
)
from platoon.records.signing import simulated_account
from platoon.records.transactions import MAX_GAS

RUNS = 30
LIARS = (0.0, 0.2, 0.4, 0.45, 0.5)
MARKETS = {
    "clear": LyingMarket(),
    "any qualities": LyingMarket(qualities="any"),
    "few purchases": LyingMarket(met=0.5, more=1.5),
    "liars deny": LyingMarket(lie="deny"),
}
LATE = Instant(24 * 3600 * 10**6)
"""When everything is asked: after all ratings, within the window."""
RULES = OpinionRules()
LESS_OWN = OpinionRules(direct=200_000, recommended=600_000)
Answers = dict[str, list[Sequence[int]]]
"""By method: one row of reputations market-wide, or one for every honest buyer."""


def main() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    for name, market in MARKETS.items():
        for liars in LIARS:
            rows += measure(name, dataclasses.replace(market, liars=liars))
    for mode in Mode:
        for buyers, sellers in ((20, 12), (MOST_BUYERS, MOST_SELLERS)):
            rows += measure_gas(mode, buyers, sellers)
    keep("opinions", rows)


def measure(name: str, market: LyingMarket) -> list[Row]:
    """The rows of one market with one share of liars."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(RUNS):
        rated = draw_ratings(market, seed)
        answers = answer_market_wide(rated)
        if name == "clear":
            answers |= answer_as_written(rated) | answer_for_buyers(rated) | answer_subjectively(rated)
        for method, said in answers.items():
            judged = [judge(np.array(row), rated.quality) for row in said]
            right, tau = np.mean(judged, axis=0)
            found[method].append((float(right), float(tau)))
    rows: list[Row] = []
    for method, pairs in found.items():
        mean, spread = np.mean(pairs, axis=0), np.std(pairs, axis=0, ddof=1)
        print(
            f"{name:14} liars {market.liars:4.0%}  {method:44}"
            f" right {mean[0]:.3f} +- {spread[0]:.3f}  tau {mean[1]:.2f} +- {spread[1]:.2f}",
            flush=True,
        )
        rows += [
            {
                "name": f"{name}, {market.liars:.0%} liars, {method}: {what}",
                "value": float(mean[i]),
                "unit": "",
                "spread": float(spread[i]),
                "peer": None,
                "peer_value": None,
            }
            for i, what in enumerate(("right side", "tau"))
        ]
    return rows


def judge(reputations: Floats, quality: Floats) -> tuple[float, float]:
    """Share of sellers on the right side of .5, and Kendall's tau."""
    right = np.where(quality > 0.5, reputations > MILLION // 2, reputations < MILLION // 2)
    tau = kendalltau(reputations, quality).statistic
    return float(right.mean()), 0.0 if np.isnan(tau) else float(tau)


def fold(rated: LyingRatings, rules: OpinionRules) -> Opinions:
    """All ratings of a market."""
    opinions = Opinions(rules=rules)
    for rating in rated.ratings:
        opinions.record(*rating)
    return opinions


def answer_market_wide(rated: LyingRatings) -> Answers:
    """What an auction could freeze."""
    positive, all_ = (counts.tolist() for counts in rated.count())
    honest = [i for i, lies in enumerate(rated.lies) if not lies]
    answers: Answers = {
        f"market-wide: {name}": [method(positive, all_, RULES.prior)] for name, method in MARKET_WIDE.items()
    }
    opinions = fold(rated, RULES)
    for count in (0, 1, 2):
        opinions.referees = {i + 1 for i in honest[:count]}
        said = opinions.reputations(rated.sellers, LATE)
        answers[f"market-wide: voices, {count} referees"] = [said]
    told, of = ([counts[i] for i in honest] for counts in (positive, all_))
    answers["market-wide: oracle, honest events only"] = [pool_events(told, of, RULES.prior)]
    return answers


def answer_as_written(rated: LyingRatings) -> Answers:
    """The paper's: integrated values are uploaded and used."""
    answers: Answers = {}
    for trust in TrustRule:
        rules = OpinionRules(mode=Mode.AS_WRITTEN, trust=trust)
        opinions, word = fold(rated, rules), trust.name.lower()
        answers[f"market-wide: as written, {word} trust"] = [opinions.reputations(rated.sellers, LATE)]
        answers[f"buyers: as written, {word} trust"] = ask_honest(rated, opinions)
    return answers


def answer_for_buyers(rated: LyingRatings) -> Answers:
    """Integrated values of shared direct ones."""
    opinions = fold(rated, RULES)
    everybody = [[opinions.integrated(i, j, LATE)[0] for j in rated.sellers] for i in rated.buyers]
    equal = dataclasses.replace(opinions, rules=OpinionRules(trust=TrustRule.EQUAL))
    less = dataclasses.replace(opinions, rules=LESS_OWN)
    return {
        "market-wide: median of integrated, learned trust": [find_medians(everybody)],
        "buyers: shared direct, learned trust": [
            row for row, lies in zip(everybody, rated.lies, strict=True) if not lies
        ],
        "buyers: shared direct, equal trust": ask_honest(rated, equal),
        "buyers: learned trust, weights .2 .6 .2": ask_honest(rated, less),
    }


def find_medians(values: Sequence[Sequence[int]]) -> list[int]:
    """(S,) the lower median of what all buyers make of each seller."""
    return [sorted(column)[(len(column) - 1) // 2] for column in zip(*values, strict=True)]


def ask_honest(rated: LyingRatings, opinions: Opinions) -> list[Sequence[int]]:
    """Integrated values of every honest buyer."""
    honest = [buyer for buyer, lies in zip(rated.buyers, rated.lies, strict=True) if not lies]
    return [[opinions.integrated(buyer, j, LATE)[0] for j in rated.sellers] for buyer in honest]


def answer_subjectively(rated: LyingRatings) -> Answers:
    """Kang's: the second half of the ratings is recent."""
    middle = len(rated.ratings) // 2
    halves = [
        dataclasses.replace(rated, ratings=part) for part in (rated.ratings[middle:], rated.ratings[:middle])
    ]
    counts = [half.count() for half in halves]
    (recent, recent_all), (past, past_all) = counts
    experience = Experience(
        positive_recent=recent.tolist(),
        negative_recent=(recent_all - recent).tolist(),
        positive_past=past.tolist(),
        negative_past=(past_all - past).tolist(),
    )
    answers: Answers = {}
    for trust in TrustRule:
        rules, word = OpinionRules(trust=trust), trust.name.lower()
        said = [
            compute_reputations(experience, i, SubjectiveRules(), rules) for i in range(len(rated.buyers))
        ]
        answers[f"market-wide: median of Kang's, {word} trust"] = [find_medians(said)]
        answers[f"buyers: Kang's, {word} trust"] = [
            row for row, lies in zip(said, rated.lies, strict=True) if not lies
        ]
    return answers


# ---- gas --------------------------------------------------------------------------------------------------------


def measure_gas(mode: Mode, buyers: int, sellers: int) -> list[Row]:
    """Gas of calls in a market where everybody has rated everybody; each with all slots cold."""
    artefact, machine, operator = (
        load_artefact("Opinions"),
        Machine(7400),
        simulated_account(1, "operator", 0),
    )
    functions = {function.name: function for function in artefact.functions.values()}
    contract = compute_contract_address(operator.address, 0)

    def send(name: str, *arguments: Any) -> int:
        function = functions[name]
        data = function.selector + function.inputs.encode(arguments)
        execution = machine.execute(operator.address, contract, data, MAX_GAS)
        assert execution.ok, execution.error
        return execution.gas

    def send_cold(name: str, *arguments: Any) -> int:
        machine.shed_history(0)
        return send(name, *arguments)

    rules = dataclasses.astuple(OpinionRules(mode=mode))
    data = artefact.bytecode + artefact.constructor.encode([rules])
    assert machine.execute(operator.address, None, data, MAX_GAS).ok
    send("bind", operator.address)
    handles = list(range(1001, 1001 + sellers))
    for buyer in range(1, buyers + 1):
        for seller in handles:
            send("record", buyer, seller, 0, (buyer * seller) % 7 < 4)
    gas = {
        "record, a pair that is known": send_cold("record", 1, 1001, 0, True),
        "record, a buyer and a seller that are new": send_cold("record", 501, 2001, 0, True),
        f"reputations of {min(sellers, 8)}": send_cold("reputations", handles[:8], 0),
        f"reputations of {sellers}": send_cold("reputations", handles, 0),
        "integrated": send_cold("integrated", 1, 1002, 0),
    }
    rows: list[Row] = []
    for call, used in gas.items():
        name = f"{mode.name.lower()}, {buyers} buyers x {sellers} sellers, {call}"
        print(f"{name:80} {used:10,} gas", flush=True)
        rows.append(
            {"name": name, "value": used, "unit": "gas", "spread": None, "peer": None, "peer_value": None}
        )
    return rows


if __name__ == "__main__":
    main()

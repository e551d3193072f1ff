"""Plots of trust and money: reputations, the weight that attackers got, scores, and rewards."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from platoon.experiments.report.measures import (
    attacker_share,
    attackers,
    earned_per_vehicle,
    has_reputation,
    reputation_history,
)
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import (
    HONEST,
    MALICIOUS,
    Figure,
    Plot,
    Section,
    Trace,
    bar_fill,
    count_axis,
    layout,
    method_line,
    numbers,
    reference_line,
    round_axis,
)
from platoon.experiments.report.words import join_words, percent, plural
from platoon.nouns import Floats

Runs = Sequence[RunRecord]
KINDS = ((True, "honest", HONEST, "circle"), (False, "malicious", MALICIOUS, "x"))
"""(is honest, name, colour, symbol)."""


def trust_section(runs: Runs) -> Section:
    """Reputations of honest and malicious vehicles, and the weight that attackers got."""
    plots: list[Plot] = []
    keeping = [(i, run) for i, run in enumerate(runs) if has_reputation(run)]
    plots += [_reputation_over_rounds(i, run) for i, run in keeping]
    plots += [_reputation_histogram(i, run) for i, run in keeping]
    if any(attackers(run) and np.isfinite(run.rounds.malicious_weight).any() for run in runs):
        plots.append(_attackers_weight(runs))
    if any(np.isfinite(run.rounds.score_auc).any() for run in runs):
        plots.append(_score_auc(runs))
    without = [run.label for run in runs if not has_reputation(run)]
    lead = (
        "Every judged update moves the reputation of its vehicle: up when the edge servers' scores are good, "
        "down when they are not. A vehicle below the threshold is not chosen, except on probation."
    )
    if without:
        lead += f" {join_words(without)} moved no reputation, so there is none to plot for it."
    return Section(id="trust", title="Whom to trust", lead=lead, plots=tuple(plots))


def reward_section(runs: Runs) -> Section:
    """What honest and malicious vehicles earned, and what stays in escrow."""
    plots = [_rewards(i, run) for i, run in enumerate(runs) if np.nansum(run.updates.reward) > 0]
    if any(np.isfinite(run.rounds.escrow_left).any() for run in runs):
        plots.append(_escrow(runs))
    return Section(
        id="rewards",
        title="Rewards",
        lead="The publisher of the task put tokens in escrow; a contract pays vehicles for valid updates.",
        plots=tuple(plots),
    )


def _judged(run: RunRecord, honest: bool) -> Any:
    return (run.vehicles.honest == honest) & (run.vehicles.judged > 0)


def _unjudged_note(run: RunRecord) -> str:
    never = int(np.count_nonzero(run.vehicles.judged == 0))
    return f" {plural(never, 'vehicle')} never judged: left out." if never else ""


def _reputation_over_rounds(index: int, run: RunRecord) -> Plot:
    history = reputation_history(run)
    traces: list[Trace] = []
    for honest, name, colour, symbol in KINDS:
        columns = history[:, _judged(run, honest)]
        if columns.shape[1]:
            traces += _band(run, columns, name, colour, symbol)
    return Plot(
        title=f"Reputation over rounds, {run.label}",
        caption="Line: median reputation of the honest and of the malicious vehicles that were judged at least "
        "once in the run. Shade: from the lowest to the highest tenth of them. The further apart the two, the "
        f"better attackers are recognised.{_unjudged_note(run)}",
        figure={
            "data": traces,
            "layout": layout(
                "round",
                "reputation",
                x=round_axis(run.rounds.round),
                y={"range": [0, 1.02]},
                **_threshold(run, "y"),
            ),
        },
        method=index,
    )


def _band(run: RunRecord, columns: Floats, name: str, colour: str, symbol: str) -> list[Trace]:
    """The median of ``columns`` (R, V) with the band from the first to the last decile."""
    low, middle, high = np.quantile(columns, [0.1, 0.5, 0.9], axis=1)
    rounds = numbers(run.rounds.round)
    edge = {
        "type": "scatter",
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    shade = f"rgba({red},{green},{blue},0.18)"
    return [
        {**edge, "x": rounds, "y": numbers(low)},
        {**edge, "x": rounds, "y": numbers(high), "fill": "tonexty", "fillcolor": shade},
        {
            "type": "scatter",
            "mode": "lines+markers" if len(rounds) <= 40 else "lines",
            "name": f"{name} ({columns.shape[1]})",
            "x": rounds,
            "y": numbers(middle),
            "line": {"color": colour, "width": 2},
            "marker": {"color": colour, "symbol": symbol, "size": 6},
        },
    ]


def _reputation_histogram(index: int, run: RunRecord) -> Plot:
    edges = np.linspace(0, 1, 21)
    counts = {
        honest: np.histogram(np.clip(run.vehicles.reputation[_judged(run, honest)], 0, 1), edges)[0]
        for honest, *_ in KINDS
    }
    return Plot(
        title=f"Reputation at the end, {run.label}",
        caption="Judged vehicles by their last reputation, in steps of 0.05. Good judging leaves orange at the "
        f"left and blue at the right of the dotted threshold.{_unjudged_note(run)}",
        figure={
            "data": [
                _histogram_bar(counts[honest], edges, name, colour)
                for honest, name, colour, _ in KINDS
                if counts[honest].any()
            ],
            "layout": layout(
                "reputation after the last round",
                "vehicles",
                x={"range": [0, 1], "dtick": 0.1},
                y=count_axis(int((counts[True] + counts[False]).max())),
                barmode="stack",
                bargap=0.06,
                **_threshold(run, "x"),
            ),
        },
        method=index,
    )


def _histogram_bar(counts: Any, edges: Floats, name: str, colour: str) -> Trace:
    return {
        "type": "bar",
        "name": f"{name} ({int(counts.sum())})",
        "x": numbers((edges[:-1] + edges[1:]) / 2),
        "y": numbers(counts),
        "marker": bar_fill(colour, None if colour == HONEST else "#FFFFFF"),
    }


def _threshold(run: RunRecord, axis: str) -> Figure:
    rho_min = run.scenario.trust.rho_min
    return reference_line(axis, rho_min, f"least to be chosen: {rho_min:g}")


def _attackers_weight(runs: Runs) -> Plot:
    share = attacker_share(max(runs, key=attacker_share))
    top = max([share, *(float(np.nanmax(run.rounds.malicious_weight, initial=0)) for run in runs)])
    data = [
        method_line(i, run.label, run.rounds.round, 100 * run.rounds.malicious_weight)
        for i, run in enumerate(runs)
    ]
    return Plot(
        title="Weight that attackers got",
        caption="Share of each merged model that came from malicious vehicles. Zero is best; the dotted line is "
        f"their share of the fleet ({percent(share)}). A gap is a round that merged nothing.",
        figure={
            "data": data,
            "layout": layout(
                "round",
                "attackers' weight, %",
                x=round_axis(max((run.rounds.round for run in runs), key=len)),
                y={"range": [0, 108 * top]},
                **reference_line("y", 100 * share, "their share of the fleet"),
            ),
        },
    )


def _score_auc(runs: Runs) -> Plot:
    data = [
        method_line(i, run.label, run.rounds.round, run.rounds.score_auc)
        for i, run in enumerate(runs)
        if np.isfinite(run.rounds.score_auc).any()
    ]
    return Plot(
        title="How well scores tell attackers apart",
        caption="Probability that a malicious update scored below an honest one of the same round (AUC): 1 is "
        "perfect, 0.5 is guessing. A gap is a round without both kinds, or that judged nothing.",
        figure={
            "data": data,
            "layout": layout(
                "round",
                "AUC of the scores",
                x=round_axis(max((run.rounds.round for run in runs), key=len)),
                y={"range": [-0.02, 1.04]},
                **reference_line("y", 0.5, "guessing"),
            ),
        },
    )


def _rewards(index: int, run: RunRecord) -> Plot:
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(run.rounds.round) <= 40 else "lines",
            "name": f"{name} ({np.count_nonzero(run.vehicles.honest == honest)})",
            "x": numbers(run.rounds.round),
            "y": numbers(earned_per_vehicle(run, honest)),
            "line": {"color": colour, "width": 2, "dash": "solid" if honest else "dash"},
            "marker": {"color": colour, "symbol": symbol, "size": 6},
        }
        for honest, name, colour, symbol in KINDS
        if (run.vehicles.honest == honest).any()
    ]
    return Plot(
        title=f"Earned per vehicle, {run.label}",
        caption="Tokens that a vehicle had earned on average by each round, honest against malicious, over the "
        "whole fleet. Good incentives keep the orange line low.",
        figure={
            "data": lines,
            "layout": layout(
                "round", "tokens per vehicle", x=round_axis(run.rounds.round), y={"rangemode": "tozero"}
            ),
        },
        method=index,
    )


def _escrow(runs: Runs) -> Plot:
    return Plot(
        title="Escrow left",
        caption="Tokens of the publisher that are not paid yet. What a round does not pay stays here.",
        figure={
            "data": [
                method_line(i, run.label, run.rounds.round, run.rounds.escrow_left)
                for i, run in enumerate(runs)
            ],
            "layout": layout(
                "round",
                "tokens",
                x=round_axis(max((run.rounds.round for run in runs), key=len)),
                y={"rangemode": "tozero"},
            ),
        },
    )

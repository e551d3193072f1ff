"""Plots of the learning itself: accuracy, and what became of the vehicles that were chosen."""

from collections.abc import Sequence

import numpy as np

from platoon.experiments.report.measures import count_participation, simulated_seconds
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import (
    HONEST,
    HONEST_PALE,
    MALICIOUS,
    MALICIOUS_PALE,
    NEUTRAL_PALE,
    Plot,
    Section,
    bar_fill,
    bar_gap,
    count_axis,
    layout,
    method_line,
    numbers,
    round_axis,
)

Runs = Sequence[RunRecord]


def accuracy_section(runs: Runs) -> Section:
    """Accuracy over rounds and over simulated seconds."""
    plots = (_accuracy_over_rounds(runs), _accuracy_over_seconds(runs))
    measured = any(np.isfinite(run.rounds.accuracy).any() for run in runs)
    lead = (
        "The share of the test images, never seen in training, that the shared model classifies right."
        if measured
        else "No accuracy was measured in these runs."
    )
    return Section(id="accuracy", title="Accuracy", lead=lead, plots=plots if measured else ())


def participation_section(runs: Runs) -> Section:
    """What became of the chosen vehicles, per round and method."""
    plots = tuple(_participation(i, run) for i, run in enumerate(runs) if run.rounds.selected.any())
    return Section(
        id="participants",
        title="Who took part",
        lead="Every round a method chooses vehicles. Some drive out of coverage or are too slow; what arrives is "
        "judged, and only updates that count change the model.",
        plots=plots,
    )


def _accuracy_over_rounds(runs: Runs) -> Plot:
    longest = max((run.rounds.round for run in runs), key=len)
    return Plot(
        title="Accuracy over rounds",
        caption="Per cent of the test images classified right after each round, one line per method. Higher is "
        "better; a line that drops or stays flat under attack shows what the attack costs.",
        figure={
            "data": [
                method_line(i, run.label, run.rounds.round, 100 * run.rounds.accuracy)
                for i, run in enumerate(runs)
            ],
            "layout": layout("round", "test accuracy, %", x=round_axis(longest), y={"rangemode": "tozero"}),
        },
    )


def _accuracy_over_seconds(runs: Runs) -> Plot:
    return Plot(
        title="Accuracy over simulated seconds",
        caption="The same accuracies against the time that the rounds would take on the road: distribution, "
        "slowest participant, chain and aggregation. A method with quicker rounds lies further left.",
        figure={
            "data": [
                method_line(i, run.label, simulated_seconds(run), 100 * run.rounds.accuracy)
                for i, run in enumerate(runs)
            ],
            "layout": layout(
                "simulated seconds since the first round began",
                "test accuracy, %",
                x={"rangemode": "tozero"},
                y={"rangemode": "tozero"},
                hovermode="closest",
            ),
        },
    )


def _participation(index: int, run: RunRecord) -> Plot:
    counts = count_participation(run)
    rows = (
        ("honest, counted", counts.honest_merged, HONEST, None),
        ("honest, not counted", counts.honest_unmerged, HONEST_PALE, HONEST),
        ("malicious, counted", counts.malicious_merged, MALICIOUS, None),
        ("malicious, not counted", counts.malicious_unmerged, MALICIOUS_PALE, MALICIOUS),
        ("never arrived", counts.lost, NEUTRAL_PALE, None),
    )
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": numbers(run.rounds.round),
            "y": numbers(count),
            "marker": bar_fill(colour, hatch),
        }
        for name, count, colour, hatch in rows
        if count.any()
    ]
    return Plot(
        title=f"Chosen vehicles per round, {run.label}",
        caption="Each bar is one round's chosen vehicles. Hatched: the update arrived but got no weight "
        "(invalid, on probation, or the round kept its model). Little solid orange is good; so is little grey.",
        figure={
            "data": bars,
            "layout": layout(
                "round",
                "vehicles",
                x=round_axis(run.rounds.round),
                y=count_axis(int(run.rounds.selected.max())),
                barmode="stack",
                bargap=bar_gap(run.rounds.round),
            ),
        },
        method=index,
    )

"""Plots of time: simulated seconds per phase, energy, and CPU seconds of the machine."""

from collections.abc import Sequence

import numpy as np

from platoon.experiments.report.measures import mean_or_nan
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import (
    PARTS,
    Plot,
    Section,
    bar_gap,
    layout,
    method_line,
    numbers,
    round_axis,
    safe,
)
from platoon.experiments.report.words import number

Runs = Sequence[RunRecord]
PHASES = (
    ("distribution", "distribution_s"),
    ("training and upload", "training_s"),
    ("seals", "sealing_s"),
    ("chain", "chain_s"),
    ("aggregation", "aggregation_s"),
)
CPU_PARTS = ("start", "train", "evaluate", "twin", "ledger", "judge", "world", "other")


def time_section(runs: Runs) -> Section:
    """Simulated seconds per phase and energy of the vehicles, and CPU seconds of this machine."""
    plots = [_phases(i, run, _longest_round(runs)) for i, run in enumerate(runs) if len(run.rounds.round)]
    if any(np.isfinite(run.rounds.energy_j).any() for run in runs):
        plots.append(_energy(runs))
    if any(value for run in runs for value in run.summary.cpu_seconds.values()):
        plots.append(_cpu(runs))
    return Section(
        id="time",
        title="Time and energy",
        lead="Simulated seconds are what the rounds would take on the road; CPU seconds are what simulating "
        "them cost this machine.",
        plots=tuple(plots),
    )


def _longest_round(runs: Runs) -> float:
    return max(float((run.rounds.ended_s - run.rounds.started_s).max(initial=0)) for run in runs)


def _phases(index: int, run: RunRecord, longest: float) -> Plot:
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": numbers(run.rounds.round),
            "y": numbers(getattr(run.rounds, column)),
            "marker": {"color": colour},
        }
        for (name, column), colour in zip(PHASES, PARTS, strict=False)
    ]
    mean = mean_or_nan(run.rounds.ended_s - run.rounds.started_s)
    return Plot(
        title=f"Simulated time per round, {run.label}",
        caption=f"What the simulated seconds of each round went into; {number(mean, 1)} seconds on average. "
        "Training lasts until the slowest participant's update has arrived, or the deadline.",
        figure={
            "data": bars,
            "layout": layout(
                "round",
                "simulated seconds",
                x=round_axis(run.rounds.round),
                y={"range": [0, 1.05 * max(longest, 1e-3)]},
                barmode="stack",
                bargap=bar_gap(run.rounds.round),
            ),
        },
        method=index,
    )


def _energy(runs: Runs) -> Plot:
    return Plot(
        title="Energy of the vehicles",
        caption="Joules that the chosen vehicles spent on computing and sending, summed over the rounds so far.",
        figure={
            "data": [
                method_line(i, run.label, run.rounds.round, np.nancumsum(run.rounds.energy_j))
                for i, run in enumerate(runs)
            ],
            "layout": layout(
                "round",
                "joules so far",
                x=round_axis(max((run.rounds.round for run in runs), key=len)),
                y={"rangemode": "tozero"},
            ),
        },
    )


def _cpu(runs: Runs) -> Plot:
    """CPU seconds by part, one horizontal bar per method, first method on top."""
    known = [part for part in CPU_PARTS if any(run.summary.cpu_seconds.get(part) for run in runs)]
    known += sorted({part for run in runs for part in run.summary.cpu_seconds} - set(CPU_PARTS))
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": safe(part),
            "y": [safe(run.label) for run in runs],
            "x": numbers([run.summary.cpu_seconds.get(part) or 0.0 for run in runs]),
            "marker": {"color": PARTS[i % len(PARTS)]},
        }
        for i, part in enumerate(known)
    ]
    return Plot(
        title="CPU seconds by part",
        caption="What the machine computed. Everything but start, train and evaluate is the price of the "
        "traffic, the twin, the judging and the ledger.",
        figure={
            "data": bars,
            "layout": layout(
                "CPU seconds",
                "",
                y={"autorange": "reversed", "title": {"text": ""}},
                barmode="stack",
                hovermode="closest",
                bargap=0.4,
            ),
        },
        height=max(300, 190 + 60 * len(runs)),
    )

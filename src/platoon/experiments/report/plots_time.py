"""Plots of time: simulated seconds per phase, energy, CPU seconds of the machine, and forecasts against truth."""

from collections.abc import Sequence

import numpy as np

from platoon.experiments.report.measures import brier_score, mean_or_nan, measure_reliability
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import (
    NEUTRAL,
    PARTS,
    Figure,
    Plot,
    Section,
    Trace,
    bar_gap,
    layout,
    method_line,
    numbers,
    round_axis,
    safe,
)
from platoon.experiments.report.words import number
from platoon.nouns import Bools

Runs = Sequence[RunRecord]
PHASES = (
    ("distribution", "distribution_s"),
    ("training and upload", "training_s"),
    ("seals", "sealing_s"),
    ("chain", "chain_s"),
    ("aggregation", "aggregation_s"),
)
CPU_PARTS = ("start", "train", "evaluate", "twin", "ledger", "judge", "world", "other")
SCATTER_POINTS = 1500
"""Most points of one method in the scatter plot: more would slow the page and show nothing new."""


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


def forecast_section(runs: Runs) -> Section:
    """Forecasts of the digital twin against what then happened."""
    plots: list[Plot] = []
    if any(np.isfinite(run.updates.finish_probability).any() for run in runs):
        plots.append(_reliability(runs))
    if any(_timed(run).any() for run in runs):
        plots.append(_predicted_against_actual(runs))
    lead = "Before each round the twin forecasts who will deliver in time, and when; here is what became of that."
    if not plots:
        lead = "These runs made no forecasts of the chosen vehicles."
    return Section(id="forecasts", title="Forecasts of the twin", lead=lead, plots=tuple(plots))


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


def _diagonal(end: float) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "perfect",
        "x": [0, end],
        "y": [0, end],
        "line": {"color": NEUTRAL, "dash": "dot", "width": 1},
        "hoverinfo": "skip",
    }


def _reliability(runs: Runs) -> Plot:
    data = [_diagonal(1)]
    scores = []
    for i, run in enumerate(runs):
        bins = measure_reliability(run.updates.finish_probability, run.updates.arrived)
        if len(bins.count):
            data.append(_reliability_line(i, run))
            score = brier_score(run.updates.finish_probability, run.updates.arrived)
            scores.append(f"{run.label} {score:.3f}")
    return Plot(
        title="Probability of finishing",
        caption="Chosen vehicles grouped by the forecast that they finish; each point is the share that did, "
        "with a 95 % interval (bigger points: more vehicles). On the dotted line forecasts mean what they say; "
        f"below it they promise too much. Brier score, 0 is perfect: {', '.join(scores)}.",
        figure={"data": data, "layout": _square("forecast probability", "share that finished", 1.04)},
        height=400,
    )


def _reliability_line(index: int, run: RunRecord) -> Trace:
    bins = measure_reliability(run.updates.finish_probability, run.updates.arrived)
    trace = method_line(index, run.label, bins.forecast, bins.observed)
    trace["marker"] = trace["marker"] | {"size": numbers(6 + 10 * np.sqrt(bins.count / bins.count.max()), 3)}
    return trace | {
        "mode": "lines+markers",
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": numbers(bins.high - bins.observed),
            "arrayminus": numbers(bins.observed - bins.low),
            "thickness": 1,
            "width": 3,
        },
        "customdata": [int(count) for count in bins.count],
        "hovertemplate": "forecast %{x:.2f}: %{y:.2f} of %{customdata} finished",
    }


def _timed(run: RunRecord) -> Bools:
    return np.isfinite(run.updates.predicted_s) & np.isfinite(run.updates.actual_s)


def _predicted_against_actual(runs: Runs) -> Plot:
    data: list[Trace] = []
    end = 0.0
    errors = []
    for i, run in enumerate(runs):
        rows = np.flatnonzero(_timed(run))
        if not len(rows):
            continue
        predicted, actual = run.updates.predicted_s[rows], run.updates.actual_s[rows]
        end = max(end, float(predicted.max()), float(actual.max()))
        errors.append(f"{run.label} {number(mean_or_nan(np.abs(predicted - actual)), 2)} s")
        step = -(-len(rows) // SCATTER_POINTS)
        points = method_line(i, run.label, predicted[::step], actual[::step], mode="markers", opacity=0.65)
        data.append(points | {"hovertemplate": "forecast %{x:.1f} s, took %{y:.1f} s"})
    return Plot(
        title="Time to deliver",
        caption="Each point is an update that arrived: forecast against measured seconds from dispatch to "
        "arrival. Points above the dotted line took longer than forecast. Mean absolute error: "
        f"{', '.join(errors)}.",
        figure={
            "data": [_diagonal(end), *data],
            "layout": _square("forecast seconds", "measured seconds", 1.05 * max(end, 1e-3)),
        },
        height=400,
    )


def _square(x_title: str, y_title: str, end: float) -> Figure:
    span = {"range": [-0.02 * end, end]}
    return layout(x_title, y_title, x=span, y=span, hovermode="closest")

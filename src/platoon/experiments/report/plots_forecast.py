"""Plots of the twin's report card: forecasts against what then happened, and how often their intervals held."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from platoon.experiments.report.measures import (
    Reliability,
    brier_score,
    mean_or_nan,
    measure_reliability,
    wilson_interval,
)
from platoon.experiments.report.reading import HorizonFacts, RunRecord
from platoon.experiments.report.style import (
    NEUTRAL,
    Figure,
    Plot,
    Section,
    Trace,
    layout,
    method_line,
    numbers,
)
from platoon.experiments.report.tables import cell, swatch
from platoon.experiments.report.words import number, percent
from platoon.nouns import Bools

Runs = Sequence[RunRecord]
SCATTER_POINTS = 1500
"""Most points of one method in the scatter plot: more would slow the page and show nothing new."""


def forecast_section(runs: Runs) -> Section:
    """Forecasts of the digital twin against what then happened."""
    plots: list[Plot] = []
    if any(np.isfinite(run.updates.finish_probability).any() for run in runs):
        plots.append(_reliability(runs))
    if any(run.summary.forecast.watched for run in runs):
        plots.append(_watched(runs))
    if any(_timed(run).any() for run in runs):
        plots.append(_predicted_against_actual(runs))
    for kind in (POSITION, LINK):
        if any(_known(run, kind.of) for run in runs):
            plots.append(_error_by_horizon(runs, kind))
    lead = "Before each round the twin forecasts who will deliver in time, and when; here is what became of that."
    if not plots:
        lead = "These runs made no forecasts of the chosen vehicles."
    return Section(
        id="forecasts",
        title="Forecasts of the twin",
        lead=lead,
        plots=tuple(plots),
        markup=_coverage_table(runs) if any(run.summary.forecast.horizons for run in runs) else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errors:
    """A kind of error over horizons."""

    title: str
    of: str
    """Name of a value of ``HorizonFacts``."""
    peer: str
    peer_name: str
    unit: str
    caption: str


POSITION = _Errors(
    title="Position error by horizon",
    of="position_mae_m",
    peer="stand_still_mae_m",
    peer_name="stands still",
    unit="metres, mean",
    caption="How far vehicles were from where the twin had placed them, by how far ahead it looked; dotted: taking "
    "every vehicle to stand still.",
)
LINK = _Errors(
    title="Link error by horizon",
    of="link_mae_db",
    peer="persistence_mae_db",
    peer_name="stays as it is",
    unit="dB, mean",
    caption="Absolute error of the best RSU's SNR, by how far ahead the twin looked; dotted: taking it to stay as "
    "it was measured.",
)


def _known(run: RunRecord, name: str) -> list[HorizonFacts]:
    return [row for row in run.summary.forecast.horizons if getattr(row, name) is not None]


def _error_by_horizon(runs: Runs, kind: _Errors) -> Plot:
    data: list[Trace] = []
    for i, run in enumerate(runs):
        rows = _known(run, kind.of)
        ahead = [row.seconds for row in rows]
        errors, peers = ([getattr(row, name) for row in rows] for name in (kind.of, kind.peer))
        data.append(method_line(i, run.label, ahead, errors, mode="lines+markers"))
        peer = method_line(i, f"{run.label}, {kind.peer_name}", ahead, peers)
        data.append(peer | {"line": {**peer["line"], "dash": "dot", "width": 1}, "mode": "lines"})
    axis = {"rangemode": "tozero"}
    return Plot(
        title=kind.title,
        caption=kind.caption,
        figure={"data": data, "layout": layout("seconds ahead", kind.unit, x=axis, y=axis)},
        height=400,
    )


def _watched(runs: Runs) -> Plot:
    data = [_diagonal(1)]
    data += [_watched_line(i, run) for i, run in enumerate(runs) if run.summary.forecast.watched]
    return Plot(
        title="Probability of finishing, all in service",
        caption="The same for the vehicles that were not chosen: whether their links, as they were measured "
        "afterwards, would have carried an update in time. A selector leaves the small probabilities to these, so "
        "they show more of the diagram.",
        figure={"data": data, "layout": _square("forecast probability", "share that would have", 1.04)},
        height=400,
    )


def _watched_line(index: int, run: RunRecord) -> Trace:
    bins = run.summary.forecast.watched
    happened = np.array([row.happened for row in bins])
    count = np.array([row.count for row in bins], dtype=np.int64)
    low, high = wilson_interval(happened, count.astype(np.float64))
    forecast = np.array([row.forecast for row in bins])
    watched = Reliability(forecast=forecast, observed=happened, count=count, low=low, high=high)
    return _points(index, run, watched)


def _coverage_table(runs: Runs) -> str:
    """How often intervals held: a row per method and kind of forecast."""
    names = ("Interval of", "80 % held", "95 % held", "forecasts")
    head = "".join(f'<th scope="col">{cell(name)}</th>' for name in names)
    body = "".join(_coverage_rows(i, run) for i, run in enumerate(runs))
    return (
        "<h3>How often intervals held</h3><p>Beside every forecast the twin says how far off it may be, with 80 % "
        "and with 95 % probability. The closer these shares are to that, the more its uncertainty can be relied "
        f'on.</p><div class="scroll"><table class="glance"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _coverage_rows(index: int, run: RunRecord) -> str:
    facts = run.summary.forecast
    rows = [
        (f"position, {row.seconds:g} s ahead", row.inside_80, row.inside_95, row.positions)
        for row in facts.horizons
    ]
    if (duration := facts.duration) is not None:
        rows.append(("time to deliver", duration.inside_80, duration.inside_95, duration.intervals))
    return "".join(
        f'<tr><th scope="row">{swatch(index)}{cell(f"{run.label}, {name}")}</th><td>{cell(percent(at_80))}</td>'
        f"<td>{cell(percent(at_95))}</td><td>{cell(f'{count:,}')}</td></tr>"
        for name, at_80, at_95, count in rows
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
    return _points(index, run, measure_reliability(run.updates.finish_probability, run.updates.arrived))


def _points(index: int, run: RunRecord, bins: Reliability) -> Trace:
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

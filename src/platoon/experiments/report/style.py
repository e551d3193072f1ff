"""How the plots look: colours, line styles and the plain-dict figures that plotly draws.

Figures are dicts in plotly's schema, so that plotly itself is needed only for its script (``page.load_plotly``).
Honest and malicious vehicles keep blue and vermilion, methods keep a colour, a dash and a symbol each, on the
whole page. The colours are those of Okabe and Ito (2008) and neighbours that stay apart for colour-blind readers.
"""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from platoon.nouns import Floats, Ints

Figure = dict[str, Any]
Trace = dict[str, Any]

HONEST = "#0072B2"
HONEST_PALE = "#8CC4E8"
MALICIOUS = "#D55E00"
MALICIOUS_PALE = "#F5B98C"
NEUTRAL = "#8A8F98"
NEUTRAL_PALE = "#C9CDD3"
METHOD_COLOURS = ("#009E73", "#9A5CC0", "#E0A100", "#3BA7DB", "#8C6D4F", "#C2497D")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
PARTS = ("#CBD2DA", "#3B6FA0", "#7FB7BE", "#E3B23C", "#A23E48", "#6C5B7B", "#4F9D69", "#9AA0A6")
"""Colours of phases and of CPU time by part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot with the words that a reader needs to use it."""

    title: str
    """Plain text, escaped when it is put in the page."""
    caption: str
    """Plain text: what is shown and how to read it."""
    figure: Figure
    method: int | None = None
    """Index of the method that the plot belongs to, for its colour mark; None for all methods."""
    height: int = 330
    """Pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    lead: str
    """Plain text under the heading."""
    plots: tuple[Plot, ...] = ()
    markup: str = ""
    """HTML that is already escaped, after the plots."""


def method_colour(index: int) -> str:
    """The colour of a method by its place among the runs."""
    return METHOD_COLOURS[index % len(METHOD_COLOURS)]


def method_line(index: int, label: str, x: Any, y: Any, **extra: Any) -> Trace:
    """A line of one method in its colour, dash and symbol; null values leave gaps."""
    shift = index + index // len(METHOD_COLOURS)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(y) <= 40 else "lines",
        "name": safe(label),
        "x": numbers(x),
        "y": numbers(y),
        "line": {"color": method_colour(index), "dash": DASHES[shift % len(DASHES)], "width": 2},
        "marker": {"color": method_colour(index), "symbol": SYMBOLS[shift % len(SYMBOLS)], "size": 6},
        **extra,
    }


def bar_fill(colour: str, hatch: str | None = None) -> Figure:
    """A bar's fill: plain, or hatched in a second colour, so that kinds differ without their colour."""
    if hatch is None:
        return {"color": colour}
    return {
        "color": colour,
        "pattern": {"shape": "/", "bgcolor": colour, "fgcolor": hatch, "size": 6, "solidity": 0.2},
    }


def safe(text: str) -> str:
    """Text for plotly's labels, which understand some HTML: a name is shown as it is spelt."""
    return html.escape(text, quote=False)


def numbers(values: Floats | Ints | list[float], digits: int = 5) -> list[float | None]:
    """JSON numbers of ``digits`` significant digits; NaN and infinity become null, a gap in the plot."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values]


def layout(x_title: str, y_title: str, **extra: Any) -> Figure:
    """The common layout; ``x`` and ``y`` in ``extra`` add to the axes, the rest to the layout."""
    x_extra, y_extra = extra.pop("x", {}), extra.pop("y", {})
    return {
        "margin": {"l": 64, "r": 18, "t": 40, "b": 52},
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"title": {"text": x_title, "standoff": 8}, "automargin": True, **x_extra},
        "yaxis": {"title": {"text": y_title, "standoff": 8}, "automargin": True, **y_extra},
        **extra,
    }


def reference_line(axis: str, value: float, name: str) -> Figure:
    """A dotted line across the plot at ``value`` of one axis, named in the legend: add it to ``layout``."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dot"}
    return {"shapes": [{"type": "line", **ends, "line": line, "name": safe(name), "showlegend": True}]}


def round_axis(rounds: Ints) -> Figure:
    """An axis of round numbers: whole ticks, also for one round."""
    if not len(rounds):
        return {}
    first, last = int(rounds[0]), int(rounds[-1])
    step = max(1, -(-(last - first + 1) // 12))
    step = next((nice for nice in (1, 2, 5, 10, 20, 25, 50, 100, 250, 500) if nice >= step), step)
    return {"range": [first - 0.6, last + 0.6], "tick0": 0 if step > 1 else first, "dtick": step}


def count_axis(largest: int) -> Figure:
    """An axis from zero for counts: whole ticks only."""
    return {"rangemode": "tozero", "tickformat": "d", **({"dtick": 1} if largest <= 8 else {"nticks": 8})}


def bar_gap(rounds: Ints) -> float:
    """Space between the bars of rounds, as a share: a lone bar shall not fill the plot."""
    return 0.15 if len(rounds) > 3 else 0.75

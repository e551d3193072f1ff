"""The map: roads, RSUs with their service radius, and the chosen vehicles of every round.

Vehicles are four traces (honest or malicious, arrived or lost) that the page's script fills for one round or for
all; the figure carries the rows of all rounds under ``rounds``, which plotly itself does not read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import HONEST, MALICIOUS, NEUTRAL, Figure, Plot, Section, Trace, layout
from platoon.nouns import Ints

Runs = Sequence[RunRecord]
GROUPS = (
    ("honest, arrived", True, True, HONEST, "circle"),
    ("honest, lost", True, False, HONEST, "circle-open"),
    ("malicious, arrived", False, True, MALICIOUS, "x"),
    ("malicious, lost", False, False, MALICIOUS, "x-open"),
)
"""(name, honest, arrived, colour, symbol)."""
MAP_POINTS = 6000
"""Most vehicles on one map; of longer runs the last rounds are shown."""


def map_section(runs: Runs) -> Section:
    """One map per method; a slider moves all of them through the rounds."""
    plots = tuple(_map(i, run) for i, run in enumerate(runs))
    return Section(
        id="map",
        title="Where it happened",
        lead="Roads, roadside units with the circle that each serves, and where the chosen vehicles were when "
        "they got the model.",
        plots=plots,
    )


def _map(index: int, run: RunRecord) -> Plot:
    rounds = _rounds_shown(run)
    note = (
        ""
        if len(rounds) == len(run.rounds.round)
        else f" Of this long run the last {len(rounds)} rounds are shown."
    )
    return Plot(
        title=f"Map, {run.label}",
        caption="Filled: the update arrived; open: it was lost. Blue circles are honest vehicles, orange "
        f"crosses malicious ones, triangles RSUs.{note}",
        figure={
            "data": [
                _roads(run),
                _rsus(run),
                *(_vehicles(name, colour, symbol) for name, _, _, colour, symbol in GROUPS),
            ],
            "layout": _map_layout(run),
            "rounds": [_round_rows(run, number) for number in rounds],
        },
        method=index,
        height=520,
    )


def _rounds_shown(run: RunRecord) -> list[int]:
    """The last rounds whose chosen vehicles fit on the map together; at least one if there is any."""
    numbers = run.rounds.round[::-1]
    counts = np.array([np.count_nonzero(run.updates.round == number) for number in numbers], dtype=np.int64)
    fit = max(int(np.count_nonzero(np.cumsum(counts) <= MAP_POINTS)), min(len(numbers), 1))
    return [int(number) for number in numbers[:fit][::-1]]


def _roads(run: RunRecord) -> Trace:
    """All roads as one broken line, in whole metres."""
    x: list[int | None] = []
    y: list[int | None] = []
    drawn = set()
    for road in run.road_map.roads:
        points = tuple((round(px), round(py)) for px, py in road)
        if points in drawn or points[::-1] in drawn:
            continue  # the other direction of a street lies on it
        drawn.add(points)
        x += [*(px for px, _ in points), None]
        y += [*(py for _, py in points), None]
    line = {"color": NEUTRAL, "width": 1}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "road",
        "x": x,
        "y": y,
        "line": line,
        "hoverinfo": "skip",
    }


def _rsus(run: RunRecord) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "RSU and edge server",
        "x": [round(x) for x, _ in run.road_map.rsus],
        "y": [round(y) for _, y in run.road_map.rsus],
        "text": [f"edge server {i}" for i in range(len(run.road_map.rsus))],
        "hoverinfo": "text",
        "marker": {
            "symbol": "triangle-up",
            "size": 15,
            "color": "#3F3F46",
            "line": {"color": "#FFFFFF", "width": 1.5},
        },
    }


def _vehicles(name: str, colour: str, symbol: str) -> Trace:
    """An empty trace: the page's script fills it for the round that the slider names."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [None],
        "y": [None],
        "customdata": [],
        "hovertemplate": "vehicle %{customdata[0]}, round %{customdata[1]}<br>%{customdata[2]}"
        f"<br>{name}<extra></extra>",
        "marker": {
            "symbol": symbol,
            "size": 8,
            "color": colour,
            "line": {"width": 1.5 if symbol.endswith("open") else 1, "color": "#FFFFFF"},
        },
    }


def _round_rows(run: RunRecord, number: int) -> dict[str, Any]:
    """The chosen vehicles of one round: per group of ``GROUPS`` x, y and what the hover shows."""
    updates = run.updates
    here = updates.round == number
    groups = []
    for _, honest, arrived, _, _ in GROUPS:
        rows = np.flatnonzero(here & (updates.honest == honest) & (updates.arrived == arrived))
        groups.append(
            {
                "x": [round(float(x)) for x in updates.x[rows]],
                "y": [round(float(y)) for y in updates.y[rows]],
                "customdata": _hover(run, rows, number),
            }
        )
    return {"round": number, "groups": groups}


def _hover(run: RunRecord, rows: Ints, number: int) -> list[list[Any]]:
    updates = run.updates
    told = []
    for row in rows:
        server = int(updates.edge_server[row])
        reached = f"reached edge server {server}" if server >= 0 else "reached no edge server"
        reputation = updates.reputation_before[row]
        known = f", reputation {reputation:.2f}" if np.isfinite(reputation) else ""
        told.append([int(updates.vehicle[row]), number, f"{reached}{known}"])
    return told


def _map_layout(run: RunRecord) -> Figure:
    x0, y0, x1, y1 = run.road_map.bounds
    margin = 0.06 * max(x1 - x0, y1 - y0, 1.0)
    radius = run.road_map.service_radius_m
    circles = [
        {
            "type": "circle",
            "layer": "below",
            "x0": x - radius,
            "x1": x + radius,
            "y0": y - radius,
            "y1": y + radius,
            "fillcolor": "rgba(120,140,170,0.10)",
            "line": {"color": "rgba(120,140,170,0.55)", "width": 1, "dash": "dot"},
        }
        for x, y in run.road_map.rsus
    ]
    return layout(
        "metres east",
        "metres north",
        x={"range": [x0 - margin, x1 + margin], "constrain": "domain", "showgrid": False, "zeroline": False},
        y={
            "range": [y0 - margin, y1 + margin],
            "scaleanchor": "x",
            "constrain": "domain",
            "showgrid": False,
            "zeroline": False,
        },
        shapes=circles,
        hovermode="closest",
    )

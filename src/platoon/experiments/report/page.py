"""The page: sections, figures and plotly's script in one HTML file that loads nothing.

A content security policy names the two scripts by their hash and forbids everything that would be loaded, so a
hostile name in a run directory can neither run nor fetch anything, even if escaping it failed.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from platoon.drivers.run_directory import write_atomically
from platoon.errors import UserError
from platoon.experiments.report.findings import group_findings
from platoon.experiments.report.plots_forecast import forecast_section
from platoon.experiments.report.plots_learning import accuracy_section, participation_section
from platoon.experiments.report.plots_map import map_section
from platoon.experiments.report.plots_time import time_section
from platoon.experiments.report.plots_trust import reward_section, trust_section
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.servers import servers_section
from platoon.experiments.report.style import Plot, Section
from platoon.experiments.report.tables import (
    cell,
    glance_section,
    key_facts,
    ledger_section,
    origin_section,
    rounds_section,
    swatch,
)
from platoon.experiments.report.words import join_words, plural

Runs = Sequence[RunRecord]

MAP_CONTROLS = (
    '<div class="controls"><label for="map-round">Round</label>'
    '<input type="range" id="map-round" min="0" max="0" value="0" step="1">'
    '<output id="map-round-name" for="map-round">all rounds</output></div>'
)


def render_page(runs: Runs) -> str:
    """The whole page as HTML; equal runs give equal text.

    Raises:
        UserError: plotly is not installed.
    """
    library = load_plotly()
    sections = build_sections(runs)
    plots = [plot for section in sections for plot in section.plots]
    script = resources.files(__package__).joinpath("page.js").read_text(encoding="utf-8")
    title = f"platoon: {', '.join(sorted({run.scenario.name for run in runs}))}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_security_policy([library, script])}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{cell(title)}</title>",
            f"<style>{resources.files(__package__).joinpath('page.css').read_text(encoding='utf-8')}</style>",
            "</head>\n<body>",
            _header(runs),
            _navigation(sections),
            "<main>",
            "<noscript><p>The plots need JavaScript; the findings and tables below do not.</p></noscript>",
            _findings(runs),
            *_render_sections(sections),
            "</main>",
            "<footer><p>Written by platoon from the run directories alone. This file loads nothing from a "
            "network.</p></footer>",
            f'<script type="application/json" id="figures">{_embed([plot.figure for plot in plots])}</script>',
            f"<script>{library}</script>",
            f"<script>{script}</script>",
            "</body>\n</html>\n",
        ]
    )


def build_sections(runs: Runs) -> tuple[Section, ...]:
    """All sections after the findings, in reading order; one without a plot still says why."""
    drawn = (
        accuracy_section(runs),
        participation_section(runs),
        trust_section(runs),
        map_section(runs),
        reward_section(runs),
        time_section(runs),
        forecast_section(runs),
    )
    listed = (servers_section(runs), ledger_section(runs), rounds_section(runs), origin_section(runs))
    return (glance_section(runs), *drawn, *listed)


def load_plotly() -> str:
    """Plotly's script, from the installed package: the one place that needs plotly.

    Raises:
        UserError: it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an extra, needed only for a report
    except ImportError:
        raise UserError(
            "report: needs plotly, which is not installed; pip install 'platoon[report]'"
        ) from None
    return str(get_plotlyjs())


def write_page(out: Path, page: str) -> Path:
    """Write the page whole or not at all.

    Raises:
        UserError: ``out`` cannot be written.
    """
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give the path of a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    return out


def _header(runs: Runs) -> str:
    names = join_words(sorted({run.scenario.name for run in runs}))
    seeds = sorted({run.summary.seed for run in runs})
    seed_words = f"{'seed' if len(seeds) == 1 else 'seeds'} {join_words([str(seed) for seed in seeds])}"
    methods = "".join(f"<li>{swatch(i)}{cell(run.label)}</li>" for i, run in enumerate(runs))
    rounds = plural(max(len(run.rounds.round) for run in runs), "round")
    return (
        f"<header><h1>{cell(names)}</h1><p>A platoon experiment: vehicles that learn together, on the road, and "
        f"only from those they can trust. {cell(seed_words.capitalize())}, {rounds}.</p>"
        f'<ul class="legend" aria-label="Methods and their colours">{methods}</ul>{key_facts(runs[0])}</header>'
    )


def _navigation(sections: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#{section.id}">{section.id.capitalize()}</a></li>' for section in sections)
    return f'<nav aria-label="Contents"><ul><li><a href="#findings">Findings</a></li>{links}</ul></nav>'


def _findings(runs: Runs) -> str:
    groups = "".join(
        f"<div><h3>{cell(heading)}</h3><ul>{''.join(f'<li>{_with_code(s)}</li>' for s in sentences)}</ul></div>"
        for heading, sentences in group_findings(runs)
    )
    return f'<section id="findings"><h2>What was found</h2><div class="findings">{groups}</div></section>'


def _with_code(sentence: str) -> str:
    """A sentence as HTML; a command of platoon stands between backticks."""
    return re.sub("`(platoon [^`]+)`", r"<code>\1</code>", cell(sentence))


def _render_sections(sections: Sequence[Section]) -> list[str]:
    rendered, figure = [], 0
    for section in sections:
        figures = "".join(_figure(plot, figure + i) for i, plot in enumerate(section.plots))
        figure += len(section.plots)
        lead = f'<p class="lead">{cell(section.lead)}</p>' if section.lead else ""
        controls = MAP_CONTROLS if any("rounds" in plot.figure for plot in section.plots) else ""
        cards = f'<div class="cards">{figures}</div>' if figures else ""
        rendered.append(
            f"<section "
            f'id="{section.id}"><h2>{cell(section.title)}</h2>{lead}{controls}{cards}{section.markup}</section>'
        )
    return rendered


def _figure(plot: Plot, index: int) -> str:
    mark = "" if plot.method is None else swatch(plot.method)
    return (
        f"<figure><h3>{mark}{cell(plot.title)}</h3>"
        f'<div class="plot" data-figure="{index}" data-name="{cell(plot.title)}" style="height:{plot.height}px" '
        f'role="img" aria-label="{cell(plot.title)}. {cell(plot.caption)}"></div>'
        f"<figcaption>{cell(plot.caption)}</figcaption></figure>"
    )


def _embed(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _security_policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"

"""Edge servers: who judged or voted falsely, who was absent, and what it cost. From ``edge_servers.parquet``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from platoon.experiments.report.measures import mean_or_nan
from platoon.experiments.report.reading import RunRecord
from platoon.experiments.report.style import Section
from platoon.experiments.report.tables import cell, swatch
from platoon.experiments.report.words import UNKNOWN, join_words, number, plural
from platoon.nouns import Bools

Runs = Sequence[RunRecord]
WHY = {"scores": "its scores", "vote": "its vote", "scores and vote": "its scores and its vote"}
"""How a table of the run says it -> in words."""
FOLD = 12
"""Incidents of a run that stand open on the page; more are folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One edge server over a whole run."""

    number: int
    updates: int
    mean_distance: float
    """Of its scores from the medians; NaN where it never scored, or nothing was scored."""
    largest_distance: float
    """Of the rounds' means."""
    far: int
    """Rounds in which it was named for its scores."""
    dissents: int
    """Rounds in which it was named for its vote."""
    absent: int
    """Rounds in which it missed a step."""
    before: float
    """Tokens at stake before the first round."""
    after: float
    """And after the last one in which it took part."""


def summarise_servers(run: RunRecord) -> tuple[Server, ...]:
    """Every edge server that took part, by number."""
    table = run.edge_servers
    return tuple(
        _summarise(run, int(server), table.edge_server == server) for server in np.unique(table.edge_server)
    )


def _summarise(run: RunRecord, server: int, rows: Bools) -> Server:
    table = run.edge_servers
    distances, stakes = table.deviation[rows], table.stake[rows]
    known = distances[np.isfinite(distances)]
    return Server(
        number=server,
        updates=int(table.updates[rows].sum()),
        mean_distance=mean_or_nan(distances),
        largest_distance=float(known.max()) if len(known) else float("nan"),
        far=sum("scores" in why for why in table.named[rows]),
        dissents=sum("vote" in why for why in table.named[rows]),
        absent=sum(bool(missed) for missed in table.missed[rows]),
        before=float(stakes[0] + table.taken[rows][0]),
        after=float(stakes[-1]),
    )


def describe_servers(runs: Runs) -> list[str]:
    """Who judged or voted falsely, and what that cost; who was absent."""
    told = [(run, summarise_servers(run)) for run in runs]
    sentences = [
        _tell(run, server) for run, servers in told for server in servers if server.far or server.dissents
    ]
    sound = [run.label for run, servers in told if servers and not any(s.far or s.dissents for s in servers)]
    if sound:
        sentences.append(
            f"No edge server of {join_words(sound)} scored far off the medians or voted for another model than the "
            "elected one, so all kept what they had at stake."
        )
    for run, servers in told:
        absent = [
            f"{server.number} in {plural(server.absent, 'round')}" for server in servers if server.absent
        ]
        if absent:
            sentences.append(
                f"Edge servers of {run.label} missed a step: number {join_words(absent)}. That costs nothing."
            )
    return sentences


def _tell(run: RunRecord, server: Server) -> str:
    reasons = [
        f"{what} in {plural(count, 'round')}"
        for what, count in (("its scores", server.far), ("its vote", server.dissents))
        if count
    ]
    return (
        f"Edge server {server.number} of {run.label} was named for {join_words(reasons)}; of "
        f"{number(server.before)} tokens at stake {number(server.after)} are left."
    )


def servers_section(runs: Runs) -> Section:
    """A table of every run's edge servers, and each case of a false score or vote, or of absence."""
    return Section(
        id="servers",
        title="Edge servers",
        lead="Every edge server scores updates, votes for the merged model, and has tokens at stake. One whose "
        "scores lie far off the medians, or that voted for another model than the elected one, is named in the "
        "record and loses a share of its stake to the task's escrow. One that was absent is named, too, and loses "
        "nothing: silence cannot be told from a lost message. Stakes are tokens; updates are those that it "
        "recorded; off the medians is the mean distance of its scores, over all rounds and at most in one. In "
        "summary.json the same stands under 'edge_servers': rounds in which each was named or absent, by its "
        "number, and the tokens taken in all.",
        markup="".join(_render(i, run) for i, run in enumerate(runs)),
    )


COLUMNS: dict[str, Callable[[Server], str]] = {
    "Edge server": lambda server: str(server.number),
    "Stake before": lambda server: number(server.before),
    "Stake after": lambda server: number(server.after),
    "Named for scores": lambda server: _rounds(server.far),
    "Named for its vote": lambda server: _rounds(server.dissents),
    "Absent": lambda server: _rounds(server.absent),
    "Updates": lambda server: str(server.updates),
    "Off the medians": lambda server: _or_dash(server.mean_distance),
    "At most": lambda server: _or_dash(server.largest_distance),
}


def _render(index: int, run: RunRecord) -> str:
    title = f"<h3>{swatch(index)}{cell(run.label)}</h3>"
    servers = summarise_servers(run)
    if not servers:
        return f"{title}<p>No round was settled, so nothing is on record.</p>"
    rows = [[value(server) for value in COLUMNS.values()] for server in servers]
    cases = _list_cases(run)
    told = _table(CASE_COLUMNS, cases) if cases else "<p>Nobody was named, and nobody was absent.</p>"
    if len(cases) > FOLD:
        told = f"<details><summary>{plural(len(cases), 'case')} of falsehood or absence</summary>{told}</details>"
    return f"{title}{_table(tuple(COLUMNS), rows)}{told}"


CASE_COLUMNS = ("Round", "Edge server", "What", "Taken", "Stake before", "Stake after")


def _list_cases(run: RunRecord) -> list[list[str]]:
    table = run.edge_servers
    cases = []
    for i in range(len(table.round)):
        told = []
        if table.named[i]:
            told.append(f"named for {WHY.get(table.named[i], table.named[i])}")
        if table.missed[i]:
            told.append(f"absent: {table.missed[i]}")
        if told:
            stake, taken = float(table.stake[i]), float(table.taken[i])
            amounts = [number(taken), number(stake + taken), number(stake)]
            cases.append([str(table.round[i]), str(table.edge_server[i]), "; ".join(told), *amounts])
    return cases


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{cell(name)}</th>' for name in heading)
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="rounds"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _rounds(count: int) -> str:
    return plural(count, "round") if count else "never"


def _or_dash(value: float) -> str:
    words = number(value)
    return "–" if words == UNKNOWN else words

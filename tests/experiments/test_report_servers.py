"""The report names edge servers that judged or voted falsely, with their stakes before and after."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from platoon.errors import UserError
from platoon.experiments.report import find_findings, write_report
from platoon.experiments.report.page import build_sections
from platoon.experiments.report.reading import read_runs
from platoon.experiments.report.servers import CASE_COLUMNS, FOLD, describe_servers, summarise_servers

MakeRun = Callable[..., Path]
LIARS = {(2, 3): "scores", (4, 3): "scores and vote", (4, 1): "vote"}
ABSENT = {(1, 0): "score and vote", (4, 1): "record", (6, 0): "vote"}


def section_of(*runs: Path) -> str:
    (section,) = [each for each in build_sections(read_runs(runs)) if each.id == "servers"]
    return section.markup


def test_false_edge_servers_are_named_with_their_stakes(make_run: MakeRun) -> None:
    [run] = read_runs([make_run(named=LIARS, missed=ABSENT)])
    servers = summarise_servers(run)
    assert [(s.number, s.far, s.dissents, s.absent) for s in servers] == [
        (0, 0, 0, 2),
        (1, 0, 1, 1),
        (2, 0, 0, 0),
        (3, 2, 1, 0),
    ]
    assert [(s.before, s.after) for s in servers] == [
        (100.0, 100.0),
        (100.0, 90.0),
        (100.0, 100.0),
        (100.0, 80.0),
    ]
    assert sum(s.updates for s in servers) == run.updates.arrived.sum()
    assert servers[3].mean_distance == pytest.approx(0.08)
    told = describe_servers([run])
    assert told == [
        "Edge server 1 of DTB-FL was named for its vote in 1 round; of 100.00 tokens at stake 90.00 are left.",
        "Edge server 3 of DTB-FL was named for its scores in 2 rounds and its vote in 1 round; of 100.00 tokens at "
        "stake 80.00 are left.",
        "Edge servers of DTB-FL missed a step: number 0 in 2 rounds and 1 in 1 round. That costs nothing.",
    ]


def test_every_case_is_listed_with_the_stake_before_and_after(make_run: MakeRun) -> None:
    markup = section_of(make_run(named=LIARS, missed=ABSENT))
    rows = markup.split(f'<th scope="col">{CASE_COLUMNS[-1]}</th>')[-1].split("<tr>")[1:]
    # of the table of cases, which comes last
    cells = [[cell.split("</td>")[0] for cell in row.split("<td>")[1:]] for row in rows]
    assert cells == [
        ["1", "0", "absent: score and vote", "0.00", "100.00", "100.00"],
        ["2", "3", "named for its scores", "10.00", "100.00", "90.00"],
        ["4", "1", "named for its vote; absent: record", "10.00", "100.00", "90.00"],
        ["4", "3", "named for its scores and its vote", "10.00", "90.00", "80.00"],
        ["6", "0", "absent: vote", "0.00", "100.00", "100.00"],
    ]


def test_honest_edge_servers_keep_their_stakes(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b", method="fedavg", judged=False)]
    assert any("all kept what they had at stake" in sentence for sentence in find_findings(runs))
    markup = section_of(*runs)
    assert markup.count("Nobody was named, and nobody was absent.") == 2
    assert "–" in markup  # plain averaging scores nothing


def test_many_cases_are_folded(make_run: MakeRun) -> None:
    few = {(number, 0): "vote" for number in range(1, FOLD + 1)}
    assert "<details>" not in section_of(make_run("few", rounds=20, missed=few))
    assert "<details>" in section_of(make_run("many", rounds=20, missed=few | {(20, 1): "vote"}))


def test_rows_of_a_round_that_was_never_committed_are_ignored(make_run: MakeRun) -> None:
    path = make_run(rounds=4, named={(4, 2): "vote"})
    pq.write_table(pq.read_table(path / "rounds.parquet").slice(0, 3), path / "rounds.parquet")
    [run] = read_runs([path])
    assert [s.dissents for s in summarise_servers(run)] == [0] * 4


def test_a_run_without_a_settled_round(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run()
    pq.write_table(pq.read_table(path / "rounds.parquet").slice(0, 0), path / "rounds.parquet")
    assert describe_servers(read_runs([path])) == []
    assert "No round was settled" in write_report([path], tmp_path / "report.html").read_text(
        encoding="utf-8"
    )


def test_the_summary_is_explained(make_run: MakeRun) -> None:
    (section,) = [each for each in build_sections(read_runs([make_run()])) if each.id == "servers"]
    for word in ("summary.json", "'edge_servers'", "named or absent", "tokens taken"):
        assert word in section.lead


def test_invalid_without_the_table(make_run: MakeRun) -> None:
    path = make_run()
    (path / "edge_servers.parquet").unlink()
    with pytest.raises(UserError, match=r"edge_servers.parquet: missing from the run directory"):
        read_runs([path])


def test_a_hostile_reason_is_only_text(make_run: MakeRun) -> None:
    markup = section_of(make_run(named={(1, 1): "<script>alert(1)</script>"}))
    assert "<script>" not in markup
    assert "&lt;script&gt;" in markup

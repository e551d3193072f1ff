"""The page itself: it loads nothing, cannot be taken over by a name, draws only valid plots, and tells no blank."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pyarrow.parquet as pq
import pytest

from platoon.errors import UserError
from platoon.experiments.report import find_findings, write_report
from platoon.experiments.report.page import build_sections
from platoon.experiments.report.reading import read_runs

MakeRun = Callable[..., Path]
HOSTILE = "<script>alert(1)</script>\"'`&<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Elements and texts of a page, read as a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.in_script = tag == "script"
        self.scripts += [""] * self.in_script

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script:
            self.scripts[-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(out: Path, *runs: Path) -> Page:
    return Page(write_report(runs, out).read_text(encoding="utf-8"))


def figures_of(*runs: Path) -> list[dict[str, Any]]:
    return [plot.figure for section in build_sections(read_runs(runs)) for plot in section.plots]


def odd_runs(make_run: MakeRun) -> dict[str, Path]:
    """Runs at the edges of what may happen."""
    nothing = dict.fromkeys(range(1, 9), "kept: nobody finished")
    runs = {
        "plain": make_run("plain"),
        "averaging": make_run("averaging", method="fedavg", judged=False),
        "one round": make_run("one", rounds=1),
        "nobody malicious": make_run("honest", malicious_share=0.0),
        "nothing arrives": make_run("lost", arrival=0.0, outcomes=nothing),
        "no accuracy": make_run("unknown", accuracy_known=False),
        "no pay": make_run("unpaid", pool_tokens=0.0),
        "long": make_run("long", rounds=60, participants=15),
        "no round": make_run("none"),
    }
    rounds = pq.read_table(runs["no round"] / "rounds.parquet")
    pq.write_table(rounds.slice(0, 0), runs["no round"] / "rounds.parquet")
    return runs


def test_loads_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    page = report(tmp_path / "report.html", make_run("a"), make_run("b", method="fedavg", judged=False))
    loading = {"link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "form"}
    assert not [tag for tag, _ in page.elements if tag in loading]
    assert not [
        attributes for _, attributes in page.elements if "src" in attributes or "srcset" in attributes
    ]
    assert all((link["href"] or "").startswith("#") for link in page.of("a"))
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_allows_exactly_the_two_scripts_of_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    page = report(tmp_path / "report.html", make_run())
    [policy] = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv")]
    data, *programs = page.scripts
    assert json.loads(data)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in programs]
    assert len(hashes) == 2
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    assert f"script-src {allowed};" in policy


def test_every_link_of_the_contents_leads_somewhere(make_run: MakeRun, tmp_path: Path) -> None:
    page = report(tmp_path / "report.html", make_run())
    targets = {attributes.get("id") for _, attributes in page.elements}
    assert {(link["href"] or "")[1:] for link in page.of("a")} <= targets


def test_a_hostile_name_is_only_text(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(method="plain")
    honest = report(tmp_path / "honest.html", run)
    summary = json.loads((run / "summary.json").read_text()) | {"method": HOSTILE}
    (run / "summary.json").write_text(json.dumps(summary))
    hostile = report(tmp_path / "hostile.html", run)
    assert [tag for tag, _ in hostile.elements if tag in ("script", "img")] == ["script"] * 3
    assert [set(a) for _, a in hostile.elements] == [set(a) for _, a in honest.elements]
    assert "<" not in hostile.scripts[0]
    names = [
        trace["name"]
        for figure in json.loads(hostile.scripts[0])
        for trace in figure["data"]
        if "name" in trace
    ]
    assert not [name for name in names if "<" in name]  # plotly reads some HTML in names
    assert any("&lt;script&gt;" in name for name in names)


def test_same_runs_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    first = write_report([run], tmp_path / "a.html").read_bytes()
    assert write_report([run], tmp_path / "deep" / "folder" / "b.html").read_bytes() == first
    assert len(first) < 6_000_000


def test_odd_runs_give_whole_pages_with_valid_plots_that_are_not_empty(
    make_run: MakeRun, tmp_path: Path
) -> None:
    runs = odd_runs(make_run)
    for name, group in [*((name, [path]) for name, path in runs.items()), ("all", list(runs.values()))]:
        figures = figures_of(*group)
        for figure in figures:
            plotly.graph_objects.Figure(
                {"data": figure["data"], "layout": figure["layout"]}
            )  # refuses unknown keys
            assert any(value is not None for trace in figure["data"] for value in trace["y"]), name
        page = report(tmp_path / "report.html", *group)
        assert len(page.of("figure")) == len(page.of("figcaption")) == len(figures)


def test_plots_do_not_hold_values_that_json_lacks(make_run: MakeRun) -> None:
    for run in odd_runs(make_run).values():
        json.dumps(figures_of(run), allow_nan=False)


def test_headings_descend_one_by_one_and_plots_have_words(make_run: MakeRun, tmp_path: Path) -> None:
    page = report(tmp_path / "report.html", make_run())
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    plots = [attributes for attributes in page.of("div") if attributes.get("class") == "plot"]
    assert plots
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 60 for plot in plots)


def test_methods_and_kinds_keep_one_colour(make_run: MakeRun) -> None:
    colours: dict[str, set[str]] = {}
    for figure in figures_of(make_run("a"), make_run("b", method="fedavg", judged=False)):
        for trace in figure["data"]:
            name = trace.get("name", "").split(" (")[0]
            if name in ("DTB-FL", "FedAvg", "honest", "malicious"):
                colours.setdefault(name, set()).add(trace["marker"]["color"])
    assert sorted(colours) == ["DTB-FL", "FedAvg", "honest", "malicious"]
    assert all(len(used) == 1 for used in colours.values())
    assert len(set.union(*colours.values())) == 4


def test_map_holds_every_chosen_vehicle_of_every_round(make_run: MakeRun) -> None:
    path = make_run()
    [run] = read_runs([path])
    [figure] = [figure for figure in figures_of(path) if "rounds" in figure]
    shown = [
        (round_["round"], row[0])
        for round_ in figure["rounds"]
        for group in round_["groups"]
        for row in group["customdata"]
    ]
    assert sorted(shown) == sorted(zip(run.updates.round.tolist(), run.updates.vehicle.tolist(), strict=True))


def test_map_of_a_long_run_shows_the_last_rounds_and_says_so(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.experiments.report.plots_map.MAP_POINTS", 13)
    sections = {section.id: section for section in build_sections(read_runs([make_run()]))}
    [plot] = sections["map"].plots
    assert [round_["round"] for round_ in plot.figure["rounds"]] == [7, 8]
    assert "the last 2 rounds" in plot.caption


def test_plotly_is_imported_only_to_write_a_page() -> None:
    code = "import sys, platoon.experiments.report; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_style_and_script_of_the_page_travel_in_the_package() -> None:
    root = Path(__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "platoon"
    ]
    shipped = {path for pattern in patterns for path in (root / "src" / "platoon").glob(pattern)}
    folder = root / "src" / "platoon" / "experiments" / "report"
    assert {folder / "page.css", folder / "page.js"} <= shipped


def test_invalid_without_plotly(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UserError, match=r"pip install 'platoon\[report\]'"):
        write_report([make_run()], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_invalid_out_is_a_folder(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken: is a folder"):
        write_report([make_run()], tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]


def test_invalid_out_below_a_file(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report([make_run()], tmp_path / "file" / "report.html")


def test_a_damaged_run_leaves_the_old_report(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    before = write_report([run], tmp_path / "report.html").read_bytes()
    (run / "map.json").write_text("{}")
    with pytest.raises(UserError, match=r"map\.json: bounds: field required"):
        write_report([run], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == before
    assert np.all([not path.name.endswith(".passing") for path in tmp_path.iterdir()])


def test_the_links_of_the_local_chains_are_shown(make_run: MakeRun, tmp_path: Path) -> None:
    """Messages by link, summed over the rounds; a method without a chain sends none."""
    runs = [make_run("chained", rounds=4), make_run("plain average", method="fedavg", judged=False, rounds=4)]
    text = write_report(runs, tmp_path / "links.html").read_text(encoding="utf-8")
    assert "24 D2D, 4 relayed, 8 cellular, 0 lost" in text
    assert "none sent" in text


CARD = {
    "position_mae_m": 31.0,
    "link_mae_db": 5.5,
    "finish_brier": 0.08,
    "horizons": [
        {
            "seconds": ahead,
            "position_mae_m": 3.0 * ahead,
            "stand_still_mae_m": 9.0 * ahead,
            "inside_80": 0.79,
            "inside_95": 0.943,
            "positions": 1200,
            "link_mae_db": 5.0,
            "persistence_mae_db": 8.0,
            "links": 1100,
        }
        for ahead in (5.0, 10.0)
    ],
    "watched": [
        {"forecast": 0.1, "happened": 0.2, "count": 5},
        {"forecast": 0.9, "happened": 1.0, "count": 50},
    ],
    "duration": {"mae_s": 0.4, "inside_80": None, "inside_95": None, "intervals": 0, "durations": 12},
}


def test_the_report_card_is_drawn_and_its_intervals_are_listed(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run()
    summary = json.loads((path / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps(summary | {"forecast": CARD}))
    section = next(s for s in build_sections(read_runs([path])) if s.id == "forecasts")
    drawn = {plot.title: plot.figure["data"] for plot in section.plots}
    assert drawn["Position error by horizon"][0]["y"] == [15.0, 30.0]
    assert drawn["Position error by horizon"][1]["y"] == [45.0, 90.0]
    assert drawn["Link error by horizon"][1]["y"] == [8.0, 8.0]
    assert drawn["Probability of finishing, all in service"][1]["x"] == [0.1, 0.9]
    for words in ("position, 5 s ahead", "79.0 %", "94.3 %", "1,200", "time to deliver", "not known"):
        assert words in section.markup
    write_report([path], tmp_path / "report.html")  # and the page holds it


def test_a_study_and_flags_are_said_in_the_findings(make_run: MakeRun) -> None:
    path = make_run()
    summary = json.loads((path / "summary.json").read_text())
    assert not any("is a study" in sentence for sentence in find_findings([path]))
    flags = {"cases": 3, "lifted": 1, "flagged": 4, "flagged_honest": 0}
    said = {"study": "the selector was told what will happen", "plausibility": flags}
    (path / "summary.json").write_text(json.dumps(summary | said))
    found = find_findings([path])
    assert any(s.endswith("is a study: the selector was told what will happen.") for s in found)
    assert any(
        "flagged 3 clusters as implausible, 1 of them lifted on appeal; 4 vehicles" in s for s in found
    )

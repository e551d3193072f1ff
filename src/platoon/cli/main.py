"""The command line. Every command prints for people, or with ``--json`` one JSON object; exit code 0 is done,
1 a check that failed, 2 input that the user can put right."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from platoon import __version__
from platoon.cli import options
from platoon.cli.ledger import ledger_app
from platoon.cli.live import LiveView
from platoon.cli.market import auctions, offers, trades  # noqa: F401 (their commands register themselves)
from platoon.cli.market.app import market_app
from platoon.cli.world import world_app
from platoon.drivers.progress import Silent
from platoon.errors import UserError, VerificationError
from platoon.scenario import Scenario

app = typer.Typer(
    name="platoon",
    help="Vehicles that learn together, on the road, and only from those they can trust.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Data sets: what is there, and how to get it.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
app.add_typer(market_app, name="market")
app.add_typer(world_app, name="world")

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="scenario file")]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="run directory")]
RunFolders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="run directories")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, as in fleet.vehicles=100"),
]
Seed = Annotated[int | None, typer.Option(help="override the seed")]
Out = Annotated[Path | None, typer.Option(help="folder to make; default: runs/NAME-METHOD-SEED")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a text")]


def main() -> None:
    """Entry point."""
    app()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(f"platoon {__version__}")
        raise typer.Exit


@app.command()
def run(
    scenario: ScenarioFile, set_: Set = None, seed: Seed = None, out: Out = None, as_json: Json = False
) -> None:
    """Run one method on a scenario."""

    def command() -> None:
        from platoon.drivers.run import run_scenario

        chosen = _load(scenario, set_, seed)
        folder = out or Path("runs") / f"{chosen.name}-{chosen.method}-{chosen.seed}"
        with _view(as_json) as view:
            summary = run_scenario(chosen, folder, view)
        _finish_run(folder, summary, as_json)

    options.guarded(command)


@app.command()
def compare(
    scenario: ScenarioFile, set_: Set = None, seed: Seed = None, out: Out = None, as_json: Json = False
) -> None:
    """Run several methods on the same scenario, side by side, and write one report."""

    def command() -> None:
        from platoon.experiments.compare import compare_methods

        chosen = _load(scenario, set_, seed)
        folder = out or Path("runs") / f"{chosen.name}-compare-{chosen.seed}"
        with _view(as_json) as view:
            comparison = compare_methods(chosen, folder, view)
        _finish(comparison, as_json)

    options.guarded(command)


@app.command()
def grid(
    file: Annotated[Path, typer.Argument(metavar="GRID.toml", help="grid file")],
    out: Annotated[Path | None, typer.Option(help="folder of the grid; default: runs/NAME")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="runs at once; default: cores")] = None,
    rows: Annotated[str | None, typer.Option(help="axis of the heat maps' rows")] = None,
    columns: Annotated[str | None, typer.Option(help="axis of their columns")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="keep the run directories, under runs/ in it")] = False,
    as_json: Json = False,
) -> None:
    """Play a grid of runs in parallel, or what is missing of it, and draw heat maps."""

    def command() -> None:
        import os

        from platoon.cli.live import GridView
        from platoon.experiments import grid as grids

        plan = grids.load_grid(file)
        axes = grids.choose_axes(plan, rows, columns)
        folder = out or Path("runs") / plan.name
        with GridView(options.stderr, len(plan.cells), silent=as_json) as view:
            results = grids.play_grid(
                plan, folder, at_once=workers or os.cpu_count() or 1, keep=keep, told=view.told
            )
        page = grids.write_page(plan, results, folder, *axes)
        failures = grids.find_failures(plan, results)
        found = [{"levels": dict(cell.levels), "result": dict(results[cell.digest])} for cell in plan.cells]
        _print(
            {"grid": plan.digest, "page": str(page), "cells": found, "failed": len(failures)},
            as_json,
            [*failures, f"{len(plan.cells) - len(failures)} of {len(plan.cells)} cells; heat maps: {page}"],
        )
        if failures:
            raise SystemExit(options.CHECK_FAILED)

    options.guarded(command, "finished cells are kept, the same command goes on")


@app.command()
def resume(directory: RunFolder, as_json: Json = False) -> None:
    """Go on with a run, or a comparison, that was interrupted."""

    def command() -> None:
        from platoon.experiments.compare import is_comparison, resume_comparison

        if is_comparison(directory):
            with _view(as_json) as view:
                comparison = resume_comparison(directory, view)
            _finish(comparison, as_json)
            return
        from platoon.drivers.run import resume_run

        with _view(as_json) as view:
            summary = resume_run(directory, view)
        _finish_run(directory, summary, as_json)

    options.guarded(command)


@app.command()
def report(directories: RunFolders, out: Out = None, as_json: Json = False) -> None:
    """Write report.html of one or several runs; it opens without a network."""

    def command() -> None:
        from platoon.experiments.compare import run_directories
        from platoon.experiments.report import find_findings, write_report

        folders = run_directories(directories)
        path = write_report(folders, out or directories[0] / "report.html")
        findings = find_findings(folders)
        _print({"report": str(path), "findings": findings}, as_json, [*findings, f"report: {path}"])

    options.guarded(command)


@app.command()
def verify(directories: RunFolders, as_json: Json = False) -> None:
    """Check a run: every hash, seal and signature, reputations, rewards, and the model from stored updates."""

    def command() -> None:
        from platoon.drivers.verify import verify_run
        from platoon.experiments.compare import run_directories

        try:
            found = [verify_run(folder) for folder in run_directories(directories)]
        except VerificationError as error:
            if as_json:
                options.print_json({"verified": False, "error": str(error)})
            raise
        lines = [
            f"{row['directory']}: verified. {row['rounds']} rounds, {row['blocks']} blocks, "
            f"{row['transactions']} transactions, {row['updates']} updates; head {row['head'][:16]}..., "
            f"model {row['model_digest'][:16]}..."
            for row in found
        ]
        lines += [f"{row['directory']}: {doubt}" for row in found for doubt in row["doubts"]]
        _print({"verified": True, "runs": found}, as_json, lines)

    options.guarded(command)


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """What data sets there are, and where they were found."""

    def command() -> None:
        from platoon.drivers.datasets import available

        rows = [asdict(row) for row in available()]
        lines = [
            f"{row['name']:<8}  {row['images']:>6} images  {row['classes']:>2} classes  "
            f"{row['found'] or 'not here: platoon data get ' + row['name']}  ({row['licence']})"
            for row in rows
        ]
        _print({"data": rows}, as_json, lines)

    options.guarded(command)


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """Fetch a data set, check its content, and cache it."""

    def command() -> None:
        from platoon.drivers.datasets import get

        path = get(name, lambda what: None if as_json else options.stderr.print(what, markup=False))
        _print({"name": name, "path": str(path)}, as_json, [f"{name}: {path}"])

    options.guarded(command)


@ledger_app.command("show")
def ledger_show(
    directory: RunFolder,
    block: Annotated[int | None, typer.Option(metavar="N", help="one block, by its height")] = None,
    vehicle: Annotated[
        str | None, typer.Option(metavar="V", help="one vehicle, by number or address")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="T", help="the task with this digest")] = None,
    as_json: Json = False,
) -> None:
    """Show who sent what, scores, verdicts, payments, and edge servers that judged falsely.

    Also of a run that is not finished: what it has committed. It explains; `platoon verify` checks.
    """

    def command() -> None:
        from platoon.cli import ledger_view
        from platoon.drivers.run_directory import RunDirectory
        from platoon.ledger import history

        if sum(option is not None for option in (block, vehicle, task)) > 1:
            raise UserError("--block, --vehicle and --task: allowed is one of them")
        path = RunDirectory.open(directory).ledger
        if not path.is_file():
            raise UserError(f"{directory}: ledger.sqlite is missing: the run ended before its first commit")
        view: Callable[[dict[str, Any]], RenderableType]
        if block is not None:
            shown, view = history.show_block(path, block), ledger_view.view_block
        elif vehicle is not None:
            shown, view = history.show_vehicle(path, vehicle), ledger_view.view_vehicle
        else:
            shown, view = history.show_task(path, task), ledger_view.view_task
        if as_json:
            options.print_json(shown)
        else:
            options.stdout.print(view(shown))

    options.guarded(command)


class _Quiet(Silent):
    def __enter__(self) -> "_Quiet":
        return self

    def __exit__(self, *_: object) -> None: ...


def _view(as_json: bool) -> LiveView | _Quiet:
    return _Quiet() if as_json else LiveView(options.stderr)


def _load(path: Path, settings: Sequence[str] | None, seed: int | None) -> Scenario:
    overrides = options.parse_overrides(settings or ())
    if seed is not None:
        overrides["seed"] = seed
    return Scenario.load(path, overrides)


def _finish_run(folder: Path, summary: dict[str, Any], as_json: bool) -> None:
    from platoon.experiments.report import find_findings, write_report

    report_path = write_report([folder], folder / "report.html")
    _print(summary, as_json, [*find_findings([folder]), f"report: {report_path}"])


def _finish(comparison: dict[str, Any], as_json: bool) -> None:
    _print(comparison, as_json, [*comparison["findings"], f"report: {comparison['report']}"])


def _print(value: Any, as_json: bool, lines: Sequence[str]) -> None:
    if as_json:
        options.print_json(value)
        return
    for line in lines:
        options.stdout.print(line, markup=False, soft_wrap=True)

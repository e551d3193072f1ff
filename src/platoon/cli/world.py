"""``platoon world``: roads and traffic of runs and scenarios, for other tools and for replay."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from platoon.cli import options

world_app = typer.Typer(help="Roads and traffic: traces of who drove where.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(metavar="RUN|SCENARIO.toml", help="run directory, or scenario file")]
Out = Annotated[
    Path, typer.Option(metavar="TRACE", help="trace to write: .fcd.xml or .csv, also .gz; .parquet")
]
Seconds = Annotated[int, typer.Option(min=1, help="of a scenario; a run is exported to its end")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a key of a scenario")
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a text")]


@world_app.command()
def export(source: Source, out: Out, seconds: Seconds = 600, set_: Set = None, as_json: Json = False) -> None:
    """Write the traffic as floating car data (SUMO's FCD), and the road map beside it, for replay without SUMO."""

    def command() -> None:
        from platoon.drivers.export import export_run, export_scenario
        from platoon.errors import UserError
        from platoon.scenario import Scenario

        if source.is_dir() and set_:
            raise UserError("--set: allowed with a scenario, not with a run")
        with Progress(console=options.stderr, transient=True, disable=as_json) as bar:
            task = bar.add_task("driving", total=None)

            def tick(second: int, of: int) -> None:
                bar.update(task, completed=second, total=of)

            if source.is_dir():
                exported = export_run(source, out, tick)
            else:
                scenario = Scenario.load(source, options.parse_overrides(set_ or ()))
                exported = export_scenario(scenario, out, seconds, tick)
        scenario_file = source / "scenario.toml" if source.is_dir() else source
        settings = [f"--set {setting}" for setting in (*(set_ or ()), f"roads.replay={exported.trace}")]
        replay = " ".join(["platoon run", str(scenario_file), *settings])
        if as_json:
            options.print_json(
                {
                    "trace": str(exported.trace),
                    "road_map": str(exported.road_map),
                    "seconds": exported.seconds,
                    "vehicles": exported.vehicles,
                    "replay": replay,
                }
            )
            return
        lines = [
            f"{exported.trace}: {exported.seconds} seconds of {exported.vehicles} vehicles; roads in "
            f"{exported.road_map}",
            f"replay: {replay}",
        ]
        for line in lines:
            options.stdout.print(line, markup=False, soft_wrap=True)

    options.guarded(command)


@world_app.callback()
def _group() -> None:
    """Keeps ``export`` a command of its own."""

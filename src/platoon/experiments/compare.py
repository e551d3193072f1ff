"""Several methods on one scenario: the same seed, traffic, data and attackers, one run directory each, one report.

The folder holds ``comparison.toml`` (the scenario with its list of methods) and a run directory per method, so
that an interrupted comparison goes on where it was.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platoon.drivers.progress import Progress
from platoon.drivers.run import check_scenario, resume_run, run_scenario
from platoon.drivers.run_directory import RunDirectory, require_free, write_atomically
from platoon.errors import UserError
from platoon.experiments.report import find_findings, write_report
from platoon.experiments.report.page import load_plotly
from platoon.protocol.methods import find_method
from platoon.scenario import Scenario

NAME = "comparison.toml"


def compare_methods(scenario: Scenario, out: Path, progress: Progress) -> dict[str, Any]:
    """Run every method of ``scenario.compare``; returns what ``--json`` prints.

    Raises:
        UserError: as ``run_scenario``; nothing is written then.
    """
    for name in scenario.compare:
        find_method(name)
    if not scenario.compare or len(set(scenario.compare)) < len(scenario.compare):
        raise UserError(f"compare = {list(scenario.compare)}: allowed is a list of different methods")
    require_free(out)
    check_scenario(scenario)
    load_plotly()  # a missing extra is said now, not after the runs
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / NAME, scenario.to_toml())
    return _play(scenario, out, progress)


def is_comparison(directory: Path) -> bool:
    """Whether a folder holds a comparison rather than one run."""
    return (directory / NAME).is_file()


def resume_comparison(directory: Path, progress: Progress) -> dict[str, Any]:
    """Go on with an interrupted comparison; finished methods are kept as they are.

    Raises:
        UserError: another process works in it.
    """
    return _play(Scenario.load(directory / NAME), directory, progress)


def run_directories(directories: Sequence[Path]) -> list[Path]:
    """The run directories that are meant: a comparison stands for the runs in it."""
    found: list[Path] = []
    for directory in directories:
        if is_comparison(directory):
            found += [directory / method for method in Scenario.load(directory / NAME).compare]
        else:
            found.append(directory)
    return found


def _play(scenario: Scenario, out: Path, progress: Progress) -> dict[str, Any]:
    with RunDirectory(out).hold():
        return _play_all(scenario, out, progress)


def _choose(scenario: Scenario, method: str) -> Scenario:
    """One method's scenario. On a network its task chain has accounts of its own, and so nonces, contracts and a
    domain: with the others' it would be their task."""
    chosen: dict[str, Any] = {"method": method}
    if scenario.ledger.engine == "rpc" and len(scenario.compare) > 1:
        accounts = f"{scenario.ledger.accounts} {method}".strip()
        chosen["ledger"] = scenario.ledger.model_copy(update={"accounts": accounts})
    return scenario.model_copy(update=chosen)


def _play_all(scenario: Scenario, out: Path, progress: Progress) -> dict[str, Any]:
    summaries = {}
    for name in scenario.compare:
        folder = out / name
        if RunDirectory(folder).has_begun:
            summaries[name] = resume_run(folder, progress)
        else:
            chosen = _choose(scenario, name)
            summaries[name] = run_scenario(chosen, folder, progress, replace=True)
    folders = [out / name for name in scenario.compare]
    report = write_report(folders, out / "report.html")
    return {"report": str(report), "findings": find_findings(folders), "runs": summaries}

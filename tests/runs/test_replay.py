"""A run exported with its traffic and replayed without SUMO: the same decisions, ledger and model."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from platoon import Scenario
from platoon.cli.main import app
from platoon.drivers.export import export_run
from platoon.drivers.run import run_scenario
from platoon.errors import UserError

WITHOUT_SUMO = """
import json, sys
from pathlib import Path
for name in ("libsumo", "sumolib"):
    sys.modules[name] = None
from platoon import Scenario
from platoon.drivers.run import run_scenario
scenario = Scenario.load(sys.argv[1], {"roads.replay": sys.argv[2]})
print(json.dumps(run_scenario(scenario, Path(sys.argv[3]))))
"""


@pytest.mark.sumo
@pytest.mark.long
def test_a_replayed_run_decides_the_same(scenario: Scenario, tmp_path: Path) -> None:
    scenario = scenario.model_copy(update={"task": scenario.task.model_copy(update={"rounds": 2})})
    run, trace = tmp_path / "run", tmp_path / "traffic.fcd.xml.gz"
    first = run_scenario(scenario, run)
    shown = CliRunner().invoke(app, ["world", "export", str(run), "--out", str(trace), "--json"])
    exported = json.loads(shown.stdout)
    assert exported["replay"] == f"platoon run {run}/scenario.toml --set roads.replay={trace}"
    again = tmp_path / "again"
    arguments = [sys.executable, "-c", WITHOUT_SUMO, run / "scenario.toml", trace, again]
    second = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
    assert second["ledger"] == first["ledger"]
    for key in ("model_digest", "achieved_speed_kmh", "simulated_seconds", "accuracy", "forecast"):
        assert second[key] == first[key], key
    for table in ("updates", "forecasts", "vehicles"):
        assert pq.read_table(again / f"{table}.parquet") == pq.read_table(run / f"{table}.parquet"), table
    _refuse_others(scenario, run, trace, tmp_path)


def _refuse_others(scenario: Scenario, run: Path, trace: Path, folder: Path) -> None:
    """Another scenario's traffic, an existing file, a run that is not there, and traffic that is not the run's."""
    other = scenario.model_copy(
        update={"seed": 12, "roads": scenario.roads.model_copy(update={"replay": str(trace)})}
    )
    with pytest.raises(UserError, match="is of another scenario"):
        run_scenario(other, folder / "other")
    assert not (folder / "other").exists()
    with pytest.raises(UserError, match="is there already"):
        export_run(run, trace)
    with pytest.raises(UserError, match="unknown kind of trace"):
        export_run(run, folder / "trace.txt")
    summary = json.loads((run / "summary.json").read_text())
    summary["achieved_speed_kmh"] += 0.5
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match="another version of SUMO drives otherwise"):
        export_run(run, folder / "new.fcd.xml")
    assert not list(folder.glob("new.*"))
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        export_run(run, folder / "new.fcd.xml")

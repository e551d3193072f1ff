"""A whole run whose links were measured on real roads."""

from pathlib import Path

import pytest

from platoon import Scenario
from platoon.drivers.run import run_scenario
from platoon.drivers.verify import verify_run


@pytest.mark.data
@pytest.mark.long
def test_a_run_on_the_drives_of_cork(scenario: Scenario, tmp_path: Path, data_folder: Path) -> None:
    drives = str(data_folder / "ucc5g" / "ucc5g.parquet")
    scenario = scenario.model_copy(
        update={
            "task": scenario.task.model_copy(update={"rounds": 2}),
            "roads": scenario.roads.model_copy(update={"engine": "walker"}),
            "radio": scenario.radio.model_copy(
                update={"source": "drives", "drives": drives, "hearing_radius_m": 5000.0}
            ),
        }
    )
    first, again = (run_scenario(scenario, tmp_path / name) for name in ("first", "again"))
    assert verify_run(tmp_path / "first")["rounds"] == 2
    assert first["ledger"]["head"] == again["ledger"]["head"]
    assert first["model_digest"] == again["model_digest"]
    assert sum(first["dropped"]) < 8

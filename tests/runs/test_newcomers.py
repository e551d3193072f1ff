"""A run whose newcomers start by equation 13: who passed the attestation above who was out of service."""

from pathlib import Path

import pytest

from platoon import Scenario, run
from platoon.drivers.verify import verify_run
from platoon.ledger.audit import audit

pytestmark = pytest.mark.sumo


def test_hybrid_initialisation(scenario: Scenario, tmp_path: Path) -> None:
    table = scenario.model_dump(mode="json", exclude_none=True)
    overrides = {"trust.newcomers": "hybrid", "trust.newcomer_bonus": 0.12, "task.rounds": 2}
    run(Scenario.from_table(table, overrides), tmp_path / "run")
    assert verify_run(tmp_path / "run")["rounds"] == 2
    first = list(audit(tmp_path / "run" / "ledger.sqlite"))[1]
    assert {update.reputation_before for update in first.updates} == {620_000}

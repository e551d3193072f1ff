"""Plausibility on SUMO traffic with real training: colluders in convoy, Sybils of one device, an honest platoon."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from platoon import Scenario, run
from platoon.drivers.verify import verify_run
from platoon.fleet import draw_groups, draw_platoon
from platoon.ledger.history import show_task

pytestmark = pytest.mark.sumo

FLEET = {
    "fleet.vehicles": 16,
    "fleet.malicious_share": 0.25,
    "fleet.group": 4,
    "round.participants": 10,
    "round.distribution_s": 8.0,  # rounds of some 11 s: a minute of traffic is seen in few of them
    "task.rounds": 3,
    "roads.warmup_s": 20,
}


def play(scenario: Scenario, out: Path, **changed: object) -> tuple[Scenario, list[dict], dict]:
    table = scenario.model_dump(mode="json", exclude_none=True)
    fleet = {f"fleet.{key}": value for key, value in changed.items()}
    changed_scenario = Scenario.from_table(table, FLEET | fleet)
    run(changed_scenario, out)
    return (
        changed_scenario,
        show_task(out / "ledger.sqlite")["cases"],
        pq.read_table(out / "updates.parquet").to_pydict(),
    )


@pytest.mark.parametrize("attack", ["collusion", "sybil"])
def test_attackers_that_act_as_one_are_flagged_and_nobody_else(scenario, tmp_path, attack):
    played, cases, updates = play(scenario, tmp_path / "run", attack=attack)
    (group,) = draw_groups(played.fleet, played.seed)
    assert cases
    assert {case["kind"] for case in cases} == {attack}
    assert all(set(case["members"]) <= set(group) for case in cases)
    assert cases[0]["status"] == "upheld"
    first = [i for i, number in enumerate(updates["round"]) if number == cases[0]["round"]]
    flagged = [i for i in first if updates["vehicle"][i] in cases[0]["members"]]
    assert all(updates["weight"][i] == 0.0 for i in flagged)
    assert verify_run(tmp_path / "run")["rounds"] == 3


def test_an_honest_platoon_is_not_flagged(scenario, tmp_path):
    played, cases, updates = play(scenario, tmp_path / "run", attack="none", platoon=6)
    assert cases == []
    trucks = set(draw_platoon(played.fleet, played.seed))
    # the check had something to look at: trucks that were chosen together, bumper to bumper
    for number in set(updates["round"]):
        rows = [i for i, r in enumerate(updates["round"]) if r == number and updates["vehicle"][i] in trucks]
        if len(rows) > 2:
            places = np.array([[updates["x"][i], updates["y"][i]] for i in rows])
            assert np.hypot(*(places - places.mean(axis=0)).T).max() < 100.0
            break
    else:
        pytest.fail("no round in which trucks were chosen together")

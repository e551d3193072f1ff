"""Whole runs in which an edge server tampers with its local blocks: they are played to their end, verify passes and
says what it found, and the summary says who refused what."""

import json
from pathlib import Path

import pytest

from platoon import Scenario
from platoon.drivers.run import run_scenario
from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.verify import verify_run
from platoon.errors import UserError, VerificationError
from platoon.fleet import draw_faulty

ROUNDS = 3
WALKERS = {"roads.engine": "walker", "task.rounds": ROUNDS, "fleet.vehicles": 20, "round.participants": 10}
LIAR = {**WALKERS, "committee.full_share": 1.0, "faults.edge_servers": 1}


def play(scenario_file: Path, out: Path, overrides: dict[str, object]) -> tuple[dict, dict, Scenario]:
    """The summary, what verify finds, and the scenario."""
    scenario = Scenario.load(scenario_file, overrides)
    run_scenario(scenario, out)
    return json.loads((out / "summary.json").read_text()), verify_run(out), scenario


@pytest.mark.parametrize(
    ("behaviour", "by"),
    [
        ("proposal", "committee"),
        ("omission", "nobody"),
        ("root", "contract"),
        ("update", "contract"),
        ("alone", "audit"),
        ("second", "contract"),
    ],
)
def test_a_tampered_block_is_refused_by_whoever_can_see_it(
    scenario_file: Path, tmp_path: Path, behaviour: str, by: str
) -> None:
    """The columns of the tables, what verify says and the summary agree; a run without a block to tamper with would
    show nothing, so there is one."""
    told, found, scenario = play(scenario_file, tmp_path / "run", {**LIAR, "faults.behaviour": behaviour})
    (liar,) = draw_faulty(scenario)
    tampering = told["tampering"]
    assert tampering["blocks"] > 0
    assert tampering["unnoticed"] == (tampering["blocks"] if by == "nobody" else 0)
    assert sum(tampering["refused_by"].values()) == tampering["blocks"] - tampering["unnoticed"]
    assert tampering["refused_by"].get(by) != 0
    assert (tampering["updates_lost"] > 0) == (behaviour in ("update", "omission"))
    assert set(tampering["named"]) == (set() if by in ("committee", "nobody") else {str(liar)})
    assert len(found["doubts"]) == len(found["block_faults"]) >= sum(tampering["named"].values())
    assert all(f"edge server {liar}: " in doubt for doubt in found["doubts"])
    assert told["edge_servers"]["named"] == {}
    assert set(told["edge_servers"]["absent"]) == ({str(liar)} if behaviour == "update" else set())
    rows = RunDirectory.open(tmp_path / "run").read_columns("edge_servers")
    assert {s for s, t in zip(rows["edge_server"], rows["tampered"], strict=True) if t is not None} == {liar}


def test_members_that_refuse_leave_blocks_unsealed_and_nobody_named(
    scenario_file: Path, tmp_path: Path
) -> None:
    told, found, _ = play(scenario_file, tmp_path / "run", {**WALKERS, "faults.members": 1.0})
    assert told["ledger"]["unsealed_blocks"] == told["ledger"]["local_blocks"] == ROUNDS * 4
    assert told["tampering"]["blocks"] == 0
    assert found["doubts"] == []


def test_refuses_a_summary_that_names_somebody_else(scenario_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told, _, _ = play(scenario_file, out, {**LIAR, "faults.behaviour": "alone"})
    told["tampering"]["named"] = {}
    (out / "summary.json").write_text(json.dumps(told))
    with pytest.raises(VerificationError, match=r"tampering.named is {}, the ledger says {'\d': \d}"):
        verify_run(out)


def test_invalid_behaviours_name_what_is_allowed() -> None:
    with pytest.raises(UserError, match=r"faults.behaviour = 'forge': .*'root', 'update', 'alone', 'second'"):
        Scenario.from_table({}, {"faults.behaviour": "forge"})
    with pytest.raises(UserError, match=r"faults.member_behaviour = 'sign': .*'refuse' or 'equivocate'"):
        Scenario.from_table({}, {"faults.member_behaviour": "sign"})
    with pytest.raises(UserError, match=r"faults.members = 1.5"):
        Scenario.from_table({}, {"faults.members": 1.5})

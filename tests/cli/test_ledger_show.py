"""`platoon ledger show` says what the record says: the audit's numbers, and who sent them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.conftest import NEXT_MODEL, Town
from typer.testing import CliRunner, Result

from platoon import Scenario
from platoon.cli.main import app
from platoon.ledger.audit import audit
from platoon.nouns import Digest

GARBAGE = Digest(b"\x0f" * 32)
FAIR = {0: 900_000, 1: 700_000, 2: 100_000}
LIE = {0: -900_000, 1: 0, 2: 800_000}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is not finished: round 1 settled, round 2 recorded; edge server 3 lies, then votes garbage."""
    town = Town(tmp_path)
    (tmp_path / "scenario.toml").write_text(Scenario().to_toml())
    town.record_all(sorted(FAIR))
    for server in range(4):
        assert town.score(server, LIE if server == 3 else FAIR).ok
    assert town.judge().ok
    for server in (0, 1, 3):
        assert town.vote(server, GARBAGE if server == 3 else NEXT_MODEL).ok
    assert not town.settle().ok  # two of four are no majority
    assert town.vote(2).ok
    assert town.settle().ok
    assert town.record(0, town.update(4)).ok
    assert town.record(1, town.update(4), town.update(5)).ok  # vehicle 4 reached two edge servers
    town.chain.commit("round 1")
    town.chain.close()
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ledger", "show", *(str(argument) for argument in arguments)])


def read(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_task_and_its_rounds(run: Path) -> None:
    task = read(run)
    first, second = task["rounds"]
    assert (first["updates"], first["valid"], first["merged"], first["paid"]) == (3, 2, 2, 10_000_000)
    assert first["model"] == "0x" + NEXT_MODEL.hex()
    assert first["votes"] == {"0x" + NEXT_MODEL.hex(): [0, 1, 2], "0x" + GARBAGE.hex(): [3]}
    assert first["named"] == [{"edge_server": 3, "reasons": ["scores", "vote"], "taken": 300_000}]
    assert (first["absent"], first["local_blocks"]) == ([], {})
    assert first["deviations"] == {"0": 0, "1": 0, "2": 0, "3": 1_066_666}
    # the second round is open
    assert (second["updates"], second["model"], second["paid"]) == (2, None, None)
    assert [server["stake"] for server in task["edge_servers"]] == [1_000_000] * 3 + [700_000]
    assert read(run, "--task", task["task"][:8]) == task


@pytest.mark.parametrize("vehicle", range(6))
def test_a_vehicle_as_the_audit_has_it(run: Path, vehicle: int) -> None:
    shown = read(run, "--vehicle", vehicle)
    audited = [u for round in audit(run / "ledger.sqlite") for u in round.updates if u.vehicle == vehicle]
    settled = [row for row in shown["rounds"] if row["reward"] is not None]
    assert len(settled) == len(audited)
    for row, update in zip(settled, audited, strict=True):
        assert (row["median"], row["valid"], row["merged"]) == (update.score, update.valid, update.merged)
        assert (row["reputation_before"], row["reputation_after"]) == (
            update.reputation_before,
            update.reputation_after,
        )
        assert (row["reward"], row["edge_server"]) == (update.reward, update.edge_server)
        assert row["digest"] == "0x" + update.digest.hex()
        assert row["scores"] == {str(i): (LIE if i == 3 else FAIR)[vehicle] for i in range(4)}
    assert read(run, "--vehicle", shown["address"]) == shown


def test_a_refused_update_is_shown_beside_the_one_that_counts(run: Path) -> None:
    rows = read(run, "--vehicle", 4)["rounds"]
    assert [(row["edge_server"], row["refused"]) for row in rows] == [(0, None), (1, "recorded before")]


def test_a_block_says_who_sent_what(run: Path) -> None:
    heights = range(read(run)["blocks"])
    blocks = [read(run, "--block", height) for height in heights]
    assert [block["parent"] for block in blocks[1:]] == [block["hash"] for block in blocks[:-1]]
    sent = [(t["sender"], t["function"], t["ok"], t["error"]) for b in blocks[1:] for t in b["transactions"]]
    assert sent[:2] == [("edge server 0", "record", True, ""), ("edge server 1", "record", True, "")]
    assert ("edge server 0", "settle", False, "no model has a majority") in sent
    assert all(block["sealed_by"] == blocks[0]["sealed_by"] for block in blocks)
    scored = next(t for b in blocks for t in b["transactions"] if t["function"] == "score")
    assert scored["arguments"]["scores"] == {f"vehicle {i}": value for i, value in FAIR.items()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("3 (scores, vote, -0.30)", "rounds", "edge servers")),
        (("--block", 1), ("edge server 0: Training.record", "-> Recorded", "sealed by")),
        (("--block", 13), ("refused: no model has a majority",)),
        (("--vehicle", 2), ("invalid", "0.100", "0.800", "0.500 -> 0.300")),
    ],
)
def test_tables_for_people(
    run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("platoon.cli.options.stdout.width", 200)
    result = call(run, *options)
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--block", 99), ("--block 99", "allowed: 0 to")),
        (("--block", -1), ("--block -1", "allowed: 0 to")),
        (("--vehicle", 6), ("--vehicle 6", "allowed: 0 to 5")),
        (("--vehicle", "x"), ("--vehicle x", "or an address")),
        (("--task", "0x0000"), ("--task 0x0000", "its task is 0x")),
        (("--task", ""), ("--task", "its task is 0x")),
        (("--block", 1, "--vehicle", 1), ("allowed is one of them",)),
    ],
)
def test_invalid_options_are_refused(run: Path, options: tuple[object, ...], words: tuple[str, ...]) -> None:
    result = call(run, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    for word in words:
        assert word in result.stderr


def test_invalid_folders_are_refused(tmp_path: Path, run: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path.parent):
        assert call(folder).exit_code == 2
    (run / "early").mkdir()
    (run / "early" / "scenario.toml").write_text(Scenario().to_toml())
    assert call(run / "early").exit_code == 2
    (run / "ledger.sqlite").write_bytes(b"not a database" * 1000)
    result = call(run)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not a ledger" in result.stderr

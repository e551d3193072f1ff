"""`platoon ledger prove`, `check`, `reputation`: exit codes 0, 1 and 2, a line of words, JSON alone on request."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.runs.conftest import SMALL
from typer.testing import CliRunner, Result

from platoon import Scenario, run
from platoon.cli.main import app
from platoon.drivers.run_directory import RunDirectory
from platoon.ledger.main_chain import verify_main_chain
from platoon.records.shards import Reputation, merge_reputations

pytestmark = pytest.mark.sumo


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played")
    (folder / "small.toml").write_text(SMALL)
    run(Scenario.load(folder / "small.toml", {"task.rounds": 2}), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def proof(played: Path) -> Path:
    columns = RunDirectory.open(played).read_columns("updates")
    rows = zip(columns["round"], columns["vehicle"], columns["valid"], strict=True)
    number, vehicle = next((number, vehicle) for number, vehicle, valid in rows if valid is not None)
    result = call("ledger", "prove", played, "--vehicle", vehicle, "--round", number)
    assert result.exit_code == 0, result.output
    path = played.parent / "proof.json"
    path.write_text(result.stdout)
    return path


def test_a_proof_is_printed_and_checked(proof: Path) -> None:
    result = call("ledger", "check", proof)
    assert result.exit_code == 0
    assert "verified: vehicle 0x" in result.stdout
    assert "no --root was given" in result.stdout


def test_a_proof_is_checked_against_a_root(proof: Path) -> None:
    found = json.loads(call("ledger", "check", proof, "--json").stdout)
    assert found["root"] is None
    for key in ("global_block", "local_root"):
        result = call("ledger", "check", proof, "--root", f"0x{found[key]}", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["root"]


def test_invalid_root_fails_the_check(proof: Path) -> None:
    result = call("ledger", "check", proof, "--root", "ee" * 32)
    assert result.exit_code == 1
    assert "neither the local block's root" in result.output


def test_invalid_changed_proof_fails_the_check(proof: Path, tmp_path: Path) -> None:
    changed = json.loads(proof.read_text())
    changed["update"]["samples"] += 1
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    result = call("ledger", "check", tmp_path / "changed.json")
    assert result.exit_code == 1
    assert "update: not signed by its vehicle" in result.output


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}", "[" * 100_000])
def test_invalid_proof_file_is_bad_input(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "proof.json"
    if content is not None:
        path.write_text(content)
    result = call("ledger", "check", path)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("root", ["", "zz", "ee"])
def test_invalid_root_is_bad_input(proof: Path, root: str) -> None:
    result = call("ledger", "check", proof, "--root", root)
    assert result.exit_code == 2
    assert "32 bytes" in result.output


def test_invalid_question_is_bad_input(played: Path, tmp_path: Path) -> None:
    for vehicle, number in ((999, 1), (0, 99)):
        result = call("ledger", "prove", played, "--vehicle", vehicle, "--round", number)
        assert result.exit_code == 2
        assert f"vehicle {vehicle}" in result.output
    assert call("ledger", "prove", tmp_path / "nowhere", "--vehicle", 0, "--round", 1).exit_code == 2


@pytest.fixture(scope="module")
def other(played: Path) -> Path:
    """The same fleet in another task."""
    scenario = Scenario.load(
        played.parent / "small.toml", {"task.rounds": 3, "ledger.chain_id": 7401, "round.participants": 6}
    )
    run(scenario, played.parent / "other")
    return played.parent / "other"


def test_reputations_of_two_runs_are_merged_by_evidence(played: Path, other: Path, tmp_path: Path) -> None:
    kept = tmp_path / "main.sqlite"
    result = call("ledger", "reputation", played, other, "--json", "--out", kept)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [shard["round"] for shard in found["shards"]] == [2, 3]
    assert {shard["rule"] for shard in found["shards"]} == {"evidence"}
    assert [row["vehicle"] for row in found["vehicles"]] == list(range(12))
    known = 0
    for row in found["vehicles"]:
        said = [Reputation(word["value"], word["evidence"]) for word in row["shards"] if word]
        merged = merge_reputations(said, start=500_000, most=20_000_000)
        assert row["global"] == merged._asdict()
        known += len(said) == 2 and merged.evidence > 0
    assert known, "no vehicle took part in both"
    # each shard's word is what the run's own ledger says
    for place, directory in enumerate((played, other)):
        for row in found["vehicles"]:
            if row["shards"][place]:
                show = call("ledger", "show", directory, "--vehicle", row["vehicle"], "--json")
                assert json.loads(show.stdout)["reputation"] == row["shards"][place]["value"]
    chain = verify_main_chain(kept)
    assert f"0x{chain.ledger.head.hex()}" == found["main_chain"]["head"]
    chain.close()


def test_reputations_are_shown_as_a_table(played: Path, other: Path) -> None:
    result = call("ledger", "reputation", played, other)
    assert result.exit_code == 0, result.output
    assert "global" in result.stdout
    assert "0.500 (0.00)" in result.stdout  # of whom nobody knows anything


def test_invalid_runs_to_merge(played: Path, other: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        ((played, played), "same task"),
        ((played, tmp_path), "not a run directory"),
        ((*[played] * 17,), "allowed: 1 to 16"),
        ((played, "--out", played / "ledger.sqlite"), "exists already"),
    ):
        result = call("ledger", "reputation", *arguments)
        assert (result.exit_code, reason in result.output) == (2, True), result.output


def test_invalid_ledger_of_a_run_to_merge_is_named(played: Path, other: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(other, broken)
    with sqlite3.connect(broken / "ledger.sqlite") as database:
        database.execute("UPDATE blocks SET seals = substr(seals, 1, 65) WHERE height = 3")
    result = call("ledger", "reputation", played, broken)
    assert result.exit_code == 1
    assert "block 3" in result.output

"""`platoon ledger prove` and `check`: exit codes 0, 1 and 2, one line of words, and JSON alone on request."""

import json
from pathlib import Path

import pytest
from tests.runs.conftest import SMALL
from typer.testing import CliRunner, Result

from platoon import Scenario, run
from platoon.cli.main import app
from platoon.drivers.run_directory import RunDirectory

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

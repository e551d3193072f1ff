"""`platoon verify` accepts a run, and refuses it after any byte of its log or of a stored update is changed."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.runs.conftest import SMALL

from platoon import Scenario, run
from platoon.drivers.verify import verify_run
from platoon.errors import UserError, VerificationError
from platoon.rng import stream

pytestmark = pytest.mark.sumo


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played")
    (folder / "small.toml").write_text(SMALL)
    run(Scenario.load(folder / "small.toml", {"task.rounds": 3}), folder / "run")
    return folder / "run"


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    return shutil.copytree(played, tmp_path / "run")


def flip(path: Path, position: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def log_of(path: Path) -> list[tuple[object, ...]]:
    """Every value of the block log."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [
            row[0]
            for row in database.execute("select name from sqlite_master where type = 'table' order by 1")
        ]
        return [row for table in tables for row in database.execute(f"select * from {table} order by 1, 2")]


def test_accepts_an_honest_run(played: Path) -> None:
    found = verify_run(played)
    summary = json.loads((played / "summary.json").read_text())
    assert found["head"] == summary["ledger"]["head"]
    assert found["model_digest"] == summary["model_digest"]
    assert summary["ledger"]["verified"] is True
    assert summary["edge_servers"] == {"named": {}, "absent": {}, "taken": 0.0}
    assert summary["tampering"] == {
        "blocks": 0,
        "refused_by": {"committee": 0, "contract": 0, "audit": 0},
        "unnoticed": 0,
        "updates_lost": 0,
        "named": {},
    }
    assert found["block_faults"] == found["doubts"] == []


def test_refuses_a_ledger_whose_request_asks_for_something_else(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.drivers.verify.describe_scenario", lambda _: b"\x01" * 32)
    with pytest.raises(VerificationError, match="is not what the ledger's task request asks for"):
        verify_run(copy)


@pytest.mark.parametrize("attempt", range(40))
def test_refuses_any_changed_byte_of_the_ledger(copy: Path, attempt: int) -> None:
    """Any byte of the file: refused, unless it is one that no value of the log depends on."""
    ledger = copy / "ledger.sqlite"
    before = log_of(ledger)
    dice = stream(attempt, "byte of the ledger")
    flip(ledger, int(dice.integers(ledger.stat().st_size)), int(dice.integers(8)))
    try:
        verify_run(copy)
    except (VerificationError, UserError):
        return
    assert log_of(ledger) == before


@pytest.mark.parametrize("attempt", range(20))
def test_refuses_any_changed_byte_of_a_model_or_update(copy: Path, attempt: int) -> None:
    dice = stream(attempt, "byte of a model")
    files = sorted((copy / "models").iterdir())
    victim = files[int(dice.integers(len(files)))]
    flip(victim, int(dice.integers(victim.stat().st_size)), int(dice.integers(8)))
    with pytest.raises(VerificationError, match=victim.name):
        verify_run(copy)


def test_refuses_a_missing_update(copy: Path) -> None:
    victim = sorted((copy / "models").iterdir())[0]
    victim.unlink()
    with pytest.raises(VerificationError, match=f"{victim.name}: missing"):
        verify_run(copy)


def test_refuses_a_stranger_among_the_models(copy: Path) -> None:
    (copy / "models" / "stranger.safetensors").write_bytes(b"hello")
    with pytest.raises(VerificationError, match="stranger"):
        verify_run(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["ledger"].update(head="00" * 32), "ledger.head"),
        (lambda s: s.update(model_digest="00" * 32), "model_digest"),
        (lambda s: s["rewards"].update(paid=1e6), "rewards.paid"),
        (lambda s: s.update(rounds=99), "rounds is 99"),
    ],
)
def test_refuses_a_summary_that_says_something_else(
    copy: Path, change: Callable[[dict[str, object]], None], words: str
) -> None:
    summary = json.loads((copy / "summary.json").read_text())
    change(summary)
    (copy / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(VerificationError, match=words):
        verify_run(copy)


def test_refuses_a_table_that_says_something_else(copy: Path) -> None:
    path = copy / "updates.parquet"
    table = pq.read_table(path)
    rewards = np.array(table["reward"].to_pylist())
    rewards[0] += 1.0
    pq.write_table(table.set_column(table.column_names.index("reward"), "reward", [rewards]), path)
    with pytest.raises(VerificationError, match="reward is"):
        verify_run(copy)


@pytest.mark.parametrize(("column", "value"), [("named", "vote"), ("stake", 1.0), ("deviation", 0.9)])
def test_refuses_a_table_of_edge_servers_that_says_something_else(
    copy: Path, column: str, value: object
) -> None:
    path = copy / "edge_servers.parquet"
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[1] = value
    field = table.schema.field(column)
    pq.write_table(table.set_column(table.column_names.index(column), field, [values]), path)
    with pytest.raises(VerificationError, match=f"round 1, edge server 1: {column} is {value}"):
        verify_run(copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('method = "dtb-fl"', 'method = "bc-fl"'),
        ("seed = 11", "seed = 12"),
        ("malicious_share = 0.25", "malicious_share = 0.5"),
        ("rho_min = 0.4", "rho_min = 0.1"),
    ],
)
def test_refuses_another_scenario_beside_the_ledger(copy: Path, old: str, new: str) -> None:
    path = copy / "scenario.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(VerificationError, match=r"scenario\.toml"):
        verify_run(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.update(ledger=[]),
        lambda s: s.update(rewards={"paid": "x", "escrow_left": None}),
        lambda s: s.pop("ledger"),
    ],
)
def test_names_a_damaged_summary(copy: Path, damage: Callable[[dict[str, object]], object]) -> None:
    summary = json.loads((copy / "summary.json").read_text())
    damage(summary)
    (copy / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(VerificationError, match=r"summary\.json"):
        verify_run(copy)


def test_names_a_missing_column(copy: Path) -> None:
    path = copy / "updates.parquet"
    pq.write_table(pq.read_table(path).drop(["reward"]), path)
    with pytest.raises(VerificationError, match=r"updates\.parquet"):
        verify_run(copy)

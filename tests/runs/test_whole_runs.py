"""Whole small runs: every method plays and verifies, and a round's time is composed as DTB-FL 6.1.2 says."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from platoon import Scenario, run
from platoon.protocol.methods import METHODS

pytestmark = pytest.mark.sumo


def play(scenario: Scenario, out: Path, **overrides: object) -> dict[str, Any]:
    table = scenario.model_dump(mode="json", exclude_none=True)
    return run(Scenario.from_table(table, {"task.rounds": 2, **overrides}), out)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_plays_and_verifies(scenario: Scenario, tmp_path: Path, method: str) -> None:
    summary = play(scenario, tmp_path / "run", method=method)
    assert summary["method"] == method
    assert summary["rounds"] == 2
    assert summary["ledger"]["verified"] is True
    auc = summary["reputation"]["auc"]
    assert (auc is not None) == METHODS[method].judged or summary["score_auc"] == [None, None]


@pytest.mark.parametrize("method", ["dtb-fl", "fedavg"])
def test_round_time(scenario: Scenario, tmp_path: Path, method: str) -> None:
    """Distribution, then the slowest participant, then seals and chain if there is one, then the aggregation."""
    summary = play(scenario, tmp_path / "run", method=method)
    rounds = pq.read_table(tmp_path / "run" / "rounds.parquet").to_pylist()
    updates = pq.read_table(tmp_path / "run" / "updates.parquet").to_pylist()
    for link in ("d2d", "relayed", "cellular", "lost", "bytes"):
        assert summary["sealing"][link] == sum(row[f"sealing_{link}"] for row in rounds)
    for row in rounds:
        parts = [row[f"{part}_s"] for part in ("distribution", "training", "sealing", "chain", "aggregation")]
        assert sum(parts) == pytest.approx(row["ended_s"] - row["started_s"])
        assert (row["distribution_s"], row["aggregation_s"]) == (1.0, 0.6)
        assert row["chain_s"] == (1.5 if method == "dtb-fl" else 0.0)
        carried = sum(row[f"sealing_{link}"] for link in ("d2d", "relayed", "cellular"))
        assert (carried > 0) == (method == "dtb-fl")
        assert (
            (row["sealing_bytes"] > 0)
            == (row["sealing_s"] > 0.0)
            == (row["sealing_j"] > 0.0)
            == (carried > 0)
        )
        if not row["sealing_lost"]:
            assert row["sealing_s"] < 0.1  # a few hundred bytes each, on a band of 10 MHz
        mine = [update for update in updates if update["round"] == row["round"]]
        assert all(update["arrived"] for update in mine)
        slowest = max(update["compute_s"] + update["upload_s"] for update in mine)
        assert row["training_s"] == pytest.approx(slowest, abs=1e-5)
        for update in mine:
            assert update["actual_s"] == pytest.approx(
                1.0 + update["compute_s"] + update["upload_s"], abs=1e-5
            )
            # C |D| epochs / f: one epoch of 60 samples at 1e6 cycles on 1.5 to 2.5 GHz that other work shares.
            assert update["compute_s"] >= 60e6 / 2.5e9
            assert update["energy_j"] > 0


def test_fedavg_weighs_by_samples(scenario: Scenario, tmp_path: Path) -> None:
    play(scenario, tmp_path / "run", method="fedavg")
    updates = pq.read_table(tmp_path / "run" / "updates.parquet").to_pylist()
    weights = [update["weight"] for update in updates if update["round"] == 1]
    assert weights == pytest.approx([0.25] * 4, abs=2**-20)
    assert {update["score"] for update in updates} == {None}


def test_a_deadline_that_nobody_can_meet_keeps_the_model(scenario: Scenario, tmp_path: Path) -> None:
    summary = play(scenario, tmp_path / "run", **{"round.deadline_s": 1.01})
    rounds = pq.read_table(tmp_path / "run" / "rounds.parquet").to_pylist()
    assert [row["outcome"] for row in rounds] == ["kept: nobody finished"] * 2
    assert summary["dropped"] == [row["selected"] for row in rounds]
    assert all(row["energy_j"] > 0 for row in rounds)


def test_a_void_round_costs_time_and_changes_nothing(scenario: Scenario, tmp_path: Path) -> None:
    """With a deadline between the fastest and the slowest, policy void discards what did arrive."""
    play(scenario, tmp_path / "free")
    took = sorted(
        row["actual_s"]
        for row in pq.read_table(tmp_path / "free" / "updates.parquet").to_pylist()
        if row["round"] == 1
    )
    deadline = float(np.mean(took[:2]))
    play(scenario, tmp_path / "run", **{"round.policy": "void", "round.deadline_s": deadline})
    first = pq.read_table(tmp_path / "run" / "rounds.parquet").to_pylist()[0]
    assert first["outcome"].startswith("void: ")
    assert first["paid"] == 0

"""What a grid keeps of a run, on tables that were written by hand."""

from pathlib import Path

import pytest

from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.tables import SCHEMAS
from platoon.experiments.grid.measures import PARTS, divide_rounds, measure_run
from platoon.scenario import Scenario

HONEST = {0: True, 1: True, 2: False, 3: False}
"""Vehicle 3 attacks in round 4 alone."""
ROWS = [
    # round, vehicle, score, valid, reputation after, poisoned
    (1, 0, 0.9, True, 0.6, False),
    (1, 2, 0.1, False, 0.3, True),
    (2, 1, 0.2, False, 0.35, False),
    (2, 2, 0.4, False, 0.2, True),
    (3, 0, 0.8, True, 0.7, False),
    (3, 1, 0.7, True, 0.5, False),
    (4, 0, 0.8, True, 0.8, False),
    (4, 3, 0.1, False, 0.3, True),
    (5, 1, None, None, 0.5, False),
    (5, 3, 0.9, True, 0.45, False),
]


def write_run(path: Path, rows=ROWS, left=(0.8, 0.5, 0.2, 0.45)) -> RunDirectory:
    """A run directory with these updates and reputations at the end; the threshold is 0.4."""
    rounds = max((row[0] for row in rows), default=0)
    with RunDirectory.create(path, Scenario()) as directory:
        names = ("round", "vehicle", "score", "valid", "reputation_after", "poisoned")
        updates = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
        updates["honest"] = [HONEST[vehicle] for vehicle in updates["vehicle"]]
        write(directory, "updates", {key: list(column) for key, column in updates.items()}, len(rows))
        spans = {
            "started_s": [10.0 + 5 * k for k in range(rounds)],
            "ended_s": [15.0 + 5 * k for k in range(rounds)],
            **{f"{part}_s": [1.0] * rounds for part in PARTS},
        }
        write(directory, "rounds", {"round": list(range(1, rounds + 1)), **spans}, rounds)
        judged = [sum(row[1] == v and row[2] is not None for row in rows) for v in HONEST]
        vehicles = {
            "vehicle": list(HONEST),
            "honest": list(HONEST.values()),
            "reputation": list(left),
            "judged": judged,
        }
        write(directory, "vehicles", vehicles, 4)
        weights = [0.5, None, 0.25, 0.0, 0.1][:rounds]
        directory.write_json("summary.json", summary(rounds, weights))
    return directory


def write(directory: RunDirectory, table: str, columns: dict, count: int) -> None:
    nothing = dict.fromkeys(SCHEMAS[table].names, [None] * count)
    directory.write_table(table, nothing | columns)


def summary(rounds: int, weights: list) -> dict:
    return {
        "rounds": rounds,
        "accuracy": [0.1 * (k + 1) for k in range(rounds)],
        "malicious_weight": weights,
        "poisoned_weight": weights,
        "backdoor_success": 0.25,
        "reputation": {"auc": 0.9},
        "simulated_seconds": 5.0 * rounds,
        "edge_servers": {"named": {}},
        "tampering": {"blocks": 2, "named": {"1": 2}},
        "cpu_seconds": {"train": 1.0},
        "ended": "rounds",
        "study": None,
        "model_digest": "ab",
        "ledger": {"head": "cd", "unsealed_blocks": 3},
    }


def test_measures_of_a_run(tmp_path: Path) -> None:
    found = measure_run(write_run(tmp_path / "run"))
    assert found["accuracy"] == pytest.approx(0.3)  # fewer than ten rounds: all of them
    assert found["tampering"] == {"blocks": 2, "named": {"1": 2}}
    assert found["seconds"] == [5.0, 10.0, 15.0, 20.0, 25.0]
    # honest 0.9 0.2 0.8 0.7 0.8 0.9 (vehicle 3 in round 5 is one of them) against 0.1 0.4 0.1: one pair is wrong
    assert found["auc"] == pytest.approx(17 / 18)
    assert found["auc_second_half"] == 1.0
    assert found["false_accusations"] == pytest.approx(1 / 6)
    assert found["poisoned_weight_second_half"] == pytest.approx((0.25 + 0.0 + 0.1) / 3)
    assert found["poisoned_weight"] == pytest.approx((0.5 + 0.25 + 0.0 + 0.1) / 4)
    assert (found["honest_below_threshold"], found["malicious_below_threshold"]) == (0.0, 0.5)
    assert (found["backdoor_success"], found["reputation_auc"]) == (0.25, 0.9)


def test_separation_counts_only_where_it_lasts(tmp_path: Path) -> None:
    # after rounds 1 and 2 honest vehicles lead by 0.3 and 0.275, from then on by more: since round 1
    assert measure_run(write_run(tmp_path / "lasts"))["rounds_to_separation"] == 1
    # vehicle 2 recovers in round 3 and falls again in round 4: since round 4
    rows = sorted(
        [*ROWS[:4], (3, 2, 0.9, True, 0.7, False), *ROWS[4:7], (4, 2, 0.1, False, 0.2, True), *ROWS[7:]]
    )
    assert measure_run(write_run(tmp_path / "again", rows))["rounds_to_separation"] == 4
    assert measure_run(write_run(tmp_path / "never", ROWS[:1]))["rounds_to_separation"] is None


def test_exclusion_counts_judged_updates_of_the_median_attacker(tmp_path: Path) -> None:
    # each attacker's first judged update takes it below
    assert measure_run(write_run(tmp_path / "once"))["updates_to_exclusion"] == 1.0
    # vehicle 3 never falls: the median of one and infinitely many is never
    rows = [row for row in ROWS if row[:2] != (4, 3)]
    assert measure_run(write_run(tmp_path / "half", rows))["updates_to_exclusion"] is None


def test_penalties_outside_updates_count_at_the_end(tmp_path: Path) -> None:
    found = measure_run(write_run(tmp_path / "flagged", left=(0.3, 0.5, 0.2, 0.45)))
    assert found["honest_below_threshold"] == 0.5


def test_a_run_without_rounds_has_no_measures(tmp_path: Path) -> None:
    found = measure_run(write_run(tmp_path / "empty", []))
    unknown = (
        "accuracy",
        "auc",
        "auc_second_half",
        "false_accusations",
        "honest_below_threshold",
        "poisoned_weight",
    )
    assert {found[key] for key in unknown} == {None}
    assert found["rounds_to_separation"] is None


def test_a_rounds_seconds_are_divided_by_who_arrived_last() -> None:
    rows = {"round": [1, 2], "distribution_s": [1.0, 1.0], "training_s": [3.0, 20.0], "sealing_s": [0.0, 0.0]}
    rows |= {"chain_s": [1.5, 1.5], "aggregation_s": [0.6, 0.0]}
    updates = {
        "round": [1, 1, 1, 2],
        "actual_s": [2.0, 4.0, None, None],
        "compute_s": [0.5, 2.0, 9.0, 9.0],
        "upload_s": [0.5, 0.75, None, None],
    }
    parts = divide_rounds(rows, updates)
    assert parts is not None
    assert (parts["computing"], parts["upload"]) == (
        1.0,
        0.375,
    )  # nobody arrived in round 2: it all was waiting
    assert parts["waiting"] == pytest.approx((0.25 + 20.0) / 2)
    assert sum(parts.values()) == pytest.approx(sum(sum(rows[key]) for key in rows if key != "round") / 2)
    assert divide_rounds({"round": []}, dict.fromkeys(updates, ())) is None

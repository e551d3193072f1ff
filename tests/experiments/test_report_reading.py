"""Reading run directories for the report: what is damaged is named, what is unknown stays unknown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.experiments.report.reading import read_runs

MakeRun = Callable[..., Path]
FILES = ("summary.json", "scenario.toml", "map.json", "rounds.parquet", "updates.parquet", "vehicles.parquet")


def fail_to_read(*directories: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_runs(directories)
    message = str(caught.value)
    assert "\n" not in message
    return message


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def edit_summary(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    summary = json.loads((run / "summary.json").read_text())
    change(summary)
    (run / "summary.json").write_text(json.dumps(summary))


def test_reads_what_was_written_and_keeps_nulls_unknown(make_run: MakeRun) -> None:
    [run] = read_runs([make_run(method="fedavg", judged=False, outcomes={2: "kept: nobody finished"})])
    assert run.label == "FedAvg"
    assert list(run.rounds.round) == list(range(1, 9))
    assert run.rounds.outcome[1] == "kept: nobody finished"
    assert np.isnan(run.rounds.malicious_weight[1])
    assert np.isnan(run.updates.score).all()
    assert (np.isnan(run.updates.actual_s) == ~run.updates.arrived).all()
    assert len(run.updates.round) == run.rounds.selected.sum()


def test_row_order_in_the_files_does_not_matter(make_run: MakeRun) -> None:
    path = make_run()
    [before] = read_runs([path])
    for name in ("rounds", "updates", "vehicles"):
        rewrite(path / f"{name}.parquet", lambda table: table.take(list(range(len(table)))[::-1]))
    [after] = read_runs([path])
    assert (before.updates.vehicle == after.updates.vehicle).all()
    assert (before.rounds.ended_s == after.rounds.ended_s).all()
    assert (before.vehicles.reputation == after.vehicles.reputation).all()


def test_updates_of_a_round_that_was_never_committed_are_ignored(make_run: MakeRun) -> None:
    path = make_run(rounds=4)
    rewrite(path / "rounds.parquet", lambda table: table.slice(0, 3))
    [run] = read_runs([path])
    assert set(run.updates.round) == {1, 2, 3}


def test_a_run_that_never_chose_a_vehicle_has_an_updates_table_without_columns(make_run: MakeRun) -> None:
    path = make_run()
    pq.write_table(pa.table({}), path / "updates.parquet")
    [run] = read_runs([path])
    assert len(run.updates.round) == 0


def test_labels_tell_runs_apart(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b", seed=2), make_run("c", seed=2), make_run("d", method="fedavg")]
    labels = [run.label for run in read_runs(runs)]
    assert labels[0] == "DTB-FL, seed 1"
    assert labels[3] == "FedAvg"
    assert len(set(labels)) == 4


def test_invalid_no_directory() -> None:
    assert "no run directory given" in fail_to_read()


def test_invalid_directory_that_does_not_exist(tmp_path: Path) -> None:
    assert "nowhere: no such run directory" in fail_to_read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_invalid_missing_file(make_run: MakeRun, name: str) -> None:
    path = make_run()
    (path / name).unlink()
    message = fail_to_read(path)
    assert str(path / name) in message
    assert ("platoon resume" in message) == (name == "summary.json")


@pytest.mark.parametrize("name", FILES)
def test_invalid_binary_rubbish(make_run: MakeRun, name: str) -> None:
    path = make_run()
    (path / name).write_bytes(b"\xff\xfe\x00rubbish\n" * 5)
    assert str(path / name) in fail_to_read(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([name for name in FILES if name != "scenario.toml"]), share=st.floats(0, 0.99))
def test_invalid_truncated_file_is_always_named(make_run: MakeRun, name: str, share: float) -> None:
    path = make_run(f"{name}-{share}", rounds=2)
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole[: int(share * len(whole))])
    assert str(path / name) in fail_to_read(path)


def test_invalid_missing_column(make_run: MakeRun) -> None:
    path = make_run()
    rewrite(path / "rounds.parquet", lambda table: table.drop_columns(["accuracy"]))
    assert fail_to_read(path).endswith("rounds.parquet: no column 'accuracy'")


def test_invalid_type_of_a_column(make_run: MakeRun) -> None:
    path = make_run()
    words = pa.array(["fast"] * 20)
    rewrite(path / "vehicles.parquet", lambda t: t.set_column(2, "reputation", words))
    assert "vehicles.parquet: column 'reputation' is no double" in fail_to_read(path)


def test_invalid_null_where_a_value_must_be(make_run: MakeRun) -> None:
    path = make_run()
    index = pq.read_table(path / "updates.parquet").column_names.index("honest")
    rewrite(path / "updates.parquet", lambda t: t.set_column(index, "honest", pa.nulls(len(t), pa.bool_())))
    assert "updates.parquet: column 'honest' has nulls" in fail_to_read(path)


def test_invalid_round_twice(make_run: MakeRun) -> None:
    path = make_run()
    rewrite(path / "rounds.parquet", lambda table: pa.concat_tables([table, table.slice(2, 1)]))
    assert "rounds.parquet: round 3 is there twice" in fail_to_read(path)


def test_invalid_vehicle_that_is_not_in_the_fleet(make_run: MakeRun) -> None:
    path = make_run()
    vehicle = int(pq.read_table(path / "updates.parquet")["vehicle"][0].as_py())
    rewrite(path / "vehicles.parquet", lambda t: t.filter(pa.compute.not_equal(t["vehicle"], vehicle)))
    assert f"updates.parquet: vehicle {vehicle} is not in vehicles.parquet" in fail_to_read(path)


def test_invalid_summary_without_a_key(make_run: MakeRun) -> None:
    path = make_run()
    edit_summary(path, lambda summary: summary["ledger"].pop("head"))
    assert fail_to_read(path).endswith("summary.json: ledger.head: field required")


def test_invalid_scenario_names_its_key(make_run: MakeRun) -> None:
    path = make_run()
    (path / "scenario.toml").write_text("[fleet]\nvehicels = 3\n")
    assert "scenario.toml: fleet.vehicels: unknown key; did you mean 'vehicles'" in fail_to_read(path)

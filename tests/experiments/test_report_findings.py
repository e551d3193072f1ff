"""What the report says in words, and the measures behind it: true also where a result is bad, absent or odd."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from platoon.experiments.report import find_findings
from platoon.experiments.report.measures import (
    brier_score,
    count_participation,
    earned_per_vehicle,
    measure_reliability,
    reputation_history,
    reward_total,
    seconds_to,
)
from platoon.experiments.report.reading import read_runs

MakeRun = Callable[..., Path]


def tell(*directories: Path) -> str:
    return "\n".join(find_findings(directories))


def edit_summary(run: Path, section: str, **values: object) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary[section] |= values
    (run / "summary.json").write_text(json.dumps(summary))


def test_golden_two_methods(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run("dtb", outcomes={3: "kept: nobody finished"}, verified=True),
        make_run("fed", method="fedavg", judged=False, final_accuracy=0.7),
    ]
    assert [sentence.replace(f"{tmp_path}/", "") for sentence in find_findings(runs)] == GOLDEN


GOLDEN = [
    "DTB-FL classified 84.4 % of the test images right after 8 rounds, FedAvg 65.8 %.",
    (
        "DTB-FL ended 18.6 percentage points ahead of FedAvg. One seed is one sample: repeat with other "
        "seeds before you conclude anything."
    ),
    "DTB-FL kept its model in 1 of 8 rounds (nobody finished: 1).",
    "6 of 20 vehicles (30.0 %) attacked the training.",
    (
        "Attackers' updates got this share of the merged weight: 0.0 % in DTB-FL (0.0 % in the second half)"
        " and 35.8 % in FedAvg (38.7 % in the second half)."
    ),
    (
        "DTB-FL's reputations tell attackers from honest vehicles with an AUC of 1.00 over the 20 vehicles "
        "that it judged (1 is perfect, 0.5 is guessing)."
    ),
    (
        "DTB-FL ended with 6 of 6 attackers and 1 of 14 honest vehicles below the reputation of 0.4 that "
        "selection asks for."
    ),
    "FedAvg moved no reputation: it trusts every vehicle alike.",
    (
        "Updates that were asked for but did not arrive in time: 2 of 48 in DTB-FL (4.2 %) and 7 of 48 in "
        "FedAvg (14.6 %)."
    ),
    "To classify 50 % right took DTB-FL 49 simulated seconds and FedAvg 70 simulated seconds.",
    "To classify 80 % right took DTB-FL 110 simulated seconds; FedAvg did not get there.",
    (
        "DTB-FL's forecasts of who would finish have a Brier score of 0.040 over the chosen vehicles (0 is "
        "perfect; always saying 95.8 % would get 0.040)."
    ),
    (
        "FedAvg's forecasts of who would finish have a Brier score of 0.107 over the chosen vehicles (0 is "
        "perfect; always saying 85.4 % would get 0.125)."
    ),
    (
        "DTB-FL paid 70.00 tokens, 70.00 to honest vehicles (5.00 each) and 0.00 to attackers (0.00 each); "
        "930.00 stay in escrow."
    ),
    (
        "FedAvg paid 80.00 tokens, 51.33 to honest vehicles (3.67 each) and 28.67 to attackers (4.78 each);"
        " 920.00 stay in escrow."
    ),
    (
        "No edge server of DTB-FL and FedAvg scored far off the medians or voted for another model than the "
        "elected one, so all kept what they had at stake."
    ),
    (
        "DTB-FL's ledger holds 96 transactions in 24 blocks and ends at head abababababababab; the run "
        "checked it at its end and it was in order. `platoon verify dtb` checks every hash, seal, signature"
        " and payment."
    ),
    (
        "FedAvg's ledger holds 96 transactions in 24 blocks and ends at head abababababababab; it has not "
        "been checked yet. `platoon verify fed` checks every hash, seal, signature and payment."
    ),
]


def test_a_run_alone_is_not_compared(make_run: MakeRun) -> None:
    told = tell(make_run())
    assert "DTB-FL classified 84.4 % of the test images right after 8 rounds." in told
    assert "ahead" not in told
    assert "One seed" not in told


def test_says_when_the_first_method_loses(make_run: MakeRun) -> None:
    told = tell(
        make_run("a", final_accuracy=0.6), make_run("b", method="fedavg", final_accuracy=0.9, judged=False)
    )
    assert "FedAvg ended 27.9 percentage points ahead of DTB-FL." in told


def test_says_when_methods_end_level(make_run: MakeRun) -> None:
    told = tell(make_run("a"), make_run("b", method="fedavg", judged=False))
    assert "DTB-FL and FedAvg ended equally accurate." in told


def test_several_seeds_are_not_called_one(make_run: MakeRun) -> None:
    told = tell(make_run("a"), make_run("b", seed=2))
    assert "One seed" not in told
    assert "they differ in: seed." in told


def test_names_what_differs_between_runs(make_run: MakeRun) -> None:
    told = tell(make_run("a"), make_run("b", method="fedavg", vehicles=30, judged=False))
    assert "do not share one scenario, so compare them with care; they differ in: fleet.vehicles." in told


def test_one_round_is_singular(make_run: MakeRun) -> None:
    assert "right after 1 round." in tell(make_run(rounds=1))


def test_unknown_accuracy_is_not_invented(make_run: MakeRun) -> None:
    told = tell(make_run(accuracy_known=False))
    assert "DTB-FL has no measured accuracy after 8 rounds." in told
    assert "Nobody reached an accuracy of 50 %." in told


def test_says_when_a_model_only_guesses(make_run: MakeRun) -> None:
    assert "DTB-FL is hardly better than guessing (10.0 %)." in tell(make_run(final_accuracy=0.11))


def test_says_when_rounds_kept_the_model_and_why(make_run: MakeRun) -> None:
    outcomes = {1: "kept: nobody finished", 2: "kept: nobody finished", 3: "kept: nobody eligible"}
    told = tell(make_run(outcomes=outcomes | {5: "void: a vehicle was late"}))
    assert "DTB-FL kept its model in 3 of 8 rounds (nobody finished: 2; nobody eligible: 1)." in told
    assert "DTB-FL discarded 1 of 8 rounds (a vehicle was late: 1)." in told


def test_says_why_a_run_stopped_early(make_run: MakeRun) -> None:
    run = make_run(rounds=8)
    summary = json.loads((run / "summary.json").read_text()) | {"ended": "escrow spent"}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "stopped before" not in tell(run)
    scenario = (run / "scenario.toml").read_text()
    (run / "scenario.toml").write_text(scenario.replace("rounds = 8", "rounds = 30"))
    assert "DTB-FL stopped before round 9: escrow spent." in tell(run)


def test_nobody_malicious(make_run: MakeRun) -> None:
    told = tell(make_run(malicious_share=0.0))
    assert "No vehicle was malicious" in told
    assert "AUC" not in told
    assert "attackers (" not in told


def test_nothing_ever_merged(make_run: MakeRun) -> None:
    told = tell(make_run(arrival=0.0, outcomes=dict.fromkeys(range(1, 9), "kept: nobody finished")))
    assert "No round merged an update" in told
    assert "48 of 48 in DTB-FL (100.0 %)" in told
    assert "DTB-FL paid no tokens; 1,000.00 stay in escrow." in told
    assert "moved no reputation" in told


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        (0.4, "AUC of 0.40 over the 20 vehicles that it judged (no better than guessing)"),
        (None, "too few of either kind to say whether reputations find attackers"),
    ],
)
def test_reputations_that_find_nobody(make_run: MakeRun, auc: float | None, words: str) -> None:
    run = make_run()
    edit_summary(run, "reputation", auc=auc)
    assert words in tell(run)


@pytest.mark.parametrize(
    ("verified", "words"),
    [(True, "it was in order"), (False, "the check FAILED"), (None, "not been checked yet")],
)
def test_ledger_says_whether_it_was_checked(make_run: MakeRun, verified: bool | None, words: str) -> None:
    told = tell(make_run(verified=verified))
    assert words in told
    assert "`platoon verify " in told


def test_seconds_count_from_the_first_round_and_to_the_end_of_the_round(make_run: MakeRun) -> None:
    [run] = read_runs([make_run()])
    first = int(np.flatnonzero(run.rounds.accuracy >= 0.5)[0])
    assert seconds_to(run, 0.5) == run.rounds.ended_s[first] - 60.0
    assert np.isnan(seconds_to(run, 0.99))


def test_reputation_history_ends_where_the_fleet_ended(make_run: MakeRun) -> None:
    [run] = read_runs([make_run(rounds=12)])
    history = reputation_history(run)
    assert history.shape == (12, 20)
    assert np.allclose(history[-1], run.vehicles.reputation)
    for row, column in zip(run.updates.round - 1, run.updates.vehicle, strict=True):
        here = (run.updates.round == row + 1) & (run.updates.vehicle == column)
        assert history[row, column] == run.updates.reputation_after[here][0]
    untouched = np.setdiff1d(run.vehicles.vehicle, run.updates.vehicle[run.updates.round == 1])
    assert np.allclose(history[0, untouched], 0.5)


def test_everyone_who_was_chosen_is_counted_once(make_run: MakeRun) -> None:
    [run] = read_runs([make_run(outcomes={2: "kept: nobody finished"})])
    counts = count_participation(run)
    parts: Sequence[np.ndarray] = [
        *(counts.honest_merged, counts.malicious_merged),
        *(counts.honest_unmerged, counts.malicious_unmerged, counts.lost),
    ]
    assert (sum(parts) == run.rounds.selected).all()
    assert (counts.lost == run.rounds.dropped).all()
    assert counts.honest_merged[1] == counts.malicious_merged[1] == 0


def test_earnings_add_up_to_what_was_paid(make_run: MakeRun) -> None:
    [run] = read_runs([make_run()])
    for honest in (True, False):
        heads = np.count_nonzero(run.vehicles.honest == honest)
        assert np.isclose(earned_per_vehicle(run, honest)[-1] * heads, reward_total(run, honest))
    assert np.isclose(reward_total(run, True) + reward_total(run, False), run.rounds.paid.sum())


forecasts = st.integers(1, 60).flatmap(
    lambda n: st.tuples(hnp.arrays(np.float64, n, elements=st.floats(0, 1)), hnp.arrays(np.bool_, n))
)


@given(forecasts)
def test_reliability_keeps_every_forecast_and_brackets_what_was_seen(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    probability, happened = case
    bins = measure_reliability(probability, happened)
    assert bins.count.sum() == len(probability)
    assert np.isclose((bins.observed * bins.count).sum(), happened.sum())
    assert np.isclose((bins.forecast * bins.count).sum(), probability.sum())
    assert (bins.low <= bins.observed + 1e-12).all()
    assert (bins.high >= bins.observed - 1e-12).all()
    assert 0 <= brier_score(probability, happened) <= 1


def test_unknown_forecasts_are_left_out() -> None:
    probability, happened = np.array([np.nan, 1.0]), np.array([False, True])
    assert brier_score(probability, happened) == 0.0
    assert measure_reliability(probability, happened).count.sum() == 1

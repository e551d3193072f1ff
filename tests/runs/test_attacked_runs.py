"""Attacks in whole runs: combined, in some rounds only, the same bits after a resume; and what bad input says."""

from pathlib import Path

import pytest

from platoon import Scenario, run
from platoon.drivers.run import resume_run
from platoon.drivers.verify import verify_run
from platoon.errors import UserError

WALKERS = {"roads.engine": "walker", "task.rounds": 3, "fleet.malicious_share": 0.5}


def play(scenario: Scenario, out: Path, **changed: object) -> dict:
    return run(attacked(scenario, **changed), out)


def attacked(scenario: Scenario, **changed: object) -> Scenario:
    table = scenario.model_dump(mode="json", exclude_none=True)
    fleet = {f"fleet.{key}": value for key, value in changed.items()}
    return Scenario.from_table(table, WALKERS | fleet)


COMBINED = {
    "attack": "backdoor",
    "attacks": [
        {"name": "scaling", "strength": 2.0},
        {"name": "free_rider_stale", "share": 0.5, "start_round": 2},
    ],
}


def test_combined_attacks_play_twice_alike_and_verify(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = play(scenario, tmp_path / "whole", **COMBINED)
    assert whole["attacks"] == ["backdoor", "scaling", "free_rider_stale"]
    assert 0.0 <= whole["backdoor_success"] <= 1.0
    assert verify_run(tmp_path / "whole")["rounds"] == 3
    # a run that stops after two rounds and is taken up again replays the same last step
    from platoon.drivers import run as module  # noqa: PLC0415

    commit = module._Session._commit_round

    def dies(self, state, record, *others):
        if record.cohort.round == 3:
            raise KeyboardInterrupt
        commit(self, state, record, *others)

    monkeypatch.setattr(module._Session, "_commit_round", dies)
    with pytest.raises(KeyboardInterrupt):
        play(scenario, tmp_path / "broken", **COMBINED)
    monkeypatch.undo()
    resumed = resume_run(tmp_path / "broken")
    for key in ("model_digest", "accuracy", "malicious_weight", "backdoor_success"):
        assert resumed[key] == whole[key], key
    assert resumed["ledger"]["head"] == whole["ledger"]["head"]


def test_an_attack_that_has_not_begun_changes_nothing(scenario: Scenario, tmp_path: Path) -> None:
    late, never = (
        play(
            scenario.model_copy(update={"method": "fedavg"}),  # which merges whatever comes
            tmp_path / f"{start}",
            attack="none",
            attacks=[{"name": "sign_flip", "start_round": start}],
        )
        for start in (3, 99)
    )
    assert late["accuracy"][:2] == never["accuracy"][:2]
    assert late["model_digest"] != never["model_digest"]
    assert late["backdoor_success"] is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"attack": "alei"}, "did you mean 'alie'"),
        ({"attacks": [{"name": "backdoor", "target": 10}]}, "target = 10 of backdoor: allowed: 0 to 9"),
        ({"attack": "none", "attacks": [{"name": "ipm", "share": 0.4}]}, "shares sum to 0.4"),
        ({"attacks": [{"name": "none"}]}, "'none' is no attack"),
        ({"attacks": [{"nme": "ipm"}]}, "fleet.attacks.0.name"),
        ({"attacks": [{"name": "ipm", "strenght": 1.0}]}, "unknown key; did you mean 'strength'"),
        ({"attacks": [{"name": "ipm", "rounds_off": -1}]}, "fleet.attacks.0.rounds_off = -1"),
    ],
)
def test_invalid_attacks(scenario: Scenario, tmp_path: Path, changed: dict, words: str) -> None:
    with pytest.raises(UserError) as raised:
        play(scenario, tmp_path / "run", **changed)
    assert words in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_attacks_survive_being_written_out(scenario: Scenario, tmp_path: Path) -> None:
    combined = attacked(scenario, **COMBINED)
    (tmp_path / "written.toml").write_text(combined.to_toml())
    assert Scenario.load(tmp_path / "written.toml") == combined

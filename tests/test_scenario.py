"""Scenarios: what is committed reads, says every key, and survives being written."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.scenario import MOST_UPDATES, Scenario, Section

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.toml"))


def keys_of(section: Section, prefix: str = "") -> list[str]:
    names: list[str] = []
    for key in type(section).model_fields:
        value = getattr(section, key)
        names += keys_of(value, f"{prefix}{key}.") if isinstance(value, Section) else [f"{prefix}{key}"]
    return names


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_committed_scenarios_explain_every_key(path: Path) -> None:
    scenario = Scenario.load(path)
    text = path.read_text()
    assert scenario.name == path.stem
    for key in keys_of(scenario):
        assert key.rsplit(".", 1)[-1] in text, key
    assert Scenario.from_table(tomllib.loads(scenario.to_toml())) == scenario


def test_the_papers_setting() -> None:
    """DTB-FL section 6.1.1, number by number."""
    paper = Scenario.load(SCENARIOS[0].parent / "dtbfl.toml")
    assert (paper.roads.streets - 1) * paper.roads.block_m == 5000.0
    assert (paper.roads.streets, paper.radio.rsus, paper.radio.service_radius_m) == (21, 10, 1000.0)
    assert (paper.fleet.vehicles, paper.round.participants, paper.task.rounds) == (200, 10, 100)
    assert (paper.round.epochs, paper.round.batch) == (3, 32)
    assert (paper.partition.kind, paper.partition.classes, paper.partition.samples) == ("classes", 2, 300)
    assert (paper.task.data, paper.task.model) == ("cifar10", "cnn")
    assert (paper.twin.utility_balance, paper.trust.beta, paper.trust.rho_min) == (0.5, 0.5, 0.4)
    assert (paper.radio.bandwidth_mhz, paper.compute.ghz) == (20.0, (1.5, 2.5))
    assert paper.round.rest_rounds == 0


@given(st.integers(-3, 300), st.integers(-3, 300))
def test_more_participants_than_vehicles_or_than_a_contract_takes_are_refused(
    participants: int, vehicles: int
) -> None:
    table = {"fleet": {"vehicles": vehicles}, "round": {"participants": participants}}
    if 1 <= participants <= vehicles and participants + 1 <= MOST_UPDATES:
        assert Scenario.from_table(table).round.participants == participants
    else:
        with pytest.raises(UserError):
            Scenario.from_table(table)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_shares_are_shares(value: float) -> None:
    if 0.0 <= value <= 1.0:
        assert Scenario.from_table({"trust": {"beta": value}}).trust.beta == value
    else:
        with pytest.raises(UserError, match=r"trust\.beta"):
            Scenario.from_table({"trust": {"beta": value}})

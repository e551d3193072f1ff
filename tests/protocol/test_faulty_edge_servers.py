"""Whatever a tolerated number of edge servers does, a task goes on and the record names them; with more it stops,
says why, and goes on from the last round once they are back."""

from pathlib import Path

import pytest
from tests.protocol.conftest import TOY, Play, begin, play_on, reopen

from platoon.drivers.lossy import Faults, Network
from platoon.errors import HaltedError
from platoon.ledger.audit import audit
from platoon.nouns import EdgeServerId, seconds
from platoon.scenario import Scenario

SIZES = range(4, 11)
ABSENT = ("record", "score", "vote")
ROLES = {
    # role: (why they are named, what they missed)
    "dead": ((), ABSENT),
    "slow": ((), ABSENT),
    "babbling": ((), ABSENT),
    "lying": (("scores",), ()),
    "garbling": (("vote",), ()),
}
SHORT = {"task.rounds": 2, "round.participants": 6}


def tolerated(size: int) -> int:
    return (size - 1) // 3


def last(size: int, count: int) -> frozenset[EdgeServerId]:
    """The last ``count`` of ``size`` edge servers."""
    return frozenset(EdgeServerId(size - 1 - i) for i in range(count))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("size", SIZES)
def test_a_task_goes_on_with_a_tolerated_number_of_faulty_edge_servers(
    play: Play, size: int, role: str
) -> None:
    """Every round is merged; the faulty are named for what they did, nobody else is; only the false pay."""
    faulty = last(size, tolerated(size))
    played = play(faults=Faults(**{role: faulty}), overrides=SHORT | {"radio.rsus": size})
    assert [record.outcome for record in played.records] == ["merged"] * 2
    named, missed = ROLES[role]
    for record in played.records:
        for row in record.settled.conduct:
            is_faulty = row.edge_server in faulty
            assert (row.named, row.missed) == ((named, missed) if is_faulty else ((), ())), row
            assert row.taken == (10_000_000 if named and is_faulty else 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("role", ["lying", "garbling"])
def test_false_scores_and_votes_change_nothing_but_stakes(play: Play, size: int, role: str) -> None:
    """Models, reputations and payments are those of honest edge servers; the escrow has what liars lost."""
    faulty = last(size, tolerated(size))
    overrides = SHORT | {"radio.rsus": size}
    honest, told = play(overrides=overrides), play(faults=Faults(**{role: faulty}), overrides=overrides)
    assert told.agreed[:3] == honest.agreed[:3]
    assert told.chain.escrow_left() == honest.chain.escrow_left() + 2 * len(faulty) * 10_000_000


def test_a_mixture_of_faults_on_a_bad_network(play: Play) -> None:
    """Ten edge servers: one dead, one that lies in its scores, one that votes garbage, on a network that loses."""
    faults = Faults(
        dead=frozenset({EdgeServerId(7)}),
        lying=frozenset({EdgeServerId(8)}),
        garbling=frozenset({EdgeServerId(9)}),
    )
    bad = Network(seed=3, drop=0.2, repeat=0.3, delay=seconds(1.0))
    overrides = SHORT | {"radio.rsus": 10}
    perfect, lossy = (play(network=n, faults=faults, overrides=overrides) for n in (Network(), bad))
    assert lossy.agreed == perfect.agreed
    assert [row.named for row in lossy.records[0].settled.conduct[7:]] == [(), ("scores",), ("vote",)]
    assert [row.missed for row in lossy.records[0].settled.conduct[7:]] == [ABSENT, (), ()]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("dead", "are needed; nothing of this round counts"),
        ("slow", "are needed; nothing of this round counts"),
        ("babbling", "recording lacks a quorum"),
        ("garbling", "equal votes for a model"),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_with_more_it_stops_and_resumes_where_it_was(
    tmp_path: Path, play: Play, size: int, role: str, words: str
) -> None:
    """In round 2 one too many fails (of garblers: half). The first round stands; when they are back, the task ends
    as if nothing had happened."""
    count = (size + 1) // 2 if role == "garbling" else tolerated(size) + 1
    overrides: dict[str, object] = SHORT | {"radio.rsus": size}
    scenario, path = Scenario.from_table(TOY, overrides), tmp_path / "halted.sqlite"
    parts, state = begin(scenario, path, Network(), Faults(**{role: last(size, count)}, since=2))
    with pytest.raises(HaltedError, match=words):
        play_on(scenario, parts, state)
    assert [record.cohort.round for record in parts.records] == [1]
    assert parts.state is not None
    resumed = play_on(scenario, reopen(scenario, path, parts), parts.state)
    undisturbed = play(overrides=overrides)
    assert resumed.agreed == undisturbed.agreed
    assert [round.round for round in audit(path)] == [0, 1, 2]


def test_more_liars_than_tolerated_cannot_be_told_from_honest_ones(play: Play) -> None:
    """Three of four that agree on a lie are the median: then the honest one is named. No rule can do better: this
    is the bound that docs/ledger.md states."""
    played = play(faults=Faults(lying=last(4, 3)), overrides={"task.rounds": 1, "trust.threshold": 0.3})
    assert [row.named for row in played.records[0].settled.conduct] == [("scores",), (), (), ()]

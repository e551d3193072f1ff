"""The protocol does not depend on who turns the crank: a network that loses, delays, repeats and reorders messages
leads to the same models, reputations and payments as a perfect one."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.conftest import Play

from platoon.drivers.lossy import Faults, Network
from platoon.errors import HaltedError
from platoon.nouns import EdgeServerId, VehicleId, seconds

MANY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(
    seed=st.integers(0, 10_000),
    drop=st.floats(0.0, 0.3),
    repeat=st.floats(0.0, 0.5),
    delay=st.floats(0.0, 1.5),
)
def test_any_network_agrees(play: Play, seed: int, drop: float, repeat: float, delay: float) -> None:
    perfect = play()
    lossy = play(network=Network(seed=seed, drop=drop, repeat=repeat, delay=seconds(delay)))
    assert lossy.agreed == perfect.agreed
    assert lossy.reason == perfect.reason == "all rounds played"


@pytest.mark.parametrize("pre", ["nnm", "bucketing"])
def test_any_network_agrees_on_a_robust_rule(play: Play, pre: str) -> None:
    """Every edge server sorts, mixes and draws buckets by itself, and all vote for one model."""
    keys: dict[str, object] = {
        "aggregation.rule": "geometric_median",
        "aggregation.pre": pre,
        "fleet.malicious_share": 0.0,
    }
    perfect = play(overrides=keys)
    lossy = play(overrides=keys, network=Network(seed=3, drop=0.2, repeat=0.3, delay=seconds(1.0)))
    assert lossy.agreed == perfect.agreed
    assert [record.outcome for record in perfect.records] == ["merged"] * 4
    assert perfect.final.model != play(overrides={"fleet.malicious_share": 0.0}).final.model


def test_messages_were_lost_and_asked_for_again(play: Play) -> None:
    """The law above would hold on a network that loses nothing: this one does lose."""
    perfect = play()
    lossy = play(network=Network(seed=1, drop=0.3, repeat=0.3, delay=seconds(1.0)))
    assert lossy.final.now > perfect.final.now


def test_a_tolerated_edge_server_may_be_dead(play: Play) -> None:
    """One of four is silent: what reached it is lost, the others settle every round."""
    played = play(faults=Faults(dead=frozenset({EdgeServerId(2)})))
    assert [record.outcome for record in played.records] == ["merged"] * 4
    recorded = {
        update.edge_server for record in played.records for update in record.settled.merged.judged.updates
    }
    assert EdgeServerId(2) not in recorded


def test_too_many_dead_edge_servers_halt(play: Play) -> None:
    with pytest.raises(HaltedError, match="records of 2 edge servers, 3 of 4 are needed"):
        play(faults=Faults(dead=frozenset({EdgeServerId(0), EdgeServerId(1)})))


def test_a_lying_edge_server_condemns_nobody(play: Play) -> None:
    """The median of four scores stands against one liar: same verdicts, same reputations."""
    honest, lied_to = play(), play(faults=Faults(lying=frozenset({EdgeServerId(1)})))
    assert lied_to.agreed[:3] == honest.agreed[:3]  # the escrow has what the liar lost


def test_a_garbled_vote_is_outvoted(play: Play) -> None:
    honest, garbled = play(), play(faults=Faults(garbling=frozenset({EdgeServerId(3)})))
    assert garbled.agreed[:3] == honest.agreed[:3]


def test_no_majority_halts(play: Play) -> None:
    with pytest.raises(HaltedError, match="equal votes for a model"):
        play(faults=Faults(garbling=frozenset({EdgeServerId(2), EdgeServerId(3)})))


@pytest.mark.parametrize(
    ("policy", "outcome", "arrived"),
    [("drop", "merged", 4), ("void", "void: 1 of 5 missing", 4), ("wait", "merged", 4)],
)
def test_round_policies(play: Play, policy: str, outcome: str, arrived: int) -> None:
    """A vehicle drives away with the model."""
    everybody = play()
    gone = VehicleId(everybody.records[0].cohort.vehicles[1])
    played = play(faults=Faults(gone=frozenset({gone})), overrides={"round.policy": policy, "task.rounds": 1})
    record = played.records[0]
    assert record.outcome == outcome
    assert len(record.arrivals.updates) == arrived
    waited = record.arrivals.now - record.cohort.started
    assert waited == seconds(300.0 if policy == "wait" else 30.0)


def test_nobody_finishes_keeps_the_model(play: Play) -> None:
    everybody = frozenset(VehicleId(i) for i in range(9))
    played = play(faults=Faults(gone=everybody), overrides={"task.rounds": 2})
    assert [record.outcome for record in played.records] == ["kept: nobody finished"] * 2
    models = {record.settled.merged.model for record in played.records}
    assert models == {played.records[0].cohort.model}


def test_nobody_eligible_keeps_the_model(play: Play) -> None:
    played = play(
        overrides={"trust.rho_min": 0.9, "trust.start": 0.5, "trust.probation_slots": 0, "task.rounds": 2}
    )
    assert [record.outcome for record in played.records] == ["kept: nobody eligible"] * 2


def test_every_update_invalid_keeps_the_model(play: Play) -> None:
    played = play(overrides={"trust.threshold": 0.95, "task.rounds": 1})
    assert played.records[0].outcome == "kept: every update invalid"
    assert played.final.model == played.records[0].cohort.model
    assert sum(played.records[0].settled.paid.values()) == 0


@pytest.mark.parametrize(
    ("overrides", "reason", "rounds"),
    [
        ({"task.rounds": 3}, "all rounds played", 3),
        ({"task.target_accuracy": 0.5}, "target accuracy reached", 1),
        ({"task.deadline_s": 1.0}, "deadline reached", None),
        ({"task.escrow_tokens": 25.0, "reward.pool_tokens": 10.0}, "escrow spent", 2),
    ],
)
def test_ends(play: Play, overrides: dict[str, object], reason: str, rounds: int | None) -> None:
    played = play(overrides=overrides)
    assert played.reason == reason
    if rounds is not None:
        assert len(played.records) == rounds


def test_a_silent_vehicle_on_probation_voids_nothing_and_blocks_nobody(play: Play) -> None:
    """Two vehicles are excluded, one of them is silent: rounds go on, and the other gets its turn."""
    overrides = {"round.policy": "void", "trust.penalty": 0.5, "task.rounds": 8, "round.participants": 3}
    free = play(overrides=overrides)
    excluded = [vehicle for record in free.records for vehicle in record.cohort.probation]
    assert len(set(excluded)) > 1
    silent = excluded[0]
    played = play(overrides=overrides, faults=Faults(gone=frozenset({silent}), since=3))
    late = [record for record in played.records if silent in record.cohort.probation]
    asked = {vehicle for record in played.records for vehicle in record.cohort.probation}
    assert late
    assert all(not record.outcome.startswith("void") for record in late)
    assert asked > {silent}


def test_edge_servers_take_the_model_from_the_chain(play: Play) -> None:
    """A coordinator that dispatches another model gets no vote for it: the base is the chain's."""
    honest = play(overrides={"task.rounds": 2})
    for record in honest.records[1:]:
        assert record.cohort.model == honest.records[0].settled.merged.model
    lied = play(overrides={"task.rounds": 2}, forged_base=True)
    assert [record.settled.merged.model for record in lied.records] == [
        record.settled.merged.model for record in honest.records
    ]

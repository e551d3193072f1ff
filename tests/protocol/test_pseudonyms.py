"""Task packets and changes of pseudonym in whole rounds: vehicles obey what was sealed to them."""

from pathlib import Path

import pytest
from tests.protocol.conftest import TOY, Play, begin, play_on

from platoon.drivers.lossy import Network
from platoon.ledger.audit import audit
from platoon.nouns import Digest, Instant, VehicleId, seconds
from platoon.protocol import peers
from platoon.protocol.effects import Listen, Received, Send, Train, Unseal
from platoon.protocol.messages import COORDINATOR, Message, RefusalReply, TrainRequest, vehicle_peer
from platoon.protocol.round_records import RoundRecord
from platoon.records.sealed import TaskOrder
from platoon.scenario import Scenario


def test_changed_packets_are_refused_and_asked_again(play: Play) -> None:
    perfect, changed = play(), play(network=Network(seed=3, change=0.5))
    assert changed.agreed == perfect.agreed
    assert changed.final.now > perfect.final.now


def test_a_packet_that_never_arrives_unchanged_is_a_named_refusal(tmp_path: Path) -> None:
    scenario = Scenario.from_table(TOY, {"task.rounds": 1})
    parts, state = begin(scenario, tmp_path / "toy.sqlite", Network())
    parts.network = Network(seed=3, change=1.0)
    played = play_on(scenario, parts, state)
    record = played.records[0]
    assert record.outcome == "kept: nobody finished"
    assert set(record.arrivals.refused) == set(record.cohort.vehicles)
    reasons = ("bad signature", "for another task", "for another round", "for another receiver")
    for fault in record.arrivals.refused.values():
        assert fault.removeprefix("refused the task packet: ") in reasons


NETWORKS = [
    Network(),
    Network(seed=2, drop=0.2, repeat=0.3, delay=seconds(1.0)),
    Network(seed=2, drop=0.2, change=0.2),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_pseudonyms_change_nothing_but_accounts(play: Play, network: Network) -> None:
    """The same models, reputations and payments, under other accounts."""
    plain, renewed = play(), play(network=network, overrides={"trust.pseudonym_rounds": 2})
    assert [told(record) for record in renewed.records] == [told(record) for record in plain.records]
    assert renewed.chain.reputations().tolist() == plain.chain.reputations().tolist()
    assert renewed.chain.escrow_left() == plain.chain.escrow_left()
    seen = {vehicle for record in renewed.records for vehicle in record.cohort.vehicles}
    accounts = enumerate(zip(plain.chain.vehicles, renewed.chain.vehicles, strict=True))
    changed = {i for i, (old, new) in accounts if old != new}
    # An answer that arrives changed is not asked for again: its vehicle keeps its account until the next time.
    assert changed == seen if network.change == 0 else changed and changed <= seen


def told(record: RoundRecord) -> tuple[object, ...]:
    settled = record.settled
    return (settled.merged.model, settled.merged.weights, settled.paid)


def test_audit_knows_vehicles_under_every_pseudonym(play: Play, tmp_path: Path) -> None:
    played = play(overrides={"trust.pseudonym_rounds": 1})
    rounds = list(audit(tmp_path / "1.sqlite"))[1:]
    accounts: dict[int, list[bytes]] = {}
    reputation: dict[int, int] = {}
    for audited in rounds:
        for update in audited.updates:
            assert update.reputation_before == reputation.get(update.vehicle, 500_000)
            reputation[update.vehicle] = update.reputation_after
            accounts.setdefault(update.vehicle, []).append(update.address)
    assert max(len(names) for names in accounts.values()) > 1
    assert all(len(set(names)) == len(names) for names in accounts.values())
    assert [played.chain.reputations()[vehicle] for vehicle in reputation] == list(reputation.values())


def listen(steps, body, at=0):  # type: ignore[no-untyped-def]
    """The vehicle is told something; what it does then."""
    message = Message(sender=COORDINATOR, receiver=vehicle_peer(VehicleId(1)), body=body)
    return steps.send(Received(message=message, at=Instant(at)))


class Rules:
    """What a vehicle knows of its task."""

    task = Digest(b"\x01" * 32)
    coordinator = b"\x02" * 20


def replies(effect: object) -> list[object]:
    assert isinstance(effect, Send)
    return [message.body for message in effect.messages]


def test_a_vehicle_passes_over_nothing_because_of_a_forgery() -> None:
    steps = peers.vehicle(VehicleId(1), Rules())  # type: ignore[arg-type]
    assert next(steps) == Listen()
    # Somebody forges a request of a round far away.
    assert isinstance(listen(steps, TrainRequest(round=10**9, packet=b"forged")), Unseal)
    assert replies(steps.send("bad signature")) == [RefusalReply(round=10**9, reason="bad signature")]
    steps.send(None)
    # The genuine one of round 1 is obeyed nevertheless.
    effect = listen(steps, TrainRequest(round=1, packet=b"genuine"), at=5)
    assert isinstance(effect, Unseal)
    assert (effect.task, effect.round, effect.sender) == (Rules.task, 1, Rules.coordinator)
    order = TaskOrder(model=Digest(b"\x03" * 32), deadline=Instant(9))
    assert steps.send(order.encode()) == Train(round=1, vehicle=VehicleId(1), model=order.model)


def test_a_vehicle_does_not_train_after_the_deadline() -> None:
    steps = peers.vehicle(VehicleId(1), Rules())  # type: ignore[arg-type]
    next(steps)
    listen(steps, TrainRequest(round=1, packet=b"genuine"), at=9)
    order = TaskOrder(model=Digest(b"\x03" * 32), deadline=Instant(9))
    assert replies(steps.send(order.encode())) == [RefusalReply(round=1, reason="its deadline is over")]


def test_a_vehicle_refuses_what_is_no_order() -> None:
    steps = peers.vehicle(VehicleId(1), Rules())  # type: ignore[arg-type]
    next(steps)
    listen(steps, TrainRequest(round=1, packet=b"genuine"))
    assert replies(steps.send(b"renew")) == [RefusalReply(round=1, reason="an order of 5 bytes")]

"""How a task comes about: on any network the same request, answers and payments; who does not fit takes no part."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocol.conftest import TOY, Play, begin, play_on, publish_task, set_up

from platoon.drivers.assembly import purse_of, task_rules, task_terms
from platoon.drivers.event_loop import EventLoop
from platoon.drivers.lossy import Faults, LossyCarrier, Network, ToyParts
from platoon.errors import HaltedError
from platoon.ledger.audit import audit
from platoon.ledger.blocks import Result
from platoon.ledger.task_chain import TaskChain
from platoon.ledger.task_rules import describe_scenario
from platoon.nouns import EdgeServerId, Instant, VehicleId, seconds
from platoon.protocol import peers
from platoon.protocol.agreeing import TaskTerms, publisher
from platoon.protocol.effects import Received, SignAgreement, Stock, TakeStock
from platoon.protocol.messages import COORDINATOR, PUBLISHER, AnswerRequest, Message, Offer, ResponseReply
from platoon.protocol.methods import find_method
from platoon.protocol.publish import publish
from platoon.records.agreements import Opinion, Signed, TaskRequest, TaskResponse
from platoon.scenario import Scenario

SCENARIO = Scenario.from_table(TOY)
METHOD = find_method(SCENARIO.method)
MANY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(chain: TaskChain, name: str) -> object:
    return chain.ledger.read(chain.ledger.contracts.call("Agreements", name))[0]


def agreed(chain: TaskChain) -> tuple[object, ...]:
    """What everybody must agree on, whatever the network did."""
    names = ("request", "content", "samples", "budget", "spent", "joined", "responses")
    return (
        [read(chain, name) for name in names],
        chain.answered().tolist(),
        chain.escrow_left(),
        chain.sealing_left(),
    )


@pytest.fixture
def parts(tmp_path: Path) -> ToyParts:
    return set_up(SCENARIO, tmp_path / "toy.sqlite", Network())


def test_a_task_is_published(parts: ToyParts) -> None:
    """The publisher asks for what the scenario says, all join and answer, and its orders pay its whole budget."""
    assert (parts.chain.escrow_left(), parts.chain.sealing_left()) == (0, 0)
    publish_task(SCENARIO, parts)
    assert read(parts.chain, "content") == describe_scenario(SCENARIO)
    assert read(parts.chain, "joined") == 0b1111
    assert parts.chain.answered().all()
    assert parts.chain.escrow_left() == 1_000_000_000
    assert parts.chain.escrow_left() + parts.chain.sealing_left() == purse_of(SCENARIO, METHOD)
    assert read(parts.chain, "spent") == read(parts.chain, "budget") == purse_of(SCENARIO, METHOD)


@MANY
@given(
    seed=st.integers(0, 10_000),
    drop=st.floats(0.0, 0.3),
    repeat=st.floats(0.0, 0.5),
    change=st.floats(0.0, 0.3),
    delay=st.floats(0.0, 1.5),
)
def test_any_network_agrees_on_the_task(  # noqa: PLR0917
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    drop: float,
    repeat: float,
    change: float,
    delay: float,
) -> None:
    network = Network(seed=seed, drop=drop, repeat=repeat, change=change, delay=seconds(delay))
    folder = tmp_path_factory.mktemp("networks")
    perfect = set_up(SCENARIO, folder / "perfect.sqlite", Network())
    lossy = set_up(SCENARIO, folder / "lossy.sqlite", network)
    for each in (perfect, lossy):
        publish_task(SCENARIO, each)
    assert agreed(lossy.chain) == agreed(perfect.chain)


@pytest.mark.parametrize("fault", ["dead", "slow", "babbling"])
def test_a_tolerated_edge_server_does_not_stop_a_task(tmp_path: Path, fault: str) -> None:
    """The first leader is the one that fails: the next one brings everything."""
    faults = Faults(**{fault: frozenset({EdgeServerId(0)})}, since=0)
    parts = set_up(SCENARIO, tmp_path / "toy.sqlite", Network(), faults)
    publish_task(SCENARIO, parts)
    assert parts.chain.answered().all()
    assert read(parts.chain, "joined") == 0b1110
    assert parts.chain.escrow_left() == 1_000_000_000


def test_too_few_edge_servers_join(tmp_path: Path) -> None:
    faults = Faults(dead=frozenset({EdgeServerId(2), EdgeServerId(3)}), since=0)
    parts = set_up(SCENARIO, tmp_path / "toy.sqlite", Network(), faults)
    with pytest.raises(
        HaltedError, match="2 edge servers serve the task, 3 of 4 are needed; nothing is paid"
    ):
        publish_task(SCENARIO, parts)
    assert parts.chain.escrow_left() == 0


def test_a_vehicle_that_does_not_answer_takes_no_part(tmp_path: Path) -> None:
    """It is silent until the deadline; then the others begin, and it is never chosen, nor put on probation."""
    gone = Faults(gone=frozenset({VehicleId(4)}), since=0)
    parts, state = begin(SCENARIO, tmp_path / "toy.sqlite", Network(), gone)
    assert parts.chain.answered().tolist() == [i != 4 for i in range(9)]
    parts.faults = Faults()  # it is back, too late
    played = play_on(SCENARIO, parts, state)
    chosen = {vehicle for record in played.records for vehicle in record.cohort.vehicles}
    assert chosen == set(range(9)) - {4}


def test_a_vehicle_that_has_too_little_takes_no_part(tmp_path: Path) -> None:
    parts = set_up(SCENARIO, tmp_path / "toy.sqlite", Network())
    parts.samples = parts.samples.copy()
    parts.samples[[1, 7]] = 299
    publish_task(SCENARIO, parts)
    assert parts.chain.answered().tolist() == [i not in (1, 7) for i in range(9)]


def test_a_task_for_which_no_vehicle_has_enough(tmp_path: Path) -> None:
    parts = set_up(SCENARIO, tmp_path / "toy.sqlite", Network())
    parts.samples = parts.samples - 1
    with pytest.raises(
        HaltedError, match=r"no vehicle .* \(offers 299 samples, 300 are needed\); nothing is paid"
    ):
        publish_task(SCENARIO, parts)
    assert parts.chain.escrow_left() == 0


def test_offers_that_are_always_damaged_are_answered_by_nobody(tmp_path: Path) -> None:
    parts = set_up(SCENARIO, tmp_path / "toy.sqlite", Network(change=1.0))
    with pytest.raises(HaltedError, match="refused the offer: its content is not what was signed"):
        publish_task(SCENARIO, parts)


def test_a_deadline_that_is_too_short_to_bring_answers(tmp_path: Path) -> None:
    """Messages take up to two seconds, and vehicles may answer for half a one."""
    scenario = Scenario.from_table(TOY, {"task.answer_s": 0.5})
    parts = set_up(scenario, tmp_path / "toy.sqlite", Network(seed=3, delay=seconds(2.0)))
    with pytest.raises(HaltedError, match=r"PublishRequest \(refused the offer: its deadline is over"):
        publish_task(scenario, parts)


def test_the_same_round_after_a_restart(tmp_path: Path) -> None:
    """Who answered is on the ledger: a process that takes the task up again asks nobody."""
    gone = Faults(gone=frozenset({VehicleId(4)}), since=0)
    parts, _ = begin(SCENARIO, tmp_path / "toy.sqlite", Network(), gone)
    parts.chain.close()
    chain = TaskChain.open(
        tmp_path / "toy.sqlite",
        edge_servers=[parts.accounts[peer] for peer in sorted(parts.accounts) if peer.role == "edge server"],
        vehicles=[parts.accounts[peer].address for peer in sorted(parts.accounts) if peer.role == "vehicle"],
    )
    assert chain.answered().tolist() == [i != 4 for i in range(9)]
    chain.close()
    assert [audited.round for audited in audit(tmp_path / "toy.sqlite")] == [0]


# ---- who lies ----


class Crooked(LossyCarrier):
    """A carrier in whose world somebody signs something else, or says more than is true."""

    def __init__(self, parts: ToyParts, crime: str) -> None:
        super().__init__(parts)
        self._crime = crime

    def carry_out(self, actor, effect, now):
        if isinstance(effect, TakeStock) and effect.vehicle == 3:
            done = super().carry_out(actor, effect, now)
            return replace(done, answer=self._boast(done.answer))
        if isinstance(effect, SignAgreement) and isinstance(effect.agreement, TaskResponse):
            if self._crime == "another vehicle's key" and actor.number == 3:
                return super().carry_out(replace(actor, number=2), effect, now)
        elif isinstance(effect, SignAgreement) and self._crime == "another publisher":
            return super().carry_out(peers.vehicle_peer(VehicleId(0)), effect, now)
        return super().carry_out(actor, effect, now)

    def _boast(self, stock: Stock) -> Stock:
        mine = self._parts.accounts[peers.vehicle_peer(VehicleId(3))].address
        if self._crime == "self-praise":
            return replace(stock, opinions=(Opinion(subject=mine, reputation=10**6),))
        if self._crime == "too many opinions":
            many = tuple(Opinion(subject=bytes([i]) * 20, reputation=0) for i in range(1, 6))
            return replace(stock, opinions=many)
        return stock


def publish_crookedly(parts: ToyParts, crime: str, terms: TaskTerms | None = None) -> None:
    now = Instant(seconds(10.0))
    rules = task_rules(SCENARIO, METHOD, parts.chain, retry_s=2.0)
    terms = terms or task_terms(SCENARIO, METHOD, parts.chain, now)
    actors = peers.everybody(rules, parts.chain.calls) | {PUBLISHER: publisher(rules, terms)}
    EventLoop(Crooked(parts, crime), actors, now).run(publish(rules, now))


@pytest.mark.parametrize("crime", ["self-praise", "too many opinions", "another vehicle's key"])
def test_invalid_answers_leave_their_vehicle_out(parts: ToyParts, crime: str) -> None:
    publish_crookedly(parts, crime)
    assert parts.chain.answered().tolist() == [i != 3 for i in range(9)]


def test_invalid_publisher(parts: ToyParts) -> None:
    with pytest.raises(HaltedError, match=r"the publisher gives no OfferRequest \(bad signature\)"):
        publish_crookedly(parts, "another publisher")


def test_invalid_offer_of_another_task(parts: ToyParts) -> None:
    """The chain was set up for one description: nobody serves another under its name."""
    terms = task_terms(SCENARIO, METHOD, parts.chain, Instant(seconds(10.0)))
    with pytest.raises(HaltedError, match="describes another task"):
        publish_crookedly(parts, "", replace(terms, content=b"something else"))
    assert read(parts.chain, "request") == bytes(32)


def test_invalid_offer_to_a_vehicle_is_refused_by_name(parts: ToyParts) -> None:
    """Whoever forges an offer learns nothing of what vehicles have."""
    rules = task_rules(SCENARIO, METHOD, parts.chain)
    vehicle = peers.vehicle(VehicleId(0), replace(rules, publisher=parts.accounts[PUBLISHER].address))
    next(vehicle)
    forged = make_offer(parts)
    effect = vehicle.send(heard(AnswerRequest(round=0, offer=forged)))
    (message,) = effect.messages
    assert message.body.reason == "bad signature"
    assert not isinstance(message.body, ResponseReply)


def make_offer(parts: ToyParts):
    rules = task_rules(SCENARIO, METHOD, parts.chain)
    terms = task_terms(SCENARIO, METHOD, parts.chain, Instant(seconds(10.0)))
    request = TaskRequest(
        publisher=rules.publisher,
        content=describe_scenario(SCENARIO),
        vehicles=5,
        samples=0,
        cycles=1,
        deadline=terms.deadline,
        budget=0,
        serial=1,
    )
    return Offer(signed=Signed(agreement=request, signature=b"\x01" * 64 + b"\x1b"), content=terms.content)


def heard(body):
    message = Message(sender=COORDINATOR, receiver=peers.vehicle_peer(VehicleId(0)), body=body)
    return Received(message=message, at=Instant(seconds(10.0)))


def test_opinions_are_kept_and_move_nothing(play: Play) -> None:
    """Whatever vehicles thought of each other, rounds go by scores alone: reputations start where the rules say."""
    played = play(overrides={"task.rounds": 1})
    told = [e for block in played.chain.ledger.blocks() for e in responses(played.chain, block)]
    assert len(told) == 9
    assert any(said != 500_000 for e in told for said in e.values["reputations"])
    cohort = played.records[0].cohort
    assert cohort.reputations.tolist() == [500_000] * 9


def responses(chain: TaskChain, block):
    results = [Result.decode(receipt) for receipt in block.receipts]
    events = [chain.ledger.contracts.decode_log(log) for result in results for log in result.logs]
    return [event for event in events if event.name == "Responded"]

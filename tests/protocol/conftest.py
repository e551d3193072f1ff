"""A toy task: real contracts and signatures, integer updates, any network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from platoon.drivers.assembly import (
    OBSERVE_S,
    committee_rules,
    contract_rules,
    participants,
    purse_of,
    sample_counts,
    simulated_accounts,
    stake_of,
    task_rules,
    task_terms,
)
from platoon.drivers.event_loop import Carrier, EventLoop
from platoon.drivers.lossy import PARAMETERS, Faults, LossyCarrier, Network, ToyParts
from platoon.drivers.store import ModelStore
from platoon.drivers.tampering import Faulty, Tampering, TamperingCarrier
from platoon.learning.aggregators import resolve_aggregator
from platoon.ledger.task_chain import Connect, TaskChain
from platoon.nouns import Digest, EdgeServerId, Instant, VehicleId, seconds
from platoon.protocol import peers
from platoon.protocol.agreeing import publisher
from platoon.protocol.effects import CommitRound, Steps
from platoon.protocol.messages import PUBLISHER
from platoon.protocol.methods import find_method
from platoon.protocol.publish import publish
from platoon.protocol.round import play_round
from platoon.protocol.round_records import RoundRecord
from platoon.protocol.task import play_task
from platoon.protocol.task_rules import TaskRules, TaskState
from platoon.scenario import Scenario

NO_FAULTS = Faults()
NOBODY = Faulty()
TOY = {
    "name": "toy",
    "seed": 5,
    "fleet": {"vehicles": 9, "malicious_share": 0.34},
    "radio": {"rsus": 4},
    "round": {"participants": 5, "deadline_s": 30.0},
    "task": {"rounds": 4},
    "trust": {"threshold": 0.3},
    "committee": {"patience_s": 30.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A toy task that has been played."""

    chain: TaskChain
    records: list[RoundRecord]
    reason: str
    final: TaskState
    path: Path | None
    fates: dict[int, dict[EdgeServerId, str]]
    """By round: what became of tampered local blocks, as their edge servers know."""

    @property
    def agreed(self) -> tuple[object, ...]:
        """What all must agree on, whatever the network did: models, reputations, balances, escrow."""
        return (
            [record.settled.merged.model for record in self.records],
            self.chain.reputations().tolist(),
            self.chain.balances().tolist(),
            self.chain.escrow_left(),
        )


Play = Callable[..., Played]
Task = Callable[[TaskRules, TaskState], Steps[tuple[str, TaskState]]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Plays a toy task to its end."""
    count = 0

    def play_toy(  # noqa: PLR0917
        network: Network | None = None,
        faults: Faults | None = None,
        overrides: dict[str, object] | None = None,
        retry_s: float = 2.0,
        forged_base: bool = False,
        as_one: tuple[tuple[VehicleId, ...], ...] = (),
        faulty: Faulty = NOBODY,
    ) -> Played:
        nonlocal count
        count += 1
        scenario = Scenario.from_table(TOY, overrides)
        return play_scenario(
            scenario,
            tmp_path / f"{count}.sqlite",
            network or Network(),
            faults or Faults(),
            retry_s,
            task=lying_task if forged_base else play_task,
            as_one=as_one,
            faulty=faulty,
        )

    return play_toy


def play_scenario(
    scenario: Scenario,
    path: Path,
    network: Network,
    faults: Faults,
    retry_s: float,
    *,
    connect: Connect | None = None,
    task: Task = play_task,
    as_one: tuple[tuple[VehicleId, ...], ...] = (),
    faulty: Faulty = NOBODY,
) -> Played:
    parts, state = begin(scenario, path, network, faults, connect=connect)
    return play_on(scenario, replace(parts, as_one=as_one), state, retry_s, task, path, faulty=faulty)


def begin(
    scenario: Scenario,
    path: Path,
    network: Network,
    faults: Faults = NO_FAULTS,
    *,
    connect: Connect | None = None,
    retry_s: float = 2.0,
) -> tuple[ToyParts, TaskState]:
    """A task that was published."""
    parts = set_up(scenario, path, network, faults, connect=connect)
    now = publish_task(scenario, parts, retry_s)
    parts.chain.commit("")
    nobody = np.full(scenario.fleet.vehicles, -1, dtype=np.int64)
    model = parts.chain.model_digest(0)
    assert model is not None
    return parts, TaskState(round=1, now=now, model=model, accuracy=None, last_chosen=nobody)


def publish_task(scenario: Scenario, parts: ToyParts, retry_s: float = 2.0) -> Instant:
    """Has the task of a chain that is set up published; when that was done."""
    method, now = find_method(scenario.method), Instant(seconds(OBSERVE_S))
    rules = task_rules(scenario, method, parts.chain, retry_s=retry_s)
    terms = task_terms(scenario, method, parts.chain, now)
    actors = peers.everybody(rules, parts.chain.calls) | {PUBLISHER: publisher(rules, terms)}
    return EventLoop(LossyCarrier(parts), actors, now).run(publish(rules, now))


def set_up(
    scenario: Scenario,
    path: Path,
    network: Network,
    faults: Faults = NO_FAULTS,
    *,
    connect: Connect | None = None,
) -> ToyParts:
    """A chain that is set up, without a task yet."""
    method = find_method(scenario.method)
    accounts = simulated_accounts(scenario)
    store = ModelStore(f"memory://{path.as_posix()}")
    model = store.put(np.zeros(PARAMETERS, dtype=np.int32))
    chain = TaskChain.create(
        path,
        chain_id=scenario.ledger.chain_id,
        participants=participants(scenario, accounts),
        rules=contract_rules(scenario, method),
        model=model,
        probes=[Digest(bytes([1 + i]) * 32) for i in range(scenario.radio.rsus)] if method.judged else [],
        stake=stake_of(scenario),
        connect=connect,
        committee=committee_rules(scenario, method),
        purse=purse_of(scenario, method),
    )
    return ToyParts(
        seed=scenario.seed,
        accounts=accounts,
        chain=chain,
        store=store,
        samples=sample_counts(scenario),
        honest=np.arange(scenario.fleet.vehicles) % 3 != 0,
        network=network,
        faults=faults,
        aggregate=resolve_aggregator(scenario.aggregation, scenario.round.participants),
        patience=seconds(scenario.round.deadline_s),
    )


def lying_task(rules: TaskRules, state: TaskState) -> Steps[tuple[str, TaskState]]:
    """A coordinator that, from round 2 on, sends out a model of its own as if it were the task's."""
    for number in range(1, rules.rounds + 1):
        if number > 1:
            state = replace(state, model=Digest(bytes([7]) * 32))
        state, record = yield from play_round(rules, state)
        yield CommitRound(state=state, record=record)
    return "all rounds played", state


def reopen(scenario: Scenario, path: Path, parts: ToyParts, faults: Faults = NO_FAULTS) -> ToyParts:
    """The task after its process died: what was not committed is gone."""
    parts.chain.close()
    everybody = participants(scenario, parts.accounts)
    chain = TaskChain.open(path, edge_servers=everybody.edge_servers, vehicles=everybody.vehicles)
    return replace(parts, chain=chain, faults=faults)


def play_on(  # noqa: PLR0917
    scenario: Scenario,
    parts: ToyParts,
    state: TaskState,
    retry_s: float = 2.0,
    task: Task = play_task,
    path: Path | None = None,
    carrier: Callable[[ToyParts], Carrier] = LossyCarrier,
    faulty: Faulty = NOBODY,
) -> Played:
    """Plays a task to its end."""
    rules = task_rules(scenario, find_method(scenario.method), parts.chain, retry_s=retry_s)
    tampering = Tampering(faulty, rules, parts.chain)
    actors = tampering.corrupt(peers.everybody(rules, parts.chain.calls))
    fates: dict[int, dict[EdgeServerId, str]] = {}

    def watch() -> Steps[tuple[str, TaskState]]:
        """The task, with what becomes of tampered blocks written down at every commit, as a run does."""
        steps, answer = task(rules, state), None
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(effect, CommitRound):
                number = effect.record.cohort.round
                fates[number] = dict(tampering.fates(number))
            answer = yield effect

    loop = EventLoop(TamperingCarrier(carrier(parts), tampering), actors, state.now)
    reason, final = loop.run(watch())
    return Played(
        chain=parts.chain, records=parts.records, reason=reason, final=final, path=path, fates=fates
    )

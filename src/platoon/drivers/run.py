"""A whole run: build the parts, play the task, write what is left behind; or take a run up where it stopped.

Nothing is written before everything that a user can get wrong has been checked and built.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from platoon.drivers import datasets
from platoon.drivers.assembly import (
    OBSERVE_S,
    account_seed,
    admissions,
    attested_reputation,
    committee_rules,
    contract_rules,
    ledger_summary,
    participants,
    purse_of,
    sample_counts,
    selector_name,
    server_step,
    simulated_accounts,
    stake_of,
    task_rules,
    task_terms,
)
from platoon.drivers.attesting import attest
from platoon.drivers.checkpoint import checkpoint_name, load_checkpoint, save_checkpoint
from platoon.drivers.event_loop import EventLoop
from platoon.drivers.export import require_own_traffic
from platoon.drivers.keys import follow_pseudonyms
from platoon.drivers.locks import scratch_folder
from platoon.drivers.meter import Meter
from platoon.drivers.progress import Progress, Silent
from platoon.drivers.remote import connect_ledger
from platoon.drivers.rows import (
    Times,
    Truth,
    edge_server_rows,
    forecast_rows,
    practice_rows,
    round_row,
    update_rows,
    vehicle_rows,
)
from platoon.drivers.run_directory import RunDirectory, require_free
from platoon.drivers.simulated import MEASURE_EVERY, Parts, SimulatedCarrier
from platoon.drivers.stock import take_stocks
from platoon.drivers.store import ModelStore
from platoon.drivers.summary import Played, summarise
from platoon.drivers.tampering import Faulty, Tampering, TamperingCarrier
from platoon.drivers.verify import verify_run
from platoon.drivers.workers import TrainingPool
from platoon.errors import UserError, VerificationError
from platoon.learning.aggregators import resolve_aggregator
from platoon.learning.attacks.rules import check_attacks
from platoon.learning.scores import STUDY_SCORES, resolve_score
from platoon.learning.server_step import Moments
from platoon.ledger.contracts import compute_set_digest
from platoon.ledger.history import show_task
from platoon.ledger.task_chain import Connect, TaskChain
from platoon.nouns import Floats, Instant, to_ppm
from platoon.protocol import peers
from platoon.protocol.agreeing import publisher
from platoon.protocol.messages import PUBLISHER
from platoon.protocol.methods import find_method
from platoon.protocol.publish import publish
from platoon.protocol.round_records import RoundRecord
from platoon.protocol.task import play_task
from platoon.protocol.task_rules import TaskState
from platoon.records.typed_data import FORMAT
from platoon.scenario import Scenario
from platoon.twin.selectors import NEVER, STUDY_SELECTORS, find_selector
from platoon.twin.twin import Twin
from platoon.world.world import World

FORETOLD = "the selector was told what will happen"
TOLD = "the score was told which updates are false"
"""Of runs with an oracle; stand in their summaries and reports."""


def run_scenario(
    scenario: Scenario, out: Path, progress: Progress | None = None, *, replace: bool = False
) -> dict[str, Any]:
    """Run a scenario into the folder ``out``; returns its summary.

    ``replace`` removes what an attempt that never reached its first commit left there.

    Raises:
        UserError: something that the caller can put right; ``out`` is not made then.
        HaltedError: too few edge servers answered; ``resume_run`` goes on from the last round.
    """
    progress = progress or Silent()
    check_scenario(scenario)
    if replace and out.is_dir():
        with RunDirectory(out).hold() as directory:
            if not directory.has_begun:
                shutil.rmtree(out, ignore_errors=True)
    require_free(out)
    meter = Meter()
    progress.started(scenario.method, scenario.task.rounds, 0)
    with _machinery(scenario, out, meter, progress) as machinery:
        with meter.measure("start"):
            directory = RunDirectory.create(out, scenario)
        with directory, _session(scenario, directory, machinery, meter, progress) as session:
            try:
                return session.play(session.begin())
            except UserError:
                if session.rounds_played == 0:  # what cannot even begin leaves nothing behind
                    shutil.rmtree(out, ignore_errors=True)
                raise


def resume_run(path: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Go on with an interrupted run, from the start where nothing was committed; a finished one gives its summary.

    Raises:
        UserError: no run directory, a damaged one, or one that another process works in.
    """
    progress = progress or Silent()
    directory = RunDirectory.open(path)
    if (summary := directory.summary) is not None:
        return summary
    try:
        with directory.hold():
            if (summary := directory.summary) is not None:  # another process was at work, and has ended
                return summary
            if directory.has_begun:
                return _go_on(directory, progress)
        return run_scenario(directory.scenario, path, progress, replace=True)
    except VerificationError as error:
        raise UserError(f"{path}: the run directory is damaged: {error}") from None


def _go_on(directory: RunDirectory, progress: Progress) -> dict[str, Any]:
    scenario, meter = directory.scenario, Meter()
    with (
        _machinery(scenario, directory.path, meter, progress) as machinery,
        _session(scenario, directory, machinery, meter, progress) as session,
    ):
        state = session.take_up()
        progress.started(scenario.method, scenario.task.rounds, state.round - 1)
        return session.play(state)


def check_scenario(scenario: Scenario) -> None:
    """What can be checked of a scenario without building anything; raises ``UserError``."""
    method = find_method(scenario.method)
    selector = selector_name(scenario, method)
    find_selector(selector)
    if selector in STUDY_SELECTORS and scenario.roads.engine == "sumo":
        raise UserError(
            f"round.selector = {selector!r}: it is told the future, and SUMO's cannot be told; allowed with it: "
            "roads.engine = 'walker' or 'trace'"
        )
    resolve_score(scenario.trust.score)
    resolve_aggregator(scenario.aggregation, scenario.round.participants)
    check_attacks(scenario.fleet)
    datasets.load(scenario.task.data)
    require_own_traffic(scenario)


def find_study(scenario: Scenario) -> str | None:
    """Why the results of a scenario are no measure of a deployment, in words; None where they are."""
    method = find_method(scenario.method)
    told = [FORETOLD] if selector_name(scenario, method) in STUDY_SELECTORS else []
    told += [TOLD] if method.judged and scenario.trust.score in STUDY_SCORES else []
    return " and ".join(told) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machinery:
    """What a run is made with, before anything is written."""

    pool: TrainingPool
    world: World
    twin: Twin
    connect: Connect | None
    """To the network that keeps the ledger, where one does."""


@contextmanager
def _machinery(scenario: Scenario, out: Path, meter: Meter, progress: Progress) -> Iterator[_Machinery]:
    connect = connect_ledger(scenario, progress, out)
    with ExitStack() as stack:
        with meter.measure("start"):
            scratch = stack.enter_context(scratch_folder())
            progress.step(scenario.method, "starting traffic")
            world = World(scenario, scratch)
            stack.callback(world.close)
            _require_coverage(scenario, world)
            progress.step(scenario.method, "starting workers")
            pool = stack.enter_context(TrainingPool(scenario, datasets.load(scenario.task.data)))
            twin = Twin(scenario, world.road_map, world.rsus, world.processors.commercial)
        meter.report("start", pool.start_cpu_seconds)
        yield _Machinery(pool=pool, world=world, twin=twin, connect=connect)


def _require_coverage(scenario: Scenario, world: World) -> None:
    if not world.channel.serves_anybody:
        raise UserError(
            f"no vehicle in coverage: no RSU serves any road with radio.service_radius_m = "
            f"{scenario.radio.service_radius_m:g}, radio.carrier_ghz = {scenario.radio.carrier_ghz:g} and "
            f"radio.vehicle_dbm = {scenario.radio.vehicle_dbm:g}; allowed are values that serve some road"
        )


@contextmanager
def _session(
    scenario: Scenario, directory: RunDirectory, machinery: _Machinery, meter: Meter, progress: Progress
) -> Iterator["_Session"]:
    session = _Session(scenario, directory, machinery, meter, progress)
    try:
        yield session
    finally:
        session.close()


class _Session:
    """One run that is being played."""

    def __init__(
        self,
        scenario: Scenario,
        directory: RunDirectory,
        machinery: _Machinery,
        meter: Meter,
        progress: Progress,
    ) -> None:
        self._scenario = scenario
        self._method = find_method(scenario.method)
        self._directory = directory
        self._machinery = machinery
        self._meter = meter
        self._progress = progress
        self._store = ModelStore(directory.models, remember=4 * scenario.round.participants)
        self._accounts = simulated_accounts(scenario)
        self._chain: TaskChain | None = None
        self._moments: Moments | None = None
        self._tampering: Tampering | None = None
        self._before = {"wall": 0.0}

    @property
    def chain(self) -> TaskChain:
        """The task's chain, once it was started or opened."""
        assert self._chain is not None
        return self._chain

    def begin(self) -> TaskState:
        """Start the chain, let the twin watch, and commit the start."""
        self._progress.step(self._scenario.method, "deploying contracts")
        pool = self._machinery.pool
        with self._meter.measure("start"):
            model = self._store.put(pool.initial_model)
            judged = self._method.judged
            self._chain = TaskChain.create(
                self._directory.ledger,
                chain_id=self._scenario.ledger.chain_id,
                participants=participants(self._scenario, self._accounts),
                rules=contract_rules(self._scenario, self._method),
                model=model,
                probes=[pool.probe_digest(i) for i in range(self._scenario.radio.rsus)] if judged else [],
                stake=stake_of(self._scenario),
                connect=self._machinery.connect,
                committee=committee_rules(self._scenario, self._method),
                purse=purse_of(self._scenario, self._method),
                attested=attested_reputation(self._scenario),
                flag_penalty=to_ppm(self._scenario.plausibility.penalty),
            )
            served = self._watch()
            if self._scenario.trust.newcomers == "hybrid":
                self._admit_newcomers()
            now = self._publish(served)
            nobody = np.full(self._scenario.fleet.vehicles, NEVER, dtype=np.int64)
            state = TaskState(round=1, now=now, model=model, accuracy=None, last_chosen=nobody)
            self._commit(state)
            self._write_map()
        return state

    def _watch(self) -> Floats:
        """Let the twin observe the traffic; (N, R) share of the seconds in which each RSU served each vehicle."""
        world, fleet = self._machinery.world, np.arange(self._scenario.fleet.vehicles)
        served = np.zeros((len(fleet), self._scenario.radio.rsus))
        for _ in range(OBSERVE_S):
            world.advance(Instant(world.now + MEASURE_EVERY))
            self._machinery.twin.observe(world.measure())
            serving = world.serving()
            served[fleet[serving >= 0], serving[serving >= 0]] += 1.0 / OBSERVE_S
        return served

    def _publish(self, served: Floats) -> Instant:
        """The task's request, its responses and the first payments; all of it counts as the start."""
        self._progress.step(self._scenario.method, "publishing the task")
        world, samples = self._machinery.world, sample_counts(self._scenario)
        rules = task_rules(self._scenario, self._method, self.chain)
        terms = task_terms(self._scenario, self._method, self.chain, world.now)
        parts = self._parts()
        parts.meter = Meter()  # what it measures is within what is measured around it
        parts.stocks = take_stocks(world, self._accounts, samples, served)
        actors = peers.everybody(rules, self.chain.calls) | {PUBLISHER: publisher(rules, terms)}
        carrier = SimulatedCarrier(parts, world.now)
        return EventLoop(carrier, actors, world.now).run(publish(rules, world.now))

    def _admit_newcomers(self) -> None:
        """Every vehicle in service is attested; who passes starts above the others (eq. 13)."""
        world = self._machinery.world
        everybody = np.arange(self._scenario.fleet.vehicles)
        passed = attest(self._scenario, world, self._accounts, self.chain.task, everybody, round=0).passed
        signed = admissions(self.chain, self._accounts, passed, world.serving(), world.now)
        for receipt in self.chain.submit(signed, round=0, at=world.now) if signed else ():
            if not receipt.ok:
                raise ValueError(f"newcomers cannot be admitted: {receipt.error}")

    def take_up(self) -> TaskState:
        """Replay the ledger and load the checkpoint that its last commit names."""
        with self._meter.measure("start"):
            self._store.tidy()
            everybody = participants(self._scenario, self._accounts)
            self._chain = TaskChain.open(
                self._directory.ledger,
                edge_servers=everybody.edge_servers,
                vehicles=everybody.vehicles,
                connect=self._machinery.connect,
            )
            if self._chain.rules != contract_rules(self._scenario, self._method):
                raise UserError(f"{self._directory.path}/scenario.toml: was changed since the run began")
            follow_pseudonyms(account_seed(self._scenario), self._accounts, self._chain)
            folder = self._directory.checkpoint(self._chain.checkpoint or "")
            world, twin = self._machinery.world, self._machinery.twin
            state, self._moments, self._before = load_checkpoint(folder, world, twin)
        return state

    def play(self, state: TaskState) -> dict[str, Any]:
        """Play to the end and write the tables and the summary."""
        rules = task_rules(self._scenario, self._method, self.chain)
        tampering = self._tampering = Tampering(Faulty.draw(self._scenario), rules, self.chain)
        actors = tampering.corrupt(peers.everybody(rules, self.chain.calls))
        honest = SimulatedCarrier(self._parts(), state.now, state.former, self._moments)
        carrier = TamperingCarrier(honest, tampering)
        reason, final = EventLoop(carrier, actors, state.now).run(play_task(rules, state))
        summary = self._finish(reason, final)
        self._progress.ended(self._scenario.method, reason)
        return summary

    def _parts(self) -> Parts:
        pool = self._machinery.pool
        return Parts(
            scenario=self._scenario,
            accounts=self._accounts,
            world=self._machinery.world,
            twin=self._machinery.twin,
            chain=self.chain,
            pool=pool,
            store=self._store,
            samples=sample_counts(self._scenario),
            honest=~pool.malicious,
            bits=32 * len(pool.initial_model),
            score=self._scenario.trust.score,
            aggregate=resolve_aggregator(self._scenario.aggregation, self._scenario.round.participants),
            server=server_step(self._scenario),
            waits_for_chain=self._method.judged,
            commit=self._commit_round,
            meter=self._meter,
        )

    def _commit_round(
        self, state: TaskState, record: RoundRecord, truth: Truth, times: Times, moments: Moments | None
    ) -> None:
        with self._meter.measure("other"):
            name = checkpoint_name(record.cohort.round)
            row = round_row(record, truth, times, self.chain.head)
            updates = update_rows(record, truth, sample_counts(self._scenario))
            self._directory.write_part("rounds", name, row)
            self._directory.write_part("updates", name, updates)
            number, conduct = record.cohort.round, record.settled.conduct
            fates = {} if self._tampering is None else self._tampering.fates(number)
            tampered = {"tampered": [fates.get(row.edge_server) for row in conduct]}
            servers = {**edge_server_rows(number, conduct), **tampered}
            self._directory.write_part("edge_servers", name, servers)
            self._directory.write_part("forecasts", name, forecast_rows(record))
            practice = practice_rows(self._machinery.twin.take_marked())
            self._directory.write_part("practice", name, practice)
        self._commit(state, moments)
        self._progress.played(self._scenario.method, {key: values[0] for key, values in row.items()})

    def _commit(self, state: TaskState, moments: Moments | None = None) -> None:
        """Write the checkpoint, then make the ledger durable with its name: the commit point of the run."""
        name = checkpoint_name(state.round - 1)
        with self._meter.measure("other"):
            folder = self._directory.begin_checkpoint(name)
            world, twin = self._machinery.world, self._machinery.twin
            save_checkpoint(folder, state, moments, world, twin, self._spent())
        with self._meter.measure("ledger"):
            self.chain.commit(name)
        with self._meter.measure("other"):
            self._directory.keep_checkpoints({name})

    def _spent(self) -> dict[str, float]:
        now = {**self._meter.close(), "wall": self._meter.wall_seconds}
        return {part: self._before.get(part, 0.0) + value for part, value in now.items()}

    def _write_map(self) -> None:
        world = self._machinery.world
        self._directory.write_json(
            "map.json",
            {
                "bounds": [float(edge) for edge in world.bounds],
                "roads": [line.tolist() for line in world.road_map.polylines],
                "rsus": world.rsus.tolist(),
                "service_radius_m": self._scenario.radio.service_radius_m,
            },
        )

    def _finish(self, reason: str, state: TaskState) -> dict[str, Any]:
        """Make whole tables of the parts, and write the summary last: it marks a finished run."""
        self._progress.step(self._scenario.method, "writing tables")
        chain, directory = self.chain, self._directory
        names = [checkpoint_name(number) for number in range(1, chain.round)]
        directory.compact(names)
        rounds, updates = directory.read_columns("rounds"), directory.read_columns("updates")
        vehicles = vehicle_rows(updates, chain.reputations(), ~self._machinery.pool.malicious)
        directory.write_table("vehicles", vehicles)
        handling = self._machinery.pool.cpu_seconds() - self._meter.reported
        self._meter.report("other", handling)  # messages to and from the workers
        servers = directory.read_columns("edge_servers")
        spent = self._spent()
        wall = spent.pop("wall")
        self._progress.step(self._scenario.method, "verifying")
        found = verify_run(directory.path)
        summary = summarise(
            Played(
                scenario=self._scenario,
                rounds=rounds,
                vehicles=vehicles,
                updates=updates,
                edge_servers=servers,
                forecast=self._machinery.twin.report_card_in_full(),
                achieved_speed_kmh=self._machinery.world.achieved_speed_kmh,
                ledger=ledger_summary(chain, self._scenario.ledger.engine),
                contracts=compute_set_digest().hex(),
                format=FORMAT,
                model_digest=state.model.hex(),
                backdoor_success=self._machinery.pool.measure_backdoor(self._store.get(state.model)),
                cpu_seconds=spent,
                wall_seconds=wall,
                cases=show_task(directory.ledger)["cases"],
                block_faults=found["block_faults"],
                selector=selector_name(self._scenario, self._method),
                study=find_study(self._scenario),
                ended=reason,
            )
        )
        summary["ledger"]["verified"] = True
        directory.write_json("summary.json", summary)
        directory.remove_parts()
        directory.keep_checkpoints(set())
        return summary

    @property
    def rounds_played(self) -> int:
        """Rounds that are committed."""
        return self._chain.round - 1 if self._chain is not None else 0

    def close(self) -> None:
        """Close the ledger's file."""
        if self._chain is not None:
            self._chain.close()

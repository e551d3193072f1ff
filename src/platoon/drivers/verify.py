"""Verification of a whole run: the ledger's audit, and on top of it the models that the stored updates make.

Scores and updates are float work of whoever signed them and are taken as signed; everything after them is
recomputed: medians, verdicts, reputations, weights, rewards, votes, and the final model to the bit.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from platoon.drivers.assembly import contract_rules, participants, server_step, simulated_accounts
from platoon.drivers.rows import edge_server_rows
from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.store import SUFFIX, ModelStore, digest_of
from platoon.errors import UserError, VerificationError
from platoon.learning.aggregation import Aggregator, advance
from platoon.learning.aggregators import resolve_aggregator
from platoon.learning.server_step import Moments, ServerStep
from platoon.ledger.audit import AuditedRound, AuditedUpdate, audit
from platoon.ledger.block_faults import BlockFault, count_named, describe_faults
from platoon.ledger.contracts import compute_set_digest
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.model import read_rules
from platoon.ledger.task_rules import describe_scenario
from platoon.nouns import MILLION, Digest
from platoon.protocol.methods import find_method
from platoon.records.rules import WEIGHT_TOTAL, Rules
from platoon.records.typed_data import FORMAT


def verify_run(path: Path) -> dict[str, Any]:
    """Check a run, finished or not; returns what was found to be right.

    Raises:
        UserError: no run directory.
        VerificationError: the first thing that does not match.
    """
    directory = RunDirectory.open(path)
    scenario = directory.scenario
    if not directory.ledger.is_file():
        raise UserError(f"{path}: ledger.sqlite is missing")
    store = ModelStore(directory.models)
    tables = _Tables(directory) if directory.summary is not None else None
    aggregate = resolve_aggregator(scenario.aggregation, scenario.round.participants)
    verifier = _Verifier(store, tables, aggregate, server_step(scenario))
    for audited in audit(directory.ledger):
        verifier.take(audited)
    last = verifier.last
    if last is None:
        raise VerificationError("ledger.sqlite: holds no task")
    verifier.check_store()
    _check_scenario(directory, last)
    found = {
        "directory": str(path),
        "scenario": scenario.name,
        "method": scenario.method,
        "seed": scenario.seed,
        "rounds": last.round,
        "updates": verifier.updates,
        "blocks": last.blocks,
        "transactions": last.transactions,
        "local_blocks": verifier.local_blocks,
        "unsealed_blocks": verifier.unsealed,
        "forked": [int(server) for server in last.forks],
        "doubts": [fault.words for fault in verifier.faults],
        "block_faults": describe_faults(verifier.faults),
        "head": last.head.hex(),
        "model_digest": last.model.hex(),
        "paid_tokens": verifier.paid / MILLION,
        "escrow_left_tokens": last.escrow_left / MILLION,
    }
    if directory.summary is not None:
        with _damage_named("summary.json"):
            _check_summary(directory.summary, found)
    return found


def _check_scenario(directory: RunDirectory, last: AuditedRound) -> None:
    """Execute the same log in a fresh EVM (the audit recomputes what the rules give, this what contracts do), and
    hold the task that it sets up against the scenario beside it."""
    scenario = directory.scenario
    everybody = participants(scenario, simulated_accounts(scenario))
    ledger = EmbeddedLedger.open(directory.ledger)
    try:
        if ledger.head != last.head:
            raise VerificationError(f"executing the log ends at {ledger.head.hex()}, not {last.head.hex()}")
        if ledger.contracts.operator != everybody.operator.address:
            raise VerificationError("scenario.toml: the ledger's operator is not the one of this seed")
        parameters = ledger.read(ledger.contracts.call("Training", "parameters"))[0]
        given, expected = read_rules(parameters), contract_rules(scenario, find_method(scenario.method))
        for name in (field.name for field in fields(Rules)):
            if getattr(given, name) != getattr(expected, name):
                raise VerificationError(
                    f"scenario.toml: is not what the ledger was set up with ({name} is {getattr(expected, name)}, "
                    f"the ledger says {getattr(given, name)})"
                )
        content = ledger.read(ledger.contracts.call("Agreements", "content"))[0]
        if content != describe_scenario(scenario):
            raise VerificationError("scenario.toml: is not what the ledger's task request asks for")
    finally:
        ledger.close()


class _Verifier:
    """The fold over audited rounds."""

    def __init__(
        self, store: ModelStore, tables: "_Tables | None", aggregate: Aggregator, server: ServerStep
    ) -> None:
        self._store = store
        self._aggregate = aggregate
        self._server = server
        self._former: Digest | None = None
        self._moments: Moments | None = None
        self._tables = tables
        self._known = _Digests()
        self.last: AuditedRound | None = None
        self.updates = 0
        self.paid = 0
        self.local_blocks = 0
        self.unsealed = 0
        self.faults: list[BlockFault] = []

    def take(self, audited: AuditedRound) -> None:
        """Check one round: its updates are there, and make the model that was voted."""
        self._know(audited.model)
        model = self._store.get(audited.model_before)
        for update in audited.updates:
            self._know(update.digest)
            if len(self._store.get(update.digest)) != len(model):
                raise VerificationError(f"round {audited.round}: an update of another length than the model")
        self._check_merge(audited)
        if audited.round:
            self._former = audited.model_before
        if self._tables is not None and audited.round:
            with _damage_named("updates.parquet or edge_servers.parquet"):
                self._tables.check(audited)
        self.updates += len(audited.updates)
        self.paid += audited.paid
        self.last = audited
        self.local_blocks += len(audited.local_blocks)
        self.unsealed += sum(not local.block.sealed for local in audited.local_blocks)
        self.faults += audited.block_faults

    def _check_merge(self, audited: AuditedRound) -> None:
        merged = [update for update in audited.updates if update.weight]
        if not merged:
            if audited.round and audited.model != audited.model_before:
                raise VerificationError(f"round {audited.round}: nothing was merged, yet the model changed")
            return
        updates = np.stack([self._store.get(update.digest) for update in merged])
        weights = np.array([update.weight for update in merged], dtype=np.int64)
        before = self._store.get(audited.model_before)
        former = None if self._former is None else self._store.get(self._former)
        merge = advance(
            before,
            updates,
            weights,
            self._aggregate,
            server=self._server,
            former=former,
            moments=self._moments,
        )
        self._moments = merge.moments
        expected = self._store.digest(merge.model)
        if expected != audited.model:
            raise VerificationError(
                f"round {audited.round}: the recorded updates make model {expected.hex()}, "
                f"the edge servers voted {audited.model.hex()}"
            )

    def _know(self, digest: Digest) -> None:
        self._store.get(digest)
        self._known.add(digest)

    def check_store(self) -> None:
        """Every file is what its name says, also those of rounds that were interrupted; tables end here."""
        if self._tables is not None:
            self._tables.check_end()
        for name in self._store.names():
            if self._known.has_name(name):
                continue
            content = self._store.read(name)
            if name != f"{digest_of(content).hex()}{SUFFIX}":
                raise VerificationError(f"models/{name}: is not what its name says")


class _Digests:
    """A set of digests that does not grow in memory: SQLite keeps it in a passing file of its own."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE known (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")  # never ended: nothing of it is to last

    def add(self, digest: Digest) -> None:
        """Takes one more."""
        self._database.execute("INSERT OR IGNORE INTO known VALUES (?)", (digest,))

    def has_name(self, name: str) -> bool:
        """Whether a file is named by one of them."""
        try:
            digest = bytes.fromhex(name.removesuffix(SUFFIX))
        except ValueError:
            return False
        if name != f"{digest.hex()}{SUFFIX}":
            return False
        found = self._database.execute("SELECT 1 FROM known WHERE digest = ?", (digest,))
        return found.fetchone() is not None


def _check_summary(summary: dict[str, Any], found: dict[str, Any]) -> None:
    ledger, rewards = summary.get("ledger", {}), summary.get("rewards", {})
    claims = (
        ("scenario", summary.get("scenario"), found["scenario"]),
        ("method", summary.get("method"), found["method"]),
        ("seed", summary.get("seed"), found["seed"]),
        ("format", summary.get("format"), FORMAT),
        ("contracts", summary.get("contracts"), compute_set_digest().hex()),
        ("rounds", summary.get("rounds"), found["rounds"]),
        ("ledger.head", ledger.get("head"), found["head"]),
        ("ledger.blocks", ledger.get("blocks"), found["blocks"]),
        ("ledger.transactions", ledger.get("transactions"), found["transactions"]),
        ("ledger.local_blocks", ledger.get("local_blocks"), found["local_blocks"]),
        ("ledger.unsealed_blocks", ledger.get("unsealed_blocks"), found["unsealed_blocks"]),
        ("tampering.named", summary.get("tampering", {}).get("named"), count_named(found["block_faults"])),
        ("model_digest", summary.get("model_digest"), found["model_digest"]),
        ("rewards.paid", _micro(rewards.get("paid")), _micro(found["paid_tokens"])),
        ("rewards.escrow_left", _micro(rewards.get("escrow_left")), _micro(found["escrow_left_tokens"])),
    )
    _compare("summary.json", claims)


class _Tables:
    """The tables of a finished run, read beside the ledger, a round at a time: they say what it says."""

    def __init__(self, directory: RunDirectory) -> None:
        self._rows = {
            name: _RowsByRound(name, directory.read_rows(name)) for name in ("updates", "edge_servers")
        }

    def check(self, audited: AuditedRound) -> None:
        """Check the rows of one round."""
        known = {update.vehicle: update for update in audited.updates}
        for row in self._rows["updates"].take(audited.round):
            where = f"updates.parquet, round {audited.round}, vehicle {row['vehicle']}"
            update = known.pop(row["vehicle"], None)
            expected = {"weight": 0.0, "reward": 0.0} if update is None else _update_cells(update)
            _compare(where, [(name, row[name], value) for name, value in expected.items()])
        if known:
            raise VerificationError(
                f"updates.parquet: round {audited.round}, vehicle {next(iter(known))} is missing"
            )
        self._check_edge_servers(audited)

    def _check_edge_servers(self, audited: AuditedRound) -> None:
        columns = edge_server_rows(audited.round, audited.edge_servers)
        rows = self._rows["edge_servers"].take(audited.round)
        where = f"edge_servers.parquet, round {audited.round}"
        _compare(where, [("number of rows", len(rows), len(audited.edge_servers))])
        for i, row in enumerate(rows):
            place = f"{where}, edge server {columns['edge_server'][i]}"
            _compare(place, [(name, row[name], values[i]) for name, values in columns.items()])

    def check_end(self) -> None:
        """No row is left."""
        for rows in self._rows.values():
            rows.check_end()


def _update_cells(update: AuditedUpdate) -> dict[str, Any]:
    return {
        "samples": update.samples,
        "weight": update.weight / WEIGHT_TOTAL,
        "reputation_before": update.reputation_before / MILLION,
        "reputation_after": update.reputation_after / MILLION,
        "reward": update.reward / MILLION,
        "valid": update.valid,
    }


class _RowsByRound:
    """A table in the order of its rounds."""

    def __init__(self, name: str, rows: Iterator[dict[str, Any]]) -> None:
        self._name = name
        self._rows = rows
        self._next = next(rows, None)

    def take(self, round_number: int) -> list[dict[str, Any]]:
        """The rows of the round, which is the next one."""
        taken = []
        while self._next is not None and self._next["round"] == round_number:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken

    def check_end(self) -> None:
        """No row is left; one that is stands out of order, or is of a round that the ledger does not have."""
        if self._next is not None:
            raise VerificationError(
                f"{self._name}.parquet: a row of round {self._next['round']} has no place"
            )


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """A value of another type, or a column that is missing, is damage too."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise VerificationError(f"{what}: damaged ({type(error).__name__}: {error})") from None


def _compare(where: str, claims: Iterable[Sequence[Any]]) -> None:
    for name, claimed, true in claims:
        if claimed != true:
            raise VerificationError(f"{where}: {name} is {claimed}, the ledger says {true}")


def _micro(tokens: float | None) -> int | None:
    return None if tokens is None else round(tokens * MILLION)

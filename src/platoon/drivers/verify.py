"""Verification of a whole run: the ledger's audit, and on top of it the models that the stored updates make.

Scores and updates are float work of whoever signed them and are taken as signed; everything after them is
recomputed: medians, verdicts, reputations, weights, rewards, votes, and the final model to the bit.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.store import SUFFIX, ModelStore, digest_of
from platoon.errors import UserError, VerificationError
from platoon.learning.aggregation import merge
from platoon.ledger.audit import AuditedLocalBlock, AuditedRound, AuditedUpdate, audit
from platoon.ledger.engine import EmbeddedLedger
from platoon.nouns import MILLION, Digest
from platoon.records.rules import WEIGHT_TOTAL


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
    verifier = _Verifier(store)
    for audited in audit(directory.ledger):
        verifier.take(audited)
    last = verifier.last
    if last is None:
        raise VerificationError("ledger.sqlite: holds no task")
    verifier.check_store()
    _replay(directory.ledger, last)
    found = {
        "directory": str(path),
        "scenario": scenario.name,
        "method": scenario.method,
        "rounds": last.round,
        "updates": verifier.updates,
        "blocks": last.blocks,
        "transactions": last.transactions,
        "local_blocks": verifier.local_blocks,
        "unsealed_blocks": verifier.unsealed,
        "forked": [int(server) for server in last.forks],
        "doubts": verifier.doubts,
        "head": last.head.hex(),
        "model_digest": last.model.hex(),
        "paid_tokens": verifier.paid / MILLION,
        "escrow_left_tokens": last.escrow_left / MILLION,
    }
    if directory.summary is not None:
        _check_summary(directory.summary, found)
        _check_table(directory, verifier.rows)
    return found


def _replay(path: Path, last: AuditedRound) -> None:
    """Execute the same log in a fresh EVM: the audit recomputes what the rules give, this what contracts do."""
    ledger = EmbeddedLedger.open(path)
    try:
        if ledger.head != last.head:
            raise VerificationError(f"executing the log ends at {ledger.head.hex()}, not {last.head.hex()}")
    finally:
        ledger.close()


class _Verifier:
    """The fold over audited rounds."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._known: set[str] = set()
        self.last: AuditedRound | None = None
        self.updates = 0
        self.paid = 0
        self.local_blocks = 0
        self.unsealed = 0
        self.doubts: list[str] = []
        self.rows: dict[tuple[int, int], AuditedUpdate] = {}

    def take(self, audited: AuditedRound) -> None:
        """Check one round: its updates are there, and make the model that was voted."""
        self._know(audited.model)
        model = self._store.get(audited.model_before)
        for update in audited.updates:
            self._know(update.digest)
            if len(self._store.get(update.digest)) != len(model):
                raise VerificationError(f"round {audited.round}: an update of another length than the model")
            self.rows[audited.round, update.vehicle] = update
        self._check_merge(audited)
        self.updates += len(audited.updates)
        self.paid += audited.paid
        self.last = audited
        for local in audited.local_blocks:
            self._take_local(local)

    def _take_local(self, local: AuditedLocalBlock) -> None:
        """Count a local block, and name what its edge server did otherwise than the rules say."""
        block = local.block
        self.local_blocks += 1
        self.unsealed += not block.sealed
        where = f"round {block.round}, edge server 0x{block.edge_server.hex()}"
        if not local.is_recorded:
            self.doubts.append(f"{where}: its local block is not what it recorded")
        if not local.is_drawn:
            self.doubts.append(f"{where}: its committee is not the one that was drawn")

    def _check_merge(self, audited: AuditedRound) -> None:
        merged = [update for update in audited.updates if update.weight]
        if not merged:
            if audited.round and audited.model != audited.model_before:
                raise VerificationError(f"round {audited.round}: nothing was merged, yet the model changed")
            return
        updates = np.stack([self._store.get(update.digest) for update in merged])
        weights = np.array([update.weight for update in merged], dtype=np.int64)
        expected = self._store.digest(merge(self._store.get(audited.model_before), updates, weights))
        if expected != audited.model:
            raise VerificationError(
                f"round {audited.round}: the recorded updates make model {expected.hex()}, "
                f"the edge servers voted {audited.model.hex()}"
            )

    def _know(self, digest: Digest) -> None:
        self._store.get(digest)
        self._known.add(f"{digest.hex()}{SUFFIX}")

    def check_store(self) -> None:
        """Every file is what its name says, also those of rounds that were interrupted."""
        for name in self._store.names():
            if name in self._known:
                continue
            content = self._store.read(name)
            if name != f"{digest_of(content).hex()}{SUFFIX}":
                raise VerificationError(f"models/{name}: is not what its name says")


def _check_summary(summary: dict[str, Any], found: dict[str, Any]) -> None:
    ledger, rewards = summary.get("ledger", {}), summary.get("rewards", {})
    claims = (
        ("rounds", summary.get("rounds"), found["rounds"]),
        ("ledger.head", ledger.get("head"), found["head"]),
        ("ledger.blocks", ledger.get("blocks"), found["blocks"]),
        ("ledger.transactions", ledger.get("transactions"), found["transactions"]),
        ("ledger.local_blocks", ledger.get("local_blocks"), found["local_blocks"]),
        ("ledger.unsealed_blocks", ledger.get("unsealed_blocks"), found["unsealed_blocks"]),
        ("model_digest", summary.get("model_digest"), found["model_digest"]),
        ("rewards.paid", _micro(rewards.get("paid")), _micro(found["paid_tokens"])),
        ("rewards.escrow_left", _micro(rewards.get("escrow_left")), _micro(found["escrow_left_tokens"])),
    )
    _compare("summary.json", claims)


def _check_table(directory: RunDirectory, rows: dict[tuple[int, int], AuditedUpdate]) -> None:
    """The table of updates says what the ledger says."""
    table = directory.read_columns("updates")
    names = ("samples", "weight", "reputation_before", "reputation_after", "reward", "valid")
    for number, vehicle, *values in zip(
        table["round"], table["vehicle"], *(table[name] for name in names), strict=True
    ):
        update = rows.pop((number, vehicle), None)
        where = f"updates.parquet, round {number}, vehicle {vehicle}"
        if update is None:
            _compare(where, [("weight", values[1], 0.0), ("reward", values[4], 0.0)])
            continue
        expected = (
            update.samples,
            update.weight / WEIGHT_TOTAL,
            update.reputation_before / MILLION,
            update.reputation_after / MILLION,
            update.reward / MILLION,
            update.valid,
        )
        _compare(where, list(zip(names, values, expected, strict=True)))
    if rows:
        number, vehicle = next(iter(rows))
        raise VerificationError(f"updates.parquet: round {number}, vehicle {vehicle} is missing")


def _compare(where: str, claims: Iterable[Sequence[Any]]) -> None:
    for name, claimed, true in claims:
        if claimed != true:
            raise VerificationError(f"{where}: {name} is {claimed}, the ledger says {true}")


def _micro(tokens: float | None) -> int | None:
    return None if tokens is None else round(tokens * MILLION)

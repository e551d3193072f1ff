"""A finished run directory with a long record, made without traffic and without training.

    python -m bench.long_run write FOLDER BLOCKS
    python -m bench.long_run verify FOLDER

One edge server, one vehicle and models of four numbers, so that a block costs a millisecond; everything that
``platoon verify`` checks is there: updates, scores, votes, anchored local blocks, payments, models, tables.
``verify`` prints the peak of its memory in MiB and its CPU seconds.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platoon.drivers.assembly import (
    attested_reputation,
    committee_rules,
    contract_rules,
    ledger_summary,
    participants,
    sealing_budget,
    simulated_accounts,
    stake_of,
)
from platoon.drivers.rows import edge_server_rows
from platoon.drivers.run_directory import RunDirectory
from platoon.drivers.store import ModelStore
from platoon.drivers.tables import SCHEMAS
from platoon.drivers.verify import verify_run
from platoon.learning.aggregation import merge
from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.contracts import compute_set_digest
from platoon.ledger.task_chain import Call, RecordedUpdate, TaskChain
from platoon.ledger.task_rules import describe_scenario
from platoon.nouns import MILLION, Digest, Instant, Tokens, to_ppm
from platoon.protocol.methods import find_method
from platoon.records.agreements import Signed, TaskRequest, sign_agreement
from platoon.records.local_block import make_local_block
from platoon.records.rules import WEIGHT_TOTAL
from platoon.records.signing import Account, sign_update
from platoon.records.typed_data import FORMAT
from platoon.scenario import Scenario

STEPS = 6
"""Blocks of a round: record, anchor, score, judge, vote, settle."""
COMMITTED = 25
"""Rounds of a commit: what is measured is reading, and the disk would be most of the writing."""
BATCH = 500
"""Rounds of a row group of the tables."""


def write(folder: Path, blocks: int) -> None:
    """A run directory with so many blocks, or a few less."""
    _LongRun(folder, (blocks - 1) // STEPS).write()


class _LongRun:
    """The making of it."""

    def __init__(self, folder: Path, rounds: int) -> None:
        given: dict[str, Any] = {
            "name": "long",
            "task": {"rounds": rounds, "escrow_tokens": 10_000.0},
            "fleet": {"vehicles": 1, "attack": "none"},
            "radio": {"rsus": 1},
            "round": {"participants": 1},
        }
        self.scenario = Scenario.model_validate(given)
        self.method = find_method(self.scenario.method)
        self.accounts = simulated_accounts(self.scenario)
        everybody = participants(self.scenario, self.accounts)
        self.server = everybody.edge_servers[0]
        self.vehicle = next(
            account for account in self.accounts.values() if account.address in everybody.vehicles
        )
        self.directory = RunDirectory.create(folder, self.scenario)
        self.store = ModelStore(self.directory.models)
        self.model = np.zeros(4, dtype=np.int32)
        self.paid = 0
        self.chain = TaskChain.create(
            self.directory.ledger,
            chain_id=self.scenario.ledger.chain_id,
            participants=everybody,
            rules=contract_rules(self.scenario, self.method),
            model=self.store.put(self.model),
            escrow=Tokens(to_ppm(self.scenario.task.escrow_tokens)),
            probes=[Digest(b"\x07" * 32)],
            stake=stake_of(self.scenario),
            committee=committee_rules(self.scenario, self.method),
            sealing=sealing_budget(self.scenario, self.method),
            attested=attested_reputation(self.scenario),
        )
        self.publish(everybody.publisher)
        self.chain.commit("round 0")

    def publish(self, publisher: Account) -> None:
        """The publisher's request, which names the scenario."""
        request = TaskRequest(
            publisher=publisher.address,
            content=describe_scenario(self.scenario),
            vehicles=1,
            samples=1,
            cycles=1,
            deadline=Instant(1),
            budget=0,
            serial=1,
        )
        signed = Signed(agreement=request, signature=sign_agreement(publisher, self.chain.registry, request))
        self.send(0, AgreementCalls(contracts=self.chain.ledger.contracts).publish(Instant(0), signed))

    def write(self) -> None:
        """Every round, and what a finished run leaves."""
        tables = {name: _Table(self.directory.path, name) for name in ("updates", "edge_servers")}
        for number in range(1, self.scenario.task.rounds + 1):
            update = self.play(number)
            tables["updates"].add(_describe(number, update))
            rows = edge_server_rows(number, self.chain.conduct(number))
            tables["edge_servers"].add({name: values[0] for name, values in rows.items()})
        for table in tables.values():
            table.close()
        self.directory.write_json("summary.json", self.summarise())
        self.chain.close()

    def play(self, number: int) -> RecordedUpdate:
        """One round of a single vehicle; its update as it was settled."""
        chain, calls = self.chain, self.chain.calls
        step = np.array([number, -number, number % 7, 1], dtype=np.int32)
        signed = sign_update(
            self.vehicle, chain.task, round=number, digest=self.store.put(step), samples=1 + number % 200
        )
        self.send(number, calls.record(number, [signed]))
        (tip,) = chain.local_tips()
        block = make_local_block(
            task=chain.task,
            edge_server=self.server.address,
            height=tip.height + 1,
            round=number,
            parent=tip.digest,
            updates=[signed],
        )
        self.send(number, calls.anchor(block, [self.server.address], [self.server.sign(block.digest)]))
        self.send(number, calls.score(number, chain.updates(number), [900_000], MILLION))
        self.send(number, calls.judge(number))
        self.model = merge(self.model, step[None, :], np.array([WEIGHT_TOTAL], dtype=np.int64))
        self.send(number, calls.vote(number, self.store.put(self.model)))
        self.send(number, calls.settle(number))
        if number % COMMITTED == 0 or number == self.scenario.task.rounds:
            chain.commit(f"round {number}")
        (update,) = chain.updates(number)
        self.paid += update.reward
        return update

    def send(self, number: int, call: Call) -> None:
        """One call of the edge server as a block of its own."""
        (receipt,) = self.chain.submit([self.chain.sign(self.server, call)], round=number, at=Instant(number))
        assert receipt.ok, receipt

    def summarise(self) -> dict[str, Any]:
        """What ``platoon verify`` compares with the ledger."""
        rewards = {"paid": self.paid / MILLION, "escrow_left": self.chain.escrow_left() / MILLION}
        return {
            "scenario": self.scenario.name,
            "method": self.scenario.method,
            "seed": self.scenario.seed,
            "format": FORMAT,
            "contracts": compute_set_digest().hex(),
            "rounds": self.scenario.task.rounds,
            "ledger": ledger_summary(self.chain, "embedded"),
            "tampering": {"named": {}},  # its one edge server is honest
            "model_digest": self.store.digest(self.model).hex(),
            "rewards": rewards,
        }


def _describe(number: int, update: RecordedUpdate) -> dict[str, Any]:
    assert update.reputation_after is not None  # it is settled
    return {
        "round": number,
        "vehicle": update.vehicle,
        "edge_server": update.edge_server,
        "samples": update.samples,
        "arrived": True,
        "valid": update.valid,
        "weight": 1.0,
        "reputation_before": update.reputation_before / MILLION,
        "reputation_after": update.reputation_after / MILLION,
        "reward": update.reward / MILLION,
    }


class _Table:
    """A table of a run directory, written in row groups."""

    def __init__(self, folder: Path, name: str) -> None:
        self._schema = SCHEMAS[name]
        self._writer = pq.ParquetWriter(folder / f"{name}.parquet", self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """One more row; what it does not name stays empty."""
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._flush()

    def close(self) -> None:
        """The file is whole."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def verify(folder: Path) -> str:
    """Peak MiB and CPU seconds of ``platoon verify``, and how many blocks it found."""
    found = verify_run(folder)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return f"{peak} {time.process_time()} {found['blocks']}"


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(verify(Path(sys.argv[2])))

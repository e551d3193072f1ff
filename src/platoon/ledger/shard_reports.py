"""What a task chain (a shard) says of its vehicles, for its edge servers to sign and the main chain to take.

An edge server signs what it has checked itself: reports are read from the state that the audit of its own copy of
the ledger leads to (``ledger.audit.audit_state``), not from what somebody says about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from platoon.ledger.model import Model
from platoon.nouns import Address, Digest
from platoon.records.shards import (
    MAX_ROWS,
    Reputation,
    Row,
    compute_evidence,
    compute_report_digest,
    pack_row,
)
from platoon.records.signing import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingsReport:
    """What a shard says of some of its vehicles; every edge server that signs makes the same."""

    task: Digest
    """Of the shard."""
    round: int
    """The last that is settled."""
    rows: tuple[Row, ...]
    """Ascending by vehicle, 128 at most."""

    @property
    def words(self) -> tuple[int, ...]:
        """A word per vehicle."""
        return tuple(pack_row(row) for row in self.rows)

    @property
    def digest(self) -> Digest:
        """What is signed."""
        return compute_report_digest(self.task, self.round, self.words)

    def sign(self, edge_server: Account) -> bytes:
        """One edge server's seal."""
        return edge_server.sign(self.digest)


def list_names(shard: Model) -> dict[Address, Address]:
    """The account under which each vehicle of a shard was registered, by itself: the names of a main chain on which
    every vehicle goes on under the account that it first had."""
    first: dict[int, Address] = {}
    for account, number in shard.registry.vehicles.items():
        first.setdefault(number, account)
    return {account: account for account in first.values()}


def read_reports(shard: Model, names: Mapping[Address, Address]) -> list[StandingsReport]:
    """What a shard says of the vehicles that it has judged, as few reports as it takes.

    It stands for the last settled round; a flag or an appeal since is in it. Edge servers whose ledgers are at
    different blocks may read different ones, and their seals then do not belong to one report.

    Args:
        shard: its state.
        names: by the account that a vehicle uses on the main chain, any account that it has or had on the shard.

    Raises:
        ValueError: no round is settled yet.
    """
    settled = shard.training.open.round - 1
    if settled < 1:
        raise ValueError("no round is settled yet")
    rows = tuple(_list_rows(shard, names))
    return [
        StandingsReport(task=shard.training.task, round=settled, rows=rows[i : i + MAX_ROWS])
        for i in range(0, len(rows), MAX_ROWS)
    ]


def _list_rows(shard: Model, names: Mapping[Address, Address]) -> Iterator[Row]:
    training = shard.training
    for name, account in sorted(names.items()):
        number = shard.registry.vehicles.get(account)
        if number is None or number not in training.reputations:
            continue
        evidence = compute_evidence(training.rules, training.gathered.get(number, 0))
        yield Row(name, Reputation(training.reputations[number], evidence))

"""Whether a live chain has what a ledger's file says it has.

``audit`` checks the file by itself and needs no network. This is the other half for a run on one: every transaction
of the log is in the chain, in the log's order, with the log's outcome and events, and nobody else has changed the
task's contracts in between. It streams: a few hundred blocks of the chain are in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from platoon.errors import VerificationError
from platoon.ledger.blocks import Block, Result
from platoon.ledger.chain_log import ChainLog
from platoon.ledger.contracts import ContractSet
from platoon.ledger.courier import Courier
from platoon.ledger.node import ChainReceipt
from platoon.nouns import Address, Digest
from platoon.records.encoding import keccak
from platoon.records.transactions import decode_transaction

WINDOW = 256
"""Blocks of the chain whose events are asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChain:
    """What was found to be right."""

    chain_id: int
    blocks: int
    """Of the log."""
    transactions: int
    first: int
    """Block of the chain with the log's first transaction."""
    last: int


class _Place(NamedTuple):
    """Where a transaction of the log stands in the chain."""

    number: int
    """Of its block."""
    place: int
    """In the block."""


def check_chain(path: Path, courier: Courier) -> CheckedChain:
    """Compare a ledger's file with the chain that a node shows.

    Raises:
        VerificationError: the first thing that differs: block, transaction, what.
        UserError: the node does not answer, or has another chain id.
        HaltedError: the node stopped answering.
    """
    log = ChainLog(path, create=False)
    try:
        first = next(log.blocks(), None)
        if first is None:
            raise VerificationError(f"{path}: an empty ledger")
        courier.greet(first.header.chain_id)
        check = _Check(courier, _read_contracts(first))
        for block in log.blocks():
            check.take(block)
        check.end()
    finally:
        log.close()
    return CheckedChain(
        chain_id=first.header.chain_id,
        blocks=check.blocks,
        transactions=check.transactions,
        first=check.first,
        last=check.last.number,
    )


def _read_contracts(block: Block) -> tuple[Address, ...]:
    """The addresses of the task's contracts: its first transaction is the operator's."""
    try:
        operator = decode_transaction(block.transactions[0]).sender
    except (ValueError, IndexError) as error:
        raise VerificationError(f"block 0, transaction 0: {error}") from None
    return tuple(ContractSet(operator).addresses.values())


class _Check:
    """The fold over the log's blocks."""

    def __init__(self, courier: Courier, contracts: tuple[Address, ...]) -> None:
        self.blocks = self.transactions = self.first = 0
        self.last = _Place(-1, -1)
        self._courier = courier
        self._contracts = contracts
        self._known: dict[Digest, int] = {}
        """Transactions of the log by hash, and their blocks of the chain, as far as these are not compared yet."""
        self._asked = 0
        """The first block of the chain whose events are not compared yet."""

    def take(self, block: Block) -> None:
        """Compare one block of the log."""
        for position, (raw, encoded) in enumerate(zip(block.transactions, block.receipts, strict=True)):
            name = keccak(raw)
            where = f"block {block.header.height}, transaction {position}: 0x{name.hex()}"
            receipt = self._find(name)
            if receipt is None:
                raise VerificationError(f"{where} is not in the chain")
            self._compare(where, encoded, receipt)
            if not self.transactions:
                self.first = self._asked = receipt.block
            self._known[name] = receipt.block
            self.transactions += 1
        self.blocks += 1
        if self.last.number - self._asked > WINDOW:
            self._compare_events(self.last.number - 1)

    def end(self) -> None:
        """The log ends; what others did after its last transaction is not of this run."""
        self._compare_events(self.last.number)

    def _compare(self, where: str, encoded: bytes, receipt: ChainReceipt) -> None:
        try:
            result = Result.decode(encoded)
        except ValueError as error:
            raise VerificationError(f"{where}: {error}") from None
        place = _Place(receipt.block, receipt.index)
        if place <= self.last:
            raise VerificationError(f"{where} stands in the chain before what precedes it in the ledger")
        if receipt.ok != result.ok:
            said, due = ("accepted" if ok else "rejected" for ok in (receipt.ok, result.ok))
            raise VerificationError(f"{where} was {said} by the chain, the ledger says {due}")
        if receipt.logs != result.logs:
            raise VerificationError(
                f"{where} has other events in the chain ({len(receipt.logs)}) than in the ledger "
                f"({len(result.logs)})"
            )
        self.last = place

    def _compare_events(self, last: int) -> None:
        """Whether the contracts' events, up to a block of the chain, are all of transactions of the log."""
        for first in range(self._asked, last + 1, WINDOW):
            for name in self._find_senders(first, min(first + WINDOW - 1, last)):
                if name not in self._known and not self._is_later(name):
                    raise VerificationError(
                        f"transaction 0x{name.hex()} of the chain changed the task's contracts and is not in the "
                        "ledger"
                    )
        self._asked = last + 1
        self._known = {name: block for name, block in self._known.items() if block > last}

    def _is_later(self, name: Digest) -> bool:
        """Whether a transaction stands behind the last of the log, in the same block of the chain."""
        receipt = self._find(name)
        return receipt is not None and (receipt.block, receipt.index) > self.last

    def _find(self, name: Digest) -> ChainReceipt | None:
        return self._courier.ask(lambda: self._courier.node.receipt(name), "the chain")

    def _find_senders(self, first: int, last: int) -> tuple[Digest, ...]:
        node = self._courier.node
        return self._courier.ask(
            lambda: node.senders_of_logs(self._contracts, first, last), "the chain's events"
        )

"""The remote engine: the same signed transactions on an EVM network, over JSON-RPC, with platoon's own log.

The network decides: which transactions are in, in which order, which went through, what they emitted. This process
follows it as a full node does, on a small scale: every transaction is executed again in the embedded engine, in the
chain's order, and must lead to the chain's status and events; the embedded engine seals and stores it as ever. So
the log, its head, ``audit`` and replay are the same as without a network, views need no archive node and do not
waver in a re-organisation, and a rejected call has its reason, which receipts lack (docs/decisions, 8).
What others do to the contracts meanwhile enters the log where the chain has it (docs/decisions, 12).

Transactions of one submission go out in steps: what is one account's, or the same call of several accounts, goes
together; anything else waits until what comes before it is in a block. Within a step of several accounts the
chain's order is the order.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from platoon.errors import HaltedError
from platoon.ledger.blocks import Block, Result
from platoon.ledger.chain_log import Commit
from platoon.ledger.contracts import ContractSet
from platoon.ledger.courier import Courier
from platoon.ledger.engine import EmbeddedLedger, Receipt, admit_transaction
from platoon.ledger.node import ChainReceipt
from platoon.nouns import Address, Digest, Instant
from platoon.records.encoding import keccak
from platoon.records.transactions import Call, Transaction, decode_transaction

_FOREIGN = -1
"""Position of a transaction of others: it was in no submission."""


class _Admitted(NamedTuple):
    """A transaction that can be part of the chain."""

    position: int
    """In the submission."""
    raw: bytes
    transaction: Transaction


class _Placed(NamedTuple):
    """A transaction in the chain."""

    item: _Admitted
    receipt: ChainReceipt

    @property
    def place(self) -> tuple[int, int]:
        """Block and index: where the chain's order has it."""
        return self.receipt.block, self.receipt.index


class RemoteLedger:
    """A ledger on an EVM network, with its log in one SQLite file."""

    def __init__(self, mirror: EmbeddedLedger, courier: Courier, *, places: Path | None = None) -> None:
        """``mirror``: the log, new or replayed. ``places``: a text file that notes where in the chain each
        transaction stands, for people; nothing depends on it.

        Raises:
            UserError: the chain is another than the log's, or not fit for platoon.
            HaltedError: the chain does not have the log's last transaction, or does not answer until the deadline.
        """
        self._mirror = mirror
        self._courier = courier
        self._known: Digest | None = None
        self._steps: list[list[_Placed]] = []
        self._last_place: tuple[int, int] | None = None
        self._committed_place: tuple[int, int] | None = None
        self._edge: frozenset[Digest] = frozenset()
        """Transactions of the log in the chain's block where the last commit ends."""
        self._places = places
        courier.greet(mirror.chain_id)
        if mirror.height:
            self._take_up()

    def _take_up(self) -> None:
        """Find the last transaction of the log in the chain, to go on behind it."""
        *_, block = self._mirror.blocks(self._mirror.height - 1)
        self._known = keccak(block.transactions[-1])
        receipt = self._courier.find(self._known)
        self._last_place = self._committed_place = (receipt.block, receipt.index)
        self._edge = frozenset(keccak(raw) for raw in block.transactions)
        if self._places is not None:
            _forget_places(self._places, self._mirror.height)

    # ---- reading: from the log's engine ---------------------------------------------------------------------

    @property
    def contracts(self) -> ContractSet:
        """The task chain's contracts; raises ``ValueError`` before they are deployed."""
        return self._mirror.contracts

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self._mirror.chain_id

    @property
    def head(self) -> Digest:
        """Hash of the log's last block, durable or not; zeros before the first."""
        return self._mirror.head

    @property
    def height(self) -> int:
        """Number of the log's blocks, durable or not."""
        return self._mirror.height

    @property
    def last_commit(self) -> Commit | None:
        """The last durable point, None before the first."""
        return self._mirror.last_commit

    def read(self, call: Call) -> tuple[Any, ...]:
        """The values that a view returns after the log's last block; raises ``ValueError`` where it fails."""
        return self._mirror.read(call)

    def read_chain(self, call: Call) -> tuple[Any, ...]:
        """The values that a view returns in the chain's newest block; raises ``RefusedError`` where it fails."""
        if call.to is None:
            raise ValueError("a deployment is not a view")
        return self.contracts.decode_output(call, self._courier.node.call(call.to, call.data))

    def nonce(self, account: Address) -> int:
        """The nonce of the account's next transaction."""
        return self._mirror.nonce(account)

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The log's blocks from a height on, durable or not."""
        return self._mirror.blocks(start)

    def close(self) -> None:
        """Close the file; what was not committed is gone from the log, and found again in the chain."""
        self._mirror.close()

    # ---- writing --------------------------------------------------------------------------------------------

    def submit(self, transactions: Sequence[bytes], *, at: Instant, round: int) -> tuple[Receipt, ...]:
        """See transactions into the chain, and take what it made of them into the log as one block.

        After a ``HaltedError`` nothing of the submission is in the log, and it may be submitted again.

        Raises:
            ValueError: time or round run backwards, or this process cannot seal for a quorum.
            UserError: the chain has other transactions of these accounts.
            HaltedError: not done at the deadline, the chain has lost its state, or did something else than the
                contracts do.
        """
        self._mirror.require_follows(at, round)
        admitted, receipts = self._admit(transactions)
        steps = [self._place(step) for step in split_steps(admitted)]
        placed = [placing for step in steps for placing in step]
        self._require_order(placed, self._last_place)
        if placed:
            placed = self._with_foreign(placed)
            foreign = [i for i, placing in enumerate(placed) if placing.item.position == _FOREIGN]
            raw = [placing.item.raw for placing in placed]
            done = self._mirror.submit(raw, at=at, round=round, foreign=foreign)
            self._compare(placed, done)
            for placing, receipt in zip(placed, done, strict=True):
                receipts[placing.item.position] = receipt._replace(gas=placing.receipt.gas)
            self._steps.append(placed)
            self._last_place = placed[-1].place
            self._note(placed)
        return tuple(receipts[i] for i in range(len(transactions)))

    def commit(self, round: int, checkpoint: str) -> None:
        """Look once more whether the chain still has everything as the log has it, then make the log durable.

        Raises:
            ValueError: as in the embedded engine.
            HaltedError: as ``submit``, or the chain has re-organised itself into another order or outcome (more
                ``confirmations`` prevent that), or the contracts were changed by a transaction that this log does
                not have.
        """
        self._steps = [self._find_again(step) for step in self._steps]
        placed = [placing for step in self._steps for placing in step]
        self._require_order(placed, self._committed_place)
        self._require_complete(placed)
        self._mirror.commit(round, checkpoint)
        self._steps = []
        if placed:
            self._known = keccak(placed[-1].item.raw)
            self._last_place = self._committed_place = placed[-1].place
            names = [keccak(p.item.raw) for p in placed if p.receipt.block == placed[-1].receipt.block]
            self._edge = frozenset(names)

    def _admit(self, transactions: Sequence[bytes]) -> tuple[list[_Admitted], dict[int, Receipt]]:
        """What can be part of the chain, as the embedded engine decides it; a receipt for what cannot."""
        nonces: dict[Address, int] = {}
        contracts = self._mirror.contracts if self._mirror.height else None
        admitted: list[_Admitted] = []
        refused: dict[int, Receipt] = {}
        for position, raw in enumerate(transactions):
            try:
                transaction = decode_transaction(raw)
                sender = transaction.sender
                nonce = nonces.get(sender, self._mirror.nonce(sender))
                admit_transaction(transaction, self.chain_id, nonce, contracts)
            except ValueError as error:
                refused[position] = Receipt(False, str(error), (), 0, False, None)
                continue
            nonces[sender] = nonce + 1
            contracts = contracts if contracts is not None else ContractSet(sender)
            admitted.append(_Admitted(position, raw, transaction))
        return admitted, refused

    def _place(self, step: Sequence[_Admitted]) -> list[_Placed]:
        """See one step into the chain; its transactions in the chain's order."""
        receipts = self._courier.deliver([item.raw for item in step], self._known)
        placed = [_Placed(item, receipt) for item, receipt in zip(step, receipts, strict=True)]
        return sorted(placed, key=lambda placing: placing.place)

    def _with_foreign(self, placed: Sequence[_Placed]) -> list[_Placed]:
        """The run's transactions and, in the chain's order, what others did to the contracts before the last."""
        first = self._last_place or (placed[0].receipt.block, -1)
        last = placed[-1].place
        before = (placing for step in self._steps for placing in step if placing.receipt.block == first[0])
        known = self._edge.union(keccak(placing.item.raw) for placing in [*before, *placed])
        operator = (
            self._mirror.contracts.operator if self._mirror.height else placed[0].item.transaction.sender
        )
        node, contracts = self._courier.node, tuple(ContractSet(operator).addresses.values())
        found = self._courier.ask(
            lambda: node.senders_of_logs(contracts, first[0], last[0]), "the chain's events"
        )
        places = {name: self._courier.find(name) for name in found if name not in known}
        others = [
            self._fetch(name, receipt)
            for name, receipt in places.items()
            if first < (receipt.block, receipt.index) < last
        ]
        return sorted([*placed, *others], key=lambda placing: placing.place)

    def _fetch(self, name: Digest, receipt: ChainReceipt) -> _Placed:
        """A transaction of others; raises ``HaltedError`` where it is none that a ledger can hold."""
        try:
            raw = self._courier.ask(lambda: self._courier.node.transaction(name), "a transaction of others")
            return _Placed(_Admitted(_FOREIGN, raw, decode_transaction(raw)), receipt)
        except ValueError as error:
            raise HaltedError(f"transaction 0x{name.hex()} of others cannot be read: {error}") from None

    def _find_again(self, step: Sequence[_Placed]) -> list[_Placed]:
        """Where a step's transactions stand now; raises ``HaltedError`` where they came to another end."""
        raw = [placing.item.raw for placing in step]
        again = self._courier.deliver(raw, self._known, sent=True)
        for before, after in zip(step, again, strict=True):
            if (after.ok, after.logs) != (before.receipt.ok, before.receipt.logs):
                raise HaltedError(f"{_name(before)}: re-organised into another outcome")
        return [_Placed(before.item, receipt) for before, receipt in zip(step, again, strict=True)]

    def _require_order(self, placed: Sequence[_Placed], last: tuple[int, int] | None) -> None:
        """Whether the chain has transactions in the log's order, after what came before them."""
        for placing in placed:
            if last is not None and placing.place <= last:
                raise HaltedError(f"{_name(placing)}: stands in the chain before what had to precede it")
            last = placing.place

    def _compare(self, placed: Sequence[_Placed], done: Sequence[Receipt]) -> None:
        """Whether the log took everything, and the chain did what the contracts do."""
        for placing, receipt in zip(placed, done, strict=True):
            if not receipt.logged:
                raise HaltedError(
                    f"{_name(placing)} changed the task's contracts and cannot be part of its ledger: "
                    f"{receipt.error}"
                )
        *_, block = self._mirror.blocks(self._mirror.height - 1)
        if block.transactions != tuple(placing.item.raw for placing in placed):
            raise HaltedError("the log did not take what the chain took")
        for placing, encoded in zip(placed, block.receipts, strict=True):
            due, said = Result.decode(encoded), placing.receipt
            if (said.ok, said.logs) != (due.ok, due.logs):
                raise HaltedError(
                    f"{_name(placing)}: the chain says {_outcome(said.ok, len(said.logs))} at {said.gas} gas, "
                    f"the contracts say {_outcome(due.ok, len(due.logs), due.error)}"
                )

    def _require_complete(self, placed: Sequence[_Placed]) -> None:
        """Whether everything that the contracts did since the last commit is in the log."""
        if not placed:
            return
        first = self._committed_place[0] if self._committed_place is not None else placed[0].receipt.block
        last = placed[-1].receipt.block
        node, contracts = self._courier.node, tuple(self.contracts.addresses.values())
        found = self._courier.ask(lambda: node.senders_of_logs(contracts, first, last), "the chain's events")
        known = self._edge.union(keccak(placing.item.raw) for placing in placed)
        for name in found:
            if name not in known and self._stands_before(name, placed[-1]):
                raise HaltedError(
                    f"transaction 0x{name.hex()} changed the task's contracts and was not there when what follows "
                    "it was executed: the chain has re-organised itself"
                )

    def _stands_before(self, name: Digest, last: _Placed) -> bool:
        """Whether a transaction stands before the log's last; what comes after it is for the next submission."""
        receipt = self._courier.find(name)
        return (receipt.block, receipt.index) < last.place

    def _note(self, placed: Sequence[_Placed]) -> None:
        if self._places is None:
            return
        height = self._mirror.height - 1
        with self._places.open("a", encoding="utf-8") as file:
            for placing in placed:
                name, receipt = keccak(placing.item.raw).hex(), placing.receipt
                line = {"height": height, "transaction": f"0x{name}", "block": receipt.block}
                line |= {"block_hash": f"0x{receipt.block_hash.hex()}", "index": receipt.index}
                file.write(json.dumps(line) + "\n")


def split_steps(admitted: Sequence[_Admitted]) -> list[list[_Admitted]]:
    """Cut a submission into steps whose transactions may be under way together: one sender's, which its nonces
    keep in order, or one function's by several senders, which may come in any order."""
    steps: list[list[_Admitted]] = []
    for item in admitted:
        if steps and _go_together([*steps[-1], item]):
            steps[-1].append(item)
        else:
            steps.append([item])
    return steps


def _go_together(items: Sequence[_Admitted]) -> bool:
    calls = [item.transaction.call for item in items]
    functions = {(call.to, call.data[:4]) for call in calls}
    senders = {item.transaction.sender for item in items}
    return len(senders) == 1 or (len(functions) == 1 and all(call.to is not None for call in calls))


def _outcome(ok: bool, events: int, error: str = "") -> str:
    return f"accepted with {events} events" if ok else f"rejected{f': {error}' if error else ''}"


def _name(placing: _Placed) -> str:
    return f"transaction 0x{keccak(placing.item.raw).hex()} in block {placing.receipt.block}"


def _forget_places(path: Path, height: int) -> None:
    """Drop the lines of blocks that were never committed."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if _height_of(line) < height), encoding="utf-8")


def _height_of(line: str) -> int:
    try:
        return int(json.loads(line)["height"])
    except (ValueError, KeyError, TypeError):
        return 2**63

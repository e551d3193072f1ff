"""Brings signed transactions to a chain, once each, whatever the connection does.

There is one rule: the same signed bytes are sent again and again until the chain shows them in a block. A node
that has them already refuses the second copy, a chain executes a nonce once, and so no transaction is applied
twice. What a node answers to a sending is kept for messages and decides nothing: receipts decide. Time comes from
outside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from platoon.errors import HaltedError, UserError
from platoon.ledger.node import ChainReceipt, Node, RefusedError, UnreachableError
from platoon.nouns import Digest
from platoon.records.encoding import keccak
from platoon.records.transactions import MAX_GAS, decode_transaction

T = TypeVar("T")

RESEND_S = 2.0
"""What is in no block after so long is sent again, seconds."""
_SHORTEST_S, _LONGEST_S = 0.02, 0.5
"""Pauses between two looks at the chain: the first, and the longest, seconds."""
_GREETING_S = 10.0
"""Longest wait for a node's first answer, seconds."""
_STRIKES = 3
"""A fault of the chain must show so often in a row, ``RESEND_S`` apart: a re-organisation passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a courier is given from outside: time, patience, and someone who listens."""

    clock: Callable[[], float]
    """Seconds, from any beginning; never runs backwards."""
    sleep: Callable[[float], None]
    """Lets so many seconds pass."""
    tell: Callable[[str], None]
    """Hears of waiting."""
    deadline_s: float
    """Longest wait for one step."""
    confirmations: int = 0
    """Blocks that must follow a transaction's own before it counts."""


@dataclass(slots=True)
class _Wait:
    """One wait: how long it has been, and what was last heard."""

    started: float
    pause: float = _SHORTEST_S
    said: str = ""
    told: float | None = None
    sent: float | None = None
    suspicion: str = ""
    strikes: int = 0


class Courier:
    """Waits for one chain."""

    def __init__(self, node: Node, surroundings: Surroundings) -> None:
        self.node = node
        self._with = surroundings

    def greet(self, chain_id: int) -> None:
        """Whether this is the right chain, and fit for platoon.

        Raises:
            UserError: no answer for ten seconds, another chain id, a block gas limit below the transactions', or a
                base fee.
        """
        node = self.node
        try:
            found, tip = self.ask(
                lambda: (node.chain_id(), node.tip()), f"the node at {node.name}", _GREETING_S
            )
        except HaltedError as error:
            raise UserError(str(error)) from None
        where = f"the chain at {node.name}"
        if found != chain_id:
            raise UserError(f"ledger.chain_id = {chain_id}: {where} has chain id {found}")
        if tip.gas_limit < MAX_GAS:
            raise UserError(f"{where}: blocks of {tip.gas_limit} gas; platoon needs at least {MAX_GAS}")
        if tip.base_fee:
            raise UserError(
                f"{where}: base fee {tip.base_fee}; platoon's transactions pay none, it must be 0"
            )

    def find(self, known: Digest) -> ChainReceipt:
        """What the chain says of a transaction that it must know; nothing is sent.

        Raises:
            HaltedError: it does not know it.
        """

        def look() -> ChainReceipt:
            receipt = self.node.receipt(known)
            if receipt is None:
                raise UnreachableError(self._lost(known))
            return receipt

        return self.ask(look, "the ledger's last transaction", _GREETING_S)

    def ask(self, question: Callable[[], T], what: str, limit: float | None = None) -> T:
        """The answer to a question, asked again while the connection is broken, at most ``limit`` seconds.

        Raises:
            HaltedError: no answer until the deadline.
        """
        wait = _Wait(started=self._with.clock())
        while True:
            try:
                return question()
            except (UnreachableError, RefusedError) as error:
                wait.said = str(error)
            self._pause(wait, f"waiting for {what}", limit)

    def deliver(
        self, transactions: Sequence[bytes], known: Digest | None = None, *, sent: bool = False
    ) -> list[ChainReceipt]:
        """See transactions into blocks, in order where they are one sender's; what the chain says of each.

        All receipts are read after the newest block's number, and each block has ``confirmations`` others behind
        it. A receipt that vanishes in a re-organisation is waited for again. ``known`` is the hash of a
        transaction that the chain must know; a chain that does not has lost its state, and is sent nothing.
        ``sent``: they were sent before, and are sent again only where they stay away.

        Raises:
            UserError: another transaction has taken the place of one of these.
            HaltedError: not done at the deadline, or the chain has lost its state.
        """
        now = self._with.clock()
        wait = _Wait(started=now, sent=now if sent else None)
        hashes = [keccak(raw) for raw in transactions]
        missing, depth = list(range(len(hashes))), 0
        while True:
            try:
                if wait.sent is None:
                    self._send(transactions, known, wait)
                height = self.node.height()
                receipts = [self.node.receipt(name) for name in hashes]
                missing = [i for i, receipt in enumerate(receipts) if receipt is None]
                found = [receipt for receipt in receipts if receipt is not None]
                depth = (
                    max((receipt.block for receipt in found), default=0) + self._with.confirmations - height
                )
                if not missing and depth <= 0:
                    return found
                if missing and wait.sent is not None and self._with.clock() - wait.sent >= RESEND_S:
                    self._send([transactions[i] for i in missing], known, wait)
            except (UnreachableError, RefusedError) as error:
                wait.said = str(error)
            self._pause(wait, _describe(len(missing), len(hashes), depth))

    def _send(self, transactions: Sequence[bytes], known: Digest | None, wait: _Wait) -> None:
        """Send all; a refusal is kept for messages, since it may mean no more than that they are known.

        Raises:
            UserError, HaltedError: the chain shows, again and again, that no waiting helps.
        """
        fault = self._examine(transactions[0], known, again=wait.sent is not None)
        wait.said, wait.sent = "", self._with.clock()
        if fault is not None:
            wait.said = str(fault)
            wait.strikes = wait.strikes + 1 if wait.suspicion == wait.said else 1
            wait.suspicion = wait.said
            if wait.strikes >= _STRIKES:
                raise fault
            return
        wait.suspicion = ""
        for raw in transactions:
            try:
                self.node.send(raw)
            except RefusedError as error:
                wait.said = wait.said or f"the node says: {error}"

    def _examine(self, raw: bytes, known: Digest | None, *, again: bool) -> UserError | HaltedError | None:
        """What the chain shows to be wrong with it, or with the first transaction that it does not take."""
        if known is not None and self.node.receipt(known) is None:
            return HaltedError(self._lost(known))
        transaction = decode_transaction(raw)
        if not again or self.node.nonce(transaction.sender) <= transaction.nonce:
            return None
        if self.node.receipt(keccak(raw)) is not None:
            return None
        return UserError(
            f"the chain at {self.node.name} has another transaction number {transaction.nonce} of "
            f"0x{transaction.sender.hex()}: another run uses the same accounts; choose another seed, or "
            "another chain"
        )

    def _lost(self, known: Digest) -> str:
        return (
            f"the chain at {self.node.name} does not know transaction 0x{known.hex()}, which the ledger has from "
            "it: it has lost its state, or is another chain; bring its state back, or start a new run"
        )

    def _pause(self, wait: _Wait, doing: str, limit: float | None = None) -> None:
        """Let time pass, and tell of it; raises ``HaltedError`` at the deadline."""
        now = self._with.clock()
        passed, limit = now - wait.started, min(limit or self._with.deadline_s, self._with.deadline_s)
        words = f" ({wait.said})" if wait.said else ""
        if passed >= limit:
            raise HaltedError(f"gave up after {limit:g} s {doing}{words}; nothing that was committed is lost")
        if now - (wait.told if wait.told is not None else wait.started) >= RESEND_S:
            self._with.tell(f"{doing}, {passed:.0f} s of {limit:g}{words}")
            wait.told = now
        self._with.sleep(min(wait.pause, limit - passed))
        wait.pause = min(2 * wait.pause, _LONGEST_S)


def _describe(missing: int, count: int, depth: int) -> str:
    if missing:
        return f"waiting for the chain to take {missing} of {count} transactions"
    return f"waiting for {depth} more blocks of the chain"

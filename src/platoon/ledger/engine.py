"""The embedded engine: signed transactions in, receipts out, sealed blocks kept.

What it promises: one sequencer with tamper evidence. Whoever runs it can refuse or reorder transactions, but can
forge none, and cannot change a record without the seals of a quorum of edge servers. Byzantine tolerance among
operators needs a distributed engine, which can implement the same ``Ledger``.

A transaction that the contracts reject leaves the state untouched, consumes its nonce and stays in the log. One
that cannot be part of the chain at all (bad signature, chain id, nonce, not a canonical call of the contract set)
is not logged. Blocks are held in memory until ``commit``, the run's single commit point.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from platoon.errors import VerificationError
from platoon.ledger.blocks import MAX_NUMBER, Block, Header, Result, compute_roots, recover_sealers
from platoon.ledger.chain_log import EMPTY_FOLD, ChainLog, Commit, compute_commit_digest, fold_block
from platoon.ledger.contract_kinds import TASK_CHAIN, ContractKind
from platoon.ledger.contracts import ContractSet, Event, Log, compute_set_digest, find_kind
from platoon.ledger.evm import Execution, Machine
from platoon.ledger.model_registry import EDGE_SERVER, PUBLISHER
from platoon.nouns import Address, Digest, Instant
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.rules import compute_quorum
from platoon.records.signing import Account
from platoon.records.transactions import Call, Transaction, decode_transaction
from platoon.records.typed_data import FORMAT

READER_GAS = 2**26
"""Gas after which a replay sheds what its EVM remembers: a few MB."""
WRITER_GAS = 2**30
"""The same of a run that is being written: some 400 rounds of 100 updates, whose process has more to carry."""


class NotAdmittedError(ValueError):
    """A transaction that cannot be part of the chain."""


class Receipt(NamedTuple):
    """What became of a transaction."""

    ok: bool
    error: str
    """Why not; empty where ``ok``."""
    logs: tuple[Log, ...]
    gas: int
    """Gas used; a lower bound in the embedded engine, and not part of any record."""
    logged: bool
    """False for what cannot be part of the chain: its nonce is not consumed."""
    contracts: ContractSet | None
    """Whose logs they are; None where nothing was logged."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The logs, decoded when somebody asks: most of a large round's are transfers that nobody reads."""
        return tuple([self.contracts.decode_log(log) for log in self.logs]) if self.contracts else ()


class Ledger(Protocol):
    """What all agree on, whichever engine keeps it."""

    @property
    def contracts(self) -> ContractSet:
        """The task chain's contracts; raises ``ValueError`` before they are deployed."""

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""

    @property
    def head(self) -> Digest:
        """Hash of the last block, durable or not; zeros before the first."""

    @property
    def height(self) -> int:
        """Number of blocks."""

    def submit(self, transactions: Sequence[bytes], *, at: Instant, round: int) -> tuple[Receipt, ...]:
        """Execute transactions in this order, as one block."""

    def read(self, call: Call) -> tuple[Any, ...]:
        """The values that a view returns now."""

    def nonce(self, account: Address) -> int:
        """The nonce of the account's next transaction."""

    def commit(self, round: int, checkpoint: str) -> None:
        """Make all blocks durable, together with the name of the run's checkpoint."""

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from a height on, durable or not."""

    @property
    def last_commit(self) -> Commit | None:
        """The last durable point, None before the first."""

    def close(self) -> None:
        """Let go of files and connections; what was not committed is gone."""


@dataclass(kw_only=True)
class _State:
    """What execution has led to."""

    machine: Machine
    nonces: dict[Address, int]
    contracts: ContractSet | None = None
    members: frozenset[Address] = frozenset()
    """Edge servers that take part now."""


class EmbeddedLedger:
    """A ledger in this process, in one SQLite file."""

    def __init__(
        self, log: ChainLog, chain_id: int, sealers: Sequence[Account], kind: ContractKind = TASK_CHAIN
    ) -> None:
        self._log = log
        self._kind = kind
        self._chain_id = chain_id
        self._sealers = sorted(sealers, key=lambda account: account.address)
        self._state = _State(machine=Machine(chain_id), nonces={})
        self._head = Digest(EMPTY_DIGEST)
        self._last: Header | None = None
        self._pending: list[Block] = []
        self._fold = EMPTY_FOLD
        self._commit: Commit | None = None

    @classmethod
    def create(
        cls, path: Path, *, chain_id: int, sealers: Sequence[Account], kind: ContractKind = TASK_CHAIN
    ) -> "EmbeddedLedger":
        """A new ledger. ``sealers``: accounts of the edge servers that this process speaks for."""
        return cls(ChainLog(path, create=True), chain_id, sealers, kind)

    @classmethod
    def open(cls, path: Path, *, sealers: Sequence[Account] = ()) -> "EmbeddedLedger":
        """Replay a ledger's file into a fresh machine; without sealers it can be read but not written.

        Raises:
            VerificationError: the log does not lead to what it says.
        """
        log = ChainLog(path, create=False)
        first = next(log.blocks(), None)
        if first is None:
            raise VerificationError(f"{path}: an empty ledger")
        try:
            kind = find_kind(first.header.contracts)
        except ValueError as error:
            raise VerificationError(f"block 0: {error}") from None
        ledger = cls(log, first.header.chain_id, sealers, kind)
        commits = log.commits()
        commit = next(commits, None)
        for block in log.blocks():
            ledger._replay(block)
            if commit is not None and commit.height == block.header.height:
                ledger._take_commit(commit)
                commit = next(commits, None)
        if commit is not None or ledger._commit is None or ledger._commit.height != ledger.height - 1:
            raise VerificationError("blocks and commits do not end together")
        return ledger

    # ---- reading ----------------------------------------------------------------------------------------------

    @property
    def contracts(self) -> ContractSet:
        """The task chain's contracts; raises ``ValueError`` before they are deployed."""
        if self._state.contracts is None:
            raise ValueError("no contracts are deployed yet")
        return self._state.contracts

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self._chain_id

    @property
    def head(self) -> Digest:
        """Hash of the last block, durable or not; zeros before the first."""
        return self._head

    @property
    def height(self) -> int:
        """Number of blocks, durable or not."""
        return self._last.height + 1 if self._last is not None else 0

    @property
    def last_commit(self) -> Commit | None:
        """The last durable point, None before the first."""
        return self._commit

    def read(self, call: Call) -> tuple[Any, ...]:
        """The values that a view returns now; raises ``ValueError`` where it fails."""
        if call.to is None:
            raise ValueError("a deployment is not a view")
        return self.contracts.decode_output(call, self._state.machine.read(call.to, call.data))

    def nonce(self, account: Address) -> int:
        """The nonce of the account's next transaction."""
        return self._state.nonces.get(account, 0)

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """Blocks from a height on, durable or not."""
        yield from self._log.blocks(start)
        yield from [block for block in self._pending if block.header.height >= start]

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self._log.close()

    # ---- writing ----------------------------------------------------------------------------------------------

    def submit(
        self, transactions: Sequence[bytes], *, at: Instant, round: int, foreign: Collection[int] = ()
    ) -> tuple[Receipt, ...]:
        """Execute transactions in this order, as one block sealed by a quorum.

        Args:
            transactions: signed, as the log keeps them.
            at: time of the block.
            round: of the block.
            foreign: positions of those that a network took from others (``admit_foreign``).

        Raises:
            ValueError: time or round run backwards, or this process cannot seal for a quorum of the edge servers.
        """
        self.require_follows(at, round)
        receipts, logged, results = [], [], []
        for position, raw in enumerate(transactions):
            try:
                execution = self._execute_foreign(raw) if position in foreign else self._execute(raw)
            except NotAdmittedError as error:
                receipts.append(Receipt(False, str(error), (), 0, False, None))
                continue
            ok, said, logs, gas = execution
            receipts.append(Receipt(ok, said, logs, gas, True, self.contracts))
            logged.append(raw)
            results.append(encode_result(execution))
        if logged:
            self._append(tuple(logged), tuple(results), at, round)
        return tuple(receipts)

    def require_follows(self, at: Instant, round: int) -> None:
        """Raises ``ValueError`` for a time or a round before that of the last block, or beyond any reader's
        integers."""
        if max(at, round) > MAX_NUMBER:
            raise ValueError(f"at {at}, round {round}: allowed: at most 2^63 - 1")
        if self._last is not None and (at < self._last.at or round < self._last.round):
            raise ValueError(f"at {at}, round {round}: earlier than block {self._last.height}")

    def commit(self, round: int, checkpoint: str) -> None:
        """Make all blocks durable, together with the name of the run's checkpoint.

        Raises:
            ValueError: nothing was submitted since the last commit, or the round was committed before.
        """
        before = self._commit
        if not self._pending or (before is not None and round <= before.round):
            raise ValueError(f"round {round}: nothing to commit, or committed before")
        height = self._pending[-1].header.height
        digest = compute_commit_digest(
            before.digest if before else EMPTY_DIGEST, round, height, checkpoint, self._fold
        )
        commit = Commit(round=round, height=height, checkpoint=checkpoint, digest=digest)
        self._log.append(self._pending, commit)
        self._state.machine.shed_history(WRITER_GAS)
        self._pending, self._fold, self._commit = [], EMPTY_FOLD, commit

    def _execute(self, raw: bytes) -> Execution:
        """Execute one transaction; raises ``NotAdmittedError`` for one that cannot be part of this chain."""
        state = self._state
        try:
            transaction = decode_transaction(raw)
            admit_transaction(
                transaction, self._chain_id, self.nonce(transaction.sender), state.contracts, self._kind
            )
        except ValueError as error:
            raise NotAdmittedError(str(error)) from None
        return self._run(transaction, transaction.call.gas)

    def _execute_foreign(self, raw: bytes) -> Execution:
        """Execute what somebody else sent to a network; raises ``NotAdmittedError`` for what cannot be part of this
        chain, or does not go through: what fails changes nothing, and is not logged."""
        try:
            transaction = decode_transaction(raw)
            sender = transaction.sender
            role = int(self.read(self.contracts.call("Registry", "role", sender))[0])
            gas = admit_foreign(transaction, self._chain_id, self.nonce(sender), self.contracts, role)
        except ValueError as error:
            raise NotAdmittedError(str(error)) from None
        execution = self._run(transaction, gas)
        if not execution.ok:
            raise NotAdmittedError(f"the contracts reject it: {execution.error}")
        return execution

    def _run(self, transaction: Transaction, gas: int) -> Execution:
        state, call = self._state, transaction.call
        execution = state.machine.execute(transaction.sender, call.to, call.data, gas)
        if call.to is None and not execution.ok:
            raise ValueError(
                f"{self._kind.contracts[transaction.nonce]} cannot be deployed: {execution.error}"
            )
        state.nonces[transaction.sender] = transaction.nonce + 1
        if state.contracts is None:
            state.contracts = ContractSet(transaction.sender, self._kind)
        if execution.logs and call.to == self.contracts.addresses["Registry"]:
            self._read_members()
        return execution

    def _read_members(self) -> None:
        seats, active = self.read(self.contracts.call("Registry", "members"))
        self._state.members = frozenset(Address(seat) for i, seat in enumerate(seats) if active >> i & 1)

    def _append(
        self, transactions: tuple[bytes, ...], receipts: tuple[bytes, ...], at: Instant, round_number: int
    ) -> None:
        roots = compute_roots(transactions, receipts)
        header = Header(
            format=FORMAT,
            chain_id=self._chain_id,
            height=self.height,
            parent=self._head,
            round=round_number,
            at=at,
            transactions=roots[0],
            receipts=roots[1],
            contracts=compute_set_digest(self._kind),
        )
        block_hash = header.compute_hash(self.contracts.addresses["Registry"])
        block = Block(
            header=header, transactions=transactions, receipts=receipts, seals=self._seal(block_hash)
        )
        self._pending.append(block)
        self._link(block, block_hash)

    def _seal(self, block_hash: Digest) -> bytes:
        able = [account for account in self._sealers if account.address in self._state.members]
        needed = compute_quorum(len(self._state.members))
        if len(able) < needed:
            raise ValueError(f"{needed} edge servers must seal a block, this process speaks for {len(able)}")
        return b"".join([account.sign(block_hash) for account in able[:needed]])

    def _link(self, block: Block, block_hash: Digest) -> None:
        self._head, self._last = block_hash, block.header
        self._fold = fold_block(self._fold, block_hash, block.seals)

    # ---- replay -----------------------------------------------------------------------------------------------

    def _replay(self, block: Block) -> None:
        """Execute a stored block again; raises ``VerificationError`` where it does not lead to what it says.

        Seals are bound by the commit's digest here; ``audit`` recovers every one of them.
        """
        where = f"block {block.header.height}"
        check_header(block, self._last, self._head, self._chain_id, self._kind)
        for position, raw in enumerate(block.transactions):
            try:
                execution = self._replay_transaction(raw)
            except ValueError as error:
                raise VerificationError(f"{where}, transaction {position}: {error}") from None
            if encode_result(execution) != block.receipts[position]:
                raise VerificationError(f"{where}, transaction {position}: it does not lead to its receipt")
        block_hash = block.header.compute_hash(self.contracts.addresses["Registry"])
        self._link(block, block_hash)
        self._state.machine.shed_history(READER_GAS)

    def _replay_transaction(self, raw: bytes) -> Execution:
        """As ``_execute``, or as one of others where it is one; raises as ``_execute`` for what is neither."""
        try:
            return self._execute(raw)
        except NotAdmittedError as refused:
            if self._state.contracts is None:
                raise
            try:
                return self._execute_foreign(raw)
            except ValueError:
                raise refused from None

    def _take_commit(self, commit: Commit) -> None:
        check_commit(commit, self._commit, self._fold)
        self._commit, self._fold = commit, EMPTY_FOLD


def encode_result(execution: Execution) -> bytes:
    """What a transaction did, as the record keeps it."""
    return Result(ok=execution.ok, error=execution.error, logs=execution.logs).encode()


def admit_transaction(
    transaction: Transaction,
    chain_id: int,
    nonce: int,
    contracts: ContractSet | None,
    kind: ContractKind = TASK_CHAIN,
) -> None:
    """Whether a transaction can be part of a chain at all.

    It must be a canonical call of the contract set, its gas limit included, so that what it does depends on its
    meaning alone. The first of a chain are the operator's deployments, in their order.

    Raises:
        ValueError: what is wrong with it.
    """
    if transaction.chain_id != chain_id:
        raise ValueError(f"chain id {transaction.chain_id}, this chain is {chain_id}")
    if transaction.nonce != nonce:
        raise ValueError(f"nonce {transaction.nonce}, expected {nonce}")
    if transaction.value != 0 or transaction.gas_price != 0:
        raise ValueError("value and gas price must be 0")
    is_operator = contracts is None or transaction.sender == contracts.operator
    if is_operator and nonce < len(kind.contracts):
        ContractSet(transaction.sender, kind).decode_deployment(transaction.call, nonce)
        return
    if contracts is None or transaction.call.to is None:
        raise ValueError("deploys a contract outside the set")
    function = contracts.check_call(transaction.call)
    bound = kind.bound.get((function.contract, function.name))
    if bound is None:
        return
    if function.inputs.decode(transaction.call.data[4:]) != tuple(
        contracts.addresses[name] for name in bound
    ):
        raise ValueError(
            f"{function.contract}.{function.name} names another contract than {' and '.join(bound)}"
        )


def admit_foreign(
    transaction: Transaction, chain_id: int, nonce: int, contracts: ContractSet, role: int
) -> int:
    """Whether a transaction that others sent to a network's contracts can be part of a chain; its gas limit there.

    Whoever holds a key may use it beside the run: a vehicle that spends its tokens, a stranger that allows another
    to. Their wallets choose gas limits, prices and forms, and use nonces elsewhere too, so only the signature, the
    chain, the meaning, and that nonces ascend are as in ``admit_transaction``. It must go through: what fails
    changes nothing. Accounts that the run itself signs for are not among the others.

    Args:
        transaction: decoded.
        chain_id: of the chain.
        nonce: the least that was not used yet.
        contracts: of the chain.
        role: of the sender in the Registry.

    Raises:
        ValueError: what is wrong with it.
    """
    if transaction.chain_id != chain_id:
        raise ValueError(f"chain id {transaction.chain_id}, this chain is {chain_id}")
    if transaction.nonce < nonce:
        raise ValueError(f"nonce {transaction.nonce}, expected {nonce} or more")
    if transaction.sender == contracts.operator or role in (EDGE_SERVER, PUBLISHER):
        raise ValueError(f"0x{transaction.sender.hex()} is an account of the run, not one of others")
    if transaction.value != 0:
        raise ValueError("value must be 0")
    return contracts.find_gas_limit(contracts.find_function(transaction.call), transaction.call)


def check_header(
    block: Block, last: Header | None, head: Digest, chain_id: int, kind: ContractKind = TASK_CHAIN
) -> None:
    """Whether a stored header follows the one before it; raises ``VerificationError``."""
    header, where = block.header, f"block {block.header.height}"
    if header.format != FORMAT:
        raise VerificationError(f"{where}: format {header.format} is not known; known: {FORMAT}")
    if header.contracts != compute_set_digest(kind):
        raise VerificationError(f"{where}: contract set {header.contracts.hex()} is not known")
    if header.chain_id != chain_id:
        raise VerificationError(f"{where}: chain id {header.chain_id}, the chain is {chain_id}")
    if header.height != (last.height + 1 if last is not None else 0):
        raise VerificationError(f"{where}: its header is of another height")
    if header.parent != head:
        raise VerificationError(f"{where}: its parent is not the block before")
    if last is not None and (header.at < last.at or header.round < last.round):
        raise VerificationError(f"{where}: time or round run backwards")
    if not block.transactions or len(block.transactions) != len(block.receipts):
        raise VerificationError(f"{where}: transactions and receipts do not match in number")
    transactions, receipts = compute_roots(block.transactions, block.receipts)
    if header.transactions != transactions:
        raise VerificationError(f"{where}: the transactions do not have the header's root")
    if header.receipts != receipts:
        raise VerificationError(f"{where}: the receipts do not have the header's root")


def check_seals(block: Block, block_hash: Digest, members: frozenset[Address]) -> None:
    """Whether exactly a quorum of the edge servers sealed a block; raises ``VerificationError``."""
    where = f"block {block.header.height}"
    try:
        sealers = recover_sealers(block_hash, block.seals)
    except ValueError as error:
        raise VerificationError(f"{where}: {error}") from None
    for sealer in sealers:
        if sealer not in members:
            raise VerificationError(
                f"{where}: sealed by 0x{sealer.hex()}, which is not an edge server of the task"
            )
    if len(sealers) < compute_quorum(len(members)):
        raise VerificationError(f"{where}: {len(sealers)} seals, {compute_quorum(len(members))} are needed")


def check_commit(commit: Commit, before: Commit | None, fold: Digest) -> None:
    """Whether a commit follows the one before it and covers its blocks; raises ``VerificationError``."""
    start = before.digest if before is not None else Digest(EMPTY_DIGEST)
    if before is not None and commit.round <= before.round:
        raise VerificationError(f"commit of round {commit.round}: rounds run backwards")
    digest = compute_commit_digest(start, commit.round, commit.height, commit.checkpoint, fold)
    if digest != commit.digest:
        raise VerificationError(
            f"commit of round {commit.round}: its digest is not that of its blocks and name"
        )

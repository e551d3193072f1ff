"""An independent check of a ledger's file: every hash, seal, signature, nonce, receipt and commit, and every rule.

The audit streams: one block and the state of the participants are in memory, whatever the length of the log. It
executes nothing in the EVM: what each transaction must have done is recomputed by the reference in plain integers
(``ledger.model``) and compared with the receipt that the block's hash binds. ``EmbeddedLedger.open`` is the other
half: it executes the same log in a fresh EVM.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platoon.errors import VerificationError
from platoon.ledger.block_faults import BlockFault, find_doubts, find_refusal
from platoon.ledger.blocks import Block, Header, Result
from platoon.ledger.chain_log import EMPTY_FOLD, ChainLog, Commit, fold_block
from platoon.ledger.conduct import Conduct
from platoon.ledger.contracts import CONTRACTS, ContractSet
from platoon.ledger.engine import admit_foreign, admit_transaction, check_commit, check_header, check_seals
from platoon.ledger.model import Model, Outcome
from platoon.ledger.model_stakes import REASONS, STEPS, unpack
from platoon.ledger.model_training import ModelUpdate, SettledRound
from platoon.nouns import Address, Digest, EdgeServerId, Tokens, VehicleId
from platoon.records.committee import Standing, discount_unsealed, draw_order, is_committee
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.local_block import LocalBlock
from platoon.records.merkle import compute_root
from platoon.records.packed import UNPACK, Settlement, Taken, Verdict
from platoon.records.rules import compute_products, compute_weights
from platoon.records.transactions import Transaction, decode_transaction
from platoon.records.typed_data import compute_update_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedUpdate:
    """A recorded update, with everything recomputed."""

    vehicle: VehicleId
    """Number of its registration."""
    address: Address
    edge_server: EdgeServerId
    digest: Digest
    samples: int
    score: int | None
    """Lower median, ppm; None where nothing was scored."""
    valid: bool
    merged: bool
    weight: int
    """Share of the merge in 2^-20; 0 where it was not merged. Over a round they sum to 2^20, or all are 0."""
    reputation_before: int
    reputation_after: int
    reward: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedLocalBlock:
    """An anchored local block. The contract has checked its seals and its place; what it could not check is said
    here, for an edge server that does otherwise harms its own chain, not the record."""

    block: LocalBlock
    committee: tuple[Address, ...]
    signers: tuple[Address, ...]
    is_recorded: bool
    """Its root is that of what the edge server recorded in the round."""
    is_drawn: bool
    """Its committee is the one that the last global block draws; True where the block is unsealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRound:
    """A settled and committed round; round 0 is the setup, with the initial model and no updates."""

    round: int
    updates: tuple[AuditedUpdate, ...]
    """Ascending by vehicle."""
    edge_servers: tuple[Conduct, ...]
    """Those that take part, by id."""
    evidence: int
    model_before: Digest
    model: Digest
    """What the edge servers voted for, or the model before."""
    paid: Tokens
    escrow_left: Tokens
    head: Digest
    """Hash of the last block of the commit that holds the round."""
    blocks: int
    """Blocks of the log up to there."""
    transactions: int
    """Transactions of the log up to there."""
    checkpoint: str
    """Name that was committed with it."""
    local_blocks: tuple[AuditedLocalBlock, ...] = ()
    """In the order in which they were anchored."""
    block_faults: tuple[BlockFault, ...] = ()
    """What edge servers did with records and local blocks that the rules do not allow, in the order of the log."""
    forks: tuple[EdgeServerId, ...] = ()
    """Edge servers whose chain was proved to have forked, up to here."""


def audit(path: Path) -> Iterator[AuditedRound]:
    """Check a ledger's file from its first byte to its last, round by round.

    Raises:
        VerificationError: the first thing that does not match: block, transaction, what.
    """
    log = ChainLog(path, create=False)
    try:
        yield from _audit(log, _Auditor())
    finally:
        log.close()


def audit_state(path: Path) -> Model:
    """Check a ledger's file as ``audit`` does, and give the state of the task chain that it leads to; raises as it
    does."""
    auditor = _Auditor()
    log = ChainLog(path, create=False)
    try:
        for _ in _audit(log, auditor):
            pass
    finally:
        log.close()
    return auditor.model


def _audit(log: ChainLog, auditor: "_Auditor") -> Iterator[AuditedRound]:
    commits = log.commits()
    commit = next(commits, None)
    for block in log.blocks():
        if commit is None:
            raise VerificationError(f"block {block.header.height}: no commit holds it")
        auditor.take_block(block)
        if commit.height == block.header.height:
            yield from auditor.take_commit(commit)
            commit = next(commits, None)
    if commit is not None:
        raise VerificationError(f"commit of round {commit.round}: block {commit.height} is missing")
    if auditor.commit is None:
        raise VerificationError("an empty ledger")


class _Auditor:
    """The fold over blocks and commits."""

    def __init__(self) -> None:
        self.commit: Commit | None = None
        self._last: Header | None = None
        self._head = Digest(EMPTY_DIGEST)
        self._fold = EMPTY_FOLD
        self._nonces: dict[Address, int] = {}
        self._contracts: ContractSet | None = None
        self._constructors: list[tuple[Any, ...]] = []
        self._model: Model | None = None
        self._transactions = 0
        self._settled: list[SettledRound] = []
        self._recorded: dict[Address, tuple[int, list[Address], list[Digest]]] = {}
        self._local_blocks: list[AuditedLocalBlock] = []
        self._faults: list[BlockFault] = []

    @property
    def model(self) -> Model:
        """The task chain's state; raises ``VerificationError`` before it is set up."""
        if self._model is None:
            raise VerificationError("an empty ledger")
        return self._model

    def take_block(self, block: Block) -> None:
        """Check one block and everything in it."""
        chain_id = self._last.chain_id if self._last is not None else block.header.chain_id
        check_header(block, self._last, self._head, chain_id)
        for position, (raw, receipt) in enumerate(zip(block.transactions, block.receipts, strict=True)):
            try:
                self._take_transaction(raw, receipt, chain_id)
            except ValueError as error:
                where = f"block {block.header.height}, transaction {position}"
                raise VerificationError(f"{where}: {error}") from None
        if self._model is None or self._contracts is None:
            raise VerificationError(f"block {block.header.height}: it does not set the task chain up")
        block_hash = block.header.compute_hash(self._contracts.addresses["Registry"])
        check_seals(block, block_hash, self._model.registry.active)
        self._settled += self._model.take_settled()
        self._head, self._last = block_hash, block.header
        self._fold = fold_block(self._fold, block_hash, block.seals)
        self._transactions += len(block.transactions)

    def take_commit(self, commit: Commit) -> Iterator[AuditedRound]:
        """Check a commit and hand out the rounds that it makes durable."""
        check_commit(commit, self.commit, self._fold)
        if self.commit is None and self._model is not None:
            yield self._describe(_setup_round(self._model.training.model), commit)
        self.commit, self._fold = commit, EMPTY_FOLD
        for settled in self._settled:
            yield self._describe(settled, commit)
        self._settled = []

    def _take_transaction(self, raw: bytes, receipt: bytes, chain_id: int) -> None:
        transaction = decode_transaction(raw)
        nonce = self._nonces.get(transaction.sender, 0)
        result = Result.decode(receipt)
        self._admit(transaction, chain_id, nonce, result)
        self._nonces[transaction.sender] = transaction.nonce + 1
        if self._contracts is None:
            self._contracts = ContractSet(transaction.sender)
        if transaction.call.to is None:
            self._deploy(transaction, chain_id)
            expected, what = Outcome(True, "", ()), f"deployment of {CONTRACTS[nonce]}"
        else:
            expected, what = self._apply(transaction)
        compare_receipt(self._contracts, what, expected, result)

    def _admit(self, transaction: Transaction, chain_id: int, nonce: int, result: Result) -> None:
        """Whether it can be part of the chain, as one of the run or, where it went through, of others."""
        try:
            admit_transaction(transaction, chain_id, nonce, self._contracts)
        except ValueError as refused:
            if self._model is None or self._contracts is None or not result.ok:
                raise
            role = self._model.registry.roles.get(transaction.sender, 0)
            try:
                admit_foreign(transaction, chain_id, nonce, self._contracts, role)
            except ValueError:
                raise refused from None

    def _deploy(self, transaction: Transaction, chain_id: int) -> None:
        contracts = ContractSet(transaction.sender)
        self._constructors.append(contracts.decode_deployment(transaction.call, transaction.nonce))
        if len(self._constructors) == len(CONTRACTS):
            self._model = Model(contracts, chain_id, self._constructors)

    def _apply(self, transaction: Transaction) -> tuple[Outcome, str]:
        if self._model is None or self._contracts is None:
            raise ValueError("a call before the task chain is set up")
        function, arguments = self._contracts.decode_call(transaction.call)
        what = f"{function.contract}.{function.name}"
        seat, open_round = self._model.registry.seats.get(transaction.sender), self._model.training.open.round
        outcome = self._model.apply(transaction.sender, function.contract, function.name, arguments)
        if seat is not None and (refusal := find_refusal(open_round, EdgeServerId(seat), what, outcome)):
            self._faults.append(refusal)
        if outcome.ok and function.name == "record":
            self._keep_record(transaction.sender, *arguments)
        if outcome.ok and function.name == "anchor":
            self._check_anchor(transaction.sender)
        return outcome, what

    def _keep_record(self, sender: Address, round_number: int, entries: tuple[tuple[Any, ...], ...]) -> None:
        """The leaves that the edge server's local block of the round must have."""
        assert self._model is not None  # it has applied the call
        task = self._model.training.task
        digests = [
            compute_update_digest(
                task=task, round=round_number, vehicle=entry[0], digest=entry[1], samples=entry[2]
            )
            for entry in entries
        ]
        self._recorded[sender] = (round_number, [Address(entry[0]) for entry in entries], digests)

    def _check_anchor(self, sender: Address) -> None:
        assert self._model is not None  # it has applied the call
        checkpoint, training = self._model.checkpoint, self._model.training
        anchored = checkpoint.newest[sender]
        recorded, vehicles, digests = self._recorded.get(sender, (0, [], []))
        numbers = self._model.registry.vehicles
        standings = {
            vehicle: Standing(handle=numbers.get(vehicle, -1) + 1, reputation=training.reputation(vehicle))
            for vehicle in vehicles
        }
        order = draw_order(self._head, sender, standings, checkpoint.rules)
        members = [member for member in anchored.committee if member != sender]
        local = AuditedLocalBlock(
            block=anchored.block,
            committee=anchored.committee,
            signers=anchored.signers,
            is_recorded=(anchored.block.round, anchored.block.root) == (recorded, compute_root(digests)),
            is_drawn=not members or is_committee(order, checkpoint.rules.size, members),
        )
        self._local_blocks.append(local)
        seat = EdgeServerId(self._model.registry.seats[sender])
        self._faults += find_doubts(
            local.block.round, seat, is_recorded=local.is_recorded, is_drawn=local.is_drawn
        )

    def _describe(self, settled: SettledRound, commit: Commit) -> AuditedRound:
        assert self._model is not None  # rounds come from it
        ids, seats = self._model.registry.vehicles, self._model.registry.seats
        updates = sorted(settled.updates, key=lambda update: ids[update.vehicle])
        weights = self._weigh(updates, settled.round)
        blocks = tuple(local for local in self._local_blocks if local.block.round == settled.round)
        self._local_blocks = [local for local in self._local_blocks if local.block.round > settled.round]
        faults = tuple(fault for fault in self._faults if fault.round == settled.round)
        self._faults = [fault for fault in self._faults if fault.round > settled.round]
        return AuditedRound(
            round=settled.round,
            updates=tuple(
                AuditedUpdate(
                    vehicle=VehicleId(ids[update.vehicle]),
                    address=update.vehicle,
                    edge_server=EdgeServerId(seats[update.edge_server]),
                    digest=update.digest,
                    samples=update.samples,
                    score=update.score,
                    valid=update.valid,
                    merged=update.merged,
                    weight=weight,
                    reputation_before=update.before,
                    reputation_after=update.after,
                    reward=Tokens(update.reward),
                )
                for update, weight in zip(updates, weights, strict=True)
            ),
            edge_servers=self._describe_servers(settled),
            evidence=settled.evidence,
            model_before=settled.model_before,
            model=settled.model,
            paid=Tokens(settled.paid),
            escrow_left=Tokens(self._model.escrow.available),
            head=self._head,
            blocks=commit.height + 1,
            transactions=self._transactions,
            checkpoint=commit.checkpoint,
            local_blocks=blocks,
            block_faults=faults,
            forks=tuple(sorted({EdgeServerId(seats[server]) for server, _ in self._model.checkpoint.forks})),
        )

    def _describe_servers(self, settled: SettledRound) -> tuple[Conduct, ...]:
        assert self._model is not None
        recorded = [update.edge_server for update in settled.updates]
        return tuple(
            Conduct(
                edge_server=EdgeServerId(self._model.registry.seats[row.edge_server]),
                updates=recorded.count(row.edge_server),
                deviation=row.deviation,
                missed=unpack(row.missed, STEPS),
                named=unpack(row.is_far + 2 * row.dissents, REASONS),
                taken=Tokens(row.taken),
                stake=Tokens(row.stake),
            )
            for row in settled.conduct
        )

    def _weigh(self, updates: list[ModelUpdate], round_number: int) -> list[int]:
        assert self._model is not None  # rounds come from it
        checkpoint = self._model.checkpoint
        products = compute_products(
            self._model.training.rules,
            [update.before for update in updates],
            [update.samples for update in updates],
            [update.merged for update in updates],
            [update.score for update in updates],
        )
        sealed = [checkpoint.is_sealed(update.edge_server, round_number) for update in updates]
        products = discount_unsealed(products, sealed, checkpoint.rules.unsealed_weight)
        return compute_weights(products) if any(products) else products


def _setup_round(model: Digest) -> SettledRound:
    return SettledRound(round=0, updates=(), evidence=0, model_before=model, model=model, paid=0, conduct=())


def compare_receipt(contracts: ContractSet, what: str, expected: Outcome, result: Result) -> None:
    """Whether a receipt says what the rules say; raises ``ValueError``."""
    if (result.ok, result.error) != (expected.ok, expected.error):
        said, due = result.error or "accepted", expected.error or "accepted"
        raise ValueError(f"{what}: the receipt says '{said}', the rules say '{due}'")
    events = [contracts.decode_log(log) for log in result.logs]
    for event, due_event in zip(events, expected.events, strict=False):
        if event != due_event:
            raise ValueError(f"{what}: {_difference(event.name, event.values, due_event.values)}")
    if len(events) != len(expected.events):
        raise ValueError(f"{what}: {len(events)} events, the rules give {len(expected.events)}")


def _difference(name: str, values: dict[str, Any], due: dict[str, Any]) -> str:
    for key, value in values.items():
        if due.get(key) == value:
            continue
        if (name, key) in UNPACK and len(value) == len(due[key]):
            said = zip(value, due[key], strict=True)
            i, words = next((i, words) for i, words in enumerate(said) if words[0] != words[1])
            is_, should = (_show_word(UNPACK[name, key](word)) for word in words)
            return f"{name}.{key}[{i}] is {is_}, the rules give {should}"
        return f"{name}.{key} is {_show(value)}, the rules give {_show(due.get(key))}"
    return f"event {name} is not the one that the rules give"


def _show_word(said: Taken | Verdict | Settlement) -> str:
    return f"({', '.join(f'{name} {_show(value)}' for name, value in said._asdict().items())})"


def _show(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)

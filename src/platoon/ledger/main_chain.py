"""The main chain: which task chains there are, what they report of their vehicles, and the reputations that follow.

The same engine keeps it that keeps a task chain, with another set of contracts (``contract_kinds.MAIN_CHAIN``):
the Registry, and ``Shards.vy``. Its edge servers bring the reports and seal its blocks; what a report says is the
word of a quorum of the shard's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platoon.errors import VerificationError
from platoon.ledger.audit import compare_receipt
from platoon.ledger.blocks import Block, Result
from platoon.ledger.contract_kinds import MAIN_CHAIN
from platoon.ledger.contracts import ContractSet
from platoon.ledger.engine import EmbeddedLedger, Ledger, Receipt, check_seals
from platoon.ledger.model import Outcome
from platoon.ledger.model_registry import EDGE_SERVER, VEHICLE
from platoon.ledger.model_shards import MainModel
from platoon.ledger.shard_reports import StandingsReport
from platoon.nouns import MILLION, Address, Digest, Instant
from platoon.records.rules import MAX_EDGE_SERVERS, Rule, Rules
from platoon.records.shards import Reputation, compute_most_counted
from platoon.records.signing import Account, recover, split_signature
from platoon.records.transactions import Call, decode_transaction, sign_transaction

_BATCH = 256
"""Accounts of one registration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MainRules:
    """What is fixed when a main chain is founded."""

    start: int = MILLION // 2
    """Reputation of whom no shard has evidence of, ppm."""
    most: int = compute_most_counted(Rules(rule=Rule.EVIDENCE))
    """Evidence of one shard that counts at most, ppm of one observation."""


class MainChain:
    """A main chain on a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    # ---- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        chain_id: int,
        operator: Account,
        edge_servers: Sequence[Account],
        vehicles: Sequence[Address],
        rules: MainRules | None = None,
    ) -> "MainChain":
        """Found a main chain in a new file.

        Raises:
            ValueError: no edge server or too many, accounts that are not distinct, or rules out of bounds.
        """
        servers = [account.address for account in edge_servers]
        if not 1 <= len(servers) <= MAX_EDGE_SERVERS:
            raise ValueError(f"{len(servers)} edge servers: allowed: 1 to {MAX_EDGE_SERVERS}")
        if len({operator.address, *servers, *vehicles}) != 1 + len(servers) + len(vehicles):
            raise ValueError("the accounts of operator, edge servers and vehicles must be distinct")
        chain = cls(EmbeddedLedger.create(path, chain_id=chain_id, sealers=edge_servers, kind=MAIN_CHAIN))
        calls = list_founding_calls(operator.address, servers, vehicles, rules or MainRules())
        for receipt in chain.submit(operator, calls):
            if not receipt.ok:
                raise ValueError(f"the main chain cannot be founded: {receipt.error}")
        return chain

    @classmethod
    def open(cls, path: Path, *, edge_servers: Sequence[Account] = ()) -> "MainChain":
        """Replay a main chain's file; without edge servers it can be read but not written.

        Raises:
            VerificationError: the log does not lead to what it says, or is no main chain's.
        """
        ledger = EmbeddedLedger.open(path, sealers=edge_servers)
        if ledger.contracts.kind is not MAIN_CHAIN:
            ledger.close()
            raise VerificationError(
                f"{path}: the ledger of a {ledger.contracts.kind.name}, not of a main chain"
            )
        return cls(ledger)

    def close(self) -> None:
        """Close the file."""
        self.ledger.close()

    # ---- writing ------------------------------------------------------------------------------------------------

    def submit(self, account: Account, calls: Sequence[Call]) -> tuple[Receipt, ...]:
        """One account's calls, signed and executed as one durable block. Blocks are numbered instead of dated:
        nothing here depends on time."""
        height, nonce, chain_id = self.ledger.height, self.ledger.nonce(account.address), self.ledger.chain_id
        signed = [
            sign_transaction(account, call, nonce=nonce + i, chain_id=chain_id)
            for i, call in enumerate(calls)
        ]
        receipts = self.ledger.submit(signed, at=Instant(height), round=height)
        if self.ledger.height > height:
            self.ledger.commit(height, f"block {height}")
        return receipts

    def list_call(self, task: Digest, edge_servers: Sequence[Address]) -> Call:
        """The operator says whose quorum speaks for a task chain; nobody's: the shard is closed."""
        return self.ledger.contracts.call("Shards", "list_shard", task, sorted(edge_servers))

    def report_call(self, report: StandingsReport, seals: Sequence[bytes]) -> Call:
        """An edge server brings a report; the seals are put in the order that the contract asks for.

        Raises:
            ValueError: a seal that is nobody's.
        """
        signers = {recover(report.digest, seal): seal for seal in seals}
        if None in signers:
            raise ValueError("a seal that is nobody's")
        ordered = [signers[signer] for signer in sorted(signer for signer in signers if signer is not None)]
        entries = [split_signature(seal) for seal in ordered]
        return self.ledger.contracts.call(
            "Shards", "report_standings", report.task, report.round, report.words, entries
        )

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def rules(self) -> MainRules:
        """What it was founded with."""
        return MainRules(start=self._view("START")[0], most=self._view("MOST")[0])

    def reputation(self, vehicle: Address) -> Reputation:
        """The global reputation of a vehicle, by the account that it uses here, and what it rests on."""
        return Reputation(*self._view("reputation", vehicle))

    def reported(self, task: Digest, vehicle: Address) -> tuple[int, Reputation]:
        """The newest round in which a shard spoke of a vehicle, and what it said; zeros where it never did."""
        number, value, evidence = self._view("reported", task, vehicle)
        return number, Reputation(value, evidence)

    def edge_servers(self, task: Digest) -> tuple[Address, ...]:
        """Whose quorum speaks for a shard, ascending; nobody's of one that is closed or was never listed."""
        return tuple(Address(account) for account in self._view("shard", task)[0])

    def _view(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        return self.ledger.read(self.ledger.contracts.call("Shards", name, *arguments))


def list_founding_calls(
    operator: Address, edge_servers: Sequence[Address], vehicles: Sequence[Address], rules: MainRules
) -> list[Call]:
    """The operator's first calls: contracts, edge servers, vehicles."""
    contracts = ContractSet(operator, MAIN_CHAIN)
    return [
        contracts.deployment(0),
        contracts.deployment(1, (contracts.addresses["Registry"], rules.start, rules.most)),
        contracts.call("Registry", "register", EDGE_SERVER, edge_servers),
        *(
            contracts.call("Registry", "register", VEHICLE, vehicles[i : i + _BATCH])
            for i in range(0, len(vehicles), _BATCH)
        ),
    ]


def verify_main_chain(path: Path) -> MainChain:
    """Replay a main chain's file, fold the reference in plain integers beside it, and hold every receipt and every
    seal against that.

    Raises:
        VerificationError: the first thing that does not match.
    """
    chain = MainChain.open(path)
    contracts = chain.ledger.contracts
    model: MainModel | None = None
    for block in chain.ledger.blocks():
        model = _fold(model, block, contracts)
        check_seals(block, block.header.compute_hash(contracts.addresses["Registry"]), model.registry.active)
    return chain


def _fold(model: MainModel | None, block: Block, contracts: ContractSet) -> MainModel:
    for raw, receipt in zip(block.transactions, block.receipts, strict=True):
        transaction = decode_transaction(raw)
        outcome, what = Outcome(True, "", ()), "a deployment"
        if transaction.call.to is None:
            if transaction.nonce == len(MAIN_CHAIN.contracts) - 1:
                _, start, most = contracts.decode_deployment(transaction.call, transaction.nonce)
                model = MainModel(contracts, block.header.chain_id, start=start, most=most)
        elif model is not None:
            function, arguments = contracts.decode_call(transaction.call)
            what = f"{function.contract}.{function.name}"
            outcome = model.apply(transaction.sender, function.contract, function.name, arguments)
        try:
            compare_receipt(contracts, what, outcome, Result.decode(receipt))
        except ValueError as error:
            raise VerificationError(f"block {block.header.height}: {error}") from None
    if model is None:
        raise VerificationError(f"block {block.header.height}: it does not set the main chain up")
    return model

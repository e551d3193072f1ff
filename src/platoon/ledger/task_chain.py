"""One task's chain, as drivers and the protocol see it: calls to sign, transactions to submit, values to read.

Vehicles are known here by id (their row), on the chain by address. Updates of a round are always in the contract's
order, ascending by address, whatever the order in which they were recorded; scores follow it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.blocks import Result
from platoon.ledger.conduct import Conduct, ConductBook
from platoon.ledger.contracts import Event, Log
from platoon.ledger.engine import EmbeddedLedger, Ledger, Receipt
from platoon.ledger.membership import Membership
from platoon.ledger.model import read_committee, read_rules, write_rules
from platoon.ledger.plausibility import Case, PlausibilityCalls, Status, read_case
from platoon.ledger.task_calls import Calls
from platoon.ledger.task_setup import NO_STAKE, Participants, Stake, check_participants, sign_setup
from platoon.ledger.task_values import Ground, LocalTip, RecordedUpdate, compute_updates_digest
from platoon.nouns import (
    MILLION,
    Address,
    Bools,
    Digest,
    EdgeServerId,
    Instant,
    Ints,
    Tokens,
    VehicleId,
)
from platoon.records.committee import CommitteeRules, Standing
from platoon.records.packed import unpack_settlement, unpack_taken, unpack_verdict
from platoon.records.rules import Rule, Rules, is_on_probation
from platoon.records.signing import Account
from platoon.records.transactions import Call, sign_transaction
from platoon.records.typed_data import Domain

__all__ = [
    "Call",
    "Calls",
    "Conduct",
    "Ground",
    "LocalTip",
    "Participants",
    "Receipt",
    "RecordedUpdate",
    "Rules",
    "Stake",
    "TaskChain",
    "compute_updates_digest",
]

Connect = Callable[[EmbeddedLedger], Ledger]
"""Puts a network in front of a file's log (``platoon.ledger.rpc``); without, the log's own engine executes."""
FLAG_PENALTY = 300_000
"""What a flag takes from a reputation where nothing else is said, ppm: a newcomer falls below ``rho_min``."""
_NOTHING = Tokens(0)
_BEGINNING = Instant(0)
_VIEW_BATCH = 1024
"""Accounts of one view."""


class TaskChain:
    """A task's chain on a ledger."""

    def __init__(self, ledger: Ledger, vehicles: Sequence[Address], rules: Rules) -> None:
        self.ledger = ledger
        self.rules = rules
        self.calls = Calls(contracts=ledger.contracts)
        self.membership = Membership(contracts=ledger.contracts)
        self.plausibility = PlausibilityCalls(contracts=ledger.contracts)
        self.agreements = AgreementCalls(contracts=ledger.contracts)
        registry = ledger.contracts.addresses["Registry"]
        self.registry = Domain(chain_id=ledger.chain_id, contract=registry).separator
        """What changes of pseudonyms bind."""
        training = ledger.contracts.addresses["Training"]
        self.task = Domain(chain_id=ledger.chain_id, contract=training).separator
        """Names the task: chain, contract and format in one digest; what signed updates bind."""
        self._token = ledger.contracts.addresses["Token"]
        self._vehicles = tuple(vehicles)
        self._ids = {address: VehicleId(i) for i, address in enumerate(vehicles)}
        """Of every account that is or was a vehicle's, as they come up."""
        self._seats = {
            Address(seat): EdgeServerId(i) for i, seat in enumerate(self._view("Registry", "members")[0])
        }
        self.committee = read_committee(
            self._view("Checkpoint", "committee")[0], self._view("Sealing", "REWARD")[0]
        )
        """Rules of the committees that seal local blocks."""
        self._tips = {address: self._read_tip(address) for address in self._seats}
        self._rounds: dict[int, dict[Address, dict[str, Any]]] = {}
        """Fields of a ``RecordedUpdate`` by vehicle, of the open round and the one before."""
        self._described: dict[int, tuple[RecordedUpdate, ...]] = {}
        self._conduct = ConductBook(self._seats, self._read_stakes)
        self._read_pseudonyms()
        self._answered = self._read_answers()
        self._last_round = 0
        self._reputations: Ints = np.empty(0, dtype=np.int64)
        self._reputations_head: Digest | None = None
        """The head at which ``_reputations`` is what the contract says: reading 100,000 vehicles takes 0.2 s."""

    # ---- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        chain_id: int,
        participants: Participants,
        rules: Rules,
        model: Digest,
        escrow: Tokens = _NOTHING,
        probes: Sequence[Digest],
        committee: CommitteeRules | None = None,
        sealing: Tokens = _NOTHING,
        purse: Tokens = _NOTHING,
        stake: Stake = NO_STAKE,
        attested: int = MILLION // 2,
        flag_penalty: int = FLAG_PENALTY,
        at: Instant = _BEGINNING,
        connect: Connect | None = None,
    ) -> "TaskChain":
        """Set a task up in a new file: contracts, registrations, escrow, stakes, committed probe sets (one per edge
        server, none where nothing is scored). Nothing is durable before the first ``commit``.

        Args:
            escrow: what the publisher pays in at once, without a request.
            sealing: the same for the budget of local blocks.
            purse: what the publisher has beside that, to be paid by its orders (``agreements``).
            attested: what a newcomer starts with that an edge server admits by its attestation (eq. 13), ppm.
            flag_penalty: what a plausibility flag takes from the reputation of each member of its cluster, ppm.

        Raises:
            ValueError: parameters out of bounds, or accounts that are not distinct.
        """
        check_participants(participants, Tokens(escrow + sealing + purse), stake)
        if probes and len(probes) != len(participants.edge_servers):
            raise ValueError(f"{len(probes)} probe sets for {len(participants.edge_servers)} edge servers")
        log = EmbeddedLedger.create(path, chain_id=chain_id, sealers=participants.edge_servers)
        ledger = connect(log) if connect is not None else log
        setup = sign_setup(
            participants,
            (model, write_rules(rules)),
            committee=committee or CommitteeRules(),
            attested=attested,
            flag_penalty=flag_penalty,
            funds=(escrow, sealing),
            purse=purse,
            stake=stake,
            probes=probes,
            chain_id=chain_id,
        )
        for receipt in ledger.submit(setup, at=at, round=0):
            if not receipt.ok:
                raise ValueError(f"the task cannot be set up: {receipt.error}")
        return cls(ledger, participants.vehicles, rules)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        edge_servers: Sequence[Account],
        vehicles: Sequence[Address],
        connect: Connect | None = None,
    ) -> "TaskChain":
        """Replay a task's file, to go on from its last commit; raises ``VerificationError``.

        ``vehicles``: the accounts that were registered; those in use now are on the ledger.
        """
        log = EmbeddedLedger.open(path, sealers=edge_servers)
        ledger = connect(log) if connect is not None else log
        call = ledger.contracts.call("Training", "parameters")
        chain = cls(ledger, vehicles, read_rules(ledger.read(call)[0]))
        newest = chain.round - 1
        for block in ledger.blocks():
            if block.header.round >= newest:
                results = [Result.decode(receipt) for receipt in block.receipts]
                chain._take_logs([log for result in results for log in result.logs])
            chain._last_round = block.header.round
        return chain

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self.ledger.close()

    # ---- writing ------------------------------------------------------------------------------------------------

    def sign(self, account: Account, call: Call, *, ahead: int = 0) -> bytes:
        """A call as a signed transaction. ``ahead``: how many of the account's own are signed but not submitted."""
        nonce = self.ledger.nonce(account.address) + ahead
        return sign_transaction(account, call, nonce=nonce, chain_id=self.ledger.chain_id)

    def submit(self, transactions: Sequence[bytes], *, round: int, at: Instant) -> tuple[Receipt, ...]:
        """Execute signed transactions in this order, as one block."""
        if self._reputations_head != self.ledger.head:
            self._reputations_head = None
        receipts = self.ledger.submit(transactions, at=at, round=round)
        self._last_round = round
        self._take_logs([log for receipt in receipts for log in receipt.logs])
        if self._reputations_head is not None:
            self._reputations_head = self.ledger.head
        return receipts

    def commit(self, checkpoint: str) -> None:
        """The run's single commit point: everything submitted so far, and the checkpoint's name, become durable."""
        self.ledger.commit(self._last_round, checkpoint)

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Digest:
        """Hash of the last block."""
        return self.ledger.head

    @property
    def checkpoint(self) -> str | None:
        """Name of the last durable checkpoint."""
        commit = self.ledger.last_commit
        return commit.checkpoint if commit is not None else None

    @property
    def round(self) -> int:
        """Number of the round that is open; the first is 1."""
        return int(self._view("Training", "round")[0])

    @property
    def vehicles(self) -> tuple[Address, ...]:
        """The account that each vehicle uses now, by id."""
        return self._vehicles

    @property
    def edge_servers(self) -> int:
        """Number of edge servers that were registered."""
        return len(self._seats)

    def reputations(self) -> Ints:
        """(N,) reputation of every vehicle, ppm."""
        self._know_reputations()
        return self._reputations.copy()

    def _know_reputations(self) -> None:
        if self._reputations_head != self.ledger.head:
            self._reputations = self._view_fleet("Training", "reputations")
            self._reputations_head = self.ledger.head

    def answered(self) -> Bools:
        """(N,) whether each vehicle has answered the task's request, under whatever account."""
        return self._answered.copy()

    @property
    def publisher(self) -> Address:
        """Whose task this is."""
        return Address(self._view("Agreements", "PUBLISHER")[0])

    def balances(self) -> Ints:
        """(N,) what the account holds that each vehicle uses now, 10^-6 token.

        What an earlier pseudonym earned stays with that account, until the vehicle moves it.
        """
        return self._view_fleet("Token", "balances")

    def escrow_left(self) -> Tokens:
        """What the publisher's escrow still holds."""
        return Tokens(self._view("Escrow", "available")[0])

    def updates(self, round: int) -> tuple[RecordedUpdate, ...]:
        """The recorded updates of the open round or the one before, in the contract's order, with verdicts,
        reputations and payments as far as they have come."""
        if round not in self._described:
            taken = self._rounds.get(round, {})
            self._described[round] = tuple([RecordedUpdate(**taken[address]) for address in sorted(taken)])
        return self._described[round]

    def conduct(self, round: int) -> tuple[Conduct, ...]:
        """What each edge server did in a settled round, by id: the last settled one, or the one before."""
        return self._conduct.rows(round)

    def open_cases(self) -> tuple[Case, ...]:
        """Clusters that are flagged or under appeal, by number."""
        count = int(self._view("Plausibility", "cases")[0])
        statuses = {number: self._view("Plausibility", "status", number)[0] for number in range(1, count + 1)}
        undecided = [n for n, status in statuses.items() if status in (Status.FLAGGED, Status.APPEALED)]
        return tuple(read_case(number, self._view("Plausibility", "case", number)) for number in undecided)

    def ground(self, vehicles: Sequence[Address]) -> Ground:
        """What the local blocks of the open round stand on; ``vehicles``: those whose updates they hold."""
        reputations = self.reputations()
        return Ground(
            head=self.head,
            tips=self.local_tips(),
            standings={
                vehicle: Standing(handle=number + 1, reputation=int(reputations[number]))
                for vehicle, number in ((vehicle, self._id(vehicle)) for vehicle in vehicles)
            },
        )

    def local_tips(self) -> tuple[LocalTip, ...]:
        """Where every edge server's local chain stands, by edge server."""
        return tuple(self._tips[address] for address in self._seats)

    def sealing_left(self) -> Tokens:
        """What the budget for local blocks still holds."""
        at = self.ledger.contracts.addresses["Sealing"]
        return Tokens(self._view("Token", "balanceOf", at)[0])

    def model_digest(self, round: int) -> Digest | None:
        """The model that the round ends with: what a majority voted for, or the model before where nothing was
        merged. None while it is undecided; of the open round and the one before."""
        open_round = self.round
        is_decided = round == open_round - 1 or (round == open_round and self._view("Training", "final")[0])
        return Digest(self._view("Training", "model")[0]) if is_decided else None

    def _view(self, contract: str, name: str, *arguments: Any) -> tuple[Any, ...]:
        return self.ledger.read(self.ledger.contracts.call(contract, name, *arguments))

    def _read_tip(self, edge_server: Address) -> LocalTip:
        height, _, unsealed, digest = self._view("Checkpoint", "tips", [edge_server])[0][0]
        forked = self._view("Checkpoint", "forked", edge_server)[0]
        return LocalTip(
            edge_server=edge_server, height=height, digest=Digest(digest), unsealed=unsealed, forked=forked
        )

    def _read_stakes(self) -> dict[Address, int]:
        """What each edge server that takes part has at stake."""
        seats, active = self._view("Registry", "members")
        stakes = self._view("Stakes", "stakes", seats)[0]
        return {Address(seat): stakes[i] for i, seat in enumerate(seats) if active >> i & 1}

    def _read_pseudonyms(self) -> None:
        handles = range(1, len(self._vehicles) + 1)
        batches = [handles[i : i + _VIEW_BATCH] for i in range(0, len(handles), _VIEW_BATCH)]
        renewed = [account for batch in batches for account in self._view("Registry", "accounts", batch)[0]]
        self._vehicles = tuple(
            Address(new) if any(new) else old for old, new in zip(self._vehicles, renewed, strict=True)
        )

    def _read_answers(self) -> Bools:
        handles = range(1, len(self._vehicles) + 1)
        batches = [handles[i : i + _VIEW_BATCH] for i in range(0, len(handles), _VIEW_BATCH)]
        said = [is_there for batch in batches for is_there in self._view("Agreements", "answered", batch)[0]]
        return np.array(said, dtype=np.bool_)

    def _id(self, account: Address) -> VehicleId:
        """The vehicle whose account this is, or was."""
        if account not in self._ids:
            handle = self._view("Registry", "handles", [account])[0][0]
            if handle == 0:
                raise ValueError(f"0x{account.hex()} never was a vehicle's account")
            self._ids[account] = VehicleId(handle - 1)
        return self._ids[account]

    def _view_fleet(self, contract: str, name: str) -> Ints:
        batches = [self.vehicles[i : i + _VIEW_BATCH] for i in range(0, len(self.vehicles), _VIEW_BATCH)]
        return np.array(
            [value for batch in batches for value in self._view(contract, name, batch)[0]], dtype=np.int64
        )

    # ---- folding events -----------------------------------------------------------------------------------------

    def _take_logs(self, logs: Sequence[Log]) -> None:
        """Fold what contracts said; transfers of tokens change nothing that is kept here."""
        token, decode = self._token, self.ledger.contracts.decode_log
        self._take([decode(log) for log in logs if log.address != token])

    def _take(self, events: Sequence[Event]) -> None:
        self._conduct.take(events)
        self._described.clear()
        if any(event.name == "Rotated" for event in events):
            self._read_pseudonyms()
        for _, name, values in events:
            if name == "Recorded":
                self._record(values)
            elif name == "Admitted" and self._reputations_head is not None:
                self._reputations[self._id(values["vehicle"])] = values["reputation"]
            elif name == "Judged":
                self._take_verdicts(values)
            elif name in ("Flagged", "Decided") and values["now"]:
                self._refresh_reputations()
            elif name == "Anchored":
                self._anchor(values)
            elif name == "Forked":
                tip = self._tips[values["edge_server"]]
                self._tips[values["edge_server"]] = replace(tip, forked=True)
            elif name == "Settled":
                self._take_standings(values)
            elif name == "Responded":
                self._answered[self._id(values["vehicle"])] = True

    def _take_verdicts(self, values: dict[str, Any]) -> None:
        taken = self._rounds.get(values["round"], {})
        is_scored = self.rules.rule is not Rule.NONE
        evidence = values["evidence"] if values["scorers"] else None
        for vehicle, score, valid, merged in map(unpack_verdict, values["verdicts"]):
            said = {"score": score if is_scored else None, "evidence": evidence}
            taken[vehicle].update(said, valid=valid, merged=merged)

    def _take_standings(self, values: dict[str, Any]) -> None:
        taken = self._rounds.get(values["round"], {})
        for address, word in zip(sorted(taken), values["standings"], strict=True):
            update, standing = taken[address], unpack_settlement(word)
            update["reputation_before"], update["reputation_after"] = standing.before, standing.now
            update["probation"] = self._is_probation(standing.before)
            update["reward"] = Tokens(standing.reward)
            if self._reputations_head is not None:
                self._reputations[update["vehicle"]] = standing.now

    def _record(self, values: dict[str, Any]) -> None:
        if self._reputations_head is None:
            self._know_reputations()
        number, server = values["round"], self._seats[values["edge_server"]]
        self._rounds = {kept: taken for kept, taken in self._rounds.items() if kept >= number - 1}
        taken = self._rounds.setdefault(number, {})
        for word, digest in zip(values["vehicles"], values["digests"], strict=True):
            address, samples = unpack_taken(word)
            vehicle = self._id(address)
            reputation = int(self._reputations[vehicle])
            taken[address] = {
                "vehicle": vehicle,
                "address": address,
                "edge_server": server,
                "digest": digest,
                "samples": samples,
                "reputation_before": reputation,
                "probation": self._is_probation(reputation),
            }

    def _refresh_reputations(self) -> None:
        """A flag, or one that is lifted, has moved reputations: the open round's updates count by them."""
        self._reputations_head = None
        taken = self._rounds.get(self.round, {})
        accounts = [self._vehicles[update["vehicle"]] for update in taken.values()]
        reputations = self._view("Training", "reputations", accounts)[0]
        for update, reputation in zip(taken.values(), reputations, strict=True):
            update["reputation_before"] = reputation
            update["probation"] = self._is_probation(reputation)

    def _anchor(self, values: dict[str, Any]) -> None:
        address, sealed = values["edge_server"], values["sealed"]
        tip = self._tips[address]
        if values["height"] > tip.height:  # else the views had it before its block was read again
            self._tips[address] = replace(
                tip,
                height=values["height"],
                digest=Digest(values["digest"]),
                unsealed=tip.unsealed + (not sealed),
            )
        for update in self._rounds.get(values["round"], {}).values():
            if update["edge_server"] == self._seats[address]:
                update["sealed"] = sealed

    def _is_probation(self, reputation: int) -> bool:
        return is_on_probation(self.rules, reputation)

"""One task's chain, as drivers and the protocol see it: calls to sign, transactions to submit, values to read.

Vehicles are known here by id (their row), on the chain by address. Updates of a round are always in the contract's
order, ascending by address, whatever the order in which they were recorded; scores follow it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from platoon.ledger.agreement_calls import AgreementCalls
from platoon.ledger.blocks import Result
from platoon.ledger.conduct import Conduct, ConductBook
from platoon.ledger.contracts import ContractSet, Event, Log
from platoon.ledger.engine import EmbeddedLedger, Ledger, Receipt
from platoon.ledger.membership import Membership
from platoon.ledger.model import read_committee, read_rules, write_rules
from platoon.ledger.plausibility import Case, PlausibilityCalls, Status, read_case
from platoon.ledger.task_setup import NO_STAKE, Participants, Stake, check_participants, sign_setup
from platoon.nouns import (
    MILLION,
    Address,
    Bools,
    Digest,
    EdgeServerId,
    Instant,
    Ints,
    SignedUpdate,
    Tokens,
    VehicleId,
    to_ppm,
)
from platoon.records.abi import Arguments
from platoon.records.committee import CommitteeRules, Standing
from platoon.records.encoding import EMPTY_DIGEST, compute_content_digest, keccak
from platoon.records.lanes import pack_scores
from platoon.records.local_block import LocalBlock, compute_record_digests
from platoon.records.merkle import compute_proof
from platoon.records.packed import unpack_settlement, unpack_taken, unpack_verdict
from platoon.records.rules import Payment, Rule, Rules, WeightRule
from platoon.records.signing import Account, split_signature
from platoon.records.transactions import Call, sign_transaction
from platoon.records.typed_data import Domain
from platoon.scenario import Scenario

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
    "compute_rules",
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
_UPDATES = Arguments([{"type": "uint256[]"}, {"type": "bytes32[]"}])


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedUpdate:
    """An update on the chain, with what has become of it so far."""

    vehicle: VehicleId
    address: Address
    edge_server: EdgeServerId
    """Which one recorded it."""
    digest: Digest
    samples: int
    reputation_before: int
    """Before the round, ppm."""
    probation: bool
    """Its vehicle is below rho_min under the default rule: scored, never merged, never paid."""
    score: int | None = None
    """Lower median of the edge servers' scores, ppm; None until judged, and where nothing is scored."""
    evidence: int | None = None
    """Lower median of how far the edge servers could tell honest from malicious, ppm; None as ``score``."""
    valid: bool | None = None
    """None until judged."""
    merged: bool = False
    """Enters the model and is paid; False until judged."""
    reputation_after: int | None = None
    """None until settled, ppm."""
    reward: Tokens = _NOTHING
    """Paid at settlement."""
    sealed: bool = False
    """Its edge server anchored the round's local block with a committee's seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTip:
    """Where an edge server's local chain stands."""

    edge_server: Address
    height: int = 0
    """Blocks anchored so far."""
    digest: Digest = Digest(EMPTY_DIGEST)  # noqa: RUF009 - a constant
    """Of the last one; zeros before the first."""
    unsealed: int = 0
    """Blocks that the edge server signed alone so far."""
    forked: bool = False
    """Two signed blocks for one height (of one round) were reported: the chain is not extended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a round's local blocks stand on: from it all make the same blocks and draw the same committees."""

    head: Digest
    """Hash of the last global block: the seed of the draw."""
    tips: tuple[LocalTip, ...]
    """By edge server."""
    standings: Mapping[Address, Standing]
    """Of the vehicles that were asked about."""


def compute_rules(scenario: Scenario, *, judged: bool, weights: WeightRule, threshold: float) -> Rules:
    """The integer rules that a scenario and a method give; ``threshold`` is the score's Q_min, resolved."""
    trust, reward = scenario.trust, scenario.reward
    scored = Rule.DEFAULT if trust.rule == "default" else Rule.AS_WRITTEN
    return Rules(
        rule=scored if judged else Rule.NONE,
        weights=weights,
        payment=Payment.POOL if reward.formula == "pool" else Payment.BASE_BONUS,
        beta=to_ppm(trust.beta),
        rho_min=to_ppm(trust.rho_min),
        start=to_ppm(trust.start if trust.newcomers == "start" else trust.rho_min),
        threshold=to_ppm(threshold),
        penalty=to_ppm(trust.penalty),
        pool=to_ppm(reward.pool_tokens),
        base=to_ppm(reward.base_tokens),
        bonus=to_ppm(reward.bonus_tokens),
        mean_tolerance=to_ppm(scenario.stake.mean_tolerance),
        single_tolerance=to_ppm(scenario.stake.single_tolerance),
        most_samples=scenario.partition.samples,
        description=int.from_bytes(describe_scenario(scenario), "big"),
    )


def describe_scenario(scenario: Scenario) -> Digest:
    """SHA-256 of a scenario's description."""
    return compute_content_digest(write_description(scenario))


def write_description(scenario: Scenario) -> bytes:
    """Everything in a scenario that a run depends on, as JSON: not the number of workers, nor which engine keeps
    the ledger and where, nor whether its own traffic was recorded and is replayed. What a publisher asks for."""
    engine = {"engine": True, "url": True, "deadline_s": True, "confirmations": True}
    described = scenario.model_dump(
        mode="json", exclude={"workers": True, "ledger": engine, "roads": {"replay": True}}
    )
    return json.dumps(described, sort_keys=True).encode()


def compute_updates_digest(updates: Sequence[RecordedUpdate]) -> Digest:
    """The hash that names the set of updates that a score judges; ``updates`` in the contract's order."""
    heads = [
        int.from_bytes(update.address, "big") << 88 | update.samples << 56 | update.edge_server
        for update in updates
    ]
    return keccak(_UPDATES.encode([heads, [update.digest for update in updates]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Builds the calls of a round; whoever signs one as a transaction is its sender."""

    contracts: ContractSet

    def record(self, round: int, updates: Sequence[SignedUpdate]) -> Call:
        """What reached this edge server in the round, possibly nothing; at most one update per vehicle."""
        entries = [_entry(update) for update in sorted(updates, key=lambda update: update.vehicle)]
        if any(a[0] == b[0] for a, b in pairwise(entries)):
            raise ValueError("two updates of one vehicle in one record")
        return self.contracts.call("Training", "record", round, entries)

    def commit_probe(self, digest: Digest) -> Call:
        """Binds this edge server to the probe set it scores with; before the first updates are recorded."""
        return self.contracts.call("Training", "commit_probe", digest)

    def score(
        self, round: int, updates: Sequence[RecordedUpdate], values: Sequence[int], evidence: int
    ) -> Call:
        """Scores (ppm) of these updates, in their order, and the evidence (ppm)."""
        if len(values) != len(updates):
            raise ValueError(f"{len(values)} scores for {len(updates)} updates")
        digest = compute_updates_digest(updates)
        return self.contracts.call("Training", "score", round, digest, pack_scores(values, evidence))

    def judge(self, round: int) -> Call:
        """Has the contract take the medians and give the verdicts."""
        return self.contracts.call("Training", "judge", round)

    def vote(self, round: int, digest: Digest) -> Call:
        """This edge server's vote for the digest of the merged model."""
        return self.contracts.call("Training", "vote", round, digest)

    def settle(self, round: int) -> Call:
        """Moves reputations, pays, opens the next round."""
        return self.contracts.call("Training", "settle", round)

    def anchor(self, block: LocalBlock, committee: Sequence[Address], seals: Sequence[bytes]) -> Call:
        """This edge server's local block; ``seals``: signatures of its hash, ascending by signer."""
        return self.contracts.call(
            "Checkpoint",
            "anchor",
            *(block.round, block.height, block.parent, block.root, block.count),
            list(committee),
            [split_signature(seal) for seal in seals],
        )

    def report_fork(self, block: LocalBlock, seals: Sequence[bytes]) -> Call:
        """Evidence: a block that its edge server signed in a round of which it has anchored another."""
        return self.contracts.call(
            "Checkpoint",
            "report_fork",
            *(block.edge_server, block.round, block.height, block.parent, block.root, block.count),
            [split_signature(seal) for seal in seals],
        )

    def release(self, block: LocalBlock, updates: Sequence[SignedUpdate], signers: Sequence[Address]) -> Call:
        """Pays a sealed block's signers, by proofs of the vehicles' updates; ``updates``: all of the block."""
        ordered = sorted(updates, key=lambda update: update.vehicle)
        digests = compute_record_digests(ordered)
        positions = {update.vehicle: i for i, update in enumerate(ordered)}
        claims, proof = [], []
        for signer in signers:
            if signer == block.edge_server:
                continue
            position = positions[signer]
            path, update = compute_proof(digests, position), ordered[position]
            claims.append((signer, update.digest, update.samples, position, len(path)))
            proof += path
        return self.contracts.call(
            "Sealing", "release", block.edge_server, block.round, list(signers), claims, proof
        )

    def close(self) -> Call:
        """The publisher ends the task."""
        return self.contracts.call("Training", "close")

    def withdraw(self) -> Call:
        """The publisher takes back what the escrow of a closed task still holds."""
        return self.contracts.call("Escrow", "withdraw")

    def withdraw_stake(self) -> Call:
        """An edge server takes back what is left of its stake in a closed task."""
        return self.contracts.call("Stakes", "withdraw")

    def revoke(self, account: Address) -> Call:
        """The operator ends an account's part for good; of a vehicle, whichever of its pseudonyms is named."""
        return self.contracts.call("Registry", "revoke", account)


def _entry(update: SignedUpdate) -> tuple[Any, ...]:
    return (update.vehicle, update.digest, update.samples, *split_signature(update.signature))


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
        return self.rules.rule is Rule.DEFAULT and reputation < self.rules.rho_min

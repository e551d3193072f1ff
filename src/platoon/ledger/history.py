"""What a ledger's file says, for people: a fold over its blocks that names senders, scores, verdicts and payments.

It reads and explains; it checks nothing beyond the form of what it reads. ``ledger.audit`` checks. What comes out
are plain values for JSON: digests and addresses as hex, tokens and ppm as the record has them, in integers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platoon.errors import UserError, VerificationError
from platoon.ledger.blocks import MAX_NUMBER, Block, Result, recover_sealers
from platoon.ledger.chain_log import ChainLog
from platoon.ledger.contracts import CONTRACTS, ContractSet, Event, compute_set_digest
from platoon.ledger.history_cases import CaseBook
from platoon.ledger.history_papers import EVENTS, PaperBook, Sent, explain, join_signature
from platoon.ledger.model import read_rules
from platoon.ledger.model_registry import VEHICLE
from platoon.ledger.model_stakes import REASONS, STEPS, unpack
from platoon.ledger.model_training import Refusal
from platoon.nouns import Address
from platoon.records.encoding import keccak
from platoon.records.lanes import unpack_scores
from platoon.records.packed import Settlement, Verdict, unpack_settlement, unpack_taken, unpack_verdict
from platoon.records.transactions import Transaction, decode_transaction
from platoon.records.typed_data import Domain

_ROLES = {1: "edge server", 2: "vehicle", 3: "publisher"}
Json = dict[str, Any]


def show_task(path: Path, task: str | None = None) -> Json:
    """The task: who takes part, its rules, and a row per round.

    Raises:
        UserError: another task was asked for.
        VerificationError: no ledger of a known format.
    """
    history = _History()
    for _ in history.read(path):
        pass
    found = history.describe_task()
    wanted = (task or "").lower().removeprefix("0x")
    if task is not None and not (len(wanted) >= 4 and found["task"].startswith("0x" + wanted)):
        raise UserError(f"--task {task}: not in this run; its task is {found['task']} (4 digits are enough)")
    return found


def show_block(path: Path, number: int) -> Json:
    """One block: who sent what, what became of it, and who sealed it; raises as ``show_task``."""
    height = -1
    for block in _History().read(path):
        height = block["block"]
        if height == number:
            return block
    raise UserError(f"--block {number}: not in this ledger; allowed: 0 to {height}")


def show_vehicle(path: Path, vehicle: str) -> Json:
    """One vehicle: every round it took part in; by its number or its address; raises as ``show_task``."""
    history = _History()
    for _ in history.read(path):
        pass
    number = history.find_vehicle(vehicle)
    accounts = [account for account, owner in history.owners.items() if owner == number]
    rounds = [
        history.describe_update(row, update)
        for row in history.rounds.values()
        for account in accounts
        for update in row.updates.get(account, [])
    ]
    return {
        "vehicle": number,
        "address": _hex(history.vehicles[number]),
        "earlier_addresses": [_hex(account) for account in accounts[:-1]],
        "revoked": history.vehicles[number] in history.revoked,
        "reputation": history.reputations.get(number, history.start),
        "paid": sum(row["reward"] or 0 for row in rounds),
        "rounds": rounds,
        **history.describe_papers(accounts),
        "other_events": [event for account in accounts for event in history.mentions.get(account, [])],
    }


@dataclass(kw_only=True)
class _Update:
    """An update, recorded or refused."""

    block: int
    edge_server: Address
    digest: bytes
    samples: int | None
    refused: str | None = None
    verdict: Verdict | None = None
    standing: Settlement | None = None


@dataclass(kw_only=True)
class _Round:
    """What a round has come to."""

    round: int
    first_block: int
    last_block: int
    updates: dict[Address, list[_Update]] = field(default_factory=dict)
    """By vehicle, refused ones included."""
    scores: dict[Address, tuple[list[int], int]] = field(default_factory=dict)
    """By edge server: scores in ascending order of the recorded vehicles' addresses, and the evidence."""
    deviations: Json = field(default_factory=dict)
    evidence: int | None = None
    votes: dict[Address, bytes] = field(default_factory=dict)
    anchors: dict[Address, Json] = field(default_factory=dict)
    """Local blocks, by edge server."""
    named: list[Json] = field(default_factory=list)
    absent: list[Json] = field(default_factory=list)
    model: bytes | None = None
    paid: int | None = None

    @property
    def recorded(self) -> list[Address]:
        """Vehicles whose update was taken, ascending by address."""
        return sorted(a for a, updates in self.updates.items() if any(u.refused is None for u in updates))

    def taken(self, vehicle: Address) -> _Update:
        """The vehicle's update that was recorded."""
        return next(update for update in self.updates[vehicle] if update.refused is None)


class _History:
    """The fold."""

    def __init__(self) -> None:
        self.rounds: dict[int, _Round] = {}
        self.vehicles: list[Address] = []
        """The account that each uses now, by number."""
        self.owners: dict[Address, int] = {}
        """The vehicle of every account that is or was one's, in the order in which they were taken."""
        self.edge_servers: list[Address] = []
        self.revoked: set[Address] = set()
        self.reputations: dict[int, int] = {}
        """Of vehicles that were judged, admitted or flagged, ppm, by number."""
        self._cases = CaseBook()
        self._papers = PaperBook()
        self.mentions: dict[Address, list[Json]] = {}
        self.start = 0
        """Reputation of a newcomer."""
        self._members: set[Address] = set()
        """Every account that the Registry knows."""
        self._names: dict[Address, str] = {}
        self._contracts: ContractSet | None = None
        self._arguments: dict[str, tuple[Any, ...]] = {}
        self._stakes: dict[Address, int] = {}
        self._chain_id = 0
        self._head = b""
        self._blocks = self._transactions = 0

    @property
    def contracts(self) -> ContractSet:
        """The task's; raises ``VerificationError`` before its first block."""
        if self._contracts is None:
            raise VerificationError("an empty ledger")
        return self._contracts

    def read(self, path: Path) -> Iterator[Json]:
        """Folds the file, a described block at a time."""
        log = ChainLog(path, create=False)
        try:
            for block in log.blocks():
                if block.header.contracts != compute_set_digest():
                    raise VerificationError(
                        f"block {block.header.height}: contract set {block.header.contracts.hex()} is not known"
                    )
                try:
                    yield self._take_block(block)
                except ValueError as error:
                    raise VerificationError(f"block {block.header.height}: {error}") from None
        finally:
            log.close()
        if not self._blocks:
            raise VerificationError(f"{path}: an empty ledger")

    # ---- blocks and transactions --------------------------------------------------------------------------------

    def _take_block(self, block: Block) -> Json:
        header = block.header
        transactions = [
            self._take_transaction(raw, receipt, header.height)
            for raw, receipt in zip(block.transactions, block.receipts, strict=True)
        ]
        self._head = header.compute_hash(self.contracts.addresses["Registry"])
        self._chain_id = header.chain_id
        self._blocks += 1
        self._transactions += len(transactions)
        return {
            "block": header.height,
            "hash": _hex(self._head),
            "parent": _hex(header.parent),
            "round": header.round,
            "at_us": header.at,
            "sealed_by": [self._name(sealer) for sealer in recover_sealers(self._head, block.seals)],
            "transactions": transactions,
        }

    def _take_transaction(self, raw: bytes, receipt: bytes, height: int) -> Json:
        transaction, result = decode_transaction(raw), Result.decode(receipt)
        if self._contracts is None:
            self._contracts = ContractSet(transaction.sender)
            self._names = {address: name for name, address in self._contracts.addresses.items()}
            self._names[transaction.sender] = "operator"
        contract, function, arguments = self._decode(transaction)
        sender = self._name(transaction.sender)
        events = [self.contracts.decode_log(log) for log in result.logs]
        sent = Sent(height, transaction.sender, contract, function, arguments, result.error, events)
        self._papers.take(sent)
        for event in events:
            self._take_event(event, height)
        if result.ok and (contract, function) == ("Training", "score"):
            row = self._round(arguments["round"], height)
            row.scores[transaction.sender] = unpack_scores(arguments["words"], len(row.recorded))
            arguments = self._explain_scores(row, transaction.sender, arguments)
        elif result.ok and (contract, function) == ("Registry", "rotate"):
            for retired, renewed, *_ in arguments["rotations"]:
                self._rotate(Address(retired), Address(renewed))
        elif (contract, function) == ("Training", "record"):
            arguments = arguments | {"entries": [_describe_entry(entry) for entry in arguments["entries"]]}
        else:
            arguments = explain(contract, function, arguments)
        return {
            "hash": _hex(keccak(raw)),
            "sender": sender,
            "nonce": transaction.nonce,
            "contract": contract,
            "function": function,
            "arguments": self._show(arguments),
            "ok": result.ok,
            "error": result.error,
            "events": [{"contract": e.contract, "event": e.name, **self._show(e.values)} for e in events],
        }

    def _decode(self, transaction: Transaction) -> tuple[str, str, Json]:
        call = transaction.call
        if call.to is None:
            name = CONTRACTS[transaction.nonce]
            values = self.contracts.decode_deployment(call, transaction.nonce)
            self._arguments[name] = values
            if name == "Training":
                self.start = read_rules(values[-1]).start
            return name, "deploy", {"arguments": values}
        function, values = self.contracts.decode_call(call)
        return function.contract, function.name, dict(zip(function.parameters, values, strict=True))

    def _explain_scores(self, row: _Round, server: Address, arguments: Json) -> Json:
        scores, evidence = row.scores[server]
        by_vehicle = {self._name(v): score for v, score in zip(row.recorded, scores, strict=True)}
        return {"round": arguments["round"], "updates": arguments["updates"], "scores": by_vehicle} | {
            "evidence": evidence
        }

    # ---- events -------------------------------------------------------------------------------------------------

    def _take_event(self, event: Event, height: int) -> None:
        values = event.values
        if event.name == "Registered":
            self._register(values["role"], values["accounts"])
        elif event.name == "Revoked":
            self.revoked.add(values["account"])
        elif event.name in ("Deposited", "Returned"):
            change = values["amount"] if event.name == "Deposited" else -values["amount"]
            self._stakes[values["edge_server"]] = self._stakes.get(values["edge_server"], 0) + change
        elif event.contract == "Plausibility":
            seats = {address: i for i, address in enumerate(self.edge_servers)}
            self.reputations |= self._cases.take(event, self.owners, seats)
        elif event.name == "Admitted":
            self.reputations[self.owners[values["vehicle"]]] = values["reputation"]
        elif event.contract in ("Training", "Stakes") and "round" in values:
            self._take_of_round(event, self._round(values["round"], height), height)
            return
        elif event.name == "Anchored":
            anchor = {
                "height": values["height"],
                "digest": _hex(values["digest"]),
                "sealed": values["sealed"],
            }
            self._round(values["round"], height).anchors[values["edge_server"]] = anchor
        for account in _find_addresses(values):
            if account in self._names and self._names[account].startswith("vehicle"):
                said = {
                    "block": height,
                    "contract": event.contract,
                    "event": event.name,
                    **self._show(values),
                }
                if event.name not in ("Registered", "Transfer", "Reported") and event.name not in EVENTS:
                    self.mentions.setdefault(account, []).append(said)

    def _rotate(self, retired: Address, renewed: Address) -> None:
        """A vehicle goes on under another account, unless the Registry has passed over it."""
        number = self.owners.get(retired)
        if number is None or self.vehicles[number] != retired or retired in self.revoked:
            return
        if renewed not in self._members:
            self.vehicles[number] = renewed
            self.owners[renewed] = number
            self._members.add(renewed)
            self._names[renewed] = self._names[retired]

    def _register(self, role: int, accounts: Sequence[Address]) -> None:
        self._members.update(accounts)
        for account in accounts:
            if role == VEHICLE:
                self.owners[account] = len(self.vehicles)
            kept = {1: self.edge_servers, 2: self.vehicles}.get(role)
            if kept is not None:
                kept.append(account)
            number = "" if kept is None else f" {len(kept) - 1}"
            self._names[account] = _ROLES[role] + number

    def _round(self, number: int, height: int) -> _Round:
        row = self.rounds.setdefault(number, _Round(round=number, first_block=height, last_block=height))
        row.last_block = height
        return row

    def _take_of_round(self, event: Event, row: _Round, height: int) -> None:
        values = event.values
        if event.name == "Refused":
            server, refused = values["edge_server"], _refusal(values["reason"])
            update = _Update(
                block=height, edge_server=server, digest=values["digest"], samples=None, refused=refused
            )
            row.updates.setdefault(values["vehicle"], []).append(update)
        elif event.name == "Recorded":
            for word, digest in zip(values["vehicles"], values["digests"], strict=True):
                vehicle, samples = unpack_taken(word)
                update = _Update(
                    block=height, edge_server=values["edge_server"], digest=digest, samples=samples
                )
                row.updates.setdefault(vehicle, []).append(update)
        elif event.name == "Deviations":
            seats = [i for i in range(len(self.edge_servers)) if values["scorers"] >> i & 1]
            row.deviations = {str(i): value for i, value in zip(seats, values["values"], strict=True)}
        elif event.name == "Judged":
            for verdict in map(unpack_verdict, values["verdicts"]):
                row.taken(verdict.vehicle).verdict = verdict
            row.evidence = values["evidence"] if values["scorers"] else None
        elif event.name == "Voted":
            row.votes[values["edge_server"]] = values["digest"]
        elif event.name == "Settled":
            for vehicle, word in zip(row.recorded, values["standings"], strict=True):
                standing = row.taken(vehicle).standing = unpack_settlement(word)
                self.reputations[self.owners[vehicle]] = standing.now
            row.model, row.paid = values["model"], values["paid"]
        elif event.name == "Named":
            who, reasons = self.edge_servers.index(values["edge_server"]), unpack(values["reasons"], REASONS)
            row.named.append({"edge_server": who, "reasons": reasons, "taken": values["taken"]})
            self._stakes[values["edge_server"]] = values["left"]
        elif event.name == "Absent":
            who, steps = self.edge_servers.index(values["edge_server"]), unpack(values["steps"], STEPS)
            row.absent.append({"edge_server": who, "steps": steps})

    # ---- descriptions -------------------------------------------------------------------------------------------

    def find_vehicle(self, vehicle: str) -> int:
        """By number, or by an address that it has or had; raises ``UserError``."""
        if vehicle.isdecimal() and int(vehicle) < len(self.vehicles):
            return int(vehicle)
        for address, number in self.owners.items():
            if _hex(address) == vehicle.lower():
                return number
        raise UserError(
            f"--vehicle {vehicle}: not in this ledger; allowed: 0 to {len(self.vehicles) - 1}, or an address"
        )

    def describe_task(self) -> Json:
        """The whole task."""
        training = self.contracts.addresses["Training"]
        names = {name: address for address, name in self._names.items()}
        return {
            "task": _hex(Domain(chain_id=self._chain_id, contract=training).separator),
            "chain_id": self._chain_id,
            "contracts": {name: _hex(address) for name, address in self.contracts.addresses.items()},
            "operator": _hex(self.contracts.operator),
            "publisher": _hex(names["publisher"]) if "publisher" in names else None,
            "rules": _describe_rules(self._arguments["Training"][-1]),
            "edge_servers": [
                {
                    "edge_server": i,
                    "address": _hex(address),
                    "stake": self._stakes.get(address, 0),
                    "revoked": address in self.revoked,
                }
                for i, address in enumerate(self.edge_servers)
            ],
            "vehicles": len(self.vehicles),
            "blocks": self._blocks,
            "transactions": self._transactions,
            "head": _hex(self._head),
            "rounds": [self._describe_round(row) for row in self.rounds.values()],
            "cases": self._cases.describe(),
            **self._papers.describe(self._show),
        }

    def describe_papers(self, accounts: Sequence[Address]) -> Json:
        """A vehicle's answer, certificates and payments by order; ``accounts``: all that it ever had."""
        return self._papers.describe_vehicle(accounts, self._show)

    def _describe_round(self, row: _Round) -> Json:
        taken = [row.taken(vehicle) for vehicle in row.recorded]
        votes: dict[str, list[int]] = {}
        for server, digest in row.votes.items():
            votes.setdefault(_hex(digest), []).append(self.edge_servers.index(server))
        return {
            "round": row.round,
            "blocks": [row.first_block, row.last_block],
            "updates": len(taken),
            "valid": sum(bool(update.verdict and update.verdict.valid) for update in taken),
            "merged": sum(bool(update.verdict and update.verdict.merged) for update in taken),
            "evidence": row.evidence,
            "deviations": row.deviations,
            "votes": votes,
            "local_blocks": {str(self.edge_servers.index(s)): anchor for s, anchor in row.anchors.items()},
            "model": None if row.model is None else _hex(row.model),
            "paid": row.paid,
            "named": row.named,
            "absent": row.absent,
        }

    def describe_update(self, row: _Round, update: _Update) -> Json:
        """One update, with what every edge server thought of it."""
        vehicle = next(v for v, updates in row.updates.items() if any(u is update for u in updates))
        verdict, standing = update.verdict, update.standing
        place = row.recorded.index(vehicle) if update.refused is None else None
        return {
            "round": row.round,
            "block": update.block,
            "edge_server": self.edge_servers.index(update.edge_server),
            "digest": _hex(update.digest),
            "samples": update.samples,
            "refused": update.refused,
            "scores": {
                str(self.edge_servers.index(server)): scores[place]
                for server, (scores, _) in row.scores.items()
                if place is not None
            },
            "median": verdict.score if verdict and row.evidence is not None else None,
            "valid": verdict.valid if verdict else None,
            "merged": verdict.merged if verdict else None,
            "reputation_before": standing.before if standing else None,
            "reputation_after": standing.now if standing else None,
            "reward": standing.reward if standing else None,
        }

    def _name(self, address: Address) -> str:
        return self._names.get(address, _hex(address))

    def _show(self, value: Any) -> Any:
        """Any decoded value as JSON; accounts by their names."""
        if isinstance(value, bytes):
            known = self._names.get(Address(value)) if len(value) == 20 else None
            return known or _hex(value)
        if isinstance(value, dict):
            return {key: self._show(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._show(inner) for inner in value]
        return hex(value) if isinstance(value, int) and not -MAX_NUMBER <= value <= MAX_NUMBER else value


def _describe_rules(parameters: Sequence[int]) -> Json:
    rules = read_rules(parameters)
    names = [name for name in rules.__slots__ if name not in ("rule", "weights", "payment", "description")]
    kinds = {name: getattr(rules, name).name.lower() for name in ("rule", "weights", "payment")}
    numbers = {name: getattr(rules, name) for name in names}
    return kinds | numbers | {"description": _hex(rules.description.to_bytes(32, "big"))}


def _describe_entry(entry: Sequence[Any]) -> Json:
    vehicle, digest, samples, v, r, s = entry
    return {"vehicle": vehicle, "digest": digest, "samples": samples, "signature": join_signature(v, r, s)}


def _refusal(reason: int) -> str:
    return Refusal(reason).name.lower().replace("_", " ")


def _find_addresses(values: Json) -> Iterator[Address]:
    for value in values.values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, bytes) and len(part) == 20:
                yield Address(part)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()

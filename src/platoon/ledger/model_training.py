"""The reference of ``Training.vy``: the same checks in the same order, formulas from ``records.rules``.

Handlers check first and change afterwards, so that a rejected call leaves the state untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_accounts import Escrow
from platoon.ledger.model_registry import VEHICLE, Registry, is_signed_by, require
from platoon.ledger.model_stakes import Stakes
from platoon.nouns import MILLION, Address, Digest
from platoon.records.abi import Arguments
from platoon.records.encoding import EMPTY_DIGEST, keccak
from platoon.records.lanes import LANES, unpack_lanes, unpack_scores
from platoon.records.packed import Settlement, Taken, Verdict, pack_settlement, pack_taken, pack_verdict
from platoon.records.rules import (
    MAX_UPDATES,
    MIN_SCORERS,
    Rule,
    Rules,
    compute_deviation,
    compute_lower_median,
    compute_next_standing,
    compute_quorum,
    compute_rewards,
    has_majority,
    is_far,
    is_merged,
    is_valid,
)
from platoon.records.typed_data import compute_update_digest

_UPDATES = Arguments([{"type": "uint256[]"}, {"type": "bytes32[]"}])
_MAX_ROUND = 2**63 - 1


class Phase(IntEnum):
    """Of the open round."""

    RECORDING = 0
    SCORING = 1
    JUDGED = 2


class Refusal(IntEnum):
    """Why an entry of a record was skipped."""

    NOT_A_VEHICLE = 1
    RECORDED_BEFORE = 2
    FULL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUpdate:
    """An update of the open round."""

    vehicle: Address
    edge_server: Address
    digest: Digest
    samples: int
    score: int | None = None
    valid: bool = False
    merged: bool = False
    before: int = 0
    after: int = 0
    gathered: int = 0
    reward: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What an edge server did in a round."""

    edge_server: Address
    deviation: int | None
    """Mean distance of its scores from the medians, ppm; None where it did not score."""
    is_far: bool
    """Its scores lie far off the medians."""
    dissents: bool
    """It voted another model than the elected."""
    missed: int
    """Steps it was absent from: 1 record, 2 score, 4 vote, or their sum."""
    taken: int = 0
    """Of its stake."""
    stake: int = 0
    """Left after the round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledRound:
    """A round as it was settled."""

    round: int
    updates: tuple[ModelUpdate, ...]
    """Ascending by address."""
    evidence: int
    model_before: Digest
    model: Digest
    paid: int
    conduct: tuple[Conduct, ...]
    """Of the edge servers that take part, by seat."""


@dataclass(kw_only=True)
class OpenRound:
    """What the open round has gathered."""

    round: int
    phase: Phase = Phase.RECORDING
    recorded_by: set[Address] = field(default_factory=set)
    updates: dict[Address, ModelUpdate] = field(default_factory=dict)
    """By vehicle, in the order of recording."""
    updates_digest: Digest = EMPTY_DIGEST
    scores: dict[Address, tuple[int, ...]] = field(default_factory=dict)
    """By edge server: the evidence, then the scores."""
    evidence: int = 0
    deviations: dict[Address, tuple[int, int]] = field(default_factory=dict)
    """By edge server that scored: mean and largest distance from the medians, ppm."""
    flagged: set[int] = field(default_factory=set)
    """Vehicles whose update is not merged, nor raises their reputation, by id."""
    votes: dict[Address, Digest] = field(default_factory=dict)
    """In the order of voting."""
    final: bool = False
    model: Digest | None = None
    """The elected one."""


@dataclass(kw_only=True)
class Training:
    """The task chain's state."""

    address: Address
    task: Digest
    publisher: Address
    registry: Registry
    escrow: Escrow
    stakes: Stakes
    plausibility: Address
    rules: Rules
    model: Digest
    closed: bool = False
    open: OpenRound = field(default_factory=lambda: OpenRound(round=1))
    reputations: dict[int, int] = field(default_factory=dict)
    """Of vehicles that were ever recorded, by id: they outlive pseudonyms."""
    gathered: dict[int, int] = field(default_factory=dict)
    """Evidence of whom the evidence rule has judged, by id, ppm."""
    probes: dict[Address, Digest] = field(default_factory=dict)
    settled: list[SettledRound] = field(default_factory=list)
    """For whoever folds to take away: what the contract forgets."""

    def reputation(self, vehicle: Address) -> int:
        """A newcomer starts with what it was admitted with, or at ``rules.start``."""
        number = self.registry.vehicles.get(vehicle, -1)
        return self.reputations.get(number, self.registry.starts.get(number, self.rules.start))

    def is_newcomer(self, vehicle: Address) -> bool:
        """Whether no update of this vehicle was ever recorded."""
        return self.registry.vehicles.get(vehicle) not in self.reputations

    def record(self, sender: Address, round_number: int, entries: Sequence[tuple[Any, ...]]) -> list[Event]:
        """What reached an edge server."""
        require(len(entries) <= MAX_UPDATES, "reverted")
        self._enter(sender, round_number)
        require(self.open.phase is Phase.RECORDING, "recording is over")
        require(sender not in self.open.recorded_by, "recorded before")
        events, taken, last = [], dict(self.open.updates), bytes(20)
        who = {"round": round_number, "edge_server": sender}
        for entry in entries:
            vehicle, digest, samples = entry[:3]
            require(vehicle > last, "vehicles not ascending")
            require(0 < samples <= self.rules.most_samples, "samples out of bounds")
            require(self._is_signed(round_number, entry), "bad signature")
            last = vehicle
            refusal = self._refusal(vehicle, taken)
            if refusal is not None:
                values = {"vehicle": vehicle, "digest": digest, "reason": int(refusal)}
                events.append(Event("Training", "Refused", who | values))
                continue
            taken[vehicle] = ModelUpdate(vehicle=vehicle, edge_server=sender, digest=digest, samples=samples)
        new = list(taken.values())[len(self.open.updates) :]
        said: dict[str, Any] = {
            "vehicles": tuple(pack_taken(Taken(update.vehicle, update.samples)) for update in new),
            "digests": tuple(update.digest for update in new),
        }
        if new:
            events.append(Event("Training", "Recorded", who | said))
        self.open.recorded_by.add(sender)
        self.open.updates = taken
        for vehicle in taken:
            self.reputations.setdefault(self.registry.vehicles[vehicle], self.reputation(vehicle))
        return events

    def commit_probe(self, sender: Address, digest: Digest) -> list[Event]:
        """An edge server binds itself to a probe set."""
        self._enter(sender, self.open.round)
        require(self.open.phase is Phase.RECORDING and not self.open.updates, "updates are recorded")
        require(sender not in self.probes, "committed before")
        require(digest != EMPTY_DIGEST, "no digest")
        self.probes[sender] = digest
        return [Event("Training", "ProbeCommitted", {"edge_server": sender, "digest": digest})]

    def score(self, sender: Address, round_number: int, updates: Digest, words: Sequence[int]) -> list[Event]:
        """One edge server's judgement of all updates."""
        require(len(words) <= MAX_UPDATES // LANES + 1, "reverted")
        self._enter(sender, round_number)
        require(self.rules.rule is not Rule.NONE, "nothing is scored")
        require(sender in self.probes, "no probe committed")
        events, closed = self._close_recording()
        require(closed.phase is Phase.SCORING, "scoring is over")
        require(sender not in closed.scores, "scored before")
        require(updates == closed.updates_digest, "other updates")
        count, lanes = len(closed.updates), unpack_lanes(words)
        require(count > 0 and len(words) == count // LANES + 1, "number of scores")
        require(not any(lanes[count + 1 :]), "number of scores")
        require(lanes[0] <= MILLION, "evidence out of bounds")
        require(all(lane <= 2 * MILLION for lane in lanes), "score out of bounds")
        values, evidence = unpack_scores(words, count)
        self.open = closed
        closed.scores[sender] = (evidence, *values)
        scored = {"round": round_number, "edge_server": sender, "evidence": evidence}
        return [*events, Event("Training", "Scored", scored)]

    def judge(self, sender: Address, round_number: int) -> list[Event]:
        """Medians and verdicts."""
        self._enter(sender, round_number)
        events, closed = self._close_recording()
        require(closed.phase is Phase.SCORING, "judged before")
        active = self.registry.active
        scorers = [server for server in self.registry.seats if server in closed.scores and server in active]
        medians: list[int] | None = None
        if self.rules.rule is not Rule.NONE and closed.updates:
            require(len(scorers) >= compute_quorum(len(active)), "scores lack a quorum")
            columns = zip(*(closed.scores[server] for server in scorers), strict=True)
            medians = [compute_lower_median(column) for column in columns]
        self.open = closed
        closed.evidence = medians[0] if medians else 0
        if medians:
            closed.deviations = {
                server: compute_deviation(closed.scores[server][1:], medians[1:]) for server in scorers
            }
            seats = sum(1 << self.registry.seats[server] for server in scorers)
            means = tuple(mean for mean, _ in closed.deviations.values())
            values = {"round": round_number, "scorers": seats, "values": means}
            events.append(Event("Training", "Deviations", values))
        for i, vehicle in enumerate(sorted(closed.updates)):
            closed.updates[vehicle] = self._verdict(
                closed.updates[vehicle], medians[i + 1] if medians else None
            )
        merged = sum(update.merged for update in closed.updates.values())
        closed.phase, closed.final = Phase.JUDGED, merged == 0
        judged: dict[str, Any] = {"evidence": closed.evidence, "scorers": len(scorers), "merged": merged}
        judged["verdicts"] = tuple(_pack_verdict(closed.updates[v]) for v in sorted(closed.updates))
        return [*events, Event("Training", "Judged", {"round": round_number, **judged})]

    def vote(self, sender: Address, round_number: int, digest: Digest) -> list[Event]:
        """One edge server's vote for a model."""
        self._enter(sender, round_number)
        require(self.open.phase is Phase.JUDGED, "not judged")
        require(sender not in self.open.votes, "voted before")
        require(digest != EMPTY_DIGEST, "no digest")
        require(not (self.open.final and not self.open.votes), "nothing to vote")
        self.open.votes[sender] = digest
        if not self.open.final and self._is_elected(digest):
            self.open.final, self.open.model = True, digest
        return [Event("Training", "Voted", {"round": round_number, "edge_server": sender, "digest": digest})]

    def settle(self, sender: Address, round_number: int) -> list[Event]:
        """Reputations, payments, the next round."""
        self._enter(sender, round_number)
        require(self.open.phase is Phase.JUDGED, "not judged")
        final, model = self.open.final, self.open.model
        if not final:
            model = self._elect()
        require(final or model is not None, "no model has a majority")
        require(round_number < _MAX_ROUND, "no round left")
        updates = self._settle_updates([self.open.updates[vehicle] for vehicle in sorted(self.open.updates)])
        paid = sum(update.reward for update in updates)
        elected = model if model is not None else self.model
        conduct = self._describe_conduct(elected)
        payments: list[Event] = []
        if paid > 0:
            earners = [update for update in updates if update.reward > 0]
            receivers, amounts = [u.vehicle for u in earners], [u.reward for u in earners]
            payments = self.escrow.pay(self.address, receivers, amounts)
        before = dict(self.stakes.left)
        naming = self._name(round_number, conduct)
        settled = SettledRound(
            round=round_number,
            updates=tuple(updates),
            evidence=self.open.evidence,
            model_before=self.model,
            model=elected,
            paid=paid,
            conduct=tuple(_price(row, before, self.stakes.left) for row in conduct),
        )
        self.reputations |= {self.registry.vehicles[update.vehicle]: update.after for update in updates}
        self.gathered |= {self.registry.vehicles[update.vehicle]: update.gathered for update in updates}
        self.model = settled.model
        self.open = OpenRound(round=round_number + 1)
        self.settled.append(settled)
        end = {"round": round_number, "model": self.model, "paid": paid}
        end |= {"standings": tuple(_pack_settlement(update) for update in updates)}
        return [*payments, *naming, Event("Training", "Settled", end)]

    def correct(self, vehicle: int, move: int) -> tuple[int, int]:
        """Plausibility moves a vehicle's reputation, within [0, 1]; before and after, ppm."""
        before = self.reputations.get(vehicle, self.registry.starts.get(vehicle, self.rules.start))
        now = min(max(before + move, 0), MILLION)
        self.reputations[vehicle] = now
        if move < 0 and vehicle in {self.registry.vehicles[recorded] for recorded in self.open.updates}:
            self.open.flagged.add(vehicle)
        return before, now

    def refuse_correction(self, sender: Address, handle: int, start: int, move: int) -> list[Event]:  # noqa: ARG002
        """``correct`` as a transaction: whoever sends one is not the contract."""
        require(sender == self.plausibility, "only the plausibility")
        raise AssertionError("a contract sends no transaction")

    def close(self, sender: Address) -> list[Event]:
        """The publisher ends the task."""
        require(sender == self.publisher, "only the publisher")
        require(not self.closed, "closed before")
        require(self.open.phase is Phase.RECORDING and not self.open.updates, "a round is under way")
        self.closed = True
        return [Event("Training", "Closed", {"round": self.open.round})]

    # ---- helpers ------------------------------------------------------------------------------------------------

    def _enter(self, sender: Address, round_number: int) -> None:
        self.registry.require_edge_server(sender)
        require(not self.closed, "the task is closed")
        require(round_number == self.open.round, "another round is open")

    def _is_signed(self, round_number: int, entry: tuple[Any, ...]) -> bool:
        vehicle, digest, samples, v, r, s = entry
        signed = compute_update_digest(
            task=self.task, round=round_number, vehicle=vehicle, digest=digest, samples=samples
        )
        return is_signed_by(signed, vehicle, v, r, s)

    def _refusal(self, vehicle: Address, taken: dict[Address, ModelUpdate]) -> Refusal | None:
        if self.registry.roles.get(vehicle) != VEHICLE:
            return Refusal.NOT_A_VEHICLE
        ids = self.registry.vehicles
        if ids[vehicle] in {ids[other] for other in taken}:
            return Refusal.RECORDED_BEFORE
        return Refusal.FULL if len(taken) == MAX_UPDATES else None

    def _close_recording(self) -> tuple[list[Event], OpenRound]:
        """The open round with its recording closed, as a copy where it was open until now."""
        if self.open.phase is not Phase.RECORDING:
            return [], self.open
        active = self.registry.active
        present = len(self.open.recorded_by & active)
        require(present >= compute_quorum(len(active)), "recording lacks a quorum")
        updates = [self.open.updates[vehicle] for vehicle in sorted(self.open.updates)]
        seats = [self.registry.seats[update.edge_server] for update in updates]
        heads = [
            int.from_bytes(update.vehicle, "big") << 88 | update.samples << 56 | seat
            for update, seat in zip(updates, seats, strict=True)
        ]
        digest = keccak(_UPDATES.encode([heads, [update.digest for update in updates]]))
        closed = replace(self.open, phase=Phase.SCORING, updates_digest=digest, scores={})
        values = {"round": self.open.round, "updates": digest, "count": len(self.open.updates)}
        return [Event("Training", "RecordingClosed", values)], closed

    def _verdict(self, update: ModelUpdate, score: int | None) -> ModelUpdate:
        valid = score is None or is_valid(self.rules, score)
        merged = is_merged(self.rules, valid=valid, reputation=self.reputation(update.vehicle))
        flagged = self.registry.vehicles[update.vehicle] in self.open.flagged
        return replace(update, score=score, valid=valid, merged=merged and not flagged)

    def _is_elected(self, digest: Digest) -> bool:
        active = self.registry.active
        agreeing = sum(vote == digest for server, vote in self.open.votes.items() if server in active)
        return has_majority(agreeing, len(active))

    def _elect(self) -> Digest | None:
        active = self.registry.active
        votes = [vote for server, vote in self.open.votes.items() if server in active]
        return next((vote for vote in votes if self._is_elected(vote)), None)

    def _describe_conduct(self, elected: Digest) -> list[Conduct]:
        """Who took which part in the round; nothing to score and nothing to vote are no absence."""
        now, active = self.open, self.registry.active
        scored = self.rules.rule is not Rule.NONE and bool(now.updates)
        judged = len(now.deviations) >= MIN_SCORERS
        return [
            Conduct(
                edge_server=server,
                deviation=now.deviations[server][0] if server in now.deviations else None,
                is_far=judged and server in now.deviations and is_far(self.rules, *now.deviations[server]),
                dissents=now.votes.get(server, elected) != elected,
                missed=(server not in now.recorded_by)
                + 2 * (scored and server not in now.scores)
                + 4 * (bool(now.votes) and server not in now.votes),
            )
            for server in self.registry.seats
            if server in active
        ]

    def _name(self, round_number: int, conduct: Sequence[Conduct]) -> list[Event]:
        """Has Stakes name whoever went astray or was absent."""
        bits = [0] * 5
        for row in conduct:
            flags = (row.is_far, row.dissents, row.missed & 1, row.missed >> 1 & 1, row.missed >> 2 & 1)
            for i, flag in enumerate(flags):
                bits[i] |= bool(flag) << self.registry.seats[row.edge_server]
        return self.stakes.settle(self.address, round_number, *bits) if any(bits) else []

    def _settle_updates(self, updates: Sequence[ModelUpdate]) -> list[ModelUpdate]:
        before = [self.reputation(update.vehicle) for update in updates]
        rewards = compute_rewards(
            self.rules,
            before,
            [update.samples for update in updates],
            [update.merged for update in updates],
            self.escrow.available,
        )
        return [
            replace(self._move(update, rho), before=rho, reward=reward)
            for update, rho, reward in zip(updates, before, rewards, strict=True)
        ]

    def _move(self, update: ModelUpdate, reputation: int) -> ModelUpdate:
        number = self.registry.vehicles[update.vehicle]
        after, gathered = compute_next_standing(
            self.rules,
            reputation,
            self.gathered.get(number, 0),
            score=update.score or 0,
            valid=update.valid,
            evidence=self.open.evidence,
        )
        if number in self.open.flagged:
            after = min(after, reputation)
        return replace(update, after=after, gathered=gathered)


def _price(row: Conduct, before: dict[Address, int], after: dict[Address, int]) -> Conduct:
    left = after.get(row.edge_server, 0)
    return replace(row, taken=before.get(row.edge_server, 0) - left, stake=left)


def _pack_verdict(update: ModelUpdate) -> int:
    return pack_verdict(Verdict(update.vehicle, update.score or 0, update.valid, update.merged))


def _pack_settlement(update: ModelUpdate) -> int:
    return pack_settlement(Settlement(update.before, update.after, update.reward))

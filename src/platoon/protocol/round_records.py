"""What one phase hands to the next. Each value holds the one before it: a round is read from the inside out."""

from collections.abc import Mapping
from dataclasses import dataclass

from platoon.ledger.task_chain import Conduct, RecordedUpdate
from platoon.nouns import Digest, Forecasts, Instant, Ints, Tokens, VehicleId
from platoon.protocol.messages import UpdateReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Phase 1: who was asked to train."""

    round: int
    model: Digest
    started: Instant
    vehicles: tuple[VehicleId, ...]
    """In id order, those on probation included."""
    probation: frozenset[VehicleId]
    """Scored, never merged, never paid."""
    forecasts: Forecasts
    reputations: Ints
    """(N,) before the round, ppm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A vehicle's update and when an edge server had it."""

    reply: UpdateReply
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Phase 2: whose update came in time, and why others' did not count."""

    cohort: Cohort
    now: Instant
    updates: Mapping[VehicleId, Arrived]
    refused: Mapping[VehicleId, str]
    """Vehicles that sent only faulty updates, with the fault."""
    voided: bool
    """The round policy discards the round because a vehicle is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Phase 3: the updates on the chain, in the contract's order."""

    arrivals: Arrivals
    sealed: Instant
    """When the committees were done, or nobody waited for them any more."""
    now: Instant
    updates: tuple[RecordedUpdate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Phase 4: the same updates with the contract's verdicts."""

    recorded: Recorded
    now: Instant
    updates: tuple[RecordedUpdate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Phase 5: the model that a majority of edge servers voted for."""

    judged: Judged
    now: Instant
    model: Digest
    weights: Mapping[VehicleId, int]
    """Integer weights that sum to 2^20; empty where nothing was merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Phase 6: reputations after the round, and who was paid what."""

    merged: Merged
    now: Instant
    reputations: Ints
    """(N,) after the round, ppm."""
    paid: Mapping[VehicleId, Tokens]
    escrow_left: Tokens
    conduct: tuple[Conduct, ...]
    """What each edge server did in the round, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """A played round, for the driver to write down."""

    settled: Settled
    outcome: str
    """"merged", or why the model was kept."""
    accuracy: float | None = None

    @property
    def cohort(self) -> Cohort:
        """Phase 1 of this round."""
        return self.arrivals.cohort

    @property
    def arrivals(self) -> Arrivals:
        """Phase 2 of this round."""
        return self.settled.merged.judged.recorded.arrivals

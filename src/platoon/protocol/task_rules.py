"""What a task fixes for all of its rounds, and the little that one round hands to the next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from platoon.nouns import Address, Digest, Duration, EdgeServerId, Floats, Instant, Ints, Tokens
from platoon.protocol.plausibility import PlausibilityRules
from platoon.records.committee import CommitteeRules
from platoon.records.rules import Rules
from platoon.twin.selectors import Candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """The rules of one task: a scenario and a method, resolved."""

    seed: int
    task: Digest
    """Digest of the task's contract and chain: what signatures of updates bind."""
    registry: Digest
    """Digest of its Registry's domain: what changes of pseudonym bind."""
    coordinator: Address
    """Whose task packets vehicles obey: the operator of the task chain."""
    publisher: Address
    """Whose task it is."""
    pseudonym_rounds: int
    """Rounds between changes of pseudonym; 0: never."""
    samples: Ints
    """(N,) size of each local data set."""
    edge_servers: int
    participants: int
    """K."""
    select: Callable[[Candidates], Ints]
    rho_min: float
    """Least reputation for selection."""
    balance: float
    """alpha of eq. 10."""
    rest_rounds: int
    """Rounds that a chosen vehicle is passed over."""
    candidate_pool: int
    """Candidates among which the terms choose; 0: all."""
    coverage_weight: float
    """Of balanced labels beside merit; 0: labels are not estimated."""
    position_weight: float
    """With which uncertain places lower the merit."""
    is_study: bool
    """The selector is told what will happen."""
    probation_slots: int
    judged: bool
    """Whether edge servers score updates (not so in FedAvg, VEC-FL and DT-FL)."""
    formulas: Rules
    """The integer rules that the task's contract was deployed with."""
    committee: CommitteeRules
    """Who seals local blocks."""
    plausibility: PlausibilityRules | None
    """From where on a cluster is implausible; None where nobody looks."""
    seal_patience: Duration
    """A committee member that is silent this long is replaced, once."""
    policy: Literal["drop", "void", "wait"]
    deadline: Duration
    """For the updates of a round, from dispatch."""
    retry_every: Duration
    """A silent vehicle is asked again after this long."""
    patience: Duration
    """An edge server that is silent this long takes no part in the step."""
    rounds: int
    target_accuracy: float | None
    time_limit: Instant | None
    """Simulated time at which the task ends."""
    round_price: Tokens
    """What a full round pays; with less in escrow no new round begins. 0: nothing is paid."""

    @property
    def longest_wait(self) -> Duration:
        """How long policy "wait" waits: ten deadlines, since a vehicle may be gone for good."""
        return Duration(10 * self.deadline) if self.policy == "wait" else self.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """What the next round starts from. A fold over rounds; saved with every commit."""

    round: int
    """Number of the round to come; the first is 1."""
    now: Instant
    model: Digest
    accuracy: float | None
    last_chosen: Ints
    """(N,) round in which the vehicle was last chosen; -1 never."""
    label_mix: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(N, C) shares of labels, estimated from updates; NaN where nothing is known; empty before the first."""
    former: Digest | None = None
    """The model of the round before; None before the first."""


def leader_order(rules: TaskRules, round_number: int) -> list[EdgeServerId]:
    """Edge servers in the order in which they are asked to close a step: the duty moves on every round."""
    first = round_number % rules.edge_servers
    return [EdgeServerId((first + i) % rules.edge_servers) for i in range(rules.edge_servers)]

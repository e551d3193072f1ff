"""Subjective logic: opinions of belief, disbelief and uncertainty (Kang et al. 2019, IEEE IoT Journal 6:10700).

To compare with; in Python only, since a chain knows nothing of the packets whose loss is the uncertainty. An
opinion (b, d, u) of a buyer on a seller comes from recent and past events, negative ones weighing more; others'
opinions are averaged by trust and by how often they dealt with the seller, and fused with one's own. Integers in
parts per million, every division rounds down, so that b + d + u may fall short of a million by a few.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from platoon.market.opinions.simple import Counts
from platoon.nouns import MILLION
from platoon.records.opinions import OpinionRules, compare


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectiveRules:
    """Parameters, all ppm."""

    recent: int = 600_000
    """zeta: what recent events weigh; past ones sigma = 1 - zeta."""
    positive: int = 400_000
    """kappa: what positive events weigh; negative ones eta = 1 - kappa."""
    uncertain: int = 500_000
    """gamma: the part of uncertainty that counts as belief."""
    arrived: int = 900_000
    """q: share of packets that arrive; u = 1 - q, so below a million."""
    prior: int = 500_000
    """Reputation where nobody has an opinion."""
    stranger: int = 200_000
    """Trust in those who cannot be compared."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a value out of range."""
        for name in ("recent", "positive", "uncertain", "prior", "stranger"):
            if not 0 <= getattr(self, name) <= MILLION:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: 0 to {MILLION} ppm")
        if not 0 <= self.arrived < MILLION:
            raise ValueError(f"arrived = {self.arrived}: allowed: 0 to {MILLION - 1} ppm")


class SubjectiveOpinion(NamedTuple):
    """Ppm, together at most a million."""

    belief: int
    disbelief: int
    uncertainty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Events of all buyers with all sellers, (B, S) each."""

    positive_recent: Counts
    negative_recent: Counts
    positive_past: Counts
    negative_past: Counts

    def count(self, buyer: int, seller: int) -> int:
        """All events of a pair."""
        return sum(
            counts[buyer][seller]
            for counts in (
                self.positive_recent,
                self.negative_recent,
                self.positive_past,
                self.negative_past,
            )
        )

    def values(self, buyer: int) -> dict[int, int]:
        """Direct values by seller, ppm, where there are events."""
        return {
            j: (self.positive_recent[buyer][j] + self.positive_past[buyer][j]) * MILLION // n
            for j in range(len(self.positive_recent[buyer]))
            if (n := self.count(buyer, j))
        }


def form_opinion(
    experience: Experience, buyer: int, seller: int, rules: SubjectiveRules
) -> SubjectiveOpinion | None:
    """A buyer's own opinion; None without events, or where all of them weigh nothing."""
    good = rules.positive * (
        rules.recent * experience.positive_recent[buyer][seller]
        + (MILLION - rules.recent) * experience.positive_past[buyer][seller]
    )
    bad = (MILLION - rules.positive) * (
        rules.recent * experience.negative_recent[buyer][seller]
        + (MILLION - rules.recent) * experience.negative_past[buyer][seller]
    )
    if good + bad == 0:
        return None
    return SubjectiveOpinion(
        rules.arrived * good // (good + bad), rules.arrived * bad // (good + bad), MILLION - rules.arrived
    )


def average(opinions: Sequence[tuple[int, SubjectiveOpinion]]) -> SubjectiveOpinion | None:
    """The mean of others' opinions by weight; None where nobody has any.

    >>> average([(1, SubjectiveOpinion(900_000, 0, 100_000)), (2, SubjectiveOpinion(0, 900_000, 100_000))])
    SubjectiveOpinion(belief=300000, disbelief=600000, uncertainty=100000)
    """
    whole = sum(weight for weight, _ in opinions)
    if whole == 0:
        return None
    return SubjectiveOpinion(*(sum(w * o[part] for w, o in opinions) // whole for part in range(3)))


def fuse(own: SubjectiveOpinion, others: SubjectiveOpinion) -> SubjectiveOpinion:
    """One opinion of two: the less uncertain one counts for more. Both are uncertain at least by one ppm."""
    whole = (own.uncertainty + others.uncertainty) * MILLION - own.uncertainty * others.uncertainty
    return SubjectiveOpinion(
        (own.belief * others.uncertainty + others.belief * own.uncertainty) * MILLION // whole,
        (own.disbelief * others.uncertainty + others.disbelief * own.uncertainty) * MILLION // whole,
        own.uncertainty * others.uncertainty * MILLION // whole,
    )


def compute_reputations(
    experience: Experience, buyer: int, rules: SubjectiveRules, trust: OpinionRules
) -> list[int]:
    """What a buyer makes of every seller, ppm: belief and a part of the uncertainty.

    Args:
        trust: how far others are trusted (learned or all alike), as for the default reputations.
    """
    own = experience.values(buyer)
    weights = {}
    for other in range(len(experience.positive_recent)):
        if other != buyer:
            agreement = compare(own, experience.values(other), trust)
            weights[other] = agreement.trust if agreement.is_friend else rules.stranger
    return [
        _compute_reputation(experience, buyer, seller, weights, rules)
        for seller in range(len(experience.positive_recent[buyer]))
    ]


def _compute_reputation(
    experience: Experience, buyer: int, seller: int, weights: dict[int, int], rules: SubjectiveRules
) -> int:
    told = []
    for other, weight in weights.items():
        if (opinion := form_opinion(experience, other, seller, rules)) is not None:
            often = _compute_frequency(experience, other, seller)
            told.append((weight * often // MILLION, opinion))
    local, recommended = form_opinion(experience, buyer, seller, rules), average(told)
    if local is not None and recommended is not None:
        local = fuse(local, recommended)
    final = local or recommended
    if final is None:
        return rules.prior
    return final.belief + rules.uncertain * final.uncertainty // MILLION


def _compute_frequency(experience: Experience, buyer: int, seller: int) -> int:
    """Events with a seller over the buyer's mean number of events with any, ppm."""
    sellers = range(len(experience.positive_recent[buyer]))
    whole = sum(experience.count(buyer, j) for j in sellers)
    return experience.count(buyer, seller) * len(sellers) * MILLION // whole

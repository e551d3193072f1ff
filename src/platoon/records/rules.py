"""The integer rules of the ledger: quorum, medians, verdicts, reputations, payments, weights.

These are the Python twins of ``contracts/Training.vy`` (a test holds them equal) and the only Python version of
each formula: audit, incentive and learning import them from here. Reputations, scores and evidence are parts per
million, tokens 10^-6. Equation numbers: Li, Zheng, Chen 2025 (Future Internet 17(11):505), "DTB-FL".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from platoon.nouns import MILLION

WEIGHT_BITS = 20
WEIGHT_TOTAL = 1 << WEIGHT_BITS
"""Weights of a merge sum to exactly this."""
MAX_EDGE_SERVERS = 64
MAX_UPDATES = 128
"""Updates of one round at most."""
MAX_SAMPLES = 2**32 - 1
MIN_SCORERS = 3
"""Of fewer edge servers, a median says nothing about who of them is right, and nobody is named for scores."""
MAX_TOKENS = 2**63 - 1
MAX_GATHERED = 2**40
"""Evidence that a vehicle gathers at most, ppm of an observation."""
MAX_SEVERITY = 100 * MILLION
LEAST_VERDICT = MILLION // 10
"""What a valid update counts whose score lies at the threshold, ppm: where a score abstains, merging goes on."""


class Rule(IntEnum):
    """How scores decide."""

    NONE = 0
    """Nothing is scored: every recorded update is valid, reputations do not move (FedAvg)."""
    AS_WRITTEN = 1
    """DTB-FL eq. 12 and Algorithm 2, the penalty floor at rho_min included."""
    DEFAULT = 2
    """What the papers mean: evidence scales every move, no floor, probation below rho_min."""
    EVIDENCE = 3
    """Beta reputation: a move is what an update shows against what was seen before; probation as above."""


class WeightRule(IntEnum):
    """What an update weighs in the merge."""

    SAMPLES = 0
    """Eq. 2, FedAvg: the number of samples."""
    TRUST = 1
    """Eq. 14: reputation before the round times samples."""
    VERDICT = 2
    """Eq. 14 times how clearly the update itself was found valid."""


class Payment(IntEnum):
    """How a round is paid."""

    POOL = 0
    """Eq. 15."""
    BASE_BONUS = 1
    """Eq. 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The parameters that the task chain fixes at deployment. Checked here as its constructor checks them."""

    rule: Rule = Rule.DEFAULT
    weights: WeightRule = WeightRule.TRUST
    payment: Payment = Payment.POOL
    beta: int = 500_000
    """Memory of the reputation (eq. 12), ppm."""
    rho_min: int = 400_000
    """Least reputation to take part, ppm."""
    start: int = 500_000
    """Reputation of a newcomer, ppm."""
    threshold: int = 300_000
    """Q_min: least score of a valid update, ppm, in [-10^6, 10^6]."""
    penalty: int = 100_000
    """Taken for an invalid update, ppm."""
    severity: int = 2 * MILLION
    """What an invalid update weighs against a valid one, evidence rule, ppm."""
    memory: int = 900_000
    """Kept of gathered evidence at every judged update, evidence rule, ppm."""
    prior: int = MILLION
    """What the start value is worth, evidence rule, ppm of an observation."""
    pool: int = 0
    """R_total of eq. 15, 10^-6 token per round."""
    base: int = 0
    """R_base of eq. 6, 10^-6 token."""
    bonus: int = 0
    """R_bonus of eq. 6, 10^-6 token."""
    mean_tolerance: int = 300_000
    """An edge server is named whose scores of a round are farther off the medians than this on average, ppm."""
    single_tolerance: int = 1_000_000
    """Or on any one update, ppm."""
    most_samples: int = MAX_SAMPLES
    """Largest sample count of an update: weight and pay follow it, so nobody may claim what it likes."""
    description: int = 0
    """SHA-256 of what the publisher asked for (the scenario), as an integer: binds a ledger to its scenario."""

    def __post_init__(self) -> None:
        for name in ("beta", "rho_min", "start", "penalty", "memory"):
            if not 0 <= getattr(self, name) <= MILLION:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: 0 to {MILLION} ppm")
        if not -MILLION <= self.threshold <= MILLION:
            raise ValueError(f"threshold = {self.threshold}: allowed: -{MILLION} to {MILLION} ppm")
        if not 0 <= self.severity <= MAX_SEVERITY:
            raise ValueError(f"severity = {self.severity}: allowed: 0 to {MAX_SEVERITY} ppm")
        if not 1 <= self.prior <= MAX_GATHERED:
            raise ValueError(f"prior = {self.prior}: allowed: 1 to {MAX_GATHERED} ppm")
        if not 1 <= self.most_samples <= MAX_SAMPLES:
            raise ValueError(f"most_samples = {self.most_samples}: allowed: 1 to {MAX_SAMPLES}")
        if not 0 <= self.description < 2**256:
            raise ValueError("description: allowed: a digest of 32 bytes as an integer")
        if self.rule is Rule.NONE and self.weights is not WeightRule.SAMPLES and self.start == 0:
            raise ValueError(
                "start = 0: without scores and with trust weights nobody would ever have a weight"
            )
        for name in ("mean_tolerance", "single_tolerance"):
            if not 0 <= getattr(self, name) <= 2 * MILLION:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: 0 to {2 * MILLION} ppm")
        for name in ("pool", "base", "bonus"):
            if not 0 <= getattr(self, name) <= MAX_TOKENS:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: 0 to {MAX_TOKENS}")


def compute_quorum(members: int) -> int:
    """floor(2n/3) + 1 of n: two quorums share an honest member while fewer than a third lie.

    >>> [compute_quorum(n) for n in (1, 3, 4, 10)]
    [1, 3, 3, 7]
    """
    return 2 * members // 3 + 1


def has_majority(votes: int, members: int) -> bool:
    """Strictly more than half of all members."""
    return 2 * votes > members


def compute_lower_median(values: Sequence[int]) -> int:
    """Element (n - 1) // 2 of the sorted values: a value that somebody really gave.

    >>> compute_lower_median([4, 1, 3, 2])
    2
    """
    return sorted(values)[(len(values) - 1) // 2]


def compute_deviation(scores: Sequence[int], medians: Sequence[int]) -> tuple[int, int]:
    """How far an edge server's scores of a round are off the medians: on average (floor), and at most.

    >>> compute_deviation([900_000, 100_000], [800_000, 150_000])
    (75000, 100000)
    """
    apart = [abs(score - median) for score, median in zip(scores, medians, strict=True)]
    return sum(apart) // len(apart), max(apart)


def is_far(rules: Rules, mean: int, largest: int) -> bool:
    """Whether an edge server that scores so far off the medians is named."""
    return mean > rules.mean_tolerance or largest > rules.single_tolerance


def is_valid(rules: Rules, score: int) -> bool:
    """Algorithm 2, step 3: Q >= Q_min; without a score rule every update is valid."""
    return rules.rule is Rule.NONE or score >= rules.threshold


def is_on_probation(rules: Rules, reputation: int) -> bool:
    """Whether a vehicle is scored without being merged."""
    return rules.rule in (Rule.DEFAULT, Rule.EVIDENCE) and reputation < rules.rho_min


def is_merged(rules: Rules, *, valid: bool, reputation: int) -> bool:
    """Whether an update enters the model and is paid; ``reputation`` is that before the round.

    On probation an update is scored, not merged. A reputation of 0 has no weight in eq. 14, so it is not merged
    under any rule that scores.
    """
    if rules.rule is Rule.NONE or not valid:
        return valid
    if is_on_probation(rules, reputation):
        return False
    return reputation > 0


def compute_next_standing(
    rules: Rules, reputation: int, gathered: int, *, score: int, valid: bool, evidence: int
) -> tuple[int, int]:
    """Reputation and gathered evidence after a judged update.

    Evidence rule, a Beta reputation (Josang and Ismail 2002) kept as its mean rho and the weight n of what was
    seen. An update weighs w = e d, with the evidence e and the distance d of its score from the threshold, 1 at
    the end of the scale on that side; an invalid one ``severity`` times as much. With what is kept of n,
    n' = memory n, and the ``prior`` p that the start is worth, rho moves by w / (p + n' + w) of its way to 1
    (valid) or 0 (invalid), rounded towards zero. A score at the threshold says nothing and moves nothing, and who
    has shown much moves little. The other rules gather nothing.

    >>> rules = Rules(rule=Rule.EVIDENCE)
    >>> compute_next_standing(rules, 500_000, 0, score=1_000_000, valid=True, evidence=1_000_000)
    (750000, 1000000)
    """
    if rules.rule is not Rule.EVIDENCE:
        after = compute_next_reputation(rules, reputation, score=score, valid=valid, evidence=evidence)
        return after, 0
    weight = evidence * compute_distance(rules, score, valid=valid) // MILLION
    if not valid:
        weight = weight * rules.severity // MILLION
    kept = gathered * rules.memory // MILLION
    total = rules.prior + kept + weight
    if valid:
        after = reputation + (MILLION - reputation) * weight // total
    else:
        after = reputation - reputation * weight // total
    return after, min(kept + weight, MAX_GATHERED)


def compute_distance(rules: Rules, score: int, *, valid: bool) -> int:
    """How far a score lies from the threshold, ppm of the way to the end of the scale on its side: 1 above, 0 below
    (-1, for thresholds that are not positive).

    >>> [compute_distance(Rules(threshold=500_000), q, valid=q >= 500_000) for q in (500_000, 900_000, 250_000)]
    [0, 800000, 500000]
    """
    if valid:
        span = MILLION - rules.threshold
        return (score - rules.threshold) * MILLION // span if span else MILLION
    span = rules.threshold if rules.threshold > 0 else MILLION + rules.threshold
    return min((rules.threshold - score) * MILLION // max(span, 1), MILLION)


def compute_next_reputation(rules: Rules, reputation: int, *, score: int, valid: bool, evidence: int) -> int:
    """The reputation after a judged update.

    As written (eq. 12, Algorithm 2): valid, clip(beta rho + (1 - beta) Q), floor; invalid,
    max(rho_min, rho - penalty).

    Default: Q clipped to [0, 1], and every move scaled by the evidence e: valid, e (1 - beta) (Q - rho); invalid,
    minus e max(penalty, (1 - beta) (rho - Q)). Moves are rounded towards zero. The maximum keeps the result from
    falling as Q grows: with the bare penalty a vehicle of high reputation would lose less by an update that is
    thrown out than by one that just passes.
    """
    if rules.rule is Rule.NONE:
        return reputation
    if rules.rule is Rule.AS_WRITTEN:
        if not valid:
            return max(rules.rho_min, reputation - min(reputation, rules.penalty))
        return max(rules.beta * reputation + (MILLION - rules.beta) * score, 0) // MILLION
    quality = max(score, 0)
    if valid and quality >= reputation:
        return reputation + evidence * (MILLION - rules.beta) * (quality - reputation) // MILLION**2
    loss = (MILLION - rules.beta) * max(reputation - quality, 0)
    if not valid:
        loss = max(loss, rules.penalty * MILLION)
    return max(reputation - evidence * loss // MILLION**2, 0)


def compute_products(
    rules: Rules,
    reputations: Sequence[int],
    samples: Sequence[int],
    merged: Sequence[bool],
    scores: Sequence[int | None],
) -> list[int]:
    """What the merge weighs updates by (samples for FedAvg, or eq. 14, alone or with the verdict); 0 for those that
    are not merged.

    >>> verdict = Rules(weights=WeightRule.VERDICT, threshold=500_000)
    >>> compute_products(verdict, [MILLION] * 2, [1, 1], [True, True], [500_000, MILLION])
    [100000000000, 1000000000000]
    """
    trust = rules.weights is not WeightRule.SAMPLES
    products = [
        (rho if trust else 1) * size if takes_part else 0
        for rho, size, takes_part in zip(reputations, samples, merged, strict=True)
    ]
    if rules.weights is not WeightRule.VERDICT:
        return products
    return [product * compute_verdict(rules, score) for product, score in zip(products, scores, strict=True)]


def compute_verdict(rules: Rules, score: int | None) -> int:
    """What a valid update counts by its score, ppm: from a tenth at the threshold, where it might as well be false,
    in a straight line to all of it at the end of the scale. Everything counts whole where nothing is scored.

    >>> [compute_verdict(Rules(threshold=500_000), score) for score in (500_000, 750_000, 1_000_000, None)]
    [100000, 550000, 1000000, 1000000]
    """
    if score is None:
        return MILLION
    distance = max(compute_distance(rules, score, valid=True), 0)
    return LEAST_VERDICT + (MILLION - LEAST_VERDICT) * distance // MILLION


def compute_weights(products: Sequence[int]) -> list[int]:
    """Weights in proportion to the products, in integers that sum to exactly 2^20.

    Largest remainder: floors first, then one each to the largest remainders, ties to the earlier position
    (updates stand in the order of their vehicles' ids). A product of 0 weighs 0.

    Raises:
        ValueError: a negative product, or none that is positive.

    >>> compute_weights([1, 1, 1])
    [349526, 349525, 349525]
    """
    total = sum(products)
    if total <= 0 or min(products) < 0:
        raise ValueError("weights need products that are not negative and not all zero")
    floors = [product * WEIGHT_TOTAL // total for product in products]
    left = WEIGHT_TOTAL - sum(floors)
    by_remainder = sorted(range(len(products)), key=lambda i: (-(products[i] * WEIGHT_TOTAL % total), i))
    for i in by_remainder[:left]:
        floors[i] += 1
    return floors


def compute_rewards(
    rules: Rules,
    reputations: Sequence[int],
    samples: Sequence[int],
    merged: Sequence[bool],
    available: int,
) -> list[int]:
    """Payment of every recorded update, 10^-6 token; what floors cut off stays in escrow.

    Pool (eq. 15): R_total * share. Base and bonus (eq. 6): R_base + R_bonus * share. The share is rho |D| over its
    sum over merged updates; as written over all recorded ones, so that the share of the others is not paid. Only
    merged updates are paid, by the reputation before the round. Where ``available`` (the escrow) is short, all are
    scaled down together.
    """
    products = [rho * size for rho, size in zip(reputations, samples, strict=True)]
    counted = [
        product
        for product, takes_part in zip(products, merged, strict=True)
        if takes_part or rules.rule is Rule.AS_WRITTEN
    ]
    whole = max(sum(counted), 1)
    pool = rules.payment is Payment.POOL
    shared, base = (rules.pool, 0) if pool else (rules.bonus, rules.base)
    rewards = [
        base + shared * product // whole if takes_part else 0
        for product, takes_part in zip(products, merged, strict=True)
    ]
    total = sum(rewards)
    if total <= available:
        return rewards
    return [reward * available // total for reward in rewards]

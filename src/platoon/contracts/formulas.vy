# pragma version 0.4.3
# pragma evm-version london
"""
@title formulas
@license Apache-2.0
@notice The arithmetic of Training's settlement, from its parameters alone: who is merged, what reputations become, what is
    paid. Verdicts come as words: reputation before << 32 | (score + 10^6) << 2 | merged << 1 | valid. Formulas: Li, Zheng,
    Chen 2025 (Future Internet 17(11):505), "DTB-FL"; the Python twin of each is in records/rules.py.
"""

MAX_UPDATES: constant(uint256) = 128
MAX_SAMPLES: constant(uint256) = 2**32 - 1
MAX_TOKENS: constant(uint256) = 2**63 - 1
MAX_GATHERED: constant(uint256) = 2**40
MAX_SEVERITY: constant(uint256) = 100 * 10**6
MILLION: constant(uint256) = 10**6
SIGNED_MILLION: constant(int256) = 10**6

RULE_NONE: constant(uint256) = 0
RULE_AS_WRITTEN: constant(uint256) = 1
RULE_DEFAULT: constant(uint256) = 2
RULE_EVIDENCE: constant(uint256) = 3
WEIGHTS_SAMPLES: constant(uint256) = 0
WEIGHTS_VERDICT: constant(uint256) = 2  # what each of them weighs, the edge servers compute from the record
PAYMENT_BASE_BONUS: constant(uint256) = 1

VALID: constant(uint256) = 1  # bits of a verdict
MERGED: constant(uint256) = 2

struct Parameters:
    rule: uint256
    weights: uint256
    payment: uint256
    beta: uint256
    rho_min: uint256
    start: uint256
    threshold: int256
    penalty: uint256
    severity: uint256
    memory: uint256
    prior: uint256
    pool: uint256
    base: uint256
    bonus: uint256
    mean_tolerance: uint256
    single_tolerance: uint256
    most_samples: uint256  # an update that claims more is refused: reputation and weight follow the count
    description: uint256  # digest of what the publisher asked for; nothing here depends on it


@internal
@pure
def check(parameters: Parameters):
    """
    @notice Whether a task can be set up with these.
    """
    assert parameters.rule <= RULE_EVIDENCE, "rule"
    assert parameters.weights <= WEIGHTS_VERDICT, "weights"
    assert parameters.payment <= PAYMENT_BASE_BONUS, "payment"
    assert parameters.beta <= MILLION, "beta"
    assert parameters.rho_min <= MILLION, "rho_min"
    assert parameters.start <= MILLION, "start"
    if parameters.rule == RULE_NONE and parameters.weights != WEIGHTS_SAMPLES:
        assert parameters.start > 0, "start"  # nobody would ever have a weight
    assert parameters.threshold >= -SIGNED_MILLION and parameters.threshold <= SIGNED_MILLION, "threshold"
    assert parameters.penalty <= MILLION, "penalty"
    assert parameters.severity <= MAX_SEVERITY, "severity"
    assert parameters.memory <= MILLION, "memory"
    assert parameters.prior > 0 and parameters.prior <= MAX_GATHERED, "prior"
    assert parameters.most_samples > 0 and parameters.most_samples <= MAX_SAMPLES, "most_samples"
    assert parameters.pool <= MAX_TOKENS, "pool"
    assert parameters.base <= MAX_TOKENS and parameters.bonus <= MAX_TOKENS, "base or bonus"
    assert parameters.mean_tolerance <= 2 * MILLION, "mean_tolerance"
    assert parameters.single_tolerance <= 2 * MILLION, "single_tolerance"


@internal
@pure
def is_merged(rule: uint256, rho_min: uint256, reputation: uint256) -> bool:
    """
    @notice Whether a valid update enters the model and is paid. Default and evidence rule: not below rho_min (probation). A
        reputation of 0 has no weight in eq. 14, so it is not merged under any rule that scores.
    """
    if rule == RULE_NONE:
        return True
    if rule >= RULE_DEFAULT and reputation < rho_min:
        return False
    return reputation > 0


@internal
@pure
def _next(
    rule: uint256,
    beta: uint256,
    rho_min: uint256,
    penalty: uint256,
    evidence: uint256,
    rho: uint256,
    score: int256,
    valid: bool,
) -> uint256:
    """
    @notice The reputation after a judged update. Every division rounds the move (default) or the value (as written)
        towards zero.
    @dev Default: Q in [0, 1] and evidence e. A valid update moves rho by e (1 - beta) (Q - rho); an invalid one takes
        e max(penalty, (1 - beta) (rho - Q)). The maximum makes the result non-decreasing in Q: with the bare penalty a
        vehicle of high reputation would lose less by an update that is thrown out than by one that just passes.
    """
    if rule == RULE_NONE:
        return rho
    if rule == RULE_AS_WRITTEN:
        if not valid:
            return max(rho_min, rho - min(rho, penalty))
        moved: int256 = convert(beta * rho, int256) + convert(MILLION - beta, int256) * score
        return convert(max(moved, 0), uint256) // MILLION
    quality: uint256 = convert(max(score, 0), uint256)
    if valid and quality >= rho:
        return rho + evidence * (MILLION - beta) * (quality - rho) // (MILLION * MILLION)
    loss: uint256 = (MILLION - beta) * (rho - min(rho, quality))
    if not valid:
        loss = max(loss, penalty * MILLION)
    return rho - min(rho, evidence * loss // (MILLION * MILLION))


@internal
@pure
def _weigh(parameters: Parameters, evidence: uint256, gathered: uint256, rho: uint256, score: int256, valid: bool) -> uint256:
    """
    @notice The evidence rule: gathered evidence << 32 | reputation after a judged update. Its weight is the evidence times
        the score's distance from the threshold, over the whole way to the end of the scale on that side; an invalid update
        weighs `severity` times as much. Of the evidence gathered before `memory` is kept, and `prior` stands for what a
        newcomer starts with. Every division rounds the move towards zero.
    """
    distance: uint256 = MILLION
    span: int256 = 0
    if valid:
        span = SIGNED_MILLION - parameters.threshold
        if span > 0:
            distance = convert((score - parameters.threshold) * SIGNED_MILLION // span, uint256)
    else:
        span = parameters.threshold if parameters.threshold > 0 else SIGNED_MILLION + parameters.threshold
        distance = min(convert((parameters.threshold - score) * SIGNED_MILLION // max(span, 1), uint256), MILLION)
    weight: uint256 = evidence * distance // MILLION
    if not valid:
        weight = weight * parameters.severity // MILLION
    kept: uint256 = gathered * parameters.memory // MILLION
    total: uint256 = parameters.prior + kept + weight
    now: uint256 = rho + (MILLION - rho) * weight // total if valid else rho - rho * weight // total
    return min(kept + weight, MAX_GATHERED) << 32 | now


@internal
@pure
def reputations(
    parameters: Parameters,
    evidence: uint256,
    verdicts: uint256[MAX_UPDATES],
    gathered: uint256[MAX_UPDATES],
    count: uint256,
) -> uint256[MAX_UPDATES]:
    """
    @notice What gathered evidence << 32 | reputation become, in the order of the verdicts.
    """
    result: uint256[MAX_UPDATES] = empty(uint256[MAX_UPDATES])
    for i: uint256 in range(count, bound=MAX_UPDATES):
        verdict: uint256 = verdicts[i]
        if parameters.rule == RULE_EVIDENCE:
            score: int256 = convert((verdict & (2**32 - 1)) >> 2, int256) - SIGNED_MILLION
            result[i] = self._weigh(parameters, evidence, gathered[i], verdict >> 32, score, verdict & VALID != 0)
            continue
        result[i] = self._next(
            parameters.rule,
            parameters.beta,
            parameters.rho_min,
            parameters.penalty,
            evidence,
            verdict >> 32,
            convert((verdict & (2**32 - 1)) >> 2, int256) - SIGNED_MILLION,
            verdict & VALID != 0,
        )
    return result


@internal
@pure
def share(
    parameters: Parameters,
    keys: uint256[MAX_UPDATES],
    verdicts: uint256[MAX_UPDATES],
    count: uint256,
    available: uint256,
) -> (DynArray[uint256, MAX_UPDATES], uint256):
    """
    @notice Payment of each update and their sum, from eq. 15 (pool) or eq. 6 (base and bonus), floor division, scaled
        down together where the escrow holds less. Shares are of rho * samples over the merged updates; as written over
        all recorded ones, and the share of those that are not merged stays in the escrow.
    """
    result: DynArray[uint256, MAX_UPDATES] = []
    whole: uint256 = 0
    for i: uint256 in range(count, bound=MAX_UPDATES):
        verdict: uint256 = verdicts[i]
        product: uint256 = (verdict >> 32) * ((keys[i] >> 64) & MAX_SAMPLES)
        if verdict & MERGED == 0:
            result.append(0)
            whole += product if parameters.rule == RULE_AS_WRITTEN else 0
        else:
            result.append(product)
            whole += product
    is_pool: bool = parameters.payment != PAYMENT_BASE_BONUS
    shared: uint256 = parameters.pool if is_pool else parameters.bonus
    total: uint256 = 0
    for i: uint256 in range(count, bound=MAX_UPDATES):
        if verdicts[i] & MERGED != 0:
            reward: uint256 = shared * result[i] // max(whole, 1)
            if not is_pool:
                reward += parameters.base
            result[i] = reward
            total += reward
    if total <= available:
        return result, total
    paid: uint256 = 0
    for i: uint256 in range(count, bound=MAX_UPDATES):
        result[i] = result[i] * available // total
        paid += result[i]
    return result, paid

"""Laws of the ledger's integer rules, for any parameters that a task can have."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import MILLION
from platoon.records.rules import (
    LEAST_VERDICT,
    MAX_SAMPLES,
    WEIGHT_TOTAL,
    Rule,
    Rules,
    WeightRule,
    compute_lower_median,
    compute_next_reputation,
    compute_products,
    compute_quorum,
    compute_verdict,
    compute_weights,
    has_majority,
    is_merged,
    is_valid,
)

ppm = st.integers(0, MILLION)
scores = st.integers(-MILLION, MILLION)
all_rules = st.builds(
    Rules,
    rule=st.sampled_from(Rule),
    beta=ppm,
    rho_min=ppm,
    start=st.integers(1, MILLION),
    threshold=scores,
    penalty=ppm,
)


def move(rules: Rules, reputation: int, score: int, evidence: int) -> int:
    valid = is_valid(rules, score)
    return compute_next_reputation(rules, reputation, score=score, valid=valid, evidence=evidence)


@given(all_rules, ppm, scores, ppm)
def test_a_reputation_stays_within_zero_and_one(rules, reputation, score, evidence):
    assert 0 <= move(rules, reputation, score, evidence) <= MILLION


@given(all_rules.filter(lambda rules: rules.rule is Rule.DEFAULT), ppm, scores, scores, ppm)
def test_by_default_a_better_score_never_leads_to_less(rules, reputation, one, other, evidence):
    low, high = sorted((one, other))
    assert move(rules, reputation, low, evidence) <= move(rules, reputation, high, evidence)


@given(all_rules.filter(lambda rules: rules.rule is not Rule.AS_WRITTEN), ppm, scores)
def test_without_evidence_no_reputation_moves(rules, reputation, score):
    assert move(rules, reputation, score, 0) == reputation


@given(all_rules.filter(lambda rules: rules.rule is Rule.DEFAULT), ppm, scores, ppm)
def test_by_default_a_move_is_the_formula_rounded_towards_zero(rules, reputation, score, evidence):
    quality, e, beta = Fraction(max(score, 0)), Fraction(evidence, MILLION), Fraction(rules.beta, MILLION)
    exact = e * (1 - beta) * (quality - reputation)
    if not is_valid(rules, score):
        exact = -e * max(Fraction(rules.penalty), (1 - beta) * (reputation - quality))
    expected = max(reputation + int(exact), 0)  # int() rounds towards zero
    assert move(rules, reputation, score, evidence) == expected


@given(all_rules.filter(lambda rules: rules.rule is Rule.AS_WRITTEN), ppm, scores, ppm)
def test_as_written_a_reputation_is_eq_12_or_the_floored_penalty(rules, reputation, score, evidence):
    if is_valid(rules, score):
        exact = Fraction(rules.beta * reputation + (MILLION - rules.beta) * score, MILLION)
        assert move(rules, reputation, score, evidence) == min(max(exact.__floor__(), 0), MILLION)
    else:
        assert move(rules, reputation, score, evidence) == max(rules.rho_min, reputation - rules.penalty)


def test_as_written_nobody_is_ever_excluded():
    # papers.md A.13, 1: the penalty's floor is the threshold of eligibility
    rules, reputation = Rules(rule=Rule.AS_WRITTEN), 500_000
    for _ in range(20):
        reputation = move(rules, reputation, -MILLION, MILLION)
    assert reputation == rules.rho_min


def test_by_default_an_excluded_vehicle_can_come_back():
    rules, reputation = Rules(), 0
    rounds = 0
    while not is_merged(rules, valid=True, reputation=reputation):
        reputation, rounds = move(rules, reputation, 900_000, MILLION), rounds + 1
    assert rounds == 1
    assert not is_merged(rules, valid=True, reputation=rules.rho_min - 1)
    assert not is_merged(rules, valid=False, reputation=MILLION)


@given(st.lists(st.integers(0, MILLION * MAX_SAMPLES), min_size=1, max_size=128).filter(any))
def test_weights_sum_to_the_whole_and_follow_the_products(products):
    weights = compute_weights(products)
    assert sum(weights) == WEIGHT_TOTAL
    total = sum(products)
    for weight, product in zip(weights, products, strict=True):
        assert abs(weight - Fraction(product * WEIGHT_TOTAL, total)) < 1
        assert (product > 0) or weight == 0


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20, unique=True), st.randoms())
def test_weights_do_not_depend_on_the_order_of_distinct_products(products, random):
    shuffled = list(products)
    random.shuffle(shuffled)
    by_product = dict(zip(products, compute_weights(products), strict=True))
    # only ties of remainders are decided by order, and then by one unit
    for product, weight in zip(shuffled, compute_weights(shuffled), strict=True):
        assert abs(by_product[product] - weight) <= 1


@pytest.mark.parametrize("products", [[], [0], [0, 0], [1, -1], [-1]])
def test_invalid_products(products):
    with pytest.raises(ValueError, match="products that are not negative and not all zero"):
        compute_weights(products)


def test_products_are_trust_or_samples_of_what_is_merged():
    reputations, samples, merged = [500_000, 250_000, 900_000], [100, 200, 300], [True, True, False]
    scores = [1_000_000, 600_000, 800_000]
    trust, plain, verdict = (
        compute_products(Rules(weights=rule, threshold=200_000), reputations, samples, merged, scores)
        for rule in (WeightRule.TRUST, WeightRule.SAMPLES, WeightRule.VERDICT)
    )
    assert (trust, plain) == ([50_000_000, 50_000_000, 0], [100, 200, 0])
    # half of the way from the threshold to the end: a tenth and half of nine tenths
    assert verdict == [50_000_000 * 1_000_000, 50_000_000 * 550_000, 0]


@given(st.integers(-1_000_000, 1_000_000), st.data())
def test_a_clearer_verdict_never_weighs_less(threshold, data):
    rules = Rules(threshold=threshold, weights=WeightRule.VERDICT)
    low, high = sorted(data.draw(st.lists(st.integers(threshold, 1_000_000), min_size=2, max_size=2)))
    assert LEAST_VERDICT <= compute_verdict(rules, low) <= compute_verdict(rules, high) <= 1_000_000
    assert compute_verdict(rules, 1_000_000) == compute_verdict(rules, None) == 1_000_000
    if threshold < 1_000_000:
        assert compute_verdict(rules, threshold) == LEAST_VERDICT


@given(st.integers(1, 64))
def test_two_quorums_share_an_honest_member_and_a_majority_is_unique(members):
    quorum, liars = compute_quorum(members), (members - 1) // 3
    assert 2 * quorum - members > liars
    assert quorum <= members - liars or members <= 3 * liars
    assert has_majority(members // 2 + 1, members)
    assert not has_majority(members // 2, members)


@given(st.lists(scores, min_size=1, max_size=64), st.data())
def test_a_median_of_a_quorum_is_bounded_by_honest_values(honest, data):
    # up to a third of the voices lie arbitrarily
    liars = data.draw(st.lists(scores, max_size=(len(honest) - 1) // 2))
    median = compute_lower_median([*honest, *liars])
    assert min(honest) <= median <= max(honest)
    assert median in [*honest, *liars]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta", -1),
        ("rho_min", MILLION + 1),
        ("start", 1 << 70),
        ("threshold", -MILLION - 1),
        ("pool", 2**63),
    ],
)
def test_invalid_rules_name_the_key_the_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=rf"{field} = {value}: allowed: "):
        Rules(**{field: value})

"""Laws of the evidence rule: a Beta reputation in integers."""

from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import MILLION
from platoon.records.rules import MAX_GATHERED, MAX_SEVERITY, Rule, Rules, compute_next_standing, is_valid

ppm = st.integers(0, MILLION)
rules = st.builds(
    Rules,
    rule=st.just(Rule.EVIDENCE),
    threshold=st.integers(-MILLION, MILLION),
    severity=st.integers(0, MAX_SEVERITY),
    memory=ppm,
    prior=st.integers(1, 10 * MILLION),
)
scores = st.integers(-MILLION, MILLION)
gathered = st.integers(0, MAX_GATHERED)


def move(rules, rho, n, score, evidence=MILLION):
    return compute_next_standing(rules, rho, n, score=score, valid=is_valid(rules, score), evidence=evidence)


@given(rules, ppm, gathered, scores, ppm)
def test_reputation_and_evidence_stay_within_bounds(rules, rho, n, score, evidence):
    after, kept = move(rules, rho, n, score, evidence)
    assert 0 <= after <= MILLION
    assert 0 <= kept <= MAX_GATHERED
    assert after >= rho if is_valid(rules, score) else after <= rho


@given(rules, ppm, gathered, scores, scores)
def test_a_better_score_never_ends_lower(rules, rho, n, one, other):
    low, high = sorted((one, other))
    assert move(rules, rho, n, low)[0] <= move(rules, rho, n, high)[0]


@given(rules, ppm, gathered, scores)
def test_without_evidence_nothing_moves(rules, rho, n, score):
    assert move(rules, rho, n, score, evidence=0)[0] == rho


@given(rules, ppm, gathered)
def test_a_score_at_the_threshold_says_nothing(rules, rho, n):
    if rules.threshold < MILLION:
        assert move(rules, rho, n, rules.threshold)[0] == rho


@given(ppm, scores, gathered, gathered)
def test_who_has_shown_more_moves_less(rho, score, less, more):
    few, many = sorted((less, more))
    fixed = Rules(rule=Rule.EVIDENCE, threshold=MILLION // 2)
    assert abs(move(fixed, rho, many, score)[0] - rho) <= abs(move(fixed, rho, few, score)[0] - rho)


@given(st.integers(0, 400_000), st.integers(600_000, MILLION))
def test_a_falsely_accused_vehicle_comes_back_over_the_threshold(rho, score):
    """By probation, within twenty updates that are clearly honest, whatever it fell to."""
    fixed, n = Rules(rule=Rule.EVIDENCE, threshold=MILLION // 2), 10 * MILLION
    for _ in range(20):
        rho, n = move(fixed, rho, n, score)
    assert rho >= fixed.rho_min


@given(ppm, st.integers(-MILLION, 250_000))
def test_an_attacker_falls_below_the_threshold_within_twelve_clearly_false_updates(rho, score):
    """From the longest record of honesty that the memory of 0.9 allows: ten observations."""
    fixed, n = Rules(rule=Rule.EVIDENCE, threshold=MILLION // 2), 10 * MILLION
    for _ in range(12):
        rho, n = move(fixed, rho, n, score)
    assert rho < fixed.rho_min


def test_a_newcomer_is_excluded_by_one_clearly_false_update():
    fixed = Rules(rule=Rule.EVIDENCE, threshold=MILLION // 2)
    assert move(fixed, fixed.start, 0, 0)[0] == 166_667

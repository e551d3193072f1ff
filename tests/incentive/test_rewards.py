"""Payments: the papers' formulas in exact fractions, and laws that hold for any round."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from platoon.incentive.rewards import compute_rewards, compute_round_price
from platoon.records.rules import MAX_SAMPLES, MAX_TOKENS, Payment, Rule, Rules

MILLION = 10**6
tokens = st.integers(0, 10**12) | st.sampled_from([0, MAX_TOKENS])
rules = st.builds(
    Rules,
    rule=st.sampled_from(Rule),
    payment=st.sampled_from(Payment),
    pool=tokens,
    base=tokens,
    bonus=tokens,
)
updates = st.lists(
    st.tuples(st.integers(0, MILLION), st.integers(1, MAX_SAMPLES), st.booleans()), max_size=20
)


def columns(round_):
    return [[row[i] for row in round_] for i in range(3)]


@given(rules, updates, tokens)
def test_no_round_pays_more_than_the_escrow_holds_or_than_its_price(rules, round_, available):
    rewards = compute_rewards(rules, *columns(round_), available)
    assert sum(rewards) <= min(available, compute_round_price(rules, sum(row[2] for row in round_)))
    assert all(reward >= 0 for reward in rewards)
    assert all(reward == 0 for reward, row in zip(rewards, round_, strict=True) if not row[2])


@given(rules, updates)
def test_a_reward_is_the_papers_formula_rounded_down(rules, round_):
    rewards = compute_rewards(rules, *columns(round_), 2**80)
    counted = [row for row in round_ if row[2] or rules.rule is Rule.AS_WRITTEN]
    whole = sum(rho * samples for rho, samples, _ in counted)
    for reward, (rho, samples, merged) in zip(rewards, round_, strict=True):
        share = Fraction(rho * samples, whole) if whole else Fraction(0)
        pool, bonus = rules.pool * share, rules.base + rules.bonus * share
        exact = pool if rules.payment is Payment.POOL else bonus
        assert reward == (exact.__floor__() if merged else 0)


def test_eq_15_worked_by_hand():
    # rho |D|: 0.5 * 300 = 150, 0.7 * 200 = 140, 0.9 * 100 = 90 (not merged); pool of 10 tokens
    columns_ = ([500_000, 700_000, 900_000], [300, 200, 100], [True, True, False])
    default, as_written = Rules(pool=10_000_000), Rules(rule=Rule.AS_WRITTEN, pool=10_000_000)
    assert compute_rewards(default, *columns_, 10**9) == [5_172_413, 4_827_586, 0]
    # as written the denominator is 380, and the share of the third stays in escrow
    assert compute_rewards(as_written, *columns_, 10**9) == [3_947_368, 3_684_210, 0]


def test_eq_6_worked_by_hand():
    rules = Rules(payment=Payment.BASE_BONUS, base=200_000, bonus=5_000_000)
    columns_ = ([500_000, 500_000], [100, 300], [True, True])
    assert compute_rewards(rules, *columns_, 10**9) == [1_450_000, 3_950_000]


def test_an_empty_round_costs_nothing():
    assert compute_rewards(Rules(pool=10), [], [], [], 100) == []
    assert compute_round_price(Rules(pool=10), 0) == 0

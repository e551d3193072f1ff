"""Laws of the global reputation, and what a shard's edge servers sign."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import MILLION, Address, Digest
from platoon.records.rules import MAX_SEVERITY, Rule, Rules, compute_next_standing
from platoon.records.shards import (
    MAX_EVIDENCE,
    MAX_SHARDS,
    Reputation,
    Row,
    compute_evidence,
    compute_most_counted,
    compute_report_digest,
    merge_reputations,
    pack_row,
)

ppm = st.integers(0, MILLION)
reputations = st.builds(Reputation, ppm, st.integers(0, MAX_EVIDENCE))
shards = st.lists(reputations, max_size=MAX_SHARDS)
most = st.integers(1, MAX_EVIDENCE)
TASK = Digest(b"\x0c" * 32)


@given(shards, ppm, most, st.randoms())
def test_the_order_of_the_shards_does_not_matter(shards, start, most, random):
    shuffled = list(shards)
    random.shuffle(shuffled)
    merged = merge_reputations(shards, start=start, most=most)
    assert merged == merge_reputations(shuffled, start=start, most=most)


@given(shards, ppm, most)
def test_a_global_reputation_is_the_weighted_mean_rounded_down(shards, start, most):
    merged = merge_reputations(shards, start=start, most=most)
    counted = [(shard.value, min(shard.evidence, most)) for shard in shards if shard.evidence]
    if not counted:
        assert merged == Reputation(start)
        return
    total = sum(n for _, n in counted)
    assert merged.value == Fraction(sum(value * n for value, n in counted), total).__floor__()
    assert min(value for value, _ in counted) <= merged.value <= max(value for value, _ in counted)
    assert merged.evidence == min(total, MAX_EVIDENCE)


@given(shards, ppm, ppm, most)
def test_a_shard_that_does_not_know_the_vehicle_says_nothing(shards, start, value, most):
    merged = merge_reputations(shards, start=start, most=most)
    assert merge_reputations([*shards, Reputation(value)], start=start, most=most) == merged


@given(st.lists(ppm, min_size=1, max_size=8), ppm, st.integers(0, MAX_EVIDENCE))
def test_one_shard_moves_the_whole_by_no_more_than_its_part(values, lie, claimed):
    honest = [Reputation(value, 5 * MILLION) for value in values]
    before = merge_reputations(honest, start=0, most=5 * MILLION)
    after = merge_reputations([*honest, Reputation(lie, claimed)], start=0, most=5 * MILLION)
    assert abs(after.value - before.value) <= MILLION // (len(values) + 1) + 1


@given(st.integers(0, 990_000), st.integers(0, MAX_SEVERITY), st.booleans(), st.integers(1, 60))
def test_updates_gather_no_more_than_counts(memory, severity, valid, updates):
    rules, now = Rules(rule=Rule.EVIDENCE, memory=memory, severity=severity), (500_000, 0)
    score = MILLION if valid else -MILLION
    for _ in range(updates):
        now = compute_next_standing(rules, *now, score=score, valid=valid, evidence=MILLION)
    assert compute_evidence(rules, now[1]) <= compute_most_counted(rules)


@given(st.sampled_from([Rule.DEFAULT, Rule.AS_WRITTEN]), st.lists(ppm, min_size=1, max_size=MAX_SHARDS), most)
def test_shards_whose_rule_keeps_no_evidence_count_alike(rule, values, most):
    said = [Reputation(value, compute_evidence(Rules(rule=rule), 0)) for value in values]
    assert merge_reputations(said, start=0, most=most).value == sum(values) // len(values)


@given(shards, ppm, most, ppm)
def test_a_shard_that_scores_nothing_says_nothing(shards, start, most, value):
    said = Reputation(value, compute_evidence(Rules(rule=Rule.NONE), 0))
    merged = merge_reputations(shards, start=start, most=most)
    assert merge_reputations([*shards, said], start=start, most=most) == merged


@given(reputations, ppm)
def test_what_a_single_shard_says_is_the_global_reputation(said, start):
    merged = merge_reputations([said], start=start, most=MAX_EVIDENCE)
    assert merged == (said if said.evidence else Reputation(start))


def test_where_nothing_is_forgotten_everything_counts():
    assert compute_most_counted(Rules(memory=MILLION)) == MAX_EVIDENCE


def test_a_digest_binds_task_round_and_every_row():
    rows = [Row(Address(bytes([i]) * 20), Reputation(700_000 + i, i)) for i in range(1, 4)]
    words = [pack_row(row) for row in rows]
    others = [pack_row(rows[0]._replace(reputation=Reputation(0, 1))), *words[1:]]
    digests = {
        compute_report_digest(*said)
        for said in (
            (TASK, 1, words),
            (Digest(b"\x0d" * 32), 1, words),
            (TASK, 2, words),
            (TASK, 1, others),
            (TASK, 1, words[:2]),
            (TASK, 1, []),
        )
    }
    assert len(digests) == 6


@pytest.mark.parametrize("number", [-1, 2**64])
def test_invalid_round_of_a_report(number):
    with pytest.raises(ValueError, match="not a uint64"):
        compute_report_digest(TASK, number, [])

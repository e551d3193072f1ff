"""Clusters of implausible vehicles: what is one, and what a task does about it on any network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.drivers.lossy import Faults, Network
from platoon.ledger.audit import audit
from platoon.ledger.history import show_task
from platoon.ledger.plausibility import Kind
from platoon.nouns import EdgeServerId, VehicleId
from platoon.protocol.plausibility import (
    PlausibilityRules,
    allege,
    compute_evidence_digest,
    find_clusters,
    judge_again,
    to_millimetres,
)
from platoon.twin.company import Company

RULES = PlausibilityRules(convoy_m=100.0, near=0.95, gap=0.1, one_device_db=2.5)


def make_company(count, together=(), one_device=(), roamed=500.0):
    """Vehicles 10, 11, ... a kilometre from each other, but for groups of rows."""
    apart, unlike = np.full((count, count), 1000.0), np.full((count, count), 9.0)
    for group in together:
        apart[np.ix_(group, group)] = 40.0
    for group in one_device:
        apart[np.ix_(group, group)], unlike[np.ix_(group, group)] = 4.0, 1.4
    for matrix in (apart, unlike):
        np.fill_diagonal(matrix, np.inf)
    return Company(
        vehicles=np.arange(10, 10 + count), apart=apart, unlike_db=unlike, roamed=np.full(count, roamed)
    )


def make_similarity(count, *alike, near=0.99, far=0.3):
    similarity = np.full((count, count), far)
    for group in alike:
        similarity[np.ix_(group, group)] = near
    np.fill_diagonal(similarity, 1.0)
    return similarity


def test_a_convoy_that_sends_the_same_is_collusion():
    (cluster,) = find_clusters(RULES, make_company(6, [[0, 2, 3]]), make_similarity(6, [0, 2, 3]))
    assert (cluster.kind, cluster.vehicles) == (Kind.COLLUSION, (10, 12, 13))
    assert (cluster.apart_m, cluster.similarity) == (40.0, 0.99)


@pytest.mark.parametrize(
    ("company", "similarity"),
    [
        (make_company(6, [[0, 2, 3]]), make_similarity(6)),  # a platoon of honest trucks
        (make_company(6), make_similarity(6, [0, 2, 3])),  # the same data, far apart
        (make_company(6, [[0, 2, 3]]), make_similarity(6, [0, 2, 3], far=0.9)),  # everybody sends the same
        (make_company(6, [[0, 2]]), make_similarity(6, [0, 2], near=0.94)),  # alike, not near-identical
        (make_company(6, one_device=[[0, 2]], roamed=10.0), make_similarity(6)),  # side by side at a light
    ],
)
def test_none_of_this_is_implausible(company, similarity):
    assert find_clusters(RULES, company, similarity) == ()


def test_accounts_at_one_place_are_sybils_whatever_they_send_and_whoever_was_chosen():
    # rows 0 to 3 sent something; row 5 did not, and is the same device as row 1
    company = make_company(6, one_device=[[1, 5], [4, 5]])
    (cluster,) = find_clusters(RULES, company, make_similarity(4))
    assert (cluster.kind, cluster.vehicles, cluster.similarity) == (Kind.SYBIL, (11, 14, 15), 0.0)
    # a device of which nobody took part is nobody's business in this round
    assert find_clusters(RULES, make_company(6, one_device=[[4, 5]]), make_similarity(4)) == ()


def test_sybils_are_not_called_colluders_too():
    company = make_company(5, one_device=[[0, 1]])
    (cluster,) = find_clusters(RULES, company, make_similarity(5, [0, 1]))
    assert cluster.kind is Kind.SYBIL


def test_a_cluster_of_more_members_than_a_case_takes_is_alleged_in_parts():
    everybody = list(range(100))
    clusters = find_clusters(RULES, make_company(100, one_device=[everybody]), make_similarity(100))
    assert sorted(len(cluster.vehicles) for cluster in clusters) == [50, 50]
    accounts = [bytes([i]) * 20 for i in range(200)]
    for alleged in allege(clusters, accounts, b"\x01" * 32):
        assert list(alleged.members) == sorted(alleged.members)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 12))
def test_clusters_do_not_depend_on_the_order_of_the_vehicles(seed, count):
    rng = np.random.default_rng(seed)
    half = rng.uniform(0, 200, (count, count))
    apart = np.triu(half, 1) + np.triu(half, 1).T
    np.fill_diagonal(apart, np.inf)
    cosines = np.triu(rng.uniform(0.8, 1.0, (count, count)), 1)
    cosines = cosines + cosines.T + np.eye(count)
    unlike = np.where(rng.random((count, count)) < 0.2, 1.0, 9.0)
    unlike = np.minimum(unlike, unlike.T)
    company = Company(
        vehicles=np.arange(count), apart=apart / 20, unlike_db=unlike, roamed=np.full(count, 99.0)
    )
    order = rng.permutation(count)
    shuffled = Company(
        vehicles=order,
        apart=company.apart[np.ix_(order, order)],
        unlike_db=unlike[np.ix_(order, order)],
        roamed=company.roamed,
    )
    kept = find_clusters(RULES, company, cosines)
    again = find_clusters(RULES, shuffled, cosines[np.ix_(order, order)])
    described = [
        [(c.kind, c.vehicles, round(c.apart_m, 9), c.similarity) for c in clusters]
        for clusters in (kept, again)
    ]
    assert described[0] == described[1]
    members = [vehicle for cluster in kept for vehicle in cluster.vehicles]
    sybils = {v for c in kept if c.kind is Kind.SYBIL for v in c.vehicles}
    assert len(sybils) == sum(len(c.vehicles) for c in kept if c.kind is Kind.SYBIL)
    assert len(members) == sum(len(set(c.vehicles)) for c in kept)


def test_a_second_judgement_asks_probes_of_colluders_and_the_radio_of_sybils():
    rows = np.array([0, 1])
    apart = make_company(2)
    assert judge_again(RULES, Kind.COLLUSION, apart, rows, make_similarity(4, [0, 1]))[0]
    # alike in numbers, but not in what they do on these probes
    assert not judge_again(RULES, Kind.COLLUSION, apart, rows, make_similarity(4))[0]
    assert judge_again(RULES, Kind.SYBIL, make_company(2, one_device=[[0, 1]]), rows, make_similarity(4))[0]
    # two accounts that were received apart while they drove are two devices
    assert not judge_again(RULES, Kind.SYBIL, apart, rows, make_similarity(4))[0]
    # neither was heard long enough: nothing speaks against the first judgement
    unheard = Company(
        vehicles=rows, apart=np.full((2, 2), np.inf), unlike_db=np.full((2, 2), np.inf), roamed=np.zeros(2)
    )
    upheld, metres, _ = judge_again(RULES, Kind.SYBIL, unheard, rows, make_similarity(4))
    assert upheld
    assert to_millimetres(metres) == 2**31 - 1


def test_evidence_is_bound_by_every_value_of_it():
    company, similarity = make_company(3, [[0, 1]]), make_similarity(3)
    first = compute_evidence_digest(company, similarity)
    assert first == compute_evidence_digest(company, similarity.copy())
    changed = similarity.copy()
    changed[0, 1] += 1e-15
    assert compute_evidence_digest(company, changed) != first
    assert compute_evidence_digest(make_company(3, [[0, 1]], roamed=501.0), similarity) != first


# ---- in a task --------------------------------------------------------------------------------------------------

AS_ONE = (tuple(VehicleId(i) for i in (1, 2, 4)),)
"""Honest by their scores, as 5 and 7 are, and 0, 3 and 6 are not: only plausibility can find them."""
EVERYBODY = {"fleet.vehicles": 8, "round.participants": 8, "fleet.malicious_share": 0.0, "task.rounds": 3}


def cases_of(played):
    return show_task(played.path)["cases"]


def test_colluders_are_flagged_appeal_and_are_upheld(play):
    played = play(overrides=EVERYBODY, as_one=AS_ONE)
    first, *_ = cases_of(played)
    assert (first["round"], first["kind"], sorted(first["members"])) == (1, "collusion", [1, 2, 4])
    assert (first["status"], first["appealed_by"]) == ("upheld", 1)
    # in the very round of the flag none of them was merged or paid
    settled = list(audit(played.path))
    assert {u.vehicle for u in settled[1].updates if u.merged} == {5, 7}
    # nor did its good score make up for the flag
    after = {u.vehicle: u.reputation_after for u in settled[1].updates}
    assert {after[1], after[2], after[4]} == {200_000}
    assert after[5] > 500_000


def test_without_the_check_nobody_is_flagged_and_they_are_merged(play):
    played = play(overrides=EVERYBODY | {"plausibility.check": False}, as_one=AS_ONE)
    assert cases_of(played) == []
    assert {u.vehicle for u in list(audit(played.path))[1].updates if u.merged} == {1, 2, 4, 5, 7}


def test_a_bad_network_comes_to_the_same_flags(play):
    quiet = play(overrides=EVERYBODY, as_one=AS_ONE)
    noisy = play(Network(seed=3, drop=0.2, repeat=0.2, delay=400_000), overrides=EVERYBODY, as_one=AS_ONE)
    keys = ("round", "kind", "members", "apart_mm", "similarity", "taken", "status")
    assert [[case[key] for key in keys] for case in cases_of(noisy)] == [
        [case[key] for key in keys] for case in cases_of(quiet)
    ]
    assert noisy.chain.reputations().tolist() == quiet.chain.reputations().tolist()


def test_flags_need_no_more_edge_servers_than_scores_do(play):
    played = play(faults=Faults(dead=frozenset({EdgeServerId(2)})), overrides=EVERYBODY, as_one=AS_ONE)
    assert [case["status"] for case in cases_of(played)][:1] == ["upheld"]

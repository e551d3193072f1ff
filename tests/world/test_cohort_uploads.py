"""Sharing of the band: timelines, conservation, and a plain simulation beside the event-driven one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Instant
from platoon.world.cohort import Cohort

MBIT = 1e6


def make_cohort(uploads: list[tuple[int, float]], links: list[list[float]]) -> Cohort:
    """Vehicles 0.. that have computed at a microsecond and hold bits; links are bit/s to each RSU."""
    cohort = Cohort()
    for vehicle, (computed, bits) in enumerate(uploads):
        cohort.add(vehicle, Instant(0), Instant(computed), 1e9, bits)
    attach(cohort, links)
    return cohort


def attach(cohort: Cohort, links: list[list[float]]) -> None:
    rates = np.array(links)
    cohort.attach(np.where(rates > 0, 10 * np.log10(np.maximum(rates, 1)), -99.0), rates > 0, rates)


def run_all(cohort: Cohort, end: int, cuts: list[int]) -> dict[int, int]:
    """Arrival of each vehicle; time is also cut at ``cuts``."""
    arrived, now = {}, Instant(0)
    for cut in [*sorted(cuts), end]:
        while now < cut:
            now, done = cohort.run(now, Instant(cut))
            arrived |= {int(vehicle): now for vehicle in cohort.vehicle[done]}
            cohort.remove(done)
    return arrived


def test_one_upload_has_the_band_to_itself() -> None:
    cohort = make_cohort([(500_000, 3 * MBIT)], [[2 * MBIT]])
    assert run_all(cohort, 10 * SECOND, []) == {0: 2_000_000}


def test_two_uploads_share_until_one_is_done() -> None:
    # Vehicle 0 begins alone at 0 s; from 1 s on both have 1 Mbit/s; 0 is done at 3 s, then 1 has 2 Mbit/s.
    cohort = make_cohort([(0, 4 * MBIT), (SECOND, 4 * MBIT)], [[2 * MBIT], [2 * MBIT]])
    assert run_all(cohort, 10 * SECOND, []) == {0: 3_000_000, 1: 4_000_000}


def test_uploads_at_two_rsus_do_not_share() -> None:
    cohort = make_cohort([(0, 4 * MBIT), (0, 4 * MBIT)], [[2 * MBIT, 0.0], [0.0, 2 * MBIT]])
    assert run_all(cohort, 10 * SECOND, []) == {0: 2_000_000, 1: 2_000_000}


def test_out_of_service_nothing_is_sent_and_nothing_shared() -> None:
    cohort = make_cohort([(0, MBIT), (0, MBIT)], [[0.0], [1 * MBIT]])
    assert run_all(cohort, 5 * SECOND, []) == {1: 1_000_000}
    assert cohort.bits.tolist() == [MBIT]
    assert cohort.air.tolist() == [0]


def test_equal_times_are_reported_together_in_order_of_vehicle() -> None:
    cohort = make_cohort([(0, MBIT), (0, MBIT)], [[MBIT], [MBIT]])
    now, done = cohort.run(Instant(0), Instant(9 * SECOND))
    assert (now, done.tolist(), cohort.vehicle.tolist()) == (2_000_000, [True, True], [0, 1])


def test_nothing_to_upload_arrives_when_training_ends() -> None:
    assert run_all(make_cohort([(700_000, 0.0)], [[MBIT]]), SECOND, []) == {0: 700_000}


def test_columns_stay_in_order_of_vehicle() -> None:
    cohort = Cohort()
    for vehicle in (7, 2, 5):
        cohort.add(vehicle, Instant(0), Instant(0), float(vehicle), 1.0)
    assert cohort.vehicle.tolist() == [2, 5, 7]
    assert cohort.cycles.tolist() == [2.0, 5.0, 7.0]
    with pytest.raises(ValueError, match="vehicle 5 takes part already"):
        cohort.add(5, Instant(0), Instant(0), 1.0, 1.0)


def test_handover_needs_three_decibels_or_the_loss_of_the_rsu() -> None:
    cohort = make_cohort([(0, MBIT)], [[1.0, 1.0]])
    story = [
        # SNR of both RSUs, usable, expected RSU, in service, handovers
        ([10.0, 8.0], [True, True], 0, True, 0),  # the better one first
        ([10.0, 12.0], [True, True], 0, True, 0),  # better, but not by enough
        ([10.0, 13.0], [True, True], 1, True, 1),  # better by 3 dB
        ([10.0, 13.0], [True, True], 1, True, 1),  # asked again: nothing changes
        ([10.0, 8.0], [False, False], 1, False, 1),  # lost
        ([10.0, 8.0], [False, True], 1, True, 1),  # back to where it was: no handover
        ([-5.0, 8.0], [True, False], 0, True, 2),  # the only one left, weaker or not
    ]
    for snr, usable, rsu, served, handovers in story:
        cohort.attach(np.array([snr]), np.array([usable]), np.ones((1, 2)))
        state = (cohort.edge_server[0], cohort.in_service[0], cohort.handovers[0])
        assert state == (rsu, served, handovers)
        assert (cohort.rate[0] > 0) == served


uploads = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.floats(0.0, 8e6)), min_size=1, max_size=6)
rate = st.sampled_from([0.0, 1e5, 1e6, 5e6])


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[tuple[int, float]], list[list[float]]]:
    made = draw(uploads)
    return made, [draw(st.lists(rate, min_size=2, max_size=2)) for _ in made]


@settings(deadline=None)
@given(cohorts(), st.integers(1, 5 * SECOND))
def test_no_rsu_gives_more_than_its_band(
    case: tuple[list[tuple[int, float]], list[list[float]]], span: int
) -> None:
    """Bits over full rate is the share of time that an upload had the band: the shares of an RSU sum to its
    busy time, no more."""
    cohort = make_cohort(*case)
    now, before = Instant(0), cohort.bits.copy()
    while now < span:
        start = now
        now, done = cohort.run(now, Instant(span))
        sent = before - cohort.bits
        used = np.divide(sent, cohort.rate, out=np.zeros_like(sent), where=cohort.rate > 0)
        assert (sent >= 0).all()
        assert (sent[cohort.rate == 0] == 0).all()
        per_rsu = np.bincount(np.maximum(cohort.edge_server, 0), weights=used, minlength=2)
        assert (per_rsu <= (now - start) / SECOND + 1e-9).all()
        cohort.remove(done)
        before = cohort.bits.copy()


@settings(deadline=None)
@given(cohorts(), st.lists(st.integers(1, 20 * SECOND - 1), max_size=5))
def test_looking_in_between_changes_no_arrival(
    case: tuple[list[tuple[int, float]], list[list[float]]], cuts: list[int]
) -> None:
    whole = run_all(make_cohort(*case), 20 * SECOND, [])
    pieces = run_all(make_cohort(*case), 20 * SECOND, cuts)
    edge = {v for v, at in (whole | pieces).items() if at >= 20 * SECOND - 20}
    assert set(whole) - edge == set(pieces) - edge
    assert all(abs(whole[v] - pieces[v]) <= 20 for v in set(whole) & set(pieces))


@settings(max_examples=25, deadline=None)
@given(cohorts())
def test_plain_simulation_in_small_steps_gives_the_same(
    case: tuple[list[tuple[int, float]], list[list[float]]],
) -> None:
    step, (made, links) = 2_000, case
    cohort = make_cohort(made, links)
    bits, plain = [float(amount) for _, amount in made], {}
    for now in range(0, 12 * SECOND, step):
        on = [i for i, (at, _) in enumerate(made) if at <= now and cohort.rate[i] > 0 and i not in plain]
        for i in on:
            users = sum(cohort.edge_server[j] == cohort.edge_server[i] for j in on)
            bits[i] -= cohort.rate[i] / users * step / SECOND
        plain |= {i: now + step for i in on if bits[i] <= 0}
    fast = run_all(cohort, 12 * SECOND, [])
    slack = 20 * step
    sure = {v for v, at in (plain | fast).items() if at < 12 * SECOND - slack}
    assert sure <= set(plain) & set(fast)
    assert all(abs(plain[v] - fast[v]) <= slack for v in sure)

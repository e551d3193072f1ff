"""Who kept company with whom: laws of the look back, and what it says of convoys, one device, and strangers."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import Instant, seconds
from platoon.twin.company import EVERY_S, GLIMPSES, LEAST, describe_company, remember_sight


def look(places, snr, heard=None, every_s=EVERY_S):
    """The past of places (T, N, 2) and signals (T, N, R)."""
    past = ()
    for number, (place, signal) in enumerate(zip(places, snr, strict=True)):
        present = np.ones(len(place), dtype=np.bool_) if heard is None else heard[number]
        at = Instant(seconds(number * every_s))
        past = remember_sight(past, at, present, place, np.where(present[:, None], signal, np.nan))
    return past


def drive(rng, glimpses, vehicles, rsus=3):
    places = rng.uniform(0, 2000, (vehicles, 2)) + np.cumsum(
        rng.normal(0, 15, (glimpses, vehicles, 2)), axis=0
    )
    return places, rng.normal(10, 8, (glimpses, vehicles, rsus))


def test_a_minute_is_kept_and_no_more_often_than_needed():
    rng = np.random.default_rng(1)
    past = look(*drive(rng, 100, 2), every_s=1.0)
    assert len(past) == GLIMPSES
    assert {b.at - a.at for a, b in pairwise(past)} == {seconds(EVERY_S)}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vehicles=st.integers(1, 6))
def test_company_is_mutual_and_nobody_keeps_his_own(seed, vehicles):
    rng = np.random.default_rng(seed)
    heard = rng.random((12, vehicles)) < 0.8
    past = look(*drive(rng, 12, vehicles), heard=heard)
    company = describe_company(past, np.arange(vehicles))
    for matrix in (company.apart, company.unlike_db):
        assert np.array_equal(matrix, matrix.T)
        assert np.isinf(np.diag(matrix)).all()
        assert (matrix >= 0).all()
    together = heard.T.astype(int) @ heard
    few = (together < LEAST) & ~np.eye(vehicles, dtype=bool)
    assert np.isinf(company.apart[few]).all()


def test_one_device_is_received_alike_and_a_convoy_is_not():
    rng = np.random.default_rng(2)
    places, snr = drive(rng, 30, 4)
    places[:, 1] = places[:, 0] + rng.normal(0, 2, (30, 2))  # one device, two accounts
    snr[:, 1] = snr[:, 0] + rng.normal(0, 1, (30, 3))
    places[:, 2] = places[:, 0] + [20.0, 0.0]  # behind it
    company = describe_company(past := look(places, snr), np.array([0, 1, 2, 3]))
    assert company.apart[0, 1] < 5.0
    assert company.unlike_db[0, 1] < 1.5
    assert 19.0 < company.apart[0, 2] < 21.0
    assert company.unlike_db[0, 2] > 5.0
    assert company.apart[0, 3] > 100.0
    # whoever is asked about alone still brings along who was last seen about its place
    assert describe_company(past, np.array([0])).vehicles.tolist() == [0, 1, 2]


def test_only_what_came_later_counts_where_that_is_asked():
    rng = np.random.default_rng(3)
    places, snr = drive(rng, 20, 2)
    places[:10, 1] = places[:10, 0]  # together at first, then apart
    past = look(places, snr)
    parted = describe_company(past, np.array([0, 1]), since=past[9].at)
    assert parted.apart[0, 1] > describe_company(past, np.array([0, 1])).apart[0, 1]
    nothing = describe_company(past, np.array([0, 1]), since=past[-1].at)
    assert np.isinf(nothing.apart).all()
    assert (nothing.roamed == 0).all()


def test_who_is_never_heard_keeps_no_company():
    rng = np.random.default_rng(4)
    heard = np.tile([True, False], (10, 1))
    company = describe_company(look(*drive(rng, 10, 2), heard=heard), np.array([0, 1]))
    assert np.isinf(company.apart).all()
    assert company.roamed[1] == 0.0
    assert describe_company((), np.array([0, 1])).vehicles.tolist() == [0, 1]

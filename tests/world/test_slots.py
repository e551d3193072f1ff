"""The schedule of the shared band: nobody sends and receives at once, nothing disturbs what is received, and a
message takes its bits over its rate at least."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Duration, Instant
from platoon.world.slots import Booking, Hop, Timetable

SLOT, REACH, DELAY = Duration(500), 1000.0, Duration(5000)
NOW = Instant(10_000_000)


def hop(sender: int, receiver: int, rate: float = 1e7, gap: float = 100.0, **fields: object) -> Hop:
    """Between nodes on a line, ``gap`` metres apart."""
    places = ((gap * sender, 0.0), (gap * receiver, 0.0))
    return Hop(sender=sender, receiver=receiver, rate=rate, places=places, **fields)  # type: ignore[arg-type]


def timetable() -> Timetable:
    return Timetable(SLOT, REACH, DELAY)


def test_two_messages_of_neighbours_follow_each_other() -> None:
    table = timetable()
    (first,) = table.book([hop(0, 1)], 8000, NOW)  # 0.8 ms: two slots
    (second,) = table.book([hop(2, 3)], 8000, NOW)
    assert (first.begins, first.ends) == (NOW, NOW + 1000)
    assert (second.begins, second.ends) == (NOW + 1000, NOW + 2000)


def test_a_slot_is_used_again_out_of_interference_range() -> None:
    table = timetable()
    (first,) = table.book([hop(0, 1)], 8000, NOW)
    (far,) = table.book([hop(20, 21)], 8000, NOW)
    assert far.begins == first.begins


def test_a_device_sends_or_receives_however_far_the_others_are() -> None:
    """Node 1 receives from 0: it can neither send to 30 nor receive from 50 meanwhile."""
    table = timetable()
    table.book([hop(0, 1)], 8000, NOW)
    (sent,) = table.book([hop(1, 30)], 8000, NOW)
    (received,) = table.book([hop(50, 1)], 8000, NOW)
    assert [sent.begins, received.begins] == [NOW + 1000, NOW + 2000]


def test_a_gap_between_bookings_is_filled() -> None:
    table = timetable()
    table.book([hop(0, 1)], 4000, NOW)
    table.book([hop(0, 1)], 4000, Instant(NOW + 2000))
    (small,) = table.book([hop(2, 3)], 4000, NOW)
    (large,) = table.book([hop(2, 3)], 20_000, NOW)
    assert small.begins == NOW + 500
    assert large.begins == NOW + 2500  # 2 ms do not fit before the second one


def test_hops_follow_each_other_and_begin_with_a_slot() -> None:
    first, second = timetable().book([hop(0, 1), hop(1, 2)], 8000, Instant(NOW + 1))
    assert first.begins == NOW + 500
    assert second.begins == first.ends


def test_cellular_waits_for_its_grant_and_shares_the_band_of_its_rsu() -> None:
    table = timetable()
    up = hop(0, 9, cell=0, is_uplink=True)
    (first,) = table.book([up], 8000, NOW)
    (second,) = table.book([up], 8000, NOW)
    (down,) = table.book([hop(9, 0, cell=0)], 8000, NOW)
    (elsewhere,) = table.book([hop(0, 9, cell=1, is_uplink=True)], 8000, NOW)
    (aside,) = table.book([hop(0, 1)], 8000, NOW)
    assert (first.begins, first.ends) == (NOW + DELAY, NOW + DELAY + 800)
    assert second.begins == first.ends
    assert down.begins == elsewhere.begins == first.begins
    assert aside.begins == NOW  # another radio


def test_what_is_over_is_forgotten_and_nothing_else() -> None:
    table = timetable()
    table.book([hop(0, 1)], 8000, NOW)
    table.book([hop(0, 1)], 8000, NOW)
    table.forget(Instant(NOW + 1000))
    assert [booking.begins for booking in table.booked] == [NOW + 1000]
    table.clear()
    assert table.booked == []


rates = st.floats(1e5, 5e7)
nodes = st.integers(0, 40)


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[Hop], int, int]:
    ends = draw(st.lists(nodes, min_size=2, max_size=4, unique=True))
    hops = [hop(a, b, draw(rates)) for a, b in pairwise(ends)]
    return hops, draw(st.integers(1, 40_000)), draw(st.integers(0, 5000))


@settings(deadline=None)
@given(st.lists(messages(), max_size=12))
def test_laws_of_the_schedule(many: list[tuple[list[Hop], int, int]]) -> None:
    table = timetable()
    booked = [table.book(hops, bits, Instant(NOW + late)) for hops, bits, late in many]
    for bookings, (hops, bits, late) in zip(booked, many, strict=True):
        assert [booking.hop for booking in bookings] == hops
        at = NOW + late
        for booking in bookings:
            assert booking.begins >= at
            assert booking.begins % SLOT == booking.ends % SLOT == 0
            assert booking.ends - booking.begins >= bits / booking.hop.rate * SECOND
            at = booking.ends
        assert at - NOW - late >= table.compute_duration(hops, bits)
    flat = [booking for bookings in booked for booking in bookings]
    for i, one in enumerate(flat):
        for other in flat[:i]:
            assert not overlap(one, other) or are_apart(one.hop, other.hop)


def overlap(one: Booking, other: Booking) -> bool:
    return one.begins < other.ends and other.begins < one.ends


def are_apart(one: Hop, other: Hop) -> bool:
    """Four devices, and each sender out of reach of the other's receiver: written again, not asked of the code."""
    if len({one.sender, one.receiver, other.sender, other.receiver}) < 4:
        return False
    (a, b), (c, d) = np.array(one.places), np.array(other.places)
    return bool(np.linalg.norm(a - d) > REACH and np.linalg.norm(c - b) > REACH)


@given(rates, st.integers(1, 10**6))
def test_lengths_of_columns_are_those_of_hops(rate: float, bits: int) -> None:
    table = timetable()
    lengths = table.compute_lengths(np.array([rate, 0.0]), bits)
    assert lengths.tolist() == [table.compute_length(hop(0, 1, rate), bits), np.inf]
    assert lengths[0] % SLOT == 0
    assert 0 <= lengths[0] - bits / rate * SECOND < SLOT + 1


@pytest.mark.parametrize("bits", [1, 5000, 5001])
def test_a_message_takes_one_slot_at_least(bits: int) -> None:
    assert timetable().compute_length(hop(0, 1), bits) == (500 if bits <= 5000 else 1000)

"""Outcomes of those who were not chosen: what the rates measured since would have carried."""

from dataclasses import replace

import numpy as np
import pytest

from platoon.nouns import Instant, seconds
from platoon.twin import watch as watching
from platoon.twin.finish import Job


def opened(served=(True, True, False, True), start=2.0, due=10.0, share=0.5, bits=4e6):
    vehicles = len(served)
    return watching.open_watch(
        Instant(0),
        Instant(seconds(due)),
        np.array(served),
        probability=np.linspace(0.1, 0.9, vehicles),
        parts=np.tile([start, 1.0], (vehicles, 1)),
        share=np.full(vehicles, share),
        bits=bits,
    )


def test_bits_flow_from_the_end_of_training_to_the_deadline():
    watch = opened()
    assert watch.who.tolist() == [0, 1, 3]
    rate = np.array([1e6, 2e6, 9e9, 0.0])
    for second in range(1, 13):
        watch = watching.account(watch, Instant(seconds(second)), rate)
    # eight seconds at half of 1 Mbit/s carry 4 Mbit, exactly enough; half of 2 Mbit/s is more; nothing is not
    assert watch.through.tolist() == [True, True, False]
    assert watch.left[2] == 4e6


def test_nothing_counts_before_training_ends_or_after_the_deadline():
    watch = opened(start=9.0, bits=0.6e6)
    for second in range(1, 13):
        watch = watching.account(watch, Instant(seconds(second)), np.full(4, 1e6))
    assert watch.left.tolist() == pytest.approx([0.1e6] * 3)


def test_after_a_silence_nobody_knows():
    watch = watching.account(opened(), Instant(seconds(1)), np.ones(4))
    assert len(watching.account(watch, Instant(seconds(6)), np.ones(4)).who)
    assert not len(watching.account(watch, Instant(seconds(6.1)), np.ones(4)).who)


def test_who_took_part_is_left_out_of_the_watch_of_that_round_only():
    watch = opened()
    assert watching.leave_out(watch, Instant(0), np.array([3, 1])).who.tolist() == [0]
    assert watching.leave_out(watch, Instant(5), np.array([3, 1])) is watch


def test_a_large_fleet_is_sampled_evenly():
    watch = opened(served=(True,) * 999)
    assert len(watch.who) <= watching.MOST_WATCHED
    assert set(np.diff(watch.who)) == {5}


def test_the_twin_learns_from_those_it_did_not_choose(make_town):
    """Nobody takes part, and yet after the deadline the twin holds outcomes: true ones."""
    town = make_town()
    town.drive(town.twin, 0, 31)
    job = Job(samples=np.full(20, 300.0), epochs=3, bits=2e7)
    town.twin.forecast(job, seconds(10), seconds(30))
    assert len(town.twin._belief.watch.who) == 20
    town.twin.forecast(job, seconds(10), seconds(30))  # one at a time
    town.drive(town.twin, 31, 42)
    belief = town.twin._belief
    assert not len(belief.watch.who)
    assert len(belief.experience.arrived) == 20
    assert belief.experience.arrived.any()
    assert np.isnan(belief.experience.seconds).all()
    # forecast again, and half of the fleet trains: only the others are watched
    town.twin.forecast(job, seconds(10), seconds(41))
    at = town.twin._belief.announced.at
    left = watching.leave_out(town.twin._belief.watch, at, np.arange(0, 20, 2))
    assert left.who.tolist() == list(range(1, 20, 2))
    assert replace(left, due=Instant(0)).at == at

"""Processors as a function of time, and measurements that see the truth through noise alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Instant
from platoon.physics.radio import compute_subcarrier_noise_dbm
from platoon.scenario import Compute
from platoon.world.compute import KNOT, LARGEST_LOAD, Processors
from platoon.world.world import World

MakeWorld = Callable[..., World]
FLEET = Processors(Compute(), 8, 1)


@settings(deadline=None)
@given(st.integers(0, 7), st.floats(0, 2e11), st.integers(0, 10**9))
def test_training_takes_the_cycles_that_are_free(vehicle: int, cycles: float, start: int) -> None:
    end, at, free = FLEET.finish(vehicle, cycles, Instant(start)), start, 0.0
    while at < end:
        stop = min(end, (at // KNOT + 1) * KNOT)
        free += FLEET.available_hz(Instant(at))[vehicle] * (stop - at) / SECOND
        at = stop
    # The end is rounded up to the microsecond.
    assert cycles - 1.0 <= free <= cycles + FLEET.clock_hz[vehicle] / SECOND + 1.0


@settings(deadline=None)
@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_asking_changes_no_answer(one: int, other: int) -> None:
    fresh = Processors(Compute(), 8, 1)
    first = fresh.available_hz(Instant(one))
    fresh.available_hz(Instant(other))
    assert (fresh.available_hz(Instant(one)) == first).all()
    assert (FLEET.available_hz(Instant(one)) == first).all()


def test_a_larger_fleet_changes_nobody() -> None:
    large = Processors(Compute(), 20, 1)
    for column in ("clock_hz", "commercial", "claimed_hz"):
        assert (getattr(large, column)[:8] == getattr(FLEET, column)).all()
    assert (large.load(Instant(5 * SECOND))[:8] == FLEET.load(Instant(5 * SECOND))).all()
    assert (Processors(Compute(), 8, 2).clock_hz != FLEET.clock_hz).all()


def test_load_has_the_spread_and_memory_of_the_scenario() -> None:
    fleet = Processors(Compute(load_mean=0.5, load_sigma=0.1), 400, 3)
    loads = np.array([fleet.load(Instant(k * KNOT)) for k in range(60)])[:, ~fleet.commercial]
    centred = loads - loads.mean()
    assert centred.std() == pytest.approx(0.1, rel=0.1)
    now, later = centred[:-10].ravel(), centred[10:].ravel()
    assert np.corrcoef(now, later)[0, 1] == pytest.approx(np.exp(-1.0), abs=0.06)


def test_commercial_vehicles_are_busy_at_noon_and_private_ones_in_the_evening() -> None:
    fleet = Processors(Compute(load_sigma=0.0), 50, 1)
    noon, evening = (fleet.load(Instant(int((hour - 8) * 3600) * SECOND)) for hour in (13, 18))
    assert (noon[fleet.commercial] > evening[fleet.commercial]).all()
    assert (noon[~fleet.commercial] < evening[~fleet.commercial]).all()
    assert 0 < fleet.commercial.sum() < 50


def test_load_leaves_something() -> None:
    busy = Processors(Compute(load_mean=1.0, load_sigma=0.5), 30, 1)
    loads = np.array([busy.load(Instant(k * KNOT)) for k in range(30)])
    assert loads.min() >= 0.0
    assert loads.max() == LARGEST_LOAD


def test_clocks_lie_in_the_range() -> None:
    fleet = Processors(Compute(ghz=(1.0, 3.0)), 500, 1)
    assert 1e9 <= fleet.clock_hz.min() < 1.1e9
    assert 2.9e9 < fleet.clock_hz.max() <= 3e9


def make_crowd(make_world: MakeWorld, **sections: object) -> World:
    places = np.linspace(10.0, 3990.0, 400)
    return make_world(np.stack([places, np.zeros(400)], axis=1)[None], **sections)


def test_measurements_scatter_about_the_truth(make_world: MakeWorld) -> None:
    world = make_crowd(
        make_world,
        twin={"positioning": "position", "position_sigma_m": 3.0},
        radio={"rsus": 2, "snr_sigma_db": 1.5},
    )
    seen = world.measure()
    assert seen.at == 0
    assert seen.heard.all()
    error = seen.position - world.positions()
    assert error.std() == pytest.approx(3.0, rel=0.1)
    assert abs(error.mean()) < 0.5
    heard = np.isfinite(seen.rsrp_dbm)
    snr = seen.rsrp_dbm - compute_subcarrier_noise_dbm(5.0)
    noise = (snr - world.channel.snr_db(world.positions()))[heard]
    assert noise.std() == pytest.approx(1.5, rel=0.1)
    assert abs(noise.mean()) < 0.2


def test_measuring_twice_at_one_instant_is_one_measurement(make_world: MakeWorld) -> None:
    world = make_crowd(make_world)
    first, again = world.measure(), world.measure()
    for name in ("rsrp_dbm", "sinr_db", "arrival_ns", "reference_ns", "range_m", "angle_rad"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes(), name
    world.advance(Instant(1))
    assert first.arrival_ns.tobytes() != world.measure().arrival_ns.tobytes()


def test_an_rsu_hears_no_vehicle_beyond_its_hearing_radius(make_world: MakeWorld) -> None:
    world = make_crowd(make_world, radio={"rsus": 1, "hearing_radius_m": 800.0, "service_radius_m": 500.0})
    seen = world.measure()
    near = np.abs(world.positions()[:, 0] - world.rsus[0, 0]) < 799
    assert (seen.heard == (world.channel.distances(world.positions())[:, 0] <= 800.0)).all()
    assert np.isfinite(seen.rsrp_dbm[near, 0]).all()
    assert np.isnan(seen.sinr_db[~seen.heard]).all()
    assert (seen.cqi[~seen.heard] == 0).all()


def test_attestation_finds_the_capacity_that_is_free(make_world: MakeWorld) -> None:
    world = make_crowd(make_world)
    everybody = np.arange(400)
    answer = world.attest(everybody)
    assert (answer.asked == (world.serving() >= 0)).all()
    assert answer.passed.sum() > 300
    truth = world.processors.available_hz(world.now)
    ratio = (answer.cpu_hz / truth)[answer.passed]
    # Half a second of work against jitter of a few milliseconds.
    assert np.abs(ratio - 1.0).max() < 0.05
    assert np.isnan(answer.cpu_hz[~answer.passed]).all()


def test_a_claim_moves_no_measurement(make_world: MakeWorld) -> None:
    honest, boasting = make_crowd(make_world), make_crowd(make_world, compute={"boaster_share": 0.5})
    claims = boasting.processors.claimed_hz / boasting.processors.clock_hz
    assert set(claims.round(12)) == {1.0, 2.0}
    assert (honest.processors.claimed_hz == honest.processors.clock_hz).all()
    one, other = (world.attest(np.arange(400)).cpu_hz for world in (honest, boasting))
    assert one.tobytes() == other.tobytes()


def test_a_relay_costs_another_round_trip_and_no_more(make_world: MakeWorld) -> None:
    """Slow vehicles have a fast accomplice do the work: it attests the accomplice's speed, less the way there."""
    world = make_crowd(make_world, compute={"ghz": (0.5, 4.0), "load_mean": 0.0, "load_sigma": 0.0})
    fastest = int(np.argmax(world.processors.clock_hz))
    everybody = np.ones(400, dtype=np.bool_)
    alone = world._sensors.attest(world.now, everybody)
    relayed = world._sensors.attest(world.now, everybody, np.full(400, fastest))
    others = np.arange(400) != fastest
    passed = relayed.passed & others
    # 5e8 cycles at 4 GHz are 125 ms; 8 to 12 ms of relay are not subtracted.
    ratio = relayed.cpu_hz[passed] / world.processors.clock_hz[fastest]
    assert 0.88 < ratio.min() < ratio.max() < 0.98
    assert relayed.cpu_hz[fastest] == alone.cpu_hz[fastest]
    # Whoever is about as fast as the accomplice gains nothing.
    near = passed & (world.processors.clock_hz > 0.97 * world.processors.clock_hz[fastest])
    assert near.any()
    assert (relayed.cpu_hz[near] < alone.cpu_hz[near]).all()


def test_slow_vehicles_fail_and_those_not_asked_neither_pass_nor_fail(make_world: MakeWorld) -> None:
    world = make_crowd(make_world, twin={"attestation_deadline_s": 0.3})
    answer = world.attest(np.arange(0, 400, 2))
    assert not answer.asked[1::2].any()
    assert not answer.passed[~answer.asked].any()
    truth = world.processors.available_hz(world.now)
    slow, fast = 5e8 / truth > 0.3, 5e8 / truth < 0.26
    assert not (answer.passed & slow).any()
    assert answer.passed[answer.asked & fast].all()
    assert (answer.asked & slow).any()

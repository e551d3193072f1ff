"""What RSUs measure: standards' steps, clocks that wander, and nothing that the equipment does not measure."""

from collections.abc import Callable

import numpy as np
import pytest

from platoon.nouns import SECOND, Instant, seconds
from platoon.physics.radio import METRES_PER_NS, compute_cqi
from platoon.world.clocks import Clocks
from platoon.world.world import World

MakeWorld = Callable[..., World]


def make_crowd(make_world: MakeWorld, kind: str, **radio: object) -> World:
    places = np.linspace(10.0, 3990.0, 300)
    sections = {"twin": {"positioning": kind}, "radio": {"rsus": 3, "hearing_radius_m": 2500.0, **radio}}
    return make_world(np.stack([places, np.zeros(300)], axis=1)[None], **sections)


@pytest.mark.parametrize("kind", ["tdoa", "range_angle", "both", "position"])
def test_only_what_the_equipment_measures(make_world: MakeWorld, kind: str) -> None:
    seen = make_crowd(make_world, kind).measure()
    assert np.isfinite(seen.arrival_ns).any() == (kind in ("tdoa", "both"))
    assert np.isfinite(seen.reference_ns).any() == (kind in ("tdoa", "both"))
    assert (seen.ranging_rsu >= 0).any() == (kind in ("range_angle", "both"))
    assert np.isfinite(seen.position).any() == (kind == "position")


def test_signals_come_in_the_steps_of_the_standards(make_world: MakeWorld) -> None:
    seen = make_crowd(make_world, "both").measure()
    heard = np.isfinite(seen.rsrp_dbm)
    assert (seen.rsrp_dbm[heard] % 1.0 == 0.0).all()
    assert (seen.sinr_db[heard] % 0.5 == 0.0).all()
    assert seen.rsrp_dbm[heard].min() >= -156
    assert seen.sinr_db[heard].max() <= 40.0
    assert (seen.cqi == compute_cqi(seen.sinr_db)).all()
    assert 0 <= seen.cqi.min() < seen.cqi.max() <= 15
    assert (np.isfinite(seen.arrival_ns) == heard).all()


def test_arrivals_are_flight_and_clock_and_noise(make_world: MakeWorld) -> None:
    world = make_crowd(make_world, "tdoa", arrival_sigma_ns=5.0, clock_sigma_ns=0.0)
    seen = world.measure()
    slant = np.hypot(world.channel.distances(world.positions()), 8.5)
    left = seen.arrival_ns - slant / METRES_PER_NS
    both = np.isfinite(left[:, 0]) & np.isfinite(left[:, 1])
    differences = (left[:, 0] - left[:, 1])[both]
    assert differences.std() == pytest.approx(5.0 * np.sqrt(2), rel=0.2)
    # The times of sending themselves tell nothing.
    assert np.nanstd(left[:, 0]) > 1e5


def test_range_and_angle_scatter_about_the_truth(make_world: MakeWorld) -> None:
    world = make_crowd(make_world, "range_angle", range_sigma_m=4.0, angle_sigma_deg=2.0)
    seen = world.measure()
    rows = np.flatnonzero(seen.ranging_rsu >= 0)
    away = world.positions()[rows] - world.rsus[seen.ranging_rsu[rows]]
    assert (seen.range_m[rows] - np.hypot(np.hypot(*away.T), 8.5)).std() == pytest.approx(4.0, rel=0.2)
    turn = seen.angle_rad[rows] - np.arctan2(away[:, 1], away[:, 0])
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    assert np.degrees(turn.std()) == pytest.approx(2.0, rel=0.2)
    assert (np.argmax(np.nan_to_num(seen.rsrp_dbm[rows], nan=-200.0), axis=1) == seen.ranging_rsu[rows]).all()


def test_clocks_wander_within_their_spread_and_slowly() -> None:
    clocks = Clocks(200, 15.0, 300.0, 1)
    now, soon, later = (clocks.compute_ns(Instant(s * SECOND)) for s in (1000, 1001, 4000))
    assert now.std() == pytest.approx(15.0, rel=0.15)
    assert np.abs(soon - now).max() < 3.0
    assert np.corrcoef(now, later)[0, 1] < 0.3


def test_asking_a_clock_changes_no_answer() -> None:
    one, other = Clocks(3, 15.0, 60.0, 2), Clocks(3, 15.0, 60.0, 2)
    for at in (0.0, 500.0, 3.5, 90.0):
        one.compute_ns(Instant(seconds(at)))
    assert (
        one.compute_ns(Instant(seconds(77.7))).tobytes() == other.compute_ns(Instant(seconds(77.7))).tobytes()
    )


def test_references_tell_the_differences_of_clocks(make_world: MakeWorld) -> None:
    world = make_crowd(make_world, "tdoa", clock_sigma_ns=1000.0, arrival_sigma_ns=1.0)
    seen = world.measure()
    flight = world.channel.distances(world.rsus) / METRES_PER_NS
    gap = seen.reference_ns - flight
    assert np.isnan(np.diag(gap)).all()
    timed = np.isfinite(gap)
    assert timed.sum() >= 4
    assert np.allclose(gap[timed], -gap.T[timed], atol=10.0)
    assert np.abs(gap[timed]).max() > 100.0


def test_references_can_be_switched_off(make_world: MakeWorld) -> None:
    assert np.isnan(make_crowd(make_world, "tdoa", reference_signals=False).measure().reference_ns).all()

"""Positions from arrival times, ranges and angles: exact where these are, honest about their errors, and never a
guess between two places."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from tests.twin.signals import make_signals

from platoon.nouns import Instant, seconds
from platoon.physics.radio import METRES_PER_NS
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.twin import filter as tracking
from platoon.twin.clocks import start_clocks
from platoon.twin.link import Scene
from platoon.twin.localise import Instruments, collect_echoes, compute_normal, follow
from platoon.twin.locator import Locator

FOUR = np.array([[10.0, 10.0], [990.0, 40.0], [960.0, 1010.0], [30.0, 940.0]])


def make_roads(streets=5, block=250.0):
    """A grid of streets, each way its own road."""
    span = block * (streets - 1)
    ids, lines = [], []
    for number in range(streets):
        at = block * number
        for name, line in (("e", [[0, at - 3], [span, at - 3]]), ("w", [[span, at + 3], [0, at + 3]])):
            ids += [f"{name}{number}"]
            lines += [np.array(line, dtype=float)]
        for name, line in (("n", [[at + 3, 0], [at + 3, span]]), ("s", [[at - 3, span], [at - 3, 0]])):
            ids += [f"{name}{number}"]
            lines += [np.array(line, dtype=float)]
    order = np.argsort(ids)
    return RoadMap.build([ids[i] for i in order], [lines[i] for i in order], [6.0] * len(ids))


ROADS = make_roads()


def scenario_of(vehicles, rsus, **radio):
    table = {"fleet": {"vehicles": vehicles}, "round": {"participants": 1}}
    return Scenario.from_table({**table, "radio": {"rsus": rsus, "clock_sigma_ns": 0.0, **radio}})


class Site:
    """A localiser over the grid, with the measurements that its RSUs would make."""

    def __init__(self, rsus, vehicles, **radio):
        self.scenario = scenario_of(vehicles, len(rsus), **radio)
        self.rsus = np.asarray(rsus, dtype=float)
        self.scene = Scene(self.scenario.radio, ROADS, self.rsus)
        self.locator = Locator(self.scenario, self.scene)
        self.clocks = start_clocks(self.scenario.radio, len(rsus))
        self.tracks = tracking.start_tracks(vehicles)
        self.fixes = None

    def see(self, at_s, places, seed=1, **parts):
        at = seconds(at_s)
        signals = make_signals(self.scenario, self.scene, at, np.asarray(places, dtype=float), seed, **parts)
        return self.take(signals)

    def take(self, signals):
        tracks = tracking.advance(self.tracks, signals.at)
        self.clocks, self.fixes = self.locator.locate(self.clocks, tracks, signals)
        self.tracks = tracking.apply_fixes(tracks, signals.at, self.fixes)
        return self.fixes

    def error(self, places):
        return np.hypot(*(self.tracks.position - np.asarray(places)).T)


def on_roads(count, seed=1):
    rng = stream(seed, "places")
    return ROADS.samples[rng.integers(len(ROADS.samples), size=count)]


def test_four_arrival_times_give_the_place():
    places = on_roads(60)
    site = Site(FOUR, 60, arrival_sigma_ns=0.01)
    site.see(0, places, ranges=False)
    assert site.fixes.usable.mean() > 0.9
    assert site.error(places)[site.fixes.usable].max() < 0.1


def test_range_and_angle_of_one_rsu_give_the_place():
    places = on_roads(60)
    site = Site(FOUR[:1], 60, range_sigma_m=0.01, angle_sigma_deg=1e-4)
    site.see(0, places, arrivals=False)
    assert site.fixes.usable.all()
    assert site.error(places).max() < 0.1


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e6, 1e6), seed=st.integers(0, 1000))
def test_when_a_vehicle_sent_does_not_matter(shift, seed):
    places = on_roads(3, seed)
    one, other = Site(FOUR, 3), Site(FOUR, 3)
    signals = make_signals(one.scenario, one.scene, Instant(0), places, seed, ranges=False)
    first = one.take(signals)
    second = other.take(replace(signals, arrival_ns=signals.arrival_ns + shift))
    assert first.usable.tolist() == second.usable.tolist()
    assert np.allclose(first.position[first.usable], second.position[first.usable], atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
@example(seed=111)  # 7 m from an RSU, where a whole step of Gauss-Newton leads away
def test_the_batched_solution_is_that_of_scipy(seed):
    """Each vehicle by itself, its time of sending as a third unknown: the same place of least misfit."""
    places = on_roads(4, seed)
    site = Site(FOUR, 4)
    signals = make_signals(site.scenario, site.scene, Instant(0), places, seed, ranges=True)
    instruments = Instruments(site.scenario, site.rsus)
    echoes = collect_echoes(instruments, site.clocks, signals, np.arange(4))
    vague = np.broadcast_to(1e8 * np.eye(2), (4, 2, 2))
    found, _, _ = follow(instruments, echoes, places, vague)
    for row in range(4):

        def residuals(x, row=row):
            slant = np.sqrt(np.square(x[:2] - site.rsus).sum(axis=1) + instruments.rise_m**2)
            sent = signals.arrival_ns[row].mean() * METRES_PER_NS + x[2]
            timed = signals.arrival_ns[row] * METRES_PER_NS - sent - slant
            away = x[:2] - site.rsus[signals.ranging_rsu[row]]
            turn = signals.angle_rad[row] - np.arctan2(away[1], away[0])
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            short = signals.range_m[row] - slant[signals.ranging_rsu[row]]
            angle = turn / instruments.angle_sigma
            return np.append(timed / instruments.arrival_sigma_m, [short / instruments.range_sigma_m, angle])

        start = np.append(places[row], -400.0)
        best = least_squares(residuals, start, x_scale=[1, 1, 1], xtol=1e-12, ftol=1e-12, gtol=1e-12)
        # Both up to where steps end (STILL_M), and what that much changes in the misfit right beside an RSU.
        assert np.allclose(best.x[:2], found[row], atol=0.1)
        normal = compute_normal(instruments, echoes, found)
        assert 2 * best.cost == pytest.approx(normal.misfit[row], rel=1e-3, abs=0.1)


@pytest.mark.parametrize("parts", [{"ranges": False}, {"arrivals": False}, {}], ids=["tdoa", "polar", "both"])
def test_fixes_know_how_wrong_they_are(parts):
    """Squared error over covariance: two on average, for two dimensions, whichever way it was measured."""
    places = on_roads(600, 5)
    site = Site(FOUR, 600)
    site.see(0, places, seed=5, **parts)
    usable = site.fixes.usable
    off = (site.fixes.position - places)[usable]
    squared = np.einsum("ni,nij,nj->n", off, np.linalg.inv(site.fixes.covariance[usable]), off)
    assert usable.mean() > 0.85
    assert squared.mean() == pytest.approx(2.0, abs=0.35)


def test_dilution_is_error_over_ranging_error():
    places = on_roads(30)
    site = Site(FOUR, 30, arrival_sigma_ns=10.0)
    fixes = site.see(0, places, ranges=False)
    spread = np.sqrt(np.trace(fixes.covariance, axis1=1, axis2=2))
    assert np.allclose((fixes.gdop * 10.0 * METRES_PER_NS)[fixes.usable], spread[fixes.usable])
    assert (fixes.gdop[fixes.usable] > 0.9).all()


IN_LINE = np.array([[0.0, 500.0], [500.0, 500.0], [1000.0, 500.0]])
MIRRORED = np.array([[300.0, 253.0], [700.0, 3.0]])
"""On roads, and so are their images about the RSUs' line, exactly: (300, 747), (700, 997)."""


def test_mirror_images_are_never_taken_cold():
    """Three RSUs in line, a place and its image both on a road: the vehicle stays unknown, second after second."""
    site = Site(IN_LINE, 2)
    for second in range(15):
        site.see(second, MIRRORED, seed=second, ranges=False)
        assert not site.fixes.usable.any()
    assert not site.tracks.known.any()


def test_a_track_tells_mirror_images_apart():
    site = Site(IN_LINE, 2)
    site.see(0, MIRRORED)  # range and angle once
    assert site.tracks.known.all()
    for second in range(1, 15):
        site.see(second, MIRRORED, seed=second, ranges=False)
    assert site.tracks.known.all()
    assert site.error(MIRRORED).max() < 15.0


def test_the_road_tells_mirror_images_apart():
    """The image of this place lies in the middle of a block."""
    rsus = IN_LINE + np.array([0.0, 60.0])
    site = Site(rsus, 1)
    place = np.array([[400.0, 253.0]])
    site.see(0, place, ranges=False)
    assert site.tracks.known.all()
    assert site.error(place).max() < 30.0


def test_a_fourth_rsu_off_the_line_finds_both():
    site = Site(np.vstack([IN_LINE, [[500.0, 0.0]]]), 2)
    site.see(0, MIRRORED, ranges=False)
    assert site.tracks.known.all()
    assert site.error(MIRRORED).max() < 20.0


def test_two_rsus_hold_a_track_but_start_none():
    site = Site(FOUR[:2], 1)
    place = np.array([[500.0, 247.0]])
    site.see(0, place, ranges=False)
    assert not site.tracks.known.any()
    site.see(1, place)
    for second in range(2, 8):
        fixes = site.see(second, place, seed=second, ranges=False)
        assert fixes.usable.all()
        assert not fixes.whole.any()
        assert np.isinf(fixes.gdop).all()
    assert site.error(place).max() < 40.0


def test_one_rsu_with_a_wrong_clock_moves_nothing():
    """Three microseconds late at one RSU: the others agree without it."""
    places = on_roads(20)
    site = Site(FOUR, 20)
    for second in range(5):
        site.see(second, places, seed=second)
    for second in range(5, 10):
        signals = make_signals(site.scenario, site.scene, seconds(second), places, second)
        late = signals.arrival_ns.copy()
        late[:, 2] += 3000.0
        site.take(replace(signals, arrival_ns=late))
        assert site.fixes.usable.all()
    assert site.error(places).max() < 15.0


def test_a_track_that_is_lost_starts_again():
    """A vehicle is moved a kilometre at once: refused at first, then believed; never rejected for ever."""
    before, after = np.array([[250.0, 3.0]]), np.array([[900.0, 997.0]])
    site = Site(FOUR, 1)
    for second in range(8):
        site.see(second, before, seed=second)
    for second in range(8, 8 + tracking.PATIENCE - 1):
        site.see(second, after, seed=second)
        assert site.error(before).max() < 30.0
    site.see(12, after, seed=12)
    assert site.error(after).max() < 30.0


def test_speed_comes_from_successive_fixes():
    site = Site(FOUR, 1)
    for second in range(12):
        site.see(second, [[200.0 + 12.0 * second, 247.0]], seed=second)
    assert site.tracks.velocity[0, 0] == pytest.approx(12.0, abs=3.0)
    assert abs(site.tracks.velocity[0, 1]) < 3.0


def test_rsus_that_fall_silent_and_vehicles_that_come_and_go():
    places = on_roads(40)
    site = Site(FOUR, 40)
    everyone = np.ones((40, 4), dtype=bool)
    for second in range(40):
        heard = everyone.copy()
        heard[:, second // 10] = False  # an RSU is silent for ten seconds, then the next
        heard[:10] &= second < 8  # ten vehicles vanish
        heard[:5] |= second >= 30  # and half of them return
        site.see(second, places, seed=second, heard=heard)
    assert site.tracks.known.tolist() == [True] * 5 + [False] * 5 + [True] * 30
    assert np.median(site.error(places)[10:]) < 6.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_was_not_measured(wrong):
    places = on_roads(6)
    site = Site(FOUR, 6)
    signals = make_signals(site.scenario, site.scene, Instant(0), places, 1)
    arrival, angle = signals.arrival_ns.copy(), signals.angle_rad.copy()
    arrival[0] = arrival[1, 1] = wrong
    angle[2] = wrong
    fixes = site.take(replace(signals, arrival_ns=arrival, angle_rad=angle))
    assert np.isfinite(site.tracks.state).all()
    assert np.isfinite(fixes.position[fixes.usable]).all()
    assert fixes.usable[[0, 1, 3, 4, 5]].all()


def test_rows_do_not_touch_each_other_in_a_batch():
    places = on_roads(30, 9)
    together = Site(FOUR, 30)
    signals = make_signals(together.scenario, together.scene, Instant(0), places, 9)
    fixes = together.take(signals)
    alone = Site(FOUR, 1)
    rows = slice(7, 8)
    names = ("rsrp_dbm", "sinr_db", "cqi", "arrival_ns", "ranging_rsu", "range_m", "angle_rad", "position")
    single = alone.take(replace(signals, **{name: getattr(signals, name)[rows] for name in names}))
    assert np.allclose(single.position[0], fixes.position[7], atol=1e-6)
    assert np.allclose(single.covariance[0], fixes.covariance[7], rtol=1e-6)


def test_where_a_fix_is_taken_cold_it_is_right():
    """Three RSUs anywhere, vehicles anywhere on the roads: half of the fixes are taken, and not a wrong one."""
    taken = 0
    for seed in range(40):
        rng = stream(seed, "rsus")
        rsus = ROADS.samples[rng.choice(len(ROADS.samples), 3, replace=False)]
        places = on_roads(12, seed)
        site = Site(rsus, 12)
        fixes = site.see(0, places, seed=seed, ranges=False)
        spread = np.sqrt(np.trace(fixes.covariance, axis1=1, axis2=2))
        assert not (fixes.usable & (site.error(places) > 6.0 * spread + 5.0)).any()
        taken += fixes.usable.sum()
    assert taken > 0.4 * 480

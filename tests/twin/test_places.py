"""Forecasts of places: laws that hold for every method, particles beside a plain loop, vehicles at lights."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Instant, seconds
from platoon.physics.grids import build_grid_map
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Twin
from platoon.twin import habits as learned
from platoon.twin import matching, particles, signals
from platoon.twin.filter import start_tracks
from platoon.twin.finish import Job
from platoon.twin.places import POSITION_FORECASTS, Asked, Foresight, find_geometric_median
from platoon.twin.traffic import Traffic
from platoon.twin.ways import STRAIGHT, Ways

AHEAD_S = np.array([0.0, 2.0, 5.0, 10.0, 30.0, 60.0])
NOW = Instant(2_000 * SECOND)


@pytest.fixture(scope="module")
def ways():
    return Ways(build_grid_map(5, 250.0, 2))


@pytest.fixture(scope="module")
def habits(ways):
    """Turns, losses and lights with a cycle of 40 s, learned from made-up passings."""
    rng, known = stream(1, "habits"), learned.start_habits(ways)
    lights = known.signals
    offset = rng.uniform(0.0, 40.0, len(ways.road_map.junctions))
    for second in range(500, 2000):
        node = np.flatnonzero(rng.random(len(offset)) < 0.05)
        axis = (((second + offset[node]) % 40.0) >= 20.0).astype(np.int64)
        started = ((second + offset[node]) % 20.0) < 6.0
        lights = signals.learn_passings(lights, node, np.full(len(node), second * SECOND), axis, started)
        if second % 60 == 0:
            lights = signals.find_cycle(lights)
    assert lights.cycle_s == pytest.approx(40.0, rel=0.02)
    turns = np.where(ways.follow >= 0, rng.integers(0, 30, ways.follow.shape), 0).astype(float)
    return dataclasses.replace(known, turns=turns, signals=lights)


def draw_matches(ways, vehicles, seed=1):
    """Vehicles at places, speeds and ages of all kinds, some standing, some within junctions."""
    rng = stream(seed, "matches")
    edge = rng.integers(len(ways.length), size=vehicles)
    stands = rng.random(vehicles) < 0.3
    offset = np.where(
        stands,
        ways.length[edge] - rng.uniform(0, 20, vehicles),
        rng.uniform(0, 1.03, vehicles) * ways.line[edge],
    )
    return dataclasses.replace(
        matching.start_matches(vehicles),
        edge=edge,
        offset=offset,
        speed=np.where(stands, 0.0, rng.uniform(0, 14, vehicles)),
        lateral=rng.normal(0, 2, vehicles),
        fixes=rng.integers(0, 20, vehicles),
        stands_since=np.where(stands, NOW - 3 * SECOND, -1),
        pace=np.stack([rng.uniform(0.8, 1.1, vehicles) * 30, np.full(vehicles, 30.0)], axis=1),
        at=NOW - rng.integers(0, 3, vehicles) * SECOND,
    )


def drive(ways, habits, own, ahead_s=AHEAD_S, count=8):
    return particles.drive(ways, habits, own, at=NOW, ahead_s=ahead_s, dice=particles.throw_dice(count))


def test_dice_are_even_in_every_dimension_and_always_the_same():
    dice = particles.throw_dice(8)
    assert np.array_equal(dice, particles.throw_dice(8))
    even = (np.arange(8) + 0.5) / 8
    assert np.allclose(np.sort(dice[:, :2], axis=2), even)
    assert np.allclose(dice[:, 2].sum(axis=1), 0.0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_particles_stay_on_roads_and_go_no_faster_than_their_pace(ways, habits, seed):
    own = draw_matches(ways, 12, seed)
    driven = drive(ways, habits, own, np.arange(0.0, 61.0))
    assert np.isfinite(driven.position).all()
    apart = np.hypot(*np.moveaxis(driven.position - ways.road_map.samples[driven.rows], -1, 0))
    assert apart.max() <= max(ways.spacing.max(), ways.gap.max()) / 2 + 5.0  # half a step, or half a junction
    step = np.hypot(*np.moveaxis(np.diff(driven.position, axis=0), -1, 0))
    fastest = 1.2 * 1.12 * np.nanmax(ways.road_map.speed_limits)
    assert step.max() < fastest + 1.0  # what lies beside a road's middle swings around at a turn
    assert (driven.travelled <= 62.0 * fastest).all()


def test_horizon_zero_is_the_present(ways, habits):
    own = dataclasses.replace(draw_matches(ways, 40), at=np.full(40, NOW))
    inside = own.offset <= ways.length[own.edge]
    driven = drive(ways, habits, own, np.array([0.0]))
    point, _ = ways.locate(own.edge, own.offset)
    assert np.allclose(driven.position[0, :, inside], point[inside][:, None], atol=1e-6)


def test_vehicles_in_another_order_are_foreseen_in_that_order(ways, habits):
    own = draw_matches(ways, 30)
    order = stream(1, "order").permutation(30)
    one, other = drive(ways, habits, own), drive(ways, habits, matching.take_rows(own, order))
    assert np.allclose(one.position[:, :, order], other.position, atol=1e-9)
    assert np.array_equal(one.rows[:, :, order], other.rows)


@pytest.mark.parametrize("lit", [True, False])
def test_particles_equal_a_plain_loop(ways, habits, lit):
    """Vehicle by vehicle, particle by particle, road by road, in plain Python."""
    if not lit:
        habits = dataclasses.replace(habits, signals=dataclasses.replace(habits.signals, cycle_s=0.0))
    own = draw_matches(ways, 10, seed=5)
    driven = drive(ways, habits, own)
    dice = particles.throw_dice(8)
    for vehicle in range(10):
        for particle in range(8):
            path = drive_plainly(ways, habits, own, vehicle, dice[:, :, particle])
            for moment, ahead in enumerate(AHEAD_S):
                expected = place_plainly(ways, path, ahead + (NOW - own.at[vehicle]) / SECOND)
                assert driven.position[moment, particle, vehicle] == pytest.approx(expected, abs=1e-6)


def pick(shares, die):
    total = np.cumsum(shares)
    return min(int((total < die * total[-1]).sum()), len(shares) - 1)


def drive_plainly(ways, habits, own, vehicle, dice):
    """[(edge, start, enters, comes, leaves, slow)] of one particle; the wait is asked for one place at a time."""
    losses = learned.expect_losses(habits)
    pace = learned.expect_pace(own)[vehicle] * (1 + particles.PACE_SPREAD * dice[0, 2])
    waits = particles.Waits(ways, habits.signals, own, NOW)
    age = (NOW - own.at[vehicle]) / SECOND
    edge = int(own.edge[vehicle])
    one = matching.take_rows(own, np.array([vehicle]))
    slot = pick(learned.expect_turn_now(habits, ways, one)[0], dice[0, 0])
    usual = ways.limit * learned.expect_flow(habits)
    speed = pace * usual[edge]
    start, enters = min(own.offset[vehicle], ways.line[edge] - 0.1), 0.0
    slow = (speed - min(max(own.speed[vehicle], 0.0), speed)) ** 2 / (2 * particles.ACCELERATION * speed)
    kind = ways.kind[edge, slot]
    brake = max(losses[STRAIGHT, 0, kind] - losses[STRAIGHT, 0, STRAIGHT], 0.0)
    comes, path = (ways.line[edge] - start) / speed + slow + brake, []
    for number in range(particles.STAGES):
        wait = waits.draw(
            np.array([edge]), np.array([comes - age]), *dice[[number, number + particles.STAGES], 1][:, None]
        )[0]
        leaves = comes + wait
        path.append((edge, start, enters, comes, leaves, slow))
        if enters > AHEAD_S[-1] + 3.0:
            break
        came, stood = ways.kind[edge, slot], int(wait > 0.5)
        start, edge = -ways.entry[edge, slot], int(ways.follow[edge, slot])
        slot = pick(
            learned.expect_turns(habits, ways, np.array([edge]))[0], dice[(number + 1) % particles.STAGES, 0]
        )
        enters, slow = leaves, max(losses[came, stood, STRAIGHT], 0.0)
        comes = enters + (ways.line[edge] - start) / (pace * usual[edge])
        comes += losses[came, stood, ways.kind[edge, slot]]
    return path


def place_plainly(ways, path, time):
    number = next(i for i, stage in enumerate(path) if time < stage[4])
    edge, start, enters, comes, leaves, slow = path[number]
    driving = max(comes - enters, 1e-6)
    slow = min(slow, 0.8 * driving)
    lost = slow * (1 - np.exp(-(time - enters) / particles.STARTING_S))
    share = min(max((time - enters - lost) / max(driving - slow, 1e-6), 0.0), 1.0)
    end = ways.line[edge]
    if leaves > comes + 0.5:
        end = min(max(ways.length[edge] - particles.BEFORE_LINE_M, start), end)
    offset = min(start + share * (ways.line[edge] - start), max(end, start))
    lines = ways.road_map.polylines
    if offset < 0.0 and number:
        return lines[edge][0] + offset * towards(lines[path[number - 1][0]][-1], lines[edge][0])
    if offset > ways.length[edge]:
        return lines[edge][-1] + (offset - ways.length[edge]) * towards(
            lines[edge][-1], lines[path[number + 1][0]][0]
        )
    return lines[edge][0] + offset * towards(lines[edge][0], lines[edge][-1])


def towards(start, end):
    return (end - start) / np.hypot(*(end - start))


def test_a_vehicle_at_a_red_light_stands_until_it_turns_green_and_then_drives_on(ways, habits):
    """The junction's phase is known from its passings; who stands there waits for its own street's turn."""
    node = int(np.bincount(ways.node[ways.node >= 0]).argmax())
    edges = [int(np.flatnonzero((ways.node == node) & (ways.axis == axis))[0]) for axis in (0, 1)]
    belief = signals.find_phases(habits.signals, np.array([node]), NOW)[0]
    open_ = signals.find_open(habits.signals)
    green = [float(belief @ open_[axis]) for axis in (0, 1)]
    red = edges[int(np.argmin(green))]
    own = dataclasses.replace(
        matching.start_matches(1),
        edge=np.array([red]),
        offset=np.array([ways.length[red] - 2.0]),
        stands_since=np.array([NOW - 2 * SECOND]),
        pace=np.array([[30.0, 30.0]]),
        at=np.array([NOW]),
    )
    driven = drive(ways, habits, own, np.array([1.0, 20.0, 45.0]), count=16)
    gone = np.hypot(*np.moveaxis(driven.position - ways.road_map.polylines[red][-1], -1, 0))[..., 0]
    assert (gone[0] < 12.0).mean() > 0.8  # it stands now
    assert (gone[1] > 20.0).mean() > 0.4  # its green comes within a cycle of 40 s
    assert (gone[2] > 40.0).mean() > 0.9  # and it does not stand for ever


def test_particles_stay_where_a_road_leads_nowhere_and_after_many_short_ones():
    """A street of 40 roads of 15 m that ends: nobody is put anywhere else."""
    lines = [np.array([[15.0 * i, 0.0], [15.0 * (i + 1), 0.0]]) for i in range(40)]
    names = [f"{i:02d}" for i in range(40)]
    street = Ways(
        RoadMap.build(names, lines, [3.2] * 40, successors=[[i + 1] if i < 39 else [] for i in range(40)])
    )
    own = dataclasses.replace(
        matching.start_matches(2),
        edge=np.array([2, 37]),
        offset=np.array([5.0, 5.0]),
        at=np.array([NOW, NOW]),
    )
    driven = drive(street, learned.start_habits(street), own)
    assert np.abs(driven.position[..., 1]).max() == 0.0
    x = driven.position[..., 0]
    assert (np.diff(x, axis=0) >= 0.0).all()
    assert x[:, :, 1].max() <= 600.0
    assert x[3, :, 0].min() > 35.0


def test_nobody_at_all_is_foreseen_nowhere(ways, habits):
    places, _ = foresee(ways, habits, "particles", draw_matches(ways, 0))
    assert places.nodes.shape == (6, 8, 0, 2)
    assert places.find_position(-1).shape == (0, 2)


def test_a_vehicle_on_free_road_drives_at_its_own_pace(ways, habits):
    edge = 0
    own = dataclasses.replace(
        matching.start_matches(2),
        edge=np.array([edge, edge]),
        offset=np.array([20.0, 20.0]),
        speed=np.array([0.8, 1.1]) * ways.limit[edge],
        pace=np.array([[80.0, 100.0], [110.0, 100.0]]),
        at=np.array([NOW, NOW]),
    )
    gone = drive(ways, habits, own, np.array([8.0])).travelled.mean(axis=0)
    assert gone == pytest.approx(8.0 * ways.limit[edge] * learned.expect_pace(own), rel=0.05)
    assert gone[1] > 1.2 * gone[0]


def foresee(ways, habits, method, own, ahead_s=AHEAD_S, **settings):
    vehicles = len(own.edge)
    point, row = ways.locate(own.edge, own.offset)
    state = np.concatenate([point, own.speed[:, None] * ways.along[row]], axis=1)
    tracks = dataclasses.replace(
        start_tracks(vehicles), at=NOW, state=state, known=np.ones(vehicles, dtype=bool)
    )
    foresight = Foresight(Twin(position_forecast=method, **settings), ways.road_map)
    traffic = Traffic(matches=own, habits=habits)
    asked = Asked(traffic=traffic, tracks=tracks, who=np.arange(vehicles), ahead_s=ahead_s)
    return foresight.foresee(asked), tracks


@pytest.mark.parametrize("method", sorted(POSITION_FORECASTS))
def test_laws_of_every_position_forecast(ways, habits, method):
    own = dataclasses.replace(draw_matches(ways, 30), at=np.full(30, NOW))
    places, tracks = foresee(ways, habits, method, own)
    assert places.nodes.shape == (6, 8, 30, 2)
    assert places.rows.shape == (6, 8, 30)
    assert np.allclose(places.weights.sum(axis=0), 1.0)
    assert (places.weights > 0).all()
    apart = np.hypot(*np.moveaxis(places.nodes - ways.road_map.samples[places.rows], -1, 0))
    assert np.median(apart) < 8.0
    for moment in range(6):
        position = places.find_position(moment)
        assert (np.abs(places.nodes[moment] - position).sum(axis=-1).min(axis=0) == 0.0).all()
    present = np.hypot(*(places.find_position(0) - tracks.position).T)
    assert np.median(present) < 5.0


def test_the_paper_is_constant_velocity_to_30_s_and_particles_beyond(ways, habits):
    own = dataclasses.replace(draw_matches(ways, 20), at=np.full(20, NOW))
    ahead = np.array([5.0, 29.0, 30.0, 45.0])
    places = {
        method: foresee(ways, habits, method, own, ahead)[0]
        for method in ("as_written", "constant_velocity", "particles")
    }
    written = places["as_written"].nodes
    assert np.array_equal(written[:3], places["constant_velocity"].nodes[:3])
    assert np.array_equal(written[3], places["particles"].nodes[3])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 9))
def test_the_geometric_median_is_nearer_to_all_than_the_mean_is(seed, count):
    rng = stream(seed, "median")
    points = rng.uniform(-300, 300, (count, 4, 2)) * rng.integers(0, 2, (count, 4, 1))
    weights = np.full((count, 4), 1.0 / count)

    def distance(place):
        return np.hypot(*np.moveaxis(points - place, -1, 0)).mean(axis=0)

    assert (distance(find_geometric_median(points, weights)) <= distance(points.mean(axis=0)) + 0.5).all()


def test_a_fleet_that_stands_still_is_foreseen_to_stand_by_that_method_alone(ways, habits):
    own = dataclasses.replace(draw_matches(ways, 20), at=np.full(20, NOW))
    still, _ = foresee(ways, habits, "stand_still", own)
    assert np.array_equal(still.nodes[0], still.nodes[-1])
    moving, _ = foresee(ways, habits, "particles", own)
    assert np.hypot(*(moving.find_position(-1) - moving.find_position(0)).T).mean() > 100.0


def test_the_switch_is_a_setting(ways, habits):
    own = dataclasses.replace(draw_matches(ways, 20), at=np.full(20, NOW))
    ahead = np.array([1.0, 4.0, 5.0])
    mixed, _ = foresee(ways, habits, "particles", own, ahead, position_switch_s=5.0)
    filtered, _ = foresee(ways, habits, "projected", own, ahead)
    driven, _ = foresee(ways, habits, "particles", own, ahead)
    assert np.array_equal(mixed.nodes[:2], filtered.nodes[:2])
    assert np.array_equal(mixed.nodes[2], driven.nodes[2])


def test_a_vehicle_that_vanishes_and_returns_is_foreseen_from_where_it_returned(make_town):
    # Everybody is heard for half a minute; then vehicle 3 is not for twenty seconds.
    town = make_town()
    town.drive(town.twin, 0, 30)
    heard = np.arange(town.vehicles) != 3
    for second in range(30, 50):
        town.twin.observe(town.measure(second, heard))
    asked = town.twin.forecast(job(town), seconds(10), seconds(49))
    assert asked.known.tolist() == heard.tolist()
    assert np.isnan(asked.position[3]).all()
    # It is back: after a few fixes it is foreseen from there.
    for second in range(50, 54):
        town.twin.observe(town.measure(second))
    asked = town.twin.forecast(job(town), seconds(2), seconds(53))
    assert asked.known.all()
    assert np.hypot(*(asked.position[3] - town.place(53)[3])) < 60.0


def job(town):
    return Job(samples=np.full(town.vehicles, 300.0), epochs=3, bits=9.6e6)

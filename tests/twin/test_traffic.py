"""What the twin learns of traffic: roads of vehicles, turns and the lanes that tell them, signals from passings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import SECOND, Instant
from platoon.physics.grids import build_grid_map
from platoon.rng import stream
from platoon.twin import habits as learned
from platoon.twin import matching, signals
from platoon.twin.matching import Crossings, Seen
from platoon.twin.ways import BACK, LEFT, RIGHT, STRAIGHT, Ways


@pytest.fixture(scope="module")
def ways():
    return Ways(build_grid_map(4, 250.0, 2))


def road(ways, name):
    return ways.road_map.edge_ids.index(name)


def see(ways, matches, at_s, position, velocity):
    position, velocity = np.atleast_2d(position).astype(float), np.atleast_2d(velocity).astype(float)
    seen = Seen(
        who=np.arange(len(position)),
        at=Instant(round(at_s * SECOND)),
        position=position,
        velocity=velocity,
        fix=position,
    )
    return matching.apply_seen(ways, matches, seen, np.ones(len(position)))


def test_turns_of_the_grid_are_what_their_names_say(ways):
    here = road(ways, "B0B1")
    kinds = {ways.road_map.edge_ids[e]: k for e, k in zip(ways.follow[here], ways.kind[here], strict=True)}
    assert kinds == {"B1A1": LEFT, "B1B2": STRAIGHT, "B1C1": RIGHT}
    assert BACK not in ways.kind[ways.follow >= 0]
    across = [ways.axis[road(ways, name)] for name in ("A1B1", "C1B1", "B0B1", "B2B1")]
    assert across[0] == across[1] != across[2] == across[3]
    assert len({int(ways.node[road(ways, name)]) for name in ("A1B1", "C1B1", "B0B1", "B2B1")}) == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_locate_and_project_are_inverse(ways, seed):
    rng = stream(seed, "places")
    edge = rng.integers(len(ways.length), size=20)
    offset = rng.uniform(0.0, 1.0, 20) * ways.length[edge]
    point, row = ways.locate(edge, offset)
    found, left = ways.project(edge, offset + rng.uniform(-30, 30, 20), point)
    assert np.allclose(found, offset, atol=1e-6)
    assert np.allclose(left, 0.0, atol=1e-6)
    assert (ways.road_map.sample_edge[row] == edge).all()
    assert (np.abs(ways.road_map.sample_offset[row] - offset) <= ways.spacing[edge] / 2 + 1e-9).all()


def test_a_vehicle_drives_up_a_road_stands_at_the_line_and_turns_right(ways):
    here, after = road(ways, "B0B1"), road(ways, "B1C1")
    matches, second = matching.start_matches(1), 0
    line = ways.length[here]
    # It comes up the road at 10 m/s, two metres to the right of its middle.
    for offset in np.arange(20.0, line - 4.0, 10.0):
        point, _ = ways.locate(np.array([here]), np.array([offset]))
        matches, crossed = see(ways, matches, second, point + np.array([2.0, 0.0]), [0.0, 10.0])
        second += 1
        assert not len(crossed.edge)
    assert matches.edge[0] == here
    assert matches.lateral[0] == pytest.approx(-2.0)
    assert matches.pace[0, 0] / matches.pace[0, 1] == pytest.approx(10.0 / ways.limit[here])
    # It stands at the line for 20 s; fixes put it now and then beyond, and it has passed nothing.
    for jitter in np.resize([0.0, 3.0, -3.0, 4.0], 20):
        point, _ = ways.locate(np.array([here]), np.array([line - 2.0]))
        matches, crossed = see(ways, matches, second, point + np.array([0.0, jitter]), [0.0, 0.3])
        second += 1
        assert not len(crossed.edge)
    assert matches.passed_at[0] == -1
    assert matches.stood[0]
    assert matches.stands_since[0] <= (second - 20) * SECOND
    # It goes off and turns right: it is seen on the next road, having passed the junction in between.
    for offset in (8.0, 18.0):
        point, _ = ways.locate(np.array([after]), np.array([offset]))
        matches, crossed = see(ways, matches, second, point, [10.0, 0.0])
        second += 1
        if len(crossed.edge):
            break
    assert crossed.edge.tolist() == [here]
    assert ways.follow[here, crossed.slot[0]] == after
    assert crossed.stood.tolist() == [True]
    assert (second - 3) * SECOND < crossed.passed_at[0] <= (second - 1) * SECOND
    assert matches.edge[0] == after
    assert matches.came[0] == RIGHT
    assert matches.entered_at[0] == crossed.passed_at[0]
    assert not matches.stood[0]


def test_a_vehicle_that_vanishes_and_returns_elsewhere_is_found_again(ways):
    matches = matching.start_matches(1)
    for second in range(5):
        point, _ = ways.locate(np.array([road(ways, "A0A1")]), np.array([50.0 + 10.0 * second]))
        matches, _ = see(ways, matches, second, point, [0.0, 10.0])
    # Nobody hears it for a minute, and then it drives the other way in another street.
    there = road(ways, "C2B2")
    point, _ = ways.locate(np.array([there]), np.array([100.0]))
    matches, crossed = see(ways, matches, 65, point, [-10.0, 0.0])
    assert matches.edge[0] == there
    assert matches.offset[0] == pytest.approx(100.0)
    assert not len(crossed.edge)
    assert matches.entered_at[0] == -1


def test_a_vehicle_matched_against_its_way_is_turned_round(ways):
    there, back = road(ways, "C2B2"), road(ways, "B2C2")
    point, _ = ways.locate(np.array([there]), np.array([100.0]))
    matches, _ = see(ways, matching.start_matches(1), 0, point, [0.0, 0.0])
    assert matches.edge[0] == there  # it stands, nearer to this one
    matches, _ = see(ways, matches, 1, point - [0.0, 2.9], [9.0, 0.0])
    assert matches.edge[0] == back


def cross(ways, edge, slot, lateral=None):
    count = len(edge)
    zones = np.full((count, 6), np.nan)
    if lateral is not None:
        zones[:] = np.asarray(lateral)[:, None]
    return Crossings(
        edge=np.asarray(edge),
        slot=np.asarray(slot),
        passed_at=np.full(count, -1),
        entered_at=np.full(count, -1),
        stood=np.zeros(count, dtype=bool),
        came=np.zeros(count, dtype=np.int64),
        came_from_stand=np.zeros(count, dtype=bool),
        free_s=np.ones(count),
        zones=zones,
    )


@pytest.mark.parametrize("shares", [(0.2, 0.5, 0.3), (0.0, 0.1, 0.9)])
def test_turning_probabilities_converge_to_what_is_driven(ways, shares):
    rng, here = stream(1, "turns"), road(ways, "B0B1")
    habits, errors = learned.start_habits(ways), []
    for _ in range(30):
        slots = rng.choice(3, size=40, p=shares)
        habits = learned.learn_crossings(habits, ways, cross(ways, np.full(40, here), slots))
        errors.append(np.abs(learned.expect_turns(habits, ways, np.array([here]))[0] - shares).max())
    assert max(errors[-10:]) < 0.03
    # A road that nobody was seen to leave takes the shares of its kinds of turn everywhere.
    other = learned.expect_turns(habits, ways, np.array([road(ways, "C1C2")]))[0]
    kinds = ways.kind[road(ways, "C1C2")].argsort()
    mine = ways.kind[here].argsort()
    assert np.allclose(other[kinds], np.array(shares)[mine], atol=0.05)


def test_turning_probabilities_sum_to_one_and_spare_what_is_not_there(ways):
    habits = learned.start_habits(ways)
    share = learned.expect_turns(habits, ways, np.arange(len(ways.length)))
    assert np.allclose(share.sum(axis=1), 1.0)
    assert (share[ways.follow < 0] == 0.0).all()
    assert (share[ways.follow >= 0] > 0.0).all()


def test_lanes_tell_turns_once_they_were_seen_to(ways):
    rng, here = stream(2, "lanes"), road(ways, "B0B1")
    left, right = (int(np.flatnonzero(ways.kind[here] == kind)[0]) for kind in (LEFT, RIGHT))
    slots = rng.choice([left, right], size=400)
    lateral = np.where(slots == left, 1.6, -1.6) + rng.normal(0.0, 1.0, 400)
    habits = learned.learn_crossings(
        learned.start_habits(ways), ways, cross(ways, np.full(400, here), slots, lateral)
    )
    point, _ = ways.locate(np.array([here] * 2), np.array([150.0] * 2))
    matches = matching.start_matches(2)
    for second in range(3):  # two vehicles, one on each lane, at the same offset
        matches, _ = see(ways, matches, second, point + np.array([[-1.8, 0.0], [1.8, 0.0]]), [[0.0, 0.1]] * 2)
    share = learned.expect_turn_now(habits, ways, matches)
    assert np.allclose(share.sum(axis=1), 1.0)
    assert share[0, left] > 0.9
    assert share[1, right] > 0.9


def test_a_full_road_is_known_to_be_slow(ways):
    here, other = road(ways, "B0B1"), road(ways, "C1C2")
    habits, matches = learned.start_habits(ways), matching.start_matches(1)
    for second in range(100):
        point, _ = ways.locate(np.array([here]), np.array([110.0]))
        matches, _ = see(ways, matches, second, point, [0.0, 0.2 * ways.limit[here]])
        habits = learned.learn_speeds(habits, ways, matches, np.array([0.8]))
    flow = learned.expect_flow(habits)
    assert 0.2 < flow[here] < 0.45  # a quarter of its pace, drawn to 1
    assert flow[other] == 1.0


def pass_lights(cycle_s, junctions=30, seconds=1200, seed=1):
    """Passings of junctions with lights: half of a cycle is green for street 0, then half for street 1."""
    rng, known = stream(seed, "lights"), signals.start_signals(junctions)
    offset = rng.uniform(0.0, cycle_s, junctions)
    for second in range(seconds):
        node = np.flatnonzero(rng.random(junctions) < 0.08)
        phase = ((second + offset[node]) % cycle_s) / cycle_s
        axis = (phase >= 0.5).astype(np.int64)
        at = np.full(len(node), second * SECOND)
        known = signals.learn_passings(known, node, at, axis, rng.random(len(node)) < 0.3)
        if second % 60 == 59:
            known = signals.find_cycle(known)
    return known, offset


@pytest.mark.parametrize("cycle_s", [22.0, 60.0, 90.0])
def test_the_cycle_and_the_phases_of_signals_are_found(cycle_s):
    known, offset = pass_lights(cycle_s)
    assert known.cycle_s == pytest.approx(cycle_s, rel=0.02)
    passes = signals.find_open(known)
    node = np.arange(len(offset))
    now = 1200
    right = []
    for ahead in (0.0, 0.3 * cycle_s, 0.8 * cycle_s):
        belief = signals.find_phases(known, node, Instant(now * SECOND))
        assert np.allclose(belief.sum(axis=1), 1.0)
        shifted = np.roll(passes, -round(ahead / known.cycle_s * signals.BINS), axis=1)
        green = belief @ shifted.T  # (J, 2) probability that a street may pass then
        truly = ((now + ahead + offset) % cycle_s) / cycle_s >= 0.5
        right.append((green[:, 1] > green[:, 0]) == truly)
    assert np.mean(right) > 0.85


def test_no_cycle_is_claimed_where_vehicles_pass_at_random():
    rng, known = stream(3, "random"), signals.start_signals(30)
    for second in range(1500):
        node = np.flatnonzero(rng.random(30) < 0.08)
        axis = rng.integers(2, size=len(node))
        known = signals.learn_passings(known, node, np.full(len(node), second * SECOND), axis, axis > 0)
    assert signals.find_cycle(known).cycle_s == 0.0


def test_a_passing_teaches_only_its_own_junction():
    known = signals.start_signals(3)
    after = signals.learn_passings(
        known, np.array([1]), np.array([5 * SECOND]), np.array([1]), np.array([True])
    )
    assert after.at[1].tolist() == [5 * SECOND, *[-1] * (signals.EVENTS - 1)]
    assert (after.at[[0, 2]] == -1).all()
    assert (known.at == -1).all()

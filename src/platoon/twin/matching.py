"""On which road every vehicle drives, how far along it, on which side of it, and since when it stands.

A vehicle stays on its road until a successor explains its position better (hysteresis over the road and the roads
that can follow: the 3 to 5 candidates that matter); one that fits none of them is looked for on the whole map, by
place and heading. Lateral places tell the lanes apart, and with them the turn to come, but only as means of many
fixes: lanes are 3.2 m wide and a fix is good to 3 m.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints
from platoon.twin.ways import Ways

HEADING_SPEED = 1.5
"""m/s below which the filter's velocity says nothing about the direction of driving."""
LOST_M = 30.0
"""A vehicle that is so far from its road and all successors is looked for anew."""
NEAR_END_M = 15.0
"""So near to the end of its road, or off it, a vehicle may already be on the next."""
HYSTERESIS_M = 3.0
"""So much better must a successor fit before the vehicle is on it."""
WRONG_WAY_SPEED = 4.0
"""m/s against the road's direction at which the road cannot be the vehicle's."""
STAND_SPEED = 2.0
"""m/s along the road below which a vehicle stands: the velocity of a standing one is known to 1 m/s."""
APPROACH_M = 60.0
"""A vehicle that stands so near to the end of its road waits to pass the junction."""
START_M = 80.0
"""So far from the start of its road a vehicle has got up to its pace."""
RECENT = 10.0
"""Fixes that the mean lateral place remembers."""
ZONES_M: Floats = np.array([25.0, 50.0, 80.0, 120.0, 170.0])
"""Inner edges of the six zones of distance to the end of the road."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Columns over the fleet (N)."""

    edge: Ints
    """(N,) road; -1 before the first fix."""
    offset: Floats
    """(N,) metres from its start; beyond its length while crossing a junction."""
    speed: Floats
    """(N,) m/s along it."""
    lateral: Floats
    """(N,) mean of the last fixes on this road, metres to the left of its middle."""
    fixes: Ints
    """(N,) on this road."""
    stands_since: Ints
    """(N,) instant since when it stands, microseconds; -1 while it moves."""
    stood: Bools
    """(N,) it has stood in the approach to the end of this road."""
    passed_at: Ints
    """(N,) instant at which it passed the end of this road; -1 before."""
    entered_at: Ints
    """(N,) instant at which it passed the end of the road before; -1 if that was not seen."""
    entry: Floats
    """(N,) metres from the middle of the junction before to the start of this road."""
    came: Ints
    """(N,) kind of turn by which it came."""
    came_from_stand: Bools
    """(N,) it had stood before that."""
    zones: Floats
    """(N, 6) lateral place when each zone was reached; NaN where it was not."""
    pace: Floats
    """(N, 2) sum of speed over limit on free road, and number of such fixes."""
    at: Ints
    """(N,) instant of the last fix, microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossings:
    """Vehicles that were seen to go from one road to one of its successors (C)."""

    edge: Ints
    """(C,) the road that they left."""
    slot: Ints
    """(C,) which successor they took."""
    passed_at: Ints
    """(C,) instant at which they passed its end, microseconds; -1 if not known."""
    entered_at: Ints
    """(C,) the same of the junction before."""
    stood: Bools
    """(C,) they stood before."""
    came: Ints
    """(C,) kind of turn by which they came to the road."""
    came_from_stand: Bools
    """(C,) after a stand."""
    free_s: Floats
    """(C,) seconds from junction to junction at the vehicle's own pace."""
    zones: Floats
    """(C, 6) lateral places by zone; NaN where not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was measured of M vehicles at one instant."""

    who: Ints
    """(M,) rows of the fleet."""
    at: Instant
    position: Floats
    """(M, 2) filtered, metres."""
    velocity: Floats
    """(M, 2) filtered, m/s."""
    fix: Floats
    """(M, 2) as measured, metres: lateral places are means of these."""


def find_headings(velocity: Floats) -> Floats:
    """(N,) radians of velocities (N, 2); NaN where too slow to tell."""
    vx, vy = velocity.T
    return np.where(np.hypot(vx, vy) >= HEADING_SPEED, np.arctan2(vy, vx), np.nan)


def start_matches(vehicles: int) -> Matches:
    """Nobody is on any road yet."""
    never, nothing = np.full(vehicles, -1), np.zeros(vehicles)
    return Matches(
        edge=never,
        offset=nothing,
        speed=nothing,
        lateral=nothing,
        fixes=np.zeros(vehicles, dtype=np.int64),
        stands_since=never,
        stood=np.zeros(vehicles, dtype=bool),
        passed_at=never,
        entered_at=never,
        entry=nothing,
        came=np.zeros(vehicles, dtype=np.int64),
        came_from_stand=np.zeros(vehicles, dtype=bool),
        zones=np.full((vehicles, len(ZONES_M) + 1), np.nan),
        pace=np.zeros((vehicles, 2)),
        at=never,
    )


def take(matches: Matches, who: Ints) -> Matches:
    """The vehicles ``who`` (M,), ascending, alone."""
    return matches if len(who) == len(matches.edge) else take_rows(matches, who)


def take_rows(matches: Matches, rows: Ints) -> Matches:
    """The vehicles ``rows`` (M,) alone, in that order."""
    return Matches(**{name: getattr(matches, name)[rows] for name in Matches.__dataclass_fields__})


def put(matches: Matches, who: Ints, own: Matches) -> Matches:
    """``matches`` with the rows ``who`` (M,), ascending, replaced."""
    if len(who) == len(matches.edge):
        return own
    columns = {name: getattr(matches, name).copy() for name in Matches.__dataclass_fields__}
    for name, column in columns.items():
        column[who] = getattr(own, name)
    return Matches(**columns)


def apply_seen(ways: Ways, before: Matches, seen: Seen, pace: Floats) -> tuple[Matches, Crossings]:
    """The matches after one instant, and who crossed onto another road; all are of the same M vehicles.

    ``pace`` (M,) is the share of the limit that each drives on free road.
    """
    choice, offset, lost = _choose(ways, before, seen)
    crossed = (choice > 0) & ~lost
    slot = np.where(crossed, choice - 1, 0)
    after = ways.follow[np.maximum(before.edge, 0), slot]
    found, place = _look_anew(ways, seen, lost)
    edge = np.where(lost, found, np.where(crossed, after, before.edge))
    offset = np.where(lost, place, offset)
    fresh = crossed | lost
    speed = (seen.velocity * _direction(ways, edge, offset)).sum(axis=1)
    passed_at = np.where(lost, -1, _find_passing(ways, before, seen, offset, np.where(crossed, choice, 0)))
    crossings = Crossings(
        edge=before.edge[crossed],
        slot=slot[crossed],
        passed_at=passed_at[crossed],
        stood=before.stood[crossed],
        zones=before.zones[crossed],
        entered_at=before.entered_at[crossed],
        came=before.came[crossed],
        came_from_stand=before.came_from_stand[crossed],
        free_s=_free_seconds(ways, before, pace)[crossed],
    )
    entered = replace(
        before,
        edge=edge,
        fixes=np.where(fresh, 0, before.fixes),
        lateral=np.where(fresh, 0.0, before.lateral),
        stood=before.stood & ~fresh,
        zones=np.where(fresh[:, None], np.nan, before.zones),
        entered_at=np.where(crossed, passed_at, np.where(lost, -1, before.entered_at)),
        passed_at=np.where(fresh, -1, passed_at),
        entry=np.where(
            crossed, ways.entry[np.maximum(before.edge, 0), slot], np.where(lost, 0.0, before.entry)
        ),
        came=np.where(crossed, ways.kind[np.maximum(before.edge, 0), slot], np.where(lost, 0, before.came)),
        came_from_stand=np.where(fresh, crossed & before.stood, before.came_from_stand),
    )
    return _note(ways, entered, seen, offset, speed), crossings


def _free_seconds(ways: Ways, before: Matches, pace: Floats) -> Floats:
    """(M,) seconds from the last junction to the next at ``pace`` (M,) times the limit."""
    own = np.maximum(before.edge, 0)
    return np.asarray((before.entry + ways.line[own]) / (pace * ways.limit[own]))


def _choose(ways: Ways, before: Matches, seen: Seen) -> tuple[Ints, Floats, Bools]:
    """Road (0) or successor (1 to S) that fits best, offset on it, and whether none does: (M,) each."""
    own = np.maximum(before.edge, 0)
    guess = before.offset + before.speed * (seen.at - before.at) / SECOND
    offset, left = ways.project(own, guess, seen.position)
    best = np.hypot(left, _outside(offset, ways.length[own]))
    choice, chosen = np.zeros(len(own), dtype=np.int64), own.copy()
    # Only who is about to leave its road, or seems off it, can be on one that follows.
    rows = np.flatnonzero((offset > ways.length[own] - NEAR_END_M) | (best > NEAR_END_M))
    after = ways.follow[own[rows]]
    onward = (guess - ways.length[own])[rows, None] - ways.gap[own[rows]]
    ahead, aside = ways.project(np.maximum(after, 0), onward, seen.position[rows, None])
    apart = np.hypot(aside, _outside(ahead, ways.length[after]))
    apart += np.where((after >= 0) & (ahead > 0.0), HYSTERESIS_M, np.inf)
    slot, each = apart.argmin(axis=1), np.arange(len(rows))
    better = apart[each, slot] < best[rows]
    moved, slot, each = rows[better], slot[better], each[better]
    choice[moved], chosen[moved] = slot + 1, after[each, slot]
    offset[moved], best[moved] = ahead[each, slot], apart[each, slot]
    against = (seen.velocity * _direction(ways, chosen, offset)).sum(axis=1) < -WRONG_WAY_SPEED
    return choice, offset, (before.edge < 0) | against | (best > LOST_M)


def _outside(offset: Floats, length: Floats) -> Floats:
    """Metres before the start or beyond the end of a road; 0 on it."""
    return np.asarray(np.maximum(np.maximum(-offset, offset - length), 0.0))


def _look_anew(ways: Ways, seen: Seen, lost: Bools) -> tuple[Ints, Floats]:
    """Road and offset (M,) by place and heading of those who are lost; zeros for the others."""
    edge, offset = np.zeros(len(lost), dtype=np.int64), np.zeros(len(lost))
    if lost.any():
        points = seen.position[lost]
        row = ways.road_map.nearest(points, find_headings(seen.velocity[lost]))
        edge[lost] = ways.road_map.sample_edge[row]
        offset[lost], _ = ways.project(edge[lost], ways.road_map.sample_offset[row], points)
    return edge, offset


def _direction(ways: Ways, edge: Ints, offset: Floats) -> Floats:
    """(M, 2) unit vectors of the roads there."""
    return np.asarray(ways.along[ways.find_samples(edge, offset)])


def _find_passing(ways: Ways, before: Matches, seen: Seen, offset: Floats, choice: Ints) -> Ints:
    """(M,) instant at which the junction was passed, linear between the last two fixes; -1 before it."""
    own, slot = np.maximum(before.edge, 0), np.maximum(choice - 1, 0)
    reach = np.where(choice > 0, ways.length[own] + ways.gap[own, slot] + offset, offset)
    went, left = reach - before.offset, ways.line[own] - before.offset
    passes = (before.passed_at < 0) & (reach >= ways.line[own]) & (before.at >= 0)
    share = np.clip(left / np.where(went > 0.1, went, np.inf), 0.0, 1.0)
    passed = before.at + np.rint(share * (seen.at - before.at)).astype(np.int64)
    return np.where(passes, passed, before.passed_at)


def find_middle(ways: Ways, edge: Ints, offset: Floats) -> Bools:
    """(M,) away from both ends of the road, where junctions make nobody slow: in its middle third at least."""
    third = ways.length[edge] / 3.0
    after = offset > np.minimum(START_M, third)
    return np.asarray(after & (ways.length[edge] - offset > np.minimum(APPROACH_M, third)))


def _note(ways: Ways, entered: Matches, seen: Seen, offset: Floats, speed: Floats) -> Matches:
    """Take down what one fix tells on the road that was chosen."""
    edge = entered.edge
    _, left = ways.project(edge, offset, seen.fix)
    on_road = (offset > 0.0) & (offset < ways.length[edge])
    fixes = entered.fixes + on_road
    weight = on_road / np.minimum(np.maximum(fixes, 1), RECENT)
    lateral = entered.lateral + weight * (left - entered.lateral)
    rest = ways.length[edge] - offset
    zone = np.searchsorted(ZONES_M, rest)
    zones = entered.zones.copy()
    rows = np.flatnonzero(on_road & np.isnan(zones[np.arange(len(zone)), zone]))
    zones[rows, zone[rows]] = lateral[rows]
    standing = speed < STAND_SPEED
    approach = rest < APPROACH_M
    free = find_middle(ways, edge, offset) & ~standing
    gain = np.stack([speed / ways.limit[edge], np.ones(len(edge))], axis=1)
    return replace(
        entered,
        offset=offset,
        speed=speed,
        lateral=lateral,
        fixes=fixes,
        stands_since=np.where(
            standing, np.where(entered.stands_since < 0, seen.at, entered.stands_since), -1
        ),
        stood=entered.stood | (standing & approach),
        zones=zones,
        pace=entered.pace + np.where(free[:, None], gain, 0.0),
        at=np.full(len(edge), seen.at),
    )

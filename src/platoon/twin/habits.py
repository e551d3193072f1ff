"""What the traffic does at junctions and on roads, learned from the vehicles that were seen to do it.

Turns: counts of who went from which road to which (Dirichlet smoothed by the share of that kind of turn
everywhere), and where across the road those who then turned left, right or not at all had driven before: lanes
tell turns. Losses: the seconds that turning, and starting from a stand, cost beside driving through; and the waits.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Floats, Instant, Ints
from platoon.twin import signals as lights
from platoon.twin.matching import ZONES_M, Crossings, Matches, find_middle
from platoon.twin.signals import Signals
from platoon.twin.ways import KINDS, Ways

PLACES_ACROSS: Floats = np.array([-0.5, -0.2, 0.0, 0.2, 0.5])
"""Inner edges of the six bins of the lateral place, in half widths of the road."""
SMOOTHING = 4.0
"""Crossings that the shares of all roads count for on one road."""
PRIOR_COUNT = 2.0
"""Crossings that "no lateral place tells more than another" counts for, by zone and kind."""
USUAL_PACE = 0.95
"""Share of the limit that a vehicle drives before anything is known."""
PACE_FIXES = 20.0
"""Fixes that the fleet's pace counts for in a vehicle's."""
ROAD_FIXES = 20.0
"""Fixes that "it flows freely" counts for on a road."""
PRIOR_LOSS_S = 1.0
PRIOR_LOSSES = 3.0
LONGEST_LOSS_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Counts and sums over all that was seen. E roads, S successors."""

    turns: Floats
    """(E, S) crossings from each road to each of its successors."""
    across: Floats
    """(4, 6, 6) crossings by kind of turn, zone before it, and lateral place there."""
    losses: Floats
    """(2, 4, 2, 4) sum of seconds lost on a road without a stand, and number, by kind of turn before it, whether
    the vehicle had stood there, and kind of turn after it."""
    roads: Floats
    """(2, E) sum of speeds in the road's middle, over what its limit and the vehicle's pace let expect, and number
    of fixes; who stands there counts."""
    signals: Signals
    searched_at: Instant
    """When the cycle of the signals was last looked for."""


def start_habits(ways: Ways) -> Habits:
    """Nothing seen."""
    shape = (KINDS, 2, KINDS)
    return Habits(
        turns=np.zeros(ways.follow.shape),
        across=np.full((KINDS, len(ZONES_M) + 1, len(PLACES_ACROSS) + 1), PRIOR_COUNT / 6),
        losses=np.stack([np.full(shape, PRIOR_LOSS_S * PRIOR_LOSSES), np.full(shape, PRIOR_LOSSES)]),
        roads=np.zeros((2, len(ways.length))),
        signals=lights.start_signals(len(ways.road_map.junctions)),
        searched_at=Instant(0),
    )


def learn_crossings(habits: Habits, ways: Ways, crossings: Crossings) -> Habits:
    """The habits after who was seen to cross a junction."""
    if not len(crossings.edge):
        return habits
    kind = ways.kind[crossings.edge, crossings.slot]
    turns, across = habits.turns.copy(), habits.across.copy()
    np.add.at(turns, (crossings.edge, crossings.slot), 1.0)
    known = np.isfinite(crossings.zones)
    row, zone = np.nonzero(known)
    place = find_places_across(ways, crossings.edge[row], crossings.zones[row, zone])
    np.add.at(across, (kind[row], zone, place), 1.0)
    timed = crossings.passed_at >= 0
    node = ways.node[crossings.edge]
    lit = timed & (node >= 0)
    signals = lights.learn_passings(
        habits.signals,
        node[lit],
        crossings.passed_at[lit],
        ways.axis[crossings.edge[lit]],
        crossings.stood[lit],
    )
    return _learn_losses(replace(habits, turns=turns, across=across, signals=signals), crossings, kind)


def _learn_losses(habits: Habits, crossings: Crossings, kind: Ints) -> Habits:
    """Seconds beyond free driving between two junctions: in the table without a stand, else as a wait."""
    lost = (crossings.passed_at - crossings.entered_at) / SECOND - crossings.free_s
    whole = (crossings.passed_at >= 0) & (crossings.entered_at >= 0) & (np.abs(lost) < LONGEST_LOSS_S)
    rolled = whole & ~crossings.stood
    cell = (crossings.came, crossings.came_from_stand.astype(np.int64), kind)
    table = habits.losses.copy()
    for row, value in enumerate((lost, np.ones(len(lost)))):
        np.add.at(table[row], tuple(index[rolled] for index in cell), value[rolled])
    waited = whole & crossings.stood
    mean = habits.losses[0][cell] / habits.losses[1][cell]
    wait = np.clip(lost - mean, 0.0, lights.WAITS - 1.0)[waited]
    waits = habits.signals.waits.copy()
    np.add.at(waits, wait.astype(np.int64), 1.0)
    signals = replace(habits.signals, waits=waits, rolled=habits.signals.rolled + float(rolled.sum()))
    return replace(habits, losses=table, signals=signals)


def learn_speeds(habits: Habits, ways: Ways, own: Matches, pace: Floats) -> Habits:
    """The habits after one fix each of the vehicles ``own`` (M) with ``pace`` (M,)."""
    rows = np.flatnonzero(find_middle(ways, own.edge, own.offset))
    edge = own.edge[rows]
    ratio = np.clip(own.speed[rows], 0.0, None) / (pace[rows] * ways.limit[edge])
    roads = habits.roads.copy()
    np.add.at(roads[0], edge, ratio)
    np.add.at(roads[1], edge, 1.0)
    return replace(habits, roads=roads)


def expect_flow(habits: Habits) -> Floats:
    """(E,) share of its pace that a vehicle makes on each road: 1 where it flows freely, less where it is full."""
    return np.asarray((habits.roads[0] + ROAD_FIXES) / (habits.roads[1] + ROAD_FIXES))


def expect_losses(habits: Habits) -> Floats:
    """(4, 2, 4) mean seconds lost on a road without a stand."""
    mean: Floats = habits.losses[0] / habits.losses[1]
    return mean


def expect_pace(matches: Matches) -> Floats:
    """(M,) share of the limit that each vehicle drives on free road, drawn to the fleet's."""
    total, fixes = matches.pace.T
    known = fixes.sum()
    fleet = (total.sum() + USUAL_PACE * PACE_FIXES) / (known + PACE_FIXES)
    pace: Floats = (total + fleet * PACE_FIXES) / (fixes + PACE_FIXES)
    return pace


def expect_turns(habits: Habits, ways: Ways, edge: Ints) -> Floats:
    """(..., S) probability of each successor of roads ``edge`` (...)."""
    possible = ways.follow >= 0
    overall = np.bincount(ways.kind[possible], weights=habits.turns[possible], minlength=KINDS) + 1.0 / KINDS
    usual = np.where(possible[edge], overall[ways.kind[edge]], 0.0)
    usual = usual / np.maximum(usual.sum(axis=-1, keepdims=True), 1e-300)
    seen = habits.turns[edge] + SMOOTHING * usual
    share: Floats = seen / np.maximum(seen.sum(axis=-1, keepdims=True), 1e-300)
    return share


def expect_turn_now(habits: Habits, ways: Ways, matches: Matches) -> Floats:
    """(M, S) probability of each successor for vehicles that are on their way to it, by where across they drive."""
    share = expect_turns(habits, ways, matches.edge)
    rest = ways.length[matches.edge] - matches.offset
    zone = np.searchsorted(ZONES_M, np.maximum(rest, 0.0))
    place = find_places_across(ways, matches.edge, matches.lateral)
    told = habits.across / habits.across.sum(axis=2, keepdims=True)
    likely = told[ways.kind[matches.edge], zone[:, None], place[:, None]]
    share = share * np.where((matches.fixes >= 2)[:, None], likely, 1.0)
    return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1e-300))


def find_places_across(ways: Ways, edge: Ints, lateral: Floats) -> Ints:
    """Bins of lateral places, metres to the left of the middle of the road."""
    half = ways.road_map.widths[edge] / 2
    return np.searchsorted(PLACES_ACROSS, lateral / half)

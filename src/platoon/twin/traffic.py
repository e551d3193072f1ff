"""What the twin knows of the traffic as such: who drives on which road, and what vehicles do there."""

from dataclasses import dataclass, replace

from platoon.nouns import SECOND
from platoon.twin.habits import Habits, expect_pace, learn_crossings, learn_speeds, start_habits
from platoon.twin.matching import Matches, Seen, apply_seen, put, start_matches, take
from platoon.twin.signals import find_cycle
from platoon.twin.ways import Ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Matches of the fleet (N) and the habits that they showed."""

    matches: Matches
    habits: Habits


CYCLE_EVERY_S = 30
"""Seconds between searches for the cycle of the signals."""


def start_traffic(ways: Ways, vehicles: int) -> Traffic:
    """Nothing seen."""
    return Traffic(matches=start_matches(vehicles), habits=start_habits(ways))


def learn_traffic(ways: Ways, traffic: Traffic, seen: Seen) -> Traffic:
    """The traffic after what was measured at one instant of the vehicles ``seen.who``."""
    own = take(traffic.matches, seen.who)
    pace = expect_pace(own)
    own, crossings = apply_seen(ways, own, seen, pace)
    habits = learn_speeds(learn_crossings(traffic.habits, ways, crossings), ways, own, pace)
    if seen.at // (CYCLE_EVERY_S * SECOND) != habits.searched_at // (CYCLE_EVERY_S * SECOND):
        habits = replace(habits, signals=find_cycle(habits.signals), searched_at=seen.at)
    return Traffic(matches=put(traffic.matches, seen.who, own), habits=habits)

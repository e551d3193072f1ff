"""What would have become of those who were not chosen: outcomes that the infrastructure can tell without them.

A finish forecast is made for the whole fleet, and a round tries it on K of its best. Who learns from those alone
never hears of the doubtful ones, and gets surer of itself than it should. But the RSUs go on measuring everybody:
from the rates measured at every vehicle between the announced end of training and the deadline follows whether its
update would have been through. One forecast at a time is watched until its deadline; whoever really
took part is taken out, since for them the edge server knows.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

MOST_WATCHED = 200
"""Vehicles of one forecast that are watched at most, evenly strided over those in service."""
LONGEST_GAP_S = 5.0
"""After a silence longer than this nobody knows what would have been: the watch is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A forecast that waits for its deadline. Rows are the vehicles watched (M); none: nothing is watched."""

    at: Instant
    """When the forecast was made."""
    due: Instant
    """Its deadline."""
    seen: Instant
    """Rates are accounted for up to here."""
    who: Ints
    """(M,) ids."""
    probability: Floats
    """(M,) forecast before recalibration."""
    parts: Floats
    """(M, 2) expected seconds of computation and of upload."""
    share: Floats
    """(M,) share of the band that the forecast counted on."""
    left: Floats
    """(M,) bits that would still have to go."""

    @property
    def through(self) -> Bools:
        """(M,) the update would have arrived by now."""
        return np.asarray(self.left <= 0.0)


def start_watch() -> Watch:
    """Nothing is watched."""
    nobody = np.zeros(0)
    return Watch(
        at=Instant(0),
        due=Instant(0),
        seen=Instant(0),
        who=np.zeros(0, dtype=np.int64),
        probability=nobody,
        parts=np.zeros((0, 2)),
        share=nobody,
        left=nobody,
    )


def open_watch(
    at: Instant,
    due: Instant,
    served: Bools,
    *,
    probability: Floats,
    parts: Floats,
    share: Floats,
    bits: float,
) -> Watch:
    """Watch those in service (``served`` (N,)); the other columns are the fleet's (N,), as in ``Watch``."""
    who = np.flatnonzero(served)
    who = who[:: max(1, -(-len(who) // MOST_WATCHED))]
    return Watch(
        at=at,
        due=due,
        seen=at,
        who=who,
        probability=probability[who],
        parts=parts[who],
        share=share[who],
        left=np.full(len(who), bits),
    )


def account(watch: Watch, at: Instant, rate: Floats) -> Watch:
    """The watch after a measurement at ``at``: ``rate`` (N,) bit/s with the whole band, since the last one.

    After a silence of more than ``LONGEST_GAP_S`` the watch is given up.
    """
    if not len(watch.who):
        return watch
    if at - watch.seen > LONGEST_GAP_S * SECOND:
        return start_watch()
    begin = np.maximum((watch.seen - watch.at) / SECOND, watch.parts[:, 0])
    end = (min(at, watch.due) - watch.at) / SECOND
    carried = rate[watch.who] * watch.share * np.maximum(end - begin, 0.0)
    return replace(watch, seen=at, left=np.maximum(watch.left - carried, 0.0))


def leave_out(watch: Watch, at: Instant, vehicles: Ints) -> Watch:
    """Without those that took part in the round of the forecast made at ``at``."""
    if watch.at != at:
        return watch
    kept = ~np.isin(watch.who, vehicles)
    names = ("who", "probability", "parts", "share", "left")
    return replace(watch, **{name: getattr(watch, name)[kept] for name in names})

"""The sequential localiser: measured positions are taken as they are, signals are solved with the tracks' help.

A vehicle with a track is followed; one without, or whose measurements contradict its track, is sought anew. A track
that leaves the roads is doubted, since mirror images of right places do.
"""

from dataclasses import replace

import numpy as np

from platoon.nouns import Bools, Ints, Measurements
from platoon.scenario import Scenario
from platoon.twin.clocks import Clocks, apply_references
from platoon.twin.filter import Fixes, Tracks, start_fixes
from platoon.twin.link import Scene
from platoon.twin.localise import Instruments, collect_echoes, localise_known, take_positions
from platoon.twin.search import Roads, seek

LOST_M = 40.0
"""From the roads, and three deviations: a followed vehicle that far off them is sought anew."""


class Locator:
    """Localises the fleet of one scenario."""

    def __init__(self, scenario: Scenario, scene: Scene) -> None:
        self._radio, self._scene = scenario.radio, scene
        self._instruments = Instruments(scenario, scene.rsus)
        self._roads: Roads | None = None

    def locate(self, clocks: Clocks, tracks: Tracks, measured: Measurements) -> tuple[Clocks, Fixes]:
        """The clocks and fixes by one instant's measurements; ``tracks`` are advanced to it."""
        clocks = apply_references(
            clocks, self._radio, measured.at, self._instruments.rsus, measured.reference_ns
        )
        fixes = take_positions(measured.position, self._instruments.position_sigma_m)
        timed = np.isfinite(measured.arrival_ns).any(axis=1) | (measured.ranging_rsu >= 0)
        rows = np.flatnonzero(timed & ~fixes.usable)
        if not len(rows):
            return clocks, fixes
        followed, agrees = self._follow(clocks, tracks, measured, rows)
        fixes = _put(fixes, rows[agrees], followed)
        left = rows[~agrees]
        if len(left):
            fixes = _put(fixes, left, self._seek(clocks, measured, left))
        return clocks, fixes

    def _follow(
        self, clocks: Clocks, tracks: Tracks, measured: Measurements, rows: Ints
    ) -> tuple[Fixes, Bools]:
        """Fixes of those that agree with their tracks, and which of ``rows`` these are."""
        agrees = tracks.known[rows]
        known = rows[agrees]
        if not len(known):
            return start_fixes(0), agrees
        echoes = collect_echoes(self._instruments, clocks, measured, known)
        fixes, fits = localise_known(self._instruments, echoes, tracks, known)
        fits &= self._near_roads(tracks, known)
        agrees[agrees] = fits
        return Fixes(**{name: getattr(fixes, name)[fits] for name in Fixes.__slots__}), agrees

    def _near_roads(self, tracks: Tracks, rows: Ints) -> Bools:
        spread = np.sqrt(np.trace(tracks.covariance[rows][:, :2, :2], axis1=1, axis2=2))
        distance = np.asarray(self._scene.road_map.tree.query(tracks.position[rows])[0])
        return np.asarray(distance <= LOST_M + 3.0 * spread)

    def _seek(self, clocks: Clocks, measured: Measurements, rows: Ints) -> Fixes:
        if self._roads is None:
            self._roads = Roads(self._scene.road_map, self._scene.prior + self._scene.noise_dbm)
        echoes = collect_echoes(self._instruments, clocks, measured, rows)
        return seek(self._instruments, self._roads, echoes, measured.rsrp_dbm[rows])


def _put(fixes: Fixes, rows: Ints, some: Fixes) -> Fixes:
    """The fixes with those of ``rows`` replaced."""
    columns = {name: np.array(getattr(fixes, name)) for name in Fixes.__slots__}
    for name, column in columns.items():
        column[rows] = getattr(some, name)
    return replace(fixes, **columns)

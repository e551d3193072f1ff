"""All that the twin believes, as one frozen value: the fold over measurements that ``twin`` carries along."""

from dataclasses import dataclass

import numpy as np

from platoon.nouns import Bools, Floats, Instant, Ints
from platoon.scenario import Scenario
from platoon.twin.card import Card, start_card
from platoon.twin.clocks import Clocks, start_clocks
from platoon.twin.company import Glimpse
from platoon.twin.compute import Capacity, start_capacity
from platoon.twin.filter import Fixes, Tracks, start_fixes, start_tracks
from platoon.twin.finish import Experience, start_experience
from platoon.twin.link import Links, Scene, start_blend, start_map
from platoon.twin.outlook import Outlook, start_outlook
from platoon.twin.traffic import Traffic, start_traffic
from platoon.twin.watch import Watch, start_watch
from platoon.twin.ways import Ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The fleet as the RSUs measured it at one instant. Rows are vehicles (N), columns RSUs (R)."""

    at: Instant
    heard: Bools
    """(N,) by an RSU, and with a track."""
    position: Floats
    """(N, 2) filtered, metres."""
    rows: Ints
    """(N,) nearest road sample."""
    snr_db: Floats
    """(N, R) by the measured RSRP; NaN where not heard."""
    sinr_db: Floats
    """(N, R) as measured, with the interference of that moment; NaN where not heard."""
    deviation: Floats
    """(N, R) dB beyond prior and map; NaN where not heard."""

    def take(self, who: Ints) -> "Sight":
        """The vehicles ``who`` (M,) alone."""
        names = ("heard", "position", "rows", "snr_db", "sinr_db", "deviation")
        return Sight(at=self.at, **{name: getattr(self, name)[who] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """What one look at M vehicles says of the places where they were."""

    rows: Ints
    """(M,) road samples."""
    residual_db: Floats
    """(M, R) SNR beyond the prior; NaN where not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """The last finish forecast, kept until the round's outcomes are known. Rows are vehicles (N)."""

    at: Instant
    raw: Floats
    """(N,) probability before recalibration."""
    probability: Floats
    """(N,) as announced."""
    persistence: Floats
    """(N,) 1 where the present rate would do, 0 where not."""
    parts: Floats
    """(N, 2) expected seconds of computation and of upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """The twin's whole state."""

    tracks: Tracks
    clocks: Clocks
    fixes: Fixes
    """What the last measurements alone said of places."""
    traffic: Traffic
    capacity: Capacity
    links: Links
    outlook: Outlook
    now: Sight
    anchor: Sight
    """The fleet when links were last studied."""
    unstudied: tuple[Residuals, ...]
    """Measured since; the residual map does not hold them yet."""
    announced: Announced
    experience: Experience
    watch: Watch
    card: Card
    past: tuple[Glimpse, ...]
    """Where everybody was over the last minute, oldest first."""


def start_belief(scenario: Scenario, scene: Scene, ways: Ways, commercial: Bools | None = None) -> Belief:
    """Nothing measured, nothing learned. ``commercial`` (N,) are the registered types."""
    vehicles, radio = scenario.fleet.vehicles, scenario.radio
    blind = _blind(vehicles, len(scene.rsus))
    nobody = np.zeros(vehicles)
    return Belief(
        tracks=start_tracks(vehicles),
        clocks=start_clocks(radio, len(scene.rsus)),
        fixes=start_fixes(vehicles),
        traffic=start_traffic(ways, vehicles),
        capacity=start_capacity(vehicles, commercial),
        links=Links(residuals=start_map(scene), blend=start_blend()),
        outlook=start_outlook(vehicles, scenario.twin.link_forecast, scenario.seed),
        now=blind,
        anchor=blind,
        unstudied=(),
        announced=Announced(
            at=Instant(0), raw=nobody, probability=nobody, persistence=nobody, parts=np.zeros((vehicles, 2))
        ),
        experience=start_experience(),
        watch=start_watch(),
        card=start_card(),
        past=(),
    )


def _blind(vehicles: int, rsus: int) -> Sight:
    unmeasured = np.full((vehicles, rsus), np.nan)
    return Sight(
        at=Instant(-1),
        heard=np.zeros(vehicles, dtype=bool),
        position=np.zeros((vehicles, 2)),
        rows=np.zeros(vehicles, dtype=np.int64),
        snr_db=unmeasured,
        sinr_db=unmeasured,
        deviation=unmeasured,
    )

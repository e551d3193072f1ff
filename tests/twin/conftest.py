"""A small town for the twin: four streets by four, two RSUs, vehicles that drive straight on at even speed."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from platoon.nouns import Attestations, Measurements, seconds
from platoon.physics.radio import compute_cqi
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.twin.twin import Twin

BLOCK_M = 250.0


def build_town(streets=4):
    nodes = [(i, j) for i in range(streets) for j in range(streets)]
    roads = {}
    for i, j in nodes:
        for k, m in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if (k, m) in nodes:
                start, end = np.array([i, j]) * BLOCK_M, np.array([k, m]) * BLOCK_M
                right = np.array([end[1] - start[1], start[0] - end[0]]) / BLOCK_M * 3.2
                roads[f"{i}{j}-{k}{m}"] = np.array([start + right, end + right])
    ids = sorted(roads)
    following = [[ids.index(b) for b in ids if b[:2] == a[3:] and b[3:] != a[:2]] for a in ids]
    return RoadMap.build(ids, [roads[name] for name in ids], [6.4] * len(ids), successors=following)


def draw_field(rng, points, waves=200, length_m=60.0):
    """(S, 2) two smooth unit fields as sums of plane waves about ``length_m`` long."""
    direction = rng.uniform(0, 2 * np.pi, (waves, 2))
    number = 2 * np.pi / (length_m * rng.uniform(0.7, 1.5, (waves, 2)))
    x, y = (
        points[:, axis, None, None] * number * turn(direction) for axis, turn in ((0, np.cos), (1, np.sin))
    )
    return np.cos(x + y + rng.uniform(0, 2 * np.pi, (waves, 2))).sum(axis=1) * np.sqrt(2 / waves)


@dataclass
class Town:
    """Vehicles (N) on the roads with a shadow field that belongs to places, and an infrastructure that measures."""

    vehicles: int = 20
    seed: int = 1
    shadow_db: float = 6.0
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        self.road_map = build_town()
        self.rsus = np.array([[245.0, 245.0], [505.0, 505.0]])
        self.scenario = Scenario.from_table(
            {
                "fleet": {"vehicles": self.vehicles},
                "radio": {"rsus": 2},
                "round": {"participants": 5},
                "twin": {"positioning": "position"},
            }
            | self.settings
        )
        rng = stream(self.seed, "town")
        self.rng = rng
        rows = rng.integers(len(self.road_map.samples), size=self.vehicles)
        heading = self.road_map.sample_heading[rows]
        self.start = self.road_map.samples[rows]
        self.velocity = rng.uniform(0, 12, (self.vehicles, 1)) * np.stack(
            [np.cos(heading), np.sin(heading)], axis=1
        )
        self.shadow = self.shadow_db * draw_field(rng, self.road_map.samples)
        self.twin = self.make_twin()

    def make_twin(self):
        return Twin(self.scenario, self.road_map, self.rsus)

    def place(self, at_s):
        """True positions, driving to and fro across the town."""
        free = self.start + self.velocity * at_s
        span = 3 * BLOCK_M
        return span - np.abs(np.mod(free, 2 * span) - span)

    def snr(self, position):
        rows = self.road_map.nearest(position)
        return self.twin._scene.prior[rows] + self.shadow[rows]

    def measure(self, at_s, heard=None):
        position = self.place(at_s)
        rng = stream(self.seed, "noise", round(at_s * 1000))
        heard = np.ones(self.vehicles, dtype=bool) if heard is None else heard
        snr = self.snr(position) + rng.normal(0, 1.0, (self.vehicles, 2))
        snr = np.where(heard[:, None], snr, np.nan)
        return replace(
            Measurements.nothing(seconds(at_s), self.vehicles, 2),
            rsrp_dbm=snr + self.twin._scene.noise_dbm,
            sinr_db=snr,
            cqi=compute_cqi(snr),
            position=np.where(heard[:, None], position + rng.normal(0, 3.0, position.shape), np.nan),
        )

    def attest(self, at_s):
        rng = stream(self.seed, "cpu", round(at_s * 1000))
        everyone = np.ones(self.vehicles, dtype=bool)
        return Attestations(
            at=seconds(at_s), asked=everyone, passed=everyone, cpu_hz=rng.uniform(1.4e9, 1.8e9, self.vehicles)
        )

    def drive(self, twin, first, last):
        for second in range(first, last):
            twin.observe(self.measure(second))
            if second % 10 == 0:
                twin.attest(self.attest(second))


@pytest.fixture
def town():
    return Town()


@pytest.fixture(scope="session")
def make_town():
    return Town

"""The true radio channel of a scene: where RSUs stand, what shadows lie on the streets, who serves whom.

Shadowing is a field: a function of place for each RSU, so that what is measured at a corner today can be learned
for tomorrow (a per-vehicle random process would have nothing to learn). It is Gaussian with the exponential
autocorrelation of TR 38.901, eq. 7.4-5, made by FFT on a grid and read by bilinear interpolation.
"""

import numpy as np
import shapely
from scipy import fft

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints
from platoon.physics.radio import (
    MINIMUM_SNR_DB,
    SHADOW_DECORRELATION_LOS_M,
    SHADOW_DECORRELATION_NLOS_M,
    SHADOW_SIGMA_LOS_DB,
    SHADOW_SIGMA_NLOS_DB,
    compute_noise_dbm,
    compute_path_loss_db,
    compute_rate,
    compute_snr_db,
)
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Radio

CELL_M = 3.0
LARGEST_FIELD = 1024
"""Cells along a side of a shadow field at most; the field repeats beyond."""
CORNER_M = 8.0
"""An RSU stands this far from the middles of both streets at its junction."""
NICHE = 0.15
"""A corner that sees so much less than another one of its junction is passed over."""
PLACES = 500
"""Junctions that are tried for RSUs at most."""
POINTS = 2_000
"""Road samples that coverage is counted on at most."""
UNCOVERED_COST = 1.0
"""Cost of a road sample out of every service radius; one within it costs the log10 of its distance over it."""
LINE_COST = 0.01
"""Cost, as a share of all samples uncovered, of three RSUs in line: positions by time differences are ambiguous
about the line."""
LINE_M = 100.0
"""Three RSUs are in line when their triangle is lower than this."""
PASSES = 8
MANY_RSUS = 16
"""Among more RSUs a vehicle hears some off any line."""


class Channel:
    """Uplink channel between any place and every RSU, as of the instant ``at``, which the world moves."""

    def __init__(self, road_map: RoadMap, rsus: Floats, radio: Radio, seed: int) -> None:
        self.rsus = rsus
        self.at = Instant(0)
        self._map, self._radio = road_map, radio
        self._sees = road_map.visibility(rsus)
        self._shadows = ShadowFields(len(rsus), 2.0 * radio.service_radius_m, seed)
        self._noise_dbm = compute_noise_dbm(self.bandwidth_hz, radio.noise_figure_db)

    @property
    def bandwidth_hz(self) -> float:
        """The band of one RSU, shared by its uploads."""
        return self._radio.bandwidth_mhz * 1e6

    def distances(self, points: Floats) -> Floats:
        """(N, R) horizontal metres between points (N, 2) and RSUs."""
        apart: Floats = points[:, None, :] - self.rsus[None, :, :]
        return np.hypot(apart[..., 0], apart[..., 1])

    @property
    def serves_anybody(self) -> bool:
        """Some road is in service, outages aside."""
        points = self._map.samples
        return bool(self.serviceable(points, self._compute_snr_db(points, None)).any())

    def snr_db(self, points: Floats, vehicles: Ints | None = None) -> Floats:
        """(N, R) uplink signal-to-noise ratio, dB, over the whole band; -inf at an RSU in an outage.

        ``vehicles`` (N,) are those at the points; without it, the whole fleet in order. Only channels that were
        measured on drives ask who it is.
        """
        found = self._compute_snr_db(points, vehicles)
        for rsu, begin, end in self._radio.outages:
            if begin * SECOND <= self.at < end * SECOND:
                found[:, rsu] = -np.inf
        return found

    def _compute_snr_db(self, points: Floats, vehicles: Ints | None) -> Floats:  # noqa: ARG002
        sees = self._sees[self._map.nearest(points)]
        loss = compute_path_loss_db(
            self.distances(points), sees, self._radio.carrier_ghz, self._radio.rsu_height_m
        )
        loss = loss + self._shadows.compute_db(points, sees)
        return compute_snr_db(loss, self._radio.vehicle_dbm, self._radio.antenna_gain_db, self._noise_dbm)

    def serviceable(self, points: Floats, snr_db: Floats) -> Bools:
        """(N, R) within the service radius and above the lowest CQI."""
        return (self.distances(points) <= self._radio.service_radius_m) & (snr_db >= MINIMUM_SNR_DB)

    def serving(self, points: Floats, snr_db: Floats) -> Ints:
        """(N,) the RSU with the best SNR among those that can serve; -1 out of service."""
        usable = self.serviceable(points, snr_db)
        best = np.argmax(np.where(usable, snr_db, -np.inf), axis=1)
        return np.where(usable.any(axis=1), best, -1).astype(np.int64)

    def rate(self, snr_db: Floats, vehicles: Ints | None = None) -> Floats:  # noqa: ARG002 - as in snr_db
        """Bit/s of a link that has the whole band for itself."""
        return compute_rate(snr_db, self.bandwidth_hz, self._radio.rate)


class ShadowFields:
    """Two Gaussian fields per RSU, one for each state of the line of sight, periodic in space.

    The period exceeds ``least_period_m`` (the width of a service area), so within it no shadow is seen twice;
    float32 cells of 3 m take 38 MB for ten RSUs of 1 km, and follow the standard's correlation within 0.1.
    """

    def __init__(self, rsus: int, least_period_m: float, seed: int, purpose: str = "shadow") -> None:
        wanted = int(least_period_m / CELL_M) + 16
        self._size = min(LARGEST_FIELD, int(fft.next_fast_len(wanted)))
        decorrelations = (SHADOW_DECORRELATION_LOS_M, SHADOW_DECORRELATION_NLOS_M)
        # Real and imaginary part of one transform are independent fields: RSUs are made in pairs.
        self._fields = np.empty((2, 2 * ((rsus + 1) // 2), self._size**2), dtype=np.float32)
        for state, decorrelation in enumerate(decorrelations):
            amplitude = _compute_amplitude(self._size, decorrelation)
            for pair in range(0, rsus, 2):
                made = _draw_fields(amplitude, stream(seed, purpose, state, pair))
                self._fields[state, pair : pair + 2] = made.reshape(2, -1)
        self._rsus = rsus
        self._correlations = [_corner_correlation(decorrelation) for decorrelation in decorrelations]

    def compute_db(self, points: Floats, line_of_sight: Bools) -> Floats:
        """(N, R) shadowing in dB at points (N, 2), added to the path loss."""
        clear = SHADOW_SIGMA_LOS_DB * self.read(0, points)
        blocked = SHADOW_SIGMA_NLOS_DB * self.read(1, points)
        return np.where(line_of_sight, clear, blocked)

    def read(self, state: int, points: Floats) -> Floats:
        """(N, R) unit normal values: bilinear, and scaled since an average of cells varies less than one cell."""
        scaled = points / CELL_M
        cell = np.floor(scaled)
        part = scaled - cell
        low = np.mod(cell.astype(np.int64), self._size)
        high = np.mod(low + 1, self._size)
        corners = np.stack(
            [
                low[:, 0] * self._size + low[:, 1],
                low[:, 0] * self._size + high[:, 1],
                high[:, 0] * self._size + low[:, 1],
                high[:, 0] * self._size + high[:, 1],
            ]
        )
        x, y = part[:, 0], part[:, 1]
        weights = np.stack([(1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y])
        spread = np.sqrt(np.einsum("cn,cd,dn->n", weights, self._correlations[state], weights))
        cells = self._fields[state, : self._rsus][:, corners].astype(np.float64)
        return np.asarray(np.einsum("cn,rcn->nr", weights / spread, cells))


def _compute_amplitude(size: int, decorrelation_m: float) -> Floats:
    """Square root of the power spectrum of exp(-distance / decorrelation) on a periodic grid."""
    steps = np.minimum(np.arange(size), size - np.arange(size)) * CELL_M
    correlation = np.exp(-np.hypot(steps[:, None], steps[None, :]) / decorrelation_m)
    power: Floats = np.real(fft.fft2(correlation))
    return np.sqrt(np.maximum(power, 0.0))


def _draw_fields(amplitude: Floats, rng: np.random.Generator) -> Floats:
    """(2, size, size) independent unit fields with this spectrum."""
    size = len(amplitude)
    noise = rng.standard_normal((2, size, size), dtype=np.float32)
    spectrum = (noise[0] + 1j * noise[1]) * (amplitude * size).astype(np.float32)
    made = fft.ifft2(spectrum)
    return np.stack([made.real, made.imag])


def _corner_correlation(decorrelation_m: float) -> Floats:
    """(4, 4) correlation of the corners of a cell."""
    corners = CELL_M * np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64)
    apart: Floats = corners[:, None, :] - corners[None, :, :]
    return np.exp(-np.hypot(apart[..., 0], apart[..., 1]) / decorrelation_m)


def place_rsus(road_map: RoadMap, count: int, radius_m: float) -> Floats:
    """(R, 2) places with near-optimal coverage of the roads: chosen greedily, then exchanged while that helps.

    RSUs stand at corners of junctions, so that each sees along both streets, and avoid standing three in line.
    """
    places = _thin(road_map.junctions if len(road_map.junctions) else road_map.samples, PLACES)
    points = _thin(road_map.samples, POINTS)
    apart: Floats = places[:, None, :] - points[None, :, :]
    share = np.hypot(apart[..., 0], apart[..., 1]) / radius_m
    costs = np.where(share > 1.0, UNCOVERED_COST, np.log10(np.maximum(share, 0.02)))
    chosen = _exchange(costs, places, _choose_greedily(costs, count), 0.0)
    if count <= MANY_RSUS:
        chosen = _exchange(costs, places, chosen, LINE_COST * UNCOVERED_COST * costs.shape[1])
    return np.array([_move_to_corner(places[row], road_map, turn) for turn, row in enumerate(sorted(chosen))])


def _thin(points: Floats, most: int) -> Floats:
    """At most so many of the points, evenly spread over their order."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(most, len(points))).round().astype(np.int64))
    kept: Floats = points[rows]
    return kept


def _choose_greedily(costs: Floats, count: int) -> list[int]:
    chosen: list[int] = []
    best = np.full(costs.shape[1], UNCOVERED_COST)
    for _ in range(count):
        totals = np.minimum(costs, best).sum(axis=1)
        if len(chosen) < len(costs):
            totals[chosen] = np.inf
        chosen.append(int(np.argmin(totals)))
        best = np.minimum(best, costs[chosen[-1]])
    return chosen


def _exchange(costs: Floats, places: Floats, chosen: list[int], line_cost: float) -> list[int]:
    """Move one RSU at a time to where it helps most, until none wants to move."""
    chosen = list(chosen)
    for _ in range(PASSES):
        before = list(chosen)
        for turn in range(len(chosen)):
            others = chosen[:turn] + chosen[turn + 1 :]
            rest = costs[others].min(axis=0) if others else np.full(costs.shape[1], UNCOVERED_COST)
            totals = np.minimum(costs, rest).sum(axis=1)
            if line_cost:
                totals += line_cost * _count_lines(places, places[others])
            if totals.min() < totals[chosen[turn]] - 1e-9:
                chosen[turn] = int(np.argmin(totals))
        if chosen == before:
            break
    return chosen


def _count_lines(places: Floats, others: Floats) -> Ints:
    """(P,) pairs of the others with which an RSU at each place would stand in line."""
    first, second = np.triu_indices(len(others), k=1)
    a, b, c = others[first], others[second], places[:, None, :]
    twice_area = np.abs((b - a)[:, 0] * (c - a)[..., 1] - (b - a)[:, 1] * (c - a)[..., 0])
    sides = [np.hypot(*np.moveaxis(side, -1, 0)) for side in (c - a, c - b)]
    longest = np.maximum(np.hypot(*(b - a).T), np.maximum(*sides))
    return np.asarray((twice_area <= LINE_M * longest).sum(axis=1))


def _move_to_corner(place: Floats, road_map: RoadMap, turn: int) -> Floats:
    """A corner of the junction, or its middle: the first that sees nearly as much as any of them.

    The corner must lie on the road area (a facade would hide everything). Where streets cross at right angles all
    see the same, and RSUs take their corners in turn; elsewhere a corner may stand in a niche.
    """
    angles = np.pi / 4.0 * (1 + 2 * turn + np.array([0, 2, 4, 6, 1, 3, 5, 7]))
    corners = place + CORNER_M * np.sqrt(2.0) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inside = shapely.contains_xy(road_map.compute_area(), corners)
    choices = np.concatenate([corners[inside], place[None]])
    views = road_map.seen_share(choices)
    return np.asarray(choices[int(np.argmax(views >= (1.0 - NICHE) * views.max()))])

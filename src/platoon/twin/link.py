"""What the uplink to every RSU will be at a place and time: path loss, a learned map, and the present.

Three layers, each correcting the one before (all in dB):
1. the *prior*: UMi path loss (TR 38.901) with line of sight taken from the map;
2. the *residual map*: measured minus prior, averaged where vehicles have been (samples every few metres of
   road), because shadowing belongs to places;
3. the *present deviation*: what this vehicle measures now minus both, fading with the distance that it will
   have moved. TR 38.901 Table 7.5-6 says exp(-d/10 m) in sight and exp(-d/13 m) out of it; the weights and
   the remaining errors are fitted while measurements come in, from pairs a few seconds apart.

A linear blend of map and present beat a recurrent network on history and position in our measurements; the
accuracy is bounded by the position forecast, which ``finish`` therefore carries as nodes, not as a mean.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

from platoon.nouns import Bools, Floats, Ints
from platoon.physics.radio import (
    MINIMUM_SNR_DB,
    SHADOW_SIGMA_LOS_DB,
    SHADOW_SIGMA_NLOS_DB,
    RateLaw,
    compute_noise_dbm,
    compute_path_loss_db,
    compute_rate,
    compute_snr_db,
    compute_subcarrier_noise_dbm,
)
from platoon.physics.roads import RoadMap
from platoon.scenario import Radio

NEIGHBOURS = 6
"""Road samples that a residual is read from: both directions of a street, 10 m to either side."""
DECORRELATION_M = 12.0
"""Distance over which shadowing forgets itself, metres: between 10 (in sight) and 13 (out of it)."""
MAP_SHRINKAGE = 0.4
"""Weight of "no residual" against visited samples: a place that was never measured says 0 dB."""
DISTANCE_BINS_M: Floats = np.array([4.0, 12.0, 30.0])
"""Inner edges of the four bins of distance moved, metres."""
SUPPORT_BINS: Floats = np.array([0.3, 0.65])
"""Inner edges of the three bins of how well the map knows a place."""
NEARBY_M = float(DISTANCE_BINS_M[-1])
LEAST_DB, MOST_DB, STEP_DB = -40.0, 60.0, 0.25
MOST_SIGMA_DB, SIGMA_STEP_DB = 16.0, 0.5
"""Range and steps of the table of mean rates."""
KINDS = 2 * (len(SUPPORT_BINS) + 1)
"""Bins of support and sight together."""
PRIOR_PAIRS = 50.0
"""Pairs that the prior weights and errors count for in each bin."""

_BIN_CENTRES_M: Floats = np.array([1.0, 8.0, 20.0, 60.0])


class Scene:
    """What does not change: the roads' samples (S) as seen from the RSUs (R)."""

    def __init__(
        self, radio: Radio, road_map: RoadMap, rsus: Floats, link_forecast: str = "map_blend"
    ) -> None:
        points = road_map.samples
        self.road_map = road_map
        self.rsus = rsus
        """(R, 2) metres."""
        self.bandwidth_hz = radio.bandwidth_mhz * 1e6
        """Of one RSU, shared by its uploads."""
        self.noise_dbm = compute_subcarrier_noise_dbm(radio.noise_figure_db)
        """What an RSU's RSRP is less its SNR, dBm."""
        self.law = radio.rate
        self.link_forecast = link_forecast
        """Which forecast is believed in the end: one of ``outlook.FORECASTS``."""
        self.in_sight: Bools = road_map.visibility(rsus)
        """(S, R)"""
        distance = np.hypot(*np.moveaxis(points[:, None, :] - rsus, -1, 0))
        loss = compute_path_loss_db(distance, self.in_sight, radio.carrier_ghz, radio.rsu_height_m)
        noise = compute_noise_dbm(self.bandwidth_hz, radio.noise_figure_db)
        self.prior: Floats = compute_snr_db(loss, radio.vehicle_dbm, radio.antenna_gain_db, noise)
        """(S, R) SNR by the path loss alone, dB."""
        self.in_service: Bools = distance <= radio.service_radius_m
        """(S, R)"""
        self.serving: Ints = _find_serving(self.in_service)
        """(S, C) the RSUs in service range of each sample; padded with R, which stands for none."""
        away, self.neighbours = _find_neighbours(road_map)
        ends = np.arange(len(points) + 1) * len(away)
        nearness = np.exp(-away / DECORRELATION_M)
        self.kernel = csr_array((nearness.T.ravel(), self.neighbours.T.ravel(), ends))
        """(S, S) weight of each neighbour's residual."""
        self._rates = _tabulate_rates(self.bandwidth_hz, self.law)

    def expect_rate(self, snr_db: Floats, sigma_db: Floats) -> Floats:
        """Mean bit/s for the whole bandwidth where the SNR is normal about ``snr_db``; 0 at -inf. From a table."""
        row = np.clip((snr_db - LEAST_DB) * (1.0 / STEP_DB) + 1.5, 0.0, len(self._rates) - 1.0)
        column = np.minimum(sigma_db * (1.0 / SIGMA_STEP_DB) + 0.5, self._rates.shape[1] - 1.0)
        index = row.astype(np.int32) * self._rates.shape[1] + column.astype(np.int32)
        return np.asarray(self._rates.ravel()[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualMap:
    """Measured minus prior SNR by road sample (S) and RSU (R)."""

    total: Floats
    """(S, R) sum of residuals, dB."""
    visits: Floats
    """(S, R) number of measurements."""
    mean: Floats
    """(S, R) residual as read from the neighbourhood, dB."""
    support: Floats
    """(S, R) in [0, 1): share of ``mean`` that came from measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How far the present deviation carries, and what error is left: sums by (distance, support, out of sight)."""

    product: Floats
    """(4, 3, 2) sum of (deviation then x deviation now), dB^2."""
    square: Floats
    """(4, 3, 2) sum of squared deviations then, dB^2."""
    error: Floats
    """(4, 3, 2) sum of squared errors of the blended forecast, dB^2."""
    pairs: Floats
    """(4, 3, 2) number of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """All that is learned of the links."""

    residuals: ResidualMap
    blend: Blend


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The best RSU in service range at every moment and node of a vehicle's future: T, P, N."""

    snr_db: Floats
    """(T, P, N) -inf out of service range."""
    lasting_db: Floats
    """(T, P, N) standard deviation of the part of its error that lasts over the horizon."""
    passing_db: Floats
    """(T, P, N) of the part that the next places take away."""
    support: Ints
    """(T, P, N) bin of how well the map knows the place."""

    def at(self, moment: int) -> "Service":
        """The same of one moment alone."""
        return Service(**{name: getattr(self, name)[[moment]] for name in Service.__slots__})


Cell = tuple[Ints, Ints, Ints]
"""Indices into the tables of ``Blend``, of one shape."""


def start_map(scene: Scene) -> ResidualMap:
    """A map that knows nothing."""
    nothing = np.zeros_like(scene.prior)
    return ResidualMap(total=nothing, visits=nothing, mean=nothing, support=nothing)


def start_blend() -> Blend:
    """Weights exp(-d/``DECORRELATION_M``) and the prior's errors, counted as ``PRIOR_PAIRS`` pairs."""
    weight = np.exp(-_BIN_CENTRES_M / DECORRELATION_M)[:, None, None]
    pairs = np.full((4, 3, 2), PRIOR_PAIRS)
    square = pairs * np.array([SHADOW_SIGMA_LOS_DB, SHADOW_SIGMA_NLOS_DB]) ** 2
    error = (1 - weight**2) * square + pairs
    return Blend(product=weight * square, square=square, error=error, pairs=pairs)


def learn_map(residuals: ResidualMap, scene: Scene, rows: Ints, residual: Floats) -> ResidualMap:
    """The map after residuals (M, R), dB, measured at road samples ``rows`` (M,); NaN where there is none."""
    total, visits = residuals.total.copy(), residuals.visits.copy()
    touched = np.zeros(len(total), dtype=bool)
    touched[rows] = True
    measured = np.isfinite(residual)
    cell = (np.cumsum(touched) - 1)[rows][:, None] * total.shape[1] + np.arange(total.shape[1])
    for table, value in ((total, residual), (visits, np.ones_like(residual))):
        size = int(touched.sum()) * total.shape[1]
        added = np.bincount(cell[measured], weights=value[measured], minlength=size)
        table[touched] += added.reshape(-1, total.shape[1])
    around = np.flatnonzero(touched[scene.neighbours].any(axis=0))
    mean, support = residuals.mean.copy(), residuals.support.copy()
    mean[around], support[around] = _smooth(scene, total, visits, around)
    return ResidualMap(total=total, visits=visits, mean=mean, support=support)


def carry(blend: Blend, cell: Cell) -> tuple[Floats, Floats]:
    """Weight in [0, 1] of the present deviation, and sigma (dB) of the forecast, in the shape of the cells."""
    weight = np.clip(blend.product / blend.square, 0.0, 1.0)
    return weight[cell], np.sqrt(blend.error / blend.pairs)[cell]


def learn_blend(blend: Blend, cell: Cell, then: Floats, now: Floats) -> Blend:
    """The blend after pairs of deviations ``then`` and ``now`` (N, R), dB; NaN where either is missing."""
    usable = np.isfinite(then) & np.isfinite(now)
    cell = (cell[0][usable], cell[1][usable], cell[2][usable])
    then, now = then[usable], now[usable]
    weight, _ = carry(blend, cell)
    return Blend(
        product=_add(blend.product, cell, then * now),
        square=_add(blend.square, cell, then**2),
        error=_add(blend.error, cell, (now - weight * then) ** 2),
        pairs=_add(blend.pairs, cell, np.ones(len(then))),
    )


def find_cell(scene: Scene, residuals: ResidualMap, rows: Ints, moved_m: Floats) -> Cell:
    """Bins (..., N, R) of distance moved, support and sight of vehicles that come to ``rows`` (..., N)."""
    support = residuals.support[rows]
    distance = np.searchsorted(DISTANCE_BINS_M, moved_m)
    return (
        np.broadcast_to(distance[..., None], support.shape),
        np.searchsorted(SUPPORT_BINS, support),
        np.where(scene.in_sight[rows], 0, 1),
    )


def forecast_best(
    scene: Scene, links: Links, deviation: Floats, rows: Ints, moved_m: Floats
) -> tuple[Floats, Floats, Ints]:
    """SNR (..., N) of the best RSU in service range, -inf where there is none, its sigma, and its bin of support.

    For vehicles that come to road samples ``rows`` (..., N), ``moved_m`` (..., N) metres from here.
    ``deviation`` (N, R) dB is what each measures now beyond prior and map (NaN: not measured). Which RSU is best is
    told by map and present deviations nearby, and by the map alone beyond ``NEARBY_M``, where deviations are
    nearly forgotten: most nodes lie there, and then cost one look-up each.
    """
    asked = np.zeros(len(scene.prior), dtype=bool)
    asked[rows.ravel()] = True
    around = _survey(scene, links.residuals, np.flatnonzero(asked))
    rows = (np.cumsum(asked) - 1)[rows]
    present = np.nan_to_num(np.concatenate([deviation, np.zeros((len(deviation), 1))], axis=1))
    weight, sigma = carry_tables(links.blend)
    distance = find_distance_bin(moved_m)
    best = around.best[rows]
    kind = distance * KINDS + around.kind[rows, best]
    vehicle = np.broadcast_to(np.arange(len(deviation)), rows.shape)
    snr = around.level[rows, best] + weight[kind] * present[vehicle, around.rsu[rows, best]]
    spread, known = sigma[kind], kind
    nearby = np.nonzero(moved_m <= NEARBY_M)
    place, who = rows[nearby], vehicle[nearby]
    kind = distance[nearby][:, None] * KINDS + around.kind[place]
    each = around.level[place] + weight[kind] * present[who[:, None], around.rsu[place]]
    chosen = np.arange(len(place)), each.argmax(axis=1)
    snr[nearby], spread[nearby], known[nearby] = each[chosen], sigma[kind[chosen]], kind[chosen]
    return snr, spread, known % KINDS // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What is believed of the RSUs in service range (C) of road samples (S)."""

    rsu: Ints
    """(S, C) R where there is none."""
    level: Floats
    """(S, C) prior and map, dB; -inf where there is none."""
    kind: Ints
    """(S, C) bin of support and sight, as one index."""
    best: Ints
    """(S,) column of the largest level."""


def _survey(scene: Scene, residuals: ResidualMap, rows: Ints) -> _Survey:
    """Of the road samples ``rows`` (S,)."""
    rsu, place = scene.serving[rows], rows[:, None]
    there = np.minimum(rsu, scene.prior.shape[1] - 1)
    level = np.where(
        rsu < scene.prior.shape[1], scene.prior[place, there] + residuals.mean[place, there], -np.inf
    )
    support = (residuals.support[place, there][..., None] > SUPPORT_BINS).sum(axis=-1)
    kind = support * 2 + ~scene.in_sight[place, there]
    return _Survey(rsu=rsu, level=level, kind=kind, best=level.argmax(axis=1))


def find_distance_bin(moved_m: Floats) -> Ints:
    """Bin of metres moved, in the shape given."""
    bins = np.zeros(moved_m.shape, dtype=np.int64)
    for edge in DISTANCE_BINS_M:
        bins += moved_m > edge
    return bins


def carry_tables(blend: Blend) -> tuple[Floats, Floats]:
    """Weights and sigmas of ``carry`` as flat tables over (distance, support, sight)."""
    weight = np.clip(blend.product / blend.square, 0.0, 1.0)
    return weight.ravel(), np.sqrt(blend.error / blend.pairs).ravel()


def _smooth(scene: Scene, total: Floats, visits: Floats, rows: Ints) -> tuple[Floats, Floats]:
    """Mean residual and support of samples ``rows`` from their neighbourhood.

    Each neighbour counts exp(-d/``DECORRELATION_M``) times a saturating number of its visits; the mean is drawn
    to 0 dB by ``MAP_SHRINKAGE``, as kriging with a nugget would.
    """
    used = np.zeros(len(total), dtype=bool)
    used[scene.neighbours[:, rows].ravel()] = True
    count = visits[used]
    weight = count / (count + 0.5)
    rsus = total.shape[1]
    table = np.zeros((len(total), 2 * rsus))
    table[used, :rsus] = weight
    table[used, rsus:] = weight * total[used] / np.maximum(count, 1.0)
    read = scene.kernel[rows] @ table
    summed = read[:, :rsus] + MAP_SHRINKAGE
    return read[:, rsus:] / summed, 1.0 - MAP_SHRINKAGE / summed


def _find_neighbours(road_map: RoadMap) -> tuple[Floats, Ints]:
    """Distances (k, S) in metres and rows (k, S) of the nearest samples of each sample, itself included."""
    count = min(NEIGHBOURS, len(road_map.samples))
    distance, rows = road_map.tree.query(road_map.samples, k=np.arange(1, count + 1))
    return np.ascontiguousarray(np.transpose(distance)), np.ascontiguousarray(np.transpose(rows))


def _tabulate_rates(bandwidth_hz: float, law: RateLaw) -> Floats:
    """(G, H) mean bit/s by SNR in steps of ``STEP_DB``, row 0 for "below all", and by sigma."""
    snr = LEAST_DB + STEP_DB * np.arange(int((MOST_DB - LEAST_DB) / STEP_DB) + 1)
    sigma = SIGMA_STEP_DB * np.arange(int(MOST_SIGMA_DB / SIGMA_STEP_DB) + 1)
    nodes = ndtri((np.arange(64) + 0.5) / 64)  # the rate is a staircase: many even quantiles, no polynomial's
    values = snr[:, None, None] + sigma[:, None] * nodes
    rate = np.where(values >= MINIMUM_SNR_DB, compute_rate(values, bandwidth_hz, law), 0.0)
    return np.concatenate([np.zeros((1, len(sigma))), rate.mean(axis=-1)])


def _find_serving(in_service: Bools) -> Ints:
    """(S, C) columns of the RSUs in service range, C the most that any sample has (at least 1); padded with R."""
    count = in_service.sum(axis=1)
    width = max(int(count.max(initial=0)), 1)
    order = np.argsort(~in_service, axis=1, kind="stable")[:, :width]
    return np.where(np.arange(width) < count[:, None], order, in_service.shape[1]).astype(np.int64)


def _add(table: Floats, cell: tuple[Ints, ...], value: Floats) -> Floats:
    table = table.copy()
    np.add.at(table, cell, value)
    return table

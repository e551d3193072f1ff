"""The true channel between devices on the road: which pairs of them hear each other, and at what rate.

Buildings are the road map's: a sight line that leaves the road area is blocked. Vehicles in the way and shadows are
drawn from fields of place, as an RSU's shadows are: a pair's value is the sum of the values at its two ends, scaled
to unit variance (the fleet is only a part of the traffic, so that its own vehicles cannot be the ones in the way).
So a pair that stands still keeps its channel, both directions have the same, and nothing needs saving.
"""

import numpy as np
from scipy.special import ndtr

from platoon.nouns import Bools, Floats, Ints
from platoon.physics.radio import (
    MINIMUM_SNR_DB,
    VEHICLE_HEIGHT_M,
    compute_noise_dbm,
    compute_rate,
    compute_snr_db,
)
from platoon.physics.roads import RoadMap
from platoon.physics.sidelink import (
    SHADOW_DECORRELATION_LOS_M,
    SHADOW_DECORRELATION_NLOS_M,
    SHADOW_SIGMA_LOS_DB,
    SHADOW_SIGMA_NLOS_DB,
    compute_blockage_db,
    compute_clear_probability,
    compute_corner_loss_db,
    compute_street_loss_db,
)
from platoon.scenario import Scenario
from platoon.world.radio import ShadowFields


class SidelinkChannel:
    """Sidelink between any two places of a scene."""

    def __init__(self, road_map: RoadMap, scenario: Scenario) -> None:
        self._map, self._config = road_map, scenario.sidelink
        self._law, self._rsu_height = scenario.radio.rate, scenario.radio.rsu_height_m
        bandwidth = self._config.bandwidth_mhz * 1e6
        self._bandwidth = bandwidth
        self._noise_dbm = compute_noise_dbm(bandwidth, self._config.noise_figure_db)
        self._fields = ShadowFields(2, 2.0 * self._config.range_m, scenario.seed, "sidelink")

    def snr_db(self, places: Floats, is_rsu: Bools, pairs: Ints) -> Floats:
        """(P,) signal-to-noise ratio over the whole band, dB; the same in both directions.

        ``places``: (n, 2) metres; ``is_rsu``: (n,) whether an RSU stands there, higher than a vehicle; ``pairs``:
        (P, 2) rows of the two.
        """
        config, (one, other) = self._config, pairs.T
        ends, others = places[one], places[other]
        heights = np.sort(np.where(is_rsu, self._rsu_height, VEHICLE_HEIGHT_M)[pairs], axis=1)
        apart = np.hypot(*(ends - others).T)
        distance = np.hypot(apart, heights[:, 1] - heights[:, 0])
        clear_shadow, hidden = self._join(0, places, pairs, apart, SHADOW_DECORRELATION_LOS_M)
        shadow, amount = self._join(1, places, pairs, apart, SHADOW_DECORRELATION_NLOS_M)
        is_clear = ndtr(hidden) < compute_clear_probability(distance)
        street = compute_street_loss_db(distance, config.carrier_ghz) + np.where(
            is_clear,
            SHADOW_SIGMA_LOS_DB * clear_shadow,
            compute_blockage_db(distance, heights[:, 0], heights[:, 1], amount)
            + SHADOW_SIGMA_LOS_DB * shadow,
        )
        corner = compute_corner_loss_db(distance, config.carrier_ghz) + SHADOW_SIGMA_NLOS_DB * shadow
        loss = np.where(self._map.sees(ends, others), street, corner)
        return compute_snr_db(loss, config.dbm, config.antenna_gain_db, self._noise_dbm)

    def rate(self, snr_db: Floats) -> Floats:
        """(P,) bit/s of links that have the band for themselves; 0 below the least usable SNR."""
        rate = compute_rate(snr_db, self._bandwidth, self._law)
        return np.where(snr_db >= MINIMUM_SNR_DB, rate, 0.0)

    def _join(
        self, state: int, places: Floats, pairs: Ints, apart: Floats, decorrelation_m: float
    ) -> tuple[Floats, Floats]:
        """Two unit normal values per pair, of the two fields of this state."""
        sums = self._fields.read(state, places)[pairs].sum(axis=1)
        spread = np.sqrt(2.0 * (1.0 + np.exp(-apart / decorrelation_m)))
        return sums[:, 0] / spread, sums[:, 1] / spread

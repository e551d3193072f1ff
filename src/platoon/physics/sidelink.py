"""Laws of the channel between devices on the road (V2V, sidelink): states, path loss, blockage by vehicles.

3GPP TR 37.885, urban: two devices see each other (LOS), are hidden by another vehicle (NLOSv), or by buildings
(NLOS). Path loss is its Table 6.2.1-1, the probability that no vehicle stands between its Table 6.2-1, the loss of
a vehicle in the way its section 6.2.1; shadow deviations and decorrelation distances are of Tables 6.2.1-1 and
6.2.3-1. Noise, link budget and rate are those of ``platoon.physics.radio``.
"""

import numpy as np
from numpy.typing import ArrayLike

from platoon.nouns import Bools, Floats

NEAREST_M = 1.0
"""The formulas are meant for antennas that are not one above the other."""
SHADOW_SIGMA_LOS_DB = 3.0
"""Of LOS and NLOSv."""
SHADOW_SIGMA_NLOS_DB = 4.0
SHADOW_DECORRELATION_LOS_M = 10.0
SHADOW_DECORRELATION_NLOS_M = 13.0
"""Of NLOS and NLOSv."""
BLOCKER_HEIGHT_M = 1.6
"""Height of a passenger car; lorries (3 m) are none of this fleet."""


def compute_clear_probability(distance_m: ArrayLike) -> Floats:
    """Probability that no vehicle stands between two devices of one street: min(1, 1.05 exp(-0.0114 d)).

    >>> compute_clear_probability([0.0, 100.0]).round(3).tolist()
    [1.0, 0.336]
    """
    distance: Floats = np.asarray(distance_m, dtype=np.float64)
    return np.minimum(1.0, 1.05 * np.exp(-0.0114 * distance))


def compute_street_loss_db(distance_m: ArrayLike, carrier_ghz: float) -> Floats:
    """Path loss along a street, dB (LOS; in NLOSv ``compute_blockage_db`` comes on top)."""
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), NEAREST_M)
    return np.asarray(38.77 + 16.7 * np.log10(distance) + 18.2 * float(np.log10(carrier_ghz)))


def compute_corner_loss_db(distance_m: ArrayLike, carrier_ghz: float) -> Floats:
    """Path loss between streets, dB: buildings stand between (NLOS)."""
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), NEAREST_M)
    return np.asarray(36.85 + 30.0 * np.log10(distance) + 18.9 * float(np.log10(carrier_ghz)))


def compute_blockage_db(
    distance_m: ArrayLike, low_antenna_m: ArrayLike, high_antenna_m: ArrayLike, normal: ArrayLike
) -> Floats:
    """Loss by a vehicle between two antennas, dB; the shapes of the arguments broadcast.

    Nothing where both antennas are above it; else log-normal with mean 9 dB and deviation 4.5 dB where both are
    below it, 5 and 4 dB where one is, and more mean far away. ``normal``: the unit normal value that decides.
    """
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), NEAREST_M)
    low, high = np.asarray(low_antenna_m, dtype=np.float64), np.asarray(high_antenna_m, dtype=np.float64)
    both_below: Bools = high < BLOCKER_HEIGHT_M
    mean = np.where(both_below, 9.0, 5.0) + np.maximum(0.0, 15.0 * np.log10(distance) - 41.0)
    spread = np.log1p(np.square(np.where(both_below, 4.5, 4.0) / mean))
    loss = mean * np.exp(np.sqrt(spread) * np.asarray(normal, dtype=np.float64) - spread / 2.0)
    return np.where(low > BLOCKER_HEIGHT_M, 0.0, loss)

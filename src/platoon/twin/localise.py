"""From what RSUs measured to position fixes, for a whole fleet at once."""

import numpy as np

from platoon.nouns import Floats
from platoon.twin.filter import Fixes


def take_positions(position: Floats, sigma_m: float) -> Fixes:
    """Fixes from positions (N, 2) that were measured as such, ``sigma_m`` per axis; NaN where not measured."""
    usable = np.asarray(np.isfinite(position).all(axis=1))
    covariance = np.broadcast_to(sigma_m**2 * np.eye(2), (len(position), 2, 2))
    gdop = np.full(len(position), np.sqrt(2.0))
    return Fixes(usable=usable, whole=usable, position=position, covariance=covariance, gdop=gdop)

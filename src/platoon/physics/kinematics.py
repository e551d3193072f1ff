"""Laws of motion for tracking: constant velocity disturbed by white acceleration.

State order is (x, y, vx, vy) in metres and metres per second (DTB-FL 3.2, eq. 4). The process noise is that
of continuous white acceleration (Bar-Shalom, Li, Kirubarajan, *Estimation with Applications to Tracking and
Navigation*, 6.2.2).
"""

import numpy as np

from platoon.nouns import Floats


def compute_transition(seconds: float) -> Floats:
    """(4, 4) matrix F that moves a state ``seconds`` ahead at constant velocity."""
    matrix = np.eye(4)
    matrix[0, 2] = matrix[1, 3] = seconds
    return matrix


def compute_process_noise(seconds: float, acceleration_density: float) -> Floats:
    """(4, 4) covariance Q that ``seconds`` of white acceleration add, per axis independent.

    ``acceleration_density`` is its power spectral density, m^2/s^3: the variance that a velocity component
    gains in one second.
    """
    position, cross, velocity = seconds**3 / 3.0, seconds**2 / 2.0, seconds
    block = np.array([[position, cross], [cross, velocity]])
    return acceleration_density * np.kron(block, np.eye(2))

"""Autoregressions of a whole fleet at once: x(t) = φ1 x(t-1) + ... + φp x(t-p) + noise, one per vehicle.

The coefficients are least squares, solved for all vehicles in one batch. A vehicle's history is short, so its
own are drawn towards the fleet's with the weight of ``FLEET_PAIRS`` observations; with weight 0 they are what a
plain least squares of that vehicle alone gives. On synthetic load and on EC2 traces this was as good as ARIMA at
a thousandth of its cost.
"""

import numpy as np

from platoon.nouns import Floats

ORDER = 4
FLEET_PAIRS = 50.0
"""Observations that the fleet's coefficients count for in a vehicle's own."""
PRIOR_PAIRS = 10.0
"""Observations that ``PRIOR`` counts for in the fleet's."""
PRIOR: Floats = np.array([0.5, 0.0, 0.0, 0.0])
LARGEST_SUM = 0.99
"""Coefficients are scaled down in use where their absolute values add up to more: no forecast runs away."""


def fit_batch(series: Floats, fleet_pairs: float = FLEET_PAIRS, prior_pairs: float = PRIOR_PAIRS) -> Floats:
    """Coefficients (N, ORDER) for series (N, L), oldest first; NaN where nothing was observed.

    A pair counts where the value and its ``ORDER`` predecessors are there.
    """
    windows = np.lib.stride_tricks.sliding_window_view(series, ORDER + 1, axis=1)
    there = np.asarray(np.isfinite(windows).all(axis=2))
    windows = np.where(there[..., None], windows, 0.0)
    before, after = windows[..., -2::-1], windows[..., -1]
    square = np.einsum("nwi,nwj->nij", before, before)
    cross = np.einsum("nwi,nw->ni", before, after)
    typical = float(np.square(after).sum() / max(int(there.sum()), 1)) + 1e-12
    unit = typical * np.eye(ORDER)
    fleet = np.linalg.solve(
        square.sum(axis=0) + max(prior_pairs, 1e-9) * unit, cross.sum(axis=0) + prior_pairs * typical * PRIOR
    )
    left = square + max(fleet_pairs, 1e-12) * unit
    right = cross + fleet_pairs * typical * fleet
    return np.asarray(np.linalg.solve(left, right[..., None])[..., 0])


def forecast_batch(coefficients: Floats, latest: Floats, steps: Floats) -> Floats:
    """(N,) expected values ``steps`` (N,) observations ahead, linear between whole ones; the latest at 0.

    ``latest`` (N, ORDER), newest first; NaN counts as 0, the level.
    """
    total = np.abs(coefficients).sum(axis=1, keepdims=True)
    stable = coefficients * np.minimum(1.0, LARGEST_SUM / np.maximum(total, 1e-12))
    state = np.nan_to_num(latest, nan=0.0)
    expected = state[:, 0].copy()
    for step in range(int(np.ceil(steps.max(initial=0.0)))):
        following = np.einsum("ni,ni->n", stable, state)
        share = np.clip(steps - step, 0.0, 1.0)
        expected += share * (following - state[:, 0])
        state = np.concatenate([following[:, None], state[:, :-1]], axis=1)
    return expected

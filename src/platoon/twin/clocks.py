"""How far the clocks of the RSUs are off, from the reference signals that they time among each other.

Every RSU's clock error is a random walk that GPS pulls back (a first-order autoregression). RSU i sends at a time
that it knows, j hears it a known flight time later: the difference is clock j less clock i. A Kalman filter over
all clocks takes in every such pair at once. What all clocks share no difference can tell, and none needs to:
arrival times at RSUs are only compared with each other.
"""

from dataclasses import dataclass

import numpy as np

from platoon.nouns import SECOND, Floats, Instant
from platoon.physics.radio import METRES_PER_NS
from platoon.scenario import Radio

GATE = 36.0
"""Squared innovation over its variance beyond which a timed pair is an outlier."""
JUMP_M = 1e4
"""Spread of a clock that has jumped, metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Belief about the clocks (R), in metres that light goes."""

    at: Instant
    ahead_m: Floats
    """(R,) how far each clock is ahead."""
    covariance: Floats
    """(R, R) of its error, square metres."""


def start_clocks(radio: Radio, rsus: int) -> Clocks:
    """Nothing timed yet: GPS alone holds the clocks."""
    sigma_m = radio.clock_sigma_ns * METRES_PER_NS
    return Clocks(at=Instant(0), ahead_m=np.zeros(rsus), covariance=sigma_m**2 * np.eye(rsus))


def apply_references(clocks: Clocks, radio: Radio, at: Instant, rsus: Floats, reference_ns: Floats) -> Clocks:
    """The belief after the reference signals ``reference_ns`` (R, R) of RSUs at (R, 2); NaN: not timed."""
    sigma_m = radio.clock_sigma_ns * METRES_PER_NS
    kept = float(np.exp(-(at - clocks.at) / SECOND / radio.clock_memory_s))
    ahead = kept * clocks.ahead_m
    covariance = kept**2 * clocks.covariance + (1.0 - kept**2) * sigma_m**2 * np.eye(len(rsus))
    timed = np.isfinite(reference_ns)
    if timed.any() and sigma_m > 0.0:
        ahead, covariance = _correct(radio, ahead, covariance, rsus, np.where(timed, reference_ns, np.nan))
    return Clocks(at=at, ahead_m=ahead, covariance=covariance)


def compute_spread(clocks: Clocks) -> Floats:
    """(R,) variance that each clock's error adds to an arrival time, square metres: half of that of its difference
    to the others, by the median, so that one clock that nobody hears makes no other one doubtful."""
    own, count = np.diag(clocks.covariance), len(clocks.ahead_m)
    if count == 1:
        return np.zeros(1)
    mutual = own[:, None] + own[None, :] - 2.0 * clocks.covariance
    others = mutual[~np.eye(count, dtype=np.bool_)].reshape(count, count - 1)
    return np.maximum(np.median(others, axis=1) / 2.0, 0.0)


def _correct(
    radio: Radio, ahead: Floats, covariance: Floats, rsus: Floats, reference_ns: Floats
) -> tuple[Floats, Floats]:
    """Kalman correction in information form: sums over all pairs."""
    noise = (radio.arrival_sigma_ns * METRES_PER_NS) ** 2
    apart: Floats = rsus[:, None, :] - rsus[None, :, :]
    gap = reference_ns * METRES_PER_NS - np.hypot(apart[..., 0], apart[..., 1])
    pairs, covariance = _gate(gap - (ahead[None, :] - ahead[:, None]), covariance, noise)
    gap = np.where(pairs > 0.0, gap, 0.0)
    links = pairs + pairs.T
    before = np.linalg.inv(covariance)
    information = before + (np.diag(links.sum(axis=1)) - links) / noise
    total = before @ ahead + (gap.sum(axis=0) - gap.sum(axis=1)) / noise
    after = np.linalg.inv(information)
    after = (after + after.T) / 2.0
    return after @ total, after


def _gate(innovation: Floats, covariance: Floats, noise: float) -> tuple[Floats, Floats]:
    """Which pairs count (R, R), and the covariance with the clocks that have jumped set free.

    A pair far off the belief is an outlier. A clock most of whose pairs are has jumped: nothing is believed of it.
    """
    own = np.diag(covariance)
    variance = own[:, None] + own[None, :] - 2.0 * covariance + noise
    timed = np.isfinite(innovation)
    far = timed & (np.square(np.where(timed, innovation, 0.0)) > GATE * variance)
    count = timed.sum(axis=0) + timed.sum(axis=1)
    jumped = 2 * (far.sum(axis=0) + far.sum(axis=1)) > count
    free = np.where(jumped[:, None] | jumped[None, :], 0.0, covariance)
    free[jumped, jumped] = JUMP_M**2
    counts = timed & (~far | jumped[:, None] | jumped[None, :])
    return counts.astype(np.float64), free

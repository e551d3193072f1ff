"""Will the update arrive in time, and when: DTB-FL's eq. 9 with forecasts in it, and its training-time predictor.

The time of a vehicle is computation, C |D| epochs / f, then its bits at the rates forecast along its way. Rates
are uncertain through the link and through the position, so the sum is taken at a few quadrature nodes of each;
a node counts as finished by how far its deliverable bits exceed the update. Two things are then learned from
outcomes timed at the edge server (Algorithm 2, phase 6), every ``refine_every`` rounds: a two-parameter
recalibration of the probability (Platt 1999; monotone, so it reorders nobody), and a linear predictor of
the duration from its two parts.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import Bools, Floats

CPU_NODES: Floats = np.array([-1.0, 1.0])
"""Gauss-Hermite nodes with 2 points, for the processor."""
SOFTNESS = 0.3
"""Logistic width in log(deliverable bits / bits): what the grid of nodes cannot resolve."""
FEWEST_OUTCOMES = 20
"""Outcomes before the first refit."""
MEMORY = 2_000
"""Outcomes that are remembered: the latest."""
RIDGE = 10.0
"""Outcomes that "as it stands" counts for in a refit."""
SLOPE = (0.2, 5.0)
"""Bounds of the recalibration's slope and of both factors of the duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every vehicle would have to do in a round."""

    samples: Floats
    """(N,) samples of the local data set."""
    epochs: int
    """Passes over them."""
    bits: float
    """Size of the update, bits."""
    wait_s: float = 0.0
    """Seconds from the forecast to the start of training, if times and deadline count from the forecast
    (the model's distribution, say)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Outcomes remembered (M, oldest first) and what was learned from them."""

    probability: Floats
    """(M,) forecast before recalibration."""
    arrived: Bools
    """(M,) what became of it."""
    parts: Floats
    """(M, 2) forecast seconds of computation and of upload."""
    seconds: Floats
    """(M,) measured; NaN where nothing arrived."""
    calibration: Floats
    """(2,) intercept and slope of the log odds; (0, 1) leaves them as they are."""
    duration: Floats
    """(3,) constant in seconds, factor of computation, factor of upload; (0, 1, 1) leaves the sum as it is."""


def start_experience() -> Experience:
    """Nothing happened yet."""
    return Experience(
        probability=np.zeros(0),
        arrived=np.zeros(0, dtype=bool),
        parts=np.zeros((0, 2)),
        seconds=np.zeros(0),
        calibration=np.array([0.0, 1.0]),
        duration=np.array([0.0, 1.0, 1.0]),
    )


def expect_finish(
    times: Floats, rate: Floats, weights: Floats, start_s: Floats, bits: float
) -> tuple[Floats, Floats]:
    """Probability (N,) that ``bits`` are through by ``times[-1]``, and expected upload seconds (N,) if so.

    ``times`` (T,) seconds, ascending, from before any start; ``rate`` (T, Q, N) bit/s at the nodes of each future,
    taken as linear in between; ``weights`` (Q, N) of the nodes; ``start_s`` (C, N) end of computation at the
    processor's nodes. The probability falls as ``bits`` or ``start_s`` grow.
    """
    steps = np.diff(times)[:, None, None]
    through = np.zeros_like(rate)
    np.cumsum((rate[1:] + rate[:-1]) * (steps / 2), axis=0, out=through[1:])
    probability, seconds = np.zeros(rate.shape[-1]), np.zeros(rate.shape[-1])
    for start in start_s:
        before = _interpolate(times, through, start)
        enough = np.maximum(through[-1] - before, 0.0) / bits
        with np.errstate(divide="ignore", over="ignore"):
            share = weights / (1.0 + enough ** (-1.0 / SOFTNESS))
        upload = np.maximum(_invert(times, through, before + bits) - start, 0.0)
        probability += share.sum(axis=0) / len(start_s)
        seconds += (share * upload).sum(axis=0) / len(start_s)
    possible = probability > 1e-9
    left = np.maximum(times[-1] - start_s.mean(axis=0), 0.0)
    mean = np.where(possible, seconds / np.where(possible, probability, 1.0), left)
    return np.clip(probability, 0.0, 1.0), mean


def recalibrate(experience: Experience, probability: Floats) -> Floats:
    """Probability after what was learned: log odds times slope plus intercept. Certainties stay certain."""
    intercept, slope = experience.calibration
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    odds = intercept + slope * np.log(inside / (1 - inside))
    certain = (probability <= 0.0) | (probability >= 1.0)
    return np.where(certain, probability, 1.0 / (1.0 + np.exp(-odds)))


def expect_seconds(experience: Experience, compute_s: Floats, upload_s: Floats) -> Floats:
    """Expected seconds from dispatch to arrival after what was learned of durations."""
    constant, compute, upload = experience.duration
    return np.asarray(constant + compute * compute_s + upload * upload_s)


def remember(
    experience: Experience, probability: Floats, arrived: Bools, parts: Floats, seconds: Floats
) -> Experience:
    """Add the outcomes of a round: of its cohort, or of those that were watched instead."""
    return replace(
        experience,
        probability=np.concatenate([experience.probability, probability])[-MEMORY:],
        arrived=np.concatenate([experience.arrived, arrived])[-MEMORY:],
        parts=np.concatenate([experience.parts, parts])[-MEMORY:],
        seconds=np.concatenate([experience.seconds, seconds])[-MEMORY:],
    )


def refine(experience: Experience) -> Experience:
    """Fit both again to all that is remembered; unchanged while there are fewer than ``FEWEST_OUTCOMES``."""
    if len(experience.arrived) < FEWEST_OUTCOMES:
        return experience
    return replace(experience, calibration=_fit_calibration(experience), duration=_fit_duration(experience))


def _fit_calibration(experience: Experience) -> Floats:
    """Ridge logistic regression of "arrived" on the log odds, drawn to (0, 1); Newton's method."""
    design = np.stack([np.ones(len(experience.arrived)), _log_odds(experience.probability)], axis=1)
    prior, fit = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    penalty = RIDGE * np.diag([0.25, 1.0])
    for _ in range(25):
        expected = 1.0 / (1.0 + np.exp(-np.clip(design @ fit, -30.0, 30.0)))
        gradient = design.T @ (experience.arrived - expected) - penalty @ (fit - prior)
        curvature = (design.T * (expected * (1 - expected))) @ design + penalty
        fit = fit + np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
    return np.array([fit[0], float(np.clip(fit[1], *SLOPE))])


def _fit_duration(experience: Experience) -> Floats:
    """Ridge least squares of the relative duration on its parts, drawn to (0, 1, 1)."""
    timed = np.isfinite(experience.seconds) & (experience.seconds > 0.0)
    parts, seconds = experience.parts[timed], experience.seconds[timed]
    prior = np.array([0.0, 1.0, 1.0])
    if len(seconds) < FEWEST_OUTCOMES:
        return prior
    design = np.column_stack([np.ones(len(seconds)), parts]) / seconds[:, None]
    left = design.T @ design + RIDGE * np.diag(np.mean(design**2, axis=0) + 1e-9)
    right = design.T @ (1.0 - design @ prior)
    fit = prior + np.linalg.solve(left, right)
    return np.array([max(fit[0], 0.0), *np.clip(fit[1:], *SLOPE)])


def _log_odds(probability: Floats) -> Floats:
    """Log odds, kept within those of 1e-4: a forecast of certainty must not weigh infinitely."""
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))


def _interpolate(times: Floats, through: Floats, at: Floats) -> Floats:
    """``through`` (T, Q, N), piecewise linear in ``times``, read at ``at`` (N,), held beyond the ends."""
    after = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    share = np.clip((at - times[after - 1]) / (times[after] - times[after - 1]), 0.0, 1.0)
    low = np.take_along_axis(through, after[None, None] - 1, axis=0)[0]
    high = np.take_along_axis(through, after[None, None], axis=0)[0]
    return np.asarray(low + share * (high - low))


def _invert(times: Floats, through: Floats, level: Floats) -> Floats:
    """Seconds at which ``through`` (T, Q, N), which never falls, reaches ``level`` (Q, N), or the end."""
    after = np.clip((through < level).sum(axis=0), 1, len(times) - 1)
    low = np.take_along_axis(through, after[None] - 1, axis=0)[0]
    high = np.take_along_axis(through, after[None], axis=0)[0]
    rise = high - low
    share = np.clip((level - low) / np.where(rise > 0.0, rise, 1.0), 0.0, 1.0)
    share = np.where(rise > 0.0, share, 1.0)
    return np.asarray(times[after - 1] + share * (times[after] - times[after - 1]))

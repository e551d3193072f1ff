"""When a junction lets whom pass, inferred from who was seen to pass it.

Lights repeat. The lags between passings of one junction, over all junctions, show by what cycle: vehicles of the
same street pass a whole number of cycles apart, those of the crossing street half-way between. Given the cycle,
each junction has a phase, which its last few passings tell; and over the phase it shows how many vehicles pass
rolling and how many start from a stand, on the one street and on the other. All of it is learned from the traffic;
where no cycle shows (no lights, or each with a cycle of its own) ``cycle_s`` stays 0, and waits are drawn from
those seen.
"""

from dataclasses import dataclass, replace

import numpy as np

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints

LAGS = 240
"""Lags that are counted, seconds."""
EVENTS = 6
"""Passings that a junction remembers."""
BINS = 44
"""Of a cycle."""
CYCLES: Floats = np.arange(12.0, 130.0, 0.1)
"""Cycles that are tried, seconds."""
SIGNIFICANCE = 8.0
"""Standard deviations by which a cycle must stand out of chance."""
MEMORY = 0.98
"""Share of what is known of a phase that lasts a cycle."""
STEADY = 0.05
"""A cycle that is found anew and is this near to the one before is the same."""
WAITS = 90
"""Bins of a second of the waits seen."""
PRIOR_PASSINGS = 20.0
"""Passings that the first guess counts for."""

_ANGLES = 2 * np.pi * np.arange(LAGS) / CYCLES[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known of J junctions."""

    at: Ints
    """(J, EVENTS) instants of the last passings, microseconds, latest first; -1 where there is none."""
    axis: Ints
    """(J, EVENTS) street: 0 or 1."""
    started: Ints
    """(J, EVENTS) 1 for who had stood before, 0 for who came rolling."""
    lags: Floats
    """(2, LAGS) pairs of passings of one junction, of the same street and of crossing ones, by seconds between."""
    cycle_s: float
    """0 while none is established."""
    profile: Floats
    """(2, 2, BINS) passings rolling and from a stand, on street 0 and 1, by phase."""
    waits: Floats
    """(WAITS,) seconds lost by those who stood, in the approach, counted."""
    rolled: float
    """Passings without a stand."""


def start_profile() -> Floats:
    """(2, 2, BINS) a first guess: one street, then the other; who had stood goes before who rolls on."""
    turn = 2 * np.pi * (np.arange(BINS) + 0.5) / BINS
    wave = np.maximum(np.cos(turn), 0.02)
    rolling = np.stack([wave, np.roll(wave, BINS // 2)])
    start = np.roll(rolling, -BINS // 5, axis=1)
    profile = np.stack([rolling, start])
    return np.asarray(PRIOR_PASSINGS * profile / profile.sum(axis=2, keepdims=True))


def start_signals(junctions: int) -> Signals:
    """Nobody has passed."""
    return Signals(
        at=np.full((junctions, EVENTS), -1),
        axis=np.zeros((junctions, EVENTS), dtype=np.int64),
        started=np.zeros((junctions, EVENTS), dtype=np.int64),
        lags=np.zeros((2, LAGS)),
        cycle_s=0.0,
        profile=start_profile(),
        waits=np.ones(WAITS) / WAITS,
        rolled=1.0,
    )


def learn_passings(signals: Signals, node: Ints, at: Ints, axis: Ints, started: Bools) -> Signals:
    """The signals after C passings of junctions ``node`` at instants ``at``."""
    lag = (at[:, None] - signals.at[node]) / SECOND
    pairs = (signals.at[node] >= 0) & (lag >= 0.0) & (lag < LAGS - 1)
    lags = signals.lags.copy()
    other = (axis[:, None] != signals.axis[node]).astype(np.int64)
    np.add.at(lags, (other[pairs], np.rint(lag[pairs]).astype(np.int64)), 1.0)
    profile = signals.profile
    if signals.cycle_s > 0.0:
        profile = profile.copy()
        phase = find_phases(signals, node, at)
        known = (signals.at[node] >= 0).sum(axis=1) >= 2
        np.add.at(profile, (started[known].astype(np.int64), axis[known]), phase[known])
    columns = [signals.at.copy(), signals.axis.copy(), signals.started.copy()]
    for column, value in zip(columns, (at, axis, started), strict=True):
        column[node, 1:] = column[node, :-1]
        column[node, 0] = value
    return replace(signals, at=columns[0], axis=columns[1], started=columns[2], lags=lags, profile=profile)


def find_cycle(signals: Signals) -> Signals:
    """The signals with the cycle that the lags show."""
    excess, total = signals.lags[0] - signals.lags[1], signals.lags.sum()
    score = np.cos(_ANGLES) @ excess
    best = int(score.argmax())
    significant = score[best] > SIGNIFICANCE * np.sqrt(max(total, 1.0) / 2)
    cycle = float(CYCLES[best]) if significant else 0.0
    steady = cycle == 0.0 or abs(cycle - signals.cycle_s) < STEADY * cycle
    profile = (
        signals.profile if steady else start_profile()
    )  # phases of another cycle mean nothing in this one
    return replace(signals, cycle_s=cycle, profile=profile)


def find_phases(signals: Signals, node: Ints, at: Ints | Instant) -> Floats:
    """(C, BINS) probability of each phase of junctions ``node`` (C,) at instants ``at``."""
    likelihood = _likelihoods(signals)
    events = signals.at[node]
    age = (np.asarray(at)[..., None] - events) / SECOND / signals.cycle_s
    memory = np.where(events >= 0, MEMORY ** np.maximum(age, 0.0), 0.0)
    shift = np.rint(age * BINS).astype(np.int64)
    bins = (np.arange(BINS) - shift[..., None]) % BINS
    seen = likelihood[signals.started[node][..., None], signals.axis[node][..., None], bins]
    log = np.log(1.0 + memory[..., None] * (seen - 1.0)).sum(axis=1)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def find_open(signals: Signals) -> Floats:
    """(2, BINS) share of vehicles, in [0, 1], that roll over from street 0 and 1 if they come in that phase."""
    passing = _smooth(signals.profile[0])
    return np.clip(passing / np.quantile(passing, 0.85, axis=1, keepdims=True), 0.0, 1.0)


def _likelihoods(signals: Signals) -> Floats:
    smooth = _smooth(signals.profile)
    likelihood: Floats = smooth / smooth.mean(axis=-1, keepdims=True)
    return likelihood


def _smooth(profile: Floats) -> Floats:
    smooth: Floats = (np.roll(profile, 1, axis=-1) + 2 * profile + np.roll(profile, -1, axis=-1)) / 4
    return smooth

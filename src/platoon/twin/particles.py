"""Where vehicles may be in a while: particles that drive along the road graph as the traffic was seen to.

A particle goes from junction to junction. On its road it drives at the vehicle's own pace; there it takes a turn,
passes or waits as the signal's phase has it, and loses the seconds that turning and starting cost. Every stage is
computed as a whole, with no steps of time. All vehicles use the same dice (a Latin hypercube), so a forecast
depends on nothing but what is believed, and few particles do the work of many. Where no road follows they stay.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from platoon.nouns import SECOND, Bools, Floats, Instant, Ints
from platoon.rng import stream
from platoon.twin import habits as learned
from platoon.twin import signals as lights
from platoon.twin.habits import Habits
from platoon.twin.matching import Matches
from platoon.twin.ways import STRAIGHT, Ways

STAGES = 24
"""Junctions that a particle passes at most."""
DICE = 3
"""A turn, a phase and a pass at each junction."""
STARTING_S = 2.5
"""Seconds in which a vehicle gets up to its pace."""
ACCELERATION = 2.5
"""m/s^2."""
BEFORE_LINE_M = 2.0
"""A waiting vehicle stands so far before the end of its road."""
PACE_SPREAD = 0.04
"""Relative standard deviation of a vehicle's speed on one road about its pace."""
RED_WEIGHT = 0.9
"""How far a vehicle standing in the approach is believed to stand at a red light."""
APPROACH_M = 30.0
"""Such a vehicle is at most so far before the end of its road, metres."""
LATE_START = 0.85
"""Share of a cycle beyond which the next start was just missed by an error of the phase: no wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Particles (P) of vehicles (M) at T moments."""

    position: Floats
    """(T, P, M, 2) metres."""
    rows: Ints
    """(T, P, M) nearest road sample."""
    travelled: Floats
    """(P, M) metres driven to the last moment."""
    turns: Floats
    """(P, M) a number in [0, 1) that orders the particles by their first turn, then by their second, and so on."""


def drive(ways: Ways, habits: Habits, own: Matches, *, at: Instant, ahead_s: Floats, dice: Floats) -> Drive:
    """Let the particles of ``own`` (M vehicles) drive on from where each was matched last.

    ``ahead_s`` (T,) seconds after ``at``, ascending; ``dice`` (2 STAGES, DICE, P) from ``throw_dice``.
    """
    fleet = _Fleet(ways, habits, own, at, dice)
    size = (len(ahead_s), dice.shape[2], len(own.edge))
    moments = np.tile(ahead_s[:, None] + fleet.age_s, (1, dice.shape[2]))
    record = _Record(
        moments,
        np.empty((*moments.shape, 2)),
        np.zeros_like(moments, dtype=np.int64),
        np.zeros(moments.shape[1]),
    )
    stage = fleet.start()
    turns, digit = stage.slot / (ways.follow.shape[1]), 1.0 / ways.follow.shape[1]
    for number in range(1, STAGES + 1):
        record.note(ways, stage)
        alive = stage.leaves_s <= moments[-1, stage.index]
        if not alive.any():
            break
        stage = fleet.follow(stage, alive, number)
        digit /= ways.follow.shape[1]
        turns[stage.index] += stage.slot * digit
    return Drive(
        position=record.position.reshape(*size, 2),
        rows=record.row.reshape(size),
        travelled=record.travelled.reshape(size[1:]),
        turns=turns.reshape(size[1:]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One road of each particle (A alive), from junction to junction."""

    index: Ints
    """(A,) place among all particles."""
    edge: Ints
    slot: Ints
    """(A,) successor that it will take."""
    enters_s: Floats
    """(A,) seconds at which it passes the junction before."""
    comes_s: Floats
    """(A,) at which it would pass the next if it need not wait."""
    leaves_s: Floats
    """(A,) at which it does."""
    start_m: Floats
    """(A,) offset at ``enters_s``; negative in the junction before."""
    slow_s: Floats
    """(A,) seconds lost at the start of the road."""
    gone_m: Floats
    """(A,) metres driven before."""
    behind: Floats
    """(A, 2) direction in which the junction before was crossed: a unit vector."""


@dataclass(frozen=True, slots=True)
class _Record:
    moments_s: Floats
    """(T, particles) seconds since the match of each."""
    position: Floats
    row: Ints
    travelled: Floats

    def note(self, ways: Ways, stage: _Stage) -> None:
        """Write down where the particles are at the moments that fall into this stage."""
        for moment, all_s in enumerate(self.moments_s):
            time = all_s[stage.index]
            here = np.flatnonzero((stage.enters_s <= time) & (time < stage.leaves_s))
            if len(here):
                self._write(ways, stage, here, moment, time[here])

    def _write(self, ways: Ways, stage: _Stage, here: Ints, moment: int, time_s: Floats) -> None:
        edge, index = stage.edge[here], stage.index[here]
        offset = _find_offset(ways, stage, here, time_s)
        self.travelled[index] = stage.gone_m[here] + offset - stage.start_m[here]
        inside = np.minimum(np.maximum(offset, 0.0), ways.length[edge])
        point, row = ways.locate(edge, inside)
        beyond = np.flatnonzero(offset > inside)
        onward = ways.direction[edge[beyond], stage.slot[here[beyond]]]
        point[beyond] += (offset[beyond] - inside[beyond])[:, None] * onward
        before = np.flatnonzero(offset < inside)
        point[before] += offset[before, None] * stage.behind[here[before]]
        self.position[moment, index] = point
        self.row[moment, index] = row


def _find_offset(ways: Ways, stage: _Stage, here: Ints, time_s: Floats) -> Floats:
    edge = stage.edge[here]
    start, line = stage.start_m[here], ways.line[edge]
    driving = np.maximum(stage.comes_s[here] - stage.enters_s[here], 1e-6)
    slow = np.minimum(stage.slow_s[here], 0.8 * driving)
    time = time_s - stage.enters_s[here]
    lost = slow * -np.expm1(-time / STARTING_S)
    share = np.minimum(np.maximum((time - lost) / np.maximum(driving - slow, 1e-6), 0.0), 1.0)
    waits = stage.leaves_s[here] > stage.comes_s[here] + 0.5
    stop = np.maximum(ways.length[edge] - BEFORE_LINE_M, start)
    end = np.where(waits, np.minimum(stop, line), line)
    return np.asarray(np.minimum(start + share * (line - start), np.maximum(end, start)))


class _Fleet:
    """What the particles of one forecast share."""

    def __init__(self, ways: Ways, habits: Habits, own: Matches, at: Instant, dice: Floats) -> None:
        self.ways, self.habits, self.own, self.at, self.dice = ways, habits, own, at, dice
        self.vehicles, self.particles = len(own.edge), dice.shape[2]
        self.age_s = (at - own.at) / SECOND
        self.losses = learned.expect_losses(habits)
        self.pace = learned.expect_pace(own)
        self.usual = ways.limit * learned.expect_flow(habits)
        self.waits = Waits(ways, habits.signals, own, at)

    def start(self) -> _Stage:
        """The rest of the road on which each vehicle is."""
        ways, own, count = self.ways, self.own, self.particles
        index = np.arange(count * self.vehicles)
        vehicle, particle = index % self.vehicles, index // self.vehicles
        share = learned.expect_turn_now(self.habits, ways, own)
        slot = _choose(share[vehicle], self.dice[0, 0][particle])
        edge = own.edge[vehicle]
        kind = ways.kind[edge, slot]
        speed = self._speed(edge, vehicle, particle)
        now = np.clip(own.speed[vehicle], 0.0, speed)
        start = np.minimum(own.offset[vehicle], ways.line[edge] - 0.1)
        slow = (speed - now) ** 2 / (2 * ACCELERATION * speed)
        brake = self.losses[STRAIGHT, 0, kind] - self.losses[STRAIGHT, 0, STRAIGHT]
        comes = (ways.line[edge] - start) / speed + slow + np.maximum(brake, 0.0)
        leaves = self._leave(edge, comes, vehicle, particle, 0)
        return _Stage(
            index=index,
            edge=edge,
            slot=slot,
            enters_s=np.zeros(len(index)),
            comes_s=comes,
            leaves_s=leaves,
            start_m=start,
            slow_s=slow,
            gone_m=np.zeros(len(index)),
            behind=ways.along[ways.first[edge]],
        )

    def follow(self, stage: _Stage, alive: Bools, number: int) -> _Stage:
        """The next road of the particles that are ``alive``."""
        ways = self.ways
        index, before, taken = stage.index[alive], stage.edge[alive], stage.slot[alive]
        vehicle, particle = index % self.vehicles, index // self.vehicles
        edge = np.maximum(ways.follow[before, taken], 0)
        came = ways.kind[before, taken]
        stood = (stage.leaves_s[alive] > stage.comes_s[alive] + 0.5).astype(np.int64)
        slot = _choose(learned.expect_turns(self.habits, ways, edge), self.dice[number, 0][particle])
        kind = ways.kind[edge, slot]
        start = -ways.entry[before, taken]
        speed = self._speed(edge, vehicle, particle)
        enters = stage.leaves_s[alive]
        comes = enters + (ways.line[edge] - start) / speed + self.losses[came, stood, kind]
        return _Stage(
            index=index,
            edge=edge,
            slot=slot,
            enters_s=enters,
            comes_s=comes,
            leaves_s=self._leave(edge, comes, vehicle, particle, number),
            start_m=start,
            slow_s=np.maximum(self.losses[came, stood, STRAIGHT], 0.0),
            gone_m=stage.gone_m[alive] + ways.line[before] - stage.start_m[alive],
            behind=ways.direction[before, taken],
        )

    def _speed(self, edge: Ints, vehicle: Ints, particle: Ints) -> Floats:
        spread = 1.0 + PACE_SPREAD * self.dice[0, 2][particle]
        return np.asarray(self.pace[vehicle] * spread * self.usual[edge])

    def _leave(self, edge: Ints, comes: Floats, vehicle: Ints, particle: Ints, number: int) -> Floats:
        """Seconds at which the particles pass the junction at the end of ``edge``; never where no road follows, nor
        at the last stage."""
        dice = self.dice[number, 1][particle], self.dice[number + STAGES, 1][particle]
        wait = self.waits.draw(edge, comes - self.age_s[vehicle], *dice)
        ends = (self.ways.follow[edge, 0] < 0) | (number == STAGES - 1)
        return np.where(ends, np.inf, comes + wait)


class Waits:
    """How long particles wait at junctions: by the phase where the cycle is known, else by the waits seen."""

    def __init__(self, ways: Ways, signals: lights.Signals, own: Matches, at: Instant) -> None:
        self.ways, self.signals, self.at = ways, signals, at
        self.passes = lights.find_open(signals)
        self.starts = np.cumsum(signals.profile[1], axis=1)
        self.waits = np.cumsum(signals.waits)
        self.stops = self.waits[-1] / (self.waits[-1] + signals.rolled)
        self.red = _find_red(ways, own)

    def draw(self, edge: Ints, comes_s: Floats, phase_die: Floats, pass_die: Floats) -> Floats:
        """Seconds (A,) of waiting at the end of roads ``edge`` (A,) for who comes ``comes_s`` (A,) from now."""
        lit = self.ways.node[edge] >= 0
        if self.signals.cycle_s > 0.0:
            wait = self._draw_by_phase(edge, comes_s, phase_die, pass_die)
        else:
            beyond = (phase_die - (1.0 - self.stops)) / self.stops
            wait = np.searchsorted(self.waits, beyond * self.waits[-1]) + 0.5
            wait = np.where(beyond > 0.0, wait, 0.0)
        return np.where(lit, wait, 0.0)

    def _draw_by_phase(self, edge: Ints, comes_s: Floats, phase_die: Floats, pass_die: Floats) -> Floats:
        """A phase of the junction, then whether it lets pass when the particle comes, else when it next does."""
        bins, axis = lights.BINS, self.ways.axis[edge]
        nodes, which = np.unique(np.maximum(self.ways.node[edge], 0), return_inverse=True)
        total = np.cumsum(self._find_phases(nodes), axis=1)[which]
        now = (total < phase_die[:, None] * total[:, -1:]).sum(axis=1)
        phase = (now + comes_s / self.signals.cycle_s * bins) % bins
        passes = pass_die < self.passes[axis, np.minimum(phase.astype(np.int64), bins - 1)]
        starts = self.starts[axis]
        start = (starts < (pass_die * 7.13 % 1.0)[:, None] * starts[:, -1:]).sum(axis=1)
        wait = (start - phase) % bins / bins
        return np.where(passes | (wait > LATE_START), 0.0, wait * self.signals.cycle_s)

    def _find_phases(self, nodes: Ints) -> Floats:
        """(C, BINS) belief of the phases of junctions ``nodes`` (C,), sorted; who stands there stands at red."""
        belief = lights.find_phases(self.signals, nodes, self.at)
        node, axis = self.red
        place = np.minimum(np.searchsorted(nodes, node), len(nodes) - 1)
        here = nodes[place] == node
        np.multiply.at(belief, place[here], 1.0 - RED_WEIGHT * self.passes[axis[here]])
        return belief


def _find_red(ways: Ways, own: Matches) -> tuple[Ints, Ints]:
    """Junction and street of every vehicle that stands in the approach to one."""
    rest = ways.length[own.edge] - own.offset
    stands = (own.stands_since >= 0) & (np.abs(rest) < APPROACH_M) & (ways.node[own.edge] >= 0)
    edge = own.edge[stands]
    return ways.node[edge], ways.axis[edge]


def _choose(share: Floats, die: Floats) -> Ints:
    """(A,) successor by probabilities (A, S)."""
    total = np.cumsum(share, axis=1)
    return np.asarray(np.minimum((total < die[:, None] * total[:, -1:]).sum(axis=1), share.shape[1] - 1))


def throw_dice(particles: int) -> Floats:
    """(2 STAGES, DICE, particles) in (0, 1): a Latin hypercube, the same for everybody and always.

    The third die is a standard normal's quantile instead.
    """
    even = (np.arange(particles) + 0.5) / particles
    rng = stream(0, "particles", particles)
    dice = np.array([rng.permutation(even) for _ in range(2 * STAGES * DICE)])
    dice = dice.reshape(2 * STAGES, DICE, particles)
    dice[:, 2] = ndtri(dice[:, 2])
    return dice

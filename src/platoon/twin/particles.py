"""Where vehicles may be in a while: particles that drive along the road graph as the traffic was seen to.

A particle goes from junction to junction. On its road it drives at the vehicle's own pace; there it takes a turn,
passes or waits as the signal's phase has it, and loses the seconds that turning and starting cost. Every stage is
computed as a whole, with no steps of time. All vehicles use the same dice (a Latin hypercube), so a forecast
depends on nothing but what is believed of the vehicle, and 32 particles do the work of some hundred.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Particles (P) of vehicles (M) at T moments."""

    position: Floats
    """(T, P, M, 2) metres."""
    row: Ints
    """(T, P, M) nearest road sample."""
    travelled: Floats
    """(T, P, M) metres driven."""
    turn: Ints
    """(P, M) the first turn: which successor."""


def drive(ways: Ways, habits: Habits, own: Matches, at: Instant, ahead_s: Floats, particles: int) -> Drive:
    """Let ``particles`` of every vehicle of ``own`` (M) drive on from where it is believed to be at ``at``."""
    fleet = _Fleet(ways, habits, own, at, particles)
    shape = (len(ahead_s), particles * len(own.edge))
    drive = _Record(ahead_s, np.empty((*shape, 2)), np.zeros(shape, dtype=np.int64), np.zeros(shape))
    stage = fleet.start()
    first = stage.slot
    for number in range(1, STAGES):
        drive.note(ways, stage)
        alive = stage.leaves_s < ahead_s[-1]
        if not alive.any():
            break
        stage = fleet.follow(stage, alive, number)
    size = (len(ahead_s), particles, len(own.edge))
    return Drive(
        position=drive.position.reshape(*size, 2),
        row=drive.row.reshape(size),
        travelled=drive.travelled.reshape(size),
        turn=first.reshape(size[1:]),
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
    before: Ints
    """(A,) the road before, where the start is negative."""


@dataclass(frozen=True, slots=True)
class _Record:
    ahead_s: Floats
    position: Floats
    row: Ints
    travelled: Floats

    def note(self, ways: Ways, stage: _Stage) -> None:
        """Write down where the particles are at the moments that fall into this stage."""
        for moment, ahead in enumerate(self.ahead_s):
            here = np.flatnonzero((stage.enters_s <= ahead) & (ahead < stage.leaves_s))
            if len(here):
                self._write(ways, stage, here, moment, float(ahead))

    def _write(self, ways: Ways, stage: _Stage, here: Ints, moment: int, ahead: float) -> None:
        edge, index = stage.edge[here], stage.index[here]
        offset = _find_offset(ways, stage, here, ahead)
        self.travelled[moment, index] = stage.gone_m[here] + offset - stage.start_m[here]
        inside = np.clip(offset, 0.0, ways.length[edge])
        point, row = ways.locate(edge, inside)
        over = offset - inside
        point += over[:, None] * ways.along[row]
        self.position[moment, index] = point
        self.row[moment, index] = row


def _find_offset(ways: Ways, stage: _Stage, here: Ints, ahead: float) -> Floats:
    edge = stage.edge[here]
    start, line = stage.start_m[here], ways.line[edge]
    driving = np.maximum(stage.comes_s[here] - stage.enters_s[here], 1e-6)
    slow = np.minimum(stage.slow_s[here], 0.8 * driving)
    time = ahead - stage.enters_s[here]
    lost = slow * -np.expm1(-time / STARTING_S)
    share = np.clip((time - lost) / np.maximum(driving - slow, 1e-6), 0.0, 1.0)
    waits = stage.leaves_s[here] > stage.comes_s[here] + 0.5
    stop = np.maximum(ways.length[edge] - BEFORE_LINE_M, start)
    end = np.where(waits, np.minimum(stop, line), line)
    return np.minimum(start + share * (line - start), np.maximum(end, start))


class _Fleet:
    """What the particles of one forecast share."""

    def __init__(self, ways: Ways, habits: Habits, own: Matches, at: Instant, particles: int) -> None:
        self.ways, self.habits, self.own, self.at, self.particles = ways, habits, own, at, particles
        self.vehicles = len(own.edge)
        self.dice = throw_dice(particles)
        self.losses = learned.expect_losses(habits)
        self.pace = learned.expect_pace(own)
        self.red = _find_red(ways, own, at)
        self.opening = _Opening(habits.signals)

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
            before=edge,
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
            before=before,
        )

    def _speed(self, edge: Ints, vehicle: Ints, particle: Ints) -> Floats:
        spread = 1.0 + PACE_SPREAD * self.dice[0, 2][particle]
        return np.asarray(self.pace[vehicle] * spread * self.ways.limit[edge])

    def _leave(self, edge: Ints, comes: Floats, vehicle: Ints, particle: Ints, number: int) -> Floats:
        """Seconds at which the particles pass the junction at the end of ``edge``."""
        node = self.ways.node[edge]
        die = self.dice[number, 1][particle], self.dice[number + STAGES, 1][particle]
        return self.opening.leave(self.red, node, self.ways.axis[edge], self.at, comes, die)


class _Opening:
    """When a junction lets a particle pass: by the phase where the cycle is known, else by the waits seen."""

    def __init__(self, signals: lights.Signals) -> None:
        self.signals = signals
        rolling = lights._smooth(signals.profile[0])
        self.passes = np.clip(rolling / np.quantile(rolling, 0.85, axis=1, keepdims=True), 0.0, 1.0)
        start = np.cumsum(signals.profile[1], axis=1)
        self.starts = start / start[:, -1:]
        waits = np.cumsum(signals.waits)
        self.waits = waits / waits[-1]
        self.stops = signals.waits.sum() / (signals.waits.sum() + signals.rolled)

    def leave(
        self,
        red: tuple[Ints, Ints, Floats],
        node: Ints,
        axis: Ints,
        at: Instant,
        comes: Floats,
        die: tuple[Floats, Floats],
    ) -> Floats:
        lit = node >= 0
        if not self.signals.cycle_s > 0.0:
            wait = np.searchsorted(self.waits, (die[0] - 1 + self.stops) / self.stops) + 0.5
            return comes + np.where(lit & (die[0] > 1 - self.stops), wait, 0.0)
        bins, cycle = lights.BINS, self.signals.cycle_s
        nodes, which = np.unique(np.maximum(node, 0), return_inverse=True)
        belief = lights.find_phases(self.signals, nodes, at)
        place = np.searchsorted(nodes, red[0])
        hit = (place < len(nodes)) & (nodes[np.minimum(place, len(nodes) - 1)] == red[0])
        closed = 1.0 - RED_WEIGHT * self.passes[red[1]]
        np.multiply.at(belief, place[hit], closed[hit] ** red[2][hit, None])
        total = np.cumsum(belief, axis=1)
        phase = (total[which] < die[0][:, None] * total[which][:, -1:]).sum(axis=1)
        phase = (phase + comes / cycle * bins) % bins
        here = np.minimum(phase.astype(np.int64), bins - 1)
        passes = die[1] < self.passes[axis, here]
        start = (self.starts[axis] < ((die[1] * 7.13) % 1.0)[:, None]).sum(axis=1)
        wait = ((start - phase) % bins) / bins
        wait = np.where(wait > 0.85, 0.0, wait) * cycle
        return comes + np.where(lit & ~passes, wait, 0.0)


def _find_red(ways: Ways, own: Matches, at: Instant) -> tuple[Ints, Ints, Floats]:
    """Junction, street and weight of every vehicle that stands in the approach to a junction now."""
    rest = ways.length[own.edge] - own.offset
    stands = (own.stands_since >= 0) & (rest < APPROACH_M) & (rest > -5.0) & (ways.node[own.edge] >= 0)
    rows = np.flatnonzero(stands)
    edge = own.edge[rows]
    return ways.node[edge], ways.axis[edge], np.ones(len(rows))


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

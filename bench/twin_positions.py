"""Position forecasts on the pinned scenario: mean error in metres at some horizons, beside peers, and their limits.

The twin sees what the world measures once a second; every ``EVERY_S`` after ``LEARNING_S`` it forecasts all that
it knows, and each forecast is held against where the vehicle then truly is (while on the road).
Peers, from the same filtered tracks: "the vehicle stands still", constant velocity, and DTB-FL's constant velocity
with projection on the road to 30 s.

What limits the forecast is told by many particles, of which those are kept that agree with one thing of the truth:
the road on which the vehicle is at the horizon (its turns), or the metres that it drove until then (its stops).
The same is measured with lights of a fixed programme, as the research page had them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.rows import Row
from bench.twin_world import SEEDS, load, over_seeds, start_world
from platoon import Scenario
from platoon.nouns import Bools, Floats, Ints, seconds
from platoon.twin.filter import predict_positions
from platoon.twin.matching import take
from platoon.twin.particles import drive, throw_dice
from platoon.twin.places import POSITION_FORECASTS, Asked, find_geometric_median
from platoon.twin.twin import Twin
from platoon.world.world import World

HORIZONS_S: Floats = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0])
METHODS = ("particles", "standing still", "constant velocity", "as written")
LEARNING_S, EVERY_S, LAST_S = 600, 15, 1_140
FIXED = {"roads.signals": "static"}
LIMITED_S = (10, 30)
KNOWN = ("nothing", "road", "metres", "road and metres")
MANY = 256
CLOSEST = 0.05
"""Share of the particles that are kept as those whose metres are nearest to the truth."""


def measure() -> list[Row]:
    """Rows ``position_mae_<horizon>s_m`` (peer: constant velocity), of the other peers, and of the limits."""
    found = np.array([follow(seed) for seed in SEEDS])  # (seeds, methods, horizons)
    rows = []
    for column, horizon in enumerate(HORIZONS_S):
        mine, still, constant, written = found[:, :, column].T.tolist()
        name = f"position_mae_{horizon:.0f}s_m"
        rows.append(over_seeds(name, mine, "m", METHODS[2], constant))
        rows.append(over_seeds(f"{name}_standing_still", still, "m"))
        rows.append(over_seeds(f"{name}_as_written", written, "m"))
    return rows + measure_fixed() + measure_limits()


def measure_fixed() -> list[Row]:
    """The same at two horizons with lights of a fixed programme; peer: standing still."""
    found = np.array([follow(seed, FIXED) for seed in SEEDS])
    columns = [int(np.searchsorted(HORIZONS_S, horizon)) for horizon in LIMITED_S]
    return [
        over_seeds(
            f"position_mae_{HORIZONS_S[column]:.0f}s_m_fixed_signals",
            found[:, 0, column].tolist(),
            "m",
            METHODS[1],
            found[:, 1, column].tolist(),
        )
        for column in columns
    ]


def measure_limits() -> list[Row]:
    """Error of what is announced by ``MANY`` particles, and by those of them that agree with the truth."""
    found = np.array([limit(seed) for seed in SEEDS])  # (seeds, horizons, known)
    return [
        over_seeds(
            f"position_mae_{horizon}s_m_known_{known}".replace(" ", "_"), found[:, row, column].tolist(), "m"
        )
        for row, horizon in enumerate(LIMITED_S)
        for column, known in enumerate(KNOWN)
    ]


@dataclass(frozen=True, slots=True)
class Instant:
    """The twin and the truth, second by second."""

    second: int
    twin: Twin
    position: Floats
    present: Bools


def watch(scenario: Scenario) -> Iterator[Instant]:
    """Let the twin see the whole recording."""
    world: World = start_world(scenario)
    twin = Twin(scenario, world.road_map, world.rsus)
    for second in range(LAST_S + int(HORIZONS_S[-1])):
        world.advance(seconds(second))
        twin.observe(world.measure())
        yield Instant(second, twin, world.positions(), world.present())
    world.close()


def follow(seed: int, overrides: dict[str, Any] | None = None) -> Floats:
    """(methods, horizons) mean errors, metres."""
    waiting: dict[int, list[tuple[int, Floats, Bools]]] = {}
    sums, counts = np.zeros((len(METHODS), len(HORIZONS_S))), np.zeros(len(HORIZONS_S))
    for now in watch(load(seed, overrides)):
        for column, forecast, known in waiting.pop(now.second, []):
            both = known & now.present
            error = np.hypot(*np.moveaxis(forecast - now.position, -1, 0))
            sums[:, column] += error[:, both].sum(axis=1)
            counts[column] += both.sum()
        if LEARNING_S <= now.second < LAST_S and now.second % EVERY_S == 0:
            forecasts, known = forecast_all(now.twin)
            for column, horizon in enumerate(HORIZONS_S):
                due = now.second + int(horizon)
                waiting.setdefault(due, []).append((column, forecasts[:, column], known))
    return np.asarray(sums / counts)


def forecast_all(twin: Twin) -> tuple[Floats, Bools]:
    """(methods, horizons, N, 2) positions, and who is known (N,)."""
    tracks = twin._belief.tracks
    known = np.flatnonzero(tracks.known)
    still = np.broadcast_to(tracks.position, (len(HORIZONS_S), *tracks.position.shape))
    asked = Asked(traffic=twin._belief.traffic, tracks=tracks, who=known, ahead_s=HORIZONS_S)
    mine, written = still.copy(), still.copy()
    mine[:, known] = twin._foresight.foresee(asked).mean
    written[:, known] = POSITION_FORECASTS["as_written"](twin._foresight, asked).mean
    constant, _ = predict_positions(tracks, HORIZONS_S, np.inf)
    return np.array([mine, still, constant, written]), tracks.known


def limit(seed: int) -> Floats:
    """(horizons, known) mean errors, metres, of vehicles that were heard at both ends."""
    instants = list(watch_roads(load(seed)))
    sums, count = np.zeros((len(LIMITED_S), len(KNOWN))), 0
    gone = np.cumsum([moved for _, _, moved, _ in instants], axis=0)
    for now in range(LEARNING_S, LAST_S, 60):
        _, _, _, asked = instants[now]
        assert asked is not None
        for row, horizon in enumerate(LIMITED_S):
            position, road, _, _ = instants[now + horizon]
            metres = gone[now + horizon] - gone[now]
            sums[row] += judge(asked[row], position, road, metres)
        count += len(position)
    return sums / count


Driven = tuple[Floats, Ints, Floats]
"""Positions (P, N, 2), roads (P, N) and metres (P, N) of particles."""


def watch_roads(scenario: Scenario) -> Iterator[tuple[Floats, Ints, Floats, list[Driven] | None]]:
    """Every second: true positions (N, 2), roads (N,), metres since the last (N,), and particles when due."""
    dice, before = throw_dice(MANY), None
    for now in watch(scenario):
        moved = np.zeros(len(now.position)) if before is None else np.hypot(*(now.position - before).T)
        before = now.position
        belief, ways = now.twin._belief, now.twin._foresight.ways
        driven = None
        if LEARNING_S <= now.second < LAST_S and now.second % 60 == 0:
            own = take(belief.traffic.matches, np.arange(len(moved)))
            driven = []
            for horizon in LIMITED_S:
                found = drive(
                    ways,
                    belief.traffic.habits,
                    own,
                    at=belief.now.at,
                    ahead_s=np.array([float(horizon)]),
                    dice=dice,
                )
                road = ways.road_map.sample_edge[found.rows[0]]
                driven.append((found.position[0], road, found.travelled))
        yield now.position, belief.traffic.matches.edge, moved, driven


def judge(driven: Driven, position: Floats, road: Ints, metres: Floats) -> Floats:
    """(known,) sums over the fleet of the error of the particles that agree with what is known."""
    places, roads, travelled = driven
    same = roads == road
    off = np.abs(travelled - metres)
    close = off <= np.quantile(off, CLOSEST, axis=0)
    sums = []
    for agrees in (np.ones_like(same), same, close, same & close):
        kept = np.where(agrees.any(axis=0), agrees, True)
        middle = find_geometric_median(places, kept / kept.sum(axis=0))
        sums.append(np.hypot(*(middle - position).T).sum())
    return np.array(sums)

"""Position forecasts on the pinned scenario: mean error in metres at some horizons, and peers beside them.

The twin sees what the world measures once a second; every ``EVERY_S`` after ``LEARNING_S`` it forecasts all that
it knows, and each forecast is held against where the vehicle then truly is (while on the road).
Peers are "the vehicle stands still" and constant velocity, from the same filtered tracks.
"""

import numpy as np

from bench.rows import Row
from bench.twin_world import SEEDS, load, over_seeds, start_world
from platoon.nouns import Floats, seconds
from platoon.twin.filter import predict_positions
from platoon.twin.places import Asked
from platoon.twin.twin import Twin

HORIZONS_S: Floats = np.array([5.0, 10.0, 20.0, 30.0, 45.0, 60.0])
LEARNING_S, EVERY_S, SECONDS = 600, 15, 1_140


def measure() -> list[Row]:
    """Rows ``position_mae_<horizon>s_m``, peer: constant velocity; and of standing still."""
    found = np.array([follow(seed) for seed in SEEDS])  # (seeds, 3, horizons)
    rows = []
    for column, horizon in enumerate(HORIZONS_S):
        twin, still, constant = found[:, :, column].T.tolist()
        name = f"position_mae_{horizon:.0f}s_m"
        rows.append(over_seeds(name, twin, "m", "constant velocity", constant))
        rows.append(over_seeds(f"{name}_standing_still", still, "m"))
    return rows


def follow(seed: int) -> Floats:
    """(3, horizons) mean errors of the twin, of standing still, of constant velocity, metres."""
    scenario = load(seed)
    world = start_world(scenario)
    twin = Twin(scenario, world.road_map, world.rsus)
    waiting: dict[int, list[tuple[int, Floats, Floats]]] = {}
    sums, counts = np.zeros((3, len(HORIZONS_S))), np.zeros(len(HORIZONS_S))
    for second in range(SECONDS + 61):
        world.advance(seconds(second))
        twin.observe(world.measure())
        truth, present = world.positions(), world.present()
        for column, forecast, known in waiting.pop(second, []):
            both = known.astype(bool) & present
            error = np.hypot(*np.moveaxis(forecast - truth, -1, 0))
            sums[:, column] += error[:, both].sum(axis=1)
            counts[column] += both.sum()
        if LEARNING_S <= second < SECONDS and second % EVERY_S == 0:
            forecasts, known = forecast_all(twin)
            for column, horizon in enumerate(HORIZONS_S):
                waiting.setdefault(second + int(horizon), []).append((column, forecasts[:, column], known))
    world.close()
    return sums / counts


def forecast_all(twin: Twin) -> tuple[Floats, Floats]:
    """(3, horizons, N, 2) positions by the three methods, and who is known (N,)."""
    tracks = twin._belief.tracks
    known = np.flatnonzero(tracks.known)
    still = np.broadcast_to(tracks.position, (len(HORIZONS_S), *tracks.position.shape))
    mine = still.copy()
    asked = Asked(traffic=twin._belief.traffic, tracks=tracks, who=known, ahead_s=HORIZONS_S)
    mine[:, known] = twin._foresight.foresee(asked).mean
    constant, _ = predict_positions(tracks, HORIZONS_S, np.inf)
    return np.array([mine, still, constant]), tracks.known

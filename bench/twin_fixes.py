"""Where vehicles are, by what RSUs measure: errors of tracks on the pinned scenario, and what localising costs.

Every variant of equipment sees the same traffic of a seed for ``SECONDS``; after ``LEARNING_S`` the filtered
position of every vehicle heard is held against the truth. A vehicle that is heard but has no track counts in
``..._unknown_share``. Peers are the figures of the first study (sequential filter, a clock error of its own for
every measurement instead of one that lasts, hearing by distance alone).
"""

import time
from typing import Any

import numpy as np

from bench.rows import Row
from bench.twin_world import SEEDS, load, over_seeds, start_world
from platoon.nouns import Floats, Instant, Measurements, seconds
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.twin.clocks import start_clocks
from platoon.twin.filter import Tracks, advance, apply_fixes, start_tracks
from platoon.twin.link import Scene
from platoon.twin.locator import Locator
from platoon.world.sensing import Sensors
from platoon.world.world import World

SECONDS, LEARNING_S = 240, 30
TDOA = {"twin.positioning": "tdoa"}
VARIANTS: dict[str, tuple[dict[str, Any], tuple[float, float] | None]] = {
    "tdoa_1ns": ({**TDOA, "radio.arrival_sigma_ns": 1.0}, None),
    "tdoa_10ns": ({**TDOA, "radio.arrival_sigma_ns": 10.0}, (2.8, 13.0)),
    "tdoa_30ns": ({**TDOA, "radio.arrival_sigma_ns": 30.0}, None),
    "tdoa_10ns_without_references": ({**TDOA, "radio.reference_signals": False}, None),
    "tdoa_10ns_hearing_1km": ({**TDOA, "radio.hearing_radius_m": 1000.0}, (600.0, float("nan"))),
    "range_angle": ({"twin.positioning": "range_angle"}, (8.6, 24.0)),
    "range_angle_10m_5deg": (
        {"twin.positioning": "range_angle", "radio.range_sigma_m": 10.0, "radio.angle_sigma_deg": 5.0},
        (18.0, 51.0),
    ),
    "both": ({"twin.positioning": "both"}, None),
    "both_5_9ghz": ({"twin.positioning": "both", "radio.carrier_ghz": 5.9}, None),
    "position_3m": ({"twin.positioning": "position"}, None),
}
"""Name of a variant, its keys, and median and 90 % of the first study."""
FLEETS = ((800, 800), (100_000, 10_000))
"""Vehicles, and how many of them are in coverage, for the times."""
REPEATS = 5


def measure() -> list[Row]:
    """Rows ``fix_<variant>_...`` (median and 90 %, metres; share unknown) and ``localise_...`` (CPU time)."""
    rows: list[Row] = []
    for name, (overrides, peers) in VARIANTS.items():
        found = [follow(load(seed, overrides)) for seed in SEEDS]
        for column, (part, unit) in enumerate((("median_m", "m"), ("p90_m", "m"), ("unknown_share", ""))):
            values = [each[column] for each in found if np.isfinite(each[column])]
            if not values:
                continue  # nobody was found at all
            peer = peers[column] if peers is not None and column < 2 else float("nan")
            known = np.isfinite(peer)
            rows.append(
                over_seeds(
                    f"fix_{name}_{part}",
                    values,
                    unit,
                    "first study" if known else None,
                    [peer] if known else None,
                )
            )
    return rows + measure_times()


def follow(scenario: Scenario) -> tuple[float, float, float]:
    """Median and 90 % of the error, metres, over all vehicles and seconds; share of the heard without a track."""
    world = start_world(scenario)
    locator = Locator(scenario, Scene(scenario.radio, world.road_map, world.rsus))
    clocks, tracks = start_clocks(scenario.radio, len(world.rsus)), start_tracks(scenario.fleet.vehicles)
    errors, unknown, heard_in_all = [], 0, 0
    for second in range(1, SECONDS + 1):
        world.advance(seconds(second))
        measured = world.measure()
        clocks, tracks = _step(locator, clocks, tracks, measured)
        if second <= LEARNING_S:
            continue
        both = measured.heard & tracks.known
        errors.append(np.hypot(*(tracks.position - world.positions())[both].T))
        unknown += int((measured.heard & ~tracks.known).sum())
        heard_in_all += int(measured.heard.sum())
    world.close()
    found = np.concatenate(errors)
    median, most = np.quantile(found, [0.5, 0.9]) if len(found) else (np.nan, np.nan)
    return float(median), float(most), unknown / max(1, heard_in_all)


def measure_times() -> list[Row]:
    """CPU time of one second's measurements: localised, gated and filtered, the vehicles followed or sought."""
    scenario = load(SEEDS[0], {"twin.positioning": "both"})
    world = start_world(scenario)
    rows: list[Row] = []
    for vehicles, covered in FLEETS:
        warm, cold = time_fleet(world, scenario, vehicles, covered)
        name, factor, unit = ("800_ms", 1e3, "ms") if vehicles == 800 else ("100k_s", 1.0, "s")
        rows.append(over_seeds(f"localise_{name}", [t * factor for t in warm], unit))
        rows.append(over_seeds(f"localise_{name}_all_sought", [t * factor for t in cold], unit))
    world.close()
    return rows


def time_fleet(
    world: World, scenario: Scenario, vehicles: int, covered: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of a step with tracks, and of one without any; standing vehicles drawn from the roads."""
    roads: RoadMap = world.road_map
    rows = stream(1, "places").integers(len(roads.samples), size=vehicles)
    places: Floats = roads.samples[rows]
    present = np.arange(vehicles) < covered
    scene = Scene(scenario.radio, roads, world.rsus)
    locator = Locator(scenario, scene)
    sensors = Sensors(scenario, world.channel, world.processors)
    warm, cold = [], []
    for repeat in range(REPEATS):
        clocks, tracks = start_clocks(scenario.radio, len(world.rsus)), start_tracks(vehicles)
        for second in range(3):
            measured = sensors.measure(Instant(seconds(10 * repeat + second)), places, present)
            begin = time.process_time()
            clocks, tracks = _step(locator, clocks, tracks, measured)
            (cold if second == 0 else warm).append(time.process_time() - begin)
    return warm, cold[1:]  # the first search prepares its points


def _step(locator: Locator, clocks: Any, tracks: Tracks, measured: Measurements) -> tuple[Any, Tracks]:
    tracks = advance(tracks, measured.at)
    clocks, fixes = locator.locate(clocks, tracks, measured)
    return clocks, apply_fixes(tracks, measured.at, fixes)

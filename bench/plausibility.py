"""What plausibility can tell apart: how vehicles drive and are received, and how alike their updates are.

    python -m bench plausibility

drives the demo's traffic for three minutes on three seeds, once with Sybils and once with colluders in
convoy, and trains the whole fleet for three rounds; prints a table (least and largest over all seeds) and writes
``bench/out/plausibility.json``. Nothing is flagged here: these are the distances that the thresholds stand between.
"""

import tempfile
from pathlib import Path

import numpy as np

from bench.rows import Row, keep
from platoon import Scenario
from platoon.drivers.datasets import load
from platoon.drivers.workers import TrainingPool
from platoon.fleet import draw_groups
from platoon.learning.aggregation import merge
from platoon.learning.similarity import compute_cosines
from platoon.nouns import SECOND, Bools, Floats, Instant
from platoon.records.rules import compute_weights
from platoon.twin.company import Company
from platoon.twin.twin import Twin
from platoon.world.world import World

SCENARIO = Path(__file__).parents[1] / "scenarios" / "quickstart.toml"
SEEDS = (1, 2, 3)
MINUTES = 3
ROUNDS = 3
TOGETHER_M = 100.0


def main() -> None:
    """Measure, print and keep."""
    rows: list[Row] = []
    same, far_apart, convoy, shares = [], [], [], []
    for seed in SEEDS:
        for attack in ("sybil", "collusion"):
            scenario = load_scenario(seed, attack)
            group = find_members(scenario)
            for company in drive(scenario):
                pairs = np.isfinite(company.apart) & np.triu(np.ones_like(group), 1)
                (same if attack == "sybil" else convoy).append(company.unlike_db[pairs & group])
                far_apart.append(company.unlike_db[pairs & ~group])
                shares.append((company.apart[pairs & ~group] <= TOGETHER_M).mean())
    rows += show("unlike, accounts of one device", np.concatenate(same), "dB")
    rows += show("unlike, neighbours in a convoy", np.concatenate(convoy), "dB")
    rows += show("unlike, everybody else", np.concatenate(far_apart), "dB")
    rows += show(f"pairs within {TOGETHER_M:g} m for a minute", 100 * np.array(shares), "%")
    copies, honest = zip(*(train(load_scenario(seed, "collusion")) for seed in SEEDS), strict=True)
    rows += show("cosine, copies of one update", np.concatenate(copies), "")
    rows += show("cosine, honest vehicles", np.concatenate(honest), "")
    keep("plausibility", rows)


def load_scenario(seed: int, attack: str) -> Scenario:
    """The demo's, with attackers that act as one."""
    return Scenario.load(SCENARIO, {"seed": seed, "fleet.attack": attack, "workers": 1})


def find_members(scenario: Scenario) -> Bools:
    """(N, N) pairs of one group."""
    members = np.zeros((scenario.fleet.vehicles, scenario.fleet.vehicles), dtype=np.bool_)
    for group in draw_groups(scenario.fleet, scenario.seed):
        members[np.ix_(group, group)] = True
    return members


def drive(scenario: Scenario) -> list[Company]:
    """The company of the fleet, minute by minute."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(scenario, Path(folder))
        try:
            twin, found = Twin(scenario, world.road_map, world.rsus), []
            for second in range(1, 60 * MINUTES + 1):
                world.advance(Instant(world.now + SECOND))
                twin.observe(world.measure())
                if second % 60 == 0:
                    found.append(twin.describe_company(np.arange(scenario.fleet.vehicles)))
            return found
        finally:
            world.close()


def train(scenario: Scenario) -> tuple[Floats, Floats]:
    """Cosines between copies, and between honest vehicles, over rounds in which the whole fleet trains."""
    members, copies, honest = find_members(scenario), [], []
    with TrainingPool(scenario, load(scenario.task.data)) as pool:
        model = pool.initial_model
        good = np.flatnonzero(~pool.malicious)
        upper = np.triu(np.ones_like(members), 1)
        for number in range(1, ROUNDS + 1):
            trained = pool.train(number, model, range(scenario.fleet.vehicles))
            updates = np.stack([vehicle.update for vehicle in trained])
            cosines = compute_cosines(updates)
            copies.append(cosines[members & upper])
            between = np.zeros_like(members)
            between[np.ix_(good, good)] = True
            honest.append(cosines[between & upper])
            weights = np.array(compute_weights([1] * len(good)), dtype=np.int64)
            model = merge(model, updates[good], weights)
    return np.concatenate(copies), np.concatenate(honest)


def show(name: str, values: Floats, unit: str) -> list[Row]:
    """Print and return the least and the largest."""
    low, high = float(values.min()), float(values.max())
    print(f"{name:36} {low:10.4f} to {high:10.4f} {unit:3} ({values.size} values)", flush=True)
    return [
        {
            "name": f"{name}: {end}",
            "value": value,
            "unit": unit,
            "spread": None,
            "peer": None,
            "peer_value": None,
        }
        for end, value in (("least", low), ("largest", high))
    ]


if __name__ == "__main__":
    main()

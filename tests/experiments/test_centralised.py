"""The reference that has all data in one place."""

import numpy as np
import pytest

from platoon.drivers.datasets import ImageData
from platoon.experiments import centralised
from platoon.experiments.centralised import train_centrally
from platoon.scenario import Scenario


def make_scenario(**round_keys):
    return Scenario.from_table(
        {
            "seed": 3,
            "task": {"model": "mlp", "test_samples": 100},
            "fleet": {"vehicles": 12, "malicious_share": 0.5},
            "partition": {"samples": 40},
            "round": {"participants": 4, "epochs": 3, "local_loss": "own_classes", **round_keys},
            "trust": {"probes_per_class": 3},
        }
    )


def make_data():
    """Four classes of 8 x 8 pixels, each with a bright row of its own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1200)
    images = rng.integers(0, 60, (1200, 8, 8, 1)).astype(np.uint8)
    images[np.arange(1200), 2 * labels] = 220
    return ImageData(
        name="rows",
        classes=4,
        train_images=images,
        train_labels=labels,
        test_images=images[1000:],
        test_labels=labels[1000:],
        train_groups=np.arange(1200),
    )


DATA = make_data()


@pytest.fixture(autouse=True)
def _rows_of_pixels(monkeypatch):
    monkeypatch.setattr(centralised.datasets, "load", lambda name: DATA)


def test_it_learns_from_true_labels_though_half_of_the_fleet_flips_them():
    found = train_centrally(make_scenario(), epochs=3)
    assert len(found) == 3
    assert max(found) > 0.95


def test_attackers_selection_and_trust_are_no_part_of_it():
    table = make_scenario().model_dump(mode="json", exclude_none=True)
    keys = {"fleet.attack": "none", "method": "fedavg", "trust.score": "cosine", "round.local_loss": "full"}
    changed = Scenario.from_table(table, keys)
    assert train_centrally(changed, 2) == train_centrally(make_scenario(), 2)

"""A small scenario with everything real: SUMO, MNIST, contracts, several edge servers."""

from pathlib import Path

import pytest

from platoon import Scenario

SMALL = """
name = "small"
seed = 11
workers = 1
[task]
model = "mlp"
rounds = 5
test_samples = 500
[fleet]
vehicles = 12
malicious_share = 0.25
[partition]
samples = 60
[roads]
streets = 4
warmup_s = 5
[radio]
rsus = 4
[round]
participants = 4
epochs = 1
[trust]
probes_per_class = 5
"""


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def scenario(scenario_file: Path) -> Scenario:
    return Scenario.load(scenario_file)

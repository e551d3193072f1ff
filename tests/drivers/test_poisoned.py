"""Which updates are false: those that differ from what honest training on honest data would have sent."""

import numpy as np
import pytest

from platoon.drivers.attacking import Attackers
from platoon.drivers.datasets import ImageData
from platoon.drivers.fleet_data import FleetData
from platoon.drivers.workers import TrainingPool
from platoon.fleet import draw_groups
from platoon.scenario import Scenario

VEHICLES = list(range(12))


def make_scenario(**fleet):
    return Scenario.from_table(
        {
            "seed": 3,
            "task": {"model": "mlp", "test_samples": 100},
            "fleet": {"vehicles": 12, "malicious_share": 0.5, "group": 3, **fleet},
            "partition": {"samples": 40},
            "round": {"participants": 4, "epochs": 1},
            "trust": {"probes_per_class": 3},
        }
    )


def make_data():
    """Noise: 4 classes of 8 x 8 pixels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1200)
    images = rng.integers(0, 200, (1200, 8, 8, 1)).astype(np.uint8)
    return ImageData(
        name="noise",
        classes=4,
        train_images=images,
        train_labels=labels,
        test_images=images[:100],
        test_labels=labels[:100],
        train_groups=np.arange(1200),
    )


DATA = make_data()


def send(scenario, round_number=2):
    """What all vehicles send, what each would send if nobody attacked, and who is malicious."""
    with TrainingPool(scenario, DATA, workers=1) as pool:
        model = pool.initial_model
        former = model - np.arange(len(model), dtype=np.int32) % 7 * 1000
        sent = Attackers(scenario, pool, np.full(12, 40)).train(round_number, model, former, VEHICLES)
        malicious = pool.malicious
    peaceful = make_scenario(attack="none")
    with TrainingPool(peaceful, DATA, workers=1) as pool:
        clean = pool.train(round_number, model, VEHICLES)
    return sent, clean, malicious


@pytest.mark.parametrize(
    ("attack", "strength"),
    [("label_flip", None), ("sign_flip", None), ("mimic", 0.0), ("free_rider_zero", None), ("scaling", 1.0)],
)
def test_an_update_is_false_where_it_is_not_the_honest_one(attack, strength):
    sent, clean, malicious = send(make_scenario(attack=attack, attack_strength=strength))
    differs = [not np.array_equal(a.update, b.update) for a, b in zip(sent, clean, strict=True)]
    # scaling by 1 changes nothing; every other attack changes what every attacker sends
    assert any(differs) == (attack != "scaling")
    assert [update.poisoned for update in sent] == differs
    assert all(malicious[update.vehicle] for update in sent if update.poisoned)


def test_attackers_that_wait_send_honest_updates():
    # no score is a whole 1 above its threshold: the attackers never find an update that passes
    sent, clean, _ = send(make_scenario(attack="adaptive", attack_strength=1.0))
    assert not any(update.poisoned for update in sent)
    assert all(np.array_equal(a.update, b.update) for a, b in zip(sent, clean, strict=True))


def test_attackers_that_wait_on_poisoned_data_do_not():
    attacks = [{"name": "adaptive", "strength": 1.0}]
    sent, _, malicious = send(make_scenario(attack="label_flip", attacks=attacks))
    assert [update.poisoned for update in sent] == malicious.tolist()


def test_honest_phases_are_honest():
    attacks = [{"name": "sign_flip", "start_round": 2, "rounds_off": 1}]
    scenario = make_scenario(attack="none", attacks=attacks)
    for number, is_on in ((2, True), (3, False)):
        sent, _, malicious = send(scenario, number)
        assert [update.poisoned for update in sent] == [bool(m and is_on) for m in malicious]


def test_copies_are_false_whatever_they_are_copies_of():
    # leaders flip labels in round 1 alone; their groups copy them in every round
    attacks = [{"name": "label_flip", "rounds_off": 99}, {"name": "collusion", "strength": 0.0}]
    scenario = make_scenario(attack="none", attacks=attacks)
    sent, _, _ = send(scenario, 2)
    groups = draw_groups(scenario.fleet, scenario.seed)
    followers = {vehicle for group in groups for vehicle in group[1:]}
    assert followers
    assert {update.vehicle for update in sent if update.poisoned} == followers


def test_a_targeted_flip_leaves_alone_who_has_nothing_of_its_source():
    fleet = FleetData(
        make_scenario(attack="none", attacks=[{"name": "targeted_flip", "source": 2, "target": 1}]), DATA
    )
    has_source = [2 in DATA.train_labels[fleet.indices(vehicle)] for vehicle in VEHICLES]
    expected = [bool(m and has) for m, has in zip(fleet.malicious, has_source, strict=True)]
    assert [fleet.is_poisoned(vehicle, 1) for vehicle in VEHICLES] == expected
    assert 0 < sum(expected) < fleet.malicious.sum()

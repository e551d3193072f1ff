"""Who attacks in which round, with what data, and what the driver makes of a round's clean updates."""

import numpy as np
import pytest

from platoon.drivers.attacking import Attackers
from platoon.drivers.datasets import ImageData
from platoon.drivers.fleet_data import FleetData
from platoon.drivers.workers import TrainingPool
from platoon.errors import UserError
from platoon.fleet import draw_groups
from platoon.learning.aggregation import dequantise
from platoon.learning.last_layer import find_row
from platoon.learning.models import FlatModel
from platoon.scenario import Scenario


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


def test_data_are_false_in_rounds_of_attack_alone_and_then_the_same():
    fleet = FleetData(
        make_scenario(attack="none", attacks=[{"name": "label_flip", "start_round": 3, "rounds_off": 1}]),
        DATA,
    )
    for vehicle in np.flatnonzero(fleet.malicious).tolist():
        right = DATA.train_labels[fleet.indices(vehicle)]
        labels = {number: fleet.training_set(vehicle, number)[1] for number in range(1, 6)}
        assert [bool((labels[number] != right).all()) for number in labels] == [
            False,
            False,
            True,
            False,
            True,
        ]
        assert np.array_equal(labels[3], labels[5])
        assert np.array_equal(labels[1], right)


def test_stand_ins_are_the_attackers_own_with_true_labels():
    fleet = FleetData(make_scenario(attack="adaptive"), DATA)
    images, labels = fleet.stand_in_set()
    assert np.bincount(labels).tolist() == [3, 3, 3, 3]
    rows = [fleet.indices(vehicle) for vehicle in np.flatnonzero(fleet.malicious).tolist()]
    theirs = {DATA.train_images[i].tobytes(): DATA.train_labels[i] for i in np.concatenate(rows)}
    assert [theirs[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize("knowledge", ["own", "cohort"])
def test_attackers_take_means_of_what_they_know(knowledge):
    scenario = make_scenario(attack="none", attacks=[{"name": "ipm", "knowledge": knowledge}])
    with TrainingPool(scenario, DATA, workers=1) as pool:
        vehicles = list(range(12))
        clean = pool.train(2, pool.initial_model, vehicles)
        model = pool.initial_model
        attackers = Attackers(scenario, pool, np.full(12, 40))
        sent = attackers.train(2, model, model, vehicles)
    malicious = pool.malicious
    known = malicious if knowledge == "own" else ~malicious
    mean = np.mean([dequantise(clean[v].update) for v in vehicles if known[v]], axis=0)
    for vehicle in vehicles:
        if malicious[vehicle]:
            assert np.allclose(dequantise(sent[vehicle].update), -mean, atol=1e-6)
        else:
            assert np.array_equal(sent[vehicle].update, clean[vehicle].update)


@pytest.mark.parametrize("name", ["targeted_flip", "backdoor", "leave_row"])
def test_invalid_classes_are_refused_where_an_attack_aims_at_them(name):
    """The data have four classes; a source is asked of those alone that relabel one."""
    for key in ("source", "target"):
        aim = {"source": 0, "target": 0} | {key: 4}
        scenario = make_scenario(attack="none", attacks=[{"name": name, **aim}])
        if key == "source" and name != "targeted_flip":
            FleetData(scenario, DATA)
            continue
        with pytest.raises(UserError, match=rf"{key} = 4 of {name}: allowed: 0 to 3"):
            FleetData(scenario, DATA)


def test_a_backdoor_may_leave_the_row_of_its_class_alone():
    """And still moves every other row; the honest move the target's too."""
    aim = {"source": 0, "target": 2}
    scenario = make_scenario(
        attack="none", attacks=[{"name": "backdoor", **aim}, {"name": "leave_row", **aim}]
    )
    with TrainingPool(scenario, DATA, workers=1) as pool:
        model = pool.initial_model
        sent = Attackers(scenario, pool, np.full(12, 40)).train(1, model, model, list(range(12)))
    last = FlatModel(scenario.task.model, DATA.shape, DATA.classes)
    for update in sent:
        rows = [find_row(last.last_layer, DATA.classes, label) for label in range(DATA.classes)]
        moved = [bool(update.update[row].any()) for row in rows]
        assert moved == [not (pool.malicious[update.vehicle] and label == 2) for label in range(DATA.classes)]


def test_colluders_send_the_same_bytes_and_train_once():
    scenario = make_scenario(attack="collusion", attack_strength=0.0)
    with TrainingPool(scenario, DATA, workers=1) as pool:
        vehicles = list(range(12))
        attackers = Attackers(scenario, pool, np.full(12, 40))
        sent = attackers.train(1, pool.initial_model, pool.initial_model, vehicles)
    assert [update.vehicle for update in sent] == vehicles
    for group in draw_groups(scenario.fleet, scenario.seed):
        assert len({sent[vehicle].update.tobytes() for vehicle in group}) == 1
        assert sum(sent[vehicle].cpu_seconds > 0.0 for vehicle in group) == 1
    assert len({update.update.tobytes() for update in sent}) == 6 + len(
        draw_groups(scenario.fleet, scenario.seed)
    )


def test_free_riders_do_not_train_and_replay_the_last_step():
    scenario = make_scenario(attack="free_rider_stale")
    with TrainingPool(scenario, DATA, workers=1) as pool:
        model = pool.initial_model
        former = model - np.arange(len(model), dtype=np.int32) % 7 * 1000
        sent = Attackers(scenario, pool, np.full(12, 40)).train(2, model, former, list(range(12)))
    step = dequantise(model) - dequantise(former)
    for update in sent:
        if pool.malicious[update.vehicle]:
            assert np.allclose(dequantise(update.update), step, atol=1e-6)
            assert (update.cpu_seconds, update.samples) == (0.0, 40)
        else:
            assert update.cpu_seconds > 0.0

"""The pool: the same bits on any number of workers, and what happens when a worker or its parent dies."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.drivers.datasets import ImageData
from platoon.drivers.fleet_data import FleetData
from platoon.drivers.worker import Worker
from platoon.drivers.workers import TrainingPool, WorkerError
from platoon.errors import UserError
from platoon.scenario import Scenario

SCENARIO = Scenario.from_table(
    {
        "seed": 3,
        "task": {"model": "mlp", "test_samples": 1200},
        "fleet": {"vehicles": 12},
        "partition": {"samples": 40},
        "round": {"participants": 4, "epochs": 1},
        "trust": {"probes_per_class": 3},
    }
)


def make_data():
    """Noise with a bright row per class: 4 classes of 8 x 8 pixels, four frames of each object."""
    rng = np.random.default_rng(0)

    def part(count):
        labels = rng.integers(0, 4, count)
        images = rng.integers(0, 200, (count, 8, 8, 1))
        images[np.arange(count), 2 * labels] += 55
        return images.astype(np.uint8), labels

    train, test = part(1600), part(1500)
    return ImageData(
        name="rows",
        classes=4,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
        train_groups=np.arange(1600) // 4 + 1000 * train[1],  # a group lies within one class
    )


DATA = make_data()


@pytest.fixture(scope="module")
def pool():
    with TrainingPool(SCENARIO, DATA, workers=1) as one:
        yield one


def do_a_round(pool, vehicles):
    """Everything a round asks of the pool, as comparable bytes."""
    trained = pool.train(1, pool.initial_model, vehicles)
    by_vehicle = {update.vehicle: update.update.tobytes() for update in trained}
    updates = np.stack([update.update for update in sorted(trained, key=lambda update: update.vehicle)])
    samples = np.array([update.samples for update in trained])
    scores = pool.score("probe_margin", pool.initial_model, updates, samples, [0, 1, 2])
    judged = [(score.values.tobytes(), score.evidence) for score, _ in scores]
    return by_vehicle, judged, pool.evaluate(pool.initial_model)[0], pool.probe_digest(1)


def test_results_do_not_depend_on_workers_or_order(pool):
    alone = do_a_round(pool, [2, 5, 7, 9])
    with TrainingPool(SCENARIO, DATA, workers=2) as two:
        assert two.initial_model.tobytes() == pool.initial_model.tobytes()
        assert do_a_round(two, [9, 7, 5, 2]) == alone


def test_answers_come_in_the_order_of_the_questions(pool):
    trained = pool.train(4, pool.initial_model, [8, 1, 6])
    assert [update.vehicle for update in trained] == [8, 1, 6]
    assert all(update.samples == 40 and update.cpu_seconds > 0 for update in trained)


def test_rounds_and_vehicles_have_dice_of_their_own(pool):
    first = pool.train(1, pool.initial_model, [3, 4])
    second = pool.train(2, pool.initial_model, [3])
    updates = [update.update.tobytes() for update in [*first, *second]]
    assert len(set(updates)) == 3
    assert pool.train(1, pool.initial_model, [3])[0].update.tobytes() == updates[0]


def test_this_process_stays_free_of_torch():
    """So that the main process is small, and `platoon --help` fast."""
    program = "import sys, platoon.drivers.workers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_mapped_data_give_what_data_in_memory_give(pool, tmp_path):
    arrays = {}
    for name in ("train_images", "train_labels", "test_images", "test_labels", "train_groups"):
        np.save(tmp_path / f"{name}.npy", getattr(DATA, name))
        arrays[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    with TrainingPool(SCENARIO, ImageData(name="rows", classes=4, **arrays), workers=1) as mapped:
        assert do_a_round(mapped, [1, 2]) == do_a_round(pool, [1, 2])


def test_invalid_score_is_a_users_mistake(pool):
    updates = np.zeros((1, len(pool.initial_model)), dtype=np.int32)
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        pool.score("cosin", pool.initial_model, updates, np.array([40]), [0])
    assert pool.evaluate(pool.initial_model)[0] > 0  # the pool lives on


def test_invalid_training_that_diverges_names_the_key():
    # Beyond what a scenario may say, so that it diverges whatever the network.
    wild = SCENARIO.model_copy(update={"round": SCENARIO.round.model_copy(update={"learning_rate": 1e30})})
    with (
        TrainingPool(wild, DATA, workers=2) as pool,
        pytest.raises(
            UserError, match=r"round\.learning_rate = 1e\+30: vehicle 6's training diverged in round 5"
        ),
    ):
        pool.train(5, pool.initial_model, [6, 1, 2, 3])


def test_a_fault_leaves_no_answer_behind():
    """Two workers, the second piece of work fails: what the first one was doing must not be taken for the answer
    to the next question."""
    with TrainingPool(SCENARIO, DATA, workers=2) as pool:
        accuracy, _ = pool.evaluate(pool.initial_model)
        for _ in range(3):
            with pytest.raises(WorkerError, match="IndexError"):
                pool.train(1, pool.initial_model, [0, 10_000_000_000, 1, 2])
            assert pool.evaluate(pool.initial_model)[0] == accuracy


def test_a_fault_in_a_worker_is_one_error_with_its_trace(pool):
    with pytest.raises(WorkerError, match=r"(?s)worker 0 failed in train\(1, 10000000000\):.*IndexError"):
        pool.train(1, pool.initial_model, [10_000_000_000])


def test_a_worker_that_dies_is_one_error():
    with TrainingPool(SCENARIO, DATA, workers=2) as pool:
        os.kill(pool._workers[1]._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"worker 1 died in \w+\(.*\) \(exit code -9\)"):
            pool.train(1, pool.initial_model, [0, 1, 2])


PARENT = """
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
    sys.path.insert(0, {folder!r})
    from test_workers import DATA, SCENARIO
    from platoon.drivers.workers import TrainingPool
    with TrainingPool(SCENARIO, DATA, workers=2) as pool:
        print(2, flush=True)
        vehicles = list(range(12))
        while True:
            pool.train(1, pool.initial_model, vehicles)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent_without_a_word(how):
    """The parent is killed, or interrupted, while it trains. Its standard error ends only when every process
    that holds it is gone: a worker that lived on would run into the time limit."""
    program = textwrap.dedent(PARENT.format(folder=str(Path(__file__).parent)))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        workers = int(parent.stdout.readline())
        parent.send_signal(how)
        try:
            _, complaints = parent.communicate(timeout=60)
        finally:
            parent.kill()
    assert workers == 2
    assert "worker.py" not in complaints
    assert complaints.count("Traceback") == (0 if how == signal.SIGKILL else 1)  # the parent's own


# ---- which data go where


def test_probes_vehicles_and_test_images_share_nothing():
    fleet = FleetData(SCENARIO, DATA)
    held = np.unique(np.concatenate([fleet.indices(vehicle) for vehicle in range(12)]))
    probes = np.unique(np.concatenate([_indices_of(fleet.probe_set(server)[0]) for server in range(4)]))
    groups = DATA.train_groups
    assert not np.isin(groups[held], groups[probes]).any()


def _indices_of(images):
    """Where these images stand among the training images (noise: no two are equal)."""
    places = {image.tobytes(): number for number, image in enumerate(DATA.train_images)}
    return [places[image.tobytes()] for image in images]


def test_only_malicious_vehicles_train_on_false_labels():
    fleet = FleetData(SCENARIO, DATA)
    assert fleet.malicious.sum() == 4
    for vehicle in range(12):
        images, labels = fleet.training_set(vehicle, 1)
        right = DATA.train_labels[fleet.indices(vehicle)]
        assert np.array_equal(images, DATA.train_images[fleet.indices(vehicle)])
        assert (labels != right).all() if fleet.malicious[vehicle] else np.array_equal(labels, right)
        assert np.array_equal(labels, fleet.training_set(vehicle, 1)[1])


def test_probe_digests_bind_images_and_labels():
    fleet = FleetData(SCENARIO, DATA)
    digests = {fleet.probe_digest(server) for server in range(4)}
    assert len(digests) == 4
    assert fleet.probe_digest(0) == FleetData(SCENARIO, DATA).probe_digest(0)


def fleet_with(**trust):
    return FleetData(
        Scenario.from_table(SCENARIO.model_dump(), {f"trust.{k}": v for k, v in trust.items()}), DATA
    )


@given(st.integers(0, 3), st.booleans(), st.integers(0, 3))
def test_missing_classes_leave_the_other_probes_as_they_are(missing, alike, server):
    images, labels = fleet_with().probe_set(server)
    faulty = fleet_with(probes_missing_classes=missing, probes_missing_alike=alike)
    left, left_labels = faulty.probe_set(server)
    present = np.unique(left_labels)
    assert len(present) == 4 - missing
    assert np.array_equal(left, images[np.isin(labels, present)])
    assert np.array_equal(left_labels, labels[np.isin(labels, present)])


@pytest.mark.parametrize("alike", [True, False])
def test_edge_servers_miss_the_same_classes_or_each_its_own(alike):
    fleet = fleet_with(probes_missing_classes=2, probes_missing_alike=alike)
    present = {tuple(np.unique(fleet.probe_set(server)[1])) for server in range(8)}
    assert (len(present) == 1) == alike


@given(st.floats(0, 1), st.integers(0, 3))
def test_wrong_labels_are_as_many_as_asked_and_every_time_the_same(share, server):
    images, labels = fleet_with().probe_set(server)
    fleet = fleet_with(probes_wrong_labels=share)
    same, believed = fleet.probe_set(server)
    assert np.array_equal(same, images)
    assert (believed != labels).sum() == round(share * len(labels))
    assert ((believed >= 0) & (believed < 4)).all()
    assert np.array_equal(believed, fleet.probe_set(server)[1])


def test_edge_servers_mistake_different_probes():
    right, fleet = fleet_with(), fleet_with(probes_wrong_labels=0.5)
    places = [fleet.probe_set(server)[1] != right.probe_set(server)[1] for server in range(2)]
    assert not np.array_equal(*places)


def test_an_edge_server_commits_to_the_labels_that_it_believes():
    assert fleet_with().probe_digest(0) != fleet_with(probes_wrong_labels=0.5).probe_digest(0)


def test_invalid_no_class_left_to_probe():
    with pytest.raises(UserError, match=r"trust\.probes_missing_classes = 4: allowed: 0 to 3"):
        fleet_with(probes_missing_classes=4)


def test_test_images_are_drawn_once_and_all_different():
    indices = FleetData(SCENARIO, DATA).test_indices()
    assert len(np.unique(indices)) == 1200
    every = Scenario.from_table(SCENARIO.model_dump(), {"task.test_samples": 10_000})
    assert np.array_equal(FleetData(every, DATA).test_indices(), np.arange(1500))


def test_the_pull_of_fedprox_reaches_the_vehicles():
    lengths = []
    for pull in (0.0, 5.0):
        pulled = SCENARIO.model_copy(update={"round": SCENARIO.round.model_copy(update={"proximal": pull})})
        worker = Worker(pulled, DATA)
        worker.take_model(worker.initial_model())
        lengths.append(np.linalg.norm(worker.train(1, 0)[0].astype(float)))
    assert 0.0 < lengths[1] < lengths[0]

"""Laws of spreading images over vehicles and probe sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.learning.partition import Partitioner, draw_probes, hold_out, label_histograms
from platoon.scenario import Partition

CLASSES = 6
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), [200, 150, 100, 80, 60, 40]))
POOL = np.sort(np.random.default_rng(1).permutation(len(LABELS))[:500])

rules = st.one_of(
    st.builds(Partition, kind=st.just("classes"), classes=st.integers(1, 6), samples=st.integers(6, 30)),
    st.builds(Partition, kind=st.just("iid"), samples=st.integers(1, 500)),
    st.builds(Partition, kind=st.just("dirichlet"), alpha=st.floats(1e-4, 100), samples=st.integers(1, 500)),
)


def partitioner(rule, seed=1):
    return Partitioner(rule, LABELS, pool=POOL, classes=CLASSES, seed=seed)


@given(rules, st.integers(0, 5), st.integers(0, 2**62))
def test_a_vehicle_holds_exactly_its_samples_from_the_pool_without_repetition(rule, vehicle, seed):
    indices = partitioner(rule, seed).indices(vehicle)
    assert len(indices) == rule.samples
    assert (np.diff(indices) > 0).all()
    assert np.isin(indices, POOL).all()
    if rule.kind == "classes":
        counts = np.bincount(LABELS[indices], minlength=CLASSES)
        held = counts[counts > 0]
        assert len(held) == rule.classes
        assert held.max() - held.min() <= 1


def test_vehicles_draw_independently_of_each_other_and_of_order():
    one, other = partitioner(Partition(samples=20)), partitioner(Partition(samples=20))
    forwards = [one.indices(vehicle) for vehicle in range(5)]
    backwards = [other.indices(vehicle) for vehicle in reversed(range(5))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not np.array_equal(forwards[0], forwards[1])


def test_dirichlet_is_as_skewed_as_alpha_says():
    def largest_share(alpha):
        parts = partitioner(Partition(kind="dirichlet", alpha=alpha, samples=30))
        histograms = label_histograms(LABELS, [parts.indices(v) for v in range(100)], CLASSES)
        assert (histograms.sum(axis=1) == 30).all()
        return (histograms.max(axis=1) / 30).mean()

    assert largest_share(0.05) > 0.8
    assert largest_share(50.0) < 0.5


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Partition(samples=501), "partition.samples = 501: more than the 500 images"),
        (Partition(classes=7, samples=60), "partition.classes = 7: allowed: 1 to 6"),
        (Partition(classes=6, samples=5), "partition.classes = 6: allowed: 1 to 5"),
    ],
)
def test_invalid_rules(rule, reason):
    with pytest.raises(UserError, match=reason):
        partitioner(rule)


def test_invalid_class_too_small():
    with pytest.raises(UserError, match=r"class \d has \d+ images for vehicles, one with 6 classes needs 80"):
        partitioner(Partition(classes=6, samples=480)).indices(0)


@given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 2**62))
def test_probes_are_disjoint_from_the_pool_down_to_the_group(per_class, group_size, seed):
    groups = np.arange(len(LABELS)) // group_size + 1000 * LABELS  # a group lies within one class
    held_out = hold_out(LABELS, groups, classes=CLASSES, probes_per_class=per_class, seed=seed)
    assert np.array_equal(np.union1d(held_out.pool, held_out.reserve), np.arange(len(LABELS)))
    assert not np.isin(groups[held_out.pool], groups[held_out.reserve]).any()
    assert len(np.unique(LABELS[held_out.pool])) == CLASSES
    for edge_server in range(3):
        probes = draw_probes(
            held_out, LABELS, classes=CLASSES, per_class=per_class, seed=seed, edge_server=edge_server
        )
        assert np.isin(probes, held_out.reserve).all()
        assert len(np.unique(probes)) == len(probes)
        assert np.bincount(LABELS[probes]).tolist() == [per_class] * CLASSES


def test_edge_servers_probe_with_different_images():
    held_out = hold_out(LABELS, np.arange(len(LABELS)), classes=CLASSES, probes_per_class=5, seed=1)
    draws = [
        draw_probes(held_out, LABELS, classes=CLASSES, per_class=5, seed=1, edge_server=server)
        for server in (0, 1)
    ]
    assert not np.array_equal(*draws)


def test_invalid_too_few_images_for_a_probe_set():
    with pytest.raises(UserError, match=r"trust\.probes_per_class = 40: class 5 has 40 images"):
        hold_out(LABELS, np.arange(len(LABELS)), classes=CLASSES, probes_per_class=40, seed=1)

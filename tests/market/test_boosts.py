"""The network of boosts: the same integers for everybody, whatever order the models come in, bound by a digest."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import UserError
from platoon.market.auction.boosts import (
    BITS,
    ONE,
    BoostNetwork,
    compute_network_digest,
    export_table,
    export_tables,
    from_record,
    to_record,
)
from platoon.market.auction.markets import find_market
from platoon.market.auction.tables import BoostTable
from platoon.market.auction.trained import NETWORKS, load_network
from platoon.market.auction.training import BoostTraining, FloatBoosts, train_boosts
from platoon.nouns import MILLION
from platoon.rng import stream

REPUTATIONS = st.lists(st.integers(0, MILLION), min_size=1, max_size=5)
LAYERS = ("embed_1", "embed_2", "head_1", "head_2")


def make_floats(seed=1):
    floats = FloatBoosts(BoostTraining(embedding=5, hidden=7), stream(seed, "floats"))
    with torch.no_grad():
        floats.layers[3] += torch.from_numpy(stream(seed, "last").normal(0, 0.3, (2, 8)).astype(np.float32))
    return floats


def evaluate_plainly(network, reputations):
    """The table by unbounded Python integers, bundle by bundle."""

    def layer(name, inputs, rectified):
        rows = getattr(network, name).tolist()
        sums = [(sum(w * x for w, x in zip(row[:-1], inputs, strict=True)) >> BITS) + row[-1] for row in rows]
        return [max(0, value) for value in sums] if rectified else sums

    embedded = [layer("embed_2", layer("embed_1", [r * ONE // MILLION], True), True) for r in reputations]
    reserves = [network.reserve + r * network.reserve_slope // MILLION for r in reputations]
    everything = [sum(column) for column in zip(*embedded, strict=True)]
    beta, gamma = [], []
    for bundle in range(1 << len(reputations)):
        members = [j for j in range(len(reputations)) if bundle >> j & 1]
        sums = [sum(embedded[j][k] for j in members) for k in range(len(everything))]
        out = layer("head_2", layer("head_1", [*sums, *everything], True), False)
        beta.append((out[0] * MILLION >> BITS) if bundle else 0)
        gamma.append((out[1] * MILLION >> BITS, sum(reserves[j] for j in members)))
    unsold = tuple(learned - gamma[0][0] + reserve for learned, reserve in gamma)
    return BoostTable(bundle=tuple(beta), unsold=unsold)


@given(REPUTATIONS, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_table_is_that_of_unbounded_integers(reputations, seed):
    network = make_floats(seed).quantise(400_000, 100_000)
    assert export_table(network, reputations) == evaluate_plainly(network, reputations)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_packaged_networks_are_those_of_unbounded_integers(name):
    network = load_network(name)
    for reputations in ([1_000_000], [0, 0], [950_000, 700_000, 812_345], [700_001, 1, 999_999, 250_000, 3]):
        assert export_table(network, reputations) == evaluate_plainly(network, reputations)


@given(REPUTATIONS, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_integers_are_the_floats_within_quantisation(reputations, seed):
    floats = make_floats(seed)
    table = export_table(floats.quantise(0, 0), reputations)
    with torch.no_grad():
        beta, gamma = floats.tables(torch.tensor([reputations]) / MILLION)
    for exact, learned in ((table.bundle, beta[0]), (table.unsold, gamma[0])):
        # 20 bits through four layers of up to 14 inputs
        assert np.abs(np.array(exact) / MILLION - learned.numpy()).max() < 2e-4


@given(REPUTATIONS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_reordering_the_models_reorders_the_table(reputations, random):
    network = make_floats().quantise(500_000, 50_000)
    order = list(range(len(reputations)))
    random.shuffle(order)
    table = export_table(network, reputations)
    shuffled = export_table(network, [reputations[j] for j in order])
    for bundle in range(1 << len(order)):
        moved = sum(1 << place for place, j in enumerate(order) if bundle >> j & 1)
        assert table.bundle[bundle] == shuffled.bundle[moved]
        assert table.unsold[bundle] == shuffled.unsold[moved]


def test_many_auctions_at_once_are_one_after_the_other():
    network = load_network("r1")
    reputations = stream(1, "reputations").integers(0, MILLION, (20, 4))
    bundle, unsold = export_tables(network, reputations)
    for row, own in enumerate(reputations):
        table = export_table(network, own)
        assert (tuple(bundle[row].tolist()), tuple(unsold[row].tolist())) == (table.bundle, table.unsold)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_other_weight_is_another_digest(data):
    network = make_floats().quantise(500_000, 50_000)
    name = data.draw(st.sampled_from([*LAYERS, "reserve", "reserve_slope"]))
    if name in LAYERS:
        layer = getattr(network, name).copy()
        row, column = (data.draw(st.integers(0, size - 1)) for size in layer.shape)
        layer[row, column] += data.draw(st.sampled_from([-1, 1, 1 << 19]))
        other = dataclasses.replace(network, **{name: layer})
    else:
        other = dataclasses.replace(network, **{name: getattr(network, name) + 1})
    assert compute_network_digest(other) != compute_network_digest(network)


def test_a_network_without_training_is_item_wise_myerson():
    network = train_boosts(
        [find_market("u01", 2, 2)], BoostTraining(steps=1, batch=2, learning_rate=1e-12), 1
    )
    assert export_table(network, [900_000, 800_000]) == BoostTable(
        bundle=(0, 0, 0, 0), unsold=(0, 500_000, 500_000, 1_000_000)
    )


def test_a_network_survives_its_file_and_a_changed_file_is_refused():
    network = make_floats().quantise(500_000, 0)
    record = to_record(network)
    assert compute_network_digest(from_record(record, "here")) == compute_network_digest(network)
    record["head_1"][0][0] += 1
    with pytest.raises(UserError, match="here: digest"):
        from_record(record, "here")


def test_invalid_records():
    record = to_record(make_floats().quantise(500_000, 0))
    for broken, reason in (
        ({**record, "format": 2}, "format = 2"),
        ({name: value for name, value in record.items() if name != "head_2"}, "KeyError"),
        ({**record, "embed_1": [[2**31, 0]]}, "here: no boosts"),
        ({**record, "embed_1": "x"}, "here: no boosts"),
    ):
        with pytest.raises(UserError, match=reason):
            from_record(broken, "here")


def test_invalid_networks():
    network = make_floats().quantise(500_000, 0)
    with pytest.raises(UserError, match=r"head_1 has shape \(7, 10\); allowed: \(outputs, 11\)"):
        dataclasses.replace(network, head_1=network.head_1[:, 1:])
    with pytest.raises(UserError, match="sums could overflow"):
        dataclasses.replace(
            network, **{name: np.full_like(getattr(network, name), 2**31 - 1) for name in LAYERS}
        )
    with pytest.raises(UserError, match="reserve = -1"):
        dataclasses.replace(network, reserve=-1)
    with pytest.raises(UserError, match="allowed: 0 to 1000000"):
        export_table(network, [1_000_001])
    with pytest.raises(UserError, match="11 models"):
        export_table(network, [1] * 11)


def test_the_largest_network_that_is_allowed_does_not_overflow():
    """The bound is what int64 must hold: at it, the vectorised integers still equal unbounded ones."""
    network = BoostNetwork(
        reserve=0,
        reserve_slope=0,
        embed_1=np.array([[2**20, 0]], dtype=np.int32),
        embed_2=np.array([[2**24, 2**20]], dtype=np.int32),
        head_1=np.array([[2**25, 2**25, 2**20]], dtype=np.int32),
        head_2=np.array([[2**24, -(2**20)], [-(2**24), 2**20]], dtype=np.int32),
    )
    reputations = [MILLION] * 4
    assert export_table(network, reputations) == evaluate_plainly(network, reputations)


def test_training_is_the_same_twice_and_serves_the_seed_alone():
    market = find_market("r1_high", 2, 2)
    short = BoostTraining(steps=5, batch=16, embedding=4, hidden=4)
    one, again, other = (compute_network_digest(train_boosts([market], short, seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_invalid_markets_to_train_for():
    short = BoostTraining(steps=1)
    with pytest.raises(UserError, match="9765625 assignments"):
        train_boosts([find_market("u01", 4, 10)], short, 1)
    with pytest.raises(UserError, match="all scale values"):
        train_boosts([find_market("u01", 2, 2), find_market("u01_scaled", 2, 2)], short, 1)

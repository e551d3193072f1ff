"""Local blocks and the draw of their committees."""

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import MILLION, Address, Digest
from platoon.records.committee import (
    CommitteeRules,
    Standing,
    discount_unsealed,
    draw_order,
    has_quorum,
    is_committee,
    is_full_device,
    replace_members,
)
from platoon.records.encoding import EMPTY_DIGEST, keccak
from platoon.records.local_block import LocalBlock, compute_record_digests, make_local_block
from platoon.records.merkle import compute_proof, is_included
from platoon.records.rules import compute_quorum, compute_weights
from platoon.records.signing import sign_update, simulated_account
from platoon.records.typed_data import Domain

DOMAIN = Domain(chain_id=7400, contract=Address(b"\x11" * 20))
SERVER = simulated_account(1, "edge server", 0)
VEHICLES = [simulated_account(1, "vehicle", i) for i in range(9)]
SEED = Digest(b"\x05" * 32)
BLOCK = LocalBlock(
    task=DOMAIN.separator,
    edge_server=SERVER.address,
    height=3,
    round=7,
    parent=Digest(b"\x01" * 32),
    root=Digest(b"\x02" * 32),
    count=5,
)

standings = st.builds(Standing, handle=st.integers(1, 10**6), reputation=st.integers(0, MILLION))
fleets = st.dictionaries(st.binary(min_size=20, max_size=20).map(Address), standings, max_size=20)
FLEET = {vehicle.address: Standing(handle=i + 1, reputation=MILLION) for i, vehicle in enumerate(VEHICLES)}
committees = st.builds(
    CommitteeRules, size=st.integers(0, 6), floor=st.integers(0, MILLION), full_share=st.integers(0, MILLION)
)


def update(vehicle, *, round=7, samples=300):
    return sign_update(vehicle, DOMAIN.separator, round=round, digest=Digest(b"\x09" * 32), samples=samples)


def block_of(updates):
    return make_local_block(
        task=DOMAIN.separator,
        edge_server=SERVER.address,
        height=1,
        round=7,
        parent=EMPTY_DIGEST,
        updates=updates,
    )


def test_digest_is_that_of_eip_712():
    fields = [("task", "bytes32"), ("edgeServer", "address"), ("height", "uint256"), ("round", "uint256")]
    fields += [("parent", "bytes32"), ("root", "bytes32"), ("count", "uint256")]
    signable = encode_typed_data(
        domain_data={
            "name": "platoon",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": "0x" + DOMAIN.contract.hex(),
        },
        message_types={"LocalBlock": [{"name": name, "type": kind} for name, kind in fields]},
        message_data={
            "task": BLOCK.task,
            "edgeServer": "0x" + BLOCK.edge_server.hex(),
            "height": BLOCK.height,
            "round": BLOCK.round,
            "parent": BLOCK.parent,
            "root": BLOCK.root,
            "count": BLOCK.count,
        },
    )
    assert keccak(b"\x19" + signable.version + signable.header + signable.body) == BLOCK.digest


def test_a_block_does_not_depend_on_the_order_of_arrival():
    updates = [update(vehicle) for vehicle in VEHICLES]
    assert block_of(updates) == block_of(updates[::-1])
    assert block_of(updates).count == len(VEHICLES)


def test_every_update_of_a_block_can_be_proved():
    updates = [update(vehicle) for vehicle in VEHICLES]
    digests = compute_record_digests(updates)
    root = block_of(updates).root
    for i, digest in enumerate(digests):
        assert is_included(root, i, digest, compute_proof(digests, i))


def test_an_empty_block_has_a_root_of_zeros():
    assert (block_of([]).root, block_of([]).count) == (EMPTY_DIGEST, 0)


def test_invalid_two_updates_of_one_vehicle():
    with pytest.raises(ValueError, match="two updates of one vehicle"):
        block_of([update(VEHICLES[0]), update(VEHICLES[0], samples=1)])


@given(fleet=fleets, rules=committees)
def test_draw_takes_full_devices_above_the_floor_whatever_their_order(fleet, rules):
    order = draw_order(SEED, SERVER.address, fleet, rules)
    assert order == draw_order(SEED, SERVER.address, dict(reversed(fleet.items())), rules)
    assert set(order) == {
        vehicle
        for vehicle, standing in fleet.items()
        if standing.reputation >= rules.floor and is_full_device(standing.handle, rules.full_share)
    }


def test_draw_follows_the_seed_and_the_edge_server():
    orders = {
        draw_order(Digest(bytes([seed]) * 32), server.address, FLEET, CommitteeRules())
        for seed in range(5)
        for server in (SERVER, VEHICLES[0])
    }
    assert len(orders) == 10


def test_share_of_full_devices():
    many = range(1, 2001)
    for share in (0, 250_000, 800_000, MILLION):
        full = sum(is_full_device(handle, share) for handle in many)
        assert abs(full / len(many) - share / MILLION) < 0.04


@given(rules=committees, names=st.permutations([vehicle.address for vehicle in VEHICLES]))
def test_a_device_is_full_or_light_under_every_pseudonym(rules, names):
    """Nine vehicles under other names: as many may seal as before, and they are the same devices."""
    renamed = dict(zip(names, FLEET.values(), strict=True))
    before, after = (
        {fleet[name].handle for name in draw_order(SEED, SERVER.address, fleet, rules)}
        for fleet in (FLEET, renamed)
    )
    assert before == after


@given(fleet=fleets, rules=committees, data=st.data())
def test_a_committee_with_replacements_is_recognised(fleet, rules, data):
    order = draw_order(SEED, SERVER.address, fleet, rules)
    members = order[: rules.size]
    gone = data.draw(st.lists(st.sampled_from(members), unique=True)) if members else []
    committee = replace_members(order, rules.size, gone)
    assert is_committee(order, rules.size, committee)
    assert len(committee) == len(members)
    reserves = order[rules.size :]
    assert len(set(gone) & set(committee)) == max(0, len(gone) - len(reserves))


def test_a_committee_of_somebody_else_is_not_recognised():
    order = draw_order(SEED, SERVER.address, FLEET, CommitteeRules(size=4))
    assert is_committee(order, 4, order[:4])
    assert is_committee(order, 4, (*order[:3], order[4]))
    assert not is_committee(order, 4, (*order[:3], order[5]))  # not the next in the order
    assert not is_committee(order, 4, order[:3])  # nobody may be left out
    assert not is_committee(order[:4], 4, order[:3])  # nor where nobody can step in
    assert not is_committee(order, 4, (*order[:4], order[4]))
    assert not is_committee(order, 4, (*order[:3], order[0]))  # nobody counts twice


def test_a_quorum_of_a_committee():
    assert not has_quorum(1, 1)  # an edge server alone seals nothing
    for members in range(2, 8):
        assert has_quorum(compute_quorum(members), members)
        assert not has_quorum(compute_quorum(members) - 1, members)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1))
def test_unsealed_blocks_weigh_less_only_where_a_task_says_so(rows):
    products, sealed = [row[0] for row in rows], [row[1] for row in rows]
    assert discount_unsealed(products, sealed, MILLION) == products
    halved = discount_unsealed(products, sealed, 500_000)
    assert halved == [p * (MILLION if s else 500_000) for p, s in rows]
    if any(products) and all(sealed):
        assert compute_weights(halved) == compute_weights(products)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 7),
        ("size", -1),
        ("floor", MILLION + 1),
        ("full_share", -1),
        ("unsealed_weight", 0),
        ("reward", -1),
    ],
)
def test_invalid_committee_rules(key, value):
    with pytest.raises(ValueError, match=f"{key} = {value}: allowed"):
        CommitteeRules(**{key: value})

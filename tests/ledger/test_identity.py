"""Pseudonyms on the chain: one vehicle under many accounts, and every reason to refuse a change."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.ledger.audit import audit
from platoon.records.identity import Rotation, check_rotation, sign_rotation
from platoon.records.signing import sign_update, simulated_account

NEW = [simulated_account(1, "pseudonym", i) for i in range(4)]


def rotate(town, vehicle, renewed, *, server=0):
    """Vehicle number so and so goes on under another account."""
    rotation = sign_rotation(town.chain.registry, retired=town.vehicles[vehicle], renewed=renewed)
    receipt = town.send(town.servers[server], town.chain.membership.rotate([rotation]))
    assert receipt.ok
    if receipt.events[-1].values["count"]:
        town.vehicles[vehicle] = renewed
    return receipt


def refuse(town, account, call, reason):
    before = (town.chain.vehicles, town.chain.reputations().tolist())
    receipt = town.send(account, call)
    assert (receipt.ok, receipt.error) == (False, reason)
    assert (town.chain.vehicles, town.chain.reputations().tolist()) == before


def test_a_vehicle_keeps_its_reputation_and_its_number(town):
    town.play({0: 900_000, 1: 900_000})
    before = town.chain.reputations()
    old = town.vehicles[0].address
    rotate(town, 0, NEW[0])
    assert town.chain.vehicles[0] == NEW[0].address != old
    assert town.chain.reputations().tolist() == before.tolist()
    town.play({0: 900_000, 1: 900_000})
    assert {u.vehicle for u in town.chain.updates(2)} == {0, 1}
    renewed = next(u for u in town.chain.updates(2) if u.vehicle == 0)
    assert (renewed.address, renewed.reputation_before) == (NEW[0].address, before[0])
    assert town.chain.reputations()[0] > before[0]
    audited = list(audit(town.path))
    assert [u.address for u in audited[1].updates if u.vehicle == 0] == [old]
    assert [u.address for u in audited[2].updates if u.vehicle == 0] == [NEW[0].address]


def test_no_event_and_no_view_of_the_training_shows_the_link(town):
    town.play({0: 900_000})
    old = town.vehicles[0].address
    receipt = rotate(town, 0, NEW[0])
    said = [value for event in receipt.events for value in event.values.values()]
    assert old not in said
    assert NEW[0].address not in said
    call = town.chain.ledger.contracts.call("Training", "reputations", [old, NEW[0].address])
    assert town.chain.ledger.read(call)[0] == (town.chain.rules.start, town.chain.reputations()[0])


def test_a_rotation_survives_a_restart_also_in_the_middle_of_a_round(town):
    town.play({0: 900_000})
    town.record_all([0, 1])
    rotate(town, 0, NEW[0])
    rotate(town, 0, NEW[1])
    updates, vehicles = town.chain.updates(2), town.chain.vehicles
    town.chain.commit("middle")
    registered = [simulated_account(1, "vehicle", i).address for i in range(6)]
    town.chain.close()
    town.chain = type(town.chain).open(town.path, edge_servers=town.servers, vehicles=registered)
    assert town.chain.vehicles == vehicles
    assert town.chain.updates(2) == updates
    assert town.chain.updates(2)[0].reputation_before in town.chain.reputations()[:2]


def test_a_vehicle_records_once_a_round_whatever_its_name(town):
    assert town.record(0, town.update(0)).ok
    rotate(town, 0, NEW[0])
    receipt = town.record(1, town.update(0))
    assert [(event.name, event.values["reason"]) for event in receipt.events] == [("Refused", 2)]


def test_a_retired_pseudonym_records_nothing(town):
    old = town.vehicles[0]
    rotate(town, 0, NEW[0])
    update = sign_update(old, town.chain.task, round=1, digest=town.update(1).digest, samples=300)
    receipt = town.record(0, update)
    assert [(event.name, event.values["reason"]) for event in receipt.events] == [("Refused", 1)]


@pytest.mark.parametrize("named", ["now", "first", "second"])
def test_revocation_reaches_whatever_pseudonym_the_vehicle_has(town, named):
    first = town.vehicles[0].address
    rotate(town, 0, NEW[0])
    rotate(town, 0, NEW[1])
    account = {"first": first, "second": NEW[0].address, "now": NEW[1].address}[named]
    receipt = town.send(town.operator, town.chain.calls.revoke(account))
    assert receipt.events[0].values == {"account": NEW[1].address, "role": 2}
    assert [e.values["reason"] for e in town.record(0, town.update(0)).events] == [1]
    # and it cannot slip away under another name
    rotation = sign_rotation(town.chain.registry, retired=NEW[1], renewed=NEW[2])
    receipt = town.send(town.servers[0], town.chain.membership.rotate([rotation]))
    assert receipt.events[0].values["count"] == 0
    refuse(town, town.operator, town.chain.calls.revoke(first), "not registered")


def test_one_that_is_in_the_way_leaves_the_others_of_a_batch(town):
    separator = town.chain.registry
    rotate(town, 1, NEW[3])
    rotations = [
        sign_rotation(separator, retired=town.vehicles[0], renewed=NEW[0]),
        sign_rotation(separator, retired=town.vehicles[2], renewed=NEW[3]),  # taken by vehicle 1
        sign_rotation(separator, retired=town.stranger, renewed=NEW[1]),
        sign_rotation(separator, retired=town.vehicles[3], renewed=town.vehicles[4]),
    ]
    receipt = town.send(town.servers[1], town.chain.membership.rotate(rotations))
    assert receipt.events[0].values == {"edge_server": town.servers[1].address, "count": 1}
    assert town.chain.vehicles[0] == NEW[0].address
    assert town.chain.vehicles[2:5] == tuple(town.vehicles[i].address for i in (2, 3, 4))


def test_what_a_pseudonym_earned_stays_with_it(town):
    town.play({0: 900_000})
    earned, old = town.chain.balances()[0], town.vehicles[0].address
    assert earned > 0
    rotate(town, 0, NEW[0])
    assert town.chain.balances()[0] == 0
    assert town.chain.ledger.read(town.chain.ledger.contracts.call("Token", "balances", [old]))[0] == (
        earned,
    )


# ---- reasons to refuse ----


def test_invalid_rotation_replayed(town):
    rotation = sign_rotation(town.chain.registry, retired=town.vehicles[0], renewed=NEW[0])
    call = town.chain.membership.rotate([rotation])
    assert town.send(town.servers[0], call).events[0].values["count"] == 1
    assert town.send(town.servers[1], call).events[0].values["count"] == 0


def test_invalid_rotation_back_to_a_retired_account(town):
    old = town.vehicles[0]
    rotate(town, 0, NEW[0])
    assert rotate(town, 0, old).events[0].values["count"] == 0


def test_invalid_rotation_by_somebody_who_is_no_edge_server(town):
    rotation = sign_rotation(town.chain.registry, retired=town.vehicles[0], renewed=NEW[0])
    for account in (town.vehicles[0], town.operator, town.publisher, town.stranger):
        refuse(town, account, town.chain.membership.rotate([rotation]), "not an edge server")


def test_invalid_rotation_that_the_old_account_did_not_sign(town):
    stolen = sign_rotation(town.chain.registry, retired=town.stranger, renewed=NEW[0])
    forged = dataclasses.replace(stolen, retired=town.vehicles[0].address)
    refuse(town, town.servers[0], town.chain.membership.rotate([forged]), "bad signature of the old account")
    assert check_rotation(town.chain.registry, forged) == "bad signature of the old account"


def test_invalid_rotation_to_an_account_that_is_not_its_own(town):
    genuine = sign_rotation(town.chain.registry, retired=town.vehicles[0], renewed=NEW[0])
    forged = dataclasses.replace(genuine, renewed_signature=genuine.retired_signature)
    refuse(town, town.servers[0], town.chain.membership.rotate([forged]), "bad signature of the new account")
    assert check_rotation(town.chain.registry, forged) == "bad signature of the new account"


def test_invalid_rotation_signed_for_another_contract(town):
    rotation = sign_rotation(town.chain.task, retired=town.vehicles[0], renewed=NEW[0])
    refuse(
        town, town.servers[0], town.chain.membership.rotate([rotation]), "bad signature of the old account"
    )


def test_invalid_rotations_out_of_order(town):
    rotation = sign_rotation(town.chain.registry, retired=town.vehicles[0], renewed=NEW[0])
    call = town.chain.membership.rotate([rotation, rotation])
    refuse(town, town.servers[0], call, "vehicles not ascending")


def test_invalid_start_said_by_anybody_but_the_admission(town):
    call = town.chain.ledger.contracts.call("Registry", "begin", town.vehicles[0].address, 900_000)
    for account in (town.operator, town.servers[0], town.vehicles[0]):
        refuse(town, account, call, "only the admission")


def test_invalid_second_binding_of_an_admission(town):
    contracts = town.chain.ledger.contracts
    call = contracts.call("Registry", "bind", contracts.addresses["Admission"])
    refuse(town, town.operator, call, "bound before")
    refuse(town, town.stranger, call, "only the operator")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_rotations_from_arbitrary_bytes(data):
    if len(data) != 170:
        with pytest.raises(ValueError, match="a change of pseudonym of"):
            Rotation.decode(data)
    else:
        assert Rotation.decode(data).encode() == data


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=170, max_size=170))
def test_rotations_of_the_right_length_are_read_and_not_believed(data):
    rotation = Rotation.decode(data)
    assert rotation.encode() == data
    assert check_rotation(b"\x01" * 32, rotation) == "bad signature of the old account"

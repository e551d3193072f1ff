"""Proofs of inclusion: what is made can be checked alone, and whatever is changed in one is refused."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.conftest import Town

from platoon.errors import UserError, VerificationError
from platoon.ledger.proofs import check_proof, prove_update
from platoon.nouns import Digest, VehicleId
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.local_block import make_local_block

UPDATES = 3


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Edge server 0 has sealed a block of three updates; edge server 1 anchored alone, 2 and 3 not at all."""
    town = Town(tmp_path_factory.mktemp("proofs"))
    for server, fleet in ((0, range(UPDATES)), (1, [3]), (2, [4])):
        updates = [town.update(vehicle) for vehicle in fleet]
        assert town.record(server, *updates).ok
        account = town.servers[server]
        block = make_local_block(
            task=town.chain.task,
            edge_server=account.address,
            height=1,
            round=1,
            parent=EMPTY_DIGEST,
            updates=updates,
        )
        committee = [account, *(town.vehicles[:UPDATES] if server == 0 else [])]
        committee.sort(key=lambda member: member.address)
        seals = [member.sign(block.digest) for member in committee]
        if server < 2:
            call = town.chain.calls.anchor(block, [member.address for member in committee], seals)
            assert town.send(account, call).ok
    town.chain.commit("proofs")
    town.chain.close()
    return town


@pytest.fixture(scope="module")
def proof(town: Town) -> dict[str, Any]:
    return prove_update(town.path, VehicleId(1), 1)


@pytest.mark.parametrize("vehicle", range(4))
def test_every_anchored_update_is_proved(town: Town, vehicle: int) -> None:
    made = prove_update(town.path, VehicleId(vehicle), 1)
    proved = check_proof(json.loads(json.dumps(made)))
    assert proved.update == town_update(town, vehicle)
    assert proved.block.sealed == (vehicle < UPDATES)
    assert len(proved.sealers) == 3


def town_update(town: Town, vehicle: int) -> Any:
    return town.update(vehicle, round=1)


def test_a_proof_is_held_against_a_root(proof: dict[str, Any]) -> None:
    proved = check_proof(proof)
    assert proved.root == ""
    for root, name in (
        (proved.block.root, "the local block's root"),
        (proved.block.digest, "the local block's hash"),
        (proved.global_block, "the global block's hash"),
    ):
        assert check_proof(proof, root).root == name


def test_invalid_root(proof: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match=f"root {'ee' * 32}: neither"):
        check_proof(proof, b"\xee" * 32)


@pytest.mark.parametrize(
    ("vehicle", "round_number", "words"),
    [
        (99, 1, "vehicle 99: allowed: 0 to 5"),
        (-1, 1, "vehicle -1: allowed"),
        (5, 1, "no update of it is recorded in round 1"),
        (1, 7, "no update of it is recorded in round 7"),
        (4, 1, "anchored no local block in round 1"),
    ],
)
def test_invalid_question(town: Town, vehicle: int, round_number: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        prove_update(town.path, VehicleId(vehicle), round_number)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every leaf of a JSON value."""
    if isinstance(value, dict):
        return [place for key in value for place in places(value[key], (*path, key))]
    if isinstance(value, list):
        return [place for i in range(len(value)) for place in places(value[i], (*path, i))]
    return [path]


def change(value: Any, draw: Callable[..., Any]) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(st.integers(0, 2**256 - 1).filter(lambda other: other != value))
    if not value:
        return "00"
    at = draw(st.integers(0, len(value) - 1))
    return (
        value[:at]
        + draw(st.sampled_from("0123456789abcdef").filter(lambda c: c != value[at]))
        + value[at + 1 :]
    )


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_proof_is_refused(proof: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(proof)
    *parents, last = data.draw(st.sampled_from(places(proof)))
    inner = changed
    for key in parents:
        inner = inner[key]
    inner[last] = change(inner[last], data.draw)
    with pytest.raises((VerificationError, UserError)):
        check_proof(changed)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_is_missing_or_of_another_type_is_bad_input(
    proof: dict[str, Any], data: st.DataObject
) -> None:
    changed = copy.deepcopy(proof)
    *parents, last = data.draw(
        st.sampled_from([place for place in places(proof) if isinstance(place[-1], str)])
    )
    inner = changed
    for key in parents:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = data.draw(st.sampled_from([None, [], {}, 1.5, "zz", [[]]]))
    with pytest.raises(UserError):
        check_proof(changed)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_invalid_anything_else_is_no_proof(value: object) -> None:
    with pytest.raises(UserError):
        check_proof(value)


def test_invalid_update_of_another_vehicle(proof: dict[str, Any], town: Town) -> None:
    changed = copy.deepcopy(proof)
    other = prove_update(town.path, VehicleId(2), 1)
    changed["update"] = other["update"]
    with pytest.raises(VerificationError, match="path: it does not lead"):
        check_proof(changed)


def test_invalid_quorum_one_short(proof: dict[str, Any]) -> None:
    changed = copy.deepcopy(proof)
    changed["block"]["seals"] = changed["block"]["seals"][:2]
    with pytest.raises(VerificationError, match="seals lack a quorum"):
        check_proof(changed)


def test_invalid_duplicate_signer(proof: dict[str, Any]) -> None:
    changed = copy.deepcopy(proof)
    changed["block"]["seals"][1] = changed["block"]["seals"][0]
    with pytest.raises(VerificationError, match="signers not ascending"):
        check_proof(changed)


def test_invalid_block_that_was_never_anchored(proof: dict[str, Any], town: Town) -> None:
    """A genuine block of edge server 2, sealed by itself, in the clothes of another's anchor."""
    changed = copy.deepcopy(proof)
    account, update = town.servers[2], town_update(town, 4)
    block = make_local_block(
        task=update.task,
        edge_server=account.address,
        height=1,
        round=1,
        parent=EMPTY_DIGEST,
        updates=[update],
    )
    changed["update"] = {
        "vehicle": update.vehicle.hex(),
        "digest": update.digest.hex(),
        "samples": update.samples,
        "signature": update.signature.hex(),
    }
    changed["path"] = {"position": 0, "siblings": []}
    changed["block"] = {
        "edge_server": account.address.hex(),
        "height": 1,
        "parent": block.parent.hex(),
        "root": block.root.hex(),
        "count": 1,
        "sealed": False,
        "committee": [account.address.hex()],
        "seals": [account.sign(block.digest).hex()],
    }
    with pytest.raises(VerificationError, match="anchor: sent by another than the edge server"):
        check_proof(changed)


def test_invalid_anchor_that_the_contract_refused(tmp_path: Path) -> None:
    """The transaction is in the chain, its receipt says why it did nothing."""
    town = Town(tmp_path)
    update = town.update(0)
    assert town.record(0, update).ok
    account = town.servers[0]
    block = make_local_block(
        task=town.chain.task,
        edge_server=account.address,
        height=2,
        round=1,
        parent=Digest(b"\x01" * 32),
        updates=[update],
    )
    refused = town.send(
        account, town.chain.calls.anchor(block, [account.address], [account.sign(block.digest)])
    )
    assert refused.error == "not on the tip of its chain"
    town.chain.commit("refused")
    with pytest.raises(UserError, match="anchored no local block"):
        prove_update(town.path, VehicleId(0), 1)

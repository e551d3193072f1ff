"""Local blocks in the round: committees seal on any network; who drives away, refuses or forges is replaced once;
without a quorum the edge server anchors alone; and nobody signs what is not so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Never

import pytest
from tests.protocol.conftest import Play, Played

from platoon.drivers.lossy import Faults, Network
from platoon.ledger.audit import AuditedLocalBlock, audit
from platoon.ledger.history import show_vehicle
from platoon.ledger.proofs import check_proof, prove_update
from platoon.ledger.task_chain import Ground, LocalTip
from platoon.nouns import Address, Digest, EdgeServerId, SignedUpdate, VehicleId, seconds
from platoon.protocol import peers
from platoon.protocol.effects import (
    ChangePseudonym,
    Consult,
    Received,
    Seal,
    Send,
    SignBlock,
    SignUpdate,
    Steps,
    Train,
    Trained,
    Unseal,
)
from platoon.protocol.messages import (
    COORDINATOR,
    RENEW,
    LocalSeals,
    Message,
    RenewRequest,
    SealReply,
    SealRequest,
    TrainRequest,
    vehicle_peer,
)
from platoon.protocol.sealing import Proposal, accept_seals, find_fault
from platoon.records.committee import CommitteeRules, is_full_device
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.identity import sign_rotation
from platoon.records.local_block import make_local_block
from platoon.records.sealed import TaskOrder
from platoon.records.signing import Account, sign_update, simulated_account

EVERYBODY = frozenset(VehicleId(i) for i in range(9))
ALL_FULL = {"committee.full_share": 1.0, "task.rounds": 3}
ONE_SERVER = {**ALL_FULL, "radio.rsus": 1, "round.participants": 9}


def blocks_of(played: Played) -> list[AuditedLocalBlock]:
    """The local blocks that the played task has anchored, checked by the audit."""
    played.chain.ledger.close()
    path = played.path
    return [local for audited in audit(path) for local in audited.local_blocks]


def test_every_edge_server_anchors_a_block_a_round(play: Play) -> None:
    played = play(overrides=ALL_FULL)
    blocks = blocks_of(played)
    assert len(blocks) == 3 * 4
    assert all(local.is_recorded and local.is_drawn for local in blocks)
    assert [tip.height for tip in played.chain.local_tips()] == [3] * 4
    assert sum(local.block.count for local in blocks) == sum(
        len(record.settled.merged.judged.updates) for record in played.records
    )
    # a block is sealed where anybody could seal it with its edge server
    assert all(local.block.sealed == (local.block.count > 0) for local in blocks)


def test_lossy_networks_seal_the_same_blocks(play: Play) -> None:
    perfect = blocks_of(play())
    lossy = blocks_of(play(network=Network(seed=3, drop=0.3, repeat=0.3, delay=seconds(1.0))))
    # seeds of the draws are the same as long as the global blocks are, so in the first round
    first = [local.block for local in perfect if local.block.round == 1]
    assert first == [local.block for local in lossy if local.block.round == 1]
    assert all(local.is_recorded and local.is_drawn for local in lossy)


def test_the_reward_of_sealing_is_paid_from_its_own_budget(play: Play) -> None:
    paid, unpaid = play(overrides=ALL_FULL), play(overrides={**ALL_FULL, "reward.sealing_tokens": 0.0})
    assert paid.chain.escrow_left() == unpaid.chain.escrow_left()
    assert paid.chain.reputations().tolist() == unpaid.chain.reputations().tolist()
    sealed = sum(local.block.sealed for local in blocks_of(paid))
    reward = paid.chain.committee.reward
    assert 3 * 4 * reward - paid.chain.sealing_left() in range(sealed * (reward - 7), sealed * reward + 1)
    assert paid.chain.balances().sum() > unpaid.chain.balances().sum()


def test_a_member_that_drives_away_is_replaced_once(play: Play) -> None:
    """One edge server, nine vehicles, six members: two leave, the next two of the order seal instead."""
    order = blocks_of(play(overrides=ONE_SERVER))[0].committee
    undisturbed = [v for v in range(9) if vehicle_address(v) in order]
    gone = frozenset(VehicleId(v) for v in undisturbed[:3])
    blocks = blocks_of(play(faults=Faults(left=gone), overrides=ONE_SERVER))
    first = blocks[0]
    assert first.block.sealed
    assert first.is_drawn
    assert set(first.committee) != set(order)
    assert len(first.committee) == 7
    assert not {vehicle_address(v) for v in gone} & set(first.signers)


def vehicle_address(vehicle: int) -> Address:
    return simulated_account(5, "vehicle", vehicle).address


def test_a_quorum_waits_for_no_replacement(play: Play) -> None:
    """Five of seven are enough: one that is gone is missed, and not replaced."""
    order = blocks_of(play(overrides=ONE_SERVER))[0].committee
    gone = next(VehicleId(v) for v in range(9) if vehicle_address(v) in order)
    first = blocks_of(play(faults=Faults(left=frozenset({gone})), overrides=ONE_SERVER))[0]
    assert first.committee == order
    assert len(first.signers) == 6


@pytest.mark.parametrize("kind", ["left", "forging"])
def test_without_a_quorum_the_edge_server_anchors_alone(play: Play, kind: str) -> None:
    """Updates of unsealed blocks count by default, and the blocks are flagged."""
    usual = play(overrides=ALL_FULL)
    played = play(faults=Faults(**{kind: EVERYBODY}), overrides=ALL_FULL)
    assert [record.outcome for record in played.records] == ["merged"] * 3
    assert played.final.model == usual.final.model
    assert [tip.unsealed for tip in played.chain.local_tips()] == [3] * 4
    blocks = blocks_of(played)
    assert not any(local.block.sealed for local in blocks)
    assert all(local.committee == local.signers == (local.block.edge_server,) for local in blocks)


def test_a_forger_does_not_stop_the_others(play: Play) -> None:
    order = blocks_of(play(overrides=ONE_SERVER))[0].committee
    forger = next(VehicleId(v) for v in range(9) if vehicle_address(v) in order)
    first = blocks_of(play(faults=Faults(forging=frozenset({forger})), overrides=ONE_SERVER))[0]
    assert first.block.sealed
    assert vehicle_address(forger) not in first.signers


def test_unsealed_blocks_weigh_less_where_the_scenario_says_so(play: Play) -> None:
    """Vehicles at edge server 1 do not seal; at a tenth of the weight they move the model less, and the audit
    computes the same weights."""
    faults = Faults(left=frozenset(VehicleId(v) for v in range(9) if v % 4 == 1))
    played = play(faults=faults, overrides={**ALL_FULL, "committee.unsealed_weight": 0.1})
    usual = play(faults=faults, overrides=ALL_FULL)
    weights, full = (p.records[0].settled.merged.weights for p in (played, usual))
    outside = [vehicle for vehicle in full if vehicle % 4 == 1]
    assert outside
    assert sum(weights[v] for v in outside) < sum(full[v] for v in outside)
    played.chain.ledger.close()
    first = next(audited for audited in audit(played.path) if audited.round == 1)
    assert {u.vehicle: u.weight for u in first.updates if u.weight} == weights


def test_no_committee_where_the_scenario_wants_none(play: Play) -> None:
    blocks = blocks_of(play(overrides={**ALL_FULL, "committee.size": 0}))
    assert len(blocks) == 12
    assert not any(local.block.sealed for local in blocks)


def test_vehicles_below_the_floor_do_not_seal(play: Play) -> None:
    played = play(overrides={**ALL_FULL, "committee.floor": 0.99})
    assert not any(local.block.sealed for local in blocks_of(played))


def test_light_devices_do_not_seal(play: Play) -> None:
    assert not any(local.block.sealed for local in blocks_of(play(overrides={"committee.full_share": 0.0})))


def test_a_dead_edge_server_anchors_nothing_and_goes_on_later(play: Play) -> None:
    played = play(faults=Faults(dead=frozenset({EdgeServerId(2)})), overrides=ALL_FULL)
    assert [tip.height for tip in played.chain.local_tips()] == [3, 3, 0, 3]


# ---- what a member signs --------------------------------------------------------------------------------

TASK = Digest(b"\x33" * 32)
SERVER = simulated_account(5, "edge server", 0)
FLEET = [simulated_account(5, "vehicle", i) for i in range(3)]
GROUND = Ground(head=Digest(b"\x01" * 32), tips=(LocalTip(edge_server=SERVER.address),), standings={})


def update_of(account: Account, *, round: int = 4, task: Digest = TASK) -> SignedUpdate:
    return sign_update(account, task, round=round, digest=Digest(b"\x09" * 32), samples=10)


UPDATES = tuple(update_of(account) for account in FLEET)


def request_of(updates: tuple[SignedUpdate, ...] = UPDATES, **changes: object) -> SealRequest:
    fields = {"task": TASK, "edge_server": SERVER.address, "height": 1, "round": 4, "parent": EMPTY_DIGEST}
    block = make_local_block(updates=updates, **{**fields, **changes})  # type: ignore[arg-type]
    return SealRequest(round=4, block=block, updates=updates)


def test_a_member_signs_the_block_that_holds_its_update() -> None:
    assert find_fault(UPDATES[0], request_of(), GROUND) is None


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (request_of(UPDATES[1:]), "left out or changed"),
        (request_of((replace(UPDATES[0], digest=Digest(b"\x08" * 32)), *UPDATES[1:])), "left out or changed"),
        (request_of((UPDATES[0], replace(UPDATES[1], samples=999))), "not genuine"),
        (request_of((UPDATES[0], update_of(FLEET[1], round=3))), "not genuine"),
        (request_of((UPDATES[0], update_of(FLEET[1], task=Digest(b"\x34" * 32)))), "not genuine"),
        (request_of(height=2), "on the tip"),
        (request_of(parent=Digest(b"\x05" * 32)), "on the tip"),
        (request_of(round=5), "on the tip"),
        (request_of(task=Digest(b"\x34" * 32)), "on the tip"),
        (request_of(edge_server=FLEET[0].address), "no edge server of the task"),
        (replace(request_of(), updates=UPDATES[:2]), "on the tip"),
        (replace(request_of(), updates=(*UPDATES, UPDATES[0])), "two updates of one vehicle"),
        (replace(request_of(), round=5), "no update of mine"),
    ],
)
def test_invalid_block_for_a_member(request_: SealRequest, fault: str) -> None:
    assert fault in (find_fault(UPDATES[0], request_, GROUND) or "")


def test_invalid_block_on_a_forked_chain() -> None:
    forked = replace(GROUND, tips=(replace(GROUND.tips[0], forked=True),))
    assert "forked" in (find_fault(UPDATES[0], request_of(), forked) or "")


def test_invalid_block_for_somebody_who_did_not_take_part() -> None:
    assert "no update of mine" in (find_fault(None, request_of(), GROUND) or "")


class Rules:
    """What a vehicle knows of its task."""

    task = Digest(b"\x01" * 32)
    registry = Digest(b"\x03" * 32)
    coordinator = b"\x02" * 20


def start_vehicle(renews: bool = False) -> Callable[[SealRequest], object]:
    """A vehicle whose update of round 4 is out; returns what it does with a seal request.

    ``renews``: it has changed its pseudonym since.
    """
    steps = peers.vehicle(VehicleId(0), Rules())  # type: ignore[arg-type]
    next(steps)
    assert isinstance(steps.send(_received(TrainRequest(round=4, packet=b""))), Unseal)
    order = TaskOrder(model=Digest(b"\x02" * 32), deadline=seconds(9.0))  # type: ignore[arg-type]
    effect = steps.send(order.encode())
    assert isinstance(effect, Train)
    effect = steps.send(Trained(digest=Digest(b"\x09" * 32), samples=10))
    assert isinstance(effect, SignUpdate)
    assert isinstance(steps.send(UPDATES[0]), Send)
    steps.send(None)
    if renews:
        _renew(steps)

    def ask(request: SealRequest) -> object:
        effect = steps.send(_received(request))
        if isinstance(effect, Consult):
            effect = steps.send(GROUND)
        if isinstance(effect, SignBlock):
            effect = steps.send(b"signature of " + effect.block.digest)
        if isinstance(effect, Send):
            steps.send(None)
            return effect.messages[0].body
        return None

    return ask


def _renew(steps: Steps[Never]) -> None:
    assert isinstance(steps.send(_received(RenewRequest(round=4, packet=b""))), Unseal)
    assert isinstance(steps.send(RENEW), ChangePseudonym)
    renewed = simulated_account(1, "renewed", 0)
    assert isinstance(steps.send(sign_rotation(Rules.registry, retired=FLEET[0], renewed=renewed)), Seal)
    assert isinstance(steps.send((b"sealed",)), Send)
    steps.send(None)


def _received(body: object) -> Received:
    message = Message(sender=COORDINATOR, receiver=vehicle_peer(VehicleId(0)), body=body)  # type: ignore[arg-type]
    return Received(message=message, at=seconds(1.0))  # type: ignore[arg-type]


def test_a_member_answers_a_repeated_request_alike() -> None:
    ask = start_vehicle()
    first = ask(request_of())
    assert isinstance(first, SealReply)
    assert ask(request_of()) == first


def test_a_member_never_signs_a_second_block_of_a_round() -> None:
    """Asked for another one it repeats what it signed: a signature of the first block, which fits no other."""
    ask = start_vehicle()
    first = ask(request_of())
    assert ask(request_of(UPDATES[:2])) == first


def test_a_member_is_silent_to_a_block_without_its_update() -> None:
    ask = start_vehicle()
    assert ask(request_of(UPDATES[1:])) is None
    assert ask(request_of()) is not None


def test_a_member_seals_nothing_more_once_its_pseudonym_has_changed() -> None:
    """A late request: the new account's seal of a block with the old one's update would link the two."""
    assert start_vehicle(renews=True)(request_of()) is None


def test_committees_seal_under_changing_pseudonyms(play: Play) -> None:
    """Everybody changes after every round: blocks are sealed by the accounts of their round, and each update is
    proved for its vehicle's number whatever the account is called now."""
    network = Network(seed=4, drop=0.1, repeat=0.2, delay=seconds(0.5))
    played = play(network=network, overrides={**ALL_FULL, "trust.pseudonym_rounds": 1})
    plain = play(overrides=ALL_FULL)
    played.chain.ledger.close()
    plain.chain.ledger.close()
    rounds, expected = list(audit(played.path))[1:], list(audit(plain.path))[1:]
    assert [[u.vehicle for u in a.updates] for a in rounds] == [
        [u.vehicle for u in a.updates] for a in expected
    ]
    blocks = [local for audited in rounds for local in audited.local_blocks]
    assert all(local.is_recorded and local.is_drawn for local in blocks)
    assert sum(local.block.sealed for local in blocks) > 0
    for audited in rounds:
        accounts = {update.address for update in audited.updates}
        for local in audited.local_blocks:
            assert set(local.committee) - {local.block.edge_server} <= accounts
        for update in audited.updates:
            proved = check_proof(prove_update(played.path, update.vehicle, audited.round))
            assert (proved.update.vehicle, proved.update.digest) == (update.address, update.digest)
    assert played.path is not None
    for vehicle in {update.vehicle for audited in rounds for update in audited.updates}:
        shown = show_vehicle(played.path, str(vehicle))
        accounts = [*shown["earlier_addresses"], shown["address"]]
        mine = [(a.round, u) for a in rounds for u in a.updates if u.vehicle == vehicle]
        assert [row["round"] for row in shown["rounds"]] == [number for number, _ in mine]
        assert {f"0x{update.address.hex()}" for _, update in mine} <= set(accounts)
        assert len(set(accounts)) == len(accounts) > 1
        assert shown["reputation"] == mine[-1][1].reputation_after
        assert all(show_vehicle(played.path, account) == shown for account in accounts)
    renewed = {u.address for a in rounds for u in a.updates} - {
        u.address for a in expected for u in a.updates
    }
    assert renewed


def test_light_devices_do_not_seal_under_another_name_either(play: Play) -> None:
    """Half the fleet are light devices; after four changes of pseudonym nobody of them has been in a committee, and
    the audit draws the same."""
    overrides = {"committee.full_share": 0.5, "trust.pseudonym_rounds": 1, "task.rounds": 5}
    played = play(overrides=overrides)
    played.chain.ledger.close()
    full = {vehicle for vehicle in range(9) if is_full_device(vehicle + 1, 500_000)}
    assert 0 < len(full) < 9
    sealed = 0
    for audited in audit(played.path):
        numbers = {update.address: update.vehicle for update in audited.updates}
        for local in audited.local_blocks:
            assert local.is_drawn
            members = [numbers[member] for member in local.committee if member != local.block.edge_server]
            assert set(members) <= full
            sealed += bool(members)
    assert sealed


# ---- what an edge server takes --------------------------------------------------------------------------

PROPOSAL = Proposal(
    block=request_of().block, updates=UPDATES, order=tuple(account.address for account in FLEET)
)
SEALS = tuple(account.sign(PROPOSAL.block.digest) for account in FLEET)
VEHICLES = tuple(account.address for account in FLEET)


def test_an_edge_server_takes_a_committees_seals() -> None:
    taken = accept_seals(CommitteeRules(), PROPOSAL, LocalSeals(vehicles=VEHICLES, seals=SEALS))
    assert set(taken) == set(VEHICLES)


@pytest.mark.parametrize(
    "local",
    [
        LocalSeals(),
        LocalSeals(vehicles=VEHICLES, seals=SEALS[:1]),  # two of four: one short
        LocalSeals(vehicles=VEHICLES[:2], seals=SEALS[:2]),  # not the committee that was drawn
        LocalSeals(vehicles=VEHICLES, seals=(SEALS[0], SEALS[0], SEALS[0])),  # one signer thrice
        LocalSeals(vehicles=VEHICLES, seals=(*SEALS[:2], b"\x01" * 65)),
        LocalSeals(vehicles=VEHICLES, seals=(*SEALS[:2], SERVER.sign(PROPOSAL.block.digest))),
        LocalSeals(vehicles=VEHICLES, seals=tuple(account.sign(EMPTY_DIGEST) for account in FLEET)),
    ],
)
def test_invalid_seals_for_an_edge_server(local: LocalSeals) -> None:
    assert accept_seals(CommitteeRules(), PROPOSAL, local) == {}

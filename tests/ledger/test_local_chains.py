"""Local chains on the global one: every reason to refuse an anchor, a fork's evidence or a release, in the EVM; the
reference model beside it must say the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.test_contracts_equal_model import (
    OPERATOR,
    PUBLISHER,
    SERVERS,
    SET,
    STRANGER,
    VEHICLES,
    Pair,
)

from platoon.nouns import Digest
from platoon.records.committee import CommitteeRules
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.local_block import LocalBlock, compute_record_digests, make_local_block
from platoon.records.merkle import compute_leaf, compute_proof
from platoon.records.rules import MAX_UPDATES, Rule, Rules
from platoon.records.signing import ORDER, sign_update, simulated_account

SERVER = SERVERS[0]
REWARD = 1_000


class Lane:
    """A task in whose first round everything has reached one edge server."""

    def __init__(self, size: int = 6) -> None:
        self.pair = Pair(Rules(rule=Rule.NONE), committee=CommitteeRules(size=size, reward=REWARD))
        self.task = self.pair.model.training.task
        at = SET.addresses["Sealing"]
        assert self.pair.both(PUBLISHER, "Token", "approve", at, 10 * REWARD)
        assert self.pair.both(PUBLISHER, "Sealing", "fund", 10 * REWARD)
        self.updates = [
            sign_update(vehicle, self.task, round=1, digest=Digest(bytes([i]) * 32), samples=100 + i)
            for i, vehicle in enumerate(sorted(VEHICLES, key=lambda a: a.address))
        ]

    def block(self, **changes: Any) -> LocalBlock:
        """The block of the first round, or one that differs."""
        block = make_local_block(
            task=self.task,
            edge_server=SERVER.address,
            height=1,
            round=1,
            parent=EMPTY_DIGEST,
            updates=self.updates,
        )
        fields = ("task", "edge_server", "height", "round", "parent", "root", "count")
        return LocalBlock(**{**{name: getattr(block, name) for name in fields}, **changes})

    def anchor(
        self,
        block: LocalBlock | None = None,
        *,
        members: Any = (SERVER, *VEHICLES),
        signers: Any = (SERVER, *VEHICLES),
        seals: Any = None,
        sender: Any = SERVER,
    ) -> str:
        """Anchors in both; the reason of a refusal, or nothing."""
        block = block or self.block()
        committee = sorted(member.address for member in members)
        return self.call(
            sender, "Checkpoint", "anchor", *facts(block)[1:], committee, seals or seal(block, signers)
        )

    def call(self, sender: Any, contract: str, name: str, *arguments: Any) -> str:
        """One call to both; the reason of a refusal, or nothing."""
        pair = self.pair
        call = SET.call(contract, name, *arguments)
        before = pair.read()
        execution = pair.machine.execute(sender.address, SET.addresses[contract], call.data, call.gas)
        outcome = pair.model.apply(sender.address, contract, name, arguments)
        assert (execution.ok, execution.error) == (outcome.ok, outcome.error)
        assert tuple(SET.decode_log(log) for log in execution.logs) == outcome.events
        after = pair.read()
        assert execution.ok or after == before
        pair.compare(after)
        return execution.error

    def claims(self, signers: Any) -> tuple[list[Any], list[Digest]]:
        """What the vehicles among the signers must prove."""
        digests = compute_record_digests(self.updates)
        claims, proof = [], []
        for position, update in enumerate(self.updates):
            if update.vehicle in signers:
                path = compute_proof(digests, position)
                claims.append((update.vehicle, update.digest, update.samples, position, len(path)))
                proof += path
        return claims, proof

    def release(self, *, sender: Any = SERVER, round: int = 1, **changes: Any) -> str:
        """Releases in both; ``changes`` to signers, claims or proof."""
        signers = changes.get("signers", sorted(account.address for account in (SERVER, *VEHICLES)))
        claims, proof = self.claims(signers)
        return self.call(
            sender,
            "Sealing",
            "release",
            SERVER.address,
            round,
            signers,
            changes.get("claims", claims),
            changes.get("proof", proof),
        )


def facts(block: LocalBlock) -> tuple[Any, ...]:
    return (block.edge_server, block.round, block.height, block.parent, block.root, block.count)


def seal(block: LocalBlock, signers: Any) -> list[tuple[int, int, int]]:
    ordered = sorted(signers, key=lambda account: account.address)
    return [split(account.sign(block.digest)) for account in ordered]


def split(signature: bytes) -> tuple[int, int, int]:
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


@pytest.fixture
def lane() -> Lane:
    return Lane()


def test_a_sealed_block_is_anchored(lane):
    assert lane.anchor() == ""
    height, _, _, digest = lane.pair.view("Checkpoint", "tips", [SERVER.address])[0]
    assert (height, digest) == (1, lane.block().digest)


def test_a_quorum_is_enough(lane):
    assert lane.anchor(signers=(SERVER, *VEHICLES[:3])) == ""  # 4 of 5


def test_an_edge_server_alone_is_unsealed(lane):
    assert lane.anchor(members=(SERVER,), signers=(SERVER,)) == ""
    assert lane.pair.view("Checkpoint", "tips", [SERVER.address])[0][2] == 1
    assert not lane.pair.model.checkpoint.is_sealed(SERVER.address, 1)


def test_the_next_block_follows_the_last(lane):
    assert lane.anchor() == ""
    finish_round(lane.pair)
    second = lane.block(round=2, height=2, parent=lane.block().digest, root=EMPTY_DIGEST, count=0)
    assert lane.anchor(second) == ""


def finish_round(pair: Pair) -> None:
    number = pair.model.training.open.round
    for server in SERVERS:
        pair.both(server, "Training", "record", number, [])
    assert pair.both(SERVER, "Training", "judge", number)
    assert pair.both(SERVER, "Training", "settle", number)


def test_invalid_quorum_one_short(lane):
    assert lane.anchor(signers=(SERVER, *VEHICLES[:2])) == "seals lack a quorum"


def test_invalid_duplicate_signer(lane):
    seals = seal(lane.block(), (SERVER, *VEHICLES))
    assert lane.anchor(seals=[*seals[:4], seals[3]]) == "signers not ascending"


def test_invalid_signers_out_of_order(lane):
    assert lane.anchor(seals=seal(lane.block(), (SERVER, *VEHICLES))[::-1]) == "signers not ascending"


def test_invalid_seal_of_an_outsider(lane):
    assert lane.anchor(members=(SERVER, *VEHICLES[:3])) == "not of the committee"


def test_invalid_without_the_edge_servers_own_seal(lane):
    assert lane.anchor(signers=VEHICLES) == "the edge server did not seal"


def test_invalid_seal_with_high_s(lane):
    seals = seal(lane.block(), (SERVER, *VEHICLES))
    v, r, s = seals[0]
    assert lane.anchor(seals=[(55 - v, r, ORDER - s), *seals[1:]]) == "bad seal"


@pytest.mark.parametrize(
    "forged", [(26, 1, 1), (29, 1, 1), (27, 0, 1), (27, 1, 0), (27, 2**256 - 1, 1), (27, 5, 1)]
)
def test_invalid_seal_that_is_no_signature(lane, forged):
    assert lane.anchor(seals=[forged, *seal(lane.block(), (SERVER, *VEHICLES))[1:]]) == "bad seal"


def test_invalid_seal_of_another_block(lane):
    # the signature then belongs to an account that nobody knows
    other = seal(lane.block(count=3), (SERVER, *VEHICLES))
    assert lane.anchor(seals=other) in ("not of the committee", "signers not ascending")


def test_invalid_committee_member_unknown(lane):
    assert lane.anchor(members=(SERVER, *VEHICLES, STRANGER)) == "not a member"


def test_invalid_committee_member_of_another_role(lane):
    assert lane.anchor(members=(SERVER, SERVERS[1]), signers=(SERVER, SERVERS[1])) == "not a member"


def test_invalid_committee_member_revoked(lane):
    assert lane.pair.both(OPERATOR, "Registry", "revoke", VEHICLES[0].address)
    assert lane.anchor() == "not a member"


def test_invalid_committee_without_the_edge_server(lane):
    assert lane.anchor(members=VEHICLES) == "the edge server is not of the committee"


def test_invalid_committee_member_twice(lane):
    assert lane.anchor(members=(SERVER, *VEHICLES, VEHICLES[0])) == "members not ascending"


def test_invalid_committee_too_large():
    assert Lane(size=3).anchor() == "committee too large"
    assert Lane(size=4).anchor() == ""


def test_invalid_committee_beyond_the_contracts_bound():
    lane = Lane()
    more = [simulated_account(2, "more", i) for i in range(3)]
    assert lane.pair.both(OPERATOR, "Registry", "register", 2, [account.address for account in more])
    everybody = (SERVER, *VEHICLES, *more[:2])
    assert lane.anchor(members=everybody, signers=everybody) == ""  # six vehicles
    crowd = (SERVER, *VEHICLES, *more)
    block = lane.block(round=1)
    assert lane.anchor(block, members=crowd, signers=everybody) == "reverted"


def test_invalid_sender_not_an_edge_server(lane):
    assert lane.anchor(sender=VEHICLES[0]) == "not an edge server"
    assert lane.pair.both(OPERATOR, "Registry", "revoke", SERVER.address)
    assert lane.anchor() == "not an edge server"


@pytest.mark.parametrize("round", [0, 2, 2**256 - 1])
def test_invalid_wrong_round(lane, round):
    assert lane.anchor(lane.block(round=round)) == "another round is open"


def test_invalid_second_block_of_a_round(lane):
    assert lane.anchor() == ""
    assert lane.anchor() == "anchored before"
    assert lane.anchor(lane.block(height=2, parent=lane.block().digest)) == "anchored before"


@pytest.mark.parametrize("change", [{"height": 0}, {"height": 2}, {"parent": Digest(b"\x01" * 32)}])
def test_invalid_not_on_the_tip(lane, change):
    assert lane.anchor(lane.block(**change)) == "not on the tip of its chain"


@pytest.mark.parametrize("change", [{"count": 0}, {"root": EMPTY_DIGEST}, {"count": MAX_UPDATES + 1}])
def test_invalid_count(lane, change):
    assert lane.anchor(lane.block(**change)) == "count"


def test_invalid_anchor_of_a_closed_task(lane):
    assert lane.pair.both(PUBLISHER, "Training", "close")
    assert lane.anchor() == "the task is closed"


# ---- inclusion --------------------------------------------------------------------------------------------------


def included(lane: Lane, position: int, digest: Digest, proof: list[Digest], round: int = 1) -> bool:
    said = lane.pair.view("Checkpoint", "is_included", SERVER.address, round, position, digest, proof)
    assert said == lane.pair.model.checkpoint.is_included(SERVER.address, round, position, digest, proof)
    return bool(said)


def test_every_record_is_included_and_no_other(lane):
    assert lane.anchor() == ""
    digests = compute_record_digests(lane.updates)
    for position, digest in enumerate(digests):
        proof = compute_proof(digests, position)
        assert included(lane, position, digest, proof)
        assert not included(lane, position, digest, proof, round=2)
        assert not included(lane, (position + 1) % 4, digest, proof)
        assert not included(lane, position, digest, proof[:-1])
        assert not included(lane, position, digest, [*proof, digest])


def test_invalid_forged_inclusion(lane):
    assert lane.anchor() == ""
    digests = compute_record_digests(lane.updates)
    forged = Digest(b"\xee" * 32)
    assert not included(lane, 0, forged, compute_proof(digests, 0))
    # a node of the tree is no record, and neither is the root
    node = compute_leaf(0, digests[0])
    assert not included(lane, 0, node, compute_proof(digests, 0)[1:])
    assert not included(lane, 0, lane.block().root, [])
    assert not included(lane, 4, digests[0], compute_proof(digests, 0))


# ---- forks ------------------------------------------------------------------------------------------------------


def report(lane: Lane, block: LocalBlock, signers: Any, sender: Any = SERVERS[1]) -> str:
    return lane.call(sender, "Checkpoint", "report_fork", *facts(block), seal(block, signers))


def test_two_roots_for_one_height_are_evidence_of_a_fork(lane):
    assert lane.anchor() == ""
    second = lane.block(root=Digest(b"\x0a" * 32))
    assert report(lane, second, (SERVER, VEHICLES[0])) == ""
    assert lane.pair.view("Checkpoint", "fork", SERVER.address, 1) == second.digest
    assert lane.pair.view("Checkpoint", "forked", SERVER.address)
    finish_round(lane.pair)
    follow = lane.block(round=2, height=2, parent=lane.block().digest)
    assert lane.anchor(follow) == "the chain has forked"


def test_invalid_fork_with_the_same_block(lane):
    assert lane.anchor() == ""
    assert report(lane, lane.block(), (SERVER,)) == "the same block"


def test_invalid_fork_that_the_edge_server_did_not_sign(lane):
    assert lane.anchor() == ""
    assert report(lane, lane.block(count=3), VEHICLES) == "the edge server did not seal"
    assert report(lane, lane.block(count=3), ()) == "the edge server did not seal"


def test_invalid_fork_of_a_round_without_an_anchor(lane):
    # what an edge server signed and lost on the way to the chain is no fork
    assert report(lane, lane.block(), (SERVER,)) == "no block of that round"


def test_invalid_fork_reported_before(lane):
    assert lane.anchor() == ""
    assert report(lane, lane.block(count=3), (SERVER,)) == ""
    assert report(lane, lane.block(count=2), (SERVER,)) == "reported before"


def test_invalid_fork_reported_by_a_stranger(lane):
    assert lane.anchor() == ""
    assert report(lane, lane.block(count=3), (SERVER,), STRANGER) == "not registered"
    assert lane.pair.both(OPERATOR, "Registry", "revoke", VEHICLES[0].address)
    assert report(lane, lane.block(count=3), (SERVER,), VEHICLES[0]) == "not registered"


# ---- the reward of sealing --------------------------------------------------------------------------------------


def test_release_pays_everybody_who_sealed(lane):
    assert lane.anchor() == ""
    assert lane.release() == ""
    paid = lane.pair.view("Token", "balances", [account.address for account in (SERVER, *VEHICLES)])
    assert paid == (REWARD // 5,) * 5


def test_release_leaves_the_escrow_of_the_task_alone(lane):
    escrow = lane.pair.view("Escrow", "available")
    assert lane.anchor() == ""
    assert lane.release() == ""
    assert lane.pair.view("Escrow", "available") == escrow


def test_invalid_release_before_the_anchor(lane):
    assert lane.release() == "no sealed block"


def test_invalid_release_of_an_unsealed_block(lane):
    assert lane.anchor(members=(SERVER,), signers=(SERVER,)) == ""
    assert lane.release(signers=[SERVER.address], claims=[], proof=[]) == "no sealed block"


def test_invalid_release_twice(lane):
    assert lane.anchor() == ""
    assert lane.release() == ""
    assert lane.release() == "released before"


def test_invalid_release_to_other_signers(lane):
    assert lane.anchor(signers=(SERVER, *VEHICLES[:3])) == ""
    assert lane.release() == "other signers"


def test_invalid_release_by_a_stranger(lane):
    assert lane.anchor() == ""
    for sender in (STRANGER, VEHICLES[0], PUBLISHER):
        assert lane.release(sender=sender) == "not an edge server"


def test_invalid_release_without_a_record_in_the_block(lane):
    """A member that the edge server slipped into its committee has no update there, and nothing is paid."""
    friend, rest = lane.updates[0], lane.updates[1:]
    lane.updates = rest
    assert lane.anchor() == ""
    lane.updates = [friend, *rest]
    assert lane.release() == "not included"


def test_invalid_release_with_forged_proofs(lane):
    assert lane.anchor() == ""
    claims, proof = lane.claims([vehicle.address for vehicle in VEHICLES])
    wrong = [(*claims[0][:2], 99_999, *claims[0][3:]), *claims[1:]]
    assert lane.release(claims=wrong) == "not included"
    assert lane.release(claims=[(*claims[0][:2], 2**64, *claims[0][3:]), *claims[1:]]) == "not included"
    assert lane.release(proof=[Digest(b"\x01" * 32), *proof[1:]]) == "not included"
    assert lane.release(proof=proof[:-1]) == "proof is cut short"
    assert lane.release(claims=[(*claims[0][:4], 2**255), *claims[1:]]) == "proof is cut short"
    assert lane.release(proof=[*proof, proof[0]]) == "proof is too long"
    assert lane.release(claims=claims[:-1]) == "claims do not match the signers"
    assert lane.release(claims=[claims[1], claims[0], *claims[2:]]) == "claims do not match the signers"
    assert lane.release() == ""


def test_invalid_release_beyond_the_budget(lane):
    assert lane.anchor() == ""
    lane.pair.both(PUBLISHER, "Training", "close")
    assert lane.call(PUBLISHER, "Sealing", "withdraw") == ""
    assert lane.release() == "balance too small"


def test_invalid_budget_calls(lane):
    assert lane.call(SERVER, "Sealing", "fund", 1) == "only the publisher"
    assert lane.call(PUBLISHER, "Sealing", "fund", 10**9) == "allowance too small"
    assert lane.call(SERVER, "Sealing", "withdraw") == "only the publisher"
    assert lane.call(PUBLISHER, "Sealing", "withdraw") == "the task is open"
    assert lane.pair.both(OPERATOR, "Registry", "revoke", PUBLISHER.address)
    assert lane.call(PUBLISHER, "Sealing", "fund", 1) == "not a publisher"


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_contracts_and_model_agree_on_local_chains(data):
    """Anchors, evidence and releases of any shape: the same events or the same reason, nothing by halves."""
    lane = Lane()
    everybody = [SERVER, *VEHICLES, STRANGER]
    some = st.lists(st.sampled_from(everybody), unique_by=lambda account: account.address, max_size=5)
    for _ in range(data.draw(st.integers(1, 8))):
        number = lane.pair.model.training.open.round
        newest = lane.pair.model.checkpoint.newest.get(SERVER.address)
        changes = {"round": data.draw(st.sampled_from([number, number, number, 1]))}
        if newest is not None:
            changes |= {"height": newest.block.height + 1, "parent": newest.block.digest}
        changes |= data.draw(st.sampled_from([{}, {}, {"count": 3}, {"height": 1}, {"root": EMPTY_DIGEST}]))
        block = lane.block(**changes)
        match data.draw(st.sampled_from(["anchor", "anchor", "fork", "release", "round"])):
            case "anchor":
                members = data.draw(st.just((SERVER, *VEHICLES)) | some)
                lane.anchor(block, members=members, signers=data.draw(st.just(members) | some))
            case "fork":
                report(lane, block, data.draw(some))
            case "release":
                signers = newest.signers if newest is not None else ()
                lane.release(round=data.draw(st.integers(1, number)), signers=list(signers))
            case _:
                finish_round(lane.pair)

"""One test for each reason for which the chain refuses a call or a transaction."""

import dataclasses

import pytest

from platoon.ledger.blocks import Result
from platoon.ledger.task_chain import TaskChain, compute_updates_digest
from platoon.nouns import Digest, Instant
from platoon.records.encoding import decode_rlp, encode_rlp
from platoon.records.lanes import pack_scores
from platoon.records.rules import Rule, Rules, WeightRule
from platoon.records.signing import ORDER, sign_update
from platoon.records.transactions import MAX_GAS, Call, sign_transaction

OTHER = Digest(b"\x09" * 32)


def read_state(chain: TaskChain) -> tuple[object, ...]:
    views = ("round", "phase", "model", "final", "seats", "updates")
    read = [chain.ledger.read(chain.ledger.contracts.call("Training", view)) for view in views]
    return (read, chain.reputations().tolist(), chain.balances().tolist(), chain.escrow_left())


def refuse(town, account, call, reason):
    """The call is rejected for this reason, changes nothing, consumes its nonce and stays in the log."""
    before, nonce, height = (
        read_state(town.chain),
        town.chain.ledger.nonce(account.address),
        town.chain.ledger.height,
    )
    receipt = town.send(account, call)
    assert (receipt.ok, receipt.error, receipt.events, receipt.logged) == (False, reason, (), True)
    assert read_state(town.chain) == before
    assert town.chain.ledger.nonce(account.address) == nonce + 1
    assert town.chain.ledger.height == height + 1


def call(town, contract, name, *arguments):
    return town.chain.ledger.contracts.call(contract, name, *arguments)


# ---- records ----


def test_invalid_record_with_a_bad_signature(town):
    forged = dataclasses.replace(town.update(0), samples=301)
    refuse(town, town.servers[0], town.chain.calls.record(1, [forged]), "bad signature")


def test_invalid_record_signed_by_another_vehicle(town):
    stolen = dataclasses.replace(town.update(0), vehicle=town.vehicles[1].address)
    refuse(town, town.servers[0], town.chain.calls.record(1, [stolen]), "bad signature")


def test_invalid_record_with_the_malleable_twin_of_a_signature(town):
    update = town.update(0)
    s = ORDER - int.from_bytes(update.signature[32:64], "big")
    twin = update.signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - update.signature[64]])
    refuse(
        town,
        town.servers[0],
        town.chain.calls.record(1, [dataclasses.replace(update, signature=twin)]),
        "bad signature",
    )


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_invalid_record_with_another_recovery_byte(town, v):
    update = town.update(0)
    changed = dataclasses.replace(update, signature=update.signature[:64] + bytes([v]))
    refuse(town, town.servers[0], town.chain.calls.record(1, [changed]), "bad signature")


def test_invalid_record_of_an_update_signed_for_another_task(town):
    foreign = sign_update(town.vehicles[0], OTHER, round=1, digest=OTHER, samples=300)
    refuse(town, town.servers[0], town.chain.calls.record(1, [foreign]), "bad signature")


def test_invalid_record_for_another_round(town):
    update = town.update(0, round=2)
    refuse(town, town.servers[0], town.chain.calls.record(2, [update]), "another round is open")


def test_invalid_record_of_an_update_replayed_from_an_earlier_round(town):
    old = town.update(0)
    town.play({0: 900_000})
    refuse(town, town.servers[0], town.chain.calls.record(2, [old]), "bad signature")


def test_invalid_rounds_do_not_run_backwards(town):
    town.play({0: 900_000})
    refuse(town, town.servers[0], town.chain.calls.record(1, []), "another round is open")
    refuse(town, town.servers[0], town.chain.calls.settle(1), "another round is open")


def test_invalid_second_record_of_an_edge_server(town):
    assert town.record(0).ok
    refuse(town, town.servers[0], town.chain.calls.record(1, [town.update(0)]), "recorded before")


def test_invalid_two_updates_of_one_vehicle_in_one_record(town):
    entry = decode_entry(town, town.update(0))
    refuse(
        town, town.servers[0], call(town, "Training", "record", 1, [entry, entry]), "vehicles not ascending"
    )
    with pytest.raises(ValueError, match="two updates of one vehicle"):
        town.chain.calls.record(1, [town.update(0), town.update(0)])


def decode_entry(town, update):
    _, (_, (entry,)) = town.chain.ledger.contracts.decode_call(town.chain.calls.record(1, [update]))
    return entry


def test_invalid_record_out_of_order(town):
    entries = sorted((decode_entry(town, town.update(i)) for i in range(2)), reverse=True)
    refuse(town, town.servers[0], call(town, "Training", "record", 1, entries), "vehicles not ascending")


@pytest.mark.parametrize("samples", [0, 2**32, 2**64 - 1])
def test_invalid_samples_out_of_bounds(town, samples):
    refuse(
        town,
        town.servers[0],
        town.chain.calls.record(1, [town.update(0, samples=samples)]),
        "samples out of bounds",
    )


def test_samples_at_the_bound_are_taken(town):
    assert town.record(0, town.update(0, samples=1), town.update(1, samples=2**32 - 1)).ok


@pytest.mark.parametrize("who", ["unknown", "revoked", "edge server"])
def test_invalid_update_of_somebody_who_is_no_vehicle_is_skipped(town, who):
    # it depends on the registry, which an edge server cannot foresee: the others' updates still count
    account = {"unknown": town.stranger, "revoked": town.vehicles[0], "edge server": town.servers[1]}[who]
    if who == "revoked":
        assert town.send(town.operator, town.chain.calls.revoke(account.address)).ok
    bad = sign_update(account, town.chain.task, round=1, digest=OTHER, samples=300)
    receipt = town.record(0, bad, town.update(1))
    assert sorted((event.name, event.values.get("reason")) for event in receipt.events) == [
        ("Recorded", None),
        ("Refused", 1),
    ]
    assert [update.vehicle for update in town.chain.updates(1)] == [1]


def test_invalid_update_recorded_before_by_another_edge_server_is_skipped(town):
    town.record(0, town.update(0))
    receipt = town.record(1, town.update(0))
    assert [(event.name, event.values["reason"]) for event in receipt.events] == [("Refused", 2)]


def test_invalid_record_after_the_recording_is_closed(town):
    for server in range(3):
        town.record(server, *([town.update(0)] if server == 0 else []))
    assert town.score(0, {0: 900_000}).ok
    refuse(town, town.servers[3], town.chain.calls.record(1, [town.update(1)]), "recording is over")


@pytest.mark.parametrize("who", ["operator", "publisher", "stranger"])
def test_invalid_role_for_every_step_of_a_round(town, who):
    account = getattr(town, who)
    calls = town.chain.calls
    steps = [
        calls.record(1, []),
        calls.score(1, (), [], 0),
        calls.judge(1),
        calls.vote(1, OTHER),
        calls.settle(1),
    ]
    for step in [*steps, calls.commit_probe(OTHER)]:
        refuse(town, account, step, "not an edge server")


def test_invalid_edge_server_after_its_revocation(town):
    assert town.send(town.operator, town.chain.calls.revoke(town.servers[0].address)).ok
    refuse(town, town.servers[0], town.chain.calls.record(1, []), "not an edge server")


# ---- scores ----


def test_invalid_score_before_a_quorum_has_recorded(town):
    # two of four: one short
    town.record(0, town.update(0))
    town.record(1)
    updates = town.chain.updates(1)
    refuse(town, town.servers[0], town.chain.calls.score(1, updates, [0], 0), "recording lacks a quorum")


def test_invalid_score_of_an_edge_server_without_a_committed_probe(make_town):
    town = make_town()
    town.record_all([0])
    late = town.stranger
    assert town.send(town.operator, call(town, "Registry", "register", 1, [late.address])).ok
    refuse(town, late, town.chain.calls.score(1, town.chain.updates(1), [0], 0), "no probe committed")


def test_invalid_second_score(town):
    town.record_all([0])
    assert town.score(0, {0: 1}).ok
    refuse(town, town.servers[0], town.chain.calls.score(1, town.chain.updates(1), [1], 0), "scored before")


def test_invalid_score_of_another_set_of_updates(town):
    town.record_all([0, 1])
    one = town.chain.updates(1)[:1]
    refuse(town, town.servers[0], town.chain.calls.score(1, one, [0], 0), "other updates")


def test_invalid_number_of_scores(town):
    town.record_all([0, 1])
    assert town.score(0, {0: 1, 1: 1}).ok
    closed = next(
        town.chain.ledger.contracts.decode_log(log).values["updates"]
        for block in town.chain.ledger.blocks(town.chain.ledger.height - 1)
        for log in _logs(block)[:1]
    )
    (good,) = pack_scores([0, 0], 0)
    for words in ([], [good, 0], [good | 1 << 96], [good | 1 << 255]):
        refuse(town, town.servers[1], call(town, "Training", "score", 1, closed, words), "number of scores")


def _logs(block):
    return [log for receipt in block.receipts for log in Result.decode(receipt).logs]


def score_lanes(town, *lanes):
    word = sum(lane << 32 * i for i, lane in enumerate(lanes))
    digest = compute_updates_digest(town.chain.updates(1))
    return call(town, "Training", "score", 1, digest, [word])


@pytest.mark.parametrize("lane", [2_000_001, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1])
def test_invalid_score_out_of_bounds(town, lane):
    town.record_all([0])
    refuse(town, town.servers[0], score_lanes(town, 0, lane), "score out of bounds")
    with pytest.raises(ValueError, match="scores must lie within"):
        town.chain.calls.score(1, town.chain.updates(1), [1_000_001], 0)


def test_scores_at_the_bounds_are_taken(town):
    town.record_all([0, 1])
    for server in range(4):
        assert town.score(server, {0: -1_000_000, 1: 1_000_000}, evidence=1_000_000).ok
    assert town.judge().ok
    assert {update.vehicle: update.score for update in town.chain.updates(1)} == {0: -1_000_000, 1: 1_000_000}


def test_invalid_evidence_out_of_bounds(town):
    town.record_all([0])
    refuse(town, town.servers[0], score_lanes(town, 1_000_001, 0), "evidence out of bounds")


def test_invalid_score_where_nothing_is_scored(make_town):
    town = make_town(Rules(rule=Rule.NONE, weights=WeightRule.SAMPLES))
    town.record_all([0])
    refuse(
        town, town.servers[0], town.chain.calls.score(1, town.chain.updates(1), [0], 0), "nothing is scored"
    )


def test_invalid_second_probe_and_probe_after_updates(town):
    refuse(town, town.servers[0], town.chain.calls.commit_probe(OTHER), "committed before")
    town.record(0, town.update(0))
    refuse(town, town.servers[0], town.chain.calls.commit_probe(OTHER), "updates are recorded")


# ---- judgement, votes, settlement ----


def test_invalid_judgement_before_scores(town):
    town.record_all([0])
    refuse(town, town.servers[0], town.chain.calls.judge(1), "scores lack a quorum")


def test_invalid_judgement_one_short_of_quorum(town):
    town.record_all([0])
    assert town.score(0, {0: 1}).ok
    assert town.score(1, {0: 1}).ok
    refuse(town, town.servers[0], town.chain.calls.judge(1), "scores lack a quorum")
    assert town.score(2, {0: 1}).ok
    assert town.judge().ok


def test_invalid_judgement_before_records(town):
    refuse(town, town.servers[0], town.chain.calls.judge(1), "recording lacks a quorum")


def test_invalid_second_judgement_and_late_score(town):
    town.record_all([0])
    for server in range(3):
        town.score(server, {0: 900_000})
    assert town.judge().ok
    refuse(town, town.servers[0], town.chain.calls.judge(1), "judged before")
    refuse(town, town.servers[3], town.chain.calls.score(1, town.chain.updates(1), [0], 0), "scoring is over")


def judged(town):
    town.record_all([0])
    for server in range(4):
        assert town.score(server, {0: 900_000}).ok
    assert town.judge().ok


def test_invalid_vote_before_the_judgement(town):
    refuse(town, town.servers[0], town.chain.calls.vote(1, OTHER), "not judged")


def test_invalid_double_vote(town):
    judged(town)
    assert town.vote(0).ok
    refuse(town, town.servers[0], town.chain.calls.vote(1, OTHER), "voted before")


def test_invalid_vote_for_no_digest(town):
    judged(town)
    refuse(town, town.servers[0], town.chain.calls.vote(1, Digest(bytes(32))), "no digest")


def test_invalid_vote_where_nothing_is_merged(town):
    town.record_all([])
    assert town.judge().ok
    refuse(town, town.servers[0], town.chain.calls.vote(1, OTHER), "nothing to vote")


def test_invalid_settlement_without_a_majority(town):
    judged(town)
    refuse(town, town.servers[0], town.chain.calls.settle(1), "no model has a majority")
    # two of four are not more than half
    town.vote(0)
    town.vote(1)
    town.vote(2, OTHER)
    assert town.chain.model_digest(1) is None
    refuse(town, town.servers[0], town.chain.calls.settle(1), "no model has a majority")
    assert town.vote(3).ok
    assert town.settle().ok


def test_invalid_second_settlement(town):
    town.play({0: 900_000})
    refuse(town, town.servers[0], town.chain.calls.settle(1), "another round is open")
    refuse(town, town.servers[0], town.chain.calls.settle(2), "not judged")


# ---- registry, token, escrow ----


def test_invalid_registration(town):
    refuse(
        town,
        town.stranger,
        call(town, "Registry", "register", 2, [town.stranger.address]),
        "only the operator",
    )
    again = call(town, "Registry", "register", 1, [town.vehicles[0].address])
    refuse(town, town.operator, again, "registered before")
    refuse(
        town, town.operator, call(town, "Registry", "register", 4, [town.stranger.address]), "no such role"
    )
    refuse(
        town, town.operator, call(town, "Registry", "register", 0, [town.stranger.address]), "no such role"
    )
    refuse(town, town.operator, call(town, "Registry", "register", 2, [bytes(20)]), "no account")


def test_invalid_return_of_a_revoked_account(town):
    assert town.send(town.operator, town.chain.calls.revoke(town.vehicles[0].address)).ok
    back = call(town, "Registry", "register", 2, [town.vehicles[0].address])
    refuse(town, town.operator, back, "registered before")
    refuse(town, town.operator, town.chain.calls.revoke(town.vehicles[0].address), "not registered")
    refuse(town, town.stranger, town.chain.calls.revoke(town.vehicles[1].address), "only the operator")


def test_invalid_mint(town):
    refuse(town, town.operator, call(town, "Token", "mint", town.stranger.address, 1), "minting is closed")
    refuse(town, town.stranger, call(town, "Token", "mint", town.stranger.address, 1), "only the operator")


def test_invalid_transfers(town):
    town.play({0: 900_000})
    rich = town.vehicles[0]
    refuse(
        town, rich, call(town, "Token", "transfer", town.stranger.address, 10_000_001), "balance too small"
    )
    refuse(town, rich, call(town, "Token", "transfer", bytes(20), 1), "no account")
    refuse(
        town, rich, call(town, "Token", "transfer", town.stranger.address, 2**256 - 1), "balance too small"
    )
    many = call(town, "Token", "transfer_many", [town.stranger.address, rich.address], [9_000_000, 2**255])
    refuse(town, rich, many, "balance too small")
    refuse(town, rich, call(town, "Token", "transfer_many", [rich.address], []), "lengths differ")
    thief = call(town, "Token", "transferFrom", rich.address, town.stranger.address, 1)
    refuse(town, town.stranger, thief, "allowance too small")


def test_invalid_use_of_the_escrow(town):
    pay = call(town, "Escrow", "pay", [town.stranger.address], [1])
    for account in (town.publisher, town.operator, town.servers[0], town.stranger):
        refuse(town, account, pay, "only the training")
    refuse(town, town.stranger, call(town, "Escrow", "fund", 1), "only the publisher")
    refuse(town, town.publisher, call(town, "Escrow", "fund", 1), "allowance too small")
    refuse(town, town.publisher, town.chain.calls.withdraw(), "the task is open")
    refuse(town, town.stranger, town.chain.calls.withdraw(), "only the publisher")
    training = town.chain.ledger.contracts.addresses["Training"]
    refuse(town, town.operator, call(town, "Escrow", "bind", training), "bound before")


@pytest.mark.parametrize(("contract", "bound"), [("Escrow", "Training"), ("Registry", "Admission")])
def test_invalid_binding_of_an_account_of_the_operators_own(town, contract, bound):
    """The operator cannot have the escrow obey an account of its own: such a call is no part of any chain."""
    raw = town.chain.sign(town.operator, call(town, contract, "bind", town.stranger.address))
    (receipt,) = town.chain.submit([raw], round=1, at=Instant(1))
    assert (receipt.ok, receipt.logged) == (False, False)
    assert receipt.error == f"{contract}.bind names another contract than {bound}"


def test_invalid_claim_of_more_samples_than_the_task_allows(make_town):
    """Weight and pay follow the sample count: nobody may claim what it likes."""
    town = make_town(Rules(most_samples=100))
    record = town.chain.calls.record(1, [town.update(0, samples=101)])
    refuse(town, town.servers[0], record, "samples out of bounds")
    assert town.record(0, town.update(0, samples=100)).ok


def test_invalid_close_during_a_round_and_calls_after_it(town):
    refuse(town, town.stranger, town.chain.calls.close(), "only the publisher")
    town.record(0, town.update(0))
    refuse(town, town.publisher, town.chain.calls.close(), "a round is under way")
    for server in (1, 2, 3):
        town.record(server)
    for server in range(4):
        town.score(server, {0: 0})
    town.judge()
    town.settle()
    assert town.send(town.publisher, town.chain.calls.close()).ok
    refuse(town, town.publisher, town.chain.calls.close(), "closed before")
    refuse(town, town.servers[0], town.chain.calls.record(2, []), "the task is closed")


# ---- transactions that cannot be part of the chain ----


def not_admitted(town, raw, reason):
    """Not logged, no nonce consumed, nothing changed."""
    before, head = read_state(town.chain), town.chain.head
    (receipt,) = town.chain.submit([raw], round=1, at=Instant(1))
    assert (receipt.ok, receipt.logged) == (False, False)
    assert reason in receipt.error
    assert (read_state(town.chain), town.chain.head) == (before, head)


def test_invalid_transaction_of_another_chain(town):
    raw = sign_transaction(town.servers[0], town.chain.calls.judge(1), nonce=3, chain_id=7401)
    not_admitted(town, raw, "chain id 7401")


@pytest.mark.parametrize("nonce", [2, 4])
def test_invalid_nonce(town, nonce):
    raw = sign_transaction(town.servers[0], town.chain.calls.judge(1), nonce=nonce, chain_id=7400)
    not_admitted(town, raw, f"nonce {nonce}, expected 3")


def test_invalid_replay_of_a_transaction(town):
    raw = town.chain.sign(town.servers[0], town.chain.calls.record(1, []))
    (receipt,) = town.chain.submit([raw], round=1, at=Instant(1))
    assert receipt.ok
    not_admitted(town, raw, "nonce 3, expected 4")


def test_invalid_value_or_gas_price(town):
    raw = town.chain.sign(town.servers[0], town.chain.calls.judge(1))
    for position in (1, 4):
        items = decode_rlp(raw)
        items[position] = b"\x01"
        # the signature is of other fields now, so it recovers somebody without a history
        not_admitted(town, encode_rlp(items), "nonce 3, expected 0")


def test_invalid_gas_limit_that_would_make_a_call_fail(town):
    good = town.chain.calls.judge(1)
    short = Call(to=good.to, data=good.data, gas=100_000)
    not_admitted(town, town.chain.sign(town.servers[0], short), "gas limit 100000")


def test_invalid_calldata(town):
    good = town.chain.calls.record(1, [])
    for data, reason in (
        (b"", "no such function"),
        (b"\xff\xff\xff\xff", "no such function"),
        (good.data + b"\0", "bytes after the arguments"),
        (good.data[:-1], "cut short"),
        (good.data[:4] + bytes(31) + b"\x01" + bytes(31) + b"\x20" + bytes(32), "not where it belongs"),
    ):
        call_ = Call(to=good.to, data=data, gas=good.gas)
        not_admitted(town, town.chain.sign(town.servers[0], call_), reason)


def test_invalid_target_and_deployment(town):
    elsewhere = Call(to=town.stranger.address, data=b"", gas=MAX_GAS)
    not_admitted(town, town.chain.sign(town.servers[0], elsewhere), "not a contract of this task chain")
    contract = Call(to=None, data=b"\x00", gas=MAX_GAS)
    not_admitted(town, town.chain.sign(town.servers[0], contract), "deploys a contract outside the set")
    not_admitted(town, town.chain.sign(town.operator, contract), "deploys a contract outside the set")
    view = call(town, "Training", "round")
    not_admitted(town, town.chain.sign(town.servers[0], view), "is a view")


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", b"\xc0", b"\xf8", encode_rlp([b"\x01"] * 9), encode_rlp([[b""]] * 9)]
)
def test_invalid_bytes_as_a_transaction(town, raw):
    not_admitted(town, raw, "")


def test_invalid_time_or_round_that_runs_backwards(town):
    town.play({0: 900_000})
    raw = town.chain.sign(town.servers[0], town.chain.calls.record(2, []))
    with pytest.raises(ValueError, match="earlier than block"):
        town.chain.submit([raw], round=2, at=Instant(0))
    with pytest.raises(ValueError, match="earlier than block"):
        town.chain.submit([raw], round=0, at=Instant(town.at))
    assert town.chain.submit([raw], round=2, at=Instant(town.at))[0].ok


# ---- setting a task up ----


def test_invalid_setups(make_town):
    with pytest.raises(ValueError, match="65 edge servers: allowed: 1 to 64"):
        make_town(servers=65)
    with pytest.raises(ValueError, match="escrow of"):
        make_town(escrow=2**63)
    with pytest.raises(ValueError, match="beta = 1000001: allowed: 0 to 1000000 ppm"):
        Rules(beta=1_000_001)
    with pytest.raises(ValueError, match="start = 0"):
        Rules(rule=Rule.NONE, start=0)

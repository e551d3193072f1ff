"""What can happen on the way to a chain and back, each as a story on a fake chain and a fake clock."""

from itertools import chain as joined

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.conftest import Town
from tests.remote.conftest import Site

from platoon.errors import HaltedError, UserError
from platoon.ledger.audit import audit
from platoon.ledger.evm import Execution
from platoon.ledger.rpc import RemoteLedger
from platoon.nouns import Instant
from platoon.records.encoding import keccak
from platoon.records.transactions import sign_transaction


def remote(town: Town) -> RemoteLedger:
    assert isinstance(town.chain.ledger, RemoteLedger)
    return town.chain.ledger


def logged(town: Town) -> list[bytes]:
    return [raw for block in town.chain.ledger.blocks() for raw in block.transactions]


def settled(town: Town, site: Site) -> None:
    """The log has exactly what the chain executed, in its order, each once; and the audit accepts it."""
    assert logged(town) == site.applied()
    assert len(set(site.applied())) == len(site.applied())
    list(audit(town.path))


SCORES = {0: 900_000, 1: 100_000}


def test_a_quiet_chain(town: Town, twin_town: Town, site: Site) -> None:
    town.play(SCORES)
    twin_town.play(SCORES)
    assert town.chain.head == twin_town.chain.head
    assert site.told == []
    assert site.time.now == 0.0
    settled(town, site)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mishaps=st.lists(st.sampled_from(["", "", "drop", "mute", "garbage"]), max_size=250),
    automine=st.booleans(),
)
def test_any_mishaps_lead_to_the_same_ledger(
    tmp_path_factory: pytest.TempPathFactory, mishaps: list[str], automine: bool
) -> None:
    """However requests and answers are lost, every transaction is applied once and the head is the embedded one."""
    site = Site(deadline_s=10_000.0)
    town = Town(tmp_path_factory.mktemp("remote"), connect=site.connect)
    twin = Town(tmp_path_factory.mktemp("embedded"))
    site.chain.automine = automine

    def tick() -> None:
        site.chain.mine()
        site.time.after(1.0, tick)

    if not automine:
        site.time.after(1.0, tick)
    site.chain.mishaps = mishaps
    town.play(SCORES)
    twin.play(SCORES)
    assert town.chain.head == twin.chain.head
    settled(town, site)


def test_a_slow_block_is_waited_for_and_told_of(town: Town, twin_town: Town, site: Site) -> None:
    site.chain.automine = False
    # The next block takes 30 seconds.
    site.time.after(30.0, site.chain.mine)
    assert town.record(0, town.update(0)).ok
    assert 30.0 <= site.time.now < 31.0
    # Somebody who watches sees what it is about.
    assert "waiting for the chain to take 1 of 1 transactions, 2 s of 60" in site.told[0]
    assert len(site.told) < 16
    # The same bytes were offered several times, and executed once.
    assert site.chain.sent.count(logged(town)[-1]) > 5
    assert site.applied().count(logged(town)[-1]) == 1
    assert twin_town.record(0, twin_town.update(0)).ok
    assert town.chain.head == twin_town.chain.head


def test_after_the_deadline_it_halts_and_the_same_bytes_go_on(
    town: Town, twin_town: Town, site: Site
) -> None:
    site.chain.automine = False
    raw = town.chain.sign(town.servers[0], town.chain.calls.record(1, [town.update(0)]))
    # No block comes.
    with pytest.raises(
        HaltedError, match=r"gave up after 60 s waiting for the chain to take 1 of 1 trans.*known"
    ):
        town.chain.submit([raw], round=1, at=Instant(1))
    assert raw not in logged(town)
    # Then one comes, with the transaction in it. Submitting the same bytes finds it there.
    site.chain.mine()
    (receipt,) = town.chain.submit([raw], round=1, at=Instant(1))
    assert receipt.ok
    assert site.applied().count(raw) == 1
    assert twin_town.record(0, twin_town.update(0)).ok
    assert town.chain.head == twin_town.chain.head


def test_a_step_that_halted_half_way_goes_on(town: Town, site: Site) -> None:
    """Two steps: a record is in the chain when the judging halts; submitted again, the record is found."""
    chain = town.chain
    raws = [
        chain.sign(town.servers[0], chain.calls.record(1, [town.update(0)])),
        chain.sign(town.servers[1], chain.calls.judge(1)),
    ]
    site.chain.automine = False
    site.time.after(1.0, site.chain.mine)
    with pytest.raises(HaltedError):
        chain.submit(raws, round=1, at=Instant(1))
    assert raws[0] in site.applied()
    site.chain.mine()
    receipts = chain.submit(raws, round=1, at=Instant(1))
    assert [receipt.ok for receipt in receipts] == [True, False]
    chain.commit("here")
    settled(town, site)


def test_a_connection_that_stays_broken_halts(town: Town, site: Site) -> None:
    site.chain.mishaps = ["drop"] * 10_000
    with pytest.raises(HaltedError, match=r"gave up after 60 s .*connection refused"):
        town.record(0)


def test_a_node_that_forgets_its_pool_is_sent_the_same_again(town: Town, site: Site) -> None:
    site.chain.automine = False
    # After a second the node restarts: the chain is kept, what was in no block is forgotten.
    site.time.after(1.0, site.chain.pool.clear)
    site.time.after(5.0, site.chain.mine)
    assert town.record(0, town.update(0)).ok
    assert site.chain.sent.count(logged(town)[-1]) >= 2


def test_confirmations_are_waited_for(tmp_path_factory: pytest.TempPathFactory, site: Site) -> None:
    site.confirmations = 2
    for second in range(1, 200):
        site.time.after(float(second), site.chain.mine)
    site.chain.automine = False
    town = Town(tmp_path_factory.mktemp("confirmed"), connect=site.connect)
    before = site.time.now
    town.record(0)
    # Its own block and two more.
    assert 2.5 < site.time.now - before < 4.0
    assert any("waiting for 1 more blocks" in words for words in site.told)


def test_a_receipt_that_vanishes_is_waited_for_again(town: Town, twin_town: Town, site: Site) -> None:
    remote(town)._courier = Site(site.chain, site.time, site.told, confirmations=1).courier()
    site.chain.automine = False
    # In a block after one second; at two that block never was, and the node has forgotten the transaction.
    site.time.after(1.0, site.chain.mine)
    site.time.after(1.9, lambda: site.chain.reorganise(1, pooled=False))
    # Sent again, it comes into a block at six, and one follows.
    site.time.after(6.0, site.chain.mine)
    site.time.after(7.0, site.chain.mine)
    assert town.record(0, town.update(0)).ok
    assert 7.0 <= site.time.now < 8.0
    assert twin_town.record(0, twin_town.update(0)).ok
    assert town.chain.head == twin_town.chain.head


def test_what_vanishes_before_the_commit_is_brought_back(town: Town, twin_town: Town, site: Site) -> None:
    for place in (town, twin_town):
        place.record_all([0, 1])
    # The last two blocks go, and their transactions with them.
    site.chain.reorganise(2, pooled=False)
    assert len(site.applied()) == len(logged(town)) - 2
    town.chain.commit("here")
    twin_town.chain.commit("here")
    assert town.chain.head == twin_town.chain.head
    settled(town, site)


def test_a_reorganisation_to_another_outcome_halts_before_the_commit(town: Town, site: Site) -> None:
    town.record_all([0])
    head = town.chain.ledger.last_commit
    # The chain takes the same transactions again in the opposite order.
    site.chain.reorganise(4)
    site.chain.automine = False
    site.chain.mine(lambda pool: list(reversed(pool)))
    with pytest.raises(HaltedError, match="stands in the chain before what had to precede it"):
        town.chain.commit("here")
    assert town.chain.ledger.last_commit == head


def test_the_chain_decides_the_order_of_several_senders(town: Town, site: Site) -> None:
    """Four records at once, which the chain takes the other way round: so does the log."""
    chain = town.chain
    raws = [
        chain.sign(server, chain.calls.record(1, [town.update(i)])) for i, server in enumerate(town.servers)
    ]
    site.chain.automine = False
    site.time.after(1.0, lambda: site.chain.mine(lambda pool: list(reversed(pool))))
    receipts = chain.submit(raws, round=1, at=Instant(1))
    assert logged(town)[-4:] == list(reversed(raws))
    # Each caller has the receipt of its own.
    recorded = [event.values["edge_server"] for receipt in receipts for event in receipt.events[:1]]
    assert recorded == [server.address for server in town.servers]
    chain.commit("here")
    settled(town, site)
    town.reopen()
    assert len(town.chain.updates(1)) == 4


def test_one_senders_transactions_are_kept_in_order(town: Town, site: Site) -> None:
    """A later nonce cannot overtake: the pool holds it back."""
    chain = town.chain
    call = chain.calls.record(1, [])
    raws = [chain.sign(town.servers[0], call, ahead=i) for i in range(2)]
    site.chain.automine = False
    site.time.after(1.0, lambda: site.chain.mine(lambda pool: list(reversed(pool))))
    site.time.after(2.0, site.chain.mine)
    receipts = chain.submit(raws, round=1, at=Instant(1))
    assert [receipt.ok for receipt in receipts] == [True, False]
    assert logged(town)[-2:] == raws


def test_a_restarted_node_that_kept_its_state_goes_on(town: Town, site: Site) -> None:
    # Away for three seconds in the middle of a round.
    site.chain.mishaps = ["drop"] * 12
    assert town.record(0, town.update(0)).ok
    assert 3.0 < site.time.now < 10.0
    assert any("connection refused" in words for words in site.told)
    settled_so_far = site.applied()
    assert logged(town) == settled_so_far


def test_a_node_that_lost_its_state_is_told_apart(town: Town, site: Site) -> None:
    town.record(0, town.update(0))
    town.chain.commit("here")
    site.chain.lose_everything()
    site.chain.sent.clear()
    with pytest.raises(HaltedError, match="it has lost its state, or is another chain; bring its state back"):
        town.record(1)
    # Long before the deadline, and nothing was given to the wrong chain.
    assert site.time.now < 10.0
    assert site.chain.sent == []


def test_opening_on_a_chain_without_the_log(town: Town, site: Site) -> None:
    site.chain.lose_everything()
    with pytest.raises(HaltedError, match=r"the ledger's last transaction .* it has lost its state"):
        town.reopen()
    assert site.chain.blocks == []


def test_a_resumed_run_finds_what_it_had_sent(town: Town, twin_town: Town, site: Site) -> None:
    """Killed between the chain and the commit: the round is played again, and nothing is applied twice."""
    town.record_all([0, 1])
    sent = len(site.applied())
    town.reopen()
    assert town.chain.updates(1) == ()
    town.at = 0
    town.record_all([0, 1])
    assert len(site.applied()) == sent
    # It goes on from there to the same end.
    twin_town.record_all([0, 1])
    assert town.chain.head == twin_town.chain.head
    for place in (town, twin_town):
        assert all(place.score(i, SCORES).ok for i in range(4))
        assert place.judge().ok
        place.chain.commit("here")
    assert town.chain.head == twin_town.chain.head
    settled(town, site)


def test_another_run_with_the_same_accounts_is_refused(town: Town, site: Site) -> None:
    """Somebody else used the same key for the same nonce: no waiting helps, and it says so at once."""
    nonce = town.chain.ledger.nonce(town.servers[0].address)
    foreign = sign_transaction(town.servers[0], town.chain.calls.record(1, []), nonce=nonce, chain_id=7400)
    site.chain.make_request("eth_sendRawTransaction", ["0x" + foreign.hex()])
    with pytest.raises(
        UserError, match=rf"another transaction number {nonce} of 0x[0-9a-f]{{40}}: another run uses the same"
    ):
        town.record(0, town.update(0))
    assert site.time.now < 10.0


def test_a_second_task_of_the_same_accounts_is_refused(town: Town, site: Site, tmp_path_factory) -> None:
    with pytest.raises(UserError, match="choose another seed, or another chain"):
        Town(tmp_path_factory.mktemp("second"), connect=site.connect, escrow=1)


def test_the_same_setup_is_recognised(town: Town, site: Site, tmp_path_factory) -> None:
    """A run that died before its first commit starts again: its contracts are there already."""
    before = site.applied()
    again = Town(tmp_path_factory.mktemp("again"), connect=site.connect)
    assert site.applied() == before
    assert again.chain.head == town.chain.head


def test_a_stranger_that_is_rejected_changes_nothing(town: Town, site: Site) -> None:
    foreign = sign_transaction(town.stranger, town.chain.calls.judge(1), nonce=0, chain_id=7400)
    site.chain.make_request("eth_sendRawTransaction", ["0x" + foreign.hex()])
    assert not site.chain.mined[keccak(foreign)].execution.ok
    town.record(1)
    town.chain.commit("here")
    assert foreign not in logged(town)


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (
            lambda e: Execution(False, "", (), e.gas),
            "the chain says rejected at .* gas, the contracts say accepted",
        ),
        (
            lambda e: e._replace(logs=e.logs[:-1]),
            "the chain says accepted with 0 events .* accepted with 1 events",
        ),
    ],
)
def test_a_chain_that_does_something_else_halts(town: Town, site: Site, forge, words: str) -> None:
    site.chain.forge = forge
    with pytest.raises(HaltedError, match=words):
        town.record(0, town.update(0))


def test_what_cannot_be_part_of_the_chain_is_never_sent(town: Town, twin_town: Town, site: Site) -> None:
    """Wrong chain id, used nonce, garbage, a call outside the set: the receipts are the embedded engine's."""
    call = town.chain.calls.record(1, [])
    nonce = town.chain.ledger.nonce(town.servers[2].address)
    raws = [
        b"garbage",
        sign_transaction(town.servers[0], call, nonce=nonce, chain_id=7401),
        sign_transaction(town.servers[1], call, nonce=nonce + 4, chain_id=7400),
        sign_transaction(town.servers[2], call, nonce=nonce, chain_id=7400),
        sign_transaction(town.servers[2], call, nonce=nonce, chain_id=7400),
    ]
    site.chain.sent.clear()
    receipts = town.chain.submit(raws, round=1, at=Instant(1))
    expected = twin_town.chain.submit(raws, round=1, at=Instant(1))
    assert [r._replace(gas=0) for r in receipts] == [r._replace(gas=0) for r in expected]
    assert [receipt.logged for receipt in receipts] == [False, False, False, True, False]
    assert site.chain.sent == [raws[3]]
    assert town.chain.head == twin_town.chain.head


def test_time_that_runs_backwards_is_refused_before_anything_is_sent(town: Town, site: Site) -> None:
    town.at = 100
    town.record(0)
    raw = town.chain.sign(town.servers[1], town.chain.calls.record(1, []))
    site.chain.sent.clear()
    with pytest.raises(ValueError, match="earlier than block"):
        town.chain.submit([raw], round=1, at=Instant(99))
    assert site.chain.sent == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain_id": 1}, "ledger.chain_id = 7400: the chain at http://fake has chain id 1"),
        ({"base_fee": 7}, "base fee 7"),
        ({"gas_limit": 8_000_000}, "blocks of 8000000 gas; platoon needs at least 30000000"),
        ({"mishaps": ["drop"] * 1000}, "gave up after 10 s waiting for the node at http://fake .*refused"),
    ],
)
def test_invalid_chains(site: Site, change: dict[str, object], words: str) -> None:
    for name, value in change.items():
        setattr(site.chain, name, value)
    with pytest.raises(UserError, match=words):
        site.courier().greet(7400)


def test_places_are_noted_for_people(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("places")
    site.places = folder / "places.jsonl"
    town = Town(folder, connect=site.connect)
    lines = site.places.read_text().splitlines()
    assert len(lines) == len(site.applied())
    assert f'"transaction": "0x{keccak(site.applied()[0]).hex()}", "block": 1,' in lines[0]
    # What was not committed is dropped when the run goes on.
    town.record(0)
    assert len(site.places.read_text().splitlines()) == len(lines) + 1
    town.reopen()
    assert site.places.read_text().splitlines() == lines


def test_every_block_stands_once(town: Town, site: Site) -> None:
    """The log's blocks partition what the chain executed."""
    town.play(SCORES)
    heights = [block.header.height for block in town.chain.ledger.blocks()]
    assert heights == list(range(town.chain.ledger.height))
    assert (
        list(joined.from_iterable(block.transactions for block in town.chain.ledger.blocks()))
        == site.applied()
    )

"""The audit accepts what happened, and names the first thing that did not."""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.errors import VerificationError
from platoon.ledger.audit import audit
from platoon.ledger.blocks import Block, Result, compute_roots
from platoon.ledger.chain_log import EMPTY_FOLD, ChainLog, Commit, compute_commit_digest, fold_block
from platoon.ledger.contracts import ContractSet
from platoon.ledger.engine import EmbeddedLedger
from platoon.nouns import Digest, Instant
from platoon.records.encoding import EMPTY_DIGEST
from platoon.records.rules import WEIGHT_TOTAL
from platoon.records.signing import ORDER, Account
from platoon.records.transactions import decode_transaction

Change = Callable[[list[Block]], None]


@pytest.fixture
def played(town):
    """A town after two rounds, its file closed."""
    town.play({0: 900_000, 1: 700_000, 2: 100_000})
    town.send(town.stranger, town.chain.calls.judge(2))  # a rejected call belongs to the record
    town.play({1: 800_000, 2: 600_000, 3: 0})
    town.chain.close()
    return town


def forge(town, change: Change, *, seal: Callable[[Digest], bytes] | None = None) -> None:
    """Rewrites the log as an operator could who holds every edge server's key: hashes, parents, seals and commits
    fit again after ``change``."""
    log = ChainLog(town.path, create=False)
    blocks, commits = list(log.blocks()), list(log.commits())
    log.close()
    change(blocks)
    town.path.unlink()
    log = ChainLog(town.path, create=True)
    registry = ContractSet(town.operator.address).addresses["Registry"]
    head, before, start = Digest(EMPTY_DIGEST), Digest(EMPTY_DIGEST), 0
    for commit in commits:
        fold, chapter = EMPTY_FOLD, []
        for block in blocks[start : commit.height + 1]:
            roots = compute_roots(block.transactions, block.receipts)
            parent = head if block.header.parent != b"\xff" * 32 else block.header.parent
            header = dataclasses.replace(
                block.header, parent=parent, transactions=roots[0], receipts=roots[1]
            )
            head = header.compute_hash(registry)
            seals = (seal or (lambda digest: sign_all(town.servers[:3], digest)))(head)
            chapter.append(dataclasses.replace(block, header=header, seals=seals))
            fold = fold_block(fold, head, seals)
        digest = compute_commit_digest(before, commit.round, commit.height, commit.checkpoint, fold)
        log.append(chapter, dataclasses.replace(commit, digest=digest))
        before, start = digest, commit.height + 1
    log.close()


def sign_all(accounts: Sequence[Account], digest: Digest) -> bytes:
    return b"".join(account.sign(digest) for account in sorted(accounts, key=lambda account: account.address))


def refused(town, *words: str) -> None:
    with pytest.raises(VerificationError) as caught:
        list(audit(town.path))
    for word in words:
        assert word in str(caught.value)


def test_what_happened_is_accepted_and_recomputed(played):
    rounds = list(audit(played.path))
    assert [round.round for round in rounds] == [0, 1, 2]
    assert [(round.model_before[0], round.model[0]) for round in rounds] == [(1, 1), (1, 2), (2, 2)]
    first = {update.vehicle: update for update in rounds[1].updates}
    assert [first[i].weight for i in range(3)] == [WEIGHT_TOTAL // 2, WEIGHT_TOTAL // 2, 0]
    assert [first[i].reputation_after for i in range(3)] == [700_000, 600_000, 300_000]
    assert [first[i].score for i in range(3)] == [900_000, 700_000, 100_000]
    # in round 2 vehicle 2 is on probation, vehicle 3 invalid
    assert [(update.vehicle, update.weight) for update in rounds[2].updates] == [
        (1, WEIGHT_TOTAL),
        (2, 0),
        (3, 0),
    ]
    assert [(round.paid, round.checkpoint) for round in rounds] == [
        (0, "start"),
        (10**7, "round 1"),
        (10**7, "round 2"),
    ]
    ledger = EmbeddedLedger.open(played.path)
    assert (rounds[-1].head, rounds[-1].blocks) == (ledger.head, ledger.height)


def test_a_forged_log_that_changes_nothing_is_accepted(played):
    # the forging in these tests is sound: what they refuse is their change
    before = list(audit(played.path))
    forge(played, lambda blocks: None)
    assert [round.updates for round in audit(played.path)] == [round.updates for round in before]


def change_receipt(event: str, edit: Callable[[bytes], bytes]) -> Change:
    """Changes the data of the first event of that name."""

    def change(blocks: list[Block]) -> None:
        contracts = ContractSet(blocks_operator(blocks))
        for i, block in enumerate(blocks):
            for j, receipt in enumerate(block.receipts):
                result = Result.decode(receipt)
                for k, log in enumerate(result.logs):
                    if contracts.decode_log(log).name == event:
                        logs = list(result.logs)
                        logs[k] = log._replace(data=edit(log.data))
                        receipts = list(block.receipts)
                        receipts[j] = dataclasses.replace(result, logs=tuple(logs)).encode()
                        blocks[i] = dataclasses.replace(block, receipts=tuple(receipts))
                        return

    return change


def blocks_operator(blocks: list[Block]):
    return decode_transaction(blocks[0].transactions[0]).sender


def set_word(position: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: 32 * position] + value.to_bytes(32, "big") + data[32 * position + 32 :]


@pytest.mark.parametrize(
    ("event", "position", "value", "words"),
    [
        (
            "Settled",
            4,
            999_999,
            ("Training.settle: Settled.standings[0] is (before 0, now 999999, reward 0), the",),
        ),
        (
            "Settled",
            5,
            10**7 << 64,
            ("Settled.standings[1] is (before 0, now 0, reward 10000000), the rules give",),
        ),
        (
            "Judged",
            5,
            5,
            ("Training.judge: Judged.verdicts[0] is (vehicle 0x00", "score -999999, valid True,"),
        ),
        ("Judged", 2, 5, ("Training.judge: Judged.merged is 5, the rules give 2",)),
        ("Judged", 0, 5, ("Training.judge: Judged.evidence is 5, the rules give 1000000",)),
        ("Settled", 0, 5, ("Training.settle: Settled.model is 0x00",)),
        ("Voted", 0, 5, ("Training.vote: Voted.digest is 0x00",)),
        (
            "Recorded",
            3,
            5,
            ("Training.record: Recorded.vehicles[0] is (vehicle 0x00", "samples 5), the", "samples 300)"),
        ),
        (
            "Transfer",
            0,
            5,
            ("block 0", "Token.mint: Transfer.amount is 5, the rules give 100000000"),
        ),
    ],
)
def test_invalid_receipt_is_named(played, event, position, value, words):
    forge(played, change_receipt(event, set_word(position, value)))
    refused(played, "block", "transaction", *words)
    with pytest.raises(VerificationError, match="it does not lead to its receipt"):
        EmbeddedLedger.open(played.path)


def test_invalid_claim_that_a_call_was_rejected(played):
    def change(blocks):
        receipts = [Result(ok=False, error="not judged", logs=()).encode(), *blocks[-1].receipts[1:]]
        blocks[-1] = dataclasses.replace(blocks[-1], receipts=tuple(receipts))

    forge(played, change)
    refused(played, "Training.settle: the receipt says 'not judged', the rules say 'accepted'")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda blocks: edit_header(blocks, 3, format=2), ("block 3: format 2 is not known; known: 1",)),
        (
            lambda blocks: edit_header(blocks, 3, contracts=Digest(b"\x05" * 32)),
            ("block 3: contract set 0505",),
        ),
        (lambda blocks: edit_header(blocks, 3, chain_id=1), ("block 3: chain id 1, the chain is 7400",)),
        (lambda blocks: edit_header(blocks, 3, parent=Digest(b"\xff" * 32)), ("block 3: its parent",)),
        (lambda blocks: edit_header(blocks, 3, at=Instant(0)), ("block 3: time or round run backwards",)),
        (lambda blocks: edit_header(blocks, 3, round=0), ("block 3: time or round run backwards",)),
        (lambda blocks: swap_transactions(blocks, 0, 5, 6), ("block 0, transaction 5: nonce 6, expected 5",)),
        (lambda blocks: repeat_transaction(blocks, 2), ("block 2, transaction 1: nonce 3, expected 4",)),
    ],
)
def test_invalid_block_is_named(played, change, words):
    forge(played, change)
    refused(played, *words)
    with pytest.raises(VerificationError):
        EmbeddedLedger.open(played.path)


def edit_header(blocks, height, **fields):
    header = dataclasses.replace(blocks[height].header, **fields)
    blocks[height] = dataclasses.replace(blocks[height], header=header)


def swap_transactions(blocks, height, i, j):
    transactions, receipts = list(blocks[height].transactions), list(blocks[height].receipts)
    transactions[i], transactions[j] = transactions[j], transactions[i]
    receipts[i], receipts[j] = receipts[j], receipts[i]
    blocks[height] = dataclasses.replace(
        blocks[height], transactions=tuple(transactions), receipts=tuple(receipts)
    )


def repeat_transaction(blocks, height):
    block = blocks[height]
    blocks[height] = dataclasses.replace(
        block, transactions=block.transactions * 2, receipts=block.receipts * 2
    )


def test_invalid_seals(played):
    def sealed(accounts):
        return lambda digest: sign_all(accounts, digest)

    servers = played.servers
    for seal, words in (
        (sealed(servers[:2]), "2 seals, 3 are needed"),
        (sealed([*servers[:2], played.stranger]), "which is not an edge server of the task"),
        (sealed([*servers[:2], servers[0]]), "not in strictly ascending order"),
        (lambda digest: sign_all(servers[:3], digest)[65:] + servers[0].sign(digest), "ascending"),
        (lambda digest: sign_all(servers[:3], digest)[:-1], "seals are cut short"),
        (lambda digest: servers[0].sign(Digest(b"\x01" * 32)), "not an edge server"),
        (lambda digest: make_malleable(sign_all(servers[:3], digest)), "seal 0 is not a valid signature"),
    ):
        forge(played, lambda blocks: None, seal=seal)
        refused(played, "block 0", words)
    # more than a quorum is welcome
    forge(played, lambda blocks: None, seal=sealed(servers))
    assert len(list(audit(played.path))) == 3


def make_malleable(seals: bytes) -> bytes:
    s = ORDER - int.from_bytes(seals[32:64], "big")
    return seals[:32] + s.to_bytes(32, "big") + bytes([55 - seals[64]]) + seals[65:]


def execute(path: Path, *statement: object) -> None:
    database = sqlite3.connect(path)
    database.execute(*statement)  # type: ignore[arg-type]
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM blocks WHERE height = 2", "block 2 is missing, 3 stands in its place"),
        ("DELETE FROM blocks WHERE height = (SELECT max(height) FROM blocks)", "is missing"),
        ("DELETE FROM commits WHERE round = 2", "no commit holds it"),
        ("DELETE FROM commits WHERE round = 1", "its digest is not that of its blocks and name"),
        ("DELETE FROM commits", "no commit holds it"),
        (
            "UPDATE commits SET checkpoint = CAST('other' AS BLOB) WHERE round = 1",
            "commit of round 1: its digest",
        ),
        ("UPDATE commits SET checkpoint = 'round 1' WHERE round = 1", "not of type BLOB"),
        ("UPDATE commits SET height = 'x' WHERE round = 1", "of another type"),
        ("UPDATE blocks SET header = 7 WHERE height = 1", "block 1: a column is not of type BLOB"),
        ("UPDATE blocks SET header = x'00' WHERE height = 1", "block 1: a header of 1 bytes"),
        ("UPDATE blocks SET seals = x'' WHERE height = 1", "block 1: 0 seals, 3 are needed"),
        ("CREATE TABLE extra (x)", "known schema"),
        ("DELETE FROM blocks", "block 0 is missing"),
    ],
)
def test_invalid_table(played, statement, words):
    if words == "block 0 is missing":
        words = "block"
    execute(played.path, statement)
    refused(played, words)


def test_invalid_file(tmp_path):
    missing, text = tmp_path / "missing.sqlite", tmp_path / "text.sqlite"
    with pytest.raises(VerificationError, match="no such ledger"):
        list(audit(missing))
    text.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(VerificationError, match="not a ledger"):
        list(audit(text))
    empty = tmp_path / "empty.sqlite"
    ChainLog(empty, create=True).close()
    with pytest.raises(VerificationError, match="an empty ledger"):
        list(audit(empty))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_no_changed_byte_of_the_file_goes_unseen(recorded, place, value):
    path, content, rounds = recorded
    changed = bytearray(content)
    changed[int(place * len(changed))] ^= value
    path.write_bytes(changed)
    with contextlib.suppress(VerificationError):
        assert list(audit(path)) == rounds


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_a_cell_goes_unseen(recorded, data):
    path, content, _ = recorded
    path.write_bytes(content)
    columns = {"blocks": ("header", "transactions", "receipts", "seals"), "commits": ("checkpoint", "digest")}
    table = data.draw(st.sampled_from(sorted(columns)))
    column = data.draw(st.sampled_from(columns[table]))
    database = sqlite3.connect(path)
    cells = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    database.close()
    row, cell = data.draw(st.sampled_from(cells))
    changed = bytearray(cell)
    changed[data.draw(st.integers(0, len(cell) - 1))] ^= data.draw(st.integers(1, 255))
    execute(path, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(changed), row))
    with pytest.raises(VerificationError):
        list(audit(path))


def test_commits_are_values(played):
    log = ChainLog(played.path, create=False)
    assert [(commit.round, commit.checkpoint) for commit in log.commits()] == [
        (0, "start"),
        (1, "round 1"),
        (2, "round 2"),
    ]
    assert all(isinstance(commit, Commit) for commit in log.commits())
    log.close()

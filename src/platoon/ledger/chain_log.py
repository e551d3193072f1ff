"""The ledger's file: sealed blocks and the run's commits, in one SQLite database.

``commit`` is one SQLite transaction: all blocks of a round together with the name of the run's checkpoint, or
nothing. The rollback journal (not a write-ahead log) is deleted when a transaction ends, so that the file stands
alone; a process that is killed in the middle leaves a journal that SQLite rolls back when the file is next opened.
Every byte that a reader gets is bound by a hash: blocks by theirs, commits by a chain of digests over them.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platoon.errors import VerificationError
from platoon.ledger.blocks import MAX_NUMBER, Block, Header
from platoon.nouns import Digest
from platoon.records.encoding import EMPTY_DIGEST, decode_strings, encode_rlp, encode_word, keccak

_SCHEMA = (
    "CREATE TABLE blocks (height INTEGER PRIMARY KEY, header BLOB NOT NULL, transactions BLOB NOT NULL, "
    "receipts BLOB NOT NULL, seals BLOB NOT NULL)",
    "CREATE TABLE commits (round INTEGER PRIMARY KEY, height INTEGER NOT NULL, checkpoint BLOB NOT NULL, "
    "digest BLOB NOT NULL)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A durable point of the run."""

    round: int
    height: int
    """The last block it holds."""
    checkpoint: str
    """Name of the run's checkpoint, whatever the driver calls it."""
    digest: Digest
    """Over this row, the commit before, and the seals of the commit's blocks."""


def compute_commit_digest(
    before: Digest, round_number: int, height: int, checkpoint: str, blocks: Digest
) -> Digest:
    """The digest of a commit; ``blocks`` is the fold of ``fold_block`` over its blocks, from 32 zero bytes."""
    words = (before, encode_word(round_number), encode_word(height), blocks, keccak(checkpoint.encode()))
    return keccak(b"".join(words))


def fold_block(folded: Digest, block_hash: Digest, seals: bytes) -> Digest:
    """Takes one more block of a commit into its digest: which block, and which seals it bears."""
    return keccak(folded + block_hash + keccak(seals))


class ChainLog:
    """The open file."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open a ledger file, or create it.

        Raises:
            VerificationError: the file is missing, or is no ledger of this schema.
        """
        if not create and not path.is_file():
            raise VerificationError(f"{path}: no such ledger")
        mode = "rwc" if create else "rw"
        try:
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None
            )
            # TRUNCATE first: only a change of mode removes what a killed writer left beside the file.
            self._database.execute("PRAGMA journal_mode = TRUNCATE")
            self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.execute("PRAGMA synchronous = FULL")
            if create:
                self._create()
            schema = tuple(
                row[0] for row in self._database.execute("SELECT sql FROM sqlite_master ORDER BY name")
            )
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise VerificationError(f"{path}: not a ledger ({error})") from None
        if schema != _SCHEMA:
            raise VerificationError(f"{path}: not a ledger of a known schema")

    def _create(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._database.execute(statement)
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def append(self, blocks: Sequence[Block], commit: Commit) -> None:
        """Make blocks and their commit durable, together."""
        rows = [
            (
                block.header.height,
                block.header.encode(),
                encode_rlp(block.transactions),
                encode_rlp(block.receipts),
                block.seals,
            )
            for block in blocks
        ]
        row = (commit.round, commit.height, commit.checkpoint.encode(), commit.digest)
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", rows)
            self._database.execute("INSERT INTO commits VALUES (?, ?, ?, ?)", row)

    def blocks(self, start: int = 0) -> Iterator[Block]:
        """The durable blocks from a height on, one at a time; raises ``VerificationError``."""
        query = "SELECT height, header, transactions, receipts, seals FROM blocks WHERE height >= ? ORDER BY height"
        for expected, row in enumerate(self._rows(query, (start,)), start):
            height, header, transactions, receipts, seals = row
            where = f"block {expected}"
            if not isinstance(height, int) or height != expected:
                raise VerificationError(f"{where} is missing, {height!r} stands in its place")
            if not all(isinstance(cell, bytes) for cell in row[1:]):
                raise VerificationError(f"{where}: a column is not of type BLOB")
            try:
                yield Block(
                    header=Header.decode(header),
                    transactions=_decode_list(transactions),
                    receipts=_decode_list(receipts),
                    seals=seals,
                )
            except ValueError as error:
                raise VerificationError(f"{where}: {error}") from None

    def commits(self) -> Iterator[Commit]:
        """The commits in order; raises ``VerificationError``."""
        query = "SELECT round, height, checkpoint, digest FROM commits ORDER BY round"
        for round_number, height, checkpoint, digest in self._rows(query, ()):
            where = f"commit of round {round_number!r}"
            if not (isinstance(round_number, int) and isinstance(height, int)):
                raise VerificationError(f"{where}: a number is of another type")
            if not (0 <= round_number <= MAX_NUMBER and 0 <= height <= MAX_NUMBER):
                raise VerificationError(f"{where}: a number is out of bounds")
            if not (isinstance(checkpoint, bytes) and isinstance(digest, bytes) and len(digest) == 32):
                raise VerificationError(f"{where}: a column is not of type BLOB, or a digest not of 32 bytes")
            try:
                name = checkpoint.decode()
            except UnicodeDecodeError:
                raise VerificationError(f"{where}: the checkpoint's name is not UTF-8") from None
            yield Commit(round=round_number, height=height, checkpoint=name, digest=Digest(digest))

    def _rows(self, query: str, values: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
        try:
            cursor = self._database.execute(query, values)
            row = cursor.fetchone()
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise VerificationError(f"the ledger's file is corrupt ({error})") from None
        while row is not None:
            yield row
            try:
                row = cursor.fetchone()
            except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
                raise VerificationError(f"the ledger's file is corrupt ({error})") from None


def _decode_list(data: bytes) -> tuple[bytes, ...]:
    return tuple(decode_strings(data)[0])


EMPTY_FOLD = EMPTY_DIGEST


def has_commit(path: Path) -> bool:
    """Whether a file holds at least one commit, which it does not where its writer was killed while making it.

    Raises:
        VerificationError: the file is no ledger.
    """
    try:
        database = sqlite3.connect(path)
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        database.close()
    except sqlite3.Error as error:
        raise VerificationError(f"{path}: not a ledger ({error})") from None
    if tables == 0:
        return False
    log = ChainLog(path, create=False)
    try:
        return next(log.commits(), None) is not None
    finally:
        log.close()

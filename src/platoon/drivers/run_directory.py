"""A run directory: what a run leaves behind, written so that a crash at any moment loses at most one round.

Every round writes its rows as parts and a checkpoint; they count from the moment in which the ledger's SQLite
transaction is durable, and are passed over without it. At the end the parts become one table each.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from platoon.drivers.locks import NAME, Hold, hold
from platoon.drivers.tables import ROUND_TABLES, SCHEMAS
from platoon.errors import UserError
from platoon.ledger.chain_log import has_commit
from platoon.scenario import Scenario

Rows = Mapping[str, Any]
"""A table as columns: sequences or arrays of one length."""


class RunDirectory:
    """The files of one run. ``create`` makes a new one, ``open`` finds one that exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[Path, pa.Table] = {}
        self._held: Hold | None = None

    @classmethod
    def create(cls, path: Path, scenario: Scenario) -> "RunDirectory":
        """Make an empty run directory, whole or not at all, and hold it; refuses one that is not empty.

        Raises:
            UserError: the folder exists and holds something, another process makes it, or it cannot be made.
        """
        making = path.with_name(f".{path.name}.making")
        directory = cls(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            require_free(path)
            making.mkdir(exist_ok=True)
            directory._held = hold(making, path)
            _empty(making)
            for folder in ("models", "checkpoint", "parts"):
                (making / folder).mkdir(parents=True)
            for table, schema in SCHEMAS.items():
                pq.write_table(schema.empty_table(), making / f"{table}.parquet")
            write_atomically(making / "scenario.toml", scenario.to_toml())
            making.replace(path)
        except OSError as error:
            directory.release()
            raise UserError(f"{path}: cannot be made a run directory ({error.strerror})") from None
        directory._held.moved(path)
        return directory

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Find a run directory.

        Raises:
            UserError: there is none at that path, or its scenario is missing.
        """
        if not path.is_dir():
            raise UserError(f"{path}: no such run directory")
        if not (path / "scenario.toml").is_file():
            raise UserError(f"{path}: not a run directory, scenario.toml is missing")
        return cls(path)

    def hold(self) -> "RunDirectory":
        """Keep other processes from working in it, until ``release``; raises ``UserError`` where one does."""
        self._held = hold(self.path)
        return self

    def release(self) -> None:
        """Let other processes work in it; may be called twice."""
        if self._held is not None:
            self._held.release()

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def scenario(self) -> Scenario:
        """The scenario of the run; raises ``UserError`` where it is damaged."""
        return Scenario.load(self.path / "scenario.toml")

    @property
    def ledger(self) -> Path:
        """The SQLite file of the ledger."""
        return self.path / "ledger.sqlite"

    @property
    def has_begun(self) -> bool:
        """Whether the start of the run is durable: the ledger holds a commit."""
        return self.ledger.is_file() and has_commit(self.ledger)

    @property
    def models(self) -> Path:
        """The content-addressed store."""
        return self.path / "models"

    @property
    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished run, or None."""
        return self.read_json("summary.json") if (self.path / "summary.json").exists() else None

    def checkpoint(self, name: str) -> Path:
        """The folder of one checkpoint."""
        return self.path / "checkpoint" / name

    def begin_checkpoint(self, name: str) -> Path:
        """An empty folder for a checkpoint; what an interrupted attempt left there is removed."""
        folder = self.checkpoint(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def keep_checkpoints(self, names: set[str]) -> None:
        """Remove all checkpoints but these."""
        for folder in (self.path / "checkpoint").iterdir():
            if folder.name not in names:
                shutil.rmtree(folder)

    def write_part(self, table: str, name: str, rows: Rows) -> None:
        """Write one round's rows of a table; an earlier attempt at the same round is replaced."""
        part = self._part(table, name)
        self._written[part] = self._write(part, table, rows)

    def compact(self, names: Sequence[str]) -> None:
        """Make one table of the parts of these rounds. The parts stay, so that it can be done again."""
        for table in ROUND_TABLES:
            paths = [self._part(table, name) for name in names]
            parts = [self._written[path] if path in self._written else pq.read_table(path) for path in paths]
            whole = pa.concat_tables([SCHEMAS[table].empty_table(), *parts])
            self._write(self.path / f"{table}.parquet", table, whole)

    def remove_parts(self) -> None:
        """Remove what went into the whole tables; only a finished run may."""
        shutil.rmtree(self.path / "parts", ignore_errors=True)

    def write_table(self, table: str, rows: Rows) -> None:
        """Write a whole table."""
        self._write(self.path / f"{table}.parquet", table, rows)

    def _part(self, table: str, name: str) -> Path:
        return self.path / "parts" / f"{table}-{name}.parquet"

    def _write(self, path: Path, table: str, rows: pa.Table | Rows) -> pa.Table:
        whole = rows if isinstance(rows, pa.Table) else pa.table(dict(rows), schema=SCHEMAS[table])
        passing = path.with_suffix(".passing")
        pq.write_table(whole, passing, compression="zstd")
        passing.replace(path)
        return whole

    def read_columns(self, table: str) -> dict[str, list[Any]]:
        """A whole table as columns; raises ``UserError`` where it is missing or damaged."""
        path = self.path / f"{table}.parquet"
        try:
            columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: damaged ({error})") from None
        return columns

    def read_rows(self, table: str) -> Iterator[dict[str, Any]]:
        """A table row by row, in constant memory; raises ``UserError`` where it is missing or damaged."""
        path = self.path / f"{table}.parquet"
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=4096):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: damaged ({error})") from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, atomically."""
        write_atomically(self.path / name, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object; raises ``UserError`` where it is damaged."""
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / name}: damaged ({error})") from None
        if not isinstance(value, dict):
            raise UserError(f"{self.path / name}: damaged (not an object)")
        return value


def _empty(folder: Path) -> None:
    """Remove what an interrupted attempt left, but for the lock."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != NAME:
            left.unlink()


def require_free(path: Path) -> None:
    """Raise ``UserError`` unless nothing, or an empty folder, is at that path."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; --out names a folder to make")
    if path.exists() and any(path.iterdir()):
        raise UserError(f"{path}: is not empty; choose another --out, or `platoon resume {path}`")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old one or the new one; durable before it returns."""
    passing = path.with_name(f".{path.name}.passing")
    with passing.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    passing.replace(path)

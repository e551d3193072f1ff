"""A market's folder: ledger, keys, models in custody, bids that are still sealed, deliveries.

``market.json`` names who takes part; ``ledger.sqlite`` is the chain; ``keys/`` holds private keys, readable by
their owner alone. ``custody/`` is where edge servers keep the models that they have checked against a listing,
to judge them for buyers; ``bids/`` what a buyer needs to reveal a bid; ``deliveries/`` encrypted models and the
boxes with their keys; ``networks/`` the parameters of learned auctions. Files are named by digests or numbers.
"""

import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final

from platoon.drivers.locks import Hold, hold
from platoon.drivers.run_directory import write_atomically
from platoon.errors import UserError, VerificationError
from platoon.nouns import SECOND, Address, Digest, Duration, Instant
from platoon.records.encoding import compute_content_digest
from platoon.records.signing import Account
from platoon.scenario import did_you_mean

FORMAT: Final = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_MARKET = "market.json"
_OPERATOR = "operator"
_NUMBERS = ("chain_id", "began_us", "edge_servers")
MOST_SECONDS: Final = 1e9
"""Of a market's time: 31 years."""


class MarketFolder:
    """The files of one market; one process at a time works in it."""

    def __init__(self, path: Path, table: dict[str, Any], held: Hold) -> None:
        self.path = path
        self._table = table
        self._held = held

    @classmethod
    def create(cls, path: Path, *, edge_servers: int) -> "MarketFolder":
        """A new folder with keys for an operator and edge servers.

        Raises:
            UserError: something is there already, or it cannot be made.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path}: there is something already; allowed: a new or empty folder")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be made ({error.strerror})") from None
        held = hold(path)
        table = {
            "format": FORMAT,
            "chain_id": 1 + secrets.randbelow(2**31),
            "began_us": time.time_ns() // 1000,
            "edge_servers": edge_servers,
            "traders": {},
        }
        folder = cls(path, table, held)
        folder.make_key(_OPERATOR)
        for seat in range(edge_servers):
            folder.make_key(_seat_name(seat))
        folder.save()
        return folder

    @classmethod
    def open(cls, path: Path) -> "MarketFolder":
        """A folder that exists; raises ``UserError`` where it is no market's, or another process works in it."""
        try:
            table = json.loads((path / _MARKET).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no market; `platoon market open {path}` founds one") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path / _MARKET}: cannot be read ({error})") from None
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise UserError(f"{path}: a market of an unknown format; known: {FORMAT}")
        if not all(type(table.get(key)) is int for key in _NUMBERS) or type(table.get("traders")) is not dict:
            raise UserError(f"{path / _MARKET}: damaged; needed: {', '.join(_NUMBERS)}, traders")
        return cls(path, table, hold(path))

    def save(self) -> None:
        """Write ``market.json``."""
        write_atomically(self.path / _MARKET, json.dumps(self._table, indent=1) + "\n")

    def release(self) -> None:
        """Let another process work in it."""
        self._held.release()

    # ---- who takes part -----------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Path:
        """The chain's file."""
        return self.path / "ledger.sqlite"

    @property
    def chain_id(self) -> int:
        """EIP-155."""
        return int(self._table["chain_id"])

    @property
    def operator(self) -> Account:
        """Who registers traders."""
        return self.read_key(_OPERATOR)

    @property
    def edge_servers(self) -> tuple[Account, ...]:
        """By seat."""
        return tuple(self.read_key(_seat_name(seat)) for seat in range(self._table["edge_servers"]))

    @property
    def traders(self) -> dict[str, Address]:
        """Accounts by name."""
        return {name: Address(bytes.fromhex(hexed)) for name, hexed in self._table["traders"].items()}

    def add_trader(self, name: str) -> Account:
        """A key for a new trader; raises ``UserError`` for a name that is taken or not one."""
        if not _NAME.fullmatch(name) or name == _OPERATOR or name.startswith("edge-"):
            raise UserError(
                f"{name!r}: no name; allowed: a-z, 0-9, '_', '.', '-', at most 40, not operator, edge-"
            )
        if name in self._table["traders"]:
            raise UserError(f"{name}: a trader of that name takes part already")
        account = self.make_key(name)
        self._table["traders"][name] = account.address.hex()
        self.save()
        return account

    def find_trader(self, name: str) -> Account:
        """A trader's account; raises ``UserError`` for nobody's name."""
        if name not in self._table["traders"]:
            known = list(self._table["traders"])
            raise UserError(f"{name!r}: no trader of this market; {did_you_mean(name, known)}")
        return self.read_key(name)

    def make_key(self, name: str) -> Account:
        """A new private key, readable by this user alone."""
        secret = secrets.token_bytes(32)
        account = Account(secret)  # raises for the one in 2^128 that is none
        path = self.path / "keys" / f"{name}.key"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_secret(path, secret.hex())
        return account

    def read_key(self, name: str) -> Account:
        """Raises ``UserError`` where it is not there; the message never holds it."""
        path = self.path / "keys" / f"{name}.key"
        try:
            return Account(bytes.fromhex(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise UserError(f"{path}: no private key there") from None

    def read_clock(self) -> Instant:
        """Microseconds since the market was founded."""
        return Instant(max(0, time.time_ns() // 1000 - int(self._table["began_us"])))

    # ---- contents -----------------------------------------------------------------------------------------------

    def keep(self, kind: str, content: bytes, suffix: str) -> Digest:
        """Store a file under its SHA-256."""
        digest = compute_content_digest(content)
        self.put(kind, f"{digest.hex()}{suffix}", content)
        return digest

    def fetch(self, kind: str, digest: Digest, suffix: str) -> bytes:
        """A file by its SHA-256; raises ``VerificationError`` where it is missing or was changed."""
        content = self.get(kind, f"{digest.hex()}{suffix}")
        if compute_content_digest(content) != digest:
            raise VerificationError(f"{kind}/{digest.hex()}{suffix}: its content has another SHA-256")
        return content

    def put(self, kind: str, name: str, content: bytes) -> None:
        """Store a file; a crash leaves the whole of it or none."""
        path = self.path / kind / name
        path.parent.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # models for sale are not everybody's to read
        passing = path.with_name(f".{path.name}")
        passing.write_bytes(content)
        passing.replace(path)

    def get(self, kind: str, name: str) -> bytes:
        """A file's content; raises ``VerificationError`` where it is missing."""
        try:
            return (self.path / kind / name).read_bytes()
        except OSError:
            raise VerificationError(f"{kind}/{name}: missing from the market's folder") from None

    def keep_bid(self, auction: int, trader: str, salt: bytes, amounts: tuple[int, ...]) -> None:
        """What the trader needs to reveal its bid."""
        path = self.path / "bids" / f"{auction}-{trader}.json"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_secret(path, json.dumps({"salt": salt.hex(), "amounts": amounts}))

    def drop_bid(self, auction: int, trader: str) -> None:
        """Of a bid that was refused."""
        (self.path / "bids" / f"{auction}-{trader}.json").unlink(missing_ok=True)

    def read_bid(self, auction: int, trader: str) -> tuple[bytes, tuple[int, ...]]:
        """Salt and amounts; raises ``UserError`` where there is no such bid."""
        path = self.path / "bids" / f"{auction}-{trader}.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return bytes.fromhex(table["salt"]), tuple(table["amounts"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{trader} has no sealed bid in auction {auction} here") from None


def write_secret(path: Path, text: str) -> None:
    """A file that its owner alone may read, from the first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def to_duration(seconds: float, what: str = "a time") -> Duration:
    """Microseconds from what a user types; raises ``UserError`` out of range."""
    if not 0 <= seconds <= MOST_SECONDS:
        raise UserError(f"{what} of {seconds} s; allowed: 0 to {MOST_SECONDS:g}")
    return Duration(round(seconds * SECOND))


def _seat_name(seat: int) -> str:
    return f"edge-{seat}"

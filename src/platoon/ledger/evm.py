"""The Ethereum virtual machine in this process. The only module that imports ``pyrevm``.

pyrevm executes; it keeps no blocks, no log and no file. A failed call is undone by pyrevm itself. Costs of storage
are counted as if one transaction never ended (slots stay warm), so gas here is a lower bound of what a network
charges and is not part of any record.

pyrevm remembers how to undo every call it ever made, which it cannot be told to forget (``revm`` forgets at the end
of a transaction, and pyrevm has none). ``Machine.shed_history`` carries the state over into a fresh EVM instead, so
that memory follows the state and not the number of calls.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pyrevm import EVM, CfgEnv, Env

from platoon.ledger.contracts import Log
from platoon.nouns import Address

_REVERTED = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")
_HALTED = re.compile(r"^Halt \{ reason: (\w+)")
_ERROR_SELECTOR = bytes.fromhex("08c379a0")
_NOBODY = "0x" + "00" * 20
_VIEW_GAS = 2**40
_GAS_PER_SLOT = 2**11
"""Gas between two times at least, for each slot of the state: carrying one over takes about as long as this gas."""
_CALL_GAS = 2**14
"""What a call counts at least."""
_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account \{")
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+) \}")


class Execution(NamedTuple):
    """What became of a call."""

    ok: bool
    error: str
    """The contract's reason; empty where it went through."""
    logs: tuple[Log, ...]
    gas: int


class Machine:
    """An EVM (London) with an empty state."""

    def __init__(self, chain_id: int) -> None:
        self._chain_id = chain_id
        self._evm = self._boot()
        self._stored = _Stored()
        """What was stored when the past was last shed: an EVM tells only of what it has touched since."""
        self._gas = 0
        """Used since the EVM was fresh: what it remembers grows with it."""

    def _boot(self) -> EVM:
        return EVM(env=Env(cfg=CfgEnv(chain_id=self._chain_id)), spec_id="LONDON")

    def shed_history(self, after: int) -> None:
        """Carry the state over into a fresh EVM, where so much gas has been used since the last time.

        Nothing that a contract can see changes. It takes more gas where the state is large, so that shedding is a
        small part of the work.

        Raises:
            RuntimeError: pyrevm gives its state in a form that is not known.
        """
        if self._gas < max(after, _GAS_PER_SLOT * self._stored.slots):
            return
        self._stored.update(_read_slots(self._evm.journal_str))
        accounts = {**self._evm.db_accounts, **self._evm.journal_state}
        self._evm, self._gas = self._boot(), 0
        for address, account in accounts.items():
            if account.nonce or account.code:
                self._evm.insert_account_info(address, account)
        for contract, slot, value in self._stored:
            before = self._evm.snapshot()
            self._evm.insert_account_storage(contract, slot, value)
            # undoes that the account was looked up: of one that is, slots would go through the journal
            self._evm.revert(before)

    def execute(self, sender: Address, to: Address | None, data: bytes, gas: int) -> Execution:
        """Execute a call, or deploy where ``to`` is None. A failed one leaves the state untouched."""
        self._gas += _CALL_GAS
        try:
            if to is None:
                self._evm.deploy(_encode_address(sender), data, gas=gas)
            else:
                self._evm.message_call(_encode_address(sender), _encode_address(to), calldata=data, gas=gas)
        except RuntimeError as error:
            return Execution(False, _explain(str(error)), (), 0)
        result = self._evm.result
        assert result is not None  # there is one after every call
        self._gas += result.gas_used
        logs = tuple(
            [
                Log(_decode_address(log.address), tuple(topics), data)
                for log in result.logs
                for topics, data in (log.data,)
            ]
        )
        return Execution(True, "", logs, result.gas_used)

    def read(self, to: Address, data: bytes) -> bytes:
        """Call a view; raises ``ValueError`` with the contract's reason."""
        self._gas += _CALL_GAS
        try:
            output: bytes = self._evm.message_call(
                _NOBODY, _encode_address(to), calldata=data, gas=_VIEW_GAS, is_static=True
            )
        except RuntimeError as error:
            raise ValueError(_explain(str(error))) from None
        return output


class _Stored:
    """The storage of all contracts; SQLite keeps it in a passing file of its own, out of memory."""

    def __init__(self) -> None:
        self.slots = 0
        """How many are not 0."""
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(
            "CREATE TABLE stored (contract TEXT, slot BLOB, value BLOB, PRIMARY KEY (contract, slot)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")  # never ended: nothing of it is to last

    def update(self, touched: Iterable[tuple[str, int, int]]) -> None:
        """Takes what these slots hold now; raises ``RuntimeError`` where nothing was ever stored."""
        rows = (
            (contract, slot.to_bytes(32, "big"), value.to_bytes(32, "big"))
            for contract, slot, value in touched
        )
        self._database.executemany("INSERT OR REPLACE INTO stored VALUES (?, ?, ?)", rows)
        self._database.execute("DELETE FROM stored WHERE value = zeroblob(32)")
        self.slots = int(self._database.execute("SELECT count(*) FROM stored").fetchone()[0])
        if self.slots == 0:
            raise RuntimeError("pyrevm describes its state in a form that is not known")

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        for contract, slot, value in self._database.execute("SELECT * FROM stored"):
            yield contract, int.from_bytes(slot, "big"), int.from_bytes(value, "big")


def _read_slots(state: str) -> Iterator[tuple[str, int, int]]:
    """Contract, slot and value of all storage that was touched; ``state``: revm's own description of it."""
    end = state.find(" transient_storage: ")
    found = 0
    for account in _ACCOUNT.finditer(state, 0, end):
        start = state.find(" storage: {", account.end(), end)
        stop = state.find("}, status: ", start, end)
        if start < 0 or stop < 0:
            raise RuntimeError("pyrevm describes an account in a form that is not known")
        for slot in _SLOT.finditer(state, start, stop + 1):
            found += 1
            yield account[1], int(slot[1]), int(slot[2])
    if end < 0 or found != state.count("present_value: ", 0, end):
        raise RuntimeError("pyrevm describes its state in a form that is not known")


@lru_cache(maxsize=1024)
def _encode_address(address: Address) -> str:
    return "0x" + address.hex()


@lru_cache(maxsize=1024)
def _decode_address(text: str) -> Address:
    return Address(bytes.fromhex(text[2:]))


def _explain(message: str) -> str:
    """The reason of a failed call: the contract's own words, or what stopped the machine."""
    if match := _REVERTED.match(message):
        output = bytes.fromhex(match[1])
        if output[:4] == _ERROR_SELECTOR and len(output) >= 68:
            length = int.from_bytes(output[36:68], "big")
            return output[68 : 68 + length].decode("utf-8", errors="replace")
        return "reverted"
    if match := _HALTED.match(message):
        return f"halted: {match[1]}"
    return f"refused by the machine: {message}"

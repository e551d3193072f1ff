"""The Ethereum virtual machine in this process. The only module that imports ``pyrevm``.

pyrevm executes; it keeps no blocks, no log and no file. Its state is a journal in memory, and a failed call is
undone by pyrevm itself. Costs of storage are counted as if one transaction never ended (slots stay warm), so gas
here is a lower bound of what a network charges and is not part of any record.
"""

import re
from functools import cache
from typing import NamedTuple

from pyrevm import EVM, CfgEnv, Env

from platoon.ledger.contracts import Log
from platoon.nouns import Address

_REVERTED = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")
_HALTED = re.compile(r"^Halt \{ reason: (\w+)")
_ERROR_SELECTOR = bytes.fromhex("08c379a0")
_NOBODY = "0x" + "00" * 20
_VIEW_GAS = 2**40


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
        self._evm = EVM(env=Env(cfg=CfgEnv(chain_id=chain_id)), spec_id="LONDON")

    def execute(self, sender: Address, to: Address | None, data: bytes, gas: int) -> Execution:
        """Execute a call, or deploy where ``to`` is None. A failed one leaves the state untouched."""
        caller = "0x" + sender.hex()
        try:
            if to is None:
                self._evm.deploy(caller, data, gas=gas)
            else:
                self._evm.message_call(caller, "0x" + to.hex(), calldata=data, gas=gas)
        except RuntimeError as error:
            return Execution(False, _explain(str(error)), (), 0)
        result = self._evm.result
        assert result is not None  # there is one after every call
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
        try:
            output: bytes = self._evm.message_call(
                _NOBODY, "0x" + to.hex(), calldata=data, gas=_VIEW_GAS, is_static=True
            )
        except RuntimeError as error:
            raise ValueError(_explain(str(error))) from None
        return output


@cache
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

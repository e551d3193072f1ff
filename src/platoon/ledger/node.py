"""One node of an EVM network, over JSON-RPC. The only module that imports ``web3``.

A node is asked and answers; nothing here waits, repeats or remembers. What can go wrong is two things: no sensible
answer (``UnreachableError``: ask again), and an answer that says no (``RefusedError``). Blocks of QBFT, IBFT and
clique networks carry their validators' seals in ``extraData``, longer than the 32 bytes of the yellow paper: web3
reads them only with its proof-of-authority middleware, which every other network passes through unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers import BaseProvider
from web3.types import RPCEndpoint

from platoon.ledger.contracts import Log
from platoon.nouns import Address, Digest
from platoon.records.encoding import encode_number, encode_rlp, keccak

_REQUEST_S = 10.0
"""Longest wait for one answer, seconds."""


class UnreachableError(Exception):
    """No sensible answer: the connection broke, the node is busy or not there."""


class RefusedError(Exception):
    """The node's answer is an error; the message has its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReceipt:
    """What the chain says of a transaction that is in one of its blocks."""

    ok: bool
    logs: tuple[Log, ...]
    gas: int
    block: int
    """Number of the block."""
    block_hash: Digest
    index: int
    """Place in the block."""


class Tip(NamedTuple):
    """The newest block."""

    number: int
    gas_limit: int
    base_fee: int
    """0 where the network has none."""


class Node:
    """Asks one node."""

    def __init__(self, provider: BaseProvider, name: str) -> None:
        """``name`` is how messages call the node: its URL."""
        self.name = name
        self._web3 = Web3(provider, middleware=[])
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)

    @classmethod
    def at(cls, url: str) -> "Node":
        """The node at an HTTP address; nothing is asked yet."""
        provider = HTTPProvider(
            url, request_kwargs={"timeout": _REQUEST_S}, exception_retry_configuration=None
        )
        return cls(provider, url)

    def chain_id(self) -> int:
        """EIP-155 chain id of the network."""
        with _told():
            return int(self._web3.eth.chain_id)

    def tip(self) -> Tip:
        """The newest block."""
        with _told():
            block = self._web3.eth.get_block("latest")
            return Tip(int(block["number"]), int(block["gasLimit"]), int(block.get("baseFeePerGas", 0)))

    def height(self) -> int:
        """Number of the newest block."""
        with _told():
            return int(self._web3.eth.block_number)

    def nonce(self, account: Address) -> int:
        """Number of the account's transactions that are in blocks."""
        with _told():
            return int(self._web3.eth.get_transaction_count(_checksum(account)))

    def send(self, raw: bytes) -> None:
        """Hand a signed transaction in. Sending the same bytes again changes nothing, whatever the answer."""
        with _told():
            self._web3.eth.send_raw_transaction(raw)

    def receipt(self, transaction: Digest) -> ChainReceipt | None:
        """What the chain says of a transaction; None while it is in no block."""
        with _told():
            receipt = self._request("eth_getTransactionReceipt", ["0x" + transaction.hex()])
            if receipt is None or receipt["blockHash"] is None:
                return None
            return ChainReceipt(
                ok=int(receipt["status"], 16) == 1,
                logs=tuple(_log(log) for log in receipt["logs"]),
                gas=int(receipt["gasUsed"], 16),
                block=int(receipt["blockNumber"], 16),
                block_hash=Digest(_bytes(receipt["blockHash"])),
                index=int(receipt["transactionIndex"], 16),
            )

    def transaction(self, name: Digest) -> bytes:
        """The signed bytes of a transaction in a block; raises ``ValueError`` for a form that is unknown."""
        with _told():
            raw = _encode(self._request("eth_getTransactionByHash", ["0x" + name.hex()]))
        if keccak(raw) != name:
            raise ValueError("it is of a form that is not known")
        return raw

    def senders_of_logs(self, contracts: Sequence[Address], first: int, last: int) -> tuple[Digest, ...]:
        """Hashes of the transactions that made these contracts emit something in a range of blocks."""
        addresses = ["0x" + contract.hex() for contract in contracts]
        with _told():
            query = {"address": addresses, "fromBlock": hex(first), "toBlock": hex(last)}
            logs = self._request("eth_getLogs", [query])
            return tuple(dict.fromkeys(Digest(_bytes(log["transactionHash"])) for log in logs))

    def _request(self, method: str, parameters: list[Any]) -> Any:
        """An answer as JSON has it: web3's own reading of events takes longer than all else of a round."""
        return self._web3.manager.request_blocking(RPCEndpoint(method), parameters)

    def call(self, to: Address, data: bytes) -> bytes:
        """What a view returns at the newest block; raises ``RefusedError`` with the contract's reason."""
        with _told():
            return bytes(self._web3.eth.call({"to": _checksum(to), "data": data}))


_PRICES = {0: ("gasPrice",), 1: ("gasPrice",), 2: ("maxPriorityFeePerGas", "maxFeePerGas")}
"""What the forms of transactions name for gas: legacy, EIP-2930, EIP-1559."""


def _encode(said: Any) -> bytes:
    """A transaction's bytes, from its fields in JSON; those of another transaction for an unknown form."""
    kind = int(said.get("type") or "0x0", 16)
    numbers = [encode_number(int(said[key], 16)) for key in ("nonce", *_PRICES.get(kind, ()), "gas")]
    to = _bytes(said["to"]) if said.get("to") else b""
    body: list[Any] = [*numbers, to, encode_number(int(said["value"], 16)), _bytes(said["input"])]
    signature = [encode_number(int(said[key], 16)) for key in ("v", "r", "s")]
    if kind == 0:
        return encode_rlp([*body, *signature])
    rows = said.get("accessList") or []
    access = [[_bytes(row["address"]), [_bytes(key) for key in row["storageKeys"]]] for row in rows]
    chain_id = encode_number(int(said["chainId"], 16))
    return bytes([kind]) + encode_rlp([chain_id, *body, access, *signature])


def _log(log: Any) -> Log:
    return Log(
        address=Address(_bytes(log["address"])),
        topics=tuple(_bytes(topic) for topic in log["topics"]),
        data=_bytes(log["data"]),
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _checksum(address: Address) -> Any:
    return Web3.to_checksum_address("0x" + address.hex())


@contextmanager
def _told() -> Iterator[None]:
    """Sorts what a request can raise into the two errors of this module."""
    try:
        yield
    except BlockNotFound:
        raise UnreachableError("the node does not have its newest block at hand") from None
    except Web3RPCError as error:
        raise RefusedError(_words(error)) from None
    except ContractLogicError as error:
        raise RefusedError(str(error.message)) from None
    except Web3Exception as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from None


def _words(error: Web3RPCError) -> str:
    """The node's own words, without the envelope they came in."""
    response: Any = error.rpc_response or {}
    said = response.get("error") if isinstance(response, dict) else None
    return str(said.get("message", error.message)) if isinstance(said, dict) else str(error.message)

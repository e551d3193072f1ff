"""Two chains to test against: a fake one in the process, whose every mishap is written down, and real anvil."""

import heapq
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.ledger.conftest import Town
from web3.providers import BaseProvider

from platoon.ledger.courier import Courier, Surroundings
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.evm import Execution, Machine
from platoon.ledger.node import Node
from platoon.ledger.rpc import RemoteLedger
from platoon.nouns import Address
from platoon.records.encoding import decode_rlp, encode_word, keccak
from platoon.records.transactions import Transaction, decode_transaction

# ---- time ----


class FakeTime:
    """A clock that only ``sleep`` moves; what was planned happens on the way."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned = 0
        self._plan: list[tuple[float, int, Callable[[], object]]] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, duration: float) -> None:
        end = self.now + duration
        while self._plan and self._plan[0][0] <= end:
            self.now, _, happen = heapq.heappop(self._plan)
            happen()
        self.now = end

    def after(self, delay: float, happen: Callable[[], object]) -> None:
        self._planned += 1
        heapq.heappush(self._plan, (self.now + delay, self._planned, happen))


# ---- a fake chain ----


@dataclass(slots=True)
class Mined:
    raw: bytes
    transaction: Transaction
    execution: Execution
    block: int
    index: int


class FakeChain(BaseProvider):
    """A node with a chain of its own, as web3 sees one: JSON-RPC requests in, answers out.

    ``mishaps`` are for the next requests, in order: "" for none, "drop" (it never arrives), "mute" (it arrives,
    the answer does not), "garbage" (the answer is none).
    """

    def __init__(self, chain_id: int = 7400) -> None:
        super().__init__()
        self.chain_id = chain_id
        self.base_fee, self.gas_limit = 0, 30_000_000
        self.automine = True
        self.mishaps: list[str] = []
        self.sent: list[bytes] = []
        self.pool: list[bytes] = []
        self.blocks: list[list[bytes]] = []
        self.mined: dict[bytes, Mined] = {}
        self.forge: Callable[[Execution], Execution] = lambda execution: execution
        self._fork = 0
        self._restart()

    def _restart(self) -> None:
        self._machine = Machine(self.chain_id)
        self._nonces: dict[Address, int] = {}
        self.mined = {}

    # what happens to a chain

    def mine(self, order: Callable[[list[bytes]], Sequence[bytes]] | None = None) -> None:
        """A block of everything in the pool that can be executed, in the order of arrival or another."""
        block = list(order(self.pool) if order else self.pool)
        self._execute(block)

    def _execute(self, block: Sequence[bytes]) -> None:
        taken = []
        for raw in block:
            transaction = decode_transaction(raw)
            if transaction.nonce != self._nonces.get(transaction.sender, 0):
                continue
            call = transaction.call
            execution = self._machine.execute(transaction.sender, call.to, call.data, call.gas)
            self._nonces[transaction.sender] = transaction.nonce + 1
            self.mined[keccak(raw)] = Mined(
                raw, transaction, self.forge(execution), len(self.blocks) + 1, len(taken)
            )
            taken.append(raw)
        self.pool = [raw for raw in self.pool if raw not in taken]
        self.blocks.append(taken)

    def reorganise(self, depth: int, pooled: bool = True) -> list[bytes]:
        """The last blocks never were; returns what was in them, which is back in the pool or forgotten."""
        kept, dropped = self.blocks[:-depth], self.blocks[-depth:]
        self.blocks = []
        self._fork += 1
        self._restart()
        for block in kept:
            self._execute(block)
        back = [raw for block in dropped for raw in block]
        self.pool = back + self.pool if pooled else []
        return back

    def lose_everything(self) -> None:
        self.blocks, self.pool = [], []
        self._restart()

    # JSON-RPC

    def make_request(self, method: str, params: Any) -> Any:
        mishap = self.mishaps.pop(0) if self.mishaps else ""
        if mishap == "drop":
            raise requests.ConnectionError("connection refused")
        answer = getattr(self, f"_{method}")(*params)
        if mishap == "mute":
            raise requests.ReadTimeout("read timed out")
        if mishap == "garbage":
            return {"jsonrpc": "2.0", "id": 1}
        part = answer if isinstance(answer, dict) and answer.keys() == {"error"} else {"result": answer}
        return {"jsonrpc": "2.0", "id": 1, **part}

    def _eth_chainId(self) -> str:  # noqa: N802  (JSON-RPC's names)
        return hex(self.chain_id)

    def _eth_blockNumber(self) -> str:  # noqa: N802
        return hex(len(self.blocks))

    def _eth_getTransactionCount(self, account: str, _block: str) -> str:  # noqa: N802
        return hex(self._nonces.get(Address(bytes.fromhex(account[2:])), 0))

    def _eth_getBlockByNumber(self, _number: str, _full: bool) -> dict[str, Any]:  # noqa: N802
        return {
            "number": hex(len(self.blocks)),
            "hash": self._block_hash(len(self.blocks)),
            "gasLimit": hex(self.gas_limit),
            "baseFeePerGas": hex(self.base_fee),
            "extraData": "0x" + "f8" * 200,  # as QBFT has it: longer than the yellow paper's 32 bytes
        }

    def _eth_sendRawTransaction(self, text: str) -> Any:  # noqa: N802
        raw = bytes.fromhex(text[2:])
        self.sent.append(raw)
        transaction = decode_transaction(raw)
        if transaction.chain_id != self.chain_id:
            return _error("invalid chain id for signer")
        if transaction.nonce < self._nonces.get(transaction.sender, 0):
            return _error("nonce too low")
        if raw in self.pool:
            return _error("already known")
        self.pool.append(raw)
        if self.automine:
            self.mine()
        return "0x" + keccak(raw).hex()

    def _eth_getTransactionReceipt(self, name: str) -> Any:  # noqa: N802
        mined = self.mined.get(bytes.fromhex(name[2:]))
        if mined is None:
            return None
        return {
            "transactionHash": name,
            "transactionIndex": hex(mined.index),
            "blockHash": self._block_hash(mined.block),
            "blockNumber": hex(mined.block),
            "gasUsed": hex(mined.execution.gas),
            "status": hex(mined.execution.ok),
            "logs": self._logs(mined),
        }

    def _eth_getTransactionByHash(self, name: str) -> Any:  # noqa: N802
        raw = self.mined[bytes.fromhex(name[2:])].raw
        kind = raw[0] if raw[0] in (1, 2) else 0
        items: Any = decode_rlp(raw[1:] if kind else raw)
        if kind:
            chain_id, *items = items
        prices = ("maxPriorityFeePerGas", "maxFeePerGas") if kind == 2 else ("gasPrice",)
        names = [
            "nonce",
            *prices,
            "gas",
            "to",
            "value",
            "input",
            *(["accessList"] if kind else []),
            "v",
            "r",
            "s",
        ]
        said = dict(zip(names, items, strict=True))
        numbers = {
            key: hex(int.from_bytes(value, "big")) for key, value in said.items() if key != "accessList"
        }
        numbers |= {key: "0x" + said[key].hex() for key in ("to", "input")}
        rows = [
            {"address": "0x" + address.hex(), "storageKeys": ["0x" + key.hex() for key in keys]}
            for address, keys in said.get("accessList", [])
        ]
        head = {"hash": name, "type": hex(kind), "accessList": rows}
        return numbers | head | ({"chainId": "0x" + chain_id.hex()} if kind else {})

    def _eth_getLogs(self, query: dict[str, Any]) -> Any:  # noqa: N802
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        wanted = {address.lower() for address in query["address"]}
        return [
            log
            for mined in self.mined.values()
            if first <= mined.block <= last
            for log in self._logs(mined)
            if log["address"] in wanted
        ]

    def _block_hash(self, number: int) -> str:
        return "0x" + keccak(encode_word(self._fork) + encode_word(number)).hex()

    def _logs(self, mined: Mined) -> list[dict[str, Any]]:
        return [
            {
                "address": "0x" + log.address.hex(),
                "topics": ["0x" + topic.hex() for topic in log.topics],
                "data": "0x" + log.data.hex(),
                "blockNumber": hex(mined.block),
                "blockHash": self._block_hash(mined.block),
                "transactionHash": "0x" + keccak(mined.raw).hex(),
                "transactionIndex": hex(mined.index),
                "logIndex": hex(i),
                "removed": False,
            }
            for i, log in enumerate(mined.execution.logs)
        ]


def _error(message: str) -> dict[str, Any]:
    return {"error": {"code": -32000, "message": message}}


@dataclass
class Site:
    """A fake chain, its time, and what was told while waiting."""

    chain: FakeChain = field(default_factory=FakeChain)
    time: FakeTime = field(default_factory=FakeTime)
    told: list[str] = field(default_factory=list)
    deadline_s: float = 60.0
    confirmations: int = 0
    places: Path | None = None

    def courier(self) -> Courier:
        surroundings = Surroundings(
            clock=self.time.clock,
            sleep=self.time.sleep,
            tell=self.told.append,
            deadline_s=self.deadline_s,
            confirmations=self.confirmations,
        )
        return Courier(Node(self.chain, "http://fake"), surroundings)

    def connect(self, log: EmbeddedLedger) -> RemoteLedger:
        return RemoteLedger(log, self.courier(), places=self.places)

    def applied(self) -> list[bytes]:
        """What the chain executed, in its order."""
        return [raw for block in self.chain.blocks for raw in block]


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def town(site: Site, tmp_path: Path) -> Town:
    """A town whose ledger is the fake chain, set up without a mishap."""
    return Town(tmp_path, connect=site.connect)


@pytest.fixture
def twin_town(tmp_path: Path) -> Town:
    """The same town on the embedded engine."""
    folder = tmp_path / "embedded"
    folder.mkdir()
    return Town(folder)


# ---- anvil ----

ROOT = Path(__file__).parents[2]


def find_anvil() -> Path:
    """The binary that `make anvil` installs. Skips where it is not, fails CI's run."""
    found = sorted(ROOT.glob(".tools/node_modules/@foundry-rs/anvil-*/bin/anvil*"))
    if found:
        return found[0]
    if os.environ.get("CI"):
        pytest.fail("anvil is not installed: CI must run `make anvil`")
    return pytest.skip("needs an EVM node: `make anvil`")


class Anvil:
    """A node in a process of its own, on the loopback device."""

    def __init__(self, chain_id: int, *options: str, port: int = 0) -> None:
        self.chain_id = chain_id
        command = [str(find_anvil()), "--port", str(port), "--chain-id", str(chain_id), *options]
        command += ["--hardfork", "london", "--gas-price", "0", "--base-fee", "0", "--accounts", "1"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Listening on "):
                self.url = "http://" + line.removeprefix("Listening on ").strip()
                break
        else:
            pytest.fail("anvil did not start")
        # A pipe that nobody reads fills up, and the node stands still.
        self._drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._drain.start()
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._drain.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def courier(self, time: FakeTime, deadline_s: float = 60.0) -> Courier:
        """On automatic mining nothing has to be waited for, so a fake clock does."""
        surroundings = Surroundings(
            clock=time.clock, sleep=time.sleep, tell=lambda _: None, deadline_s=deadline_s
        )
        return Courier(Node.at(self.url), surroundings)

    def connect(self, log: EmbeddedLedger) -> RemoteLedger:
        return RemoteLedger(log, self.courier(FakeTime()))


@pytest.fixture
def start_anvil() -> Iterator[Callable[..., Anvil]]:
    """Starts nodes, and stops them at the end."""
    started: list[Anvil] = []

    def start(chain_id: int = 7400, *options: str, port: int = 0) -> Anvil:
        started.append(Anvil(chain_id, *options, port=port))
        return started[-1]

    yield start
    for anvil in started:
        anvil.stop()

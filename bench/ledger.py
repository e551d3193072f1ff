"""CPU seconds of the ledger: a settled round, registrations, replay, signatures; and an audit in constant memory.

    python -m bench ledger

prints a table and writes ``bench/out/ledger.json``. A round is what the ledger does with it: 10 edge servers with
10 updates each are recorded, scored, judged, voted and settled in five blocks, each sealed by a quorum of seven,
executed and committed to SQLite on disk. What participants sign, they sign on machines of their own: that is timed
apart. Bare coincurve in the same run says how fast the machine was. CPU seconds, because it may be shared; peaks of
memory are of processes of their own.
"""

import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincurve import PrivateKey, PublicKey

from bench.long_run import STEPS
from bench.rows import Row, keep, row
from platoon.ledger.audit import audit
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.task_chain import Participants, RecordedUpdate, Stake, TaskChain
from platoon.nouns import Address, Digest, Instant, SignedUpdate, Tokens
from platoon.records.encoding import keccak
from platoon.records.rules import Rules
from platoon.records.signing import Account, recover_update_signer, sign_update, simulated_account

SERVERS, UPDATES = 10, 10
"""Updates of each edge server: 100 a round, above DTB-FL's 10 in all."""
ROUNDS, WARM_UP = 60, 5
REPETITIONS = 7
SIGNATURES = 400
REGISTRATIONS = 10_000
CHAIN_ID = 7400


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as name:
        folder = Path(name)
        rows = [
            *measure_rounds(folder),
            measure_registrations(folder),
            *measure_signatures(),
            *measure_audit(folder),
            *measure_verify(folder),
        ]
    keep("ledger", rows)
    for entry in rows:
        peer = f"{entry['peer']}: {entry['peer_value']:.4g}" if entry["peer"] else ""
        print(
            f"{entry['name']:32} {entry['value']:10.4g} {entry['unit']:10} +- {entry['spread']:.2g}  {peer}"
        )


# ---- a round ----------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """A task chain with everybody's keys, and the transactions of its next round."""

    path: Path
    share: int = UPDATES
    """Updates of each edge server."""
    servers: list[Account] = field(
        default_factory=lambda: [simulated_account(1, "edge server", i) for i in range(SERVERS)]
    )

    def __post_init__(self) -> None:
        self.vehicles = [simulated_account(1, "vehicle", i) for i in range(SERVERS * self.share)]
        self.chain = TaskChain.create(
            self.path,
            chain_id=CHAIN_ID,
            participants=Participants(
                operator=simulated_account(1, "operator", 0),
                publisher=simulated_account(1, "publisher", 0),
                edge_servers=tuple(self.servers),
                vehicles=tuple(vehicle.address for vehicle in self.vehicles),
            ),
            rules=Rules(pool=10_000_000),
            model=Digest(b"\x01" * 32),
            escrow=Tokens(10**12),
            probes=[Digest(bytes([1 + i]) * 32) for i in range(SERVERS)],
            stake=Stake(tokens=Tokens(10**8)),
        )
        self.chain.commit("start")

    def updates(self, server: int, number: int) -> list[SignedUpdate]:
        """What reached an edge server in a round."""
        mine = self.vehicles[server * self.share : (server + 1) * self.share]
        return [
            sign_update(
                v,
                self.chain.task,
                round=number,
                digest=keccak(v.address + bytes([number % 256])),
                samples=300,
            )
            for v in mine
        ]

    def play(self, number: int) -> tuple[float, float]:
        """One round: CPU seconds of the ledger and of everybody's signatures."""
        chain, calls = self.chain, self.chain.calls
        spent = [0.0, 0.0]

        def timed(part: int, work: Callable[[], Any]) -> Any:
            start = time.process_time()
            result = work()
            spent[part] += time.process_time() - start
            return result

        def step(made: Callable[[int], Any], signers: int = SERVERS) -> None:
            signed = timed(1, lambda: [chain.sign(self.servers[i], made(i)) for i in range(signers)])
            receipts = timed(0, lambda: chain.submit(signed, round=number, at=Instant(number)))
            assert all(receipt.ok for receipt in receipts), receipts

        arrived = timed(1, lambda: [self.updates(i, number) for i in range(SERVERS)])
        step(lambda i: calls.record(number, arrived[i]))
        recorded = chain.updates(number)
        step(lambda i: calls.score(number, recorded, judgement(i, recorded), 900_000))
        step(lambda _: calls.judge(number), 1)
        step(lambda _: calls.vote(number, keccak(number.to_bytes(8, "big"))))
        step(lambda _: calls.settle(number), 1)
        timed(0, lambda: chain.commit(f"round {number}"))
        return spent[0], spent[1]


def judgement(server: int, updates: tuple[RecordedUpdate, ...]) -> list[int]:
    """Scores that differ a little between edge servers."""
    return [700_000 + (server * 7919 + i * 104_729) % 90_000 for i in range(len(updates))]


def measure_rounds(folder: Path) -> list[Row]:
    """The rows of a round, and of its replay."""
    stage = Stage(folder / "rounds.sqlite")
    taken = [stage.play(number) for number in range(1, ROUNDS + 1)][WARM_UP:]
    ledger, signing = ([1000 * seconds[part] for seconds in taken] for part in (0, 1))
    stage.chain.close()
    paper = Stage(folder / "paper.sqlite", share=1)
    for number in range(1, ROUNDS + 1):
        paper.play(number)
    paper.chain.close()
    p95 = statistics.quantiles(ledger, n=20)[-1]
    return [
        row("settle_round_ms_median", ledger, "CPU ms", "target", 15.0),
        row("settle_round_ms_p95", ledger, "CPU ms", "target", 30.0) | {"value": p95},
        row("sign_round_ms", signing, "CPU ms"),
        row("replay_ms_per_tx", per_transaction(paper.path, replay), "CPU ms", "target", 0.3),
        row("replay_ms_per_tx_100_updates", per_transaction(stage.path, replay), "CPU ms", "target", 0.3),
        row("audit_ms_per_tx", per_transaction(paper.path, audit_all), "CPU ms"),
        row("audit_ms_per_tx_100_updates", per_transaction(stage.path, audit_all), "CPU ms"),
    ]


def replay(path: Path) -> int:
    """Restart from a file; how many transactions it holds."""
    ledger = EmbeddedLedger.open(path)
    count = sum(len(block.transactions) for block in ledger.blocks())
    ledger.close()
    return count


def audit_all(path: Path) -> int:
    """The independent check of a file; how many transactions it holds."""
    return [round.transactions for round in audit(path)][-1]


def per_transaction(path: Path, work: Callable[[Path], int]) -> list[float]:
    """CPU milliseconds per transaction, three times."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        count = work(path)
        taken.append(1000 * (time.process_time() - start) / count)
    return taken


# ---- registrations and signatures -------------------------------------------------------------------------------


def measure_registrations(folder: Path) -> Row:
    """10,000 vehicles, from addresses to sealed blocks; keys are made before."""
    addresses = [Address(keccak(i.to_bytes(8, "big"))[12:]) for i in range(REGISTRATIONS)]
    operator = simulated_account(1, "operator", 0)
    taken = []
    for repetition in range(3):
        stage = Stage(folder / f"registrations{repetition}.sqlite")
        taken.append(cpu(lambda chain=stage.chain: register(chain, operator, addresses)))
        stage.chain.close()
    return row("register_10k_s", taken, "CPU s", "target", 1.0)


def register(chain: TaskChain, operator: Account, addresses: list[Address]) -> None:
    """Registers vehicles, 256 in a transaction, each in a sealed block."""
    for start in range(0, len(addresses), 256):
        call = chain.calls.contracts.call("Registry", "register", 2, addresses[start : start + 256])
        (receipt,) = chain.submit([chain.sign(operator, call)], at=Instant(1), round=0)
        assert receipt.ok, receipt
    chain.ledger.commit(1, "registered")


def measure_signatures() -> list[Row]:
    """Checks of vehicles' EIP-712 signatures beside bare recoveries by coincurve, in turns."""
    task = Digest(b"\x03" * 32)
    account = simulated_account(1, "vehicle", 0)
    signed = [
        sign_update(account, task, round=i, digest=Digest(bytes(32)), samples=300) for i in range(SIGNATURES)
    ]
    key = PrivateKey(b"\x05" * 32)
    digests = [hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(SIGNATURES)]
    bare = [key.sign_recoverable(digest, hasher=None) for digest in digests]

    def ours() -> None:
        for update in signed:
            assert recover_update_signer(update) == account.address

    def theirs() -> None:
        for digest, signature in zip(digests, bare, strict=True):
            PublicKey.from_signature_and_message(signature, digest, hasher=None)

    ours()
    turns = [(cpu(ours), cpu(theirs)) for _ in range(REPETITIONS)]
    speed = [SIGNATURES / mine for mine, _ in turns]
    bare_speed = statistics.median(SIGNATURES / other for _, other in turns)
    ratios = [other / mine for mine, other in turns]
    return [
        row("verify_signatures_per_s", speed, "1/CPU s", "bare coincurve", bare_speed),
        row("signatures_vs_bare_coincurve", ratios, "ratio", "target", 0.75),
    ]


# ---- a long record ----------------------------------------------------------------------------------------------


def measure_audit(folder: Path) -> list[Row]:
    """Peak memory of the audit, and of the replay, of a short and of a long log, each in a process of its own."""
    rows = []
    for blocks in LENGTHS:
        path = folder / f"{blocks}.sqlite"
        writing = cpu(lambda path=path, blocks=blocks: write_long_log(path, blocks))
        for what, code in (("audit", AUDIT), ("replay", REPLAY)):
            done = subprocess.run(
                [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
            )
            peak, seconds = (float(word) for word in done.stdout.split())
            name = f"{what}_peak_mib_{blocks // 1000}k_blocks"
            rows.append(row(name, [peak, peak], "MiB", "CPU s", seconds))
        rows.append(row(f"write_{blocks // 1000}k_blocks_s", [writing, writing], "CPU s"))
        path.unlink()
    return rows


def measure_verify(folder: Path) -> list[Row]:
    """Peak memory of the whole of ``platoon verify`` over a short and a long run, in a process of its own; and how
    much of it an anchored local block is, which the contracts keep for good: it is their state."""
    rows, peaks, anchors = [], [], []
    for blocks in LENGTHS:
        run = folder / f"run{blocks}"
        command = [sys.executable, "-m", "bench.long_run"]
        subprocess.run([*command, "write", str(run), str(blocks)], check=True)
        done = subprocess.run([*command, "verify", str(run)], check=True, capture_output=True, text=True)
        peak, seconds, found = (float(word) for word in done.stdout.split())
        peaks.append(peak)
        anchors.append(found // STEPS)
        rows.append(row(f"verify_peak_mib_{blocks // 1000}k_blocks", [peak, peak], "MiB", "CPU s", seconds))
        shutil.rmtree(run)
    slope = 1024 * (peaks[1] - peaks[0]) / (anchors[1] - anchors[0])
    return [*rows, row("verify_kib_per_anchored_block", [slope, slope], "KiB")]


LENGTHS = (10_000, 100_000)
PEAK = """
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024, time.process_time())
"""
AUDIT = f"""
import collections, pathlib, sys, time
from bench.rows import Row, keep
from platoon.ledger.audit import audit
collections.deque(audit(pathlib.Path(sys.argv[1])), maxlen=0)
{PEAK}"""
REPLAY = f"""
import pathlib, sys, time
from platoon.ledger.engine import EmbeddedLedger
EmbeddedLedger.open(pathlib.Path(sys.argv[1])).close()
{PEAK}"""


def write_long_log(path: Path, blocks: int) -> None:
    """A log of many small blocks, cheap to make: one edge server, so one seal, and one small call in each."""
    servers, publisher = (simulated_account(1, "edge server", 0),), simulated_account(1, "publisher", 0)
    chain = TaskChain.create(
        path,
        chain_id=CHAIN_ID,
        participants=Participants(
            operator=simulated_account(1, "operator", 0),
            publisher=publisher,
            edge_servers=servers,
            vehicles=(),
        ),
        rules=Rules(),
        model=Digest(b"\x01" * 32),
        escrow=Tokens(1),
        probes=[],
    )
    call = chain.calls.contracts.call("Token", "approve", publisher.address, 1)
    chain.ledger.commit(0, "start")
    for height in range(1, blocks):
        number = 1 + height // 500
        (receipt,) = chain.submit([chain.sign(publisher, call)], round=number, at=Instant(height))
        assert receipt.ok, receipt
        if height % 500 == 499 or height == blocks - 1:
            chain.ledger.commit(number, f"round {number}")
    chain.close()


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start

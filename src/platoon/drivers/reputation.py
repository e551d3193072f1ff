"""Reputations of several runs as one: each run's task chain is a shard, and a main chain beside them merges.

Every ledger is audited from its first byte to its last before its edge servers sign what it says. In a simulation
this process holds their keys (they follow from the seed) and those of the main chain's own operator and edge
servers; between operators that do not trust each other, each signs what it has audited itself.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from platoon.drivers.assembly import account_seed, participants, simulated_accounts
from platoon.drivers.run_directory import RunDirectory
from platoon.errors import UserError, VerificationError
from platoon.ledger.audit import audit_state
from platoon.ledger.engine import Receipt
from platoon.ledger.main_chain import MainChain, verify_main_chain
from platoon.ledger.model import Model
from platoon.ledger.shard_reports import list_names, read_reports
from platoon.nouns import Address, Digest
from platoon.records.rules import compute_quorum
from platoon.records.shards import MAX_SHARDS, Reputation
from platoon.records.signing import Account, simulated_account

_EDGE_SERVERS = 4
"""Of the main chain: one of them may be silent."""
_CHAIN_ID = 7_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A task chain, and who speaks for it."""

    name: str
    """For people: where its ledger comes from."""
    state: Model
    """As its audit leaves it."""
    edge_servers: tuple[Account, ...]
    """Those that take part, in any order."""

    @property
    def task(self) -> Digest:
        """Names the task chain."""
        return self.state.training.task


def merge_runs(directories: Sequence[Path], out: Path | None = None) -> dict[str, Any]:
    """Audit the ledgers of runs, merge what they say of their vehicles on a main chain, and tell it.

    Args:
        directories: of runs, finished or not; a vehicle is the same in two of them if its first account is (the
            same seed does that; the tasks then differ by ``ledger.chain_id``).
        out: where the main chain's ledger is kept; nowhere else.

    Raises:
        UserError: a directory is no run's or has no settled round, too many, or two of the same task.
        VerificationError: a ledger in which something does not match.
    """
    if not 1 <= len(directories) <= MAX_SHARDS:
        raise UserError(f"{len(directories)} run directories: allowed: 1 to {MAX_SHARDS}")
    if out is not None and out.exists():
        raise UserError(f"--out {out}: exists already")
    shards = [read_shard(path) for path in directories]
    seed = account_seed(RunDirectory.open(directories[0]).scenario)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "main.sqlite"
        chain = merge_shards(shards, path, seed)
        try:
            found = describe(chain, shards)
        finally:
            chain.close()
        verify_main_chain(path).close()
        if out is not None:
            try:
                out.write_bytes(path.read_bytes())
            except OSError as error:
                raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None
    return found


def read_shard(path: Path) -> Shard:
    """The task chain of a run, audited; raises as ``merge_runs``."""
    directory = RunDirectory.open(path)
    if not directory.ledger.is_file():
        raise UserError(f"{path}: ledger.sqlite is missing: the run ended before its first commit")
    try:
        state = audit_state(directory.ledger)
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from None
    if state.training.open.round < 2:
        raise UserError(f"{path}: no round is settled yet")
    scenario = directory.scenario
    keys = participants(scenario, simulated_accounts(scenario)).edge_servers
    active = tuple(account for account in keys if account.address in state.registry.active)
    if len(active) < len(state.registry.active):
        raise VerificationError(f"{path}: scenario.toml is not of these edge servers")
    return Shard(name=str(path), state=state, edge_servers=active)


def merge_shards(shards: Sequence[Shard], path: Path, seed: int) -> MainChain:
    """Found a main chain in a new file, list the shards there, and bring what their edge servers seal.

    Every vehicle goes on there under the account under which it was registered first.

    Raises:
        UserError: two shards are of one task.
    """
    if len({shard.task for shard in shards}) < len(shards):
        raise UserError(
            "two of the runs have the same task (operator and chain id): give each another ledger.chain_id"
        )
    operator = simulated_account(seed, "main operator", 0)
    servers = [simulated_account(seed, "main edge server", i) for i in range(_EDGE_SERVERS)]
    names = {shard.task: list_names(shard.state) for shard in shards}
    chain = MainChain.create(
        path,
        chain_id=_CHAIN_ID,
        operator=operator,
        edge_servers=servers,
        vehicles=sorted({name for known in names.values() for name in known}),
    )
    lists = [
        chain.list_call(shard.task, [account.address for account in shard.edge_servers]) for shard in shards
    ]
    _require(chain.submit(operator, lists))
    for shard in shards:
        sealers = shard.edge_servers[: compute_quorum(len(shard.edge_servers))]
        calls = [
            chain.report_call(report, [report.sign(account) for account in sealers])
            for report in read_reports(shard.state, names[shard.task])
        ]
        if calls:
            _require(chain.submit(servers[0], calls))
    return chain


def describe(chain: MainChain, shards: Sequence[Shard]) -> dict[str, Any]:
    """What a main chain says of these shards and their vehicles, as values for JSON: reputations and evidence as
    the chain has them, parts per million."""
    numbers: dict[Address, int] = {}
    for shard in shards:
        for name in list_names(shard.state):
            numbers.setdefault(name, shard.state.registry.vehicles[name])
    return {
        "main_chain": {
            "head": _hex(chain.ledger.head),
            "blocks": chain.ledger.height,
            **asdict(chain.rules),
        },
        "shards": [_describe_shard(shard) for shard in shards],
        "vehicles": [
            {
                "vehicle": number,
                "address": _hex(name),
                "shards": [_describe_word(*chain.reported(shard.task, name)) for shard in shards],
                "global": chain.reputation(name)._asdict(),
            }
            for name, number in sorted(numbers.items(), key=lambda item: (item[1], item[0]))
        ],
    }


def _describe_shard(shard: Shard) -> dict[str, Any]:
    training = shard.state.training
    return {
        "directory": shard.name,
        "task": _hex(shard.task),
        "rule": training.rules.rule.name.lower(),
        "round": training.open.round - 1,
        "edge_servers": len(shard.edge_servers),
    }


def _describe_word(round_number: int, said: Reputation) -> dict[str, int] | None:
    """What a shard said of a vehicle; None where it said nothing."""
    return {"round": round_number, **said._asdict()} if round_number else None


def _require(receipts: Sequence[Receipt]) -> None:
    """Everything goes through: this process has made all of it."""
    for receipt in receipts:
        if not receipt.ok:
            raise RuntimeError(f"the main chain refuses: {receipt.error}")


def _hex(value: bytes) -> str:
    return f"0x{value.hex()}"

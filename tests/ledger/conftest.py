"""A small town: an operator, a publisher, four edge servers, six vehicles, and a task chain among them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from platoon.ledger.audit import AuditedRound, audit
from platoon.ledger.task_chain import Call, Connect, Participants, Receipt, RecordedUpdate, Stake, TaskChain
from platoon.nouns import Digest, Instant, SignedUpdate, Tokens
from platoon.records.rules import Rules
from platoon.records.signing import Account, sign_update, simulated_account

ESCROW = Tokens(100_000_000)
STAKE = Stake(tokens=Tokens(1_000_000), share=300_000)
NOTHING = Tokens(0)
RULES = Rules(pool=10_000_000)
FIRST_MODEL = Digest(b"\x01" * 32)
NEXT_MODEL = Digest(b"\x02" * 32)


class Town:
    """Everybody's accounts, the chain, and shortcuts for what they usually do."""

    def __init__(
        self,
        folder: Path,
        rules: Rules = RULES,
        *,
        servers: int = 4,
        escrow: Tokens = ESCROW,
        fleet: int = 6,
        chain_id: int = 7400,
        purse: Tokens = NOTHING,
        connect: Connect | None = None,
    ) -> None:
        self.path = folder / "ledger.sqlite"
        self.operator = simulated_account(1, "operator", 0)
        self.publisher = simulated_account(1, "publisher", 0)
        self.servers = [simulated_account(1, "edge server", i) for i in range(servers)]
        self.vehicles = [simulated_account(1, "vehicle", i) for i in range(fleet)]
        self.stranger = simulated_account(1, "stranger", 0)
        self.at = 0
        self.connect = connect
        self.chain = TaskChain.create(
            self.path,
            chain_id=chain_id,
            connect=connect,
            participants=Participants(
                operator=self.operator,
                publisher=self.publisher,
                edge_servers=tuple(self.servers),
                vehicles=tuple(vehicle.address for vehicle in self.vehicles),
            ),
            rules=rules,
            model=FIRST_MODEL,
            escrow=escrow,
            purse=purse,
            probes=[Digest(bytes([7 + i]) * 32) for i in range(servers)],
            stake=STAKE,
        )
        self.chain.commit("start")

    def reopen(self) -> None:
        """Closes the file and replays it."""
        self.chain.close()
        addresses = [vehicle.address for vehicle in self.vehicles]
        self.chain = TaskChain.open(
            self.path, edge_servers=self.servers, vehicles=addresses, connect=self.connect
        )

    def update(self, vehicle: int, *, samples: int = 300, round: int | None = None) -> SignedUpdate:
        """A genuine update of the open round."""
        number = self.chain.round if round is None else round
        digest = Digest(bytes([vehicle % 255 + 1, number % 256]) * 16)
        account = self.vehicles[vehicle]
        return sign_update(account, self.chain.task, round=number, digest=digest, samples=samples)

    def send(self, account: Account, call: Call, round: int | None = None) -> Receipt:
        """One transaction as a block of its own."""
        self.at += 1
        number = self.chain.round if round is None else round
        (receipt,) = self.chain.submit([self.chain.sign(account, call)], round=number, at=Instant(self.at))
        return receipt

    def record(self, server: int, *updates: SignedUpdate) -> Receipt:
        """One edge server records."""
        return self.send(self.servers[server], self.chain.calls.record(self.chain.round, updates))

    def record_all(self, vehicles: Sequence[int]) -> tuple[RecordedUpdate, ...]:
        """Every edge server records, the vehicles dealt among them."""
        for i in range(len(self.servers)):
            mine = [self.update(vehicle) for vehicle in vehicles if vehicle % len(self.servers) == i]
            assert self.record(i, *mine).ok
        return self.chain.updates(self.chain.round)

    def score(self, server: int, scores: dict[int, int], evidence: int = 1_000_000) -> Receipt:
        """One edge server scores the recorded updates, by vehicle."""
        updates = self.chain.updates(self.chain.round)
        values = [scores[update.vehicle] for update in updates]
        return self.send(
            self.servers[server], self.chain.calls.score(self.chain.round, updates, values, evidence)
        )

    def judge(self, server: int = 0) -> Receipt:
        """One edge server has the verdicts given."""
        return self.send(self.servers[server], self.chain.calls.judge(self.chain.round))

    def vote(self, server: int, digest: Digest = NEXT_MODEL) -> Receipt:
        """One edge server votes."""
        return self.send(self.servers[server], self.chain.calls.vote(self.chain.round, digest))

    def settle(self, server: int = 0) -> Receipt:
        """One edge server has the round settled."""
        return self.send(self.servers[server], self.chain.calls.settle(self.chain.round))

    def play(self, scores: dict[int, int], *, evidence: int = 1_000_000) -> tuple[RecordedUpdate, ...]:
        """A whole round, in which all edge servers agree; its updates after settlement."""
        number = self.chain.round
        self.record_all(sorted(scores))
        if scores:
            assert all(self.score(i, scores, evidence).ok for i in range(len(self.servers)))
        assert self.judge().ok
        if any(update.merged for update in self.chain.updates(number)):
            assert all(self.vote(i).ok for i in range(len(self.servers)))
        assert self.settle().ok
        self.chain.commit(f"round {number}")
        return self.chain.updates(number)


@pytest.fixture
def make_town(tmp_path: Path) -> Callable[..., Town]:
    """Builds towns in folders of their own."""
    count = 0

    def make(rules: Rules = RULES, **options: int) -> Town:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        return Town(folder, rules, **options)

    return make


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """The town with the default rules."""
    return make_town()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[AuditedRound]]:
    """A file to break, its bytes, and what the audit reads from it."""
    town = Town(tmp_path_factory.mktemp("recorded"))
    town.play({0: 900_000, 1: 100_000})
    town.chain.close()
    return town.path, town.path.read_bytes(), list(audit(town.path))

"""What the market's auctions cost to execute and to cheat, and how long a whole trade takes (``bench/market.py``).

Deviations: every kind of lie of ``market.auction.deviations`` by one buyer, in auctions of 1 to 8 buyers and 1 to 5
models, with boosts at random and with those that were learned, values that add up and values of bundles. Execution:
plain Python on one core. Trade: all six steps on the embedded ledger, from listing to rating, without training.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.rows import Row, row
from platoon.drivers.foreign_models import read_foreign_model
from platoon.drivers.market.checks import Terms, digest_tensors
from platoon.drivers.market.desk import Desk
from platoon.drivers.market.folder import MarketFolder
from platoon.drivers.market.play import Offered, SimulatedClock, TradePlayer
from platoon.drivers.store import encode
from platoon.ledger.contracts import load_artefact
from platoon.ledger.evm import Machine
from platoon.ledger.market_chain import MarketChain, MarketRules
from platoon.market.auction.boosts import export_table
from platoon.market.auction.deviations import LIES, Attempt, try_deviations
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.tables import BoostTable
from platoon.market.auction.trained import load_network
from platoon.nouns import Instant, Tokens, seconds
from platoon.protocol.trade import TradePlan
from platoon.records.encoding import compute_contract_address
from platoon.records.listings import Description
from platoon.records.signing import simulated_account
from platoon.records.transactions import MAX_GAS
from platoon.rng import stream

PROFILES = 2_000
REPEATS = 200
SEEDS = (1, 2, 3)
TRADES = 5
WEIGHTS = 50_890
"""Parameters of the models that are traded: those of the mlp on MNIST."""


def exactly(name: str, value: int, unit: str) -> Row:
    """A row of what has no spread."""
    return {"name": name, "value": value, "unit": unit, "spread": 0, "peer": None, "peer_value": None}


def measure_deviations() -> list[Row]:
    """Tries and finds; truthfulness is a proof, this is the attempt to break what the integers do."""
    attempts = [
        attempt for buyers in range(1, 9) for models in range(1, 6) for attempt in try_size(buyers, models)
    ]
    return [
        exactly("deviations_tried", sum(attempt.tried for attempt in attempts), "count"),
        exactly("deviations_profitable", sum(attempt.profitable for attempt in attempts), "count"),
        exactly("deviations_negative_utility", sum(attempt.negative for attempt in attempts), "count"),
    ]


def try_size(buyers: int, models: int) -> list[Attempt]:
    """Learned and random boosts, additive values and values of bundles, fine ones and coarse ones (ties)."""
    rng = stream(1, "bench deviations", buyers, models)
    learned = export_table(load_network("r1"), tuple(rng.integers(0, 1_000_001, models).tolist()))
    drawn = BoostTable(
        bundle=(0, *rng.integers(-400_000, 400_001, 2**models - 1).tolist()),
        unsold=tuple(rng.integers(-200_000, 1_500_001, 2**models).tolist()),
    )
    attempts = []
    for table, step in ((learned, 1), (drawn, 1), (drawn, 250_000)):
        additive = rng.integers(0, 1_000_001, (PROFILES, buyers, models)) // step * step
        bundles = rng.integers(0, 2_000_001, (PROFILES // 4, buyers, 2**models)) // step * step
        bundles[:, :, 0] = 0
        attempts += [try_deviations(rng, additive, table), try_deviations(rng, bundles, table)]
    assert len(LIES) * PROFILES <= attempts[0].tried
    return attempts


def measure_execution() -> list[Row]:
    """CPU milliseconds of one auction in plain Python, and gas of the same in the contract."""
    rows = []
    for buyers, models in ((3, 3), (3, 5), (8, 5)):
        found = [time_execution(buyers, models, seed) for seed in SEEDS]
        rows.append(row(f"execute_{buyers}x{models}_ms", found, "ms"))
    mechanism = Mechanism()
    for buyers, models in ((3, 3), (3, 5), (8, 5), (16, 6), (8, 7), (4, 8)):
        gas = exactly(f"gas_{buyers}x{models}", mechanism.measure(buyers, models), "gas")
        rows.append(gas | {"peer": "a block", "peer_value": MAX_GAS})
    return rows


def time_execution(buyers: int, models: int, seed: int) -> float:
    """Median CPU milliseconds with the learned boosts."""
    rng = stream(seed, "bench execution", buyers, models)
    table = export_table(load_network("r1"), tuple(rng.integers(700_000, 1_000_001, models).tolist()))
    bids = [spread_additive(own) for own in rng.integers(0, 1_000_001, (buyers, models)).tolist()]
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        execute(bids, table)
        taken.append(1000 * (time.process_time() - started))
    return statistics.median(taken)


class Mechanism:
    """The contract ``AffineMaximiser`` on an EVM."""

    def __init__(self) -> None:
        self._machine, self._sender = Machine(7400), simulated_account(1, "operator", 0).address
        artefact = load_artefact("AffineMaximiser")
        if not self._machine.execute(self._sender, None, artefact.bytecode, 10**7).ok:
            raise RuntimeError("AffineMaximiser cannot be deployed")
        self._address = compute_contract_address(self._sender, 0)
        self._award = next(function for function in artefact.functions.values() if function.name == "award")

    def measure(self, buyers: int, models: int) -> int:
        """Gas of one award with additive bids."""
        rng = stream(1, "bench gas", buyers, models)
        unsold = rng.integers(0, 1_000_001, 2**models).tolist()
        amounts = rng.integers(0, 1_000_001, buyers * models).tolist()
        arguments = ([0] * len(unsold), unsold, [models] * buyers, amounts)
        call = self._award.selector + self._award.inputs.encode(arguments)
        used = self._machine.execute(self._sender, self._address, call, MAX_GAS)
        if not used.ok:
            raise RuntimeError(f"{buyers} x {models} does not fit a block: {used.error}")
        return used.gas


def measure_trade() -> list[Row]:
    """Wall seconds of a whole trade: three sellers, three buyers, models of the mlp's size."""
    found = [time_trade(seed) for seed in SEEDS for _ in range(TRADES)]
    return [row("trade_s", found, "s"), row("trade_sale_s", [taken / 3 for taken in found], "s")]


def time_trade(seed: int) -> float:
    """From the first listing to the last rating; founding the market and registering traders is not counted."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = MarketFolder.create(Path(scratch) / "market", edge_servers=4)
        clock = SimulatedClock(now=Instant(0))
        chain = MarketChain.create(
            folder.ledger,
            chain_id=folder.chain_id,
            operator=folder.operator,
            edge_servers=folder.edge_servers,
            rules=MarketRules(),
            at=Instant(0),
        )
        desk = Desk(folder, chain, clock)
        for number in range(1, 7):
            desk.join(f"trader-{number}", Tokens(10**8))
        player = TradePlayer(
            desk=desk,
            clock=clock,
            people=Traders(seed),
            network=load_network("r1"),
            scale=1_000_000,
            window=seconds(60),
        )
        started = time.perf_counter()
        report = player.play(TradePlan(sellers=(1, 2, 3), buyers=(4, 5, 6), least_reputation=0))
        taken = time.perf_counter() - started
        if report.refused or not all(outcome.served for outcome in report.outcomes):
            raise RuntimeError(f"a trade went wrong: {report.refused}")
        chain.close()
        folder.release()
    return taken


class Traders:
    """Sellers whose models are there already, and buyers who value each of them."""

    def __init__(self, seed: int) -> None:
        self._rng = stream(seed, "bench trade")

    def train(self, seller: str) -> Offered:  # noqa: ARG002
        """No training: weights at random."""
        weights = self._rng.integers(-(2**20), 2**20, WEIGHTS).astype(np.int32)
        content = encode(weights)
        description = Description(
            task="digits",
            labels=tuple(map(str, range(10))),
            accuracy=900_000,
            architecture="mlp",
            inputs=(28, 28, 1),
            parameters=WEIGHTS,
            tensors=digest_tensors(read_foreign_model(content, None)),
            usage="any",
            requirement="",
            place=None,
            domain=(),
        )
        terms = Terms(price=Tokens(1000), threshold=800_000, exclusive=True)
        return Offered(content=content, description=description, terms=terms)

    def value(self, buyer: str, listings: Sequence[int]) -> Sequence[int]:  # noqa: ARG002
        """High enough that all is sold."""
        return [int(amount) for amount in self._rng.integers(700_000, 1_000_001, len(listings))]

    def send(self, seller: str, listing: int) -> bytes | None:  # noqa: ARG002
        """The listed model."""
        return None

    def adapt(self, buyer: str, content: bytes) -> int:  # noqa: ARG002
        """No fine-tuning."""
        return 900_000

"""A small market for tests: a folder, four edge servers, traders with 100 tokens each, and time that is told."""

import numpy as np

from platoon.drivers.foreign_models import read_foreign_model
from platoon.drivers.market.checks import Terms, digest_tensors
from platoon.drivers.market.desk import Desk
from platoon.drivers.market.folder import MarketFolder
from platoon.drivers.market.play import SimulatedClock
from platoon.drivers.store import encode
from platoon.ledger.market_chain import MarketChain, MarketRules
from platoon.nouns import Instant, Tokens, seconds
from platoon.records.listings import Description

TOKENS = Tokens(100_000_000)
HOUR = seconds(3600)


def make_model(number):
    """A file with one small tensor, another one for every number."""
    return encode(np.arange(number, number + 8, dtype=np.int32))


def describe(content, **changes):
    """What its seller says of it."""
    tensors = read_foreign_model(content, None)
    said = {
        "task": "traffic signs",
        "labels": ("stop", "yield"),
        "accuracy": 900_000,
        "architecture": "somebody's own",
        "inputs": (32, 32, 3),
        "parameters": 8,
        "tensors": digest_tensors(tensors),
        "usage": "any",
        "requirement": "",
        "place": (10, 20),
        "domain": (),
    }
    return Description(**(said | changes))


class Place:
    """A market with shortcuts."""

    def __init__(self, folder, traders=("alice", "bob", "carol", "dave"), edge_servers=4):
        self.folder = MarketFolder.create(folder / "market", edge_servers=edge_servers)
        self.clock = SimulatedClock(now=Instant(0))
        self.chain = MarketChain.create(
            self.folder.ledger,
            chain_id=self.folder.chain_id,
            operator=self.folder.operator,
            edge_servers=self.folder.edge_servers,
            rules=MarketRules(patience=HOUR),
            at=Instant(0),
        )
        self.desk = Desk(self.folder, self.chain, self.clock)
        for name in traders:
            self.desk.join(name, TOKENS)

    def list_model(self, seller, number, *, price=100_000, threshold=800_000, exclusive=True, **changes):
        """List one; returns the listing's number."""
        content = make_model(number)
        terms = Terms(price=Tokens(price), threshold=threshold, exclusive=exclusive)
        return self.desk.publish(seller, content, describe(content, **changes), terms)

    def open_auction(self, *numbers, scale=1_000_000):
        """A reserve price a model; bids and reveals for a minute each."""
        return self.desk.propose(
            numbers, network=None, scale=scale, bidding=seconds(60), revealing=seconds(60)
        )

    def wait(self, duration):
        """Let time pass."""
        self.clock.pass_by(Instant(self.clock.now + seconds(duration)))

    def balance(self, name):
        return self.chain.read_balance(self.folder.traders[name])

    def all_tokens(self):
        """Of traders and of all contracts that may hold any."""
        contracts = self.chain.ledger.contracts.addresses
        held = [self.chain.read_balance(contracts[name]) for name in ("Trades", "Auctions", "Menus")]
        return sum(map(self.balance, self.folder.traders)) + sum(held)

    def close(self):
        self.chain.close()
        self.folder.release()

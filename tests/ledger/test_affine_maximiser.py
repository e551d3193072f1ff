"""The mechanism in the contract is the one in Python: same award, payments, ties; and what it costs."""

import pytest

from platoon.ledger.contracts import load_artefact
from platoon.ledger.evm import Machine
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.tables import BoostTable, keeps_asks, raise_to_asks
from platoon.records.encoding import compute_contract_address
from platoon.records.signing import simulated_account
from platoon.records.transactions import MAX_GAS
from platoon.rng import stream

OPERATOR = simulated_account(1, "operator", 0).address


class Mechanism:
    """The contract ``AffineMaximiser``."""

    def __init__(self):
        artefact = load_artefact("AffineMaximiser")
        self.machine = Machine(7400)
        assert self.machine.execute(OPERATOR, None, artefact.bytecode, 10**7).ok
        self.address = compute_contract_address(OPERATOR, 0)
        self.functions = {function.name: function for function in artefact.functions.values()}

    def encode(self, name, *arguments):
        function = self.functions[name]
        return function.selector + function.inputs.encode(arguments)

    def read(self, name, *arguments):
        output = self.machine.read(self.address, self.encode(name, *arguments))
        return self.functions[name].outputs.decode(output)


@pytest.fixture(scope="module")
def mechanism():
    return Mechanism()


def flatten(bids):
    return [len(bid) for bid in bids], [amount for bid in bids for amount in bid]


def draw_auction(rng):
    """Any size, coarse amounts (ties) as often as fine ones, additive bids and bundles mixed."""
    buyers, models = int(rng.integers(0, 6)), int(rng.integers(1, 5))
    top = int(rng.choice([3, 1_000_000, 2**62]))
    table = BoostTable(
        bundle=(0, *rng.integers(-top, top, 2**models - 1).tolist()),
        unsold=tuple(rng.integers(-top, top, 2**models).tolist()),
    )
    told, whole = [], []
    for _ in range(buyers):
        if rng.random() < 0.5:
            own = rng.integers(0, top, models, endpoint=True).tolist()
            told.append(own)
            whole.append(spread_additive(own))
        else:
            own = [0, *rng.integers(0, top, 2**models - 1, endpoint=True).tolist()]
            told.append(own)
            whole.append(tuple(own))
    return table, told, whole


def hold_equal(mechanism, count, seed):
    rng = stream(seed, "auctions of contract and Python")
    for _ in range(count):
        table, told, whole = draw_auction(rng)
        award = execute(whole, table)
        assert mechanism.read("award", table.bundle, table.unsold, *flatten(told)) == (
            award.bundles,
            award.payments,
        )


def test_the_contract_awards_as_python_does(mechanism):
    hold_equal(mechanism, 300, seed=1)


@pytest.mark.long
def test_the_contract_awards_as_python_does_ten_thousand_times(mechanism):
    hold_equal(mechanism, 10_000, seed=2)


def test_the_contract_knows_asks_as_python_does(mechanism):
    rng = stream(1, "asks")
    held = 0
    for _ in range(200):
        table, _, _ = draw_auction(rng)
        if max(map(abs, table.unsold)) > 10**9:
            continue
        asks = rng.integers(0, 1_000_000, table.models).tolist()
        for candidate in (table, raise_to_asks(table, asks)):
            expected = keeps_asks(candidate, asks)
            assert mechanism.read("keeps_asks", candidate.bundle, candidate.unsold, asks) == (expected,)
            held += expected
    assert held > 50


@pytest.mark.parametrize(("buyers", "models"), [(16, 5), (16, 6), (15, 7), (5, 8)])
def test_the_largest_auctions_fit_a_block(mechanism, buyers, models):
    rng = stream(1, "large auction", buyers, models)
    unsold = tuple(rng.integers(0, 1_000_000, 2**models).tolist())
    bids = rng.integers(0, 1_000_000, (buyers, models)).tolist()
    call = mechanism.encode("award", (0,) * len(unsold), unsold, *flatten(bids))
    used = mechanism.machine.execute(OPERATOR, mechanism.address, call, MAX_GAS)
    assert used.ok
    assert used.gas < 0.85 * MAX_GAS  # what is left is for the sales and refunds of a settlement


def test_without_bids_everything_stays_unsold(mechanism):
    assert mechanism.read("award", (0, 0), (0, 7), [], []) == ((), ())

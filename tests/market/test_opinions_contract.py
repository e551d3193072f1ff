"""Opinions.vy in the EVM and its twin in plain integers say the same to any ratings; bounds, gas, refusals."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platoon.ledger.contracts import load_artefact
from platoon.ledger.evm import Machine
from platoon.nouns import MILLION, Duration, Instant
from platoon.records.encoding import compute_contract_address
from platoon.records.opinions import (
    MOST_BUYERS,
    MOST_PERIODS,
    MOST_REFEREES,
    MOST_SELLERS,
    MOST_STRENGTH,
    Mode,
    OpinionRules,
    Opinions,
    TrustRule,
)
from platoon.records.signing import simulated_account

OPERATOR = simulated_account(5, "operator", 0).address
TRADES = simulated_account(5, "trades", 0).address
"""Stands in for the contract that brings ratings: Opinions only asks who calls."""
GAS = 30_000_000
PERIOD = Duration(10)
ARTEFACT = load_artefact("Opinions")
EVENT = next(event for event in ARTEFACT.events.values() if event.name == "Rated")


class Deployed:
    """The contract, bound to ``TRADES``."""

    def __init__(self, rules: OpinionRules) -> None:
        self.machine = Machine(7400)
        self.address = compute_contract_address(OPERATOR, 0)
        self.functions = {function.name: function for function in ARTEFACT.functions.values()}
        self.gas = 0
        """Of the last call."""
        data = ARTEFACT.bytecode + ARTEFACT.constructor.encode([dataclasses.astuple(rules)])
        deployed = self.machine.execute(OPERATOR, None, data, GAS)
        if not deployed.ok:
            raise ValueError(deployed.error)
        self.send(OPERATOR, "bind", TRADES)

    def send(self, sender, name, *arguments):
        function = self.functions[name]
        data = function.selector + function.inputs.encode(arguments)
        execution = self.machine.execute(sender, self.address, data, GAS)
        if not execution.ok:
            raise ValueError(execution.error)
        self.gas = execution.gas
        return execution.logs

    def record(self, buyer, seller, at, positive):
        (log,) = self.send(TRADES, "record", buyer, seller, at, positive)
        assert log.topics[1:] == tuple(handle.to_bytes(32, "big") for handle in (buyer, seller))
        said, when, *rated = EVENT.data.decode(log.data)
        assert (said, when) == (positive, at)
        return tuple(rated)

    def view(self, name, *arguments):
        function = self.functions[name]
        output = self.machine.read(self.address, function.selector + function.inputs.encode(arguments))
        values = function.outputs.decode(output)
        return values[0] if len(values) == 1 else values

    def measure(self, name, *arguments):
        """Gas that a view takes when it is the transaction's own call, every slot cold."""
        function = self.functions[name]
        data = function.selector + function.inputs.encode(arguments)
        self.machine.shed_history(0)
        return self.machine.execute(TRADES, self.address, data, GAS).gas


def both(deployed, twin, name, *arguments):
    """One call to both, which answer alike or refuse for the same reason."""
    try:
        said = getattr(twin, name)(*arguments)
    except ValueError as error:
        with pytest.raises(ValueError, match=f"^{error}$"):
            deployed.record(*arguments) if name == "record" else deployed.send(OPERATOR, name, *arguments)
        return
    if name == "record":
        assert deployed.record(*arguments) == said
    else:
        deployed.send(OPERATOR, name, *arguments)


def compare_views(deployed, twin, at, handles):
    """All that the two say of these participants at a time."""
    asked = handles[:MOST_SELLERS]
    assert deployed.view("reputations", asked, at) == tuple(twin.reputations(asked, at))
    buyers, sellers = deployed.view("seated")
    assert buyers == tuple(seat.handle for seat in twin.buyers)
    assert sellers == tuple(seat.handle for seat in twin.sellers)
    weights, strangers = deployed.view("voices", at)
    voices = twin.voices(at)
    assert weights == tuple(voices.weights.get(buyer, 0) for buyer in buyers)
    assert {buyer for i, buyer in enumerate(buyers) if strangers >> i & 1} == voices.strangers
    for buyer in handles[:4]:
        for other in handles:
            assert deployed.view("counts", buyer, other, at) == twin.counts(buyer, other, at)
            for name in ("direct", "trust", "integrated", "uploaded"):
                assert deployed.view(name, buyer, other, at) == getattr(twin, name)(buyer, other, at), name


ppm = st.integers(0, MILLION) | st.sampled_from([0, 500_000, MILLION])
rules = st.builds(
    OpinionRules,
    mode=st.sampled_from(Mode),
    trust=st.sampled_from(TrustRule),
    direct=ppm,
    recommended=ppm,
    referenced=ppm.filter(bool),
    prior=ppm,
    strength=st.integers(0, MOST_STRENGTH) | st.sampled_from([0, MILLION]),
    least_common=st.integers(2, 4),
    period=st.just(PERIOD),
    periods=st.integers(1, MOST_PERIODS),
)
HANDLES = list(range(1, 8))
ratings = st.tuples(
    st.sampled_from([*HANDLES, *HANDLES, 0, 2**128 - 1, 2**128]),
    st.sampled_from(HANDLES),
    st.integers(-1, 12),
    st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rules=rules,
    rated=st.lists(ratings, min_size=10, max_size=60),
    referees=st.lists(st.sampled_from([*HANDLES, 0]), max_size=2),
    later=st.integers(0, 100),
)
def test_contract_and_twin_say_the_same(rules, rated, referees, later):
    deployed, twin = Deployed(rules), Opinions(rules=rules)
    for referee in referees:
        both(deployed, twin, "appoint", referee)
    for buyer, seller, passed, positive in rated:
        both(deployed, twin, "record", buyer, seller, Instant(max(twin.latest + passed, 0)), positive)
    compare_views(deployed, twin, Instant(twin.latest + later), HANDLES)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules=rules, data=st.data())
def test_they_say_the_same_of_a_full_market_whose_values_spread(rules, data):
    deployed, twin = Deployed(rules), Opinions(rules=rules)
    both(deployed, twin, "appoint", 1)
    rng = data.draw(st.randoms(use_true_random=False))
    for at in range(250):
        both(
            deployed,
            twin,
            "record",
            rng.randint(1, 9),
            rng.randint(10, 16),
            Instant(at // 5),
            rng.random() < 0.6,
        )
    compare_views(deployed, twin, Instant(50 + data.draw(st.integers(0, 60))), list(range(1, 17)))


def test_those_who_were_seen_last_have_the_seats_and_a_referee_keeps_its_own():
    rules = OpinionRules(period=PERIOD)
    deployed, twin = Deployed(rules), Opinions(rules=rules)
    both(deployed, twin, "appoint", 3)
    order = [*range(1, 70), 2, 5, 90, 91, *range(1, 4), *range(100, 130)]
    for step, buyer in enumerate(order):
        both(deployed, twin, "record", buyer, 1000 + step % 40, Instant(step // 7), step % 3 == 0)
    buyers, sellers = deployed.view("seated")
    assert (len(buyers), len(sellers)) == (MOST_BUYERS, MOST_SELLERS)
    assert 3 in buyers
    compare_views(deployed, twin, Instant(len(order)), [1, 3, 100, 129, *range(1000, 1028)])


def rate(deployed, buyer, seller, at, positive=True):
    return deployed.record(buyer, seller, Instant(at), positive)


@pytest.mark.parametrize("periods", [1, 3, MOST_PERIODS])
def test_an_event_counts_to_the_last_microsecond_of_its_window_and_then_leaves(periods):
    deployed = Deployed(OpinionRules(period=PERIOD, periods=periods))
    rate(deployed, 1, 2, 3)
    rate(deployed, 1, 2, 9, positive=False)
    last = periods * PERIOD - 1
    assert deployed.view("counts", 1, 2, last) == (1, 2)
    assert deployed.view("counts", 1, 2, last + 1) == (0, 0)
    rate(deployed, 1, 2, last + 1)
    assert deployed.view("counts", 1, 2, last + 1) == (1, 1)


def test_invalid_ratings_are_refused_by_name():
    deployed = Deployed(OpinionRules(period=PERIOD))
    rate(deployed, 1, 2, 5)
    for arguments, reason in [
        ((0, 2, 5, True), "no such handle"),
        ((1, 2**128, 5, True), "no such handle"),
        ((2, 2, 5, True), "rates itself"),
        ((1, 2, 4, True), "time runs backwards"),
        ((1, 2, 2**63, True), "time out of bounds"),
        ((1, 2, 2**32 * PERIOD, True), "time out of bounds"),
    ]:
        with pytest.raises(ValueError, match=f"^{reason}$"):
            deployed.send(TRADES, "record", *arguments)
    with pytest.raises(ValueError, match="only the trades"):
        deployed.send(OPERATOR, "record", 1, 2, 5, True)
    with pytest.raises(ValueError, match="time runs backwards"):
        deployed.view("reputations", [2], 4)


def test_invalid_a_rating_too_many_in_a_period():
    deployed, twin = Deployed(OpinionRules(period=PERIOD)), Opinions(rules=OpinionRules(period=PERIOD))
    for _ in range(2**14 - 1):
        twin.record(1, 2, Instant(0), True)
        deployed.send(TRADES, "record", 1, 2, 0, True)
    deployed.machine.shed_history(0)
    with pytest.raises(ValueError, match="too many ratings in a period"):
        twin.record(1, 2, Instant(0), True)
    with pytest.raises(ValueError, match="too many ratings in a period"):
        deployed.send(TRADES, "record", 1, 2, 0, True)
    assert rate(deployed, 1, 2, 10) == twin.record(1, 2, Instant(10), True) == (2**14, 2**14, MILLION)


def test_invalid_operators_calls():
    deployed = Deployed(OpinionRules())
    for sender, name, argument, reason in [
        (TRADES, "bind", TRADES, "only the operator"),
        (OPERATOR, "bind", TRADES, "bound before"),
        (TRADES, "appoint", 1, "only the operator"),
        (OPERATOR, "appoint", 0, "no such handle"),
    ]:
        with pytest.raises(ValueError, match=reason):
            deployed.send(sender, name, argument)
    for referee in range(1, MOST_REFEREES + 1):
        deployed.send(OPERATOR, "appoint", referee)
    with pytest.raises(ValueError, match="appointed before"):
        deployed.send(OPERATOR, "appoint", 1)
    with pytest.raises(ValueError, match="too many referees"):
        deployed.send(OPERATOR, "appoint", MOST_REFEREES + 1)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mode", (2,)),
        ("trust", (2,)),
        ("direct", (MILLION + 1,)),
        ("recommended", (MILLION + 1,)),
        ("referenced", (MILLION + 1,)),
        ("prior", (MILLION + 1,)),
        ("strength", (MOST_STRENGTH + 1,)),
        ("least_common", (1, MOST_SELLERS + 1)),
        ("period", (0, 2**63)),
        ("periods", (0, MOST_PERIODS + 1)),
    ],
)
def test_invalid_rules_are_refused_by_both(name, values):
    for value in values:
        arguments = dataclasses.asdict(OpinionRules()) | {name: value}
        data = ARTEFACT.bytecode + ARTEFACT.constructor.encode([tuple(arguments.values())])
        assert not Machine(7400).execute(OPERATOR, None, data, GAS).ok
        if name not in ("mode", "trust"):
            with pytest.raises(ValueError, match=name):
                OpinionRules(**arguments)


@pytest.mark.parametrize(("mode", "most"), [(Mode.SHARED_DIRECT, 18_000_000), (Mode.AS_WRITTEN, 27_000_000)])
def test_gas_at_the_bounds_is_below_a_block(mode, most):
    deployed = Deployed(OpinionRules(mode=mode, period=PERIOD))
    sellers = list(range(1000, 1000 + MOST_SELLERS))
    used = 0
    for buyer in range(1, MOST_BUYERS + 1):
        for seller in sellers:
            rate(deployed, buyer, seller, 0, (buyer * seller) % 7 < 4)
        used = max(used, deployed.gas)
    deployed.machine.shed_history(0)
    rate(deployed, 500, 2000, 0)  # takes seats of others
    assert max(used, deployed.gas) < 12_000_000
    assert deployed.measure("reputations", sellers, 0) < most
    assert deployed.measure("reputations", sellers[:8], 0) < 16_000_000  # as many as an auction has
    assert deployed.measure("integrated", 1, 1000, 0) < 12_000_000

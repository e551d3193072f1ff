"""The machine sheds what it remembers of the past, and nothing else changes."""

import pytest

from platoon.ledger import engine, evm
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.evm import _read_slots


@pytest.fixture
def forgetful(monkeypatch):
    """Machines that carry their state over after every block and commit."""
    monkeypatch.setattr(engine, "READER_GAS", 0)
    monkeypatch.setattr(engine, "WRITER_GAS", 0)
    monkeypatch.setattr(evm, "_GAS_PER_SLOT", 0)


def play(town):
    """Rounds with payments, an edge server that is named, pseudonyms, a withdrawal, and rejected calls."""
    town.play({0: 900_000, 1: 100_000, 2: 700_000})
    town.play({2: 600_000})
    assert not town.send(town.stranger, town.chain.calls.settle(3)).ok
    town.play({0: 800_000})
    assert town.send(town.publisher, town.chain.calls.close()).ok
    assert town.send(town.publisher, town.chain.calls.withdraw()).ok


def describe(town) -> tuple[object, ...]:
    chain = town.chain
    return chain.head, chain.reputations().tolist(), chain.balances().tolist(), chain.escrow_left()


def test_replay_that_sheds_after_every_block_leads_to_the_same_state(town, forgetful):
    play(town)
    chain = town.chain
    chain.commit("end")
    views = [
        ("Training", "parameters"),
        ("Registry", "members"),
        ("Token", "totalSupply"),
        ("Training", "model"),
    ]
    kept = [chain.ledger.read(chain.ledger.contracts.call(*view)) for view in views]
    again = EmbeddedLedger.open(town.path)
    assert again.head == chain.head
    assert [again.read(again.contracts.call(*view)) for view in views] == kept
    again.close()


def test_a_ledger_goes_on_after_shedding_as_one_that_remembers(make_town, forgetful):
    towns = [make_town(), make_town()]
    for town, sheds in zip(towns, (True, False), strict=True):
        machine = town.chain.ledger._state.machine
        if not sheds:
            machine.shed_history = lambda _: None
        before = machine._evm
        town.play({0: 900_000, 1: 100_000})
        assert (machine._evm is not before) == sheds
        town.play({0: 500_000})
        town.play({1: 900_000})
    assert describe(towns[0]) == describe(towns[1])


def test_what_is_not_touched_between_two_times_is_carried_over(town):
    machine = town.chain.ledger._state.machine
    town.play({0: 900_000, 1: 100_000, 2: 700_000})
    before = describe(town)
    for _ in range(3):
        machine.shed_history(0)  # and nothing is read in between
    town.chain._reputations_head = None
    assert describe(town) == before


def test_memory_of_calls_is_bounded_by_the_gas_since_the_last_time(town):
    machine = town.chain.ledger._state.machine
    machine.shed_history(0)
    fresh = machine._evm.journal_len
    assert fresh == 1
    town.play({0: 900_000})
    assert machine._evm.journal_len > fresh
    machine.shed_history(0)
    assert machine._evm.journal_len == fresh
    machine.shed_history(1)  # nothing is due
    assert machine._evm.journal_len == fresh


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x" + "11" * 20 + ": Account { info: {} }, transient_storage: {}",
        "0x"
        + "11" * 20
        + ": Account { storage: {5: Slot { present_value: 7 }}, status: X }, transient_storage: {}",
    ],
)
def test_invalid_description_of_a_state_is_refused(text):
    with pytest.raises(RuntimeError, match="a form that is not known"):
        list(_read_slots(text))

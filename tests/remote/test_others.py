"""What others do to a task's contracts on a network, and whether a live chain has what a ledger says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account as EthAccount
from tests.ledger.conftest import Town
from tests.remote.conftest import Anvil, FakeTime, Site
from web3 import Web3

from platoon.errors import HaltedError, UserError, VerificationError
from platoon.ledger.audit import audit
from platoon.ledger.blocks import Result
from platoon.ledger.chain_check import check_chain
from platoon.ledger.chain_log import ChainLog
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.history import show_task
from platoon.nouns import Digest
from platoon.records.encoding import encode_number, encode_rlp, keccak
from platoon.records.signing import Account
from platoon.records.transactions import Call, decode_transaction, sign_transaction

SCORES = {0: 900_000, 1: 700_000}
SECRET = b"\x09" * 32
"""Of a stranger with a wallet."""


def logged(town: Town) -> list[bytes]:
    return [raw for block in town.chain.ledger.blocks() for raw in block.transactions]


def send(site: Site, raw: bytes) -> bytes:
    """Somebody's own business with the chain; the hash."""
    site.chain.make_request("eth_sendRawTransaction", ["0x" + raw.hex()])
    return keccak(raw)


def approve(town: Town, amount: int = 5) -> Call:
    return town.chain.ledger.contracts.call("Token", "approve", town.stranger.address, amount)


def sign_typed(account: Account, call: Call, kind: int, *, nonce: int = 0, chain_id: int = 7400) -> bytes:
    """As a wallet does it, by the forms of EIP-2930 and EIP-1559."""
    number = encode_number
    prices = [number(0)] * kind
    body: list[Any] = [
        number(chain_id),
        number(nonce),
        *prices,
        number(call.gas),
        call.to,
        b"",
        call.data,
        [],
    ]
    signature = account.sign(keccak(bytes([kind]) + encode_rlp(body)))
    r, s = (signature[i : i + 32].lstrip(b"\0") for i in (0, 32))
    return bytes([kind]) + encode_rlp([*body, number(signature[64] - 27), r, s])


def verified(town: Town) -> None:
    """The file is right by audit and by execution, and explains itself."""
    list(audit(town.path))
    replayed = EmbeddedLedger.open(town.path)
    assert replayed.head == town.chain.head
    replayed.close()
    show_task(town.path)


def test_a_vehicle_that_spends_its_tokens_enters_the_log(town: Town, site: Site) -> None:
    """Its wallet chose the gas limit, and has used nonces elsewhere."""
    town.play(SCORES)
    before = town.chain.balances()
    assert before[0] > 10
    call = town.chain.ledger.contracts.call("Token", "transfer", town.vehicles[1].address, 10)
    foreign = sign_transaction(
        town.vehicles[0], Call(to=call.to, data=call.data, gas=90_000), nonce=0, chain_id=7400
    )
    send(site, foreign)
    town.play(SCORES)
    assert logged(town) == site.applied()
    assert foreign in logged(town)
    rewards = {update.vehicle: update.reward for update in town.chain.updates(2)}
    assert town.chain.balances()[0] == before[0] - 10 + rewards[0]
    verified(town)


@pytest.mark.parametrize("kind", [1, 2])
def test_wallets_of_others_sign_other_forms(town: Town, site: Site, kind: int) -> None:
    town.record(0, town.update(0))
    foreign = sign_typed(town.stranger, approve(town), kind)
    assert decode_transaction(foreign).sender == town.stranger.address
    send(site, foreign)
    town.record(1)
    town.chain.commit("here")
    assert logged(town) == site.applied()
    assert town.chain.ledger.nonce(town.stranger.address) == 1
    verified(town)


def test_what_others_do_after_the_last_transaction_waits_for_the_next(town: Town, site: Site) -> None:
    town.record(0, town.update(0))
    foreign = sign_transaction(town.stranger, approve(town), nonce=0, chain_id=7400)
    site.chain.automine = False
    send(site, foreign)
    site.chain.mine()
    site.chain.automine = True
    town.chain.commit("here")
    assert foreign not in logged(town)
    town.reopen()
    town.record(1)
    assert logged(town) == site.applied()


def test_in_one_block_of_the_chain_with_the_runs_own(town: Town, site: Site) -> None:
    """The chain takes a stranger's transaction between two edge servers' records."""
    foreign = sign_transaction(town.stranger, approve(town), nonce=0, chain_id=7400)
    site.chain.automine = False
    send(site, foreign)

    def order(pool: list[bytes]) -> list[bytes]:
        own = [raw for raw in pool if raw != foreign]
        return [own[0], foreign, *own[1:]]

    site.time.after(1.0, lambda: site.chain.mine(order))
    calls = [town.chain.calls.record(1, [town.update(i)]) for i in range(2)]
    signed = [town.chain.sign(town.servers[i], call) for i, call in enumerate(calls)]
    receipts = town.chain.submit(signed, round=1, at=town.at)  # type: ignore[arg-type]
    assert [receipt.ok for receipt in receipts] == [True, True]
    assert logged(town)[-3:] == [signed[0], foreign, signed[1]]
    town.chain.commit("here")
    verified(town)


def test_what_fails_is_passed_over(town: Town, site: Site) -> None:
    call = town.chain.ledger.contracts.call("Token", "transfer", town.stranger.address, 10**9)
    foreign = sign_transaction(town.stranger, call, nonce=0, chain_id=7400)
    send(site, foreign)
    town.record(1)
    town.chain.commit("here")
    assert foreign not in logged(town)
    verified(town)


def test_what_a_ledger_cannot_hold_stops_the_run(town: Town, site: Site) -> None:
    """Bytes behind the arguments: a contract takes them, but they are not the canonical call."""
    call = approve(town)
    foreign = sign_transaction(
        town.stranger, Call(to=call.to, data=call.data + b"\0", gas=90_000), nonce=0, chain_id=7400
    )
    name = send(site, foreign)
    with pytest.raises(HaltedError, match=f"0x{name.hex()} .* cannot be part of its ledger: bytes after"):
        town.record(1)


def test_invalid_transactions_of_others(town: Town, site: Site) -> None:
    """None of these enters an embedded log by being called one of others."""
    mirror = town.chain.ledger._mirror  # type: ignore[attr-defined]
    call, stranger = approve(town), town.stranger
    elsewhere = Call(to=stranger.address, data=b"", gas=1)
    for raw, words in (
        (sign_transaction(town.servers[0], call, nonce=9, chain_id=7400), "is an account of the run"),
        (sign_transaction(town.operator, call, nonce=99, chain_id=7400), "is an account of the run"),
        (sign_transaction(town.publisher, call, nonce=99, chain_id=7400), "is an account of the run"),
        (sign_transaction(stranger, call, nonce=0, chain_id=1), "chain id 1"),
        (
            sign_transaction(stranger, elsewhere, nonce=0, chain_id=7400),
            "contract",
        ),
        (
            sign_transaction(stranger, town.chain.calls.judge(1), nonce=0, chain_id=7400),
            "the contracts reject it",
        ),
    ):
        (receipt,) = mirror.submit([raw], at=town.at, round=1, foreign=[0])
        assert not receipt.logged
        assert words in receipt.error


def test_invalid_nonce_of_others_that_descends(town: Town, site: Site) -> None:
    mirror = town.chain.ledger._mirror  # type: ignore[attr-defined]
    signed = [sign_transaction(town.stranger, approve(town), nonce=n, chain_id=7400) for n in (5, 5, 4)]
    receipts = mirror.submit(signed, at=town.at, round=1, foreign=[0, 1, 2])
    assert [receipt.logged for receipt in receipts] == [True, False, False]
    assert "expected 6 or more" in receipts[1].error


# ---- a finished ledger against a chain --------------------------------------------------------------------------


@pytest.fixture
def played(town: Town, site: Site) -> Town:
    """Two rounds, and a stranger between them."""
    town.play(SCORES)
    send(site, sign_transaction(town.stranger, approve(town), nonce=0, chain_id=7400))
    town.play(SCORES)
    return town


def test_the_chain_has_the_ledger(played: Town, site: Site) -> None:
    checked = check_chain(played.path, site.courier())
    assert checked.blocks == played.chain.ledger.height
    assert checked.transactions == len(logged(played))
    assert (checked.first, checked.last) == (1, len(site.chain.blocks))


def test_what_comes_after_the_ledger_is_not_of_it(played: Town, site: Site) -> None:
    send(site, sign_transaction(played.stranger, approve(played, 6), nonce=1, chain_id=7400))
    check_chain(played.path, site.courier())


def change_log(town: Town, change: Callable[[list[Any]], None]) -> None:
    """Writes another file with the same blocks, changed."""
    town.chain.close()
    log = ChainLog(town.path, create=False)
    blocks, (*_, commit) = list(log.blocks()), list(log.commits())
    log.close()
    town.path.unlink()
    change(blocks)
    log = ChainLog(town.path, create=True)
    log.append(blocks, commit)
    log.close()


def without_last(blocks: list[Any]) -> None:
    """A transaction that the ledger leaves out."""
    middle = next(i for i, block in enumerate(blocks) if i > 3 and Result.decode(block.receipts[0]).logs)
    blocks[middle] = dataclasses.replace(blocks[middle], transactions=(), receipts=())


def with_other_receipt(blocks: list[Any]) -> None:
    result = Result.decode(blocks[2].receipts[0])
    blocks[2] = dataclasses.replace(blocks[2], receipts=(dataclasses.replace(result, logs=()).encode(),))


def with_other_order(blocks: list[Any]) -> None:
    first, second = blocks[1], blocks[2]
    blocks[1] = dataclasses.replace(first, transactions=second.transactions, receipts=second.receipts)
    blocks[2] = dataclasses.replace(second, transactions=first.transactions, receipts=first.receipts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_last, "changed the task's contracts and is not in the ledger"),
        (with_other_receipt, "block 2, transaction 0: .* has other events in the chain"),
        (with_other_order, "block 2, transaction 0: .* stands in the chain before what precedes it"),
    ],
)
def test_invalid_ledgers_that_the_chain_does_not_have(
    played: Town, site: Site, change: Callable[[list[Any]], None], words: str
) -> None:
    change_log(played, change)
    with pytest.raises(VerificationError, match=words):
        check_chain(played.path, site.courier())


def test_invalid_chain_without_the_ledgers_last_block(played: Town, site: Site) -> None:
    site.chain.reorganise(1, pooled=False)
    with pytest.raises(VerificationError, match="is not in the chain"):
        check_chain(played.path, site.courier())


def test_invalid_chain_of_another_id(played: Town, site: Site) -> None:
    site.chain.chain_id = 7401
    with pytest.raises(UserError, match="has chain id 7401"):
        check_chain(played.path, site.courier())


# ---- on anvil ---------------------------------------------------------------------------------------------------


@pytest.mark.anvil
def test_others_and_the_check_on_a_real_node(start_anvil: Callable[..., Anvil], tmp_path: Path) -> None:
    """A wallet's own library signs, the node's own JSON describes, and the ledger holds the same bytes."""
    anvil = start_anvil()
    town = Town(tmp_path, connect=anvil.connect)
    town.play(SCORES)
    web3, wallet, call = Web3(Web3.HTTPProvider(anvil.url)), EthAccount.from_key(SECRET), approve(town)
    assert call.to is not None
    to = Web3.to_checksum_address(call.to)
    fields = {"to": to, "data": call.data, "value": 0, "gas": 80_000, "chainId": 7400}
    forms: list[dict[str, Any]] = [
        {"gasPrice": 0},
        {"gasPrice": 0, "accessList": [{"address": to, "storageKeys": [1]}]},
        {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0},
    ]
    names = []
    for nonce, form in enumerate(forms):
        signed = wallet.sign_transaction({**fields, **form, "nonce": nonce})
        names.append(Digest(bytes(web3.eth.send_raw_transaction(signed.raw_transaction))))
    town.play(SCORES)
    assert {keccak(raw) for raw in logged(town)} >= set(names)
    verified(town)
    checked = check_chain(town.path, anvil.courier(FakeTime()))
    assert checked.transactions == len(logged(town))
    other = start_anvil()
    with pytest.raises(VerificationError, match="is not in the chain"):
        check_chain(town.path, other.courier(FakeTime()))

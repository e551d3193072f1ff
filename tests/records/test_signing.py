"""Accounts, EIP-712 digests and transactions, beside eth-account."""

import copy
import dataclasses
import pickle

import pytest
from eth_account import Account as Reference
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import Address, Digest
from platoon.records.encoding import decode_rlp, encode_number, encode_rlp, keccak
from platoon.records.signing import (
    ORDER,
    Account,
    recover,
    recover_update_signer,
    sign_update,
    simulated_account,
)
from platoon.records.transactions import Call, decode_transaction, sign_transaction
from platoon.records.typed_data import Domain, compute_block_digest, compute_update_digest

secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32).map(Digest)
addresses = st.binary(min_size=20, max_size=20).map(Address)
numbers = st.integers(0, 2**64 - 1)
domains = st.builds(Domain, chain_id=st.integers(1, 2**53), contract=addresses)

DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
TYPES = {
    "Update": ["bytes32 task", "uint64 round", "address vehicle", "bytes32 digest", "uint64 samples"],
    "Block": [
        "uint64 height",
        "bytes32 parent",
        "uint64 round",
        "uint64 at",
        "bytes32 transactions",
        "bytes32 receipts",
        "bytes32 contracts",
    ],
}


def encode_reference(kind, domain, message):
    fields = [dict(zip(("type", "name"), field.split(), strict=True)) for field in TYPES[kind]]
    return encode_typed_data(
        full_message={
            "types": {"EIP712Domain": DOMAIN_TYPE, kind: fields},
            "primaryType": kind,
            "domain": {
                "name": "platoon",
                "version": str(domain.format),
                "chainId": domain.chain_id,
                "verifyingContract": "0x" + domain.contract.hex(),
            },
            "message": message,
        }
    )


@settings(max_examples=30, deadline=None)
@given(secrets, domains, digests, numbers, numbers)
def test_updates_are_signed_as_eip_712_says(secret, domain, digest, round_number, samples):
    account = Account(secret)
    task = domain.separator
    message = {
        "task": task,
        "round": round_number,
        "vehicle": "0x" + account.address.hex(),
        "digest": digest,
        "samples": samples,
    }
    reference = Reference.sign_message(encode_reference("Update", domain, message), secret)
    update = sign_update(account, task, round=round_number, digest=digest, samples=samples)
    assert update.signature == bytes(reference.signature)
    assert recover_update_signer(update) == account.address


@settings(max_examples=20, deadline=None)
@given(secrets, domains, st.tuples(digests, digests), numbers, numbers)
def test_blocks_are_hashed_as_eip_712_says(secret, domain, roots, height, at):
    parent, root = roots
    message = {
        "height": height,
        "parent": parent,
        "round": 3,
        "at": at,
        "transactions": root,
        "receipts": root,
        "contracts": parent,
    }
    reference = Reference.sign_message(encode_reference("Block", domain, message), secret)
    digest = compute_block_digest(domain.separator, **message)
    assert Account(secret).sign(digest) == bytes(reference.signature)


@settings(max_examples=40, deadline=None)
@given(secrets, st.none() | addresses, st.binary(max_size=300), st.integers(0, 2**64), st.integers(1, 2**53))
def test_transactions_are_those_of_ethereum(secret, to, data, nonce, chain_id):
    account, call = Account(secret), Call(to=to, data=data, gas=1_000_000)
    raw = sign_transaction(account, call, nonce=nonce, chain_id=chain_id)
    fields = {"nonce": nonce, "gasPrice": 0, "gas": 1_000_000, "value": 0, "data": data, "chainId": chain_id}
    reference = Reference.sign_transaction({**fields, "to": to if to is not None else ""}, secret)
    assert raw == bytes(reference.raw_transaction)
    decoded = decode_transaction(raw)
    assert (decoded.sender, decoded.nonce, decoded.chain_id) == (account.address, nonce, chain_id)
    assert (decoded.call, decoded.value, decoded.gas_price) == (call, 0, 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_transaction_is_refused_or_somebody_elses(data):
    account = simulated_account(1, "edge server", 0)
    raw = bytearray(
        sign_transaction(account, Call(to=Address(b"x" * 20), data=b"abc", gas=9), nonce=1, chain_id=5)
    )
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_transaction(bytes(raw))
    except ValueError:
        return
    assert decoded.sender != account.address


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_transaction(data):
    with pytest.raises(ValueError, match=r"."):
        decode_transaction(data)


def test_invalid_malleable_twin_of_a_transaction():
    account = simulated_account(1, "edge server", 0)
    items = decode_rlp(sign_transaction(account, Call(to=None, data=b"", gas=9), nonce=0, chain_id=5))
    v, s = int.from_bytes(items[6], "big"), int.from_bytes(items[8], "big")
    items[6], items[8] = encode_number(45 + 46 - v), encode_number(ORDER - s)
    with pytest.raises(ValueError, match="bad signature"):
        decode_transaction(encode_rlp(items))


def test_invalid_transaction_without_a_chain_id():
    account = simulated_account(1, "edge server", 0)
    items = decode_rlp(sign_transaction(account, Call(to=None, data=b"", gas=9), nonce=0, chain_id=5))
    items[6] = encode_number(27)
    with pytest.raises(ValueError, match="without a chain id"):
        decode_transaction(encode_rlp(items))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_signature_recovers_nobody_or_somebody_else(data):
    account, digest = simulated_account(1, "vehicle", 0), keccak(b"what is signed")
    changed = bytearray(account.sign(digest))
    changed[data.draw(st.integers(0, 64))] ^= data.draw(st.integers(1, 255))
    assert recover(digest, bytes(changed)) != account.address


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(65),
        bytes(64) + b"\x1b",
        b"\xff" * 64 + b"\x1b",
        b"\x01" * 64,
        b"\x01" * 64 + b"\x1b\x00",
        b"\xff" * 32 + b"\x01" * 32 + b"\x1b",
    ],
)
def test_invalid_signatures_recover_nobody(signature):
    assert recover(keccak(b""), signature) is None


def test_every_field_of_an_update_is_bound():
    account = simulated_account(1, "vehicle", 0)
    update = sign_update(account, keccak(b"task"), round=1, digest=keccak(b"update"), samples=300)
    for change in (
        {"task": keccak(b"other")},
        {"round": 2},
        {"digest": keccak(b"other")},
        {"samples": 301},
        {"vehicle": simulated_account(1, "vehicle", 1).address},
        {"round": 2**64},
        {"samples": -1},
    ):
        assert recover_update_signer(dataclasses.replace(update, **change)) != update.vehicle
    with pytest.raises(ValueError, match="not a uint64"):
        compute_update_digest(
            task=update.task, round=-1, vehicle=update.vehicle, digest=update.digest, samples=1
        )


def test_a_signature_for_one_domain_means_nothing_in_another():
    contract = Address(b"c" * 20)
    separators = {
        Domain(chain_id=1, contract=contract).separator,
        Domain(chain_id=2, contract=contract).separator,
        Domain(chain_id=1, contract=Address(b"d" * 20)).separator,
        Domain(chain_id=1, contract=contract, format=2).separator,
    }
    assert len(separators) == 4


def test_an_account_never_shows_or_gives_away_its_key():
    secret = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
    account = Account(secret)
    assert account.address.hex() == "2c7536e3605d9c16a7a3d7b1898e529396a65c23"  # the example of the web3 docs
    for text in (repr(account), str(account), f"{account}", repr([account])):
        assert secret.hex() not in text
        assert account.address.hex() in text
    for give_away in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="does not leave its process"):
            give_away(account)


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, ORDER.to_bytes(32, "big"), b"\x01" * 31])
def test_invalid_private_keys(secret):
    with pytest.raises(ValueError, match="not a private key"):
        Account(secret)


def test_simulated_accounts_are_distinct_and_repeatable():
    names = [(seed, role, i) for seed in (1, 2) for role in ("vehicle", "edge server") for i in range(5)]
    assert len({simulated_account(*name).address for name in names}) == len(names)
    assert simulated_account(1, "vehicle", 3).address == simulated_account(1, "vehicle", 3).address

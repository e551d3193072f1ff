"""Signed transactions: legacy Ethereum transactions with EIP-155 replay protection and gas price 0.

The same bytes go into the embedded ledger and to a node over JSON-RPC. Sources: EIP-155; yellow paper, section 4.2.
"""

from dataclasses import dataclass

from platoon.nouns import Address
from platoon.records.encoding import (
    decode_number,
    decode_rlp,
    decode_strings,
    encode_length,
    encode_number,
    encode_rlp,
    keccak,
)
from platoon.records.signing import Account, recover, recover_public_key

MAX_GAS = 30_000_000
"""Gas of one call at most: a block of the networks that platoon aims at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a transaction does, before anybody signs it; also what a view reads."""

    to: Address | None
    """None deploys a contract."""
    data: bytes
    gas: int
    """Gas limit, above what the call can need (see ``ledger.contracts``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A decoded transaction, with its sender recovered from the signature."""

    sender: Address
    nonce: int
    gas_price: int
    chain_id: int
    value: int
    call: Call


def sign_transaction(account: Account, call: Call, *, nonce: int, chain_id: int) -> bytes:
    """The bytes of a transaction of ``account``: gas price and value are 0."""
    fields = [
        encode_number(nonce),
        b"",
        encode_number(call.gas),
        call.to if call.to is not None else b"",
        b"",
        call.data,
    ]
    signature = account.sign(keccak(encode_rlp([*fields, encode_number(chain_id), b"", b""])))
    v = chain_id * 2 + 35 + (signature[64] - 27)
    return encode_rlp(
        [*fields, encode_number(v), signature[:32].lstrip(b"\0"), signature[32:64].lstrip(b"\0")]
    )


def decode_transaction(raw: bytes) -> Transaction:
    """The transaction in ``raw``, its sender recovered: legacy, or one of the typed forms that others' wallets sign
    at London (EIP-2930, EIP-1559).

    Raises:
        ValueError: no canonical transaction of these forms, no EIP-155 chain id, or no strict signature.
    """
    if raw[:1] in _TYPED:
        return _decode_typed(raw)
    items, ends = decode_strings(raw)
    if len(items) != 9:
        raise ValueError("not a legacy transaction")
    nonce, gas_price, gas, to, value, data, v, r, s = items
    if len(to) not in (0, 20) or len(r) > 32 or len(s) > 32:
        raise ValueError("an address or a signature of the wrong length")
    decode_number(r)
    decode_number(s)
    chain_id, parity = divmod(decode_number(v) - 35, 2)
    if chain_id < 1:
        raise ValueError("a transaction without a chain id")
    signed = keccak(_encode_signed(raw, ends[5], chain_id))
    sender = recover(signed, r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([27 + parity]))
    if sender is None:
        raise ValueError("bad signature")
    return Transaction(
        sender=sender,
        nonce=decode_number(nonce),
        gas_price=decode_number(gas_price),
        chain_id=chain_id,
        value=decode_number(value),
        call=Call(to=Address(to) if to else None, data=data, gas=decode_number(gas)),
    )


def recover_sender_key(raw: bytes) -> bytes:
    """The compressed public key (33 bytes) of a legacy transaction's sender, to which messages can be sealed.

    Raises:
        ValueError: not a legacy transaction with a strict signature.
    """
    items, ends = decode_strings(raw)
    if len(items) != 9:
        raise ValueError("not a legacy transaction")
    v, r, s = items[6:]
    chain_id, parity = divmod(decode_number(v) - 35, 2)
    if chain_id < 1:
        raise ValueError("a transaction without a chain id")
    signed = keccak(_encode_signed(raw, ends[5], chain_id))
    key = recover_public_key(signed, r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([27 + parity]))
    if key is None:
        raise ValueError("bad signature")
    return key


def _decode_typed(raw: bytes) -> Transaction:
    items, prices = decode_rlp(raw[1:]), _TYPED[raw[:1]]
    if not isinstance(items, list) or len(items) != 10 + prices:
        raise ValueError("not a typed transaction")
    body, signature = items[: 7 + prices], items[7 + prices :]
    access = items.pop(6 + prices)
    if not isinstance(access, list) or not all(isinstance(item, bytes) for item in items):
        raise ValueError("not a typed transaction")
    chain_id, nonce, price, gas, value = (
        decode_number(body[i]) for i in (0, 1, 1 + prices, 2 + prices, 4 + prices)
    )
    to, data, (parity, r, s) = body[3 + prices], body[5 + prices], signature
    if len(to) not in (0, 20) or len(r) > 32 or len(s) > 32 or decode_number(parity) > 1:
        raise ValueError("an address or a signature of the wrong length")
    decode_number(r)
    decode_number(s)
    signed = keccak(raw[:1] + encode_rlp(body))
    sender = recover(signed, r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([27 + decode_number(parity)]))
    if sender is None:
        raise ValueError("bad signature")
    return Transaction(
        sender=sender,
        nonce=nonce,
        gas_price=price,
        chain_id=chain_id,
        value=value,
        call=Call(to=Address(to) if to else None, data=data, gas=gas),
    )


_TYPED = {b"\x01": 1, b"\x02": 2}
"""How many prices of gas each typed form names."""


def _encode_signed(raw: bytes, end: int, chain_id: int) -> bytes:
    """What was signed: the first six fields as they stand in the transaction up to ``end``, chain id, and two empty
    fields."""
    start = 1 if raw[0] <= 0xF7 else 1 + raw[0] - 0xF7
    body = raw[start:end] + encode_rlp(encode_number(chain_id)) + b"\x80\x80"
    return encode_length(len(body), 0xC0) + body

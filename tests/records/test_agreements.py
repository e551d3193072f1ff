"""Requests, responses and payments: signed as EIP-712 says, and each fault named."""

from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import Address, Digest, Instant
from platoon.records.agreements import (
    Opinion,
    Payment,
    TaskRequest,
    TaskResponse,
    check_payment,
    check_request,
    check_response,
    compute_agreement_digest,
    sign_agreement,
)
from platoon.records.encoding import compute_content_digest, keccak
from platoon.records.signing import simulated_account
from platoon.records.typed_data import Domain

DOMAIN = Domain(chain_id=7400, contract=Address(b"\x05" * 20))
HERE = DOMAIN.separator
PUBLISHER, VEHICLE, STRANGER = (simulated_account(6, "party", i) for i in range(3))
CONTENT = b"[task]\nrounds = 3\n"
REQUEST = TaskRequest(
    publisher=PUBLISHER.address,
    content=compute_content_digest(CONTENT),
    vehicles=10,
    samples=300,
    cycles=10**6,
    deadline=Instant(5_000_000),
    budget=10**9,
    serial=1,
)
NAME = compute_agreement_digest(HERE, REQUEST)
RESPONSE = TaskResponse(
    request=NAME,
    vehicle=VEHICLE.address,
    clock=2 * 10**9,
    samples=300,
    rate=10**7,
    opinions=(
        Opinion(subject=Address(b"\x01" * 20), reputation=700_000),
        Opinion(subject=Address(b"\x02" * 20), reputation=0),
    ),
)
PAYMENT = Payment(
    request=NAME, payer=PUBLISHER.address, receiver=VEHICLE.address, amount=10**6, round=1, serial=1
)
NOW = Instant(0)

ADDRESS, DIGEST, NUMBER = "address", "bytes32", "uint64"
TYPES = {
    "TaskRequest": [("publisher", ADDRESS), ("content", DIGEST)]
    + [(name, NUMBER) for name in ("vehicles", "samples", "cycles", "deadline", "budget", "serial")],
    "Opinion": [("subject", ADDRESS), ("reputation", NUMBER)],
    "TaskResponse": [("request", DIGEST), ("vehicle", ADDRESS)]
    + [(name, NUMBER) for name in ("clock", "samples", "rate")]
    + [("opinions", "Opinion[]")],
    "Payment": [("request", DIGEST), ("payer", ADDRESS), ("receiver", ADDRESS)]
    + [(name, NUMBER) for name in ("amount", "round", "serial")],
}
DOMAIN_TYPE = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
]


def reference(agreement):
    """The digest by eth-account."""
    kind = type(agreement).__name__
    used = [kind, "Opinion"] if kind == "TaskResponse" else [kind]
    described = {name: [{"name": n, "type": t} for n, t in TYPES[name]] for name in used}
    described["EIP712Domain"] = [{"name": n, "type": t} for n, t in DOMAIN_TYPE]
    signable = encode_typed_data(
        full_message={
            "types": described,
            "primaryType": kind,
            "domain": {
                "name": "platoon",
                "version": "1",
                "chainId": 7400,
                "verifyingContract": "0x" + "05" * 20,
            },
            "message": show(agreement, kind),
        }
    )
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def show(value, kind):
    shown = {}
    for name, type_ in TYPES[kind]:
        part = getattr(value, name)
        if type_ == "Opinion[]":
            part = [show(opinion, "Opinion") for opinion in part]
        shown[name] = "0x" + part.hex() if type_ == ADDRESS else part
    return shown


numbers = st.integers(0, 2**63 - 1)
addresses = st.binary(min_size=20, max_size=20).map(Address)
digests = st.binary(min_size=32, max_size=32).map(Digest)
opinions = st.lists(st.builds(Opinion, subject=addresses, reputation=numbers), max_size=3).map(tuple)
agreements = st.one_of(
    st.builds(
        TaskRequest,
        publisher=addresses,
        content=digests,
        vehicles=numbers,
        samples=numbers,
        cycles=numbers,
        deadline=numbers,
        budget=numbers,
        serial=numbers,
    ),
    st.builds(
        TaskResponse,
        request=digests,
        vehicle=addresses,
        clock=numbers,
        samples=numbers,
        rate=numbers,
        opinions=opinions,
    ),
    st.builds(
        Payment,
        request=digests,
        payer=addresses,
        receiver=addresses,
        amount=numbers,
        round=numbers,
        serial=numbers,
    ),
)


@settings(max_examples=60, deadline=None)
@given(agreements)
def test_agreements_are_signed_as_eip_712_says(agreement):
    assert compute_agreement_digest(HERE, agreement) == reference(agreement)


def test_genuine_agreements_are_taken():
    assert check_request(HERE, REQUEST, sign_agreement(PUBLISHER, HERE, REQUEST), CONTENT, NOW) is None
    assert check_response(HERE, RESPONSE, sign_agreement(VEHICLE, HERE, RESPONSE), REQUEST) is None
    assert check_payment(HERE, PAYMENT, sign_agreement(PUBLISHER, HERE, PAYMENT), REQUEST) is None


@pytest.mark.parametrize(
    ("changes", "signer", "content", "now", "reason"),
    [
        ({}, PUBLISHER, CONTENT + b" ", 0, "its content is not what was signed"),
        ({"vehicles": 0}, PUBLISHER, CONTENT, 0, "asks for nobody"),
        ({}, PUBLISHER, CONTENT, 5_000_000, "its deadline is over"),
        ({}, STRANGER, CONTENT, 0, "bad signature"),
        ({"budget": -1}, None, CONTENT, 0, "a number out of bounds: -1; allowed: 0 to 2^63 - 1"),
    ],
)
def test_invalid_request_is_named(changes, signer, content, now, reason):
    request = replace(REQUEST, **changes)
    signature = sign_agreement(signer, HERE, request) if signer else bytes(65)
    assert check_request(HERE, request, signature, content, Instant(now)) == reason


@pytest.mark.parametrize(
    ("changes", "signer", "reason"),
    [
        ({"request": Digest(b"\x09" * 32)}, VEHICLE, "answers another request"),
        ({"samples": 299}, VEHICLE, "offers 299 samples, 300 are needed"),
        ({"opinions": RESPONSE.opinions[::-1]}, VEHICLE, "opinions not ascending"),
        ({"opinions": (RESPONSE.opinions[0],) * 2}, VEHICLE, "opinions not ascending"),
        ({"opinions": (Opinion(subject=VEHICLE.address, reputation=1),)}, VEHICLE, "an opinion of itself"),
        (
            {"opinions": (replace(RESPONSE.opinions[0], reputation=10**6 + 1),)},
            VEHICLE,
            "reputation out of bounds",
        ),
        ({}, STRANGER, "bad signature"),
    ],
)
def test_invalid_response_is_named(changes, signer, reason):
    response = replace(RESPONSE, **changes)
    assert check_response(HERE, response, sign_agreement(signer, HERE, response), REQUEST) == reason


@pytest.mark.parametrize(
    ("changes", "signer", "reason"),
    [
        ({"request": Digest(b"\x09" * 32)}, PUBLISHER, "pays for another request"),
        ({"payer": STRANGER.address}, STRANGER, "not the publisher's"),
        ({"amount": 0}, PUBLISHER, "amount out of bounds"),
        ({"amount": 10**9 + 1}, PUBLISHER, "amount out of bounds"),
        ({}, VEHICLE, "bad signature"),
    ],
)
def test_invalid_payment_is_named(changes, signer, reason):
    payment = replace(PAYMENT, **changes)
    assert check_payment(HERE, payment, sign_agreement(signer, HERE, payment), REQUEST) == reason


def test_invalid_agreement_signed_for_another_chain():
    elsewhere = Domain(chain_id=7401, contract=DOMAIN.contract).separator
    signature = sign_agreement(PUBLISHER, elsewhere, REQUEST)
    assert check_request(HERE, REQUEST, signature, CONTENT, NOW) == "bad signature"


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_signatures_are_refused(signature):
    assert check_request(HERE, REQUEST, signature, CONTENT, NOW) == "bad signature"
    assert check_response(HERE, RESPONSE, signature, REQUEST) == "bad signature"
    assert check_payment(HERE, PAYMENT, signature, REQUEST) == "bad signature"

"""Listings, sealed bids and deliveries: one canonical form, one signer, one receiver."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import Address, Digest, Instant, Tokens
from platoon.records.deliveries import open_delivery, pack_delivery
from platoon.records.encoding import compute_content_digest, keccak
from platoon.records.listings import (
    MAX_WORDS,
    Description,
    Listing,
    check_listing,
    compute_tensors_digest,
    sign_listing,
)
from platoon.records.sealed_bids import compute_commitment
from platoon.records.signing import simulated_account

ALICE, BOB = simulated_account(1, "vehicle", 0), simulated_account(1, "vehicle", 1)
MARKET = Digest(b"\x05" * 32)
SAID = {
    "task": "traffic signs",
    "labels": ("stop", "yield"),
    "accuracy": 900_000,
    "architecture": "mlp",
    "inputs": (28, 28, 1),
    "parameters": 8,
    "tensors": Digest(b"\x07" * 32),
    "usage": "any",
    "requirement": "",
    "place": (-10, 20),
    "domain": (1, 2),
}
LISTING = Listing(
    owner=ALICE.address,
    model=Digest(b"\x01" * 32),
    size=10,
    price=Tokens(5),
    threshold=800_000,
    exclusive=True,
    at=Instant(7),
    description=Description(**SAID),
)


def words_of(text):
    raw = text.encode()
    padded = raw.ljust(-(-len(raw) // 32) * 32, b"\0")
    return [padded[i : i + 32] for i in range(0, len(padded), 32)]


def table():
    return json.loads(b"".join(Description(**SAID).encode()).rstrip(b"\0"))


@given(
    task=st.text(min_size=1, max_size=60).filter(str.isprintable),
    labels=st.lists(
        st.text(min_size=1, max_size=9).filter(str.isprintable), min_size=1, unique=True, max_size=9
    ),
    place=st.none() | st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)),
    domain=st.lists(st.integers(0, 10**6), max_size=32),
)
def test_a_description_is_its_document(task, labels, place, domain):
    said = Description(
        **(SAID | {"task": task, "labels": tuple(labels), "place": place, "domain": tuple(domain)})
    )
    assert Description.decode(said.encode()) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"task": ""},
        {"task": "a\x1b[2Jb"},
        {"usage": "x" * 201},
        {"labels": ()},
        {"labels": ("a", "a")},
        {"labels": ("",)},
        {"accuracy": 1_000_001},
        {"parameters": -1},
        {"domain": (0,) * 65},
        {"inputs": (2**63,)},
    ],
)
def test_invalid_description(changes):
    with pytest.raises(ValueError, match=r"allowed|without a task|out of range"):
        Description(**(SAID | changes))


def test_invalid_description_above_four_kilobytes():
    said = Description(**(SAID | {"labels": tuple(f"{i:0190d}" for i in range(30))}))
    with pytest.raises(ValueError, match=f"allowed: {MAX_WORDS * 32}"):
        said.encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"more": 1},
        lambda t: {key: value for key, value in t.items() if key != "task"},
        lambda t: t | {"accuracy": 0.9},
        lambda t: t | {"accuracy": True},
        lambda t: t | {"labels": "stop"},
        lambda t: t | {"place": [1]},
        lambda t: t | {"tensors": "07"},
        lambda t: t | {"domain": [1.5]},
        lambda t: [t],
    ],
)
def test_invalid_document(change):
    text = json.dumps(change(table()), separators=(",", ":"), sort_keys=True)
    with pytest.raises(ValueError, match=r"."):
        Description.decode(words_of(text))


def test_invalid_document_that_is_not_canonical():
    spaced = json.dumps(table(), sort_keys=True)
    with pytest.raises(ValueError, match="not the canonical document"):
        Description.decode(words_of(spaced))
    with pytest.raises(ValueError, match="not the canonical document"):
        Description.decode([*Description(**SAID).encode(), bytes(32)])


def test_a_signature_is_the_owners_and_of_this_listing_on_this_market():
    signature = sign_listing(ALICE, MARKET, LISTING)
    assert check_listing(MARKET, LISTING, signature) is None
    assert check_listing(Digest(bytes(32)), LISTING, signature) is not None
    for field, value in (("price", 6), ("exclusive", False), ("model", Digest(bytes(32))), ("threshold", 0)):
        changed = Listing(**{name: getattr(LISTING, name) for name in LISTING.__slots__} | {field: value})
        assert check_listing(MARKET, changed, signature) == "bad signature of the owner"
    with pytest.raises(ValueError, match="signed by its owner"):
        sign_listing(BOB, MARKET, LISTING)


def test_tensors_are_named_typed_and_shaped():
    known = compute_tensors_digest([("a", "F32", (2,)), ("b", "F32", (1,))])
    assert known == compute_tensors_digest([("b", "F32", (1,)), ("a", "F32", (2,))])
    for other in ([("a", "F32", (2,))], [("a", "F16", (2,)), ("b", "F32", (1,))], [("a", "F32", (2, 1))]):
        assert compute_tensors_digest(other) != known


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_a_commitment_binds_everything(amounts, auction, buyer):
    salt = bytes(32)
    known = compute_commitment(auction=auction, buyer=buyer, salt=salt, amounts=amounts)
    changed = [amounts[0] + 1, *amounts[1:]]
    assert known != compute_commitment(auction=auction, buyer=buyer, salt=salt, amounts=changed)
    assert known != compute_commitment(auction=auction, buyer=buyer + 1, salt=salt, amounts=amounts)
    assert known != compute_commitment(auction=auction + 1, buyer=buyer, salt=salt, amounts=amounts)
    assert known != compute_commitment(auction=auction, buyer=buyer, salt=b"\x01" * 32, amounts=amounts)
    assert known != compute_commitment(auction=auction, buyer=buyer, salt=salt, amounts=[*amounts, 0])


def test_invalid_salt():
    with pytest.raises(ValueError, match="allowed: 32"):
        compute_commitment(auction=1, buyer=1, salt=b"", amounts=[1])


# ---- deliveries -------------------------------------------------------------------------------------------------

CONTENT = b"a model" * 9


def pack(**changes):
    said = {"market": MARKET, "trade": 3, "content": CONTENT, "key": b"\x09" * 32} | changes
    return pack_delivery(ALICE, [BOB.public_key], **said)


def unpack(delivery, receiver=BOB, **changes):
    said = {
        "market": MARKET,
        "trade": 3,
        "seller": ALICE.address,
        "file": delivery.file,
        "box": delivery.boxes[BOB.address],
        "digest": delivery.digest,
        "key": delivery.key,
        "model": compute_content_digest(CONTENT),
    }
    return open_delivery(receiver, **(said | changes))


def test_the_buyer_finds_the_model_and_nobody_else_does():
    delivery = pack()
    assert unpack(delivery) == CONTENT
    assert CONTENT[:7] not in delivery.file
    with pytest.raises(ValueError, match="for another receiver"):
        unpack(delivery, receiver=ALICE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": Digest(bytes(32))}, "not the one that the seller announced"),
        ({"key": Digest(bytes(32))}, "the key is not the one"),
        ({"model": Digest(bytes(32))}, "another model than was bought"),
        ({"trade": 4}, "for another round"),
        ({"market": Digest(bytes(32))}, "for another task"),
        ({"seller": Address(bytes(20))}, "bad signature"),
        ({"box": b""}, "cut short"),
    ],
)
def test_invalid_delivery(changes, reason):
    with pytest.raises(ValueError, match=reason):
        unpack(pack(), **changes)


def test_invalid_delivery_under_another_key():
    """The seller announced one key and encrypted under another."""
    delivery, other = pack(), pack(key=b"\x08" * 32)
    with pytest.raises(ValueError, match="does not open the file"):
        unpack(delivery, file=other.file, digest=other.digest)


def test_invalid_key():
    with pytest.raises(ValueError, match="allowed: 32"):
        pack(key=b"short")
    assert pack().key == keccak(b"\x09" * 32)

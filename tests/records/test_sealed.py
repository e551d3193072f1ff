"""Sealed messages: what is sealed opens to the one, and everything else is refused by name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.nouns import Digest, Instant
from platoon.records.encoding import keccak
from platoon.records.sealed import TaskOrder, seal, unseal
from platoon.records.signing import ORDER, Account, compute_address, simulated_account

TASK, OTHER = Digest(b"\x0a" * 32), Digest(b"\x0b" * 32)
SENDER = simulated_account(8, "operator", 0)
VEHICLE, STRANGER = (simulated_account(8, "vehicle", i) for i in range(2))
PACKET = seal(SENDER, VEHICLE.public_key, task=TASK, round=3, content=b"model")


def open_it(packet=PACKET, *, receiver=VEHICLE, task=TASK, round=3, sender=SENDER):
    return unseal(receiver, packet, task=task, round=round, sender=sender.address)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_what_is_sealed_opens_to_the_same(content, round_number):
    packet = seal(SENDER, VEHICLE.public_key, task=TASK, round=round_number, content=content)
    assert open_it(packet, round=round_number) == content
    assert content not in packet or len(content) < 4


def test_a_message_sealed_twice_is_the_same_and_another_has_another_key():
    assert seal(SENDER, VEHICLE.public_key, task=TASK, round=3, content=b"model") == PACKET
    other = seal(SENDER, VEHICLE.public_key, task=TASK, round=3, content=b"medal")
    again = seal(SENDER, VEHICLE.public_key, task=TASK, round=4, content=b"model")
    assert len({packet[60:93] for packet in (PACKET, other, again)}) == 3


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(PACKET) - 1), st.integers(1, 255))
def test_invalid_message_with_any_byte_changed(position, change):
    changed = bytearray(PACKET)
    changed[position] ^= change
    with pytest.raises(ValueError, match=r"another task|another round|another receiver|bad signature"):
        open_it(bytes(changed))


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({"packet": PACKET[:173]}, "cut short"),
        ({"task": OTHER}, "for another task"),
        ({"round": 4}, "for another round"),
        ({"receiver": STRANGER}, "for another receiver"),
        ({"sender": STRANGER}, "bad signature"),
        ({"packet": PACKET + b"\0"}, "bad signature"),
    ],
)
def test_invalid_message_is_named(given_, reason):
    with pytest.raises(ValueError, match=reason):
        open_it(**given_)


def test_invalid_message_signed_over_a_ciphertext_for_somebody_else():
    # the sender itself puts another's ciphertext under this receiver's name: the associated data do not fit
    foreign = seal(SENDER, STRANGER.public_key, task=TASK, round=3, content=b"model")
    body = foreign[60:-65]
    forged = sign_over(PACKET[:60], body)
    with pytest.raises(ValueError, match="not sealed to this receiver"):
        open_it(forged)


def test_invalid_message_with_an_ephemeral_key_off_the_curve():
    forged = sign_over(PACKET[:60], b"\x05" * 33 + PACKET[93:-65])
    with pytest.raises(ValueError, match="not sealed to this receiver"):
        open_it(forged)


def sign_over(context, body):
    """What the sender would have signed, by hand (EIP-712)."""
    kind = keccak(b"Packet(bytes32 task,uint64 round,address receiver,bytes32 content)")
    words = (
        kind + context[:32] + context[32:40].rjust(32, b"\0") + context[40:].rjust(32, b"\0") + keccak(body)
    )
    return context + body + SENDER.sign(keccak(b"\x19\x01" + context[:32] + keccak(words)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(data):
    with pytest.raises(ValueError, match=r"cut short|another task"):
        open_it(data)
    with pytest.raises(ValueError, match=r"an order of|out of bounds"):
        TaskOrder.decode(data if len(data) != 40 else data[1:])


def test_invalid_public_key():
    with pytest.raises(ValueError, match="key"):
        seal(SENDER, b"\x02" * 32, task=TASK, round=3, content=b"")


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**63 - 1))
def test_orders_are_read_as_written(model, deadline):
    order = TaskOrder(model=Digest(model), deadline=Instant(deadline))
    assert TaskOrder.decode(order.encode()) == order


@settings(max_examples=20, deadline=None)
@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_both_sides_agree_on_the_same_bytes(mine, theirs):
    a, b = (Account(secret.to_bytes(32, "big")) for secret in (mine, theirs))
    assert a.agree(b.public_key) == b.agree(a.public_key)
    assert compute_address(a.public_key) == a.address
    assert a.derive(b"x").address == a.derive(b"x").address != a.derive(b"y").address

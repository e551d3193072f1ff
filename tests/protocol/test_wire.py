"""What a local chain says, as bytes: one encoding for each message, and nothing else is taken."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.nouns import Address, Digest, SignedUpdate
from platoon.protocol.messages import SealReply, SealRequest
from platoon.protocol.wire import (
    decode_seal_reply,
    decode_seal_request,
    encode_seal_reply,
    encode_seal_request,
)
from platoon.records.local_block import LocalBlock

numbers = st.integers(0, 2**64 - 1)
addresses = st.binary(min_size=20, max_size=20).map(Address)
digests = st.binary(min_size=32, max_size=32).map(Digest)
signatures = st.binary(min_size=65, max_size=65)
replies = st.builds(SealReply, round=numbers, edge_server=addresses, signature=signatures)


@st.composite
def requests(draw: st.DrawFn) -> SealRequest:
    number, task = draw(numbers), draw(digests)
    block = LocalBlock(
        task=task,
        edge_server=draw(addresses),
        height=draw(numbers),
        round=number,
        parent=draw(digests),
        root=draw(digests),
        count=draw(numbers),
    )
    update = st.builds(
        SignedUpdate,
        task=st.just(task),
        round=st.just(number),
        vehicle=addresses,
        digest=digests,
        samples=numbers,
        signature=signatures,
    )
    return SealRequest(round=number, block=block, updates=tuple(draw(st.lists(update, max_size=4))))


@given(requests())
def test_a_request_survives_the_wire(request_: SealRequest) -> None:
    data = encode_seal_request(request_)
    assert decode_seal_request(data) == request_
    assert len(data) >= 116 + 117 * len(request_.updates)


@given(replies)
def test_a_reply_survives_the_wire(reply: SealReply) -> None:
    data = encode_seal_reply(reply)
    assert decode_seal_reply(data) == reply
    assert len(data) <= 8 + 21 + 67 + 4


@given(
    st.one_of(st.binary(max_size=300), requests().map(encode_seal_request), replies.map(encode_seal_reply))
)
def test_invalid_bytes_are_refused_or_are_the_encoding(data: bytes) -> None:
    for decode, encode in (
        (decode_seal_request, encode_seal_request),
        (decode_seal_reply, encode_seal_reply),
    ):
        try:
            message = decode(data)  # type: ignore[operator]
        except ValueError:
            continue
        assert encode(message) == data  # type: ignore[operator]


@given(requests(), st.integers(0), st.integers(1, 255))
def test_a_changed_request_is_another_one_or_none(request_: SealRequest, place: int, change: int) -> None:
    data = bytearray(encode_seal_request(request_))
    data[place % len(data)] ^= change
    with suppress(ValueError):
        assert decode_seal_request(bytes(data)) != request_


@given(requests().filter(lambda request: bool(request.updates)), digests)
def test_invalid_update_of_another_task(request_: SealRequest, task: Digest) -> None:
    foreign = SignedUpdate(
        task=Digest(bytes(31) + b"\x01") if task == request_.block.task else task,
        round=request_.round,
        vehicle=request_.updates[0].vehicle,
        digest=request_.updates[0].digest,
        samples=1,
        signature=request_.updates[0].signature,
    )
    with pytest.raises(ValueError, match="another task or round"):
        encode_seal_request(SealRequest(round=request_.round, block=request_.block, updates=(foreign,)))

"""Scores go into words and come out again; the hash that is fast is the hash."""

import threading

import pytest
from Crypto.Hash import keccak as reference
from hypothesis import given
from hypothesis import strategies as st

from platoon.records.encoding import keccak
from platoon.records.lanes import pack_scores, unpack_lanes, unpack_scores

scores = st.lists(st.integers(-1_000_000, 1_000_000), max_size=128)


@given(values=scores, evidence=st.integers(0, 1_000_000))
def test_packed_scores_come_out_again(values, evidence):
    words = pack_scores(values, evidence)
    assert unpack_scores(words, len(values)) == (values, evidence)
    assert len(words) == len(values) // 8 + 1
    assert all(word < 2**256 for word in words)
    assert not any(unpack_lanes(words)[len(values) + 1 :])


@pytest.mark.parametrize(
    ("values", "evidence"), [([1_000_001], 0), ([-1_000_001], 0), ([], -1), ([], 1_000_001)]
)
def test_invalid_scores_are_not_packed(values, evidence):
    with pytest.raises(ValueError, match="scores must lie"):
        pack_scores(values, evidence)


@given(data=st.binary(max_size=600))
def test_keccak_is_the_library_s(data):
    assert keccak(data) == reference.new(data=data, digest_bits=256).digest()


@pytest.mark.parametrize("length", [0, 1, 135, 136, 137, 271, 272, 273, 100_000])
def test_keccak_at_the_borders_of_its_blocks(length):
    data = bytes(i % 251 for i in range(length))
    assert keccak(data) == reference.new(data=data, digest_bits=256).digest()


def test_threads_do_not_share_a_hash():
    inputs = [bytes([i]) * 5_000 for i in range(8)]
    expected = [keccak(data) for data in inputs]
    found = [set() for _ in inputs]

    def work(i):
        for _ in range(200):
            found[i].add(keccak(inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{digest} for digest in expected]

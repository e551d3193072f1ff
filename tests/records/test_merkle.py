"""Laws of the Merkle tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.records.encoding import EMPTY_DIGEST, keccak
from platoon.records.merkle import compute_leaf, compute_proof, compute_root, is_included

records = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=33)


@given(records, st.data())
def test_every_record_is_proved_and_no_other(digests, data):
    root = compute_root(digests)
    position = data.draw(st.integers(0, len(digests) - 1))
    proof = compute_proof(digests, position)
    assert is_included(root, position, digests[position], proof)
    assert not is_included(root, position, keccak(b"forged"), proof)
    assert not is_included(root, position + 1, digests[position], proof)
    assert not is_included(keccak(b"other"), position, digests[position], proof)


@given(records, st.data())
def test_order_and_number_of_records_are_bound(digests, data):
    i, j = (data.draw(st.integers(0, len(digests) - 1)) for _ in range(2))
    swapped = list(digests)
    swapped[i], swapped[j] = swapped[j], swapped[i]
    assert (compute_root(swapped) == compute_root(digests)) == (swapped == digests)
    assert compute_root(digests[:-1]) != compute_root(digests)
    assert compute_root([*digests, digests[-1]]) != compute_root(digests)


@given(records, st.data())
def test_invalid_proofs(digests, data):
    root, position = compute_root(digests), data.draw(st.integers(0, len(digests) - 1))
    proof = compute_proof(digests, position)
    assert not is_included(root, position, digests[position], [*proof, keccak(b"more")])
    if proof:
        assert not is_included(root, position, digests[position], proof[:-1])
        broken = [*proof[:-1], keccak(proof[-1])]
        assert not is_included(root, position, digests[position], broken)


def test_a_node_cannot_pass_for_a_record():
    digests = [keccak(bytes([i])) for i in range(4)]
    root = compute_root(digests)
    left = keccak(b"".join(sorted(compute_leaf(i, digests[i]) for i in (0, 1))))
    right = keccak(b"".join(sorted(compute_leaf(i, digests[i]) for i in (2, 3))))
    assert root == keccak(b"".join(sorted((left, right))))
    assert not any(is_included(root, position, left, [right]) for position in range(4))


def test_no_records_and_positions_outside():
    assert compute_root([]) == EMPTY_DIGEST
    with pytest.raises(ValueError, match="position 1 of 1 records"):
        compute_proof([keccak(b"")], 1)

"""Pseudonyms: how a vehicle goes on under another account and stays the vehicle that it was.

Both accounts sign the change (EIP-712, in the domain of the task chain's Registry): the old one wills it, the new
one shows that it is the vehicle's own. An edge server brings it to the Registry, since vehicles have no connection
to a chain. Who can learn of the link is said in ``docs/ledger/identity.md``.
"""

from dataclasses import dataclass

from platoon.nouns import Address, Digest
from platoon.records.encoding import encode_word, keccak
from platoon.records.signing import SIGNATURE_BYTES, Account, recover

_ROTATION_TYPE = keccak(b"Rotation(address retired,address renewed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A change of pseudonym. Whoever holds it knows the link: it goes to edge servers, to nobody else in clear."""

    retired: Address
    """The account given up; it never returns."""
    renewed: Address
    """The account used from now on; never used before."""
    retired_signature: bytes
    renewed_signature: bytes

    def encode(self) -> bytes:
        """170 bytes: two accounts, two signatures."""
        return self.retired + self.renewed + self.retired_signature + self.renewed_signature

    @classmethod
    def decode(cls, data: bytes) -> "Rotation":
        """The rotation that ``encode`` wrote; raises ``ValueError`` for anything else."""
        if len(data) != 2 * (20 + SIGNATURE_BYTES):
            raise ValueError(f"a change of pseudonym of {len(data)} bytes")
        return cls(
            retired=Address(data[:20]),
            renewed=Address(data[20:40]),
            retired_signature=data[40 : 40 + SIGNATURE_BYTES],
            renewed_signature=data[40 + SIGNATURE_BYTES :],
        )


def compute_rotation_digest(separator: Digest, *, retired: Address, renewed: Address) -> Digest:
    """What both accounts sign; ``separator`` is that of the Registry's domain."""
    words = (_ROTATION_TYPE, encode_word(retired), encode_word(renewed))
    return keccak(b"\x19\x01" + separator + keccak(b"".join(words)))


def sign_rotation(separator: Digest, *, retired: Account, renewed: Account) -> Rotation:
    """A change of pseudonym, signed by both accounts; the vehicle holds the keys of both."""
    digest = compute_rotation_digest(separator, retired=retired.address, renewed=renewed.address)
    return Rotation(
        retired=retired.address,
        renewed=renewed.address,
        retired_signature=retired.sign(digest),
        renewed_signature=renewed.sign(digest),
    )


def check_rotation(separator: Digest, rotation: Rotation) -> str | None:
    """What is wrong with a rotation, in the Registry's words, or None; who is registered, it alone knows."""
    digest = compute_rotation_digest(separator, retired=rotation.retired, renewed=rotation.renewed)
    if recover(digest, rotation.retired_signature) != rotation.retired:
        return "bad signature of the old account"
    if recover(digest, rotation.renewed_signature) != rotation.renewed:
        return "bad signature of the new account"
    return None

"""Reputation certificates: an edge server of one task chain vouches for a vehicle, and another chain believes it.

Inside a task chain a vehicle's reputation is everybody's, whichever edge server it drives to: there is nothing to
certify. A certificate carries it to another task or region, whose chain knows nothing of the vehicle. It is
checked without any chain, given whom one trusts; ``contracts/Admission.vy`` makes the same checks, and sees to it
that a serial is used once. Source: DTB-FL 4.3.2 and eq. 13.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from platoon.nouns import MILLION, Address, Digest, Instant
from platoon.records.encoding import WORD, encode_word, keccak
from platoon.records.signing import SIGNATURE_BYTES, Account, recover

_CERTIFICATE_TYPE = keccak(
    b"Certificate(bytes32 task,address issuer,address vehicle,uint64 reputation,"
    b"uint64 round,uint64 expiry,uint64 serial)"
)
_MAX_NUMBER = 2**63 - 1
CERTIFICATE_BYTES = 7 * WORD + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One edge server's word for a vehicle's reputation."""

    task: Digest
    """The task chain that the reputation was earned on: chain, contract and format in one digest."""
    issuer: Address
    """An edge server of that task chain."""
    vehicle: Address
    """The account that the vehicle enters the other chain with."""
    reputation: int
    """ppm."""
    round: int
    """The last settled round that it counts."""
    expiry: Instant
    """The first instant at which it holds no more."""
    serial: int
    """The issuer gives each number once."""
    signature: bytes

    def encode(self) -> bytes:
        """As it travels: one word per field, then the signature."""
        words = (self.task, self.issuer, self.vehicle, self.reputation, self.round, self.expiry, self.serial)
        return b"".join([encode_word(word) for word in words]) + self.signature

    @classmethod
    def decode(cls, data: bytes) -> "Certificate":
        """The certificate that ``encode`` wrote; raises ``ValueError`` for anything else."""
        if len(data) != CERTIFICATE_BYTES:
            raise ValueError(f"a certificate of {len(data)} bytes")
        words = [data[i : i + WORD] for i in range(0, 7 * WORD, WORD)]
        if any(word[:12] != bytes(12) for word in words[1:3]):
            raise ValueError("an address above 20 bytes")
        numbers = [int.from_bytes(word, "big") for word in words[3:]]
        if max(numbers) > _MAX_NUMBER:
            raise ValueError("a number of the certificate is out of bounds")
        reputation, round_number, expiry, serial = numbers
        return cls(
            task=Digest(words[0]),
            issuer=Address(words[1][12:]),
            vehicle=Address(words[2][12:]),
            reputation=reputation,
            round=round_number,
            expiry=Instant(expiry),
            serial=serial,
            signature=data[7 * WORD :],
        )


def compute_certificate_digest(
    *,
    task: Digest,
    issuer: Address,
    vehicle: Address,
    reputation: int,
    round: int,
    expiry: int,
    serial: int,
) -> Digest:
    """What the issuer signs."""
    words = (_CERTIFICATE_TYPE, task, issuer, vehicle, reputation, round, expiry, serial)
    return keccak(b"\x19\x01" + task + keccak(b"".join([encode_word(word) for word in words])))


def issue_certificate(
    issuer: Account,
    task: Digest,
    *,
    vehicle: Address,
    reputation: int,
    round: int,
    expiry: Instant,
    serial: int,
) -> Certificate:
    """A certificate, signed by an edge server.

    Raises:
        ValueError: a reputation above one, or a number that is negative or above 2^63 - 1.
    """
    if not 0 <= reputation <= MILLION or not all(0 <= n <= _MAX_NUMBER for n in (round, expiry, serial)):
        raise ValueError("a number of the certificate is out of bounds")
    digest = compute_certificate_digest(
        task=task,
        issuer=issuer.address,
        vehicle=vehicle,
        reputation=reputation,
        round=round,
        expiry=expiry,
        serial=serial,
    )
    return Certificate(
        task=task,
        issuer=issuer.address,
        vehicle=vehicle,
        reputation=reputation,
        round=round,
        expiry=expiry,
        serial=serial,
        signature=issuer.sign(digest),
    )


def check_certificate(
    certificate: Certificate, issuers: Mapping[Address, Digest], now: Instant
) -> str | None:
    """What is wrong with a certificate, in the contract's words, or None. Needs no chain.

    Args:
        issuers: the edge servers that one trusts, each with its task; a revoked one is not among them.
        now: the time that the expiry is held against.
    """
    if certificate.issuer not in issuers:
        return "unknown issuer"
    if issuers[certificate.issuer] != certificate.task:
        return "issuer of another task"
    if not 0 <= certificate.reputation <= MILLION:
        return "reputation out of bounds"
    numbers = (certificate.round, certificate.expiry, certificate.serial)
    if not all(0 <= number <= _MAX_NUMBER for number in numbers):
        return "number out of bounds"
    digest = compute_certificate_digest(
        task=certificate.task,
        issuer=certificate.issuer,
        vehicle=certificate.vehicle,
        reputation=certificate.reputation,
        round=certificate.round,
        expiry=certificate.expiry,
        serial=certificate.serial,
    )
    if recover(digest, certificate.signature) != certificate.issuer:
        return "bad signature"
    return None if now < certificate.expiry else "expired"


def compute_initial_reputation(
    *, certified: int | None, attested: bool, neutral: int, bonus: int, rho_min: int
) -> int:
    """Eq. 13 of DTB-FL, ppm: the certificate's, else neutral + Delta where attested, else rho_min.

    Raises:
        ValueError: a bonus (Delta) outside [0, 0.2].

    >>> compute_initial_reputation(certified=None, attested=True, neutral=500_000, bonus=100_000, rho_min=400_000)
    600000
    """
    if not 0 <= bonus <= MILLION // 5:
        raise ValueError(f"bonus = {bonus}: allowed: 0 to {MILLION // 5} ppm")
    if certified is not None:
        return certified
    return min(neutral + bonus, MILLION) if attested else rho_min

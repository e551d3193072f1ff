"""secp256k1 accounts: sign and recover, by ``coincurve``. Signatures are 65 bytes: r, low s, v (27 or 28).

A signature with the other s is as valid to the curve and differs in its bytes: it is refused, so that nobody but
the signer can make a second form of a signed record (EIP-2).
"""

import hmac

from coincurve import PrivateKey, PublicKey

from platoon.nouns import Address, Digest, SignedUpdate
from platoon.records.encoding import keccak
from platoon.records.typed_data import compute_update_digest
from platoon.rng import stream_bytes

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of secp256k1."""
_HALF_ORDER = (ORDER // 2).to_bytes(32, "big")
SIGNATURE_BYTES = 65


class Account:
    """A key pair. Its text form shows the address, never the key."""

    __slots__ = ("_key", "address", "public_key")

    def __init__(self, secret: bytes) -> None:
        """From the 32 bytes of a private key; raises ``ValueError`` where they are not one."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise ValueError("not a private key")
        self._key = PrivateKey(secret)
        self.public_key: bytes = self._key.public_key.format()
        """33 bytes, compressed."""
        self.address = Address(keccak(self._key.public_key.format(compressed=False)[1:])[12:])

    def __repr__(self) -> str:
        return f"Account(0x{self.address.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("an account does not leave its process")

    def sign(self, digest: Digest) -> bytes:
        """65 bytes: r, s, v. Deterministic (RFC 6979), so that a run can be repeated bit for bit."""
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])

    def agree(self, public_key: bytes) -> bytes:
        """32 bytes shared with the owner of a public key (ECDH); raises ``ValueError`` for no such point."""
        shared: bytes = self._key.ecdh(public_key)
        return shared

    def derive(self, purpose: bytes) -> "Account":
        """An account for one purpose: the same purpose gives the same one, and nobody else can tell which."""
        seed = hmac.digest(self._key.secret, purpose, "sha512")
        return Account((1 + int.from_bytes(seed, "big") % (ORDER - 1)).to_bytes(32, "big"))


def compute_address(public_key: bytes) -> Address:
    """The address of a compressed public key; raises ``ValueError`` for no point of the curve."""
    return Address(keccak(PublicKey(public_key).format(compressed=False)[1:])[12:])


def recover(digest: Digest, signature: bytes) -> Address | None:
    """The address that signed ``digest``; None for what is no strict signature (65 bytes, low s, v 27 or 28)."""
    key = _recover_key(digest, signature)
    return Address(keccak(key.format(compressed=False)[1:])[12:]) if key is not None else None


def recover_public_key(digest: Digest, signature: bytes) -> bytes | None:
    """The compressed public key (33 bytes) that signed ``digest``; None as for ``recover``."""
    key = _recover_key(digest, signature)
    return key.format() if key is not None else None


def _recover_key(digest: Digest, signature: bytes) -> PublicKey | None:
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28) or signature[32:64] > _HALF_ORDER:
        return None
    try:
        return PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except ValueError:
        return None
    except Exception as error:  # coincurve raises bare Exception for r or s that are not on the curve
        if type(error) is not Exception:
            raise
        return None


def split_signature(signature: bytes) -> tuple[int, int, int]:
    """v, r, s of a signature of 65 bytes, as contracts take them."""
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


def simulated_account(seed: int, role: str, index: int) -> Account:
    """The account of a participant of a SIMULATION, derived from the scenario's seed: it guards nothing real.

    >>> simulated_account(1, "vehicle", 7).address == simulated_account(1, "vehicle", 7).address
    True
    """
    secret = 1 + int.from_bytes(stream_bytes(seed, "account", role, index), "big") % (ORDER - 1)
    return Account(secret.to_bytes(32, "big"))


def sign_update(account: Account, task: Digest, *, round: int, digest: Digest, samples: int) -> SignedUpdate:
    """A vehicle's announcement of an update: task, round, digest and samples, bound to its address."""
    signed = compute_update_digest(
        task=task, round=round, vehicle=account.address, digest=digest, samples=samples
    )
    return SignedUpdate(
        task=task,
        round=round,
        vehicle=account.address,
        digest=digest,
        samples=samples,
        signature=account.sign(signed),
    )


def recover_update_signer(update: SignedUpdate) -> Address | None:
    """Who signed the update; genuine is one whose signer is its ``vehicle``. None for no strict signature."""
    try:
        digest = compute_update_digest(
            task=update.task,
            round=update.round,
            vehicle=update.vehicle,
            digest=update.digest,
            samples=update.samples,
        )
    except ValueError:
        return None
    return recover(digest, update.signature)

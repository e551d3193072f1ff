"""Models on their way to a buyer: the file under a key of its own, the key sealed to whoever may open it.

The seller encrypts the file once (ChaCha20-Poly1305) and seals the key to the buyer, and to every edge server,
so that a dispute can be decided by looking. On the chain stand the digest of the encrypted file and the hash of
the key: nobody can later say that another file or another key was sent. Sources: RFC 8439; ``records.sealed``
for the boxes.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from platoon.nouns import Address, Digest
from platoon.records.encoding import compute_content_digest, encode_word, keccak
from platoon.records.sealed import seal, unseal
from platoon.records.signing import Account

KEY_BYTES: Final = 32
_NONCE = bytes(12)
"""Fixed: a key encrypts one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the seller hands over."""

    file: bytes
    """Encrypted."""
    boxes: dict[Address, bytes]
    """The key, sealed to each receiver."""
    digest: Digest
    """SHA-256 of the encrypted file."""
    key: Digest
    """keccak-256 of the key."""


def pack_delivery(
    seller: Account, receivers: list[bytes], *, market: Digest, trade: int, content: bytes, key: bytes
) -> Delivery:
    """Encrypt a model's file for a trade.

    Args:
        seller: who delivers.
        receivers: public keys, 33 bytes each: the buyer's and the edge servers'.
        market: domain separator of the market's Registry.
        trade: its number.
        content: the file.
        key: 32 bytes that were never used before.

    Raises:
        ValueError: a key of another length, or a public key that is none.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes; allowed: {KEY_BYTES}")
    file = ChaCha20Poly1305(key).encrypt(_NONCE, content, _bind(market, trade))
    boxes = [seal(seller, public, task=market, round=trade, content=key) for public in receivers]
    addresses = [Address(box[40:60]) for box in boxes]
    return Delivery(
        file=file,
        boxes=dict(zip(addresses, boxes, strict=True)),
        digest=compute_content_digest(file),
        key=keccak(key),
    )


def open_delivery(
    receiver: Account,
    *,
    market: Digest,
    trade: int,
    seller: Address,
    file: bytes,
    box: bytes,
    digest: Digest,
    key: Digest,
    model: Digest,
) -> bytes:
    """The model's file.

    Args:
        receiver: the buyer, or an edge server that decides.
        market: domain separator of the market's Registry.
        trade: its number.
        seller: who must have sealed the key.
        file: encrypted.
        box: the key, sealed to the receiver.
        digest: of the encrypted file, as on the chain.
        key: hash of the key, as on the chain.
        model: SHA-256 of what was bought.

    Raises:
        ValueError: what is wrong with it: each is a reason to dispute.
    """
    if compute_content_digest(file) != digest:
        raise ValueError("the file is not the one that the seller announced")
    opened = unseal(receiver, box, task=market, round=trade, sender=seller)
    if keccak(opened) != key:
        raise ValueError("the key is not the one that the seller announced")
    try:
        content = ChaCha20Poly1305(opened).decrypt(_NONCE, file, _bind(market, trade))
    except (InvalidTag, ValueError):
        raise ValueError("the key does not open the file") from None
    if compute_content_digest(content) != model:
        raise ValueError("it holds another model than was bought")
    return content


def _bind(market: Digest, trade: int) -> bytes:
    return market + encode_word(trade)

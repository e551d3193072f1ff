"""Messages that one account alone can read, and that nobody can change: task packets, changes of pseudonym.

A message is encrypted to the receiver's secp256k1 key (an ephemeral key, ECDH, HKDF-SHA256, ChaCha20-Poly1305) with
its context (task, round, receiver) as associated data, and signed by its sender (EIP-712) over context and
ciphertext. The curve's part is libsecp256k1's, since OpenSSL takes 20 times as long for it (1.1 ms); all else is
``cryptography``'s.

The ephemeral key is derived from the sender's key, the context and the contents, as RFC 6979 does for signatures:
no dice are needed, a message sealed twice is the same message, and a key for one message allows a fixed nonce.

Layout: task 32, round 8, receiver 20, ephemeral key 33, ciphertext with tag, signature 65. Sources: SEC 1 (5.1),
RFC 5869, RFC 8439.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platoon.nouns import Address, Digest, Instant
from platoon.records.encoding import encode_word, keccak
from platoon.records.signing import SIGNATURE_BYTES, Account, compute_address, recover

_PACKET_TYPE = keccak(b"Packet(bytes32 task,uint64 round,address receiver,bytes32 content)")
_KEY_BYTES = 33
_TAG_BYTES = 16
_CONTEXT_BYTES = 32 + 8 + 20
_NONCE = bytes(12)
"""Fixed: no key seals a second message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a message is for."""

    task: Digest
    round: int
    receiver: Address

    def encode(self) -> bytes:
        """60 bytes; raises ``OverflowError`` for a round that is not a uint64."""
        return self.task + self.round.to_bytes(8, "big") + self.receiver


def seal(sender: Account, receiver_key: bytes, *, task: Digest, round: int, content: bytes) -> bytes:
    """The message; ``receiver_key``: the receiver's public key, 33 bytes.

    Raises:
        ValueError: no point of the curve.
    """
    context = Context(task=task, round=round, receiver=compute_address(receiver_key)).encode()
    ephemeral = sender.derive(b"platoon packet" + receiver_key + context + content)
    cipher = ChaCha20Poly1305(_derive_key(ephemeral.agree(receiver_key), ephemeral.public_key, context))
    body = ephemeral.public_key + cipher.encrypt(_NONCE, content, context)
    return context + body + sender.sign(_compute_digest(context, body))


def unseal(receiver: Account, data: bytes, *, task: Digest, round: int, sender: Address) -> bytes:
    """The contents of a message to ``receiver`` of this task and round from ``sender``.

    Raises:
        ValueError: why it is refused: cut short; for another task, round or receiver; a bad signature, which
            every other change leaves; or not sealed to this receiver's key.
    """
    if len(data) < _CONTEXT_BYTES + _KEY_BYTES + _TAG_BYTES + SIGNATURE_BYTES:
        raise ValueError("cut short")
    context, body = data[:_CONTEXT_BYTES], data[_CONTEXT_BYTES:-SIGNATURE_BYTES]
    if context[:32] != task:
        raise ValueError("for another task")
    if int.from_bytes(context[32:40], "big") != round:
        raise ValueError("for another round")
    if context[40:] != receiver.address:
        raise ValueError("for another receiver")
    if recover(_compute_digest(context, body), data[-SIGNATURE_BYTES:]) != sender:
        raise ValueError("bad signature")
    try:
        cipher = ChaCha20Poly1305(_derive_key(receiver.agree(body[:_KEY_BYTES]), body[:_KEY_BYTES], context))
        return cipher.decrypt(_NONCE, body[_KEY_BYTES:], context)
    except (ValueError, InvalidTag):
        raise ValueError("not sealed to this receiver") from None


def _derive_key(shared: bytes, ephemeral: bytes, context: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"platoon packet" + ephemeral + context).derive(shared)


def _compute_digest(context: bytes, body: bytes) -> Digest:
    task, round_number, receiver = context[:32], context[32:40], context[40:]
    words = (_PACKET_TYPE, task, encode_word(round_number), encode_word(receiver), keccak(body))
    return keccak(b"\x19\x01" + task + keccak(b"".join(words)))


# ---- what is sealed ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOrder:
    """What a task packet tells a vehicle."""

    model: Digest
    """The model to train."""
    deadline: Instant
    """An update that comes later does not count."""

    def encode(self) -> bytes:
        """40 bytes."""
        return self.model + self.deadline.to_bytes(8, "big")

    @classmethod
    def decode(cls, data: bytes) -> "TaskOrder":
        """The order that ``encode`` wrote; raises ``ValueError`` for anything else."""
        if len(data) != 40:
            raise ValueError(f"an order of {len(data)} bytes")
        return cls(model=Digest(data[:32]), deadline=Instant(int.from_bytes(data[32:], "big")))

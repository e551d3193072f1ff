"""What a seller says of a model, signed: the listing of TL market's contract of model information.

Numbers that money and reputations depend on are fields of the EIP-712 structure, which ``Catalogue.vy`` checks. All
else is one **document**: canonical JSON, padded with zeros to whole words, whose hash is signed too and whose words
are on the chain, so that the catalogue can be rebuilt from the chain alone. Readers accept the canonical form only.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from platoon.nouns import MILLION, Address, Digest, Instant, Tokens
from platoon.records.encoding import WORD, encode_word, keccak
from platoon.records.signing import Account, recover

_LISTING_TYPE = keccak(
    b"Listing(address owner,bytes32 model,uint64 size,uint64 price,uint64 threshold,uint64 exclusive,"
    b"uint64 at,bytes32 document)"
)
MAX_WORDS: Final = 128
"""Of a document: 4 KB."""
MAX_NUMBER: Final = 2**63 - 1
MAX_TEXT: Final = 200
"""Characters of a line of text."""
MAX_LABELS: Final = 256
MAX_DOMAIN: Final = 64
"""Numbers of a domain's sketch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a buyer searches by and judges. All of it is the seller's claim."""

    task: str
    """What the model does, as buyers search for it."""
    labels: tuple[str, ...]
    """Names of its classes, in the order of its outputs."""
    accuracy: int
    """That the seller claims, parts per million."""
    architecture: str
    """A model of ``platoon.learning.models``, or words for another one."""
    inputs: tuple[int, ...]
    """Shape of one input; of an image its height, width and channels."""
    parameters: int
    tensors: Digest
    """keccak-256 over names, types and shapes of the file's tensors (``compute_tensors_digest``)."""
    usage: str
    """What a buyer may do with it."""
    requirement: str
    """What the seller wants of a buyer."""
    place: tuple[int, int] | None
    """Where it was trained, metres on the map of the market; None where that is not told."""
    domain: tuple[int, ...]
    """Sketch of the data that it was trained on (``platoon.learning.domains``); empty where it is not told."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for what is out of range, and for text that a terminal would obey."""
        lines = (self.task, self.architecture, self.usage, self.requirement, *self.labels)
        for line in lines:
            if len(line) > MAX_TEXT or not line.isprintable():
                raise ValueError(f"{line[:40]!r}: allowed: at most {MAX_TEXT} printable characters")
        if not self.task or not self.labels or not all(self.labels):
            raise ValueError("a listing without a task or with an empty label")
        if len(self.labels) > MAX_LABELS or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels; allowed: different ones, at most {MAX_LABELS}")
        if not 0 <= self.accuracy <= MILLION:
            raise ValueError(f"accuracy of {self.accuracy}; allowed: 0 to {MILLION} ppm")
        numbers = (self.parameters, *self.inputs, *self.domain, *map(abs, self.place or ()))
        if max(len(self.domain), len(self.inputs)) > MAX_DOMAIN or any(
            not 0 <= number <= MAX_NUMBER for number in numbers
        ):
            raise ValueError(f"a number out of range, or more than {MAX_DOMAIN} of them")

    def encode(self) -> tuple[bytes, ...]:
        """The words of the document; raises ``ValueError`` for one above 4 KB."""
        table = {field.name: getattr(self, field.name) for field in fields(self)}
        table["tensors"] = self.tensors.hex()
        text = json.dumps(table, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        if len(text) > MAX_WORDS * WORD:
            raise ValueError(f"a description of {len(text)} bytes; allowed: {MAX_WORDS * WORD}")
        padded = text.ljust(-(-len(text) // WORD) * WORD, b"\0")
        return tuple([padded[i : i + WORD] for i in range(0, len(padded), WORD)])

    @classmethod
    def decode(cls, words: Sequence[bytes]) -> "Description":
        """The description whose canonical document these words are; raises ``ValueError`` for anything else."""
        try:
            table = json.loads(b"".join(words).rstrip(b"\0"))
            description = cls(**_read(table))
        except (TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not the document of a listing ({error})") from None
        if description.encode() != tuple(words):
            raise ValueError("not the canonical document of a listing")
        return description


def _read(table: Any) -> dict[str, Any]:
    """Checks types, since JSON has any; raises ``TypeError`` or ``ValueError``."""
    texts = ("task", "architecture", "usage", "requirement")
    numbers = ("accuracy", "parameters")
    if not isinstance(table, dict) or any(type(table[key]) is not str for key in (*texts, "tensors")):
        raise TypeError("text is missing")
    if any(type(table[key]) is not int for key in numbers):
        raise TypeError("a number is missing")
    labels, place = table["labels"], table["place"]
    if not isinstance(labels, list) or any(type(label) is not str for label in labels):
        raise TypeError("labels are not text")
    for numbered in (table["inputs"], table["domain"]):
        if not isinstance(numbered, list) or any(type(number) is not int for number in numbered):
            raise TypeError("the shape or the sketch is not numbers")
    is_place = isinstance(place, list) and len(place) == 2 and all(type(number) is int for number in place)
    if place is not None and not is_place:
        raise TypeError("the place is not two numbers")
    tensors = bytes.fromhex(table["tensors"])
    if len(tensors) != WORD:
        raise ValueError("the digest of the tensors is not 32 bytes")
    return {
        **table,
        "labels": tuple(labels),
        "inputs": tuple(table["inputs"]),
        "domain": tuple(table["domain"]),
        "place": tuple(place) if place is not None else None,
        "tensors": Digest(tensors),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An offer of one model."""

    owner: Address
    """The seller's pseudonym."""
    model: Digest
    """SHA-256 of the file."""
    size: int
    """Bytes of the file."""
    price: Tokens
    """The paper's bidding price: the least that it is sold for, 10^-6 tokens."""
    threshold: int
    """Accuracy at the buyer from which on the trade is a positive event, parts per million."""
    exclusive: bool
    """Whether one buyer gets it, by auction; else any number of buyers may have it for its price."""
    at: Instant
    """When it was signed, microseconds of the market's time."""
    description: Description

    def compute_digest(self, separator: Digest) -> Digest:
        """What the owner signs; ``separator`` is that of the Registry's domain.

        Raises:
            ValueError: a number that is negative or above 2^63 - 1, or a description above 4 KB.
        """
        numbers = (self.size, self.price, self.threshold, int(self.exclusive), self.at)
        if any(not 0 <= number <= MAX_NUMBER for number in numbers):
            raise ValueError("a listing's number is negative or above 2^63 - 1")
        words = (
            _LISTING_TYPE,
            encode_word(self.owner),
            self.model,
            *map(encode_word, numbers),
            keccak(b"".join(self.description.encode())),
        )
        return keccak(b"\x19\x01" + separator + keccak(b"".join(words)))


def sign_listing(account: Account, separator: Digest, listing: Listing) -> bytes:
    """65 bytes; raises ``ValueError`` where the account is not the owner's, and as ``compute_digest``."""
    if account.address != listing.owner:
        raise ValueError("a listing is signed by its owner")
    return account.sign(listing.compute_digest(separator))


def check_listing(separator: Digest, listing: Listing, signature: bytes) -> str | None:
    """What is wrong with a signed listing, or None."""
    try:
        signer = recover(listing.compute_digest(separator), signature)
    except ValueError as error:
        return str(error)
    return None if signer == listing.owner else "bad signature of the owner"


def compute_tensors_digest(tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> Digest:
    """keccak-256 over name, type and shape of every tensor of a file, ascending by name.

    >>> compute_tensors_digest([("a", "F32", (2,)), ("b", "F32", (1,))]).hex()[:8]
    '38f41023'
    """
    table = sorted((name, kind, list(shape)) for name, kind, shape in tensors)
    return keccak(json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode())

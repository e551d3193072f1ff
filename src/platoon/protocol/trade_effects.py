"""What the protocol of a trade asks the world for. Effects are imperative; a refusal is an answer, no exception.

Traders are known by their handle. The protocol holds numbers and digests: files, keys and bids stay with whoever
carries the effects out.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from platoon.nouns import Digest, Instant, Tokens

T = TypeVar("T")

Steps = Generator[Any, Any, T]
"""Yields effects, is sent their answers, returns a value."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to what somebody, or a contract, does not do."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSource:
    """A seller trains the model that it will offer. Answer: the SHA-256 of its file."""

    seller: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An edge server checks a seller's model and lists it. Answer: the listing's number, or ``Refused``."""

    seller: int
    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReputations:
    """What the contract says of the sellers of these listings now. Answer: ppm, in their order."""

    listings: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAuction:
    """An edge server proposes, a majority confirms. Answer: ``Opened``, or ``Refused``."""

    listings: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Bids are taken."""

    auction: int
    bids_until: Instant
    reveals_until: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class SealBid:
    """A buyer bids what the models are worth to it. Answer: None, or ``Refused``."""

    auction: int
    buyer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealBid:
    """A buyer reveals its bid. Answer: None, or ``Refused``."""

    auction: int
    buyer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Let the market's time pass this instant. Answer: None."""

    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleAuction:
    """The contract awards and charges. Answer: ``Sale``s, or ``Refused``."""

    auction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One model that is paid in for."""

    trade: int
    listing: int
    seller: int
    buyer: int
    price: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """The seller sends the encrypted model. Answer: None, or ``Refused``."""

    sale: Sale


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """The buyer opens it, and accepts or disputes. Answer: None where it accepted, else ``Refused``."""

    sale: Sale


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """The edge servers open a disputed delivery and vote. Answer: whether it was in order."""

    sale: Sale


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Have an undelivered sale refunded, after its deadline. Answer: None."""

    sale: Sale


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapt:
    """The buyer fine-tunes the model on its own data and measures it. Answer: accuracy, ppm."""

    sale: Sale


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The buyer uploads what it measured. Answer: whether that is a positive event."""

    sale: Sale
    accuracy: int

"""What is held against a listing, and what follows from one: files, tables of boosts, deposits."""

from collections.abc import Sequence
from dataclasses import dataclass

from platoon.drivers.foreign_models import Tensors, read_foreign_model
from platoon.errors import UserError
from platoon.market.auction.boosts import BoostNetwork, export_table
from platoon.market.auction.tables import BoostTable, raise_to_asks, reserve_table, scale_table
from platoon.nouns import MILLION, Digest, Tokens
from platoon.records.encoding import compute_content_digest
from platoon.records.listings import Listing, compute_tensors_digest

_KINDS = {"float32": "F32", "float16": "F16", "int32": "I32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a seller wants for a model."""

    price: Tokens
    """The least, 10^-6 tokens."""
    threshold: int
    """Accuracy from which on a trade is a positive event, ppm."""
    exclusive: bool


def make_table(
    network: BoostNetwork | None, reputations: Sequence[int], scale: int, asks: Sequence[int]
) -> BoostTable:
    """The boosts of an auction: what a network makes of reputations, or a reserve price a model, raised to the
    asks.

    Raises:
        ValueError: a boost out of range.
    """
    learned = (
        scale_table(export_table(network, tuple(reputations)), scale)
        if network is not None
        else reserve_table(len(reputations), scale // 2)
    )
    return raise_to_asks(learned, asks)


def suggest_deposit(most: int) -> int:
    """A deposit for a bid of up to ``most``: the power of two from one token on, since deposits are public and bids
    are not.

    >>> suggest_deposit(3_000_001)
    4000000
    """
    tokens = max(1, -(-most // MILLION))
    return MILLION << (tokens - 1).bit_length()


def require_listed(content: bytes, listing: Listing) -> Tensors:
    """The tensors of a model's file, as its listing says them; raises ``UserError`` where they are not."""
    if len(content) != listing.size or compute_content_digest(content) != listing.model:
        raise UserError("the file has another size or SHA-256 than its listing says")
    tensors = read_foreign_model(content, None)
    if digest_tensors(tensors) != listing.description.tensors:
        raise UserError("the file has tensors of other names, types or shapes than its listing says")
    parameters = sum(values.size for values in tensors.values())
    if parameters != listing.description.parameters:
        raise UserError(
            f"the file has {parameters} parameters, its listing says {listing.description.parameters}"
        )
    return tensors


def digest_tensors(tensors: Tensors) -> Digest:
    """keccak-256 over names, types and shapes."""
    return compute_tensors_digest(
        [(name, _KINDS[values.dtype.name], values.shape) for name, values in tensors.items()]
    )

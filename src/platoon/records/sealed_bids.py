"""Bids that nobody can read before all are in, and that nobody can change then: a hash first, what it is of
later."""

from collections.abc import Sequence

from platoon.nouns import Digest
from platoon.records.encoding import encode_word, keccak


def compute_commitment(*, auction: int, buyer: int, salt: bytes, amounts: Sequence[int]) -> Digest:
    """What a buyer commits to (``Auctions.vy``): keccak-256 over auction, buyer's handle, salt and amounts, as
    words.

    Args:
        auction: its number.
        buyer: handle in the Registry.
        salt: 32 random bytes, without which a hash of few likely amounts could be guessed.
        amounts: one for each model, or one for each bundle, 10^-6 tokens.

    Raises:
        ValueError: a salt of another length.
    """
    if len(salt) != 32:
        raise ValueError(f"a salt of {len(salt)} bytes; allowed: 32")
    return keccak(b"".join([encode_word(auction), encode_word(buyer), salt, *map(encode_word, amounts)]))

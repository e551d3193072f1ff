"""The boost table of an affine maximiser: everything that a learned auction is, once reputations are known.

An affine maximiser (Roberts 1979) awards what maximises the sum of all values and of a **boost** that depends
on the award alone, and lets everybody pay what their presence costs the others in that sum. Whatever the boosts
are, bidding one's values is a dominant strategy and no truthful bidder loses. Learning chooses the boosts; it
cannot spoil that.

A **bundle** is a set of models as the bits of an integer: bit j is model j. All amounts are integers of 10^-6
tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from platoon.nouns import MILLION, Digest
from platoon.records.encoding import encode_word, keccak

MOST_MODELS: Final = 10
"""Of one auction: the work grows with 3 to the number of models. The contract takes fewer (``Auctions.vy``)."""
MOST_LOTS: Final = 8
"""Listings of one auction or menu on a chain (``Auctions.vy``, ``Menus.vy``)."""
MOST_BOOST: Final = 2**62
"""Bound on the size of a boost, so that sums stay within every reader's integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostTable:
    """What an award is worth to the auctioneer, beside what it is worth to the buyers.

    >>> BoostTable(bundle=(0, 0), unsold=(0, 500_000)).models
    1
    """

    bundle: tuple[int, ...]
    """(2^m,) added for every buyer who is awarded that bundle; the first entry, of the empty one, is 0."""
    unsold: tuple[int, ...]
    """(2^m,) added for the set of models that nobody is awarded."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a table of another shape, or with a boost out of range."""
        size = len(self.bundle)
        if size != len(self.unsold) or size.bit_count() != 1 or not 1 <= self.models <= MOST_MODELS:
            raise ValueError(
                f"a table of {size} and {len(self.unsold)} boosts; allowed: 2^m of each, m from 1 to {MOST_MODELS}"
            )
        if self.bundle[0] != 0:
            raise ValueError("the boost of the empty bundle is not 0")
        if any(type(boost) is not int or abs(boost) > MOST_BOOST for boost in (*self.bundle, *self.unsold)):
            raise ValueError("a boost that is no integer between -2^62 and 2^62")

    @property
    def models(self) -> int:
        """How many models are for sale."""
        return len(self.bundle).bit_length() - 1

    def compute_digest(self) -> Digest:
        """What the contract keeps of the table: keccak-256 over all boosts as 32-byte words, bundles first."""
        return keccak(b"".join([encode_word(boost) for boost in (*self.bundle, *self.unsold)]))


def raise_to_asks(table: BoostTable, asks: Sequence[int]) -> BoostTable:
    """The table with as much added to what unsold models are worth as it takes that nobody ever pays less for a
    bundle than its sellers ask together.

    A model's own addition is what its ask is above the floor that the table has for it alone; what a bundle still
    lacks then, by a discount, is spread over its models. The result is an affine maximiser like any other.

    Args:
        table: of m models.
        asks: (m,) what each seller wants at least.

    Raises:
        ValueError: another number of asks, or a negative one.
    """
    if len(asks) != table.models or any(ask < 0 for ask in asks):
        raise ValueError(f"{len(asks)} asks for {table.models} models; allowed: one each, none negative")
    everything = len(table.bundle) - 1
    added = [0] * table.models
    for bundle in sorted(range(1, everything + 1), key=lambda b: (b.bit_count(), b)):
        members = [j for j in range(table.models) if bundle >> j & 1]
        gap = (
            min(table.unsold[rest | bundle] - table.unsold[rest] for rest in subsets(everything & ~bundle))
            - table.bundle[bundle]
        )
        lacking = sum(asks[j] for j in members) - gap - sum(added[j] for j in members)
        for position, j in enumerate(members):
            added[j] += max(0, (lacking + position) // len(members))
    sums = [sum(added[j] for j in range(table.models) if s >> j & 1) for s in range(everything + 1)]
    return BoostTable(
        bundle=table.bundle, unsold=tuple(a + b for a, b in zip(table.unsold, sums, strict=True))
    )


def keeps_asks(table: BoostTable, asks: Sequence[int]) -> bool:
    """Whether no buyer can ever pay less for a bundle than its sellers ask together: the contract's condition.

    >>> keeps_asks(BoostTable(bundle=(0, 0), unsold=(0, 500_000)), [500_001])
    False
    """
    everything = len(table.bundle) - 1
    return all(
        table.unsold[rest | bundle] - table.unsold[rest] - table.bundle[bundle]
        >= sum(asks[j] for j in range(table.models) if bundle >> j & 1)
        for bundle in range(1, everything + 1)
        for rest in subsets(everything & ~bundle)
    )


def subsets(bundle: int) -> Iterator[int]:
    """All subsets of a bundle, the empty one first, ascending.

    >>> list(subsets(0b101))
    [0, 1, 4, 5]
    """
    part = 0
    while True:
        yield part
        part = (part - bundle) & bundle
        if part == 0:
            return


def reserve_table(models: int, reserve: int) -> BoostTable:
    """An auction of each model by itself with the same reserve price: what is left unsold is worth that much.

    >>> reserve_table(2, 5).unsold
    (0, 5, 5, 10)
    """
    sets = range(1 << models)
    return BoostTable(bundle=(0,) * len(sets), unsold=tuple(reserve * s.bit_count() for s in sets))


def scale_table(table: BoostTable, scale: int) -> BoostTable:
    """A table learned for values up to 10^6, for values up to ``scale``; amounts are rounded down."""
    return BoostTable(
        bundle=tuple(boost * scale // MILLION for boost in table.bundle),
        unsold=tuple(boost * scale // MILLION for boost in table.unsold),
    )

"""Finding a model: what a buyer asks for, held against what listings say and what is known of their sellers.

Filters first (task, labels, size, licence, price, least reputation), then an order: by the distance of domains
where the buyer shows a sketch of its own data, else by the road distance to where a model was trained (similar
surroundings, TL market section III), else by the seller's reputation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from platoon.nouns import MILLION
from platoon.records.listings import Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a buyer asks for; None and empty ask for nothing."""

    task: str = ""
    """Words that the task must contain, whatever their case and order."""
    labels: tuple[str, ...] = ()
    """That the model must know, all of them."""
    most_bytes: int | None = None
    most_price: int | None = None
    """10^-6 tokens."""
    exclusive: bool | None = None
    least_reputation: int = 0
    """Parts per million; the paper's permitted reputation."""
    most_metres: float = inf
    """By road."""
    domain: tuple[int, ...] = ()
    """Sketch of the buyer's data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A listing that fits."""

    number: int
    listing: Listing
    reputation: int
    """Of its seller, ppm."""
    metres: float | None
    """By road to where it was trained; None where either place is not told."""
    domain_distance: float | None
    """Root mean square difference of the sketches, 0 to 1; None where either is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A listing that is for sale."""

    number: int
    listing: Listing
    reputation: int
    metres: float | None = None


def search(offers: Sequence[Offer], wanted: Wanted) -> tuple[Found, ...]:
    """What fits, the most promising first; ties by number.

    What a listing does not tell cannot exclude it: a model without a place passes every bound on the distance, and
    stands behind those that have one.
    """
    found = [
        Found(
            number=offer.number,
            listing=offer.listing,
            reputation=offer.reputation,
            metres=offer.metres,
            domain_distance=compare_domains(wanted.domain, offer.listing.description.domain),
        )
        for offer in offers
        if fits(offer, wanted)
    ]
    return tuple(sorted(found, key=_rank))


def fits(offer: Offer, wanted: Wanted) -> bool:
    """Whether an offer is what a buyer asks for."""
    listing, said = offer.listing, offer.listing.description
    words = said.task.casefold()
    return (
        all(word in words for word in wanted.task.casefold().split())
        and set(wanted.labels) <= set(said.labels)
        and (wanted.most_bytes is None or listing.size <= wanted.most_bytes)
        and (wanted.most_price is None or listing.price <= wanted.most_price)
        and (wanted.exclusive is None or listing.exclusive == wanted.exclusive)
        and offer.reputation >= wanted.least_reputation
        and (offer.metres is None or offer.metres <= wanted.most_metres)
    )


def compare_domains(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Root mean square difference of two sketches, 0 to 1; None where they are not of the same kind.

    >>> round(compare_domains((0, 1_000_000), (0, 0)), 3)
    0.707
    """
    if not first or len(first) != len(second):
        return None
    return sqrt(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / len(first)) / MILLION


def _rank(found: Found) -> tuple[float, float, int, int]:
    domain = inf if found.domain_distance is None else found.domain_distance
    metres = inf if found.metres is None else found.metres
    return domain, metres, -found.reputation, found.number

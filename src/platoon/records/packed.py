"""What a round's events say of each update, one word of 256 bits for each.

A round of 100 updates would otherwise leave 300 events, which cost more to log, hash, store and read than the round
itself (``bench/ledger.py``). Events that hold lists of these words: ``Recorded``, ``Judged``, ``Settled``.
"""

from collections.abc import Callable
from typing import NamedTuple

from platoon.nouns import MILLION, Address

_ACCOUNT = 96
"""Bits under an account's address."""
_LOW = 2**_ACCOUNT - 1
_WORD32 = 2**32 - 1


class Taken(NamedTuple):
    """What ``Recorded`` says of an update, beside its digest."""

    vehicle: Address
    samples: int
    """That it was trained on, as its vehicle says."""


class Verdict(NamedTuple):
    """What ``Judged`` says of an update."""

    vehicle: Address
    score: int
    """Lower median, ppm; 0 where nothing is scored."""
    valid: bool
    merged: bool


class Settlement(NamedTuple):
    """What ``Settled`` says of an update; which one, its place among the verdicts tells."""

    before: int
    """Reputation before the round, ppm."""
    now: int
    reward: int
    """10^-6 token."""


def pack_taken(taken: Taken) -> int:
    """A word of ``Recorded``."""
    return int.from_bytes(taken.vehicle, "big") << _ACCOUNT | taken.samples


def unpack_taken(word: int) -> Taken:
    """What the word says.

    >>> unpack_taken(pack_taken(Taken(Address(bytes(20)), 300))).samples
    300
    """
    return Taken(_unpack_account(word), word & _LOW)


def pack_verdict(verdict: Verdict) -> int:
    """A word of ``Judged``."""
    said = (verdict.score + MILLION) << 2 | verdict.merged << 1 | verdict.valid
    return int.from_bytes(verdict.vehicle, "big") << _ACCOUNT | said


def unpack_verdict(word: int) -> Verdict:
    """What the word says.

    >>> verdict = Verdict(Address(bytes(20)), -5, True, False)
    >>> unpack_verdict(pack_verdict(verdict)) == verdict
    True
    """
    said = word & _LOW
    return Verdict(_unpack_account(word), (said >> 2) - MILLION, bool(said & 1), bool(said & 2))


def pack_settlement(standing: Settlement) -> int:
    """A word of ``Settled``."""
    return standing.reward << 64 | standing.before << 32 | standing.now


def unpack_settlement(word: int) -> Settlement:
    """What the word says.

    >>> unpack_settlement(pack_settlement(Settlement(before=5, now=6, reward=7)))
    Settlement(before=5, now=6, reward=7)
    """
    return Settlement(before=word >> 32 & _WORD32, now=word & _WORD32, reward=word >> 64)


def _unpack_account(word: int) -> Address:
    return Address((word >> _ACCOUNT).to_bytes(20, "big"))


UNPACK: dict[tuple[str, str], Callable[[int], Taken | Verdict | Settlement]] = {
    ("Recorded", "vehicles"): unpack_taken,
    ("Judged", "verdicts"): unpack_verdict,
    ("Settled", "standings"): unpack_settlement,
}
"""By event and value."""

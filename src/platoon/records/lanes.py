"""Scores as the contract takes them: eight lanes of 32 bits to a word, the lowest first.

Lane 0 of the first word is the evidence; each further lane is a score + 10^6, so that no lane is negative. Lanes
beyond the last score are 0. The same words go into the transaction, into storage and into the medians.
"""

from collections.abc import Sequence

from platoon.nouns import MILLION

LANES = 8
_BITS = 32
_MASK = 2**_BITS - 1


def pack_scores(scores: Sequence[int], evidence: int) -> list[int]:
    """Scores and evidence (ppm) as words.

    Raises:
        ValueError: a score outside [-10^6, 10^6], or evidence outside [0, 10^6].

    >>> [hex(word) for word in pack_scores([-1_000_000, 5], 7)]
    ['0xf42450000000000000007']
    """
    if not 0 <= evidence <= MILLION or not all(-MILLION <= score <= MILLION for score in scores):
        raise ValueError("scores must lie within 10^6 ppm of 0, evidence from 0 to 10^6 ppm")
    lanes = [evidence, *(score + MILLION for score in scores)]
    return [_pack(lanes[i : i + LANES]) for i in range(0, len(lanes), LANES)]


def unpack_lanes(words: Sequence[int]) -> list[int]:
    """All lanes of the words, the zeros at the end included."""
    return [word >> _BITS * i & _MASK for word in words for i in range(LANES)]


def unpack_scores(words: Sequence[int], count: int) -> tuple[list[int], int]:
    """Scores of ``count`` updates and the evidence, from words that the contract accepted."""
    lanes = unpack_lanes(words)
    return [lane - MILLION for lane in lanes[1 : count + 1]], lanes[0]


def _pack(lanes: Sequence[int]) -> int:
    return sum(lane << _BITS * i for i, lane in enumerate(lanes))

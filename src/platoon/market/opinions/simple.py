"""Market-wide reputations that ask nothing about who says it: to compare with. Ppm, every division rounds down."""

from collections.abc import Callable, Sequence

from platoon.nouns import MILLION

Counts = Sequence[Sequence[int]]
"""(B, S) events by buyer and seller."""
MarketWide = Callable[[Counts, Counts, int], list[int]]
"""(B, S) positive and (B, S) all events, and the prior, to (S,) reputations."""


def pool_events(positive: Counts, all_: Counts, prior: int) -> list[int]:
    """Positive of all events with a seller, whoever rated: a buyer of many trades has many voices.

    >>> pool_events([[1, 0], [3, 0]], [[2, 0], [3, 0]], 500_000)
    [800000, 500000]
    """
    sums = zip(*(map(sum, zip(*counts, strict=True)) for counts in (positive, all_)), strict=True)
    return [p * MILLION // n if n else prior for p, n in sums]


def take_median(positive: Counts, all_: Counts, prior: int) -> list[int]:
    """The lower median of buyers' direct values: one voice each, right while fewer than half lie.

    >>> take_median([[1], [3], [0]], [[2], [3], [0]], 500_000)
    [500000]
    """
    columns = zip(zip(*positive, strict=True), zip(*all_, strict=True), strict=True)
    return [
        _find_lower_median([p * MILLION // n for p, n in zip(*column, strict=True) if n], prior)
        for column in columns
    ]


def _find_lower_median(values: list[int], prior: int) -> int:
    return sorted(values)[(len(values) - 1) // 2] if values else prior


MARKET_WIDE: dict[str, MarketWide] = {"pooled events": pool_events, "median of direct values": take_median}

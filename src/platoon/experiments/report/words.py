"""Numbers and lists as words, the same in the findings, the tables and the captions."""

import math
from collections.abc import Sequence

UNKNOWN = "not known"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.9312), percent(None)
    ('93.1 %', 'not known')
    """
    return UNKNOWN if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number with a unit; thousands are set apart by a comma.

    >>> number(1234.5, 1, "s"), number(math.nan)
    ('1,234.5 s', 'not known')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.{digits}f} {unit}".rstrip()


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "round"), plural(2, "round")
    ('1 round', '2 rounds')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def join_words(words: Sequence[str]) -> str:
    """A list as one phrase.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

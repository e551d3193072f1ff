"""Reputations of sellers from what buyers found: direct, recommended and referenced opinions in a time window.

The Python twin of ``contracts/Opinions.vy`` (a test holds them equal): a fold over ratings, and what follows from
them. A rating is one event after a trade, positive or negative. Symbols of the TL market paper: D direct value, E
recommended, Q referenced, r integrated value, a, b, c their weights; the paper gives neither the weights, nor the
window, nor how trust comes about, nor what a reputation is market-wide (``docs/market/reputation.md``).

Values, trust and weights are integers in parts per million; every division rounds down.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import isqrt
from typing import Final, NamedTuple

from platoon.nouns import MILLION, Duration, Instant, Ppm

MOST_BUYERS: Final = 64
"""That are looked at where all have to be: those who rated last."""
MOST_SELLERS: Final = 32
"""The same: those who were rated last. Also how many reputations are asked for at once."""
MOST_REFEREES: Final = 8
MOST_PERIODS: Final = 8
MOST_RATINGS: Final = 2**14 - 1
"""Of a buyer and a seller in one period."""
MOST_STRENGTH: Final = 2**40
DAY: Final = Duration(24 * 3600 * 10**6)
_START: Final = Instant(0)
ROUNDS: Final = 3
"""In which voices are weighed by their agreement with the others."""
_LEAST_VARIANCE = 10**6
"""Ppm squared, a deviation of a thousandth: what is less comes from rounding."""
_MOST_HANDLE = 2**128 - 1
_MOST_PERIOD = 2**32 - 1
_MOST_NUMBER = 2**63 - 1

Row = Mapping[int, int]
"""Values by seller; sellers without one are missing."""


class Mode(IntEnum):
    """What buyers upload for others to use."""

    SHARED_DIRECT = 0
    """Their direct values: every event counts once."""
    AS_WRITTEN = 1
    """The integrated value as of their last rating of the seller: opinions come back and count again."""


class TrustRule(IntEnum):
    """How far a buyer trusts another one."""

    LEARNED = 0
    """By how their direct values agree."""
    EQUAL = 1
    """All that can be compared are trusted alike, whatever the comparison says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionRules:
    """What a market fixes at deployment. Checked here as the contract's constructor checks it."""

    mode: Mode = Mode.SHARED_DIRECT
    trust: TrustRule = TrustRule.LEARNED
    direct: int = 500_000
    """a, ppm."""
    recommended: int = 300_000
    """b, ppm."""
    referenced: int = 200_000
    """c, ppm; market-wide what the voice of all strangers together weighs."""
    prior: int = 500_000
    """Reputation of a seller without any rating, ppm."""
    strength: int = MILLION
    """What the prior weighs in a market-wide reputation, ppm of a trusted buyer's voice."""
    least_common: int = 3
    """Sellers that two buyers must both have rated to be compared."""
    period: Duration = DAY
    """Microseconds."""
    periods: int = 8
    """How many count, the present one included: the window."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a value that the contract's constructor refuses."""
        bounds = {
            "direct": (0, MILLION),
            "recommended": (0, MILLION),
            "referenced": (0, MILLION),
            "prior": (0, MILLION),
            "strength": (0, MOST_STRENGTH),
            "least_common": (2, MOST_SELLERS),
            "period": (1, _MOST_NUMBER),
            "periods": (1, MOST_PERIODS),
        }
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} = {getattr(self, name)}: allowed: {least} to {most}")
        if self.direct + self.recommended + self.referenced == 0:
            raise ValueError("direct, recommended and referenced are all 0: nothing would count")


class Agreement(NamedTuple):
    """What a comparison of two buyers says."""

    trust: int
    """Ppm; 0 where it is not defined."""
    is_friend: bool
    """Whether the two can be compared; else they are strangers."""
    common: int
    """Sellers that both have rated."""


class Count(NamedTuple):
    """Events of a buyer with a seller, or of many."""

    positive: int
    all: int

    @property
    def value(self) -> int:
        """Positive of all, ppm; 0 without events."""
        return self.positive * MILLION // max(self.all, 1)

    @property
    def evidence(self) -> int:
        """What a value of n events has of its buyer's voice, n / (n + 1), ppm: many events of one are one voice."""
        return self.all * MILLION // (self.all + 1)


class Rated(NamedTuple):
    """What the contract says of a rating."""

    positive: int
    """Of this buyer with this seller in the window."""
    all: int
    uploaded: int
    """What others take from now on, ppm."""


class Voices(NamedTuple):
    """What buyers weigh in market-wide reputations."""

    weights: dict[int, int]
    """Ppm, by the handle of each buyer that rated within the window."""
    strangers: frozenset[int]
    """Those who cannot be compared with the others; their weight is 0, and they have one voice together."""


@dataclass(frozen=True, slots=True)
class _Seat:
    is_referee: bool
    period: int
    """Of the last rating."""
    handle: int

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The least gives way first."""
        return self.is_referee, self.period, self.handle


def compare(own: Row, others: Row, rules: OpinionRules) -> Agreement:
    """How far two rows of values (ppm) agree: their correlation (Pearson) over common sellers, or 0 if negative.

    It is not defined over fewer than ``least_common`` sellers, nor where one of the two holds them all alike.

    >>> compare({1: 0, 2: 500_000, 3: 900_000}, {1: 100_000, 2: 400_000, 3: 1_000_000}, OpinionRules())
    Agreement(trust=967867, is_friend=True, common=3)
    """
    common = own.keys() & others.keys()
    n = len(common)
    if n < rules.least_common:
        return Agreement(0, False, n)
    sum_own, sum_others = sum(own[j] for j in common), sum(others[j] for j in common)
    spread_own = n * sum(own[j] ** 2 for j in common) - sum_own**2
    spread_others = n * sum(others[j] ** 2 for j in common) - sum_others**2
    if min(spread_own, spread_others) < n**2 * _LEAST_VARIANCE:
        return Agreement(0, False, n)
    if rules.trust is TrustRule.EQUAL:
        return Agreement(MILLION, True, n)
    together = n * sum(own[j] * others[j] for j in common) - sum_own * sum_others
    return Agreement(min(max(together, 0) * MILLION // isqrt(spread_own * spread_others), MILLION), True, n)


@dataclass(kw_only=True)
class Opinions:
    """All ratings that still count, folded from ``record``. A refused rating changes nothing."""

    rules: OpinionRules
    latest: Instant = _START
    """Time of the last rating."""
    referees: set[int] = field(default_factory=set)
    buyers: list[_Seat] = field(default_factory=list)
    """Those looked at where all have to be."""
    sellers: list[_Seat] = field(default_factory=list)
    _events: defaultdict[tuple[int, int], dict[int, Count]] = field(default_factory=lambda: defaultdict(dict))
    """By buyer and seller: events by period."""
    _uploads: dict[tuple[int, int], int] = field(default_factory=dict)

    # ---- calls --------------------------------------------------------------------------------------------------

    def appoint(self, referee: int) -> None:
        """A buyer by whom agreement is measured from now on, for good.

        Raises:
            ValueError: the contract's reason to refuse.
        """
        _require(0 < referee <= _MOST_HANDLE, "no such handle")
        _require(referee not in self.referees, "appointed before")
        _require(len(self.referees) < MOST_REFEREES, "too many referees")
        self.referees.add(referee)

    def record(self, buyer: int, seller: int, at: Instant, positive: bool) -> Rated:
        """One rating, of a buyer that bought; both are handles of the Registry, from 1.

        Raises:
            ValueError: the contract's reason to refuse.
        """
        _require(0 < buyer <= _MOST_HANDLE and 0 < seller <= _MOST_HANDLE, "no such handle")
        _require(buyer != seller, "rates itself")
        _require(at <= _MOST_NUMBER, "time out of bounds")
        period = self._find_period(at)
        events = self._events[buyer, seller]
        before = events.get(period, Count(0, 0))
        _require(before.all < MOST_RATINGS, "too many ratings in a period")
        self.latest = at
        events[period] = Count(before.positive + positive, before.all + 1)
        for past in [past for past in events if past + MOST_PERIODS <= period]:
            del events[past]
        _take_seat(self.buyers, _Seat(buyer in self.referees, period, buyer), MOST_BUYERS)
        _take_seat(self.sellers, _Seat(False, period, seller), MOST_SELLERS)
        count = self._count(buyer, seller, period)
        uploaded = count.value
        if self.rules.mode is Mode.AS_WRITTEN:
            uploaded, _ = self._integrate(buyer, seller, period)
            self._uploads[buyer, seller] = uploaded
        return Rated(count.positive, count.all, uploaded)

    # ---- views: each raises ``ValueError`` for a time before the last rating ------------------------------------

    def counts(self, buyer: int, seller: int, at: Instant) -> Count:
        """Events of a buyer with a seller in the window."""
        return self._count(buyer, seller, self._find_period(at))

    def direct(self, buyer: int, seller: int, at: Instant) -> tuple[Ppm, bool]:
        """D, ppm, and whether there are events."""
        count = self.counts(buyer, seller, at)
        return Ppm(count.value), count.all > 0

    def trust(self, buyer: int, other: int, at: Instant) -> Agreement:
        """Trust of a buyer in another one."""
        period = self._find_period(at)
        return compare(self._row(buyer, period), self._row(other, period), self.rules)

    def integrated(self, buyer: int, seller: int, at: Instant) -> tuple[Ppm, bool]:
        """r, ppm: what a buyer makes of a seller by all it knows; the prior, and False, where it knows nothing."""
        value, is_defined = self._integrate(buyer, seller, self._find_period(at))
        return Ppm(value), is_defined

    def uploaded(self, buyer: int, seller: int, at: Instant) -> tuple[Ppm, bool]:
        """What others take from a buyer about a seller, ppm, and whether there is anything."""
        said = self._said(buyer, seller, self._find_period(at))
        return Ppm(said or 0), said is not None

    def voices(self, at: Instant) -> Voices:
        """What buyers weigh in market-wide reputations."""
        return self._weigh(self._find_period(at))

    def reputations(self, sellers: Sequence[int], at: Instant) -> list[Ppm]:
        """Market-wide reputations, ppm, in the order asked: what an auction freezes."""
        period = self._find_period(at)
        if self.rules.mode is Mode.AS_WRITTEN:
            return [Ppm(self._find_median(seller, period)) for seller in sellers]
        voices = self._weigh(period)
        return [Ppm(self._hear(seller, voices, period)) for seller in sellers]

    # ---- parts --------------------------------------------------------------------------------------------------

    def _find_period(self, at: Instant) -> int:
        _require(at >= self.latest, "time runs backwards")
        _require(at // self.rules.period <= _MOST_PERIOD, "time out of bounds")
        return at // self.rules.period

    def _count(self, buyer: int, seller: int, period: int) -> Count:
        positive = all_ = 0
        for past, count in self._events.get((buyer, seller), {}).items():
            if past + self.rules.periods > period:
                positive, all_ = positive + count.positive, all_ + count.all
        return Count(positive, all_)

    def _count_row(self, buyer: int, period: int) -> dict[int, Count]:
        """Events with each seated seller; those without are left out."""
        counts = {seat.handle: self._count(buyer, seat.handle, period) for seat in self.sellers}
        return {seller: count for seller, count in counts.items() if count.all}

    def _row(self, buyer: int, period: int) -> dict[int, int]:
        return {seller: count.value for seller, count in self._count_row(buyer, period).items()}

    def _said(self, buyer: int, seller: int, period: int) -> int | None:
        """What a buyer uploaded of a seller; None where its events are all past."""
        count = self._count(buyer, seller, period)
        if not count.all:
            return None
        return self._uploads[buyer, seller] if self.rules.mode is Mode.AS_WRITTEN else count.value

    def _find_present(self, period: int) -> list[int]:
        """Seated buyers that rated within the window."""
        return [seat.handle for seat in self.buyers if seat.period + self.rules.periods > period]

    def _integrate(self, buyer: int, seller: int, period: int) -> tuple[int, bool]:
        own, count = self._row(buyer, period), self._count(buyer, seller, period)
        terms = [(self.rules.direct, count.value)] if count.all else []
        trusts, trusted, heard = 0, 0, []
        for other in self._find_present(period):
            said = None if other == buyer else self._said(other, seller, period)
            if said is None:
                continue
            agreement = compare(own, self._row(other, period), self.rules)
            if agreement.is_friend:
                trusts, trusted = trusts + agreement.trust, trusted + agreement.trust * said
            else:
                heard.append(said)
        if trusts:
            terms.append((self.rules.recommended, trusted // trusts))
        if heard:
            terms.append((self.rules.referenced, sum(heard) // len(heard)))
        weights = sum(weight for weight, _ in terms)
        if not weights:
            return self.rules.prior, False
        return sum(weight * value for weight, value in terms) // weights, True

    def _find_median(self, seller: int, period: int) -> int:
        """As written: the lower median of what was uploaded."""
        said = [
            value for seat in self.buyers if (value := self._said(seat.handle, seller, period)) is not None
        ]
        return sorted(said)[(len(said) - 1) // 2] if said else self.rules.prior

    def _weigh(self, period: int) -> Voices:
        rows = {buyer: self._count_row(buyer, period) for buyer in self._find_present(period)}
        judges = [buyer for buyer in rows if buyer in self.referees]
        weights = {buyer: MILLION * (not judges or buyer in judges) for buyer in rows}
        strangers: list[int] = []
        for _ in range(ROUNDS):
            sums = _add_up(rows, weights)
            compared = {
                buyer: compare(
                    {seller: count.value for seller, count in row.items()},
                    _leave_out(row, weights[buyer], sums),
                    self.rules,
                )
                for buyer, row in rows.items()
                if buyer not in judges
            }
            weights |= {buyer: agreement.trust for buyer, agreement in compared.items()}
            strangers = [buyer for buyer, agreement in compared.items() if not agreement.is_friend]
        return Voices(weights, frozenset(strangers))

    def _hear(self, seller: int, voices: Voices, period: int) -> int:
        counts = {buyer: self._count(buyer, seller, period) for buyer in voices.weights}
        foreign = [counts[buyer] for buyer in voices.strangers]
        said = [
            (voices.weights[buyer], count) for buyer, count in counts.items() if buyer not in voices.strangers
        ]
        said.append(
            (
                self.rules.referenced,
                Count(sum(count.positive for count in foreign), sum(count.all for count in foreign)),
            )
        )
        shares = [(weight * count.evidence // MILLION, count.value) for weight, count in said]
        mass = self.rules.strength + sum(share for share, _ in shares)
        if not mass:
            return self.rules.prior
        return (
            self.rules.strength * self.rules.prior + sum(share * value for share, value in shares)
        ) // mass


def _add_up(
    rows: Mapping[int, Mapping[int, Count]], weights: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """By seller: the weight of all voices, and the sum of their weighed values."""
    sums: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for buyer, row in rows.items():
        for seller, count in row.items():
            share = weights[buyer] * count.evidence // MILLION
            mass, total = sums[seller]
            sums[seller] = mass + share, total + share * count.value
    return sums


def _leave_out(row: Mapping[int, Count], weight: int, sums: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """The others' weighed mean of each seller that a buyer rated, where any of them has a weight."""
    means = {}
    for seller, count in row.items():
        share = weight * count.evidence // MILLION
        mass, total = sums[seller]
        if mass > share:
            means[seller] = (total - share * count.value) // (mass - share)
    return means


def _take_seat(seats: list[_Seat], taken: _Seat, most: int) -> None:
    """A participant's own seat, a free one, or that of whoever was not seen for longest and is no referee."""
    place = next((i for i, seat in enumerate(seats) if seat.handle == taken.handle), None)
    if place is None and len(seats) < most:
        seats.append(taken)
        return
    if place is None:
        place = min(range(len(seats)), key=lambda i: seats[i].rank)
    seats[place] = taken


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)

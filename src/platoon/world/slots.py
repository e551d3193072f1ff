"""Who sends when: slots of the sidelink band that all devices share, and each RSU's cellular band.

The schedule is made by one hand, as in NR sidelink mode 1, where the network grants every transmission (TS 38.331,
38.214). A transmission has the whole band for as many slots on end as its bits need. It gets the first slots that
are free for it, and is never moved again. A device sends or receives, one message at a time (half duplex); two
transmissions share a slot only where each sender is farther than the interference range from the other's receiver
(the protocol model of Gupta and Kumar, IEEE Trans. Inf. Theory 46(2), 2000). Cellular transfers of one RSU follow
each other, up and down apart from each other (frequency duplex).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from platoon.nouns import SECOND, Duration, Floats, Instant

Place = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One transmission of a message on its way, between nodes (``platoon.world.links``)."""

    sender: int
    receiver: int
    rate: float
    """bit/s with the whole band."""
    places: tuple[Place, Place]
    """Where sender and receiver are, metres."""
    cell: int = -1
    """RSU whose cellular band carries it; -1: the sidelink."""
    is_uplink: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A transmission with its time on the air."""

    hop: Hop
    begins: Instant
    ends: Instant


class Timetable:
    """What is booked. Bookings that are over are forgotten."""

    def __init__(self, slot: Duration, interference_m: float, cellular_delay: Duration) -> None:
        self._slot, self._interference_m, self.cellular_delay = slot, interference_m, cellular_delay
        self.booked: list[Booking] = []

    def clear(self) -> None:
        """Forget everything, also what lies ahead."""
        self.booked = []

    def forget(self, now: Instant) -> None:
        """Forget what is over."""
        self.booked = [booking for booking in self.booked if booking.ends > now]

    def compute_length(self, hop: Hop, bits: int) -> Duration:
        """Time on the air that a message takes over a hop: whole slots, or its bits over a cellular rate."""
        air = math.ceil(bits / hop.rate * SECOND)
        return Duration(air if hop.cell >= 0 else max(1, -(-air // self._slot)) * self._slot)

    def compute_lengths(self, rates: Floats, bits: int) -> Floats:
        """Microseconds on the air over sidelinks of these rates: whole slots; infinite at rate 0."""
        with np.errstate(divide="ignore"):
            slots = np.ceil(np.ceil(bits / rates * SECOND) / self._slot)
        return np.asarray(np.maximum(slots, 1.0) * self._slot)

    def compute_duration(self, hops: Sequence[Hop], bits: int) -> Duration:
        """Time that a message takes over these hops where nobody else sends."""
        delays = self.cellular_delay * sum(hop.cell >= 0 for hop in hops)
        return Duration(delays + sum(self.compute_length(hop, bits) for hop in hops))

    def book(self, hops: Sequence[Hop], bits: int, at: Instant) -> tuple[Booking, ...]:
        """Book a message over its hops, one after the other, from ``at`` on; it arrives with the last one's end."""
        bookings = []
        for hop in hops:
            length = self.compute_length(hop, bits)
            begins = self._find_gap(hop, length, at)
            at = Instant(begins + length)
            bookings.append(Booking(hop=hop, begins=begins, ends=at))
        self.booked += bookings
        return tuple(bookings)

    def _find_gap(self, hop: Hop, length: Duration, at: Instant) -> Instant:
        is_cellular = hop.cell >= 0
        begins = at + self.cellular_delay if is_cellular else -(-at // self._slot) * self._slot
        clashes = [booking for booking in self.booked if self.clash(booking.hop, hop)]
        for booking in sorted(clashes, key=lambda booking: booking.begins):
            if begins + length <= booking.begins:
                break
            begins = max(begins, booking.ends)
        return Instant(begins)

    def clash(self, one: Hop, other: Hop) -> bool:
        """Whether two transmissions cannot be on the air at the same time."""
        if one.cell >= 0 or other.cell >= 0:
            return (one.cell, one.is_uplink) == (other.cell, other.is_uplink)
        if {one.sender, one.receiver} & {other.sender, other.receiver}:
            return True
        gaps = _measure(one.places[0], other.places[1]), _measure(other.places[0], one.places[1])
        return min(gaps) <= self._interference_m


def total_air(bookings: Iterable[Booking]) -> Duration:
    """Time on the air, summed."""
    return Duration(sum(booking.ends - booking.begins for booking in bookings))


def _measure(a: Place, b: Place) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])

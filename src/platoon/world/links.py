"""Links of the local chains at one instant: which way a message takes between two devices, and when it arrives.

A *node* is a device: vehicles by their id, then the RSUs (each with its edge server). A message goes

1. straight over the sidelink (D2D) where receiver and sender are within range and the SNR is usable;
2. else over other vehicles, light devices included, where that is faster than cellular on free bands, or where
   there is no cellular;
3. else by cellular: up to the RSU that serves the vehicle, over the wire that joins the RSUs, and down from the one
   that serves the other vehicle;
4. else it is lost: somebody has driven away.

Relays are looked for among the ``NEIGHBOURS`` vehicles that make the smallest detour. Of the ways with at most
``sidelink.hops`` hops the one of least time on the air is taken, then of fewest hops, then of lowest ids. Messages
that are sent at one instant are booked in order of sender, receiver and size, however they are handed over. What
the model leaves out is said in ``docs/ledger/links.md``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from platoon.nouns import Bools, EdgeServerId, Floats, Instant, Ints, VehicleId, seconds
from platoon.physics.compute import compute_transmit_joules
from platoon.physics.roads import RoadMap
from platoon.scenario import Scenario
from platoon.world.radio import Channel
from platoon.world.sidelink import SidelinkChannel
from platoon.world.slots import Booking, Hop, Place, Timetable, total_air

LinkKind = Literal["d2d", "relayed", "cellular", "lost"]
NEIGHBOURS = 8
"""Vehicles that are tried as relays of a message at most."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Parcel:
    """A message to be sent now."""

    sender: int
    """Node."""
    receiver: int
    """Node."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What became of a parcel."""

    link: LinkKind
    arrives: Instant | None
    """None where it is lost."""
    bookings: tuple[Booking, ...] = ()
    """Its transmissions."""
    joules: float = 0.0
    """Radiated by vehicles."""


_LOST = Transfer(link="lost", arrives=None)


class Links:
    """The links between all devices of a world, and the timetable of what they send."""

    def __init__(self, road_map: RoadMap, cellular: Channel, scenario: Scenario) -> None:
        config = scenario.sidelink
        self._config, self._radio = config, scenario.radio
        self._vehicles = scenario.fleet.vehicles
        self._cellular, self._sidelink = cellular, SidelinkChannel(road_map, scenario)
        self.timetable = Timetable(
            seconds(config.slot_ms / 1e3), config.interference_m, seconds(config.cellular_ms / 1e3)
        )
        self.look(np.zeros((self._vehicles, 2)), np.zeros(self._vehicles, dtype=np.bool_))

    def vehicle(self, vehicle: VehicleId) -> int:
        """The vehicle's node."""
        return int(vehicle)

    def rsu(self, edge_server: EdgeServerId) -> int:
        """The node of an edge server's RSU."""
        return self._vehicles + edge_server

    def look(self, positions: Floats, present: Bools) -> None:
        """Take the positions (N, 2) of the vehicles, and who is on the road (N,), from now on."""
        self._places = np.concatenate([positions, self._cellular.rsus])
        self._present = np.concatenate([present, np.ones(len(self._cellular.rsus), dtype=np.bool_)])
        self._rates = _RateTable()
        self._cells: dict[int, tuple[int, float]] = {}
        self._nearby: dict[tuple[int, int], tuple[int, ...]] = {}

    def send(self, parcels: Sequence[Parcel], now: Instant) -> tuple[Transfer, ...]:
        """Send messages; what became of each, in the order given."""
        self.timetable.forget(now)
        order = sorted(range(len(parcels)), key=lambda row: parcels[row])
        self._measure([(parcel.sender, parcel.receiver) for parcel in parcels])
        ways = self._find_ways([parcels[row] for row in order])
        transfers = [_LOST] * len(parcels)
        for row, (link, hops) in zip(order, ways, strict=True):
            if link != "lost":
                bookings = self.timetable.book(hops, 8 * parcels[row].size, now)
                transfers[row] = Transfer(
                    link=link, arrives=bookings[-1].ends, bookings=bookings, joules=self._spend(bookings)
                )
        return tuple(transfers)

    def sidelink_rate(self, one: int, other: int) -> float:
        """bit/s of the direct link between two nodes; 0 where there is none."""
        self._measure([(one, other)])
        return self._rates.get(one, other)

    # ---- ways -------------------------------------------------------------------------------------------------

    def _find_ways(self, parcels: Sequence[Parcel]) -> list[tuple[LinkKind, tuple[Hop, ...]]]:
        far = [parcel for parcel in parcels if not self._rates.get(parcel.sender, parcel.receiver)]
        if self._config.hops > 1:
            self._measure(self._find_neighbours(parcel) for parcel in far)
        relayed = {parcel: self._find_relays(parcel) for parcel in far}
        slow = [parcel for parcel in far if not self._is_fast(relayed[parcel], parcel)]
        self._attach({node for parcel in slow for node in (parcel.sender, parcel.receiver)})
        return [self._choose(parcel, relayed.get(parcel, ())) for parcel in parcels]

    def _choose(self, parcel: Parcel, relayed: tuple[Hop, ...]) -> tuple[LinkKind, tuple[Hop, ...]]:
        if self._rates.get(parcel.sender, parcel.receiver):
            return "d2d", (self._sidelink_hop(parcel.sender, parcel.receiver),)
        if self._is_fast(relayed, parcel):
            return "relayed", relayed
        bits, duration = 8 * parcel.size, self.timetable.compute_duration
        cellular = self._find_cellular(parcel)
        if relayed and (not cellular or duration(relayed, bits) < duration(cellular, bits)):
            return "relayed", relayed
        return ("cellular", cellular) if cellular else ("lost", ())

    def _is_fast(self, relayed: Sequence[Hop], parcel: Parcel) -> bool:
        """Whether a relayed way is there before a cellular one could begin: then that one need not be looked up."""
        longest = self.timetable.cellular_delay
        return bool(relayed) and self.timetable.compute_duration(relayed, 8 * parcel.size) <= longest

    def _find_neighbours(self, parcel: Parcel) -> tuple[int, ...]:
        """The two ends and the vehicles that could relay between them, ascending."""
        ends = (min(parcel.sender, parcel.receiver), max(parcel.sender, parcel.receiver))
        if ends not in self._nearby:
            self._nearby[ends] = self._look_around(list(ends))
        return self._nearby[ends]

    def _look_around(self, ends: list[int]) -> tuple[int, ...]:
        if not self._present[ends].all():
            return ()
        fleet = self._places[: self._vehicles]
        detour = sum(np.hypot(*(fleet - self._places[end]).T) for end in ends)
        usable = self._present[: self._vehicles] & (detour <= self._config.hops * self._config.range_m)
        usable[[end for end in ends if end < self._vehicles]] = False
        rows = np.flatnonzero(usable)
        nearest = rows[np.lexsort((rows, np.asarray(detour)[rows]))[:NEIGHBOURS]]
        return tuple(sorted([*ends, *nearest.tolist()]))

    def _find_relays(self, parcel: Parcel) -> tuple[Hop, ...]:
        """The hops of the way with least time on the air; none where no way has few enough hops."""
        nearby = self._find_neighbours(parcel) if self._config.hops > 1 else ()
        if len(nearby) < 3:
            return ()
        lengths = self.timetable.compute_lengths(self._rates.among(nearby), 8 * parcel.size)
        ends = nearby.index(parcel.sender), nearby.index(parcel.receiver)
        way = [nearby[row] for row in find_way(lengths, *ends, self._config.hops)]
        return tuple(self._sidelink_hop(one, other) for one, other in pairwise(way))

    def _find_cellular(self, parcel: Parcel) -> tuple[Hop, ...]:
        """Up where the sender is a vehicle, down where the receiver is; none where one of them is not served."""
        hops = []
        for node, is_uplink in ((parcel.sender, True), (parcel.receiver, False)):
            if node >= self._vehicles:
                continue
            cell, rate = self._cells[node]
            if cell < 0:
                return ()
            mast = self._vehicles + cell
            ends = (node, mast) if is_uplink else (mast, node)
            hops.append(self._hop(*ends, rate=rate, cell=cell, is_uplink=is_uplink))
        return tuple(hops)

    def _sidelink_hop(self, sender: int, receiver: int) -> Hop:
        return self._hop(sender, receiver, rate=self._rates.get(sender, receiver))

    def _hop(
        self, sender: int, receiver: int, *, rate: float, cell: int = -1, is_uplink: bool = False
    ) -> Hop:
        places = (self._place(sender), self._place(receiver))
        return Hop(sender=sender, receiver=receiver, rate=rate, places=places, cell=cell, is_uplink=is_uplink)

    def _place(self, node: int) -> Place:
        x, y = self._places[node].tolist()
        return x, y

    # ---- channels ---------------------------------------------------------------------------------------------

    def _measure(self, groups: Iterable[Sequence[int]]) -> None:
        """Look up the sidelinks between all nodes of each group that are not known yet."""
        nodes = self._rates.ask(groups)
        if not len(nodes):
            return
        ends, others = self._places[nodes[:, 0]], self._places[nodes[:, 1]]
        near = np.hypot(*(ends - others).T) <= self._config.range_m
        rows = np.flatnonzero(near & self._present[nodes].all(axis=1))
        met, pairs = np.unique(nodes[rows], return_inverse=True)
        is_rsu: Bools = met >= self._vehicles
        snr = self._sidelink.snr_db(self._places[met], is_rsu, pairs.reshape(-1, 2))
        rates = np.zeros(len(nodes))
        rates[rows] = self._sidelink.rate(snr)
        self._rates.keep(nodes, rates)

    def _attach(self, nodes: Iterable[int]) -> None:
        """Look up the RSU that serves each of these vehicles, and its rate."""
        rows = np.array(sorted({node for node in nodes if node < self._vehicles} - self._cells.keys()))
        if not len(rows):
            return
        places = self._places[rows]
        snr = self._cellular.snr_db(places, rows)
        serving = np.where(self._present[rows], self._cellular.serving(places, snr), -1)
        rates = self._cellular.rate(snr, rows)[np.arange(len(rows)), serving]
        for node, cell, rate in zip(rows.tolist(), serving.tolist(), rates.tolist(), strict=True):
            self._cells[node] = (cell, rate)

    def _spend(self, bookings: Iterable[Booking]) -> float:
        """Joules that vehicles radiate."""
        sent = [booking for booking in bookings if booking.hop.sender < self._vehicles]
        cellular = total_air(booking for booking in sent if booking.hop.cell >= 0) / 1e6
        sidelink = total_air(booking for booking in sent if booking.hop.cell < 0) / 1e6
        return float(
            compute_transmit_joules(self._radio.vehicle_dbm, cellular)
            + compute_transmit_joules(self._config.dbm, sidelink)
        )


class _RateTable:
    """Rates of the sidelinks that were looked up, as a square over the nodes that were asked about."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._rates = _unknown(64)

    def get(self, one: int, other: int) -> float:
        """bit/s; 0 where there is no link."""
        return float(self._rates[self._rows[one], self._rows[other]])

    def among(self, nodes: Sequence[int]) -> Floats:
        """(n, n) bit/s between these nodes."""
        rows = np.array([self._rows[node] for node in nodes])
        return np.asarray(self._rates[rows[:, None], rows])

    def ask(self, groups: Iterable[Sequence[int]]) -> Ints:
        """(P, 2) pairs of nodes within a group whose rates are not known, each once, the lower node first."""
        groups = [group for group in groups if not self._knows(group)]
        if not groups:
            return np.zeros((0, 2), dtype=np.int64)
        for node in {node for group in groups for node in group} - self._rows.keys():
            self._rows[node] = len(self._rows)
        if len(self._rows) > len(self._rates):
            known, self._rates = self._rates, _unknown(2 * len(self._rows))
            self._rates[: len(known), : len(known)] = known
        wanted = np.zeros(self._rates.shape, dtype=np.bool_)
        for group in groups:
            rows = np.array([self._rows[node] for node in group])
            wanted[rows[:, None], rows] = True
        names = np.array(list(self._rows), dtype=np.int64)
        pairs = names[np.argwhere(wanted & np.isnan(self._rates))]
        return np.asarray(pairs[pairs[:, 0] < pairs[:, 1]])

    def keep(self, nodes: Ints, rates: Floats) -> None:
        """Take the rates (P,) of these pairs (P, 2), for both directions."""
        ones, others = ([self._rows[node] for node in column] for column in nodes.T.tolist())
        self._rates[ones, others] = self._rates[others, ones] = rates

    def _knows(self, group: Sequence[int]) -> bool:
        rows = np.array([self._rows.get(node, -1) for node in group], dtype=np.int64)
        return bool((rows >= 0).all()) and not np.isnan(self._rates[rows[:, None], rows]).any()


def _unknown(size: int) -> Floats:
    """(size, size) rates that nobody looked up yet; 0 from a device to itself."""
    rates = np.full((size, size), np.nan)
    np.fill_diagonal(rates, 0.0)
    return rates


def find_way(lengths: Floats, source: int, target: int, hops: int) -> tuple[int, ...]:
    """Rows on the shortest way from source to target of at most so many hops, then the one of fewest hops; () where
    there is none. ``lengths`` (n, n) > 0; infinite where there is no link.

    >>> find_way(np.array([[np.inf, 1.0, 5.0], [1.0, np.inf, 1.0], [5.0, 1.0, np.inf]]), 0, 2, 2)
    (0, 1, 2)
    """
    best = np.full(len(lengths), np.inf)
    best[source] = 0.0
    frontier, parents, last = best.copy(), [], 0
    for count in range(1, hops + 1):
        reached = frontier[:, None] + lengths
        shortest = reached.min(axis=0)
        parents.append(reached.argmin(axis=0))
        better = shortest < best
        frontier = np.where(better, shortest, np.inf)
        best = np.minimum(best, shortest)
        last = count if better[target] else last
    way = [target] if last else []
    for before in reversed(parents[:last]):
        way.append(int(before[way[-1]]))
    return tuple(reversed(way))

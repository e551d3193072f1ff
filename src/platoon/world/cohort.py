"""The vehicles that take part in a round: they compute, then upload over a band that they share.

An RSU's band is divided equally among the uploads that it serves at a moment. Between two moments at which
something changes (an upload begins or ends, the second is over and vehicles have moved) all rates are constant, so
the next change is computed, not searched for: no step size, and times are exact to the microsecond.
"""

from dataclasses import dataclass

import numpy as np

from platoon.nouns import SECOND, Bools, EdgeServerId, Floats, Instant, Ints, VehicleId

HYSTERESIS_DB = 3.0
"""A vehicle changes its RSU when another is better by this much (as a handover in LTE does), or on losing it."""
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An update that has reached an edge server."""

    vehicle: VehicleId
    edge_server: EdgeServerId
    at: Instant
    compute_s: float
    """Seconds of local training."""
    upload_s: float
    """Seconds from the end of training to the arrival, waiting for coverage included."""
    energy_j: float
    """Joules of training and transmission."""
    handovers: int
    """Changes of the serving RSU since the training began."""


class Cohort:
    """Columns over the vehicles in flight (K), in order of vehicle id."""

    vehicle: Ints
    started: Ints
    """(K,) instant at which training began."""
    computed: Ints
    """(K,) instant at which training ends."""
    cycles: Floats
    bits: Floats
    """(K,) still to upload."""
    air: Ints
    """(K,) microseconds on the air so far."""
    edge_server: Ints
    """(K,) RSU that serves now, or served last while ``in_service`` is False; -1 before the first."""
    in_service: Bools
    handovers: Ints
    rate: Floats
    """(K,) bit/s with the whole band to itself; 0 out of service."""

    def __init__(self) -> None:
        self.vehicle = np.empty(0, dtype=np.int64)
        self.started, self.computed, self.air, self.edge_server, self.handovers = (
            np.empty(0, dtype=np.int64) for _ in range(5)
        )
        self.cycles, self.bits, self.rate = (np.empty(0) for _ in range(3))
        self.in_service = np.empty(0, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.vehicle)

    def add(self, vehicle: int, started: Instant, computed: Instant, cycles: float, bits: float) -> None:
        """Let a vehicle take part; it uploads once ``attach`` has told its link."""
        place = int(np.searchsorted(self.vehicle, vehicle))
        if place < len(self) and self.vehicle[place] == vehicle:
            raise ValueError(f"vehicle {vehicle} takes part already")
        values = {
            "vehicle": vehicle,
            "started": started,
            "computed": computed,
            "cycles": cycles,
            "bits": bits,
        }
        values |= {"air": 0, "edge_server": -1, "in_service": False, "handovers": 0, "rate": 0.0}
        for name, value in values.items():
            setattr(self, name, np.insert(vars(self)[name], place, value))

    def remove(self, rows: Bools) -> None:
        """Let go of vehicles; ``rows`` is a mask (K,)."""
        for name, column in vars(self).items():
            setattr(self, name, column[~rows])

    def attach(self, snr_db: Floats, usable: Bools, rate: Floats) -> None:
        """Choose everybody's RSU by the links (K, R) of this second: SNR, whether it can serve, full rate.

        Choosing twice by the same links changes nothing.
        """
        rows = np.arange(len(self))
        offered = np.where(usable, snr_db, -np.inf)
        best = np.argmax(offered, axis=1)
        kept = np.maximum(self.edge_server, 0)
        stays = (self.edge_server >= 0) & usable[rows, kept]
        stays &= offered[rows, best] < offered[rows, kept] + HYSTERESIS_DB
        chosen = np.where(stays, kept, best)
        self.in_service = np.asarray(usable.any(axis=1))
        moved = self.in_service & (self.edge_server >= 0) & (chosen != self.edge_server)
        self.handovers = self.handovers + moved
        self.edge_server = np.where(self.in_service, chosen, self.edge_server)
        self.rate = np.where(self.in_service, rate[rows, chosen], 0.0)

    def find_sending(self, now: Instant) -> Bools:
        """(K,) who uploads at ``now``."""
        return (self.computed <= now) & self.in_service

    def next_begin(self, now: Instant) -> Instant:
        """When the next upload begins after ``now``; the end of time where none does."""
        return Instant(int(np.min(self.computed[self.computed > now], initial=NEVER)))

    def run(self, now: Instant, end: Instant) -> tuple[Instant, Bools]:
        """Go on until the first upload is done, at most until ``end``; rates stay as they are.

        Returns the instant reached and the mask (K,) of the uploads that are done then.
        """
        while True:
            uploading = (self.computed <= now) & (self.rate > 0.0)
            shared = self._share(uploading)
            done_at = np.full(len(self), NEVER)
            needed = np.ceil(self.bits[uploading] / shared[uploading] * SECOND)
            done_at[uploading] = now + np.minimum(needed, end - now + 1).astype(np.int64)
            begins = self.computed[self.computed > now]
            then = min([end, *done_at.tolist(), *begins.tolist()])
            self.bits = np.maximum(self.bits - shared * ((then - now) / SECOND), 0.0)
            self.air = self.air + np.where(uploading, then - now, 0)
            done = done_at == then
            now = Instant(then)
            if done.any() or now >= end:
                return now, done

    def _share(self, uploading: Bools) -> Floats:
        """(K,) bit/s that each upload gets of its RSU's band now."""
        users = np.bincount(self.edge_server[uploading], minlength=1)
        counts = users[np.clip(self.edge_server, 0, len(users) - 1)]
        return np.where(uploading, self.rate / np.maximum(counts, 1), 0.0)

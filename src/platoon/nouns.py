"""The nouns of platoon: identities, quantities, and the frozen values that cross folder borders.

Inside a folder, N vehicles are columns (a struct of arrays with stable rows); a record is made at the border
(STYLE 6 and 7). Row number and vehicle id are the same thing: vehicle 7 is row 7 of every column.
"""

from dataclasses import dataclass
from typing import NewType

import numpy as np
from numpy.typing import NDArray

VehicleId = NewType("VehicleId", int)
EdgeServerId = NewType("EdgeServerId", int)
Instant = NewType("Instant", int)
"""Microseconds of simulated time since the scenario began."""
Duration = NewType("Duration", int)
"""Microseconds."""
Tokens = NewType("Tokens", int)
"""10^-6 token."""
Ppm = NewType("Ppm", int)
"""Parts per million: scores and reputations."""
Digest = NewType("Digest", bytes)
"""32 bytes: SHA-256 of stored contents, Keccak-256 of structures that a contract checks."""
Address = NewType("Address", bytes)
"""20 bytes: an account on the ledger."""

SECOND = 1_000_000
"""Microseconds in a second."""
MILLION = 1_000_000
"""Parts per million in one."""

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
"""Model parameters or an update, flat: (D,), or (K, D) for a cohort."""
FixedPoint = NDArray[np.int32]
"""Parameters scaled by 2^24 and rounded: (D,) or (K, D). What is signed, stored and summed."""
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def seconds(value: float) -> Duration:
    """A duration from seconds, rounded to the microsecond.

    >>> seconds(1.5)
    1500000
    """
    return Duration(round(value * SECOND))


def to_ppm(value: float) -> Ppm:
    """Parts per million, rounded to nearest (ties to even).

    >>> to_ppm(0.3)
    300000
    """
    return Ppm(round(value * MILLION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What the RSUs measured of the fleet at one instant. Nothing in it is reported by a vehicle.

    Rows are vehicles (N), columns RSUs (R). NaN where an RSU does not hear a vehicle, or does not measure that.
    """

    at: Instant
    rsrp_dbm: Floats
    """(N, R) power that an RSU receives of a vehicle's reference signal, per subcarrier, dBm; steps of 1 dB."""
    sinr_db: Floats
    """(N, R) signal over noise and interference, dB; steps of 0.5 dB, from -23 to 40 dB."""
    cqi: Ints
    """(N, R) channel quality indicator by the SINR, 0 (out of range, or not heard) to 15."""
    arrival_ns: Floats
    """(N, R) when a vehicle's signal arrived, by the RSU's own clock, nanoseconds after ``at``. When the vehicle
    sent it nobody knows: only differences between RSUs mean anything."""
    reference_ns: Floats
    """(R, R) flight times of the reference signals among RSUs by their own clocks: row sends, column hears."""
    ranging_rsu: Ints
    """(N,) the RSU that measured range and angle; -1 where none did."""
    range_m: Floats
    """(N,) half the round trip between that RSU's antenna and the vehicle's, metres."""
    angle_rad: Floats
    """(N,) direction in which that RSU receives the vehicle, radians counter-clockwise from east."""
    position: Floats
    """(N, 2) metres: positions that the infrastructure measured as such (cameras, say)."""

    @property
    def heard(self) -> Bools:
        """(N,) an RSU received the vehicle's signal."""
        return np.asarray(np.isfinite(self.rsrp_dbm).any(axis=1))

    @classmethod
    def nothing(cls, at: Instant, vehicles: int, rsus: int) -> "Measurements":
        """An instant at which nobody was heard; ``dataclasses.replace`` puts in what was measured.

        >>> bool(Measurements.nothing(Instant(0), 3, 2).heard.any())
        False
        """
        links, alone = np.full((vehicles, rsus), np.nan), np.full(vehicles, np.nan)
        return cls(
            at=at,
            rsrp_dbm=links,
            sinr_db=links,
            cqi=np.zeros((vehicles, rsus), dtype=np.int64),
            arrival_ns=links,
            reference_ns=np.full((rsus, rsus), np.nan),
            ranging_rsu=np.full(vehicles, -1),
            range_m=alone,
            angle_rad=alone,
            position=np.full((vehicles, 2), np.nan),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestations:
    """Answers to the calibrated task of DTB-FL 3.2.3, timed at the edge server."""

    at: Instant
    asked: Bools
    """(N,) the vehicle was in coverage and got a challenge."""
    passed: Bools
    """(N,) right answer within the deadline."""
    cpu_hz: Floats
    """(N,) cycles of the task over the measured time, round trip subtracted; NaN where not passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """What the twin expects of every vehicle over the coming round. Rows are vehicles (N)."""

    at: Instant
    horizon: Duration
    """The deadline of the round that was forecast."""
    known: Bools
    """(N,) the twin holds a state that is recent enough to forecast from."""
    attested: Bools
    """(N,) the last compute attestation succeeded."""
    edge_server: Ints
    """(N,) RSU (and edge server) with the best measured SNR now; -1 out of service."""
    measured_rate: Floats
    """(N,) uplink bit/s by the last measurement (what VEC-FL selects by)."""
    rate: Floats
    """(N,) forecast uplink bit/s at the time of upload, for a full share of the bandwidth."""
    cpu_hz: Floats
    """(N,) forecast cycles per second."""
    position: Floats
    """(N, 2) forecast position at ``horizon``, metres."""
    position_sigma: Floats
    """(N,) its standard deviation per axis, metres; NaN where nothing is known."""
    finish_probability: Floats
    """(N,) probability that the update arrives within ``horizon``."""
    finish_seconds: Floats
    """(N,) expected seconds from dispatch to arrival, if it arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of the chosen vehicles, timed at edge servers (DTB-FL phase 6). Rows: cohort (K)."""

    round: int
    vehicles: Ints
    """(K,)"""
    arrived: Bools
    """(K,)"""
    seconds: Floats
    """(K,) arrival minus dispatch; NaN where nothing arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One edge server's judgement of a cohort."""

    values: Floats
    """(K,) score of each update; the range depends on the rule (eq. 11: [-1, 1], probe scores: [0, 1])."""
    evidence: float
    """[0, 1]: how far the model can tell honest from malicious at all now; 0 moves no reputation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUpdate:
    """An update as it is announced: the vehicle's EIP-712 signature binds everything but the weights' bytes,
    which the digest stands for."""

    task: Digest
    round: int
    vehicle: Address
    digest: Digest
    """SHA-256 of the stored update."""
    samples: int
    """Size of the local data set."""
    signature: bytes
    """65 bytes: r, s, v (27 or 28)."""

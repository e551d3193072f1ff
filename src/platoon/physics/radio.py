"""Laws of the radio channel: path loss, link budget, and rate from signal-to-noise ratio.

Path loss is 3GPP TR 38.901, Table 7.4.1-1, urban micro street canyon (UMi), line of sight (LOS) and not
(NLOS), with the breakpoint distance; shadow deviations are of the same table, decorrelation distances of Table
7.5-6. Steps and ranges of measurements are those of reports in TS 38.133, 10.1.6 (RSRP) and 10.1.16 (SINR): defined
for the downlink, and taken for the RSUs' uplink measurements too. CQI efficiencies are 3GPP TS 36.213, Table
7.2.3-1; the SNR thresholds at a block error rate of 10 % are customary in simulators, not part of the standard.
World and twin share these laws, and differ in the state.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from platoon.nouns import Bools, Floats, Ints

RateLaw = Literal["cqi", "shannon"]

SPEED_OF_LIGHT = 3.0e8
"""m/s, as the standard rounds it for the breakpoint."""
METRES_PER_NS = 0.299792458
"""Light in a nanosecond, exactly: for times of flight."""
VEHICLE_HEIGHT_M = 1.5
SHADOW_SIGMA_LOS_DB = 4.0
SHADOW_SIGMA_NLOS_DB = 7.82
SHADOW_DECORRELATION_LOS_M = 10.0
SHADOW_DECORRELATION_NLOS_M = 13.0
THERMAL_NOISE_DBM_PER_HZ = -174.0
SUBCARRIER_HZ = 15_000.0
"""Reference signals are measured per subcarrier (TS 36.211 and TS 38.211, numerology 0)."""
USABLE_SHARE = 0.75
"""Share of the bandwidth left for data after control signals and pilots."""

CQI_THRESHOLD_DB: Floats = np.array(
    [-6.7, -4.7, -2.3, 0.2, 2.4, 4.3, 5.9, 8.1, 10.3, 11.7, 14.1, 16.3, 18.7, 21.0, 22.7]
)
"""(15,) least SNR of CQI 1 to 15, dB."""
CQI_EFFICIENCY: Floats = np.append(
    [0.0, 0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766],
    [1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547],
)
"""(16,) bit/s/Hz of CQI 0 (out of range) to 15."""
MINIMUM_SNR_DB = float(CQI_THRESHOLD_DB[0])
"""Below the lowest CQI there is no service, whatever law gives the rate."""


def compute_path_loss_db(
    distance_m: ArrayLike,
    line_of_sight: Bools | bool,
    carrier_ghz: float,
    rsu_height_m: float = 10.0,
    vehicle_height_m: float = VEHICLE_HEIGHT_M,
) -> Floats:
    """Path loss in dB of links with horizontal ``distance_m``; the shapes of the arguments broadcast.

    >>> float(compute_path_loss_db(100.0, True, 5.9).round(3))
    89.85
    """
    horizontal = np.asarray(distance_m, dtype=np.float64)
    los = compute_los_path_loss_db(horizontal, carrier_ghz, rsu_height_m, vehicle_height_m)
    distance = np.hypot(horizontal, rsu_height_m - vehicle_height_m)
    blocked = (
        35.3 * np.log10(distance)
        + 22.4
        + 21.3 * np.log10(carrier_ghz)
        - 0.3 * (vehicle_height_m - VEHICLE_HEIGHT_M)
    )
    return np.where(line_of_sight, los, np.maximum(los, blocked))


def compute_los_path_loss_db(
    distance_m: ArrayLike, carrier_ghz: float, rsu_height_m: float, vehicle_height_m: float
) -> Floats:
    """UMi street canyon path loss with line of sight, dB: slope 21 up to the breakpoint, 40 beyond."""
    horizontal: Floats = np.asarray(distance_m, dtype=np.float64)
    rise = rsu_height_m - vehicle_height_m
    distance: Floats = np.hypot(horizontal, rise)
    carrier = 32.4 + 20.0 * float(np.log10(carrier_ghz))
    breakpoint_m = compute_breakpoint_m(carrier_ghz, rsu_height_m, vehicle_height_m)
    near = carrier + 21.0 * np.log10(distance)
    far = carrier + 40.0 * np.log10(distance) - 9.5 * float(np.log10(breakpoint_m**2 + rise**2))
    return np.where(horizontal <= breakpoint_m, near, far)


def compute_breakpoint_m(carrier_ghz: float, rsu_height_m: float, vehicle_height_m: float) -> float:
    """d'BP = 4 (hBS - 1)(hUT - 1) fc / c, metres; at least 1 m, for antennas at the height of the street."""
    heights = (rsu_height_m - 1.0) * (vehicle_height_m - 1.0)
    return max(1.0, 4.0 * heights * carrier_ghz * 1e9 / SPEED_OF_LIGHT)


def compute_shadow_sigma_db(line_of_sight: Bools) -> Floats:
    """Standard deviation of the shadowing of each link, dB."""
    return np.where(line_of_sight, SHADOW_SIGMA_LOS_DB, SHADOW_SIGMA_NLOS_DB)


def compute_noise_dbm(bandwidth_hz: float, noise_figure_db: float) -> float:
    """Thermal noise in the band plus the receiver's own, dBm.

    >>> round(compute_noise_dbm(20e6, 5.0), 1)
    -96.0
    """
    return THERMAL_NOISE_DBM_PER_HZ + 10.0 * float(np.log10(bandwidth_hz)) + noise_figure_db


def compute_snr_db(path_loss_db: Floats, transmit_dbm: float, gain_db: float, noise_dbm: float) -> Floats:
    """Link budget: transmit power plus antenna gains, less path loss (with shadow) and noise, dB."""
    return transmit_dbm + gain_db - noise_dbm - path_loss_db


def compute_interference(snr_db: Floats, rsu: Ints, sending: Bools) -> Floats:
    """(R,) interference over noise at each RSU, from uploads (K) that it does not serve.

    ``snr_db`` (K, R) over the whole band, ``rsu`` (K,) that serves each. The uploads of a cell share its band in
    equal parts, so each other cell disturbs by the mean of its uploads' powers.

    >>> snr_db = np.array([[20.0, 0.0], [20.0, 10.0]])
    >>> compute_interference(snr_db, np.array([0, 0]), np.array([True, True])).tolist()
    [0.0, 5.5]
    """
    power: Floats = np.power(10.0, snr_db / 10.0)
    total = np.zeros(snr_db.shape[1])
    for cell in np.unique(rsu[sending]):
        heard = power[sending & (rsu == cell)].mean(axis=0)
        heard[cell] = 0.0
        total += heard
    return total


def compute_sinr_db(snr_db: Floats, interference: Floats) -> Floats:
    """(..., R) SNR less the rise of the noise by ``interference`` (R,), as a ratio to the noise."""
    rise: Floats = 10.0 * np.log10(1.0 + interference)
    return snr_db - rise


def compute_cqi(snr_db: ArrayLike) -> Ints:
    """Channel quality indicator 0 (out of range) to 15; not-a-number counts as out of range.

    >>> compute_cqi([-7.0, -6.7, 0.0, 30.0]).tolist()
    [0, 1, 3, 15]
    """
    snr = np.asarray(snr_db, dtype=np.float64)
    return np.searchsorted(CQI_THRESHOLD_DB, np.nan_to_num(snr, nan=-np.inf), side="right").astype(np.int64)


def compute_efficiency(snr_db: ArrayLike, law: RateLaw = "cqi") -> Floats:
    """Spectral efficiency in bit/s/Hz of the band: 0.75 of the CQI's, or log2(1 + SNR) (eq. 1 of DTB-FL)."""
    if law == "cqi":
        return USABLE_SHARE * CQI_EFFICIENCY[compute_cqi(snr_db)]
    snr: Floats = np.power(10.0, np.asarray(snr_db, dtype=np.float64) / 10.0)
    return np.log2(1.0 + snr)


def compute_rate(snr_db: ArrayLike, bandwidth_hz: float, law: RateLaw = "cqi") -> Floats:
    """Bit/s of links that have ``bandwidth_hz`` for themselves; shape of ``snr_db``.

    >>> compute_rate([-10.0, 0.0, 30.0], 20e6).tolist()
    [0.0, 5655000.0, 83320500.0]
    """
    return bandwidth_hz * compute_efficiency(snr_db, law)


def compute_subcarrier_noise_dbm(noise_figure_db: float) -> float:
    """Noise within one subcarrier, dBm: RSRP less this is the SNR, at equal power in all subcarriers.

    >>> round(compute_subcarrier_noise_dbm(5.0), 1)
    -127.2
    """
    return compute_noise_dbm(SUBCARRIER_HZ, noise_figure_db)


def quantise_rsrp_dbm(rsrp_dbm: Floats) -> Floats:
    """RSRP as it is reported: whole dBm from -156 to -31.

    >>> quantise_rsrp_dbm(np.array([-97.4, -200.0, np.nan])).tolist()
    [-97.0, -156.0, nan]
    """
    return np.clip(np.round(rsrp_dbm), -156.0, -31.0)


def quantise_sinr_db(sinr_db: Floats) -> Floats:
    """SINR as it is reported: half dB from -23 to 40.

    >>> quantise_sinr_db(np.array([3.3, 55.0, np.nan])).tolist()
    [3.5, 40.0, nan]
    """
    return np.clip(np.round(2.0 * sinr_db) / 2.0, -23.0, 40.0)

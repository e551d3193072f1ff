"""Where a scenario's radio channel comes from: a model, a map from a file, or drives on which it was measured.

- ``model``: path loss, line of sight and shadows of ``platoon.world.radio``.
- ``map``: path gains that a ray tracer (or anybody) computed for every RSU on a raster, read bilinearly.
- ``drives``: every vehicle has a drive that was recorded on a real road, and its link over time is what the phone
  measured there. A drive knows nothing of the scene's places: what the twin could learn of a place is not in it.

An RSU in an outage hears nobody and serves nobody, whatever the source.
"""

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from platoon.errors import UserError
from platoon.nouns import SECOND, Bools, Floats, Ints
from platoon.physics.radio import CQI_EFFICIENCY, MINIMUM_SNR_DB, USABLE_SHARE, compute_snr_db
from platoon.physics.roads import RoadMap
from platoon.rng import stream
from platoon.scenario import Scenario
from platoon.world.drives import NO_CELL, Drive, read_drives
from platoon.world.radio import Channel, place_rsus

TENSORS: Final = ("path_gain_db", "origin", "cell", "rsus")
LARGEST_GAIN_DB: Final = -20.0
"""A path gain above this is no path's: perhaps a loss, or not in decibels."""
HOLD_S: Final = 3
"""A gap of the recorder of so many seconds is bridged by the last value before it."""


def make_channel(road_map: RoadMap, scenario: Scenario) -> Channel:
    """The channel of a scenario, its RSUs placed.

    Raises:
        UserError: the file that it comes from cannot be read, or does not fit the scenario.
    """
    radio = scenario.radio
    if radio.source == "map":
        return MappedChannel(road_map, scenario)
    rsus = place_rsus(road_map, radio.rsus, radio.service_radius_m)
    if radio.source == "drives":
        return DrivenChannel(road_map, rsus, scenario)
    return Channel(road_map, rsus, radio, scenario.seed)


class MappedChannel(Channel):
    """Path gains on a raster. Beyond its edges nobody is heard, or the model holds (``radio.map_outside``).

    Between cells gains are interpolated in decibels; next to a cell that no ray reaches, the nearest cell counts.
    """

    def __init__(self, road_map: RoadMap, scenario: Scenario) -> None:
        assert scenario.radio.map is not None  # the scenario sees to it
        path = Path(scenario.radio.map)
        gain, self._origin, self._cell, rsus = read_radio_map(path)
        if len(rsus) != scenario.radio.rsus:
            raise UserError(f"{path}: has {len(rsus)} RSUs; allowed: radio.rsus = {scenario.radio.rsus}")
        super().__init__(road_map, rsus, scenario.radio, scenario.seed)
        self._gain = gain
        self._silent_outside = scenario.radio.map_outside == "silent"

    def _compute_snr_db(self, points: Floats, vehicles: Ints | None) -> Floats:
        loss, inside = self._read(points)
        radio = self._radio
        found = compute_snr_db(loss, radio.vehicle_dbm, radio.antenna_gain_db, self._noise_dbm)
        if self._silent_outside or inside.all():
            return np.where(inside[:, None], found, -np.inf)
        return np.where(inside[:, None], found, super()._compute_snr_db(points, vehicles))

    def _read(self, points: Floats) -> tuple[Floats, Bools]:
        """(N, R) path loss in dB, and (N,) whether the raster reaches so far."""
        height, width = self._gain.shape[1:]
        place = (points - self._origin) / self._cell
        inside = ((place >= -0.5) & (place <= np.array([width, height]) - 0.5)).all(axis=1)
        place = np.clip(place, 0.0, np.array([width, height]) - 1.0)
        low = np.minimum(place.astype(np.int64), np.maximum(np.array([width, height]) - 2, 0))
        part = place - low
        total = np.zeros((len(points), len(self._gain)))
        reached = np.ones(total.shape, dtype=np.bool_)
        for x in (0, 1):
            for y in (0, 1):
                column, row = np.minimum(low[:, 0] + x, width - 1), np.minimum(low[:, 1] + y, height - 1)
                weight = np.abs(1 - x - part[:, 0]) * np.abs(1 - y - part[:, 1])
                value = self._gain[:, row, column].T
                known = np.isfinite(value)
                total += weight[:, None] * np.where(known, value, 0.0)
                reached &= known | (weight[:, None] == 0.0)
        nearest = np.round(place).astype(np.int64)
        total = np.where(reached, total, self._gain[:, nearest[:, 1], nearest[:, 0]].T)
        return -total, np.asarray(inside)


def read_radio_map(path: Path) -> tuple[Floats, Floats, Floats, Floats]:
    """Path gains (R, H, W) in dB, middle of the cell [0, 0] (2,), size of a cell (2,), RSUs (R, 2), metres.

    Rows of the raster go north (y grows), columns east. -inf is a cell that no ray reaches.

    Raises:
        UserError: no such file, a tensor is missing or of another shape, or its values cannot be path gains.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; allowed: a radio map as .safetensors (docs/worlds.md)")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a radio map ({error})") from None
    for name in TENSORS:
        if name not in tensors:
            raise UserError(f"{path}: tensor {name} is missing; allowed: {', '.join(TENSORS)}")
    gain, origin, cell, rsus = (tensors[name].astype(np.float64) for name in TENSORS)
    cell = np.broadcast_to(cell, (2,)).copy() if cell.size in (1, 2) else cell
    if (
        gain.ndim != 3
        or not gain.size
        or rsus.shape != (len(gain), 2)
        or origin.shape != (2,)
        or cell.shape != (2,)
    ):
        raise UserError(
            f"{path}: path_gain_db {gain.shape}, rsus {rsus.shape}, origin {origin.shape}, cell {cell.shape}; "
            "allowed: (R, H, W), (R, 2), (2,) and (2,) or (1,)"
        )
    if not (
        np.isfinite(origin).all() and np.isfinite(rsus).all() and np.isfinite(cell).all() and (cell > 0).all()
    ):
        raise UserError(f"{path}: origin, cell or rsus: allowed are finite metres, cells above 0")
    if np.isnan(gain).any() or gain.max() > LARGEST_GAIN_DB:
        worst = float("nan") if np.isnan(gain).any() else float(gain.max())
        raise UserError(
            f"{path}: path_gain_db = {worst:g}; allowed: decibels up to {LARGEST_GAIN_DB:g}, -inf where no ray goes"
        )
    return gain, origin, cell, rsus


class DrivenChannel(Channel):
    """Links that were measured on drives, one drive for every vehicle, from a second of it on that is drawn.

    The cells of a drive become RSUs in the order in which the drive meets them, so a handover of the phone is a
    handover here; the first RSU is drawn for each vehicle. A drive that ends begins again. Off LTE and 5G, and in
    gaps of more than ``HOLD_S``, there is no service; distances do not count.
    """

    def __init__(self, road_map: RoadMap, rsus: Floats, scenario: Scenario) -> None:
        super().__init__(road_map, rsus, scenario.radio, scenario.seed)
        assert scenario.radio.drives is not None  # the scenario sees to it
        drives = read_drives(Path(scenario.radio.drives))
        self._measure = scenario.radio.drives_rate
        self._links = [_Link(drive, len(rsus)) for drive in drives]
        draws = [stream(scenario.seed, "drive", row) for row in range(scenario.fleet.vehicles)]
        picked = np.array(
            [(rng.integers(len(drives)), rng.random(), rng.integers(len(rsus))) for rng in draws]
        )
        self._drive = picked[:, 0].astype(np.int64)
        lengths = np.array([len(link.snr_db) for link in self._links])
        self._start = (picked[:, 1] * lengths[self._drive]).astype(np.int64)
        self._shift = picked[:, 2].astype(np.int64)
        # One row of numbers for all drives, one behind the other: a second of the fleet is one look-up.
        self._begin = np.cumsum(lengths) - lengths
        self._lengths = lengths
        self._snr = np.concatenate([link.snr_db for link in self._links])
        self._rsu = np.concatenate([link.rsu for link in self._links])
        self._rates = {
            "cqi": np.concatenate([link.cqi_rate for link in self._links]) * self.bandwidth_hz,
            "uplink": np.concatenate([link.uplink for link in self._links]),
        }

    @property
    def serves_anybody(self) -> bool:
        """Some drive of the fleet has service at some time."""
        return bool(np.isfinite(self._snr).any())

    def serviceable(self, points: Floats, snr_db: Floats) -> Bools:  # noqa: ARG002 - wherever the drive was
        """(N, R) measured, and above the lowest CQI."""
        return np.asarray(snr_db >= MINIMUM_SNR_DB)

    def rate(self, snr_db: Floats, vehicles: Ints | None = None) -> Floats:
        """Bit/s of a link that has the whole band for itself: from the SNR, or as ``radio.drives_rate`` says."""
        if self._measure == "snr":
            return super().rate(snr_db)
        at, _ = self._look(self._vehicles(vehicles, len(snr_db)))
        measured = self._rates[self._measure][at]
        return np.where(np.isfinite(snr_db), np.nan_to_num(measured)[:, None], 0.0)

    def _compute_snr_db(self, points: Floats, vehicles: Ints | None) -> Floats:
        rows = self._vehicles(vehicles, len(points))
        at, rsu = self._look(rows)
        found = np.full((len(rows), len(self.rsus)), -np.inf)
        found[np.arange(len(rows)), rsu] = np.nan_to_num(self._snr[at], nan=-np.inf)
        return found

    def _vehicles(self, vehicles: Ints | None, count: int) -> Ints:
        rows = np.arange(len(self._drive)) if vehicles is None else vehicles
        if len(rows) != count:
            raise ValueError(
                f"{count} links of {len(rows)} vehicles: drives belong to vehicles, not to places"
            )
        return rows

    def _look(self, vehicles: Ints) -> tuple[Ints, Ints]:
        """(n,) where each vehicle's second stands in the row of all drives, and the RSU that its cell is."""
        drive = self._drive[vehicles]
        at = self._begin[drive] + (self._start[vehicles] + self.at // SECOND) % self._lengths[drive]
        return at, (self._rsu[at] + self._shift[vehicles]) % len(self.rsus)


class _Link:
    """A drive as a link: short gaps bridged, cells counted in the order in which they are met."""

    def __init__(self, drive: Drive, rsus: int) -> None:
        last = np.maximum.accumulate(np.where(drive.measured, np.arange(len(drive)), 0))
        held = np.arange(len(drive)) - last <= HOLD_S
        self.snr_db: Floats = np.where(held, drive.snr_db[last], np.nan)
        cqi = np.nan_to_num(drive.cqi[last]).astype(np.int64)
        self.cqi_rate: Floats = USABLE_SHARE * CQI_EFFICIENCY[cqi]
        """Bit/s/Hz."""
        self.uplink: Floats = drive.uplink[last]
        cells = drive.cell[last]
        order: dict[int, int] = {NO_CELL: 0}
        for cell in cells.tolist():
            order.setdefault(cell, len(order) - 1)
        self.rsu: Ints = np.array([order[cell] % rsus for cell in cells.tolist()], dtype=np.int64)

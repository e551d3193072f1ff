"""Radio links that were measured on real drives: a reader for G-NetTrack recordings, one row per second.

The format is that of the UCC 5G production data (Raca, Leahy, Sreenan, Quinlan: *Beyond Throughput, the Next
Generation: a 5G Dataset with Channel and Context Metrics*, MMSys 2020): one CSV file per recording, or all of them
in one parquet file with a column ``file``. The data are GPL-3.0 and not distributed with platoon.

Every drive becomes columns over consecutive seconds. Of several rows in one second the last counts (a phone writes
again when it changes cell); a second without a row is a gap, and holds NaN. The recorder's clock may step back a
little, as one of the sixty drives does; what goes back farther, or is in other units, is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from platoon.errors import UserError
from platoon.nouns import Bools, Floats, Ints

TIME_FORMAT: Final = "%Y.%m.%d_%H.%M.%S"
CLOCK_STEP_S: Final = 5
"""A clock that is set back by no more than this goes on recording the same drive."""
LONGEST_GAP_S: Final = 3600
"""A recording that is silent for longer is two, or has a wrong date."""
MISSING: Final = (-200, 2**31 - 1, -(2**31))
"""What recorders write where they have no value."""
NO_CELL: Final = -1
EARTH_RADIUS_M: Final = 6_371_000.0

NUMBERS: Final[dict[str, tuple[float, float, str]]] = {
    "Longitude": (-180.0, 180.0, "degrees"),
    "Latitude": (-90.0, 90.0, "degrees"),
    "Speed": (0.0, 400.0, "km/h"),
    "RSRP": (-160.0, -20.0, "dBm"),
    "RSRQ": (-45.0, 20.0, "dB"),
    "SNR": (-40.0, 60.0, "dB"),
    "CQI": (0.0, 15.0, "1"),
    "DL_bitrate": (0.0, 2e7, "kbit/s"),
    "UL_bitrate": (0.0, 2e7, "kbit/s"),
}
"""Columns that are read: least and largest value that can be true, and the unit."""
WORDS: Final = ("Timestamp", "NetworkMode", "State")
CELLS: Final = "RAWCELLID"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drive:
    """One recorded drive: columns over T consecutive seconds. NaN where nothing was measured."""

    name: str
    """The file that it was recorded in."""
    app: str
    """What the phone did meanwhile: its first folder in the data set ("Download", "Netflix", ...)."""
    measured: Bools
    """(T,) the second has a row; False in a gap."""
    longitude: Floats
    """(T,) degrees; GPS positions change in steps of some seconds."""
    latitude: Floats
    """(T,) degrees."""
    speed: Floats
    """(T,) metres per second."""
    rsrp_dbm: Floats
    """(T,) received power of the reference signal, dBm."""
    rsrq_db: Floats
    """(T,) its quality, dB."""
    snr_db: Floats
    """(T,) signal to noise ratio, dB; NaN off LTE and 5G."""
    cqi: Floats
    """(T,) channel quality indicator that the phone reported, 0 to 15; NaN off LTE and 5G."""
    downlink: Floats
    """(T,) bit/s received: what the applications asked for, not what the channel could carry."""
    uplink: Floats
    """(T,) bit/s sent, likewise."""
    downloading: Bools
    """(T,) a download was in progress (state D): only then does ``downlink`` tell of the channel."""
    cell: Ints
    """(T,) the serving cell; -1 where not measured."""
    mode: tuple[str, ...]
    """(T,) "5G", "LTE", "HSPA+", ...; empty in a gap."""

    def __len__(self) -> int:
        return len(self.measured)

    @property
    def handovers(self) -> Bools:
        """(T,) the serving cell differs from that of the last measured second before."""
        seen = np.flatnonzero(self.cell != NO_CELL)
        changed = np.zeros(len(self), dtype=np.bool_)
        changed[seen[1:]] = self.cell[seen[1:]] != self.cell[seen[:-1]]
        return changed

    @property
    def position(self) -> Floats:
        """(T, 2) metres east and north of the first measured place; NaN in a gap."""
        east, north = np.radians(self.longitude), np.radians(self.latitude)
        first = int(np.argmax(self.measured))
        return EARTH_RADIUS_M * np.stack(
            [(east - east[first]) * np.cos(north[first]), north - north[first]], axis=1
        )


def read_drives(path: Path, *, driving_only: bool = True) -> tuple[Drive, ...]:
    """Drives of a parquet file, a CSV file or a folder of CSV files, in order of name.

    ``driving_only`` leaves recordings out whose folder or column ``mobility`` says that the phone stood still.

    Raises:
        UserError: nothing there, a column is missing, time goes back or stands still, or values cannot be in the
            unit that the column has; the message names file and row.
    """
    tables = _read_tables(path)
    drives = [
        _make_drive(where, name, rows)
        for where, table in tables
        for name, rows in _split_recordings(where, table)
        if not (driving_only and _stands_still(name, rows))
    ]
    if not drives:
        raise UserError(f"{path}: no drives; allowed: recordings with rows of a vehicle that moves")
    return tuple(sorted(drives, key=lambda drive: drive.name))


def _read_tables(path: Path) -> list[tuple[Path, pa.Table]]:
    if path.is_dir():
        files = sorted(path.rglob("*.csv"))
        return [(file, _name_after(file.relative_to(path), _read_csv(file))) for file in files]
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; allowed: drives as .parquet or .csv, or a folder of .csv files"
        )
    if path.suffix == ".csv":
        return [(path, _name_after(Path(path.name), _read_csv(path)))]
    try:
        return [(path, pq.read_table(path))]
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as drives ({_first_line(error)})") from None


def _read_csv(path: Path) -> pa.Table:
    options = pacsv.ConvertOptions(null_values=["", "-"], strings_can_be_null=True)
    try:
        return pacsv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as drives ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[0].split())


def _name_after(name: Path, table: pa.Table) -> pa.Table:
    if "file" in table.column_names:
        return table
    return table.append_column("file", pa.array([name.as_posix()] * len(table), pa.string()))


def _split_recordings(where: Path, table: pa.Table) -> list[tuple[str, pa.Table]]:
    """Rows of each recording, with their place in the file as the column ``row``."""
    missing = [name for name in ("file", *WORDS, *NUMBERS, CELLS) if name not in table.column_names]
    if missing:
        raise UserError(f"{where}: column {missing[0]} is missing; allowed: recordings of G-NetTrack")
    table = table.append_column("row", pa.array(np.arange(2, len(table) + 2)))
    names = table["file"].combine_chunks().dictionary_encode()
    codes = names.indices.to_numpy(zero_copy_only=False)
    return [
        (str(name), table.take(pa.array(np.flatnonzero(codes == code))))
        for code, name in enumerate(names.dictionary.to_pylist())
    ]


def _stands_still(name: str, rows: pa.Table) -> bool:
    if "mobility" in rows.column_names:
        return str(rows["mobility"][0]) == "Static"
    return "Static" in Path(name).parts


def _make_drive(where: Path, name: str, rows: pa.Table) -> Drive:
    second = _read_seconds(where, name, rows)
    length = int(second.max()) + 1
    numbers = {column: _read_numbers(where, name, rows, column) for column in NUMBERS}

    def spread(values: Any, empty: Any) -> Any:
        """One value per second: the last row of a second counts."""
        found = np.full(length, empty, dtype=np.asarray(values).dtype)
        found[second] = values
        return found

    columns = {column: spread(values, np.nan) for column, values in numbers.items()}
    modes = spread(np.array(rows["NetworkMode"].fill_null("").to_pylist(), dtype=object), "")
    states = np.array(rows["State"].fill_null("").to_pylist(), dtype=object)
    cells = np.asarray(pc.cast(rows[CELLS].fill_null(NO_CELL), pa.int64()).to_numpy())
    return Drive(
        name=name,
        app=Path(name).parts[0] if len(Path(name).parts) > 1 else "",
        measured=spread(np.ones(len(second), dtype=np.bool_), False),
        longitude=columns["Longitude"],
        latitude=columns["Latitude"],
        speed=columns["Speed"] / 3.6,
        rsrp_dbm=columns["RSRP"],
        rsrq_db=columns["RSRQ"],
        snr_db=columns["SNR"],
        cqi=columns["CQI"],
        downlink=1e3 * columns["DL_bitrate"],
        uplink=1e3 * columns["UL_bitrate"],
        downloading=spread(states == "D", False),
        cell=spread(cells, NO_CELL),
        mode=tuple(modes.tolist()),
    )


def _read_seconds(where: Path, name: str, rows: pa.Table) -> Ints:
    """(n,) whole seconds since the first row."""
    text = rows["Timestamp"].cast(pa.string())
    times = pc.strptime(text, format=TIME_FORMAT, unit="s", error_is_null=True).combine_chunks()
    wrong = np.flatnonzero(np.asarray(times.is_null().to_numpy(zero_copy_only=False)))
    if len(wrong):
        row = int(wrong[0])
        value = text[row].as_py()
        raise UserError(
            _place(where, name, rows, row, f"Timestamp = {value}: no time; allowed: {TIME_FORMAT}")
        )
    at = times.cast(pa.int64()).to_numpy()
    latest = np.maximum.accumulate(at)
    back = latest - at
    ahead = np.diff(latest, prepend=latest[0])
    for row in np.flatnonzero((back > CLOCK_STEP_S) | (ahead > LONGEST_GAP_S))[:1].tolist():
        what = f"goes back by {back[row]} s" if back[row] else f"jumps ahead by {ahead[row]} s"
        limit = f"at most {CLOCK_STEP_S} s back and {LONGEST_GAP_S} s ahead"
        raise UserError(_place(where, name, rows, row, f"time {what}; allowed: {limit}"))
    return np.maximum(np.asarray(at - at[0], dtype=np.int64), 0)


def _read_numbers(where: Path, name: str, rows: pa.Table, column: str) -> Floats:
    least, largest, unit = NUMBERS[column]
    try:
        found = pc.cast(rows[column], pa.float64()).to_numpy().copy()
    except pa.ArrowException as error:
        raise UserError(f"{where}: column {column} holds no numbers ({_first_line(error)})") from None
    found[np.isin(found, MISSING)] = np.nan
    for row in np.flatnonzero((found < least) | (found > largest))[:1].tolist():
        allowed = f"allowed: {least:g} to {largest:g} {unit}"
        raise UserError(_place(where, name, rows, row, f"{column} = {found[row]:g}; {allowed}"))
    return np.asarray(found, dtype=np.float64)


def _place(where: Path, name: str, rows: pa.Table, row: int, what: str) -> str:
    drive = "" if name == where.name else f" (drive {name})"
    return f"{where}, line {rows['row'][row].as_py()}{drive}: {what}"

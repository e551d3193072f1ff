"""Floating car data: who was where, second by second, in SUMO's FCD format; read and written as streams.

Read are what SUMO's ``--fcd-output`` writes: XML (``.fcd.xml``), the same as semicolon-separated values (``.csv``),
both also gzipped, and parquet. A frame is one time step; only one is held in memory, so that files may be larger
than it. Written are numbers with all their digits, so that what is read back is equal to the bit.

A file with time that goes back or stands still, with coordinates or speeds that are no numbers, or with one vehicle
twice in a step, is refused with its line.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platoon.errors import UserError
from platoon.nouns import Floats

KINDS: Final = (".xml", ".xml.gz", ".csv", ".csv.gz", ".parquet")
CHUNK: Final = 1 << 18
COLUMNS: Final = ("timestep_time", "vehicle_id", "vehicle_x", "vehicle_y")
SPEED: Final = "vehicle_speed"
ANGLE: Final = "vehicle_angle"
FASTEST: Final = 400.0
"""No vehicle is faster, metres per second."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One time step of a trace: n vehicles."""

    at: float
    """Seconds of the trace's own clock."""
    line: int
    """Line (or row of a table) where it stands in its file."""
    names: tuple[str, ...]
    """(n,) vehicles, each once."""
    places: Floats
    """(n, 2) metres."""
    speeds: Floats
    """(n,) metres per second; NaN where the trace does not say."""
    angles: Floats
    """(n,) degrees clockwise from north, as SUMO counts; NaN where the trace does not say."""


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a trace, in the order of time.

    Raises:
        UserError: no such file, no trace, or something in it that cannot be; with the line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; allowed: floating car data as {', '.join(KINDS)}")
    name = path.name.lower()
    if name.endswith((".xml", ".xml.gz")):
        rows = _read_xml(path)
    elif name.endswith((".csv", ".csv.gz")):
        rows = _read_csv(path)
    elif name.endswith(".parquet"):
        rows = _read_parquet(path)
    else:
        raise UserError(f"{path}: unknown kind of trace; allowed: {', '.join(KINDS)}")
    try:
        yield from _check_order(path, rows)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as floating car data ({_first_line(error)})") from None


def write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Write a trace, in the format that the name says; a name that is not one raises ``UserError``."""
    name = path.name.lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".xml", ".xml.gz")):
            with _open_to_write(path) as file:
                _write_xml(file, frames)
        elif name.endswith((".csv", ".csv.gz")):
            with _open_to_write(path) as file:
                _write_csv(file, frames)
        elif name.endswith(".parquet"):
            _write_parquet(path, frames)
        else:
            raise UserError(f"{path}: unknown kind of trace; allowed: {', '.join(KINDS)}")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _first_line(error: Exception) -> str:
    return " ".join((str(error).splitlines() or [type(error).__name__])[0].split())


def _check_order(path: Path, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Time goes on, and nobody is in two places; a trace without a step is none."""
    before: float | None = None
    for frame in frames:
        if before is not None and frame.at <= before:
            how = "comes twice" if frame.at == before else f"goes back, after {before:g}"
            raise UserError(f"{path}, line {frame.line}: time {frame.at:g} {how}; allowed: rising times")
        if len(set(frame.names)) != len(frame.names):
            twice = next(name for name in frame.names if frame.names.count(name) > 1)
            raise UserError(
                f"{path}, line {frame.line}: vehicle {twice} stands twice in time step {frame.at:g}"
            )
        before = frame.at
        yield frame
    if before is None:
        raise UserError(f"{path}: no time steps; allowed: floating car data of SUMO (fcd-export)")


class _Step:
    """A time step that is being read."""

    def __init__(self, at: float, line: int) -> None:
        self.at, self.line = at, line
        self.names: list[str] = []
        self.numbers: list[tuple[float, float, float, float]] = []

    def close(self) -> Frame:
        table = np.array(self.numbers, dtype=np.float64).reshape(-1, 4)
        return Frame(
            at=self.at,
            line=self.line,
            names=tuple(self.names),
            places=table[:, :2],
            speeds=table[:, 2],
            angles=table[:, 3],
        )


def _number(path: Path, line: int, key: str, text: str | None, *, least: float, most: float) -> float:
    """A number between two bounds; nothing (only where the caller allows it) is NaN."""
    if text is None:
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise UserError(
            f"{path}, line {line}: {key} = {text}: allowed are numbers from {least:g} to {most:g}"
        )
    return value


def _read_time(path: Path, line: int, text: str | None) -> float:
    """Seconds, or (days:)hours:minutes:seconds."""
    parts = (text or "nan").split(":")
    scale = (1.0, 60.0, 3600.0, 86_400.0)
    if len(parts) > len(scale):
        raise UserError(f"{path}, line {line}: time = {text}: allowed are seconds or h:mm:ss")
    numbers = [_number(path, line, "time", part, least=0.0, most=1e10) for part in parts]
    return sum(number * unit for number, unit in zip(reversed(numbers), scale, strict=False))


def _add(path: Path, step: _Step, line: int, row: dict[str, str | None]) -> None:
    """Add a vehicle: its name, x, y, speed and angle."""
    for key in ("id", "x", "y"):
        if not row.get(key):
            raise UserError(f"{path}, line {line}: a vehicle without {key}")
    step.names.append(str(row["id"]))
    step.numbers.append(
        (
            _number(path, line, "x", row["x"], least=-1e7, most=1e7),
            _number(path, line, "y", row["y"], least=-1e7, most=1e7),
            _number(path, line, "speed", row.get("speed") or None, least=0.0, most=FASTEST),
            _number(path, line, "angle", row.get("angle") or None, least=-360.0, most=720.0),
        )
    )


def _read_xml(path: Path) -> Iterator[Frame]:
    """Feed the file to a parser bit by bit; finished steps come out in between."""
    parser = expat.ParserCreate()
    done: list[Frame] = []
    step: list[_Step] = []
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        line = parser.CurrentLineNumber
        if depth == 1 and tag != "fcd-export":
            raise UserError(f"{path}, line {line}: <{tag}>: no floating car data; allowed: <fcd-export>")
        if tag == "timestep":
            step[:] = [_Step(_read_time(path, line, attributes.get("time")), line)]
        elif tag == "vehicle" and step:
            _add(path, step[0], line, dict(attributes))

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        if tag == "timestep" and step:
            done.append(step.pop().close())

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.buffer_text = True
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK)
                parser.Parse(chunk, not chunk)
                yield from done
                done.clear()
                if not chunk:
                    return
    except expat.ExpatError as error:
        raise UserError(f"{path}, line {error.lineno}: cannot be read as XML ({error})") from None


def _read_csv(path: Path) -> Iterator[Frame]:
    with gzip.open(path, "rt", newline="") if path.name.endswith(".gz") else path.open(newline="") as file:
        rows = csv.DictReader(file, delimiter=";")
        _require_columns(path, list(rows.fieldnames or ()))
        yield from _collect(path, ((rows.line_num, row) for row in rows))


def _read_parquet(path: Path) -> Iterator[Frame]:
    with pq.ParquetFile(path) as file:
        _require_columns(path, file.schema_arrow.names)
        wanted = [name for name in (*COLUMNS, SPEED, ANGLE) if name in file.schema_arrow.names]
        yield from _collect(path, _number_rows(file, wanted))


def _number_rows(file: pq.ParquetFile, wanted: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in file.iter_batches(batch_size=8192, columns=wanted):
        for row in batch.to_pylist():
            number += 1
            yield number, {key: None if value is None else str(value) for key, value in row.items()}


def _require_columns(path: Path, found: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]} is missing; allowed: floating car data of SUMO as a table"
        )


def _collect(path: Path, rows: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Frame]:
    """Frames of rows that are sorted by time; a row without a vehicle is an empty step."""
    step: _Step | None = None
    for line, row in rows:
        at = _read_time(path, line, row["timestep_time"])
        if step is None or at != step.at:
            if step is not None:
                yield step.close()
            step = _Step(at, line)
        if row["vehicle_id"]:
            short = {key.removeprefix("vehicle_"): value for key, value in row.items() if key}
            _add(path, step, line, short)
    if step is not None:
        yield step.close()


def _open_to_write(path: Path) -> IO[bytes]:
    """Compressed without name and time, so that equal traces are equal files."""
    if path.name.endswith(".gz"):
        return gzip.GzipFile(filename="", mode="wb", fileobj=path.open("wb"), mtime=0)  # type: ignore[return-value]
    return path.open("wb")


def _text(value: float) -> str:
    return repr(float(value))


def _write_xml(file: IO[bytes], frames: Iterable[Frame]) -> None:
    file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<fcd-export>\n')
    for frame in frames:
        lines = [f'    <timestep time="{_text(frame.at)}">']
        for name, (x, y), speed, angle in _rows(frame):
            attributes = f'x="{_text(x)}" y="{_text(y)}"'
            attributes += "" if np.isnan(angle) else f' angle="{_text(angle)}"'
            attributes += "" if np.isnan(speed) else f' speed="{_text(speed)}"'
            lines.append(f"        <vehicle id={quoteattr(name)} {attributes}/>")
        file.write(("\n".join([*lines, "    </timestep>"]) + "\n").encode())
    file.write(b"</fcd-export>\n")


def _rows(frame: Frame) -> Iterable[tuple[str, Floats, float, float]]:
    return zip(frame.names, frame.places, frame.speeds, frame.angles, strict=True)


def _write_csv(file: IO[bytes], frames: Iterable[Frame]) -> None:
    file.write((";".join([*COLUMNS, ANGLE, SPEED]) + "\n").encode())
    for frame in frames:
        at = _text(frame.at)
        lines = [
            f"{at};{name};{_text(x)};{_text(y)};{'' if np.isnan(angle) else _text(angle)};"
            f"{'' if np.isnan(speed) else _text(speed)}"
            for name, (x, y), speed, angle in _rows(frame)
        ] or [f"{at};;;;;"]
        file.write(("\n".join(lines) + "\n").encode())


def _write_parquet(path: Path, frames: Iterable[Frame]) -> None:
    numbers = {name: pa.float64() for name in ("timestep_time", "vehicle_x", "vehicle_y", ANGLE, SPEED)}
    schema = pa.schema(
        [("timestep_time", numbers.pop("timestep_time")), ("vehicle_id", pa.string()), *numbers.items()]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for frame in frames:
            n = max(1, len(frame.names))
            empty = [np.nan] * (n - len(frame.names))
            columns = [
                pa.array([frame.at] * n),
                pa.array([*frame.names, *([None] * len(empty))], pa.string()),
                *(
                    pa.array([*values, *empty], pa.float64(), from_pandas=True)
                    for values in (frame.places[:, 0], frame.places[:, 1], frame.angles, frame.speeds)
                ),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

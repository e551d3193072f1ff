"""The files that SUMO reads: a grid made by netgenerate, or a scenario of the user's own.

A made grid is cached in the scratch folder under a name that says what is in it. A user's folder is only read:
detectors and other writers in its additional files are turned off in copies, and its output options not taken
over, so nothing appears beside them.
"""

import gzip
import hashlib
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platoon.errors import UserError
from platoon.rng import stream
from platoon.scenario import Roads

SIGNAL_CYCLE_S = 90
NOTHING = "/dev/null"
READERS = ("rerouter", "variableSpeedSign")
"""Elements of additional files whose ``file`` is read, not written."""
OPTION_NAMES = {
    "net-file": ("net-file", "net", "n"),
    "route-files": ("route-files", "routes", "r"),
    "additional-files": ("additional-files", "additional", "a"),
    "begin": ("begin", "b"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """What SUMO is started with."""

    source: str
    """Name for messages: the file that the user gave, or the grid."""
    net: Path
    routes: tuple[Path, ...] = ()
    """The scenario's own traffic, which the fleet joins."""
    additional: tuple[Path, ...] = ()
    begin_s: float = 0.0
    """Time of day at which the scenario's own traffic begins, seconds."""
    is_grid: bool = False
    """Speed limits are drawn for a grid and kept for a real network."""


def prepare_network(roads: Roads, scratch: Path) -> NetworkFiles:
    """The files of a scenario's roads; a grid is made when the scratch folder does not hold it yet.

    Raises:
        UserError: SUMO is not installed, or the scenario's files cannot be read.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    if roads.sumo_config is None:
        return NetworkFiles(source="the grid", net=_make_grid(roads, scratch), is_grid=True)
    path = Path(roads.sumo_config)
    if not path.is_file():
        raise UserError(f"roads.sumo_config = {path}: no such file; allowed: a .sumocfg or .net.xml file")
    if path.name.endswith((".net.xml", ".net.xml.gz")):
        return NetworkFiles(source=str(path), net=path)
    if path.suffix == ".sumocfg":
        return _read_configuration(path, scratch)
    raise UserError(f"roads.sumo_config = {path}: unknown kind of file; allowed: .sumocfg, .net.xml")


def find_sumo_program(name: str) -> Path:
    """A program of the installed ``eclipse-sumo`` package.

    Raises:
        UserError: the package is not installed.
    """
    spec = find_spec("sumo")
    program = Path(spec.origin).parent / "bin" / name if spec and spec.origin else None
    if program is None or not program.is_file():
        raise UserError(f"{name}: SUMO is not installed; try: pip install 'platoon[sumo]'")
    return program


def _make_grid(roads: Roads, scratch: Path) -> Path:
    options = _grid_options(roads)
    program = find_sumo_program("netgenerate")
    name = hashlib.sha256("\n".join(options).encode()).hexdigest()[:16]
    path = scratch / f"grid-{roads.streets}x{roads.streets}-{name}.net.xml"
    if not path.is_file():
        unfinished = scratch / f"{path.name}.{os.getpid()}"
        done = subprocess.run(
            [program, *options, "-o", str(unfinished)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise UserError(f"netgenerate cannot make the grid: {explain_sumo_output(done.stderr)}")
        text = _stagger_signals(_strip_comments(unfinished.read_text(encoding="utf-8")))
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    return path


def _grid_options(roads: Roads) -> list[str]:
    signals = {
        "actuated": ["--default-junction-type", "traffic_light", "--tls.default-type", "actuated"],
        "static": ["--default-junction-type", "traffic_light", "--tls.default-type", "static"],
        "none": ["--default-junction-type", "priority"],
    }
    return [
        "--grid",
        f"--grid.number={roads.streets}",
        f"--grid.length={roads.block_m}",
        f"--default.lanenumber={roads.lanes}",
        f"--default.speed={roads.speed_kmh[1] / 3.6:.4f}",
        "--no-turnarounds.except-deadend=true",
        "--xml-validation=never",
        *signals[roads.signals],
    ]


def _strip_comments(text: str) -> str:
    """SUMO writes the hour and the paths of the making into a comment: without it equal grids are equal files."""
    return re.sub(r"<!--.*?-->", "", text, count=1, flags=re.DOTALL)


def _stagger_signals(text: str) -> str:
    """Give every signal of a fixed programme its own offset: all in step, they stop half the city at a time."""

    def shift(found: re.Match[str]) -> str:
        offset = int(stream(0, "signal offset", found["id"]).integers(SIGNAL_CYCLE_S))
        return found[0].replace('offset="0"', f'offset="{offset}"')

    return re.sub(r'<tlLogic id="(?P<id>[^"]*)" type="static"[^>]*>', shift, text)


def _read_configuration(path: Path, scratch: Path) -> NetworkFiles:
    root = _parse(path)
    values = {element.tag: element.get("value", "") for element in root.iter() if element.get("value")}

    def get(option: str) -> str:
        return next((values[name] for name in OPTION_NAMES[option] if name in values), "")

    if not get("net-file"):
        raise UserError(f"{path}: names no net-file")
    additional = [_find(path, name) for name in _split(get("additional-files"))]
    return NetworkFiles(
        source=str(path),
        net=_find(path, get("net-file")),
        routes=tuple(_find(path, name) for name in _split(get("route-files"))),
        additional=tuple(_copy_without_writers(file, scratch, i) for i, file in enumerate(additional)),
        begin_s=_parse_time(path, get("begin")),
    )


def _split(names: str) -> list[str]:
    return [name for name in re.split(r"[,\s]+", names) if name]


def _find(configuration: Path, name: str) -> Path:
    path = configuration.parent / name
    if not path.is_file():
        raise UserError(f"{configuration}: names {name}, which does not exist")
    return path


def _parse_time(path: Path, text: str) -> float:
    """Seconds, or hours:minutes:seconds, as SUMO reads them."""
    try:
        parts = [float(part) for part in (text or "0").split(":")]
    except ValueError:
        raise UserError(f"{path}: begin = {text}: not a time; allowed: seconds or h:mm:ss") from None
    return sum(part * 60.0**place for place, part in enumerate(reversed(parts)))


def _parse(path: Path) -> ET.Element:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return ET.parse(file).getroot()
    except (ET.ParseError, OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as XML ({error})") from None


def _copy_without_writers(path: Path, scratch: Path, number: int) -> Path:
    root = _parse(path)
    for element in root.iter():
        if "file" in element.attrib:
            reads = element.tag in READERS
            element.set("file", str(path.parent / element.attrib["file"]) if reads else NOTHING)
        if element.tag == "calibrator" and "output" in element.attrib:
            element.set("output", NOTHING)
    content = ET.tostring(root)
    name = hashlib.sha256(content).hexdigest()[:16]
    copy = scratch / f"additional-{number}-{name}.add.xml"
    copy.write_bytes(content)
    return copy


def explain_sumo_output(text: str) -> str:
    """The first complaint in what SUMO wrote, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error:")] or lines or ["no reason given"]
    return " ".join(errors[0].removeprefix("Error:").split())

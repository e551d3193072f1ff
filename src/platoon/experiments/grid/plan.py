"""A grid file, and the cells it stands for.

``scenario`` names the scenario that all cells share, relative to the grid file. The rest are the scenario's own
tables. **One list is one axis**: a list where the scenario wants a single value makes a cell of each of its
items, and where the scenario wants a list itself (``roads.speed_kmh``, ``fleet.attacks``), a list of lists
does. An axis that sets several keys together has a table for each of its levels, ``[axis.NAME.LEVEL]``, with
dotted keys in it. A level wins over what all cells share; no key is set by two axes.
"""

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from platoon import __version__
from platoon.errors import UserError
from platoon.ledger.contracts import compute_set_digest
from platoon.records.typed_data import FORMAT
from platoon.scenario import Scenario

MOST_CELLS: Final = 10_000
Levels = dict[str, dict[str, Any]]
"""By the level's name: dotted keys and their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of a grid."""

    levels: Mapping[str, str]
    """By axis: the name of its level."""
    scenario: Scenario

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that the result depends on: the scenario but for its name, its list of methods and the
        number of workers, and the version, contracts and format that play it."""
        plain = self.scenario.model_copy(update={"name": "cell", "workers": 1, "compare": ()})
        values = json.dumps(plain.model_dump(mode="json"), sort_keys=True)
        text = f"{__version__}\n{compute_set_digest().hex()}\n{FORMAT}\n{values}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A parsed grid file."""

    name: str
    text: str
    """The file as it was read."""
    axes: Mapping[str, tuple[str, ...]]
    """Names of the levels of every axis, in the order of the file."""
    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the grid file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load_grid(path: Path) -> Grid:
    """Read a grid file; every cell is a valid scenario.

    Raises:
        UserError: no such file, no TOML, an empty axis, two axes of one name or that set the same key, equal cells,
            too many cells, or a cell that is no scenario; the message names the cell.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such grid file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a grid ({error})") from None
    if not isinstance(table.get("scenario"), str):
        raise UserError(
            f'{path}: scenario is missing; allowed: scenario = "PATH" of the one that all cells share'
        )
    base = path.parent / table.pop("scenario")
    fixed, axes = split_axes(table, path)
    count = 1
    for levels in axes.values():
        count *= len(levels)
    if count > MOST_CELLS:
        raise UserError(f"{path}: {count} cells; allowed: at most {MOST_CELLS}")
    cells = tuple(_make_cell(base, fixed, axes, choice) for choice in itertools.product(*axes.values()))
    _require_different(cells, path)
    names = {axis: tuple(levels) for axis, levels in axes.items()}
    return Grid(name=path.stem, text=text, axes=names, cells=cells)


def split_axes(table: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Levels]]:
    """Dotted keys that all cells share, and the axes.

    Raises:
        UserError: an axis without levels, a level that is no table, two axes of one name, or a key that two axes
            set.
    """
    fixed: dict[str, Any] = {}
    axes = _read_bundles(table.get("axis", {}), path)
    for key, value in _flatten({name: value for name, value in table.items() if name != "axis"}).items():
        if not _is_axis(key, value):
            fixed[key] = value
            continue
        if not value:
            raise UserError(f"{path}: {key} = []: an axis without levels; allowed: one value at least")
        if key in axes:
            raise UserError(
                f"{path}: {key} = {value}: an axis {key} stands as [axis.{key}.LEVEL] too; allowed: one of them"
            )
        axes[key] = {_name_level(item): {key: item} for item in value}
        if len(axes[key]) < len(value):
            raise UserError(f"{path}: {key} = {value}: a level stands twice; allowed: different ones")
    _require_own_keys(axes, path)
    return fixed, axes


def _read_bundles(bundles: Any, path: Path) -> dict[str, Levels]:
    """The axes of ``[axis.NAME.LEVEL]``."""
    axes: dict[str, Levels] = {}
    if not isinstance(bundles, dict):
        raise UserError(f"{path}: axis = {bundles!r}: allowed are tables [axis.NAME.LEVEL] of scenario keys")
    for name, levels in bundles.items():
        if (
            not isinstance(levels, dict)
            or not levels
            or not all(isinstance(v, dict) for v in levels.values())
        ):
            raise UserError(f"{path}: axis.{name}: allowed are tables [axis.{name}.LEVEL] of scenario keys")
        axes[name] = {level: _flatten(keys) for level, keys in levels.items()}
    return axes


def _require_own_keys(axes: Mapping[str, Levels], path: Path) -> None:
    """Of two axes that set the same key the later one would win, and cells would not be what their levels say."""
    setters: dict[str, str] = {}
    for axis, levels in axes.items():
        for key in itertools.chain(*levels.values()):
            if (other := setters.setdefault(key, axis)) != axis:
                raise UserError(f"{path}: {key}: set by the axes {other} and {axis}; allowed: one axis a key")


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys; lists are kept."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _is_axis(key: str, value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return not _wants_list(key) or (bool(value) and all(isinstance(item, list) for item in value))


def _wants_list(key: str) -> bool:
    """Whether the scenario's key holds a list itself; an unknown key is told when the cell is made."""
    section: type[BaseModel] = Scenario
    *parents, last = key.split(".")
    for parent in parents:
        field = section.model_fields.get(parent)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return False
        section = field.annotation
    field = section.model_fields.get(last)
    return field is not None and any(
        get_origin(kind) is tuple for kind in (field.annotation, *get_args(field.annotation))
    )


def _name_level(value: Any) -> str:
    """Short, and different for different values.

    >>> _name_level(0.0), _name_level(0.5), _name_level(0.1234561)
    ('0', '0.5', '0.1234561')
    """
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _make_cell(
    base: Path, fixed: Mapping[str, Any], axes: Mapping[str, Levels], choice: tuple[str, ...]
) -> Cell:
    levels = dict(zip(axes, choice, strict=True))
    overrides = dict(fixed)
    for axis, level in levels.items():
        overrides |= axes[axis][level]
    try:
        scenario = Scenario.load(base, overrides | {"workers": 1})
    except UserError as error:
        raise UserError(f"cell {describe(levels)}: {error}") from None
    return Cell(levels=levels, scenario=scenario)


def _require_different(cells: tuple[Cell, ...], path: Path) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        if (twin := seen.setdefault(cell.digest, cell)) is not cell:
            raise UserError(
                f"{path}: cells {describe(twin.levels)} and {describe(cell.levels)} are the same run; "
                "allowed: different ones"
            )


def describe(levels: Mapping[str, str]) -> str:
    """A cell's name in messages.

    >>> describe({"seed": "1", "method": "fedavg"})
    '(seed 1, method fedavg)'
    """
    return f"({', '.join(f'{axis} {level}' for axis, level in levels.items())})"

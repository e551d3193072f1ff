"""Beliefs to named arrays and back, bit by bit, without pickle: what ``Twin.save`` writes.

A belief is a frozen dataclass of arrays, whole numbers, floats, other beliefs, and tuples of beliefs.
"""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
B = TypeVar("B")


def to_columns(belief: Any, prefix: str = "") -> Columns:
    """Every array of a belief under its dotted name."""
    columns: Columns = {}
    for field in fields(belief):
        columns |= _flatten(getattr(belief, field.name), f"{prefix}{field.name}")
    return columns


def from_columns(kind: type[B], columns: Columns, prefix: str = "") -> B:
    """The belief of that kind; raises ``KeyError`` where a column is missing."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _build(hints[name], columns, f"{prefix}{name}") for name in names})


def _flatten(value: Any, name: str) -> Columns:
    if is_dataclass(value):
        return to_columns(value, f"{name}.")
    if isinstance(value, tuple):
        columns = {f"{name}.count": np.array(len(value))}
        for index, item in enumerate(value):
            columns |= to_columns(item, f"{name}.{index}.")
        return columns
    return {name: np.asarray(value)}


def _build(hint: Any, columns: Columns, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return from_columns(hint, columns, f"{name}.")
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return tuple(
            from_columns(item, columns, f"{name}.{index}.") for index in range(int(columns[f"{name}.count"]))
        )
    value = columns[name]
    scalar = getattr(hint, "__supertype__", hint)  # Instant and Duration are whole numbers
    return scalar(value) if scalar in (int, float) else value

"""A scenario from and to text: hints for misspelt names, faults in one line, TOML with comments."""

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from platoon.errors import UserError
from platoon.scenario.section import Section


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint for a misspelt name: the close match, and all that is allowed.

    >>> did_you_mean("fedavgg", ["dtb-fl", "fedavg"])
    "did you mean 'fedavg'? allowed: dtb-fl, fedavg"
    """
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(known)}"


def copy_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table and all tables in it, free to be changed."""
    return {key: copy_table(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def assign(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one key of nested tables by its dotted name; raises ``UserError`` where a part of it is no section."""
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"{dotted}: {parent} is a value, not a section")
        table = inner
    table[last] = value


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """The first fault of a validation error, in one line."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {did_you_mean(str(fault['loc'][-1]), _fields_at(root, fault['loc']))}"
    message = fault["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key} = {fault['input']!r}: {message[:1].lower()}{message[1:]}"


def _fields_at(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed in the section that a validation error points into."""
    section = root
    for part in location[:-1]:
        if isinstance(part, int):  # a place in a list, of which the annotation before it told
            continue
        annotation = section.model_fields[part].annotation
        annotation = next(iter(get_args(annotation)), annotation)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        section = annotation
    return list(section.model_fields)


def write_section(section: Section, prefix: str = "") -> str:
    """TOML of a section; a key without a value stands as a comment, as TOML has no null."""
    lines, tables = [], []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            title = type(value).__doc__ or ""
            name = f"{prefix}{key}"
            tables.append(f"\n[{name}]  # {title.splitlines()[0]}\n{write_section(value, f'{name}.')}")
        elif value is None:
            lines.append(f"# {key} is not set  # {field.description}")
        else:
            lines.append(f"{key} = {_toml_value(value)}  # {field.description}")
    return "\n".join(lines) + "\n" + "".join(tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, Section):
        pairs = [
            (key, inner) for key in type(value).model_fields if (inner := getattr(value, key)) is not None
        ]
        return "{" + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)

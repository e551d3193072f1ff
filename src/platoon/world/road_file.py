"""A road map in a file: what a trace needs beside it to be replayed without SUMO, to the bit.

The file is a compressed archive of plain arrays (``.roads.npz``, no pickles): names, polylines one behind the
other with the number of points of each, widths, speed limits, successors likewise, junctions, and which roads cars
may use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from platoon.errors import UserError
from platoon.nouns import Bools, Ints
from platoon.physics.roads import RoadMap
from platoon.world.fcd import KINDS

ENDING = ".roads.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoadFile:
    """What a file of roads holds."""

    road_map: RoadMap
    for_cars: Bools
    """(E,) roads that cars may use."""
    scenario: str
    """Digest of the scenario whose roads they are, as hexadecimal digits; empty where it is of none."""


def road_file_beside(trace: Path) -> Path:
    """Where the road map of an exported trace is.

    >>> road_file_beside(Path("runs/mine.fcd.xml.gz")).as_posix()
    'runs/mine.roads.npz'
    """
    kind = next((kind for kind in sorted(KINDS, key=len, reverse=True) if trace.name.endswith(kind)), "")
    return trace.with_name(trace.name.removesuffix(kind).removesuffix(".fcd") + ENDING)


def save_roads(path: Path, road_map: RoadMap, for_cars: Bools | None = None, scenario: str = "") -> None:
    """Write a road map; ``for_cars`` (E,) are the roads that cars may use, without it all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    everywhere = np.ones(len(road_map.edge_ids), dtype=np.bool_)
    np.savez_compressed(
        path,
        edge_ids=np.array(road_map.edge_ids),
        points=np.concatenate(road_map.polylines),
        point_counts=_count(road_map.polylines),
        widths=road_map.widths,
        speed_limits=road_map.speed_limits,
        successors=np.array([row for found in road_map.successors for row in found], dtype=np.int64),
        successor_counts=_count(road_map.successors),
        junctions=road_map.junctions,
        for_cars=everywhere if for_cars is None else for_cars,
        scenario=np.array(scenario),
    )


def load_roads(path: Path) -> RoadFile:
    """Read a road map.

    Raises:
        UserError: no such file, or not a road map.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; allowed: a road map that `platoon world export` wrote")
    try:
        with np.load(path, allow_pickle=False) as file:
            successors = _split(file["successors"], file["successor_counts"])
            if not all(0 <= row < len(file["edge_ids"]) for found in successors for row in found):
                raise ValueError("a successor is no road")
            road_map = RoadMap.build(
                [str(name) for name in file["edge_ids"]],
                _split(file["points"], file["point_counts"]),
                file["widths"].tolist(),
                speed_limits=file["speed_limits"].tolist(),
                successors=[found.tolist() for found in successors],
                junctions=file["junctions"],
            )
            for_cars = np.asarray(file["for_cars"], dtype=np.bool_)
            scenario = str(file["scenario"])
    except (OSError, EOFError, KeyError, ValueError, TypeError, IndexError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as a road map ({error})") from None
    if len(for_cars) != len(road_map.edge_ids):
        raise UserError(f"{path}: cannot be read as a road map (for_cars is not of its roads)")
    return RoadFile(road_map=road_map, for_cars=for_cars, scenario=scenario)


def _count(groups: Sequence[Any]) -> Ints:
    return np.array([len(group) for group in groups], dtype=np.int64)


def _split(values: Any, counts: Any) -> list[Any]:
    if counts.sum() != len(values):
        raise ValueError("counts do not fit the values")
    return np.split(values, np.cumsum(counts)[:-1])

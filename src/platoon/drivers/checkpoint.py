"""What a run needs to go on: the task's state, what the server's optimiser remembers, the traffic, the twin and
what was spent so far.

A checkpoint is a folder. Its name is committed with the round's blocks; a folder whose name no commit carries is
an attempt that was interrupted, and is passed over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from platoon.errors import UserError
from platoon.learning.server_step import Moments
from platoon.nouns import Digest, Instant
from platoon.protocol.task_rules import TaskState
from platoon.twin.twin import Twin
from platoon.world.world import World

MOMENTS: Final = "moments.npz"


def checkpoint_name(round_number: int) -> str:
    """The folder's name after a round; 0 is the start.

    >>> checkpoint_name(12)
    '000012'
    """
    return f"{round_number:06d}"


def save_checkpoint(  # noqa: PLR0917
    folder: Path,
    state: TaskState,
    moments: Moments | None,
    world: World,
    twin: Twin,
    spent: Mapping[str, float],
) -> None:
    """Write everything into an empty folder; ``spent`` are CPU seconds by part, and ``wall``."""
    for part in ("world", "twin"):
        (folder / part).mkdir()
    world.save(folder / "world")
    twin.save(folder / "twin")
    np.savez(folder / "state.npz", last_chosen=state.last_chosen, label_mix=state.label_mix)
    if moments is not None:
        np.savez(folder / MOMENTS, first=moments.first, second=moments.second)
    numbers = {
        "round": state.round,
        "now": state.now,
        "model": state.model.hex(),
        "former": None if state.former is None else state.former.hex(),
        "accuracy": state.accuracy,
        "has_moments": moments is not None,
        "spent": dict(spent),
    }
    (folder / "state.json").write_text(json.dumps(numbers), encoding="utf-8")


def load_checkpoint(
    folder: Path, world: World, twin: Twin
) -> tuple[TaskState, Moments | None, dict[str, float]]:
    """Take up what was saved; returns the task's state, the optimiser's moments and what was spent so far.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        numbers = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        with np.load(folder / "state.npz", allow_pickle=False) as columns:
            state = TaskState(
                round=int(numbers["round"]),
                now=Instant(int(numbers["now"])),
                model=Digest(bytes.fromhex(numbers["model"])),
                former=None if numbers["former"] is None else Digest(bytes.fromhex(numbers["former"])),
                accuracy=numbers["accuracy"],
                last_chosen=columns["last_chosen"],
                label_mix=columns["label_mix"],
            )
        moments = _load_moments(folder / MOMENTS) if numbers["has_moments"] else None
        spent = {part: float(value) for part, value in numbers["spent"].items()}
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise UserError(f"{folder}: the checkpoint is damaged ({error})") from None
    world.restore(folder / "world")
    twin.restore(folder / "twin")
    return state, moments, spent


def _load_moments(path: Path) -> Moments:
    with np.load(path, allow_pickle=False) as columns:
        return Moments(first=columns["first"], second=columns["second"])

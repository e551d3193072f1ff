"""Link forecasts on real drives: the twin's forecast by a link's own past, against "it stays", by horizon.

The UCC 5G driving traces (60 recordings, about one value a second) are a fleet that sets off together: the code is
``platoon.twin.history``, as the twin runs it for links of which no map tells. The drives are split in
``FOLDS`` by the rank of their file's name; weights are learned on four fifths of the drives, second by second, and
every drive of the last fifth is a vehicle never seen before. Nothing of a drive's future or of another test drive
enters a forecast. A pair counts where both seconds have a value. First of RSRP, as the research page; and of SNR.

Without ``PLATOON_DATA`` (a folder that holds ucc5g/ucc5g.parquet) there is nothing to measure, and it says so.
"""

import os
from pathlib import Path

import numpy as np

from bench.rows import Row
from bench.twin_world import over_seeds
from platoon.errors import UserError
from platoon.nouns import Floats, seconds
from platoon.twin import history
from platoon.twin.history import HORIZONS_S, Lessons
from platoon.world.drives import Drive, read_drives

FOLDS = 5
REFINE_EVERY = 10
"""Seconds between fits while learning."""
QUANTITIES = ("rsrp_dbm", "snr_db")


def measure() -> list[Row]:
    """Rows ``link_mae_vs_persistence_ucc5g_<horizon>s`` (ratio; peer: error of persistence), and of SNR."""
    drives = load_drives()
    rows = []
    for quantity in QUANTITIES:
        found = np.array([play_fold(drives, fold, quantity) for fold in range(FOLDS)])  # (folds, 2, horizons)
        suffix = "" if quantity == "rsrp_dbm" else "_snr"
        for column, horizon in enumerate(HORIZONS_S):
            mine, stays = found[:, :, column].T
            name = f"link_mae_vs_persistence_ucc5g_{horizon:.0f}s{suffix}"
            rows.append(over_seeds(name, (mine / stays).tolist(), "ratio", "it stays, dB", stays.tolist()))
    return rows


def load_drives() -> tuple[Drive, ...]:
    """The driving recordings, in order of name.

    Raises:
        UserError: ``PLATOON_DATA`` is not set.
    """
    folder = os.environ.get("PLATOON_DATA")
    if not folder:
        raise UserError("bench.twin drives: PLATOON_DATA is not set to a folder with ucc5g/ucc5g.parquet")
    return read_drives(Path(folder) / "ucc5g" / "ucc5g.parquet")


def play_fold(drives: tuple[Drive, ...], fold: int, quantity: str) -> Floats:
    """(2, horizons) mean absolute errors, dB, of the forecast and of "it stays" on the drives of one fold."""
    test = [drive for rank, drive in enumerate(drives) if rank % FOLDS == fold]
    training = [drive for rank, drive in enumerate(drives) if rank % FOLDS != fold]
    return judge(learn(line_up(training, quantity)), line_up(test, quantity))


def line_up(drives: list[Drive], quantity: str) -> Floats:
    """(T, N) dB: the drives as vehicles that set off together; NaN where nothing is measured."""
    values = np.full((max(len(drive) for drive in drives), len(drives)), np.nan)
    for column, drive in enumerate(drives):
        values[: len(drive), column] = getattr(drive, quantity)
    return values


def learn(values: Floats) -> Lessons:
    """What a fleet's links (T, N) teach, second by second."""
    past, lessons = history.start_past(values.shape[1]), history.start_lessons()
    for second, value in enumerate(values, start=1):
        at = seconds(second)
        past = history.look(past, at, value)
        lessons = history.learn(lessons, past, at, value, every_s=1.0)
        if second % REFINE_EVERY == 0:
            lessons = history.refine(lessons)
    return lessons


def judge(lessons: Lessons, values: Floats) -> Floats:
    """(2, horizons) mean absolute errors on other links (T, N), of which the lessons learn nothing."""
    past = history.start_past(values.shape[1])
    everyone = np.arange(values.shape[1])
    errors, number = np.zeros((2, len(HORIZONS_S))), np.zeros(len(HORIZONS_S))
    for second, value in enumerate(values, start=1):
        past = history.look(past, seconds(second), value)
        expected, _ = history.forecast(lessons, past, everyone, HORIZONS_S)
        for column, horizon in enumerate(HORIZONS_S.astype(int)):
            if second - 1 + horizon >= len(values):
                break
            came = values[second - 1 + horizon]
            both = np.isfinite(came) & np.isfinite(expected[column])
            errors[0, column] += np.abs(expected[column] - came)[both].sum()
            errors[1, column] += np.abs(past.value - came)[both].sum()
            number[column] += both.sum()
    return errors / number

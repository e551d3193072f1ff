"""Folders that one process at a time works in: run directories, and scratch folders that a killed process left.

A hold is an exclusive ``flock`` on a file in the folder. The system lets go of it when the process ends, however it
ends, so a run that was killed never has to be unlocked by hand. It goes with the folder when that is renamed.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from platoon.errors import UserError

NAME = ".lock"
_SCRATCH = "platoon-scratch-"


class Hold:
    """An exclusive hold on a folder, until ``release`` or the end of the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._folder = folder
        self._descriptor: int | None = descriptor

    def moved(self, folder: Path) -> "Hold":
        """The same hold, after the folder was renamed."""
        self._folder = folder
        return self

    def release(self) -> None:
        """Let go; may be called twice."""
        if self._descriptor is not None:
            (self._folder / NAME).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def hold(folder: Path, called: Path | None = None) -> Hold:
    """Take hold of a folder that exists; ``called``: what a user calls it.

    Raises:
        UserError: another process works in it, or it cannot be locked.
    """
    found = _try_hold(folder)
    if found is None:
        raise UserError(
            f"{called or folder}: another process is at work in it; wait until it has ended, or end it"
        )
    return found


def _try_hold(folder: Path) -> Hold | None:
    path = folder / NAME
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"{path}: cannot be locked ({error.strerror})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise UserError(f"{path}: cannot be locked ({error.strerror})") from None
        if _is_at(descriptor, path):
            return Hold(folder, descriptor)
        os.close(
            descriptor
        )  # its holder let go of it, and removed it, in between: the next one is another file


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what is not kept, removed at the end. Those of processes that were killed are removed now."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f".{_SCRATCH}"))
    held = hold(folder)
    visible = folder.with_name(folder.name[1:])  # held from the moment at which others may sweep it
    folder.rename(visible)
    held.moved(visible)
    try:
        yield visible
    finally:
        shutil.rmtree(visible, ignore_errors=True)
        held.release()


def _sweep(place: Path) -> None:
    """Remove scratch folders that nobody holds."""
    for folder in place.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(UserError):  # another user's: not ours to remove
            held = _try_hold(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                held.release()

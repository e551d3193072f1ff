"""One process at a time works in a folder; what a killed one held is free, and its scratch folder goes."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from platoon import Scenario
from platoon.cli.main import app
from platoon.drivers import locks
from platoon.drivers.locks import hold, scratch_folder
from platoon.drivers.run_directory import RunDirectory
from platoon.errors import UserError

HOLDER = """
import sys
from pathlib import Path
from platoon.drivers.locks import hold, scratch_folder
if sys.argv[1] == "scratch":
    with scratch_folder() as folder:
        (folder / "grid.net.xml").write_text("<net/>")
        print(folder, flush=True)
        sys.stdin.read()
else:
    held = hold(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start_holder() -> Iterator[Callable[[str], tuple[subprocess.Popen[str], str]]]:
    """Starts processes that hold a folder until they are killed; gives the process and what it said."""
    started: list[subprocess.Popen[str]] = []

    def start(what: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_folder_is_held_once(tmp_path: Path) -> None:
    first = hold(tmp_path)
    with pytest.raises(UserError, match="another process is at work in it"):
        hold(tmp_path)
    first.release()
    first.release()
    assert list(tmp_path.iterdir()) == []
    hold(tmp_path).release()


def test_a_killed_process_holds_nothing(
    tmp_path: Path, start_holder: Callable[[str], tuple[subprocess.Popen[str], str]]
) -> None:
    process, _ = start_holder(str(tmp_path))
    with pytest.raises(UserError, match="another process"):
        hold(tmp_path)
    process.kill()
    process.wait()
    hold(tmp_path).release()


def test_a_hold_goes_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "making").mkdir()
    held = hold(tmp_path / "making")
    (tmp_path / "making").rename(tmp_path / "run")
    held.moved(tmp_path / "run")
    with pytest.raises(UserError, match="another process"):
        hold(tmp_path / "run")
    held.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, its holder let go and removed it: that file locks nobody out."""
    real, removed = locks.fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            (tmp_path / locks.NAME).unlink()
            removed.append(True)
        real(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    held = hold(tmp_path)
    with pytest.raises(UserError, match="another process"):
        hold(tmp_path)
    held.release()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*cannot be locked"):
        hold(tmp_path / "nowhere")


# ---- scratch folders ----


def test_scratch_folders_of_killed_processes_are_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start_holder: Callable[[str], tuple[subprocess.Popen[str], str]],
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, left = start_holder("scratch")
    _, living = start_holder("scratch")
    killed.kill()
    killed.wait()
    assert Path(left).is_dir()
    (tmp_path / "platoon-of-somebody-else").mkdir()
    with scratch_folder() as mine:
        assert not Path(left).exists()
        assert (Path(living) / "grid.net.xml").is_file()
        assert mine.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [Path(living).name, "platoon-of-somebody-else"]
    )


def test_a_scratch_folder_goes_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail() -> None:
        with scratch_folder() as folder:
            (folder / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


# ---- run directories ----


def test_a_new_run_directory_is_held(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", Scenario())
    with pytest.raises(UserError, match="another process"):
        RunDirectory.open(tmp_path / "run").hold()
    directory.release()
    with RunDirectory.open(tmp_path / "run").hold():
        pass


def test_two_processes_make_one_run_directory(
    tmp_path: Path, start_holder: Callable[[str], tuple[subprocess.Popen[str], str]]
) -> None:
    (tmp_path / ".run.making").mkdir()
    process, _ = start_holder(str(tmp_path / ".run.making"))
    with pytest.raises(UserError, match=r"/run: another process is at work in it"):
        RunDirectory.create(tmp_path / "run", Scenario())
    process.kill()
    process.wait()
    (tmp_path / ".run.making" / "models").mkdir()  # as far as it had come
    (tmp_path / ".run.making" / "models" / "half").write_text("")
    (tmp_path / ".run.making" / "half").write_text("")
    with RunDirectory.create(tmp_path / "run", Scenario()):
        assert not (tmp_path / "run" / "half").exists()
        assert list((tmp_path / "run" / "models").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_resume_where_another_process_is_at_work(
    tmp_path: Path, start_holder: Callable[[str], tuple[subprocess.Popen[str], str]]
) -> None:
    RunDirectory.create(tmp_path / "run", Scenario()).release()
    start_holder(str(tmp_path / "run"))
    result = CliRunner().invoke(app, ["resume", str(tmp_path / "run")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "run: another process is at work in it; wait until it has ended, or end it" in result.stderr
    assert (tmp_path / "run" / "scenario.toml").is_file()


def test_resume_of_a_comparison_where_another_process_is_at_work(
    tmp_path: Path, start_holder: Callable[[str], tuple[subprocess.Popen[str], str]]
) -> None:
    (tmp_path / "comparison.toml").write_text(Scenario().to_toml())
    start_holder(str(tmp_path))
    result = CliRunner().invoke(app, ["resume", str(tmp_path)])
    assert result.exit_code == 2
    assert "another process is at work in it" in result.stderr

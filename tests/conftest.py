"""Data sets for tests: MNIST is always there (`make test` fetches it); others need PLATOON_DATA."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of data sets that PLATOON_DATA names. Skips a user's run without one, fails CI's."""
    name = os.environ.get("PLATOON_DATA")
    if name and Path(name).is_dir():
        return Path(name)
    if os.environ.get("CI"):
        pytest.fail("PLATOON_DATA is not set: CI must run the tests that need data sets")
    pytest.skip("needs data sets that are not distributed with platoon: set PLATOON_DATA")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines what was skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = sorted(
            {str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)}
        )
        terminalreporter.write_line(f"skipped {len(skipped)} tests: {'; '.join(reasons)}")

"""The long run that the benchmark of the ledger makes: `platoon verify` takes it, and refuses it once changed."""

from pathlib import Path

import pytest

from bench.long_run import STEPS, write
from platoon.drivers.verify import verify_run
from platoon.errors import VerificationError


def test_a_long_run_verifies(tmp_path: Path) -> None:
    write(tmp_path / "run", 1 + 7 * STEPS)
    found = verify_run(tmp_path / "run")
    assert (found["rounds"], found["updates"], found["local_blocks"]) == (7, 7, 7)
    changed = next((tmp_path / "run" / "models").iterdir())
    changed.write_bytes(changed.read_bytes()[:-1] + b"\xff")
    with pytest.raises(VerificationError, match=r"another SHA-256|not what its name says"):
        verify_run(tmp_path / "run")

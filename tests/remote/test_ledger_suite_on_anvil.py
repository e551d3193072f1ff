"""The embedded engine's own tests, unchanged, with the ledger on anvil: every reason to refuse, every reading."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ledger.conftest import RULES, Town
from tests.ledger.test_refused import *  # noqa: F403
from tests.ledger.test_task_chain import *  # noqa: F403
from tests.remote.conftest import Anvil

from platoon.records.rules import Rules

pytestmark = [pytest.mark.anvil, pytest.mark.long]


@pytest.fixture
def make_town(start_anvil: Callable[..., Anvil], tmp_path: Path) -> Callable[..., Town]:
    """Builds towns, each on a chain of its own."""
    count = 0

    def make(rules: Rules = RULES, **options: int) -> Town:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        anvil = start_anvil(options.get("chain_id", 7400), "--gas-limit", "60000000")
        return Town(folder, rules, connect=anvil.connect, **options)

    return make


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """The town with the default rules."""
    return make_town()

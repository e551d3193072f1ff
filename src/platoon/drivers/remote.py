"""From a scenario to the network that keeps its ledger; here time comes from the machine's clock."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platoon.drivers.progress import Progress
from platoon.drivers.run_directory import RunDirectory
from platoon.errors import UserError
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.task_chain import Connect
from platoon.scenario import Scenario

if TYPE_CHECKING:
    from platoon.ledger.courier import Courier
    from platoon.ledger.rpc import RemoteLedger

PLACES = "places.jsonl"
"""Beside the ledger: where in the chain each transaction stands. For people; nothing depends on it."""


def connect_ledger(scenario: Scenario, progress: Progress, folder: Path) -> Connect | None:
    """What puts the scenario's network in front of a run's log; None for the embedded engine.

    The node is asked already here, before anything is written.

    Raises:
        UserError: web3 is not installed, no node answers, or its chain is another or not fit for platoon.
    """
    if scenario.ledger.engine == "embedded":
        return None
    courier = _make_courier(scenario, scenario.ledger.url, lambda what: progress.step(scenario.method, what))
    courier.greet(scenario.ledger.chain_id)
    from platoon.ledger.rpc import RemoteLedger  # noqa: PLC0415

    def connect(log: EmbeddedLedger) -> "RemoteLedger":
        return RemoteLedger(log, courier, places=folder / PLACES)

    return connect


def check_run_on_chain(path: Path, url: str | None, tell: Callable[[str], None]) -> dict[str, Any]:
    """Hold a run's ledger against a live chain; ``url``: of a node, or that of the run's scenario.

    Raises:
        UserError: no run directory, web3 is not installed, no node answers, or its chain is another.
        VerificationError: the first thing that differs.
    """
    directory = RunDirectory.open(path)
    scenario = directory.scenario
    if not directory.ledger.is_file():
        raise UserError(f"{path}: ledger.sqlite is missing")
    if url is None and scenario.ledger.engine == "embedded":
        raise UserError(f"{path}: the run's ledger was on no network; name a node with --url")
    courier = _make_courier(scenario, url or scenario.ledger.url, tell)
    from platoon.ledger.chain_check import check_chain  # noqa: PLC0415

    return {
        "directory": str(path),
        "url": courier.node.name,
        **asdict(check_chain(directory.ledger, courier)),
    }


def _make_courier(scenario: Scenario, url: str, tell: Callable[[str], None]) -> "Courier":
    try:
        from platoon.ledger.courier import Courier, Surroundings  # noqa: PLC0415
        from platoon.ledger.node import Node  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UserError(
            f"ledger.engine = 'rpc' needs the extra 'rpc': pip install 'platoon[rpc]' ({error.name} is missing)"
        ) from None
    surroundings = Surroundings(
        clock=time.monotonic,
        sleep=time.sleep,
        tell=tell,
        deadline_s=scenario.ledger.deadline_s,
        confirmations=scenario.ledger.confirmations,
    )
    return Courier(Node.at(url), surroundings)

"""From a scenario to the network that keeps its ledger; here time comes from the machine's clock."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from platoon.drivers.progress import Progress
from platoon.errors import UserError
from platoon.ledger.engine import EmbeddedLedger
from platoon.ledger.task_chain import Connect
from platoon.scenario import Scenario

if TYPE_CHECKING:
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
    try:
        from platoon.ledger.courier import Courier, Surroundings  # noqa: PLC0415
        from platoon.ledger.node import Node  # noqa: PLC0415
        from platoon.ledger.rpc import RemoteLedger  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UserError(
            f"ledger.engine = 'rpc' needs the extra 'rpc': pip install 'platoon[rpc]' ({error.name} is missing)"
        ) from None
    surroundings = Surroundings(
        clock=time.monotonic,
        sleep=time.sleep,
        tell=lambda what: progress.step(scenario.method, what),
        deadline_s=scenario.ledger.deadline_s,
        confirmations=scenario.ledger.confirmations,
    )
    courier = Courier(Node.at(scenario.ledger.url), surroundings)
    courier.greet(scenario.ledger.chain_id)

    def connect(log: EmbeddedLedger) -> "RemoteLedger":
        return RemoteLedger(log, courier, places=folder / PLACES)

    return connect

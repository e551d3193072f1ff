"""platoon: vehicles that learn together, on the road, and only from those they can trust.

>>> from platoon import Scenario
>>> Scenario().method
'dtb-fl'
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from platoon.scenario import Scenario

if TYPE_CHECKING:
    from platoon.drivers.progress import Progress

__all__ = ["Scenario", "__version__", "run"]
__version__ = "0.1.0"


def run(scenario: Scenario, out: str | Path, progress: "Progress | None" = None) -> dict[str, Any]:
    """Run a scenario into a new folder ``out``; returns its summary (``summary.json``).

    Raises:
        platoon.errors.UserError: something that the caller can put right; no folder is left behind then.
        platoon.errors.HaltedError: too few edge servers answered; ``platoon resume`` goes on from the last round.
    """
    # Imported here, so that `import platoon` costs no torch, no SUMO and no EVM.
    from platoon.drivers.run import run_scenario  # noqa: PLC0415

    return run_scenario(scenario, Path(out), progress)

"""One cell of a grid, in a process of its own: ``python -m platoon.experiments.grid.cell SCENARIO RESULT [RUN]``.

The run is played in a scratch folder, or kept where a third argument says; only its measures are left behind.
"""

import json
import shutil
import sys
from pathlib import Path

from platoon.drivers.locks import scratch_folder
from platoon.drivers.run import run_scenario
from platoon.drivers.run_directory import RunDirectory, write_atomically
from platoon.errors import HaltedError, UserError, VerificationError, WorkerError
from platoon.experiments.grid.measures import measure_run
from platoon.scenario import Scenario


def main(arguments: list[str]) -> int:
    """Play and measure; what a user can put right, and a run that halts, is told in the result."""
    scenario, result = Scenario.load(arguments[0]), Path(arguments[1])
    with scratch_folder() as scratch:
        out = Path(arguments[2]) if len(arguments) > 2 else scratch / "run"
        try:
            shutil.rmtree(out, ignore_errors=True)  # what an interrupted attempt left where runs are kept
            run_scenario(scenario, out)
            told = measure_run(RunDirectory.open(out))
        except (UserError, HaltedError, VerificationError, WorkerError) as error:
            told = {"error": str(error)}
    write_atomically(result, json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""ByzFL (https://byzfl.epfl.ch), the oracle of tests and peer of benchmarks; platoon itself never imports it."""

import importlib
import importlib.util
import sys
import types
from typing import Any


def load_byzfl(part: str) -> Any:
    """The module of that name, as ``aggregators``.

    The package's own start imports a torchvision that does not go with a torch for CPUs, so that an empty package
    stands in for it.
    """
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        assert found is not None, "byzfl is missing: `make setup-dev` installs it"
        package = types.ModuleType("byzfl")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["byzfl"] = package
    return importlib.import_module(f"byzfl.{part}")

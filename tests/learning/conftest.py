"""One torch thread, as in the workers: two threads on a busy machine spin and cost far more than they give. And
ByzFL, the oracle of what is classical."""

import importlib.util
import sys
import types

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def byzfl():
    """Loads a part of ByzFL, as ``byzfl("aggregators")``: the package's own start imports a torchvision that does
    not go with a torch for CPUs, so that an empty package stands in for it."""
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        assert found is not None, "byzfl is missing: `make setup-dev` installs it"
        package = types.ModuleType("byzfl")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["byzfl"] = package
    return lambda part: importlib.import_module(f"byzfl.{part}")

"""One torch thread, as in the workers: two threads on a busy machine spin and cost far more than they give. And
ByzFL, the oracle of what is classical."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def byzfl():
    """Loads a part of ByzFL, as ``byzfl("aggregators")``."""
    from bench.byzfl import load_byzfl  # noqa: PLC0415 (only who asks for it needs the repository's root in the path)

    return load_byzfl

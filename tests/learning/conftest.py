"""One torch thread, as in the workers: two threads on a busy machine spin and cost far more than they give."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)

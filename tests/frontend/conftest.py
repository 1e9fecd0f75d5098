"""One thread: these networks are too small to share, and two threads that wait for each other suffer on a busy machine."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)

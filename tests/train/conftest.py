"""Settings of the tests of trainings."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Products this small only get slower by more threads, on a busy machine a hundred times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""What the tests on a CUDA device share; cuda_emulation/test_emulated_ops.py runs most of them in the emulation."""

import contextlib

import pytest
import torch

from gatentk import ops


@pytest.fixture
def device():
    """The first CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    yield torch.device("cuda", 0)
    ops.select_cuda_precision("auto")


@pytest.fixture
def cpu():
    """A context in which CPU tensors meet the kernels of the CPU."""
    return contextlib.nullcontext

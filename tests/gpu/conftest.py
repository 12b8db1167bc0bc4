"""Devices for the tests of operations on CUDA tensors: a CUDA device, with -m gpu, and emulated kernels.

In the emulation CPU tensors go where CUDA tensors go. How kernels round is tested on a CUDA device and, for every
configuration, in tests/cuda_emulation.
"""

import contextlib
from pathlib import Path

import pytest
import torch
from cases.emulation import Emulation, kernels_for

from gatentk import ops
from gatentk.ops import cuda


def pytest_collection_modifyitems(items):
    """Machines with a device have other versions of torch; what these warn of themselves is no fault of the kernels."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.filterwarnings(r"default:::torch(\.|$)"))


@pytest.fixture
def cuda_device():
    """The first CUDA device. cuBLAS sums in float32, where torch lets it add parts of long sums in bfloat16."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    matmul = torch.backends.cuda.matmul
    allowed = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    yield torch.device("cuda", 0)
    matmul.allow_bf16_reduced_precision_reduction = allowed
    ops.select_cuda_precision("auto")


@pytest.fixture
def emulation(emulated, monkeypatch):
    """CPU tensors meet emulated kernels, as on a device of architecture 90."""
    monkeypatch.setattr(cuda, "kernels", lambda: kernels_for(90, emulated))
    emulation = Emulation()
    emulation.on()
    yield emulation
    emulation.off()
    ops.select_cuda_precision("auto")


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), "emulated"])
def device(request):
    """Where the tensors of a test lie."""
    if request.param == "cuda":
        return request.getfixturevalue("cuda_device")
    request.getfixturevalue("emulation")
    return torch.device("cpu")


@pytest.fixture
def cpu(request, device):
    """A context in which CPU tensors meet the kernels of the CPU."""
    return contextlib.nullcontext if device.type == "cuda" else request.getfixturevalue("emulation").paused

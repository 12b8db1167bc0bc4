"""The operations for CUDA tensors on emulated kernels: the tests of tests/gpu with CPU tensors instead of CUDA ones."""

import contextlib
import sys
import warnings
from pathlib import Path

import pytest
import torch

from gatentk import ops
from gatentk.ops import cuda, registration

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import every_operation
import test_gpu_gate_gram
import test_gpu_gram
import test_gpu_infinite_ntk
import test_gpu_masked_matmul
import test_gpu_networks
import test_gpu_pack_bits

ARCHITECTURES = (80, 90, 100)


class Emulation:
    """While it is on, CPU tensors go where CUDA tensors go."""

    def __init__(self):
        self._scope = contextlib.ExitStack()

    def on(self):
        library = self._scope.enter_context(torch.library._scoped_library("gatentk", "IMPL"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
            for name, run in registration.CUDA.items():
                library.impl(name, run, "CPU", allow_override=True)

    def off(self):
        self._scope.close()

    @contextlib.contextmanager
    def paused(self):
        self.off()
        try:
            yield
        finally:
            self.on()


def kernels_for(architecture, module):
    """The operations on a device of that architecture with few multiprocessors."""
    return cuda.CudaKernels(
        module, lambda tensor: contextlib.nullcontext((architecture, 4, 0)), cuda.precision, ops.QUANTITIES
    )


@pytest.fixture
def emulation(emulated, monkeypatch):
    monkeypatch.setattr(cuda, "kernels", lambda: kernels_for(90, emulated))
    emulation = Emulation()
    emulation.on()
    yield emulation
    emulation.off()
    ops.select_cuda_precision("auto")


@pytest.fixture
def device(emulation):
    return torch.device("cpu")


@pytest.fixture
def cpu(emulation):
    return emulation.paused


def collected(module):
    """A class with the tests of a module, but for those of rounding, which every kernel has in its own file."""
    tests = {name: staticmethod(test) for name, test in vars(module).items() if name.startswith("test_")}
    chosen = {name: test for name, test in tests.items() if "as_accurate_as" not in name}
    return type(f"Test{module.__name__}", (), chosen)


TestPackBits = collected(test_gpu_pack_bits)
TestGateGram = collected(test_gpu_gate_gram)
TestMaskedMatmul = collected(test_gpu_masked_matmul)
TestGram = collected(test_gpu_gram)
TestInfiniteNtk = collected(test_gpu_infinite_ntk)
TestNetworks = collected(test_gpu_networks)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_operation_on_every_architecture(emulated, emulation, monkeypatch, architecture):
    arguments = every_operation.inputs("cpu")
    with emulation.paused():
        expected = every_operation.every_operation(*arguments)
    monkeypatch.setattr(cuda, "kernels", lambda: kernels_for(architecture, emulated))
    for found, plain in zip(every_operation.every_operation(*arguments), expected, strict=True):
        if plain.is_floating_point():
            tolerance = 100 * torch.finfo(plain.dtype).eps * float(plain.abs().max())
            torch.testing.assert_close(found, plain, rtol=0, atol=tolerance)
        else:
            assert torch.equal(found, plain)

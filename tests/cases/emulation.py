"""The kernels for CUDA on the CPU: the emulated module, and CPU tensors in the place of CUDA tensors."""

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import warnings
from unittest import mock

import torch
from cases import emulation_build
from cases.devices import made_up

from gatentk import ops
from gatentk.ops import cuda, masked, precision, registration

LANE_ORDERS = ("forward", "reversed", "shuffled")


def load():
    """The module `_cuda` whose kernels run on the CPU; beside its functions it has those that set the emulator up.

    They are set_lane_order(name, seed) and set_tensor_cores(architecture), at first "forward" and 80.

    Raises:
        emulation_build.CompileError: the kernels do not compile.
    """
    path = emulation_build.emulated_module()
    loader = importlib.machinery.ExtensionFileLoader("_cuda", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_cuda", loader))
    loader.exec_module(module)
    library = ctypes.CDLL(str(path))

    def set_lane_order(name, seed=0):
        library.gatentk_set_lane_order(LANE_ORDERS.index(name), ctypes.c_uint(seed))

    module.set_lane_order = set_lane_order
    module.set_tensor_cores = library.gatentk_set_tensor_cores
    return module


def kernels_for(architecture, module):
    """The operations on a device of that architecture with few multiprocessors."""
    return cuda.CudaKernels(
        module,
        lambda tensor: contextlib.nullcontext(made_up(architecture, 4)),
        precision.precision,
        ops.QUANTITIES + ops.NETWORK_QUANTITIES,
    )


def asks_the_dispatcher(product):
    """No product is plain; a function as torch.compile knows them."""
    return False


def like_a_device(tensor):
    """Every tensor is; the same."""
    return True


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
        # Products of CPU tensors must ask the dispatcher, which knows of this.
        self._scope.enter_context(mock.patch.object(masked, "_is_plain", asks_the_dispatcher))
        self._scope.enter_context(mock.patch.object(cuda, "serves", like_a_device))

    def off(self):
        self._scope.close()

    @contextlib.contextmanager
    def paused(self):
        self.off()
        try:
            yield
        finally:
            self.on()

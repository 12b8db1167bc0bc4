"""The kernels for CUDA, compiled against the emulator."""

import ctypes
import importlib.machinery
import importlib.util

import emulation_build
import pytest

LANE_ORDERS = ("forward", "reversed", "shuffled")


@pytest.fixture(scope="session")
def emulated():
    """The module `_cuda` whose kernels run on the CPU, and set_lane_order(name, seed) beside its functions."""
    try:
        path = emulation_build.emulated_module()
    except emulation_build.CompileError as error:
        pytest.fail(str(error), pytrace=False)
    loader = importlib.machinery.ExtensionFileLoader("_cuda", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_cuda", loader))
    loader.exec_module(module)
    switch = ctypes.CDLL(str(path)).gatentk_set_lane_order

    def set_lane_order(name, seed=0):
        switch(LANE_ORDERS.index(name), ctypes.c_uint(seed))

    module.set_lane_order = set_lane_order
    return module


@pytest.fixture(params=LANE_ORDERS)
def lane_order(request, emulated):
    """Every order of lanes and blocks in turn."""
    emulated.set_lane_order(request.param, seed=1)
    yield request.param
    emulated.set_lane_order("forward")

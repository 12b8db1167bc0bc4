"""The kernels for CUDA, compiled against the emulator."""

import pytest
from cases.emulation import LANE_ORDERS


@pytest.fixture(params=LANE_ORDERS)
def lane_order(request, emulated):
    """Every order of lanes and blocks in turn."""
    emulated.set_lane_order(request.param, seed=1)
    yield request.param
    emulated.set_lane_order("forward")


@pytest.fixture(params=[80, 90])
def tensor_cores(request, emulated):
    """Architectures whose tensor cores cut sums off in different ways."""
    emulated.set_tensor_cores(request.param)
    yield request.param
    emulated.set_tensor_cores(80)

"""The kernels for CUDA, compiled against the emulator."""

import pytest
from cases.emulation import LANE_ORDERS


@pytest.fixture(params=LANE_ORDERS)
def lane_order(request, emulated):
    """Every order of lanes and blocks in turn."""
    emulated.set_lane_order(request.param, seed=1)
    yield request.param
    emulated.set_lane_order("forward")

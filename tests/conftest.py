"""Settings and fixtures shared by all tests."""

import os

import hypothesis
import pytest
import torch

from gatentk import ops

# Results must not depend on how fast this machine was in some moment; processes that tests start inherit it.
os.environ["GATENTK_CALIBRATION"] = "off"

# Asserts in what tests share tell as much as those of tests.
pytest.register_assert_rewrite("cases")

# Examples are the same in every run; fixtures here only choose kernels or seed generators, so reuse is safe.
hypothesis.settings.register_profile(
    "gatentk",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gatentk")


@pytest.fixture(params=ops.available_isas())
def isa(request):
    """Every instruction set in turn; the one that was in use comes back afterwards."""
    before = ops.isa()
    ops.select_isa(request.param)
    yield request.param
    ops.select_isa(before)


@pytest.fixture
def generator():
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def one_thread():
    """For many small calls; what threads do has tests of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def emulated():
    """The module `_cuda` whose kernels run on the CPU."""
    from cases import emulation, emulation_build

    try:
        return emulation.load()
    except emulation_build.CompileError as error:
        pytest.fail(str(error), pytrace=False)

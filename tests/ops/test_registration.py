"""What every registered operation can do: batches, and where it is differentiated."""

import pytest
import torch
from cases.tensors import factor
from torch.autograd import forward_ad

from gatentk import ops, reference
from gatentk.ops import registration


def test_operations_without_a_kernel_for_cuda_are_those_that_need_none():
    assert set(registration.CUDA) == {
        *("pack_bits", "unpack_bits", "transpose_bits", "gate_gram", "ordered_linear"),
        *("infinite_ntk", "gram_ntk", "masked_matmul"),
    }
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("gatentk::build_plan", "CUDA")


def test_vmap_runs_one_member_after_the_other(generator):
    x = torch.stack([factor(generator, (5, 4), torch.float64, 1) for _ in range(3)], dim=1)
    found = torch.func.vmap(lambda rows: ops.infinite_ntk(rows, None, [2], "relu"), in_dims=1)(x)
    assert torch.equal(found, torch.stack([ops.infinite_ntk(x[:, i].clone(), None, [2], "relu") for i in range(3)]))


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_tangents_reach_an_operation_that_needs_no_gradient(generator):
    z, weight, tangent = (factor(generator, shape, torch.float64, 1) for shape in ((9, 20), (5, 20), (9, 20)))
    with forward_ad.dual_level():
        out = ops.masked_linear(forward_ad.make_dual(z, tangent), weight, method="masked")
        found = forward_ad.unpack_dual(out).tangent
    torch.testing.assert_close(found, reference.masked_linear(tangent, weight))


def test_nothing_is_recorded_where_nobody_asks(generator):
    z, weight = (factor(generator, shape, torch.float32, 1).requires_grad_() for shape in ((9, 20), (5, 20)))
    with torch.no_grad():
        assert not ops.masked_linear(z, weight).requires_grad
        assert not ops.gram_ntk([z], [z]).requires_grad
    assert ops.masked_linear(z, weight).grad_fn is not None

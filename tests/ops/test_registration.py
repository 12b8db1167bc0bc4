"""What every registered operation can do: batches, and where it is differentiated."""

import pytest
import torch
from cases.products import Layer
from cases.tensors import factor
from torch._vmap_internals import _vmap
from torch.autograd import forward_ad
from torch.autograd.functional import hessian, jacobian

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


def differentiable(gates):
    """By name: an operation with gradients and the same in plain torch, of factors (5, 4) and (3, 4)."""
    inside, outside, either = gates
    layer = Layer(inside, 4)

    def product(z, weight):
        return ops.masked_linear(z, weight, layer, outside, method="masked")

    def plain_product(z, weight):
        return reference.masked_linear(z, weight, inside, outside)

    def dense(z, weight):
        return ops.masked_linear(z, weight, None, outside, method="dense")

    def plain_dense(z, weight):
        return reference.masked_linear(z, weight, None, outside)

    def kernel(z, weight):
        """Of two layers, the second with deltas of width 0."""
        return ops.gram_ntk([z, z], [2 * z, z[:, :0]], gates=[(inside, None)] * 2, bias=[1.0, 0.5])

    def plain_kernel(z, weight):
        on = z * reference.unpack_bits(inside, 4)
        return (on @ on.T + 1) * (4 * z @ z.T) + on @ on.T + 0.5

    def rectangle(z, weight):
        return ops.gram_ntk(
            [z, z], [z, 3 * z], [weight, weight], [weight, weight], gates=[either, None], components=True
        )

    def plain_rectangle(z, weight):
        on = z * reference.unpack_bits(either, 4)
        return torch.stack([(on @ weight.T).square(), 3 * (z @ weight.T).square()])

    yield from {
        "masked": (product, plain_product),
        "dense": (dense, plain_dense),
        "kernel": (kernel, plain_kernel),
        "rectangle": (rectangle, plain_rectangle),
    }.items()


@pytest.fixture(params=["masked", "dense", "kernel", "rectangle"])
def pair(request, generator):
    """Two factors, an operation of them and the same in plain torch."""
    z, weight = (factor(generator, (n, 4), torch.float64, 1) for n in (5, 3))
    gates = [ops.pack_bits(torch.rand(5, width, generator=generator) < 0.5) for width in (4, 3, 4)]
    return (z, weight), *dict(differentiable(gates))[request.param]


STRATEGIES = pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
DECOMPOSED = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


@STRATEGIES
@DECOMPOSED
def test_jacobians_may_be_vectorised(pair, strategy):
    inputs, operation, plain = pair
    found = jacobian(operation, inputs, vectorize=True, strategy=strategy)
    torch.testing.assert_close(found, jacobian(plain, inputs))
    transform = torch.func.jacrev if strategy == "reverse-mode" else torch.func.jacfwd
    torch.testing.assert_close(transform(operation, (0, 1))(*inputs), jacobian(plain, inputs))


@STRATEGIES
@DECOMPOSED
def test_hessians_may_be_vectorised(pair, strategy):
    inputs, operation, plain = pair
    expected = hessian(lambda *a: plain(*a).square().sum(), inputs)
    found = hessian(lambda *a: operation(*a).square().sum(), inputs, vectorize=True, outer_jacobian_strategy=strategy)
    torch.testing.assert_close(found, expected)
    found = torch.func.hessian(lambda *a: operation(*a).square().sum(), (0, 1))(*inputs)
    torch.testing.assert_close(found, expected)


def test_many_gradients_at_once(pair, generator):
    """`is_grads_batched`, of first and of second derivatives."""
    inputs, operation, plain = pair
    results = []
    for function in (operation, plain):
        leaves = [t.clone().requires_grad_() for t in inputs]
        out = function(*leaves)
        upstream = torch.randn(6, *out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        options = {"is_grads_batched": True, "allow_unused": True}
        first = torch.autograd.grad(out, leaves, upstream, create_graph=True, **options)
        found = [slope for slope in first if slope is not None]
        second = torch.autograd.grad(found[0], leaves, torch.stack([torch.ones_like(found[0])] * 2), **options)
        results.append([slope.detach() for slope in (*found, *second) if slope is not None and slope.any()])
    torch.testing.assert_close(*results)


def test_gradients_of_single_members(pair):
    (z, weight), operation, plain = pair
    many = torch.stack([weight, -weight, 2 * weight])
    for argnums in (0, 1):
        found, expected = (
            torch.func.vmap(torch.func.grad(lambda *a, f=f: f(*a).square().sum(), argnums), (None, 0))(z, many)
            for f in (operation, plain)
        )
        torch.testing.assert_close(found, expected)


def test_first_vmap_of_operations_without_gradients(generator):
    """Nested too: torch's own functions batch by it what they compute of a gradient."""
    mask = torch.rand(2, 3, 5, 4, generator=generator) < 0.5
    x = factor(generator, (2, 3, 5, 4), torch.float64, 1)
    weight = factor(generator, (6, 4), torch.float64, 1)

    def every(mask, x):
        bits = ops.pack_bits(mask)
        results = bits, ops.unpack_bits(bits, 4), ops.transpose_bits(bits, 4), ops.gate_gram(bits)
        rows = ops.infinite_ntk(x, None, [1, 2], "relu"), ops.build_plan(bits, 4)
        return *results, *rows, ops.infinite_ntk(x, weight[:3], [1], "relu_angle")

    found = _vmap(_vmap(every, 1, 1), 0)(mask.transpose(1, 2), x.transpose(1, 2))
    for index, results in enumerate(
        zip(*(every(mask[i, j], x[i, j]) for i in range(2) for j in range(3)), strict=True)
    ):
        expected = torch.stack(results).reshape(2, 3, *results[0].shape).transpose(1, 2)
        assert torch.equal(found[index], expected)


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

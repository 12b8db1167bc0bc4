"""Masked products on a CUDA device, against plain torch on the CPU.

Whole numbers make the order of sums irrelevant and fit TF32 and bfloat16, so products of any shape are compared
exactly.
"""

import functools

import numpy as np
import pytest
import torch
from cases.bits import scatter_bits
from cases.products import GATED, METHODS, Case, errors, products
from cases.tensors import factor, scatter

from gatentk import ops, reference
from gatentk.ops.autocast import as_matmul, under_autocast

# Precision is a choice for float32 only.
PRECISIONS = [(torch.float32, "strict"), (torch.float32, "tf32x3"), (torch.float64, "strict")]
ALL_PRECISIONS = [*PRECISIONS, (torch.float32, "tf32")]
SHAPES = [(0, 5, 3), (5, 0, 3), (5, 3, 0), (1, 1, 1), (1, 200, 130), (9, 50, 30), (70, 129, 80)]


def on(device, tensors):
    """Tensors and Nones on a device."""
    return [None if t is None else t.to(device) for t in tensors]


def on_device(device, case, tensors=None, **options):
    """The three products of a case, computed on a device."""
    found = products(
        ops, on(device, case.poisoned() if tensors is None else tensors), on(device, case.gates()), **options
    )
    assert all(out.device.type == device.type for out in found)
    return [out.cpu() for out in found]


@pytest.mark.parametrize(("dtype", "precision"), ALL_PRECISIONS)
@GATED
@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_gradients_of_whole_numbers(device, dtype, kind, precision, shape):
    ops.select_cuda_precision(precision)
    case = Case(*shape, dtype, kind=kind)
    for out, exact in zip(on_device(device, case, method="masked"), case.dense(torch.float64), strict=True):
        assert out.dtype == dtype
        assert torch.equal(out.double(), exact)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@METHODS
@GATED
def test_products_under_autocast_are_exact_and_rounded_once(device, kind, method, low):
    """In the emulation by what is registered for CUDA, called with CPU tensors in the place of the device's."""
    case = Case(9, 50, 30, torch.float32, kind=kind)
    z, weight = case.z.to(device), case.weight.to(device)
    gates = on(device, case.gates())
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", low)
    try:
        if device.type == "cuda":
            out = ops.masked_linear(z.to(low), weight, *gates, method=method)
        else:
            product = under_autocast(torch.ops.gatentk.masked_matmul, as_matmul, "cuda")
            lists = [[] if gate is None else [gate] for gate in gates]
            out = product(z.to(low), weight, False, True, lists[0], [], lists[1], ops.METHODS.index(method))
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
    assert out.dtype == low
    assert torch.equal(out.cpu(), case.dense(torch.float64)[0].to(low))


@METHODS
@pytest.mark.parametrize("kind", ["none", "both"])
def test_every_method_gives_the_product(device, kind, method):
    case = Case(70, 129, 80, torch.float32, kind=kind)
    found = on_device(device, case, method=method)
    for out, exact in zip(found, case.dense(torch.float64), strict=True):
        assert torch.equal(out.double(), exact)


@METHODS
@GATED
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_biases_are_added_where_gates_are_on(device, kind, method, dtype):
    """Before the product is rounded: with sixty-fourths bfloat16 would be rounded twice."""
    case = Case(9, 50, 30, torch.float32, kind=kind)
    z, weight, bias = (t.to(dtype).to(device) for t in (*case.poisoned()[:2], torch.arange(30) / 64))
    bias.requires_grad_()
    out = ops.masked_linear(z, weight, *on(device, case.gates()), method=method, bias=bias)
    shift = torch.where(case.mask_out, torch.arange(30).double() / 64, 0)
    assert torch.equal(out.detach().cpu(), (case.dense(torch.float64)[0] + shift).to(dtype))
    (by_bias,) = torch.autograd.grad(out.sum(), bias)
    assert torch.equal(by_bias.cpu(), case.mask_out.sum(0).to(dtype))


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
def test_any_layout(device, layout):
    case = Case(9, 50, 130, torch.float32)
    tensors = [scatter(t.to(device), layout) for t in case.poisoned()]
    gates = [scatter_bits(g.to(device), layout) for g in case.gates()]
    for out, exact in zip(products(ops, tensors, gates, method="masked"), case.dense(torch.float64), strict=True):
        assert torch.equal(out.cpu().double(), exact)


def test_rows_and_gates_that_start_anywhere(device):
    """Copies of 16 bytes are for rows that allow them; the others are read in smaller pieces."""
    case = Case(9, 64, 32, torch.float32)
    for offset in (1, 2, 3):

        def shifted(tensor, offset=offset):
            memory = tensor.new_empty(tensor.numel() + offset, device=device)
            return memory[offset:].view(tensor.shape).copy_(tensor)

        found = products(
            ops, [shifted(t) for t in case.poisoned()], [shifted(g) for g in case.gates()], method="masked"
        )
        for out, exact in zip(found, case.dense(torch.float64), strict=True):
            assert torch.equal(out.cpu().double(), exact)


@GATED
def test_bfloat16(device, kind):
    """Products are summed in float32 and rounded once."""
    case = Case(40, 150, 70, torch.float32, kind=kind)
    z, weight, upstream = (t.bfloat16().to(device) for t in case.poisoned())
    inside, outside = ([] if g is None else [g.to(device)] for g in case.gates())
    masked = ops.METHODS.index("masked")
    run = torch.ops.gatentk.masked_matmul
    found = (
        run(z, weight, False, True, inside, [], outside, masked),
        run(upstream, weight, False, False, outside, [], inside, masked),
        run(upstream, z, True, False, outside, inside, [], masked),
    )
    for out, exact in zip(found, case.dense(torch.float64), strict=True):
        assert out.dtype == torch.bfloat16
        assert torch.equal(out.cpu(), exact.bfloat16())


# Rounding

ROUNDED = [(37, 205, 101), (40, 600, 24), (32, 512, 512)]


@functools.cache
def rounding(dtype, shape, kind):
    """A case, its exact products, the errors of torch on the CPU and the largest elements."""
    case = Case(*shape, dtype, 0.5, kind, 0, factor)
    exact = case.exact()
    return case, exact, errors([case.dense()], [exact]), [np.abs(e).max() for e in exact]


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS)
@pytest.mark.parametrize("shape", ROUNDED)
@pytest.mark.parametrize("kind", ["none", "both"])
def test_products_are_as_accurate_as_those_of_torch(cuda_device, dtype, precision, shape, kind):
    """max|out - exact| <= 2 max|torch - exact|, and half a unit in the last place of the largest element."""
    ops.select_cuda_precision(precision)
    case, exact, dense, largest = rounding(dtype, shape, kind)
    ours = errors([on_device(cuda_device, case, case.tensors(), method="masked")], [exact])
    for error, error_torch, size in zip(ours, dense, largest, strict=True):
        assert error <= 2 * error_torch + torch.finfo(dtype).eps / 2 * size


# What is off


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_outputs_that_are_off_are_zeros_whatever_the_weight_holds(device, value):
    case = Case(9, 50, 30, torch.float64)
    case.mask_out[:, 3] = False
    expected = on_device(device, case, method="masked")[0]
    case.weight[3] = value
    assert torch.equal(on_device(device, case, method="masked")[0], expected)


def test_what_is_on_and_no_number_shows(device):
    case = Case(9, 50, 30, torch.float32, kind="in")
    case.z[4, 8], case.mask_in[4, 8] = torch.nan, True
    out = on_device(device, case, method="masked")[0]
    assert out[4].isnan().all()
    assert not out[[0, 1, 2, 3, 5, 6, 7, 8]].isnan().any()


# Gradients and transforms


@GATED
@pytest.mark.parametrize("method", ["masked", "auto"])
def test_first_and_second_derivatives(device, kind, method):
    case = Case(5, 4, 3, torch.float64, 0.6, kind, entries=factor)
    gates = on(device, case.gates())
    leaves = [t.to(device).requires_grad_() for t in (case.z, case.weight)]

    def product(z, weight):
        return ops.masked_linear(z, weight, *gates, method=method)

    assert torch.autograd.gradcheck(product, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(product, leaves, fast_mode=True)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_tangents(device):
    case, tangent = (Case(20, 50, 30, torch.float64, seed=seed) for seed in (0, 1))
    gates = on(device, case.gates())
    inputs, tangents = (tuple(on(device, (c.z, c.weight))) for c in (case, tangent))
    found = torch.func.jvp(lambda z, w: ops.masked_linear(z, w, *gates, method="masked"), inputs, tangents)
    plain = torch.func.jvp(
        lambda z, w: reference.masked_linear(z, w, *case.gates()), (case.z, case.weight), (tangent.z, tangent.weight)
    )
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize("dims", [(0, None, 0, 0), (None, 0, None, 0), (0, 0, 0, 0)])
def test_vmap(device, dims):
    cases = [Case(9, 20, 12, torch.float32, seed=seed) for seed in range(3)]
    columns = list(zip(*([case.z, case.weight, *case.gates()] for case in cases), strict=True))
    arguments = [column[0] if dim is None else torch.stack(column) for column, dim in zip(columns, dims, strict=True)]
    found = torch.func.vmap(functools.partial(ops.masked_linear, method="masked"), dims)(*on(device, arguments))
    expected = [
        reference.masked_linear(*(a if dim is None else a[i] for a, dim in zip(arguments, dims, strict=True)))
        for i in range(3)
    ]
    assert torch.equal(found.cpu(), torch.stack(expected))


def test_leading_dimensions_are_batches(device):
    case = Case(2 * 3 * 11, 50, 30, torch.float32)
    shape = (2, 3, 11)
    tensors = case.z.reshape(*shape, -1), case.weight, case.upstream.reshape(*shape, -1)
    gates = [g.reshape(*shape, -1) for g in case.gates()]
    out, by_z, by_weight = products(ops, on(device, tensors), on(device, gates), method="masked")
    exact = case.dense()
    assert torch.equal(out.cpu(), exact[0].reshape(*shape, -1))
    assert torch.equal(by_z.cpu(), exact[1].reshape(*shape, -1))
    assert torch.equal(by_weight.cpu(), exact[2])


def test_opcheck(device):
    case = Case(6, 20, 12, torch.float64)
    inside, outside = on(device, case.gates())
    z, weight, upstream = (t.to(device).requires_grad_() for t in case.tensors())
    matmul = torch.ops.gatentk.masked_matmul.default
    masked = ops.METHODS.index("masked")
    torch.library.opcheck(matmul, (z, weight, False, True, [inside], [], [outside], masked))
    torch.library.opcheck(matmul, (upstream, z, True, False, [outside], [inside], [], 0))


def test_compiles_without_graph_breaks(device):
    case = Case(20, 50, 30, torch.float32)
    z, weight, upstream = on(device, case.tensors())

    def network(z, weight, gate_in, gate_out):
        on = ops.pack_bits(ops.ordered_linear(z, weight) > 0)
        return 2 * ops.masked_linear(z, weight, gate_in, gate_out, method="masked") + 0 * ops.masked_linear(
            z, weight, None, on
        )

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    leaves = [t.clone().requires_grad_() for t in (z, weight)]
    out = compiled(*leaves, *on(device, case.gates()))
    out.backward(upstream)
    for found, expected in zip((out, leaves[0].grad, leaves[1].grad), case.dense(), strict=True):
        assert torch.equal(found.cpu(), 2 * expected)

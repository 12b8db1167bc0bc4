"""Gram and NTK products on a CUDA device, against sums in wider numbers on the CPU."""

import itertools

import numpy as np
import pytest
import torch
from cases.grams import GRADIENTS, exact_gram, gram_of
from cases.tensors import DTYPES, factor, scatter

from gatentk import ntk, ops, reference
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork

# Three TF32 products are as accurate as one in float32; precision is a choice for float32 only.
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "strict"), (torch.float32, "tf32x3"), (torch.float64, "strict")]
)


def moved(device, *lists):
    return [None if tensors is None else [t.to(device) for t in tensors] for tensors in lists]


def assert_as_accurate_as_torch(out, acts, deltas, acts_b=None, deltas_b=None, bias=None, components=False):
    """max|out - exact| <= 2 max|torch on the CPU - exact| + 1 + sqrt(width) roundings of the largest sum."""
    right = acts if acts_b is None else acts_b, deltas if deltas_b is None else deltas_b
    bias = [0.0] * len(acts) if bias is None else bias
    exact = exact_gram(acts, deltas, *right, bias)
    size = reference.gram_ntk(*([t.abs().double() for t in part] for part in (acts, deltas, *right)), bias=bias)
    dense = reference.gram_ntk(acts, deltas, *right, bias=bias, components=components).numpy()
    if not components:
        exact = exact.sum(0)
    assert out.shape == exact.shape
    assert out.dtype == acts[0].dtype
    if out.numel():
        width = max(t.shape[-1] for t in (*acts, *deltas))
        tiny = torch.finfo(out.dtype).eps * float(size.max()) * (1 + width**0.5)
        assert np.abs(out.cpu().numpy() - exact).max() <= 2 * np.abs(dense - exact).max() + tiny


@PRECISIONS
@pytest.mark.parametrize(
    ("n", "n_b", "widths"),
    [(0, 3, [(5, 5)]), (1, 1, [(1, 1)]), (9, 5, [(0, 3), (4, 0)]), (70, 33, [(129, 40), (20, 70)])],
)
@pytest.mark.parametrize("components", [False, True])
def test_symmetric_and_rectangular(device, dtype, precision, n, n_b, widths, components, generator):
    ops.select_cuda_precision(precision)
    acts, acts_b = ([factor(generator, (rows, a), dtype, 0.8) for a, _ in widths] for rows in (n, n_b))
    deltas, deltas_b = ([factor(generator, (rows, d), dtype, 0.8) for _, d in widths] for rows in (n, n_b))
    bias = [float(i) for i in range(len(widths))]
    own = ops.gram_ntk(*moved(device, acts, deltas), bias=bias, components=components)
    assert own.device.type == device.type
    assert torch.equal(own, own.mT)
    assert_as_accurate_as_torch(own, acts, deltas, bias=bias, components=components)
    other = ops.gram_ntk(*moved(device, acts, deltas, acts_b, deltas_b), bias=bias, components=components)
    assert_as_accurate_as_torch(other, acts, deltas, acts_b, deltas_b, bias, components)


@DTYPES
@pytest.mark.parametrize("kind", ["both", "act", "delta", "pair"])
def test_gates_mask_the_left_factors_whatever_stands_there(device, dtype, kind, generator):
    act, delta, right = (factor(generator, (n, 140), dtype, 1) for n in (40, 40, 9))
    masks = [torch.rand(40, 140, generator=generator) < 0.5 for _ in range(2)]
    bits = [reference.pack_bits(mask).to(device) for mask in masks]
    entry, by_act, by_delta = {
        "both": (bits[0], masks[0], masks[0]),
        "act": ((bits[0], None), masks[0], None),
        "delta": ((None, bits[1]), None, masks[1]),
        "pair": (tuple(bits), *masks),
    }[kind]
    clean = [t if mask is None else torch.where(mask, t, 0) for t, mask in ((act, by_act), (delta, by_delta))]
    act, delta = (
        t if mask is None else torch.where(mask, t, torch.nan) for t, mask in ((act, by_act), (delta, by_delta))
    )
    own = ops.gram_ntk([act.to(device)], [delta.to(device)], gates=[entry])
    assert torch.equal(own, own.mT)
    assert_as_accurate_as_torch(own, [clean[0]], [clean[1]])
    columns = moved(device, [right])[0]
    other = ops.gram_ntk([act.to(device)], [delta.to(device)], columns, columns, gates=[entry])
    assert_as_accurate_as_torch(other, [clean[0]], [clean[1]], [right], [right])


@pytest.mark.gpu
@PRECISIONS
@pytest.mark.parametrize("width", [205, 512])
def test_sums_are_as_accurate_as_those_of_torch(cuda_device, dtype, precision, width, generator):
    ops.select_cuda_precision(precision)
    ours, dense, largest = 0.0, 0.0, 0.0
    for _ in range(2):
        act, delta = (factor(generator, (64, width), dtype, 1) for _ in range(2))
        exact = exact_gram([act], [delta], [act], [delta], [0.0])[0]
        ours = max(
            ours, np.abs(ops.gram_ntk([act.to(cuda_device)], [delta.to(cuda_device)]).cpu().numpy() - exact).max()
        )
        dense = max(dense, np.abs(reference.gram_ntk([act], [delta]).numpy() - exact).max())
        largest = max(largest, float(np.abs(exact).max()))
    assert ours <= 2 * dense + torch.finfo(dtype).eps / 2 * largest


def test_tf32_has_eleven_bits(device, generator):
    ops.select_cuda_precision("tf32")
    act, delta = (factor(generator, (40, 200), torch.float32, 1) for _ in range(2))
    found = ops.gram_ntk([act.to(device)], [delta.to(device)]).cpu().double()
    size = reference.gram_ntk([act.double().abs()], [delta.double().abs()])
    assert ((found - reference.gram_ntk([act.double()], [delta.double()])).abs() <= 2.0**-8 * size).all()


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
def test_factors_in_any_layout_and_batches(device, layout, generator):
    acts = [factor(generator, (2, 3, 11, w), torch.float64, 0.5) for w in (5, 40)]
    deltas = [factor(generator, (2, 3, 11, w), torch.float64, 0.5) for w in (17, 0)]
    mask = torch.rand(2, 3, 11, 5, generator=generator) < 0.5
    gates = [(reference.pack_bits(mask), None), None]
    on_device = [[scatter(t.to(device), layout) for t in part] for part in (acts, deltas)]
    for components in (False, True):
        out = ops.gram_ntk(*on_device, gates=[(gates[0][0].to(device), None), None], components=components)
        for i, j in itertools.product(range(2), range(3)):
            part = [[t[i, j] for t in tensors] for tensors in (acts, deltas)]
            expected = reference.gram_ntk(*part, gates=[(gates[0][0][i, j], None), None], components=components)
            torch.testing.assert_close(out[..., i, j, :, :].cpu(), expected, rtol=1e-13, atol=1e-13)


@GRADIENTS
def test_first_and_second_derivatives(device, tensors, gates, components):
    inputs = [t.to(device).requires_grad_() for t in tensors]
    if gates is not None:
        gates = [(gates[0][0].to(device), None), None]
    assert torch.autograd.gradcheck(gram_of(gates, components), inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(gram_of(gates, components), inputs, fast_mode=True)


def test_opcheck(device, generator):
    a, d, b, e = (
        factor(generator, (n, w), torch.float64, 0.7).to(device) for n, w in ((3, 20), (3, 5), (2, 20), (2, 5))
    )
    bits = reference.pack_bits(torch.rand(3, 20, generator=generator) < 0.5).to(device)
    leaves = [t.clone().requires_grad_() for t in (a, d, b, e)]
    gram = torch.ops.gatentk.gram_ntk.default
    torch.library.opcheck(gram, ([a], [d], [], [], [None], [None], [0.0], False))
    torch.library.opcheck(gram, ([a, a], [d, d], [b, b], [e, e], [bits, None], [None, None], [0.0, 1.0], True))
    torch.library.opcheck(gram, ([leaves[0]], [leaves[1]], [], [], [bits], [None], [1.0], False))


def test_compiles_without_graph_breaks(device, generator):
    a, d = (factor(generator, (5, 20), torch.float64, 0.5).to(device) for _ in range(2))

    def function(act, delta):
        gates = ops.pack_bits(act > 0)
        return ops.gram_ntk([2 * act], [delta], gates=[gates]) + ops.infinite_ntk(delta, None, [2], "relu")[0]

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a, d), function(a, d))


@pytest.mark.parametrize(
    ("kind", "outputs"), [(MLP, "full"), (GReLUNetwork, "trace"), (GReLUNetwork, "diag"), (ReLUNetwork, 1)]
)
def test_kernels_of_networks_are_those_of_the_cpu(device, cpu, kind, outputs, generator):
    net = kind(5, 20, 2, 3, generator=generator, dtype=torch.float64)
    x, z = factor(generator, (70, 5), torch.float64, 1), factor(generator, (4, 5), torch.float64, 1)
    with cpu():
        expected = [ntk.empirical(net, x[:9], z, outputs), ntk.empirical(net, x, None, outputs, components=True)]
    net.to(device)
    found = [
        ntk.empirical(net, x[:9].to(device), z.to(device), outputs),
        ntk.empirical(net, x.to(device), None, outputs, components=True),
    ]
    for ours, cpu in zip(found, expected, strict=True):
        assert ours.device.type == device.type
        torch.testing.assert_close(ours.cpu(), cpu, rtol=1e-11, atol=1e-11 * float(cpu.abs().max()))

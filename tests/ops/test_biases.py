"""Biases of masked products: added where gates are on, with their gradients; and products without the dispatcher."""

import pytest
import torch
from cases.products import METHODS, Case, whole
from cases.tensors import DENSITIES, DTYPES, SEEDS, factor, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import ops
from gatentk.ops import masked, registration

OPS = torch.ops.gatentk
BLOCK = st.sampled_from([1, 3, 8, 16, 24, 32, 64, 100, 136])


def gates_of(mask, block):
    """Packed bits of blocks of the rows of a mask of their first neurons, and the mask that they make."""
    units = mask[:, ::block].contiguous()
    return ops.pack_bits(units), units.repeat_interleave(block, 1)[:, : mask.shape[1]]


@DTYPES
@given(st.integers(0, 200), st.integers(1, 300), BLOCK, DENSITIES, st.sampled_from([1, 2]), SEEDS)
@settings(max_examples=20)
def test_sums_of_what_is_on(isa, dtype, n, width, block, density, threads, seed):
    generator = torch.Generator().manual_seed(seed)
    bits, mask = gates_of(torch.rand(n, width, generator=generator) < density, block)
    values = torch.where(mask, whole(generator, (n, width), dtype, 1.0), torch.nan)
    found = with_threads(threads, lambda: OPS.gated_sums(values, bits, block))
    assert torch.equal(found, torch.where(mask, values, 0).sum(0))


@METHODS
@DTYPES
@given(st.sampled_from([1, 2, 9, 70]), st.integers(1, 200), BLOCK, st.booleans(), SEEDS)
@settings(max_examples=10)
def test_biases_are_added_where_gates_are_on(isa, method, dtype, n, width, block, gated, seed):
    case = Case(n, 20, width, dtype, seed=seed)
    block = min(block, width)
    bits, mask = gates_of(case.mask_out, block) if gated else (None, torch.ones(n, width, dtype=torch.bool))
    bias = whole(torch.Generator().manual_seed(seed), (width,), dtype, 1.0)
    z, weight, bias = (t.clone().requires_grad_() for t in (case.z, case.weight, bias))
    out = ops.masked_linear(z, weight, None, bits, method, block if gated else None, bias)
    expected = torch.where(mask, torch.nn.functional.linear(z.double(), weight.double(), bias.double()), 0)
    assert torch.equal(out.detach().double(), expected.detach())
    found = torch.autograd.grad(out, (z, weight, bias), case.upstream)
    true = torch.autograd.grad(expected, (z, weight, bias), case.upstream.double())
    assert all(torch.equal(a.double(), b.double()) for a, b in zip(found, true, strict=True))
    with torch.no_grad():
        assert torch.equal(ops.masked_linear(z, weight, None, bits, method, block if gated else None, bias), out)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("gated", [True, False])
def test_derivatives_and_tangents(gated):
    case = Case(5, 7, 6, torch.float64, 0.6, entries=factor)
    bits = ops.pack_bits(case.mask_out[:, :3]) if gated else None
    leaves = [t.requires_grad_() for t in (case.z, case.weight, torch.randn(6, dtype=torch.float64))]

    def product(z, weight, bias):
        return ops.masked_linear(z, weight, None, bits, "masked", 2 if gated else None, bias)

    assert torch.autograd.gradcheck(product, leaves, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(product, leaves)
    frozen = [leaves[0].detach(), leaves[1].detach(), leaves[2]]
    assert torch.autograd.gradcheck(product, frozen, check_forward_ad=True)
    values = [t.detach() for t in leaves]
    for dims in ((0, None, None), (None, None, 0), (0, None, 0)):
        many = [t if d is None else torch.stack([t, 2 * t, t - 1]) for t, d in zip(values, dims, strict=True)]
        one = [[t if d is None else t[i] for t, d in zip(many, dims, strict=True)] for i in range(3)]
        found = torch.func.vmap(product, dims)(*many)
        torch.testing.assert_close(found, torch.stack([product(*arguments) for arguments in one]))
    per_sample = torch.func.vmap(torch.func.grad(lambda b, z: product(z, values[1], b).square().sum()), (None, 0))
    if not gated:  # gates are those of five rows
        by_bias = per_sample(values[2], values[0][:, None])
        total = torch.func.grad(lambda b: product(values[0], values[1], b).square().sum())(values[2])
        torch.testing.assert_close(by_bias.sum(0), total)


def test_opcheck():
    case = Case(6, 20, 12, torch.float64)
    bits = ops.pack_bits(case.mask_out[:, :4])
    bias = torch.randn(12, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(OPS.gated_sums.default, (case.upstream.requires_grad_(), bits, 3))
    arguments = (case.z, case.weight, False, True, [], [], [bits], 1, [1, 1, 3], bias)
    torch.library.opcheck(OPS.masked_matmul.default, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_under_autocast_biases_have_the_dtype_of_the_product(dtype):
    case = Case(9, 20, 12, torch.float32)
    bias = torch.arange(12.0)
    with torch.autocast("cpu", torch.bfloat16):
        out = ops.masked_linear(case.z.to(dtype), case.weight.to(dtype), None, None, bias=bias.to(dtype))
        expected = torch.nn.functional.linear(case.z.to(dtype), case.weight.to(dtype), bias.to(dtype))
    assert out.dtype == expected.dtype
    assert torch.equal(out, expected)


@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU")
def test_bfloat16_is_rounded_once():
    z, weight, bias = (t.bfloat16() for t in (torch.ones(2, 3), torch.ones(4, 3), torch.full((4,), 2.0**-9)))
    assert torch.equal(ops.masked_linear(z, weight, bias=bias), (torch.full((2, 4), 3 + 2.0**-9)).bfloat16())


@pytest.mark.parametrize(
    ("error", "bias"),
    [
        (ValueError, torch.ones(3)),
        (ValueError, torch.ones(4, 1)),
        (ValueError, 1.0),
        (TypeError, torch.ones(4, dtype=torch.float64)),
        (ValueError, torch.ones(4, device="meta")),
    ],
)
def test_biases_that_do_not_fit_are_refused(error, bias):
    with pytest.raises(error, match=r"^bias: "):
        ops.masked_linear(torch.ones(2, 3), torch.ones(4, 3), bias=bias)


# Calls without the dispatcher


def test_a_call_without_the_dispatcher_gives_the_bits_of_one_with_it(monkeypatch):
    case = Case(9, 50, 30, torch.float32, entries=factor)
    asked, is_plain, results = [], masked._is_plain, []

    def says(product):
        asked.append(is_plain(product))
        return asked[-1] and not results

    monkeypatch.setattr(masked, "_is_plain", says)
    for _ in range(2):
        leaves = [t.clone().requires_grad_() for t in (case.z, case.weight)]
        out = ops.masked_linear(*leaves, *case.gates())
        results.append([out.detach(), *torch.autograd.grad(out, leaves, case.upstream)])
    assert asked == [True] * 6  # forward and two gradients, twice
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_whatever_asks_for_more_goes_through_the_dispatcher():
    z = torch.ones(2, 3)
    assert registration.is_plain(z, z[:, :1], z.T)
    with torch.inference_mode():
        assert registration.is_plain(torch.ones(2))
    seen = []

    def look(t):
        seen.append(registration.is_plain(t))
        return t.sum()

    torch.func.vmap(look)(z)
    torch.func.grad(look)(z)
    torch.jit.trace(look, z, check_trace=False)
    with torch.autograd.forward_ad.dual_level():
        look(z)
    with torch.autocast("cpu"):
        look(z)
    with torch.profiler.profile():
        look(z)
    with FakeTensorMode(allow_non_fake_inputs=True):
        look(z)
    look(torch.empty(2, device="meta"))
    look(torch._neg_view(z))
    assert seen == [False] * 9


def test_profiles_name_the_operation():
    case = Case(9, 50, 30, torch.float32)
    with torch.profiler.profile() as profile:
        ops.masked_linear(case.z, case.weight, *case.gates())
    assert "gatentk::masked_matmul" in {event.key for event in profile.key_averages()}

"""Operations under autocast: one dtype of results for every path, gates as they are without."""

import contextlib

import pytest
import torch
from cases.products import GATED, METHODS, Case
from cases.tensors import factor, same_bits
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import ops, reference
from gatentk.ops import autocast, masked, registration

LOW = pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
CPU = {"device_type": "cpu"}

# Without gates the first is multiplied densely by "auto", of the others the one whose inputs are zeros mostly is not.
SHAPES = [((9, 50, 30), 0.5), ((5, 520, 530), 0.9), ((5, 520, 530), 0.1)]


@contextlib.contextmanager
def autocast_for_cuda(dtype):
    """As torch.autocast("cuda", dtype), which does nothing on machines without a device."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def rounded(case, low):
    """The product of whole numbers, which float32 sums exactly, in the nearest numbers of another dtype."""
    return case.dense(torch.float64)[0].to(low)


# Masked products


@LOW
@METHODS
@GATED
@pytest.mark.parametrize(("shape", "density"), SHAPES)
@pytest.mark.parametrize("planned", [False, True])
def test_every_path_gives_the_exact_product_rounded_once(low, method, kind, shape, density, planned):
    case = Case(*shape, torch.float32, density, kind)
    with torch.autocast(**CPU, dtype=low):
        out = ops.masked_linear(case.z, case.weight, *case.gates(planned), method=method)
    assert out.dtype == low
    assert torch.equal(out, rounded(case, low))


@METHODS
@pytest.mark.parametrize("z_dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_inputs_need_not_agree_in_their_dtype(method, z_dtype, weight_dtype):
    case = Case(9, 50, 30, torch.float32)
    with torch.autocast(**CPU, dtype=torch.bfloat16):
        out = ops.masked_linear(case.z.to(z_dtype), case.weight.to(weight_dtype), *case.gates(), method=method)
    assert torch.equal(out, rounded(case, torch.bfloat16))
    assert out.dtype == torch.bfloat16


@METHODS
@GATED
def test_float64_is_left_alone(method, kind):
    case = Case(9, 50, 30, torch.float64, kind=kind, entries=factor)
    call = {"z": case.z, "weight": case.weight, "method": method}
    expected = ops.masked_linear(**call, gate_in=case.gates()[0], gate_out=case.gates()[1])
    with torch.autocast(**CPU):
        found = ops.masked_linear(**call, gate_in=case.gates()[0], gate_out=case.gates()[1])
        with pytest.raises(TypeError, match=r"^weight: expected torch.float32 as z, got .*float64"):
            ops.masked_linear(case.z.float(), case.weight)
    assert same_bits(found, expected)


@METHODS
def test_a_region_without_autocast_inside_of_one_with_it(method):
    case = Case(9, 50, 30, torch.float32, entries=factor)
    expected = ops.masked_linear(case.z, case.weight, *case.gates(), method=method)
    with torch.autocast(**CPU):
        first = ops.masked_linear(case.z, case.weight, *case.gates(), method=method)
        with torch.autocast(**CPU, enabled=False):
            assert same_bits(ops.masked_linear(case.z, case.weight, *case.gates(), method=method), expected)
            with pytest.raises(TypeError, match=r"^weight: expected torch.bfloat16 as z, got .*float32"):
                ops.masked_linear(first, case.weight[:, :30])
        again = ops.masked_linear(case.z, case.weight, *case.gates(), method=method)
    assert first.dtype == again.dtype == torch.bfloat16
    assert torch.equal(first, expected.bfloat16())
    assert torch.equal(again, first)


@LOW
@METHODS
@GATED
@pytest.mark.parametrize("cache_enabled", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_gradients_are_those_of_float32_products(low, method, kind, cache_enabled, inside):
    """Of a result that is rounded, whether backward runs in the region or after it; a weight may be used twice."""
    case = Case(9, 50, 30, torch.float32, kind=kind)
    z, weight = (t.clone().requires_grad_() for t in (case.z, case.weight))
    scope = contextlib.ExitStack()
    with scope:
        scope.enter_context(torch.autocast(**CPU, dtype=low, cache_enabled=cache_enabled))
        outs = [ops.masked_linear(z, weight, *case.gates(), method=method) for _ in range(2)]
        if not inside:
            scope.pop_all().close()
        for out in outs:
            out.backward(case.upstream.to(low))
    _, by_z, by_weight = case.dense(torch.float64)
    assert torch.equal(z.grad, 2 * by_z.float())
    assert torch.equal(weight.grad, 2 * by_weight.float())
    assert not torch.is_autocast_enabled("cpu")


def test_leading_dimensions_and_no_rows():
    with torch.autocast(**CPU):
        assert ops.masked_linear(torch.ones(2, 3, 4), torch.ones(5, 4)).tolist() == [[[4.0] * 5] * 3] * 2
        empty = ops.masked_linear(torch.ones(0, 4), torch.ones(5, 4))
    assert (empty.shape, empty.dtype) == ((0, 5), torch.bfloat16)


@METHODS
@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_transforms_of_functions(method):
    """Gradients of single samples, tangents and batches of weights are those without autocast, rounded once."""
    case = Case(9, 50, 30, torch.float32)
    gates = case.gates()

    def product(z, weight):
        return ops.masked_linear(z, weight, *gates, method=method)

    def loss(weight, z, inside, outside, upstream):
        out = ops.masked_linear(z[None], weight, inside[None], outside[None], method=method)
        return (out.float() * upstream).sum()

    samples = (None, 0, 0, 0, 0)
    arguments = case.weight, case.z, *gates, case.upstream
    expected = torch.func.vmap(torch.func.grad(loss), samples)(*arguments)
    weights = torch.stack([case.weight, 2 * case.weight])
    with torch.autocast(**CPU):
        found = torch.func.vmap(torch.func.grad(loss), samples)(*arguments)
        out, tangent = torch.func.jvp(product, (case.z, case.weight), (2 * case.z, case.weight))
        both = torch.func.vmap(product, (None, 0))(case.z, weights)
    assert torch.equal(found, expected)
    assert torch.equal(out, rounded(case, torch.bfloat16))
    assert torch.equal(tangent, (3 * case.dense(torch.float64)[0]).bfloat16())
    assert torch.equal(both[1], (2 * case.dense(torch.float64)[0]).bfloat16())
    assert out.dtype == tangent.dtype == both.dtype == torch.bfloat16


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("region", ["inside", "outside"])
def test_compiles_without_graph_breaks_under_autocast(backend, region):
    """Whether the region is part of what is compiled or not."""
    case = Case(9, 50, 30, torch.float32)
    low = {**CPU, "dtype": torch.bfloat16}

    def product(z, weight):
        with torch.autocast(**low) if region == "inside" else contextlib.nullcontext():
            return ops.masked_linear(z.bfloat16(), weight, *case.gates(), method="masked")

    torch.compiler.reset()
    compiled = torch.compile(product, fullgraph=True, backend=backend)
    z, weight = (t.clone().requires_grad_() for t in (case.z, case.weight))
    with torch.autocast(**low) if region == "outside" else contextlib.nullcontext():
        out = compiled(z, weight)
    out.backward(case.upstream.bfloat16())
    _, by_z, by_weight = case.dense(torch.float64)
    assert torch.equal(out, rounded(case, torch.bfloat16))
    assert torch.equal(z.grad, by_z.float())
    assert torch.equal(weight.grad, by_weight.float())


# Without autocast


@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU:UserWarning")
@METHODS
@GATED
def test_bfloat16_on_the_cpu_is_the_float32_product_rounded_once(method, kind):
    """And so are its gradients."""
    case = Case(9, 50, 30, torch.float32, kind=kind)
    z, weight = (t.bfloat16().requires_grad_() for t in (case.z, case.weight))
    out = ops.masked_linear(z, weight, *case.gates(), method=method)
    out.backward(case.upstream.bfloat16())
    for found, exact in zip((out, z.grad, weight.grad), case.dense(torch.float64), strict=True):
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, exact.bfloat16())


def test_that_bfloat16_is_slow_on_the_cpu_is_said_once():
    masked.say_that_bfloat16_is_slow.cache_clear()
    z = torch.ones(3, 4).bfloat16()
    with pytest.warns(UserWarning, match="^bfloat16 on the CPU: .* in float32"):
        ops.masked_linear(z, z)
    ops.masked_linear(z, z)  # warnings are errors
    with torch.autocast(**CPU):  # where nobody asked for these copies
        ops.masked_linear(z, z)
        masked.say_that_bfloat16_is_slow.cache_clear()
        ops.masked_linear(z, z.float())


# Kernels, angles and gates


def test_kernels_stay_in_float32(generator):
    """Bit for bit those of float32, from whatever the layers before have made of their values."""
    a, d = (factor(generator, (9, width), torch.float32, 0.5).bfloat16() for width in (40, 30))
    leaves = [t.float().requires_grad_() for t in (a, d)]
    expected = ops.gram_ntk(leaves[:1], leaves[1:])
    slopes = torch.autograd.grad(expected.square().sum(), leaves)
    with torch.autocast(**CPU):
        mixed = ops.gram_ntk([a], [d.float()])
        found = ops.gram_ntk(leaves[:1], leaves[1:])
        found_slopes = torch.autograd.grad(found.square().sum(), leaves)
        infinite = ops.infinite_ntk(a, d.new_ones(3, 40).float(), [1, 2], "relu")
        wide = ops.gram_ntk([a.double()], [d.double()])
    assert same_bits(mixed, expected)
    assert same_bits(found, expected)
    assert all(same_bits(x, y) for x, y in zip(found_slopes, slopes, strict=True))
    assert same_bits(infinite, ops.infinite_ntk(a.float(), torch.ones(3, 40), [1, 2], "relu"))
    assert same_bits(wide, ops.gram_ntk([a.double()], [d.double()]))


def test_gates_do_not_notice(generator):
    x, weight = factor(generator, (9, 40), torch.float32, 1), factor(generator, (130, 40), torch.float32, 1)
    expected = ops.ordered_linear(x, weight)
    bits = ops.pack_bits(expected > 0)
    with torch.autocast(**CPU):
        assert same_bits(ops.ordered_linear(x, weight), expected)
        assert torch.equal(ops.pack_bits(expected > 0), bits)
        assert torch.equal(ops.unpack_bits(bits, 130), expected > 0)
        assert torch.equal(ops.transpose_bits(bits, 130), reference.pack_bits((expected > 0).T))
        counts = (expected > 0).int()
        assert ops.gate_gram(bits).dtype == torch.int32
        assert torch.equal(ops.gate_gram(bits).double(), counts.double() @ counts.double().T)
        assert torch.equal(ops.build_plan(bits, 130), ops.build_plan(bits.clone(), 130))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: ops.masked_linear(z, z), "^z: expected a float32 or float64 or bfloat16 tensor"),
        (lambda z: ops.gram_ntk([z], [z]), r"^acts\[0\]: expected a float32 or float64 tensor"),
        (lambda z: ops.infinite_ntk(z, None, [1], "relu"), "^x: expected a float32 or float64 tensor"),
    ],
)
def test_outside_of_the_region_other_dtypes_are_refused_by_name(call, message):
    z = torch.ones(3, 3).half()
    with torch.autocast(**CPU):
        call(z)
    with pytest.raises(TypeError, match=message):
        call(z)
    with torch.autocast(**CPU), pytest.raises(TypeError, match=message):
        call(z.int())


# CUDA


@pytest.mark.parametrize("name", ["masked_matmul", "gram_ntk", "infinite_ntk"])
def test_operations_with_floats_are_registered_for_autocast_on_every_device(name):
    for key in autocast.DEVICES.values():
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"gatentk::{name}", key)
        assert not torch._C._dispatch_has_kernel_for_dispatch_key("gatentk::ordered_linear", key)


def test_kernels_get_what_they_take():
    low, wide = torch.bfloat16, torch.float32
    assert autocast.as_matmul("cuda", low) == (low, low)
    assert autocast.as_matmul("cuda", torch.float16) == (wide, torch.float16)
    assert autocast.as_matmul("cpu", low) == (wide, low)
    assert autocast.in_float32("cuda", low) == (wide, wide)


@LOW
@METHODS
def test_results_on_a_device_have_the_dtype_of_autocast(low, method):
    with FakeTensorMode(), autocast_for_cuda(low):
        z, weight, wide = (torch.empty(9, 200, dtype=d, device="cuda") for d in (low, torch.float32, torch.float64))
        gate = torch.empty(9, 16, dtype=torch.uint8, device="cuda")
        found = [
            ops.masked_linear(z, weight, None, gate, method),
            ops.masked_linear(weight, weight, method=method),
            ops.masked_linear(wide, wide, method=method),
            ops.gram_ntk([z], [weight]),
            ops.infinite_ntk(z, weight, [1, 2], "relu"),
        ]
        assert ops.masked_linear(torch.ones(3, 4), torch.ones(3, 4)).dtype == torch.float32  # on another device
    assert [out.dtype for out in found] == [low, low, torch.float64, torch.float32, torch.float32]


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_what_the_kernels_for_cuda_are_called_with(monkeypatch, low):
    """The kernel of the dispatcher's key, with tensors of the CPU in the place of the device's."""
    taken = []

    def run(*arguments):
        taken.append([t.dtype for t in arguments[:2]])
        return torch.zeros(3, 5, dtype=arguments[0].dtype)

    product = autocast.under_autocast(run, autocast.as_matmul, "cuda")
    with autocast_for_cuda(low):
        out = product(torch.ones(3, 4), torch.ones(4, 5, dtype=low), False, False, [], [], [], 0)
    computed = torch.bfloat16 if low == torch.bfloat16 else torch.float32
    assert taken == [[computed, computed]]
    assert out.dtype == low
    assert set(registration.CUDA) >= {"masked_matmul", "gram_ntk", "infinite_ntk"}

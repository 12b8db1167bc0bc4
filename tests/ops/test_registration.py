"""What every registered operation can do: batches, and where it is differentiated."""

import os
import subprocess
import sys

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
        *("infinite_ntk", "infinite_network", "gram_ntk", "masked_matmul"),
        *(
            "expand_bits",
            "gate_rows",
            "gated_sums",
            "to_blocks",
            "from_blocks",
            "block_product",
            "block_weight_gradient",
            "block_lists",
        ),
    }
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("gatentk::build_plan", "CUDA")
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("gatentk::block_lists", "CPU")


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


# Tensors whose memory is not there


def free(tensor):
    tensor.untyped_storage().resize_(0)
    return tensor


def shorten(tensor):
    """By less than a row: what is left does not reach the last element."""
    storage = tensor.untyped_storage()
    storage.resize_(storage.nbytes() - tensor.element_size())
    return tensor


def free_below_a_view(tensor):
    """Its address is not 0."""
    inside = torch.cat([tensor[:1], tensor])[1:]
    return free(inside)


def shorten_below_columns(tensor):
    """Elements are fewer than the storage holds, but lie further apart."""
    wide = torch.cat([tensor, tensor, tensor], 1)
    return shorten(wide[:, 2 * tensor.shape[1] :])


DAMAGE = pytest.mark.parametrize("damage", [free, shorten, free_below_a_view, shorten_below_columns])
N, WIDTH = 9, 200
Z, WEIGHT, MASK = torch.randn(N, WIDTH), torch.randn(N, WIDTH), torch.rand(N, WIDTH) < 0.5
BITS = reference.pack_bits(MASK)
PLANS = [ops.build_plan(BITS, WIDTH, neuron_major) for neuron_major in (False, True)]

# Operations by the tensors that they read, each of which is damaged in turn.
READERS = {
    "pack_bits": (ops.pack_bits, [MASK]),
    "unpack_bits": (lambda bits: ops.unpack_bits(bits, WIDTH), [BITS]),
    "transpose_bits": (lambda bits: ops.transpose_bits(bits, WIDTH), [BITS]),
    "build_plan": (lambda bits: ops.build_plan(bits, WIDTH), [BITS]),
    "gate_gram": (ops.gate_gram, [BITS, BITS]),
    "ordered_linear": (ops.ordered_linear, [Z, WEIGHT]),
    "infinite_ntk": (lambda x, z: ops.infinite_ntk(x, z, [1], "relu"), [Z, WEIGHT]),
    "gram_ntk": (lambda *t: ops.gram_ntk([t[0]], [t[1]], [t[2]], [t[3]], [t[4]]), [Z, Z, WEIGHT, WEIGHT, BITS]),
    **{
        f"masked_linear, {method}": (
            lambda z, weight, bits, method=method: ops.masked_linear(z, weight, bits, method=method),
            [Z, WEIGHT, BITS],
        )
        for method in ops.METHODS
    },
}


@DAMAGE
@pytest.mark.parametrize(
    ("call", "tensors", "which"),
    [
        pytest.param(call, tensors, which, id=f"{name} {which}")
        for name, (call, tensors) in READERS.items()
        for which in range(len(tensors))
    ],
)
def test_a_tensor_that_was_freed_is_refused(call, tensors, which, damage):
    tensors = [damage(tensor.clone()) if index == which else tensor for index, tensor in enumerate(tensors)]
    with pytest.raises(RuntimeError, match=r"^a tensor of shape .* needs a storage of \d+ bytes, and its has \d+: "):
        call(*tensors)


@pytest.mark.parametrize("damage", [free, shorten])
def test_a_plan_that_was_freed_is_refused(damage):
    for which in (1, 2):
        gate = [BITS, *(plan.clone() for plan in PLANS)]
        damage(gate[which])
        with pytest.raises(RuntimeError, match="it was freed or resized"):
            torch.ops.gatentk.masked_matmul(Z, WEIGHT, False, True, gate, [], [], 1)


def test_factors_that_are_freed_before_the_gradient():
    z, weight = Z.clone().requires_grad_(), WEIGHT.clone().requires_grad_()
    out = ops.masked_linear(z, weight, BITS, method="masked")
    free(weight.data)
    with pytest.raises(RuntimeError, match="it was freed or resized"):
        torch.autograd.grad(out, z, torch.ones_like(out))


def test_views_of_larger_and_empty_storages_are_taken():
    wide = torch.randn(4 * N, 3 * WIDTH)
    for view in (wide[::4, WIDTH : 2 * WIDTH], wide[:1, :WIDTH].expand(N, WIDTH), wide[3:12, 1 : 1 + WIDTH]):
        assert torch.equal(ops.ordered_linear(view, WEIGHT), ops.ordered_linear(view.contiguous(), WEIGHT))
    assert ops.ordered_linear(free(torch.ones(0, WIDTH)), WEIGHT).shape == (0, N)
    grown = Z.clone()
    grown.untyped_storage().resize_(2 * grown.nbytes)
    assert torch.equal(ops.ordered_linear(grown, WEIGHT), ops.ordered_linear(Z, WEIGHT))


# Processes that are forked

FORK = """
import os, signal, sys, warnings
import torch
from gatentk import nn, ops
torch.set_num_threads(2)
net = nn.GReLUNetwork(8, 600, 2, generator=torch.Generator().manual_seed(0))
x = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
a = torch.ones(600, 600)

def everything():
    bits = ops.pack_bits(a.view(torch.uint8)[:, :600].view(torch.bool))  # no operation of torch comes first
    table = net.gate_table(x)
    out = net(x, gates=table)
    grads = torch.autograd.grad(out.square().sum(), list(net.weights))
    return [bits, table.bits, out, ops.gram_ntk([a], [a]), ops.infinite_ntk(x, None, [2], "relu"), ops.gate_gram(bits),
            ops.transpose_bits(bits, 600), ops.masked_linear(a, a, method="dense"), *grads]

expected = everything()
def child():
    torch.set_num_threads(THREADS)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = everything()
        everything()
    same = all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    said = [str(w.message)[:23] for w in seen if w.category is RuntimeWarning]
    return same and torch.get_num_threads() == 1 and said == ["this process was forked"] * (THREADS > 1)
"""

BY_OS = """
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    os._exit(0 if child() else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

# Twice: what a child forks has no threads either.
BY_LOADER = """
class Samples(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        signal.alarm(60)
        return float(child())

loader = torch.utils.data.DataLoader(Samples(), batch_size=1, num_workers=1, multiprocessing_context="fork")
print([float(value) for value in loader][:1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [2, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("how", "expected"), [(BY_OS, "0"), (BY_LOADER, "[1.0]")])
def test_a_forked_process_computes_with_one_thread(threads, how, expected):
    code = FORK.replace("THREADS", str(threads)) + how
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.split("\n")[0] == expected, result.stderr

"""Layers with gates of their own, against plain torch with the same gates."""

import copy
import io
import pickle
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import ops
from gatentk.gates import GateNetwork
from gatentk.nn import GatedLinear

SIZES = st.integers(1, 9) | st.sampled_from([31, 64, 65])
METHODS = pytest.mark.parametrize("method", ops.METHODS)
LOW = pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])


def build(in_features=7, out_features=70, seed=0, **options):
    options = {"block": 16} | options
    layer = GatedLinear(in_features, out_features, generator=torch.Generator().manual_seed(seed), **options)
    if layer.bias is not None:  # zeros would hide it
        with torch.no_grad():
            layer.bias.copy_(rows(out_features, seed=seed + 1)[: len(layer.bias)])
    return layer


def rows(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def on(layer, features):
    """The gates of single neurons in plain torch, (..., out_features) bools."""
    net = layer.gate_net
    z = features.detach().to(net.input_weight.dtype)
    z = (z if net.center is None else z - net.center) @ net.input_weight.T
    for psi in net.weights:
        z = z.relu() @ psi.T
    return (z > 0).repeat_interleave(layer.block, -1)[..., : layer.out_features]


def plain(layer, z, features=None):
    y = torch.nn.functional.linear(z, layer.weight, layer.bias)
    return torch.where(on(layer, z if features is None else features), y, 0)


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    sizes=st.tuples(SIZES, SIZES),
    block=st.integers(1, 40),
    kind=st.sampled_from(["shallow", "deep"]),
    bias=st.booleans(),
    features=st.none() | SIZES,
    centred=st.booleans(),
    method=st.sampled_from(ops.METHODS),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_layers_and_their_gradients_equal_plain_torch(shape, sizes, block, kind, bias, features, centred, method, seed):
    options = {"block": min(block, sizes[1]), "kind": kind, "bias": bias, "gate_features": features}
    center = rows(features or sizes[0], seed=seed) if centred else None
    layer = build(*sizes, seed, dtype=torch.float64, center=None if center is None else center.double(), **options)
    layer.method = method
    z = rows(*shape, sizes[0], dtype=torch.float64, seed=seed + 1).requires_grad_()
    read = None if features is None else rows(*shape, features, dtype=torch.float64, seed=seed + 2)
    expected, result = plain(layer, z, read), layer(z, read)
    assert result.shape == (*shape, sizes[1])
    torch.testing.assert_close(result, expected)
    assert not result[~on(layer, z if read is None else read)].any()
    inputs = (z, *layer.parameters())
    cotangent = rows(*expected.shape, dtype=torch.float64, seed=seed + 3)
    torch.testing.assert_close(
        torch.autograd.grad(result, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent)
    )


@METHODS
def test_gradients_are_those_of_the_layer_to_second_order(method):
    layer, z = build(5, 9, block=2, dtype=torch.float64), rows(4, 5, dtype=torch.float64)
    layer.method = method

    def call(z, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (z, rows(4, 5, seed=3)))

    inputs = [value.detach().clone().requires_grad_() for value in (z, layer.weight, layer.bias)]
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_gate_inputs_have_no_gradient():
    layer, z, read = build(gate_features=3), rows(5, 7), rows(5, 3, seed=2).requires_grad_()
    assert torch.autograd.grad(layer(z, read).sum(), read, allow_unused=True) == (None,)


def test_gates_are_the_promise_of_a_gate_network():
    layer, z = build(gate_features=3, center=rows(3)), rows(11, 3)
    assert isinstance(layer.gate_net, GateNetwork)
    assert (layer.gate_features, layer.block, layer.kind, layer.gate_net.depth) == (3, 16, "shallow", 0)
    assert build(kind="deep").gate_net.depth == 1
    table = layer.gate_net.table(z)
    expected = table.expand().to_bool()[0]
    assert torch.equal(layer(rows(11, 7), z) != 0, expected)


def test_wide_features_are_rounded_as_the_gates_have_them():
    layer, z = build(), rows(5, 7)
    assert torch.equal(layer(z, z.double()), layer(z))
    assert torch.equal(layer(z, z.bfloat16()), layer(z, z.bfloat16().float()))


def test_what_is_not_a_number_shows():
    layer, z = build(), rows(5, 7)
    z[2, 3] = torch.nan
    out = layer(z)
    assert out[2].isnan().all()
    torch.testing.assert_close(out[[0, 1, 3, 4]], layer(z[[0, 1, 3, 4]]))


def test_a_sample_alone_is_a_vector():
    layer, z = build(), rows(7)
    torch.testing.assert_close(layer(z), layer(z[None])[0], rtol=0, atol=0)


def test_layers_feed_each_other():
    first, second, x = build(7, 128, block=32), build(128, 70, seed=1), rows(20, 7)
    torch.testing.assert_close(second(first(x)), plain(second, plain(first, x)), rtol=1e-4, atol=1e-4)
    wide = build(128, 70, seed=1, gate_features=7)
    torch.testing.assert_close(wide(first(x), x), plain(wide, plain(first, x), x), rtol=1e-4, atol=1e-4)


def test_weights_keep_the_mean_square_and_biases_start_at_zero():
    layer = GatedLinear(300, 416, generator=torch.Generator().manual_seed(0))
    assert abs(float(layer.weight.detach().square().mean()) * 300 / 2 - 1) < 5 * (2 / layer.weight.numel()) ** 0.5
    assert not layer.bias.any()
    z = rows(2000, 300)
    assert abs(float(layer(z).detach().square().mean()) - 1) < 0.1
    assert GatedLinear(3, 32, bias=False).bias is None


@pytest.mark.parametrize("options", [{}, {"kind": "deep"}, {"center": rows(7)}, {"bias": False}])
def test_reset_parameters_draws_as_the_constructor_does(options):
    layer, other, x = build(**options), build(seed=5, **options), rows(9, 7)
    fresh = GatedLinear(7, 70, block=16, generator=torch.Generator().manual_seed(3), **options)
    for module in (layer, other):
        module.reset_parameters(torch.Generator().manual_seed(3))
        assert torch.equal(module(x), fresh(x))
    layer.reset_parameters()
    assert not torch.equal(layer(x), fresh(x))


def test_layers_made_without_memory_are_drawn_later():
    state = torch.get_rng_state()
    layer = GatedLinear(7, 70, block=16, device="meta")
    assert {value.device.type for value in layer.state_dict().values()} == {"meta"}
    layer.reset_parameters()
    with FakeTensorMode():
        GatedLinear(7, 70, block=16).reset_parameters()
    assert torch.equal(torch.get_rng_state(), state)
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters(torch.Generator().manual_seed(3))
    assert torch.equal(
        layer(rows(9, 7)), GatedLinear(7, 70, block=16, generator=torch.Generator().manual_seed(3))(rows(9, 7))
    )


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_equal_and_independent(duplicate):
    layer, x = build(center=rows(7)), rows(20, 7)
    before, other = layer(x), duplicate(layer)
    assert torch.equal(other(x), before)
    with torch.no_grad():
        other.weight.zero_()
        other.gate_net.input_weight.zero_()
    assert torch.equal(layer(x), before)


def test_state_dict_round_trip():
    layer, other, x = build(center=rows(7)), build(seed=5, center=rows(7, seed=9)), rows(20, 7)
    assert list(layer.state_dict()) == ["weight", "bias", "gate_net.input_weight", "gate_net.center"]
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    assert not torch.equal(layer(x), other(x))
    other.load_state_dict(torch.load(stored))
    assert torch.equal(layer(x), other(x))


def test_conversion_leaves_gates_as_they_are():
    layer, x = build(center=rows(7)), rows(20, 7)
    before, fingerprint, mask = layer(x), layer.gate_net.fingerprint, on(layer, x)
    layer.double()
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert layer.gate_net.fingerprint == fingerprint
    assert torch.equal(layer(x.double()) != 0, mask)
    torch.testing.assert_close(layer(x.double()).float(), before)
    assert torch.equal(layer.float()(x), before)


@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU:UserWarning")
def test_bfloat16_layers_work_on_the_cpu():
    layer, x = build().bfloat16(), rows(20, 7).bfloat16()
    out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain(layer, x), rtol=2**-6, atol=2**-6)
    out.sum().backward()
    assert all(p.grad.dtype == torch.bfloat16 and p.grad.any() for p in layer.parameters())
    with pytest.raises(TypeError, match=r"dtype: GatedLinear can be converted to .*bfloat16, not to torch.float16"):
        layer.half()


@LOW
@METHODS
def test_autocast_gives_its_dtype_and_the_gates_without_it(low, method):
    layer, x = build(), rows(20, 7)
    layer.method = method
    expected = plain(layer, x)
    with torch.autocast("cpu", dtype=low):
        outs = [layer(x), layer(x.to(low), x)]
    for out in outs:
        assert out.dtype == low
        assert not out[~on(layer, x)].any()
        torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)
        layer.zero_grad()
        out.float().square().sum().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("autocast", [False, True])
def test_compiles_without_graph_breaks(backend, autocast):
    layer, x = build(gate_features=3, kind="deep"), rows(2, 20, 7)
    torch.compiler.reset()
    compiled, found = torch.compile(layer, fullgraph=True, backend=backend), []
    for call in (layer, compiled):
        with torch.autocast("cpu", enabled=autocast):
            out = call(x, x[..., :3])
        found.append([out, *torch.autograd.grad(out.float().square().sum(), list(layer.parameters()))])
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings(  # torch itself loads its rules for forward mode by it
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)
def test_transforms_of_functions_see_rows():
    layer, x = build(dtype=torch.float64), rows(6, 7, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))
    torch.testing.assert_close(torch.func.vmap(layer, 1)(x[:, None].expand(6, 2, 7)), layer(x).expand(2, 6, 70))
    weights = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(weights, row):
        return torch.func.functional_call(layer, weights, (row,)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for name, p in layer.named_parameters():
        for gradient, row in zip(found[name], x, strict=True):
            torch.testing.assert_close(gradient, torch.autograd.grad(plain(layer, row).square().sum(), p)[0])
    tangent = torch.func.jvp(layer, (x,), (rows(6, 7, seed=4, dtype=torch.float64),))[1]
    torch.testing.assert_close(
        tangent, torch.func.jvp(lambda z: plain(layer, z), (x,), (rows(6, 7, seed=4, dtype=torch.float64),))[1]
    )


def test_what_was_trained_on_a_batch_stays_when_it_is_evaluated():
    layer, x, y = build(), rows(40, 7), rows(40, 70, seed=2)
    optimizer, first = torch.optim.SGD(layer.parameters(), 0.05), None
    for _ in range(20):
        loss = (layer(x) - y).square().sum(1).mean()
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.9 * first
    with torch.inference_mode():
        assert torch.equal(layer(x), layer(x))
    torch.testing.assert_close(layer(x)[3:5], layer(x[3:5]))


def test_the_text_of_a_layer_has_its_sizes():
    text = repr(build(kind="deep", bias=False))
    assert text.startswith("GatedLinear(\n  in_features=7, out_features=70, bias=False, block=16, kind='deep'")


LAYER, X = build(), rows(6, 7)
READS_OTHERS = build(gate_features=3)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "in_features: expected an integer of at least 1, got 0", lambda: GatedLinear(0, 4)),
        (TypeError, "out_features: expected an integer, got float", lambda: GatedLinear(4, 4.0)),
        (TypeError, "bias: expected a bool, got int 1", lambda: GatedLinear(4, 64, 1)),
        (ValueError, "block: expected an integer of at least 1, got 0", lambda: GatedLinear(4, 64, block=0)),
        (ValueError, "block: expected at most out_features=4, got 32", lambda: GatedLinear(4, 4)),
        (ValueError, "kind: expected one of 'shallow', 'deep', got 'wide'", lambda: GatedLinear(4, 64, kind="wide")),
        (ValueError, "gate_features: expected an integer of at least 1", lambda: GatedLinear(4, 64, gate_features=0)),
        (ValueError, "center: ", lambda: GatedLinear(4, 64, center=torch.zeros(5))),
        (ValueError, "center: ", lambda: GatedLinear(4, 64, center=torch.full((4,), torch.nan))),
        (TypeError, "dtype: expected torch.float32 or torch.float64", lambda: GatedLinear(4, 64, dtype=torch.int32)),
        (TypeError, "z: expected a torch tensor, got an array", lambda: LAYER(X.numpy())),
        (ValueError, re.escape("z: expected shape (..., 7), got"), lambda: LAYER(X[:, :6])),
        (ValueError, re.escape("z: expected shape (..., 7), got"), lambda: LAYER(X[0, 0])),
        (TypeError, "z: expected torch.float32 as the layer's weights", lambda: LAYER(X.double())),
        (TypeError, "z: expected a floating-point tensor", lambda: LAYER(X.int())),
        (TypeError, "z: expected a dense tensor", lambda: LAYER(X.to_sparse())),
        (ValueError, "gate_input: expected a tensor of 3 features", lambda: READS_OTHERS(X)),
        (ValueError, re.escape("gate_input: expected shape (..., 3), got"), lambda: READS_OTHERS(X, X)),
        (ValueError, re.escape("gate_input: expected shape (6, 3) beside z"), lambda: READS_OTHERS(X, X[:5, :3])),
        (TypeError, "gate_input: expected a torch tensor, got list", lambda: LAYER(X, [1.0])),
        (TypeError, "gate_input: expected a floating-point tensor", lambda: LAYER(X, X > 0)),
    ],
)
def test_what_does_not_fit_a_layer_is_refused_by_name(error, message, call):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_unknown_methods_are_refused():
    layer = build()
    layer.method = "sparse"
    with pytest.raises(ValueError, match="method: expected one of 'auto', 'masked', 'dense', got 'sparse'"):
        layer(X)

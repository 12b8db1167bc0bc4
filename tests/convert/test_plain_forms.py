"""Networks in plain torch operations: the same outputs, gradients and names of weights."""

import copy

import pytest
import torch
from cases import sequences
from cases.altered import DoublingLinear
from cases.deployed import D_IN, D_OUT, DEPTH, FORMS, WIDTH, gated, generator, samples
from torch import nn
from torch.nn.utils import parametrize

from gatentk import convert, ops
from gatentk.convert.plain import PlainGReLUNetwork, PlainGReLUSequential
from gatentk.errors import UnsupportedModuleError
from gatentk.nn import MLP, GatedLinear, GReLULinear, GReLUNetwork, GReLUSequential, ReLUNetwork
from gatentk.nn.skipping import SkippingLinear

FORMS_OF_GATES = pytest.mark.parametrize("form", FORMS)
SEQUENTIAL = {
    "mlp": lambda dtype: MLP(D_IN, WIDTH, DEPTH, D_OUT, generator=generator(), dtype=dtype),
    "linear mlp": lambda dtype: MLP(D_IN, WIDTH, DEPTH, D_OUT, "linear", generator(), dtype),
    "mlp of depth 0": lambda dtype: MLP(D_IN, WIDTH, 0, D_OUT, generator=generator(), dtype=dtype),
    "relu": lambda dtype: ReLUNetwork(D_IN, WIDTH, DEPTH, D_OUT, generator=generator(), dtype=dtype),
    "relu without the last": lambda dtype: ReLUNetwork(D_IN, WIDTH, DEPTH, D_OUT, False, generator(), dtype),
    "relu with ends": lambda dtype: ReLUNetwork(
        D_IN, WIDTH, DEPTH, D_OUT, generator=generator(), dtype=dtype, train_ends=True
    ),
}


def own_parts(net):
    """Parts that gatentk has to be there for."""
    return [type(part) for part in net.modules() if type(part).__module__.startswith("gatentk")]


def gradients(out, *leaves):
    return torch.autograd.grad(out.sin().sum(), leaves)


@pytest.mark.parametrize("name", SEQUENTIAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_without_gates_are_sequential(name, dtype):
    net, x = SEQUENTIAL[name](dtype), samples(dtype=dtype)
    before = copy.deepcopy(net.state_dict())
    plain = convert.to_torch(net)
    assert type(plain) is nn.Sequential
    assert {type(layer) for layer in plain} <= {nn.Linear, nn.ReLU}
    torch.testing.assert_close(plain(x), net(x))
    trained = [parameter.requires_grad for parameter in plain.parameters()]
    ends_are_fixed = type(net) is ReLUNetwork and not net.train_ends
    assert trained == ([False, *[True] * DEPTH, False] if ends_are_fixed else [True] * len(trained))
    for parameter in plain.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


@FORMS_OF_GATES
@pytest.mark.parametrize("train_ends", [False, True])
def test_gated_networks_agree_for_given_gates_and_for_their_own(form, train_ends):
    net, x = gated(form, train_ends=train_ends), samples().requires_grad_()
    plain, table = convert.to_torch(net), net.gate_table(x)
    assert own_parts(plain) == [PlainGReLUNetwork, type(plain.gate_net)]
    torch.testing.assert_close(torch.stack(plain.gate_net(x)), table.to_bool())
    for out in (plain(x), plain(x, table.to_bool())):
        torch.testing.assert_close(out, net(x, table))
        ours, theirs = (gradients(y, x, *n.parameters()) for y, n in ((out, plain), (net(x, table), net)))
        torch.testing.assert_close(ours, theirs)
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in net.named_parameters()]


@FORMS_OF_GATES
def test_a_state_dict_fits_both(form):
    net = gated(form)
    plain = convert.to_torch(net)
    assert list(plain.state_dict()) == list(net.state_dict())
    with torch.no_grad():
        plain.weights[0].mul_(2)
    x = samples()
    assert not torch.allclose(plain(x), net(x))
    net.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(x), net(x))


def test_gates_keep_their_dtype():
    net = gated("shallow, ragged blocks, centred", torch.float32)
    plain, x = convert.to_torch(net), samples(dtype=torch.float32)
    for changed in (plain.double(), plain.bfloat16()):
        assert changed.gate_net.input_weight.dtype == torch.float32
        assert changed.weights[0].dtype != torch.float32
        dtype = changed.weights[0].dtype
        torch.testing.assert_close(torch.stack(changed.gate_net(x.to(dtype))), net.gate_table(x.to(dtype)).to_bool())
    with torch.autocast("cpu"):
        torch.testing.assert_close(torch.stack(plain.gate_net(x)), net.gate_table(x).to_bool())
    other = gated("deep, blocks", torch.float32, torch.float64)
    converted = convert.to_torch(other)
    assert converted.gate_net.psi_1.dtype == torch.float64
    torch.testing.assert_close(converted(x), other(x), atol=1e-4, rtol=1e-4)


def test_masks_that_do_not_fit_are_refused():
    net, x = gated("deep, blocks"), samples(5)
    plain, masks = convert.to_torch(net), net.gate_table(x).to_bool()
    for wrong in (
        masks[:, :1],
        masks[:1],
        masks[:, :, :3],
        masks[0],
        masks.float(),
        net.gate_table(x).expand().to_bool(),
    ):
        with pytest.raises(ValueError, match=r"^masks: expected bools of shape \(3, 5, 7\), got torch\."):
            plain(x, wrong)


def test_a_sample_that_is_no_number_shows():
    net = gated("shallow, ragged blocks, centred")
    x = samples(3)
    x[1, 2] = torch.nan
    for module in (net, convert.to_torch(net)):
        assert module(x).isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["shallow", "deep"])
@pytest.mark.parametrize("center", [None, torch.linspace(-1, 1, 5)])
@pytest.mark.parametrize(("block", "bias"), [(1, True), (8, False), (9, True)])
def test_layers_with_gates_agree(kind, center, block, bias):
    layer = GatedLinear(12, 40, bias, block, kind, center, gate_features=5, generator=generator(), dtype=torch.float64)
    if bias:
        nn.init.normal_(layer.bias, generator=generator(4))
    plain = convert.to_torch(layer)
    assert list(plain.state_dict()) == list(layer.state_dict())
    z, features = (torch.randn(2, 3, size, generator=generator(1), dtype=torch.float64) for size in (12, 5))
    z.requires_grad_()
    outputs = plain(z, features), layer(z, gate_input=features)
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(
        *(gradients(y, z, *n.parameters()) for y, n in zip(outputs, (plain, layer), strict=True))
    )
    masks = ops.unpack_bits(layer.gate_net.gates(features.reshape(-1, 5))[-1], layer.gate_net.units).reshape(2, 3, -1)
    torch.testing.assert_close(plain(z, masks=masks), outputs[1])
    for wrong in (masks[:1], masks[..., :1], masks.int()):
        with pytest.raises(ValueError, match=r"^gates: expected bools of shape \(2, 3, "):
            plain(z, masks=wrong)
    with pytest.raises(ValueError, match=r"^gates: expected bools of shape \(2, 3, "):
        plain(z, features[:1])


def test_layers_with_gates_read_their_input():
    layer = GatedLinear(12, 64, generator=generator(), dtype=torch.float64)
    z = torch.randn(7, 12, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(convert.to_torch(layer)(z), layer(z))


def test_layers_take_masks_and_packed_bits():
    layer = GReLULinear(20, 11, generator(), torch.float64)
    plain = convert.to_torch(layer)
    z = torch.randn(2, 5, 20, generator=generator(1), dtype=torch.float64)
    on = torch.rand(2, 5, 20, generator=generator(2)) > 0.5, torch.rand(2, 5, 11, generator=generator(3)) > 0.5
    packed = [ops.pack_bits(mask) for mask in on]
    for keep in ((True, True), (True, False), (False, True)):
        masks, bits = ([gate if kept else None for gate, kept in zip(form, keep, strict=True)] for form in (on, packed))
        torch.testing.assert_close(plain(z, *masks), layer(z, *bits))
        torch.testing.assert_close(plain(z, *bits), layer(z, *bits))
    with pytest.raises(ValueError, match=r"^gate_in, gate_out: expected gates"):
        plain(z)
    for wrong in (on[0][:, :1], on[0].float(), packed[0][:1], packed[0].int()):
        with pytest.raises(ValueError, match=r"^gate_in: expected bools of shape \(2, 5, 20\)"):
            plain(z, wrong)


class Block(nn.Module):
    """Parts that are used twice, share a weight, or lie in a list."""

    def __init__(self):
        super().__init__()
        self.first = gated("shallow")
        self.again = self.first
        self.parts = nn.ModuleList([nn.Linear(D_IN, D_IN, dtype=torch.float64), gated("deep, blocks")])
        self.nothing = None
        self.register_module("missing", None)
        self.parts[1].weights[0] = self.first.weights[0]

    def forward(self, x):
        return self.first(x) + self.again(self.parts[0](x)) + self.parts[1](x)


def test_parts_of_models_are_replaced_and_stay_shared():
    model, x = Block().eval(), samples()
    model.first.train()
    plain = convert.to_torch(model)
    assert type(plain) is Block
    assert set(own_parts(plain)) == {PlainGReLUNetwork, type(plain.first.gate_net)}
    assert plain.first is plain.again
    assert plain.first.weights[0] is plain.parts[1].weights[0]
    assert (plain.training, plain.first.training, plain.parts[1].training) == (False, True, False)
    torch.testing.assert_close(plain(x), model(x))
    assert type(model.first) is GReLUNetwork


@FORMS_OF_GATES
def test_predicted_gates_of_gated_networks_agree(form):
    fast, _ = convert.low_rank_gates(gated(form), samples(), rank=5)
    plain = convert.to_torch(fast)
    assert {part.__module__ for part in own_parts(plain)} == {PlainGReLUNetwork.__module__}
    torch.testing.assert_close(plain(samples(9)), fast(samples(9)))
    with torch.autocast("cpu"):
        found = plain._gates(plain.net.gate_net, samples(9))
    torch.testing.assert_close(found, fast.gate_table(samples(9)).to_bool())


@pytest.mark.parametrize("last_relu", [True, False])
def test_predicted_gates_of_relu_networks_agree(last_relu):
    net = ReLUNetwork(D_IN, WIDTH, DEPTH, D_OUT, last_relu, generator(), torch.float64)
    fast, _ = convert.low_rank_gates(net, samples(), rank=5)
    plain = convert.to_torch(nn.Sequential(fast))
    assert type(plain[0].net) is nn.Sequential
    torch.testing.assert_close(plain(samples(9)), fast(samples(9)))


OF_SEQUENCES = pytest.mark.parametrize("name", sequences.SEQUENCES)


def of_sequence(name, dtype=torch.float64, **options):
    """A trained gated network of a sequence, and the sequence that its gates are of."""
    model = sequences.sequence(name, dtype, **options)
    return sequences.perturbed(convert.relu_to_grelu(model)), model


@OF_SEQUENCES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gated_sequences_agree_for_given_gates_and_for_their_own(name, dtype):
    net, model = of_sequence(name, dtype)
    x = sequences.samples(30, dtype).requires_grad_()
    plain, masks = convert.to_torch(net), sequences.plain_gates(model, x.detach())
    assert own_parts(plain) == [PlainGReLUSequential, type(plain.gate_net)]
    for found, gate in zip(plain.gate_net(x), masks, strict=True):
        assert torch.equal(found, gate)
    for out in (plain(x), plain(x, masks), plain(x, tuple(masks))):
        expected = sequences.plain_gated(net.layers, x, masks)
        torch.testing.assert_close(out, expected)
        ours, theirs = (gradients(y, x, *n.parameters()) for y, n in ((out, plain), (expected, net)))
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(net(x), expected)
    gates = [torch.rand(mask.shape, generator=generator()) > 0.5 for mask in masks]
    torch.testing.assert_close(plain(x, gates), sequences.plain_gated(net.layers, x, gates))
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in net.named_parameters()]


@OF_SEQUENCES
def test_a_state_dict_of_a_sequence_fits_both(name):
    net, _ = of_sequence(name)
    plain = convert.to_torch(net)
    assert list(plain.state_dict()) == list(net.state_dict())
    x, before = sequences.samples(9), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        plain.layers.get_submodule(net.steps[0].name).weight.mul_(2)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert not torch.allclose(plain(x), net(x))
    net.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(x), net(x))
    alone = PlainGReLUSequential(sequences.sequence(name))
    alone.load_state_dict(net.state_dict())
    torch.testing.assert_close(alone(x), net(x))


def test_gates_of_sequences_keep_their_dtype():
    net, model = of_sequence("biases", torch.float32)
    plain, x = convert.to_torch(net), sequences.samples(20, torch.float32)
    masks = sequences.plain_gates(model, x)
    for changed in (copy.deepcopy(plain).double(), copy.deepcopy(plain).bfloat16()):
        assert {psi.dtype for psi in changed.gate_net.buffers()} == {torch.float32}
        assert {weight.dtype for weight in changed.parameters()} != {torch.float32}
    torch.testing.assert_close(plain.double().gate_net(x.double()), masks)
    with torch.autocast("cpu"):
        torch.testing.assert_close(plain.gate_net(x), masks)
    wider = of_sequence("biases")[0].float()
    assert {psi.dtype for psi in convert.to_torch(wider).gate_net.buffers()} == {torch.float64}
    torch.testing.assert_close(convert.to_torch(wider)(x), wider(x))


def test_dropout_and_modes_of_sequences_stay():
    net, _ = of_sequence("nested", train=True)
    net.layers[2][2].eval()
    plain, x = convert.to_torch(net), sequences.samples(400)
    assert [part.training for part in plain.layers.modules()] == [part.training for part in net.layers.modules()]
    outputs = []
    for run in (net, plain):
        torch.manual_seed(0)
        outputs.append(run(x))
    torch.testing.assert_close(*outputs)
    assert not torch.equal(plain(x), plain(x))
    torch.testing.assert_close(plain.eval()(x), net.eval()(x))
    torch.testing.assert_close(plain(x.reshape(400, 2, 3)), net(x))
    still = convert.relu_to_grelu(sequences.sequence("nested"))
    assert still.training
    assert torch.equal(convert.to_torch(still)(x), convert.to_torch(still)(x))


def test_sequences_of_few_gates_and_layers_used_twice():
    x = sequences.samples(9)
    linear = GReLUSequential(sequences.dense(6, 4).double())
    torch.testing.assert_close(convert.to_torch(linear)(x, []), linear(x))
    act, layer = nn.ReLU(), nn.Linear(30, 30)
    net = GReLUSequential(nn.Sequential(nn.Linear(6, 30), act, layer, act, layer, act).double())
    plain = convert.to_torch(net)
    assert plain.layers[2] is plain.layers[4]
    torch.testing.assert_close(plain(x), net(x))


def test_masks_that_do_not_fit_a_sequence_are_refused():
    net, model = of_sequence("no biases")
    x = sequences.samples(5)
    plain, (first, second) = convert.to_torch(net), sequences.plain_gates(model, x)
    for wrong, got in (
        ([], "none"),
        ([first], r"torch\.bool of \(5, 30\)"),
        ([second, first], r"torch\.bool of \(5, 40\), torch\.bool of \(5, 30\)"),
        ([first, second[:1]], r".*, torch\.bool of \(1, 40\)"),
        ([first, second.double()], r".*, torch\.float64 of \(5, 40\)"),
        ([first[None], second], r"torch\.bool of \(1, 5, 30\), .*"),
        (first, r"torch\.bool of \(5, 30\)"),
    ):
        with pytest.raises(ValueError, match=rf"^masks: expected .* \[\(5, 30\), \(5, 40\)\], got {got}$"):
            plain(x, wrong)


def test_a_sample_of_a_sequence_that_is_no_number_shows():
    x = sequences.samples(3)
    x[1, 2] = torch.nan
    assert convert.to_torch(of_sequence("biases")[0])(x).isnan().any(1).tolist() == [False, True, False]


@OF_SEQUENCES
def test_predicted_gates_of_sequences_agree(name):
    fast, _ = convert.low_rank_gates(sequences.sequence(name, train=True), sequences.samples(40))
    plain, x = convert.to_torch(fast), sequences.samples(9, seed=1)
    assert {part.__module__ for part in own_parts(plain)} == {PlainGReLUNetwork.__module__}
    torch.testing.assert_close(plain(x), fast(x))
    assert list(plain.state_dict()) == list(fast.state_dict())


def test_sequences_that_skip_zeros_have_linear_layers():
    model, x = sequences.dense(6, 520, 530, 3).double(), sequences.samples(9)
    skipping = convert.skip_zeros(model)
    for net in (convert.relu_to_grelu(skipping), convert.low_rank_gates(skipping, sequences.samples(40))[0]):
        plain = convert.to_torch(net)
        assert not any(isinstance(part, SkippingLinear) for part in plain.modules())
        assert any(isinstance(part, SkippingLinear) for part in net.modules())
        torch.testing.assert_close(plain(x), net(x))


def test_sequences_are_parts_of_models():
    net, _ = of_sequence("nested")
    model = nn.Sequential(nn.Linear(6, 6), net, nn.Linear(3, 1)).double()
    plain = convert.to_torch(model)
    assert type(plain[1]) is PlainGReLUSequential
    torch.testing.assert_close(plain(sequences.samples(9)), model(sequences.samples(9)))


def test_layers_that_skip_zeros_become_linear_again():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    parametrize.register_parametrization(model[4], "weight", nn.Tanh())
    model[2].register_forward_hook(lambda layer, args, out: 2 * out)
    fast = convert.skip_zeros(model)
    fast[2].method = "masked"
    plain = convert.to_torch(fast)
    assert [type(layer) for layer in plain[:4]] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert type(plain[4]).__bases__ == (nn.Linear,)
    assert [isinstance(layer, SkippingLinear) for layer in fast] == [False, False, True, False, True]
    assert not hasattr(plain[2], "method")
    x = torch.randn(5, 6, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(plain(x), model(x))


def test_networks_of_torch_are_copied():
    model = nn.Sequential(DoublingLinear(D_IN, 3), nn.ReLU()).double()
    plain = convert.to_torch(model)
    assert plain[0].weight is not model[0].weight
    torch.testing.assert_close(plain(samples()), model(samples()))


class Subclass(GReLUNetwork):
    pass


class OwnLayer(SkippingLinear):
    pass


def hooked():
    net = gated("deep")
    net.register_forward_hook(lambda *_: None)
    return net


def replaced():
    net = gated("deep")
    net.gate_net.gates = lambda x: x
    return net


def parametrized():
    layer = GReLULinear(3, 3)
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    return layer


def cut():
    net = gated("deep")
    net.weights = net.weights[:1]
    return net


def sequence_with(change):
    net = convert.relu_to_grelu(sequences.sequence("biases"))
    change(net.layers)
    return net


def predicted_with(change):
    fast, _ = convert.low_rank_gates(sequences.sequence("biases"), sequences.samples(9))
    change(fast.net)
    return fast


def hook(layers):
    layers[2].register_forward_hook(lambda *_: None)


def another_activation(layers):
    layers[1] = nn.GELU()


def without_a_relu(layers):
    layers[3] = nn.Identity()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sequence_with(hook), r"^net\.0\.layers\.2: Linear with hooks may compute something else"),
        (lambda: sequence_with(another_activation), r"^net\.0\.layers\.1: expected Linear, .*, got GELU"),
        (lambda: sequence_with(without_a_relu), r"^net\.0\.layers: has other modules than when its gates were"),
        (lambda: predicted_with(hook), r"^net\.0\.net\.2: Linear with hooks may compute something else"),
        (lambda: predicted_with(without_a_relu), r"^net\.0\.net: has other modules than when its gates were"),
        (
            lambda: sequence_with(lambda layers: parametrize.register_parametrization(layers[0], "weight", nn.Tanh())),
            r"^net\.0\.layers\.0: .*, got ParametrizedLinear",
        ),
        (lambda: Subclass(3, 8, 1), r"^net\.0: Subclass has no form in plain torch operations; MLP, "),
        (lambda: OwnLayer(3, 8), r"^net\.0: OwnLayer has no form"),
        (hooked, r"^net\.0: GReLUNetwork with hooks may compute something else"),
        (replaced, r"^net\.0\.gate_net: GateNetwork with gates replaced on the instance may"),
        (parametrized, r"^net\.0: ParametrizedGReLULinear has no form"),
        (cut, r"^net: GReLUNetwork has other weights than its sizes say$"),
    ],
)
def test_what_has_no_plain_form_is_named(build, message):
    with pytest.raises(UnsupportedModuleError, match=message):
        convert.to_torch(nn.Sequential(build()))


@pytest.mark.parametrize("net", [3, None, torch.ones(2), torch.relu])
def test_only_modules_are_converted(net):
    with pytest.raises(TypeError, match=r"^net: expected a torch\.nn\.Module, got"):
        convert.to_torch(net)

"""Networks that skip the zeros of their ReLUs: the same values, gradients and state as before."""

import copy
import pickle
import warnings

import pytest
import torch
from cases.altered import DoublingLinear
from cases.skipping import NETWORKS, WIDTH, WITHOUT_ZEROS, sequential
from torch import nn
from torch.nn.utils import parametrize, prune

from gatentk import convert
from gatentk.errors import UnsupportedModuleError
from gatentk.nn.skipping import SkippingLinear

BUILDS = pytest.mark.parametrize("built", NETWORKS.values(), ids=NETWORKS)


def skipping(model):
    return tuple(name for name, part in model.named_modules() if isinstance(part, SkippingLinear))


def samples(n=5, dtype=torch.float64, seed=0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_alike(fast, model, x):
    """Same outputs, and same gradients by the samples and by every parameter."""
    results = []
    for net in (model, fast):
        torch.manual_seed(3)  # what Dropout draws
        leaf = x.clone().requires_grad_()
        out = net(leaf)
        parameters = [p for p in net.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(out.square().sum(), (leaf, *parameters), allow_unused=True)
        results.append((out, *gradients))
    for theirs, ours in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


@BUILDS
@pytest.mark.parametrize("train", [False, True])
def test_values_and_gradients_stay(built, train):
    model = built.build().double().train(train)
    before = copy.deepcopy(model.state_dict())
    fast = convert.skip_zeros(model)
    assert skipping(fast) == built.skipping
    assert fast.training == train
    assert skipping(model) == ()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert_alike(fast, model, samples())
    for layer in fast.modules():
        if isinstance(layer, SkippingLinear):
            layer.method = "masked"
    assert_alike(fast, model, samples())
    assert_alike(fast.train(not train), model.train(not train), samples())


@BUILDS
def test_state_goes_both_ways(built):
    model, other = built.build().double(), built.build().double()
    fast = convert.skip_zeros(model)
    assert list(fast.state_dict()) == list(model.state_dict())
    mine, theirs = ({id(p) for p in net.parameters()} for net in (fast, model))
    assert not mine & theirs
    assert len(mine) == len(theirs)
    fast.load_state_dict(other.state_dict())
    assert_alike(fast, other, samples())
    model.load_state_dict(fast.state_dict())
    assert_alike(model, other, samples())


@pytest.mark.parametrize("build", WITHOUT_ZEROS.values(), ids=WITHOUT_ZEROS)
def test_what_has_no_zeros_is_said_to_have_none(build):
    model = build()
    with pytest.warns(UserWarning, match=r"no nn.Linear is fed by a ReLU"):
        fast = convert.skip_zeros(model)
    assert skipping(fast) == ()
    assert fast is not model


def test_float32_and_a_second_conversion():
    model = sequential(nn.ReLU())
    fast = convert.skip_zeros(model)
    x = samples(7, torch.float32)
    torch.testing.assert_close(fast(x), model(x))
    with pytest.warns(UserWarning, match="nothing to skip"):
        again = convert.skip_zeros(fast)
    assert skipping(again) == ("2",)
    assert_alike(again.double(), fast.double(), samples())


def test_training_goes_the_same_way():
    model = sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()).double()
    fast = convert.skip_zeros(model)
    for net in (model, fast):
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        for seed in range(3):
            optimizer.zero_grad()
            net(samples(seed=seed)).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(fast.state_dict(), model.state_dict())


def test_the_model_sees_nothing_of_the_trace():
    """Neither its buffers, nor its attributes, nor its hooks, nor the random state."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.seen, self.hooked = sequential(nn.ReLU()), [], []
            self.register_buffer("calls", torch.zeros(1))
            self.net.register_forward_hook(lambda module, args, out: self.hooked.append(out))

        def forward(self, x):
            self.calls += 1
            self.seen.append(x)
            return self.net(x + torch.randn(6))

    model = Counting()
    state = torch.get_rng_state()
    fast = convert.skip_zeros(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert skipping(fast) == ("net.2",)
    for net in (model, fast):
        assert (net.calls.item(), net.seen, net.hooked) == (0, [], [])


def test_hooks_go_with_their_layers():
    model = sequential(nn.ReLU()).double()
    calls = []
    model[2].register_forward_hook(lambda module, args, out: out.sin())
    model[2].register_forward_pre_hook(lambda module, args: calls.append(type(module)))
    model[2].register_full_backward_hook(lambda module, into, out: (3 * into[0],))
    fast = convert.skip_zeros(model)
    assert_alike(fast, model, samples())
    assert calls == [nn.Linear, SkippingLinear]


def test_a_parametrization_is_removed_as_before():
    model = NETWORKS["parametrized"].build().double()
    fast = convert.skip_zeros(model)
    assert parametrize.is_parametrized(fast[2])
    again = copy.deepcopy(fast)
    assert_alike(again, model, samples())
    parametrize.remove_parametrizations(fast[2], "weight")
    assert type(fast[2]) is SkippingLinear
    torch.testing.assert_close(fast(samples()), model(samples()))


def test_weights_that_hooks_compute():
    model = sequential(nn.ReLU()).double()
    prune.l1_unstructured(model[2], "weight", 0.5)
    model(samples())  # the hook has made a tensor with a history, which cannot be copied
    fast = convert.skip_zeros(model)
    assert isinstance(fast[2], SkippingLinear)
    assert_alike(fast, model, samples())
    prune.remove(fast[2], "weight")
    torch.testing.assert_close(fast(samples()), model(samples()))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = sequential(nn.ReLU())

    def forward(self, x):
        return nn.functional.linear(self.net(x).relu(), self.net[2].weight)


def replaced():
    model = sequential(nn.ReLU())
    model[2].forward = torch.tanh
    return model


@pytest.mark.parametrize(
    ("build", "left", "also"),
    [
        (lambda: nn.Sequential(nn.ReLU(), DoublingLinear(6, 6)), r"1 \(DoublingLinear\), a subclass of nn.Linear$", ()),
        (replaced, r"2 \(Linear\), with its forward replaced$", ()),
        (Functional, r"linear, a call of torch.nn.functional.linear instead of an nn.Linear$", ("net.2",)),
    ],
)
def test_what_stays_dense_is_said(build, left, also):
    model = build().double()
    with pytest.warns(UserWarning, match="^model: fed by a ReLU, but left dense: " + left):
        fast = convert.skip_zeros(model)
    assert skipping(fast) == also
    torch.testing.assert_close(fast(samples()), model(samples()))


def test_copies_and_pickles():
    fast = convert.skip_zeros(sequential(nn.ReLU()).double())
    for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert skipping(again) == ("2",)
        assert_alike(again, fast, samples())


def test_compiled_without_a_break():
    model = sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()).double()
    fast = convert.skip_zeros(model)
    assert_alike(torch.compile(fast, fullgraph=True, backend="aot_eager"), model, samples())


def test_transforms_of_torch_func():
    model = sequential(nn.ReLU()).double()
    fast = convert.skip_zeros(model)
    parameters = dict(fast.named_parameters())
    x = samples()

    def loss(values, row):
        return torch.func.functional_call(fast, values, (row[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for name, gradients in each.items():
        for row, gradient in zip(x, gradients, strict=True):
            (expected,) = torch.autograd.grad(model(row[None]).square().sum(), [model.get_parameter(name)])
            torch.testing.assert_close(gradient, expected)
    stacked = {name: torch.stack([value, 2 * value]) for name, value in parameters.items()}
    out = torch.func.vmap(lambda values: torch.func.functional_call(fast, values, (x,)))(stacked)
    torch.testing.assert_close(out[0], model(x))


class OnValues(nn.Module):
    def forward(self, x):
        h = x.exp()
        return h if h.sum() > 0 else -h


class OnLength(nn.Module):
    def forward(self, x):
        return sum(row for row in x.abs())


class OnNumbers(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (OnValues, r"forward of model.2 \(OnValues\) after gt \(call_function gt\): TraceError: a condition on the va"),
        (OnLength, r"model.2 \(OnLength\) after abs_1 .*: a loop over abs_1 \(call_method abs\) of unknown length"),
        (OnNumbers, r"model.2 \(OnNumbers\) after _1 \(call_module 1\): RuntimeError: 'len' is not supported"),
    ],
)
def test_what_cannot_be_traced_is_named(part, message):
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), part())
    with pytest.raises(UnsupportedModuleError, match=message):
        convert.skip_zeros(model)


def test_only_modules_that_run_python():
    model = sequential(nn.ReLU())
    for error, message, wrong in (
        (TypeError, "model: expected a torch.nn.Module, got", torch.relu),
        (TypeError, "model: expected a module that is not compiled", torch.compile(model, backend="eager")),
        (ValueError, r"model.1: a lazy layer has no weight yet", nn.Sequential(nn.ReLU(), nn.LazyLinear(3))),
    ):
        with pytest.raises(error, match=message):
            convert.skip_zeros(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"model\.0: .* script it afterwards"):
        convert.skip_zeros(nn.Sequential(scripted))


def test_layers_that_are_quantised_stay():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(sequential(nn.ReLU()), {nn.Linear}, torch.qint8)
        with pytest.warns(UserWarning, match="nothing to skip"):
            fast = convert.skip_zeros(quantised)
        torch.testing.assert_close(fast(samples(dtype=torch.float32)), quantised(samples(dtype=torch.float32)))

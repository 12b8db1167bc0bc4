"""Kernels of networks of many kinds of layers against those from Jacobians."""

import warnings

import pytest
import torch
from cases.altered import assert_same_state, state_of
from cases.kernels import D_IN, OTHER, Recurrent, assert_equal_kernels, brute_force, reduced, samples, seeded
from cases.writing import FromForward
from torch import nn
from torch.nn import functional

import gatentk as gt
from gatentk.ntk import captured, contributions, empirical
from gatentk.ntk.memory import Footprint

# What torch.func lacks makes the oracle slow.
pytestmark = pytest.mark.filterwarnings(
    "ignore:There is a performance drop", "ignore:net. torch.func cannot make", "ignore:Using padding='same'"
)

ACTIVATIONS = [
    *(nn.ReLU(inplace=True), nn.LeakyReLU(), nn.LeakyReLU(0.3, inplace=True), nn.Tanh(), nn.GELU(), nn.GELU("tanh")),
    *(nn.SiLU(), nn.Mish(), nn.ELU(), nn.SELU(), nn.CELU(), nn.Sigmoid(), nn.Softplus(), nn.Softsign(), nn.Hardtanh()),
    *(nn.Hardswish(), nn.ReLU6(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Softshrink(), nn.Softmax(-1)),
    *(nn.PReLU(), nn.PReLU(6)),
]


class Block(nn.Module):
    """x + f(x), with the addition in place if asked for."""

    def __init__(self, body, in_place=False):
        super().__init__()
        self.body, self.in_place = body, in_place

    def forward(self, x):
        out = self.body(x)
        if self.in_place:
            out += x
            return functional.relu_(out)
        return out + x


class Attention(nn.Module):
    """One head over four positions of two features."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(2, 9), nn.Linear(3, 2)

    def forward(self, x):
        q, k, v = self.qkv(x.view(len(x), 4, 2)).chunk(3, -1)
        return self.out(torch.softmax(q @ k.mT, -1) @ v).flatten(1)


class Branches(nn.Module):
    """A layer called twice, one whose result is not used, one that is left out of the gradient."""

    def __init__(self):
        super().__init__()
        self.shared, self.idle, self.cut = nn.Linear(D_IN, D_IN), nn.Linear(D_IN, 2), nn.Linear(D_IN, 2)
        self.last = nn.Linear(D_IN, 2)

    def forward(self, x):
        self.idle(x)
        with torch.no_grad():
            shift = self.cut(x)
        return self.last(self.shared(self.shared(x).tanh()).tanh() * x) * shift + shift


def tied():
    net = nn.Sequential(nn.Linear(D_IN, D_IN), nn.Tanh(), nn.Linear(D_IN, D_IN), nn.Tanh(), nn.Linear(D_IN, 2))
    net[2].weight = net[0].weight
    net[4].weight.requires_grad_(False)
    return net


FLAT = {
    **OTHER,
    "single layer": lambda: nn.Linear(D_IN, 2),
    "dropout": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.Dropout(), nn.ReLU(), nn.AlphaDropout(), nn.Linear(6, 2)),
    "batch norm": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)),
    "batch norm without affine": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.BatchNorm1d(6, affine=False)),
    "rms and group norm": lambda: nn.Sequential(
        nn.Linear(D_IN, 6), nn.RMSNorm(6), nn.Tanh(), nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.GELU(), nn.Linear(4, 2)
    ),
    "layer norm without bias": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.LayerNorm(6, bias=False), nn.Linear(6, 2)),
    "residual blocks": lambda: nn.Sequential(
        *(Block(nn.Sequential(nn.LayerNorm(D_IN), nn.Linear(D_IN, D_IN), nn.GELU())) for _ in range(2)),
        nn.Linear(D_IN, 2),
    ),
    "residual block in place": lambda: nn.Sequential(
        nn.Linear(D_IN, 6),
        nn.ReLU(inplace=True),
        Block(nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(inplace=True), nn.Linear(6, 6)), in_place=True),
        nn.Linear(6, 2),
    ),
    "branches": Branches,
    "tied": tied,
    "no biases": lambda: nn.Sequential(nn.Linear(D_IN, 6, bias=False), nn.Tanh(), nn.Linear(6, 2, bias=False)),
    "frozen": lambda: nn.Sequential(nn.Linear(D_IN, 6).requires_grad_(False), nn.Tanh(), nn.Linear(6, 2)),
    "only a bias": lambda: nn.Sequential(nn.Linear(D_IN, 6).requires_grad_(False), nn.Tanh(), only_bias()),
}


def only_bias():
    layer = nn.Linear(6, 2)
    layer.weight.requires_grad_(False)
    return layer


def residual_network():
    def body():
        return nn.Sequential(
            *(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            *(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
        )

    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(Block(body(), in_place=True), Block(body()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    )


# Of images (2, 6, 6), rows (2, 6) or volumes (2, 4, 4, 4).
SHAPED = {
    "flatten": ((2, 3, 2), lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))),
    "conv2d": ((2, 6, 6), lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))),
    "small image": ((2, 2, 2), lambda: nn.Sequential(nn.Conv2d(2, 9, (1, 2)), nn.Tanh(), nn.Flatten())),
    "stride, padding, dilation": (
        (2, 6, 6),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), nn.GELU(), nn.Flatten()
        ),
    ),
    "groups": (
        (4, 5, 5),
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Flatten()),
    ),
    "same padding": ((2, 4, 4), lambda: nn.Sequential(nn.Conv2d(2, 3, 2, padding="same"), nn.Tanh(), nn.Flatten())),
    "reflected padding": (
        (2, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh(), nn.Flatten()),
    ),
    "circular padding": (
        (2, 5),
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.Flatten()),
    ),
    "conv1d": ((2, 6), lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.InstanceNorm1d(3, affine=True), nn.Flatten())),
    "conv3d": ((2, 4, 4, 4), lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.ReLU(), nn.AvgPool3d(3), nn.Flatten())),
    "slopes of channels": ((3, 2, 2), lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.PReLU(3), nn.PReLU(), nn.Flatten())),
    "transposed": (
        (2, 3, 3),
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2), nn.PReLU(3), nn.AvgPool2d(6), nn.Flatten()),
    ),
    "residual network": ((2, 6, 6), residual_network),
    "positions": ((4, 3), lambda: nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 1))),
    "attention": ((8,), lambda: nn.Sequential(Attention(), nn.LayerNorm(8), nn.Linear(8, 2))),
}


def case(name):
    if name in FLAT:
        return seeded(FLAT[name]).eval(), samples(6), samples(4, seed=1)
    shape, build = SHAPED[name]
    net = seeded(build).eval()
    generator = torch.Generator().manual_seed(2)
    for buffer_name, buffer in net.named_buffers():
        if buffer_name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    x = torch.randn(10, *shape, generator=generator, dtype=torch.float64)
    return net, x[:6], x[6:]


@pytest.mark.parametrize("name", [*FLAT, *SHAPED])
def test_kernels_are_those_of_jacobians(name):
    net, x, z = case(name)
    before = state_of(net)
    for other in (None, z):
        full = empirical(net, x, other, outputs="full", method="jacobian")
        for outputs in ("trace", "diag", "full", 0):
            result = empirical(net, x, other, outputs=outputs, method="layerwise")
            assert_equal_kernels(result, reduced(full, outputs), 1e-12)
            if other is None:
                assert torch.equal(result, result.movedim((-4, -3), (-2, -1)) if outputs == "full" else result.mT)
        d_out = full.shape[1]
        weights = torch.linspace(-1, 2, d_out, dtype=torch.float64)
        expected = torch.einsum("p,npmq,q->nm", weights, full, weights)
        for method in ("layerwise", "jacobian"):
            assert_equal_kernels(empirical(net, x, other, outputs=weights, method=method), expected, 1e-12)
        summed = empirical(net, x, other, outputs="sum", method="layerwise")
        assert_equal_kernels(summed, full.sum((1, 3)), 1e-12)
    assert_same_state(net, before)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_activation_has_its_derivative(activation):
    net = seeded(lambda: nn.Sequential(nn.Linear(D_IN, 6), activation, nn.Linear(6, 2)))
    x, z = samples(7), samples(4, seed=1)
    for other in (None, z):
        expected = empirical(net, x, other, method="jacobian")
        assert_equal_kernels(empirical(net, x, other, method="layerwise"), expected, 1e-12)


@pytest.mark.parametrize("name", ["batch norm", "residual blocks", "residual network", "attention", "branches", "tied"])
@pytest.mark.parametrize("outputs", ["trace", "diag", "full"])
def test_chunks_and_float32_change_rounding_only(name, outputs, monkeypatch):
    net, x, z = case(name)
    for other in (None, z):
        whole = empirical(net, x, other, outputs=outputs, method="layerwise")
        for chunk in (1, 4):
            with monkeypatch.context() as patch:
                patch.setattr(Footprint, "chunk", lambda *_, chunk=chunk: chunk)
                part = empirical(net, x, other, outputs=outputs, method="layerwise")
            assert_equal_kernels(part, whole, 1e-12)
            if other is None:
                assert torch.equal(part, part.movedim((-4, -3), (-2, -1)) if outputs == "full" else part.mT)
    single = empirical(net.float(), x.float(), outputs=outputs, method="layerwise")
    assert single.dtype == torch.float32
    expected = empirical(net.double(), x.float().double(), outputs=outputs, method="jacobian")
    assert_equal_kernels(single.double(), expected, 1e-4)


@pytest.mark.parametrize("name", ["residual blocks", "conv2d", "groups", "tied", "branches"])
def test_components_are_those_of_layers(name):
    net, x, _ = case(name)
    names = [key for key, p in net.named_parameters() if p.requires_grad]
    each = empirical(net, x, components=True, method="jacobian")
    parts = empirical(net, x, components=True, method="layerwise")
    assert_equal_kernels(parts.sum(0), each.sum(0), 1e-12)
    if name != "tied":
        layers = list(dict.fromkeys(key.rpartition(".")[0] for key in names))
        pairs = list(zip(names, each, strict=True))
        expected = torch.stack([sum(k for key, k in pairs if key.rpartition(".")[0] == layer) for layer in layers])
        assert_equal_kernels(parts, expected, 1e-12)


class Functional(nn.Module):
    """Uses a layer's weight beside its call."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D_IN, D_IN)

    def forward(self, x):
        return functional.linear(self.layer(x).tanh(), self.layer.weight)


class Transposed(nn.Module):
    """Samples along the second axis."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, x):
        return self.layer(x.mT.unsqueeze(-1)).sum(0)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(D_IN))

    def forward(self, x):
        return x * self.scale


class TwoArguments(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Bilinear(D_IN)

    def forward(self, x):
        return self.layer(x, x)


class Bilinear(nn.Linear):
    def __init__(self, size):
        super().__init__(size, 2)

    def forward(self, x, z):
        return super().forward(x * z)


REFUSED = {
    "elsewhere": (Functional, "net: the gradient by layer.weight is another one than its layer's"),
    "samples elsewhere": (Transposed, r"layer: no layerwise NTK for Linear that takes a tensor of shape \(5, "),
    "own parameter": (Own, "net: no layerwise NTK for Own;"),
    "subclass": (TwoArguments, "layer: no layerwise NTK for Bilinear;"),
    "own network": (lambda: Attributes(), "net: no layerwise NTK for Attributes;"),
    "recurrent": (Recurrent, "cell: no layerwise NTK for GRUCell;"),
}


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(3, D_IN))])

    def forward(self, x):
        return x @ self.weights[0].T


@pytest.mark.parametrize("name", REFUSED)
def test_jacobians_are_taken_where_nothing_else_works_and_that_is_said(name):
    build, message = REFUSED[name]
    net, x = seeded(build), samples(4)
    with pytest.raises(gt.UnsupportedModuleError, match=rf'^{message}.*method="jacobian"'):
        empirical(net, x, method="layerwise")
    with pytest.warns(
        UserWarning, match=rf"^{message.rstrip(';')}.*: its kernel is made of Jacobians, which is slower"
    ):
        result = empirical(net, x)
    assert_equal_kernels(result, reduced(brute_force(net, x).sum(0), "trace"))


def test_layers_that_were_taken_are_not_said_to_be_slow():
    net, x, _ = case("residual network")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empirical(net, x)
        assert isinstance(empirical(net, x.numpy()), type(x.numpy()))


def test_a_wrong_rule_would_be_noticed(monkeypatch):
    net, x, _ = case("conv2d")
    given = captured.contributions_of

    def turned(layers, calls):
        for call in calls:
            call.delta = call.delta.flip(-1)
        return given(layers, calls)

    monkeypatch.setattr(captured, "contributions_of", turned)
    with pytest.raises(gt.UnsupportedModuleError, match=r"net: the gradient by .* is another one than its layer's"):
        empirical(net, x, method="layerwise")


def test_layers_whose_gradient_fails_are_refused(monkeypatch):
    net, x, _ = case("batch norm")

    def failing(call):
        raise RuntimeError("no rule")

    monkeypatch.setattr(contributions, "formed", failing)
    with pytest.raises(gt.UnsupportedModuleError, match=r"net: .* a layer whose gradient fails \(RuntimeError\)"):
        empirical(net, x, method="layerwise")


def test_networks_in_train_mode_are_refused_by_what_draws_or_mixes():
    net = nn.Sequential(nn.Linear(D_IN, 4), nn.Dropout(), nn.Linear(4, 1)).double()
    with pytest.raises(ValueError, match=r"net: its forward draws random .* 1 \(Dropout\) is in train mode"):
        empirical(net, samples(3))
    net = nn.Sequential(nn.Linear(D_IN, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    with pytest.raises(ValueError, match=r"net: .* 1 \(BatchNorm1d\) is in train mode"):
        empirical(net, samples(3))


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "outputs: expected an output below 2, got 2", {"outputs": 2}),
        (ValueError, "outputs: expected 2 weights, one for each output", {"outputs": [1.0, 2.0, 3.0]}),
        (ValueError, "outputs: expected an int or one of", {"outputs": [[1.0, 2.0]]}),
        (ValueError, "outputs: expected finite weights", {"outputs": [1.0, float("nan")]}),
        (ValueError, "memory_limit: expected an integer of at least 1", {"memory_limit": 0}),
    ],
)
def test_bad_input_is_refused(error, message, options):
    net, x, _ = case("conv2d")
    with pytest.raises(error, match=message):
        empirical(net, x, **options)


def test_a_limit_below_one_sample_is_a_memory_error():
    net, x, _ = case("conv2d")
    with pytest.raises(MemoryError, match=r"memory_limit: the layers of one sample at a time need 0\.\d+ MiB"):
        empirical(net, x, memory_limit=100)


def test_samples_that_do_not_fit_are_refused():
    net, x, _ = case("conv2d")
    with pytest.raises(ValueError, match="net: its forward fails on samples of shape"):
        empirical(net, x[:, :1])
    with pytest.raises(ValueError, match="z: expected 6 features as in x"):
        empirical(net, x, x[..., :5])


def test_gradients_that_are_cut_off_are_refused():
    net = FromForward(lambda self, x: self.layer(x).detach()).double()
    with pytest.raises(ValueError, match="net: its outputs have no gradient by its parameters"):
        empirical(net, samples(2))

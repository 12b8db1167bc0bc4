"""Kernels leave the network, the samples and torch's random numbers alone, and are of functions of one sample."""

import copy

import numpy as np
import pytest
import torch
from cases.altered import assert_same_state, sequential, state_of
from cases.kernels import D_IN, assert_equal_kernels, brute_force, reduced, samples, seeded
from cases.writing import INPUT_WRITERS, STATE_WRITERS, TRAIN_MODE, FromForward, Images
from torch import nn

from gatentk.errors import UnsupportedModuleError
from gatentk.ntk import empirical, operator


def of_copies(net, x, z=None):
    """(n, d_y, n_z, d_y) by brute force, every output of a fresh copy of the network."""

    def rows(samples):
        result = []
        for sample in samples:
            outputs = copy.deepcopy(net)(sample[None].clone()).numel()
            gradients = []
            for k in range(outputs):
                fresh = copy.deepcopy(net)
                value = fresh(sample[None].clone()).flatten()[k]
                gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(fresh.parameters()))]))
            result.append(torch.stack(gradients))
        return torch.stack(result)

    left = rows(x)
    return torch.einsum("npk,mqk->npmq", left, left if z is None else rows(z))


@pytest.mark.filterwarnings("ignore:net. torch.func cannot make its Jacobians")
@pytest.mark.parametrize("name", INPUT_WRITERS)
@pytest.mark.parametrize("as_array", [False, True])
def test_what_forward_writes_to_its_input_stays_in_the_call(name, as_array):
    net, x, z = seeded(INPUT_WRITERS[name]), samples(5), samples(3, seed=1)
    given = tuple(t.clone().numpy() if as_array else t.clone() for t in (x, z))
    for memory_limit in (2 << 30, 4 * 2 * 8 * 2 * sum(p.numel() for p in net.parameters())):
        for other in (None, z):
            full = of_copies(net, x, other)
            for outputs in ("trace", "full", 0):
                result = empirical(
                    net,
                    given[0],
                    None if other is None else given[1],
                    outputs=outputs,
                    method="jacobian",
                    memory_limit=memory_limit,
                )
                assert_equal_kernels(torch.as_tensor(result), reduced(full, outputs))
    np.testing.assert_array_equal(np.asarray(given[0]), x.numpy())
    np.testing.assert_array_equal(np.asarray(given[1]), z.numpy())


def test_layerwise_kernels_of_networks_that_write_in_place_leave_the_samples():
    x = samples(5)
    given = x.clone()
    for net in (
        seeded(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(D_IN, 2))),
        seeded(lambda: nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(inplace=True)), nn.Linear(D_IN, 2))),
    ):
        assert_equal_kernels(empirical(net, given), reduced(of_copies(net, x), "trace"))
        assert torch.equal(given, x)


@pytest.mark.filterwarnings("ignore:net. torch.func cannot make its Jacobians")
@pytest.mark.parametrize("name", STATE_WRITERS)
def test_what_forward_writes_to_the_network_is_undone(name):
    net, x = seeded(STATE_WRITERS[name]).train(), samples(4)
    before = state_of(net)
    full = of_copies(net, x)
    sample = 4 * 3 * 8 * sum(p.numel() for p in net.parameters())
    for memory_limit in (2 << 30, sample):
        result = empirical(net, x, outputs="full", method="jacobian", memory_limit=memory_limit)
        assert_equal_kernels(result, full)
    assert_same_state(net, before)
    assert net.training


@pytest.mark.filterwarnings("ignore:net. torch.func cannot make its Jacobians")
@pytest.mark.parametrize("name", TRAIN_MODE)
def test_outputs_that_are_drawn_or_depend_on_others_are_refused_and_leave_no_trace(name):
    build, message = TRAIN_MODE[name]
    net, x = seeded(build).train(), samples(5)
    before, random = state_of(net), torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        empirical(net, x, method="jacobian")
    assert_same_state(net, before)
    assert torch.equal(torch.get_rng_state(), random)
    net.eval()
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


def test_batch_statistics_are_refused_in_eval_mode_too():
    net = seeded(lambda: Images(track_running_stats=False)).eval()
    with pytest.raises(ValueError, match=r"^net: the outputs of a sample depend on the other samples$"):
        empirical(net, samples(3), method="jacobian")


@pytest.mark.parametrize("row", [2, 4])
def test_a_network_that_branches_on_all_samples_is_called_with_one(row):
    def branch(self, x):
        return self.layer(x) if len(x) > 1 or x[0, 0] < 1 else 2 * self.layer(x)

    x = samples(5)
    x[:, 0] = -1
    x[row, 0] = 2
    net = seeded(lambda: FromForward(branch)).eval()
    with pytest.raises(UnsupportedModuleError, match="net: the outputs of a sample are others beside other samples"):
        empirical(net, x, method="layerwise")
    with pytest.raises(ValueError, match="net: the outputs of a sample depend on the other samples"):
        operator(net, x)
    with pytest.warns(UserWarning, match="beside other samples.*its kernel is made of Jacobians.*by one backward pass"):
        found = empirical(net, x)
    assert_equal_kernels(found, reduced(brute_force(net, x).sum(0), "trace"))


def test_outputs_of_one_sample_that_have_no_axis_are_no_row():
    net, x = seeded(lambda: FromForward(lambda self, x: self.layer(x).tanh().squeeze(), d_out=1)), samples(1)
    with pytest.raises(UnsupportedModuleError, match="net: the outputs of a sample are others beside other samples"):
        empirical(net, x, method="layerwise")
    with pytest.raises(TypeError, match=r"net: expected one tensor with a row for each sample, .* for 1 sample\(s\)"):
        operator(net, x)
    with pytest.warns(UserWarning, match=r"beside other samples.*its kernel is made of Jacobians"):
        assert_equal_kernels(empirical(net, x), empirical(net, x, method="jacobian"))


def test_a_failing_forward_leaves_the_network():
    def forward(self, x):
        self.calls += 1
        raise KeyError("lost")

    net = FromForward(forward, calls=torch.zeros(())).double()
    before = state_of(net)
    with pytest.raises(ValueError, match=r"^net: its forward fails on samples of shape \(1, 5\), KeyError: 'lost'"):
        empirical(net, samples(3), method="jacobian")
    assert_same_state(net, before)


@pytest.mark.parametrize("d_out", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_squeezed_outputs_are_those_of_the_samples(d_out, n):
    net = seeded(lambda: FromForward(lambda self, x: self.layer(x).tanh().squeeze(), d_out))
    plain = seeded(lambda: FromForward(lambda self, x: self.layer(x).tanh(), d_out))
    x, z = samples(n), samples(3, seed=1)
    for other in (None, z):
        full = brute_force(plain, x, other).sum(0)
        for outputs in ("trace", "diag", "full", d_out - 1):
            result = empirical(net, x, other, outputs=outputs, method="jacobian")
            assert_equal_kernels(result, reduced(full, outputs))


@pytest.mark.parametrize(
    ("forward", "described"),
    [
        (lambda self, x: self.layer(x).mean(), r"a tensor of shape \(\)"),
        (lambda self, x: self.layer(x).mean(0), r"a tensor of shape \(3,\)"),
        (lambda self, x: self.layer(x).sum(0, keepdim=True), r"a tensor of shape \(1, 3\)"),
        (lambda self, x: self.layer(x).T, r"a tensor of shape \(3, 2\)"),
        (lambda self, x: self.layer(x).flatten(), r"a tensor of shape \(6,\)"),
        (lambda self, x: (self.layer(x), x), "tuple"),
        (lambda self, x: {"logits": self.layer(x)}, "dict"),
        (lambda self, x: self.layer(x).sum().item(), "float"),
        (lambda self, x: None, "NoneType"),
    ],
    ids=["mean", "mean over samples", "sum", "transposed", "flat", "tuple", "dict", "float", "none"],
)
@pytest.mark.parametrize("n", [1, 4])
def test_outputs_without_a_row_for_each_sample_are_refused(forward, described, n):
    net = seeded(lambda: FromForward(forward, 3))
    with pytest.raises(TypeError, match=f"^net: expected one tensor with a row for each sample, got {described}"):
        empirical(net, samples(n), method="jacobian")


@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 0])
@pytest.mark.parametrize("change", [lambda y: torch.complex(y, y), lambda y: torch.fft.fft(y), lambda y: y * 1j])
def test_complex_outputs_are_refused_by_name(change, outputs):
    net = seeded(sequential)
    net.register_forward_hook(lambda module, inputs, output: change(output))
    with pytest.raises(TypeError, match=r"^net: expected real outputs, got a tensor of shape \(1, 2\), .*view_as_real"):
        empirical(net, samples(3), method="jacobian", outputs=outputs)


def test_outputs_without_a_gradient_are_refused():
    for forward in (lambda self, x: self.layer(x).detach(), torch.no_grad()(lambda self, x: self.layer(x))):
        with pytest.raises(ValueError, match=r"^net: its outputs have no gradient by its parameters"):
            empirical(FromForward(forward).double(), samples(3), method="jacobian")


def test_a_network_for_one_sample_at_a_time_is_one_of_them():
    net = seeded(lambda: FromForward(lambda self, x: self.layer(x.view(1, D_IN)).tanh()))
    x = samples(4)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


def test_recurrent_networks_and_branches_go_by_backward_passes():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.LSTM(1, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.cell(x.unsqueeze(-1))[0][:, -1])

    def branch(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(x).sin()

    x, z = samples(4), samples(3, seed=1)
    for build in (Recurrent, lambda: FromForward(branch)):
        net = seeded(build)
        for other in (None, z):
            with pytest.warns(UserWarning, match="net: torch.func cannot make its Jacobians .* which is slower"):
                result = empirical(net, x, other, outputs="full", method="jacobian")
            assert_equal_kernels(result, brute_force(net, x, other).sum(0))


def test_lazy_parameters_are_refused():
    for method in ("auto", "jacobian"):
        with pytest.raises(ValueError, match=r"^net: expected parameters that are initialised"):
            empirical(nn.Sequential(nn.LazyLinear(2)).double(), samples(2), method=method)


@pytest.mark.parametrize("method", ["layerwise", "jacobian"])
def test_kernels_in_inference_mode(method):
    net, x = seeded(sequential), samples(4)
    expected = empirical(net, x, method=method)
    with torch.inference_mode():
        assert torch.equal(empirical(net, x, method=method), expected)
        assert torch.equal(empirical(net, x.clone(), method=method), expected)

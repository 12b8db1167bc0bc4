"""Products of a kernel that is never formed, against the kernel."""

import linear_operator
import numpy as np
import pytest
import torch
from cases.altered import assert_same_state, state_of
from cases.kernels import D_IN, NETWORKS, OTHER, assert_equal_kernels, brute_force, samples, seeded
from cases.writing import FromForward
from scipy.sparse.linalg import LinearOperator, cg, eigsh
from torch import nn

from gatentk.ntk import NTKOperator, empirical, operator

WEIGHTS = [0.5, -2.0, 1.0]


def dense(net, x, outputs):
    K = empirical(net, x, outputs=outputs, method="jacobian")
    return K.reshape(len(x) * K.shape[1], -1) if outputs == "full" else K


@pytest.mark.parametrize("outputs", ["trace", "full", "sum", 1, WEIGHTS])
@pytest.mark.parametrize("batch_size", [2, 1024])
@pytest.mark.parametrize("memory_limit", [1, 2 << 30])
def test_products_are_those_of_the_kernel(outputs, batch_size, memory_limit):
    net, x = seeded(NETWORKS["two layers"]), samples(7)
    K, expected = operator(net, x, outputs, batch_size=batch_size, memory_limit=memory_limit), dense(net, x, outputs)
    assert K.shape == expected.shape
    vectors = torch.randn(len(expected), 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for v in (vectors, vectors[:, 0], vectors[:, :0], vectors.T.contiguous().T):
        assert_equal_kernels(K.matmul(v), expected @ v, 1e-12) if v.numel() else None
        assert (K @ v).shape == v.shape
        assert not K.matmul(v).requires_grad
    np.testing.assert_allclose(K @ vectors.numpy(), (expected @ vectors).numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(K.matvec(vectors[:, 1].numpy()), (expected @ vectors[:, 1]).numpy(), rtol=1e-11)
    np.testing.assert_allclose(K.T @ vectors.numpy(), K.H @ vectors.numpy(), rtol=0)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", [*NETWORKS, *OTHER])
def test_any_network_has_products(name):
    net = seeded({**NETWORKS, **OTHER}[name])
    x = samples(5)
    K = operator(net, x, "full")
    expected = brute_force(net, x).sum(0).flatten(2).flatten(0, 1)
    assert_equal_kernels(K @ torch.eye(len(expected), dtype=torch.float64), expected, 1e-12)


def test_images_and_several_axes_of_outputs():
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.GELU()).double().eval()
    x = torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64)
    v = torch.randn(4, generator=generator, dtype=torch.float64)
    assert_equal_kernels(operator(net, x) @ v, empirical(net, x, method="jacobian") @ v, 1e-12)


def test_dtype_and_kind_are_those_of_the_network():
    net, x = seeded(NETWORKS["two layers"]).float(), samples(5).float()
    K = operator(net, x.numpy())
    assert isinstance(K, NTKOperator)
    assert isinstance(K, LinearOperator)
    assert (K.dtype, K.torch_dtype, K.device) == (np.dtype("float32"), torch.float32, torch.device("cpu"))
    assert K.matmul(torch.ones(5)).dtype == torch.float32
    assert (K @ np.ones(5)).dtype == np.float32
    np.testing.assert_allclose(K @ np.ones(5), empirical(net, x).sum(1).numpy(), rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(K.matmul(torch.ones(5)), operator(net, x).matmul(torch.ones(5)))
        np.testing.assert_allclose(K @ np.ones(5), empirical(net, x).sum(1).numpy(), rtol=1e-5)


def test_the_network_and_the_random_state_are_left_as_they_were():
    net = nn.Sequential(nn.Linear(D_IN, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).double().eval()
    before, state = state_of(net), torch.get_rng_state()
    x = samples(6)
    kept = x.clone()
    K = operator(net, x, "full")
    x.zero_()
    result = K @ torch.ones(12, dtype=torch.float64)
    assert_equal_kernels(result, dense(net, kept, "full").sum(1), 1e-12)
    assert_same_state(net, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in net.parameters())


def test_products_are_of_the_network_as_it_is():
    net, x, v = seeded(NETWORKS["two layers"]), samples(5), torch.ones(5, dtype=torch.float64)
    K = operator(net, x)
    with torch.no_grad():
        net[0].weight.mul_(2)
    assert_equal_kernels(K @ v, empirical(net, x) @ v, 1e-12)
    net.train(not net.training)
    with pytest.raises(ValueError, match="net: was put into train or eval mode after its operator was made"):
        K.matmul(v)


class Doubled(torch.autograd.Function):
    """Twice its input, its gradient too; without rules for torch.func."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Doubling(nn.Module):
    def forward(self, x):
        return Doubled.apply(x)


class Once(Doubled):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2 * grad


class DoublingOnce(nn.Module):
    def forward(self, x):
        return Once.apply(x)


@pytest.mark.parametrize("outputs", ["trace", "full", 1])
def test_what_torch_func_cannot_look_into_goes_by_backward_passes(outputs):
    net, x = seeded(lambda: nn.Sequential(nn.Linear(D_IN, 4), Doubling(), nn.Tanh(), nn.Linear(4, 2))), samples(4)
    with pytest.warns(UserWarning, match="net: torch.func cannot make products with its Jacobian"):
        K = operator(net, x, outputs)
    with pytest.warns(UserWarning, match="net: torch.func cannot make its Jacobians"):
        expected = dense(net, x, outputs)
    assert_equal_kernels(K @ torch.eye(len(expected), dtype=torch.float64), expected, 1e-12)


def test_what_has_no_second_gradient_is_refused():
    net = seeded(lambda: nn.Sequential(nn.Linear(D_IN, 4), DoublingOnce(), nn.Tanh(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=r"net: torch\.func cannot look .* use gatentk"):
        operator(net, samples(4))


def test_scipy_takes_it():
    net, x = seeded(NETWORKS["relu MLP of depth 2"]), samples(12)
    K, expected = operator(net, x), empirical(net, x)
    values = eigsh(K, k=3, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(values), torch.linalg.eigvalsh(expected)[-3:].numpy(), rtol=1e-9)
    shifted = K + LinearOperator(K.shape, matvec=lambda v: 10 * v, dtype=K.dtype)
    solution, info = cg(shifted, np.ones(12), rtol=1e-10)
    assert info == 0
    expected = torch.linalg.solve(expected + 10 * torch.eye(12), torch.ones(12, dtype=torch.float64))
    np.testing.assert_allclose(solution, expected.numpy(), rtol=1e-6)


def test_it_can_be_wrapped_for_gpytorch():
    class Wrapped(linear_operator.LinearOperator):
        def __init__(self, x, *, base):  # which is made of tensors; whatever else by name
            super().__init__(x, base=base)
            self.base = base

        dtype = property(lambda self: self.base.torch_dtype)
        device = property(lambda self: self.base.device)

        def _matmul(self, rhs):
            return self.base.matmul(rhs)

        def _size(self):
            return torch.Size(self.base.shape)

        def _transpose_nonbatch(self):
            return self

    net, x = seeded(NETWORKS["two layers"]), samples(6)
    v = torch.ones(6, 2, dtype=torch.float64)
    assert_equal_kernels(Wrapped(x, base=operator(net, x)) @ v, empirical(net, x) @ v, 1e-12)


NET = seeded(NETWORKS["two layers"])


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "outputs: expected 'trace', 'full', .* got 'diag'", (NET, samples(2), "diag"), {}),
        (ValueError, "outputs: expected an int or one of", (NET, samples(2), "all"), {}),
        (ValueError, "outputs: expected an output below 3, got 3", (NET, samples(2), 3), {}),
        (ValueError, "outputs: expected 3 weights", (NET, samples(2), [1.0, 2.0]), {}),
        (ValueError, "batch_size: expected an integer of at least 1", (NET, samples(2)), {"batch_size": 0}),
        (ValueError, "memory_limit: expected an integer of at least 1", (NET, samples(2)), {"memory_limit": 0}),
        (TypeError, "net: expected a torch.nn.Module", (lambda x: x, samples(2)), {}),
        (TypeError, "x: expected torch.float64 on cpu", (NET, samples(2).float()), {}),
        (ValueError, "x: expected at least one sample", (NET, samples(0)), {}),
        (ValueError, "x: expected finite values", (NET, samples(2) / 0), {}),
        (ValueError, "net: its forward fails", (NET, samples(2)[:, :4]), {}),
        (ValueError, "net: its forward draws random", (nn.Sequential(NET, nn.Dropout()).train(), samples(2)), {}),
    ],
)
def test_bad_input_is_refused_by_name(error, message, arguments, options):
    with pytest.raises(error, match=message):
        operator(*arguments, **options)


@pytest.mark.parametrize(
    ("error", "message", "v"),
    [
        (TypeError, "v: expected torch.float64 on cpu as the network, got a tensor", torch.ones(2)),
        (ValueError, r"v: expected shape \(2,\) or \(2, columns\), got", torch.ones(3, dtype=torch.float64)),
        (ValueError, r"v: expected shape \(2,\) or \(2, columns\), got", torch.ones(2, 1, 1, dtype=torch.float64)),
    ],
)
def test_vectors_that_do_not_fit_are_refused(error, message, v):
    with pytest.raises(error, match=message):
        operator(NET, samples(2)).matmul(v)


def test_networks_without_a_gradient_are_refused():
    net = FromForward(lambda self, x: self.layer(x).detach()).double()
    with pytest.raises(ValueError, match="net: its outputs have no gradient by its parameters"):
        operator(net, samples(2))

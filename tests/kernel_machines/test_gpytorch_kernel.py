"""Kernels of infinite width in GPyTorch's models, against scikit-learn's and against differences."""

import copy
import math
import pickle
import sys

import gpytorch
import numpy as np
import pytest
import torch
from cases.machines import samples, targets, tensor
from gpytorch.constraints import GreaterThan, Interval, Positive
from gpytorch.kernels import RBFKernel, ScaleKernel
from gpytorch.priors import LogNormalPrior
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel

import gatentk as gt
from gatentk import kernel_machines, ntk
from gatentk.errors import MissingExtraError
from gatentk.kernel_machines import GPyTorchKernel

X, Z = (tensor(samples(n, seed=seed)) for n, seed in ((30, 0), (9, 1)))
Y = tensor(targets(X.numpy()))


def made(depth=2, **options):
    """A kernel in float64, its deviations to the last digit what was asked for."""
    given = {name: value for name, value in options.items() if name in ("w_std", "b_std") and value}
    return GPyTorchKernel(depth, **options).double().initialize(**given)


def dense(kernel, x, z=None):
    return kernel(x, z).to_dense()


class Process(gpytorch.models.ExactGP):
    def __init__(self, x, y, kernel, noise=0.1, features=None):
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = tensor(noise)  # GPyTorch rounds numbers to float32
        super().__init__(x, y, likelihood)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = kernel
        self.features = features or torch.nn.Identity()

    def forward(self, x):
        x = self.features(x)
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def likelihood_of(model):
    """The log marginal likelihood, of all samples together."""
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model.train())
    return mll(model(*model.train_inputs), model.train_targets) * len(model.train_targets)


OPTIONS = {
    "[S]'s parametrisation": {},
    "ntk": {"w_std": 1.5, "b_std": 0.3},
    "nngp": {"kernel": "nngp", "w_std": 1.1, "b_std": 0.9},
    "normalised": {"w_std": 1.5, "b_std": 0.3, "normalize": True},
    "leaky relu": {"activation": "leaky_relu", "slope": 0.2, "w_std": 1.5, "b_std": 0.3},
    "erf": {"activation": "erf", "w_std": 1.5, "b_std": 0.3},
    "without biases": {"w_std": 1.5},
    "biases alone": {"b_std": 0.3},
    "biases of zero": {"w_std": 1.2, "b_std": 0.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_predictions_are_those_of_scikit_learn(options):
    model = Process(X, Y, ScaleKernel(made(**options)).double(), noise=0.05).eval()
    model.covar_module.outputscale = 0.5
    theirs = ConstantKernel(0.5) * gt.kernel(depth=2, **options) + WhiteKernel(0.05)
    process = GaussianProcessRegressor(theirs, alpha=0, optimizer=None).fit(X.numpy(), Y.numpy())
    means, covariances = process.predict(Z.numpy(), return_cov=True)
    with torch.no_grad():
        posterior = model(Z)
        np.testing.assert_allclose(posterior.mean, means, rtol=1e-8)
        np.testing.assert_allclose(posterior.covariance_matrix + 0.05 * torch.eye(9), covariances, rtol=1e-8, atol=1e-9)
        assert likelihood_of(model).item() == pytest.approx(process.log_marginal_likelihood_value_, rel=1e-10)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_kernels_diagonals_and_parts_are_those_of_ntk(options):
    kernel = made(**options)
    given = {name: value for name, value in options.items() if name != "normalize"}
    x, z = (v / v.norm(dim=1, keepdim=True) if options.get("normalize") else v for v in (X, Z))
    with torch.no_grad():
        K = dense(kernel, X)
        torch.testing.assert_close(K, ntk.infinite(x, depth=2, **given), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(dense(kernel, Z, X), ntk.infinite(z, x, depth=2, **given), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(kernel(X, diag=True), K.diagonal(), rtol=1e-13, atol=0)
        torch.testing.assert_close(
            kernel(X[:9], Z, diag=True), dense(kernel, X[:9], Z).diagonal(), rtol=1e-12, atol=1e-13
        )
        torch.testing.assert_close(kernel(X)[2:9, 5:].to_dense(), K[2:9, 5:], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(kernel(X).diagonal(), K.diagonal(), rtol=1e-13, atol=0)
    assert not kernel.is_stationary


def test_parameters_are_deviations_that_are_given():
    kernel = GPyTorchKernel(w_std=1.5, b_std=0.3)
    assert {name: value.shape for name, value in kernel.named_parameters()} == {"raw_w_std": (1,), "raw_b_std": (1,)}
    assert (kernel.w_std.item(), kernel.b_std.item()) == pytest.approx((1.5, 0.3))
    kernel.w_std = 2.0
    kernel.initialize(b_std=0.5)
    assert (kernel.w_std.item(), kernel.b_std.item()) == pytest.approx((2.0, 0.5))
    assert "depth=1" in repr(kernel)
    for options in ({}, {"b_std": 0.0}):
        plain = GPyTorchKernel(**options)
        assert list(plain.parameters()) == []
        assert (plain.w_std, plain.b_std) == (None, options.get("b_std"))
        with pytest.raises(ValueError, match="w_std: expected a kernel that was made with one above 0, got"):
            plain.w_std = 2.0


@pytest.mark.parametrize(
    "options",
    [
        {"w_std": 1.5, "b_std": 0.3},
        {"kernel": "nngp", "activation": "erf", "w_std": 1.5, "b_std": 0.3},
        {"w_std": 1.5, "b_std": 0.3, "ard_num_dims": 4, "normalize": True},
        {"w_std": 1.5, "b_std": 0.3, "batch_shape": torch.Size([2])},
    ],
)
def test_gradients_of_the_marginal_likelihood_are_limits_of_differences(options):
    y = Y.expand(*options.get("batch_shape", ()), 30)
    model = Process(X, y, made(**options))
    likelihood_of(model).sum().backward()
    step = 1e-6
    for parameter in model.covar_module.parameters():
        for i in range(parameter.numel()):
            values = []
            for sign in (1, -1):
                parameter.data.view(-1)[i] += sign * step
                values.append(likelihood_of(model).sum().item())
                parameter.data.view(-1)[i] -= sign * step
            expected = (values[0] - values[1]) / (2 * step)
            assert parameter.grad.view(-1)[i].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_training_finds_the_deviations_that_functions_were_drawn_with():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        K = dense(made(w_std=1.2, b_std=0.8), x) + 0.01 * torch.eye(50)
    y = (torch.linalg.cholesky(K) @ torch.randn(50, 60, generator=generator, dtype=torch.float64)).T
    model = Process(x, y, made(w_std=2.0, b_std=0.1), noise=0.01)
    model.likelihood.raw_noise.requires_grad_(False)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -likelihood_of(model).mean()
        value.backward()
        return value

    before = loss().item()
    optimizer.step(loss)
    assert loss().item() < before - 1
    assert (model.covar_module.w_std.item(), model.covar_module.b_std.item()) == pytest.approx((1.2, 0.8), rel=0.15)


def test_sums_products_and_chosen_features():
    ours, scale = made(w_std=1.5, b_std=0.3, active_dims=(0, 2)), ScaleKernel(made(1)).double()
    rbf = RBFKernel(active_dims=(1,)).double()
    with torch.no_grad():
        for x, z in ((X, None), (Z, X)):
            chosen = ntk.infinite(x[:, [0, 2]], None if z is None else z[:, [0, 2]], 2, w_std=1.5, b_std=0.3)
            torch.testing.assert_close(dense(ours, x, z), chosen)
            expected = chosen * dense(rbf, x, z) + math.log(2) * ntk.infinite(x, z, 1)
            torch.testing.assert_close(dense(ours * rbf + scale, x, z), expected)
            torch.testing.assert_close((ours * rbf + scale)(X, diag=True), dense(ours * rbf + scale, X).diagonal())


@pytest.mark.parametrize("shape", [(2,), (1,), (3, 2)])
def test_a_batch_of_kernels_is_each_by_itself(shape):
    count = math.prod(shape)
    kernel = GPyTorchKernel(2, w_std=1.5, b_std=0.3, batch_shape=torch.Size(shape)).double()
    w = torch.linspace(1, 2, count, dtype=torch.float64).view(*shape, 1)
    kernel.initialize(w_std=w, b_std=w / 4)
    x, z = (tensor(samples(count * n, seed=n)).view(*shape, n, 4) for n in (6, 5))
    with torch.no_grad():
        for left, right in ((x, None), (X, None), (x, z), (Z, z), (x.expand(2, *x.shape), None)):
            K = dense(kernel, left, right)
            assert kernel(left, right).shape == K.shape
            all_left = left.expand(*K.shape[:-2], *left.shape[-2:])
            all_right = all_left if right is None else right.expand(*K.shape[:-2], *right.shape[-2:])
            for index in np.ndindex(*K.shape[:-2]):
                value = float(w[index[len(index) - len(shape) :]])
                expected = ntk.infinite(all_left[index], all_right[index], 2, w_std=value, b_std=value / 4)
                torch.testing.assert_close(K[index], expected, rtol=1e-11, atol=1e-12)
        diagonal = kernel(x, diag=True)
        torch.testing.assert_close(diagonal, dense(kernel, x).diagonal(dim1=-2, dim2=-1))
        torch.testing.assert_close(
            dense(kernel[(0,) * len(shape)], x[(0,) * len(shape)]), dense(kernel, x)[(0,) * len(shape)]
        )


def test_lengthscales_divide_features():
    kernel = made(w_std=1.5, b_std=0.3, ard_num_dims=4)
    scales = tensor([[0.5, 1.0, 2.0, 9.0]])
    kernel.lengthscale = scales
    one = made(w_std=1.5, b_std=0.3, lengthscale_constraint=GreaterThan(0.1))
    one.lengthscale = 2.0
    with torch.no_grad():
        expected = ntk.infinite(Z / scales, X / scales, 2, w_std=1.5, b_std=0.3)
        torch.testing.assert_close(dense(kernel, Z, X), expected)
        torch.testing.assert_close(dense(one, X), ntk.infinite(X / 2, depth=2, w_std=1.5, b_std=0.3))
    assert not GPyTorchKernel().has_lengthscale
    assert not kernel.is_stationary


def test_priors_and_constraints_are_those_given():
    kernel = GPyTorchKernel(
        *(2, "erf"),
        w_std=1.5,
        b_std=0.3,
        w_std_prior=LogNormalPrior(0.3, 0.1),
        b_std_constraint=Interval(0.1, 0.5),
        b_std_prior=LogNormalPrior(-1.0, 0.1),
    ).double()
    model = Process(X, Y, kernel)
    without = Process(X, Y, made(activation="erf", w_std=1.5, b_std=0.3))
    with torch.no_grad():
        expected = kernel.w_std_prior.log_prob(kernel.w_std) + kernel.b_std_prior.log_prob(kernel.b_std)
        assert float(likelihood_of(model) - likelihood_of(without)) == pytest.approx(float(expected), abs=1e-4)
    assert isinstance(kernel.raw_w_std_constraint, Positive)
    kernel.sample_from_prior("w_std_prior")
    assert 1 < kernel.w_std.item() < 2
    assert kernel.w_std.item() != pytest.approx(1.5)
    with pytest.raises(RuntimeError, match="out of bounds"):
        kernel.b_std = 0.6


def test_state_goes_to_another_kernel_copies_and_files():
    options = {"w_std": 1.5, "b_std": 0.3, "ard_num_dims": 4, "w_std_prior": LogNormalPrior(0.3, 0.1)}
    kernel, other = made(**options), GPyTorchKernel(2, **{**options, "w_std": 1.0}).double()
    kernel.lengthscale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert {name for name in kernel.state_dict() if "prior" not in name} == {
        *("raw_w_std", "raw_b_std", "raw_lengthscale"),
        *(
            f"raw_{name}_constraint.{bound}_bound"
            for name in ("w_std", "b_std", "lengthscale")
            for bound in ("lower", "upper")
        ),
    }
    other.load_state_dict(kernel.state_dict())
    K = dense(kernel, X)
    for same in (other, copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert torch.equal(dense(same, X), K)


@pytest.mark.parametrize("options", [{}, {"w_std": 1.5, "b_std": 0.3}])
def test_dtype_is_that_of_the_samples(options):
    kernel = GPyTorchKernel(2, **options)
    assert kernel.dtype == torch.float32
    with torch.no_grad():
        K = dense(kernel, X.float())
        assert K.dtype == torch.float32
        torch.testing.assert_close(K.double(), dense(made(**options), X), rtol=1e-5, atol=1e-5)
        assert dense(kernel, X).dtype == torch.float64
    assert kernel.double().dtype == torch.float64
    assert dense(kernel, X).dtype == kernel(X).dtype == torch.float64
    assert kernel.device == torch.device("cpu")


def test_gradients_flow_into_features():
    layer = torch.nn.Linear(4, 3).double()
    model = Process(X, Y, made(w_std=1.5, b_std=0.3), features=layer)
    likelihood_of(model).backward()
    step, expected = 1e-6, torch.zeros_like(layer.weight)
    for i in range(12):
        values = []
        for sign in (1, -1):
            layer.weight.data.view(-1)[i] += sign * step
            values.append(likelihood_of(model).item())
            layer.weight.data.view(-1)[i] -= sign * step
        expected.view(-1)[i] = (values[0] - values[1]) / (2 * step)
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (TypeError, "depth: expected an int", {"depth": 1.5}),
        (ValueError, "activation: expected", {"activation": "sigmoid"}),
        (ValueError, "kernel: expected", {"kernel": "rbf"}),
        (ValueError, "w_std: expected a number of", {"w_std": 0.0}),
        (TypeError, "b_std: expected a number", {"b_std": "0.1"}),
        (TypeError, "normalize: expected True or False", {"normalize": 1}),
        (ValueError, "slope: expected none for relu", {"slope": 0.1}),
        (TypeError, "w_std_prior: expected a gpytorch.priors.Prior, got float", {"w_std": 1.0, "w_std_prior": 0.3}),
        (
            ValueError,
            "b_std_prior: expected none where b_std is None",
            {"w_std": 1.0, "b_std_prior": LogNormalPrior(0, 1)},
        ),
        (ValueError, "b_std_constraint: expected none where b_std is 0", {"b_std": 0, "b_std_constraint": Positive()}),
    ],
)
def test_arguments_are_refused_by_name(error, message, options):
    with pytest.raises(error, match=message):
        GPyTorchKernel(**options)


@pytest.mark.filterwarnings("ignore:The last_dim_is_batch argument is deprecated:DeprecationWarning")
def test_a_kernel_of_each_feature_is_refused():
    with pytest.raises(ValueError, match="last_dim_is_batch: expected False, got True; give a kernel for each feature"):
        GPyTorchKernel()(X, last_dim_is_batch=True).to_dense()
    with pytest.raises(ValueError, match="last_dim_is_batch: expected False"):
        GPyTorchKernel()(X, diag=True, last_dim_is_batch=True)


def test_without_gpytorch_it_says_what_to_install(monkeypatch):
    assert "GPyTorchKernel" in dir(kernel_machines)
    monkeypatch.delitem(sys.modules, "gatentk.kernel_machines.gpytorch_kernel")
    monkeypatch.setitem(sys.modules, "gpytorch.constraints", None)
    with pytest.raises(
        MissingExtraError, match=r'GPyTorchKernel: needs gpytorch; .* pip install "gatentk\[gpytorch\]"'
    ):
        kernel_machines.GPyTorchKernel  # noqa: B018
    monkeypatch.setattr(kernel_machines, "find_spec", lambda name: None)
    assert "GPyTorchKernel" not in dir(kernel_machines)

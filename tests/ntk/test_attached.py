"""Kernels of infinite width in torch's graph: gradients by finite differences, when there is a graph, and refusals."""

import itertools
import math

import numpy as np
import pytest
import torch

from gatentk import activations
from gatentk.gates import GateNetwork
from gatentk.ntk import infinite, infinite_sweep

CENTER = torch.tensor([0.5, 0.2, -0.1])
ACTIVATIONS = [
    ("relu", {}),
    ("leaky_relu", {"slope": 0.3}),
    ("abs", {}),
    ("erf", {}),
    ("gelu", {}),
    ("linear", {}),
]
GRELU = [
    *({"gates": kind} for kind in ("paper", "deep", "shallow")),
    *({"gates": GateNetwork(3, 4, 2, kind=kind, center=CENTER)} for kind in ("deep", "shallow")),
]
DEVIATIONS = [(None, None), (1.3, 0.0), (1.3, 0.4)]


# Of torch's own, once it makes tangents.
DECOMPOSED = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def samples(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def leaf(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def check_gradients(activation, depths, z, w_std=None, b_std=None, batch=(), fast=True, **options):
    inputs = [samples(*batch, 3, 3).requires_grad_()]
    if z:
        inputs.append(samples(*batch, 2, 3, seed=1).requires_grad_())
    deviations = [leaf(value) for value in (w_std, b_std) if value]  # at b_std = 0 angles have a kink

    def kernels(*arguments):
        sides, given = arguments[: len(inputs)], dict(zip(("w_std", "b_std"), arguments[len(inputs) :], strict=False))
        return infinite_sweep(
            sides[0], sides[1] if z else None, depths, activation, **{"w_std": w_std, "b_std": b_std} | given, **options
        )

    assert torch.autograd.gradcheck(kernels, [*inputs, *deviations], atol=1e-6, rtol=1e-5, fast_mode=fast)


def test_every_activation_is_tried_here():
    assert {name for name, _ in ACTIVATIONS} | {"grelu"} == set(activations.ACTIVATIONS)


@pytest.mark.parametrize(("activation", "options"), ACTIVATIONS)
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize(("w_std", "b_std"), DEVIATIONS)
@pytest.mark.parametrize("z", [False, True])
def test_gradients_are_those_of_finite_differences(activation, options, kernel, w_std, b_std, z):
    check_gradients(activation, [3, 0, 1, 3], z, w_std, b_std, kernel=kernel, **options)


@pytest.mark.parametrize("options", GRELU)
@pytest.mark.parametrize("z", [False, True])
def test_gradients_of_gated_networks_are_those_of_finite_differences(options, z):
    check_gradients("grelu", [1, 3], z, **options)


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize(("activation", "options"), ACTIVATIONS)
def test_copies_multiples_and_opposites_have_the_mean_gradient_of_both_sides(activation, options, kernel):
    """Which central differences give, too, where kernels have kinks."""
    a, b = samples(2, 3)
    x, z = torch.stack([a, a, -a, 2 * a, b]), torch.stack([a, -2 * b])
    for w_std, b_std in DEVIATIONS:
        for other in (None, z):

            def kernels(x, w_std=w_std, b_std=b_std, other=other):
                return infinite(x, other, 2, activation, kernel=kernel, w_std=w_std, b_std=b_std, **options)

            given = x.clone().requires_grad_()
            assert torch.autograd.gradcheck(kernels, [given], eps=1e-5, atol=1e-4, rtol=1e-4, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "options"), ACTIVATIONS)
def test_whole_jacobians_are_those_of_finite_differences(activation, options):
    for kernel, deviations, depth, z in itertools.product(("ntk", "nngp"), DEVIATIONS, (0, 1, 3), (False, True)):
        check_gradients(activation, [depth], z, *deviations, fast=False, kernel=kernel, **options)


@pytest.mark.parametrize(("activation", "w_std"), [("relu", 1.2), ("relu", None), ("gelu", 1.2), ("grelu", None)])
def test_leading_dimensions_are_apart(activation, w_std):
    for z in (False, True):
        check_gradients(activation, [2], z, w_std, w_std and 0.3, batch=(2, 2))


@pytest.mark.parametrize(("activation", "depth"), [("relu", 0), ("relu", 2), ("linear", 2), ("grelu", 2)])
def test_components_have_gradients(activation, depth):
    x, z = samples(3, 3).requires_grad_(), samples(2, 3, seed=1).requires_grad_()
    for other in (None, z):

        def kernels(*sides):
            return infinite(*sides, depth=depth, activation=activation, components=True)

        assert torch.autograd.gradcheck(kernels, [x] if other is None else [x, z], atol=1e-6, rtol=1e-5)


def test_values_are_those_without_a_graph_to_the_bit():
    x, z = samples(20, 4), samples(9, 4, seed=1)
    for activation, options in [*ACTIVATIONS, *(("grelu", {"gates": kind}) for kind in ("paper", "deep"))]:
        for deviations in [{}] if activation == "grelu" else [{}, {"w_std": 1.3, "b_std": 0.2}]:
            for other in (None, z):
                plain = infinite_sweep(x, other, [1, 3], activation, **deviations, **options)
                tensors = {name: leaf(value) for name, value in deviations.items()}
                attached = infinite_sweep(x.clone().requires_grad_(), other, [1, 3], activation, **tensors, **options)
                assert attached.requires_grad
                assert not plain.requires_grad
                assert torch.equal(attached, plain)


def test_a_graph_begins_with_whatever_asks_for_one():
    x, z, w_std, b_std = samples(3, 2), samples(2, 2, seed=1), 1.2, 0.3
    for asking in range(4):
        values = [x, z, torch.tensor(w_std), torch.tensor(b_std)]
        values[asking] = values[asking].clone().requires_grad_()
        K = infinite(values[0], values[1], 2, w_std=values[2], b_std=values[3])
        (gradient,) = torch.autograd.grad(K.sum(), values[asking])
        assert gradient.shape == values[asking].shape
        assert gradient.abs().sum() > 0
        with torch.no_grad():
            assert not infinite(values[0], values[1], 2, w_std=values[2], b_std=values[3]).requires_grad
    assert not infinite(x, z, 2, w_std=torch.tensor(w_std), b_std=torch.tensor(b_std)).requires_grad
    as_array = infinite(x.numpy(), None, 2, w_std=leaf(1.2))
    assert isinstance(as_array, torch.Tensor)
    as_array.sum().backward()
    assert isinstance(infinite(x.numpy(), None, 2, w_std=torch.tensor(1.2)), np.ndarray)


def test_a_bias_alone_has_its_gradient_and_none_where_there_is_no_bias():
    x = samples(4, 3)
    for activation, _ in ACTIVATIONS:
        b_std = leaf(0.5)
        infinite(x, None, 2, activation, b_std=b_std).sum().backward()
        near = [float(infinite(x, None, 2, activation, b_std=0.5 + step).sum()) for step in (-1e-5, 1e-5)]
        assert float(b_std.grad) == pytest.approx((near[1] - near[0]) / 2e-5, rel=1e-7)
        b_std = leaf(0.0)
        infinite(x, None, 2, activation, b_std=b_std).sum().backward()
        assert float(b_std.grad) == 0


def test_gradients_have_the_dtype_of_what_they_are_by():
    x, w_std = samples(5, 3), leaf(1.3)
    infinite(x.requires_grad_(), depth=3, w_std=w_std, b_std=0.2).square().sum().backward()
    for sample_type, dtype in itertools.product((torch.float32, torch.float64), repeat=2):
        given = x.detach().to(sample_type).requires_grad_()
        single = torch.tensor(1.3, requires_grad=True)
        infinite(given, depth=3, w_std=single, b_std=0.2, dtype=dtype).square().sum().backward()
        assert given.grad.dtype == sample_type
        assert single.grad.dtype == torch.float32
        torch.testing.assert_close(given.grad.double(), x.grad, rtol=1e-5, atol=1e-5 * float(x.grad.abs().max()))
        torch.testing.assert_close(single.grad.double(), w_std.grad, rtol=1e-5, atol=0)


@pytest.mark.parametrize("activation", ["relu", "abs", "grelu"])
def test_samples_of_extreme_size_have_gradients_of_their_size(activation):
    x, z = samples(4, 3), samples(3, 3, seed=1)
    right = [side.clone().requires_grad_() for side in (x, z)]
    infinite(*right, 2, activation).sum().backward()
    for power_x, power_z in ((200, 200), (-300, 100), (0, -400)):
        given = [(side * 2.0**power).requires_grad_() for side, power in ((x, power_x), (z, power_z))]
        infinite(*given, 2, activation).sum().backward()
        torch.testing.assert_close(given[0].grad * 2.0**-power_z, right[0].grad, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(given[1].grad * 2.0**-power_x, right[1].grad, rtol=1e-12, atol=1e-13)


def test_transforms_of_torch_func_give_the_same():
    x = samples(4, 3)
    given, w_std = x.clone().requires_grad_(), leaf(1.2)

    def total(x, w_std):
        return infinite(x, depth=2, w_std=w_std, b_std=0.2).square().sum()

    total(given, w_std).backward()
    by_x, by_w = torch.func.grad(total, argnums=(0, 1))(x, w_std.detach())
    assert torch.equal(by_x, given.grad)
    assert torch.equal(by_w, w_std.grad)
    whole = torch.func.jacrev(lambda x: infinite(x, depth=2))(x)
    torch.testing.assert_close(whole, torch.autograd.functional.jacobian(lambda x: infinite(x, depth=2), x))
    K = infinite(given, depth=2)
    (several,) = torch.autograd.grad(K, given, torch.stack([torch.eye(4)] * 2).double(), is_grads_batched=True)
    assert torch.equal(several[0], several[1])


def test_autocast_does_not_touch_gradients():
    x = samples(5, 3).requires_grad_()
    for activation, options in (("relu", {}), ("gelu", {"w_std": 1.2, "b_std": 0.2}), ("grelu", {"gates": "deep"})):
        (right,) = torch.autograd.grad(infinite(x, None, 2, activation, **options).square().sum(), x)
        with torch.autocast("cpu"):
            (found,) = torch.autograd.grad(infinite(x, None, 2, activation, **options).square().sum(), x)
        assert torch.equal(found, right)


def test_modules_may_own_samples_and_deviations():
    class Support(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = torch.nn.Parameter(samples(3, 2))
            self.w_std = torch.nn.Parameter(torch.tensor(1.3))

        def forward(self, x):
            return infinite(x, self.rows, 2, w_std=self.w_std)

    module = Support()
    module(samples(4, 2, seed=1)).sum().backward()
    assert module.rows.grad.shape == (3, 2)
    assert module.w_std.grad.dtype == torch.float32


# Uses


def test_maximising_the_marginal_likelihood_lowers_its_negative_logarithm():
    x = samples(30, 3)
    y = x.sin().sum(-1)
    logs = torch.tensor([1.5, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=15, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        w_std, b_std = logs.exp()
        K = infinite(x, depth=2, kernel="nngp", w_std=w_std, b_std=b_std) + 1e-3 * torch.eye(30)
        value = -torch.distributions.MultivariateNormal(torch.zeros(30, dtype=torch.float64), K).log_prob(y)
        value.backward()
        return value.detach()

    before = float(loss())
    optimizer.step(loss)
    assert float(loss()) < before - 50
    assert float(logs.grad.abs().max()) < 1e-2


def test_two_distilled_samples_predict_better_than_two_that_were_drawn():
    x = samples(40, 3)
    y = (x[:, :1] > 0).double() * 2 - 1
    support = x[:2].clone().requires_grad_()
    targets = y[:2]

    def loss():
        K = infinite(support, depth=1)
        weights = torch.linalg.solve(K + 1e-3 * K.diagonal().mean() * torch.eye(2), targets)
        return (infinite(x, support, depth=1) @ weights - y).square().mean()

    before = loss().item()
    optimizer = torch.optim.Adam([support], lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.7 * before


# Refusals


@DECOMPOSED
def test_second_derivatives_and_tangents_are_refused():
    x = samples(3, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(infinite(x, depth=1).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        (gradient.square().sum() + x.sum()).backward()
    with pytest.raises(NotImplementedError, match="got tangents"):
        torch.func.jvp(lambda x: infinite(x, depth=1), (x.detach(),), (x.detach(),))


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (TypeError, r"w_std: expected a number, got a tensor of shape \(1,\)", {"w_std": torch.ones(1)}),
        (TypeError, r"b_std: expected a number, got a tensor of shape \(\), torch.int64", {"b_std": torch.tensor(1)}),
        (ValueError, "w_std: expected a number of .*, got nan", {"w_std": leaf(math.nan)}),
        (ValueError, "w_std: expected a number of .*, got -1.0", {"w_std": leaf(-1.0)}),
        (ValueError, "b_std: expected a number of .*, got -1.0", {"b_std": leaf(-1.0)}),
        (TypeError, "slope: expected a number, got a tensor", {"activation": "leaky_relu", "slope": leaf(0.1)}),
        (ValueError, "w_std: expected the NTK .* grelu", {"activation": "grelu", "w_std": leaf(1.0)}),
        (ValueError, "components: expected False", {"components": True, "w_std": leaf(1.0)}),
    ],
)
def test_bad_options_are_refused_by_name(error, message, options):
    for x in (samples(3, 2), samples(3, 2).requires_grad_()):
        with pytest.raises(error, match=message):
            infinite(x, **options)


def test_samples_that_are_changed_before_their_gradient_and_lists_of_them_are_refused():
    x = samples(3, 2)
    x.requires_grad_()
    moved = x * 1
    K = infinite(moved, depth=1)
    moved += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        K.sum().backward()
    with pytest.raises(TypeError, match=r"x: expected one tensor where gradients are asked for.*torch.stack"):
        infinite([x[0], x[1]], depth=1)
    with pytest.raises(ValueError, match="x: expected finite values"):
        infinite(torch.full((2, 2), math.nan, requires_grad=True), depth=1)

"""Derivatives of kernels of infinite width against derivatives in 60 digits, and the memory that they take."""

import math

import pytest
import torch
from cases import exact_networks as exact

from gatentk.gates import GateNetwork
from gatentk.ntk import derivatives, infinite, infinite_sweep
from gatentk.ntk.attached import Asked

mp = exact.mp
NETWORKS = [
    ("relu", None, 1.5, 0.3),
    ("relu", None, None, None),
    ("leaky_relu", 0.3, 1.2, 0.0),
    ("leaky_relu", -0.4, 1.2, 0.5),
    ("abs", None, 1.1, 0.2),
    ("erf", None, 1.5, 0.3),
    ("erf", None, 1.5, 0.0),
    ("gelu", None, 1.4, 0.3),
    ("linear", None, 0.9, 0.4),
]
EVERY = pytest.mark.parametrize(("activation", "slope", "w_std", "b_std"), NETWORKS)
KERNELS = pytest.mark.parametrize("kernel", ["ntk", "nngp"])
X = [0.6, -0.8, 1.1]
OTHERS = {
    "other": [1.4, 0.3, -0.2],
    "opposite": [-1.0, 1.2, -1.7],
    "longer": [60.0, -81.0, 105.0],
    "close": [0.6, -0.8 + 1e-6, 1.1],
    "closer": [0.6 + 1e-9, -0.8, 1.1],
    "nearly opposite": [-1.2, 1.6 + 2e-6, -2.2],
}


def dot(x, z):
    return mp.fsum(a * b for a, b in zip(x, z, strict=True))


def right_derivatives(x, z, depth, activation, slope, w_std, b_std, kernel):
    """By each coordinate of x, and by w_std and b_std if they are given."""
    x, z = [mp.mpf(value) for value in x], [mp.mpf(value) for value in z]

    def value(x, w_std, b_std):
        products = dot(x, x), dot(x, z), dot(z, z)
        found = exact.at_depths(products, len(x), [depth], activation, w_std, b_std, slope)
        return found[depth][["ntk", "nngp"].index(kernel)]

    found = []
    for k in range(len(x)):
        found.append(mp.diff(lambda t, k=k: value([*x[:k], t, *x[k + 1 :]], w_std, b_std), x[k]))
    if w_std is None:
        return found, []
    w, b = mp.mpf(w_std), mp.mpf(b_std)
    return found, [mp.diff(lambda t: value(x, t, b), w), mp.diff(lambda t: value(x, w, t), b)]


def gradients(x, z, depth, activation, slope, w_std, b_std, kernel, dtype="float64"):
    """Of K(x, z) by x and z, by w_std and b_std; of K(x, x) without z."""
    sides = [torch.tensor([side], dtype=torch.float64, requires_grad=True) for side in (x, z) if side is not None]
    deviations = [
        None if value is None else torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for value in (w_std, b_std)
    ]
    K = infinite(
        sides[0],
        sides[1] if len(sides) == 2 else None,
        depth,
        activation,
        kernel=kernel,
        w_std=deviations[0],
        b_std=deviations[1],
        slope=slope,
        dtype=dtype,
    )
    K.sum().backward()
    return [side.grad[0] for side in sides], [value.grad for value in deviations if value is not None]


def assert_near(found, right, tolerance, least=0):
    size = max(mp.sqrt(mp.fsum(value**2 for value in right)), least)
    for value, exact_value in zip(found, right, strict=True):
        assert abs(mp.mpf(float(value)) - exact_value) <= tolerance * size


@EVERY
@KERNELS
@pytest.mark.parametrize("depth", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_gradients_are_exact(activation, slope, w_std, b_std, kernel, depth):
    options = (depth, activation, slope, w_std, b_std, kernel)
    for name, z in OTHERS.items():
        (by_x, by_z), deviations = gradients(X, z, *options)
        angle = {"close": 1e-6, "closer": 1e-9, "nearly opposite": 1e-6}.get(name, 1.0)
        tolerance = 1e-14 + 4e-15 / angle
        right, right_deviations = right_derivatives(X, z, *options)
        # Of nearly opposite samples little is left: of their size, to which x.z is rounded.
        assert_near(by_x, right, tolerance, least=0.1 * mp.norm(z))
        assert_near(by_z, right_derivatives(z, X, *options)[0], tolerance, least=0.1 * mp.norm(X))
        assert_near(deviations, right_deviations, tolerance, least=0.1 * mp.norm(X) * mp.norm(z))


@EVERY
@KERNELS
def test_a_sample_and_itself_have_the_gradient_along_the_diagonal(activation, slope, w_std, b_std, kernel):
    """Which is smooth also where the kernel of two samples has a kink."""
    (by_x,), deviations = gradients(X, None, 2, activation, slope, w_std, b_std, kernel)
    x = [mp.mpf(value) for value in X]

    def value(length, w_std, b_std):
        square = length**2 * dot(x, x)
        found = exact.at_depths((square,) * 3, 3, [2], activation, w_std, b_std, slope)
        return found[2][["ntk", "nngp"].index(kernel)]

    radial = mp.diff(lambda t: value(t, w_std, b_std), mp.mpf(1))
    assert_near(by_x, [radial * each / dot(x, x) for each in x], 1e-14)
    if w_std is not None:
        right = [
            mp.diff(lambda t: value(1, t, mp.mpf(b_std)), mp.mpf(w_std)),
            mp.diff(lambda t: value(1, mp.mpf(w_std), t), mp.mpf(b_std)),
        ]
        assert_near(deviations, right, 1e-14)
    (own, other), _ = gradients(X, X, 2, activation, slope, w_std, b_std, kernel)
    torch.testing.assert_close(own + other, by_x, rtol=1e-14, atol=1e-14)


def test_the_squared_norm_of_relus_gradient_has_the_right_gradient():
    """K(x, x) = (L + 1) |x|^2."""
    x = torch.tensor([X, OTHERS["other"]], dtype=torch.float64, requires_grad=True)
    infinite(x, depth=4).diagonal().sum().backward()
    torch.testing.assert_close(x.grad, 10 * x.detach(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("activation", ["erf", "gelu"])
@pytest.mark.parametrize("size", [1e4, 1e12])
def test_large_copies_and_opposites_have_gradients_along_themselves(activation, size):
    """Where the derivative by x.z is much larger than what is left of it."""
    x = [size * value for value in X]
    for sign in (1, -1):
        (by_x, _), _ = gradients(x, [sign * value for value in x], 1, activation, None, 1.2, 0.0, "ntk")
        square = mp.fsum(mp.mpf(value) ** 2 for value in x)

        def value(length, sign=sign, square=square):
            products = length**2 * square, sign * length * square, square
            return exact.at_depths(products, 3, [1], activation, 1.2, 0.0, None)[1][0]

        radial = mp.diff(value, mp.mpf(1)) / square
        assert_near(by_x, [radial * mp.mpf(each) for each in x], 1e-12, least=1e-3 * size)


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_everything(z, activation, w_std, **options):
    x, other = samples(7, 3).requires_grad_(), samples(5, 3, seed=1).requires_grad_() if z else None
    deviations = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (w_std, 0.4) if w_std]
    K = infinite_sweep(
        *(x, other, [1, 3], activation), **dict(zip(("w_std", "b_std"), deviations, strict=False)), **options
    )
    weights = samples(K.numel(), 1, seed=2).view_as(K)
    (K * weights).sum().backward()
    return [value.grad for value in (x, other, *deviations) if value is not None]


GATES = GateNetwork(3, 4, 2, kind="shallow", center=torch.tensor([0.5, 0.2, -0.1]))


@pytest.mark.parametrize("z", [False, True])
@pytest.mark.parametrize("most", [1, 20])
@pytest.mark.parametrize(
    ("activation", "w_std", "options"),
    [("relu", 1.3, {}), ("gelu", 1.3, {"kernel": "nngp"}), ("grelu", None, {"gates": GATES}), ("abs", None, {})],
)
def test_tiles_of_any_size_give_the_same(monkeypatch, z, most, activation, w_std, options):
    whole = of_everything(z, activation, w_std, **options)
    monkeypatch.setattr(derivatives, "LARGEST_TILE", most)
    for part, right in zip(of_everything(z, activation, w_std, **options), whole, strict=True):
        torch.testing.assert_close(part, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "n_z", "batch", "last"), [(5, 7, 1, 3), (3, 50000, 2, 1), (400, 300, 1, 4096)])
def test_tiles_cover_every_pair_and_stay_small(n, n_z, batch, last):
    for square in (False, True):
        columns = n if square else n_z
        pairs = object.__new__(derivatives.Pairs)
        pairs.left, pairs.right = (
            derivatives.Side(*(torch.ones(batch, size, dtype=torch.float64),) * 6) for size in (n, columns)
        )
        pairs.sides, pairs.last = [None] * (2 - square), last
        count = torch.zeros(batch, n, columns, dtype=torch.int8)
        for (b, i), (_, j) in pairs.indices():
            part = count[b, i, j]
            assert part.numel() * 8 * 8 * (last + 1) <= derivatives.TILE_BYTES
            part += 1
            if square:
                count[b, j, i][..., max(0, i.stop - j.start) :, :] += 1
        assert (count == 1).all()


# Derivatives by deviations as matrices


@EVERY
@KERNELS
@pytest.mark.parametrize("z", [None, OTHERS["longer"]])
def test_derivatives_by_deviations_are_exact(activation, slope, w_std, b_std, kernel, z):
    if w_std is None:
        w_std, b_std = math.sqrt(2), 0.0
    asked = Asked((2,), activation, torch.float64, kernel, slope, "paper")
    rows = torch.tensor([X, OTHERS["other"], OTHERS["close"]], dtype=torch.float64)
    columns = rows if z is None else torch.tensor([z], dtype=torch.float64)
    K, by_w, by_b = asked.by_deviations(rows, None if z is None else columns, w_std, b_std)
    assert torch.equal(
        K,
        infinite(
            rows, None if z is None else columns, 2, activation, w_std=w_std, b_std=b_std, kernel=kernel, slope=slope
        ),
    )
    for i, x in enumerate(rows.tolist()):
        for j, other in enumerate(columns.tolist()):
            if b_std == 0 and activation != "linear" and i == j and z is None:
                continue  # a kink of the angle in b_std
            right = right_derivatives(x, other, 2, activation, slope, w_std, b_std, kernel)[1]
            assert_near([by_w[i, j], by_b[i, j]], right, 1e-14 + 4e-15 / (1e-6 if {i, j} == {0, 2} else 1))


def test_variances_whose_products_overflow_are_refused():
    x = torch.tensor([X], dtype=torch.float64, requires_grad=True)
    K = infinite(1e60 * x, depth=12, activation="gelu", w_std=30.0)
    assert K.isfinite().all()
    with pytest.raises(ValueError, match=r"variances above 1e\+150 in layer \d+, .* rescale the samples"):
        K.sum().backward()


def test_zero_rows_have_finite_derivatives():
    x = torch.stack([samples(2, 3)[0], torch.zeros(3, dtype=torch.float64), samples(2, 3)[1]])
    for activation in ("relu", "erf", "gelu", "linear", "grelu"):
        for b_std in (0.0, 0.4):
            given = x.clone().requires_grad_()
            own = activation == "grelu"
            K = infinite(given, None, 2, activation, **({} if own else {"w_std": 1.2, "b_std": b_std}))
            K.sum().backward()
            assert given.grad.isfinite().all()
            smooth = activation in ("erf", "gelu", "linear") or (b_std > 0 and not own)
            assert bool((given.grad[1] != 0).any()) == smooth

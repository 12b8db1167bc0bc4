"""How far kernels, networks and predictions are from those of neural-tangents, in its own environment.

    python tools/kernel_peer.py nt/bin/python            call by call, as docs/from_neural_tangents.md lists them
    python tools/kernel_peer.py nt/bin/python --grid     kernels of infinite width for all activations

The interpreter is one of an environment with

    neural-tangents==0.6.5 jax==0.4.20 jaxlib==0.4.20 tf2jax==0.3.5 "numpy<2" "scipy<1.13"

(jax and jaxlib 0.4.28 work too, without its structured derivatives). Call by call the printed differences are relative
to the largest number of the result; "nan" is what neural-tangents gave. Those of the grid are relative to
sqrt(K(x, x) K(z, z)) and to the entry itself; where the two sides are more than 1e-13 apart, both are compared with 60
digits.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ensemble_peer import answered
from torch import Tensor, nn

import gatentk as gt
from gatentk.errors import NoiseFloorWarning
from gatentk.kernel_machines import NTKRegressor, max_learning_rate, training

ROOT = Path(__file__).parents[1]
DEPTHS = (1, 3, 6)
DEVIATIONS = ((math.sqrt(2), 0.0), (1.5, 0.3), (1.0, 1.0))
DEVIATION = (1.5, 0.3)
SLOPE = 0.3  # of leaky ReLU
N, N_TEST, FEATURES, OUTPUTS = 24, 12, 8, 2
DRAWS = 3
APART = 1e-13  # from here on 60 digits decide
Arrays = Mapping[str, Any]


class Elementwise(nn.Module):
    """A function of each number."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function of a tensor."""
        result: Tensor = self.function(x)
        return result


ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(SLOPE),
    "abs": Elementwise(torch.abs),
    "erf": Elementwise(torch.erf),
    "gelu": nn.GELU(),
}


class Dense(nn.Module):
    """`stax.Dense(n_out, w_std, b_std)`: weights and biases are N(0, 1)."""

    def __init__(self, n_in: int, n_out: int, w_std: float = 1.0, b_std: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Linear(n_in, n_out, bias=False), nn.Linear(1, n_out, bias=False)
        nn.init.normal_(self.weight.weight)
        nn.init.normal_(self.bias.weight)
        self.scale, self.b_std = w_std / n_in**0.5, b_std

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, n_out) of inputs (n, n_in)."""
        result: Tensor = self.scale * self.weight(x) + self.bias(x.new_full((len(x), 1), self.b_std))
        return result


def slope_of(activation: str) -> dict[str, Any]:
    return {"slope": SLOPE} if activation == "leaky_relu" else {}


def network(theirs: Arrays, name: str, activation: str) -> nn.Sequential:
    """The network with weights that neural-tangents drew."""
    layers: list[nn.Module] = []
    while f"weight {name} {len(layers) // 2}" in theirs:
        at = f"{name} {len(layers) // 2}"
        weight, bias = (torch.from_numpy(theirs[f"{part} {at}"]).T.contiguous() for part in ("weight", "bias"))
        if name == "standard":
            dense: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
            state = {"weight": weight, "bias": bias[:, 0]}
        else:
            dense = Dense(weight.shape[1], weight.shape[0], *DEVIATION).double()
            state = {"weight.weight": weight, "bias.weight": bias}
        dense.load_state_dict(state)
        layers += [dense, ACTIVATIONS[activation]]
    return nn.Sequential(*layers[:-1])


# Our side, call by call: what docs/from_neural_tangents.md says, by the names of tools/kernel_peer_calls.py


def infinite(given: Arrays) -> Iterator[tuple[str, Any]]:
    """Kernels of infinite width."""
    x, z = given["x"], given["z"]
    options: dict[str, Any] = {"activation": "gelu", "w_std": DEVIATION[0], "b_std": DEVIATION[1]}
    both = [gt.ntk.infinite(x, z, 2, kernel=kernel, **options) for kernel in ("nngp", "ntk")]
    yield 'kernel_fn(x, z, ("nngp", "ntk"))', np.stack(both)
    blocks = [gt.ntk.infinite(x[start : start + 5], z, 2, **options) for start in range(0, len(x), 5)]
    yield "nt.batch(kernel_fn, batch_size=4)", np.concatenate(blocks)
    yield "stax.Dense with W_std and b_std left out", gt.ntk.infinite(x, z, 2, "erf", w_std=1)
    yield "stax.Identity", gt.ntk.infinite(x, z, 2, **{**options, "activation": "linear"})
    yield "the network of gatentk.nn.MLP", gt.ntk.infinite(x, z, 2)
    yield "the same, NNGP", gt.ntk.infinite(x, z, 2, kernel="nngp")
    for activation in ACTIVATIONS:
        leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (x, *DEVIATION)]
        leaf, w_std, b_std = leaves
        kernel = gt.ntk.infinite(leaf, z, 3, activation, w_std=w_std, b_std=b_std, **slope_of(activation))
        loss = torch.vdot(kernel.flatten(), torch.from_numpy(given["weights"]).flatten())
        by_samples, *by_deviations = torch.autograd.grad(loss, leaves)
        yield f"jax.grad of kernel_fn(x, z), {activation}, by x", by_samples
        yield f"jax.grad of kernel_fn(x, z), {activation}, by W_std and b_std", torch.stack(by_deviations)
    nngp = gt.ntk.infinite(x, z, 2, kernel="nngp", w_std=2**0.5)
    yield 'parameterization="standard", NNGP', nngp
    # With the factors 2 / m and 2 / d of the layers in their weights, gradients are larger by the roots of m / 2.
    parts = gt.ntk.infinite(x, z, 2, components=True)
    inputs = (FEATURES, 7, 8)
    yield 'parameterization="standard", NTK', sum(m / FEATURES * part for m, part in zip(inputs, parts, strict=True))


def finite(given: Arrays, theirs: Arrays) -> Iterator[tuple[str, Any]]:
    """Networks at given weights."""
    x, z = torch.from_numpy(given["x"]), torch.from_numpy(given["z"])
    for activation in ACTIVATIONS:
        net = network(theirs, f"of {activation}", activation)
        yield f"apply_fn(params, x) of {activation}", net(x)
        kernel = gt.ntk.empirical(net, x, z, method="layerwise") / OUTPUTS
        yield f"nt.empirical_ntk_fn(apply_fn)(x, z, params) of {activation}", kernel

    net = network(theirs, "standard", "relu")
    yield 'apply_fn(params, x), parameterization="standard"', net(x)
    kernel = gt.ntk.empirical(net, x, method="layerwise") / OUTPUTS
    yield 'nt.empirical_ntk_fn(apply_fn)(x, None, params), parameterization="standard"', kernel

    net = network(theirs, "of relu", "relu")
    full = gt.ntk.empirical(net, x, z, outputs="full")
    yield "nt.empirical_ntk_fn, trace_axes=()", full.permute(0, 2, 1, 3)
    diagonal = gt.ntk.empirical(net, x, z, outputs="diag")
    yield "nt.empirical_ntk_fn, trace_axes=(), diagonal_axes=(-1,)", diagonal.permute(1, 2, 0)
    for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
        method = "jacobian" if name == "JACOBIAN_CONTRACTION" else "layerwise"
        kernel = gt.ntk.empirical(net, x, method=method) / OUTPUTS
        yield f"nt.empirical_ntk_fn, vmap_axes=0, implementation={name}", kernel
    yield "nt.empirical_nngp_fn(apply_fn)(x, z, params)", net(x) @ net(z).T / OUTPUTS
    vector = torch.from_numpy(given["vector"])
    product = gt.ntk.operator(net, x, outputs="full").matmul(vector.flatten())
    yield "nt.empirical_ntk_vp_fn(apply_fn, x, None, params)(v)", product.view(vector.shape)

    start, end = (
        {key: p.detach() for key, p in each.named_parameters()} for each in (net, network(theirs, "others", "relu"))
    )
    step = {key: end[key] - start[key] for key in start}

    def outputs(parameters: dict[str, Tensor]) -> Tensor:
        result: Tensor = torch.func.functional_call(net, parameters, (x,))
        return result

    def slope(parameters: dict[str, Tensor]) -> Tensor:
        result: Tensor = torch.func.jvp(outputs, (parameters,), (step,))[1]
        return result

    linear = outputs(start) + slope(start)
    yield "nt.linearize(apply_fn, params)(others, x)", linear
    bend = torch.func.jvp(slope, (start,), (step,))[1]
    yield "nt.taylor_expand(apply_fn, params, 2)(others, x)", linear + bend / 2

    drawn = [network(theirs, f"draw {k}", "relu") for k in range(DRAWS)]
    yield "nt.monte_carlo_kernel_fn, nngp", sum(net(x) @ net(z).T for net in drawn) / OUTPUTS / DRAWS
    kernels = [gt.ntk.empirical(net, x, z) for net in drawn]
    yield "nt.monte_carlo_kernel_fn, ntk", sum(kernels) / OUTPUTS / DRAWS


def predictions(given: Arrays) -> Iterator[tuple[str, Any]]:
    """What networks predict after training, and posteriors."""
    y, rate, n = given["y"], float(given["rate"]), N
    kernels = {name: [given[f"{name}_{part}"] for part in ("train", "test", "both")] for name in ("ntk", "nngp")}
    (ntk, ntk_test, ntk_both), (nngp, nngp_test, nngp_both) = kernels["ntk"], kernels["nngp"]
    rest = y - given["at_train"]
    for text, diag_reg in (("", 0.0), (", diag_reg", float(given["diag_reg"]))):
        K = ntk + diag_reg * ntk.diagonal().mean() * np.eye(n)
        for t in (1.0, 50.0, None):
            time = math.inf if t is None else t
            test = training(K, rest, time, rate, ntk_test).mean
            yield f"nt.predict.gradient_descent_mse{text}, t={t}, test", given["at_test"] + test
            train = given["at_train"] + training(K, rest, time, rate).mean
            yield f"nt.predict.gradient_descent_mse{text}, t={t}, train", train
    train, test = (given[f"full_{part}"].transpose(0, 2, 1, 3) for part in ("train", "test"))
    K = train.reshape(n * OUTPUTS, n * OUTPUTS)
    moved = training(K, rest.reshape(-1), 50.0, rate, test.reshape(-1, n * OUTPUTS)).mean
    yield "nt.predict.gradient_descent_mse, trace_axes=(), t=50", given["at_test"] + moved.reshape(-1, OUTPUTS)

    for text, diag_reg in (("", 0.0), (", diag_reg", float(given["diag_reg"]))):
        ridges = [diag_reg * K.diagonal().mean() * np.eye(n) for K in (ntk, nngp)]
        start = {"nngp": nngp, "nngp_test": nngp_test, "nngp_test_test": nngp_both}
        found = {
            "nngp": training(nngp + ridges[1], y, math.inf, None, nngp_test, nngp_both),
            "ntk": training(ntk + ridges[0], y, math.inf, None, ntk_test, **start),
            "ntkgp": training(ntk + ridges[0], y, math.inf, None, ntk_test, ntk_both),
        }
        for get, process in found.items():
            yield f"nt.predict.gp_inference{text}, {get}, mean", process.mean
            yield f"nt.predict.gp_inference{text}, {get}, covariance", process.covariance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoiseFloorWarning)
        process = training(given["alike_train"], y, math.inf, None, given["alike_test"])
    assert np.isfinite(process.mean).all()
    yield "nt.predict.gp_inference, two equal samples", process.mean
    yield "nt.predict.max_learning_rate(ntk, y.size)", max_learning_rate(ntk) * y.size


def machines(given: Arrays) -> Iterator[tuple[str, Any]]:
    """Estimators beside the same posteriors."""
    options: dict[str, Any] = {"depth": 2, "w_std": DEVIATION[0], "b_std": DEVIATION[1], "fit_intercept": False}
    for get in ("nngp", "ntk"):
        machine = NTKRegressor(kernel=get, ridge=float(given["diag_reg"]), **options).fit(given["x"], given["y"])
        yield f"nt.predict.gp_inference, diag_reg, {get}, mean", machine.predict(given["z"])


# What both sides are given


def samples() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=(N, FEATURES)),
        "z": generator.normal(size=(N_TEST, FEATURES)),
        "deviations": DEVIATIONS,
        "deviation": DEVIATION,
        "depths": DEPTHS,
    }


def problem() -> dict[str, Any]:
    """Samples and kernels of a regression."""
    given = samples()
    x, z = given["x"], given["z"]
    generator = np.random.default_rng(1)
    given["y"] = np.cos(x @ generator.normal(size=(FEATURES, OUTPUTS)))
    given["vector"], given["weights"] = (generator.normal(size=(N, columns)) for columns in (OUTPUTS, N_TEST))
    given["at_train"], given["at_test"] = (generator.normal(size=(n, OUTPUTS)) for n in (N, N_TEST))
    for name in ("ntk", "nngp"):
        k = gt.kernel(2, kernel=name, w_std=DEVIATION[0], b_std=DEVIATION[1])
        given |= {f"{name}_train": k(x), f"{name}_test": k(z, x), f"{name}_both": k(z)}
    alike = np.concatenate([x[:1], x[:-1]])
    given |= {"alike_train": k(alike), "alike_test": k(z, alike)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(Dense(FEATURES, 64), nn.ReLU(), Dense(64, OUTPUTS)).double()
    for part, rows in (("train", x), ("test", z)):
        full = gt.ntk.empirical(net, torch.from_numpy(rows), torch.from_numpy(x), outputs="full")
        given[f"full_{part}"] = full.permute(0, 2, 1, 3).numpy()
    return given | {"rate": max_learning_rate(given["ntk_train"]) / 2, "diag_reg": 1e-3, "draws": DRAWS}


def asked(interpreter: str, what: str, given: Arrays) -> dict[str, Any]:
    """What neural-tangents answers."""
    script = Path(__file__).with_name("kernel_peer_calls.py")
    return answered(interpreter, [str(script)], {"asked": what, **given})


def calls(interpreter: str) -> Iterator[tuple[str, float | None]]:
    """The difference of each call; None where the environment cannot run it."""
    given = problem()
    theirs = asked(interpreter, "calls", given)
    for part in (infinite(given), finite(given, theirs), predictions(given), machines(given)):
        for name, value in part:
            ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
            if name in theirs:
                yield name, float(abs(ours - theirs[name]).max() / abs(theirs[name]).max())
            elif "STRUCTURED" in name:
                yield name, None


# Kernels of infinite width


def exact(x: Any, z: Any, activation: str, w_std: float, b_std: float) -> Any:
    """{depth: (NTK, NNGP)} of two rows in 60 digits."""
    sys.path.insert(0, str(ROOT / "tests"))
    from cases import exact_networks  # type: ignore[import-not-found]

    sys.path.pop(0)
    slope = slope_of(activation).get("slope")
    return exact_networks.kernels(x.tolist(), z.tolist(), DEPTHS, activation, w_std, b_std, slope)


def grid(interpreter: str) -> dict[str, dict[str, float]]:
    """The largest differences of each activation."""
    given = samples()
    theirs = asked(interpreter, "grid", given)
    found: dict[str, dict[str, float]] = {activation: {} for activation in ACTIVATIONS}
    for name, kernel in theirs.items():
        activation, depth, w_std, b_std, shape, kind = name.split(" ")
        options: dict[str, Any] = {"kernel": kind, "w_std": float(w_std), "b_std": float(b_std), **slope_of(activation)}
        x = given["x"]
        z = x if shape == "square" else given["z"]
        ours = gt.ntk.infinite(x, None if z is x else z, int(depth), activation, **options)
        k = gt.kernel(int(depth), activation, **options)
        sizes = np.sqrt(np.outer(k.diag(x), k.diag(z)))
        difference = abs(ours - kernel)
        own = np.eye(len(x), dtype=bool) if z is x else np.zeros(ours.shape, dtype=bool)
        worst = {
            "off the diagonal": (difference / sizes)[~own].max(),
            "of the entry": (difference / abs(kernel))[~own].max(),
            "on the diagonal": (difference / sizes)[own].max(initial=0),
        }
        for i, j in zip(*np.nonzero(difference > APART * sizes), strict=True):
            right = exact(x[i], z[j], activation, float(w_std), float(b_std))[int(depth)][["ntk", "nngp"].index(kind)]
            for side, value in (("ours", ours), ("theirs", kernel)):
                error = float(abs(float(value[i, j]) - right)) / sizes[i, j]
                worst[f"{side} from 60 digits"] = max(error, worst.get(f"{side} from 60 digits", 0.0))
        for column, value in worst.items():
            found[activation][column] = max(float(value), found[activation].get(column, 0.0))
    return found


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreter", help="a Python that has neural-tangents")
    parser.add_argument("--grid", action="store_true", help="kernels of infinite width for all activations")
    given = parser.parse_args()
    if given.grid:
        for activation, row in grid(given.interpreter).items():
            print(f"{activation:10}", ", ".join(f"{column} {value:.1e}" for column, value in row.items()))
        return
    for name, difference in calls(given.interpreter):
        print(f"{'not run' if difference is None else f'{difference:.1e}':8}{name}")


if __name__ == "__main__":
    main()

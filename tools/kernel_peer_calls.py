"""The side of neural-tangents in tools/kernel_peer.py; run by the interpreter of an environment that has it.

Its argument is a folder: given.npz has what it takes, theirs.npz gets an array for every call, by the call's name, and
the weights of the finite networks that were drawn.
"""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402 (after float64 is on)
import neural_tangents as nt  # noqa: E402
from jax import random  # noqa: E402
from neural_tangents import stax  # noqa: E402

Found = Iterator[tuple[str, Any]]

LAYERS: dict[str, Callable[[], Any]] = {
    "relu": stax.Relu,
    "leaky_relu": lambda: stax.LeakyRelu(0.3),
    "abs": stax.Abs,
    "erf": stax.Erf,
    "gelu": lambda: stax.Gelu(approximate=False),
}
Kernel = namedtuple("Kernel", ["nngp", "ntk"])


def chain(
    activation: str, depth: int, width: int, outputs: int, w_std: float, b_std: float | None, kind: str = "ntk"
) -> Any:
    """Init, apply and kernel functions of `depth` hidden layers; a width of 0 is one that differs in each layer."""
    layers = []
    for layer in range(depth):
        units = width or 7 + layer
        layers += [stax.Dense(units, w_std, b_std, parameterization=kind), LAYERS[activation]()]
    return stax.serial(*layers, stax.Dense(outputs, w_std, b_std, parameterization=kind))


def grid(given: Mapping[str, Any]) -> Found:
    """Kernels of infinite width at all depths and deviations, compiled as for use."""
    x, z = jnp.asarray(given["x"]), jnp.asarray(given["z"])
    for activation in LAYERS:
        for depth in given["depths"]:
            for w_std, b_std in given["deviations"]:
                kernel_fn = chain(activation, int(depth), 1, 1, float(w_std), float(b_std) or None)[2]
                both = jax.jit(lambda x, z, kernel_fn=kernel_fn: tuple(kernel_fn(x, z, ("nngp", "ntk"))))
                for shape, other in (("square", None), ("rectangular", z)):
                    for name, kernel in zip(("nngp", "ntk"), both(x, other), strict=True):
                        yield f"{activation} {depth} {w_std} {b_std} {shape} {name}", kernel


def infinite(given: Mapping[str, Any]) -> Found:
    """Calls of kernels of infinite width that the grid does not have."""
    x, z = jnp.asarray(given["x"]), jnp.asarray(given["z"])
    w_std, b_std = (float(value) for value in given["deviation"])
    kernel_fn = chain("gelu", 2, 1, 1, w_std, b_std)[2]
    both = kernel_fn(x, z, ("nngp", "ntk"))
    yield 'kernel_fn(x, z, ("nngp", "ntk"))', jnp.stack([both.nngp, both.ntk])
    yield "nt.batch(kernel_fn, batch_size=4)", nt.batch(kernel_fn, batch_size=4, device_count=0)(x, z, "ntk")
    yield "stax.Dense with W_std and b_std left out", chain("erf", 2, 1, 1, 1.0, None)[2](x, z, "ntk")
    dense = stax.Dense(1, w_std, b_std)
    identity = (dense, stax.Identity(), dense, stax.Identity(), dense)
    first = stax.Dense(1, W_std=x.shape[1] ** 0.5)
    yield "stax.Identity", stax.serial(*identity)[2](x, z, "ntk")
    own = stax.serial(first, stax.Relu(), stax.Dense(1, W_std=2**0.5), stax.Relu(), stax.Dense(1, W_std=2**0.5))
    yield "the network of gatentk.nn.MLP", own[2](x, z, "ntk")
    yield "the same, NNGP", own[2](x, z, "nngp")
    weights = jnp.asarray(given["weights"])
    for activation in LAYERS:

        def loss(x: Any, w_std: Any, b_std: Any, activation: str = activation) -> Any:
            return jnp.vdot(weights, chain(activation, 3, 1, 1, w_std, b_std)[2](x, z, "ntk"))

        by_samples, *by_deviations = jax.grad(loss, (0, 1, 2))(x, w_std, b_std)
        yield f"jax.grad of kernel_fn(x, z), {activation}, by x", by_samples
        yield f"jax.grad of kernel_fn(x, z), {activation}, by W_std and b_std", jnp.stack(by_deviations)
    kernel_fn = chain("relu", 2, 0, 1, 2**0.5, None, kind="standard")[2]
    yield 'parameterization="standard", NNGP', kernel_fn(x, z, "nngp")
    yield 'parameterization="standard", NTK', kernel_fn(x, z, "ntk")


def finite(given: Mapping[str, Any]) -> Found:
    """Calls of networks at given weights."""
    x, z = jnp.asarray(given["x"]), jnp.asarray(given["z"])
    w_std, b_std = (float(value) for value in given["deviation"])
    outputs = given["y"].shape[1]
    key = random.PRNGKey(0)
    for activation in LAYERS:
        init, apply, _ = chain(activation, 2, 0, outputs, w_std, b_std)
        parameters = init(key, x.shape)[1]
        yield from weights(f"of {activation}", parameters)
        yield f"apply_fn(params, x) of {activation}", apply(parameters, x)
        yield (
            f"nt.empirical_ntk_fn(apply_fn)(x, z, params) of {activation}",
            nt.empirical_ntk_fn(apply)(x, z, parameters),
        )

    init, apply, _ = chain("relu", 2, 0, outputs, w_std, b_std, kind="standard")
    parameters = init(key, x.shape)[1]
    yield from weights("standard", parameters)
    yield 'apply_fn(params, x), parameterization="standard"', apply(parameters, x)
    ntk = nt.empirical_ntk_fn(apply)(x, None, parameters)
    yield 'nt.empirical_ntk_fn(apply_fn)(x, None, params), parameterization="standard"', ntk

    init, apply, _ = chain("relu", 2, 0, outputs, w_std, b_std)
    parameters, others = init(key, x.shape)[1], init(random.PRNGKey(1), x.shape)[1]
    yield from weights("others", others)
    yield "nt.empirical_ntk_fn, trace_axes=()", nt.empirical_ntk_fn(apply, trace_axes=())(x, z, parameters)
    diagonal = nt.empirical_ntk_fn(apply, trace_axes=(), diagonal_axes=(-1,))
    yield "nt.empirical_ntk_fn, trace_axes=(), diagonal_axes=(-1,)", diagonal(x, z, parameters)
    for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
        implementation = getattr(nt.NtkImplementation, name)
        function = nt.empirical_ntk_fn(apply, vmap_axes=0, implementation=implementation)
        try:
            yield f"nt.empirical_ntk_fn, vmap_axes=0, implementation={name}", function(x, None, parameters)
        except AttributeError as error:  # of a jax that it was not written for
            print(f"{name}: {error}", file=sys.stderr)
    yield "nt.empirical_nngp_fn(apply_fn)(x, z, params)", nt.empirical_nngp_fn(apply)(x, z, parameters)
    vector = jnp.asarray(given["vector"])
    product = nt.empirical_ntk_vp_fn(apply, x, None, parameters)(vector)
    yield "nt.empirical_ntk_vp_fn(apply_fn, x, None, params)(v)", product
    yield "nt.linearize(apply_fn, params)(others, x)", nt.linearize(apply, parameters)(others, x)
    yield "nt.taylor_expand(apply_fn, params, 2)(others, x)", nt.taylor_expand(apply, parameters, 2)(others, x)

    drawn = int(given["draws"])
    for k, parameters in enumerate(draws(init, random.PRNGKey(2), x.shape, drawn)):
        yield from weights(f"draw {k}", parameters)
    for get in ("nngp", "ntk"):
        kernel_fn = nt.monte_carlo_kernel_fn(init, apply, random.PRNGKey(2), drawn, device_count=0)
        yield f"nt.monte_carlo_kernel_fn, {get}", kernel_fn(x, z, get)


def draws(init: Callable[..., Any], key: Any, shape: tuple[int, ...], count: int) -> Iterator[Any]:
    """The weights that `nt.monte_carlo_kernel_fn` draws."""
    for _ in range(count):
        key, one = random.split(key)
        yield init(random.split(one, 2)[0], shape)[1]


def weights(name: str, parameters: Any) -> Found:
    """Matrices and biases of the Dense layers, as arrays of their own."""
    for layer, (weight, bias) in enumerate(parameters[::2]):
        yield f"weight {name} {layer}", weight
        yield f"bias {name} {layer}", bias


def predictions(given: Mapping[str, Any]) -> Found:
    """Calls of `nt.predict`, on kernels that it is given."""
    y, rate, regular = jnp.asarray(given["y"]), float(given["rate"]), float(given["diag_reg"])
    ntk, nngp = (
        {part: jnp.asarray(given[f"{name}_{part}"]) for part in ("train", "test", "both")} for name in ("ntk", "nngp")
    )
    at_train, at_test = jnp.asarray(given["at_train"]), jnp.asarray(given["at_test"])
    for text, ridge in (("", 0.0), (", diag_reg", regular)):
        predict = nt.predict.gradient_descent_mse(ntk["train"], y, learning_rate=rate * y.size, diag_reg=ridge)
        for t in (1.0, 50.0, None):
            train, test = predict(t, at_train, at_test, ntk["test"])
            yield f"nt.predict.gradient_descent_mse{text}, t={t}, test", test
            if t is not None:
                yield f"nt.predict.gradient_descent_mse{text}, t={t}, train", train
    full = {part: jnp.asarray(given[f"full_{part}"]) for part in ("train", "test")}
    predict = nt.predict.gradient_descent_mse(full["train"], y, learning_rate=rate * y.size, trace_axes=())
    yield "nt.predict.gradient_descent_mse, trace_axes=(), t=50", predict(50.0, at_train, at_test, full["test"])[1]

    kernels = [Kernel(nngp[part], ntk[part]) for part in ("train", "test", "both")]
    for text, ridge in (("", 0.0), (", diag_reg", regular)):
        predict = nt.predict.gp_inference(kernels[0], y, diag_reg=ridge)
        for get in ("nngp", "ntk", "ntkgp"):
            mean, covariance = predict((get,), kernels[1], kernels[2])[0]
            yield f"nt.predict.gp_inference{text}, {get}, mean", mean
            yield f"nt.predict.gp_inference{text}, {get}, covariance", covariance
    alike = {part: jnp.asarray(given[f"alike_{part}"]) for part in ("train", "test")}
    yield (
        "nt.predict.gp_inference, two equal samples",
        nt.predict.gp_inference(alike["train"], y)("nngp", alike["test"]),
    )
    yield "nt.predict.max_learning_rate(ntk, y.size)", nt.predict.max_learning_rate(ntk["train"], y.size)


def main() -> None:
    """Compute everything that is asked for in given.npz."""
    given = dict(np.load(f"{sys.argv[1]}/given.npz"))
    asked = {"grid": (grid,), "calls": (infinite, finite, predictions)}[str(given["asked"])]
    found = {name: np.asarray(value) for part in asked for name, value in part(given)}
    np.savez(f"{sys.argv[1]}/theirs.npz", **found)


if __name__ == "__main__":
    main()

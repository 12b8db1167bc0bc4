"""How far predictions of training are from those of neural-tangents, in its own environment.

    python tools/ensemble_peer.py nt/bin/python

The interpreter is one of an environment with

    neural-tangents==0.6.5 jax==0.4.28 jaxlib==0.4.28 tf2jax==0.3.5 "numpy<2" "scipy<1.13"

(jax and jaxlib 0.4.20 work, too). Printed are the largest absolute differences of means and covariances from
`gradient_descent_mse_ensemble`, at test samples and at those of the training, where it takes our kernels and where it
computes its own, whose relu kernels are off by some 1e-8 on the diagonal.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

N, N_TEST, FEATURES, OUTPUTS, DEPTH = 60, 20, 8, 2, 3
TIMES = (1.0, 50.0, math.inf)

# Run by the other interpreter, with the folder as its argument.
PEER = """
import sys
import numpy as np
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import neural_tangents as nt
from neural_tangents import stax

given = dict(np.load(sys.argv[1] + "/given.npz"))
x, z, y = (jnp.asarray(given[name]) for name in ("x", "z", "y"))
layers = [stax.Dense(1, W_std=x.shape[1] ** 0.5, b_std=None)]
for _ in range(int(given["depth"])):
    layers += [stax.Relu(), stax.Dense(1, W_std=2**0.5, b_std=None)]
of_layers = stax.serial(*layers)[2]


def ours(x1, x2, get):
    kind = "test" if x2 is not None else "train" if len(x1) == len(x) else "both"
    if isinstance(get, str):
        return jnp.asarray(given[f"{get}_{kind}"])
    return nt._src.predict._Kernel(**{name: jnp.asarray(given[f"{name}_{kind}"]) for name in get})


# Its loss is the mean over all entries of y.
rate = float(given["rate"]) * y.size
results = {}
for source, kernel_fn in (("ours", ours), ("theirs", of_layers)):
    predict = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y, learning_rate=rate, diag_reg=0.0)
    for k, time in enumerate(given["times"]):
        for get in ("ntk", "nngp"):
            at = None if np.isinf(time) else float(time)
            for samples, x_test in (("test", z), ("train", None)):
                mean, covariance = predict(t=at, x_test=x_test, get=get, compute_cov=True)
                name = f"{source}_{get}_{k}_{samples}"
                results[f"{name}_mean"], results[f"{name}_covariance"] = mean, covariance
np.savez(sys.argv[1] + "/theirs.npz", **results)
"""


def answered(interpreter: str, program: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a program of the other environment makes of arrays: theirs.npz beside given.npz, in a folder it is given."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "given.npz", **given)
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        outside.setdefault("JAX_PLATFORMS", "cpu")
        subprocess.run([interpreter, *program, folder], check=True, env=outside)
        return dict(np.load(Path(folder) / "theirs.npz"))


def kernels(x: Any, z: Any) -> dict[str, Any]:
    """NTK and NNGP among training samples, of test samples with them, and among test samples."""
    import gatentk as gt

    ntk, nngp = gt.kernel(DEPTH), gt.kernel(DEPTH, kernel="nngp")
    return {
        f"{name}_{part}": k(*samples)
        for name, k in (("ntk", ntk), ("nngp", nngp))
        for part, samples in (("train", (x,)), ("test", (z, x)), ("both", (z,)))
    }


def ours(given: dict[str, Any], get: str, rate: float, y: Any) -> dict[str, Any]:
    """Our moments at all times, at both sets of samples."""
    from gatentk.kernel_machines import training

    names = ("train", "test", "both")
    train, test, both = (given[f"nngp_{part}"] for part in names)
    if get == "nngp":
        return {
            "test": training(train, y, TIMES, rate, test, both),
            "train": training(train, y, TIMES, rate),
        }
    start = {"nngp": train, "nngp_test": test, "nngp_test_test": both}
    return {
        "test": training(given["ntk_train"], y, TIMES, rate, given["ntk_test"], **start),
        "train": training(given["ntk_train"], y, TIMES, rate, nngp=train),
    }


def differences(interpreter: str) -> dict[str, float]:
    """The largest absolute difference, by "source kernel time samples moment"."""
    from gatentk.kernel_machines import max_learning_rate

    generator = np.random.default_rng(0)
    x, z = generator.normal(size=(N, FEATURES)), generator.normal(size=(N_TEST, FEATURES))
    y = np.cos(x @ generator.normal(size=(FEATURES, OUTPUTS)))
    given = kernels(x, z)
    rate = max_learning_rate(given["ntk_train"]) / 2
    theirs = answered(
        interpreter, ["-c", PEER], {"x": x, "z": z, "y": y, "times": TIMES, "depth": DEPTH, "rate": rate, **given}
    )
    found = {}
    for get in ("ntk", "nngp"):
        processes = ours(given, get, rate, y)
        for source, (k, time), samples, moment in product(
            ("ours", "theirs"), enumerate(TIMES), ("test", "train"), ("mean", "covariance")
        ):
            difference = getattr(processes[samples], moment)[k] - theirs[f"{source}_{get}_{k}_{samples}_{moment}"]
            found[f"{source:6} {get:4} t={time:g} {samples:5} {moment}"] = float(abs(difference).max())
    return found


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreter", help="a Python that has neural-tangents")
    for name, value in sorted(differences(parser.parse_args().interpreter).items()):
        print(f"kernels: {name:36} {value:.1e}")


if __name__ == "__main__":
    main()

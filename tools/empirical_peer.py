"""How fast and how exact finite kernels in float64 are beside neural-tangents' structured derivatives.

    python tools/empirical_peer.py nt/bin/python --samples 500 2000

The interpreter is one of an environment with

    neural-tangents==0.6.5 jax==0.4.20 jaxlib==0.4.20 "numpy<2" "scipy<1.13"

Both compute the kernel of the same relu network with the same weights, with as many threads as this process may run
on, taking turns; a round's ratio is of two calls that follow each other. Printed are medians of seconds and of ratios,
and the largest error of the first rows against the same kernel in long double, in shares of the diagonal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CHECKED = 12  # samples of which long double takes seconds

# Run by the other interpreter: it answers each line of its input with the seconds of one call.
PEER = """
import sys, time
import numpy as np
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import neural_tangents as nt
from neural_tangents import stax

folder = sys.argv[1]
given = dict(np.load(folder + "/given.npz"))
x = jnp.asarray(given.pop("x"))
weights = [jnp.asarray(given[f"weight{k}"].T) for k in range(len(given))]
layers, parameters = [], []
for k, weight in enumerate(weights):
    # Ours has no factor before the first layer.
    std = weight.shape[0] ** 0.5 if k == 0 else 2**0.5
    layers += [stax.Dense(weight.shape[1], W_std=std, b_std=None), stax.Relu()]
    parameters += [(weight, None), ()]
apply = stax.serial(*layers[:-1])[1]
kernel = nt.empirical_ntk_fn(
    apply, trace_axes=(-1,), vmap_axes=0, implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES
)
compiled = jax.jit(lambda samples, p: kernel(samples, None, p))
result = compiled(x, parameters[:-1]).block_until_ready()
np.save(folder + "/theirs.npy", np.asarray(result) * weights[-1].shape[1])  # it averages over outputs
print(nt.__version__, jax.__version__, flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    compiled(x, parameters[:-1]).block_until_ready()
    print(time.perf_counter() - start, flush=True)
"""


def exact(weights: list[Any], x: Any) -> Any:
    """The kernel of a relu network in long double."""
    wide = [w.astype(np.longdouble) for w in weights]
    scale = np.sqrt(np.longdouble(2) / len(wide[0]))
    acts, gates = [x.astype(np.longdouble)], []
    for weight in wide[:-1]:
        z = acts[-1] @ weight.T
        gates.append(z > 0)
        acts.append(scale * np.maximum(z, 0))
    total = np.zeros((len(x), len(x)), np.longdouble)
    for row in wide[-1]:
        delta: Any = np.broadcast_to(np.ones((1, 1), np.longdouble), (len(x), 1))
        for k in range(len(wide) - 1, -1, -1):
            total += (acts[k] @ acts[k].T) * (delta @ delta.T)
            if k:
                delta = scale * gates[k - 1] * (delta @ (row[None] if k == len(wide) - 1 else wide[k]))
    return total


def error(kernel: Any, expected: Any) -> float:
    """The largest one, in shares of the diagonal."""
    size = np.sqrt(np.diagonal(expected))
    rows = len(expected)
    return float(np.max(np.abs(kernel[:rows, :rows] - expected) / np.outer(size, size)))


def compare(interpreter: str, n: int, options: argparse.Namespace) -> str:
    """A line of figures."""
    import torch

    import gatentk as gt

    generator = torch.Generator().manual_seed(0)
    sizes = (options.features, options.width, options.depth, options.outputs)
    net = gt.nn.MLP(*sizes, generator=generator, dtype=torch.float64)
    x = torch.randn(n, options.features, generator=generator, dtype=torch.float64)
    weights = [weight.detach().numpy() for weight in net.weights]
    with tempfile.TemporaryDirectory() as folder:
        named = {f"weight{k}": weight for k, weight in enumerate(weights)}
        np.savez(Path(folder) / "given.npz", x=x.numpy(), **named)
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [interpreter, "-c", PEER, folder]
        with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=outside) as peer:
            assert peer.stdin
            assert peer.stdout
            versions = peer.stdout.readline().split()
            if not versions:
                sys.exit(f"{interpreter}: neural-tangents does not run there")
            kernel = gt.ntk.empirical(net, x)
            ours, theirs = [], []
            for _ in range(options.rounds):
                start = time.perf_counter()
                gt.ntk.empirical(net, x)
                ours.append(time.perf_counter() - start)
                print(file=peer.stdin, flush=True)
                theirs.append(float(peer.stdout.readline()))
            peer.stdin.close()
        other = np.load(Path(folder) / "theirs.npy")
    expected = exact(weights, x[:CHECKED].numpy())
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    times = [f"{statistics.median(part):.3f} s (best {min(part):.3f})" for part in (ours, theirs)]
    return (
        f"n={n}: ours {times[0]}, neural-tangents {versions[0]} with jax {versions[1]} {times[1]}; ratio "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); error "
        f"{error(kernel.numpy(), expected):.1e}, theirs {error(other, expected):.1e}"
    )


def main() -> None:
    """Print a line for each number of samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreter", help="a Python that has neural-tangents")
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    for n in options.samples:
        print(compare(options.interpreter, n, options), flush=True)


if __name__ == "__main__":
    main()

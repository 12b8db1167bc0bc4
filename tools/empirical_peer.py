"""How fast and how exact finite kernels in float64 are beside neural-tangents' structured derivatives.

    python tools/empirical_peer.py nt/bin/python --samples 500 2000

The interpreter is one of an environment with

    neural-tangents==0.6.5 jax==0.4.20 jaxlib==0.4.20 "numpy<2" "scipy<1.13"

Both compute the kernel of the same relu network with the same weights, with as many threads as torch takes here,
taking turns; a round's ratio is of two calls that follow each other. Printed are medians of seconds and of ratios,
and the largest error of the first rows against the same kernel in long double, in shares of the diagonal.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import numpy as np

CHECKED = 12  # samples of which long double takes seconds
PEER = "structured derivatives"


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
    from gatentk.bench.process import PeerError, PeerProcess, Request

    generator = torch.Generator().manual_seed(0)
    sizes = (options.features, options.width, options.depth, options.outputs)
    net = gt.nn.MLP(*sizes, generator=generator, dtype=torch.float64)
    x = torch.randn(n, options.features, generator=generator, dtype=torch.float64)
    weights = [weight.detach().numpy() for weight in net.weights]
    named = {f"weight{k}": weight for k, weight in enumerate(net.weights)}
    request = Request("empirical", {"x": x, **named}, options.depth)
    try:
        with PeerProcess(interpreter, request, torch.get_num_threads()) as peer:
            if peer.name != PEER:
                sys.exit(f"{interpreter}: {PEER} do not run there ({peer.failed[PEER]})")
            kernel = gt.ntk.empirical(net, x)
            ours, theirs = [], []
            for _ in range(options.rounds):
                start = time.perf_counter()
                gt.ntk.empirical(net, x)
                ours.append(time.perf_counter() - start)
                theirs.append(peer.seconds())
            other = peer.result().numpy() * options.outputs  # it averages over outputs
            versions = peer.versions
    except PeerError as failure:
        sys.exit(str(failure))
    expected = exact(weights, x[:CHECKED].numpy())
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    times = [f"{statistics.median(part):.3f} s (best {min(part):.3f})" for part in (ours, theirs)]
    return (
        f"n={n}: ours {times[0]}, neural-tangents {versions['neural-tangents']} with jax {versions['jax']} {times[1]}; "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); error "
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

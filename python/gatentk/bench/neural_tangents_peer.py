"""neural-tangents on the other side of a pipe; run by the interpreter of an environment that has it.

One JSON object a line. In, first: {"kind", "folder", "depth", "threads", "w_std", "b_std"}, samples and weights as .npy
files in the folder. Out: {"versions", "implementation", "failed"} after compilation and a warm-up, whose result is
saved as result.npy in the folder; "failed" has the faster implementations that do not run here, with their errors.
Then for every {"command": "time"} one {"seconds"}. A failure is answered by {"error"}. The end of the input ends the
program.

    neural-tangents==0.6.5 jax==0.4.28 jaxlib==0.4.28 tf2jax==0.3.5 "numpy<2" "scipy<1.13"

are the versions that work; structured derivatives need jax==0.4.20 jaxlib==0.4.20. This file imports nothing of
gatentk, which that environment does not have.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Run = Callable[[], Any]  # one evaluation, to an array of jax
LARGEST_JACOBIAN = 16 << 30  # bytes of all gradients, beyond which their contraction is not tried


def limit_threads(threads: int) -> None:
    """Let XLA, which takes as many threads as it may run on processors, have no more than the other side."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[:threads])


def versions() -> dict[str, str]:
    """Versions of what is measured."""
    from importlib.metadata import version

    return {name: version(name) for name in ("neural-tangents", "jax", "jaxlib", "numpy")}


def dense_chain(d: int, depth: int, width: int, w_std: float | None = None, b_std: float | None = None) -> Any:
    """Init, apply and kernel functions of a network: that of `gatentk.nn.MLP`, with its scales, without a w_std."""
    from neural_tangents import stax

    def dense(outputs: int, scale: float) -> Any:
        return stax.Dense(outputs, W_std=scale, b_std=b_std, parameterization="ntk")

    # stax divides the first layer by sqrt(d) too, which W_std = sqrt(d) undoes.
    first, others = (d**0.5, 2**0.5) if w_std is None else (w_std, w_std)
    layers = [dense(width if depth else 1, first)]
    for layer in range(depth):
        layers += [stax.Relu(), dense(width if layer < depth - 1 else 1, others)]
    return stax.serial(*layers)


def infinite(request: Mapping[str, Any], x: Any) -> dict[str, Run]:
    """Infinite width: the closed form, compiled."""
    import jax

    _, _, kernel = dense_chain(x.shape[-1], request["depth"], 1, request["w_std"], request["b_std"])
    compiled = jax.jit(lambda samples: kernel(samples, None, "ntk"))
    return {"closed form": lambda: compiled(x)}


def empirical(request: Mapping[str, Any], x: Any) -> dict[str, Run]:
    """Finite width at given weights: implementations from the fastest on, compiled.

    At n = 500, width 512, L = 10 they took 0.5 s (structured derivatives) and 27 s (contraction); NTK-vector products
    with 38 s are left out.
    """
    import jax
    import jax.numpy as jnp
    import neural_tangents as nt
    import numpy as np

    depth = request["depth"]
    files = [Path(request["folder"]) / f"weight{layer}.npy" for layer in range(depth + 1)]
    weights = [jnp.asarray(np.load(file).T) for file in files]
    _, apply, _ = dense_chain(x.shape[-1], depth, weights[0].shape[-1])
    parameters = []
    for weight in weights:
        parameters += [(weight, None), ()]
    parameters = parameters[:-1]

    def kernel(implementation: Any) -> Run:
        function = nt.empirical_ntk_fn(apply, trace_axes=(-1,), vmap_axes=0, implementation=implementation)
        compiled = jax.jit(lambda samples, weights: function(samples, None, weights))
        return lambda: compiled(x, parameters)

    known = nt.NtkImplementation
    found = {"structured derivatives": kernel(known.STRUCTURED_DERIVATIVES)}
    if len(x) * sum(weight.nbytes for weight in weights) <= LARGEST_JACOBIAN:
        found["Jacobian contraction"] = kernel(known.JACOBIAN_CONTRACTION)
    return found


def seconds(run: Run) -> float:
    """Time of one evaluation, to its end."""
    start = time.perf_counter()
    run().block_until_ready()
    return time.perf_counter() - start


def fastest(candidates: Mapping[str, Run], folder: str) -> tuple[str, Run, dict[str, str]]:
    """Compile and warm up the first implementation that works here.

    Args:
        candidates: implementations, from the one known as the fastest on.
        folder: where the result is saved.

    Returns:
        Name and function, and the errors of the implementations before it.
    """
    import numpy as np

    failed = {}
    for name, run in candidates.items():
        try:
            result = np.asarray(run())
        except Exception as error:  # a jax that this implementation does not fit, or too little memory for it
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            np.save(Path(folder) / "result.npy", result)
            return name, run, failed
    raise RuntimeError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))


def prepare(request: Mapping[str, Any]) -> tuple[str, Run, dict[str, str]]:
    """Read the samples and hand back the peer's name and function, and what failed."""
    import numpy as np

    samples = np.load(Path(request["folder"]) / "x.npy")
    import jax

    jax.config.update("jax_enable_x64", samples.dtype == np.float64)
    kinds = {"infinite": infinite, "empirical": empirical}
    return fastest(kinds[request["kind"]](request, jax.numpy.asarray(samples)), request["folder"])


def serve(lines: Iterable[str], answer: Callable[[Mapping[str, Any]], None]) -> None:
    """Answer one request after another."""
    run = None
    for line in lines:
        try:
            request = json.loads(line)
            if run is None:
                limit_threads(request["threads"])
                name, run, failed = prepare(request)
                answer({"versions": versions(), "implementation": name, "failed": failed})
            else:
                answer({"seconds": seconds(run)})
        except Exception as error:  # the other side decides what to do about it
            answer({"error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Keep the pipe to ourselves: what libraries print goes to stderr."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message: Mapping[str, Any]) -> None:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    serve(sys.stdin, answer)


if __name__ == "__main__":
    main()

"""Kernels of networks of infinite width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gatentk import ntk
from gatentk.bench import torch_peers
from gatentk.bench.case import Case, Job, Shape, Work, gaussian, gaussian_samples, tensor
from gatentk.bench.process import Request

# Operations per pair and layer, mean over ten layers: two multiply-adds for each degree of the two polynomials of
# csrc/include/gatentk/arc_polynomials.hpp and ten around them; a square root counts as one.
LAYER_OPERATIONS = {torch.float64: 58, torch.float32: 30}
BIAS_OPERATIONS = 13  # what a bias adds to them
# Of a gradient, counted in gatentk.ntk.moments and gatentk.ntk.recursion; a function counts as one.
GRADIENT_OPERATIONS = 70


def _infinite_work(case: Case, layer: int) -> Work:
    n, pair = case.shape.n, 2 * case.shape.d + case.shape.depth * layer
    return Work(n**2 * pair, n * (n + 1) / 2 * pair, case.dtype.itemsize * n * (n + case.shape.d))


def _infinite(case: Case, samples: Callable[[Case], Tensor]) -> Job:
    x = samples(case)
    job = Job(
        ours=lambda: tensor(ntk.infinite(x, depth=case.shape.depth, dtype=case.dtype)),
        work=_infinite_work(case, LAYER_OPERATIONS[case.dtype]),
    )
    if case.device == "cuda":
        return replace(job, peers={"arc cosines": lambda: torch_peers.arc_cosines(x, case.shape.depth)})
    return replace(job, request=Request("infinite", {"x": x}, case.shape.depth))


def _with_biases(case: Case, w_std: float, b_std: float) -> Job:
    x, depth = gaussian_samples(case), case.shape.depth
    job = Job(
        ours=lambda: tensor(ntk.infinite(x, depth=depth, dtype=case.dtype, w_std=w_std, b_std=b_std)),
        work=_infinite_work(case, LAYER_OPERATIONS[case.dtype] + BIAS_OPERATIONS),
    )
    if case.device == "cuda":
        peer = partial(torch_peers.arc_cosines_with_biases, x, depth, w_std, b_std)
        return replace(job, peers={"arc cosines": peer})
    return replace(job, request=Request("infinite", {"x": x}, depth, w_std, b_std))


def _pixel_samples(case: Case) -> Tensor:
    """Non-negative, four in five of them 0, as MNIST has them."""
    return (gaussian_samples(case) - 0.84).relu_().clamp_(max=1)


def _sweep(case: Case) -> Job:
    x, depth, n = gaussian_samples(case), case.shape.depth, case.shape.n

    def single_and_fill() -> Tensor:
        kernel = ntk.infinite(x, depth=depth, dtype=case.dtype)
        torch.empty(depth + 1, n, n, dtype=case.dtype, device=case.device).fill_(1.0)
        return tensor(kernel)

    return Job(
        ours=lambda: tensor(ntk.infinite_sweep(x, depths=range(depth + 1), dtype=case.dtype)),
        work=_infinite_work(case, LAYER_OPERATIONS[case.dtype]),
        peers={"single depth and fill": single_and_fill},
        comparable=lambda kernels: kernels[-1],
    )


def _gradient(case: Case) -> Job:
    x, depth = gaussian_samples(case).requires_grad_(), case.shape.depth
    cotangent = gaussian(case, case.shape.n, case.shape.n)

    def ours() -> Tensor:
        K = tensor(ntk.infinite(x, depth=depth))
        (gradient,) = torch.autograd.grad(K, x, cotangent)
        return gradient

    return Job(
        ours=ours,
        work=_infinite_work(case, GRADIENT_OPERATIONS),
        peers={"automatic": lambda: torch_peers.arc_cosines_gradient(x, depth, cotangent)},
    )


def _backward(case: Case) -> Job:
    x, depth = gaussian_samples(case).requires_grad_(), case.shape.depth
    cotangent = gaussian(case, case.shape.n, case.shape.n)
    K = tensor(ntk.infinite(x, depth=depth))
    return Job(
        ours=lambda: torch.autograd.grad(K, x, cotangent, retain_graph=True)[0],
        work=_infinite_work(case, GRADIENT_OPERATIONS),
        peers={"kernel": lambda: tensor(ntk.infinite(x.detach(), depth=depth))},
        comparable=None,
    )


_INFINITE = "ntk.infinite, Gaussian data"
_NEURAL_TANGENTS = "neural-tangents, jit"

CASES = (
    Case(
        name="infinite-f64",
        family="infinite_ntk",
        ours=_INFINITE,
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=torch.float64,
        prepare=partial(_infinite, samples=gaussian_samples),
        at_least=25,
        aim=40,
    ),
    Case(
        name="infinite-f32",
        family="infinite_ntk",
        ours=_INFINITE,
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=torch.float32,
        prepare=partial(_infinite, samples=gaussian_samples),
    ),
    Case(
        name="infinite-biases-f64",
        family="infinite_ntk",
        ours="ntk.infinite with biases, Gaussian data",
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=torch.float64,
        prepare=partial(_with_biases, w_std=1.5, b_std=0.3),
        at_least=20,
        aim=35,
    ),
    Case(
        name="infinite-pixels-f64",
        family="infinite_ntk",
        ours="ntk.infinite, data like MNIST",
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=5000, d=784, depth=10),
        quick=Shape(n=120, d=784, depth=3),
        dtype=torch.float64,
        prepare=partial(_infinite, samples=_pixel_samples),
    ),
    Case(
        name="sweep-f64",
        family="infinite_ntk",
        ours="ntk.infinite_sweep, depths 0..L",
        peer="our single depth L, and filling the output",
        packages=("gatentk", "torch"),
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=torch.float64,
        prepare=_sweep,
        at_least=1.3,
        aim=1.1,
        better="lower",
    ),
    Case(
        name="infinite-gradient-f64",
        family="infinite_ntk",
        ours="ntk.infinite and its gradient by the samples",
        peer="torch, automatic differentiation of arc cosines",
        shape=Shape(n=2000, d=5, depth=3),
        quick=Shape(n=150, d=5, depth=3),
        dtype=torch.float64,
        prepare=_gradient,
    ),
    *(
        Case(
            name=f"infinite-backward-{n}-f64",
            family="infinite_ntk",
            ours="backward pass of ntk.infinite",
            peer="our kernel itself",
            packages=("gatentk", "torch"),
            shape=Shape(n=n, d=5, depth=3),
            quick=Shape(n=150, d=5, depth=3),
            dtype=torch.float64,
            prepare=_backward,
            better="lower",
        )
        for n in (500, 2000)
    ),
)

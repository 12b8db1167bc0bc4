"""The bounds of both papers and of the works that [G] compares with, beside measured quantities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatentk import data, ntk, ops
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GReLUNetwork
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.kernel_descent import KernelDescent, promised_loss
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.spectra import spectrum
from gatentk.train.linearisation import Linearisation
from gatentk.train.quantities import extreme_eigenvalues, kernel_drift, tau

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUMMARY = "the theorems' bounds beside measured quantities"
PLACE = 100

# Table 1 of [G]; "work" is what it calls them.
WORKS = {
    "du": "Du et al.",
    "zou2018": "Zou et al. 2018",
    "allen-zhu": "Allen-Zhu et al.",
    "zou2019": "Zou & Gu 2019",
    "g": "[G], GReLU",
}
DEPTHS = (2, 5, 10, 20, 50, 100)
LOSSES = tuple(10.0**-power for power in range(1, 13))
LAYER_DECAY = 5 / 6  # of [G, Thm 6]
FALLING = -0.3  # power of the width that counts as a fall like m^-1/2: few widths and seeds leave 0.1 of noise
ROUNDING = 1e-9  # relative, for inequalities that hold with equality in the worst case


def logarithms(n: int, depth: int, d_x: int, d_y: int, eps: float, lambda_0: float, failure: float) -> Numbers:
    """log10 of width, iterations and step of every row of [G, Table 1], constants left out.

    Du's row is for two layers; its step and its iterations contain the smallest eigenvalue of the limiting kernel.
    """
    ln, lL, accuracy = math.log10(n), math.log10(depth), math.log10(math.log(1 / eps))
    width = {
        "du": 6 * ln - 4 * math.log10(lambda_0) - 3 * math.log10(failure),
        "zou2018": 26 * ln + 38 * lL,
        "allen-zhu": 24 * ln + 12 * lL,
        "zou2019": 8 * ln + 12 * lL,
        "g": 2 * ln + lL,
    }
    step = {
        "du": math.log10(lambda_0) - 2 * ln,
        "zou2018": -29 * ln - 47 * lL,
        "allen-zhu": -28 * ln - 14 * lL - 5 * math.log10(width["allen-zhu"] * math.log(10)),
        "zou2019": -8 * ln - 14 * lL,
        "g": math.log10(d_x) - 4 * ln - 3 * lL - math.log10(d_y),
    }
    iterations = {
        "du": accuracy - step["du"] - math.log10(lambda_0),
        "zou2018": 8 * ln + 9 * lL,
        "allen-zhu": 6 * ln + 2 * lL + accuracy,
        "zou2019": 2 * ln + 2 * lL + accuracy,
        "g": math.log10(math.log(n**3 * depth / (d_x * eps))),
    }
    return {"width": width, "iterations": iterations, "step": step}


# What the cells compute


@lru_cache(maxsize=4)
def _ackley(n: int) -> tuple[Tensor, Tensor]:
    """Unit rows (n, 2n) and labels (n, 1) of mean square 1."""
    dataset = data.load("ackley", n=n)
    assert dataset.y is not None
    return dataset.x, (dataset.y / dataset.y.square().mean().sqrt()).unsqueeze(1)


def _network(n: int, width: int, depth: int, seed: int, d_out: int = 1) -> GReLUNetwork:
    generator = torch.Generator().manual_seed(seed)
    return GReLUNetwork(2 * n, width, depth, d_out, generator=generator, dtype=torch.float64)


def _problem(n: int, width: int) -> tuple[Tensor, Tensor]:
    """Ackley data with labels of the size of a network's outputs, sqrt(m / d_x)."""
    x, labels = _ackley(n)
    return x, labels * math.sqrt(width / x.shape[1])


def _compute_table(part: Settings, a: Mapping[str, Any]) -> Numbers:
    x, _ = _ackley(a["n"])
    lambda_0 = float(spectrum(ntk.infinite(x, depth=1, components=True)[0]).lmin)
    bounds = logarithms(a["n"], part["depth"], 2 * a["n"], 1, part["eps"], lambda_0, part["failure"])
    return bounds | {"lambda_0": lambda_0}


def _compute_training(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Gradient descent with step 1/lambda_max until the loss is the smallest of `targets` of that at the start."""
    x, labels = _problem(a["n"], a["width"])
    net = _network(a["n"], a["width"], a["depth"], a["seed"])
    gates = net.gate_table(x)
    K = ntk.empirical(net, x)
    linear = Linearisation(net, x, gates)
    residual = linear.outputs - labels
    start, kernel = float(residual.square().sum()), KernelDescent(K, residual)
    watched = {"drift": 0.0, "linearised": 0.0, "tau": 0.0}
    losses: list[float] = []
    for t in range(part["steps"] + 1):
        outputs = net(x, gates=gates)
        loss = float((outputs.detach() - labels).square().sum()) / start
        losses.append(loss)
        last = loss <= min(part["targets"]) or not loss < 1e3 or t == part["steps"]
        if last or t & (t - 1) == 0:
            now = _distances(net, x, linear, K, outputs.detach())
            watched = {name: max(value, now[name]) for name, value in watched.items()}
        if last:
            break
        _descend(net, outputs, labels, 1 / kernel.lmax)
    return {
        "lmin": kernel.lmin,
        "lmax": kernel.lmax,
        "converged": losses[-1] <= min(part["targets"]),
        "iterations": [next((t for t, loss in enumerate(losses) if loss <= e), None) for e in part["targets"]],
        "predicted": [kernel.steps_to(e, part["steps"]) for e in part["targets"]],
        "worst_rate": max(
            loss / max(promised_loss(kernel.lmin / kernel.lmax, t), 1e-300) for t, loss in enumerate(losses[1:], 1)
        ),
        **watched,
    }


def _distances(net: GReLUNetwork, x: Tensor, linear: Linearisation, K: Tensor, outputs: Tensor) -> dict[str, float]:
    """How far the network is from its start and from its linearisation."""
    weights = list(net.weights)
    return {
        "tau": tau(weights, linear.weights),
        "drift": kernel_drift(ntk.empirical(net, x), K),
        "linearised": float((outputs - linear(weights)).norm() / outputs.norm()),
    }


def _descend(net: GReLUNetwork, outputs: Tensor, labels: Tensor, step: float) -> None:
    """A step of gradient descent on 1/2 sum |y - label|^2 ([G], Eq. 2)."""
    gradients = torch.autograd.grad((outputs - labels).square().sum() / 2, list(net.weights))
    with torch.no_grad():
        for weight, gradient in zip(net.weights, gradients, strict=True):
            weight.sub_(gradient, alpha=step)


def _compute_step(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """One step of gradient descent: the change of the outputs against -step K residual, for several steps."""
    x, labels = _problem(part["samples"], part["width"])
    net = _network(part["samples"], part["width"], part["depth"], a["seed"])
    start = [weight.detach().clone() for weight in net.weights]
    gates = net.gate_table(x)
    K = ntk.empirical(net, x)
    jacobian = ntk.empirical(net, x, method="jacobian")
    lmax = float(spectrum(K).lmax)
    remainders = []
    for factor in part["factors"]:
        outputs = net(x, gates=gates)
        residual = (outputs - labels).detach()
        _descend(net, outputs, labels, factor / lmax)
        with torch.no_grad():
            change = net(x, gates=gates) - outputs
            remainders.append(float((change + factor / lmax * (K @ residual)).norm() / residual.norm()))
            for weight, value in zip(net.weights, start, strict=True):
                weight.copy_(value)
    return {"remainders": remainders, "identity": float((K - jacobian).norm() / K.norm())}


def _compute_literal(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Width n^2 L d_y and a multiple of the step d_x / (n^4 L^3 d_y)."""
    n, depth = a["n"], part["depth"]
    width, step = n**2 * depth, a["factor"] * 2 * n / (n**4 * depth**3)
    x, labels = _problem(n, width)
    net = _network(n, width, depth, a["seed"])
    gates = net.gate_table(x)
    s = spectrum(ntk.empirical(net, x))
    losses: list[float] = []
    for _ in range(part["steps"] + 1):
        outputs = net(x, gates=gates)
        losses.append(float((outputs - labels).detach().square().sum()))
        if not losses[-1] < 1e6 * losses[0]:
            break
        _descend(net, outputs, labels, step)
    fell = losses[-1] < losses[0]
    return {
        "width": width,
        "step": step,
        "product": step * float(s.lmax),
        "product_at_end": step * float(spectrum(ntk.empirical(net, x)).lmax) if fell else None,
        "loss": losses[-1] / losses[0] if fell else None,
        "fell": fell,
    }


def _compute_spectra(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Extreme eigenvalues of G^T G and F F^T over samples and layers, in units of m / d."""
    n, width, outputs = part["samples"], a["width"], part["outputs"]
    x, _ = _ackley(n)
    net = _network(n, width, part["depth"], a["seed"], outputs)
    few = x[: part["measured"]]
    spans = extreme_eigenvalues(net, few, net.gate_table(few))
    units = {"G": width / x.shape[1], "F": width / outputs}
    return {name: [[low / units[name], high / units[name]] for low, high in spans[name]] for name in units}


def _compute_gates(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Share of neurons that two samples have in common by layer, and products of twice that share."""
    x, _ = _ackley(part["samples"])
    generator = torch.Generator().manual_seed(a["seed"])
    table = GateNetwork(x.shape[1], part["width"], part["depth"], generator, torch.float32).table(x)
    above = torch.triu_indices(len(x), len(x), 1)
    pairs = tuple(above)
    shares = torch.stack([ops.gate_gram(bits)[pairs].double() for bits in table.bits]) / part["width"]
    angles = torch.stack([ntk.embedding_angles(x, k)[pairs] for k in range(part["depth"] + 1)])
    expected = (1 - angles / math.pi) / 2
    return {
        "mean": shares.mean(dim=1).tolist(),
        "largest": shares.max(dim=1).values.tolist(),
        "expected": expected.mean(dim=1).tolist(),
        # Layer 0 is left out: C stays in the kernel's cos(theta_1).
        "product": (2 * shares[1:]).cumprod(dim=0).mean(dim=1).tolist(),
        "expected_product": (2 * expected[1:]).cumprod(dim=0).mean(dim=1).tolist(),
    }


def _compute_decay(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Products of 1 - theta_s / pi over layers 1..k for two orthogonal samples, exact at infinite width."""
    x = torch.eye(2, dtype=torch.float64)
    factors = [1 - float(ntk.embedding_angles(x, k)[0, 1]) / math.pi for k in range(1, part["depth"] + 1)]
    return {"product": torch.tensor(factors, dtype=torch.float64).cumprod(0).tolist()}


def _rows(name: str, n: int, d: int | None) -> Tensor:
    """Gaussian rows, or unit rows of a data set."""
    if name == "gaussian":
        return torch.randn(n, d or n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = data.load(name, n=n).x
    return torch.nn.functional.normalize(x, dim=1)


def _compute_kernels(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Condition numbers of the Gram matrix, of component 1 at depth 1 and of full kernels; Prop. 2.2 for all pairs."""
    x = _rows(a["data"], a["n"], a["d"])
    kernels = {
        "gram": ntk.infinite(x, depth=0),
        "component": ntk.infinite(x, depth=1, components=True)[0],
        **{f"depth {depth}": ntk.infinite(x, depth=depth) for depth in part["depths"]},
    }
    found: Numbers = {}
    for name, K in kernels.items():
        s = spectrum(K)
        squares = K.diagonal()
        # 2 a^2 b^2 (1 - cos phi) / (a^2 + b^2), a and b the norms of the gradients of a pair
        product, total = squares.outer(squares), squares.unsqueeze(0) + squares.unsqueeze(1)
        bound = 2 * (product - product.sqrt() * K) / total
        bound.fill_diagonal_(math.inf)
        found[name] = {
            "condition": float(s.condition) if s.resolved else None,
            "lmin": float(s.lmin),
            "pair_bound": float(bound.min()),
        }
    return found


def _compute_pair(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """Two unit rows at an angle: condition numbers and 1 - cos phi by depth, from the angles themselves."""
    theta = math.radians(a["angle"])
    x = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], dtype=torch.float64)
    phis = [float(ntk.gradient_angles(x, depth)[0, 1]) for depth in part["depths"]]
    # kappa = (1 + cos phi) / (1 - cos phi) = cot^2 (phi / 2)
    return {"condition": [1 / math.tan(phi / 2) ** 2 for phi in phis], "gap": [2 * math.sin(p / 2) ** 2 for p in phis]}


def _compute_norms(part: Settings, a: Mapping[str, Any]) -> Numbers:
    """|grad f|^2 of networks of finite width at a sample of a given norm, by seed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, part["inputs"], generator=generator, dtype=torch.float64)
    x *= part["norm"] / x.norm()
    squares = [
        float(ntk.empirical(MLP(*sizes, activation=a["activation"], generator=source, dtype=torch.float64), x)[0, 0])
        for seed in range(part["seeds"])
        for sizes, source in [((part["inputs"], part["width"], a["depth"]), torch.Generator().manual_seed(seed))]
    ]
    mean = fmean(squares)
    error = math.sqrt(sum((s - mean) ** 2 for s in squares) / (len(squares) - 1) / len(squares))
    return {"mean": mean, "error": error}


_COMPUTE: dict[str, Callable[[Settings, Mapping[str, Any]], Numbers]] = {
    "table": _compute_table,
    "training": _compute_training,
    "step": _compute_step,
    "literal": _compute_literal,
    "spectra": _compute_spectra,
    "gates": _compute_gates,
    "decay": _compute_decay,
    "kernels": _compute_kernels,
    "pair": _compute_pair,
    "norms": _compute_norms,
}


class Bounds(Experiment):
    """Table 1 of [G] as functions of (n, L, d, eps), and what the theorems say against what is measured."""

    name = "bounds"
    title = "What the theorems bound, and what is measured"
    source = "[G, Table 1, Thm 1, 3, 5, 6, Lemmas 1-4, Cor. 4; S, Prop. 2.2, Thm 3.1, 4.5, 5.1, 5.2]"

    def settings(self, scale: Scale) -> Settings:
        """Small n; with --full larger n and width.

        Raises:
            DataError: digits or MNIST are not installed.
        """
        full = scale.full
        installed = {"digits": 40, "mnist": 200}
        for name, n in installed.items():
            data.load(name, n=n)
        widths = [64, 128, 256, 512, 1024] + ([2048, 4096] if full else [])
        many = [5, 10, 20, 40] if full else [5, 10, 20]
        return {
            "table": {"samples": [5, 10, 20, 50, 100, 200, 500], "depth": 4, "eps": 1e-6, "failure": 0.1},
            "training": {
                "samples": 20 if full else 10,
                "depths": [2, 4],
                "widths": widths,
                "iteration_samples": many,  # at width n^2 L, the last of the depths
                "seeds": 5,
                "targets": [1e-2, 1e-4, 1e-6, 1e-8],
                "steps": 5000,
            },
            "step": {"samples": 10, "width": 100, "depth": 3, "factors": [0.5, 0.25, 0.125, 0.0625], "seeds": 3},
            "literal": {"samples": many, "depth": 2, "steps": 100, "seeds": 3, "factors": [1, 4]},
            "spectra": {
                "samples": 20 if full else 10,
                "outputs": 5,
                "measured": 3,
                "depth": 4,
                "widths": widths,
                "seeds": 5 if full else 3,
            },
            "gates": {"samples": 20, "width": 4096 if full else 1024, "depth": 30, "seeds": 3},
            "decay": {"depth": 100},
            "kernels": {
                "data": [
                    ["gaussian", 20, 400],
                    ["gaussian", 20, 40],
                    *([name, n, None] for name, n in installed.items()),
                ],
                "depths": [1, 2, 5, 10],
            },
            "pair": {"angles": [0.01, 1.0, 10.0], "depths": [0, 1, 2, 3, 5, 10, 20]},
            "norms": {"inputs": 10, "width": 256, "depths": [1, 2, 4], "norm": 2.0, "seeds": 50},
        }

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """By part, then by what varies in it."""
        return list(_cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """The numbers of one cell."""
        kind = cell.arguments["kind"]
        return _COMPUTE[kind](settings[kind], cell.arguments)

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Weights, gradients, gates' weights and copies of the widest network; seconds on one core."""
        t = settings["training"]
        widest = max([*t["widths"], *(n**2 * t["depths"][-1] for n in t["iteration_samples"])])
        work = sum(cell.cost for cell in _cells(settings))
        return 7 * 8 * max(t["depths"]) * widest**2, work / 1e9

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Claims in the order of [G], then of [S]."""
        claims = [
            _claim_table(settings, results),
            *_claims_convergence(settings, results),
            _claim_literal(settings, results),
            _claim_step(settings, results),
            *_claims_distance(settings, results),
            _claim_spectra(settings, results),
            *_claims_gates(settings, results),
            *_claims_soothing(settings, results),
        ]
        shown = [_plot_table(settings, results), _plot_others(settings, results)]
        shown += [_plot_distance(settings, results), _plot_spectra(settings, results)]
        remarks = [
            (
                "The rows of Table 1 are printed up to constants, and are drawn with constants 1; Du's needs the "
                "smallest eigenvalue of the limiting two-layer kernel, computed here for each n, and a probability of "
                f"failure, {settings['table']['failure']:g}."
            ),
            "Labels are scaled to mean square m / d_x, the size of the outputs at the start, so that widths compare.",
            (
                "Lemmas 1 to 3 of [G] enter through the identities that they rest on: the kernel of Eq. 9 and 10, and "
                "the change of outputs in one step."
            ),
        ]
        return Findings(claims, [*shown, _plot_gates(settings, results)], _tables(settings, results), remarks=remarks)


def _cells(settings: Settings) -> Iterable[Cell]:
    def cell(kind: str, key: str, cost: float, **arguments: Any) -> Cell:
        return Cell(f"{kind} {key}".strip(), cost, {"kind": kind, **arguments})

    small = 1e8  # tenths of a second
    for n in settings["table"]["samples"]:
        yield cell("table", f"n {n}", small + 30.0 * n**3, n=n)
    for n, depth, width in _runs(settings):
        for seed in range(settings["training"]["seeds"]):
            # About 300 steps, each moves the weights through the memory some ten times.
            cost = small + 300 * 10 * depth * width**2
            yield cell("training", _run_key(n, depth, width, seed), cost, n=n, depth=depth, width=width, seed=seed)
    for seed in range(settings["step"]["seeds"]):
        yield cell("step", f"seed {seed}", small, seed=seed)
    for n in settings["literal"]["samples"]:
        for seed in range(settings["literal"]["seeds"]):
            depth, steps = settings["literal"]["depth"], settings["literal"]["steps"]
            cost = small + steps * 10 * depth**3 * n**4
            for factor in settings["literal"]["factors"]:
                yield cell("literal", f"n {n} factor {factor:g} seed {seed}", cost, n=n, seed=seed, factor=factor)
    part = settings["spectra"]
    for width in part["widths"]:
        for seed in range(part["seeds"]):
            cost = small + part["measured"] * part["depth"] * width**2 * part["samples"]
            yield cell("spectra", f"width {width} seed {seed}", cost, width=width, seed=seed)
    part = settings["gates"]
    for seed in range(part["seeds"]):
        yield cell("gates", f"seed {seed}", small + 50 * part["depth"] * part["width"] ** 2, seed=seed)
    yield cell("decay", "", small)
    for name, n, d in settings["kernels"]["data"]:
        yield cell("kernels", _data_key(name, n, d), 20 * small, data=name, n=n, d=d)
    for angle in settings["pair"]["angles"]:
        yield cell("pair", f"{angle:g} degrees", small, angle=angle)
    for activation in ("linear", "relu"):
        for depth in settings["norms"]["depths"]:
            yield cell("norms", f"{activation} depth {depth}", 3 * small, activation=activation, depth=depth)


def _runs(settings: Settings) -> list[tuple[int, int, int]]:
    """(n, depth, width) of all trainings, each once."""
    t = settings["training"]
    runs = [(t["samples"], depth, width) for depth in t["depths"] for width in t["widths"]]
    runs += [(n, t["depths"][-1], n**2 * t["depths"][-1]) for n in t["iteration_samples"]]
    return list(dict.fromkeys(runs))


def _run_key(n: int, depth: int, width: int, seed: int) -> str:
    return f"n {n} depth {depth} width {width} seed {seed}"


def _data_key(name: str, n: int, d: int | None) -> str:
    return f"{name} {n}" + (f" x {d}" if d else "")


def _trainings(settings: Settings, results: Mapping[str, Numbers], n: int, depth: int, width: int) -> list[Numbers]:
    """The seeds of one training."""
    seeds = range(settings["training"]["seeds"])
    return [results[f"training {_run_key(n, depth, width, seed)}"] for seed in seeds]


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent p of the best y = c x^p."""
    a, b = [math.log(v) for v in x], [math.log(max(v, 1e-300)) for v in y]
    ma, mb = fmean(a), fmean(b)
    return math.fsum((u - ma) * (v - mb) for u, v in zip(a, b, strict=True)) / math.fsum((u - ma) ** 2 for u in a)


def _power(exponent: float) -> str:
    """10^exponent as a number where it is one to read."""
    return number(10**exponent) if abs(exponent) < 300 else f"10^{exponent:.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


# What is claimed


def _claim_table(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["table"]
    widths = {n: results[f"table n {n}"]["width"] for n in part["samples"]}
    holds = all(min(w, key=w.__getitem__) == "g" for w in widths.values())
    last = part["samples"][-1]
    shown = ", ".join(f"{name} {_power(widths[last][work])}" for work, name in WORKS.items())
    return Claim(
        "[G, Table 1]",
        "The width that guarantees convergence is far below that of earlier works: n^2 L.",
        f"At n = {last}, L = {part['depth']}, up to constants: {shown}. Smallest at every n from {part['samples'][0]} "
        f"to {last}: {_yes(holds)}.",
        holds,
    )


def _claims_convergence(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    t = settings["training"]
    depth, targets = t["depths"][-1], t["targets"]
    by_n = {n: _trainings(settings, results, n, depth, n**2 * depth) for n in t["iteration_samples"]}
    converged = all(run["converged"] for runs in by_n.values() for run in runs)
    everything = [run for n, d, w in _runs(settings) for run in _trainings(settings, results, n, d, w)]
    worst = max(run["worst_rate"] for run in everything)
    narrow = " and ".join(f"{_narrowest(settings, results, d) or 'none'} (L = {d})" for d in t["depths"])
    claims = [
        Claim(
            "[G, Thm 1]",
            "At width n^2 L gradient descent reaches a loss of zero from every start.",
            f"L = {depth}, n = {', '.join(map(str, by_n))}, {t['seeds']} seeds each, steps of 1/lambda_max: all reach "
            f"{targets[-1]:g} of the loss at the start: {_yes(converged)}. At n = {t['samples']} all seeds converge "
            f"from width {narrow} on, the smallest tried being {min(t['widths'])}.",
            converged,
        ),
        Claim(
            "[S; G, Thm 1]",
            "The loss falls at least as fast as (1 - 1/kappa)^t, kappa that of the kernel at the start, with steps of "
            "1/lambda_max.",
            f"Over {len(everything)} trainings and all t > 0 the loss is at most {number(worst)} times that.",
            worst <= 1 + ROUNDING,
        ),
    ]
    if not converged or len(targets) < 3:
        return claims
    mean = {n: [fmean(run["iterations"][i] for run in runs) for i in range(len(targets))] for n, runs in by_n.items()}
    middle = len(targets) // 2
    # Steps for each factor of 10: the same early and late if the time is logarithmic in 1/eps.
    early, late = (
        {n: (m[j] - m[i]) / math.log10(targets[i] / targets[j]) for n, m in mean.items()}
        for i, j in ((0, middle), (middle, len(targets) - 1))
    )
    ratio = max(late[n] / early[n] for n in mean)
    predicted = max(
        abs(run["iterations"][-1] / run["predicted"][-1] - 1)
        for runs in by_n.values()
        for run in runs
        if run["predicted"][-1]
    )
    first, last = min(mean), max(mean)
    return [
        *claims,
        Claim(
            "[G, Thm 1, Table 1]",
            "The time to reach a loss eps is logarithmic in 1/eps.",
            "Steps for each factor of 10 in the loss, in the first and in the second half: "
            + ", ".join(f"n = {n}: {number(early[n])} and {number(late[n])}" for n in mean)
            + f". A constant kernel predicts the number of steps within {predicted:.0%}.",
            ratio < 2,
        ),
        Claim(
            "[G, Thm 1, Table 1]",
            "The time is logarithmic in n, too: log(n^3 L / (d_x eps)) steps.",
            f"Steps to {targets[-1]:g} of the start: "
            + ", ".join(f"{number(m[-1])} at n = {n}" for n, m in mean.items())
            + f". From n = {first} to {last} they change by a factor of {number(mean[last][-1] / mean[first][-1])}, "
            f"like n^{_slope(list(mean), [m[-1] for m in mean.values()]):.2f}; these few n cannot tell a logarithm "
            "from a small power, and the step 1/lambda_max is not that of the theorem.",
            None,
        ),
    ]


def _narrowest(settings: Settings, results: Mapping[str, Numbers], depth: int) -> int | None:
    """The smallest width from which on all trainings reach every target."""
    t = settings["training"]
    found = None
    for width in sorted(t["widths"], reverse=True):
        if not all(r["converged"] for r in _trainings(settings, results, t["samples"], depth, width)):
            break
        found = width
    return found


def _claim_literal(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["literal"]
    first, *others = [
        (
            factor,
            [
                results[f"literal n {n} factor {factor:g} seed {seed}"]
                for n in part["samples"]
                for seed in range(part["seeds"])
            ],
        )
        for factor in part["factors"]
    ]

    def outcome(runs: Sequence[Numbers]) -> str:
        products = [r["product"] for r in runs]
        return (
            f"the loss falls in {sum(r['fell'] for r in runs)} of {len(runs)} runs, step x lambda_max being "
            f"{number(min(products))} to {number(max(products))} at the start"
        )

    ends = [r["product_at_end"] for r in first[1] if r["fell"] and r["product"] > 2]
    return Claim(
        "[G, Thm 1]",
        "The step d_x / (n^4 L^3 d_y) converges at width n^2 L d_y. (The theorem has both up to constants; here they "
        "are taken literally.)",
        f"n = {', '.join(map(str, part['samples']))}, L = {part['depth']}, {part['steps']} steps: {outcome(first[1])}. "
        + "".join(f"With {factor:g} times the step {outcome(runs)}. " for factor, runs in others)
        + "With a constant kernel gradient descent converges below a product of 2 only"
        + (
            f"; networks that learn above it leave that regime, and end with products of {number(min(ends))} to "
            f"{number(max(ends))}. "
            if ends
            else ". "
        )
        + "So the constant of the step matters.",
        all(r["fell"] for r in first[1]),
    )


def _claim_step(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["step"]
    found = [results[f"step seed {seed}"] for seed in range(part["seeds"])]
    identity = max(r["identity"] for r in found)
    quotients = [a / b for r in found for a, b in pairwise(r["remainders"])]
    return Claim(
        "[G, Lemmas 1-3, Eq. 9-10]",
        "One step of gradient descent changes the outputs by -step K (y - label), K = sum_k <G x, G x'> <F, F'>, up to "
        "a remainder of second order in the step.",
        f"K agrees with products of Jacobians to {number(identity, 2)} relative; halving the step divides the "
        f"remainder by {number(min(quotients))} to {number(max(quotients))} (4 for the second order), and at "
        f"{part['factors'][0]:g}/lambda_max it is up to {max(r['remainders'][0] for r in found):.2%} of the error.",
        identity < 1e-10 and all(3 < q < 5 for q in quotients),
    )


def _claims_distance(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    t = settings["training"]
    n, widths = t["samples"], t["widths"]
    means = {
        (name, depth): [fmean(r[name] for r in _trainings(settings, results, n, depth, w)) for w in widths]
        for name in ("tau", "drift", "linearised")
        for depth in t["depths"]
    }
    scaled = {d: [v / _tau_order(n, d, w) for v, w in zip(means["tau", d], widths, strict=True)] for d in t["depths"]}
    bound = {d: [3 * _radius(n, d, w) for w in widths] for d in t["depths"]}
    below = all(v <= b for d in t["depths"] for v, b in zip(means["drift", d], bound[d], strict=True))
    slack = min(b / v for d in t["depths"] for v, b in zip(means["drift", d], bound[d], strict=True))
    smallest = min(b for values in bound.values() for b in values)
    slopes = {key: _slope(widths, values) for key, values in means.items()}

    def exponents(name: str) -> str:
        return ", ".join(f"m^{slopes[name, d]:.2f} (L = {d})" for d in t["depths"])

    return [
        Claim(
            "[G, Eq. 5]",
            "Weights stay close to their start: tau = max_k |W_k(t) - W_k(0)|_2 is of order d_y sqrt(n/m) / L.",
            f"n = {n}: tau falls like {exponents('tau')}, and is "
            + ", ".join(f"{number(min(scaled[d]))} to {number(max(scaled[d]))} times that (L = {d})" for d in scaled)
            + ".",
            all(slopes["tau", d] < FALLING for d in t["depths"]),
        ),
        Claim(
            "[G, Cor. 4, Thm 3 corrected]",
            "The kernel moves by at most 3R relative, R = n^(1/2) L^2 d_x^(1/2) d_y^(3/2) / m^(1/2) up to constants "
            "and logarithms. (As printed R comes from a norm divided by a squared norm; this is the chain done right.)",
            f"The largest change by width falls like {exponents('drift')}. At m = {widths[-1]:,}: "
            + ", ".join(f"{means['drift', d][-1]:.2%} where 3R = {number(bound[d][-1])} (L = {d})" for d in t["depths"])
            + f". The bound is {number(slack)} or more times that"
            + ("." if smallest < 1 else ", and says little at these widths because 3R is not below 1."),
            below and all(slopes["drift", d] < FALLING for d in t["depths"]),
        ),
        Claim(
            "[G, Thm 3]",
            "The network stays close to its linearisation, the closer the wider.",
            f"The largest relative distance of the outputs falls like {exponents('linearised')}; at m = "
            f"{widths[-1]:,} it "
            f"is " + ", ".join(f"{means['linearised', d][-1]:.2%} (L = {d})" for d in t["depths"]) + ".",
            all(slopes["linearised", d] < FALLING for d in t["depths"]),
        ),
    ]


def _tau_order(n: int, depth: int, width: int, d_y: int = 1) -> float:
    return d_y * math.sqrt(n / width) / depth


def _radius(n: int, depth: int, width: int, d_y: int = 1) -> float:
    """R of [G, Thm 3], derived without dividing a norm by a squared norm; constants and logarithms left out."""
    return math.sqrt(n / width) * math.pow(depth, 2) * math.sqrt(2 * n) * math.pow(d_y, 1.5)


def _spans(settings: Settings, results: Mapping[str, Numbers], width: int, name: str) -> tuple[float, float]:
    """Smallest and largest eigenvalue over layers and seeds, in units of m / d."""
    pairs = [
        pair
        for seed in range(settings["spectra"]["seeds"])
        for pair in results[f"spectra width {width} seed {seed}"][name]
    ]
    return min(low for low, _ in pairs), max(high for _, high in pairs)


def _claim_spectra(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["spectra"]
    inside = {
        w: all(low >= 1 / 12 and high <= 27 / 4 for low, high in (_spans(settings, results, w, name) for name in "GF"))
        for w in part["widths"]
    }
    wide = [w for w in part["widths"] if all(inside[v] for v in part["widths"] if v >= w)]
    low, high = _spans(settings, results, part["widths"][-1], "G")
    return Claim(
        "[G, Thm 5]",
        "In wide networks all eigenvalues of G^T G and F F^T lie in [m/(12 d), 27 m/(4 d)] at the start.",
        f"d_x = {2 * part['samples']}, d_y = {part['outputs']}, L = {part['depth']}, {part['seeds']} seeds: "
        + (f"true from width {wide[0]} on" if wide else "not true at any of the widths")
        + f"; at width {part['widths'][-1]} those of G^T G lie in [{number(low)}, {number(high)}] m/d.",
        bool(wide),
    )


def _claims_gates(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    part = settings["gates"]
    found = [results[f"gates seed {seed}"] for seed in range(part["seeds"])]
    layers = range(part["depth"] + 1)
    mean = [fmean(r["mean"][k] for r in found) for k in layers]
    expected = found[0]["expected"]
    largest = [max(r["largest"][k] for r in found) for k in layers]
    holding = [k for k in layers if mean[k] <= 1 / 3]
    everywhere = [k for k in layers if largest[k] <= 1 / 3]
    off = max(abs(a - b) for a, b in zip(mean, expected, strict=True))
    product = results["decay"]["product"]
    above = next((k for k, value in enumerate(product, 1) if value > LAYER_DECAY**k), None)
    half = len(product) // 2
    slope = _slope(range(half, len(product) + 1), product[half - 1 :])
    return [
        Claim(
            "[G, Lemma 4]",
            "Two samples share at most a third of the neurons of a layer: |I_i and I_j| <= m/3.",
            f"n = {part['samples']} almost orthogonal samples, width {part['width']}: the mean share is "
            f"{number(mean[0])} in layer 0, {number(mean[min(2, part['depth'])])} in layer {min(2, part['depth'])} and "
            f"{number(mean[-1])} in layer {part['depth']}; it is at most 1/3 in {len(holding)} of {len(layers)} "
            f"layers, and the share of every pair is in {len(everywhere)}; the largest in layer 0 is "
            f"{number(largest[0])}.",
            len(everywhere) == len(layers),
        ),
        Claim(
            "[G, Lemma 4] corrected",
            "The share is (1 - theta_k/pi)/2, and grows to 1/2 with depth.",
            f"Measured and expected means differ by at most {number(off, 2)} over layers 0 to {part['depth']}, and the "
            f"share in the last layer is {number(mean[-1])}.",
            off < 0.05 and mean[-1] > mean[0],
        ),
        Claim(
            "[G, Thm 6]",
            "Off-diagonal entries of the kernel fall with depth like (5/6)^k.",
            f"For orthogonal samples, exactly: the product of 1 - theta_s/pi over k layers is "
            f"{number(product[min(4, len(product) - 1)])} at k = 5, (5/6)^5 being {number(LAYER_DECAY**5)}, and "
            f"{number(product[-1])} at k = {len(product)}, where (5/6)^k is {number(LAYER_DECAY ** len(product))}; "
            + (f"it is above from k = {above} on" if above else "it stays below")
            + f". It is a power law, k^{slope:.2f} in the second half (k^-3 in the limit).",
            above is None,
        ),
    ]


def _claims_soothing(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    """[S]: what is exact at infinite width, and the finite networks of Thm 3.1."""
    part = settings["kernels"]
    keys = [_data_key(*entry) for entry in part["data"]]
    kernels = {key: results[f"kernels {key}"] for key in keys}
    slack = min(k["pair_bound"] / k["lmin"] for found in kernels.values() for k in found.values() if k["lmin"] > 0)
    known = {
        key: [found[name]["condition"] for name in ("gram", "component", "depth 1")]
        for key, found in kernels.items()
        if all(found[name]["condition"] is not None for name in ("gram", "component", "depth 1"))
    }
    shown = ", ".join(f"{number(a)} to {number(b)} ({key})" for key, (a, b, _) in known.items())
    full = ", ".join(f"{number(a)} and {number(c)} ({key})" for key, (a, _, c) in known.items())
    rising = [
        key
        for key, found in kernels.items()
        if all(found[f"depth {d}"]["condition"] is not None for d in part["depths"])
        and any(
            found[f"depth {a}"]["condition"] <= found[f"depth {b}"]["condition"] for a, b in pairwise(part["depths"])
        )
    ]
    path = {key: ", ".join(number(kernels[key][f"depth {d}"]["condition"]) for d in part["depths"]) for key in rising}
    return [
        Claim(
            "[S, Prop. 2.2]",
            "The smallest eigenvalue is at most 2 a^2 b^2 (1 - cos phi)/(a^2 + b^2) for any two samples, a and b the "
            "norms of their gradients.",
            f"For {sum(map(len, kernels.values()))} kernels the bound of the closest pair is at least {number(slack)} "
            "times the smallest eigenvalue.",
            slack >= 1 - 1e-6,
        ),
        *_claims_norms(settings, results),
        _claim_small_angles(settings, results),
        Claim(
            "[S, Thm 5.1]",
            "At depth 1, with only the first layer trained, the condition number is below that of the Gram matrix.",
            f"From {shown}.",
            all(b < a for a, b, _ in known.values()),
        ),
        Claim(
            "[S, Thm 5.1] for all weights",
            "The same of the kernel of all weights at depth 1. (The theorem does not say so, but is easily read so.)",
            f"Gram matrix and full kernel: {full}.",
            all(c < a for a, _, c in known.values()),
        ),
        _claim_pair(settings, results),
        Claim(
            "[S, Thm 5.2] for more samples",
            "The condition number falls with depth for data in general. (The theorem is for two close samples.)",
            f"Depths {', '.join(map(str, part['depths']))}: "
            + ("; ".join(f"{key}: {values}" for key, values in path.items()) if path else "it falls for all data sets")
            + ".",
            not rising,
        ),
    ]


def _claims_norms(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    part = settings["norms"]
    cells = [
        (activation, depth, results[f"norms {activation} depth {depth}"])
        for activation in ("linear", "relu")
        for depth in part["depths"]
    ]
    square, plain = part["norm"] ** 2, part["norm"]
    off = max(abs(r["mean"] - (d + 1) * square) / r["error"] for _, d, r in cells)
    off_plain = max(abs(r["mean"] - (d + 1) * plain) / r["error"] for _, d, r in cells)
    shown = ", ".join(f"{number(r['mean'] / (d + 1))} ({a}, L = {d})" for a, d, r in cells)
    return [
        Claim(
            "[S, Thm 3.1, 4.4] corrected",
            "|grad f(x)|^2 = (L + 1) |x|^2 in the mean over networks.",
            f"|x| = {plain:g}, width {part['width']}, {part['seeds']} seeds: |grad f|^2 / (L + 1) is {shown}; at most "
            f"{number(off, 2)} standard errors from |x|^2 = {square:g}.",
            off < 4.5,
        ),
        Claim(
            "[S, Thm 3.1, 4.4] as printed",
            "|grad f(x)| = (L + 1) |x|, the norms not squared.",
            f"Read as the square of the gradient against |x| = {plain:g}: {number(off_plain, 2)} standard errors off. "
            "It is a misprint.",
            off_plain < 4.5,
        ),
    ]


def _claim_small_angles(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["pair"]
    smallest = min(part["angles"])
    found = results[f"pair {smallest:g} degrees"]
    theta = math.radians(smallest)
    ratios = [
        gap / (depth * theta / (2 * math.pi)) for depth, gap in zip(part["depths"], found["gap"], strict=True) if depth
    ]
    return Claim(
        "[S, Thm 4.5] corrected",
        "1 - cos phi = L theta / (2 pi) for close samples, phi the angle of their gradients.",
        f"At {smallest:g} degrees the quotient of both sides is {number(min(ratios), 4)} to {number(max(ratios), 4)}.",
        all(abs(ratio - 1) < 0.02 for ratio in ratios),
    )


def _claim_pair(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    part = settings["pair"]
    found = {angle: results[f"pair {angle:g} degrees"]["condition"] for angle in part["angles"]}
    shown = "; ".join(f"{angle:g} degrees: {number(v[0])} to {number(v[-1])}" for angle, v in found.items())
    return Claim(
        "[S, Thm 5.2]",
        "For two close samples the condition number falls with every layer.",
        f"From depth {part['depths'][0]} to {part['depths'][-1]}: {shown}.",
        all(a > b for values in found.values() for a, b in pairwise(values)),
    )


# Plots and tables


def _plot_table(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    part, t = settings["table"], settings["training"]
    figure, axes = figures.panels(
        [
            ("Width that is enough", f"depth {part['depth']}, constants 1"),
            ("Iterations", f"to a loss of {part['eps']:g}"),
            ("Step size", "of gradient descent"),
        ],
        [("Samples n", "width m"), ("Samples n", "iterations"), ("Samples n", "step")],
        height=4.0,
    )
    for axis, quantity in zip(axes, ("width", "iterations", "step"), strict=True):
        _draw_bounds(axis, part["samples"], [results[f"table n {n}"][quantity] for n in part["samples"]])
    depth = t["depths"][-1]
    trained = [(n, _trainings(settings, results, n, depth, n**2 * depth)) for n in t["iteration_samples"]]
    known = [(n, runs) for n, runs in trained if all(r["converged"] for r in runs)]
    measured = {
        "width": [n**2 * depth for n, _ in known],
        "iterations": [fmean(r["iterations"][-1] for r in runs) for _, runs in known],
        "step": [fmean(1 / r["lmax"] for r in runs) for _, runs in known],
    }
    label = f"measured, GReLU, depth {depth}"
    for axis, values in zip(axes, measured.values(), strict=True):
        axis.plot([n for n, _ in known], values, ".", color=style.INK, label=label, markersize=5)
    _legend_below(figure, axes)
    caption = (
        "Bounds of Table 1 of [G] by number of samples, and dots where networks of width n^2 L were trained with a "
        f"step of 1/lambda_max to {t['targets'][-1]:g} of the loss at the start."
    )
    return Plot("bounds-table", caption, figure)


def _draw_bounds(axis: Axes, x: Sequence[float], logs: Sequence[Mapping[str, float]]) -> None:
    """A line for every work, of bounds given as logarithms at each x."""
    for colour, (work, label) in zip(style.COLOURS, WORKS.items(), strict=False):
        values = [10 ** at[work] for at in logs]
        axis.plot(x, values, color=colour, label=label, linewidth=2 if work == "g" else 1.2)
    axis.set_xscale("log")
    figures.logarithmic(axis)


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=7.5)


def _middle(part: Settings) -> int:
    """The number of samples at which bounds are shown by depth and by loss."""
    samples: list[int] = part["samples"]
    return samples[len(samples) // 2]


def _others(settings: Settings, results: Mapping[str, Numbers]) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Bounds of Table 1 by depth, and by the loss that is to be reached: which, its value, logarithms."""
    part = settings["table"]
    n = _middle(part)
    lambda_0 = results[f"table n {n}"]["lambda_0"]
    for depth in DEPTHS:
        yield "depth", depth, logarithms(n, depth, 2 * n, 1, part["eps"], lambda_0, part["failure"])
    for eps in LOSSES:
        yield "eps", eps, logarithms(n, part["depth"], 2 * n, 1, eps, lambda_0, part["failure"])


def _plot_others(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    part = settings["table"]
    n = _middle(part)
    figure, axes = figures.panels(
        [
            ("Width that is enough", f"n = {n}, constants 1"),
            ("Iterations", f"n = {n}, to a loss of {part['eps']:g}"),
            ("Iterations", f"n = {n}, depth {part['depth']}"),
        ],
        [("Depth L", "width m"), ("Depth L", "iterations"), ("Loss to be reached", "iterations")],
        height=4.0,
    )
    found = list(_others(settings, results))
    parts = (("depth", "width"), ("depth", "iterations"), ("eps", "iterations"))
    for axis, (by, quantity) in zip(axes, parts, strict=True):
        shown = {value: bounds[quantity] for which, value, bounds in found if which == by}
        _draw_bounds(axis, list(shown), list(shown.values()))
    axes[2].invert_xaxis()
    _legend_below(figure, axes)
    return Plot("bounds-others", f"Bounds of Table 1 of [G] for {n} samples, by depth and by loss.", figure)


def _plot_distance(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    t = settings["training"]
    n, widths = t["samples"], t["widths"]
    names = {"tau": "Change of weights", "drift": "Change of the kernel", "linearised": "Distance from linear"}
    figure, axes = figures.panels(
        [
            (names["tau"], "largest spectral norm over layers"),
            (names["drift"], "relative, Frobenius norm"),
            (names["linearised"], "relative, outputs"),
        ],
        [("Width m", "tau"), ("Width m", "|K(t) - K(0)| / |K(0)|"), ("Width m", "|y - y NTK| / |y|")],
    )
    for axis, name in zip(axes, names, strict=True):
        for colour, depth in zip(style.COLOURS, t["depths"], strict=False):
            runs = {w: [r[name] for r in _trainings(settings, results, n, depth, w)] for w in widths}
            axis.plot(widths, [fmean(v) for v in runs.values()], color=colour, label=f"depth {depth}")
            for w, values in runs.items():
                axis.plot([w] * len(values), values, ".", color=colour, markersize=3)
            if name == "tau":
                order = [_tau_order(n, depth, w) for w in widths]
                axis.plot(widths, order, color=colour, linestyle=style.DASHED, linewidth=1, label="√(n/m) / L")
            if name == "drift":
                radius = [3 * _radius(n, depth, w) for w in widths]
                axis.plot(widths, radius, color=colour, linestyle=style.DASHED, linewidth=1, label="3R")
        axis.set_xscale("log", base=2)
        figures.logarithmic(axis)
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    for axis in axes:
        figures.legend(axis)
    caption = (
        f"How far {n} samples move weights, kernel and outputs until the loss is {t['targets'][-1]:g} of its start; "
        "lines: means, dots: seeds, dashed: the orders of [G, Eq. 5] and of Cor. 4."
    )
    return Plot("bounds-distance", caption, figure)


def _plot_spectra(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    part = settings["spectra"]
    figure, axes = figures.panels(
        [("Eigenvalues of GᵀG", "over layers and seeds"), ("Eigenvalues of FFᵀ", "over layers and seeds")],
        [("Width m", "in units of m / d")] * 2,
    )
    for axis, name, colour in zip(axes, "GF", (style.BLUE, style.ORANGE), strict=True):
        spans = [_spans(settings, results, w, name) for w in part["widths"]]
        lows, highs = ([span[index] for span in spans] for index in (0, 1))
        axis.fill_between(part["widths"], lows, highs, color=colour, alpha=0.25, linewidth=0)
        for ends in (lows, highs):
            axis.plot(part["widths"], ends, color=colour, marker="o", markersize=3)
        for level in (1 / 12, 27 / 4):
            axis.axhline(level, color=style.GREEN, linestyle=style.DASHED, linewidth=1)
        axis.set_xscale("log", base=2)
        figures.logarithmic(axis)
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    caption = "Extreme eigenvalues at the start by width; dashed: the range of [G, Thm 5], 1/12 to 27/4."
    return Plot("bounds-eigenvalues", caption, figure)


def _plot_gates(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    part = settings["gates"]
    found = [results[f"gates seed {seed}"] for seed in range(part["seeds"])]
    layers = list(range(part["depth"] + 1))
    figure, (share, product) = figures.panels(
        [
            ("Neurons two samples share", f"mean over pairs of {part['samples']} samples, width {part['width']}"),
            ("Product of 1 − θ/π", "what off-diagonal entries are multiplied by"),
        ],
        [("Layer k", "share of the layer"), ("Layer k", "product over layers 1..k")],
    )
    share.plot(layers, found[0]["expected"], color=style.BLUE, label="(1 − θ/π)/2")
    share.axhline(1 / 3, color=style.ORANGE, linestyle=style.DASHED, linewidth=1, label="1/3, [G, Lemma 4]")
    exact = results["decay"]["product"]
    product.plot(range(1, len(exact) + 1), exact, color=style.BLUE, label="exact, orthogonal samples")
    decay = [LAYER_DECAY**k for k in range(1, len(exact) + 1)]
    product.plot(
        range(1, len(exact) + 1), decay, color=style.ORANGE, linestyle=style.DASHED, label="(5/6)ᵏ, [G, Thm 6]"
    )
    for index, r in enumerate(found):
        label = "measured" if index == 0 else None
        share.plot(layers, r["mean"], ".", color=style.GREEN, markersize=3, label=label)
        product.plot(layers[1:], r["product"], ".", color=style.GREEN, markersize=3, label=label)
    share.set_ylim(0, 0.55)
    figures.logarithmic(product)
    figures.legend(share, loc="lower right")
    figures.legend(product, loc="lower left")
    for axis in (share, product):
        figures.integers(axis)
    caption = (
        "Share of neurons that are on for both of two samples, by layer, and the product that the kernel's "
        "off-diagonal entries fall with: a power of the depth and not (5/6)^k."
    )
    return Plot("bounds-gates", caption, figure)


def _tables(settings: Settings, results: Mapping[str, Numbers]) -> list[Table]:
    part = settings["table"]
    rows = [
        [n, name, *(results[f"table n {n}"][q][work] for q in ("width", "iterations", "step"))]
        for n in part["samples"]
        for work, name in WORKS.items()
    ]
    others = [
        [by, value, name, *(bounds[q][work] for q in ("width", "iterations", "step"))]
        for by, value, bounds in _others(settings, results)
        for work, name in WORKS.items()
    ]
    t = settings["training"]
    runs = [
        [
            *(n, depth, width, seed, r["lmax"] / r["lmin"] if r["lmin"] > 0 else None, r["iterations"][-1]),
            *(r["predicted"][-1], r["tau"], _tau_order(n, depth, width), r["drift"], r["linearised"]),
        ]
        for n, depth, width in _runs(settings)
        for seed, r in enumerate(_trainings(settings, results, n, depth, width))
    ]
    kernels = [
        [_data_key(*entry), name, k["condition"], k["lmin"], k["pair_bound"]]
        for entry in settings["kernels"]["data"]
        for name, k in results[f"kernels {_data_key(*entry)}"].items()
    ]
    columns = ["samples", "depth", "width", "seed", "condition", "steps", "steps predicted", "tau", "order of tau"]
    return [
        Table(
            "bounds-table",
            f"Table 1 of [G], log10, constants 1, depth {part['depth']}, eps {part['eps']:g}",
            ["samples", "work", "width", "iterations", "step"],
            rows,
        ),
        Table(
            "bounds-others",
            f"Table 1 of [G] by depth and by loss, log10, constants 1, n = {_middle(part)}",
            ["by", "value", "work", "width", "iterations", "step"],
            others,
        ),
        Table(
            "bounds-training",
            f"Trainings to {t['targets'][-1]:g} of the loss at the start, steps of 1/lambda_max",
            [*columns, "kernel drift", "linearised"],
            runs,
        ),
        Table(
            "bounds-kernels",
            "Kernels at infinite width, and Prop. 2.2 for the closest pair",
            ["data", "kernel", "condition", "lambda_min", "bound"],
            kernels,
        ),
    ]


EXPERIMENT = Bounds()

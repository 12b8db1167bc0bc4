"""Time of training and inference of GReLU against ReLU networks by width, and gates of low rank: [G, Sec. 4.4].

Cells hold times, so a run on another machine, or another run on this one, gives other numbers: the seeds fix networks
and samples, not times. Variants take turns, and what is compared are ratios of times of the same round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import Any

import torch
from torch import Tensor

from gatentk import convert, data
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.train.trainable import Trainable, outputs

SUMMARY = "training and inference time of GReLU against ReLU"
PLACE = 90

DENSE = "ReLU, dense"  # what all times are compared with
TRAINING = {"relu": "ReLU, zeros skipped", "grelu": "GReLU, gates looked up"}
INFERENCE = {
    "relu": "ReLU, zeros skipped",
    "grelu": "GReLU, gates looked up",
    "grelu-new": "GReLU, gates computed",
    "relu-low-rank": "ReLU, gates of low rank",
    "grelu-low-rank": "GReLU, gates of low rank",
}
COLOURS = {
    "relu": style.BLUE,
    "grelu": style.ORANGE,
    "grelu-new": style.YELLOW,
    "relu-low-rank": style.SKY,
    "grelu-low-rank": style.PINK,
}
OUTPUTS = 10
BATCH = 128


@lru_cache(maxsize=4)
def samples(name: str, n: int) -> Tensor:
    """Unit rows in float32: of a data set, or isotropic ones with as many features as MNIST."""
    if name == "isotropic":
        x = torch.randn(n, 784, generator=torch.Generator().manual_seed(0))
    else:
        x = data.load(name, n=n).x.float()
    return torch.nn.functional.normalize(x, dim=1)


def alternate(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant by round; they take turns, after one call of each that is not counted."""
    for call in variants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def speedup(seconds: Mapping[str, Sequence[float]], name: str) -> float:
    """Median over rounds of how many times as long the dense ReLU network takes."""
    return median(dense / own for dense, own in zip(seconds["dense"], seconds[name], strict=True))


def _networks(x: Tensor, width: int, depth: int) -> tuple[GReLUNetwork, ReLUNetwork, GateTable]:
    """Both networks with the same C, B and W, and the gates of the samples."""
    gnet = GReLUNetwork(x.shape[1], width, depth, OUTPUTS, generator=torch.Generator().manual_seed(0))
    rnet = ReLUNetwork(x.shape[1], width, depth, OUTPUTS, generator=torch.Generator().manual_seed(0))
    return gnet, rnet, gnet.gate_table(x)


def _step(net: Trainable, x: Tensor, targets: Tensor, gates: GateTable | None) -> None:
    """Forward, backward and an update so small that the network stays what it is."""
    for weight in net.weights:
        weight.grad = None
    loss = (outputs(net, x, gates) - targets).square().sum() / 2
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in net.weights:
            assert weight.grad is not None
            weight.sub_(weight.grad, alpha=1e-30)


def _by_method(net: ReLUNetwork, method: str, call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        net.method = method
        return call()

    return run


def _compute_training(settings: Settings, a: Mapping[str, Any]) -> Numbers:
    x = samples(settings["data"], settings["batch"])
    gnet, rnet, table = _networks(x, a["width"], settings["depth"])
    targets = torch.zeros(len(x), OUTPUTS)
    seconds = alternate(
        {
            "dense": _by_method(rnet, "dense", lambda: _step(rnet, x, targets, None)),
            "relu": _by_method(rnet, "auto", lambda: _step(rnet, x, targets, None)),
            "grelu": lambda: _step(gnet, x, targets, table),
        },
        settings["rounds"],
    )
    begun = time.perf_counter()
    gnet.gate_table(x)
    return {"seconds": seconds, "table": time.perf_counter() - begun}


@torch.no_grad()
def _compute_inference(settings: Settings, a: Mapping[str, Any]) -> Numbers:
    x = samples(settings["data"], settings["batch"])
    gnet, rnet, table = _networks(x, a["width"], settings["depth"])
    predicted = {name: convert.low_rank_gates(net, x)[0] for name, net in (("relu", rnet), ("grelu", gnet))}
    rows, gates = x[: a["rows"]], table[: a["rows"]]
    calls: dict[str, Callable[[], Tensor]] = {
        "dense": _by_method(rnet, "dense", lambda: rnet(rows)),
        "relu": _by_method(rnet, "auto", lambda: rnet(rows)),
        "grelu": lambda: gnet(rows, gates=gates),
        "grelu-new": lambda: gnet(rows),
        "relu-low-rank": _by_method(rnet, "auto", lambda: predicted["relu"](rows)),
        "grelu-low-rank": lambda: predicted["grelu"](rows),
    }
    exact, skipped = calls["dense"](), calls["relu"]()
    return {
        "seconds": alternate(calls, a["rounds"]),
        "difference": float((exact - skipped).norm() / exact.norm()),
    }


@torch.no_grad()
def _compute_agreement(settings: Settings, a: Mapping[str, Any]) -> Numbers:
    x = samples(a["data"], settings["agreement_samples"])
    gnet, rnet, _ = _networks(x[:1], a["width"], settings["depth"])
    net = gnet if a["model"] == "grelu" else rnet
    fitted, held = x[: len(x) // 2], x[len(x) // 2 :]
    fast, report = convert.low_rank_gates(net, fitted)
    exact = net(held)
    return {
        "rank": report.rank,
        "agreement": [layer.agreement for layer in report.layers],
        "estimate": [layer.estimate for layer in report.layers],
        "error": float((fast(held) - exact).norm() / exact.norm()),
    }


_COMPUTE = {"training": _compute_training, "inference": _compute_inference, "agreement": _compute_agreement}


class Speed(Experiment):
    """Ratios of times, and how well gates of low rank agree; the same seed gives the same numbers but for times."""

    name = "speed"
    title = "What gates save in training and inference"
    source = "[G, Sec. 4.4, Remark 4]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST at widths up to 4096; with --full up to 16,384.

        Raises:
            DataError: MNIST is not installed.
        """
        samples("mnist", BATCH)
        return {
            "data": "mnist",
            "depth": 3,
            "batch": BATCH,
            "rows": [1, 128],
            "widths": [512, 1024, 2048, 4096] + ([8192, 16384] if scale.full else []),
            "rounds": 5,
            "agreement_samples": 1000,
        }

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """Narrow networks first; in each width training, inference and agreement."""
        cells = []
        layers, calls = settings["depth"], settings["rounds"] + 1
        for width in settings["widths"]:
            products = 2.0 * layers * width**2

            def cell(key: str, cost: float, width: int = width, **arguments: Any) -> Cell:
                return Cell(key, cost, {"width": width, **arguments})

            training = products * settings["batch"] * 3 * 2.5 * calls
            cells.append(cell(f"training width {width}", training, kind="training"))
            for rows in settings["rows"]:
                # Calls with few samples are so short that other work of the machine disturbs them more.
                rounds = settings["rounds"] * (1 if rows > 8 else 5)
                inference = products * (4 * settings["batch"] + max(rows, 8) * len(INFERENCE) * (rounds + 1))
                arguments = {"kind": "inference", "rows": rows, "rounds": rounds}
                cells.append(cell(f"inference width {width} rows {rows}", inference, **arguments))
            for name in _compared(settings):
                for model in ("relu", "grelu"):
                    key, cost = f"agreement {name} {model} width {width}", products * settings["agreement_samples"] * 2
                    cells.append(cell(key, cost, kind="agreement", data=name, model=model))
        return cells

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Seconds by round, or the agreement of gates."""
        return _COMPUTE[cell.arguments["kind"]](settings, cell.arguments)

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Weights and gradients of both networks, the gates' weights, a layer in float64; seconds at 30 GFLOP/s."""
        matrices = 5 * settings["depth"] + 4
        seconds = sum(cell.cost for cell in self.cells(settings)) / 3e10
        return 4 * matrices * max(settings["widths"]) ** 2, seconds

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Ratios of times by width, agreement by width."""
        batch = settings["batch"]
        claims = [
            _claim_training(settings, results),
            _claim_skipping(settings, results),
            _claim_lookup(settings, results),
            _claim_low_rank(settings, results),
            *_claims_agreement(settings, results),
        ]
        remarks = [
            (
                "Times are of the machine and the load that they were measured under; ratios of the same round are "
                "compared, and their medians shown."
            ),
            f"Networks are untrained, in float32, with {settings['depth']} trained layers, {batch} samples a step.",
        ]
        shown = [_plot_times(settings, results), _plot_agreement(settings, results)]
        return Findings(claims, shown, _tables(settings, results), remarks)


def _compared(settings: Settings) -> tuple[str, str]:
    """The samples whose gates are predicted."""
    return settings["data"], "isotropic"


# What is claimed


def _ratios(settings: Settings, results: Mapping[str, Numbers], cell: str, name: str) -> dict[int, float]:
    """Speed-up over the dense ReLU network by width; `cell` is a key with {width} in it."""
    return {w: speedup(results[cell.format(width=w)]["seconds"], name) for w in settings["widths"]}


def _verdict(ratios: Mapping[int, float]) -> bool:
    """Whether it is faster at every width."""
    return all(ratio > 1 for ratio in ratios.values())


def _listed(ratios: Mapping[int, float]) -> str:
    return ", ".join(f"{ratio:.2f} (m = {width:,})" for width, ratio in ratios.items())


def _inference(rows: int) -> str:
    return f"inference width {{width}} rows {rows}"


def _claim_training(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    ratios = _ratios(settings, results, "training width {width}", "grelu")
    tables = {
        w: (r := results[f"training width {w}"])["table"] / median(r["seconds"]["grelu"]) for w in settings["widths"]
    }
    return Claim(
        "[G, Sec. 4.4]",
        "Training a GReLU network takes less time than training a ReLU network of the same size: its gates are known, "
        "and only a quarter of each product is needed.",
        f"The dense ReLU network takes {_listed(ratios)} times as long for a step. The gates are computed once, in the "
        f"time of {number(min(tables.values()), 2)} to {number(max(tables.values()), 2)} steps.",
        _verdict(ratios),
    )


def _claim_skipping(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    rows = max(settings["rows"])
    ratios = _ratios(settings, results, _inference(rows), "relu")
    few = min(settings["rows"])
    single = _ratios(settings, results, _inference(few), "relu")
    training = _ratios(settings, results, "training width {width}", "relu")
    difference = max(results[_inference(rows).format(width=w)]["difference"] for w in settings["widths"])
    same = difference < 1e-4
    return Claim(
        "[G, Sec. 4.4]",
        "Inputs that are off can be skipped in any ReLU network without a prediction and without an error, which saves "
        "time.",
        f"A ReLU network that skips them is {_listed(ratios)} times as fast as a dense one for {rows} samples, and "
        f"{_listed(training)} times for a step of training; outputs differ by {number(difference, 2)} relative"
        f"{', which is rounding' if same else ''}. For {few} sample{'s' if few > 1 else ''} at a time: "
        f"{_listed(single)}.",
        same and _verdict(ratios),
    )


def _claim_lookup(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    rows = max(settings["rows"])
    known = _ratios(settings, results, _inference(rows), "grelu")
    computed = _ratios(settings, results, _inference(rows), "grelu-new")
    few = min(settings["rows"])
    single = _ratios(settings, results, _inference(few), "grelu")
    return Claim(
        "[G, Sec. 4.4]",
        "Inference of a GReLU network is faster than that of a ReLU network where the gates are known.",
        f"{rows} samples, speed relative to the dense ReLU network: {_listed(known)} with gates looked up, and "
        f"{_listed(computed)} where they are computed first, by a network of the same size. For "
        f"{few} sample{'s' if few > 1 else ''} at a time, looked up: {_listed(single)}.",
        _verdict(known),
    )


def _claim_low_rank(settings: Settings, results: Mapping[str, Numbers]) -> Claim:
    rows = max(settings["rows"])
    by_model = {m: _ratios(settings, results, _inference(rows), f"{m}-low-rank") for m in ("relu", "grelu")}
    computed = _ratios(settings, results, _inference(rows), "grelu-new")
    worst = {w: by_model["grelu"][w] / computed[w] for w in settings["widths"]}
    name, widest = settings["data"], max(settings["widths"])
    errors = ", ".join(
        f"{results[f'agreement {name} {model} width {widest}']['error']:.0%} ({label})"
        for model, label in (("relu", "ReLU"), ("grelu", "GReLU"))
    )
    return Claim(
        "[G, Sec. 4.4, Remark 4]",
        "Gates of rank sqrt(m)/2 make inference faster than with exact gates.",
        f"{rows} samples: a GReLU network is {_listed(worst)} times as fast as with exact gates computed first; "
        f"against the dense ReLU network it is {_listed(by_model['grelu'])}, and a ReLU network with predicted gates "
        f"{_listed(by_model['relu'])}. Outputs of new samples are off by {errors} at the largest width.",
        _verdict(worst),
    )


def _claims_agreement(settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
    widths, name = settings["widths"], settings["data"]

    def lowest(model: str) -> dict[int, float]:
        return {w: min(results[f"agreement {name} {model} width {w}"]["agreement"]) for w in widths}

    def listed(values: Mapping[int, float]) -> str:
        return ", ".join(f"{value:.1%} (m = {width:,})" for width, value in values.items())

    first = {w: results[f"agreement isotropic grelu width {w}"]["agreement"][0] for w in widths}
    real = {w: results[f"agreement {name} grelu width {w}"]["agreement"][0] for w in widths}
    estimate = {w: results[f"agreement isotropic grelu width {w}"]["estimate"][0] for w in widths}
    return [
        Claim(
            "[G, Remark 4]",
            "Gates of low rank, fitted on data, agree with the exact ones. (The paper factorises without negative "
            "entries, which cannot represent the weights; here by a singular value decomposition on data.)",
            f"{name}, the layer that agrees least: GReLU {listed(lowest('grelu'))}; ReLU {listed(lowest('relu'))}. "
            "Half would be coin flipping.",
            None,
        ),
        Claim(
            "[G, Remark 4]",
            "How well gates are predicted is a matter of the data: less well for isotropic samples, whose activations "
            "no few directions capture.",
            f"First predicted layer, isotropic samples {listed(first)}, where the captured energy lets expect "
            f"{listed(estimate)}; {name} {listed(real)}.",
            all(first[w] < real[w] for w in widths),
        ),
    ]


# Plots and tables


def _plot_times(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    rows = settings["rows"]
    figure, axes = figures.panels(
        [
            ("Training", f"steps of {settings['batch']} samples"),
            *(("Inference", f"{n} sample{'s' if n > 1 else ''} at a time") for n in rows),
        ],
        [("Width m", "times as fast as a dense ReLU network"), *[("Width m", "")] * len(rows)],
        height=4.0,
    )
    parts = [("training width {width}", TRAINING), *((_inference(n), INFERENCE) for n in rows)]
    for axis, (cell, labels) in zip(axes, parts, strict=True):
        for name, label in labels.items():
            ratios = _ratios(settings, results, cell, name)
            axis.plot(list(ratios), list(ratios.values()), color=COLOURS[name], marker="o", markersize=3, label=label)
        axis.axhline(1, color=style.INK, linestyle=style.DOTTED, linewidth=1)
        _widths(axis, settings["widths"])
        axis.set_ylim(bottom=0)
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=7.5)
    caption = (
        "Speed relative to a dense ReLU network of the same size by width, medians of ratios of the same round; above "
        "the dotted line is faster."
    )
    return Plot("speed-times", caption, figure)


def _plot_agreement(settings: Settings, results: Mapping[str, Numbers]) -> Plot:
    figure, axes = figures.panels(
        [("Gates of low rank", f"{name}, rank √m/2") for name in _compared(settings)],
        [("Width m", "share of gates that agree")] * len(_compared(settings)),
    )
    dashes = (style.SOLID, style.DASHED, style.DOTTED)
    for axis, name in zip(axes, _compared(settings), strict=True):
        for model, label in (("relu", "ReLU"), ("grelu", "GReLU")):
            found = [results[f"agreement {name} {model} width {w}"] for w in settings["widths"]]
            for layer in range(len(found[0]["agreement"])):
                axis.plot(
                    settings["widths"],
                    [r["agreement"][layer] for r in found],
                    color=COLOURS[model],
                    linestyle=dashes[layer % len(dashes)],
                    label=f"{label}, layer {layer + 1}",
                )
        axis.axhline(0.5, color=style.INK, linestyle=style.DOTTED, linewidth=1)
        axis.set_ylim(0.45, 1.0)
        axis.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        _widths(axis, settings["widths"])
    figures.legend(axes[0], ncols=2)
    caption = "Share of gates that low-rank factors predict as they are, by width and layer; dotted: coin flipping."
    return Plot("speed-agreement", caption, figure)


def _widths(axis: Any, widths: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(list(widths)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")


def _tables(settings: Settings, results: Mapping[str, Numbers]) -> list[Table]:
    parts = [("training", "training width {width}", TRAINING)]
    parts += [(f"inference, {n}", _inference(n), INFERENCE) for n in settings["rows"]]
    times = [
        [kind, width, label, median(seconds[name]), speedup(seconds, name)]
        for kind, cell, labels in parts
        for width in settings["widths"]
        for seconds in [results[cell.format(width=width)]["seconds"]]
        for name, label in {"dense": DENSE, **labels}.items()
    ]
    agreement = [
        [name, model, width, r["rank"], layer, *values, r["error"]]
        for name in _compared(settings)
        for model in ("relu", "grelu")
        for width in settings["widths"]
        for r in [results[f"agreement {name} {model} width {width}"]]
        for layer, values in enumerate(zip(r["agreement"], r["estimate"], strict=True), 1)
    ]
    columns = ["data", "network", "width", "rank", "layer", "agreement", "expected of the energy", "output error"]
    return [
        Table(
            "speed-times",
            "Median seconds, and the median ratio of the dense network's time in the same round",
            ["what", "width", "network", "seconds", "times as fast"],
            times,
        ),
        Table(
            "speed-agreement",
            f"Gates of low rank; output errors on samples not fitted, {settings['agreement_samples']} in all",
            columns,
            agreement,
        ),
    ]


EXPERIMENT = Speed()

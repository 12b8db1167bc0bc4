"""Measurements as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from gatentk import ops
from gatentk.bench.case import Case
from gatentk.bench.run import Measurement
from gatentk.extras import imports
from gatentk.ops import cuda
from gatentk.reporting.environment import environment
from gatentk.runs.files import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = "gatentk/bench/1"
STYLES = {"aim": "bold green", "at least": "green", "short": "red", "": ""}


UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


def time_text(*seconds: float) -> str:
    """Times with three digits, one unit for all: "1.23 ms", "1.23 - 4.56 ms"."""
    largest = max(seconds)
    unit, size = next((entry for entry in UNITS if largest >= 0.9995 * entry[1]), UNITS[-1])
    return " - ".join(_three_digits(value / size) for value in seconds) + f" {unit}"


def _three_digits(value: float) -> str:
    if value >= 9.995:
        return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"
    return f"{value:.4f}" if 0 < value < 0.0995 else f"{value:.2f}"


def ratio_text(*ratios: float) -> str:
    """Ratios with three digits: "25.1x", "22.0 - 26.3x"."""
    return " - ".join(map(_three_digits, ratios)) + "x"


def asked_text(case: Case) -> str:
    """What the ratio should be."""
    if case.at_least is None or case.aim is None:
        return "-"
    sign = ">=" if case.better == "higher" else "<="
    return f"{sign} {case.at_least:g}x\naim {case.aim:g}x"


def _description(m: Measurement) -> str:
    variant = f" ({m.peer_name})" if m.peer_name and m.peer_name not in m.case.peer else ""
    variant += f"; {_packages(m)}" if m.versions else ""
    variant += f"; {_missing(m)}" if m.missing else ""
    dtype = str(m.case.dtype).removeprefix("torch.")
    return f"[bold]{m.case.name}[/bold]\n{m.case.ours}\n{m.case.shape} {dtype}\nagainst {m.case.peer}{variant}"


def _packages(m: Measurement) -> str:
    return ", ".join(f"{name} {version}" for name, version in m.versions.items())


def _missing(m: Measurement) -> str:
    return f"{', '.join(m.missing)}, faster where they run, could not be run"


def _times(times: Sequence[float]) -> str:
    return f"{time_text(median(times))}\n{time_text(min(times), max(times))}" if times else "-"


def _peer(m: Measurement) -> str:
    difference = "" if m.difference is None else f"\ndiffers {m.difference:.1e}"
    return _times(m.peer) + difference


def _ratio(m: Measurement) -> str:
    if m.ratio is None:
        return "-"
    direction = "\nours/peer" if m.case.better == "lower" else ""
    return f"{ratio_text(m.ratio)}\n{ratio_text(min(m.ratios), max(m.ratios))}{direction}"


def _rates(m: Measurement) -> str:
    unit = 1e12 if m.case.device == "cuda" else 1e9
    lines = []
    if m.work.dense:
        lines.append(f"{_three_digits(m.dense_rate / unit)} dense")
    if m.work.performed:
        lines.append(f"{_three_digits(m.rate / unit)} done")
        if m.share is not None:
            lines.append(f"{m.share:.0%} of {m.peak / unit:.0f}")
    if m.case.device == "cuda" and m.work.moved:
        lines.append(f"{_three_digits(m.bandwidth / 1e9)} GB/s")
    return "\n".join(lines) or "-"


def table(measurements: Sequence[Measurement]) -> Table:
    """One block of lines a case: medians, then ranges."""
    with imports("cli", "table"):
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

    on_cuda = any(m.case.device == "cuda" for m in measurements)
    result = Table(
        "case",
        "ours\nmin - max",
        "peer\nmin - max",
        "ratio\nmin - max of pairs",
        "asked",
        "TFLOP/s\nGB/s" if on_cuda else "GFLOP/s",
        box=SIMPLE_HEAD,
        show_lines=True,
        caption="Times are medians. Ratio: peer/ours, higher is better, or where it says so ours/peer, lower is "
        "better. FLOP/s: of the dense computation in our time; done by our side; "
        + (
            "GB/s: arguments and results, once. "
            if on_cuda
            else "share of the peak of fused multiply-adds measured beside the case. "
        )
        + "differs: max|ours - peer| / max|peer|.",
        caption_justify="left",
    )
    for m in measurements:
        verdict = Text(_ratio(m), STYLES[m.verdict])
        result.add_row(_description(m), _times(m.ours), _peer(m), verdict, asked_text(m.case), _rates(m))
    return result


def notes(measurements: Sequence[Measurement]) -> list[str]:
    """What a reader has to know, each with the cases it is about."""
    about: dict[str, list[str]] = {}
    for measurement in measurements:
        for note in measurement.notes:
            about.setdefault(note, []).append(measurement.case.name)
    everywhere = len(measurements)
    return [note if len(names) == everywhere else f"{', '.join(names)}: {note}" for note, names in about.items()]


def line(measurement: Measurement) -> str:
    """One line for the log of a long run."""
    ratio = measurement.ratio
    name, ours = measurement.case.name, time_text(median(measurement.ours))
    if ratio is None:
        return f"{name}: {ours}, no peer"
    peer = f"peer {time_text(median(measurement.peer))} by {measurement.peer_name}, {_packages(measurement)}"
    missing = f"; {_missing(measurement)}" if measurement.missing else ""
    return f"{name}: {ours}, {peer}, ratio {ratio_text(ratio)}{missing}"


def _record(m: Measurement) -> dict[str, Any]:
    case, shape = m.case, m.case.shape
    return {
        "name": case.name,
        "family": case.family,
        "ours": case.ours,
        "peer": case.peer,
        "peer_variant": m.peer_name,
        "peer_versions": m.versions,
        "peer_missing": list(m.missing),
        "dtype": str(case.dtype).removeprefix("torch."),
        "shape": {"n": shape.n, "d": shape.d, "width": shape.width, "depth": shape.depth},
        "ours_seconds": list(m.ours),
        "peer_seconds": list(m.peer),
        "ours_median": median(m.ours),
        "peer_median": median(m.peer) if m.peer else None,
        "device": case.device,
        "better": case.better,
        "ratio": m.ratio,
        "ratio_min": min(m.ratios, default=None),
        "ratio_max": max(m.ratios, default=None),
        "at_least": case.at_least,
        "aim": case.aim,
        "verdict": m.verdict or None,
        "difference": m.difference,
        "dense_flop": m.work.dense,
        "performed_flop": m.work.performed,
        "dense_flop_per_second": m.dense_rate,
        "performed_flop_per_second": m.rate,
        "moved_bytes": m.work.moved or None,
        "moved_bytes_per_second": m.bandwidth or None,
        "peak_flop_per_second": m.peak or None,
        "share_of_peak": m.share,
        "notes": list(m.notes),
    }


def document(measurements: Sequence[Measurement], load: float | None = None) -> dict[str, Any]:
    """Everything that was measured, and on what; `load` is the machine's load average before."""
    peaks = {"float32": ops.fma_peak(torch.float32), "float64": ops.fma_peak(torch.float64)}
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "environment": {
            **environment(),
            "cuda": cuda.description(),
            "load_before": load,
            "peak_flop_per_second": peaks,
        },
        "cases": [_record(m) for m in measurements],
    }


def write(path: Path, measurements: Sequence[Measurement], load: float | None = None) -> None:
    """Write the JSON file, whole or not at all."""
    text = json.dumps(document(measurements, load), indent=1, allow_nan=False) + "\n"
    write_atomically(path, text.encode())

"""What [G] says about the time of training and inference, and about gates of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim
from gatentk.papers.speed.cells import BLOCK, AgreementCell, BlockCell, InferenceCell, Settings, Times, TrainingCell
from gatentk.reporting.text import number


def claims(settings: Settings, results: Results) -> list[Claim]:
    """Claims about times, then about gates of low rank."""
    return [
        _claim_training(settings, results),
        _claim_skipping(settings, results),
        _claim_lookup(settings, results),
        _claim_low_rank(settings, results),
        *_claims_agreement(settings, results),
        _claim_blocks(settings, results),
    ]


Cells = Mapping[int, Cell[Settings, Times]]  # by width


def training(settings: Settings) -> dict[int, TrainingCell]:
    """Cells of training, by width."""
    return {width: TrainingCell(width) for width in settings.widths}


def inference(settings: Settings, rows: int) -> dict[int, InferenceCell]:
    """Cells of inference by width, with so many samples at a time."""
    return {width: InferenceCell(width, rows) for width in settings.widths}


def ratios_of(results: Results, cells: Cells, name: str) -> dict[int, float]:
    """Speed-up of a variant over the dense ReLU network by width."""
    return {width: results[cell].speedup(name) for width, cell in cells.items()}


def _verdict(ratios: Mapping[int, float]) -> bool:
    """Whether it is faster at every width."""
    return all(ratio > 1 for ratio in ratios.values())


def _listed(ratios: Mapping[int, float]) -> str:
    return ", ".join(f"{ratio:.2f} (m = {width:,})" for width, ratio in ratios.items())


def _claim_training(settings: Settings, results: Results) -> Claim:
    ratios = ratios_of(results, training(settings), "grelu")
    measured = [results[cell] for cell in training(settings).values()]
    tables = [times.table / median(times.seconds["grelu"]) for times in measured]
    return Claim(
        "[G, Sec. 4.4]",
        "Training a GReLU network takes less time than training a ReLU network of the same size: its gates are known, "
        "and only a quarter of each product is needed.",
        f"The dense ReLU network takes {_listed(ratios)} times as long for a step. The gates are computed once, in the "
        f"time of {number(min(tables), 2)} to {number(max(tables), 2)} steps.",
        _verdict(ratios),
    )


def _claim_skipping(settings: Settings, results: Results) -> Claim:
    rows = max(settings.rows)
    ratios = ratios_of(results, inference(settings, rows), "relu")
    few = min(settings.rows)
    single = ratios_of(results, inference(settings, few), "relu")
    steps = ratios_of(results, training(settings), "relu")
    difference = max(results[cell].difference for cell in inference(settings, rows).values())
    same = difference < 1e-4
    return Claim(
        "[G, Sec. 4.4]",
        "Inputs that are off can be skipped in any ReLU network without a prediction and without an error, which saves "
        "time.",
        f"A ReLU network that skips them is {_listed(ratios)} times as fast as a dense one for {rows} samples, and "
        f"{_listed(steps)} times for a step of training; outputs differ by {number(difference, 2)} relative"
        f"{', which is rounding' if same else ''}. For {few} sample{'s' if few > 1 else ''} at a time: "
        f"{_listed(single)}.",
        same and _verdict(ratios),
    )


def _claim_lookup(settings: Settings, results: Results) -> Claim:
    rows = max(settings.rows)
    known = ratios_of(results, inference(settings, rows), "grelu")
    computed = ratios_of(results, inference(settings, rows), "grelu-new")
    few = min(settings.rows)
    single = ratios_of(results, inference(settings, few), "grelu")
    return Claim(
        "[G, Sec. 4.4]",
        "Inference of a GReLU network is faster than that of a ReLU network where the gates are known.",
        f"{rows} samples, speed relative to the dense ReLU network: {_listed(known)} with gates looked up, and "
        f"{_listed(computed)} where they are computed first, by a network of the same size. For {few} "
        f"sample{'s' if few > 1 else ''} at a time, looked up: {_listed(single)}.",
        _verdict(known),
    )


def _claim_low_rank(settings: Settings, results: Results) -> Claim:
    rows = max(settings.rows)
    by_model = {m: ratios_of(results, inference(settings, rows), f"{m}-low-rank") for m in ("relu", "grelu")}
    computed = ratios_of(results, inference(settings, rows), "grelu-new")
    worst = {w: by_model["grelu"][w] / computed[w] for w in settings.widths}
    name, widest = settings.data, max(settings.widths)
    errors = ", ".join(
        f"{results[AgreementCell(name, model, widest)].error:.0%} ({label})"
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


def _claim_blocks(settings: Settings, results: Results) -> Claim:
    times = {width: results[BlockCell(width, min(BLOCK, width))] for width in settings.widths}
    many, few = max(settings.rows), min(settings.rows)
    steps = {width: found.training.speedup("blocks") for width, found in times.items()}
    computed = {n: {w: found.inference[n].speedup("blocks-new") for w, found in times.items()} for n in (many, few)}
    known = {width: found.inference[many].speedup("blocks") for width, found in times.items()}
    return Claim(
        "new",
        f"Where {BLOCK} neurons share a gate, training and inference of samples never seen are faster than those of a "
        "dense ReLU network.",
        f"Shallow gates: a step is {_listed(steps)} times as fast; {many} samples {_listed(computed[many])} with gates "
        f"computed, {_listed(known)} with gates looked up; {few} at a time, computed, {_listed(computed[few])}.",
        _verdict(steps) and _verdict(computed[many]),
    )


def _claims_agreement(settings: Settings, results: Results) -> list[Claim]:
    widths, name = settings.widths, settings.data

    def lowest(model: str) -> dict[int, float]:
        return {w: min(results[AgreementCell(name, model, w)].agreement) for w in widths}

    def listed(values: Mapping[int, float]) -> str:
        return ", ".join(f"{value:.1%} (m = {width:,})" for width, value in values.items())

    first = {w: results[AgreementCell("isotropic", "grelu", w)].agreement[0] for w in widths}
    real = {w: results[AgreementCell(name, "grelu", w)].agreement[0] for w in widths}
    estimate = {w: results[AgreementCell("isotropic", "grelu", w)].estimate[0] for w in widths}
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

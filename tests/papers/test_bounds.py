"""The theorems on tiny instances, the formulas of Table 1, and claims that follow the numbers."""

import copy
import math

import pytest
import torch

from gatentk import ntk
from gatentk.papers import bounds
from gatentk.papers.experiment import Scale, run
from gatentk.reporting.figures import render

EXPERIMENT = bounds.EXPERIMENT
SMALL = EXPERIMENT.settings(Scale()) | {
    "table": {"samples": [10, 50], "depth": 4, "eps": 1e-6, "failure": 0.1},
    "training": {
        "samples": 6,
        "depths": [2, 3],
        "widths": [64, 256, 1024],
        "iteration_samples": [4, 6],
        "seeds": 3,
        "targets": [1e-2, 1e-4, 1e-6],
        "steps": 500,
    },
    "step": {"samples": 5, "width": 40, "depth": 2, "factors": [0.25, 0.125, 0.0625], "seeds": 1},
    "literal": {"samples": [4, 6], "depth": 2, "steps": 60, "seeds": 1, "factors": [1, 8]},
    "spectra": {"samples": 4, "outputs": 3, "measured": 2, "depth": 2, "widths": [16, 512], "seeds": 1},
    "gates": {"samples": 6, "width": 1024, "depth": 20, "seeds": 2},
    "decay": {"depth": 60},
    "kernels": {
        "data": [["gaussian", 20, 400], ["gaussian", 20, 40], ["digits", 40, None]],
        "depths": [1, 2, 5, 10],
    },
    "norms": {"inputs": 10, "width": 64, "depths": [1, 2], "norm": 2.0, "seeds": 30},
}


@pytest.fixture(scope="module")
def results():
    return {cell.key: numbers for cell, numbers in run(EXPERIMENT, SMALL, {})}


def claims(results):
    """Verdicts by the start of the statement."""
    found = EXPERIMENT.findings(SMALL, results).claims
    return {f"{claim.source} {claim.statement}": claim.agrees for claim in found}


def verdict(results, start):
    (found,) = [agrees for text, agrees in claims(results).items() if text.startswith(start)]
    return found


THEOREMS = [
    "[G, Table 1]",
    "[G, Thm 1] At width n^2 L",
    "[S; G, Thm 1] The loss falls",
    "[G, Thm 1, Table 1] The time to reach a loss",
    "[G, Lemmas 1-3, Eq. 9-10]",
    "[G, Eq. 5]",
    "[G, Cor. 4, Thm 3 corrected]",
    "[G, Thm 3]",
    "[G, Thm 5]",
    "[G, Lemma 4] corrected",
    "[S, Prop. 2.2]",
    "[S, Thm 3.1, 4.4] corrected",
    "[S, Thm 4.5] corrected",
    "[S, Thm 5.1] At depth 1",
    "[S, Thm 5.2] For two",
]
REFUTED = [
    "[G, Lemma 4] Two samples",
    "[G, Thm 6]",
    "[S, Thm 3.1, 4.4] as printed",
    "[S, Thm 5.1] for all weights",
    "[S, Thm 5.2] for more samples",
]


@pytest.mark.parametrize("start", THEOREMS)
def test_statements_that_hold(results, start):
    assert verdict(results, start) is True


@pytest.mark.parametrize("start", REFUTED)
def test_statements_that_do_not_survive_a_check_are_shown_as_such(results, start):
    assert verdict(results, start) is False


def test_every_claim_is_one_of_these_or_left_open(results):
    others = [text for text in claims(results) if not text.startswith((*THEOREMS, *REFUTED))]
    assert len(others) == 2  # the literal step, whose outcome depends on n, and the time as a function of n
    assert claims(results)[next(text for text in others if "logarithmic in n" in text)] is None


# The numbers, against oracles


def test_table_1_as_printed():
    n, depth, d_x, d_y, eps, smallest, failure = 7, 3, 14, 2, 1e-3, 0.25, 0.05
    found = bounds.logarithms(n, depth, d_x, d_y, eps, smallest, failure)
    accuracy = math.log(1 / eps)
    width = {
        "du": n**6 / (smallest**4 * failure**3),
        "zou2018": n**26 * depth**38,
        "allen-zhu": n**24 * depth**12,
        "zou2019": n**8 * depth**12,
        "g": n**2 * depth,
    }
    step = {
        "du": smallest / n**2,
        "zou2018": 1 / (n**29 * depth**47),
        "allen-zhu": 1 / (n**28 * depth**14 * math.log(width["allen-zhu"]) ** 5),
        "zou2019": 1 / (n**8 * depth**14),
        "g": d_x / (n**4 * depth**3 * d_y),
    }
    iterations = {
        "du": accuracy / (step["du"] * smallest),
        "zou2018": n**8 * depth**9,
        "allen-zhu": n**6 * depth**2 * accuracy,
        "zou2019": n**2 * depth**2 * accuracy,
        "g": math.log(n**3 * depth / (d_x * eps)),
    }
    for name, values in (("width", width), ("iterations", iterations), ("step", step)):
        for work, value in values.items():
            assert found[name][work] == pytest.approx(math.log10(value), rel=1e-12), (name, work)


def test_the_power_of_a_power_law_is_found():
    x = [2.0, 4.0, 16.0]
    assert bounds._slope(x, [3 * v**-1.5 for v in x]) == pytest.approx(-1.5)


def test_shared_neurons_are_those_of_the_angle(results):
    for seed in range(SMALL["gates"]["seeds"]):
        found = results[f"gates seed {seed}"]
        assert found["mean"] == pytest.approx(found["expected"], abs=0.06)
        assert found["expected"] == sorted(found["expected"])
        assert all(low <= high <= 0.6 for low, high in zip(found["mean"], found["largest"], strict=True))
    assert results["gates seed 0"]["expected"][0] == pytest.approx(0.25, abs=0.03)  # almost orthogonal samples


def test_the_product_is_what_the_kernel_falls_with(results):
    x = torch.eye(2, dtype=torch.float64)
    first = math.cos(float(ntk.embedding_angles(x, 1)[0, 1]))
    for depth in (1, 5, 20):
        kernel = float(ntk.infinite(x, depth=depth, activation="grelu")[0, 1])
        assert kernel == pytest.approx(depth * first * results["decay"]["product"][depth - 1], rel=1e-12)


def test_two_samples_have_the_condition_number_of_their_angle(results):
    for degrees in (1.0, 10.0):
        t = math.radians(degrees)
        x = torch.tensor([[1.0, 0.0], [math.cos(t), math.sin(t)]], dtype=torch.float64)
        for depth, value in zip(
            SMALL["pair"]["depths"], results[f"pair {degrees:g} degrees"]["condition"], strict=True
        ):
            values = torch.linalg.eigvalsh(ntk.infinite(x, depth=depth))
            assert value == pytest.approx(float(values[-1] / values[0]), rel=1e-8)


def test_known_condition_numbers(results):
    far = results["kernels gaussian 20 x 400"]
    assert far["component"]["condition"] < far["gram"]["condition"] < 3
    assert 5 < far["depth 1"]["condition"] < 8
    near = results["kernels gaussian 20 x 40"]
    assert [near[f"depth {d}"]["condition"] for d in (1, 2, 5)] == sorted(
        near[f"depth {d}"]["condition"] for d in (1, 2, 5)
    )


def test_the_pair_bound_holds_with_equality_for_two_samples_of_one_norm():
    part = {"depths": [1, 3]}
    cell = {"data": "gaussian", "n": 2, "d": 3}
    for kernel in bounds._compute_kernels(part, cell).values():
        assert kernel["pair_bound"] >= kernel["lmin"] * (1 - 1e-12)


def test_training_is_repeated_bit_for_bit(results):
    cell = next(c for c in EXPERIMENT.cells(SMALL) if c.arguments["kind"] == "training")
    assert EXPERIMENT.compute(SMALL, cell) == results[cell.key]


# Claims follow the numbers


def altered(results, prefix, **values):
    changed = copy.deepcopy(results)
    for key in changed:
        if key.startswith(prefix):
            changed[key] |= values
    return changed


@pytest.mark.parametrize(
    ("start", "prefix", "values"),
    [
        ("[G, Table 1]", "table n 50", {"width": dict.fromkeys(bounds.WORKS, 1.0) | {"g": 2.0}}),
        ("[G, Thm 1] At width", "training n 6 depth 3 width 108 seed 1", {"converged": False}),
        ("[S; G, Thm 1]", "training n 6 depth 3 width 64 seed 0", {"worst_rate": 1.5}),
        ("[G, Thm 1, Table 1] The time to reach", "training n 4", {"iterations": [1, 2, 900]}),
        ("[G, Lemmas", "step", {"remainders": [0.2, 0.1, 0.05]}),
        ("[G, Lemmas", "step", {"identity": 1e-3}),
        ("[G, Eq. 5]", "training", {"tau": 1.0}),
        ("[G, Cor. 4", "training", {"drift": 0.1}),
        ("[G, Cor. 4", "training n 6 depth 2 width 1024", {"drift": 1e3}),
        ("[G, Thm 3]", "training", {"linearised": 0.1}),
        ("[G, Thm 5]", "spectra width 512", {"G": [[0.01, 1.0]]}),
        ("[G, Thm 5]", "spectra width 512", {"F": [[1.0, 7.0]]}),
        ("[G, Lemma 4] corrected", "gates", {"mean": [0.2] * 21}),
        ("[S, Thm 3.1, 4.4] corrected", "norms relu depth 2", {"mean": 10.0, "error": 0.1}),
        ("[S, Thm 5.2] For two", "pair 1 degrees", {"condition": [9.0, 8.0, 7.0, 7.5, 5.0, 4.0, 3.0]}),
        ("[S, Thm 4.5]", "pair 0.01 degrees", {"gap": [1e-8] * 7}),
    ],
)
def test_claims_turn_false_with_the_numbers(results, start, prefix, values):
    assert verdict(altered(results, prefix, **values), start) is False


@pytest.mark.parametrize(
    ("start", "prefix", "values"),
    [
        ("[G, Lemma 4] Two samples", "gates", {"mean": [0.3] * 21, "largest": [0.33] * 21}),
        ("[G, Thm 6]", "decay", {"product": [0.5**k for k in range(1, 61)]}),
        ("[S, Thm 3.1, 4.4] as printed", "norms", {"mean": 5.0, "error": 10.0}),
    ],
)
def test_refuted_claims_turn_true_with_the_numbers(results, start, prefix, values):
    assert verdict(altered(results, prefix, **values), start) is True


@pytest.mark.parametrize(
    ("start", "kernel", "condition", "agrees"),
    [
        ("[S, Thm 5.1] At depth 1", "component", 1e6, False),
        ("[S, Thm 5.1] for all weights", "depth 1", 1.0, True),
    ],
)
def test_claims_about_condition_numbers_follow_them(results, start, kernel, condition, agrees):
    changed = copy.deepcopy(results)
    for key, numbers in changed.items():
        if key.startswith("kernels"):
            numbers[kernel]["condition"] = condition
    assert verdict(changed, start) is agrees


def test_the_pair_bound_follows_the_numbers(results):
    changed = copy.deepcopy(results)
    changed["kernels digits 40"]["depth 2"]["pair_bound"] *= 1e-3
    assert verdict(changed, "[S, Prop. 2.2]") is False


def test_falling_condition_numbers_would_be_said(results):
    changed = copy.deepcopy(results)
    for key, numbers in changed.items():
        if key.startswith("kernels"):
            for depth in SMALL["kernels"]["depths"]:
                numbers[f"depth {depth}"]["condition"] = 100.0 / depth
    assert verdict(changed, "[S, Thm 5.2] for more samples") is True


@pytest.mark.parametrize("fell", [True, False])
def test_the_literal_step_is_judged_by_what_it_does(results, fell):
    changed = altered(results, "literal", fell=fell, product_at_end=1.0)
    assert verdict(changed, "[G, Thm 1] The step") is fell


def test_unresolved_kernels_are_left_out(results):
    changed = copy.deepcopy(results)
    for numbers in changed["kernels digits 40"].values():
        numbers["condition"] = None
    assert verdict(changed, "[S, Thm 5.1] At depth 1") is True


def test_a_training_that_does_not_converge_is_shown(results):
    changed = altered(results, "training n 6 depth 3 width 108", converged=False, iterations=[5, None, None])
    findings = EXPERIMENT.findings(SMALL, changed)
    assert len(findings.plots) == 5
    assert sum(row[5] is None for row in findings.tables[2].rows) == SMALL["training"]["seeds"]


def test_bounds_by_depth_and_by_loss(results):
    (table,) = [t for t in EXPERIMENT.findings(SMALL, results).tables if t.name == "bounds-others"]
    rows = {(by, value, work): found for by, value, work, *found in table.rows}
    n = 50
    for depth in (2, 100):
        assert rows["depth", depth, "Zou et al. 2018"][0] == pytest.approx(math.log10(n**26 * float(depth) ** 38))
        assert rows["depth", depth, "[G], GReLU"][0] == pytest.approx(math.log10(n**2 * depth))
    steps = [10 ** rows["eps", eps, "[G], GReLU"][1] for eps in (1e-2, 1e-4, 1e-6)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0])  # logarithmic in 1/eps


def test_a_single_pair_can_refute_lemma_4(results):
    changed = altered(results, "gates", mean=[0.3] * 21, largest=[0.33] * 20 + [0.34])
    assert verdict(changed, "[G, Lemma 4] Two samples") is False


def test_figures_and_tables(results):
    findings = EXPERIMENT.findings(SMALL, results)
    for plot in findings.plots:
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_full_scale_is_larger():
    small, full = (EXPERIMENT.settings(Scale(full=full)) for full in (False, True))
    assert EXPERIMENT.needs(full)[0] > EXPERIMENT.needs(small)[0]
    assert EXPERIMENT.needs(full)[1] > EXPERIMENT.needs(small)[1]
    assert max(full["training"]["iteration_samples"]) > max(small["training"]["iteration_samples"])

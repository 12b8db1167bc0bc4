"""The formulas of Table 1 as printed, and what is shown of them."""

import math

import pytest
import torch
from cases.theorems import SMALL, altered, verdict

from gatentk import ntk
from gatentk.papers.bounds import EXPERIMENT, convergence, table1
from gatentk.papers.bounds.problem import ackley
from gatentk.papers.frame.experiment import Results


def test_table_1_as_printed():
    n, depth, d_x, d_y, eps, smallest, failure = 7, 3, 14, 2, 1e-3, 0.25, 0.05
    found = table1.bounds(n, depth, d_x, d_y, eps, smallest, failure)
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
    for values, logarithms in zip((width, iterations, step), found.columns(), strict=True):
        assert values.keys() == logarithms.keys() == table1.WORKS.keys()
        for work, value in values.items():
            assert logarithms[work] == pytest.approx(math.log10(value), rel=1e-12), work


def test_du_takes_the_smallest_eigenvalue_of_the_limiting_kernel(results):
    x, _ = ackley(10)
    smallest = float(torch.linalg.eigvalsh(ntk.infinite(x, depth=1, components=True)[0])[0])
    numbers = results[table1.Row(10)]
    assert numbers.lambda_0 == pytest.approx(smallest)
    assert 10 ** numbers.step["du"] == pytest.approx(smallest / 100)


def test_bounds_by_depth_and_by_loss(results):
    table = table1.table_by_depth_and_loss(SMALL, results)
    rows = {(by, value, work): found for by, value, work, *found in table.rows}
    n = 50
    for depth in (2, 100):
        assert rows["depth", depth, "Zou et al. 2018"][0] == pytest.approx(math.log10(n**26 * float(depth) ** 38))
        assert rows["depth", depth, "[G], GReLU"][0] == pytest.approx(math.log10(n**2 * depth))
    steps = [10 ** rows["eps", eps, "[G], GReLU"][1] for eps in (1e-2, 1e-4, 1e-6)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0])  # logarithmic in 1/eps


def test_another_work_with_a_smaller_width_is_noticed(numbers):
    width = dict.fromkeys(table1.WORKS, 1.0) | {"g": 2.0}
    assert verdict(altered(numbers, "table n 50", width=width), "[G, Table 1]") is False


def test_a_training_that_does_not_converge_is_shown(numbers):
    changed = Results(altered(numbers, "training n 6 depth 3 width 108", converged=False, iterations=[5, None, None]))
    assert len(EXPERIMENT.findings(SMALL, changed).draw()) == 5
    (width, *_) = table1.plot_by_samples(SMALL, changed).figure.axes
    (dots,) = [line for line in width.lines if line.get_label().startswith("measured")]
    assert list(dots.get_xdata()) == [4]
    table = convergence.table(SMALL, changed)
    assert sum(row[5] is None for row in table.rows) == SMALL.training.seeds

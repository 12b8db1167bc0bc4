"""Claims about convergence follow the trainings."""

import math

import pytest
from cases.theorems import SMALL, altered, verdict, verdicts

from gatentk.papers.bounds import convergence, training
from gatentk.papers.bounds.convergence import LiteralStep
from gatentk.papers.bounds.distance import tau_order


@pytest.mark.parametrize(
    ("start", "cells", "values"),
    [
        ("[G, Thm 1] At width", "training n 6 depth 3 width 108 seed 1", {"converged": False}),
        ("[S; G, Thm 1]", "training n 6 depth 3 width 32 seed 0", {"worst_rate": 1.5}),
        ("[G, Thm 1, Table 1] The time to reach", "training n 4", {"iterations": [1, 2, 900]}),
    ],
)
def test_claims_turn_false_with_the_numbers(numbers, start, cells, values):
    assert verdict(altered(numbers, cells, **values), start) is False


def test_no_time_is_claimed_where_a_training_did_not_converge(numbers):
    changed = altered(numbers, "training n 6 depth 3 width 108", converged=False, iterations=[5, None, None])
    assert not any(text.startswith("[G, Thm 1, Table 1]") for text in verdicts(changed))


@pytest.mark.parametrize("fell", [True, False])
def test_the_literal_step_is_judged_by_what_it_does(numbers, fell):
    changed = altered(numbers, "literal", fell=fell, product_at_end=1.0)
    assert verdict(changed, "[G, Thm 1] The step") is fell


def test_the_literal_width_and_step(results):
    one, eight = (results[LiteralStep(6, factor, 0)] for factor in SMALL.literal.factors)
    assert one.width == 72
    assert one.step == pytest.approx(12 / (6**4 * 2**3))
    assert eight.step == 8 * one.step
    assert eight.product == pytest.approx(8 * one.product)
    assert one.fell == (one.loss is not None) == (one.product_at_end is not None)


def test_the_table_holds_every_training(results):
    table = convergence.table(SMALL, results)
    assert len(table.rows) == len(list(training.cells(SMALL)))
    row = dict(zip(table.columns, table.rows[0], strict=True))
    run = results[training.Training(6, 2, 32, 0)]
    assert row["condition"] == run.lmax / run.lmin
    assert row["order of tau"] == tau_order(6, 2, 32) == pytest.approx(math.sqrt(6 / 32) / 2)

"""What the papers state holds on tiny instances or is shown not to, and all of it is drawn."""

import pytest
from cases.theorems import SMALL, verdict, verdicts

from gatentk.papers.bounds import EXPERIMENT
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

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
def test_statements_that_hold(numbers, start):
    assert verdict(numbers, start) is True


@pytest.mark.parametrize("start", REFUTED)
def test_statements_that_do_not_survive_a_check_are_shown_as_such(numbers, start):
    assert verdict(numbers, start) is False


def test_every_claim_is_one_of_these_or_left_open(numbers):
    found = verdicts(numbers)
    others = [text for text in found if not text.startswith((*THEOREMS, *REFUTED))]
    assert len(others) == 2  # the literal step, whose outcome depends on n, and the time as a function of n
    assert found[next(text for text in others if "logarithmic in n" in text)] is None


def test_figures_and_tables(results):
    findings = EXPERIMENT.findings(SMALL, results)
    assert len(findings.draw()) == 5
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_full_scale_needs_more():
    small, full = (EXPERIMENT.settings(Scale(full=full)) for full in (False, True))
    assert EXPERIMENT.needs(full)[0] > EXPERIMENT.needs(small)[0]
    assert EXPERIMENT.needs(full)[1] > EXPERIMENT.needs(small)[1]


def test_memory_is_that_of_the_widest_network():
    weights = 8 * 3 * 128**2
    assert EXPERIMENT.needs(SMALL)[0] == 7 * weights

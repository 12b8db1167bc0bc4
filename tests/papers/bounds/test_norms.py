"""Claims about the norm of the gradient follow the numbers."""

from cases.theorems import altered, verdict


def test_the_corrected_formula_turns_false_with_the_numbers(numbers):
    changed = altered(numbers, "norms relu depth 2", mean=10.0, error=0.1)
    assert verdict(changed, "[S, Thm 3.1, 4.4] corrected") is False


def test_the_printed_formula_turns_true_with_the_numbers(numbers):
    changed = altered(numbers, "norms", mean=5.0, error=10.0)
    assert verdict(changed, "[S, Thm 3.1, 4.4] as printed") is True

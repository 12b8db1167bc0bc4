"""The claim about single steps follows the numbers."""

import pytest
from cases.theorems import altered, verdict


@pytest.mark.parametrize("values", [{"remainders": [0.2, 0.1, 0.05]}, {"identity": 1e-3}])
def test_the_claim_turns_false_with_the_numbers(numbers, values):
    assert verdict(altered(numbers, "step", **values), "[G, Lemmas") is False

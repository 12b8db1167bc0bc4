"""Spans of eigenvalues against full decompositions, and a claim that follows them."""

import pytest
import torch
from cases.theorems import altered, verdict

from gatentk.papers.bounds.eigenvalues import Spans
from gatentk.papers.bounds.problem import ackley, network


@pytest.mark.parametrize("values", [{"G": [[0.01, 1.0]]}, {"F": [[1.0, 7.0]]}])
def test_the_claim_turns_false_with_the_numbers(numbers, values):
    assert verdict(altered(numbers, "spectra width 512", **values), "[G, Thm 5]") is False


def test_spans_are_those_of_the_products_in_units_of_the_width(results):
    x, _ = ackley(4)
    net = network(4, 16, 2, 0, outputs=3)
    first, last = (net.gate_table(x[:2]).to_bool()[k].double() for k in (0, -1))
    G = [net.input_weight * mask.unsqueeze(1) for mask in first]
    F = [net.output_weight * mask for mask in last]
    found = results[Spans(16, 0)]
    for pair, products, unit in (
        (found.G[0], [M.T @ M for M in G], 16 / 8),
        (found.F[-1], [M @ M.T for M in F], 16 / 3),
    ):
        values = torch.stack([torch.linalg.eigvalsh(product) for product in products]) / unit
        assert pair == pytest.approx([max(0.0, float(values.min())), float(values.max())], abs=1e-12)

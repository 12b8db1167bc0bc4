"""Shares of neurons and their products against closed forms, and claims that follow them."""

import math

import pytest
import torch
from cases.theorems import SMALL, altered, verdict

from gatentk import ntk
from gatentk.papers.bounds.gate_overlap import Decay, Overlap


def test_shared_neurons_are_those_of_the_angle(results):
    for seed in range(SMALL.gates.seeds):
        found = results[Overlap(seed)]
        assert found.mean == pytest.approx(found.expected, abs=0.06)
        assert found.expected == sorted(found.expected)
        assert all(low <= high <= 0.6 for low, high in zip(found.mean, found.largest, strict=True))
    assert results[Overlap(0)].expected[0] == pytest.approx(0.25, abs=0.03)  # almost orthogonal samples


def test_the_product_is_what_the_kernel_falls_with(results):
    x = torch.eye(2, dtype=torch.float64)
    first = math.cos(float(ntk.embedding_angles(x, 1)[0, 1]))
    for depth in (1, 5, 20):
        kernel = float(ntk.infinite(x, depth=depth, activation="grelu")[0, 1])
        assert kernel == pytest.approx(depth * first * results[Decay()].product[depth - 1], rel=1e-12)


def test_the_corrected_lemma_turns_false_with_the_numbers(numbers):
    assert verdict(altered(numbers, "gates", mean=[0.2] * 21), "[G, Lemma 4] corrected") is False


@pytest.mark.parametrize(
    ("start", "cells", "values"),
    [
        ("[G, Lemma 4] Two samples", "gates", {"mean": [0.3] * 21, "largest": [0.33] * 21}),
        ("[G, Thm 6]", "decay", {"product": [0.5**k for k in range(1, 61)]}),
    ],
)
def test_refuted_claims_turn_true_with_the_numbers(numbers, start, cells, values):
    assert verdict(altered(numbers, cells, **values), start) is True


def test_a_single_pair_can_refute_lemma_4(numbers):
    changed = altered(numbers, "gates", mean=[0.3] * 21, largest=[0.33] * 20 + [0.34])
    assert verdict(changed, "[G, Lemma 4] Two samples") is False

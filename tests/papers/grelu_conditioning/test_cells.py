"""Kernels of the two kinds of network: samples, and numbers that must come out on digits."""

import pytest
import torch

from gatentk import ntk
from gatentk.papers.grelu_conditioning.cells import unit_rows


def test_condition_numbers_are_those_of_all_eigenvalues(results):
    x, _ = unit_rows("digits", 150, 0)
    for activation in ("relu", "grelu"):
        values = torch.linalg.eigvalsh(ntk.infinite(x, depth=2, activation=activation))
        assert results[f"digits {activation} depth 2"]["condition"] == pytest.approx(float(values[-1] / values[0]))


def test_close_samples_are_told_apart_better_with_depth(settings, results):
    for activation in ("relu", "grelu"):
        angles = [results[f"digits {activation} depth {depth}"]["min_angle"] for depth in settings["depths"]]
        assert angles == sorted(angles)


def test_unit_rows_are_unit_rows_without_repetitions():
    x, targets = unit_rows("digits", 150, 0)
    assert torch.allclose(x.norm(dim=1), torch.ones(len(x), dtype=torch.float64))
    assert len(torch.unique(x, dim=0)) == len(x)
    assert targets.shape == (len(x), 10)
    assert float(targets.square().mean()) == pytest.approx(1)
    assert torch.allclose(targets.mean(dim=0), torch.zeros(10, dtype=torch.float64), atol=1e-12)

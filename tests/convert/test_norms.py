import pytest
import torch

from gatentk.convert.norms import frobenius_norm, ratio


@pytest.mark.parametrize("scale", [1.0, 2.0**100, 2.0**-100])
def test_squares_neither_overflow_nor_vanish(scale):
    matrix = scale * torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    assert frobenius_norm(matrix) == pytest.approx(5 * scale, rel=1e-12)


def test_zeros_have_norm_zero_and_errors_beside_zeros_are_themselves():
    assert frobenius_norm(torch.zeros(2, 3)) == 0
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) == 3.0

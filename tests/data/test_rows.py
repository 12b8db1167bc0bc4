"""Which rows are new, against a comparison of all pairs."""

import torch

from gatentk.data.rows import first_occurrences


def test_rows_that_equal_no_earlier_row(generator):
    x = torch.randint(0, 2, (40, 4), generator=generator).double()
    expected = [i for i in range(40) if not any(torch.equal(x[i], x[j]) for j in range(i))]
    assert first_occurrences(x).tolist() == expected
    assert len(expected) == len(torch.unique(x, dim=0)) < 40


def test_zeros_of_both_signs_are_equal_and_almost_equal_rows_are_not():
    x = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1e-300, 1.0]], dtype=torch.float64)
    assert first_occurrences(x).tolist() == [0, 2]

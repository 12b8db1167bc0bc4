"""Which rows are new, against a comparison of all pairs."""

import torch

from gatentk.data.rows import first_occurrences, split_rows


def test_rows_that_equal_no_earlier_row(generator):
    x = torch.randint(0, 2, (40, 4), generator=generator).double()
    expected = [i for i in range(40) if not any(torch.equal(x[i], x[j]) for j in range(i))]
    assert first_occurrences(x).tolist() == expected
    assert len(expected) == len(torch.unique(x, dim=0)) < 40


def test_zeros_of_both_signs_are_equal_and_almost_equal_rows_are_not():
    x = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1e-300, 1.0]], dtype=torch.float64)
    assert first_occurrences(x).tolist() == [0, 2]


def test_rows_are_split_once_and_in_their_order():
    train, test = split_rows(20, 5, seed=1)
    assert sorted(train.tolist() + test.tolist()) == list(range(20))
    assert (train.tolist(), test.tolist()) == (sorted(train.tolist()), sorted(test.tolist()))
    assert len(test) == 5
    assert split_rows(20, 5, seed=2)[1].tolist() != test.tolist()
    assert len(split_rows(3, 0, seed=0)[1]) == 0

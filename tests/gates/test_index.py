"""Samples by index, as numpy picks them."""

import re

import numpy as np
import pytest
import torch
from cases.tables import random_mask, random_table, same
from hypothesis import given
from hypothesis import strategies as st


@given(
    n=st.integers(0, 40),
    data=st.data(),
    kind=st.sampled_from(["list", "array", "tensor", "int32", "bools", "bool list", "slice", "range"]),
)
def test_indexing_picks_samples_as_numpy_does(n, data, kind):
    mask, table = random_mask(2, n, 130), random_table(2, n)
    if "bool" in kind:
        index = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
        expected = mask[:, torch.tensor(index, dtype=torch.bool)]
        index = torch.tensor(index, dtype=torch.bool) if kind == "bools" else index
    elif kind == "slice":
        bound = st.none() | st.integers(-50, 50)
        index = slice(data.draw(bound), data.draw(bound), data.draw(st.none() | st.integers(-3, 3).filter(bool)))
        expected = torch.from_numpy(mask.numpy()[:, index].copy())
    elif kind == "range":
        index = range(data.draw(st.integers(0, n)), n, 2)
        expected = mask[:, list(index)]
    else:
        index = data.draw(st.lists(st.integers(-n, n - 1), max_size=60)) if n else []
        expected = mask[:, torch.tensor(index, dtype=torch.long)]
        make = {"list": list, "array": lambda i: np.array(i, np.int16), "tensor": torch.tensor}
        dtype = {"int32": torch.int32, "tensor": torch.long}.get(kind)
        index = make[kind](index) if dtype is None else torch.tensor(index, dtype=dtype)
    picked = table[index]
    assert torch.equal(picked.to_bool(), expected)
    assert picked.fingerprint == table.fingerprint
    assert picked.bits.is_contiguous()
    assert picked.bits.data_ptr() % 64 == 0


@pytest.mark.parametrize(
    "index", [3, -8, np.int64(3), torch.tensor(3), np.array(3), torch.tensor(3, dtype=torch.uint8)]
)
def test_one_index_gives_a_table_of_one_sample(index):
    assert same(random_table()[index], random_table()[[3]])


def test_samples_are_copies():
    table = random_table(layers=1)
    for picked in (table[:], table[2:4], table[[1]]):
        before = table.bits.clone()
        picked.bits.zero_()
        assert torch.equal(table.bits, before)


def test_iterating_visits_each_sample_once():
    table = random_table(2, 4)
    samples = list(table)
    assert len(samples) == 4
    assert torch.equal(torch.cat([sample.bits for sample in samples], 1), table.bits)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (11, IndexError, "index 11 is out of range for a table of n = 11 samples"),
        (-12, IndexError, "index -12 is out of range"),
        (1 << 70, IndexError, f"index {1 << 70} is out of range"),
        ([0, 5, 99, 3], IndexError, "index 99 is out of range for a table of n = 11"),
        (torch.tensor([0, -20]), IndexError, "index -20 is out of range"),
        (np.array([11], np.uint8), IndexError, "index 11 is out of range"),
        ([True, False], IndexError, "expected n = 11 bools"),
        (torch.ones(12, dtype=torch.bool), IndexError, "expected n = 11 bools"),
        (torch.tensor(True), IndexError, "expected n = 11 bools"),
        (torch.zeros(2, 2, dtype=torch.long), IndexError, "expected one dimension"),
        ([[0], [1]], IndexError, "expected one dimension"),
        ([[0], [1, 2]], ValueError, "index[1]: expected shape (1,) as index[0]"),
        (np.array([1], np.uint64), TypeError, "expected integers, bools or a slice"),
        (torch.tensor([1], dtype=torch.uint64), TypeError, "expected integers, bools or a slice"),
        (1.0, TypeError, "expected integers, bools or a slice, got float"),
        ([0.5], TypeError, "expected integers"),
        (torch.tensor([1.0]), TypeError, "expected integers"),
        (True, TypeError, "expected integers"),
        ((0, 1), TypeError, "expected integers"),
        ("0", TypeError, "expected integers"),
        (None, TypeError, "expected integers"),
        (Ellipsis, TypeError, "expected integers"),
    ],
)
def test_bad_indices(index, error, message):
    with pytest.raises(error, match=re.escape(message)):
        random_table()[index]

"""Samples with their numbers, in a DataLoader."""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from gatentk.gates import NumberedSamples
from gatentk.nn import GReLUNetwork


@pytest.fixture
def x(generator):
    return torch.randn(11, 3, generator=generator)


@pytest.mark.parametrize("workers", [0, 2])
def test_default_batches_find_their_gates(x, generator, workers):
    net, y = GReLUNetwork(3, 20, 2, generator=generator), torch.arange(11)
    table = net.gate_table(x)
    seen = []
    samples = NumberedSamples(x, y)
    for i, rows, labels in DataLoader(samples, batch_size=4, shuffle=True, num_workers=workers, generator=generator):
        assert torch.equal(i, labels)
        assert torch.equal(rows, x[i])
        assert torch.equal(net(rows, gates=table[i]), net(rows))
        seen += i.tolist()
    assert sorted(seen) == list(range(11))


def test_batches_by_one_index(x, generator):
    samples = NumberedSamples(x.numpy(), np.arange(11))
    sampler = BatchSampler(RandomSampler(samples, generator=generator), 4, drop_last=False)
    batches = list(DataLoader(samples, sampler=sampler, batch_size=None, generator=generator))
    assert [len(i) for i, _, _ in batches] == [4, 4, 3]
    for i, rows, labels in batches:
        assert torch.equal(rows, x[i])
        assert torch.equal(labels, i)


def test_indices_are_those_of_a_table(x):
    samples = NumberedSamples(x)
    assert len(samples) == 11
    number, row = samples[-2]
    assert (type(number), number) == (int, 9)
    assert torch.equal(row, x[9])
    for index, numbers in (
        ([2, -1], [2, 10]),
        (slice(1, 3), [1, 2]),
        (torch.tensor([0]), [0]),
        (np.arange(11) > 9, [10]),
    ):
        found, rows = samples[index]
        assert found.tolist() == numbers
        assert torch.equal(rows, x[numbers])
    for wrong in (11, [11], "a", 0.5, [True]):
        with pytest.raises((IndexError, TypeError), match=r"^index"):
            samples[wrong]


def test_memory_is_shared(x):
    assert NumberedSamples(x).tensors[0].data_ptr() == x.data_ptr()
    assert NumberedSamples(x.numpy()).tensors[0].data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((), TypeError, "^arrays: expected at least one tensor or numpy array, got none"),
        ((torch.ones(3), torch.ones(2)), ValueError, r"^arrays\[1\]: expected 3 rows as arrays\[0\], got a tensor of"),
        ((torch.ones(3), "labels"), TypeError, r"^arrays\[1\]: expected a tensor or numpy array of rows, got str"),
        ((torch.ones(()),), TypeError, r"^arrays\[0\]: expected a tensor or numpy array of rows"),
        ((torch.ones(3).to_sparse(),), TypeError, r"^arrays\[0\]: expected a dense tensor"),
    ],
)
def test_what_are_no_samples_is_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        NumberedSamples(*arrays)

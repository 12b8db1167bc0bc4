"""Mini-batches of a study."""

import torch
from cases.studies import small

from gatentk.study.batches import batch_shape, drawn
from gatentk.study.samples import prepare_study


def test_without_mini_batches_there_is_one_kernel_of_all_samples():
    config = small()
    x = prepare_study(config).x
    assert batch_shape(config, 20) == (1, 20)
    assert torch.equal(drawn(config, x), x.unsqueeze(0))


def test_mini_batches_are_random_and_disjoint_and_leave_out_a_remainder():
    config = small(n=50, batch=16)
    x = prepare_study(config).x
    parts = drawn(config, x)
    assert parts.shape == (3, 16, 64)
    assert tuple(parts.shape[:2]) == batch_shape(config, len(x))
    rows = [row.numpy().tobytes() for row in x]
    taken = [row.numpy().tobytes() for part in parts for row in part]
    assert len(set(taken)) == 48
    assert set(taken) < set(rows)
    assert taken != rows[:48]
    assert not torch.equal(parts, drawn(small(n=50, batch=16, data_seed=1), x))

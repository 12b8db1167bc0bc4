import numpy as np
import pytest
import torch

from gatentk.train import LOSSES


def test_losses_are_sums_over_samples(generator):
    outputs = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    classes = torch.tensor([2, 0, 1, 1, 0])
    y = outputs.numpy()
    square = 0.5 * sum(np.linalg.norm(a - b) ** 2 for a, b in zip(y, targets.numpy(), strict=True))
    entropy = sum(np.log(np.exp(row).sum()) - row[k] for row, k in zip(y, classes.tolist(), strict=True))
    assert float(LOSSES["square"](outputs, targets)) == pytest.approx(square, rel=1e-12)
    assert float(LOSSES["cross-entropy"](outputs, classes)) == pytest.approx(entropy, rel=1e-12)

import torch

from gatentk.gates.weights import gaussian


def test_gaussian_numbers_have_the_variance_asked_for(generator):
    drawn = gaussian(200, 300, 0.25, generator, torch.float64)
    assert drawn.shape == (200, 300)
    assert drawn.dtype == torch.float64
    assert abs(float(drawn.mean())) < 5 * 0.5 / 60_000**0.5
    assert abs(float(drawn.var()) / 0.25 - 1) < 5 * (2 / 60_000) ** 0.5

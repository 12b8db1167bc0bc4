import pytest
import torch

from gatentk.nn.weights import checked_dtype, gaussian


def test_dtype_is_the_one_asked_for_or_the_default_one():
    assert checked_dtype(torch.float64) == torch.float64
    assert checked_dtype(None) == torch.get_default_dtype()
    with pytest.raises(TypeError, match=r"dtype: expected torch\.float32 or torch\.float64, got torch\.float16"):
        checked_dtype(torch.float16)


def test_gaussian_numbers_have_the_variance_asked_for(generator):
    drawn = gaussian(200, 300, 0.25, generator, torch.float64)
    assert drawn.shape == (200, 300)
    assert drawn.dtype == torch.float64
    assert abs(float(drawn.mean())) < 5 * 0.5 / 60_000**0.5
    assert abs(float(drawn.var()) / 0.25 - 1) < 5 * (2 / 60_000) ** 0.5

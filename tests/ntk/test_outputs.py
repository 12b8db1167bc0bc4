import numpy as np
import pytest
import torch

from gatentk.ntk.outputs import OUTPUTS, check_index, check_outputs, mirror


@pytest.mark.parametrize("outputs", [*OUTPUTS, 0, 7, np.int64(2)])
def test_names_and_numbers_are_outputs(outputs):
    check_outputs(outputs)
    check_index(outputs, 8)


@pytest.mark.parametrize(
    ("error", "outputs"), [(ValueError, "all"), (TypeError, 1.0), (TypeError, True), (TypeError, None)]
)
def test_others_are_refused(error, outputs):
    with pytest.raises(error, match="outputs: expected an int or one of 'trace', 'diag', 'full', got"):
        check_outputs(outputs)


def test_numbers_count_from_zero():
    with pytest.raises(ValueError, match="outputs: expected an output below 3, got 3"):
        check_index(3, 3)
    with pytest.raises(ValueError, match="outputs: expected an integer of at least 0, got -1"):
        check_index(-1, 3)


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (513, 513), (1030, 1030), (2, 5, 5), (3, 2, 600, 600)])
def test_the_lower_triangle_is_copied_over_the_upper_one(shape):
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kernel[..., -1, 0] = -0.0
    lower = kernel.tril()
    result = mirror(kernel, "trace")
    assert result is kernel
    assert torch.equal(result, result.mT)
    assert torch.equal(result.tril(), lower)
    assert bool(result[..., 0, -1].signbit().all())


@pytest.mark.parametrize("leading", [(), (2,)])
def test_all_pairs_are_one_matrix(leading):
    n, d = 4, 3
    kernel = torch.randn(*leading, n, d, n, d, generator=torch.Generator().manual_seed(0))
    flat = kernel.clone().view(*leading, n * d, n * d)
    result = mirror(kernel, "full")
    assert torch.equal(result, result.movedim((-4, -3), (-2, -1)))
    assert torch.equal(result.view(*leading, n * d, n * d).tril(), flat.tril())

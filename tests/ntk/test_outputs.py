import numpy as np
import pytest
import torch

from gatentk.ntk.outputs import OUTPUTS, check_outputs, chosen_outputs, mirror


@pytest.mark.parametrize("outputs", [*OUTPUTS, 0, 7, np.int64(2)])
def test_names_and_numbers_are_outputs(outputs):
    assert check_outputs(outputs) is outputs
    chosen = chosen_outputs(outputs, 8, torch.ones(1))
    assert chosen.layout == (outputs if outputs in ("diag", "full") else "trace")
    assert chosen.number == (8 if outputs in ("trace", "diag", "full") else 1)
    assert chosen.matrix(torch.ones(1)).shape == (chosen.number, 8)


@pytest.mark.parametrize("vector", [[1.0, 2.0, -3.0], (1, 2, -3), np.array([1.0, 2, -3]), torch.tensor([1.0, 2, -3])])
def test_vectors_weight_outputs(vector):
    values = torch.arange(6, dtype=torch.float64).view(2, 3)
    chosen = chosen_outputs(check_outputs(vector), 3, values)
    assert chosen.of(values).tolist() == [[-4.0], [-4.0]]
    assert chosen_outputs("sum", 3, values).of(values).tolist() == [[3.0], [12.0]]
    assert chosen_outputs(1, 3, values).of(values).tolist() == [[1.0], [4.0]]
    assert chosen_outputs("full", 3, values).of(values) is values


@pytest.mark.parametrize(
    ("error", "outputs"),
    [
        (ValueError, "all"),
        (TypeError, 1.0),
        (TypeError, True),
        (TypeError, None),
        (ValueError, []),
        (ValueError, [[1.0]]),
        (ValueError, [1.0, float("nan")]),
        (ValueError, torch.tensor([float("inf")])),
        (TypeError, torch.tensor([1, 2])),
        (TypeError, ["a"]),
    ],
)
def test_others_are_refused(error, outputs):
    with pytest.raises(error, match=r"outputs(: |\[0\]: )expected"):
        check_outputs(outputs)


def test_numbers_count_from_zero():
    with pytest.raises(ValueError, match="outputs: expected an output below 3, got 3"):
        chosen_outputs(3, 3, torch.ones(1))
    with pytest.raises(ValueError, match="outputs: expected an integer of at least 0, got -1"):
        chosen_outputs(-1, 3, torch.ones(1))


def test_there_is_a_weight_for_each_output():
    with pytest.raises(ValueError, match="outputs: expected 3 weights, one for each output, got a tensor of shape"):
        chosen_outputs(torch.ones(2), 3, torch.ones(1))


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

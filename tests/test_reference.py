"""The plain-torch operations against loops over elements and 100 digits."""

import pytest
import torch
from cases import exact

from gatentk import reference


@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 127, 128, 129])
def test_bit_k_of_a_row_is_element_k(width, generator):
    mask = torch.rand(2, 3, width, generator=generator) < 0.5
    bits = reference.pack_bits(mask)
    assert bits.shape == (2, 3, -(-width // 128) * 16)
    for i in range(2):
        for j in range(3):
            number = int.from_bytes(bytes(bits[i, j].tolist()), "little")
            assert number == sum(1 << k for k in range(width) if mask[i, j, k])
    assert torch.equal(reference.unpack_bits(bits, width), mask)


@pytest.mark.parametrize("components", [False, True])
def test_gram_entry_is_the_sum_over_layers_of_products_of_inner_products(components, generator):
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    acts, deltas = [normal(3, 4), normal(3, 5)], [normal(3, 2), normal(3, 0)]
    acts_b, deltas_b = [normal(2, 4), normal(2, 5)], [normal(2, 2), normal(2, 0)]
    mask = torch.rand(3, 4, generator=generator) < 0.5
    gates, bias = [(reference.pack_bits(mask), None), None], [0.5, 2.0]
    out = reference.gram_ntk(acts, deltas, acts_b, deltas_b, gates, components, bias=bias)
    for i in range(3):
        for j in range(2):
            first = sum(float(acts[0][i, k] * acts_b[0][j, k]) for k in range(4) if mask[i, k]) + 0.5
            first *= sum(float(deltas[0][i, k] * deltas_b[0][j, k]) for k in range(2))
            second = sum(float(acts[1][i, k] * acts_b[1][j, k]) for k in range(5)) + 2
            if components:
                assert out[:, i, j].tolist() == pytest.approx([first, second], rel=1e-12)
            else:
                assert float(out[i, j]) == pytest.approx(first + second, rel=1e-12)


def test_gates_of_a_symmetric_gram_mask_both_sides(generator):
    mask = torch.rand(4, 6, generator=generator) < 0.5
    a, d = (torch.randn(4, 6, generator=generator) for _ in range(2))
    bits = reference.pack_bits(mask)
    torch.testing.assert_close(reference.gram_ntk([a], [d], gates=[bits]), reference.gram_ntk([a * mask], [d * mask]))


def test_infinite_kernels_and_angles_agree_with_100_digits(generator):
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    x[3] = x[0] + 1e-10 * x[1]
    x[4] = -x[2]
    depths = [1, 2, 7, 40]
    results = {
        quantity: reference.infinite_ntk(x, None, depths, quantity)
        for quantity in ("relu", "grelu", "relu_angle", "grelu_angle", "embedding_angle")
    }
    for i in range(5):
        for j in range(5):
            theta, norms = exact.input_angle(x[i], x[j]), exact.norm(x[i]) * exact.norm(x[j])
            for k, depth in enumerate(depths):
                right = {
                    "relu": norms * exact.kernel_factor(theta, depth, "relu"),
                    "grelu": norms * exact.kernel_factor(theta, depth, "grelu"),
                    "relu_angle": exact.gradient_angle(theta, depth),
                    "grelu_angle": exact.gradient_angle(theta, depth, "grelu"),
                    "embedding_angle": exact.angles(theta, depth)[depth],
                }
                for quantity, value in right.items():
                    scale = (depth + 1) * float(norms) if "angle" not in quantity else float(value)
                    error = abs(float(exact.mp.mpf(float(results[quantity][k, i, j])) - value))
                    assert error <= (5e-15 if "angle" not in quantity else 2e-6 * (theta < 1e-6) + 1e-13) * scale


def test_infinite_components_agree_with_100_digits(generator):
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    out = reference.infinite_ntk(x, None, [6], "relu_components")
    assert out.shape == (7, 4, 4)
    for i in range(4):
        for j in range(4):
            theta, norms = exact.input_angle(x[i], x[j]), exact.norm(x[i]) * exact.norm(x[j])
            for layer in range(7):
                right = float(norms * exact.component_cosine(theta, 6, layer + 1))
                assert float(out[layer, i, j]) == pytest.approx(right, rel=1e-13, abs=1e-14)


@pytest.mark.parametrize("quantity", ["relu", "relu_components", "relu_angle", "grelu", "grelu_angle"])
def test_a_batch_of_rectangles_is_the_symmetric_result_off_the_diagonal(quantity, generator):
    x = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    symmetric = reference.infinite_ntk(x, None, [3], quantity)
    rectangular = reference.infinite_ntk(x, x, [3], quantity)
    torch.testing.assert_close(rectangular, symmetric, rtol=1e-12, atol=1e-12)
    assert torch.equal(rectangular[:, 1], reference.infinite_ntk(x[1], x[1], [3], quantity))


def test_expanded_bits_and_gates_of_either_kind_by_hand():
    bits = reference.pack_bits(torch.tensor([[True, False, True]]))
    assert reference.unpack_bits(reference.expand_bits(bits, 5, 2), 5).tolist() == [[True, True, False, False, True]]
    x, c = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    psi, center = torch.tensor([[1.0, 9.0], [-1.0, 0.0]]), torch.tensor([3.0, 0.0])
    assert [g.tolist() for g in reference.gate_network(x, [c, psi])] == [[[True, False]], [[True, False]]]
    shallow = reference.gate_network(x, [c, psi], "shallow", center)  # of (-1, 1)
    assert [g.tolist() for g in shallow] == [[[False, False]], [[True, True]]]

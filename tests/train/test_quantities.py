import numpy as np
import pytest
import torch
from cases.fixed_ends import DEPTH, KINDS, WIDTH, N, masks, network, products, samples

from gatentk.gates import GateTable
from gatentk.train import quantities, square_loss


@pytest.mark.parametrize("size", [1, 5, 300])
def test_tau_is_the_largest_singular_value_of_a_change(size, generator):
    before = [torch.randn(size, size, generator=generator, dtype=torch.float64) for _ in range(3)]
    now = [w + 0.1 * torch.randn(size, size, generator=generator, dtype=torch.float64) for w in before]
    expected = max(np.linalg.norm((a - b).numpy(), 2) for a, b in zip(now, before, strict=True))
    assert quantities.tau(now, before) == pytest.approx(expected, rel=1e-9)
    assert quantities.tau(before, before) == 0


def test_large_norms_in_float32_do_not_lose_accuracy(generator):
    matrix = torch.randn(400, 400, generator=generator)
    expected = np.linalg.norm(matrix.double().numpy(), 2)
    assert quantities.spectral_norm(matrix) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_sum_of_outer_products(kind):
    # [G], Eq. 9-10: grad_k = sum_i F_{k+1}^T r_i (G_{k-1} x_i)^T.
    net, (x, y) = network(kind), samples()
    residual, mask = (net(x) - y).detach(), masks(net, x)
    expected = [torch.zeros(WIDTH, WIDTH, dtype=torch.float64) for _ in range(DEPTH)]
    for i in range(N):
        G, F = products(net, mask[:, i])
        for k in range(1, DEPTH + 1):
            expected[k - 1] += torch.outer(F[k].T @ residual[i], G[k - 1] @ x[i]) / N
    result = quantities.gradient(net, x, y, square_loss)
    torch.testing.assert_close(result, torch.cat([part.flatten() for part in expected]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_dead_neurons_and_shift_follow_their_definitions(kind):
    net, (x, _) = network(kind), samples()
    mask = masks(net, x)
    expected = mask[:-1] if kind == KINDS[2] else mask
    table = net.patterns(x)
    torch.testing.assert_close(table.to_bool().double(), expected)
    assert quantities.dead_neurons(table) == pytest.approx([float((d.sum(0) == 0).double().mean()) for d in expected])
    values = net.activations(x)
    G = [products(net, mask[:, i])[0] for i in range(N)]
    means = [torch.stack([G[i][k] @ x[i] for i in range(N)]).mean() for k in range(DEPTH + 1)]
    assert quantities.mean_shift(values) == pytest.approx([float(m) for m in means], rel=1e-10)


def test_dead_neurons_are_counted_by_layer():
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, :, 0] = False
    mask[1, :2, :3] = False
    mask[1, :, 3] = False
    assert quantities.dead_neurons(GateTable.from_bool(mask)) == [0.25, 0.25]


def test_dead_neurons_of_blocks_are_neurons():
    """Two blocks, of three neurons and of one."""
    mask = torch.tensor([[[True, False], [True, False]], [[False, True], [False, True]]])
    assert quantities.dead_neurons(GateTable.from_bool(mask, block=3, width=4)) == [0.25, 0.75]


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_eigenvalues_are_those_of_the_products(kind):
    net, (x, _) = network(kind), samples(n=3)
    mask = masks(net, x)
    result = quantities.extreme_eigenvalues(net, x)
    pairs = [products(net, mask[:, i]) for i in range(3)]
    for k in range(DEPTH + 1):
        of_G = np.concatenate([np.linalg.eigvalsh((G[k].T @ G[k]).numpy()) for G, _ in pairs])
        of_F = np.concatenate([np.linalg.eigvalsh((F[k] @ F[k].T).numpy()) for _, F in pairs])
        assert result["G"][k] == pytest.approx([of_G.min(), of_G.max()], rel=1e-8, abs=1e-12)
        assert result["F"][k] == pytest.approx([of_F.min(), of_F.max()], rel=1e-8, abs=1e-12)


def test_eigenvalues_at_the_start_lie_where_theorem_5_says():
    d, outputs, m = 5, 3, 600
    net, (x, _) = network("grelu", width=m, d=d, outputs=outputs, depth=2), samples(n=2, d=d, outputs=outputs)
    result = quantities.extreme_eigenvalues(net, x, net.gate_table(x))
    for name, inputs in (("G", d), ("F", outputs)):
        for low, high in result[name]:
            assert m / (12 * inputs) <= low <= high <= 27 * m / (4 * inputs)

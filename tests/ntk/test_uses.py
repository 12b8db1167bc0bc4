import pytest
import torch

from gatentk.ntk.uses import Use, gradients_kernel, group_kernel, own_kernel, pairs_kernel, uses_kernel


def uses(count, seed=0, n=4):
    generator = torch.Generator().manual_seed(seed)
    return [
        Use(
            torch.randn(n, 3, generator=generator, dtype=torch.float64),
            torch.randn(n, 2, 5, generator=generator, dtype=torch.float64),
            1.0,
            None,
            None,
        )
        for _ in range(count)
    ]


def gradients(parts):
    """(n, k, size), weight and bias."""
    total = 0
    for part in parts:
        act = torch.cat([part.act, torch.ones_like(part.act[:, :1])], dim=1)
        total = total + torch.einsum("nkb,na->nkba", part.delta, act).flatten(2)
    return total


@pytest.mark.parametrize("layout", ["trace", "diag", "full"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rectangular", [False, True])
def test_kernels_of_uses_are_products_of_their_gradients(layout, count, rectangular):
    left, right = uses(count), uses(count, 1, 6) if rectangular else None
    G = gradients(left)
    H = gradients(right) if rectangular else G
    full = torch.einsum("nps,mqs->npmq", G, H)
    each = full.diagonal(dim1=1, dim2=3).movedim(-1, 0)
    expected = {"trace": each.sum(0), "diag": each, "full": full}[layout]
    torch.testing.assert_close(uses_kernel(left, right, layout), expected)
    torch.testing.assert_close(gradients_kernel(G, H if rectangular else None, layout), expected)
    if layout == "full":
        torch.testing.assert_close(pairs_kernel(left, right), expected)
    if layout == "trace":
        torch.testing.assert_close(group_kernel(left, right), expected)
    if layout == "trace" and count == 1 and not rectangular:
        torch.testing.assert_close(own_kernel(left), expected)

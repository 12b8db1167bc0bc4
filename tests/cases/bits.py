"""Masks and packed bits: drawn, counted, and laid out in memory."""

import torch

LAYOUTS = ["contiguous", "transposed", "strided", "offset", "expanded"]


def draw(seed, n, width, density):
    return torch.rand(n, width, generator=torch.Generator().manual_seed(seed)) < density


def counts(a, b):
    """Neurons on in both, of unpacked masks."""
    return (a.double() @ b.double().mT).to(torch.int32)


def scatter_bits(bits, layout):
    """The same bits in memory that is not contiguous, wrong bits around them; expanded: the first row for all."""
    if layout == "transposed":
        return bits.mT.contiguous().mT
    if layout == "strided":
        return torch.stack([bits, ~bits], -1).flatten(-2)[..., ::2]
    if layout == "offset":
        return torch.cat([~bits, bits, ~bits], -1)[..., bits.shape[-1] : 2 * bits.shape[-1]]
    if layout == "expanded":
        return bits[:1].expand_as(bits)
    return bits

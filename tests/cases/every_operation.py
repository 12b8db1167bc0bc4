"""Every operation once, forward and backward: for graphs to capture and, as a program, for compute-sanitizer."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk import ops

WIDTH, DEPTHS = 200, [1, 3]


def inputs(device: torch.device | str, seed: int = 0) -> list[Tensor]:
    """Values (n, width), weights (width, width) and a mask (n, width)."""
    generator = torch.Generator().manual_seed(seed)
    z, weight = (torch.randn(n, WIDTH, generator=generator) for n in (70, WIDTH))
    return [t.to(device) for t in (z, weight, torch.rand(70, WIDTH, generator=generator) < 0.5)]


def every_operation(z: Tensor, weight: Tensor, mask: Tensor) -> list[Tensor]:
    """Results of all operations in the dtypes that they take."""
    bits, blocks = ops.pack_bits(mask), ops.pack_bits(mask[:, ::32].contiguous())
    results = [bits, ops.unpack_bits(bits, WIDTH), ops.transpose_bits(bits, WIDTH)]
    results += [ops.gate_gram(bits), ops.gate_gram(bits, bits[:9])]
    for dtype in (torch.float32, torch.float64):
        results.append(ops.gate_rows(z.to(dtype), ops.pack_bits(mask[:, :7]), 30))
        x, w = z.to(dtype), weight.to(dtype)
        results.append(ops.ordered_linear(x, w, relu=True))
        results += [ops.gram_ntk([x, x], [x, x[:, :0]], gates=[bits, None], components=c) for c in (False, True)]
        results.append(ops.gram_ntk([x], [x], [w], [w], gates=[bits]))
        results += [ops.infinite_ntk(x, other, DEPTHS, "relu") for other in (None, w)]
        results += [ops.infinite_network(x, other, DEPTHS, "leaky_relu", bias=0.3) for other in (None, w)]
        results += product_and_gradients(x, w, bits)
        results += product_and_gradients(x, w, blocks, 32)
    for quantity in ("erf", "gelu_nngp"):
        results.append(ops.infinite_network(z.double(), None, DEPTHS, quantity, first=0.01))
    if z.is_cuda:
        results += product_and_gradients(z.bfloat16(), weight.bfloat16(), bits)
        results += product_and_gradients(z.bfloat16(), weight.bfloat16(), blocks, 32)
    return results


def product_and_gradients(z: Tensor, weight: Tensor, bits: Tensor, block: int = 1) -> list[Tensor]:
    """A masked product and its gradients by both factors."""
    z, weight = z.detach().requires_grad_(), weight.detach().requires_grad_()
    out = ops.masked_linear(z, weight, bits, bits, method="masked", block=block)
    return [out.detach(), *torch.autograd.grad(out, (z, weight), out.detach())]


if __name__ == "__main__":
    for name in ops.CUDA_PRECISIONS:
        ops.select_cuda_precision(name)
        every_operation(*inputs("cuda"))
    torch.cuda.synchronize()

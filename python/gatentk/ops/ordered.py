"""Products that add in a fixed order, for gates: the same bits whatever the batch, the threads or the processor."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import describe
from gatentk.ops.arguments import check_device, check_matrix
from gatentk.ops.cuda import on_cuda
from gatentk.ops.layouts import contiguous_rows, ordered_product, view
from gatentk.ops.registration import register


def ordered_linear(x: Tensor, weight: Tensor, relu: bool = False) -> Tensor:
    """`x @ weight.T`, each element one chain of fused multiply-adds over rising columns, starting from 0.

    So a row's result depends on nothing but the row and the weight: not on the batch, the threads or the
    instruction set. No gradient.

    Args:
        x: (n, in_features), float32 or float64.
        weight: (out_features, in_features) of the same dtype.
        relu: negative results become 0.

    Returns:
        (n, out_features).

    Raises:
        TypeError, ValueError: no matrices of the same dtype, float32 or float64, on the same device; columns of
            `weight` that are not those of `x`.

    >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [-5.0, 0.0]])
    >>> ordered_linear(x, weight), ordered_linear(x, weight, relu=True)
    (tensor([[11., -5.]]), tensor([[11.,  0.]]))
    """
    check_matrix("x", x)
    check_matrix("weight", weight)
    if x.dim() != 2:
        raise ValueError(f"x: expected shape (n, in_features), got {describe(x)}")
    if weight.dim() != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight: expected shape (out_features, {x.shape[-1]}), got {describe(weight)}")
    if weight.dtype != x.dtype:
        raise TypeError(f"weight: expected {x.dtype} as x, got {describe(weight)}")
    check_device("weight", weight, x, "x")
    result: Tensor = torch.ops.gatentk.ordered_linear(x.detach(), weight.detach(), relu)
    return result


def _multiply_on_cpu(x: Tensor, weight: Tensor, relu: bool) -> Tensor:
    run = _core.ordered_linear_f32 if x.dtype == torch.float32 else _core.ordered_linear_f64
    out = ordered_product(x, weight)
    x, weight = contiguous_rows(x), contiguous_rows(weight)
    run(view(x), view(weight), relu, out.data_ptr(), out.stride(0), torch.get_num_threads())
    return out


register(
    "ordered_linear(Tensor x, Tensor weight, bool relu) -> Tensor",
    cpu=_multiply_on_cpu,
    cuda=on_cuda("ordered_linear"),
    fake=ordered_product,
)

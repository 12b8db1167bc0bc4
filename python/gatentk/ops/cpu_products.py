"""The ways to a masked product on the CPU: dense, by kernels that skip single neurons, by those that skip blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk import _core
from gatentk.ops import cuda
from gatentk.ops.bits import expand_on_cpu, gate_in_place, gate_rows_on_cpu, gated
from gatentk.ops.blocks import multiply_rows, weight_gradient_of_rows
from gatentk.ops.layouts import MaskedProduct, contiguous_rows, gate_view, view
from gatentk.ops.plans import plan_address

# Bytes of results whose memory may be new in each call.
LARGE = 8 << 20


def has_block_kernel(product: MaskedProduct) -> bool:
    """Whether gates are shared by blocks, and mask what the kernels for blocks mask: activations, never a weight."""
    if max(product.blocks) == 1:
        return False
    return not (product.transpose_b or product.gate_out) if product.transpose_a else not product.gate_b


def dense_product(product: MaskedProduct) -> Tensor:
    """By torch, of masked factors; on any device."""
    out = _multiply(*masked_factors(product))
    return gate_in_place(out, product.gate_out[0], product.blocks[2]) if product.gate_out else out


def masked_factors(product: MaskedProduct) -> tuple[Tensor, Tensor]:
    """Both as they are multiplied, with zeros where they are off."""
    bits_a, bits_b, _ = product.bits
    of_a, of_b, _ = product.blocks
    mask = gated if cuda.serves(product.a) else gate_rows_on_cpu
    left = product.a if bits_a is None else mask(product.a, bits_a, of_a)
    right = product.b if bits_b is None else mask(product.b, bits_b, of_b)
    return left.T if product.transpose_a else left, right.T if product.transpose_b else right


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """As `left @ right`: the system gives memory for a large result on the CPU in huge pages, several times as fast."""
    size = left.shape[0] * right.shape[1] * left.element_size()
    if not left.is_cpu or size < LARGE:
        return left @ right
    out = left.new_empty(left.shape[0], right.shape[1])
    _core.advise_huge_pages(out.data_ptr(), size)
    return torch.mm(left, right, out=out)


def block_product(p: MaskedProduct) -> Tensor:
    """By the kernels for blocks, which take a side without a block neuron by neuron."""
    of_a, of_b, of_out = p.blocks
    # Plans of single neurons are of no use there.
    gate_a, gate_b, gate_out = (gate[: 1 if block == 1 else 2] for gate, block in zip(p.gates, p.blocks, strict=True))
    if p.transpose_a:
        return weight_gradient_of_rows(p.a, p.b, gate_a, gate_b, of_a, of_b)
    return multiply_rows(p.a, p.b, not p.transpose_b, gate_a, gate_out, of_a, of_out)


def neuron_product(product: MaskedProduct) -> Tensor:
    """By the kernels that skip single neurons, which read a bit for each."""
    product = of_neurons(product)
    out = product.result()
    run = _core.masked_matmul_f32 if out.dtype == torch.float32 else _core.masked_matmul_f64
    if not product.gate_b and product.b.stride(0) == 1 and product.b.shape[0] > 1:
        # The transpose of a matrix whose rows are stored: the kernels read either, and nothing is copied.
        product = product._replace(b=product.b.T, transpose_b=not product.transpose_b)
    a, b = contiguous_rows(product.a), contiguous_rows(product.b)
    bits_a, bits_b, bits_out = (None if bits is None else contiguous_rows(bits) for bits in product.bits)
    plan = plan_address(product.gate_a, a, product.transpose_a)
    run(
        view(a, bits_a, product.transpose_a),
        plan,
        view(b, bits_b, not product.transpose_b),
        out.data_ptr(),
        out.stride(0),
        gate_view(bits_out),
        torch.get_num_threads(),
    )
    return out


def of_neurons(product: MaskedProduct) -> MaskedProduct:
    """The same product with a bit for every neuron; bits that were shared come without plans then."""
    if max(product.blocks) == 1:
        return product
    widths = product.a.shape[1], product.b.shape[1], product.shape[1]
    gate_a, gate_b, gate_out = (
        [expand_on_cpu(gate[0], width, block)] if gate and block > 1 else gate
        for gate, width, block in zip(product.gates, widths, product.blocks, strict=True)
    )
    return product._replace(gate_a=gate_a, gate_b=gate_b, gate_out=gate_out, blocks=(1, 1, 1))


PATHS = {"dense": dense_product, "neurons": neuron_product, "blocks": block_product}

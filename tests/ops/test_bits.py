"""Packed bits and transposed tables on every instruction set, against plain torch and numpy."""

import numpy as np
import pytest
import torch
from cases.bits import LAYOUTS, draw, scatter_bits
from cases.tensors import DENSITIES, DTYPES, SEEDS, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops, reference
from gatentk.ops import registration
from gatentk.ops.bits import expand_on_cpu

# Around bytes, the padding of rows, eights of neurons, groups of rows, and blocks of 256, 512 and 1024.
SAMPLES = st.sampled_from([0, 1, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129]) | st.integers(0, 150)
WIDTHS = st.sampled_from([0, 1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 512, 513, 1024, 1025]) | st.integers(0, 1100)


# Packing and unpacking


@given(width=WIDTHS, leading=st.lists(st.integers(0, 5), max_size=3), seed=SEEDS, density=DENSITIES)
@settings(max_examples=30)
def test_packed_bits_are_those_of_numpy_and_come_back(isa, width, leading, seed, density):
    mask = torch.rand(*leading, width, generator=torch.Generator().manual_seed(seed)) < density
    bits = ops.pack_bits(mask)
    assert bits.shape == (*leading, ops.row_bytes(width))
    assert ops.row_bytes(width) % 16 == 0
    packed = np.packbits(mask.numpy(), axis=-1, bitorder="little")
    np.testing.assert_array_equal(bits[..., : packed.shape[-1]].numpy(), packed)
    assert not bits[..., packed.shape[-1] :].any()
    assert torch.equal(ops.unpack_bits(bits, width), mask)


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset", "expanded"])
def test_bits_of_masks_in_any_layout(isa, layout, generator):
    mask = torch.rand(6, 133, generator=generator) < 0.5
    expected = reference.pack_bits(mask)
    if layout == "transposed":
        assert torch.equal(ops.pack_bits(mask.T.contiguous().T), expected)
    elif layout == "strided":
        assert torch.equal(ops.pack_bits(mask.repeat_interleave(2, 1)[:, ::2]), expected)
        assert torch.equal(ops.unpack_bits(expected.repeat_interleave(2, 1)[:, ::2], 133), mask)
    elif layout == "offset":
        assert torch.equal(ops.pack_bits(torch.cat([mask, mask], 1)[:, 133:]), expected)
        assert torch.equal(ops.unpack_bits(torch.cat([expected, expected], 1)[:, 32:], 133)[:, :], mask[:, :])
    else:
        assert torch.equal(ops.pack_bits(mask[:1].expand(4, 133)), expected[:1].expand(4, 32))
        assert torch.equal(ops.unpack_bits(expected[:1].expand(4, 32), 133), mask[:1].expand(4, 133))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "mask: expected a bool tensor, got .*float32", lambda: ops.pack_bits(torch.ones(3, 4))),
        (TypeError, "mask: expected a bool tensor, got list", lambda: ops.pack_bits([True])),
        (ValueError, r"mask: expected shape \(\.\.\., width\)", lambda: ops.pack_bits(torch.tensor(True))),
        (ValueError, "mask: .*CPU tensors only", lambda: ops.pack_bits(torch.ones(3, dtype=torch.bool, device="meta"))),
        (TypeError, r"bits: expected packed bits \(uint8\)", lambda: ops.unpack_bits(torch.ones(16).int(), 3)),
        (ValueError, "rows of 16 bytes for width 3", lambda: ops.unpack_bits(torch.ones(4).byte(), 3)),
        (ValueError, "rows of 32 bytes for width 129", lambda: ops.unpack_bits(torch.ones(2, 16).byte(), 129)),
        (ValueError, "for width -1", lambda: ops.unpack_bits(torch.ones(16).byte(), -1)),
        (ValueError, "bits: expected rows", lambda: ops.unpack_bits(torch.tensor(1).byte(), 1)),
        (TypeError, r"^bits: expected packed bits \(uint8\)", lambda: ops.transpose_bits(BITS > 0, 4)),
        (ValueError, "^bits: expected rows of 32 bytes for width 129", lambda: ops.transpose_bits(BITS, 129)),
        (ValueError, "^bits: .* for width -1", lambda: ops.transpose_bits(BITS, -1)),
        (ValueError, r"^bits: expected shape \(n, row bytes\)", lambda: ops.transpose_bits(BITS[None], 4)),
    ],
)
def test_bad_bits_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()


# Transposed tables


@pytest.mark.usefixtures("one_thread")
@given(n=SAMPLES, width=WIDTHS, density=DENSITIES, seed=SEEDS)
@settings(max_examples=25)
def test_transposed_bits_are_those_of_the_transposed_mask(isa, n, width, density, seed):
    mask = draw(seed, n, width, density)
    bits = ops.pack_bits(mask)
    transposed = ops.transpose_bits(bits, width)
    assert transposed.shape == (width, ops.row_bytes(n))
    assert torch.equal(transposed, reference.pack_bits(mask.mT.contiguous()))  # the padding is zeros in both
    assert torch.equal(ops.transpose_bits(transposed, n), bits)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_transposed_bits_of_any_layout(isa, layout):
    bits = scatter_bits(ops.pack_bits(draw(0, 50, 300, 0.5)), layout)
    expected = reference.pack_bits(reference.unpack_bits(bits, 300).mT.contiguous())
    assert torch.equal(ops.transpose_bits(bits, 300), expected)


def test_ones_in_the_padding_of_samples_do_not_become_neurons(isa):
    transposed = ops.transpose_bits(torch.full((3, 16), 255, dtype=torch.uint8), 5)
    assert torch.equal(transposed, reference.pack_bits(torch.ones(5, 3, dtype=torch.bool)))


def test_one_thread_and_two_transpose_alike(isa):
    bits = ops.pack_bits(draw(0, 700, 900, 0.5))
    one, two = (with_threads(threads, lambda: ops.transpose_bits(bits, 900)) for threads in (1, 2))
    assert torch.equal(one, two)
    assert torch.equal(one, reference.pack_bits(reference.unpack_bits(bits, 900).mT.contiguous()))


# Registration with torch

BITS = reference.pack_bits(torch.ones(3, 4, dtype=torch.bool))
OPS = torch.ops.gatentk


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (OPS.pack_bits.default, (torch.rand(3, 20) < 0.5,)),
        (OPS.unpack_bits.default, (reference.pack_bits(torch.rand(3, 20) < 0.5), 20)),
        (OPS.transpose_bits.default, (BITS, 4)),
        (OPS.expand_bits.default, (BITS, 11, 3)),
        (OPS.gate_rows.default, (torch.randn(3, 7, requires_grad=True), BITS, 2)),
    ],
)
def test_opcheck(op, arguments):
    torch.library.opcheck(op, arguments)


def test_vmap(isa):
    masks = torch.stack([draw(seed, 9, 140, 0.5) for seed in range(3)])
    bits = torch.func.vmap(ops.pack_bits)(masks)
    assert torch.equal(bits, reference.pack_bits(masks))
    assert torch.equal(torch.func.vmap(lambda b: ops.unpack_bits(b, 140))(bits), masks)
    transposed = torch.func.vmap(lambda b: ops.transpose_bits(b, 140))(bits)
    assert torch.equal(transposed, reference.pack_bits(masks.mT.contiguous()))


# Values where gates are on, and bits that neighbours share


def expanded(mask, width, block):
    return mask.repeat_interleave(block, -1)[..., :width]


@given(width=st.integers(1, 300), block=st.integers(1, 40), n=st.integers(0, 9), seed=SEEDS, density=DENSITIES)
@settings(max_examples=40)
def test_bits_of_neurons_are_those_of_their_blocks(width, block, n, seed, density):
    mask = draw(seed, n, -(-width // block), density)
    assert torch.equal(
        ops.expand_bits(ops.pack_bits(mask), width, block), reference.pack_bits(expanded(mask, width, block))
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("width", "block"), [(40, 9), (40, 8), (300, 32)])
def test_bits_of_blocks_are_compiled_right(width, block):
    # torch's compiler makes wrong code of values that are repeated over a block and then cut off.
    bits = ops.pack_bits(draw(0, 5, -(-width // block), 0.5))
    compiled = torch.compile(ops.expand_bits, fullgraph=True)
    assert torch.equal(compiled(bits, width, block), ops.expand_bits(bits, width, block))


@DTYPES
@given(
    width=st.sampled_from([1, 7, 8, 9, 63, 64, 65, 130]) | st.integers(1, 300),
    block=st.sampled_from([1, 4, 8, 16, 32, 64]) | st.integers(1, 80),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    leading=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    seed=SEEDS,
    density=DENSITIES,
)
@settings(max_examples=40)
def test_values_stay_where_their_gate_is_on(isa, dtype, width, block, layouts, leading, seed, density):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*leading, -(-width // block), generator=generator) < density
    values = torch.randn(*leading, width, generator=generator, dtype=dtype)
    if layouts[1] == "expanded" and len(leading) == 1 and leading[0]:
        values, bits = values[:1].expand_as(values), ops.pack_bits(mask)  # a bias
    else:
        bits = scatter_bits(ops.pack_bits(mask), layouts[0] if len(leading) == 1 and leading[0] else "contiguous")
    on = expanded(reference.unpack_bits(bits, mask.shape[-1]), width, block)
    poisoned = torch.where(on, values, torch.nan)
    found = ops.gate_rows(poisoned if layouts[1] != "expanded" else values, bits, block)
    assert found.is_contiguous()
    assert torch.equal(found, torch.where(on, values, 0))


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_gradients_and_batches_of_values():
    generator = torch.Generator().manual_seed(0)
    bits = ops.pack_bits(torch.rand(5, 3, generator=generator) < 0.5)
    values = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: ops.gate_rows(v, bits, 3), values, check_forward_ad=True)
    assert torch.autograd.gradcheck(lambda b: ops.gate_rows(b.expand(5, 7), bits, 3), bias)
    assert torch.autograd.gradgradcheck(lambda v: ops.gate_rows(v, bits, 3).square(), values)
    many = torch.randn(7, 5, 4, generator=generator)
    found = torch.func.vmap(lambda v: ops.gate_rows(v.T, bits, 3), in_dims=2, out_dims=1)(many)
    assert torch.equal(found, torch.stack([ops.gate_rows(many[..., i].T, bits, 3) for i in range(4)], 1))
    found = torch.func.vmap(lambda v, b: ops.gate_rows(v, b, 3))(values.detach(), bits)
    assert torch.equal(found, ops.gate_rows(values.detach(), bits, 3))


def test_gates_that_do_not_fit_their_values_are_refused():
    for values, bits, block in (
        (torch.ones(3, 40), BITS[:2], 10),
        (torch.ones(3, 400), BITS, 2),
        (torch.ones(3, 4), BITS[None], 1),
    ):
        with pytest.raises(ValueError, match=r"^bits: expected packed bits \(uint8\) of shape"):
            ops.gate_rows(values, bits, block)
    with pytest.raises(TypeError, match=r"^bits: expected packed bits"):
        ops.gate_rows(torch.ones(3, 4), BITS.int())
    with pytest.raises(TypeError, match=r"^values: expected a float32 or float64 or bfloat16 tensor, got"):
        ops.gate_rows(torch.ones(3, 4).int(), BITS)
    with pytest.raises(ValueError, match=r"^block: expected an integer of at least 1"):
        ops.gate_rows(torch.ones(3, 4), BITS, 0)


@given(st.integers(0, 70), st.integers(1, 300), st.sampled_from([1, 2, 3, 7, 8, 9, 16, 24, 32, 64, 100, 300]), SEEDS)
@settings(max_examples=40)
def test_bits_of_blocks_are_expanded_alike_by_the_kernel_and_by_torch(n, width, block, seed):
    mask = torch.rand(n, -(-width // block), generator=torch.Generator().manual_seed(seed)) < 0.5
    bits = ops.pack_bits(mask)
    expected = ops.pack_bits(expanded(mask, width, block))
    assert torch.equal(ops.expand_bits(bits, width, block), expected)
    assert torch.equal(expand_on_cpu(bits, width, block), expected)
    assert torch.equal(registration.CUDA["expand_bits"](bits, width, block), expected)
    assert torch.equal(OPS.expand_bits(bits.expand(2, -1, -1), width, block), expected.expand(2, -1, -1))

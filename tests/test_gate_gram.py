"""Bits against bits on every instruction set: counts of common gates and transposed tables, against unpacked masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops import DENSITIES, SEEDS

from gatentk import ops, reference

# Around groups of four rows, chunks of 32, and panels of 128 samples.
SAMPLES = st.sampled_from([0, 1, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129]) | st.integers(0, 150)
# Around the padding of rows, eights of neurons, and blocks of 256, 512 and 1024.
WIDTHS = st.sampled_from([0, 1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 512, 513, 1024, 1025]) | st.integers(0, 1100)
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


def with_threads(threads, call):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return call()
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def one_thread():
    """For many small calls; what threads do has tests of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Counts of common gates


@pytest.mark.usefixtures("one_thread")
@given(n_a=SAMPLES, n_b=SAMPLES, width=WIDTHS, densities=st.tuples(DENSITIES, DENSITIES), seed=SEEDS)
@settings(max_examples=20)
def test_counts_are_those_of_the_unpacked_masks(isa, n_a, n_b, width, densities, seed):
    a, b = draw(seed, n_a, width, densities[0]), draw(seed + 1, n_b, width, densities[1])
    bits_a, bits_b = ops.pack_bits(a), ops.pack_bits(b)
    found = ops.gate_gram(bits_a, bits_b)
    assert found.dtype == torch.int32
    assert torch.equal(found, counts(a, b))
    assert torch.equal(ops.gate_gram(bits_b, bits_a), found.mT)
    assert torch.equal(ops.gate_gram(bits_a), counts(a, a))
    assert torch.equal(ops.gate_gram(bits_a), ops.gate_gram(bits_a, bits_a))


@pytest.mark.parametrize("n", [255, 256, 257, 511, 512, 513])
def test_panels_of_wide_vectors(isa, n):
    mask = draw(n, n, 140, 0.5)
    bits = ops.pack_bits(mask)
    assert torch.equal(ops.gate_gram(bits), counts(mask, mask))
    assert torch.equal(ops.gate_gram(bits[:5], bits), counts(mask[:5], mask))


@pytest.mark.parametrize("width", [65535, 65536, 70001])
def test_counts_beyond_sixteen_bits(isa, width):
    mask = torch.ones(5, width, dtype=torch.bool)
    mask[1], mask[2] = draw(width, 1, width, 0.5)[0], False
    mask[3, -1] = False
    bits = ops.pack_bits(mask)
    assert torch.equal(ops.gate_gram(bits), counts(mask, mask))
    assert ops.gate_gram(bits[:1], bits[4:]).item() == width


@pytest.mark.parametrize("pattern", range(1, 16))
def test_neurons_of_one_pattern_only(isa, pattern):
    """All lists but one are empty, and that one fills whole blocks."""
    width = 1300
    mask = draw(pattern, 40, width, 0.5)
    mask[:4] = (torch.tensor(pattern) >> torch.arange(4) & 1).bool()[:, None]
    bits = ops.pack_bits(mask)
    assert torch.equal(ops.gate_gram(bits[:4], bits), counts(mask[:4], mask))
    assert torch.equal(ops.gate_gram(bits), counts(mask, mask))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_of_bits_in_any_layout(isa, layout):
    bits = ops.pack_bits(draw(0, 50, 300, 0.5))
    spread = scatter_bits(bits, layout)
    expected = reference.gate_gram(spread.contiguous())
    assert torch.equal(ops.gate_gram(spread), expected)
    assert torch.equal(ops.gate_gram(spread, bits), reference.gate_gram(spread.contiguous(), bits))


def test_one_thread_and_two_give_the_same_counts(isa):
    bits = ops.pack_bits(draw(0, 300, 700, 0.5))
    one, two = (with_threads(threads, lambda: ops.gate_gram(bits)) for threads in (1, 2))
    assert torch.equal(one, two)
    assert torch.equal(one, reference.gate_gram(bits))


def test_numpy_in_numpy_out(isa):
    mask = draw(0, 9, 140, 0.5)
    bits = ops.pack_bits(mask)
    expected = counts(mask, mask).numpy()
    array = bits.numpy()
    for arguments in ((array,), (array, array), (array, bits), (np.asfortranarray(array),), (array[::-1][::-1],)):
        found = ops.gate_gram(*arguments)
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)
    assert isinstance(ops.gate_gram(bits, array), torch.Tensor)


def test_arrays_that_must_not_be_written_are_read():
    """As those of a file that is memory-mapped."""
    mask = draw(0, 9, 140, 0.5)
    array = ops.pack_bits(mask).numpy()
    array.flags.writeable = False
    np.testing.assert_array_equal(ops.gate_gram(array), counts(mask, mask).numpy())


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
        (OPS.gate_gram.default, (BITS, None)),
        (OPS.gate_gram.default, (BITS, BITS[:2])),
        (OPS.transpose_bits.default, (BITS, 4)),
    ],
)
def test_opcheck(op, arguments):
    torch.library.opcheck(op, arguments)


def test_compiles_without_graph_breaks():
    mask = draw(0, 9, 140, 0.5)

    def function(values):
        bits = ops.pack_bits(values > 0)
        return ops.gate_gram(bits), ops.gate_gram(ops.transpose_bits(bits, 140), ops.transpose_bits(bits, 140)[:7])

    samples, neurons = torch.compile(function, fullgraph=True, backend="aot_eager")(mask.float())
    assert torch.equal(samples, counts(mask, mask))
    assert torch.equal(neurons, counts(mask.mT, mask.mT[:7]))


def test_vmap(isa):
    masks = torch.stack([draw(seed, 9, 140, 0.5) for seed in range(3)])
    bits = ops.pack_bits(masks)
    assert torch.equal(torch.func.vmap(ops.gate_gram)(bits), counts(masks, masks))
    assert torch.equal(torch.func.vmap(ops.gate_gram, (0, None))(bits, bits[0]), counts(masks, masks[0]))
    transposed = torch.func.vmap(lambda b: ops.transpose_bits(b, 140))(bits)
    assert torch.equal(transposed, reference.pack_bits(masks.mT.contiguous()))


# Refusals


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, r"^bits_a: expected packed bits \(uint8\), got .*bool", lambda: ops.gate_gram(BITS > 0)),
        (TypeError, r"^bits_a: expected packed bits \(uint8\)", lambda: ops.gate_gram(BITS.numpy().astype(np.int32))),
        (TypeError, r"^bits_a: expected packed bits \(uint8\), got list", lambda: ops.gate_gram([[1]])),
        (TypeError, r"^bits_b: expected packed bits \(uint8\)", lambda: ops.gate_gram(BITS, BITS.int())),
        (ValueError, r"^bits_a: expected shape \(n, row bytes\)", lambda: ops.gate_gram(BITS[0])),
        (ValueError, r"^bits_a: expected shape .* multiple of 16 bytes", lambda: ops.gate_gram(BITS[:, :8])),
        (ValueError, r"^bits_b: expected shape \(n, row bytes\)", lambda: ops.gate_gram(BITS, BITS[None])),
        (ValueError, "^bits_b: expected rows of 16 bytes as bits_a", lambda: ops.gate_gram(BITS, BITS.repeat(1, 2))),
        (ValueError, "^bits_a: .*CPU tensors only", lambda: ops.gate_gram(BITS.to("meta"))),
        (TypeError, r"^bits: expected packed bits \(uint8\)", lambda: ops.transpose_bits(BITS > 0, 4)),
        (ValueError, "^bits: expected rows of 32 bytes for width 129", lambda: ops.transpose_bits(BITS, 129)),
        (ValueError, "^bits: .* for width -1", lambda: ops.transpose_bits(BITS, -1)),
        (ValueError, r"^bits: expected shape \(n, row bytes\)", lambda: ops.transpose_bits(BITS[None], 4)),
    ],
)
def test_bad_bits_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()

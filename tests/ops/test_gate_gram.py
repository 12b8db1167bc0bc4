"""Counts of common gates on every instruction set, against unpacked masks."""

import numpy as np
import pytest
import torch
from cases.bits import LAYOUTS, counts, draw, scatter_bits
from cases.tables import neurons
from cases.tensors import DENSITIES, SEEDS, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops, reference

# Around groups of four rows, chunks of 32, and panels of 128 samples.
SAMPLES = st.sampled_from([0, 1, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129]) | st.integers(0, 150)
# Around the padding of rows, eights of neurons, and blocks of 256, 512 and 1024.
WIDTHS = st.sampled_from([0, 1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 512, 513, 1024, 1025]) | st.integers(0, 1100)


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
    ],
)
def test_bad_bits_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()


# Layers, whose blocks count all their neurons


@settings(max_examples=40)
@given(n=st.tuples(st.integers(1, 20), st.integers(1, 20)), width=st.integers(1, 300), seed=SEEDS, data=st.data())
def test_layers_count_neurons(n, width, seed, data):
    block_a, block_b = data.draw(st.integers(1, width)), data.draw(st.integers(1, width))
    a, twin, b = (
        draw(seed + k, rows, -(-width // block), 0.5)
        for k, (rows, block) in enumerate([(n[0], block_a), (n[1], block_a), (n[1], block_b)])
    )
    layer, same_block = (ops.GateLayer(ops.pack_bits(mask), width, block_a) for mask in (a, twin))
    other = ops.GateLayer(ops.pack_bits(b), width, block_b)
    a, twin, b = neurons(a, width, block_a), neurons(twin, width, block_a), neurons(b, width, block_b)
    assert ops.gate_gram(layer).dtype == torch.int32
    assert torch.equal(ops.gate_gram(layer), counts(a, a))
    assert torch.equal(ops.gate_gram(layer, same_block), counts(a, twin))
    assert torch.equal(ops.gate_gram(layer, other), counts(a, b))


LAYER = ops.GateLayer(ops.pack_bits(torch.ones(2, 5, dtype=torch.bool)), 20, 4)


@pytest.mark.parametrize(
    ("error", "message", "left", "right"),
    [
        (TypeError, "bits_b: expected a layer of a gate table as bits_a, got a tensor", LAYER, LAYER.bits),
        (TypeError, "bits_b: expected packed bits as bits_a, got GateLayer", LAYER.bits, LAYER),
        (ValueError, "bits_b: expected .* width 20 .* got one of width 5", LAYER, ops.GateLayer(LAYER.bits, 5)),
    ],
)
def test_layers_that_do_not_fit(error, message, left, right):
    with pytest.raises(error, match=message):
        ops.gate_gram(left, right)

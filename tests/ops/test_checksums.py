"""Checksums of tensors: the definition in Python's integers, and changes that weaker ones miss."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops
from gatentk.ops import checksums

BLOCK, LANES, MODULUS = 65536, 8, 2**64


def mix(value, word):
    rotated = (value << 27 | value >> 37) % MODULUS
    return (rotated ^ word) * 0x9E3779B185EBCA87 % MODULUS


def of_block(data):
    padded = data + bytes(-len(data) % (8 * LANES))
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    total = len(data)
    for lane in range(LANES):
        value = lane
        for word in words[lane::LANES]:
            value = mix(value, word)
        total = mix(total, value)
    return total


def by_definition(tensors):
    total = 0
    for tensor in tensors:
        data = tensor.numpy().tobytes()
        blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
        total = mix(total, len(blocks))
        for block in blocks:
            total = mix(total, of_block(block))
    return total


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 16384, 16385, 40000])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_checksum_is_that_of_the_definition(count, threads, generator):
    tensors = [torch.randn(count, generator=generator), torch.randn(3, 5, generator=generator, dtype=torch.float64)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert ops.checksum(tensors) == by_definition(tensors)
    finally:
        torch.set_num_threads(before)


def on_a_device(tensors):
    """What a CUDA tensor's bytes come to, by the same operations of torch."""
    return [number for tensor in tensors for number in checksums.signature(tensor).tolist()]


BOTH = pytest.mark.parametrize("compute", [ops.checksum, on_a_device])


@BOTH
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.data())
def test_any_byte_counts(compute, rows, columns, data):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))
    before, raw = compute([weight]), weight.view(torch.uint8)
    row, byte = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, 4 * columns - 1))
    raw.data[row, byte] ^= data.draw(st.integers(1, 255))
    assert compute([weight]) != before


def swapped(weight, first, second):
    weight.data[[first, second]] = weight.data[[second, first]]


def negated(weight, *where):
    weight.data[where] = -weight.data[where]


CHANGES = {
    "two rows change places": lambda w: swapped(w, 3, 70),
    "two rows a power of two apart change places": lambda w: swapped(w, 0, 64),
    "rows are rolled": lambda w: w.data.copy_(w.roll(1, 0)),
    "columns are reversed": lambda w: w.data.copy_(w.flip(1)),
    "two numbers change places": lambda w: w.data[0].copy_(w[0, [*range(2), 18, *range(3, 18), 2, *range(19, 64)]]),
    "all signs change": lambda w: w.data.neg_(),
    "two signs of a column change": lambda w: [negated(w, 0, 1), negated(w, 64, 1)],
    "two signs of a row change": lambda w: [negated(w, 5, 8), negated(w, 5, 16)],
    "all exponents rise": lambda w: w.data.mul_(2),
    "one rises and one falls by a unit": lambda w: w.view(torch.int32).data[:2, 3].add_(torch.tensor([1, -1])),
    "a number becomes its neighbour's": lambda w: w.data[7, 3:5].fill_(float(w[7, 3])),
    "all is zero": lambda w: w.data.zero_(),
}


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CHANGES)
def test_structured_changes_are_seen(compute, dtype, name, generator):
    weight = torch.randn(128, 64, generator=generator, dtype=dtype)
    before, bytes_before = compute([weight]), weight.numpy().tobytes()
    CHANGES[name](weight)
    assert weight.numpy().tobytes() != bytes_before
    assert compute([weight]) != before


@BOTH
def test_signs_of_any_two_numbers(compute, generator):
    weight = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    seen = {str(compute([weight]))}
    for first, second in itertools.combinations(range(48), 2):
        other = weight.clone()
        other.view(-1)[[first, second]] *= -1
        seen.add(str(compute([other])))
    assert len(seen) == 1 + 48 * 47 // 2


def test_order_and_borders_of_tensors_count(generator):
    a, b = torch.randn(2, 4, generator=generator)
    assert ops.checksum([a, b]) != ops.checksum([b, a])
    assert ops.checksum([a, b]) != ops.checksum([torch.cat([a, b])])
    assert ops.checksum([a]) != ops.checksum([torch.cat([a, torch.zeros(2)])])


def test_blocks_on_a_device_change_nothing(monkeypatch, generator):
    weight = torch.randn(30, 20, generator=generator)
    expected = checksums.signature(weight)
    monkeypatch.setattr(checksums, "_WORDS", 45)
    assert torch.equal(checksums.signature(weight), expected)
    assert torch.equal(checksums.signature(weight.T.contiguous().T), expected)
    exact = [
        sum(int(word) * int(m) for word, m in zip(row, checksums._multipliers(20, weight.device), strict=True))
        for row in weight.view(torch.int32)
    ]
    assert expected.tolist() == [(total + 2**63) % 2**64 - 2**63 for total in exact]


def test_freed_weights_are_refused():
    weight = torch.ones(30, 20)
    weight.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="needs a storage of 2400 bytes, and its has 0"):
        ops.checksum([weight])

"""The table by the mask that it came from: counts, layers, copies."""

import copy
import os
import pickle
import re
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from cases.tables import PRINT, SIZES, neurons, random_mask, random_table, same
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gatentk
from gatentk import GateTableError, gates, ops, reference
from gatentk.gates import GateLayer, GateTable, blocks


@settings(max_examples=60)
@given(layers=st.integers(0, 4), n=SIZES, width=SIZES, seed=st.integers(0, 9), mmap=st.booleans())
@example(layers=2, n=5, width=0, seed=0, mmap=True)
@example(layers=2, n=0, width=129, seed=0, mmap=True)
def test_a_mask_survives_bits_and_file(tmp_path, layers, n, width, seed, mmap):
    mask = random_mask(layers, n, width, seed)
    table = GateTable.from_bool(mask)
    assert (table.layers, table.n, table.width, len(table)) == (layers, n, width, n)
    assert table.bits.shape == (layers, n, ops.row_bytes(width))
    assert torch.equal(table.bits, reference.pack_bits(mask))
    assert torch.equal(table.to_bool(), mask)
    table.save(tmp_path / "gates")
    loaded = GateTable.load(tmp_path / "gates", mmap=mmap)
    assert same(table, loaded)
    assert torch.equal(loaded.to_bool(), mask)
    assert loaded.bits.data_ptr() % 64 == 0
    assert os.listdir(tmp_path) == ["gates"]


def test_numpy_masks_and_strided_ones():
    mask = random_mask(2, 7, 133)
    expected = GateTable.from_bool(mask)
    assert same(GateTable.from_bool(mask.numpy()), expected)
    assert same(GateTable.from_bool(np.asfortranarray(mask.numpy())), expected)
    frozen = mask.numpy()[:, ::-1]
    frozen.flags.writeable = False
    assert same(GateTable.from_bool(frozen), expected[::-1])
    assert same(GateTable.from_bool(mask.mT.contiguous().mT), expected)


def test_bits_are_used_as_they_are_or_aligned():
    bits = reference.pack_bits(random_mask(3, 6, 130)).contiguous()
    assert GateTable(bits, 130).bits.data_ptr() == bits.data_ptr()
    buffer = torch.empty(bits.numel() + 64, dtype=torch.uint8)
    shifted = buffer[(8 - buffer.data_ptr()) % 64 :][: bits.numel()].view_as(bits).copy_(bits)
    assert shifted.data_ptr() % 64 == 8
    for given_bits in (shifted, bits.transpose(0, 1).contiguous().transpose(0, 1)):
        table = GateTable(given_bits, 130)
        assert torch.equal(table.bits, bits)
        assert table.bits.is_contiguous()
        assert table.bits.data_ptr() % 64 == 0


def test_layers_keep_their_plans(monkeypatch):
    table, built, build_plan = random_table(3, 9, 130), [], ops.build_plan

    def counted(bits, width, neuron_major=False):
        assert torch.equal(bits, table.bits[1])
        assert width == 130
        built.append((neuron_major, build_plan(bits, width, neuron_major)))
        return built[-1][1]

    monkeypatch.setattr("gatentk.ops.plans.build_plan", counted)
    layer = table.layer(1)
    assert isinstance(layer, GateLayer)
    assert (layer.n, layer.width) == (9, 130)
    assert torch.equal(layer.bits, table.bits[1])
    assert table.layer(1) is layer
    assert table.layer(2) is not layer
    assert built == []
    for plans in (layer.plans, table.layer(1).plans):
        assert [neuron_major for neuron_major, _ in built] == [False, True]
        assert all(plan is made for plan, (_, made) in zip(plans, built, strict=True))
    assert "n=9, width=130" in repr(layer)


@settings(max_examples=40)
@given(n=SIZES, width=SIZES)
def test_neuron_major_is_the_transposed_mask(n, width):
    mask = random_mask(2, n, width)
    bits = GateTable.from_bool(mask).neuron_major(1)
    assert bits.shape == (width, ops.row_bytes(n))
    assert torch.equal(reference.unpack_bits(bits, n), mask[1].T)


@pytest.mark.parametrize("method", ["layer", "neuron_major"])
@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (3, IndexError, "k: expected a layer from 0 to 2, got 3"),
        (-1, IndexError, "k: expected a layer from 0 to 2, got -1"),
        (1.0, TypeError, "k: expected an integer, got float 1.0"),
        (True, TypeError, "k: expected an integer"),
    ],
)
def test_layers_that_are_not_there(method, k, error, message):
    with pytest.raises(error, match=message):
        getattr(random_table(), method)(k)


@settings(max_examples=40)
@given(layers=st.integers(1, 3), n=SIZES.filter(bool), width=SIZES.filter(bool), seed=st.integers(0, 9))
def test_density_and_hamming_count_the_mask(monkeypatch, layers, n, width, seed):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1000)  # several blocks a layer
    mask, other = random_mask(layers, n, width, seed, 0.3), random_mask(layers, n, width, seed + 1)
    table, other_table = GateTable.from_bool(mask), GateTable.from_bool(other)
    assert table.density() == int(mask.sum()) / mask.numel()
    distance = table.hamming(other_table)
    assert distance.dtype == torch.float64
    torch.testing.assert_close(distance, (mask != other).double().mean((1, 2)), rtol=1e-14, atol=0)
    assert torch.equal(other_table.hamming(table), distance)
    assert not table.hamming(table).any()


def test_whole_and_empty_density():
    assert GateTable.from_bool(torch.ones(2, 3, 130, dtype=torch.bool)).density() == 1.0
    assert GateTable.from_bool(torch.zeros(2, 3, 130, dtype=torch.bool)).density() == 0.0


# Gates that blocks of neurons share

WIDTHS_AND_BLOCKS = st.integers(1, 300).flatmap(lambda width: st.tuples(st.just(width), st.integers(1, width)))


@settings(max_examples=60)
@given(sizes=WIDTHS_AND_BLOCKS, n=SIZES, seed=st.integers(0, 9), mmap=st.booleans())
@example(sizes=(130, 64), n=5, seed=0, mmap=True)
@example(sizes=(128, 32), n=5, seed=0, mmap=False)
@example(sizes=(7, 7), n=1, seed=0, mmap=True)
def test_a_block_table_is_its_expansion(tmp_path, sizes, n, seed, mmap):
    (width, block), columns = sizes, -(-sizes[0] // sizes[1])
    mask = random_mask(2, n, columns, seed)
    table = GateTable.from_bool(mask, block, width)
    assert (table.layers, table.n, table.width, table.block, table.units) == (2, n, width, block, columns)
    assert table.bits.shape == (2, n, ops.row_bytes(columns))
    assert torch.equal(table.to_bool(), mask)
    single = table.expand()
    assert same(single, GateTable.from_bool(neurons(mask, width, block)))
    assert (single is table) == (block == 1)
    assert torch.equal(single.bits, reference.expand_bits(table.bits, width, block))
    assert torch.equal(table.neuron_major(1), single.neuron_major(1))
    assert same(table[::-2].expand(), single[::-2])
    path = tmp_path / "gates"
    table.save(path)
    loaded = GateTable.load(path, mmap=mmap)
    for twin in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded), loaded.to("cpu"), loaded[:]):
        assert same(twin, table)


@settings(max_examples=60)
@given(sizes=WIDTHS_AND_BLOCKS, other_block=st.integers(1, 300), n=SIZES.filter(bool), seed=st.integers(0, 9))
def test_means_of_a_block_table_count_neurons(monkeypatch, sizes, other_block, n, seed):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1000)  # several steps a layer
    width, block = sizes
    table = random_table(2, n, width, seed, block=block)
    twin, other = (random_table(2, n, width, seed + 1, block=size) for size in (block, min(other_block, width)))
    assert table.density() == table.expand().density() == float(table.expand().to_bool().double().mean())
    for second in (twin, other):
        expected = (table.expand().to_bool() != second.expand().to_bool()).double().mean((1, 2))
        torch.testing.assert_close(table.hamming(second), expected, rtol=1e-14, atol=0)
        assert torch.equal(second.hamming(table), table.hamming(second))


def test_layers_of_blocks_keep_their_bits_unit_major(path):
    table = random_table(3, 9, 130, block=32)
    layer = table.layer(1)
    assert (layer.n, layer.width, layer.block, layer.units) == (9, 130, 32, 5)
    (unit_major,) = layer.plans
    assert torch.equal(reference.unpack_bits(unit_major, 9), table.to_bool()[1].T)
    assert layer.plans[0] is unit_major
    assert repr(layer) == "GateLayer(n=9, width=130, block=32)"
    unit_major.zero_()
    assert layer.plans[0].any()


def test_a_table_keeps_its_fingerprint_when_it_is_expanded():
    table = random_table(3, 9, 130, block=32)
    assert table.expand().fingerprint == table.fingerprint == PRINT
    assert repr(table) == f"GateTable(layers=3, n=9, width=130, block=32, fingerprint={PRINT[:12]}...)"


def test_an_expanded_table_in_inference_mode_can_be_trained_with():
    with torch.inference_mode():
        single = random_table(2, 5, 40, block=8).expand()
    assert not single.bits.is_inference()


MASK = torch.ones(2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "block: expected an integer of at least 1, got 0", lambda: GateTable.from_bool(MASK, 0)),
        (ValueError, "block: expected an integer of at least 1, got -2", lambda: GateTable.from_bool(MASK, -2)),
        (TypeError, "block: expected an integer, got float 2.0", lambda: GateTable.from_bool(MASK, 2.0)),
        (TypeError, "block: expected an integer, got bool True", lambda: GateTable.from_bool(MASK, True)),
        (
            ValueError,
            "width: expected 4 blocks of 8 neurons as mask has columns, got 33, which is 5",
            lambda: GateTable.from_bool(MASK, 8, 33),
        ),
        (ValueError, "width: expected 4 blocks of 8 .* got 24, which is 3", lambda: GateTable.from_bool(MASK, 8, 24)),
        (TypeError, "width: expected an integer, got float 32.0", lambda: GateTable.from_bool(MASK, 8, 32.0)),
        (
            ValueError,
            "block: expected at most width=20, got 32",
            lambda: GateTable.from_bool(MASK[..., :1], 32, 20),
        ),
        (ValueError, "block: expected at most width=4, got 5", lambda: GateTable(BITS[..., :16], 4, None, 5)),
        (ValueError, "block: expected an integer of at least 1", lambda: GateTable(BITS[..., :16], 4, None, 0)),
        (
            ValueError,
            r"bits: expected shape \(layers, n, 16\) for width 130 in blocks of 32, got .*\(3, 4, 32\)",
            lambda: GateTable(BITS, 130, None, 32),
        ),
        (
            ValueError,
            "bits: expected zeros in the padding of rows of width 130 in blocks of 32",
            lambda: GateTable(BITS[..., :16] | 32, 130, None, 32),
        ),
        (ValueError, "block: expected at most width=130, got 131", lambda: GateLayer(BITS[0], 130, 131)),
        (ValueError, "block: expected an integer of at least 1, got 0", lambda: GateLayer(BITS[0], 130, 0)),
    ],
)
def test_blocks_that_do_not_fit(error, message, call):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("sizes", [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
def test_a_table_without_gates_has_no_means(sizes):
    table = GateTable.from_bool(torch.zeros(sizes, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"a table without gates has no density: layers=., n=., width=."):
        table.density()
    with pytest.raises(ValueError, match="a table without gates has no Hamming distance"):
        table.hamming(table)


@pytest.mark.parametrize("sizes", [(2, 11, 130), (3, 10, 130), (3, 11, 129)])
def test_hamming_wants_the_same_sizes(sizes):
    with pytest.raises(ValueError, match="other: expected layers=3, n=11, width=130, got layers="):
        random_table().hamming(random_table(*sizes))
    with pytest.raises(TypeError, match="other: expected a GateTable, got a tensor"):
        random_table().hamming(random_table().bits)


BITS = reference.pack_bits(random_mask(3, 4, 130))


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "bits: expected packed bits .* torch.float32", (BITS.float(), 130)),
        (TypeError, "bits: expected packed bits .* torch.bool", (BITS.bool(), 130)),
        (TypeError, "bits: expected packed bits .* list", ([[[0]]], 130)),
        (ValueError, "bits: expected a tensor in CPU memory", (BITS.to("meta"), 130)),
        (ValueError, r"bits: expected shape \(layers, n, 32\) for width 130", (BITS[0], 130)),
        (ValueError, r"bits: expected shape \(layers, n, 16\) for width 128", (BITS, 128)),
        (ValueError, r"bits: expected shape \(layers, n, 48\) for width 257", (BITS, 257)),
        (ValueError, "bits: expected zeros in the padding of rows of width 129", (BITS | 2, 129)),
        (ValueError, "width: expected an integer of at least 0, got -1", (BITS, -1)),
        (TypeError, "width: expected an integer", (BITS, 130.0)),
        (TypeError, "fingerprint: expected a string or None", (BITS, 130, b"ab")),
        (ValueError, "fingerprint: expected 64 hexadecimal digits, got 'ab'", (BITS, 130, "ab")),
        (ValueError, "fingerprint: expected 64 hexadecimal digits", (BITS, 130, "x" * 64)),
    ],
)
def test_bits_that_do_not_fit(error, message, arguments):
    with pytest.raises(error, match=message):
        GateTable(*arguments)


@pytest.mark.parametrize(
    ("error", "message", "mask"),
    [
        (TypeError, "mask: expected a bool tensor or numpy array, got a tensor .*uint8", torch.zeros(2, 3, 4).byte()),
        (TypeError, "mask: expected a bool tensor or numpy array, got an array .*int64", np.zeros((2, 3, 4), np.int64)),
        (TypeError, "mask: expected a bool tensor or numpy array, got list", [[[1]]]),
        (ValueError, r"mask: expected shape \(layers, n, units\)", torch.zeros(3, 4, dtype=torch.bool)),
    ],
)
def test_masks_that_do_not_fit(error, message, mask):
    with pytest.raises(error, match=message):
        GateTable.from_bool(mask)


def test_repr_tells_sizes_and_origin():
    assert repr(random_table()) == f"GateTable(layers=3, n=11, width=130, fingerprint={PRINT[:12]}...)"
    assert repr(random_table(fingerprint=None)) == "GateTable(layers=3, n=11, width=130)"


def test_layers_of_a_table_compile_without_graph_breaks(generator):
    table = random_table(2, 9, 130)
    x, weight = torch.randn(9, 130, generator=generator), torch.randn(130, 130, generator=generator)

    def product(x, weight, table):
        return ops.masked_linear(x, weight, table.layer(0), table.layer(1))

    expected = product(x, weight, random_table(2, 9, 130))
    compiled = torch.compile(product, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight, table), expected)
    torch.testing.assert_close(compiled(x, weight, table), expected)
    mask = table.to_bool()
    torch.testing.assert_close(expected, mask[1] * ((mask[0] * x) @ weight.T), rtol=1e-4, atol=1e-4)


# Copies


@pytest.mark.parametrize("dumps", [pickle.dumps, ForkingPickler.dumps])
@pytest.mark.parametrize("mmap", [True, False])
def test_tables_are_pickled(path, mmap, dumps):
    table = random_table(3, 5000, 130)
    table.save(path)
    table = GateTable.load(path, mmap=mmap)
    table.layer(1).plans  # noqa: B018 (plans are not part of what is pickled)
    content = bytes(dumps(table))
    # Mapped tables travel as the path of their file, tensors of a ForkingPickler as a handle of shared memory.
    small = mmap or dumps is not pickle.dumps
    assert (len(content) < 10_000) == small
    restored = pickle.loads(content)
    assert same(restored, table)
    assert restored.bits.data_ptr() % 64 == 0
    assert torch.equal(restored.layer(2).bits, table.bits[2])


def test_a_part_of_a_tensor_is_pickled_without_the_rest():
    large = reference.pack_bits(random_mask(100, 64, 128))
    table = GateTable(large[:1], 128)
    assert len(pickle.dumps(table)) < large.numel() / 10
    assert same(pickle.loads(pickle.dumps(table)), table)


def test_pickles_of_a_file_that_changed(path):
    random_table(seed=1).save(path)
    content = pickle.dumps(GateTable.load(path))
    random_table(seed=2).save(path)
    with pytest.raises(GateTableError, match=r"train\.gates: another table since this one was pickled"):
        pickle.loads(content)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        pickle.loads(content)


def test_relative_paths_are_pickled_as_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = random_table()
    table.save("gates")
    content = pickle.dumps(GateTable.load("gates"))
    monkeypatch.chdir("/")
    assert same(pickle.loads(content), table)


@pytest.mark.parametrize("mmap", [True, False])
def test_deep_copies(path, mmap):
    random_table().save(path)
    table = GateTable.load(path, mmap=mmap)
    path.unlink()
    layer = table.layer(0)
    twin = copy.deepcopy({"table": table})["table"]
    assert same(twin, table)
    assert twin.layer(0) is not layer
    assert mmap == (twin.bits.data_ptr() == table.bits.data_ptr())


class Indexed(torch.utils.data.Dataset):
    """Samples with the bits of their gates, as (index, bits)."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        return index, self.table[index].bits[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("mmap", [True, False])
def test_loaders_in_other_processes(path, mmap):
    random_table(2, 10, 130).save(path)
    table = GateTable.load(path, mmap=mmap)
    loader = torch.utils.data.DataLoader(Indexed(table), batch_size=4, num_workers=1, multiprocessing_context="spawn")
    for index, bits in loader:
        assert torch.equal(bits.transpose(0, 1), table[index].bits)


def test_names_of_the_package():
    assert gatentk.gates is gates
    assert gatentk.GateTableError is GateTableError
    assert issubclass(GateTableError, gatentk.GateNTKError)
    assert issubclass(GateTableError, ValueError)

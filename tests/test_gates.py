"""gates.py: gates by their definition in float64, tables by the mask they came from, files by their documentation."""

import copy
import hashlib
import io
import math
import os
import pickle
import platform
import re
import struct
import sys
import zlib
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gatentk
from gatentk import GateTableError, gates, ops, reference
from gatentk.gates import GateLayer, GateNetwork, GateTable

PRINT = hashlib.sha256(b"some gate network").hexdigest()
SIZES = st.sampled_from([0, 1, 2, 5, 127, 128, 129, 256, 300])


def random_mask(layers, n, width, seed=0, density=0.5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(layers, n, width, generator=generator) < density


def random_table(layers=3, n=11, width=130, seed=0, fingerprint=PRINT):
    return GateTable(reference.pack_bits(random_mask(layers, n, width, seed)), width, fingerprint)


def file_bytes(layers, n, width, data, fingerprint=bytes(32), magic=b"\x89GATES\r\n", version=1, offset=4096):
    """A table file put together from its documentation."""
    size = len(data) // layers if layers else 0
    sums = [zlib.crc32(data[k * size : (k + 1) * size]) for k in range(min(layers, 8))]
    checksum = zlib.crc32(b"".join(struct.pack("<I", value) for value in sums))
    head = magic + struct.pack("<IIQQQ", version, offset, layers, n, width) + fingerprint + struct.pack("<I", checksum)
    head += bytes(4092 - len(head))
    return head + struct.pack("<I", zlib.crc32(head)) + data


def same(table, other):
    assert torch.equal(table.bits, other.bits)
    assert (table.width, table.fingerprint) == (other.width, other.fingerprint)
    return True


# The table


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


@given(
    n=st.integers(0, 40),
    data=st.data(),
    kind=st.sampled_from(["list", "array", "tensor", "int32", "bools", "bool list", "slice", "range"]),
)
def test_indexing_picks_samples_as_numpy_does(n, data, kind):
    mask, table = random_mask(2, n, 130), random_table(2, n)
    if "bool" in kind:
        index = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
        expected = mask[:, torch.tensor(index, dtype=torch.bool)]
        index = torch.tensor(index, dtype=torch.bool) if kind == "bools" else index
    elif kind == "slice":
        bound = st.none() | st.integers(-50, 50)
        index = slice(data.draw(bound), data.draw(bound), data.draw(st.none() | st.integers(-3, 3).filter(bool)))
        expected = torch.from_numpy(mask.numpy()[:, index].copy())
    elif kind == "range":
        index = range(data.draw(st.integers(0, n)), n, 2)
        expected = mask[:, list(index)]
    else:
        index = data.draw(st.lists(st.integers(-n, n - 1), max_size=60)) if n else []
        expected = mask[:, torch.tensor(index, dtype=torch.long)]
        make = {"list": list, "array": lambda i: np.array(i, np.int16), "tensor": torch.tensor}
        dtype = {"int32": torch.int32, "tensor": torch.long}.get(kind)
        index = make[kind](index) if dtype is None else torch.tensor(index, dtype=dtype)
    picked = table[index]
    assert torch.equal(picked.to_bool(), expected)
    assert picked.fingerprint == table.fingerprint
    assert picked.bits.is_contiguous()
    assert picked.bits.data_ptr() % 64 == 0


@pytest.mark.parametrize(
    "index", [3, -8, np.int64(3), torch.tensor(3), np.array(3), torch.tensor(3, dtype=torch.uint8)]
)
def test_one_index_gives_a_table_of_one_sample(index):
    assert same(random_table()[index], random_table()[[3]])


def test_samples_are_copies():
    table = random_table(layers=1)
    for picked in (table[:], table[2:4], table[[1]]):
        before = table.bits.clone()
        picked.bits.zero_()
        assert torch.equal(table.bits, before)


def test_iterating_visits_each_sample_once():
    table = random_table(2, 4)
    samples = list(table)
    assert len(samples) == 4
    assert torch.equal(torch.cat([sample.bits for sample in samples], 1), table.bits)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (11, IndexError, "index 11 is out of range for a table of n = 11 samples"),
        (-12, IndexError, "index -12 is out of range"),
        (1 << 70, IndexError, f"index {1 << 70} is out of range"),
        ([0, 5, 99, 3], IndexError, "index 99 is out of range for a table of n = 11"),
        (torch.tensor([0, -20]), IndexError, "index -20 is out of range"),
        (np.array([11], np.uint8), IndexError, "index 11 is out of range"),
        ([True, False], IndexError, "expected n = 11 bools"),
        (torch.ones(12, dtype=torch.bool), IndexError, "expected n = 11 bools"),
        (torch.tensor(True), IndexError, "expected n = 11 bools"),
        (torch.zeros(2, 2, dtype=torch.long), IndexError, "expected one dimension"),
        ([[0], [1]], IndexError, "expected one dimension"),
        ([[0], [1, 2]], TypeError, "index: expected integers, bools or a slice"),
        (np.array([1], np.uint64), TypeError, "expected integers, bools or a slice"),
        (torch.tensor([1], dtype=torch.uint64), TypeError, "expected integers, bools or a slice"),
        (1.0, TypeError, "expected integers, bools or a slice, got float"),
        ([0.5], TypeError, "expected integers"),
        (torch.tensor([1.0]), TypeError, "expected integers"),
        (True, TypeError, "expected integers"),
        ((0, 1), TypeError, "expected integers"),
        ("0", TypeError, "expected integers"),
        (None, TypeError, "expected integers"),
        (Ellipsis, TypeError, "expected integers"),
    ],
)
def test_bad_indices(index, error, message):
    with pytest.raises(error, match=re.escape(message)):
        random_table()[index]


def test_layers_keep_their_plans(monkeypatch):
    table, built, build_plan = random_table(3, 9, 130), [], ops.build_plan

    def counted(bits, width, neuron_major=False):
        assert torch.equal(bits, table.bits[1])
        assert width == 130
        built.append((neuron_major, build_plan(bits, width, neuron_major)))
        return built[-1][1]

    monkeypatch.setattr(gates.ops, "build_plan", counted)
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
    monkeypatch.setattr(gates, "_BLOCK_BYTES", 1000)  # several blocks a layer
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
        (TypeError, "mask: expected a bool tensor or numpy array, got list", [[[True]]]),
        (ValueError, r"mask: expected shape \(layers, n, width\)", torch.zeros(3, 4, dtype=torch.bool)),
    ],
)
def test_masks_that_do_not_fit(error, message, mask):
    with pytest.raises(error, match=message):
        GateTable.from_bool(mask)


def test_repr_tells_sizes_and_origin():
    assert repr(random_table()) == f"GateTable(layers=3, n=11, width=130, fingerprint={PRINT[:12]}...)"
    assert repr(random_table(fingerprint=None)) == "GateTable(layers=3, n=11, width=130)"


# Files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.gates"


@pytest.mark.parametrize("fingerprint", [None, PRINT])
def test_the_file_is_what_the_module_documents(path, fingerprint):
    table = random_table(3, 7, 130, fingerprint=fingerprint)
    table.save(path)
    digest = bytes.fromhex(fingerprint) if fingerprint else bytes(32)
    expected = file_bytes(3, 7, 130, table.bits.numpy().tobytes(), digest)
    assert path.read_bytes() == expected
    path.write_bytes(expected)
    assert same(GateTable.load(path), table)


def test_a_large_table_is_written_in_blocks(path, monkeypatch):
    monkeypatch.setattr(gates, "_BLOCK_BYTES", 100)
    table = random_table(3, 50, 130)
    table.save(path)
    assert path.read_bytes() == file_bytes(3, 50, 130, table.bits.numpy().tobytes(), bytes.fromhex(PRINT))
    assert same(GateTable.load(path, mmap=False), table)


@pytest.mark.parametrize("mmap", [True, False])
def test_every_damaged_byte_is_noticed(path, mmap):
    table = random_table(2, 3, 130)
    table.save(path)
    whole = path.read_bytes()
    # All fields of the header, some of its zeros, its checksum, all bits.
    positions = [*range(80), 100, 2000, 4091, *range(4092, len(whole))]
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(GateTableError, match=re.escape(str(path))) as caught:
            GateTable.load(path, mmap=mmap)
        assert "compute the table again" in str(caught.value), position
        if position >= 4096:
            assert "damaged, the bits do not fit their checksum" in str(caught.value)
            assert GateTable.load(path, mmap=mmap, verify=False).n == 3


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("size", [0, 3, 8, 79, 4095, 4096, 4097, 4096 + 2 * 3 * 32 - 1])
def test_truncated_files(path, size, mmap):
    random_table(2, 3, 130).save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(GateTableError, match=r"truncated|not a gate table, it starts with b''"):
        GateTable.load(path, mmap=mmap, verify=False)


def test_files_with_more_than_the_table(path):
    random_table(2, 3, 130).save(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(GateTableError, match="too long, expected 4288 bytes for layers=2, n=3, width=130, got 4289"):
        GateTable.load(path)


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4)))
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    "content",
    [npy(), pickle.dumps(Bomb()), b"\x89PNG\r\n\x1a\n" + bytes(5000), b"x,y\n1,2\n", bytes(5000), b"\x89GATES\n" * 999],
)
def test_foreign_files(path, content):
    path.write_bytes(content)
    with pytest.raises(
        GateTableError, match=r"train\.gates: not a gate table, it starts with .*; compute the table again"
    ):
        GateTable.load(path)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("version 2 of the format, this gatentk reads version 1; install the gatentk that wrote it", {"version": 2}),
        ("version 0 of the format", {"version": 0}),
        ("damaged", {"offset": 4160}),
        ("truncated, expected 4384 bytes", {"n": 9}),
        ("too long, expected 4192 bytes", {"n": 3}),
        ("truncated", {"n": 1 << 40}),
        ("impossible sizes", {"n": 1 << 63}),
        ("impossible sizes", {"layers": (1 << 64) - 1}),
        ("impossible sizes", {"width": (1 << 64) - 1}),
        # Products that wrap around to the size of the file in 64 bits, and empty ones with sizes no tensor has.
        ("impossible sizes", {"n": (1 << 59) + 6}),
        ("impossible sizes", {"n": 0, "layers": 1 << 62, "data": b""}),
        ("impossible sizes", {"layers": 0, "n": (1 << 64) - 1, "data": b""}),
    ],
)
def test_headers_that_do_not_fit_their_file(path, message, changes):
    fields = {"layers": 1, "n": 6, "width": 130, "data": bytes(6 * 32), **changes}
    path.write_bytes(file_bytes(**fields))
    with pytest.raises(GateTableError, match=message) as caught:
        GateTable.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mmap", [True, False])
def test_padding_that_is_set(path, mmap):
    data = bytearray(2 * 3 * 32)
    data[150] = 8  # row 4, byte 22: neuron 179
    path.write_bytes(file_bytes(2, 3, 179, bytes(data)))
    with pytest.raises(GateTableError, match=r"train\.gates: bits beyond width 179 are set; compute the table again"):
        GateTable.load(path, mmap=mmap)
    path.write_bytes(file_bytes(2, 3, 180, bytes(data)))
    assert GateTable.load(path, mmap=mmap).to_bool().nonzero().tolist() == [[1, 1, 179]]


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        GateTable.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        GateTable.load(tmp_path)
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        random_table().save(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        random_table().save(tmp_path / "missing" / "gates")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_a_failed_save_leaves_the_old_file_alone(path, monkeypatch, error):
    random_table(seed=1).save(path)
    before = path.read_bytes()

    def fail(descriptor):
        raise error

    monkeypatch.setattr(gates.os, "fsync", fail)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        random_table(seed=2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_saving_over_the_file_that_is_mapped(path):
    table = random_table(2, 100, 300)
    table.save(path)
    mapped = GateTable.load(path)
    mapped[10:20].save(path)
    assert same(mapped, table)
    assert same(GateTable.load(path), table[10:20])


def test_permissions_are_those_of_any_new_file(path):
    random_table().save(path)
    (path.parent / "plain").touch()
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_a_mapped_table_can_be_written_to_in_memory_only(path):
    table = random_table()
    table.save(path)
    GateTable.load(path).bits.zero_()
    assert same(GateTable.load(path), table)


def memory_and_swap():
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in file}
    return sizes["MemTotal:"] + sizes["SwapTotal:"]


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="reads /proc, names a Linux flag"
)
def test_a_table_larger_than_the_memory_can_be_mapped(path):
    n = memory_and_swap() // 16
    path.write_bytes(file_bytes(2, n, 128, b""))
    os.truncate(path, 4096 + 2 * n * 16)  # a hole: takes no room on the disk
    with path.open("r+b") as file:
        file.seek(4096 + n * 16 + (n - 2) * 16 + 3)
        file.write(b"\x10")
    table = GateTable.load(path, verify=False)
    assert table.n == n
    assert table[[0, n - 2]].to_bool().nonzero().tolist() == [[1, 1, 28]]
    assert table[-3:].to_bool().nonzero().tolist() == [[1, 1, 28]]


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


# Gate networks


def numpy_gates(net, x):
    """Pre-activations in float64, and how far rounding can move those of the network: per layer."""
    unit = torch.finfo(net.input_weight.dtype).eps
    z, error = np.asarray(x, np.float64), np.zeros(x.shape)
    for weight in [net.input_weight, *net.weights]:
        weight = weight.numpy().astype(np.float64)
        pre = z @ weight.T
        # Chains of k additions in this precision and in float64, on top of what the factors are off.
        error = error @ np.abs(weight).T + (z.shape[1] + 2) * unit * (np.abs(z) + error) @ np.abs(weight).T
        yield pre, error
        z = np.maximum(pre, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_gates_are_those_of_the_definition(dtype, depth, generator):
    net = GateNetwork(7, 130, depth, generator, dtype)
    x = torch.randn(25, 7, generator=generator, dtype=dtype)
    table = net.table(x)
    assert (table.layers, table.n, table.width, table.fingerprint) == (depth + 1, 25, 130, net.fingerprint)
    assert table.bits.data_ptr() % 64 == 0
    for mask, (pre, error) in zip(table.to_bool().numpy(), numpy_gates(net, x), strict=True):
        certain = np.abs(pre) > error
        assert certain.mean() > 0.95
        np.testing.assert_array_equal(mask[certain], pre[certain] > 0)


def test_exactly_zero_is_off():
    weight = torch.tensor([[1.0, -1.0], [1e-45, 0.0], [0.0, 0.0], [-1.0, 0.5], [0.0, -0.0], [2.0, 3.0]])
    net = GateNetwork(2, 6, 1, input_weight=weight)
    table = net.table(torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]))
    on = [[False, True, False, False, False, True], [False] * 6, [False, False, False, True, False, False]]
    assert table.to_bool()[0].tolist() == on
    assert not table.to_bool()[1, 1].any()


def test_about_half_of_the_gates_of_gaussian_data_are_on(generator):
    net = GateNetwork(40, 512, 3, generator)
    mask = net.table(torch.randn(200, 40, generator=generator)).to_bool().double()
    # Given the layer below, the neurons are independent and on with probability 1/2, by symmetry of their weights.
    assert (mask.mean((1, 2)) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(512)
    # Neither a sample nor a neuron is dead.
    assert 0 < mask.mean(2).min() < mask.mean(2).max() < 1
    assert 0 < mask[0].mean(0).min() < mask[0].mean(0).max() < 1


def test_distance_of_patterns_is_the_angle_of_the_samples(generator):
    net = GateNetwork(3, 4096, 0, generator)
    x = torch.tensor([[1.0, 0.0, 0.0]])
    for degrees in (1, 30, 90, 170):
        theta = math.radians(degrees)
        z = torch.tensor([[math.cos(theta), math.sin(theta), 0.0]])
        distance, share = float(net.table(x).hamming(net.table(z))), theta / math.pi
        assert abs(distance - share) < 5 * math.sqrt(share * (1 - share) / 4096)
    assert net.table(x).hamming(net.table(-x)).tolist() == [1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_files_and_threads_change_no_bit(path, dtype, generator):
    net = GateNetwork(9, 150, 2, generator, dtype)
    x = torch.randn(31, 9, generator=generator, dtype=dtype)
    expected = torch.stack([net.gates(row[None])[:, 0] for row in x], 1)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for batch_size in (1, 3, 31, 1000, None):
                assert torch.equal(net.table(x, batch_size=batch_size).bits, expected)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(net.gates(x), expected)
    assert torch.equal(net.table(x.T.contiguous().T.numpy()).bits, expected)
    mapped = net.table(x, path, batch_size=4)
    assert same(mapped, net.table(x))
    assert mapped.bits.data_ptr() % 64 == 0
    assert same(GateTable.load(path), mapped)
    assert len(pickle.dumps(mapped)) < 10_000
    mapped.save(path.with_name("again"))
    assert path.with_name("again").read_bytes() == path.read_bytes()


def test_gates_are_the_same_on_every_instruction_set(isa):
    generator = torch.Generator().manual_seed(3)
    net = GateNetwork(20, 140, 2, generator)
    x = torch.randn(9, 20, generator=generator)
    z, expected = x, []
    for weight in [net.input_weight, *net.weights]:
        z = reference.ordered_linear(z, weight, relu=True)
        expected.append(z > 0)
    assert torch.equal(net.table(x).to_bool(), torch.stack(expected))


@pytest.mark.parametrize("to_file", [False, True])
def test_no_samples(path, to_file):
    net = GateNetwork(4, 5, 2)
    table = net.table(torch.zeros(0, 4), path if to_file else None)
    assert table.bits.shape == (3, 0, 16)
    assert table.fingerprint == net.fingerprint


def test_batches_hold_the_memory_budget(monkeypatch, generator):
    rows = []

    def counted(x, weight, relu=False):
        rows.append(x.shape[0])
        return reference.ordered_linear(x, weight, relu)

    net, x = GateNetwork(10, 100, 1, generator), torch.randn(1000, 10, generator=generator)
    expected = net.table(x)
    monkeypatch.setattr(gates.ops, "ordered_linear", counted)
    monkeypatch.setattr(gates, "_ACTIVATION_BYTES", 50_000)
    assert same(net.table(x), expected)
    assert sum(rows) == 2 * 1000
    # Two layers of float32 activations and the mask at a time.
    assert 20 < max(rows) <= 50_000 // (4 * 2 * 100 + 100)


def test_read_only_and_mapped_samples(tmp_path, generator):
    net = GateNetwork(6, 20, 1, generator)
    x = torch.randn(12, 6, generator=generator)
    np.save(tmp_path / "x.npy", x.numpy())
    assert same(net.table(np.load(tmp_path / "x.npy", mmap_mode="r"), batch_size=5), net.table(x))


def test_samples_are_converted_to_the_dtype_of_the_weights(generator):
    net = GateNetwork(6, 200, 2, generator)
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    assert same(net.table(x), net.table(x.float()))
    assert torch.equal(net.gates(x), net.gates(x.float()))


def with_value(value, row=5, column=2, n=8, dtype=torch.float32):
    x = torch.ones(n, 3, dtype=dtype)
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("error", "message", "x"),
    [
        (ValueError, r"x: expected finite values, got nan at index \(5, 2\)", with_value(math.nan)),
        (ValueError, r"x: expected finite values, got -inf at index \(5, 2\)", with_value(-math.inf).numpy()),
        (ValueError, r"x: values exceed torch.float32 at row 5", with_value(1e300, dtype=torch.float64)),
        (ValueError, r"x: activations of layer 0 exceed torch.float32 at row 5", with_value(3e38)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(8, 4\)", torch.ones(8, 4)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(3,\)", torch.ones(3)),
        (ValueError, r"x: expected shape \(n, 3\), got a tensor of shape \(2, 4, 3\)", torch.ones(2, 4, 3)),
        (
            ValueError,
            "x: expected a tensor on cpu as the gate network, got .* on meta",
            torch.ones(8, 3, device="meta"),
        ),
        (TypeError, "x: expected float32 or float64, got a tensor of shape .*int64", torch.ones(8, 3).long()),
        (TypeError, "x: expected float32 or float64, got a tensor of shape .*int64", torch.ones(0, 3).long()),
        (TypeError, "x: expected float32 or float64, got an array .*float16", np.ones((8, 3), np.float16)),
        (TypeError, "x: expected a torch tensor or numpy array, got list", [[1.0, 2.0, 3.0]]),
    ],
)
def test_samples_that_do_not_fit(path, monkeypatch, error, message, x):
    monkeypatch.setattr(gates, "_ACTIVATION_BYTES", 60)  # two rows at a time: the index is that in all of x
    net = GateNetwork(3, 4, 1, input_weight=torch.ones(4, 3) * 10)
    for file in (None, path):
        with pytest.raises(error, match=message):
            net.table(x, file)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    ("error", "message", "batch_size"),
    [(ValueError, "batch_size: expected an integer of at least 1, got 0", 0), (TypeError, "batch_size", 2.0)],
)
def test_batch_sizes_that_are_none(error, message, batch_size):
    with pytest.raises(error, match=message):
        GateNetwork(3, 4, 1).table(torch.ones(2, 3), batch_size=batch_size)


def test_a_file_that_cannot_be_written_is_noticed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(gates.ops, "ordered_linear", lambda *arguments, **options: pytest.fail("gates were computed"))
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "missing" / "gates", FileNotFoundError)):
        with pytest.raises(error, match=re.escape(str(tmp_path))):
            GateNetwork(3, 4, 1).table(torch.ones(2, 3), path)


def test_an_interrupt_leaves_no_file(path, monkeypatch):
    net, calls = GateNetwork(3, 4, 1), []

    def interrupted(x, weight, relu=False):
        calls.append(x)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return reference.ordered_linear(x, weight, relu)

    monkeypatch.setattr(gates.ops, "ordered_linear", interrupted)
    path.write_bytes(b"what was there")
    with pytest.raises(KeyboardInterrupt):
        net.table(torch.ones(8, 3), path, batch_size=2)
    assert len(calls) == 5
    assert path.read_bytes() == b"what was there"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), (False, True)])
def test_a_progress_bar_is_for_terminals(monkeypatch, capsys, progress, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    net = GateNetwork(3, 4, 1)
    assert same(net.table(torch.ones(8, 3), batch_size=2, progress=progress), net.table(torch.ones(8, 3)))
    out = capsys.readouterr().out
    if progress and terminal:
        assert "gates" in out
        assert "100%" in out
    else:
        assert out == ""


# Weights of gate networks


def test_weights_are_gaussian_and_drawn_in_order():
    net = GateNetwork(50, 400, 2, torch.Generator().manual_seed(5))
    assert [tuple(w.shape) for w in (net.input_weight, *net.weights)] == [(400, 50), (400, 400), (400, 400)]
    assert [name for name, _ in net.named_buffers()] == ["input_weight", "psi_1", "psi_2"]
    assert list(net.parameters()) == []
    assert net.weights[1] is net.psi_2
    for weight, fan_in in ((net.input_weight, 50), (net.psi_1, 400), (net.psi_2, 400)):
        count = weight.numel()
        assert abs(float(weight.mean())) < 5 * math.sqrt(2 / fan_in / count)
        assert abs(float(weight.var()) * fan_in / 2 - 1) < 5 * math.sqrt(2 / count)
    same_draws = torch.Generator().manual_seed(5)
    for weight, fan_in in ((net.input_weight, 50), (net.psi_1, 400), (net.psi_2, 400)):
        assert torch.equal(weight, torch.randn(weight.shape, generator=same_draws) * math.sqrt(2 / fan_in))


def test_an_input_weight_that_is_given_is_not_drawn():
    given_weight = torch.randn(20, 6, dtype=torch.float64)
    net = GateNetwork(6, 20, 1, torch.Generator().manual_seed(5), input_weight=given_weight)
    assert torch.equal(net.input_weight, given_weight)
    assert net.input_weight.data_ptr() != given_weight.data_ptr()
    first = torch.randn(20, 20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    assert torch.equal(net.psi_1, first * math.sqrt(2 / 20))


def test_dtype_is_that_asked_for_or_the_default_one():
    assert GateNetwork(3, 4, 1).psi_1.dtype == torch.float32
    assert GateNetwork(3, 4, 1, dtype=torch.float64).psi_1.dtype == torch.float64
    assert GateNetwork(3, 4, 1, input_weight=torch.ones(4, 3).double()).psi_1.dtype == torch.float64


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "d_in: expected an integer of at least 1, got 0", (0, 4, 1), {}),
        (ValueError, "width: expected an integer of at least 1, got 0", (3, 0, 1), {}),
        (ValueError, "depth: expected an integer of at least 0, got -1", (3, 4, -1), {}),
        (TypeError, "depth: expected an integer, got float 1.0", (3, 4, 1.0), {}),
        (
            TypeError,
            "dtype: expected torch.float32 or torch.float64, got torch.float16",
            (3, 4, 1, None, torch.half),
            {},
        ),
        (TypeError, "input_weight: expected a float32 or float64 tensor", (3, 4, 1), {"input_weight": [1.0]}),
        (TypeError, "input_weight: expected a float32 or float64", (3, 4, 1), {"input_weight": torch.ones(4, 3).int()}),
        (
            TypeError,
            "input_weight: expected a torch.float64 tensor",
            (3, 4, 1, None, torch.float64),
            {"input_weight": torch.ones(4, 3)},
        ),
        (ValueError, r"input_weight: expected shape \(4, 3\)", (3, 4, 1), {"input_weight": torch.ones(3, 4)}),
        (ValueError, "input_weight: expected finite", (3, 4, 1), {"input_weight": torch.full((4, 3), math.nan)}),
    ],
)
def test_bad_networks_are_refused(error, message, arguments, options):
    with pytest.raises(error, match=message):
        GateNetwork(*arguments, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.double(),
        lambda net: net.half(),
        lambda net: net.to(torch.float64),
        lambda net: net.to("cpu", torch.bfloat16),
        lambda net: torch.nn.ModuleList([net]).double()[0],
        lambda net: net.type(torch.float64),
        lambda net: net.requires_grad_(False).eval(),
    ],
)
def test_a_dtype_changes_no_gate(change, generator):
    net, x = GateNetwork(5, 30, 2, generator), torch.randn(6, 5, generator=generator)
    table = net.table(x)
    changed = change(net)
    assert {weight.dtype for weight in changed.buffers()} == {torch.float32}
    assert changed.fingerprint == table.fingerprint
    assert same(changed.table(x), table)


def test_a_device_moves_the_weights_as_they_are(generator):
    net = GateNetwork(5, 30, 1, generator).to("meta", torch.float64)
    assert {(weight.device.type, weight.dtype) for weight in net.buffers()} == {("meta", torch.float32)}


def clone_by_state(net):
    other = GateNetwork(net.d_in, net.width, net.depth)
    other.load_state_dict(net.state_dict())
    return other


def stored(net):
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    other = GateNetwork(net.d_in, net.width, net.depth)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


@pytest.mark.parametrize("make", [clone_by_state, stored, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_have_the_same_gates(make, generator):
    net, x = GateNetwork(5, 30, 2, generator), torch.randn(6, 5, generator=generator)
    table = net.table(x)
    twin = make(net)
    assert twin.fingerprint == table.fingerprint
    assert same(twin.table(x), table)
    assert table.fingerprint.encode() not in pickle.dumps(net)
    twin.psi_1.neg_()
    assert twin.fingerprint != net.fingerprint == table.fingerprint


def test_the_fingerprint_is_of_sizes_dtype_and_weights():
    net = GateNetwork(5, 30, 2, dtype=torch.float64)
    content = b"gatentk gate network 1\n" + struct.pack("<QQQ", 5, 30, 2) + b"float64\n"
    for weight in (net.input_weight, net.psi_1, net.psi_2):
        content += weight.numpy().astype("<f8").tobytes()
    assert net.fingerprint == hashlib.sha256(content).hexdigest()


def swap(net):
    net.psi_1, net.psi_2 = net.psi_2, net.psi_1


def one_bit(net):
    net.psi_2.view(torch.int32)[3, 4] ^= 1


def new_data(net):
    net.psi_1.data = net.psi_1.data + 1


@pytest.mark.parametrize(
    "change",
    [
        swap,
        one_bit,
        new_data,
        lambda net: net.input_weight.mul_(2),
        lambda net: setattr(net, "psi_1", net.psi_1.clone().flip(0)),
        lambda net: net.load_state_dict(GateNetwork(5, 30, 2).state_dict()),
        lambda net: net.load_state_dict(GateNetwork(5, 30, 2).state_dict(), assign=True),
    ],
)
def test_a_changed_weight_changes_the_fingerprint(change, generator):
    net = GateNetwork(5, 30, 2, generator)
    before = net.fingerprint
    change(net)
    assert net.fingerprint != before


def test_the_fingerprint_is_computed_once(monkeypatch, generator):
    net, calls, compute = GateNetwork(5, 30, 2, generator), [], gates._fingerprint

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(gates, "_fingerprint", counted)
    first = net.fingerprint
    net.table(torch.ones(3, 5))
    assert net.fingerprint == first
    assert len(calls) == 1
    net.psi_1.add_(0)
    assert net.fingerprint == first
    assert len(calls) == 2


def test_weights_of_inference_mode():
    with torch.inference_mode():
        net = GateNetwork(5, 30, 1)
        before = net.fingerprint
        net.psi_1.neg_()
        assert net.fingerprint != before


def test_repr_tells_the_sizes():
    assert "GateNetwork(d_in=3, width=4, depth=1)" in repr(GateNetwork(3, 4, 1))


def test_gates_compile_without_graph_breaks(generator):
    net, x = GateNetwork(5, 130, 2, generator), torch.randn(6, 5, generator=generator)
    compiled = torch.compile(net.gates, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), net.gates(x))


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


def test_names_of_the_package():
    assert gatentk.gates is gates
    assert gatentk.GateTableError is GateTableError
    assert issubclass(GateTableError, gatentk.GateNTKError)
    assert issubclass(GateTableError, ValueError)

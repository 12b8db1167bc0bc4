"""Files by their documentation: what is written, damaged, foreign, too large, interrupted."""

import copy
import gc
import io
import os
import pickle
import platform
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from cases.damage import flipped, flips
from cases.tables import PRINT, file_bytes, random_table, same

from gatentk import GateTableError, nn
from gatentk.gates import GateTable, blocks, file


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
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 100)
    table = random_table(3, 50, 130)
    table.save(path)
    assert path.read_bytes() == file_bytes(3, 50, 130, table.bits.numpy().tobytes(), bytes.fromhex(PRINT))
    assert same(GateTable.load(path, mmap=False), table)


@pytest.mark.parametrize("mmap", [True, False])
def test_blocks_are_version_2_of_the_format(path, mmap):
    table = random_table(3, 7, 5000, block=24)
    table.save(path)
    data = table.bits.numpy().tobytes()
    expected = file_bytes(3, 7, 5000, data, bytes.fromhex(PRINT), version=2, block=24)
    assert path.read_bytes() == expected
    path.write_bytes(expected)
    assert same(GateTable.load(path, mmap=mmap), table)
    single = table.expand()
    single.save(path)
    assert path.read_bytes() == file_bytes(3, 7, 5000, single.bits.numpy().tobytes(), bytes.fromhex(PRINT))


@pytest.mark.parametrize("block", [1, 60])
@pytest.mark.parametrize("mmap", [True, False])
def test_every_damaged_byte_is_noticed(path, mmap, block):
    table = random_table(2, 3, 130, block=block)
    table.save(path)
    whole = path.read_bytes()
    # All fields of the header, some of its zeros, its checksum, all bits.
    positions = [*range(88), 100, 2000, 4091, *range(4092, len(whole))]
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
        ("version 3 of the format, this gatentk reads versions 1 and 2; install the gatentk that", {"version": 3}),
        ("version 0 of the format", {"version": 0}),
        ("damaged", {"offset": 4160}),
        ("damaged", {"block": 60}),
        ("damaged", {"version": 2, "block": 1}),
        ("truncated, expected 4288 bytes for layers=1, n=6, width=130, got", {"data": bytes(80)}),
        (
            "too long, expected 4192 bytes for layers=1, n=6, width=130, block=60, got 4288",
            {"version": 2, "block": 60},
        ),
        ("impossible sizes, layers=1, n=6, width=130, block=0;", {"version": 2, "block": 0}),
        ("impossible sizes, layers=1, n=6, width=130, block=131;", {"version": 2, "block": 131}),
        ("impossible sizes", {"version": 2, "block": (1 << 64) - 1}),
        ("impossible sizes", {"version": 2, "block": 2, "width": (1 << 64) - 1}),
        ("impossible sizes", {"version": 2, "block": 2, "width": 0, "data": b""}),
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
        # Empty ones whose other sizes would keep loops busy.
        ("impossible sizes", {"width": 0, "n": 1 << 50, "data": b""}),
        ("impossible sizes", {"layers": 1 << 24, "n": 0, "data": b""}),
        ("impossible sizes", {"layers": (1 << 20) + 1, "n": 0, "width": 0, "data": b""}),
        ("impossible sizes", {"layers": 0, "n": 0, "width": 1 << 41, "data": b""}),
    ],
)
def test_headers_that_do_not_fit_their_file(path, message, changes):
    fields = {"layers": 1, "n": 6, "width": 130, "data": bytes(6 * 32), **changes}
    path.write_bytes(file_bytes(**fields))
    with pytest.raises(GateTableError, match=message) as caught:
        GateTable.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    "sizes", [(1, 1 << 40, 0), (1 << 20, 0, 1 << 40), (1 << 20, 1 << 40, 0), (0, 1 << 40, 1 << 21), (0, 0, 0)]
)
def test_empty_tables_of_any_sizes_are_read_and_used_at_once(path, sizes, mmap):
    layers, n, width = sizes
    path.write_bytes(file_bytes(layers, n, width, b""))
    start = time.process_time()
    table = GateTable.load(path, mmap=mmap)
    assert (table.layers, table.n, table.width) == sizes
    assert table.bits.numel() == table.to_bool().numel() == 0
    assert table[: n // 2].n == n // 2
    assert same(pickle.loads(pickle.dumps(table)), table)
    table.save(path.with_name("again"))
    assert path.with_name("again").read_bytes() == path.read_bytes()
    if layers:
        layer = table.layer(layers - 1)
        assert [plan.numel() for plan in layer.plans] == [0, 0]
        assert table.neuron_major(0).numel() == 0
    assert same(GateTable(table.bits, width), table)
    # Loops over rows or layers that hold nothing would take hours.
    assert time.process_time() - start < 20


@pytest.mark.parametrize("mmap", [True, False])
def test_padding_that_is_set(path, mmap):
    data = bytearray(2 * 3 * 32)
    data[150] = 8  # row 4, byte 22: neuron 179
    path.write_bytes(file_bytes(2, 3, 179, bytes(data)))
    with pytest.raises(GateTableError, match=r"train\.gates: bits beyond width 179 are set; compute the table again"):
        GateTable.load(path, mmap=mmap)
    path.write_bytes(file_bytes(2, 3, 180, bytes(data)))
    assert GateTable.load(path, mmap=mmap).to_bool().nonzero().tolist() == [[1, 1, 179]]
    path.write_bytes(file_bytes(2, 3, 1790, bytes(data), version=2, block=10))
    with pytest.raises(GateTableError, match="bits beyond the 179 blocks of width 1790 are set"):
        GateTable.load(path, mmap=mmap)
    path.write_bytes(file_bytes(2, 3, 1791, bytes(data), version=2, block=10))
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

    monkeypatch.setattr(os, "fsync", fail)
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


# Files that change while they are mapped


def truncated(path):
    os.truncate(path, path.stat().st_size - 4096)


def emptied(path):
    path.write_bytes(b"")


def cut_to_nothing_and_grown(path):
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def appended(path):
    with path.open("ab") as file:
        file.write(b"\0")


def one_bit(path):
    """Of the last row, after some time: clocks of files tick every few milliseconds."""
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.seek(-16, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-16, os.SEEK_END)
        file.write(bytes([byte ^ 4]))


def one_bit_at_the_old_time(path):
    state = path.stat()
    one_bit(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def another_table(path):
    time.sleep(0.02)
    other = path.with_name("other")
    random_table(2, 400, 200, seed=9).save(other)
    with path.open("r+b") as file:
        file.write(other.read_bytes())


CHANGES = [truncated, emptied, cut_to_nothing_and_grown, appended, one_bit, one_bit_at_the_old_time, another_table]
USES = {
    "bits": lambda table: table.bits,
    "rows": lambda table: table[[0, 2]],
    "slice": lambda table: table[:3],
    "layer": lambda table: table.layer(1),
    "neurons": lambda table: table.neuron_major(0),
    "mask": lambda table: table.to_bool(),
    "density": lambda table: table.density(),
    "distance": lambda table: table.hamming(random_table(2, 400, 200)),
    "save": lambda table: table.save(os.devnull),
    "pickle": pickle.dumps,
    "copy": copy.deepcopy,
    "device": lambda table: table.to("meta"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_use_of_a_mapped_table_notices_a_change(path, change):
    random_table(2, 400, 200).save(path)
    table = GateTable.load(path)
    kept = table.layer(1)
    change(path)
    for name, use in USES.items():
        for _ in range(2):
            with pytest.raises(GateTableError, match=rf"^{re.escape(str(path))}: .*; compute the table again"):
                use(table)
            assert name
    assert repr(table).startswith("GateTable(layers=2, n=400, width=200")
    assert kept.n == 400


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_refuses_a_table_whose_file_has_changed(path, change, generator):
    net = nn.GReLUNetwork(5, 200, 1, generator=generator)
    x = torch.randn(400, 5, generator=generator)
    table = net.gate_table(x, path)
    assert torch.equal(net(x, gates=table), net(x))
    change(path)
    with pytest.raises(GateTableError, match=re.escape(str(path))):
        net(x, gates=table)


def replaced(path):
    random_table(1, 2, 3).save(path)


def linked_and_unlinked(path):
    os.link(path, path.with_name("link"))
    path.unlink()


def rewritten(path):
    time.sleep(0.02)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content)


@pytest.mark.parametrize(
    "change",
    [
        replaced,
        linked_and_unlinked,
        rewritten,
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("moved")),
        lambda path: path.touch(),
        lambda path: path.chmod(0o400),
        lambda path: os.utime(path, ns=(0, 0)),
    ],
)
def test_a_mapped_table_outlives_what_leaves_its_bits_alone(path, change):
    table = random_table(2, 400, 200)
    table.save(path)
    mapped = GateTable.load(path)
    change(path)
    for _ in range(2):
        assert same(mapped, table)
        assert same(mapped[:5], table[:5])


def test_a_file_is_read_again_only_where_it_may_have_changed(path, monkeypatch):
    random_table(2, 400, 200).save(path)
    table, reads = GateTable.load(path), []
    monkeypatch.setattr(file, "check_sums", lambda *arguments: reads.append(arguments))
    assert table.density() > 0
    path.touch()
    for _ in range(3):
        assert table.density() > 0
    assert len(reads) == 1


@pytest.mark.parametrize("change", [one_bit, another_table])
def test_a_pickled_table_whose_file_has_changed(path, change):
    random_table(2, 400, 200, fingerprint=None).save(path)
    pickled = pickle.dumps(GateTable.load(path))
    assert same(pickle.loads(pickled), GateTable.load(path))
    change(path)
    with pytest.raises(GateTableError, match=re.escape(str(path))):
        pickle.loads(pickled)


def descriptors(path):
    """How often this process has a file open."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link) == os.path.realpath(path) for link in links)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files here")
def test_files_are_closed_with_their_tables(path):
    random_table().save(path)
    tables = [GateTable.load(path) for _ in range(20)]
    assert descriptors(path) >= 20
    del tables
    gc.collect()
    assert descriptors(path) == 0


@pytest.mark.parametrize("count", [200, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mmap", [False, True])
def test_no_flipped_bit_of_a_table_is_accepted(path, mmap, count):
    random_table().save(path)
    whole = path.read_bytes()
    for bit in flips(whole, count):
        path.write_bytes(flipped(whole, bit))
        with pytest.raises(GateTableError, match=re.escape(str(path))):
            GateTable.load(path, mmap=mmap)

"""Files by their documentation: what is written, damaged, foreign, too large, interrupted."""

import io
import os
import pickle
import platform
import re
import sys

import numpy as np
import pytest
from cases.tables import PRINT, file_bytes, random_table, same

from gatentk import GateTableError
from gatentk.gates import GateTable, blocks


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

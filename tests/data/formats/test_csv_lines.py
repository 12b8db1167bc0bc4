import contextlib
import os
import threading
import tracemalloc

import pytest

from gatentk import DataError, data


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "; ", " , "])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("header", [None, "a|b|label", '"a, in m"|b|label'])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_other_separators_decimals_and_ends(csv_file, separator, decimal, header, start):
    if (separator.strip() == "," and decimal == ",") or (separator == " " and header and '"' in header):
        pytest.skip("not to be told apart")
    rows = [[1.5, -2.25, 3], [-1e-3, 4, 5], [17, 0.125, 6]]
    body = [separator.join(str(v).replace(".", decimal) for v in row) for row in rows]
    text = "\r\n".join(([] if header is None else [header.replace("|", separator)]) + body)
    ds = data.load(csv_file(start + text + "\r\n"))
    if header is None:
        assert ds.x.tolist() == rows
    else:
        assert ds.x.tolist() == [row[:2] for row in rows]
        assert ds.y.tolist() == [3, 5, 6]
    assert ("separated by" in ds.note) == (separator.strip() != ",")
    assert ("commas are decimal" in ds.note) == (decimal == ",")


def test_unicode_text_of_a_spreadsheet(csv_file):
    for encoding in ("utf-16", "utf-16-be"):
        start = b"" if encoding == "utf-16" else b"\xfe\xff"
        ds = data.load(csv_file(start + "größe\tlabel\r\n1,5\t2\r\n2,5\t1\r\n".encode(encoding)))
        assert ds.x.tolist() == [[1.5], [2.5]]
        assert ds.y.tolist() == [2, 1]


def test_lines_of_tabs_are_not_blank(csv_file):
    with pytest.raises(DataError, match=r"line 2, column 1: .* is a value missing"):
        data.load(csv_file("1\t2\n\t\n3\t4\n"))


def test_names_over_two_lines(csv_file):
    ds = data.load(csv_file('"length\nin m",b\n1,2\n3,x\n'.replace("x", "4")))
    assert ds.x.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"line 4, column 2 \(b\)"):
        data.load(csv_file('"length\nin m",b\n1,2\n3,x\n'))


def test_a_pipe_is_read_once_and_a_device_not_at_all(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a,label\n1,2\n3,4\n",))
    writer.start()
    assert data.load("csv", path=pipe).x.tolist() == [[1], [3]]
    writer.join()
    with pytest.raises(DataError, match="expected a file or a pipe, got a device"):
        data.load("csv:/dev/zero")


@pytest.mark.parametrize("line", ['"', '""', '"a', ',"', "1,2", ";", "\t", " ", "x y"])
def test_time_and_memory_follow_the_size_of_the_file(csv_file, line):
    name = csv_file(f"{line}\n" * 100_000)
    tracemalloc.start()
    with contextlib.suppress(DataError):
        data.load(name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 100_000 * (len(line) + 1)

import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from cases.datasets import is_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data


@pytest.mark.parametrize(
    "content",
    [
        "1,2.5\n-3e0,4\n",
        "1,2.5\n-3,4",
        "\ufeff1,2.5\n-3,4",
        "a,b\n1,2.5\n-3,4\n",
        "\ufeffa,b\r\n1,2.5\r\n-3,4\r\n",
        "\n1 , 2.5\n \n-3,\t4\n\n",
        '"a, in m","b"\n"1",2.5\n-3, "4"\n',
        ",b\n1,2.5\n-3,4\n",
        b"gr\xfc\xdfe,b\n1,2.5\n-3,4\n",
    ],
)
def test_csv_of_features_only(csv_file, content):
    name = csv_file(content)
    ds = data.load(name)
    assert is_dataset(ds, 2, 2, None)
    assert ds.x.tolist() == [[1, 2.5], [-3, 4]]
    assert ds.name == name
    assert data.load("csv", path=name[4:]).name == name


@pytest.mark.parametrize(
    ("header", "dtype"),
    [
        ("0,1,label", torch.int64),
        ("a,b, Label ", torch.int64),
        ("a,b,target", torch.float64),
        ('a,b,"Y"', torch.float64),
    ],
)
def test_csv_with_labels(csv_file, header, dtype):
    ds = data.load(csv_file(f"{header}\n0,0,7\n0,0,7\n1,2,-3\n"))
    assert is_dataset(ds, 3, 2, dtype)
    assert ds.x.tolist() == [[0, 0], [0, 0], [1, 2]]
    assert ds.y.tolist() == [7, 7, -3]


def test_csv_of_one_column(csv_file):
    assert data.load(csv_file("1\n2\n")).x.tolist() == [[1], [2]]


DAMAGED_CSV = [
    ("", "the file is empty"),
    ("\n \n", "the file is empty"),
    ("a,b\n\n", "after the header in line 1"),
    ("label\n1\n", "line 1: expected a feature column beside 'label'"),
    ("1,2\n\n3\n", "line 3: expected 2 columns, as in line 1, got 1"),
    ("\na,b\n1,2,3\n", "line 3: expected 2 columns, as in line 2, got 3"),
    ("1,2\n3,x\n", "line 2, column 2: expected a finite number, got 'x'"),
    ("1,x\n3,4\n", "line 1, column 2: expected a finite number, got 'x'"),
    ("1,2\n3,\n", "line 2, column 2: expected a finite number, got ''"),
    ("1,2\nnan,4\n", "line 2, column 1: expected a finite number, got 'nan'"),
    ("nan,2\n3,4\n", "line 1, column 1: expected a finite number, got 'nan'"),
    ("1,2\n3,-Inf\n", "line 2, column 2: .* got '-Inf'"),
    ("1,1e999\n", "line 1, column 2: .* got '1e999'"),
    ("1,2\n1_0,4\n", "line 2, column 1: .* got '1_0'"),
    ("1;2\n3;4;5\n", "line 2: expected 2 columns, as in line 1, got 3"),
    ("1,2\n3;4,5\n", "line 2, column 1: .* got '3;4'"),
    ("NA,NA\n1,2\n", "line 1, column 1: .* got 'NA'; is a value missing?"),
    ("?,?\n1,2\n", "line 1, column 1: .* got '\\?'; is a value missing?"),
    ("n/a,\n1,2\n", "line 1, column 1: .* got 'n/a'; is a value missing?"),
    ("a,b\n1,\n", r"line 2, column 2 \(b\): .* got ''; is a value missing?"),
    ("a,label\n1,NA\n2,b\n", r"line 2, column 2 \(label\): expected a label, got 'NA'; is a value missing\?"),
    ("a,label\n1,x\n2,?\n", "line 3, .*: expected a label, got '\\?'"),
    ("a,target\n1,2\n2,x\n", r"line 3, column 2 \(target\): expected a finite number, got 'x'"),
    ("a,b\n1,9007199254740993\n", r"line 2, column 2 \(b\): expected an integer .*2\^53, got '9007199254740993'"),
    ("a,label\n1,9223372036854775808\n", r"line 2, column 2 \(label\): expected a whole number as label"),
    ("a,label,target\n1,2,3\n", r"more than one column may be y \(label, target\)"),
    ("label,a,label\n1,2,3\n", r"more than one column may be y \(label, label\)"),
    ('"1,5","2,5"\n"3,5","4,5"\n', "line 1, column 1: expected a finite number, got '1,5'"),
    ("1,234;2\n5,678;3\n", "commas in numbers such as 1,234 may be of thousands or of decimals"),
    ("1,5;2.5\n3,5;4\n", "line 1, column 2: expected a decimal comma, as in other lines, got '2.5'"),
    ("a;b\n1.234,5;2\n1,5;2\n", r"line 2, column 1 \(a\): expected a finite number, got '1.234,5'"),
    (b"\xff\xfe1\x00,\x00\x00\xd8\n\x00", "expected UTF-16 text"),
    ('a,"b\n1,2\n' + "3,4\n" * 300_000, "line 1: a quote is opened and not closed"),
    ("a,label\n1,2\n3,0.5\n", "line 3, .*: expected a whole number as label, got '0.5'"),
    ("a,label\n1,1e300\n", "line 2, .*: expected a whole number as label, got '1e300'"),
    (b"1,2\n\xff\xfe,4\n", "line 2, column 1: expected a finite number"),
    (b"1,2\n3,\x00\n", "line 2: expected text, got a byte that is 0"),
    ("1,2\n3,4\n".encode("utf-16-le"), "line 1: expected text, got a byte that is 0"),
    (b"PK\x03\x04\x14\x00\x06", "expected lines of text, got a zip archive or an Excel workbook; unpack it"),
    (gzip.compress(b"1,2\n"), "expected lines of text, got a gzip archive"),
    (b"PAR1\x15\x04", "expected lines of text, got a Parquet file"),
    (
        'a,class\n1,2\n3,"1,234"\n',
        r"line 3, column 2 \(class\): expected a number without commas of thousands, got '1,234'",
    ),
    ('a,target\n1,"-294,262.5"\n', r"line 2, column 2 \(target\): expected a number without commas of thousands"),
    ('1,2\n3,"' + "9" * 200_000 + '"\n', "line 2: field larger than field limit"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED_CSV, ids=range(len(DAMAGED_CSV)))
def test_damaged_csv_file(csv_file, content, message):
    name = csv_file(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(name)
    assert str(caught.value).startswith(name[4:])
    assert len(str(caught.value)) < len(name) + 120


@settings(deadline=None, max_examples=50)
@given(data_=st.data(), width=st.integers(1, 4), header=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trip(tmp_path_factory, data_, width, header, end):
    row = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=width, max_size=width)
    rows = data_.draw(st.lists(row, min_size=1, max_size=6))
    lines = [",".join(f"c{i}" for i in range(width))] * header + [",".join(map(repr, r)) for r in rows]
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(end.join(lines).encode())
    assert data.load("csv", path=path).x.tolist() == rows


def test_what_numpy_writes(tmp_path):
    values = np.random.default_rng(0).standard_normal((5, 3))
    for options in (
        {},
        {"delimiter": ","},
        {"delimiter": ";", "header": "a;b;c"},
        {"delimiter": ",", "header": "a,b,c"},
    ):
        np.savetxt(tmp_path / "a.csv", values, fmt="%.17e", **options)
        assert np.array_equal(data.load("csv", path=tmp_path / "a.csv").x.numpy(), values)


@settings(max_examples=60)
@given(
    values=st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1),
    separator=st.sampled_from([",", ";", "\t"]),
    index=st.booleans(),
    place=st.sampled_from([None, 0, 2, 3]),
    quoted=st.sampled_from([0, 1]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_pandas_writes_is_read_back(tmp_path_factory, values, separator, index, place, quoted, end):
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    if place is not None:
        frame.insert(place, "label", range(len(values)))
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    frame.to_csv(path, sep=separator, index=index, quoting=quoted, lineterminator=end)
    ds = data.load("csv", path=path)
    assert ds.x.tolist() == values
    assert (ds.y is None) == (place is None)
    if place is not None:
        assert ds.y.tolist() == list(range(len(values)))

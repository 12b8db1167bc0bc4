import pytest
import torch
from cases.datasets import is_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data


@pytest.fixture
def csv_file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"csv:{path}"

    return write


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


def test_csv_label_elsewhere_is_a_feature(csv_file):
    assert is_dataset(data.load(csv_file("label,a\n1,2\n")), 1, 2, None)


def test_csv_of_one_column(csv_file):
    assert data.load(csv_file("1\n2\n")).x.tolist() == [[1], [2]]


DAMAGED_CSV = [
    ("", "the file is empty"),
    ("\n \n", "the file is empty"),
    ("a,b\n\n", "after the header in line 1"),
    ("label\n1\n", "line 1: expected a feature column before 'label'"),
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
    ("1;2\n3;4\n", "line 2, column 1: .* got '3;4'"),
    ("a,label\n1,2\n3,0.5\n", "line 3: expected a whole number as label, got '0.5'"),
    ("a,label\n1,1e300\n", "line 2: expected a whole number as label, got '1e300'"),
    (b"1,2\n\xff\xfe,4\n", "line 2, column 1: expected a finite number"),
    (b"1,2\n3,\x00\n", "line 2, column 2: expected a finite number"),
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

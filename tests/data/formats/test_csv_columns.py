import numpy as np
import pandas as pd
import pytest
import torch
from cases.datasets import is_dataset

from gatentk import data
from gatentk.errors import DataError

FRAME = pd.DataFrame({"p0": [0.5, 1.25, -3.0], "p1": [2.0, 4.5, 6.0]})
TABLE = [[0.5, 2.0], [1.25, 4.5], [-3.0, 6.0]]


@pytest.mark.parametrize("name", ["label", "Class", "target", "y"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("index", [False, True])
def test_y_stands_anywhere(csv_file, name, place, index):
    if name == "y" and place == 1:
        pytest.skip("between others it may be a coordinate")
    frame = FRAME.copy()
    frame.insert(place, name, [3, 1, 3])
    ds = data.load(csv_file(frame.to_csv(index=index)))
    assert ds.x.tolist() == TABLE
    assert ds.y.tolist() == [3, 1, 3]
    assert ds.y.dtype == (torch.int64 if name in ("label", "Class") else torch.float64)
    assert f"({name}) is y: " in ds.note
    assert ("left out as the rows' index" in ds.note) == index


def test_y_between_others_may_be_a_coordinate(csv_file):
    ds = data.load(csv_file("x,y,z\n1,2,3\n"))
    assert is_dataset(ds, 1, 3, None)
    assert ds.note.endswith("column 2 (y) is a feature, being neither the first nor the last, so there is no y")
    assert data.load(csv_file("x,y,label\n1,2,3\n4,5,6\n")).x.tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
    "rows", [None, [5, 2, 9], ["a", "b", "c"], [7, 7, 7], pd.date_range("2020-01-01", periods=3)], ids=str
)
def test_the_index_that_pandas_writes_is_no_feature(csv_file, tmp_path, rows):
    frame = FRAME if rows is None else FRAME.set_axis(rows, axis=0)
    once = csv_file(frame.to_csv())
    assert data.load(once).x.tolist() == TABLE
    assert data.load(csv_file(pd.read_csv(once[4:]).to_csv(index=False))).x.tolist() == TABLE  # "Unnamed: 0"
    if rows is None:
        whole = data.load(once, index=False)
        assert whole.x.tolist() == [[i, *row] for i, row in enumerate(TABLE)]
        assert "column" not in whole.note.partition("no column")[0]


@pytest.mark.parametrize("dtype", [float, int])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("index", [False, True])
def test_numbers_of_columns_are_a_header(csv_file, dtype, columns, index):
    values = np.random.default_rng(0).integers(-50, 50, (7, columns)).astype(dtype) / (1 if dtype is int else 4)
    values = values.astype(dtype)
    ds = data.load(csv_file(pd.DataFrame(values).to_csv(index=index)))
    if dtype is int and columns < 4 and not index:  # 0,1 above whole numbers may be a sample
        assert len(ds.x) == 8
        assert "is a sample" in ds.note
        ds = data.load(ds.name, header=True)
    assert np.array_equal(ds.x.numpy(), values)


@pytest.mark.parametrize("columns", [3, 4, 20])
@pytest.mark.parametrize("index", [False, True])
def test_columns_numbered_from_one_are_a_header(csv_file, columns, index):
    values = np.random.default_rng(0).integers(-50, 50, (7, columns)) / 4
    ds = data.load(csv_file(pd.DataFrame(values, columns=range(1, columns + 1)).to_csv(index=index)))
    assert np.array_equal(ds.x.numpy(), values)
    assert "numbers the columns" in ds.note


def test_pixels_numbered_from_one_are_a_header(csv_file):
    """As of a table without a header whose column 0, the labels, was taken out."""
    values = np.random.default_rng(0).integers(0, 255, (7, 30))
    frame = pd.DataFrame(np.c_[range(7), values]).drop(columns=0)
    assert np.array_equal(data.load(csv_file(frame.to_csv(index=False))).x.numpy(), values)


@pytest.mark.parametrize("columns", [2, 3, 4, 8, 20])
def test_samples_that_go_on_counting_are_samples(csv_file, columns):
    values = np.arange(1, 5 * columns + 1).reshape(5, columns)
    text = "".join(",".join(map(str, row)) + "\n" for row in values)
    assert np.array_equal(data.load(csv_file(text)).x.numpy(), values)


def test_whole_numbers_above_broken_ones_are_said_to_be_a_sample(csv_file):
    ds = data.load(csv_file("2019,2020,2021\n1.5,2.5,3.5\n"))
    assert len(ds.x) == 2
    assert ds.note.endswith("line 1, 2019,2020,2021, is a sample")
    assert data.load(ds.name, header=True).x.tolist() == [[1.5, 2.5, 3.5]]


@pytest.mark.parametrize("text", [",5,9\n1,2,3\n", ",2,1\n1,2,3\n", ",1,3\n1,2,3\n"])
def test_a_missing_first_value_is_no_index(csv_file, text):
    with pytest.raises(DataError, match=r"line 1, column 1: expected a finite number, got ''; is a value missing"):
        data.load(csv_file(text))


LEVELS = {
    2: pd.MultiIndex.from_product([[0, 1], [10, 11]]),
    3: pd.MultiIndex.from_product([["a", "b"], [2020, 2021], [1]]),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("names", [["f", "g", "h"], ["f", "label", "h"], range(3)])
def test_all_levels_of_an_index_are_left_out(csv_file, levels, names):
    values = np.array([[0.5, 1, -1.5], [2.5, 0, 3.5], [4.25, 1, 1.25], [-2.5, 1, 7.5]])
    frame = pd.DataFrame(values, columns=names, index=LEVELS[levels])
    features = np.delete(values, 1, axis=1) if "label" in names else values
    name = csv_file(frame.to_csv())
    once = data.load(name)
    again = data.load(csv_file(pd.read_csv(name[4:]).to_csv(index=False)))  # "Unnamed: 0", "Unnamed: 1"
    for ds in (once, again, data.load(name, index=True)):
        assert np.array_equal(ds.x.numpy(), features)
        assert (ds.y is not None) == ("label" in names)
    assert f"columns 1 to {levels}, which have no names, are left out" in once.note


def test_a_column_without_a_name_beside_the_index_may_be_a_feature(csv_file):
    ds = data.load(csv_file(",,a\n0,1.5,2\n1,2.5,4\n"))
    assert ds.x.tolist() == [[1.5, 2], [2.5, 4]]
    assert "column 2, which has no name, is a feature" in ds.note


def test_a_sample_that_counts_is_a_sample(csv_file):
    assert data.load(csv_file("0,1\n1,0\n1,1\n")).x.tolist() == [[0, 1], [1, 0], [1, 1]]
    assert data.load(csv_file("0,1\n0.5,2\n3,1\n")).x.tolist() == [[0, 1], [0.5, 2], [3, 1]]  # as "%g" writes it
    assert data.load(csv_file("0,1\n0.5,2.0\n3.0,1.0\n")).x.tolist() == [[0.5, 2], [3, 1]]
    assert data.load(csv_file("0,1\n0.5,2.0\n"), header=False).x.tolist() == [[0, 1], [0.5, 2]]


def test_a_column_that_counts_the_lines_is_said(csv_file):
    name = csv_file("0,5\n1,7\n2,1\n")
    assert data.load(name).note == f"{name}: column 1 counts the lines and is a feature all the same"
    assert data.load(name, index=True).x.tolist() == [[5], [7], [1]]
    assert data.load(csv_file("id,a\n1,5\n2,7\n3,9\n")).note.startswith(f"{name}: column 1 (id) counts the lines")


def test_the_label_is_the_column_that_is_asked_for(csv_file):
    name = csv_file("price,label,area\n100000,1,2\n250000.5,2,3\n")
    ds = data.load(name, label="price")
    assert ds.y.tolist() == [100000, 250000.5]
    assert ds.x.tolist() == [[1, 2], [2, 3]]
    assert data.load(name, label="AREA").y.dtype == torch.int64
    assert data.load(name, label="").y is None
    assert data.load(csv_file("1,2,3\n4,5.5,6\n"), label="2").y.tolist() == [2, 5.5]
    assert data.load(csv_file("1,b,a\n0,5,7\n"), label="b").x.tolist() == [[0, 7]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label": "c"}, ValueError, "label: expected one of the columns 'a', 'b', 'b', got 'c'"),
        ({"label": "b"}, ValueError, "label: expected the name of one column, 2 are called 'b'"),
        ({"label": "a", "index": True}, ValueError, "label: expected another column than the index"),
        ({"label": "4", "header": False}, ValueError, "label: expected a column from 1 to 3"),
        ({"label": 1}, TypeError, "label: expected the name of a column, got int 1"),
        ({"index": "a"}, TypeError, "index: expected True or False, got str 'a'"),
        ({"header": 0}, TypeError, "header: expected True or False, got int 0"),
    ],
)
def test_columns_that_are_not_there(csv_file, arguments, error, message):
    with pytest.raises(error, match=message):
        data.load(csv_file("a,b,b\n1,2,3\n"), **arguments)


@pytest.mark.parametrize("argument", [{"label": "a"}, {"index": False}, {"header": True}])
@pytest.mark.parametrize("name", ["digits", "synthetic", "npy:a.npy"])
def test_columns_are_of_csv_files(name, argument):
    with pytest.raises(ValueError, match=f"{next(iter(argument))}: only csv files have columns"):
        data.load(name, **argument)

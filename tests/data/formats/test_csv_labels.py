import pytest
import torch

from gatentk import data


def test_whole_numbers_that_are_many_are_no_classes(csv_file):
    text = "\n".join(f"{i},{1000 * i}" for i in range(30))
    ds = data.load(csv_file(f"a,price\n{text}\n"), label="price")
    assert ds.y.dtype == torch.float64
    assert "column 2 (price) is y: numbers" in ds.note
    ds = data.load(csv_file("a,kind\n1,2\n3,5\n"), label="kind")
    assert ds.y.tolist() == [2, 5]
    assert ds.y.dtype == torch.int64


@pytest.mark.parametrize("header", ["a,class", "class,a", "a,target", "a,y"])
def test_classes_may_be_names(csv_file, header):
    names = ["virginica", "setosa", "virginica", "versicolor"]
    rows = [f"{i},{n}" if header.startswith("a") else f"{n},{i}" for i, n in enumerate(names)]
    ds = data.load(csv_file("\n".join([header, *rows])))
    assert ds.classes == ("setosa", "versicolor", "virginica")
    assert [ds.classes[i] for i in ds.y] == names
    assert ds.y.dtype == torch.int64
    assert "is y: classes setosa = 0, versicolor = 1, virginica = 2" in ds.note


def test_names_of_classes_in_latin_1(csv_file):
    ds = data.load(csv_file(b"a,class\n1,gr\xfcn\n2,blau\n3,7\n"))
    assert ds.classes == ("7", "blau", "grün")
    ds.note.encode()


def test_large_labels_stay_exact(csv_file):
    numbers = [2**53, 2**53 + 1, -(2**63), 2**63 - 1]
    ds = data.load(csv_file("a,label\n" + "\n".join(f"1,{n}" for n in numbers)))
    assert ds.y.tolist() == numbers
    assert data.load(csv_file("1e300,2\n9007199254740994,3\n")).x.tolist() == [[1e300, 2], [2**53 + 2, 3]]


@pytest.mark.parametrize("missing", ["", "?", "NA", " nan "])
@pytest.mark.parametrize("header", ["a,b,label", "a,b,target", "a,b,price"])
def test_a_column_without_any_value_is_that_of_samples_to_predict(csv_file, header, missing):
    ds = data.load(csv_file(f"{header}\n1,2,{missing}\n3,4,{missing}\n"), label=header.split(",")[-1])
    assert ds.y is None
    assert ds.x.tolist() == [[1, 2], [3, 4]]
    assert ds.features == ("a", "b")
    assert ds.note.endswith(f"column 3 ({header[4:]}) has no values, so there is no y")


def test_names_with_commas_are_classes(csv_file):
    ds = data.load(csv_file('a,class\n1,"1,234"\n2,"b,c"\n'))
    assert ds.classes == ("1,234", "b,c")

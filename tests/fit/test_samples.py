"""Two sides scaled alike, features matched by name, classes by their labels."""

import numpy as np
import pytest
import sklearn.datasets
import torch
from cases.fits import given, small, waves
from sklearn.preprocessing import StandardScaler

from gatentk import data
from gatentk.errors import DataError, FitError
from gatentk.fit.samples import prepare_fit, resembles_images

X, Y = waves(12)
Z, W = waves(5, seed=1)
NAMED = {"features": ("a", "b", "c")}


def test_standardised_by_the_train_samples_with_a_constant(monkeypatch):
    _, samples = given(monkeypatch, {"train": (X, Y), "test": (Z, W)}, test="test")
    scaler = StandardScaler().fit(X)
    for found, rows in ((samples.x, X), (samples.test_x, Z)):
        np.testing.assert_allclose(found[:, :3], scaler.transform(rows), rtol=1e-12)
        assert bool((found[:, 3] == 1).all())
    assert (samples.normalize, samples.constant, samples.classes) == ("standard", True, None)
    assert samples.test_name == "test"


@pytest.mark.parametrize(
    ("options", "constant"),
    [({}, True), ({"b_std": 0.3}, False), ({"constant": False}, False), ({"normalize": "none"}, False)],
)
def test_a_constant_is_there_unless_the_network_has_biases(monkeypatch, options, constant):
    _, samples = given(monkeypatch, {"train": (X, Y)}, **options)
    assert samples.constant == constant
    assert samples.x.shape[1] == 3 + constant


PIXELS = (np.random.default_rng(0).random((40, 16)) - 0.4).clip(0)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_digits_look_like_images(name):
    assert resembles_images(data.load(name, n=100).x)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_tables_do_not_look_like_images(name):
    assert not resembles_images(torch.from_numpy(getattr(sklearn.datasets, f"load_{name}")().data))


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (PIXELS, True),
        (1e-200 * PIXELS, True),
        (1e200 * PIXELS, True),
        (np.c_[PIXELS, np.zeros((40, 30))], True),  # a border that is never touched
        ((PIXELS > 0).astype(float), True),
        (PIXELS[:, :15], False),
        (-PIXELS, False),
        (PIXELS - np.eye(40, 16), False),
        (PIXELS + 1e-9, False),
        (PIXELS * np.r_[np.ones(15), 9], False),
        (np.zeros((3, 16)), True),
    ],
)
def test_images_are_of_one_scale_on_a_background(x, found):
    assert resembles_images(torch.from_numpy(x)) == found


def test_classes_of_a_table_are_standardised(monkeypatch):
    labels = np.arange(40) % 2
    _, samples = given(monkeypatch, {"train": (PIXELS + 1, labels)}, test_fraction=0)
    assert (samples.normalize, samples.constant, samples.uneven) == ("standard", True, 1.0)
    np.testing.assert_allclose(samples.x[:, :16].mean(dim=0), 0, atol=1e-14)
    _, samples = given(monkeypatch, {"train": (PIXELS, labels)}, test_fraction=0)
    assert (samples.normalize, samples.constant) == ("unit", False)
    _, samples = given(monkeypatch, {"train": (PIXELS, labels / 2 + 0.25)}, test_fraction=0)
    assert (samples.normalize, samples.constant) == ("standard", True)


def test_classes_of_images_are_scaled_to_norm_one_and_split_at_random():
    samples = prepare_fit(small())
    assert samples.normalize == "unit"
    np.testing.assert_allclose(samples.x.norm(dim=1), 1, rtol=1e-14)
    assert (len(samples.x), len(samples.test_x)) == (32, 8)
    assert sorted(torch.cat([samples.rows, samples.test_rows]).tolist()) == list(range(40))
    other = prepare_fit(small(data_seed=1))
    assert other.digest != samples.digest


def test_columns_are_matched_by_their_names(monkeypatch):
    order = [2, 0, 1]
    shuffled = {"features": tuple(NAMED["features"][k] for k in order)}
    _, samples = given(monkeypatch, {"train": (X, Y, NAMED), "test": (Z[:, order], W, shuffled)}, test="test")
    _, expected = given(monkeypatch, {"train": (X, Y), "test": (Z, W)}, test="test")
    assert torch.equal(samples.test_x, expected.test_x)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ((Z, W, {"features": ("a", "b", "d")}), r"test=test: .* lacks 'c' and also has 'd'"),
        ((Z[:, :2], W), "test=test: expected 3 features as train has, got 2"),
        ((np.c_[Z, Z], W, {"features": tuple("abcdef")}), r"test=test: .* it also has 'd', 'e', 'f'"),
        (
            (Z, np.zeros(5, int), {"classes": ("no",)}),
            "test: expected targets that are numbers, as those of train, got names such as 'no'",
        ),
    ],
)
def test_a_test_set_of_other_features_is_refused(monkeypatch, test, message):
    with pytest.raises(FitError, match=message):
        given(monkeypatch, {"train": (X, Y, NAMED), "test": test}, test="test")


def test_names_that_are_there_twice_are_matched_by_their_order_or_not_at_all(monkeypatch):
    twice = {"features": ("a", "a", "b")}
    _, samples = given(monkeypatch, {"train": (X, Y, twice), "test": (Z, W, twice)}, test="test")
    _, expected = given(monkeypatch, {"train": (X, Y), "test": (Z, W)}, test="test")
    assert torch.equal(samples.test_x, expected.test_x)
    assert samples.notes == ()
    with pytest.raises(FitError, match=r"in the order of train, .* \(more than one is called 'a'\)"):
        given(monkeypatch, {"train": (X, Y, twice), "test": (Z, W, {"features": ("b", "a", "a")})}, test="test")


@pytest.mark.parametrize("sides", [(NAMED, {}), ({}, NAMED)])
def test_features_that_have_names_on_one_side_only_are_said_to_be_in_order(monkeypatch, sides):
    sets = {
        name: (*values, more) for name, values, more in zip(("train", "test"), ((X, Y), (Z, W)), sides, strict=True)
    }
    _, samples = given(monkeypatch, sets, test="test")
    nameless = "test" if sides[0] else "train"
    assert samples.notes == (f"test: features are taken in the order they have, as those of {nameless} have no names",)


@pytest.mark.parametrize("label", ["1", "2", "3"])
def test_a_test_file_without_names_may_lack_the_column_of_a_number(tmp_path, label):
    rows = [(1, 2.5, 3.25), (2, 1, 4.5), (0, 3, 9.75)]
    train, test, both = (tmp_path / f"{name}.csv" for name in ("train", "test", "both"))
    column = int(label) - 1
    without = [(*row[:column], *row[column + 1 :]) for row in rows]
    for path, table in ((train, rows), (test, without), (both, rows)):
        path.write_text("\n".join(",".join(map(str, row)) for row in table) + "\n")
    for path, has_y in ((test, False), (both, True)):
        config = small(
            data=f"csv:{train}", test=f"csv:{path}", n=None, label=label, normalize="none", predict="numbers"
        )
        samples = prepare_fit(config)
        assert samples.test_x.tolist() == [list(map(float, row)) for row in without]
        assert (samples.test_y is not None) == has_y


def test_classes_of_two_files_are_matched_by_their_labels(monkeypatch):
    train = (X, np.arange(12) % 3, {"classes": ("a", "b", "c")})
    test = (Z, np.array([0, 1, 0, 1, 2]), {"classes": ("b", "c", "z")})
    _, samples = given(monkeypatch, {"train": train, "test": test}, test="test")
    assert samples.classes == ("a", "b", "c")
    assert samples.unseen == ("z",)
    assert samples.test_y.tolist() == [1, 2, 1, 2, 3]
    _, samples = given(monkeypatch, {"train": (X, np.arange(12) % 3 * 7), "test": (Z, [7.0, 0, 0, 14, 7])}, test="test")
    assert (samples.classes, samples.test_y.tolist()) == (("0", "7", "14"), [1, 0, 0, 2, 1])


@pytest.mark.parametrize("labels", [np.array([0.5, 1, 0, 1, 0]), np.zeros(5, int)])
def test_test_labels_of_another_kind_are_refused(monkeypatch, labels):
    more = {} if labels.dtype == float else {"classes": ("yes",)}
    got = "0.5" if labels.dtype == float else "names such as 'yes'"
    with pytest.raises(FitError, match=f"test: expected classes as in train, whole numbers, got {got}"):
        given(monkeypatch, {"train": (X, np.arange(12) % 2), "test": (Z, labels, more)}, test="test")


def write(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return f"csv:{path}"


def test_a_test_file_may_lack_the_column_to_predict(tmp_path):
    train = write(tmp_path / "train.csv", "a,b,price", [(1, 2.5, 3.25), (2, 1, 4.5), (0, 3, 9.75)])
    test = write(tmp_path / "test.csv", "b,a", [(2, 1), (3, 3)])
    samples = prepare_fit(small(data=train, test=test, n=None, label="price", normalize="none"))
    assert samples.test_y is None
    assert samples.test_x.tolist() == [[1, 2], [3, 3]]
    assert [note.split(":")[0] for note in samples.notes] == ["csv"]
    with pytest.raises(ValueError, match="label: expected one of the columns"):
        prepare_fit(small(data=train, test=test, n=None, label="weight"))
    with pytest.raises(DataError, match="No such file"):
        prepare_fit(small(data=train, test=f"csv:{tmp_path}/none.csv", n=None, label="price"))
    with pytest.raises(ValueError, match=r"^test: expected one of"):
        prepare_fit(small(data=train, test="no such set", n=None, label="price"))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, None), {}, "train has no targets to fit"),
        ((X, np.zeros(12, int)), {}, "expected train samples of at least two classes, all are of class 0"),
        ((X, np.zeros(12, int), {"classes": ("a", "b")}), {}, "at least two classes, all are of class a"),
        ((X, np.arange(12)), {}, "expected classes with several train samples, but no two of 10 have the same label"),
        ((X, Y), {"predict": "classes"}, "predict=classes: expected whole numbers or names as classes in train, got "),
        ((X, np.arange(12) % 2, {"classes": ("a", "b")}), {"predict": "numbers"}, "has names to predict, such as 'a'"),
        ((0 * X, Y), {}, "train: expected train samples that are not all zero"),
        ((X[:1], Y[:1]), {}, "expected at least 2 samples to leave one out, got 1"),
        ((X, Y), {"test_fraction": 0.01}, "test_fraction=0.01: train has 12 samples, 0 would be tests"),
        ((X, Y), {"test_fraction": 0.95}, "expected at least 2 samples to leave one out, got 1"),
    ],
)
def test_what_cannot_be_learnt_is_refused(monkeypatch, data, options, message):
    with pytest.raises(FitError, match=message):
        given(monkeypatch, {"train": data}, **options)


def test_a_test_sample_beyond_float64_is_named(monkeypatch):
    far = Z.copy()
    far[3, 0] = 1e300
    with pytest.raises(FitError, match=r"normalize=standard: test sample 3 .* leaves the range"):
        given(monkeypatch, {"train": (1e-200 * X, Y), "test": (far, W)}, test="test")


def test_oddities_of_the_data_are_counted(monkeypatch):
    x = np.r_[X, X[:2], np.zeros((1, 3))] * [1000, 1, 1]
    _, samples = given(monkeypatch, {"train": (x, np.arange(15) % 2)}, test_fraction=0, normalize="unit")
    assert (samples.duplicates, samples.zero_rows, samples.test_x) == (2, 1, None)
    assert samples.uneven > 100


def test_test_samples_that_are_train_samples_are_counted(monkeypatch):
    z = np.r_[Z, X[:2], X[:1]]
    _, samples = given(monkeypatch, {"train": (X, Y), "test": (z, np.zeros(8))}, test="test")
    assert samples.shared == 3
    assert given(monkeypatch, {"train": (X, Y)})[1].shared == 0


@pytest.mark.parametrize(
    ("y", "few"), [(Y, 0), (np.arange(12) % 3.0, 3), (np.arange(12.0), 0), (np.full(12, 2.0), 0), ([0.5, 1] * 6, 0)]
)
def test_few_whole_numbers_may_be_classes(monkeypatch, y, few):
    options = {"test_fraction": 0}
    _, samples = given(monkeypatch, {"train": (X, np.asarray(y))}, **options)
    assert samples.few_numbers == few
    assert samples.classes is None
    assert given(monkeypatch, {"train": (X, np.asarray(y))}, predict="numbers", **options)[1].few_numbers == 0


def test_what_is_predicted_may_be_said(monkeypatch):
    train, test = (X, np.arange(12) % 3.0), (Z, np.array([0.0, 1, 2, 0, 5]))
    _, samples = given(monkeypatch, {"train": train, "test": test}, test="test", predict="classes")
    assert (samples.classes, samples.unseen, samples.test_y.tolist()) == (("0", "1", "2"), ("5",), [0, 1, 2, 0, 3])
    train, test = (X, np.arange(12) % 3), (Z, np.array([0, 1, 2, 0, 5]))
    _, samples = given(monkeypatch, {"train": train, "test": test}, test="test", predict="numbers")
    assert (samples.classes, samples.test_y.tolist()) == (None, [0, 1, 2, 0, 5])

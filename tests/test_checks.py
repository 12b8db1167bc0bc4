"""Every check names the argument, what came and what was expected."""

import numpy as np
import pytest
import torch

from gatentk import checks


def test_tensors_are_taken_without_a_copy_and_without_their_graph():
    x = torch.ones(2, 3, requires_grad=True)
    result = checks.as_tensor("x", x)
    assert not result.requires_grad
    assert result.data_ptr() == x.data_ptr()
    array = np.ones((2, 3))
    assert checks.as_tensor("x", array).data_ptr() == array.ctypes.data


def test_arrays_that_torch_cannot_view_are_copied():
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(checks.as_tensor("x", array[::-1, ::-1]).numpy(), array[::-1, ::-1])
    array.flags.writeable = False
    np.testing.assert_array_equal(checks.as_tensor("x", array).numpy(), array)


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (
            r"x: expected float32 or float64, got a tensor of shape \(2,\), torch.int64",
            torch.ones(2, dtype=torch.int64),
        ),
        ("x: expected float32 or float64, got .*torch.float16", torch.ones(2, dtype=torch.half)),
        ("x: expected float32 or float64, got .*torch.bool", torch.ones(2, dtype=torch.bool)),
        (r"x: expected float32 or float64, got an array of shape \(2,\), float16", np.ones(2, dtype=np.float16)),
        ("x: expected float32 or float64, got an array .*>f8", np.ones(2, dtype=">f8")),
        ("x: expected float32 or float64, got an array .*object", np.array([None])),
        ("x: expected a torch tensor or numpy array, got float 1.5", 1.5),
        ("x: expected a torch tensor or numpy array, got NoneType None", None),
        ("x: expected a dense tensor, got layout torch.sparse_coo", torch.eye(2).to_sparse()),
    ],
)
def test_other_dtypes_types_and_layouts_are_refused(message, value):
    with pytest.raises(TypeError, match=message):
        checks.as_tensor("x", value)


def test_results_follow_the_first_input():
    result = torch.ones(2)
    assert isinstance(checks.like_input(result, np.ones(2), torch.ones(2)), np.ndarray)
    assert checks.like_input(result, torch.ones(2), np.ones(2)) is result


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value):
    x = torch.ones(2, 3, 4)
    x[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"K: expected finite values, got -?(nan|inf) at index \(1, 2, 3\)"):
        checks.check_finite("K", x)


def test_infinities_that_cancel_and_sums_that_overflow_are_told_apart():
    with pytest.raises(ValueError, match=r"at index \(0,\)"):
        checks.check_finite("K", torch.tensor([np.inf, -np.inf]))
    checks.check_finite("K", torch.full((4,), 3e38))
    checks.check_finite("K", torch.zeros(0, 3))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3), (3,), ()])
def test_samples_have_rows_and_columns(shape):
    with pytest.raises(ValueError, match=r"x: expected (shape \(\.\.\., n, d\)|at least one sample and one feature)"):
        checks.check_samples("x", torch.ones(shape))


def test_zero_rows_are_refused_only_on_demand():
    x = torch.ones(2, 3, 4)
    x[1, 0] = 0
    checks.check_samples("x", x)
    with pytest.raises(ValueError, match=r"x: row \(1, 0\) is all zero"):
        checks.check_samples("x", x, nonzero_rows=True)
    with pytest.raises(ValueError, match="x: row 0 is all zero"):
        checks.check_samples("x", x[1], nonzero_rows=True)
    checks.check_samples("x", torch.tensor([[1.0, -1.0], [0.0, 5e-324]], dtype=torch.float64), nonzero_rows=True)


def test_integers_of_any_kind_are_taken():
    assert checks.check_integer("depth", 3, 0) == 3
    result = checks.check_integer("depth", np.int32(3), 3)
    assert type(result) is int


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.float64(1), torch.tensor(1)])
def test_other_kinds_of_numbers_are_refused(value):
    with pytest.raises(TypeError, match="depth: expected an integer, got"):
        checks.check_integer("depth", value, 0)


def test_integers_below_the_minimum_are_refused():
    with pytest.raises(ValueError, match="depth: expected an integer of at least 1, got 0"):
        checks.check_integer("depth", 0, 1)


@pytest.mark.parametrize("value", ["C", "", None, 1, ["a"]])
def test_unknown_names_are_refused_with_the_list_of_known_ones(value):
    assert checks.check_choice("name", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="name: expected one of 'a', 'b', got"):
        checks.check_choice("name", value, ("a", "b"))


def test_descriptions_of_long_values_are_cut():
    assert len(checks.describe(list(range(1000)))) <= 120


def test_dtype_is_the_one_asked_for_or_the_default_one():
    assert checks.check_dtype(torch.float64) == torch.float64
    assert checks.check_dtype(None) == torch.get_default_dtype()
    with pytest.raises(TypeError, match=r"dtype: expected torch\.float32 or torch\.float64, got torch\.float16"):
        checks.check_dtype(torch.float16)

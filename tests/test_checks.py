"""Every check names the argument, what came and what was expected."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

import gatentk as gt
from gatentk import checks, gates, nn, ntk, ops
from gatentk.gates import GateTable


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
    assert checks.check_dtype(None, torch.float64) == torch.float64


@pytest.mark.parametrize("right", [torch.float32, torch.float64])
def test_a_dtype_may_be_one_of_numpy_or_a_name(right):
    name = str(right).removeprefix("torch.")
    for dtype in (right, name, f"torch.{name}", getattr(np, name), np.dtype(name), np.dtype(name).newbyteorder("=")):
        assert checks.check_dtype(dtype) == right


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.int64, "float", "float16", "double precision", np.int32, 64, []]
)
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"dtype: expected torch\.float32 or torch\.float64 .*, got"):
        checks.check_dtype(dtype)


CALLS_WITH_A_DTYPE = {
    "infinite": lambda dtype: ntk.infinite(np.eye(2), dtype=dtype),
    "infinite_sweep": lambda dtype: ntk.infinite_sweep(torch.eye(2), depths=[1], dtype=dtype),
    "MLP": lambda dtype: nn.MLP(2, 3, 1, dtype=dtype).weights[0],
    "ReLUNetwork": lambda dtype: nn.ReLUNetwork(2, 3, 1, dtype=dtype).weights[0],
    "GReLUNetwork": lambda dtype: nn.GReLUNetwork(2, 3, 1, dtype=dtype).weights[0],
    "GReLULinear": lambda dtype: nn.GReLULinear(2, 3, dtype=dtype).weight,
    "GateNetwork": lambda dtype: gates.GateNetwork(2, 3, 1, dtype=dtype).psi_1,
}


@pytest.mark.parametrize("call", CALLS_WITH_A_DTYPE.values(), ids=CALLS_WITH_A_DTYPE)
def test_every_dtype_can_be_a_name(call):
    for dtype in ("float32", "float64", "torch.float32", np.float64):
        assert str(call(dtype).dtype).removeprefix("torch.") == str(checks.check_dtype(dtype)).removeprefix("torch.")
    assert ops.fma_peak("float32") > 0


# Arrays of all kinds, at every function that takes one.


class Table:
    """An array of another library: `__array__` gives what it was made of, a masked array too."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


class OnADevice:
    """An array of another library that numpy cannot read and DLPack can."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion to a numpy array is not allowed")

    def __dlpack__(self, **options):
        return self.values.__dlpack__()

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class Tagged(torch.Tensor):
    """A subclass of the kind that packages of images and graphs bring."""


ROWS = np.array([[1.0, 2.0, -1.0], [0.5, 3.0, 4.0], [2.0, 0.25, 1.0]])
GRELU = gt.nn.GReLUNetwork(3, 8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
RELU = gt.nn.ReLUNetwork(3, 8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SYMMETRIC = ROWS @ ROWS.T

# By the argument: what is given, and what comes out of it as arrays.
ENTRIES = {
    "infinite": ("x", ROWS, lambda x: gt.ntk.infinite(x, depth=2)),
    "infinite, z": ("z", ROWS, lambda z: gt.ntk.infinite(ROWS, z, depth=2)),
    "infinite_sweep": ("x", ROWS, lambda x: gt.ntk.infinite_sweep(x, depths=[1, 3])),
    "empirical": ("x", ROWS, lambda x: gt.ntk.empirical(RELU, x)),
    "empirical, z": ("z", ROWS, lambda z: gt.ntk.empirical(RELU, ROWS, z)),
    "empirical, jacobian": ("x", ROWS, lambda x: gt.ntk.empirical(RELU, x, method="jacobian")),
    "embedding_angles": ("x", ROWS, lambda x: gt.ntk.embedding_angles(x, 2)),
    "gradient_angles": ("x", ROWS, lambda x: gt.ntk.gradient_angles(x, 2)),
    "min_angle": ("x", ROWS, lambda x: gt.ntk.min_angle(x, 2)),
    "angles_from_kernel": ("K", SYMMETRIC, gt.ntk.angles_from_kernel),
    "spectrum": ("K", SYMMETRIC, lambda K: gt.spectrum(K).lmin),
    "condition_number": ("K", SYMMETRIC, gt.condition_number),
    "gate table": ("x", ROWS, lambda x: GRELU.gate_net.table(x).bits),
    "grelu_to_relu": ("x", ROWS, lambda x: gt.convert.grelu_to_relu(GRELU, x)[0].weights[0].detach()),
    "low_rank_gates": ("x", ROWS, lambda x: gt.convert.low_rank_gates(RELU, x, rank=8)[1].output_error),
}
entries = pytest.mark.parametrize("entry", ENTRIES)


def masked(values):
    hidden = np.ma.MaskedArray(values.copy(), mask=np.zeros(values.shape, bool))
    hidden[1, 2] = np.ma.masked
    return hidden


def packed_field(values):
    """A field of records without padding: neither aligned nor with steps that are whole numbers."""
    records = np.zeros(values.shape, dtype=[("flag", "i1"), ("x", values.dtype)])
    records["x"] = values
    return records["x"]


TAKEN = {
    "masked array without a mask": lambda v: np.ma.MaskedArray(v),
    "masked array that masks nothing": lambda v: np.ma.MaskedArray(v, mask=np.zeros(v.shape, bool)),
    "matrix": lambda v: np.asmatrix(v),
    "list": lambda v: v.tolist(),
    "tuple of arrays": lambda v: tuple(v),
    "list of tensors": lambda v: list(torch.from_numpy(v)),
    "list of columns": lambda v: [pd.Series(row) for row in v],
    "list of numpy numbers": lambda v: [list(row) for row in v],
    "data frame": lambda v: pd.DataFrame(v),
    "data frame with repeated names": lambda v: pd.DataFrame(v, columns=["a", "a", "b"]),
    "data frame of nullable numbers": lambda v: pd.DataFrame(v).convert_dtypes(),
    "data frame with mixed dtypes": lambda v: pd.DataFrame(v).astype({1: np.float32}),
    "other byte order": lambda v: v.astype(v.dtype.newbyteorder("S")),
    "field of packed records": packed_field,
    "not aligned": lambda v: np.frombuffer(b"\0" + v.tobytes(), v.dtype, offset=1).reshape(v.shape),
    "backwards": lambda v: v[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "read-only": lambda v: np.broadcast_to(v, (1, *v.shape))[0],
    "another library": Table,
    "another library, by DLPack": lambda v: OnADevice(torch.from_numpy(v)),
    "subclass of tensors": lambda v: torch.from_numpy(v).as_subclass(Tagged),
    "parameter": lambda v: torch.nn.Parameter(torch.from_numpy(v)),
    "sign that is not yet turned": lambda v: (
        torch.complex(torch.zeros(v.shape).double(), torch.from_numpy(-v)).conj().imag
    ),
}


@entries
@pytest.mark.parametrize("form", TAKEN)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_of_all_kinds_give_the_same_numbers(entry, form):
    name, values, call = ENTRIES[entry]
    given = TAKEN[form](values)
    expected, got = call(values), call(given)
    assert torch.equal(torch.as_tensor(got), torch.as_tensor(expected))
    if isinstance(expected, np.ndarray) and name != "z":
        tensors = isinstance(given, torch.Tensor) or form == "list of tensors"
        assert isinstance(got, torch.Tensor if tensors else np.ndarray)


REFUSED = {
    "masked array": (masked, ValueError, r"1 of 9 values are masked, the first at index \(1, 2\); .*filled"),
    "list of masked rows": (lambda v: list(masked(v)), ValueError, r"\[1\]: 1 of 3 values are masked"),
    "masked array of another library": (lambda v: Table(masked(v)), ValueError, "1 of 9 values are masked"),
    "masked number": (lambda v: [[*v[0][:2], np.ma.masked], v[1], v[2]], ValueError, r"\[0\]\[2\]: 1 of 1 values"),
    "missing value": (
        lambda v: pd.DataFrame(v, columns=list("abc")).assign(c=[v[0, 2], None, v[2, 2]]),
        ValueError,
        "column 'c': 1 of 3 values are missing, the first at row 1",
    ),
    "missing nullable number": (
        lambda v: pd.DataFrame({0: v[:, 0], "n": pd.array([1, None, 2], dtype="Int64"), 2: v[:, 2]}),
        ValueError,
        "column 'n': 1 of 3 values are missing, the first at row 1",
    ),
    "text": (lambda v: pd.DataFrame(v).assign(name=["a", "b", "c"]), TypeError, "column 'name': expected numbers"),
    "categories": (
        lambda v: pd.DataFrame(v).assign(kind=pd.Categorical([1, 2, 1])),
        TypeError,
        "column 'kind': expected numbers, got category",
    ),
    "numbers as objects": (
        lambda v: pd.DataFrame(v.astype(object)),
        TypeError,
        "column 0: expected numbers, got object",
    ),
    "dates": (
        lambda v: pd.DataFrame({"day": pd.to_datetime(["2020-01-01"] * 3)}),
        TypeError,
        "column 'day': expected numbers, got datetime64",
    ),
    "complex column": (lambda v: pd.DataFrame(v * 1j), TypeError, "column 0: expected numbers, got complex128"),
    "sparse column": (
        lambda v: pd.DataFrame(v).astype(pd.SparseDtype(float)),
        TypeError,
        r"column 0: expected dense numbers, .*to_dense",
    ),
    "large integers": (
        lambda v: pd.DataFrame({0: [2**53 + 1, 1, 2]}),
        ValueError,
        "integers of at most 2.53.*, got 9007199254740993",
    ),
    "large integers in lists": (lambda v: [[2**53 + 1, 0.5, 1]] * 3, ValueError, "at most 2.53 .*got 9007199254740993"),
    "scipy.sparse matrix": (
        lambda v: scipy.sparse.csr_matrix(v),
        TypeError,
        r"got a csr_matrix of scipy; use .*toarray",
    ),
    "scipy.sparse array": (lambda v: scipy.sparse.coo_array(v), TypeError, r"got a coo_array of scipy; use .*toarray"),
    "torch, COO": (lambda v: torch.from_numpy(v).to_sparse(), TypeError, "layout torch.sparse_coo; use .*to_dense"),
    "torch, nested": (
        lambda v: torch.nested.nested_tensor(list(torch.from_numpy(v))),
        TypeError,
        "expected a dense tensor, got a nested tensor",
    ),
    "torch, masked": (
        lambda v: torch.masked.masked_tensor(torch.from_numpy(v), torch.from_numpy(v > 0)),
        TypeError,
        "expected a plain tensor, got a MaskedTensor of torch",
    ),
    "torch, meta": (
        lambda v: torch.from_numpy(v).to("meta"),
        ValueError,
        "expected numbers, got .* on meta, which has",
    ),
    "objects": (lambda v: v.astype(object), TypeError, r"float32 or float64, got .*object; use \w+\.astype\(float\)"),
    "integers": (lambda v: v.astype(int), TypeError, r"float32 or float64, got .*int64; use \w+\.astype\(float\)"),
    "complex": (lambda v: v.astype(complex), TypeError, "float32 or float64, got .*complex128"),
    "float16": (lambda v: v.astype(np.float16), TypeError, "float32 or float64, got .*float16"),
    "long double": (lambda v: v.astype(np.longdouble), TypeError, "float32 or float64, got .*(longdouble|float128)"),
    "records": (
        lambda v: v.copy().view([("a", "f8"), ("b", "f8"), ("c", "f8")]),
        TypeError,
        "(structured_to_unstructured|expected shape)",
    ),
    "rows of different lengths": (
        lambda v: [[1.0, 2.0], [1.0]],
        ValueError,
        r"\[1\]: expected shape \(2,\) as \w\[0\]",
    ),
    "text in lists": (lambda v: [["1", "2"]], TypeError, r"\[0\]\[0\]: expected a number or a row of numbers, got str"),
    "nothing in lists": (lambda v: [[1.0, None]], TypeError, r"\[0\]\[1\]: expected a number or a row"),
}


@entries
@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.filterwarnings("ignore:.*prototype", "ignore:.*Sparse")
def test_arrays_that_hide_or_lose_numbers_are_refused(entry, form):
    name, values, call = ENTRIES[entry]
    make, error, message = REFUSED[form]
    with pytest.raises(error, match=f"^{name}.*{message}"):
        call(make(values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_without_a_dtype_take_the_one_of_the_network(dtype):
    net = gt.nn.MLP(3, 4, 1, dtype=dtype)
    expected = gt.ntk.empirical(net, torch.from_numpy(ROWS).to(dtype))
    for x in (ROWS.tolist(), pd.DataFrame(ROWS), [*map(tuple, ROWS.tolist())]):
        got = gt.ntk.empirical(net, x)
        assert got.dtype == expected.numpy().dtype
        assert np.array_equal(got, expected)


def test_columns_of_bools_and_small_numbers_are_numbers():
    frame = pd.get_dummies(pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]}))
    assert checks.as_tensor("x", frame).tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0]]
    assert checks.as_tensor("x", pd.DataFrame({"a": np.ones(2, np.float32)})).dtype == torch.float32
    assert checks.as_tensor("x", [[True, 2], [False, 3]]).tolist() == [[1, 2], [0, 3]]
    assert checks.as_tensor("x", range(3)).tolist() == [0, 1, 2]


MASK = np.array([[[True, False, True], [False, False, True]]])


def test_gates_and_bits_of_arrays_of_all_kinds():
    table = GateTable.from_bool(MASK)
    forms = (MASK.tolist(), np.ma.MaskedArray(MASK), Table(MASK), torch.from_numpy(MASK).as_subclass(Tagged))
    for form in forms:
        assert torch.equal(GateTable.from_bool(form).bits, table.bits)
    bits = table.bits[0].numpy()
    expected = ops.gate_gram(bits)
    for form in (np.ma.MaskedArray(bits), packed_field(bits), pd.DataFrame(bits), list(bits)):
        assert np.array_equal(ops.gate_gram(form), expected)
    for given in (MASK[0], bits):
        hidden = np.ma.MaskedArray(given, mask=np.zeros(given.shape, bool))
        hidden[1, 2] = np.ma.masked
        call = GateTable.from_bool if given is MASK[0] else ops.gate_gram
        with pytest.raises(ValueError, match=r"1 of \d+ values are masked, the first at index .*1, 2"):
            call(hidden[None] if given is MASK[0] else hidden)


@pytest.mark.parametrize("kind", [bool, int])
def test_samples_chosen_by_arrays_of_all_kinds(kind):
    table = GateTable.from_bool(np.repeat(MASK, 2, axis=1))
    index = np.array([True, False, True, True]) if kind is bool else np.array([0, 2, 3])
    expected = table[index].bits
    for form in (index.tolist(), pd.Series(index), np.ma.MaskedArray(index), Table(index), index[::-1].copy()[::-1]):
        assert torch.equal(table[form].bits, expected)
    with pytest.raises(ValueError, match=r"index: 1 of .* values are masked"):
        table[np.ma.MaskedArray(index, mask=[True] + [False] * (len(index) - 1))]
    with pytest.raises(ValueError, match=r"index: 1 of .* values are missing"):
        table[pd.Series([None, *index[1:]], dtype="boolean" if kind is bool else "Int64")]


def test_operations_name_tensors_that_are_not_dense():
    sparse, eye = torch.eye(3).to_sparse(), torch.eye(3)
    with pytest.raises(TypeError, match=r"^z: expected a dense tensor, got layout torch\.sparse_coo"):
        ops.masked_linear(sparse, eye)
    with pytest.raises(TypeError, match=r"^acts\[0\]: expected a dense tensor"):
        ops.gram_ntk([sparse], [eye])
    with pytest.raises(TypeError, match=r"^x: expected a dense tensor"):
        GRELU(torch.eye(3).double().to_sparse())


def test_pandas_is_loaded_only_by_those_who_bring_it():
    code = "import sys, gatentk as gt; gt.ntk.infinite([[1.0, 2.0], [2.0, 1.0]]); print('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"

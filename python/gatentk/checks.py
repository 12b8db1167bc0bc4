"""Validation of what users pass in: every message names the argument, what came and what is expected.

Arrays of all kinds come through `plain`. What has a dtype of its own (tensors, numpy arrays, whatever has `__array__`)
must have a right one; lists of numbers and data frames have none, and take the one that is wanted. What hides values or
leaves them out (masks, missing values, sparse layouts) is refused with what to do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Samples = torch.Tensor | np.ndarray[Any, Any]  # as users pass them

FLOATS: tuple[torch.dtype, ...] = (torch.float32, torch.float64)

# What stands for a dtype; numpy's dtypes are equal to their names and types, but hash otherwise.
_DTYPES: dict[object, torch.dtype] = {
    name: torch_dtype
    for torch_dtype, numpy_type in ((torch.float32, np.float32), (torch.float64, np.float64))
    for name in (torch_dtype, str(torch_dtype), numpy_type, np.dtype(numpy_type), np.dtype(numpy_type).name)
}

_LARGEST_WHOLE = 2**53  # every integer up to here is a float64
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_ARRAY_METHODS = ("__array__", "__array_interface__", "__dlpack__")


def describe(value: object) -> str:
    """What came, in a few words: type, shape, dtype."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}, on {value.device}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype}"
    return f"{type(value).__name__} {value!r}"[:120]


def plain(name: str, value: object) -> torch.Tensor | np.ndarray[Any, Any] | None:
    """The numbers of an array of any kind, as a dense tensor or a numpy array in native byte order; None if it is none.

    Memory is shared where that is possible. A masked array is taken if nothing in it is masked.

    Raises:
        TypeError: a sparse, nested or wrapped array; a list or a column of a data frame that is not of numbers.
        ValueError: masked or missing values; rows of different lengths; integers that are no float64 beside floats.
    """
    if isinstance(value, torch.Tensor):
        return check_dense(name, value)
    if isinstance(value, np.ndarray):
        return _plain_array(name, value)
    if isinstance(value, (list, tuple, range)):
        return _stacked(name, value)
    if isinstance(value, (np.generic, *_NUMBERS, str, bytes, type)):
        return None
    pandas = sys.modules.get("pandas")  # a value of its types cannot come while it is not loaded
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return _from_pandas(pandas, name, value)
    if type(value).__module__.partition(".")[0] in ("scipy", "sparse"):
        raise TypeError(f"{name}: expected a dense array, got a {_type_name(value)}; use {name}.toarray()")
    if any(hasattr(value, method) for method in _ARRAY_METHODS):
        return _from_protocol(name, value)
    return None


def check_dense(name: str, value: torch.Tensor) -> torch.Tensor:
    """A tensor with its numbers in memory as they are; no sparse, nested, masked or otherwise wrapped one."""
    kind = type(value)
    if kind is not torch.Tensor and kind is not torch.nn.Parameter:
        if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
            advice = f"{name}.to_tensor(value)" if kind.__name__ == "MaskedTensor" else "a tensor of its values"
            raise TypeError(f"{name}: expected a plain tensor, got a {_type_name(value)}; use {advice}")
        value = value.as_subclass(torch.Tensor)
    if value.layout != torch.strided or value.is_nested:
        got = "a nested tensor" if value.is_nested else f"layout {value.layout}"
        advice = "torch.nested.to_padded_tensor" if value.is_nested else f"{name}.to_dense()"
        raise TypeError(f"{name}: expected a dense tensor, got {got}; use {advice}")
    # The imaginary part of a conjugate is a view of numbers whose sign is not yet turned.
    return value.resolve_neg()


def from_array(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A tensor that shares memory with an array, or with a copy where torch does not take the array as it is."""
    steps = all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)
    taken = steps and array.flags.writeable and array.flags.aligned
    return torch.from_numpy(array if taken else array.copy())


def as_tensor(name: str, value: object, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A detached float32 or float64 tensor of an array of any kind (see `plain`), sharing memory where possible.

    Numbers that have no dtype of their own get `dtype`, float64 if it is left out.
    """
    found = plain(name, value)
    if found is None:
        raise TypeError(f"{name}: expected a torch tensor or numpy array, got {describe(value)}")
    if isinstance(found, np.ndarray) and not _has_dtype(value):
        found = _floating(name, found, dtype)
    if isinstance(found, np.ndarray):
        if found.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: expected float32 or float64, got {describe(found)}{_dtype_advice(name, found)}")
        return from_array(found)
    if found.dtype not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {describe(found)}")
    if found.is_meta:
        raise ValueError(f"{name}: expected numbers, got {describe(found)}, which has none")
    return found.detach()


def of_dtype(name: str, value: object, dtype: torch.dtype) -> object:
    """A tensor of an array of any kind (see `plain`) if it has that dtype; else `value`, for a message to describe."""
    found = plain(name, value)
    if isinstance(found, np.ndarray) and found.dtype == str(dtype).removeprefix("torch."):
        return from_array(found)
    return found if isinstance(found, torch.Tensor) else value


def like_input(result: torch.Tensor, *inputs: object) -> Any:
    """`result` as the first input was: a tensor if it was one or several, else a numpy array."""
    return result if not inputs or _is_torch(inputs[0]) or result.device.type != "cpu" else result.numpy()


def _is_torch(value: object) -> bool:
    if isinstance(value, (list, tuple)) and value:
        return _is_torch(value[0])
    return isinstance(value, torch.Tensor)


def _has_dtype(value: object) -> bool:
    """Whether numbers come with a dtype that was chosen: not those of lists and data frames."""
    if isinstance(value, (list, tuple)) and value:
        return _has_dtype(value[0])
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return True
    if isinstance(value, (np.generic, *_NUMBERS, list, tuple, range)):
        return False
    return type(value).__module__.partition(".")[0] != "pandas"


def _plain_array(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if isinstance(array, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(array)
        if mask.dtype == np.bool_ and mask.any():  # records, whose masks are records, are refused by their dtype
            first = tuple(int(i) for i in np.argwhere(mask)[0])
            raise ValueError(
                f"{name}: {int(mask.sum())} of {mask.size} values are masked, the first at index {first}; leave "
                f"those samples out, or say what they are by {name}.filled(value)"
            )
        array = array.data
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _stacked(name: str, rows: Sequence[Any]) -> torch.Tensor | np.ndarray[Any, Any]:
    """Nested lists of numbers or arrays: an axis a level."""
    kinds = set(map(type, rows))
    if all(issubclass(kind, _NUMBERS) for kind in kinds):
        return _numbers(name, rows, kinds)
    found: list[Any] = []
    for index, row in enumerate(rows):
        part = plain(f"{name}[{index}]", row)
        if part is None and isinstance(row, _NUMBERS):
            part = np.asarray(row)
        if part is None:
            raise TypeError(f"{name}[{index}]: expected a number or a row of numbers, got {describe(row)}")
        if found and part.shape != found[0].shape:
            raise ValueError(
                f"{name}[{index}]: expected shape {tuple(found[0].shape)} as {name}[0], got {describe(part)}"
            )
        found.append(part)
    if all(isinstance(part, torch.Tensor) for part in found):
        first = found[0]
        for index, part in enumerate(found):
            if part.dtype != first.dtype or part.device != first.device:
                raise TypeError(
                    f"{name}[{index}]: expected {first.dtype} on {first.device} as {name}[0], got {describe(part)}"
                )
        return torch.stack([part.detach() for part in found])
    return np.stack([part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part for part in found])


def _numbers(name: str, values: Sequence[Any], kinds: set[type]) -> np.ndarray[Any, Any]:
    # Beside floats, and with and without sign, numpy rounds integers to float64.
    if len(kinds) > 1:
        for index, value in enumerate(values):
            if isinstance(value, (int, np.integer)) and abs(int(value)) > _LARGEST_WHOLE:
                raise ValueError(
                    f"{name}[{index}]: expected integers of at most 2^53 beside other numbers, got {value}"
                )
    return np.array(values)


def _floating(name: str, array: np.ndarray[Any, Any], dtype: torch.dtype | None) -> np.ndarray[Any, Any]:
    """Numbers without a dtype of their own in that one; float32 stays if none is wanted."""
    if array.dtype.kind == "O" and array.size:
        raise ValueError(f"{name}: expected integers of at most 2^53, got larger ones")
    if array.dtype.kind in "iu" and array.size and not -_LARGEST_WHOLE <= array.min() <= array.max() <= _LARGEST_WHOLE:
        raise ValueError(f"{name}: expected integers of at most 2^53, which float64 can hold, got {_extreme(array)}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array  # is refused
    if dtype is None:
        return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
    return array.astype(str(dtype).removeprefix("torch."), copy=False)


def _extreme(array: np.ndarray[Any, Any]) -> int:
    return max(int(array.min()), int(array.max()), key=abs)


def _dtype_advice(name: str, array: np.ndarray[Any, Any]) -> str:
    if array.dtype.names:
        return f"; use numpy.lib.recfunctions.structured_to_unstructured({name})"
    return f"; use {name}.astype(float)" if array.dtype.kind in "biufO" else ""


def _from_pandas(pandas: Any, name: str, value: Any) -> np.ndarray[Any, Any]:
    """A data frame or a column as float32 if all columns are, else in the dtype that holds all of them exactly."""
    whole = value.to_frame() if isinstance(value, pandas.Series) else value
    columns = []
    for position, label in enumerate(whole.columns):
        column = whole.iloc[:, position]
        where = f"{name}: column {label!r}" if isinstance(value, pandas.DataFrame) else name
        columns.append(_column(pandas, where, column))
    if isinstance(value, pandas.Series):
        return columns[0]
    if not columns:
        return np.empty(whole.shape)
    kinds = {column.dtype for column in columns}
    if len(kinds) > 1:
        columns = [
            _floating(f"{name}: column {label!r}", column, torch.float64)
            for label, column in zip(whole.columns, columns, strict=True)
        ]
    return np.stack(columns, axis=1)


def _column(pandas: Any, where: str, column: Any) -> np.ndarray[Any, Any]:
    missing = column.isna().to_numpy()
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(
            f"{where}: {int(missing.sum())} of {len(column)} values are missing, the first at row {row} (from 0); "
            "leave those samples out by dropna, or say what they are by fillna"
        )
    dtype = column.dtype
    if isinstance(dtype, pandas.SparseDtype):
        raise TypeError(f"{where}: expected dense numbers, got {dtype}; use sparse.to_dense()")
    known = getattr(dtype, "numpy_dtype", dtype)  # of columns that may hold NA, which are objects as arrays
    array = column.to_numpy(dtype=known) if isinstance(known, np.dtype) and known.kind in "biuf" else None
    if not isinstance(array, np.ndarray) or array.dtype.itemsize > 8:
        raise TypeError(f"{where}: expected numbers, got {dtype}; leave it out, or encode it as numbers")
    return array


def _from_protocol(name: str, value: Any) -> torch.Tensor | np.ndarray[Any, Any]:
    """An array of another library: by `__array__`, which may give a subclass that hides values, else by DLPack."""
    try:
        found = np.asanyarray(value)
    except Exception as error:  # whatever the other library raises, on a device that numpy cannot read for one
        if not hasattr(value, "__dlpack__"):
            raise TypeError(f"{name}: expected numbers, got a {_type_name(value)}: {error}") from error
        return check_dense(name, torch.utils.dlpack.from_dlpack(value))
    if found.dtype == object and hasattr(value, "__dlpack__"):
        return check_dense(name, torch.utils.dlpack.from_dlpack(value))
    return _plain_array(name, found)


def _type_name(value: object) -> str:
    return f"{type(value).__name__} of {type(value).__module__.partition('.')[0]}"


def check_finite(name: str, value: torch.Tensor) -> None:
    """Raise ValueError at the first NaN or infinity, naming its index."""
    if not bool(torch.isfinite(value.sum())) and not bool(torch.isfinite(value).all()):
        index = tuple(int(i) for i in torch.nonzero(~torch.isfinite(value))[0])
        raise ValueError(f"{name}: expected finite values, got {value[index].item()} at index {index}")


def check_samples(name: str, value: torch.Tensor, *, nonzero_rows: bool = False) -> None:
    """Check a (..., n, d) array of samples: at least one row and column, finite, rows not zero if asked."""
    if value.dim() < 2:
        raise ValueError(f"{name}: expected shape (..., n, d), one row a sample, got {describe(value)}")
    if value.shape[-2] == 0 or value.shape[-1] == 0:
        raise ValueError(f"{name}: expected at least one sample and one feature, got {describe(value)}")
    check_finite(name, value)
    if nonzero_rows:
        zero = ~(value != 0).any(dim=-1)
        if bool(zero.any()):
            index = tuple(int(i) for i in torch.nonzero(zero)[0])
            row = index[0] if len(index) == 1 else index
            raise ValueError(f"{name}: row {row} is all zero, so its angle to other rows is undefined")


def check_integer(name: str, value: object, minimum: int) -> int:
    """`value` as an int that is at least `minimum`; bools and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {describe(value)}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {value}")
    if value >= 1 << 63:
        raise ValueError(f"{name}: expected an integer below 2^63, got {value}")
    return int(value)


def check_block(block: object, width: int) -> int:
    """Neighbouring neurons that share a gate: an integer from 1 to the width of their layer."""
    value = check_integer("block", block, 1)
    if value > max(width, 1):
        raise ValueError(f"block: expected at most width={width}, got {value}")
    return value


def check_dtype(dtype: object, default: torch.dtype | None = None) -> torch.dtype:
    """float32 or float64, as a torch or numpy dtype or by name; the default, or torch's, if it is left out.

    "float" is refused: it is float32 in torch and float64 in numpy and Python.
    """
    if dtype is None:
        return check_dtype(torch.get_default_dtype() if default is None else default)
    if isinstance(dtype, (torch.dtype, str, type, np.dtype)) and dtype in _DTYPES:
        return _DTYPES[dtype]
    expected = 'expected torch.float32 or torch.float64 ("float32", "float64")'
    raise TypeError(f"dtype: {expected}, got {dtype if isinstance(dtype, torch.dtype) else repr(dtype)}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """`value` if it is one of the known names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value

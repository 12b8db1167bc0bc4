"""ONNX files of networks, for onnxruntime and whatever else reads them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import Samples, as_tensor, describe
from gatentk.convert.plain import PlainGReLUNetwork, PlainGReLUSequential
from gatentk.convert.plain_forms import to_torch
from gatentk.errors import UnsupportedModuleError
from gatentk.extras import imports
from gatentk.runs.files import write_atomically

_AXES = {"masks": 1}  # of the samples, where it is not 0
_LARGEST = (1 << 31) - (1 << 20)  # bytes of weights in a file, which is one message of protobuf


def save_onnx(
    net: nn.Module,
    path: str | os.PathLike[str],
    x: Samples,
    masks: Tensor | Sequence[Tensor] | None = None,
    verify: bool = True,
) -> None:
    """Write a network as an ONNX file for batches of any size: input "x", output "y".

    What is exported is `to_torch(net)` in eval mode, by torch's exporter. With `masks` the file takes gates, too, as
    its input "masks", those of a `GReLUSequential` as "masks_0", "masks_1", ...

    Args:
        net: any network that `to_torch` takes, with one input.
        path: of the file, which is there whole or not at all.
        x: samples, of which dtype, dimensions but the first, and device are taken.
        masks: their gates, bool (layers, n, units), of a `GReLUNetwork`; of a `GReLUSequential` a list, a bool
            (n, width) for each layer with gates.
        verify: whether to run the file by onnxruntime on x before it gets its name, and compare outputs. Of gated
            networks a sample may differ where the sum of a gate is within rounding of zero.

    Raises:
        MissingExtraError: onnx, onnxscript or, to verify, onnxruntime is missing.
        TypeError, ValueError: arguments that do not fit, weights of 2 GB or more.
        UnsupportedModuleError: the network has no plain form, torch cannot export it for batches of any size, or
            onnxruntime cannot run it or gives other outputs for half of the samples or more.
        OSError: the file cannot be written.

    >>> import tempfile, torch
    >>> import gatentk as gt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gt.convert.save_onnx(gt.nn.MLP(3, 8, 1), f"{folder}/net.onnx", torch.eye(3))
    """
    with imports("onnx", "save_onnx"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        if verify:
            import onnxruntime  # noqa: F401
    plain = to_torch(net).eval().requires_grad_(False)
    inputs = _inputs(plain, x, masks)
    weights = [*plain.parameters(), *plain.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights)
    if size > _LARGEST:
        raise ValueError(f"net: expected weights of less than 2 GB, which an ONNX file can hold, got {size} bytes")
    if any(tensor.is_meta for tensor in weights):
        raise ValueError("net: expected weights, got some on the meta device, which have no values")
    content = _exported(plain, inputs)
    if verify:
        _verify(content, plain, inputs)
    write_atomically(Path(path), content)


def _inputs(plain: nn.Module, x: Samples, masks: object) -> dict[str, Tensor]:
    rows = x.detach() if isinstance(x, Tensor) else as_tensor("x", x)
    if rows.dim() < 2 or len(rows) == 0:
        raise ValueError(f"x: expected shape (n, ...) with at least one sample, got {describe(rows)}")
    if masks is None:
        return {"x": rows}
    if isinstance(plain, PlainGReLUNetwork):
        if not isinstance(masks, Tensor):
            raise TypeError(f"masks: expected a bool tensor, got {describe(masks)}")
        return {"x": rows, "masks": masks}
    if isinstance(plain, PlainGReLUSequential):
        layers = plain.gate_net.relus.count(True)
        if not isinstance(masks, (list, tuple)) or [isinstance(mask, Tensor) for mask in masks] != [True] * layers:
            raise TypeError(
                f"masks: expected a list of bool tensors, one for each of {layers} layers, got {describe(masks)}"
            )
        return {"x": rows, **{f"masks_{k}": mask for k, mask in enumerate(masks)}}
    raise TypeError("masks: expected None, as only a GReLUNetwork or a GReLUSequential takes gates beside x")


def _arguments(plain: nn.Module, values: Iterable[Any]) -> tuple[Any, ...]:
    """What `forward` takes, of a value for each input."""
    x, *others = values
    return (x, others) if others and isinstance(plain, PlainGReLUSequential) else (x, *others)


def _exported(plain: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    """The file for batches of any size."""
    count = torch.export.Dim("n")
    axes = [_AXES.get(name, 0) for name in inputs]
    # From a single sample the exporter would conclude that there is always one.
    example = [torch.cat([value, value], axis) for value, axis in zip(inputs.values(), axes, strict=True)]
    try:
        with warnings.catch_warnings():
            # What torch says of itself, and that x and masks have the same number of samples.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: n will not be used", UserWarning)
            program: Any = torch.onnx.export(
                plain,
                _arguments(plain, example),
                dynamo=True,
                dynamic_shapes=_arguments(plain, [{axis: count} for axis in axes]),
                input_names=list(inputs),
                output_names=["y"],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise UnsupportedModuleError(f"net: torch cannot export it for batches of any size: {reason}") from error
    graph = program.model_proto.graph
    for value in (*graph.input, *graph.output):
        axis = value.type.tensor_type.shape.dim[_AXES.get(value.name, 0)]
        if not axis.dim_param:
            raise UnsupportedModuleError(
                f"net: torch cannot export it for batches of any size: {value.name} came out with {axis.dim_value} rows"
            )
    content: bytes = program.model_proto.SerializeToString()
    return content


def _verify(content: bytes, plain: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Compare outputs of onnxruntime with those of torch, sample by sample."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        found: Sequence[Any] = session.run(None, {name: value.cpu().numpy() for name, value in inputs.items()})
    except Exception as error:  # onnxruntime has a dozen, of no common base
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedModuleError(f"net: onnxruntime cannot run it: {reason}") from error
    expected = plain(*_arguments(plain, inputs.values())).cpu()
    outputs = torch.from_numpy(found[0])
    differing = len(expected)
    if outputs.shape == expected.shape and outputs.dtype == expected.dtype:
        tolerance = torch.finfo(expected.dtype).eps ** 0.5
        alike = torch.isclose(
            outputs, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()), equal_nan=True
        )
        differing = int((~alike.flatten(1).all(1)).sum())
    if 2 * differing >= len(expected):
        raise UnsupportedModuleError(
            f"net: onnxruntime gives other outputs than torch for {differing} of {len(expected)} samples"
        )

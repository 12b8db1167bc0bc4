"""Networks in a folder of two files: the configuration as JSON, the weights in the format of safetensors; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from gatentk.checks import describe
from gatentk.errors import NetworkFileError, RunError
from gatentk.extras import imports
from gatentk.gates.weights import has_values
from gatentk.nn.configuration import CONFIGURATIONS, Configuration, configuration, expected, gate_network
from gatentk.runs.files import leftovers, write_atomically
from gatentk.runs.lock import FolderBusyError, FolderLock
from gatentk.runs.plain import from_json, to_json

Network = TypeVar("Network", bound=nn.Module)

CONFIG = "config.json"
FORMAT = 1
# By their content, so that a configuration and its weights belong together whenever a process is stopped.
_WEIGHTS = re.compile(r"model-[0-9a-f]{16}\.safetensors")
_OURS = re.compile(rf"{re.escape(CONFIG)}|{_WEIGHTS.pattern}")
_LARGEST_CONFIG = 1 << 20
_KINDS = {kind.__name__: kind for kind in CONFIGURATIONS}


@dataclass(frozen=True)
class _Weights:
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Config:
    format: int
    network: str
    configuration: Any
    weights: _Weights


def save_pretrained(net: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a network into a folder: `config.json`, and `model-HASH.safetensors`, which it names.

    The pair takes the place of one that is there, at once or, if anything stops it, not at all.

    Args:
        net: `MLP`, `ReLUNetwork`, `GReLUNetwork`, `GReLUSequential` or `GatedLinear`, on any device, in float32,
            float64 or bfloat16. Of a `GReLUSequential` each Dropout comes back as it is, on or off.
        folder: created if it is not there; other files in it stay.

    Raises:
        MissingExtraError: safetensors is missing.
        TypeError: another module, or a subclass.
        UnsupportedModuleError: a sequence with a module of another class; the message names it.
        ValueError: weights of other names, shapes or dtypes than its class has, without values, or, in a sequence, in
            two places; more modules than a configuration can have.
        NetworkFileError: the folder has a config.json of something else, or another process is writing to it.
        OSError: the files cannot be written.

    >>> import tempfile, torch
    >>> import gatentk as gt
    >>> net, x = gt.nn.GReLUNetwork(4, 64, 2), torch.eye(4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gt.nn.save_pretrained(net, folder)
    ...     same = gt.nn.from_pretrained(folder)
    >>> torch.equal(same(x, gates=net.gate_table(x)), net(x))
    True
    """
    with imports("safetensors", "save_pretrained"):
        import safetensors.torch as format_of_weights
    config, tensors = _checked(net), {}
    for name, tensor in net.state_dict().items():
        # Contiguous, and in memory of its own, which the format asks for.
        tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    content: bytes = format_of_weights.save(tensors, {"format": "pt"})
    digest = hashlib.sha256(content).hexdigest()
    weights = _Weights(f"model-{digest[:16]}.safetensors", len(content), digest)
    document = json.dumps(to_json(_Config(FORMAT, type(net).__name__, to_json(config), weights)), indent=2).encode()
    if len(document) >= _LARGEST_CONFIG:
        raise ValueError(f"net: expected a configuration of less than {_LARGEST_CONFIG} bytes, got {len(document)}")
    folder = Path(folder)
    try:
        lock = FolderLock(folder)
    except FolderBusyError as error:
        raise NetworkFileError(str(error)) from error
    try:
        if (folder / CONFIG).exists():
            _read_config(folder)  # which says if it is of something else
        is_new = not (folder / weights.file).exists()
        write_atomically(folder / weights.file, content)
        try:
            write_atomically(folder / CONFIG, document + b"\n")
        except BaseException:
            if is_new:
                (folder / weights.file).unlink()
            raise
        replaced = [path for path in folder.iterdir() if _WEIGHTS.fullmatch(path.name) and path.name != weights.file]
        for path in (*replaced, *leftovers(folder, _OURS)):
            path.unlink()
    finally:
        lock.close()


def _checked(net: object) -> Configuration:
    """The configuration of a network whose weights are as its class has them."""
    if type(net) not in CONFIGURATIONS:
        raise TypeError(f"net: expected one of {', '.join(_KINDS)}, no subclass, got {describe(net)}")
    assert isinstance(net, nn.Module)
    tensors = net.state_dict()
    if not all(map(has_values, tensors.values())):
        raise ValueError("net: expected weights with values, got some on the meta device")
    config = configuration(net)
    if wrong := _differences(tensors, config, config.build()):
        raise ValueError(f"net: expected the weights of a {type(net).__name__} of its sizes, {wrong}")
    return config


@overload
def from_pretrained(folder: str | os.PathLike[str], kind: type[Network]) -> Network: ...


@overload
def from_pretrained(folder: str | os.PathLike[str], kind: None = None) -> nn.Module: ...


def from_pretrained(folder: str | os.PathLike[str], kind: type[nn.Module] | None = None) -> nn.Module:
    """The network that `save_pretrained` has written into a folder, on the CPU.

    Args:
        folder: with the two files.
        kind: the class that it must be of; any if left out.

    Raises:
        MissingExtraError: safetensors is missing.
        OSError: a file cannot be read.
        NetworkFileError: there is a network of another class, or files are damaged, do not belong together, are of a
            newer version, or of nothing that this package knows.

    >>> import tempfile
    >>> import gatentk as gt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gt.nn.save_pretrained(gt.nn.MLP(4, 64, 2), folder)
    ...     gt.nn.from_pretrained(folder, gt.nn.MLP)
    MLP(
      d_in=4, width=64, depth=2, d_out=1, activation='relu'
      (weights): ParameterList(
          (0): Parameter containing: [torch.float32 of size 64x4]
          (1): Parameter containing: [torch.float32 of size 64x64]
          (2): Parameter containing: [torch.float32 of size 1x64]
      )
    )
    """
    with imports("safetensors", "from_pretrained"):
        import safetensors.torch as format_of_weights
    folder = Path(folder)
    document, content = _read(folder)
    if kind is not None and kind is not _KINDS[document.network]:
        raise NetworkFileError(
            f"{folder}: expected a {kind.__name__}, got a {document.network}; load it as that, or with kind=None"
        )
    path = folder / document.weights.file
    try:
        tensors: dict[str, Tensor] = format_of_weights.load(content)
    except Exception as error:  # safetensors' own, and KeyError for a dtype that it does not know
        raise NetworkFileError(f"{path}: not in the format of safetensors, {error}") from error
    place = f"{folder / CONFIG}: configuration"
    try:
        config: Configuration = from_json(CONFIGURATIONS[_KINDS[document.network]], document.configuration, place)
        if getattr(config, "depth", 0) > len(tensors):
            raise ValueError(f"depth={getattr(config, 'depth', 0)}, but there are {len(tensors)} tensors of weights")
        net = config.build()
    except RunError as error:
        raise NetworkFileError(str(error)) from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # torch refuses impossible sizes
        raise NetworkFileError(f"{place}: {error}") from error
    if wrong := _differences(tensors, config, net):
        raise NetworkFileError(f"{path}: weights of another network than {folder / CONFIG} says, {wrong}")
    net.load_state_dict(tensors, assign=True)
    gates, said = gate_network(net), getattr(config, "gates", None)
    if gates is not None and said is not None and gates.fingerprint != said.fingerprint:
        raise NetworkFileError(
            f"{path}: expected gates of fingerprint {said.fingerprint[:12]}..., got {gates.fingerprint[:12]}...: "
            f"tables of the network that was saved would not fit"
        )
    return net


def _differences(tensors: Mapping[str, Tensor], config: Configuration, built: nn.Module) -> str:
    """The first way in which weights are not those of a network, in words; empty where they are."""
    wanted = expected(config, built)
    for word, names in (("missing", wanted.keys() - tensors.keys()), ("unknown", tensors.keys() - wanted.keys())):
        if names:
            return f"{word} {', '.join(sorted(names))}"
    for name, (dtype, shape) in wanted.items():
        tensor = tensors[name]
        if (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
            return f"{name}: expected shape {shape}, {dtype}, got {tuple(tensor.shape)}, {tensor.dtype}"
    return ""


def _read(folder: Path) -> tuple[_Config, bytes]:
    """Configuration and weights that belong together."""
    document = _read_config(folder)
    while True:
        weights = document.weights
        path = folder / weights.file
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                content = file.read() if size == weights.bytes else b""
            break
        except FileNotFoundError as error:
            again = _read_config(folder)  # another network may have taken its place meanwhile
            if again == document:
                raise NetworkFileError(f"{path}: not there, although {folder / CONFIG} names it") from error
            document = again
    if size != weights.bytes:
        raise NetworkFileError(f"{path}: expected {weights.bytes} bytes, got {size}")
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise NetworkFileError(
            f"{path}: damaged, or the weights of another network: it does not fit the SHA-256 in {folder / CONFIG}"
        )
    return document, content


def _read_config(folder: Path) -> _Config:
    path = folder / CONFIG
    with path.open("rb") as file:
        content = file.read(_LARGEST_CONFIG + 1)
    try:
        if len(content) > _LARGEST_CONFIG:
            raise ValueError(f"larger than {_LARGEST_CONFIG} bytes")
        document = json.loads(content)
        known = isinstance(document, dict) and document.get("network") in _KINDS
    except (ValueError, RecursionError, TypeError) as error:  # TypeError: a network that is a list
        raise NetworkFileError(f"{path}: damaged, or not the configuration of a network, {error}") from error
    if not known:
        raise NetworkFileError(f"{path}: not the configuration of a network of gatentk ({', '.join(_KINDS)})")
    if type(document.get("format")) is int and document["format"] > FORMAT:
        raise NetworkFileError(
            f"{path}: format {document['format']}, this gatentk reads {FORMAT}; install the gatentk that wrote it"
        )
    try:
        config: _Config = from_json(_Config, document, str(path))
    except RunError as error:
        raise NetworkFileError(str(error)) from error
    if config.format != FORMAT or not _WEIGHTS.fullmatch(config.weights.file):
        raise NetworkFileError(f"{path}: damaged, it names format {config.format} and weights {config.weights.file!r}")
    return config

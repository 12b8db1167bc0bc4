"""checkpoint-SEED.pt: what a run goes on from, with a checksum, and the one before."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gatentk.errors import TrainingError
from gatentk.runs.files import open_atomically, temporary
from gatentk.runs.identity import changes_text, differing_names

SEAL = "sha256"  # key of the checksum
# What file systems answer that have no hard links.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
_KINDS: dict[str, Any] = {
    "identity": dict,
    "seed": int,
    "epoch": int,
    "rate": (float, int),
    "model": str,
    "network": dict,
    "optimizer": dict,
    "order": Tensor,
    "schedule": (dict, type(None)),
}


class DamagedCheckpointError(TrainingError):
    """A checkpoint is not what was written."""


class _Watched:
    """A file that remembers why it could not be written: torch says something else."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder."""
    return sorted(path for path in folder.glob("checkpoint-*.pt") if re.fullmatch(r"checkpoint-\d+\.pt", path.name))


def checkpoint_path(folder: Path, seed: int) -> Path:
    """Where the checkpoint of a seed is, if there is one."""
    return folder / f"checkpoint-{seed}.pt"


def previous_path(path: Path) -> Path:
    """Where the checkpoint before that is."""
    return path.with_suffix(".previous.pt")


def best_path(folder: Path, seed: int) -> Path:
    """Where the network of the best epoch of a seed is, if there is one."""
    return folder / f"best-{seed}.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint with a checksum of all of it; the one before is kept as `previous_path`.

    Args:
        path: of the file.
        state: tensors and plain values, in dictionaries and lists.

    Raises:
        OSError: it cannot be written; the one before stays where it is.
    """
    _write(path, state, lambda: _keep(path))


def _keep(path: Path) -> None:
    """Let the last checkpoint be the one before, too, until the new one is there; both are there all the time."""
    if not path.exists():
        return
    before = previous_path(path)
    link = temporary(before)
    try:
        os.link(path, link)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(path, before)
        return
    try:
        os.replace(link, before)
    finally:
        link.unlink(missing_ok=True)  # still there where both were the same file


def write_best(path: Path, state: dict[str, Any]) -> None:
    """Write the network of the best epoch (`Run.best_state`), with a checksum, in place of the one before.

    Raises:
        OSError: it cannot be written; the one before stays.
    """
    _write(path, state, lambda: None)


def read_best(path: Path) -> dict[str, Any]:
    """The network of the best epoch that a training wrote, with what belongs to it: see `Run.best_state`.

    Raises:
        OSError: the file cannot be read.
        TrainingError: it is damaged, or no such file.
    """
    state = _loaded(path)
    if not isinstance(state, dict) or not isinstance(state.get("measure"), str):
        raise TrainingError(f"{path}: not a best-SEED.pt of gatentk train")
    return state


def _write(path: Path, state: dict[str, Any], before: Callable[[], None]) -> None:
    with open_atomically(path, before=before) as file:
        watched = _Watched(file)
        try:
            torch.save({**state, SEAL: state_digest(state)}, watched)  # type: ignore[arg-type]
        except Exception:
            if watched.error is not None:
                raise watched.error from None
            raise


def read_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state in a checkpoint; None if there is no such file. Nothing but tensors and plain values is unpickled.

    Raises:
        TrainingError: it is damaged, or of a training with another identity (see `folder.identity`).
    """
    if not path.exists():
        return None
    state = _loaded(path)
    if not isinstance(state, dict) or not isinstance(state.get("identity"), dict):
        raise TrainingError(f"{path}: not a checkpoint of gatentk train")
    if names := differing_names(state["identity"], identity):
        changes = changes_text(state["identity"], identity, names)
        raise TrainingError(
            f"{path} is of another training ({changes}); choose another folder with folder=, or restart=True to start "
            "over"
        )
    for name, kind in _KINDS.items():
        if not isinstance(state.get(name), kind):
            raise DamagedCheckpointError(f"{path}: {name} is missing, or of another type; restart=True starts over")
    return state


def last_checkpoint(folder: Path, seed: int, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a run goes on from: that of the checkpoint before where the last one is damaged or missing.

    Raises:
        TrainingError: as `read_checkpoint`, if there is none before.

    Warns:
        UserWarning: the last one is damaged; it is replaced by the one before.
    """
    path = checkpoint_path(folder, seed)
    before = previous_path(path)
    try:
        state = _of_seed(path, seed, identity)
        if state is not None or not before.exists():
            return state
    except DamagedCheckpointError as error:
        if not before.exists():
            raise DamagedCheckpointError(
                f"{error}; there is none before it: without the file seed {seed} is trained from its start again"
            ) from error
        state = _of_seed(before, seed, identity)
        assert state is not None
        warnings.warn(
            f"{path}: damaged; going on from the checkpoint before it, of epoch {state['epoch']}", stacklevel=2
        )
    else:
        state = _of_seed(before, seed, identity)  # stopped between two renames of a file system without links
    os.replace(before, path)
    return state


def _of_seed(path: Path, seed: int, identity: dict[str, Any]) -> dict[str, Any] | None:
    state = read_checkpoint(path, identity)
    if state is not None and state["seed"] != seed:
        raise TrainingError(
            f"{path}: the checkpoint of seed {state['seed']}, not of seed {seed}; restart=True starts over"
        )
    return state


def _loaded(path: Path) -> Any:
    """What a checkpoint holds, without its checksum, which fits."""
    damaged = f"{path}: damaged, or not a checkpoint; restart=True starts over"
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wonders at damage
        try:
            state = torch.load(file, weights_only=True)
            if not isinstance(state, dict):
                return state
            is_whole = state.pop(SEAL, None) == state_digest(state)
        except MemoryError:
            raise
        except Exception as error:  # torch answers damage with a dozen exceptions, OSError among them
            raise DamagedCheckpointError(damaged) from error
    if not is_whole:
        raise DamagedCheckpointError(f"{damaged} (it does not fit its checksum)")
    return state


def state_digest(state: Any) -> str:
    """SHA-256 of nested dictionaries, lists, tensors and plain values: types, sizes, order and every bit."""
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)};".encode())
        for key, content in value.items():
            _feed(digest, key)
            _feed(digest, content)
    elif isinstance(value, (list, tuple)):
        digest.update(f"{'list' if isinstance(value, list) else 'tuple'} {len(value)};".encode())
        for content in value:
            _feed(digest, content)
    elif value is None or isinstance(value, (bool, int, float, str)):
        text = f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass")
        digest.update(f"{len(text)} ".encode() + text)
    else:
        raise TypeError(f"state: expected tensors and plain values, got {type(value).__name__}")

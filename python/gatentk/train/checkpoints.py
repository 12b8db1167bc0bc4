"""checkpoint-SEED.pt: what a run goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gatentk.errors import TrainingError
from gatentk.runs.files import open_atomically
from gatentk.runs.identity import changes_text, differing_names


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder."""
    return sorted(folder.glob("checkpoint-*.pt"))


def checkpoint_path(folder: Path, seed: int) -> Path:
    """Where the checkpoint of a seed is, if there is one."""
    return folder / f"checkpoint-{seed}.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays whole until then."""
    with open_atomically(path) as file:
        torch.save(state, file)


def read_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state in a checkpoint; None if there is no such file. Nothing but tensors and plain values is unpickled.

    Raises:
        TrainingError: it is damaged, or of a training with another identity (see `folder.identity`).
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        try:
            state = torch.load(file, weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # torch answers damage with a dozen exceptions, OSError among them
            raise TrainingError(f"{path}: damaged, or not a checkpoint; restart=True starts over") from error
    if not isinstance(state, dict) or not isinstance(state.get("identity"), dict):
        raise TrainingError(f"{path}: not a checkpoint of gatentk train")
    if names := differing_names(state["identity"], identity):
        changes = changes_text(state["identity"], identity, names)
        raise TrainingError(
            f"{path} is of another training ({changes}); choose another folder with folder=, or restart=True to start "
            "over"
        )
    return state

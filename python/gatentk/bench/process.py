"""A peer in another interpreter that keeps running and times one evaluation whenever it is asked."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from gatentk.errors import GateNTKError

SCRIPT = Path(__file__).with_name("neural_tangents_peer.py")
INSTALL = 'neural-tangents==0.6.5 jax==0.4.28 jaxlib==0.4.28 tf2jax==0.3.5 "numpy<2" "scipy<1.13"'
FASTER = "with jax==0.4.20 and jaxlib==0.4.20 structured derivatives run"


class PeerError(GateNTKError):
    """The peer's interpreter does not start, or what it runs failed; the message has its last words."""


@dataclass(frozen=True)
class Request:
    """What a peer in another process is to compute.

    Attributes:
        kind: "infinite" or "empirical".
        arrays: float32 or float64, "x" and for "empirical" "weight0" to "weight<depth>".
        depth: hidden layers.
        w_std, b_std: of all layers of an infinite network; None for those of `gatentk.nn.MLP`.
    """

    kind: str
    arrays: Mapping[str, Tensor]
    depth: int
    w_std: float | None = None
    b_std: float | None = None


class PeerProcess:
    """A running peer, warmed up; a context manager that ends it.

    Args:
        python: interpreter of an environment with neural-tangents.
        request: what to compute.
        threads: processors that it may use.
        script: what the interpreter runs.

    Attributes:
        name: which of its implementations the peer uses.
        versions: of the packages it is made of.
        failed: its faster implementations that do not run there, with their errors.

    Raises:
        PeerError: the interpreter cannot be run, or the peer failed.
    """

    def __init__(self, python: str | Path, request: Request, threads: int, script: Path = SCRIPT) -> None:
        self._python = python
        self._folder = tempfile.TemporaryDirectory(prefix="gatentk-bench-")
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = self._start(script)
            for name, tensor in request.arrays.items():
                np.save(Path(self._folder.name) / f"{name}.npy", tensor.detach().numpy())
            about = {name: getattr(request, name) for name in ("kind", "depth", "w_std", "b_std")}
            answer = self._ask({**about, "folder": self._folder.name, "threads": threads})
            self.name, self.versions = str(answer["implementation"]), dict(answer["versions"])
            self.failed: dict[str, str] = dict(answer["failed"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def result(self) -> Tensor:
        """What the warm-up computed."""
        return torch.from_numpy(np.load(Path(self._folder.name) / "result.npy"))

    def seconds(self) -> float:
        """Let the peer evaluate once and return the time that took inside it."""
        return float(self._ask({"command": "time"})["seconds"])

    def close(self) -> None:
        """End the process and remove its files."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._stderr.close()
        self._folder.cleanup()

    def _start(self, script: Path) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [str(self._python), str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                bufsize=1,
            )
        except OSError as error:
            raise PeerError(
                f"peers: expected a Python interpreter with neural-tangents, cannot run {self._python}: "
                f"{error.strerror}"
            ) from error

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise PeerError(f"peers: {self._python} ended without an answer; {self._last_words()}")
        if "error" in answer:
            raise PeerError(f"peers: {self._python} failed: {answer['error']}; {self._advice(str(answer['error']))}")
        return answer

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.kill()
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"its last message was: {lines[-1]}" if lines else f"it left no message (exit status {code})"

    @staticmethod
    def _advice(error: str) -> str:
        if "ImportError" in error or "ModuleNotFoundError" in error or "PackageNotFoundError" in error:
            return f"versions that work: {INSTALL}"
        return "see the command's help for the versions that work"

from __future__ import annotations

import json
import os
from dataclasses import replace

import click
import pytest
import torch
from cases.benchmark import FakeClock, measurement
from click.testing import CliRunner

from gatentk.bench import cuda, run
from gatentk.bench.case import Job, Work
from gatentk.bench.cases import CASES
from gatentk.bench.process import PeerError
from gatentk.cli import main
from gatentk.cli.bench import bench
from gatentk.errors import CudaMissingError
from gatentk.ops import cuda as cuda_ops


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatentk.ops.fma_peak", lambda dtype: 1e11)


def invoke(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(bench, arguments, catch_exceptions=True)


def test_command_prints_the_table_and_writes_the_file(tmp_path):
    out = tmp_path / "bench.json"
    result = invoke("--quick", "--repeats", "1", "-k", "pack", "--cases", "sweep", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "packbits" in result.output
    assert f"Wrote {out}" in result.output
    assert [case["name"] for case in json.loads(out.read_text())["cases"]] == ["sweep-f64", "pack-bits"]
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_an_interrupted_run_shows_what_it_has_and_writes_no_file(tmp_path, monkeypatch):
    def interrupted(*_):
        yield measurement()
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "measure_all", interrupted)
    result = invoke("--quick", "--out", str(tmp_path / "bench.json"))
    assert result.exit_code == 1
    assert "2.00 - 8.00x" in result.output
    assert not list(tmp_path.iterdir())


def test_command_warns_of_a_busy_machine(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (3.5, 0.0, 0.0))
    assert "Warning: the load average is 3.5" in invoke("--quick", "--repeats", "1", "-k", "pack").output
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert "Warning" not in invoke("--quick", "--repeats", "1", "-k", "pack").output


def test_command_refuses_before_it_measures(tmp_path):
    assert isinstance(invoke("-k", "nonsense").exception, ValueError)
    assert isinstance(invoke("--quick", "--peers", str(tmp_path / "nowhere")).exception, PeerError)
    missing = invoke("--quick", "--out", str(tmp_path / "no" / "bench.json"))
    assert missing.exit_code == 2
    assert "cannot write to the folder" in missing.output
    assert invoke("--repeats", "0").exit_code == 2


def test_without_a_device_the_command_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["bench", "--device", "cuda"])
    assert result.exit_code == 2
    assert result.output.startswith("Error: device: nothing to measure on, torch ")
    assert result.output.count("\n") == 1
    assert invoke("--device", "cuda", "--peers", "python").exit_code == 2


def test_without_kernels_the_command_says_so(monkeypatch):
    def missing():
        raise CudaMissingError("no CUDA kernels: built without them")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda_ops, "compiled", missing)
    result = CliRunner().invoke(main, ["bench", "--device", "cuda"])
    assert result.output == "Error: no CUDA kernels: built without them\n"


def test_the_command_measures_the_table_of_the_device(monkeypatch, tmp_path):
    job = Job(lambda: torch.ones(2), Work(9e9, 3e9, 6e6), {"cuBLAS": lambda: torch.ones(2)})
    case = replace(CASES[0], name="one", device="cuda", prepare=lambda case: job)
    monkeypatch.setattr(cuda, "CUDA_CASES", (case,))
    monkeypatch.setattr(cuda, "check", lambda: None)
    monkeypatch.setattr(cuda, "CudaClock", lambda: FakeClock(job.ours))
    result = invoke("--device", "cuda", "--repeats", "2", "--out", str(tmp_path / "bench.json"))
    assert result.exit_code == 0, result.output
    assert "1.50x" in result.output
    assert json.loads((tmp_path / "bench.json").read_text())["cases"][0]["device"] == "cuda"

"""What is measured on a CUDA device, without one."""

from dataclasses import replace

import pytest
import torch
from cases.benchmark import NAMES, FakeClock
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import ops
from gatentk.bench import cuda, results, run
from gatentk.bench.case import Job, Work
from gatentk.bench.cases import CASES, blocks


def test_every_case_is_measured_on_a_device_or_left_out_by_name():
    names = [case.name for case in cuda.CUDA_CASES]
    assert len(set(names)) == len(names)
    assert set(cuda.LEFT_OUT) < set(NAMES)
    for name in NAMES:
        rows = [row for row in names if row.startswith(name.removesuffix("f32"))]
        assert bool(rows) == (name not in cuda.LEFT_OUT), name
    assert {case.device for case in cuda.CUDA_CASES} == {"cuda"}
    forward = [row for row in names if row.startswith("masked-linear-forward-3072")]
    assert [row.rpartition("-")[2] for row in forward] == ["strict", "tf32x3", "tf32", "bf16"]
    assert all("plan" not in case.ours for case in cuda.CUDA_CASES)


ON_A_DEVICE = [
    case for case in cuda.CUDA_CASES if "-4096-" in case.name or "x4096-" in case.name or case.family == "gate_gram"
]


@pytest.mark.parametrize("case", ON_A_DEVICE, ids=[case.name for case in ON_A_DEVICE])
def test_both_sides_of_a_product_are_on_the_device(case):
    """Tensors without memory, so that the checks, shapes and devices are those of a real run."""
    small = replace(case.small(), device="cuda:0")
    with FakeTensorMode():
        job = small.prepare(small)
        ours = job.ours()
        theirs = [job.peer_comparable(peer()) for peer in job.peers.values()]
    assert ours.is_cuda
    assert all(peer.is_cuda and peer.shape == ours.shape for peer in theirs)
    assert job.work.moved > 0


@pytest.mark.parametrize("case", blocks.ON_A_DEVICE, ids=[case.name for case in blocks.ON_A_DEVICE])
def test_products_with_block_gates_are_those_of_their_peers(case):
    small = replace(case.small(), device="cpu")
    job = small.prepare(small)
    (peer,) = job.peers.values()
    torch.testing.assert_close(job.ours(), job.peer_comparable(peer()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ops.CUDA_PRECISIONS)
def test_both_sides_run_in_their_arithmetic_and_leave_the_settings_as_they_were(precision):
    seen = []

    def look():
        seen.append((ops.cuda_precision(), torch.backends.cuda.matmul.allow_tf32))
        return torch.zeros(1)

    case = replace(CASES[0], prepare=lambda case: Job(look, Work(1, 1), {"peer": look}))
    before = ops.cuda_precision(), torch.backends.cuda.matmul.allow_tf32
    job = cuda._in_arithmetic(case, precision, precision).prepare(case)
    job.ours()
    job.peers["peer"]()
    assert seen == [(precision, precision == "tf32")] * 2
    assert (ops.cuda_precision(), torch.backends.cuda.matmul.allow_tf32) == before


def test_a_clock_times_both_sides_and_the_table_has_flops_and_bytes():
    def ours():
        return torch.ones(2)

    job = Job(ours, Work(dense=9e9, performed=3e9, moved=6e6), {"cuBLAS": lambda: torch.ones(2)})
    case = replace(CASES[0], name="one", device="cuda", at_least=None, aim=None, prepare=lambda case: job)
    clock = FakeClock(ours)
    (measured,) = run.measure_all([case], 3, clock=clock)
    assert clock.calls.count(ours) == 3
    assert (measured.ours, measured.peer, measured.ratio) == ((2e-3,) * 3, (3e-3,) * 3, pytest.approx(1.5))
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table([measured]))
    text = console.export_text()
    for expected in ("TFLOP/s", "2.00 ms", "3.00 ms", "1.50x", "4.50 dense", "1.50 done", "3.00 GB/s"):
        assert expected in text
    assert "GFLOP/s" not in text
    record = results.document([measured])["cases"][0]
    assert (record["device"], record["moved_bytes_per_second"]) == ("cuda", pytest.approx(3e9))

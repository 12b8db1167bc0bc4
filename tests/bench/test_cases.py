"""The table: both sides of every row, and the operations that it counts."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from cases.benchmark import NAMES, named
from torch.nn import functional

from gatentk import convert, data, ops
from gatentk.bench import run
from gatentk.bench.case import Case, Shape, Work
from gatentk.bench.cases import CASES, machines

ELSEWHERE = [case for case in CASES if "neural-tangents" in case.peer]
HERE = [case for case in CASES if case not in ELSEWHERE]


# Sides that compute different things: a gradient beside its kernel, samples left out beside folds, a network with gates
# of its own beside a ReLU network, plans beside a step.
DIFFERENT = (
    "infinite-backward-500-f64",
    "infinite-backward-2000-f64",
    "leave-one-out-f64",
    "fit-classes-f64",
    "fit-numbers-f64",
    "plan-building",
    "block-plan-building",
    "block-training-step-f32",
    "block-training-step-on-the-fly-f32",
    "block-inference-f32",
    "block-inference-one-sample-g64-f32",
    "block-inference-one-sample-g32-f32",
)


def tolerance(case: Case) -> float:
    if case.family == "spectra":
        return 1e-8
    if "low-rank" in case.name:
        return 0.5  # its gates are predictions
    if "gradient" in case.name:
        return 1e-10  # cosines lose the digits of close samples
    return 1e-5 if case.dtype == torch.float32 else 1e-13


def test_names_are_distinct_and_rows_have_their_thresholds():
    assert len(set(NAMES)) == len(NAMES)
    asked = {case.name: (case.at_least, case.aim) for case in CASES if case.at_least is not None}
    assert asked == {
        "infinite-f64": (25, 40),
        "infinite-biases-f64": (20, 35),
        "sweep-f64": (1.3, 1.1),
        "gram-f32": (3.5, 5),
        "gram-f64": (3, 5),
        "empirical-f64": (2.5, 4),
        "empirical-2000-f64": (3.5, 6),
        "spectrum-f64": (3, 5),
        "leave-one-out-f64": (3, 6),
        **{f"masked-linear-forward-{width}-f32": (1.9, 2.4) for width in (2048, 3072, 4096)},
        **{f"masked-linear-input-grad-{width}-f32": (1.8, 2.3) for width in (2048, 3072, 4096)},
        **{f"masked-linear-weight-grad-{width}-f32": (1.8, 2.3) for width in (2048, 3072, 4096)},
        "masked-linear-forward-2048-f64": (1.8, 2.3),
        "training-step-f32": (1.7, 2.2),
        "relu-inference-exact-f32": (1.4, 1.8),
        "relu-inference-low-rank-f32": (1.5, 2.2),
        **{f"block-forward-{width}-g64-f32": (3.0, 3.6) for width in (2048, 3072, 4096)},
        **{f"block-forward-{width}-g32-f32": (2.6, 3.2) for width in (2048, 3072, 4096)},
        **{f"block-forward-{width}-g16-f32": (1.9, 2.4) for width in (2048, 3072, 4096)},
        **{f"block-input-grad-{width}-g64-f32": (2.8, 3.5) for width in (2048, 3072, 4096)},
        **{f"block-weight-grad-{width}-g64-f32": (2.8, 3.5) for width in (2048, 3072, 4096)},
        "block-forward-2048-g64-f64": (2.8, 3.5),
        "block-training-step-f32": (2.6, 3.2),
        "block-training-step-on-the-fly-f32": (2.4, 3.0),
        "block-inference-f32": (2.4, 3.0),
        "block-inference-one-sample-g64-f32": (2.2, 3.5),
        "block-plan-building": (0.03, 0.01),
        "skip-zeros-2048-f32": (1.1, 1.3),
        "skip-zeros-4096-f32": (1.25, 1.5),
        "gate-gram": (30, 60),
        "plan-building": (0.05, 0.02),
    }
    sizes = {
        case.name: (case.shape.n, case.shape.width)
        for case in CASES
        if case.family in ("masked_matmul", "block_matmul", "gate_gram")
    }
    rows = {4096: 512, 3072: 512, 2048: 1024}
    assert sizes == {
        **{
            f"masked-linear-{product}-{width}-f32": (n, width)
            for product in ("forward", "input-grad", "weight-grad")
            for width, n in rows.items()
        },
        "masked-linear-forward-2048-f64": (512, 2048),
        "masked-linear-overhead": (4, 16),
        **{
            f"block-{product}-{width}-{block}-f32": (n, width)
            for product, block in (
                *(("forward", block) for block in ("g64", "g32", "g16")),
                ("input-grad", "g64"),
                ("weight-grad", "g64"),
            )
            for width, n in rows.items()
        },
        "block-forward-2048-g64-f64": (512, 2048),
        "block-training-step-f32": (512, 4096),
        "block-training-step-on-the-fly-f32": (512, 4096),
        "block-inference-f32": (512, 4096),
        "block-inference-one-sample-g64-f32": (1, 4096),
        "block-inference-one-sample-g32-f32": (1, 4096),
        "block-plan-building": (512, 4096),
        "skip-zeros-2048-f32": (512, 2048),
        "skip-zeros-4096-f32": (512, 4096),
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
        assert case.name in DIFFERENT
        return
    for peer in job.peers.values():
        assert run.relative_difference(job.comparable(ours), job.peer_comparable(peer())) <= tolerance(case)


@pytest.mark.parametrize("case", ELSEWHERE, ids=[case.name for case in ELSEWHERE])
def test_cases_of_neural_tangents_say_what_to_compute(case):
    small = case.small()
    job = small.prepare(small)
    assert job.request.depth == small.shape.depth
    assert job.request.arrays["x"].shape == (small.shape.n, small.shape.d)
    assert (job.request.w_std, job.request.b_std) == ((1.5, 0.3) if "biases" in case.name else (None, None))
    assert job.ours().dtype == job.request.arrays["x"].dtype == case.dtype
    if job.request.kind == "empirical":
        assert len(job.request.arrays) == small.shape.depth + 2


@pytest.mark.parametrize("product", ["forward", "input-grad", "weight-grad"])
@pytest.mark.parametrize("block", [1, 64])
def test_masked_products_skip_by_cached_plans(product, block):
    """What is off would change the result if it were looked at."""
    name = f"masked-linear-{product}-4096-f32" if block == 1 else f"block-{product}-4096-g{block}-f32"
    case = named(name).small()
    job = case.prepare(case)
    a, *_, gate_a, gate_b, gate_out, method, blocks = job.ours.args
    cached = 3 if block == 1 else 2
    assert [len(gate) for gate in (gate_a, gate_b, gate_out)] in ([cached, 0, cached], [cached, cached, 0])
    assert [block if gate else 1 for gate in (gate_a, gate_b, gate_out)] == list(blocks)
    assert ops.METHODS[method] == "masked"
    off = ~ops.unpack_bits(ops.expand_bits(gate_a[0], a.shape[1], block), a.shape[1])
    assert torch.equal(a == 0, off)
    assert 0.4 < off.float().mean() < 0.6
    expected = job.ours()
    a[off] = math.nan
    assert torch.equal(job.ours(), expected)


@pytest.mark.parametrize("name", ["block-training-step-f32", "block-training-step-on-the-fly-f32"])
def test_block_gates_train_on_the_batches_of_the_peer(name):
    case = named(name).small()
    job = case.prepare(case)
    before = [weight.detach().clone() for weight in job.ours.weights]
    (peer,) = job.peers.values()
    assert job.ours().shape == peer().shape == (case.shape.n, 10)
    assert [weight.shape for weight in job.ours.weights] == [weight.shape for weight in peer.weights]
    for weight, start in zip(job.ours.weights, before, strict=True):
        assert not torch.equal(weight, start)
    assert job.ours._generator.get_state().equal(peer._generator.get_state())


def test_leaving_out_samples_is_leaving_out_as_many_folds(monkeypatch):
    case = named("leave-one-out-f64").small()
    monkeypatch.setattr(machines, "FOLDS", case.shape.n)
    job = case.prepare(case)
    (peer,) = job.peers.values()
    ours, theirs = job.ours(), peer()
    assert ours.shape == (case.shape.depth, 20)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", ["fit-classes-f64", "fit-numbers-f64"])
def test_fits_are_scored_on_samples_that_they_have_not_seen(name):
    case = named(name).small()
    job = case.prepare(case)
    (peer,) = job.peers.values()
    ours, theirs = float(job.ours()), float(peer())
    assert 0.3 < ours <= 1
    assert f"on {case.shape.n // 4} other samples: ours {ours:.3f}, depth" in job.notes[0]
    assert f"the peer's {theirs:.3f}" in job.notes[0]
    assert ("that of the NTK of ReLU networks 0." in job.notes[0]) == (name == "fit-numbers-f64")


def test_skipping_networks_are_those_of_torch():
    case = named("skip-zeros-4096-f32").small()
    job = case.prepare(case)
    assert job.ours().shape == (case.shape.n, 10)
    state = torch.get_rng_state()
    case.prepare(case)
    assert torch.equal(torch.get_rng_state(), state)


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


def test_plans_are_those_that_a_step_needs(monkeypatch):
    case = named("plan-building").small()
    job = case.prepare(case)
    built = []
    build_plan = ops.build_plan

    def count(bits, width, neuron_major=False):
        built.append((bits.shape, width, neuron_major))
        return build_plan(bits, width, neuron_major)

    monkeypatch.setattr("gatentk.ops.plans.build_plan", count)
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

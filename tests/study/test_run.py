"""The kernels of a study against oracles, and what they cost."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from cases.peaks import peak_ratio
from cases.studies import all_records, from_rows, small

from gatentk import data, ntk
from gatentk.study.batches import drawn
from gatentk.study.config import StudyConfig
from gatentk.study.run import cost, plan, run_tasks, study_memory
from gatentk.study.samples import prepare_study


def jacobian_kernel(d_in, width, depth, activation, seed, x):
    """K = J J^T of a network written out here, with the weights that its seed stands for."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [d_in, *[width] * depth, 1]
    weights = [torch.randn(b, a, generator=generator, dtype=torch.float64) for a, b in itertools.pairwise(sizes)]

    def output(weights, row):
        for weight in weights[:-1]:
            row = weight @ row
            row = math.sqrt(2 / width) * torch.relu(row) if activation == "relu" else row / math.sqrt(width)
        return (weights[-1] @ row)[0]

    weights = [weight.requires_grad_() for weight in weights]
    gradients = [torch.autograd.grad(output(weights, row), weights) for row in x]
    jacobian = torch.stack([torch.cat([part.flatten() for part in gradient]) for gradient in gradients])
    return (jacobian @ jacobian.T).numpy()


def closed_form_kernel(x, depth):
    """Infinite-width ReLU kernel by the textbook recursion with arccos: fine for samples far apart."""
    norms = np.linalg.norm(x, axis=1)
    cosine = np.clip(x @ x.T / np.outer(norms, norms), -1, 1)
    np.fill_diagonal(cosine, 1)
    S = cosine.copy()
    for _ in range(depth):
        theta = np.arccos(cosine)
        np.fill_diagonal(theta, 0)  # the arccos of a rounded 1 would be off by 1e-8
        cosine = ((np.pi - theta) * np.cos(theta) + np.sin(theta)) / np.pi
        S = S * (1 - theta / np.pi) + cosine
    return np.outer(norms, norms) * S


def smallest_angle(K):
    scale = np.sqrt(np.diag(K))
    cosine = np.clip(K / np.outer(scale, scale), -1, 1)
    np.fill_diagonal(cosine, -1)
    return math.degrees(np.arccos(cosine.max()))


def check_against(record, K):
    values = np.linalg.eigvalsh(K)
    floor = len(K) * np.finfo(float).eps * values[-1]
    assert record.samples == len(K)
    assert record.lmax == pytest.approx(values[-1], rel=1e-10)
    assert record.lmin == pytest.approx(values[0], abs=2 * floor)
    assert record.floor == pytest.approx(floor, rel=1e-10)
    assert record.min_angle == pytest.approx(smallest_angle(K), rel=1e-6)
    assert record.resolved == (values[0] > floor)
    if record.resolved:
        assert record.condition == pytest.approx(values[-1] / values[0], rel=1e-6)
        assert record.condition_bound == record.condition
    else:
        assert record.condition is None
        assert record.condition_bound == pytest.approx(values[-1] / floor, rel=1e-10)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_finite_width_agrees_with_jacobians(activation):
    config = small(infinite=False, activations=(activation,))
    x = data.load("digits", n=20).x
    records = all_records(config)
    assert [(r.depth, r.seed) for r in records] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    for record in records:
        assert (record.kind, record.width, record.batch) == ("finite", 16, None)
        check_against(record, jacobian_kernel(64, 16, record.depth, activation, record.seed, x))


def test_infinite_width_agrees_with_the_closed_forms():
    config = small(width=None, depths=(0, 1, 4))
    x = data.load("digits", n=20).x.numpy()
    for record in all_records(config):
        assert (record.kind, record.width, record.seed) == ("infinite", None, None)
        linear = (record.depth + 1) * x @ x.T
        check_against(record, linear if record.activation == "linear" else closed_form_kernel(x, record.depth))


def test_linear_networks_with_more_samples_than_features_are_not_resolved():
    records = all_records(StudyConfig(data="synthetic", n=30, depths=(0, 1, 3), width=32, seeds=1))
    for record in records:
        if record.activation == "linear" or record.depth == 0:
            assert not record.resolved
            assert record.condition is None
            assert record.condition_bound == pytest.approx(1 / (30 * 2.0**-52), rel=1e-9)
        elif record.kind == "infinite":
            assert record.resolved


def test_each_mini_batch_has_its_kernel():
    config = small(n=50, batch=16, depths=(0,), activations=("linear",), infinite=True, seeds=1)
    samples = prepare_study(config)
    batches = drawn(config, samples.x)
    for _, records in run_tasks(config, samples):
        assert [r.batch for r in records] == [0, 1, 2]
        for record, batch in zip(records, batches.numpy(), strict=True):
            check_against(record, batch @ batch.T)


def test_a_subset_is_random_and_infinite_width_is_computed_on_it_too():
    config = small(n=40, subset=10, depths=(1,), seeds=1, activations=("relu",))
    samples = prepare_study(config)
    assert len(set(samples.subset.tolist())) == 10
    assert not torch.equal(samples.subset.sort().values, torch.arange(10))
    other = prepare_study(dataclasses.replace(config, data_seed=1))
    assert not torch.equal(samples.subset, other.subset)
    records = all_records(config)
    assert [(r.kind, r.rows, r.samples) for r in records] == [
        ("infinite", "subset", 10),
        ("infinite", "all", 40),
        ("finite", "subset", 10),
    ]
    check_against(records[0], closed_form_kernel(samples.x[samples.subset].numpy(), 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_certified_intervals_hold_the_eigenvalues(dtype):
    for record in all_records(small(n=12, width=64, certify=True, dtype=dtype, seeds=1)):
        assert 0 < record.lmin_low <= record.lmin <= record.lmin_high
        assert record.lmax_low <= record.lmax <= record.lmax_high
        assert record.condition is not None


def test_float32_has_a_higher_noise_floor():
    record = all_records(small(dtype="float32", depths=(0,), width=None, activations=("linear",)))[0]
    assert record.floor == pytest.approx(20 * 2.0**-23 * record.lmax)


@pytest.mark.parametrize(
    "rows",
    [
        torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        torch.tensor([[1.0, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]),
        torch.tensor([[1.0, 0], [-1, 0.1]]),
        torch.tensor([[1.0, 0, 0], [-1, 0.2, 0], [-1, -0.2, 2.5], [0, 0, -1]]),
        torch.tensor([[1.0, 1e-9], [1, 0], [0, 1]]),
        torch.eye(4),
    ],
    ids=["acute", "120 degrees", "nearly opposite", "obtuse", "nearly equal", "orthogonal"],
)
def test_the_smallest_gradient_angle_comes_from_the_smallest_angle(monkeypatch, rows):
    config, samples = from_rows(monkeypatch, rows, depths=(0, 1, 2, 5, 20))
    for task, (record,) in run_tasks(config, samples):
        angles = ntk.gradient_angles(samples.x, task.depth, task.activation)
        angles.fill_diagonal_(math.inf)
        assert record.min_angle == pytest.approx(math.degrees(angles.min().item()), rel=1e-11)


def test_a_network_that_is_off_has_no_angle_but_a_record():
    records = all_records(small(width=1, depths=(3,), seeds=3, infinite=False, activations=("relu",)))
    assert any(r.min_angle is None for r in records)
    for record in records:
        assert not record.resolved
        assert record.condition_bound >= 1


def test_tasks_have_unique_keys_and_positive_costs():
    config = small(n=30, subset=10, depths=(0, 1, 5))
    samples = prepare_study(config)
    tasks = plan(config, samples)
    assert len(tasks) == len({task.key for task in tasks}) == 3 * 2 * (2 + 2)
    assert all(cost(config, samples, task) > 0 for task in tasks)


def test_memory_counts_one_depth_at_a_time():
    samples = prepare_study(small(n=100, width=None))
    one = study_memory(small(n=100, width=None, depths=(5,)), samples)
    many = study_memory(small(n=100, width=None, depths=tuple(range(100))), samples)
    batches = study_memory(small(n=100, width=None, batch=10), samples)
    assert one == many == pytest.approx(2.6 * 8 * 100**2, rel=0.01)
    assert batches < one / 5


def test_memory_counts_the_weights():
    samples = prepare_study(small())
    for width, depth in ((1000, 3), (3_000_000, 10)):
        weights = (64 + (depth - 1) * width + 1) * width * 8
        assert weights < study_memory(small(width=width, depths=(depth,)), samples) < 1.6 * weights


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"n": 20, "depths": (1,), "width": 400_000, "infinite": False},
        {"n": 20, "depths": (3,), "width": 4000, "infinite": False},
        {"n": 1500, "depths": (4,), "width": 2000, "infinite": False},
        {"n": 1700, "depths": (0, 1), "width": 16, "infinite": False},
        {"n": 1700, "depths": (0, 3), "width": None},
        {"n": 1700, "depths": (3,), "width": 128, "infinite": False, "certify": True, "dtype": "float32"},
    ],
    ids=str,
)
def test_the_estimate_of_memory_is_within_a_factor_of_the_peak(options):
    code = f"""
from gatentk.study.config import StudyConfig
from gatentk.study.run import run_tasks, study_memory
from gatentk.study.samples import prepare_study

def prepared(**options):
    config = StudyConfig("digits", seeds=1, **options)
    return config, prepare_study(config)

list(run_tasks(*prepared(n=20, depths=(0, 2), width=16)))
config, samples = prepared(**{options!r})
estimate = study_memory(config, samples)
run = lambda: list(run_tasks(config, samples))
"""
    assert 1 / 1.6 < peak_ratio(code) < 1.6

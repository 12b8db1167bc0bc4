import dataclasses
import itertools
import json
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gatentk import data, ntk, study
from gatentk.study import Config, Journal, Record, StudyError


def small(**changes):
    """A study of 20 digits that takes a fraction of a second."""
    options = {"data": "digits", "n": 20, "depths": (0, 2), "width": 16, "seeds": 2, **changes}
    return Config(**options)


def all_records(config):
    return [record for _, records in study.run(config, study.prepare(config)) for record in records]


def from_rows(monkeypatch, rows, **options):
    """Prepare a study of given rows."""
    dataset = SimpleNamespace(x=torch.as_tensor(rows, dtype=torch.float64), y=None, name="rows")
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    config = Config(data="rows", **{"width": None, "depths": (0, 1), **options})
    return config, study.prepare(config)


# Oracles


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
    records = all_records(Config(data="synthetic", n=30, depths=(0, 1, 3), width=32, seeds=1))
    for record in records:
        if record.activation == "linear" or record.depth == 0:
            assert not record.resolved
            assert record.condition is None
            assert record.condition_bound == pytest.approx(1 / (30 * 2.0**-52), rel=1e-9)
        elif record.kind == "infinite":
            assert record.resolved


def test_mini_batches_are_disjoint_and_each_has_its_kernel():
    config = small(n=50, batch=16, depths=(0,), activations=("linear",), infinite=True, seeds=1)
    samples = study.prepare(config)
    batches = study._batches(config, samples.x)
    assert batches.shape == (3, 16, 64)
    rows = {row.numpy().tobytes() for row in samples.x}
    drawn = [row.numpy().tobytes() for batch in batches for row in batch]
    assert len(set(drawn)) == 48
    assert set(drawn) < rows
    for _, records in study.run(config, samples):
        assert [r.batch for r in records] == [0, 1, 2]
        for record, batch in zip(records, batches.numpy(), strict=True):
            check_against(record, batch @ batch.T)


def test_a_subset_is_random_and_infinite_width_is_computed_on_it_too():
    config = small(n=40, subset=10, depths=(1,), seeds=1, activations=("relu",))
    samples = study.prepare(config)
    assert len(set(samples.subset.tolist())) == 10
    assert not torch.equal(samples.subset.sort().values, torch.arange(10))
    other = study.prepare(dataclasses.replace(config, data_seed=1))
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
    for task, (record,) in study.run(config, samples):
        angles = ntk.gradient_angles(samples.x, task.depth, task.activation)
        angles.fill_diagonal_(math.inf)
        assert record.min_angle == pytest.approx(math.degrees(angles.min().item()), rel=1e-11)


# Data with difficult rows


def test_repeated_rows_are_counted_or_dropped(monkeypatch):
    rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, -0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]
    config, samples = from_rows(monkeypatch, rows)
    assert (samples.duplicates, samples.dropped_duplicates, len(samples.x)) == (2, 0, 5)
    for _, (record,) in study.run(config, samples):
        assert record.min_angle == 0
        assert not record.resolved
    config, samples = from_rows(monkeypatch, rows, drop_duplicates=True)
    assert (samples.duplicates, samples.dropped_duplicates) == (0, 2)
    assert samples.x.tolist() == [rows[0], rows[1], rows[4]]
    for _, (record,) in study.run(config, samples):
        assert record.resolved


def test_zero_rows_are_named_or_dropped(monkeypatch):
    rows = [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    with pytest.raises(StudyError, match=r"row 1 and 1 more .*all zero.*drop_zero_rows=True"):
        from_rows(monkeypatch, rows)
    _, samples = from_rows(monkeypatch, rows, drop_zero_rows=True)
    assert samples.dropped_zero_rows == 2
    assert samples.x.tolist() == [rows[0], rows[2]]


def test_a_network_that_is_off_has_no_angle_but_a_record():
    records = all_records(small(width=1, depths=(3,), seeds=3, infinite=False, activations=("relu",)))
    assert any(r.min_angle is None for r in records)
    for record in records:
        assert not record.resolved
        assert record.condition_bound >= 1


# What a study refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": ()}, "depths"),
        ({"depths": (2, 1)}, "depths.*ascending"),
        ({"depths": (-1, 0)}, "depths.*at least 0"),
        ({"activations": ()}, "activation"),
        ({"activations": ("tanh",)}, "activation.*'relu'.*'tanh'"),
        ({"dtype": "float16"}, "dtype.*'float64'"),
        ({"width": None, "infinite": False}, "width"),
        ({"width": 0}, "width.*at least 1"),
        ({"seeds": 0}, "seeds.*at least 1"),
        ({"subset": 1}, "subset.*at least 2"),
        ({"batch": 1}, "batch.*at least 2"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "at least two samples"),
        ({"subset": 21}, "subset=21: the data has 20 samples"),
        ({"batch": 21}, "batch=21: there are 20 samples"),
        ({"subset": 10, "batch": 11}, "batch=11: there are 10 samples"),
    ],
)
def test_too_few_samples_are_refused(options, message):
    with pytest.raises(StudyError, match=message):
        study.prepare(small(**options))


# Plan, cost, memory


def test_tasks_have_unique_keys_and_positive_costs():
    config = small(n=30, subset=10, depths=(0, 1, 5))
    samples = study.prepare(config)
    tasks = study.plan(config, samples)
    assert len(tasks) == len({task.key for task in tasks}) == 3 * 2 * (2 + 2)
    assert all(study.cost(config, samples, task) > 0 for task in tasks)


def test_memory_counts_one_depth_at_a_time():
    samples = study.prepare(small(n=100, width=None))
    one = study.memory_needed(small(n=100, width=None, depths=(5,)), samples)
    many = study.memory_needed(small(n=100, width=None, depths=tuple(range(100))), samples)
    batches = study.memory_needed(small(n=100, width=None, batch=10), samples)
    assert one == many == pytest.approx(2.1 * 8 * 100**2, rel=0.01)
    assert batches < one / 5


# Resuming


def identity(config, samples):
    return study.fingerprint(config, samples, "test")


def run_into(folder, config, limit=None):
    """Run at most `limit` tasks into a journal and return its records."""
    samples = study.prepare(config)
    with Journal(folder, identity(config, samples)) as journal:
        for count, (task, records) in enumerate(study.run(config, samples, journal.done)):
            if count == limit:
                break
            journal.append(task, records)
        return list(journal.records)


def test_an_interrupted_study_continues_to_the_same_results(tmp_path):
    config = small(n=30, subset=15)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = run_into(tmp_path / "whole", config)
    assert len(run_into(tmp_path / "parts", config, limit=5)) == 5
    assert len(run_into(tmp_path / "parts", config, limit=4)) == 9
    assert run_into(tmp_path / "parts", config) == whole
    assert run_into(tmp_path / "parts", config, limit=0) == whole


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_line_is_computed_again(tmp_path, cut):
    config = small()
    whole = run_into(tmp_path, config)
    path = tmp_path / study.JOURNAL
    os.truncate(path, path.stat().st_size - cut)
    assert run_into(tmp_path, config, limit=0) == whole[:-1]
    assert run_into(tmp_path, config) == whole
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("change", [{"seeds": 3}, {"data_seed": 1, "n": 19}, {"depths": (0, 1)}])
def test_another_study_in_the_folder_is_not_mixed_in(tmp_path, change):
    run_into(tmp_path, small(), limit=2)
    before = (tmp_path / study.JOURNAL).read_bytes()
    with pytest.raises(StudyError, match=rf"another study \(.*{next(iter(change))} was .*restart=True"):
        run_into(tmp_path, small(**change))
    assert (tmp_path / study.JOURNAL).read_bytes() == before


def test_changed_data_is_another_study(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n5,7\n")
    config = Config(data=f"csv:{path}", depths=(0,), width=None)
    run_into(tmp_path, config)
    path.write_text("1,2\n3,4\n5,8\n")
    with pytest.raises(StudyError, match="sha256"):
        run_into(tmp_path, config)


def test_restart_starts_over(tmp_path):
    run_into(tmp_path, small(), limit=3)
    config = small(seeds=1)
    with Journal(tmp_path, identity(config, study.prepare(config)), restart=True) as journal:
        assert journal.records == []
    assert len((tmp_path / study.JOURNAL).read_text().splitlines()) == 1


def test_a_foreign_journal_is_left_alone(tmp_path):
    (tmp_path / study.JOURNAL).write_text('{"something": "else"}\n')
    with pytest.raises(StudyError, match="another study"):
        run_into(tmp_path, small())
    assert (tmp_path / study.JOURNAL).read_text() == '{"something": "else"}\n'


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    config = small()
    samples = study.prepare(config)
    with (
        Journal(tmp_path, identity(config, samples)),
        pytest.raises(StudyError, match="another gatentk is writing"),
    ):
        Journal(tmp_path, identity(config, samples))


def test_records_survive_the_journal_bit_by_bit(tmp_path):
    config = small(certify=True, seeds=1)
    fresh = all_records(config)
    run_into(tmp_path, config)
    assert run_into(tmp_path, config, limit=0) == fresh
    assert all(isinstance(record, Record) for record in fresh)

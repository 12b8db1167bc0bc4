"""Nested cross-validation: machines that choose, folds that are kept, what is printed."""

import json
import sys

import nested_scores
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.kernel_ridge import KernelRidge

HEAD = ["| data | machine | score | seconds | chosen (folds) |", "| --- | --- | --- | --- | --- |"]


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["nested_scores", *map(str, arguments)])
    nested_scores.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == HEAD
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines[2:]]


def test_classes_of_kernel_ridge_are_those_of_the_largest_target():
    x, y = load_iris(return_X_y=True)
    labels = np.array(["b", "a", "c"])[y]
    machine = nested_scores.KernelRidgeClassifier(kernel="rbf", gamma=0.1, alpha=0.01).fit(x, labels)
    outputs = KernelRidge(kernel="rbf", gamma=0.1, alpha=0.01).fit(x, np.eye(3)[y]).predict(x)
    assert machine.predict(x).tolist() == np.array(["b", "a", "c"])[outputs.argmax(axis=1)].tolist()
    assert machine.score(x, labels) > 0.9


@pytest.fixture
def quick(monkeypatch):
    """Two folds, one setting each, few trees."""
    grids = nested_scores.Grids((0.01,), (100.0,), (0.1,), ("sqrt",))
    for name in ("iris", "diabetes"):
        task = nested_scores.TASKS[name]
        monkeypatch.setitem(nested_scores.TASKS, name, nested_scores.Task(task.load, folds=2, grids=grids))
    monkeypatch.setattr(nested_scores, "TREES", 20)


@pytest.mark.usefixtures("quick")
def test_finished_folds_are_taken_from_the_journal(monkeypatch, capsys, tmp_path):
    path = tmp_path / "scores.jsonl"
    arguments = ["iris", "--machines", "NTK", "--journal", path]
    first = run(monkeypatch, capsys, *arguments)
    cells = [json.loads(line) for line in path.read_text().splitlines()]
    assert [cell["fold"] for cell in cells] == [0, 1]
    assert first[0][:3] == ["iris", "NTK", f"{np.mean([cell['score'] for cell in cells]):.4f}"]
    assert float(first[0][2]) > 0.9
    assert first[0][4].startswith("depth ")
    path.write_text(json.dumps(cells[0]) + "\n")
    assert run(monkeypatch, capsys, *arguments)[0][:3] == first[0][:3]
    assert len(path.read_text().splitlines()) == 2
    monkeypatch.setattr(nested_scores, "with_ones", lambda x: x)  # other settings
    run(monkeypatch, capsys, *arguments)
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.usefixtures("quick")
def test_every_machine_is_scored(monkeypatch, capsys):
    monkeypatch.setattr(nested_scores, "LARGEST_PROCESS", 400)
    rows = run(monkeypatch, capsys, "iris", "diabetes")
    assert [row[1] for row in rows] == 2 * list(nested_scores.MACHINES)
    assert rows[-1][2] == "not run"
    assert all(float(row[2]) > 0.85 for row in rows[:6])
    assert all(0.2 < float(row[2]) < 0.6 for row in rows[6:-1])
    assert [rows[k][4] for k in (2, 3, 4)] == [
        "C 1e+02 (2); gamma 0.01 (2)",
        "max_features sqrt (2)",
        "alpha 0.1 (2); gamma 0.01 (2)",
    ]


def test_images_have_norm_one_for_all_that_look_at_distances():
    task = nested_scores.TASKS["mnist"]
    assert nested_scores.machine("NTK", task, True).normalize
    for label in ("SVM, RBF", "kernel ridge, RBF", "Gaussian process, RBF"):
        found = nested_scores.machine(label, task, True)
        steps = getattr(found, "estimator", found)
        np.testing.assert_allclose(steps[0].fit_transform([[3.0, 4.0]]), [[0.6, 0.8]])


def test_an_unknown_set_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nested_scores", "irises"])
    with pytest.raises(SystemExit):
        nested_scores.main()
    assert "NAME: expected one of iris, wine" in capsys.readouterr().err

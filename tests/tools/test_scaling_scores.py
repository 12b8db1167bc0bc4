"""Accuracies of both scalings: tables of a folder, and what is printed of each."""

import sys

import numpy as np
import scaling_scores as tool


def write(folder, name, rows):
    path = folder / f"{name}.dat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(", ".join(map(str, row)) for row in rows) + "\n")


def test_tables_of_numbers_are_read(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    rows = [[*sample, f"c{k % 2}"] for k, sample in enumerate(generator.normal(size=(90, 3)).round(3).tolist())]
    write(tmp_path / "balanced" / "raw", "numbers", rows)
    write(tmp_path / "balanced" / "raw", "iris", rows)
    write(tmp_path / "balanced" / "raw", "few", rows[:89])
    write(tmp_path / "balanced" / "raw", "names", [["a", *row[1:]] for row in rows])
    write(tmp_path / "imbalanced" / "raw", "rare", rows)
    monkeypatch.setattr(tool, "IMBALANCED", ("rare",))
    found = dict(tool.tables(tmp_path))
    assert list(found) == ["numbers", "rare"]
    x, y = found["rare"]
    assert (x.tolist(), y.tolist()) == ([row[:-1] for row in rows], [k % 2 for k in range(90)])


def test_a_row_a_set(monkeypatch, capsys):
    for name, value in {"DEPTHS": (1,), "SPLITS": 1, "MOST": 60, "MOST_TESTS": 60}.items():
        monkeypatch.setattr(tool, name, value)
    monkeypatch.setattr(sys, "argv", ["scaling_scores"])
    tool.main()
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    names = ["iris", "wine", "breast_cancer", "digits", "mnist", "mean of 5"]
    assert [row[0] for row in rows] == names
    assert [row[4] for row in rows[:-1]] == 3 * ["standardised"] + 2 * ["norm 1"]
    assert all(0.5 < float(row[k]) <= 1 for row in rows for k in (2, 3))
    assert float(rows[-1][4]) > float(rows[-1][2])

"""Accuracies on MNIST: a row a split, and their mean."""

import sys

import mnist_accuracy


def test_a_row_a_split(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mnist_accuracy", "--n", "100", "--seeds", "0", "1"])
    mnist_accuracy.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["0", "1"]
    assert lines[4].startswith("mean test accuracy 0.")
    assert float(lines[4].split()[-1]) > 0.4

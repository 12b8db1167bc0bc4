"""The examples run as they are and learn what they claim to."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_train_grelu(capsys):
    pytest.importorskip("sklearn")
    runpy.run_path(str(EXAMPLES / "train_grelu.py"), run_name="__main__")
    out = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"train loss (\S+)", out)]
    assert losses[-1] < 0.1 < 0.5 < losses[0]
    assert float(re.search(r"test accuracy (\S+)", out)[1]) > 0.9


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("gated_mlp", {"width": 160, "depth": 2}),
        ("gated_mixer", {"channels": 16, "width": 40, "depth": 1}),
        ("gated_transformer", {"features": 16, "width": 40, "depth": 1}),
    ],
)
def test_layers_that_replace_linear_and_relu(name, sizes, capsys, monkeypatch):
    pytest.importorskip("mlxtend")
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](samples=400, epochs=5, block=16, **sizes)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["gated", "dense"] * 2
    for first, last in zip(rows[:2], rows[2:], strict=True):
        assert float(last[2]) < 0.97 * float(first[2])

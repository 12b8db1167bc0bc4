"""The examples run as they are and learn what they claim to."""

import re
import runpy
import subprocess
import sys
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


TINY = """
import gated_mixer, gated_mlp, gated_transformer
common = dict(samples=400, epochs=5, block=16)
gated_mlp.main(width=160, depth=2, **common)
gated_mixer.main(channels=16, width=40, depth=1, **common)
gated_transformer.main(features=16, width=40, depth=1, **common)
"""


def test_layers_that_replace_linear_and_relu():
    pytest.importorskip("mlxtend")
    # In a process of its own, which finds beside each other what the examples share.
    run = subprocess.run([sys.executable, "-c", TINY], cwd=EXAMPLES, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    tables = [rows.splitlines() for rows in re.split(r"^.*seconds$\n", run.stdout, flags=re.MULTILINE)[1:]]
    assert len(tables) == 3
    for table in tables:
        rows = [line.split() for line in table]
        assert [row[0] for row in rows] == ["gated", "dense"] * 2
        for first, last in zip(rows[:2], rows[2:], strict=True):
            assert float(last[2]) < 0.97 * float(first[2])

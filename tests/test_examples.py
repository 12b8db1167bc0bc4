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

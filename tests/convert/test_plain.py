"""The file of plain modules, where there is no gatentk."""

import shutil
import subprocess
import sys

import torch
from cases.deployed import D_IN, D_OUT, DEPTH, WIDTH, gated, samples

from gatentk import convert
from gatentk.convert import plain

ALONE = """
import sys, torch
sys.modules["gatentk"] = None
from copied import PlainGReLUNetwork
net = PlainGReLUNetwork({sizes}, block=16, kind="shallow", centered=True, dtype=torch.float64)
net.load_state_dict(torch.load("state.pt", weights_only=True))
torch.save(net(torch.load("x.pt")), "y.pt")
"""


def test_a_copy_of_the_file_loads_a_state_dict_without_gatentk(tmp_path):
    net, x = gated("shallow, ragged blocks, centred"), samples()
    shutil.copy(plain.__file__, tmp_path / "copied.py")
    torch.save(net.state_dict(), tmp_path / "state.pt")
    torch.save(x, tmp_path / "x.pt")
    code = ALONE.format(sizes=f"{D_IN}, {WIDTH}, {DEPTH}, {D_OUT}")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "y.pt"), net(x))


def test_modules_say_their_form():
    assert "d_in=7, units=5, depth=2, block=16, kind='shallow'" in repr(
        convert.to_torch(gated("shallow, ragged blocks, centred"))
    )


def test_gates_repeat_over_their_blocks():
    on = torch.tensor([[True, False, True]])
    values = torch.tensor([[1.0, 2, torch.inf, torch.nan, -5]])
    assert plain.gated(values, on, 2).tolist() == [[1, 2, 0, 0, -5]]

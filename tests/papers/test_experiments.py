"""All experiments: what they are called, and that they are what `Experiment` promises."""

import json
import os
import subprocess
import sys

import pytest

from gatentk import papers
from gatentk.papers.frame.experiment import Scale
from gatentk.runs.plain import from_json, to_json

FIRST = """\
angles              angles between gradients by depth, exact
conditioning        minimal angle and condition number by depth
training-depth      training loss by depth, beside the rates that the kernel predicts
width-law           which widths train to zero loss: ReLU and GReLU
dynamics            gradients, activation patterns, dead neurons by epoch
image-regression    train error of ReLU and GReLU by depth and width
switch              from GReLU to ReLU in the middle of training
rates               losses by learning rate, width and depth
speed               training and inference time of GReLU against ReLU
bounds              the theorems' bounds beside measured quantities
grelu-conditioning  ReLU against GReLU kernels"""


def test_the_help_lists_them_in_the_order_of_a_report():
    """Others may stand between them."""
    first = FIRST.splitlines()
    width = first[0].index("angles between")
    assert [line for line in papers.listing().splitlines() if line in first] == first
    assert all(line[:width].endswith("  ") and line[width] != " " for line in papers.listing().splitlines())


def test_their_names_and_summaries_need_no_torch():
    program = "import sys; from gatentk import papers; papers.listing(); sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"name: expected one of .*'angles'.*got 'angels'"):
        papers.experiment("angels")


@pytest.mark.parametrize("name", papers.NAMES)
def test_every_experiment_is_named_and_described(name):
    found = papers.experiment(name)
    assert found.name == name
    assert found.title
    assert not found.title.endswith(".")
    assert "\n" not in found.title
    assert found.source


@pytest.mark.parametrize("name", papers.NAMES)
def test_settings_are_json_and_cells_have_keys_of_their_own(name):
    found = papers.experiment(name)
    settings = found.settings(Scale())
    read_back = from_json(type(settings), json.loads(json.dumps(to_json(settings), allow_nan=False)), "settings")
    assert read_back == settings
    cells = found.cells(settings)
    assert len({cell.key for cell in cells}) == len(cells) > 0
    assert all(cell.cost(settings) > 0 for cell in cells)
    assert found.cells(read_back) == cells
    memory, seconds = found.needs(settings)
    assert memory >= 0
    assert 0 <= seconds <= 600
